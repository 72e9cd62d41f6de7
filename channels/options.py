"""The closed sets of string options, one Literal each."""

from typing import Literal

__all__ = ["ScatteringMethod"]

ScatteringMethod = Literal["quadrature", "small_angle"]
