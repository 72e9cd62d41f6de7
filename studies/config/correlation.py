"""Laws of spatial correlation."""

from typing import Annotated, Literal

from pydantic import Field

from studies.config.table import Table

__all__ = ["CorrelationLaw", "Exponential", "Identity", "Isotropic", "LocalScattering", "PlanarIsotropic"]


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
