"""What one realization says: products of channels and precoders, and the rates that they give."""

import math

from numba import njit

__all__ = ["measure"]


@njit(cache=True, nogil=True)
def measure(per_user, interference, gain_product, channels, precoders, noise):
    """Write the observations of every realization of a tile.

    Parameters
    ----------
    per_user : float64 array, shape (B, 5, K)
        Overwritten by Re h_k^H f_k, |h_k^H f_k|^2, the sum over j != k of |h_k^H f_j|^2, |f_k|^2 and the rate
        log2(1 + |h_k^H f_k|^2 / (that sum + noise)).
    interference, gain_product : float64 array, shape (B, K, K)
        Overwritten by |h_k^H f_j|^2 and |h_k|^2 |h_j|^2.
    channels, precoders : complex128 array, shape (M, B, K)
        h and f.
    noise : float
        noise_power sum_i E|f_i|^2 / power, the noise for precoders not normalised; may be infinite.
    """
    M, B, K = channels.shape
    for t in range(B):
        for k in range(K):
            others = 0.0
            signal = 0.0
            for j in range(K):
                real, imag = 0.0, 0.0
                for m in range(M):
                    h, f = channels[m, t, k], precoders[m, t, j]
                    real += h.real * f.real + h.imag * f.imag
                    imag += h.real * f.imag - h.imag * f.real
                power = real * real + imag * imag
                interference[t, k, j] = power
                if j == k:
                    per_user[t, 0, k] = real
                    signal = power
                else:
                    others += power
            gain, precoder_gain = 0.0, 0.0
            for m in range(M):
                h, f = channels[m, t, k], precoders[m, t, k]
                gain += h.real * h.real + h.imag * h.imag
                precoder_gain += f.real * f.real + f.imag * f.imag
            gain_product[t, k, k] = gain
            per_user[t, 1, k] = signal
            per_user[t, 2, k] = others
            per_user[t, 3, k] = precoder_gain
            per_user[t, 4, k] = math.log2(1.0 + signal / (others + noise))
        for k in range(K):
            for j in range(K):
                if j != k:
                    gain_product[t, k, j] = gain_product[t, k, k] * gain_product[t, j, j]
        for k in range(K):
            gain_product[t, k, k] *= gain_product[t, k, k]
