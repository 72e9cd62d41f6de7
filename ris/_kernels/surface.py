"""What a surface does to the columns that meet it: phase shifts; phase noise and hardware for some."""

import numpy as np
from numba import njit

from channels._kernels.hardware import reflection_coefficient
from channels._kernels.phase_noise import fill_phasor_pair, fill_phasors
from channels._kernels.vectors import whole_registers

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
def reflect_parts(columns, noisy, shifts, law, key, hardware, failure_key, start, first):
    """As `reflect`, of columns with axes (element, real or imaginary part, column, realization).

    The first of them is that of element `start`.
    """
    whole_registers()
    N, _, C, B = columns.shape
    flat = columns.reshape(-1)
    cosines, sines, phases = np.empty(2 * B), np.empty(2 * B), np.empty(2 * B)
    words = np.empty(2 * B, np.uint64)
    cosine, sine = np.empty(B, columns.dtype), np.empty(B, columns.dtype)
    for i in range(N):
        n = start + i
        place, row = (n & 1) * B, 2 * i * C * B
        if place == 0 or i == 0:
            fill_phasor_pair(cosines, sines, phases, words, law, key, n >> 1, first)
        shift_re, shift_im = shifts[n].real, shifts[n].imag
        cosine[:], sine[:] = shift_re, shift_im
        for c in range(noisy, C):
            _turn(flat, row + c * B, row + (C + c) * B, cosine, sine)
        for t in range(B):
            x, y = cosines[place + t], sines[place + t]
            cosine[t], sine[t] = shift_re * x - shift_im * y, shift_re * y + shift_im * x
        if hardware.shape[0] > 0:
            for t in range(B):
                cosine[t], sine[t], _ = reflection_coefficient(
                    np.float64(cosine[t]),
                    np.float64(sine[t]),
                    hardware[n],
                    failure_key[0],
                    failure_key[1],
                    n,
                    first + t,
                )
        for c in range(noisy):
            _turn(flat, row + c * B, row + (C + c) * B, cosine, sine)


@njit(cache=True, error_model="numpy")
def _turn(columns, start_re, start_im, cosine, sine):
    # Views, for the compiler sees that they are contiguous.
    whole_registers()
    B = cosine.size
    re, im = columns[start_re : start_re + B], columns[start_im : start_im + B]
    for t in range(B):
        x, y = re[t], im[t]
        re[t] = x * cosine[t] - y * sine[t]
        im[t] = x * sine[t] + y * cosine[t]
