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
"""Codes of a run. Rows of the middle axis that fit side by side are taken together."""


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
def _nearest(v, highest):
    return np.uint8(np.int32(np.rint(min(max(v, np.float32(0.0)), highest))))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def add(y, inputs, full, zeros, multipliers, zero, highest):
    """Write clip(rint(v), 0, highest), v the sum of multiplier (q - z), plus zero.

    With r_n = m_n z_n and r_i = m_i z_i + r_(i+1), v = m_1 q_1 + (m_2 q_2 + ... + (m_n q_n + (zero - r_1))),
    each product rounded together with the sum that it enters. What does not vary along the middle axis is
    summed once for all of it.

    Parameters
    ----------
    y : uint8 array, shape (outer, middle, inner)
        Overwritten.
    inputs : tuple of uint8 arrays, shape (outer, middle, inner), behind the first `full` (outer, 1, inner)
    full : int
        At least 1.
    zeros, multipliers : int32 and float32 arrays, shape (inputs,)
    zero, highest : float32
    """
    outer, middle, inner = y.shape
    fixed, sums = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    moved = np.float32(0.0)
    for n in range(len(inputs) - 1, -1, -1):
        moved = _fused(multipliers[n], np.float32(zeros[n]), moved)
    for i in range(outer):
        made = y[i].reshape(-1)
        for begin in range(0, inner, BLOCK):
            width = min(inner - begin, BLOCK)
            rows = max(1, min(middle, BLOCK // inner))
            fixed[:] = zero - moved
            for n in range(len(inputs) - 1, full - 1, -1):
                same = inputs[n][i, 0, begin : begin + width]
                for r in range(rows):
                    _add_to(fixed[r * width : (r + 1) * width], same, multipliers[n])
            for j in range(0, middle, rows):
                first = j * inner + begin
                end = first + min(rows, middle - j) * width
                x, multiplier = inputs[0][i].reshape(-1)[first:end], multipliers[0]
                run = made[first:end]
                if full == 1:
                    for t in range(end - first):
                        run[t] = _nearest(_fused(np.float32(x[t]), multiplier, fixed[t]), highest)
                    continue
                source = fixed
                if full > 2:
                    source = sums
                    sums[:] = fixed
                    for n in range(full - 1, 1, -1):
                        _add_to(sums, inputs[n][i].reshape(-1)[first:end], multipliers[n])
                second, other = inputs[1][i].reshape(-1)[first:end], multipliers[1]
                for t in range(end - first):
                    v = _fused(np.float32(second[t]), other, source[t])
                    run[t] = _nearest(_fused(np.float32(x[t]), multiplier, v), highest)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _add_to(sums, x, multiplier):
    for t in range(len(x)):
        sums[t] = _fused(np.float32(x[t]), multiplier, sums[t])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def multiply(y, a, b, zero_a, zero_b, multiplier, zero, highest):
    """Write clip(rint(v + zero), 0, highest), v = (qa - za) (qb - zb) multiplier.

    Parameters
    ----------
    y : uint8 array, shape (outer, middle, inner)
        Overwritten.
    a, b : uint8 arrays, shape (outer, middle, inner) and (outer, 1, inner)
    zero_a, zero_b : int32
    multiplier, zero, highest : float32
    """
    outer, middle, inner = y.shape
    factors = np.empty(BLOCK, np.float32)
    for i in range(outer):
        made, one = y[i].reshape(-1), a[i].reshape(-1)
        for begin in range(0, inner, BLOCK):
            width = min(inner - begin, BLOCK)
            rows = max(1, min(middle, BLOCK // inner))
            same = b[i, 0, begin : begin + width]
            for r in range(rows):
                part = factors[r * width : (r + 1) * width]
                for t in range(width):
                    part[t] = np.float32(np.int32(same[t] - zero_b))
            for j in range(0, middle, rows):
                first = j * inner + begin
                count = min(rows, middle - j) * width
                x, run = one[first : first + count], made[first : first + count]
                for t in range(count):
                    # Products of two bytes are exact.
                    product = np.float32(np.int32(x[t] - zero_a)) * factors[t]
                    run[t] = _nearest(product * multiplier + zero, highest)


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
        codes = x[i].reshape(-1)
        for begin in range(0, inner, BLOCK):
            width = min(inner - begin, BLOCK)
            rows = max(1, min(middle, BLOCK // inner))
            sums[:] = 0
            sums[:width] = -middle * zero_x
            for j in range(0, middle, rows):
                first = j * inner + begin
                run = codes[first : first + min(rows, middle - j) * width]
                for t in range(len(run)):
                    sums[t] += run[t]
            for r in range(1, rows):
                part = sums[r * width : (r + 1) * width]
                for t in range(width):
                    sums[t] += part[t]
            made = y[i, begin : begin + width]
            for t in range(width):
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
