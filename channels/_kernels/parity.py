"""Even and odd parts of columns over a grid of elements: the basis that mirror symmetry calls for."""

import math

from numba import njit

from channels._kernels.vectors import whole_registers

__all__ = ["fold", "unfold"]

HALF_ROOT = math.sqrt(0.5)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def fold(parts, columns, rows):
    """Split columns into their parts that are even or odd in each axis of the grid.

    With v(i, j) at row i and column j of the grid and primes for mirror images, the parts are sums
    (v(i, j) +- v(i, j') +- v(i', j) +- v(i', j')) / 2, on a middle line those of one mirror over sqrt(2): the
    map is orthogonal.

    Parameters
    ----------
    parts : float64 or float32 array, shape (N, W)
        Overwritten: the elements of the parts (even, even), (even, odd), (odd, even), (odd, odd), in rows
        and columns, one part after the other.
    columns : float64 or float32 array, shape (N, W)
        Element (i, j) is row i (N / rows) + j.
    rows : int
        Rows of the grid. One row stands for a mirror of all N elements at once.
    """
    whole_registers()
    N, width = columns.shape
    length = N // rows
    even, half = (length + 1) // 2, length // 2
    one_half, root_half = columns.dtype.type(0.5), columns.dtype.type(HALF_ROOT)
    lower = ((rows + 1) // 2) * length
    for i in range((rows + 1) // 2):
        mirror = rows - 1 - i
        for j in range(even):
            opposite = length - 1 - j
            a, b = columns[i * length + j], columns[i * length + opposite]
            c, d = columns[mirror * length + j], columns[mirror * length + opposite]
            ee = parts[i * even + j]
            if i < mirror and j < opposite:
                eo = parts[even * ((rows + 1) // 2) + i * half + j]
                oe, oo = parts[lower + i * even + j], parts[lower + even * (rows // 2) + i * half + j]
                for t in range(width):
                    p, q, r, s = a[t] + b[t], a[t] - b[t], c[t] + d[t], c[t] - d[t]
                    ee[t], eo[t] = one_half * (p + r), one_half * (q + s)
                    oe[t], oo[t] = one_half * (p - r), one_half * (q - s)
            elif i < mirror:
                oe = parts[lower + i * even + j]
                for t in range(width):
                    ee[t], oe[t] = root_half * (a[t] + c[t]), root_half * (a[t] - c[t])
            elif j < opposite:
                eo = parts[even * ((rows + 1) // 2) + i * half + j]
                for t in range(width):
                    ee[t], eo[t] = root_half * (a[t] + b[t]), root_half * (a[t] - b[t])
            else:
                for t in range(width):
                    ee[t] = a[t]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def unfold(columns, parts, rows):
    """Join the parts that `fold` made: its inverse, with the same arguments; `columns` is overwritten."""
    whole_registers()
    N, width = columns.shape
    length = N // rows
    even, half = (length + 1) // 2, length // 2
    one_half, root_half = columns.dtype.type(0.5), columns.dtype.type(HALF_ROOT)
    lower = ((rows + 1) // 2) * length
    for i in range((rows + 1) // 2):
        mirror = rows - 1 - i
        for j in range(even):
            opposite = length - 1 - j
            a, b = columns[i * length + j], columns[i * length + opposite]
            c, d = columns[mirror * length + j], columns[mirror * length + opposite]
            ee = parts[i * even + j]
            if i < mirror and j < opposite:
                eo = parts[even * ((rows + 1) // 2) + i * half + j]
                oe, oo = parts[lower + i * even + j], parts[lower + even * (rows // 2) + i * half + j]
                for t in range(width):
                    p, q, r, s = ee[t] + oe[t], eo[t] + oo[t], ee[t] - oe[t], eo[t] - oo[t]
                    a[t], b[t] = one_half * (p + q), one_half * (p - q)
                    c[t], d[t] = one_half * (r + s), one_half * (r - s)
            elif i < mirror:
                oe = parts[lower + i * even + j]
                for t in range(width):
                    a[t], c[t] = root_half * (ee[t] + oe[t]), root_half * (ee[t] - oe[t])
            elif j < opposite:
                eo = parts[even * ((rows + 1) // 2) + i * half + j]
                for t in range(width):
                    a[t], b[t] = root_half * (ee[t] + eo[t]), root_half * (ee[t] - eo[t])
            else:
                for t in range(width):
                    a[t] = ee[t]
