"""The symmetries of a square: what kernels become by turning and flipping."""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

# The runtime does without torch.
if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SYMMETRIES", "all_turned"]

SYMMETRIES = 8
"""Four rotations, each as it is and flipped."""

Kernels = TypeVar("Kernels", NDArray[Any], "Tensor")


def all_turned(kernels: Kernels) -> Kernels:
    """Return kernels in all their symmetries.

    Parameters
    ----------
    kernels : array or Tensor, shape (kernels, inputs, side, side)
        The distinct ones.

    Returns
    -------
    array or Tensor, shape (8 kernels, inputs, side, side)
        Of every kernel its rotations by 0, 90, 180 and 270 degrees, and behind them those of its mirror image.
    """
    count, inputs, side, _ = kernels.shape
    places = np.arange(side**2).reshape(side, side)
    orders = [np.rot90(one, quarter).ravel() for one in (places, places[:, ::-1]) for quarter in range(4)]
    turned = kernels.reshape(count, inputs, -1)[:, :, np.array(orders)]
    return turned.swapaxes(1, 2).reshape(SYMMETRIES * count, inputs, side, side)
