"""Samplers of phase noise: a law is a table with one row for each independent term of its sum.

A row holds the kind of the term, its parameter and, for von Mises, the ziggurat: at EDGES the widths
x_0 >= ... >= x_256 of the layers in radians, at HEIGHTS the density at their lower and upper edges.
Two neighbouring elements share a Philox block, a rejected one goes on with blocks of its own.
"""

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from channels._kernels.elementary import cos_sin
from channels._kernels.gaussian import box_muller
from channels._kernels.philox import fraction, joined, philox_block
from channels._kernels.vectors import whole_registers

__all__ = ["fill_phase_noise", "fill_phasor_pair", "fill_phasors", "sample_phase_noise"]

UNIFORM, WRAPPED_NORMAL, VON_MISES = 0, 1, 2
LAYERS = 256
KIND, PARAMETER, EDGES = 0, 1, 2
HEIGHTS = EDGES + LAYERS + 1
COLUMNS = HEIGHTS + LAYERS + 1

TERM_SHIFT = 24  # the attempt word counts terms of the sum above this bit and retries below it

LAYER_MASK = np.uint64(LAYERS - 1)
SIGN_BIT = np.uint64(LAYERS)
WORD_BITS = np.uint64(32)
LOW_WORD = np.uint64(0xFFFFFFFF)

TURN = 2 * np.pi


@njit(cache=True, error_model="numpy", forceinline=True, fastmath=False)
def _von_mises(
    word: Any, row: NDArray[np.float64], key0: Any, key1: Any, element: int, attempt: int, realization: int
) -> Any:
    # Marsaglia and Tsang (2000) for the density exp(kappa (cos x - 1)) on [0, pi], with a random sign: a
    # point of the layer's rectangle is kept if it is under the density, which left of the next edge it is.
    while True:
        layer = np.int64(word & LAYER_MASK)
        x = fraction(word) * row[EDGES + layer]
        if x >= row[EDGES + layer + 1]:
            attempt += 1
            x0, x1, x2, x3 = philox_block(key0, key1, element, attempt, realization)
            low, high = row[HEIGHTS + layer], row[HEIGHTS + layer + 1]
            height = low + fraction(joined(x0, x1)) * (high - low)
            half_sine = math.sin(0.5 * x)
            if height >= math.exp(row[PARAMETER] * half_sine * half_sine * -2.0):
                word = joined(x2, x3)
                continue
        return x if word & SIGN_BIT else -x


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_uniform(
    out: NDArray[Any], half_width: float, key0: Any, key1: Any, attempt: int, realization: int
) -> None:
    for n in range(out.size):
        x0, x1, x2, x3 = philox_block(key0, key1, n >> 1, attempt, realization)
        word = joined(x2, x3) if n & 1 else joined(x0, x1)
        out[n] += half_width * (2.0 * fraction(word) - 1.0)


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_wrapped_normal(
    out: NDArray[Any], deviation: float, key0: Any, key1: Any, attempt: int, realization: int
) -> None:
    for n in range(out.size):
        x0, x1, _, _ = philox_block(key0, key1, n >> 1, attempt, realization)
        re, im = box_muller(x0, x1)
        out[n] += deviation * math.sqrt(2.0) * (im if n & 1 else re)


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_von_mises(
    out: NDArray[Any], row: NDArray[np.float64], key0: Any, key1: Any, attempt: int, realization: int
) -> None:
    for block in range((out.size + 1) >> 1):
        x0, x1, x2, x3 = philox_block(key0, key1, block, attempt, realization)
        n = 2 * block
        out[n] += _von_mises(joined(x0, x1), row, key0, key1, n, attempt, realization)
        if n + 1 < out.size:
            out[n + 1] += _von_mises(joined(x2, x3), row, key0, key1, n + 1, attempt, realization)


@njit(cache=True, error_model="numpy", fastmath=False)
def fill_phase_noise(
    out: NDArray[Any], table: NDArray[np.float64], key: NDArray[np.uint32], realization: int
) -> None:
    """Write the phase noise of a realization, in radians wrapped to [-pi, pi].

    Parameters
    ----------
    out : float64 or complex128 array, shape (N,)
        Overwritten.
    table : float64 array, shape (terms, COLUMNS)
        The law, as its `kernel_table` gives it.
    key : uint32 array, shape (2,)
        Key of the stream.
    realization : integer
        Number of the realization, >= 0.
    """
    key0, key1 = key[0], key[1]
    out[:] = 0.0
    for term in range(table.shape[0]):
        attempt = term << TERM_SHIFT
        kind, parameter = table[term, KIND], table[term, PARAMETER]
        if kind == UNIFORM:
            _add_uniform(out, parameter, key0, key1, attempt, realization)
        elif kind == WRAPPED_NORMAL:
            _add_wrapped_normal(out, parameter, key0, key1, attempt, realization)
        else:
            _add_von_mises(out, table[term], key0, key1, attempt, realization)
    for n in range(out.size):
        out[n] = out[n].real - TURN * np.floor(out[n].real / TURN + 0.5)


