"""Linear precoders of a tile of realizations, axes (antenna, real or imaginary part, user, realization)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ris._kernels.pilots import estimate_channels
from ris._kernels.power_allocation import max_min_powers, water_filling_powers
from ris._kernels.precoding import inner_products, solve_columns
from ris._kernels.reduced import factor_grams
from ris.options import Allocation
from ris.precoders import MMSE, MRT, RZF, ZF, LinearPrecoder

__all__ = ["allocate", "column_powers", "columns", "power_scales", "products", "transmitted"]

Tile = NDArray[Any]
Floats = NDArray[np.float64]
Matrix = NDArray[np.complex128]


def columns(
    precoder: LinearPrecoder, channels: Tile, power: float, noise_power: float, errors: Matrix | None = None
) -> Tile:
    """Return the columns of the precoder without normalisation: for `MRT` the array `channels` itself.

    Not finite where a realization has none. `errors` is the covariance, shape (M, M), of the errors in the
    channels, summed over the users; None for no errors.
    """
    if isinstance(precoder, MRT):
        return channels
    users = channels.shape[2]
    optimal = users * noise_power / power
    if isinstance(precoder, MMSE) and errors is not None:
        # (H H^H + Z)^(-1) H = Z^(-1) H (I + H^H Z^(-1) H)^(-1)
        inverse = np.linalg.inv(errors + optimal * np.eye(len(errors)))
        left = np.empty(channels.shape)
        estimate_channels(left, channels, np.arange(users), np.broadcast_to(inverse, (users, *inverse.shape)))
        return _solved(left, products(channels, left), 1.0)
    regularisation = optimal
    if isinstance(precoder, ZF):
        regularisation = 0.0
    elif isinstance(precoder, RZF) and precoder.regularisation is not None:
        regularisation = precoder.regularisation
    return _solved(channels, products(channels, channels), regularisation)


def transmitted(
    precoder: LinearPrecoder, channels: Tile, power: float, noise_power: float, errors: Matrix | None = None
) -> Tile:
    """Return precoders that have the power in every realization; not finite where there are none."""
    made = columns(precoder, channels, power, noise_power, errors)
    powers = np.sum(products(channels, made) ** 2, axis=2)
    own = np.einsum("kkt->kt", powers)
    scales = power_scales(precoder.allocation, own, powers, column_powers(made), power, noise_power)
    with np.errstate(invalid="ignore"):
        return np.asarray(made * np.sqrt(scales))


def power_scales(
    allocation: Allocation, own: Floats, powers: Floats, sizes: Floats, power: float, noise_power: float
) -> Floats:
    """Return the factors of |v_k|^2 that share out the power.

    Parameters
    ----------
    allocation : {"common", "equal", "max_min", "water_filling"}
        How.
    own : ndarray, shape (K, B)
        |h_k^H v_k|^2, or in the long term |E h_k^H v_k|^2.
    powers : ndarray, shape (K, K, B)
        |h_k^H v_j|^2, or their means: what they have beyond `own` disturbs user k.
    sizes : ndarray, shape (K, B)
        |v_k|^2, or their means.
    power, noise_power : float
        Above zero.

    Returns
    -------
    ndarray, shape (K, B)
        Not finite where there are none.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if allocation == "common":
            return np.broadcast_to(power / sizes.sum(axis=0), sizes.shape)
        signal = np.where(sizes > 0, own / sizes, 0.0)
        interference = np.where(sizes > 0, powers / sizes, 0.0)
        own_spread = np.einsum("kkt->kt", interference)
        own_spread[:] = np.maximum(own_spread - signal, 0.0)  # a variance, but for rounding
        shares = allocate(allocation, signal, interference, power, noise_power)
        return np.where(shares == 0, 0.0, shares / sizes)


def allocate(
    allocation: Allocation, signal: Floats, interference: Floats, power: float, noise_power: float
) -> Floats:
    """Return powers of that sum for users with the SINRs signal_k p_k / (interference_k . p + noise_power).

    Parameters
    ----------
    allocation : {"equal", "max_min", "water_filling"}
        Which powers.
    signal, interference : ndarray, shapes (K, B) and (K, K, B)
        Of B realizations.
    power, noise_power : float
        Above zero.

    Returns
    -------
    ndarray, shape (K, B)
        NaN where there are no such powers.
    """
    powers = np.full(signal.shape, power / len(signal))
    if allocation == "max_min":
        max_min_powers(powers, signal, interference, power, noise_power)
    elif allocation == "water_filling":
        water_filling_powers(powers, signal, power, noise_power)
    return powers


def products(left: Tile, right: Tile) -> Floats:
    """Return h_k^H f_j of every realization, axes (k, j, real or imaginary part, realization)."""
    out = np.empty((left.shape[2], right.shape[2], 2, left.shape[3]))
    inner_products(out, left, right)
    return out


def column_powers(precoders: Tile) -> Floats:
    """Return |f_k|^2, shape (K, B)."""
    return np.asarray(np.einsum("mpkt,mpkt->kt", precoders, precoders, dtype=np.float64))


def _solved(left: Tile, grams: Floats, regularisation: float) -> Tile:
    """Columns left (G + regularisation I)^(-1), for G with axes (row, column, part, realization)."""
    np.einsum("kkt->kt", grams[:, :, 0])[:] += regularisation
    users, realizations = len(grams), grams.shape[3]
    diagonals = np.zeros((users, 2, users, realizations))  # as the kernel takes them
    for shift in range(users):
        for k in range(shift, users):
            diagonals[shift, :, k] = grams[k, k - shift]
    factors, out = np.empty_like(grams), np.empty(left.shape)
    factor_grams(factors, diagonals)
    solve_columns(out, left, factors)
    return out
