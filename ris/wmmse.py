"""Precoders of locally largest weighted sum rate."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris._kernels.wmmse import wmmse as iterate
from ris.linear_precoding import Tile, products, transmitted
from ris.options import Allocation
from ris.precoders import MRT, RZF, WMMSE, ZF

__all__ = ["WmmsePrecoders", "wmmse_of_tile"]

Floats = NDArray[np.float64]

Matrices = NDArray[np.complex128]
"""Axes (realization, k, j)."""

STARTS = tuple(
    kind(normalisation="realization", allocation=allocation)
    for kind, allocation in itertools.product((MRT, ZF, RZF), get_args(Allocation))
)
"""The linear precoders from which the iteration starts."""


@dataclass(frozen=True, eq=False)
class WmmsePrecoders:
    """Precoders of locally largest weighted sum rate.

    Attributes
    ----------
    precoders : ndarray, shape (..., M, K)
        f_k, with the power included.
    weighted_sum_rate : ndarray, shape (...)
        sum_k weight_k log2(1 + SINR_k) on the channels given, bit/s/Hz.
    iterations : ndarray of int, shape (...)
        Iterations taken.
    converged : ndarray of bool, shape (...)
        Whether the last one met the tolerance.
    """

    precoders: NDArray[np.complex128]
    weighted_sum_rate: NDArray[np.float64]
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]


def wmmse_of_tile(
    precoder: WMMSE, channels: Tile, power: float, noise_power: float
) -> tuple[Tile, NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Precode the realizations of a tile; not finite where a realization has no channels.

    Returns
    -------
    tuple of ndarray
        Precoders with the axes of a tile; weighted sum rates, iterations and whether they converged, shapes
        (B,).
    """
    users = channels.shape[2]
    weights = np.ones(users) if precoder.weights is None else np.array(precoder.weights)
    if len(weights) != users:
        raise InvalidArgumentError("weights", f"one for each of {users} users", f"{len(weights)}")
    grams = _by_realization(products(channels, channels))
    starts = (
        _by_realization(products(channels, transmitted(start, channels, power, noise_power)))
        for start in STARTS
    )
    coefficients, rates, iterations, converged = functools.reduce(
        _better,
        (
            _run(precoder, grams, start, weights, power, noise_power)
            for start in itertools.chain(starts, [_alone(grams, weights, power, noise_power)])
        ),
    )
    made = np.einsum("mkt,tkj->mjt", channels[:, 0] + 1j * channels[:, 1], coefficients)
    return np.stack([made.real, made.imag], axis=1), rates, iterations, converged


def _run(
    precoder: WMMSE, grams: Matrices, start: Matrices, weights: Floats, power: float, noise_power: float
) -> tuple[NDArray[Any], ...]:
    """Return coefficients, weighted sum rates, iterations and whether they converged."""
    count = len(grams)
    coefficients, rates = np.empty_like(grams), np.empty(count)
    iterations, converged = np.empty(count, np.int64), np.empty(count, np.bool_)
    results = (coefficients, rates, iterations, converged)
    settings = (weights, power, noise_power, precoder.iterations, precoder.tolerance)
    iterate(*results, grams, start, *settings)
    return results


def _better(one: tuple[NDArray[Any], ...], other: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """Of each realization the result with the higher rate; a start that is impossible has none."""
    higher = (other[1] > one[1]) | np.isnan(one[1])
    return tuple(
        np.where(higher.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(one, other, strict=True)
    )


def _alone(grams: Matrices, weights: Floats, power: float, noise_power: float) -> Matrices:
    """H^H V of all power for the user that makes most of it alone."""
    gains = np.einsum("tkk->tk", grams).real
    best = np.argmax(weights * np.log2(1 + power * gains / noise_power), axis=1)
    places = np.arange(len(grams)), slice(None), best
    made = np.zeros_like(grams)
    with np.errstate(divide="ignore", invalid="ignore"):
        made[places] = grams[places] * np.sqrt(power / gains[places[0], best])[:, None]
    return made


def _by_realization(array: Floats) -> Matrices:
    """Axes (k, j, part, realization) to (realization, k, j)."""
    return np.ascontiguousarray(np.moveaxis(array[:, :, 0] + 1j * array[:, :, 1], -1, 0))
