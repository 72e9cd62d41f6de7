"""The closed sets of options, one Literal each."""

from typing import Literal

__all__ = ["Office", "ScatteringDimensions", "ScatteringMethod"]

Office = Literal["mixed", "open"]
ScatteringDimensions = Literal[2, 3]
ScatteringMethod = Literal["quadrature", "small_angle"]
