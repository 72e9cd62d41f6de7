"""Arrays that threads keep between uses."""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scratch"]


class Scratch(threading.local):
    """Arrays that each thread keeps from one use to the next: fresh pages cost more than most products.

    Parameters
    ----------
    dtype : type
        Of the arrays.
    """

    def __init__(self, dtype: type[np.floating[Any]] = np.float64) -> None:
        self._dtype = dtype
        self._buffers: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an array of that shape, its entries left from the last use of that name."""
        size = math.prod(shape)
        if name not in self._buffers or self._buffers[name].size < size:
            # Aligned to 64 bytes: vectors that cross lines of the cache cost products half their speed.
            buffer = np.empty(size + 64, self._dtype)
            self._buffers[name] = buffer[-buffer.ctypes.data % 64 // buffer.itemsize :]
        return self._buffers[name][:size].reshape(shape)
