"""Independent CN(0, 1) numbers."""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from channels._kernels.elementary import cos_sin_turn, log_unit
from channels._kernels.philox import philox_block
from channels._kernels.vectors import whole_registers

__all__ = ["box_muller", "complex_normal_pair", "fill_complex_normal", "fill_realizations"]


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def box_muller(radius_word: Any, angle_word: Any) -> tuple[float, float]:
    """Return real and imaginary part of a CN(0, 1) number made of two 32-bit words.

    Box and Muller (Ann. Math. Stat. 29, 1958): |z|^2 = -log u with u = (radius_word + 1/2) / 2^32, and
    arg z = 2 pi angle_word / 2^32.

    Notes
    -----
    The 2^32 radii are the midpoint rule for the integral of (-log u)^m over (0, 1), which is m!: summed
    over all of them, E|z|^(2m) is too small by 8.1e-11, 2.0e-9, 2.4e-8 and 2.0e-7 of itself for
    m = 1, 2, 3, 4. The 2^32 angles are exact: E z^m conj(z)^n = 0 for m != n below 2^32. |z|^2 <= 22.9.
    """
    radius = math.sqrt(-log_unit((np.float64(radius_word) + 0.5) * 2.0**-32))
    cosine, sine = cos_sin_turn(angle_word)
    return radius * cosine, radius * sine


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def complex_normal_pair(
    key0: Any, key1: Any, position: int, realization: int
) -> tuple[float, float, float, float]:
    """Return (re0, im0, re1, im1): the entries 2 position and 2 position + 1 of a realization."""
    x0, x1, x2, x3 = philox_block(key0, key1, position, 0, realization)
    re0, im0 = box_muller(x0, x1)
    re1, im1 = box_muller(x2, x3)
    return re0, im0, re1, im1


@njit(cache=True, error_model="numpy", fastmath=False)
def fill_complex_normal(
    out: NDArray[np.complex128], key: NDArray[np.uint32], realization: int, first: int
) -> None:
    """Write the entries first, first + 1, ... of a realization's CN(0, 1) sequence.

    Parameters
    ----------
    out : complex128 array, shape (n,), contiguous
        Overwritten.
    key : uint32 array, shape (2,)
        Key of the stream.
    realization : integer
        Number of the realization, >= 0.
    first : integer
        Number of the first entry, >= 0; the last one is below 2**33.
    """
    size = out.size
    if size == 0:
        return
    key0, key1 = key[0], key[1]
    head = first & 1
    if head:
        _, _, re, im = complex_normal_pair(key0, key1, first >> 1, realization)
        out[0] = complex(re, im)
    blocks = (size - head) >> 1
    position = (first + head) >> 1
    parts = out[head : head + 2 * blocks].view(np.float64)
    for block in range(blocks):
        re0, im0, re1, im1 = complex_normal_pair(key0, key1, position + block, realization)
        parts[4 * block] = re0
        parts[4 * block + 1] = im0
        parts[4 * block + 2] = re1
        parts[4 * block + 3] = im1
    if head + 2 * blocks < size:
        re, im, _, _ = complex_normal_pair(key0, key1, position + blocks, realization)
        out[size - 1] = complex(re, im)


@njit(cache=True, error_model="numpy", fastmath=False)
def fill_realizations(out: NDArray[np.float64], key: NDArray[np.uint32], position: int, first: int) -> None:
    """Write one pair of CN(0, 1) entries for each of the realizations first, first + 1, ...

    Parameters
    ----------
    out : float64 array, shape (2, 2, B), contiguous
        Overwritten by the entries number 2 position and 2 position + 1 of each realization's sequence; axes
        (entry, real or imaginary part, realization).
    key : uint32 array, shape (2,)
        Key of the stream.
    position, first : integer
        Which pair, below 2**32, and number of the first realization.
    """
    whole_registers()
    key0, key1 = key[0], key[1]
    re0, im0, re1, im1 = out[0, 0], out[0, 1], out[1, 0], out[1, 1]
    for t in range(out.shape[2]):
        re0[t], im0[t], re1[t], im1[t] = complex_normal_pair(key0, key1, position, first + t)
