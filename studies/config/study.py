"""A study file as a whole, and the points of its schemes."""

import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from studies.citations import BIBTEX
from studies.config.metrics import Metrics, Stop
from studies.config.overrides import overridden, targets
from studies.config.plot import Plot
from studies.config.point import Point
from studies.config.sweep import Dimension, Sweep, dimensions_of, keys_of, places_of
from studies.config.table import Table, Text
from studies.errors import Fault, FaultsError

__all__ = ["Scheme", "Settings", "Study", "base_of", "raw_point"]


def _known_paper(key: str) -> str:
    if key not in BIBTEX:
        raise PydanticCustomError("paper", "expected a paper that `ris cite` lists")
    return key


class Scheme(Table):
    """A labelled variant of the base system: keys or aliases, and what to set them to."""

    label: Text
    set: dict[str, Any] = {}


class Settings(Point):
    """A study file."""

    title: Text
    description: str = ""
    seed: int = Field(default=1, ge=0, lt=2**63)
    realizations: int = Field(ge=2)
    quick_realizations: int = Field(default=1000, ge=2)
    block_realizations: int = Field(default=1024, ge=2)
    citations: list[Annotated[str, AfterValidator(_known_paper)]] = []
    sweep: Sweep
    scheme: Annotated[list[Scheme], Field(min_length=1)] = [Scheme(label="base system")]
    metrics: Metrics = Metrics()
    stop: Stop | None = None
    plot: Plot

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [scheme.label for scheme in self.scheme]
        faults = [
            Fault(f"scheme.{i}.label", f"expected a label of its own, got {label!r} again")
            for i, label in enumerate(labels)
            if label in labels[:i]
        ]
        faults += [
            Fault(f"plot.panel.{i}.schemes", f"expected labels of schemes, got {label!r}")
            for i, panel in enumerate(self.plot.panel)
            for label in panel.schemes or []
            if label not in labels
        ]
        faults += [
            Fault(f"scheme.{i}.set.{key}", f"expected a key that the sweep of {axis.axis} leaves alone")
            for i, scheme in enumerate(self.scheme)
            for key in scheme.set
            for axis in self.sweep.all_axes
            if set(targets(axis.axis)) & set(targets(key))
        ]
        if self.sweep.drops is not None and self.system.scenario is None:
            faults.append(Fault("sweep.drops", "expected a system.scenario to drop users in, got nothing"))
        faults += self._asked_for()
        if faults:
            raise FaultsError(faults)
        return self

    def _asked_for(self) -> Iterator[Fault]:
        """Yield faults of metrics that are stopped by or shown, and not computed."""
        from studies.quantities import quantities

        known = quantities(self)
        if self.stop is not None and (self.stop.metric not in known or not known[self.stop.metric].paired):
            names = ", ".join(name for name, quantity in known.items() if quantity.paired)
            yield Fault("stop.metric", f"expected one of {names}, got {self.stop.metric!r}")
        for i, panel in enumerate(self.plot.panel):
            for metric in panel.metrics:
                if metric not in known:
                    yield Fault(
                        f"plot.panel.{i}.metrics",
                        f"expected a metric that the study computes, got {metric!r}",
                    )


@dataclass(frozen=True)
class Study:
    """A checked study.

    Attributes
    ----------
    name : str
        Name of the file without its suffix; results are named after it.
    text : str
        The TOML file as written.
    settings : Settings
        Its content.
    """

    name: str
    text: str
    settings: Settings

    @property
    def schemes(self) -> list[str]:
        """Labels of the schemes."""
        return [scheme.label for scheme in self.settings.scheme]

    @property
    def without_drops(self) -> "Study":
        """The study at a single drop of its scenario."""
        sweep = self.settings.sweep.without_drops
        return Study(self.name, self.text, self.settings.model_copy(update={"sweep": sweep}))

    def dimensions(self, quick: bool = False) -> list[Dimension]:
        """Return the dimensions of the sweep, in the order of the results."""
        return dimensions_of(self.settings.sweep, quick)

    def values(self, quick: bool = False) -> list[Any]:
        """Return the values of the first axis."""
        return [values[0] for values in self.dimensions(quick)[0].values]

    def places(self, quick: bool = False) -> Iterator[tuple[Any, ...]]:
        """Yield the values of all axes at every place of the grid, the last dimension fastest."""
        return places_of(self.dimensions(quick))

    def realizations(self, quick: bool = False) -> int:
        """Return the number of realizations a point."""
        return self.settings.quick_realizations if quick else self.settings.realizations

    def point(self, scheme: int, *values: Any) -> Point:
        """Return the system of a scheme at values of the axes, as `places` yields them.

        Raises
        ------
        pydantic.ValidationError, FaultsError
            If what results is no valid system; not after `parse_study`.
        """
        return Point.model_validate(raw_point(self._base, self.settings, scheme, values))

    @functools.cached_property
    def _base(self) -> dict[str, Any]:
        """The base system as the file has it."""
        return base_of(tomllib.loads(self.text))


def base_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base system of a study file in TOML form."""
    return {key: raw[key] for key in Point.model_fields if key in raw}


def raw_point(
    base: Mapping[str, Any], settings: Settings, scheme: int, values: Sequence[Any]
) -> dict[str, Any]:
    """Return the system of a scheme at values of the axes, in TOML form and not checked."""
    changes = dict(zip(keys_of(settings.sweep), values, strict=True))
    return overridden(base, {**settings.scheme[scheme].set, **changes})
