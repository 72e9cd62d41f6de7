"""The closed sets of options, one Literal each."""

from typing import Literal

__all__ = ["FailedState", "Office", "ScatteringDimensions", "ScatteringMethod"]

FailedState = Literal["absorbing", "random_phase"]
Office = Literal["mixed", "open"]
ScatteringDimensions = Literal[2, 3]
ScatteringMethod = Literal["quadrature", "small_angle"]
