"""What an element of a surface makes of its phase: an amplitude, or if it failed something else altogether.

A law is a table with one row for each element, or none. A row holds the chance of failure; whether a failed
element has a random phase, and else its coefficient; and the least amplitude, what the amplitude gains at
most, cosine and sine of its offset, and its steepness. Element n takes Philox block n of the stream.
"""

import numpy as np
from numba import njit

from channels._kernels.elementary import cos_sin
from channels._kernels.philox import fraction, joined, philox_block

__all__ = ["reflection_coefficient", "sample_failures"]

PROBABILITY, RANDOM_PHASE, FAILED_REAL, FAILED_IMAGINARY = 0, 1, 2, 3
MINIMUM, SPAN, OFFSET_COSINE, OFFSET_SINE, STEEPNESS = 4, 5, 6, 7, 8
HARDWARE_COLUMNS = 9


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def _with_amplitude(cosine, sine, row):
    # sin(x - offset) from the phasor of x; rounding must not make the base of the power negative.
    level = max(0.0, 0.5 * (1.0 + sine * row[OFFSET_COSINE] - cosine * row[OFFSET_SINE]))
    amplitude = row[MINIMUM] + row[SPAN] * level ** row[STEEPNESS]
    return amplitude * cosine, amplitude * sine


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def reflection_coefficient(cosine, sine, row, key0, key1, element, realization):
    """Return real and imaginary part of an element's coefficient, and whether it failed.

    Parameters
    ----------
    cosine, sine : float64
        Phasor that it is set to, phase noise included.
    row : float64 array, shape (HARDWARE_COLUMNS,)
        Its row of the law.
    key0, key1 : integer
        Key of the stream of failures.
    element, realization : integer
        Its number and that of the realization, >= 0.
    """
    failed = False
    if row[PROBABILITY] > 0.0:
        x0, x1, x2, x3 = philox_block(key0, key1, element, 0, realization)
        failed = fraction(joined(x0, x1)) < row[PROBABILITY]
        if failed:
            if row[RANDOM_PHASE] == 0.0:
                return row[FAILED_REAL], row[FAILED_IMAGINARY], True
            cosine, sine = cos_sin(np.pi * (2.0 * fraction(joined(x2, x3)) - 1.0))
    if row[SPAN] > 0.0:
        cosine, sine = _with_amplitude(cosine, sine, row)
    return cosine, sine, failed


@njit(cache=True, error_model="numpy", fastmath=False)
def sample_failures(out, table, key, first):
    """Write the coefficients of failed elements, and NaN for working ones.

    Parameters
    ----------
    out : complex128 array, shape (n, N)
        Overwritten: realizations first, first + 1, ...
    table : float64 array, shape (N, HARDWARE_COLUMNS) or (0, HARDWARE_COLUMNS)
        The law.
    key : uint32 array, shape (2,)
        Key of the stream.
    first : integer
        Number of the first realization.
    """
    out[:] = np.nan
    for t in range(out.shape[0]):
        for n in range(table.shape[0]):
            re, im, failed = reflection_coefficient(1.0, 0.0, table[n], key[0], key[1], n, first + t)
            if failed:
                out[t, n] = complex(re, im)
