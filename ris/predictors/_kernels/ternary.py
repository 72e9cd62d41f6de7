"""Convolutions with weights -1, 0 and 1: sums and differences of codes, without a product."""

import numpy as np
from numba import njit

__all__ = ["add_and_subtract", "requantize"]

BLOCK = 2048
"""Sums that are worked on together, so that they stay near the processor."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def add_and_subtract(sums, x, places, ends, bias):
    """Write bias + sum of x at the places of weights 1 - sum of x at those of weights -1, for every pixel.

    Parameters
    ----------
    sums : int32 array, shape (channels out, pixels)
        Overwritten.
    x : uint8 array, one axis
        Planes of the channels, one after the other, with borders; every place has `pixels` entries behind it.
    places : int64 array, one axis
        Where weights meet the first pixel: of the first channel those of 1, then those of -1, and so on.
    ends : int64 array, shape (channels out, 2)
        Behind the places of weights 1 and -1 of each channel.
    bias : int32 array, shape (channels out,)
    """
    channels, pixels = sums.shape
    for begin in range(0, pixels, BLOCK):
        count = min(BLOCK, pixels - begin)
        first = 0
        for o in range(channels):
            some = sums[o, begin : begin + count]
            some[:] = bias[o]
            for k in range(first, ends[o, 0]):
                seen = x[places[k] + begin : places[k] + begin + count]
                for t in range(count):
                    some[t] += np.int32(seen[t])
            for k in range(ends[o, 0], ends[o, 1]):
                seen = x[places[k] + begin : places[k] + begin + count]
                for t in range(count):
                    some[t] -= np.int32(seen[t])
            first = ends[o, 1]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def requantize(y, sums, multiplier, low, high, zero):
    """Write clip(rint(v), low, high) + zero with v = float32(sum) multiplier, or v itself if low = high.

    Parameters
    ----------
    y : uint8 array for codes, float32 array for v, shape (maps, rows, columns, channels)
        Overwritten.
    sums : int32 array, shape (channels, maps, rows with borders, columns with borders)
        Those that count come first in rows and columns.
    multiplier : float32 array, shape (channels,)
    low, high : float32
    zero : int32
    """
    maps, rows, columns, channels = y.shape
    for m in range(maps):
        for row in range(rows):
            for o in range(channels):
                for column in range(columns):
                    v = np.float32(sums[o, m, row, column]) * multiplier[o]
                    if low < high:
                        v = np.float32(min(max(np.rint(v), low), high) + np.float32(zero))
                    y[m, row, column, o] = v
