"""Hardware of a surface: amplitudes, failures and coupling of its elements, and what else it reflects."""

import math
from typing import Annotated, Literal

from pydantic import Field

from studies.config.correlation import CorrelationLaw, Isotropic
from studies.config.table import Decibels, Positive, Table

__all__ = ["Absorbing", "Amplitude", "Coupling", "FailureLaw", "Interference", "RandomPhase", "Stuck"]

Share = Annotated[float, Field(ge=0, le=1)]


class Amplitude(Table):
    """Amplitude minimum + (1 - minimum) ((sin(phase - offset) + 1) / 2)^steepness, phases in radians.

    The defaults are a fit to a measured element, that of Abeywickrama, Zhang, Wu and Yuen (2020).
    """

    minimum: Share
    offset: float = 0.43 * math.pi
    steepness: float = Field(default=1.6, ge=0)


class Absorbing(Table):
    """Elements that fail reflect nothing; which do is drawn anew in every realization."""

    law: Literal["absorbing"]
    probability: Share


class RandomPhase(Table):
    """Elements that fail reflect at a phase that is uniform on the circle."""

    law: Literal["random_phase"]
    probability: Share


class Stuck(Table):
    """Elements that fail are stuck at a phase, in radians."""

    law: Literal["stuck"]
    probability: Share
    phase: float = 0.0


FailureLaw = Annotated[Absorbing | RandomPhase | Stuck, Field(discriminator="law")]


class Coupling(Table):
    """Mutual coupling of the elements, that of thin dipoles along the columns; lengths in wavelengths.

    Every dipole ends in a load that has the coefficient of its element at the reference impedance.
    """

    length: Positive
    radius: Positive = 1e-4
    reference_ohm: Positive = 50.0


class Interference(Table):
    """Electromagnetic interference that meets the surface: its power at an element, and its correlation."""

    power_dbm: Decibels
    correlation: CorrelationLaw = Isotropic(law="isotropic")
