"""Study files: TOML, checked in full, with every fault named by its key.

A study file has a header (title, seed, realizations), one base system (`[system]`, `[transmission]`,
`[phases]`), one axis (`[sweep]`), schemes to compare (`[[scheme]]`) and a picture (`[plot]`). A scheme, and
then a value of the axis, override keys of the base system; what results is checked like a file of its own, so
a scheme may change anything.

Units stand in the names of the keys: spacings in wavelengths, phases in radians, `_deg` degrees, `_db`
decibel. Directions are relative to the broadside of the array that they belong to.
"""

import copy
import functools
import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ris.options import Csi, Engine
from studies.citations import BIBTEX
from studies.errors import Fault, FaultsError, StudyFileError
from studies.faults import faults_of
from studies.metrics import known_metrics
from studies.options import LinkName, Metric, PhaseDesignName, Precoder, Scale

__all__ = [
    "Dimension",
    "Point",
    "Settings",
    "Study",
    "dimensions_of",
    "load_study",
    "parse_study",
    "places_of",
]


class Table(BaseModel):
    """A TOML table: unknown keys, wrong types and numbers that are not finite are faults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _axis_value(value: Any) -> Any:
    """Return a finite number, a text or a list of these."""
    items = value if isinstance(value, list) and value else [value]
    if not all(isinstance(item, str) or _is_number(item) for item in items):
        raise PydanticCustomError("axis_value", "expected a finite number, a text, or a list of these")
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _known_paper(key: str) -> str:
    if key not in BIBTEX:
        raise PydanticCustomError("paper", "expected a paper that `ris cite` lists")
    return key


def _known_metric(name: str) -> str:
    if name not in known_metrics():
        raise PydanticCustomError("metric", "expected a metric that register_metric knows")
    return name


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=65_536)]
Decibels = Annotated[float, Field(ge=-400, le=400)]
PerUser = Annotated[list[Decibels], BeforeValidator(_listed), Field(min_length=1)]
Angles = Annotated[list[float], BeforeValidator(_listed), Field(min_length=1)]
AxisValue = Annotated[Any, AfterValidator(_axis_value)]
Text = Annotated[str, Field(min_length=1)]


# Spatial correlation ------------------------------------------------------------------------------------


class Identity(Table):
    """Uncorrelated fading."""

    law: Literal["identity"]


class Isotropic(Table):
    """Scattering that is equally strong from all directions in space."""

    law: Literal["isotropic"]


class PlanarIsotropic(Table):
    """Scattering that is equally strong from all directions in the horizontal plane."""

    law: Literal["planar_isotropic"]


class Exponential(Table):
    """Correlation coefficient^|i - j|; on a surface, along rows times along columns."""

    law: Literal["exponential"]
    coefficient: float = Field(ge=0, le=1)
    phase: float = 0.0


class LocalScattering(Table):
    """Gaussian scattering around a direction."""

    law: Literal["local_scattering"]
    azimuth_deg: float
    elevation_deg: float = 0.0
    angular_spread_deg: float = Field(ge=0)


CorrelationLaw = Annotated[
    Identity | Isotropic | PlanarIsotropic | Exponential | LocalScattering, Field(discriminator="law")
]


# Phase noise --------------------------------------------------------------------------------------------


class NoNoise(Table):
    """No phase noise."""

    law: Literal["none"]


class VonMises(Table):
    """The circular normal law."""

    law: Literal["von_mises"]
    concentration: float = Field(ge=0)


class Uniform(Table):
    """Uniform on [-half_width, half_width]."""

    law: Literal["uniform"]
    half_width: float = Field(ge=0, le=math.pi)


class WrappedNormal(Table):
    """A normal law, wrapped around the circle."""

    law: Literal["wrapped_normal"]
    standard_deviation: float = Field(ge=0)


class Quantization(Table):
    """What is left when phases are rounded to 2^bits levels."""

    law: Literal["quantization"]
    bits: int = Field(ge=1, le=32)


SimpleNoise = NoNoise | VonMises | Uniform | WrappedNormal | Quantization


class SumOfLaws(Table):
    """The sum of independent phases."""

    law: Literal["sum"]
    terms: Annotated[list[Annotated[SimpleNoise, Field(discriminator="law")]], Field(min_length=1)]


NoiseLaw = Annotated[SimpleNoise | SumOfLaws, Field(discriminator="law")]


# The system ---------------------------------------------------------------------------------------------


class BaseStation(Table):
    """A uniform linear array; `correlation` holds for every hop without a law of its own."""

    antennas: Count
    spacing: Positive = 0.5
    correlation: CorrelationLaw
    towards_surface1: CorrelationLaw | None = None
    towards_surface2: CorrelationLaw | None = None


class Surface(Table):
    """A uniform planar array; `correlation` holds for every hop without a law of its own."""

    rows: Count
    columns: Count
    spacing: Positive
    correlation: CorrelationLaw
    towards_bs: CorrelationLaw | None = None
    towards_surface: CorrelationLaw | None = None
    phase_noise: NoiseLaw = NoNoise(law="none")


class Directions(Table):
    """Gaussian scattering around one direction shared by all users, or around one for each."""

    azimuth_deg: Angles
    elevation_deg: Angles = [0.0]
    angular_spread_deg: float = Field(ge=0)


class Users(Table):
    """Single-antenna users; without directions an array sees them by its own correlation law."""

    count: Count
    seen_from_bs: Directions | None = None
    seen_from_surface1: Directions | None = None
    seen_from_surface2: Directions | None = None


class Gains(Table):
    """Mean power gain of each hop between two single elements; to the users one number, or one for each."""

    bs_ris1_db: Decibels | None = None
    bs_ris2_db: Decibels | None = None
    ris1_ris2_db: Decibels | None = None
    ris1_user_db: PerUser | None = None
    ris2_user_db: PerUser | None = None
    bs_user_db: PerUser | None = None


PATHS: Mapping[str, tuple[str, ...]] = {
    "direct": ("bs_user",),
    "single1": ("bs_ris1", "ris1_user"),
    "single2": ("bs_ris2", "ris2_user"),
    "double": ("bs_ris1", "ris1_ris2", "ris2_user"),
}


class System(Table):
    """BS, surfaces, users, the gains between them and the paths in use."""

    links: Annotated[list[LinkName], Field(min_length=1)]
    bs: BaseStation
    surface1: Surface
    surface2: Surface
    users: Users
    gains: Gains

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths in use, "single" spelt out."""
        return tuple(path for path in PATHS if path in self.links or path[:-1] in self.links)

    @property
    def hops(self) -> frozenset[str]:
        """Hops that the paths in use need."""
        return frozenset(hop for path in self.paths for hop in PATHS[path])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counts = self.users.count
        faults = [
            Fault(f"gains.{hop}_db", f"expected a gain, as the links {self.links} need it, got nothing")
            for hop in sorted(self.hops)
            if getattr(self.gains, f"{hop}_db") is None
        ]
        lists = {
            f"gains.{hop}_db": getattr(self.gains, f"{hop}_db")
            for hop in ("bs_user", "ris1_user", "ris2_user")
        }
        for node in ("bs", "surface1", "surface2"):
            directions = getattr(self.users, f"seen_from_{node}")
            if directions is not None:
                lists[f"users.seen_from_{node}.azimuth_deg"] = directions.azimuth_deg
                lists[f"users.seen_from_{node}.elevation_deg"] = directions.elevation_deg
        faults += [
            Fault(key, f"expected one number or {counts} (users.count), got {len(values)}")
            for key, values in lists.items()
            if values is not None and len(values) not in (1, counts)
        ]
        if faults:
            raise FaultsError(faults)
        return self


