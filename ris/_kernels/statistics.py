"""What one realization says: products of channels and precoders, and the rates that they give."""

import math

import numpy as np
from numba import njit

__all__ = ["measure"]


@njit(cache=True, nogil=True, error_model="numpy")
def measure(per_user, interference, gain_product, channels, precoders, noise):
    """Write the observations of every realization of a tile.

    Parameters
    ----------
    per_user : float64 array, shape (5, K, B)
        Overwritten by Re h_k^H f_k, |h_k^H f_k|^2, the sum over j != k of |h_k^H f_j|^2, |f_k|^2 and the rate
        log2(1 + |h_k^H f_k|^2 / (that sum + noise_k)).
    interference, gain_product : float64 array, shape (K, K, B)
        Overwritten by |h_k^H f_j|^2 and |h_k|^2 |h_j|^2.
    channels, precoders : float64 array, shape (M, 2, K, B)
        h and f, axes (antenna, real or imaginary part, user, realization).
    noise : float64 array, shape (K, B)
        (noise_power + emi_k) sum_i E|f_i|^2 / power, the noise for precoders not normalised, with the power
        of the interference that the surfaces reflect; may be infinite.
    """
    _, _, K, B = channels.shape
    real, imag = np.empty(B), np.empty(B)
    gains = np.empty((K, B))
    per_user[2] = 0.0
    for k in range(K):
        for j in range(K):
            _inner_product(real, imag, channels[:, :, k], precoders[:, :, j])
            for t in range(B):
                power = real[t] * real[t] + imag[t] * imag[t]
                interference[k, j, t] = power
                if j != k:
                    per_user[2, k, t] += power
                else:
                    per_user[0, k, t], per_user[1, k, t] = real[t], power
        _inner_product(per_user[3, k], imag, precoders[:, :, k], precoders[:, :, k])
        _inner_product(gains[k], imag, channels[:, :, k], channels[:, :, k])
        for t in range(B):
            per_user[4, k, t] = math.log2(1.0 + per_user[1, k, t] / (per_user[2, k, t] + noise[k, t]))
    for k in range(K):
        for j in range(K):
            for t in range(B):
                gain_product[k, j, t] = gains[k, t] * gains[j, t]


@njit(cache=True, error_model="numpy", forceinline=True)
def _inner_product(real, imag, left, right):
    # left^H right of every realization, of arrays with axes (antenna, part, realization).
    real[:] = 0.0
    imag[:] = 0.0
    for m in range(left.shape[0]):
        x, y, u, v = left[m, 0], left[m, 1], right[m, 0], right[m, 1]
        for t in range(real.size):
            real[t] += x[t] * u[t] + y[t] * v[t]
            imag[t] += x[t] * v[t] - y[t] * u[t]
