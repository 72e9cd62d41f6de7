"""Gaussian columns with a given covariance between the columns, and the covariance that columns hand on.

Arrays of a tile have axes (element, real or imaginary part, column, realization): neighbouring realizations
fill the lanes of a vector instruction in every step.
"""

import math

import numpy as np
from numba import njit

from channels._kernels.gaussian import fill_realizations

__all__ = ["draw_columns", "factor_grams", "gram"]

NEGLIGIBLE = 1e-14
"""Part of a column's own power below which it is linearly dependent on the columns already taken."""


@njit(cache=True, nogil=True, error_model="numpy")
def gram(grams, columns):
    """Add Y_t^H Y_t to the Gram matrix of each realization; only the lower triangle is kept.

    Parameters
    ----------
    grams : float64 array, shape (C, C, 2, B)
        Changed in place: entry (c, d), real and imaginary part, of each realization, for c >= d.
    columns : float64 array, shape (n, 2, C, B)
        Y.
    """
    for i in range(columns.shape[0]):
        re, im = columns[i, 0], columns[i, 1]
        for c in range(columns.shape[2]):
            for d in range(c + 1):
                _add_conjugate_product(grams[c, d, 0], grams[c, d, 1], re[c], im[c], re[d], im[d])


@njit(cache=True, nogil=True, error_model="numpy")
def factor_grams(factors, grams):
    """Write L_t with L_t L_t^H = G_t, for semidefinite G_t.

    Cholesky's factorization with the largest pivot first, pivots measured in units of the diagonal entry that
    they come from, so that weak columns count as much as strong ones. It ends when all that remain are below
    1e-14 of those entries: the error of G_cd is then below 1e-14 (G_cc G_dd)^(1/2), whatever the rank.

    Parameters
    ----------
    factors : float64 array, shape (C, C, 2, B)
        Overwritten by L: (column of the hop, number of the pivot).
    grams : float64 array, shape (C, C, 2, B)
        G, of which the lower triangle is read.
    """
    C, B = grams.shape[0], grams.shape[3]
    rest = np.empty((C, C), np.complex128)
    scale = np.empty(C)
    for t in range(B):
        for c in range(C):
            power = grams[c, c, 0, t]
            scale[c] = 1.0 / math.sqrt(power) if power > 0.0 else 0.0
            for d in range(c + 1):
                entry = complex(grams[c, d, 0, t], grams[c, d, 1, t]) * (scale[c] * scale[d])
                rest[c, d] = entry
                rest[d, c] = entry.conjugate()
        for step in range(C):
            pivot, largest = 0, NEGLIGIBLE
            for c in range(C):
                if rest[c, c].real > largest:
                    pivot, largest = c, rest[c, c].real
            if largest == NEGLIGIBLE:
                factors[:, step:, :, t] = 0.0
                break
            root = math.sqrt(largest)
            for c in range(C):
                entry = rest[c, pivot] / root
                power = grams[c, c, 0, t]
                length = math.sqrt(power) if power > 0.0 else 0.0
                factors[c, step, 0, t] = entry.real * length
                factors[c, step, 1, t] = entry.imag * length
            for c in range(C):
                left = rest[c, pivot] / largest
                if c != pivot:
                    for d in range(C):
                        if d != pivot:
                            rest[c, d] -= left * rest[pivot, d]
            rest[pivot, :] = 0.0
            rest[:, pivot] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def draw_columns(out, factors, key, first):
    """Write Z_t L_t^H with Z_t of iid CN(0, 1) entries.

    Parameters
    ----------
    out : float64 array, shape (n, 2, C, B)
        Overwritten.
    factors : float64 array, shape (C, C, 2, B)
        L, as `factor_grams` writes it.
    key : uint32 array, shape (2,)
        Key of the stream. Row i of Z begins at entry 2 ceil(C / 2) i of the realization.
    first : int
        Number of the first realization.
    """
    n, _, C, B = out.shape
    pairs = (C + 1) // 2
    row = np.empty((pairs, 2, 2, B))
    flat = row.reshape(2 * pairs, 2, B)
    for i in range(n):
        for pair in range(pairs):
            fill_realizations(row[pair], key, i * pairs + pair, first)
        out[i] = 0.0
        for c in range(C):
            for d in range(C):
                _add_conjugate_product(
                    out[i, 0, c], out[i, 1, c], factors[c, d, 0], factors[c, d, 1], flat[d, 0], flat[d, 1]
                )


@njit(cache=True, error_model="numpy")
def _add_conjugate_product(sum_re, sum_im, a_re, a_im, b_re, b_im):
    # sum += conj(a) b
    for t in range(sum_re.size):
        sum_re[t] += a_re[t] * b_re[t] + a_im[t] * b_im[t]
        sum_im[t] += a_re[t] * b_im[t] - a_im[t] * b_re[t]
