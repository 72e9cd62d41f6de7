"""Lines of sight of hops whose gains are given: K-factors and directions."""

from typing import Self

from pydantic import model_validator

from studies.config.table import Angles, Decibels, PerUser, Table
from studies.errors import Fault, FaultsError

__all__ = ["LineOfSight", "Ray", "UserRay"]


class Ray(Table):
    """The line of sight between two arrays: its directions at the end nearer to the BS and at the other end.

    Directions are those of local scattering: around them it would have the covariances of this ray.
    """

    k_factor_db: Decibels | None = None
    left_azimuth_deg: float
    left_elevation_deg: float = 0.0
    right_azimuth_deg: float
    right_elevation_deg: float = 0.0


class UserRay(Table):
    """The lines of sight to the users: one direction from the array and one K-factor, or one for each."""

    k_factor_db: PerUser | None = None
    azimuth_deg: Angles
    elevation_deg: Angles = [0.0]


class LineOfSight(Table):
    """Hops in line of sight: Rician fading, where the gain of a hop includes both its parts.

    The K-factor is the power of the ray over that of the rest; `k_factor_db` holds for every hop here without
    one of its own.
    """

    k_factor_db: Decibels | None = None
    bs_ris1: Ray | None = None
    bs_ris2: Ray | None = None
    ris1_ris2: Ray | None = None
    ris1_user: UserRay | None = None
    ris2_user: UserRay | None = None
    bs_user: UserRay | None = None

    @property
    def rays(self) -> dict[str, Ray | UserRay]:
        """Rays by hop."""
        return {
            name: ray
            for name in type(self).model_fields
            if isinstance(ray := getattr(self, name), Ray | UserRay)
        }

    @model_validator(mode="after")
    def _factors(self) -> Self:
        if not self.rays:
            raise FaultsError([Fault("", "expected a table for a hop, as bs_ris1, got none")])
        if self.k_factor_db is None:
            problem = "expected a value, here or for all hops, got nothing"
            faults = [
                Fault(f"{name}.k_factor_db", problem)
                for name, ray in self.rays.items()
                if ray.k_factor_db is None
            ]
            if faults:
                raise FaultsError(faults)
        return self
