"""Sums of absolute differences of codes: layers that only add."""

import numpy as np
from numba import njit

__all__ = ["sum_code_differences"]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def sum_code_differences(y, x, weights, kernel, bias, multiplier, low, high, zero):
    """Write clip(rint(v), low, high) + zero, v = float32(sum of |qx - qw| + bias) multiplier, or v itself.

    Parameters
    ----------
    y : uint8 array for codes, float32 array for v, shape (maps, rows, columns, channels out)
        Overwritten.
    x : uint8 array, shape (maps, rows + kernel - 1, columns + kernel - 1, channels in)
        With its border.
    weights : uint8 array, shape (channels out, kernel, kernel x channels in)
        By row of the kernel.
    kernel : int
        Rows and columns of the kernel.
    bias, multiplier : int32 and float32 arrays, shape (channels out,)
    low, high : float32
        Bounds of the rounded number; equal ones for v itself.
    zero : int32
        Code of the number 0.
    """
    maps, rows, columns, channels = y.shape
    run = weights.shape[2]
    stride = x.shape[3]
    lines = x.reshape(maps, x.shape[1], -1)
    for m in range(maps):
        for row in range(rows):
            for column in range(columns):
                for o in range(channels):
                    total = np.int64(bias[o])
                    for i in range(kernel):
                        seen = lines[m, row + i, column * stride : column * stride + run]
                        w = weights[o, i]
                        part = np.int64(0)
                        for t in range(run):
                            part += abs(np.int32(seen[t]) - np.int32(w[t]))
                        total += part
                    v = np.float32(total) * multiplier[o]
                    if low < high:
                        v = np.float32(np.int32(np.rint(min(max(v, low), high))) + zero)
                    y[m, row, column, o] = v
