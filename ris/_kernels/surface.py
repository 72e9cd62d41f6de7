"""What a surface does to the columns that meet it: phase shifts; phase noise and hardware for some."""

import numpy as np
from numba import njit

from channels._kernels.hardware import reflection_coefficient
from channels._kernels.phase_noise import fill_phasor_rows, fill_phasors

__all__ = ["reflect", "reflect_parts"]


@njit(cache=True, nogil=True)
def reflect(columns, noisy, shifts, law, key, hardware, failure_key, first):
    """Multiply by reflection coefficients, the columns from number `noisy` on by exp(j theta_n) alone.

    Parameters
    ----------
    columns : complex128 array, shape (N, B, C)
        Changed in place.
    noisy : int
        Number of columns, from the first, that phase noise and hardware reach.
    shifts : complex128 array, shape (N,)
        exp(j theta).
    law : float64 array
        Phase-noise law, as its `kernel_table` gives it.
    key : uint32 array, shape (2,)
        Key of the phase noise's stream.
    hardware : float64 array, shape (N, HARDWARE_COLUMNS) or (0, HARDWARE_COLUMNS)
        Law of the hardware, as its `kernel_table` gives it.
    failure_key : uint32 array, shape (2,)
        Key of the failures' stream.
    first : int
        Number of the first realization.
    """
    N, B, C = columns.shape
    phasors = np.empty(N, np.complex128)
    for t in range(B):
        fill_phasors(phasors, law, key, first + t)
        for n in range(N):
            turned = phasors[n] * shifts[n]
            if hardware.shape[0] > 0:
                re, im, _ = reflection_coefficient(
                    turned.real, turned.imag, hardware[n], failure_key[0], failure_key[1], n, first + t
                )
                turned = complex(re, im)
            for c in range(noisy):
                columns[n, t, c] *= turned
            for c in range(noisy, C):
                columns[n, t, c] *= shifts[n]


@njit(cache=True, nogil=True, error_model="numpy")
def reflect_parts(columns, noisy, shifts, law, key, hardware, failure_key, first):
    """As `reflect`, of columns with axes (element, real or imaginary part, column, realization)."""
    N, _, C, B = columns.shape
    cosines, sines = np.empty((N, B), columns.dtype), np.empty((N, B), columns.dtype)
    fill_phasor_rows(cosines, sines, law, key, first)
    cosine, sine = np.empty(B, columns.dtype), np.empty(B, columns.dtype)
    for n in range(N):
        cosine[:], sine[:] = shifts[n].real, shifts[n].imag
        _turn(cosines[n], sines[n], cosine, sine)
        if hardware.shape[0] > 0:
            for t in range(B):
                cosines[n, t], sines[n, t], _ = reflection_coefficient(
                    np.float64(cosines[n, t]),
                    np.float64(sines[n, t]),
                    hardware[n],
                    failure_key[0],
                    failure_key[1],
                    n,
                    first + t,
                )
        for c in range(noisy):
            _turn(columns[n, 0, c], columns[n, 1, c], cosines[n], sines[n])
        for c in range(noisy, C):
            _turn(columns[n, 0, c], columns[n, 1, c], cosine, sine)


@njit(cache=True, error_model="numpy")
def _turn(re, im, cosine, sine):
    for t in range(re.size):
        x, y = re[t], im[t]
        re[t] = x * cosine[t] - y * sine[t]
        im[t] = x * sine[t] + y * cosine[t]
