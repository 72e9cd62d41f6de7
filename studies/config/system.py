"""The system: BS, surfaces, users, and the gains of the hops between them."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from studies.config.correlation import CorrelationLaw
from studies.config.phase_noise import NoiseLaw, NoNoise
from studies.config.table import Angles, Count, Decibels, PerUser, Positive, Table
from studies.errors import Fault, FaultsError
from studies.options import LinkName

__all__ = ["PATHS", "BaseStation", "Directions", "Gains", "Surface", "System", "Users"]


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
