"""Precoders of locally largest weighted sum rate."""

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

STARTS = tuple(
    kind(normalisation="realization", allocation=allocation)
    for kind, allocation in itertools.product((MRT, ZF, RZF), get_args(Allocation))
)
"""The linear precoders, of which the iteration starts from the best of each realization."""


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
    users, count = channels.shape[2:]
    weights = np.ones(users) if precoder.weights is None else np.array(precoder.weights)
    if len(weights) != users:
        raise InvalidArgumentError("weights", f"one for each of {users} users", f"{len(weights)}")
    coefficients = np.empty((count, users, users), np.complex128)
    rates, iterations, converged = np.empty(count), np.empty(count, np.int64), np.empty(count, np.bool_)
    iterate(
        coefficients,
        rates,
        iterations,
        converged,
        _by_realization(products(channels, channels)),
        _by_realization(_best_start(channels, weights, power, noise_power)),
        weights,
        power,
        noise_power,
        precoder.iterations,
        precoder.tolerance,
    )
    made = np.einsum("mkt,tkj->mjt", channels[:, 0] + 1j * channels[:, 1], coefficients)
    return np.stack([made.real, made.imag], axis=1), rates, iterations, converged


def _best_start(
    channels: Tile, weights: NDArray[np.float64], power: float, noise_power: float
) -> NDArray[np.float64]:
    """Products h_k^H f_j of the best linear precoder of each realization."""
    found, highest = None, np.full(channels.shape[3], -np.inf)
    for start in STARTS:
        made = products(channels, transmitted(start, channels, power, noise_power))
        gains = np.sum(made**2, axis=2)
        signal = np.einsum("kkt->kt", gains)
        rates = weights @ np.log2(1 + signal / (gains.sum(axis=1) - signal + noise_power))
        found = made if found is None else np.where(rates > highest, made, found)
        highest = np.fmax(highest, rates)
    return np.asarray(found)


def _by_realization(array: NDArray[Any]) -> NDArray[np.complex128]:
    """Axes (k, j, part, realization) to (realization, k, j)."""
    return np.ascontiguousarray(np.moveaxis(array[:, :, 0] + 1j * array[:, :, 1], -1, 0))
