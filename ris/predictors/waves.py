"""Local scattering as few plane waves: factors and lags of covariances on a square grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NODES", "directions", "factors", "lags", "principal_factors"]

SPACING = 0.25
"""Distance of neighbouring elements in wavelengths."""

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


def factors(angles: Real, spread: Real, side: int) -> Complex:
    """Return F with R = F F^H, shape (..., NODES^2, side, side): a plane wave each, on the grid."""
    cosines, powers = directions(angles, spread)
    along_rows, along_columns = _phasors(cosines, np.arange(side) - (side - 1) / 2)
    factor: Complex = np.sqrt(powers)[:, None, None] * along_rows[..., :, None] * along_columns[..., None, :]
    return factor


def lags(angles: Real, spread: Real, side: int) -> Complex:
    """Return R as `channels.GridCorrelation` keeps it, shape (..., 2 side - 1, 2 side - 1)."""
    cosines, powers = directions(angles, spread)
    along_rows, along_columns = _phasors(cosines, np.arange(1 - side, side))
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


def _phasors(cosines: Real, positions: NDArray[Any]) -> tuple[Complex, Complex]:
    """exp(j 2 pi p u) along rows and columns, shapes (..., waves, positions)."""
    along = np.exp(2j * np.pi * SPACING * cosines[..., None] * positions)
    return along[..., 0, :], along[..., 1, :]