class Transmission(Table):
    """Power budget and precoding; noise power directly, or from bandwidth and noise figure at 290 K."""

    power_dbm: Decibels
    noise_power_dbm: Decibels | None = None
    bandwidth_hz: Positive | None = None
    noise_figure_db: Decibels | None = None
    csi: Csi = "perfect"
    precoder: Precoder = "mrt"

    @model_validator(mode="after")
    def _one_noise_power(self) -> Self:
        parts = self.bandwidth_hz is not None, self.noise_figure_db is not None
        if (self.noise_power_dbm is None) == all(parts) and (self.noise_power_dbm is None or not any(parts)):
            return self
        got = [
            key
            for key in ("noise_power_dbm", "bandwidth_hz", "noise_figure_db")
            if getattr(self, key) is not None
        ]
        raise FaultsError(
            [
                Fault(
                    "",
                    "expected either noise_power_dbm, or bandwidth_hz and noise_figure_db, got "
                    + (" and ".join(got) or "none of them"),
                )
            ]
        )


class Phases(Table):
    """The design of the phase shifts, rounded to 2^bits levels if `bits` is given."""

    design: PhaseDesignName
    user: int = Field(default=0, ge=0)
    bits: Annotated[int, Field(ge=1, le=32)] | None = None


class PowerModel(Table):
    """Power consumption: that of the amplifiers, power over efficiency, and what never rests, in watts."""

    amplifier_efficiency: float = Field(gt=0, le=1)
    bs_w: float = Field(ge=0)
    element_w: float = Field(ge=0)
    user_w: float = Field(default=0, ge=0)


class Simulation(Table):
    """How channels are drawn."""

    engine: Engine = "reduced"


