"""The system: BS, surfaces, users, and the gains of the hops between them or a scenario that gives them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from channels.errors import InvalidArgumentError
from studies.config.correlation import CorrelationLaw
from studies.config.hardware import Amplitude, Coupling, FailureLaw, Interference
from studies.config.line_of_sight import LineOfSight, UserRay
from studies.config.phase_noise import NoiseLaw, NoNoise
from studies.config.scenario import Node, Scenario, UsersAt
from studies.config.table import Angles, Count, Decibels, PerUser, Positive, Table, absent
from studies.errors import Fault, FaultsError
from studies.options import LinkName

__all__ = ["PATHS", "BaseStation", "Directions", "Gains", "Surface", "System", "Users"]


class BaseStation(Table):
    """A uniform linear array; `correlation` holds for every hop without a law of its own."""

    antennas: Count
    spacing: Positive = 0.5
    correlation: CorrelationLaw | None = None
    towards_surface1: CorrelationLaw | None = None
    towards_surface2: CorrelationLaw | None = None


class Surface(Table):
    """A uniform planar array; `correlation` holds for every hop without a law of its own."""

    rows: Count
    columns: Count
    spacing: Positive
    correlation: CorrelationLaw | None = None
    towards_bs: CorrelationLaw | None = None
    towards_surface: CorrelationLaw | None = None
    phase_noise: NoiseLaw = NoNoise(law="none")
    amplitude: Amplitude | None = Field(default=None, exclude_if=absent)
    failures: FailureLaw | None = Field(default=None, exclude_if=absent)
    coupling: Coupling | None = Field(default=None, exclude_if=absent)
    interference: Interference | None = Field(default=None, exclude_if=absent)

    @property
    def random(self) -> bool:
        """Whether the elements do something at random."""
        failing = self.failures
        certain = {0.0} if failing is not None and failing.law == "random_phase" else {0.0, 1.0}
        return self.phase_noise.law != "none" or (failing is not None and failing.probability not in certain)


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


ENDS: Mapping[str, tuple[str, str]] = {
    "bs_ris1": ("bs", "surface1"),
    "bs_ris2": ("bs", "surface2"),
    "ris1_ris2": ("surface1", "surface2"),
    "ris1_user": ("surface1", "users"),
    "ris2_user": ("surface2", "users"),
    "bs_user": ("bs", "users"),
}
"""Hop to the tables at its ends, the one nearer to the BS first."""


class System(Table):
    """BS, surfaces, users and the paths in use; gains and correlations are given, or come from a scenario."""

    links: Annotated[list[LinkName], Field(min_length=1)]
    bs: BaseStation
    surface1: Surface
    surface2: Surface
    users: Users
    gains: Gains | None = None
    line_of_sight: LineOfSight | None = Field(default=None, exclude_if=absent)
    scenario: Scenario | None = Field(default=None, exclude_if=absent)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths in use, "single" spelt out."""
        return tuple(path for path in PATHS if path in self.links or path[:-1] in self.links)

    @property
    def hops(self) -> frozenset[str]:
        """Hops that the paths in use need."""
        return frozenset(hop for path in self.paths for hop in PATHS[path])

    @property
    def surfaces(self) -> dict[str, Surface]:
        """Surfaces that the paths in use touch, by the names of their tables."""
        ends = {end for hop in self.hops for end in ENDS[hop]}
        return {name: getattr(self, name) for name in ("surface1", "surface2") if name in ends}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scenario is not None:
            faults = [*self._given_twice(), *self._scenario_faults(self.scenario)]
        elif self.gains is not None:
            faults = [*self._gain_faults(self.gains), *self._count_faults(self.gains)]
        else:
            faults = [Fault("gains", "expected a value, got nothing")]
        faults += [
            Fault(
                f"{name}.coupling.length",
                f"expected at most {surface.spacing:g}, or dipoles of a column overlap",
            )
            for name, surface in self.surfaces.items()
            if surface.coupling is not None and surface.rows > 1 and surface.coupling.length > surface.spacing
        ]
        if faults:
            raise FaultsError(faults)
        return self

    def _gain_faults(self, gains: Gains) -> Iterator[Fault]:
        for node in ("bs", "surface1", "surface2"):
            if getattr(self, node).correlation is None:
                yield Fault(f"{node}.correlation", "expected a value, got nothing")
        for hop in sorted(self.hops):
            if getattr(gains, f"{hop}_db") is None:
                yield Fault(
                    f"gains.{hop}_db", f"expected a gain, as the links {self.links} need it, got nothing"
                )

    def _count_faults(self, gains: Gains) -> Iterator[Fault]:
        lists = {
            f"gains.{hop}_db": getattr(gains, f"{hop}_db") for hop in ("bs_user", "ris1_user", "ris2_user")
        }
        for node in ("bs", "surface1", "surface2"):
            directions = getattr(self.users, f"seen_from_{node}")
            if directions is not None:
                lists[f"users.seen_from_{node}.azimuth_deg"] = directions.azimuth_deg
                lists[f"users.seen_from_{node}.elevation_deg"] = directions.elevation_deg
        for name, ray in (self.line_of_sight.rays if self.line_of_sight else {}).items():
            if isinstance(ray, UserRay):
                lists |= {f"line_of_sight.{name}.{key}": value for key, value in ray}
        counts = self.users.count
        for key, values in lists.items():
            if values is not None and len(values) not in (1, counts):
                yield Fault(key, f"expected one number or {counts} (users.count), got {len(values)}")

    def _given_twice(self) -> Iterator[Fault]:
        """Yield faults of keys whose place the geometry takes."""
        if self.gains is not None:
            yield Fault("gains", "expected nothing beside scenario, which gives them")
        if self.line_of_sight is not None:
            problem = "expected nothing beside scenario, whose hops may have a k_factor_db"
            yield Fault("line_of_sight", problem)
        keys = {
            "bs": ("correlation", "towards_surface1", "towards_surface2"),
            "surface1": ("correlation", "towards_bs", "towards_surface"),
            "surface2": ("correlation", "towards_bs", "towards_surface"),
            "users": ("seen_from_bs", "seen_from_surface1", "seen_from_surface2"),
        }
        for table, names in keys.items():
            for name in names:
                if getattr(getattr(self, table), name) is not None:
                    yield Fault(f"{table}.{name}", "expected nothing beside scenario, which gives it")

    def _scenario_faults(self, scenario: Scenario) -> Iterator[Fault]:
        need = f"as the links {self.links} need it, got nothing"
        for hop in sorted(self.hops):
            if scenario.law_of(hop) is None:
                yield Fault(f"scenario.{hop}", f"expected a table, or hop for all of them, {need}")
        nodes = {end for hop in self.hops for end in ENDS[hop]} - {"users"}
        for node in sorted(nodes):
            if getattr(scenario, node) is None:
                yield Fault(f"scenario.{node}", f"expected a table, {need}")
        for node in ("bs", "surface1", "surface2"):
            yield from _element_faults(node, getattr(scenario, node), getattr(self, node).spacing)
        users = scenario.users
        if isinstance(users, UsersAt) and len(users.positions_m) != self.users.count:
            problem = f"expected {self.users.count} (users.count), got {len(users.positions_m)}"
            yield Fault("scenario.users.positions_m", problem)


def _element_faults(name: str, node: Node | None, spacing: float) -> Iterator[Fault]:
    """Yield a fault of a pattern that `channels` refuses, as it passes on more power than it gets."""
    if node is None or node.element is None:
        return
    try:
        node.element.of_array(spacing)
    except InvalidArgumentError as error:
        path = f"scenario.{name}.element.{error.argument}"
        yield Fault(path, f"expected {error.expected}, got {error.got}")
