"""Precoding matrices for channels, and the SINRs that they give."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import as_array, finite, positive, shaped
from channels.correlation import as_correlation
from channels.errors import InvalidArgumentError
from ris.linear_precoding import Tile, column_powers, columns, products, transmitted
from ris.long_term import LongTerm
from ris.precoders import MMSE, WMMSE, Precoder, check_precoder
from ris.wmmse import WmmsePrecoders, wmmse_of_tile

__all__ = ["check_precoders", "precode", "sinr", "wmmse"]


def precode(
    channels: Any,
    precoder: Precoder,
    *,
    power: float,
    noise_power: float,
    error_covariance: Any = None,
) -> NDArray[np.complex128]:
    """Compute precoding matrices.

    Parameters
    ----------
    channels : array_like, shape (..., M, K)
        Channels H of K users as the BS knows them: user k receives h_k^H x.
    precoder : MRT, ZF, RZF, MMSE or WMMSE
        Which precoder, its normalisation and allocation. Long-term normalisation means over all the channels
        given.
    power, noise_power : float
        Total transmit power and noise power at a user, > 0, in one unit.
    error_covariance : array_like, shape (M, M), optional
        For `MMSE`: covariance of the errors in the channels, summed over the users. None for no errors.

    Returns
    -------
    ndarray, shape (..., M, K)
        Columns f_k that the BS sends unit-power symbols with; their powers add up to `power`.

    Raises
    ------
    InvalidArgumentError
        On a bad argument, or if the channels of a realization have no such precoder: linearly dependent ones
        with `ZF`, none at all for some user with "equal" or "max_min" allocation.
    """
    check_precoder(precoder)
    tile, lead = _as_tile(channels)
    power, noise_power = positive("power", power), positive("noise_power", noise_power)
    errors = None if error_covariance is None else _error_covariance(precoder, error_covariance, len(tile))
    if isinstance(precoder, WMMSE):
        made = wmmse_of_tile(precoder, tile, power, noise_power)[0]
    elif precoder.normalisation == "realization":
        made = transmitted(precoder, tile, power, noise_power, errors)
    else:
        made = check_precoders(precoder, columns(precoder, tile, power, noise_power, errors))
        means = LongTerm.of(precoder, products(tile, made), column_powers(made), power, noise_power)
        with np.errstate(invalid="ignore"):
            made = made * means.scales[:, None]
    return _of_tile(check_precoders(precoder, made), lead)


def wmmse(channels: Any, precoder: WMMSE, *, power: float, noise_power: float) -> WmmsePrecoders:
    """Compute precoders of locally largest weighted sum rate, and say how the iteration ended.

    Parameters
    ----------
    channels, power, noise_power
        As for `precode`.
    precoder : WMMSE
        Weights and tolerance.

    Returns
    -------
    WmmsePrecoders

    Raises
    ------
    InvalidArgumentError
        As for `precode`.
    """
    if not isinstance(precoder, WMMSE):
        raise InvalidArgumentError("precoder", "ris.WMMSE()", repr(precoder))
    tile, lead = _as_tile(channels)
    power, noise_power = positive("power", power), positive("noise_power", noise_power)
    made, rates, iterations, converged = wmmse_of_tile(precoder, tile, power, noise_power)
    return WmmsePrecoders(
        _of_tile(check_precoders(precoder, made), lead),
        rates.reshape(lead),
        iterations.reshape(lead),
        converged.reshape(lead),
    )


def sinr(channels: Any, precoders: Any, *, noise_power: float) -> NDArray[np.float64]:
    """Compute |h_k^H f_k|^2 / (sum over j != k of |h_k^H f_j|^2 + noise_power).

    Parameters
    ----------
    channels, precoders : array_like, shapes (..., M, K)
        True channels h_k, and precoders f_k with the power included.
    noise_power : float
        Noise power at a user, > 0.

    Returns
    -------
    ndarray, shape (..., K)

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    """
    h, f = (_finite(*each) for each in (("channels", channels), ("precoders", precoders)))
    if h.shape[-2:] != f.shape[-2:]:
        raise InvalidArgumentError(
            "precoders", f"shape (..., M, K) with M, K = {h.shape[-2:]}", f"shape {f.shape}"
        )
    gains = np.abs(np.conj(np.swapaxes(h, -1, -2)) @ f) ** 2
    signal = np.diagonal(gains, axis1=-2, axis2=-1)
    others = np.where(np.eye(h.shape[-1], dtype=bool), 0.0, gains).sum(axis=-1)
    return np.asarray(signal / (others + positive("noise_power", noise_power)))


def check_precoders(precoder: Precoder, made: Tile) -> Tile:
    """Return precoders of a tile if all realizations have them."""
    bad = int(np.sum(~np.all(np.isfinite(made), axis=(0, 1, 2))))
    if bad:
        raise InvalidArgumentError(
            "precoder",
            "one that the channels known to the BS allow: linearly independent ones for ZF (at most as many "
            "users as antennas, one pilot each), no user without a channel for equal SINRs or powers",
            f"{precoder!r}, impossible in {bad} realizations",
        )
    return made


def _error_covariance(precoder: Precoder, value: Any, antennas: int) -> NDArray[np.complex128]:
    if not isinstance(precoder, MMSE):
        raise InvalidArgumentError("error_covariance", "None, except with ris.MMSE()", repr(precoder))
    matrix = as_correlation("error_covariance", value).matrix
    return np.asarray(shaped("error_covariance", matrix, (antennas, antennas), "(M, M)"), np.complex128)


def _finite(argument: str, value: Any) -> NDArray[np.complex128]:
    array = np.asarray(finite(argument, as_array(argument, value)), np.complex128)
    if array.ndim < 2 or 0 in array.shape:
        raise InvalidArgumentError(argument, "shape (..., M, K), not empty", f"shape {array.shape}")
    return array


def _as_tile(channels: Any) -> tuple[Tile, tuple[int, ...]]:
    """Channels with the axes of a tile, (M, 2, K, B), and their leading axes."""
    array = _finite("channels", channels)
    rows = np.moveaxis(array.reshape(-1, *array.shape[-2:]), 0, -1)
    return np.ascontiguousarray(np.stack([rows.real, rows.imag], axis=1)), array.shape[:-2]


def _of_tile(tile: Tile, lead: tuple[int, ...]) -> NDArray[np.complex128]:
    rows = np.moveaxis(tile[:, 0] + 1j * tile[:, 1], -1, 0)
    return np.ascontiguousarray(rows.reshape(*lead, *rows.shape[1:]))
