"""Gaussian columns with a given covariance between the columns, and the covariance that columns hand on.

Arrays of a tile have axes (element, real or imaginary part, column, realization): neighbouring realizations
fill the lanes of a vector instruction in every step.
"""

import math

import numpy as np
from numba import njit

from channels._kernels.gaussian import fill_realizations
from channels._kernels.vectors import whole_registers

__all__ = ["draw_columns", "factor_grams", "gram"]

NEGLIGIBLE = 1e-14
"""Part of a column's own power below which it is linearly dependent on the columns already taken."""


@njit(cache=True, nogil=True, error_model="numpy")
def gram(grams, columns):
    """Add the lower triangle of Y_t^H Y_t, diagonal by diagonal, for each realization.

    Columns at one distance from each other are one long pair of vectors, whatever their number.

    Parameters
    ----------
    grams : float64 array, shape (C, 2, C, B)
        Changed in place: real and imaginary part of entry (c, c - s) at [s, :, c], for c >= s.
    columns : float64 or float32 array, shape (n, 2, C, B)
        Y.
    """
    whole_registers()
    n, _, C, B = columns.shape
    sums, flat = grams.reshape(-1), columns.reshape(-1)
    row = C * B
    for i in range(n):
        for shift in range(0, row, B):
            _add_conjugate_products(sums, 2 * (shift * C) + shift, flat, 2 * i * row, row, shift)


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
    grams : float64 array, shape (C, 2, C, B)
        G, as `gram` gives it.
    """
    whole_registers()
    C, _, _, B = grams.shape
    inverse = np.empty(B)
    for d in range(C):
        for c in range(d, C):
            re, im = factors[c, d, 0], factors[c, d, 1]
            for t in range(B):
                re[t], im[t] = grams[c - d, 0, c, t], grams[c - d, 1, c, t]
            for e in range(d):
                _subtract_product(
                    re, im, factors[c, e, 0], factors[c, e, 1], factors[d, e, 0], factors[d, e, 1]
                )
            if c == d:
                for t in range(B):
                    independent = re[t] > NEGLIGIBLE * grams[0, 0, d, t]
                    inverse[t] = 1.0 / math.sqrt(re[t]) if independent else 0.0
            for t in range(B):
                re[t] *= inverse[t]
                im[t] *= inverse[t]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def draw_columns(out, factors, key, start, first, unrolled):
    """Write rows of Z_t L_t^H with Z_t of iid CN(0, 1) entries.

    Parameters
    ----------
    out : float64 array, shape (n, 2, C, B)
        Overwritten.
    factors : float64 array, shape (C, C, 2, B)
        L, lower triangular.
    key : uint32 array, shape (2,)
        Key of the stream. Row i of Z begins at entry 2 ceil(C / 2) i of the realization.
    start, first : int
        Numbers of the first row and of the first realization.
    unrolled : tuple of C integers
        Only its length counts: the compiler knows it and so unrolls the sums over columns (3 times faster).
    """
    whole_registers()
    n, _, _, B = out.shape
    C = len(unrolled)
    pairs = (C + 1) // 2
    row = np.empty((pairs, 2, 2, B))
    flat = row.reshape(2 * pairs, 2, B)
    for i in range(n):
        for pair in range(pairs):
            fill_realizations(row[pair], key, (start + i) * pairs + pair, first)
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
def _add_conjugate_products(sums, place, columns, start, row, shift):
    # sums_u += conj(y_u) y_(u - shift) for u >= shift; views, for the compiler sees that they are contiguous.
    whole_registers()
    length = row - shift
    sum_re, sum_im = sums[place : place + length], sums[place + row : place + row + length]
    re, im = columns[start : start + length], columns[start + row : start + row + length]
    start += shift
    later_re, later_im = columns[start : start + length], columns[start + row : start + row + length]
    for t in range(length):
        sum_re[t] = sum_re[t] + later_re[t] * re[t] + later_im[t] * im[t]
        sum_im[t] = sum_im[t] + later_re[t] * im[t] - later_im[t] * re[t]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _subtract_product(sum_re, sum_im, a_re, a_im, b_re, b_im):
    # sum -= a conj(b)
    whole_registers()
    for t in range(sum_re.size):
        sum_re[t] -= a_re[t] * b_re[t] + a_im[t] * b_im[t]
        sum_im[t] -= a_im[t] * b_re[t] - a_re[t] * b_im[t]