@njit(cache=True, error_model="numpy", fastmath=False)
def fill_phasors(
    out: NDArray[np.complex128], table: NDArray[np.float64], key: NDArray[np.uint32], realization: int
) -> None:
    """Write exp(j phi) for the phase noise phi of a realization.

    Parameters
    ----------
    out : complex128 array, shape (N,)
        Overwritten.
    table, key, realization
        As for `fill_phase_noise`, which draws the same phi.
    """
    fill_phase_noise(out, table, key, realization)
    for n in range(out.size):
        cosine, sine = cos_sin(out[n].real)
        out[n] = complex(cosine, sine)


@njit(cache=True, error_model="numpy", parallel=True, fastmath=False)
def sample_phase_noise(
    out: NDArray[np.float64], table: NDArray[np.float64], key: NDArray[np.uint32], first: int
) -> None:
    """Write the phase noise of the realizations first, first + 1, ... into the rows of out, shape (n, N)."""
    for realization in prange(out.shape[0]):
        fill_phase_noise(out[realization], table, key, first + realization)


@njit(cache=True, error_model="numpy", fastmath=False)
def _first_points(points, words, row):
    # The first point of each realization; infinity where it is right of the next edge, so not yet decided.
    whole_registers()
    for t in range(points.size):
        word = words[t]
        layer = np.int64(word & LAYER_MASK)
        x = fraction(word) * row[EDGES + layer]
        signed = x if word & SIGN_BIT != 0 else -x
        points[t] = np.inf if x >= row[EDGES + layer + 1] else signed


@njit(cache=True, error_model="numpy", fastmath=False)
def _draw_words(first_words, second_words, key0, key1, block, attempt, first):
    whole_registers()
    for t in range(first_words.size):
        x0, x1, x2, x3 = philox_block(key0, key1, block, attempt, first + t)
        first_words[t], second_words[t] = joined(x0, x1), joined(x2, x3)


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_uniform_row(phases, words, half_width):
    whole_registers()
    for t in range(phases.size):
        phases[t] += half_width * (2.0 * fraction(words[t]) - 1.0)


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_wrapped_normal_rows(even, odd, words, deviation):
    # Neighbours are the real and the imaginary part of one number.
    whole_registers()
    for t in range(even.size):
        re, im = box_muller(np.uint32(words[t] >> WORD_BITS), np.uint32(words[t] & LOW_WORD))
        even[t] += deviation * math.sqrt(2.0) * re
        odd[t] += deviation * math.sqrt(2.0) * im


@njit(cache=True, error_model="numpy", fastmath=False)
def _add_von_mises_rows(phases, points, words, row, key0, key1, block, attempt, first):
    whole_registers()
    _first_points(points, words, row)
    B = phases.size >> 1
    for t in range(phases.size):
        if points[t] == np.inf:
            odd = t >= B
            realization = first + t - B if odd else first + t
            points[t] = _von_mises(words[t], row, key0, key1, 2 * block + odd, attempt, realization)
    for t in range(phases.size):
        phases[t] += points[t]


@njit(cache=True, error_model="numpy", fastmath=False)
def fill_phasor_pair(cosines, sines, phases, words, table, key, block, first):
    """Write cos(phi) and sin(phi) of two neighbours' phase noise in the realizations first, first + 1, ...

    Parameters
    ----------
    cosines, sines : float64 array, shape (2 B,)
        Overwritten: those of element 2 block, then those of element 2 block + 1.
    phases : float64 array, shape (2 B,)
        Overwritten by phi in radians, not wrapped.
    words : uint64 array, shape (2 B,)
        For use in between.
    table, key
        As for `fill_phase_noise`, which draws the same phi.
    block, first : integer
        Number of the pair of elements, and of the first realization, >= 0.
    """
    whole_registers()
    key0, key1 = key[0], key[1]
    B = phases.size >> 1
    even, odd = words[:B], words[B:]
    phases[:] = 0.0
    for term in range(table.shape[0]):
        attempt = term << TERM_SHIFT
        kind, parameter = table[term, KIND], table[term, PARAMETER]
        _draw_words(even, odd, key0, key1, block, attempt, first)
        if kind == UNIFORM:
            _add_uniform_row(phases, words, parameter)
        elif kind == WRAPPED_NORMAL:
            _add_wrapped_normal_rows(phases[:B], phases[B:], even, parameter)
        else:
            _add_von_mises_rows(phases, cosines, words, table[term], key0, key1, block, attempt, first)
    for t in range(phases.size):
        cosines[t], sines[t] = cos_sin(phases[t] - TURN * np.floor(phases[t] / TURN + 0.5))
