"""Laws of the phase noise of a surface."""

import math
from typing import Annotated, Literal

from pydantic import Field

from studies.config.table import Table

__all__ = [
    "NoNoise",
    "NoiseLaw",
    "Quantization",
    "SumOfLaws",
    "Uniform",
    "VonMises",
    "WrappedNormal",
]


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
