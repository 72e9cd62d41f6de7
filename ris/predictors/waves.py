"""Local scattering as few plane waves: factors and lags of covariances on a square grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NODES", "SPACING", "directions", "factors", "fields", "lags", "plane_waves", "principal_factors"]

SPACING = 0.25
"""Distance of neighbouring elements in wavelengths, if nothing else is said."""

NODES, REACH = 7, 3.2
"""Angles of either kind, equally spaced over so many standard deviations to both sides."""

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


def directions(angles: Real, spread: Real) -> tuple[Real, Real]:
    """Return where plane waves come from, and their powers.

    Azimuth and elevation take NODES values each, weighted as a Gaussian law weights them.

    Parameters
    ----------
    angles : ndarray, shape (..., 2)
        Mean azimuth and elevation, radians, broadside (0, 0).
    spread : ndarray, shape (...)
        Standard deviation of both, radians.

    Returns
    -------
    cosines : ndarray, shape (..., NODES^2, 2)
        Direction cosines along the rows' and along the columns' axis of a surface in the y-z plane, whose row
        numbers grow along z and column numbers along y.
    powers : ndarray, shape (NODES^2,)
        Sum one.
    """
    nodes = np.linspace(-REACH, REACH, NODES)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    azimuth, elevation = (angles[..., i, None] + spread[..., None] * nodes for i in (0, 1))
    azimuth, elevation = np.broadcast_arrays(azimuth[..., :, None], elevation[..., None, :])
    cosines = np.stack([np.sin(elevation), np.sin(azimuth) * np.cos(elevation)], axis=-1)
    return cosines.reshape(*angles.shape[:-1], NODES**2, 2), np.outer(weights, weights).ravel()


def factors(angles: Real, spread: Real, side: int, spacing: float = SPACING) -> Complex:
    """Return F with R = F F^H, shape (..., NODES^2, side, side): a plane wave each, on the grid."""
    cosines, powers = directions(angles, spread)
    along_rows, along_columns = _phasors(cosines, _centred(side), spacing)
    factor: Complex = np.sqrt(powers)[:, None, None] * along_rows[..., :, None] * along_columns[..., None, :]
    return factor


def plane_waves(angles: Real, side: int, spacing: float = SPACING) -> Complex:
    """Return the plane wave of each azimuth and elevation, shape (..., 2), on the grid: (..., side, side)."""
    azimuth, elevation = angles[..., 0, None, None], angles[..., 1, None, None]
    position = spacing * _centred(side)
    phase = position[:, None] * np.sin(elevation) + position * np.sin(azimuth) * np.cos(elevation)
    return np.asarray(np.exp(2j * np.pi * phase))


def fields(angles: Real, spread: Real, amplitudes: Complex, side: int, spacing: float = SPACING) -> Complex:
    """Return F a of amplitudes a of the plane waves, shape (..., NODES^2), on the grid: (..., side, side)."""
    cosines, powers = directions(angles, spread)
    along_rows, along_columns = _phasors(cosines, _centred(side), spacing)
    field: Complex = (
        np.swapaxes(along_rows * (np.sqrt(powers) * amplitudes)[..., None], -1, -2) @ along_columns
    )
    return field


def lags(angles: Real, spread: Real, side: int) -> Complex:
    """Return R as `channels.GridCorrelation` keeps it, shape (..., 2 side - 1, 2 side - 1)."""
    cosines, powers = directions(angles, spread)
    along_rows, along_columns = _phasors(cosines, np.arange(1 - side, side), SPACING)
    table: Complex = np.swapaxes(along_rows * powers[:, None], -1, -2) @ along_columns
    return table


def principal_factors(factor: Complex, tolerance: float) -> Complex:
    """Return fewer columns with almost the same F F^H, shape (..., p, side, side).

    Eigenvalues below `tolerance` of the largest are left out; p is that of the covariance that has most.
    """
    columns = factor.reshape(*factor.shape[:-2], -1)
    values, vectors = np.linalg.eigh(columns.conj() @ np.swapaxes(columns, -1, -2))
    rank = int((values > tolerance * values[..., -1:]).sum(axis=-1).max())
    principal: Complex = np.swapaxes(vectors[..., ::-1][..., :rank], -1, -2) @ columns
    return principal.reshape(*factor.shape[:-3], rank, *factor.shape[-2:])


def _centred(side: int) -> Real:
    """Numbers of the rows or columns, from the centre."""
    return np.asarray(np.arange(side) - (side - 1) / 2, np.float64)


def _phasors(cosines: Real, positions: NDArray[Any], spacing: float) -> tuple[Complex, Complex]:
    """exp(j 2 pi p u) along rows and columns, shapes (..., waves, positions)."""
    along = np.exp(2j * np.pi * spacing * cosines[..., None] * positions)
    return along[..., 0, :], along[..., 1, :]
