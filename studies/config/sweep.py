"""The axes of a sweep, and the grid of their values."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from studies.config.overrides import targets
from studies.config.table import Count, Table, Text, is_number, listed, twice
from studies.errors import Fault, FaultsError

__all__ = ["DROPS", "Axis", "Dimension", "Sweep", "dimensions_of", "keys_of", "places_of"]


def _axis_value(value: Any) -> Any:
    """Return a finite number, a text or a list of these."""
    items = value if isinstance(value, list) and value else [value]
    if not all(isinstance(item, str) or is_number(item) for item in items):
        raise PydanticCustomError("axis_value", "expected a finite number, a text, or a list of these")
    return value


AxisValue = Annotated[Any, AfterValidator(_axis_value)]


class Axis(Table):
    """A key, or an alias of keys, and its values: increasing numbers, or texts or lists in any order."""

    axis: Text
    values: Annotated[list[AxisValue], Field(min_length=1)]
    quick_values: Annotated[list[AxisValue], Field(min_length=1)] | None = None

    def chosen(self, quick: bool) -> list[Any]:
        """Return the values, or the quick ones."""
        return self.quick_values or self.values if quick else self.values

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        faults = [
            *_order_faults("values", self.values),
            *_order_faults("quick_values", self.quick_values or []),
        ]
        if faults:
            raise FaultsError(faults)
        return self


def _order_faults(key: str, values: list[Any]) -> Iterator[Fault]:
    if all(map(is_number, values)):
        if any(a >= b for a, b in itertools.pairwise(values)):
            yield Fault(key, f"expected increasing numbers, got {values}")
    elif len(set(map(repr, values))) < len(values):
        yield Fault(key, f"expected values that differ, got {values}")


DROPS = "drop"
"""The axis of the drops of a scenario."""


class Sweep(Table):
    """One axis, or several: the grid of all their values, where axes in `zip` advance together.

    `drops` adds a last axis, over drops of a scenario; tables and pictures show the mean over it.
    """

    axis: Text | None = None
    values: Annotated[list[AxisValue], Field(min_length=1)] | None = None
    quick_values: Annotated[list[AxisValue], Field(min_length=1)] | None = None
    axes: Annotated[list[Axis], Field(min_length=1)] | None = None
    zip: list[Text] = []
    drops: Count | None = None
    quick_drops: Count | None = None

    @model_validator(mode="after")
    def _axes(self) -> Self:
        own = {key: getattr(self, key) for key in ("axis", "values", "quick_values")}
        if self.axes is not None:
            faults = [
                Fault(key, "expected nothing beside axes") for key, value in own.items() if value is not None
            ]
        else:
            faults = [
                Fault(key, "expected a value, got nothing") for key in ("axis", "values") if own[key] is None
            ]
            faults += _order_faults("values", self.values or [])
            faults += _order_faults("quick_values", self.quick_values or [])
        if self.quick_drops is not None and self.drops is None:
            faults.append(Fault("quick_drops", "expected drops beside it, got nothing"))
        if faults:
            raise FaultsError(faults)
        names = [axis.axis for axis in self.all_axes]
        faults = [
            Fault("zip", f"expected axes of the sweep, got {name!r}")
            for name in self.zip
            if name not in (names if self.drops is None else names[:-1])
        ]
        faults += twice("zip", self.zip)
        every = [target for name in names for target in targets(name)]
        faults += twice("axes", every)
        for quick in (False, True):
            lengths = {len(axis.chosen(quick)) for axis in self.all_axes if axis.axis in self.zip}
            if len(lengths) > 1:
                faults.append(Fault("zip", f"expected axes of one length, got lengths {sorted(lengths)}"))
        if faults:
            raise FaultsError(faults)
        return self

    @property
    def all_axes(self) -> list[Axis]:
        """The axes, also of a sweep with one, and that of the drops."""
        axes = self.axes
        if axes is None:
            axes = [Axis.model_construct(axis=self.axis, values=self.values, quick_values=self.quick_values)]
        if self.drops is None:
            return axes
        quick = list(range(self.quick_drops or self.drops))
        return [*axes, Axis.model_construct(axis=DROPS, values=list(range(self.drops)), quick_values=quick)]

    @property
    def without_drops(self) -> "Sweep":
        """The sweep at a single drop."""
        return self.model_copy(update={"drops": None, "quick_drops": None})


@dataclass(frozen=True)
class Dimension:
    """One dimension of a sweep.

    Attributes
    ----------
    keys : tuple of str
        The axis, and those zipped to it.
    values : tuple of tuple
        What the keys are set to, place by place.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def name(self) -> str:
        """Name in results."""
        return self.keys[0].replace(".", "_")

    @property
    def coordinates(self) -> dict[str, list[Any]]:
        """Values by name of every axis in the dimension: numbers, or else texts."""
        return {
            key.replace(".", "_"): _coordinate([values[i] for values in self.values])
            for i, key in enumerate(self.keys)
        }


def _coordinate(values: list[Any]) -> list[Any]:
    if all(map(is_number, values)):
        return [float(value) for value in values]
    return [value if isinstance(value, str) else ", ".join(map(str, listed(value))) for value in values]


def dimensions_of(sweep: Sweep, quick: bool = False) -> list[Dimension]:
    """Return the dimensions of a sweep: zipped axes make one."""
    return [
        Dimension(
            tuple(axis.axis for axis in group),
            tuple(zip(*(axis.chosen(quick) for axis in group), strict=True)),
        )
        for group in _groups(sweep)
    ]


def keys_of(sweep: Sweep) -> list[str]:
    """Return the keys of all axes, in the order of `places_of`."""
    return [axis.axis for group in _groups(sweep) for axis in group]


def _groups(sweep: Sweep) -> list[list[Axis]]:
    """Return zipped axes together, in place of the first of them, and the others each alone."""
    groups: dict[str, list[Axis]] = {}
    for axis in sweep.all_axes:
        groups.setdefault("" if axis.axis in sweep.zip else axis.axis, []).append(axis)
    return list(groups.values())


def places_of(dimensions: Sequence[Dimension]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of all axes at every place of the grid, the last dimension fastest."""
    for place in itertools.product(*(dimension.values for dimension in dimensions)):
        yield tuple(itertools.chain.from_iterable(place))