class Point(Table):
    """Everything that defines one system and its transmission: one point of a sweep."""

    system: System
    transmission: Transmission
    phases: Phases
    power_model: PowerModel | None = None
    simulation: Simulation = Simulation()

    @model_validator(mode="after")
    def _user_exists(self) -> Self:
        if self.phases.user >= self.system.users.count:
            limit = self.system.users.count
            raise FaultsError(
                [Fault("phases.user", f"expected < {limit} (system.users.count), got {self.phases.user}")]
            )
        return self


# The study ----------------------------------------------------------------------------------------------


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
    if all(map(_is_number, values)):
        if any(a >= b for a, b in itertools.pairwise(values)):
            yield Fault(key, f"expected increasing numbers, got {values}")
    elif len(set(map(repr, values))) < len(values):
        yield Fault(key, f"expected values that differ, got {values}")


class Sweep(Table):
    """One axis, or several: the grid of all their values, where axes in `zip` advance together."""

    axis: Text | None = None
    values: Annotated[list[AxisValue], Field(min_length=1)] | None = None
    quick_values: Annotated[list[AxisValue], Field(min_length=1)] | None = None
    axes: Annotated[list[Axis], Field(min_length=1)] | None = None
    zip: list[Text] = []

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
        if faults:
            raise FaultsError(faults)
        names = [axis.axis for axis in self.all_axes]
        faults = [
            Fault("zip", f"expected axes of the sweep, got {name!r}")
            for name in self.zip
            if name not in names
        ]
        faults += _twice("zip", self.zip)
        every = [target for name in names for target in targets(name)]
        faults += _twice("axes", every)
        for quick in (False, True):
            lengths = {len(axis.chosen(quick)) for axis in self.all_axes if axis.axis in self.zip}
            if len(lengths) > 1:
                faults.append(Fault("zip", f"expected axes of one length, got lengths {sorted(lengths)}"))
        if faults:
            raise FaultsError(faults)
        return self

    @property
    def all_axes(self) -> list[Axis]:
        """The axes, also of a sweep with one."""
        if self.axes is not None:
            return self.axes
        return [Axis.model_construct(axis=self.axis, values=self.values, quick_values=self.quick_values)]


def _twice(path: str, names: list[str]) -> list[Fault]:
    return [Fault(path, f"expected {name} once") for i, name in enumerate(names) if name in names[:i]]


class Scheme(Table):
    """A labelled variant of the base system: keys or aliases, and what to set them to."""

    label: Text
    set: dict[str, Any] = {}


class Panel(Table):
    """One pair of axes: the metrics and the schemes that it shows."""

    title: str = ""
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["hardening_sum_rate"]
    schemes: list[str] | None = None
    y_scale: Scale = "linear"


class Plot(Table):
    """The picture."""

    x_label: Text
    x_unit: str = ""
    x_scale: Scale = "linear"
    panel: Annotated[list[Panel], Field(min_length=1)] = [Panel()]


class Metrics(Table):
    """What to estimate beside the quantities of every study; rates in bit/s/Hz."""

    outage_rate: Positive | None = None
    sinr_quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = []
    registered: list[Annotated[str, AfterValidator(_known_metric)]] = []

    @model_validator(mode="after")
    def _once(self) -> Self:
        faults = _twice("registered", self.registered)
        if any(a >= b for a, b in itertools.pairwise(self.sinr_quantiles)):
            faults.append(Fault("sinr_quantiles", f"expected increasing numbers, got {self.sinr_quantiles}"))
        if faults:
            raise FaultsError(faults)
        return self


class Stop(Table):
    """When a point has enough realizations before their largest number; see `studies.stopping`."""

    metric: Text
    half_width: Positive | None = None
    relative_half_width: Positive | None = None
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    min_realizations: int = Field(default=0, ge=0)
    wall_time_s: Positive | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.half_width is None) == (self.relative_half_width is None):
            raise FaultsError([Fault("", "expected either half_width or relative_half_width")])
        return self


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


LARGEST_STUDY = 100_000
"""Most points of a study, all schemes together."""

BOTH = ("system.surface1", "system.surface2")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "power_dbm": ("transmission.power_dbm",),
    "noise_power_dbm": ("transmission.noise_power_dbm",),
    "csi": ("transmission.csi",),
    "links": ("system.links",),
    "users": ("system.users.count",),
    "antennas": ("system.bs.antennas",),
    "bs_correlation": ("system.bs.correlation",),
    "bs_coefficient": ("system.bs.correlation.coefficient",),
    "elements": tuple(f"{surface}.{side}" for surface in BOTH for side in ("rows", "columns")),
    "side": tuple(f"{surface}.{side}" for surface in BOTH for side in ("rows", "columns")),
    "spacing": tuple(f"{surface}.spacing" for surface in BOTH),
    "surface_correlation": tuple(f"{surface}.correlation" for surface in BOTH),
    "phase_noise": tuple(f"{surface}.phase_noise" for surface in BOTH),
    "concentration": tuple(f"{surface}.phase_noise.concentration" for surface in BOTH),
    "design": ("phases.design",),
    "bits": ("phases.bits",),
    "engine": ("simulation.engine",),
}
"""Short names of keys; those of surfaces stand for both. "elements" is the number on a square surface."""


