"""What the BS receives of pilots, and what its filters make of it.

Arrays of a tile have axes (antenna, real or imaginary part, column, realization).
"""

import numpy as np
from numba import njit

from channels._kernels.gaussian import fill_realizations

__all__ = ["estimate_channels", "receive_pilots"]


@njit(cache=True, nogil=True, error_model="numpy")
def receive_pilots(received, channels, pilots, amplitude, key, first):
    """Write the sum of the channels of each pilot's users, plus noise.

    Parameters
    ----------
    received : float64 array, shape (M, 2, P, B)
        Overwritten, one column for each pilot.
    channels : float64 array, shape (M, 2, K, B)
        Channels of the users.
    pilots : int array, shape (K,)
        Column of each user's pilot.
    amplitude : float
        Standard deviation of the complex noise in an entry.
    key : uint32 array, shape (2,)
        Key of the stream. The noise of pilot p at antenna m is entry p M + m of a realization.
    first : int
        Number of the first realization.
    """
    M, _, P, B = received.shape
    noise = np.empty((2, 2, B))
    for position in range((M * P + 1) // 2):
        fill_realizations(noise, key, position, first)
        for half in range(min(2, M * P - 2 * position)):
            p, m = divmod(2 * position + half, M)
            for part in range(2):
                for t in range(B):
                    received[m, part, p, t] = amplitude * noise[half, part, t]
    for m in range(M):
        for part in range(2):
            for k in range(len(pilots)):
                for t in range(B):
                    received[m, part, pilots[k], t] += channels[m, part, k, t]


@njit(cache=True, nogil=True, error_model="numpy")
def estimate_channels(estimates, received, pilots, filters):
    """Write L_k y for the pilot of each user.

    Parameters
    ----------
    estimates : float64 array, shape (M, 2, K, B)
        Overwritten.
    received : float64 array, shape (M, 2, P, B)
        As `receive_pilots` writes it.
    pilots : int array, shape (K,)
        Column of each user's pilot.
    filters : complex128 array, shape (K, M, M)
        L.
    """
    M, _, K, B = estimates.shape
    for m in range(M):
        for k in range(K):
            re, im = estimates[m, 0, k], estimates[m, 1, k]
            re[:], im[:] = 0.0, 0.0
            for n in range(M):
                x, y = filters[k, m, n].real, filters[k, m, n].imag
                a, b = received[n, 0, pilots[k]], received[n, 1, pilots[k]]
                for t in range(B):
                    re[t] += x * a[t] - y * b[t]
                    im[t] += x * b[t] + y * a[t]
