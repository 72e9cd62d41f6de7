"""Branch-free logarithm, sine and cosine, which the compiler vectorises; the C library's it cannot.

Only additions, multiplications, divisions and bit operations: results are the same on every machine and
in every position of a vector. Polynomials of fdlibm (Sun Microsystems 1993: e_log.c, k_sin.c, k_cos.c).
"""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["cos_sin", "cos_sin_turn", "log_unit"]

ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
EXPONENT_BITS = np.int64(52)
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10

TURN32 = 2 * np.pi / 2**32
EIGHTH_TURN = np.int64(1 << 29)
QUARTER_BITS = np.int64(30)

HALF_PI_HIGH = 1.57079632673412561417e00
HALF_PI_LOW = 6.07710050650619224932e-11


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def log_unit(u: float) -> Any:
    """Return log(u) for a normal double u > 0, to within 1 unit in the last place.

    With u = 2^k m, m in [sqrt(1/2), sqrt(2)), f = m - 1 and s = f / (2 + f):
    log u = k log 2 + f - f^2 / 2 + s (f^2 / 2 + R(s^2)), R the remainder of 2 artanh(s).
    """
    bits = np.float64(u).view(np.int64)
    k = (bits - ROOT_HALF_BITS) >> EXPONENT_BITS
    f = np.int64(bits - (k << EXPONENT_BITS)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    remainder = 1.531383769920937332e-01 + z * 1.479819860511658591e-01
    remainder = 1.818357216161805012e-01 + z * remainder
    remainder = 2.222219843214978396e-01 + z * remainder
    remainder = 2.857142874366239149e-01 + z * remainder
    remainder = 3.999999999940941908e-01 + z * remainder
    remainder = z * (6.666666666666735130e-01 + z * remainder)
    half_square = 0.5 * f * f
    k_float = np.float64(k)
    return k_float * LN2_HIGH - ((half_square - (s * (half_square + remainder) + k_float * LN2_LOW)) - f)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def _octant_cos_sin(x: float) -> tuple[float, float]:
    # cos and sin of |x| <= pi / 4.
    z = x * x
    sine = -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10
    sine = 2.75573137070700676789e-06 + z * sine
    sine = -1.98412698298579493134e-04 + z * sine
    sine = 8.33333333332248946124e-03 + z * sine
    sine = x + (x * z) * (-1.66666666666666324348e-01 + z * sine)
    cosine = 2.08757232129817482790e-09 + z * -1.13596475577881948265e-11
    cosine = -2.75573143513906633035e-07 + z * cosine
    cosine = 2.48015872894767294178e-05 + z * cosine
    cosine = -1.38888888888741095749e-03 + z * cosine
    cosine = z * (4.16666666666666019037e-02 + z * cosine)
    half = 0.5 * z
    lead = 1.0 - half
    return lead + (((1.0 - lead) - half) + z * cosine), sine


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def _turn_quarters(cosine: float, sine: float, quarters: Any) -> tuple[float, float]:
    # (cos, sin) of an angle plus `quarters` quarter turns.
    odd = (quarters & 1) != 0
    c = sine if odd else cosine
    s = cosine if odd else sine
    c = -c if ((quarters + 1) & 2) != 0 else c
    s = -s if (quarters & 2) != 0 else s
    return c, s


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def cos_sin_turn(word: Any) -> Any:
    """Return cos and sin of 2 pi word / 2^32 for a 32-bit word."""
    number = np.int64(word)
    quarters = (number + EIGHTH_TURN) >> QUARTER_BITS
    cosine, sine = _octant_cos_sin(np.float64(number - (quarters << QUARTER_BITS)) * TURN32)
    return _turn_quarters(cosine, sine, quarters)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def cos_sin(x: float) -> Any:
    """Return cos and sin of an angle in radians, |x| <= 2 pi."""
    quarters = np.floor(x * (2.0 / np.pi) + 0.5)
    reduced = (x - quarters * HALF_PI_HIGH) - quarters * HALF_PI_LOW
    cosine, sine = _octant_cos_sin(reduced)
    return _turn_quarters(cosine, sine, np.int64(quarters))