def targets(key: str) -> tuple[str, ...]:
    """Return the full keys that a key or an alias stands for."""
    return ALIASES.get(key, (key,))


def overridden(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a base system in TOML form with some keys set.

    A table merges into the table that is there, but a table with a `law` replaces it.
    """
    result = copy.deepcopy(dict(raw))
    for key, value in changes.items():
        if key == "elements":
            value = _side(value)
        for target in targets(key):
            *tables, last = target.split(".")
            place: Any = result
            for i, name in enumerate(tables):
                place = place.setdefault(name, {})
                if not isinstance(place, dict):
                    path = ".".join(tables[: i + 1])
                    raise FaultsError([Fault(target, f"expected a key inside a table, but {path} is none")])
            place[last] = _merged(place.get(last), value)
    return result


def _side(elements: Any) -> Any:
    side = math.isqrt(elements) if isinstance(elements, int) and elements > 0 else 0
    if side * side != elements or isinstance(elements, bool):
        raise FaultsError([Fault("elements", f"expected a square number, as 64 for 8 x 8, got {elements!r}")])
    return side


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and "law" not in new:
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)


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
    if all(map(_is_number, values)):
        return [float(value) for value in values]
    return [value if isinstance(value, str) else ", ".join(map(str, _listed(value))) for value in values]


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
        return Point.model_validate(_raw_point(self._base, self.settings, scheme, values))

    @functools.cached_property
    def _base(self) -> dict[str, Any]:
        """The base system as the file has it."""
        return _base(tomllib.loads(self.text))


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    StudyFileError
        If it cannot be read, is not TOML, or has faults: all of them, each with its key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyFileError(str(path), [Fault("", f"cannot be read: {problem}")]) from None
    return parse_study(text, path.stem, str(path))


def parse_study(text: str, name: str, source: str = "") -> Study:
    """Check the text of a study file; `source` names it in errors."""
    source = source or name
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise StudyFileError(source, [Fault("", f"is not TOML: {error}")]) from None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise StudyFileError(source, faults_of(error, Settings, raw)) from None
    if faults := list(_point_faults(raw, settings)):
        raise StudyFileError(source, faults)
    return Study(name, text, settings)


def _base(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: raw[key] for key in Point.model_fields if key in raw}


def _raw_point(
    base: Mapping[str, Any], settings: Settings, scheme: int, values: Sequence[Any]
) -> dict[str, Any]:
    keys = (axis.axis for group in _groups(settings.sweep) for axis in group)
    return overridden(base, {**settings.scheme[scheme].set, **dict(zip(keys, values, strict=True))})


def dimensions_of(sweep: Sweep, quick: bool = False) -> list[Dimension]:
    """Return the dimensions of a sweep: zipped axes make one."""
    return [
        Dimension(
            tuple(axis.axis for axis in group),
            tuple(zip(*(axis.chosen(quick) for axis in group), strict=True)),
        )
        for group in _groups(sweep)
    ]


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


def _point_faults(raw: Mapping[str, Any], settings: Settings) -> Iterator[Fault]:
    """Yield the faults of all schemes at all places, each once for a scheme."""
    grids = [dimensions_of(settings.sweep, quick) for quick in (False, True)]
    size = len(settings.scheme) * sum(math.prod(len(one.values) for one in grid) for grid in grids)
    if size > 2 * LARGEST_STUDY:
        yield Fault(
            "sweep", f"expected at most {LARGEST_STUDY} points, all schemes together, got {size // 2}"
        )
        return
    base = _base(raw)
    keys = [key for dimension in grids[0] for key in dimension.keys]
    places = {repr(place): place for grid in grids for place in places_of(grid)}
    for number, scheme in enumerate(settings.scheme):
        known: set[Fault] = set()
        for place in places.values():
            for fault in _faults_at(base, settings, number, place):
                if fault not in known:
                    known.add(fault)
                    where = ", ".join(f"{key} = {value}" for key, value in zip(keys, place, strict=True))
                    yield Fault(fault.path, f"{fault.problem} (scheme {scheme.label!r}, {where})")


def _faults_at(
    base: Mapping[str, Any], settings: Settings, scheme: int, values: Sequence[Any]
) -> Sequence[Fault]:
    try:
        raw = _raw_point(base, settings, scheme, values)
    except FaultsError as error:
        return error.faults
    try:
        Point.model_validate(raw)
    except ValidationError as error:
        return faults_of(error, Point, raw)
    return ()
