"""A Gaussian matrix W of iid CN(0, 1) entries times a few columns, one W for each realization of a tile.

Arrays of a tile have axes (element, realization, column).
"""

import numpy as np
from numba import njit

from channels._kernels.gaussian import fill_complex_normal

__all__ = ["draw_matrices", "draw_vectors", "explicit_product"]


@njit(cache=True, nogil=True)
def draw_vectors(out, key, first):
    """Draw iid CN(0, 1) vectors, one for each realization and column.

    Parameters
    ----------
    out : complex128 array, shape (n, B, C)
        Overwritten. Column c of realization t holds entries c n .. c n + n - 1 of its sequence.
    key : uint32 array, shape (2,)
        Key of the stream.
    first : int
        Number of the first realization.
    """
    n, B, C = out.shape
    numbers = np.empty(n * C, np.complex128)
    for t in range(B):
        fill_complex_normal(numbers, key, first + t, 0)
        for c in range(C):
            for i in range(n):
                out[i, t, c] = numbers[c * n + i]


@njit(cache=True, nogil=True)
def draw_matrices(out, key, first):
    """Draw the matrices W themselves, shape (realizations, rows, columns)."""
    for t in range(out.shape[0]):
        fill_complex_normal(out[t].ravel(), key, first + t, 0)


@njit(cache=True, nogil=True)
def explicit_product(out, columns, key, first):
    """Draw W row by row and multiply: out_t = W_t columns_t.

    Parameters
    ----------
    out : complex128 array, shape (n, B, C)
        Overwritten.
    columns : complex128 array, shape (m, B, C)
        What the n x m matrices multiply.
    key : uint32 array, shape (2,)
        Key of the stream; entry (i, j) of W is number i m + j of the realization.
    first : int
        Number of the first realization.
    """
    n, B, C = out.shape
    m = columns.shape[0]
    row = np.empty(m, np.complex128)
    real, imag = np.empty((m, C)), np.empty((m, C))
    sum_real, sum_imag = np.empty(C), np.empty(C)
    for t in range(B):
        for j in range(m):
            for c in range(C):
                real[j, c] = columns[j, t, c].real
                imag[j, c] = columns[j, t, c].imag
        for i in range(n):
            fill_complex_normal(row, key, first + t, i * m)
            sum_real[:] = 0.0
            sum_imag[:] = 0.0
            for j in range(m):
                x, y = row[j].real, row[j].imag
                for c in range(C):
                    sum_real[c] += x * real[j, c] - y * imag[j, c]
                    sum_imag[c] += x * imag[j, c] + y * real[j, c]
            for c in range(C):
                out[i, t, c] = complex(sum_real[c], sum_imag[c])
