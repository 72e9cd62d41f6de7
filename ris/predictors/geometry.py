"""Where the directions of a family of systems lie, and how they are drawn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from channels.draws import uniform
from channels.streams import Stream

__all__ = ["TRAINED", "UNSEEN", "Geometry", "between", "decibels", "directions"]

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """Ranges in which directions and spreads lie, uniformly, degrees.

    Parameters
    ----------
    azimuth : pair of float
        Distance from broadside, to either side.
    elevation : pair of float
        Elevation.
    hop_spread, user_spread : pair of float
        Standard deviations of the angles at a surface towards the BS or the other surface, and towards users.
    """

    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    hop_spread: tuple[float, float]
    user_spread: tuple[float, float]


TRAINED = Geometry((0.0, 55.0), (-30.0, 30.0), (2.0, 5.0), (3.0, 10.0))
UNSEEN = Geometry((55.0, 70.0), (-30.0, 30.0), (5.0, 6.5), (10.0, 13.0))


def directions(
    stream: Stream,
    size: int,
    count: int,
    first: int,
    geometry: Geometry,
    spread: tuple[float, float],
) -> tuple[Real, Real]:
    """Draw directions, shape (count, size, 2), and spreads, shape (count, size), radians."""
    side, azimuth, elevation, width = np.moveaxis(
        uniform(stream, 4 * size, count, first).reshape(count, size, 4), -1, 0
    )
    angles = np.stack(
        [
            np.where(side < 0.5, -1, 1) * between(azimuth, geometry.azimuth),
            between(elevation, geometry.elevation),
        ],
        axis=-1,
    )
    return np.radians(angles), np.radians(between(width, spread))


def between(share: Real, limits: tuple[float, float]) -> Real:
    """Map shares from 0 to 1 to a range."""
    return limits[0] + (limits[1] - limits[0]) * share


def decibels(stream: Stream, size: int, count: int, first: int, limits: tuple[float, float]) -> Real:
    """Draw factors uniform in decibels, shape (count, size)."""
    factors: Real = 10 ** (between(uniform(stream, size, count, first), limits) / 10)
    return factors
