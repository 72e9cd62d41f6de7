"""The symmetries of a square: what kernels become by turning and flipping."""

from typing import Any, TypeVar

import numpy as np

__all__ = ["SYMMETRIES", "all_turned"]

SYMMETRIES = 8
"""Four rotations, each as it is and flipped."""

Kernels = TypeVar("Kernels")
"""An array of NumPy or a tensor of torch."""


def all_turned(kernels: Kernels) -> Kernels:
    """Return kernels in all their symmetries.

    Parameters
    ----------
    kernels : array or Tensor, shape (kernels, inputs, side, side)
        The distinct ones.

    Returns
    -------
    array or Tensor, shape (8 kernels, inputs, side, side)
        Of every kernel its rotations by 0, 90, 180 and 270 degrees, and then those of its mirror image.
    """
    given: Any = kernels
    count, inputs, side, _ = given.shape
    places = np.arange(side**2).reshape(side, side)
    orders = [np.rot90(one, quarter).ravel() for one in (places, places[:, ::-1]) for quarter in range(4)]
    turned = given.reshape(count, inputs, -1)[:, :, np.array(orders)].swapaxes(1, 2)
    made: Kernels = turned.reshape(SYMMETRIES * count, inputs, side, side)
    return made
