"""Phases without training, to hold a network against; and the numerical optimum."""

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from channels.draws import uniform
from channels.streams import Stream
from ris.backend import Array
from ris.predictors.task import Batch, unit

__all__ = ["best_steering", "equal_phases", "random_phasors", "superposed_steering", "user_steering"]

Phasors = NDArray[np.complex128]

SINGLE_SNR, DOUBLE_SNR = 6, 7
"""Channels of the maps that hold the logarithms of the strengths."""


def equal_phases(batch: Batch) -> Phasors:
    """Return the same phase everywhere, shape (2 B, rows, columns)."""
    return np.ones((batch.maps.shape[0], *batch.maps.shape[-2:]), np.complex128)


def random_phasors(batch: Batch, stream: Stream, first: int = 0) -> Phasors:
    """Return independent uniform phases, for systems first, first + 1, ... of the stream."""
    systems, (rows, columns) = batch.maps.shape[0] // 2, batch.maps.shape[-2:]
    angles = uniform(stream, 2 * rows * columns, systems, first).reshape(systems, 2, rows, columns)
    return np.asarray(np.exp(2j * np.pi * np.concatenate([angles[:, 0], angles[:, 1]])))


def superposed_steering(batch: Batch) -> Phasors:
    """Return the phases of the sum of what steers each user's paths, weighted by their amplitudes."""
    return np.asarray(unit(_steering(batch).sum(axis=1)))


def user_steering(batch: Batch, user: int) -> Phasors:
    """Return the phases that steer one user's paths."""
    return np.asarray(unit(_steering(batch)[:, user]))


def best_steering(batch: Batch) -> Array:
    """Return superposed steering or one user's, whichever looks best to the BS; in any array library."""
    xp = array_api_compat.array_namespace(batch.maps)
    each = _steering(batch)
    candidates = unit(xp.concat([xp.sum(each, axis=1, keepdims=True), each], axis=1))
    rates = [batch.known_rates(candidates[:, i, ...]) for i in range(candidates.shape[1])]
    best = xp.argmax(xp.sum(xp.stack(rates), axis=-1), axis=0)
    return candidates[xp.arange(candidates.shape[0]), xp.concat([best, best])]


def _steering(batch: Batch) -> Array:
    """Sums of what steers single and double reflection, shape (2 B, K, rows, columns)."""
    maps = batch.maps
    if array_api_compat.is_numpy_array(maps):
        maps = np.asarray(maps, np.float64)
    amplitudes = 10 ** (maps[:, :, SINGLE_SNR : DOUBLE_SNR + 1] / 2)
    single, double = maps[:, :, 0] + 1j * maps[:, :, 1], maps[:, :, 2] + 1j * maps[:, :, 3]
    return amplitudes[:, :, 0] * single + amplitudes[:, :, 1] * double
