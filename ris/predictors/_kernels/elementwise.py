"""Sums, products and tables of codes.

A code q of a tensor with zero point z and scale s stands for s (q - z). Where nothing else is said, results
are clip(rint(v), low, high) + zero with a float32 v, rounded half to even.
"""

from typing import Any

import numpy as np
from numba import float32, njit
from numba.extending import intrinsic as _intrinsic

__all__ = ["add", "look_up", "multiply", "quantize", "sum_middle"]

# Numba's annotations describe the generator of the code, not the call.
intrinsic: Any = _intrinsic

BLOCK = 1024


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def quantize(y, x, scale, low, high, zero):
    """Write codes of numbers, v = x / scale, with the channels moved to the last axis.

    Parameters
    ----------
    y : uint8 array, shape (maps, elements, channels)
        Overwritten.
    x : float32 array, shape (maps, channels, elements)
    scale, low, high : float32
    zero : int32
    """
    maps, channels, elements = x.shape
    for m in range(maps):
        for c in range(channels):
            row = x[m, c]
            for i in range(elements):
                v = min(max(row[i] / scale, low), high)
                y[m, i, c] = np.uint8(np.int32(np.rint(v)) + zero)


@intrinsic
def _fused(typing_context, a, b, c):
    """Return a b + c of float32, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return float32(float32, float32, float32), generate


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def add(y, inputs, zeros, multipliers, zero, highest):
    """Write clip(rint(v), 0, highest), v the sum of multiplier (q - z), plus zero.

    With r_n = m_n z_n and r_i = m_i z_i + r_(i+1), v = m_1 q_1 + (m_2 q_2 + ... + (m_n q_n + (zero - r_1))),
    each product rounded together with the sum that it enters.

    Parameters
    ----------
    y : uint8 array, shape (outer, middle, inner)
        Overwritten.
    inputs : tuple of uint8 arrays, shape (outer, middle or 1, inner)
    zeros, multipliers : int32 and float32 arrays, shape (inputs,)
    zero, highest : float32
    """
    outer, middle, inner = y.shape
    sums = np.empty(BLOCK, np.float32)
    moved = np.float32(0.0)
    for n in range(len(inputs) - 1, -1, -1):
        moved = _fused(multipliers[n], np.float32(zeros[n]), moved)
    for i in range(outer):
        for j in range(middle):
            for begin in range(0, inner, BLOCK):
                end = min(begin + BLOCK, inner)
                sums[:] = zero - moved
                for n in range(len(inputs) - 1, 0, -1):
                    x = inputs[n][i, min(j, inputs[n].shape[1] - 1), begin:end]
                    multiplier = multipliers[n]
                    for t in range(end - begin):
                        sums[t] = _fused(np.float32(x[t]), multiplier, sums[t])
                x, multiplier = inputs[0][i, min(j, inputs[0].shape[1] - 1), begin:end], multipliers[0]
                made = y[i, j, begin:end]
                for t in range(end - begin):
                    v = _fused(np.float32(x[t]), multiplier, sums[t])
                    made[t] = np.uint8(np.int32(np.rint(min(max(v, np.float32(0.0)), highest))))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def multiply(y, a, b, zero_a, zero_b, multiplier, zero, highest):
    """Write clip(rint(v + zero), 0, highest), v = (qa - za) (qb - zb) multiplier.

    Parameters
    ----------
    y : uint8 array, shape (outer, middle, inner)
        Overwritten.
    a, b : uint8 arrays, shape (outer, middle or 1, inner)
    zero_a, zero_b : int32
    multiplier, zero, highest : float32
    """
    outer, middle, inner = y.shape
    for i in range(outer):
        for j in range(middle):
            one, other = a[i, min(j, a.shape[1] - 1)], b[i, min(j, b.shape[1] - 1)]
            made = y[i, j]
            for t in range(inner):
                product = np.int32((one[t] - zero_a) * (other[t] - zero_b))
                v = min(max(np.float32(product) * multiplier + zero, np.float32(0.0)), highest)
                made[t] = np.uint8(np.int32(np.rint(v)))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def sum_middle(y, x, zero_x, multiplier, low, high, zero):
    """Write codes of a sum over the middle axis, v = float32(sum of (q - z)) multiplier.

    Parameters
    ----------
    y : uint8 array, shape (outer, inner)
        Overwritten.
    x : uint8 array, shape (outer, middle, inner)
    zero_x, zero : int32
    multiplier, low, high : float32
    """
    outer, middle, inner = x.shape
    sums = np.empty(BLOCK, np.int32)
    for i in range(outer):
        for begin in range(0, inner, BLOCK):
            end = min(begin + BLOCK, inner)
            sums[:] = -middle * zero_x
            for j in range(middle):
                row = x[i, j, begin:end]
                for t in range(end - begin):
                    sums[t] += row[t]
            made = y[i, begin:end]
            for t in range(end - begin):
                v = min(max(np.float32(sums[t]) * multiplier, low), high)
                made[t] = np.uint8(np.int32(np.rint(v)) + zero)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def look_up(y, x, table, first):
    """Write table entries into the channels from `first` on.

    Parameters
    ----------
    y : uint8 array, shape (elements, channels out)
    x : uint8 array, shape (elements, channels in)
    table : uint8 array, shape (256,)
    first : int
    """
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, first + c] = table[x[i, c]]
