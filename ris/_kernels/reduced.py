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
    """Write the lower triangular L_t with L_t L_t^H = G_t, for semidefinite G_t.

    Cholesky's factorization. A column whose own part falls below 1e-14 of its power depends linearly on those
    before it and gets no part of its own: exact but for rounding where the rank is deficient, and within
    1e-7 (G_cc G_dd)^(1/2) in G_cd if the part was genuine. So any rank and any scale of the columns works.

    Parameters
    ----------
    factors : float64 array, shape (C, C, 2, B)
        The lower triangle is overwritten by L.
    grams : float64 array, shape (C, C, 2, B)
        G, of which the lower triangle is read.
    """
    C, B = grams.shape[0], grams.shape[3]
    inverse = np.empty(B)
    for d in range(C):
        for c in range(d, C):
            re, im = factors[c, d, 0], factors[c, d, 1]
            re[:], im[:] = grams[c, d, 0], grams[c, d, 1]
            for e in range(d):
                _subtract_product(
                    re, im, factors[c, e, 0], factors[c, e, 1], factors[d, e, 0], factors[d, e, 1]
                )
            if c == d:
                for t in range(B):
                    independent = re[t] > NEGLIGIBLE * grams[d, d, 0, t]
                    inverse[t] = 1.0 / math.sqrt(re[t]) if independent else 0.0
            for t in range(B):
                re[t] *= inverse[t]
                im[t] *= inverse[t]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def draw_columns(out, factors, key, first, unrolled):
    """Write Z_t L_t^H with Z_t of iid CN(0, 1) entries.

    Parameters
    ----------
    out : float64 array, shape (n, 2, C, B)
        Overwritten.
    factors : float64 array, shape (C, C, 2, B)
        L, lower triangular.
    key : uint32 array, shape (2,)
        Key of the stream. Row i of Z begins at entry 2 ceil(C / 2) i of the realization.
    first : int
        Number of the first realization.
    unrolled : tuple of C integers
        Only its length counts: the compiler knows it and so unrolls the sums over columns (3 times faster).
    """
    n, _, _, B = out.shape
    C = len(unrolled)
    pairs = (C + 1) // 2
    row = np.empty((pairs, 2, 2, B))
    flat = row.reshape(2 * pairs, 2, B)
    for i in range(n):
        for pair in range(pairs):
            fill_realizations(row[pair], key, i * pairs + pair, first)
        for c in range(C):
            out_re, out_im, factor = out[i, 0, c], out[i, 1, c], factors[c]
            for t in range(B):
                re, im = 0.0, 0.0
                for d in range(c + 1):
                    x, y = factor[d, 0, t], factor[d, 1, t]
                    u, v = flat[d, 0, t], flat[d, 1, t]
                    re += x * u + y * v
                    im += x * v - y * u
                out_re[t], out_im[t] = re, im


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_conjugate_product(sum_re, sum_im, a_re, a_im, b_re, b_im):
    # sum += conj(a) b
    for t in range(sum_re.size):
        sum_re[t] += a_re[t] * b_re[t] + a_im[t] * b_im[t]
        sum_im[t] += a_re[t] * b_im[t] - a_im[t] * b_re[t]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _subtract_product(sum_re, sum_im, a_re, a_im, b_re, b_im):
    # sum -= a conj(b)
    for t in range(sum_re.size):
        sum_re[t] -= a_re[t] * b_re[t] + a_im[t] * b_im[t]
        sum_im[t] -= a_im[t] * b_re[t] - a_re[t] * b_im[t]
