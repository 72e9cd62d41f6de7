"""Linear precoders of the realizations of a tile, from Gram matrices of the users' channels.

Arrays of a tile have axes (antenna, real or imaginary part, column, realization): neighbouring realizations
fill the lanes of a vector instruction in every step.
"""

import numpy as np
from numba import njit

__all__ = ["inner_products", "solve_columns"]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def solve_columns(out, columns, factors):
    """Write H_t (L_t L_t^H)^(-1); not finite where L is singular.

    Parameters
    ----------
    out : float64 array, shape (M, 2, K, B)
        Overwritten.
    columns : float64 array, shape (M, 2, K, B)
        H.
    factors : float64 array, shape (K, K, 2, B)
        L, of which the lower triangle is read; the diagonal is real.
    """
    M, _, K, B = out.shape
    inverses = np.empty((K, B))
    for k in range(K):
        for t in range(B):
            inverses[k, t] = 1.0 / factors[k, k, 0, t]
    for m in range(M):
        re, im = out[m, 0], out[m, 1]
        for k in range(K):  # y L^H = h
            re[k], im[k] = columns[m, 0, k], columns[m, 1, k]
            for j in range(k):
                _subtract_product(re[k], im[k], re[j], im[j], factors[k, j, 0], factors[k, j, 1], -1.0)
            _scale(re[k], im[k], inverses[k])
        for k in range(K - 1, -1, -1):  # f L = y
            for j in range(k + 1, K):
                _subtract_product(re[k], im[k], re[j], im[j], factors[j, k, 0], factors[j, k, 1], 1.0)
            _scale(re[k], im[k], inverses[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def inner_products(out, left, right):
    """Write H_t^H F_t.

    Parameters
    ----------
    out : float64 array, shape (K, J, 2, B)
        Overwritten by real and imaginary part of h_k^H f_j.
    left, right : float64 arrays, shapes (M, 2, K, B) and (M, 2, J, B)
        H and F.
    """
    out[:] = 0.0
    for m in range(left.shape[0]):
        for k in range(left.shape[2]):
            for j in range(right.shape[2]):
                re, im = out[k, j, 0], out[k, j, 1]
                x, y, u, v = left[m, 0, k], left[m, 1, k], right[m, 0, j], right[m, 1, j]
                for t in range(re.size):
                    re[t] += x[t] * u[t] + y[t] * v[t]
                    im[t] += x[t] * v[t] - y[t] * u[t]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _subtract_product(re, im, a_re, a_im, b_re, b_im, sign):
    # The product of a and b, or for sign = -1 of a and conj(b).
    for t in range(re.size):
        y = sign * b_im[t]
        re[t] -= a_re[t] * b_re[t] - a_im[t] * y
        im[t] -= a_re[t] * y + a_im[t] * b_re[t]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _scale(re, im, factor):
    for t in range(re.size):
        re[t] *= factor[t]
        im[t] *= factor[t]
