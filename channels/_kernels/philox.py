"""The counter-based generator Philox4x32-10."""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["fraction", "joined", "philox", "philox_block"]

MASK = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIER0 = np.uint64(0xD2511F53)
MULTIPLIER1 = np.uint64(0xCD9E8D57)
WEYL0 = np.uint64(0x9E3779B9)
WEYL1 = np.uint64(0xBB67AE85)
FRACTION_SHIFT = np.uint64(11)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four 32-bit words that Philox4x32-10 makes of a counter and a key.

    Parameters
    ----------
    c0, c1, c2, c3 : integer
        Counter, words below 2**32.
    k0, k1 : integer
        Key, words below 2**32.

    Returns
    -------
    x0, x1, x2, x3 : uint32

    Notes
    -----
    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
    Words live in uint64, the type of their products: Numba would widen uint32 sums to it anyway, and
    eight of them fill one AVX-512 multiplication.
    """
    c0, c1, c2, c3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    k0, k1 = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        product0 = MULTIPLIER0 * c0
        product1 = MULTIPLIER1 * c2
        c0 = (product1 >> HALF) ^ c1 ^ k0
        c1 = product1 & MASK
        c2 = (product0 >> HALF) ^ c3 ^ k1
        c3 = product0 & MASK
        k0 = (k0 + WEYL0) & MASK
        k1 = (k1 + WEYL1) & MASK
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def philox_block(key0: Any, key1: Any, position: Any, attempt: Any, realization: Any) -> Any:
    """Return the four words at a place of a stream; `channels.streams` states the layout of the counter.

    Parameters
    ----------
    key0, key1 : integer
        Key of the stream.
    position, attempt : integer
        Place inside the realization, below 2**32 each.
    realization : integer
        Number of the realization, 0 to 2**63 - 1.

    Returns
    -------
    x0, x1, x2, x3 : uint32
    """
    number = np.uint64(realization)
    return philox(position, attempt, number & MASK, number >> HALF, key0, key1)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def joined(high: Any, low: Any) -> Any:
    """Return the 64-bit word of two 32-bit ones."""
    return (np.uint64(high) << HALF) | np.uint64(low)


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def fraction(word: Any) -> Any:
    """Return a number uniform on [0, 1), from the upper 53 bits of a 64-bit word."""
    return np.float64(np.int64(word >> FRACTION_SHIFT)) * 2.0**-53
