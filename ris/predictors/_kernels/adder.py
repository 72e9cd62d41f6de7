"""Sums of absolute differences: layers that only add."""

import numpy as np
from numba import njit

__all__ = ["add_slopes", "sum_code_differences", "sum_differences"]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def sum_differences(y, x, weights):
    """Write y[map, o, place] = sum over n of |x[map, n, place] - w[o, n]|.

    Parameters
    ----------
    y : float array, shape (maps, channels out, places)
        Overwritten.
    x : float array, shape (maps, entries, places)
        What the weights meet at every place.
    weights : float array, shape (channels out, entries)
    """
    maps, entries, places = x.shape
    fours = entries - entries % 4
    for m in range(maps):
        for o in range(weights.shape[0]):
            total, w = y[m, o], weights[o]
            total[:] = 0
            for n in range(0, fours, 4):
                x0, x1, x2, x3 = x[m, n], x[m, n + 1], x[m, n + 2], x[m, n + 3]
                w0, w1, w2, w3 = w[n], w[n + 1], w[n + 2], w[n + 3]
                for p in range(places):
                    one = abs(x0[p] - w0) + abs(x1[p] - w1)
                    other = abs(x2[p] - w2) + abs(x3[p] - w3)
                    total[p] += one + other
            for n in range(fours, entries):
                last = x[m, n]
                for p in range(places):
                    total[p] += abs(last[p] - w[n])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def add_slopes(y, x, weights, slopes):
    """Write y[map, n, place] = sum over o of slopes[map, o, place] clip(x[map, n, place] - w[o, n], -1, 1).

    Parameters
    ----------
    y, x : float arrays, shape (maps, entries, places)
        `y` is overwritten.
    weights : float array, shape (channels out, entries)
    slopes : float array, shape (maps, channels out, places)
    """
    maps, entries, places = x.shape
    fours = weights.shape[0] - weights.shape[0] % 4
    one = x.dtype.type(1)
    for m in range(maps):
        for n in range(entries):
            total, given = y[m, n], x[m, n]
            total[:] = 0
            for o in range(0, fours, 4):
                s0, s1, s2, s3 = slopes[m, o], slopes[m, o + 1], slopes[m, o + 2], slopes[m, o + 3]
                w0, w1, w2, w3 = weights[o, n], weights[o + 1, n], weights[o + 2, n], weights[o + 3, n]
                for p in range(places):
                    v = given[p]
                    first = s0[p] * min(max(v - w0, -one), one) + s1[p] * min(max(v - w1, -one), one)
                    other = s2[p] * min(max(v - w2, -one), one) + s3[p] * min(max(v - w3, -one), one)
                    total[p] += first + other
            for o in range(fours, weights.shape[0]):
                w, slope = weights[o, n], slopes[m, o]
                for p in range(places):
                    total[p] += slope[p] * min(max(given[p] - w, -one), one)


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
