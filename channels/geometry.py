"""Nodes in metres: positions, lines of sight between them, near field, and where users may be."""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.constants
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist

from channels.arrays import AntennaArray, UniformArray, direction
from channels.checks import as_array, finite, frozen, integer, non_negative, pair, positive, real
from channels.errors import InvalidArgumentError
from channels.pathloss import SurfaceElement

__all__ = [
    "Node",
    "Sightline",
    "UserDrop",
    "UsersAt",
    "UsersInDisc",
    "UsersInRectangle",
    "as_points",
    "fraunhofer_distance_m",
    "is_near_field",
    "sightline",
]


@dataclass(frozen=True, eq=False)
class Node:
    """An array or a surface somewhere in space.

    Parameters
    ----------
    position_m : array_like, shape (3,)
        Position of its centre in global axes, metres; z is the height above ground.
    array : AntennaArray
        Its elements and how they are turned.
    element : SurfaceElement, optional
        Pattern of every element around the array's broadside; isotropic by default.

    Raises
    ------
    InvalidArgumentError
        On a bad position or array, and if `element` is given for an array that has no orientation.
    """

    position_m: Any
    array: AntennaArray
    element: SurfaceElement | None = None

    def __post_init__(self) -> None:
        position = as_points("position_m", self.position_m)
        if position.ndim != 1:
            raise InvalidArgumentError("position_m", "shape (3,)", f"shape {position.shape}")
        object.__setattr__(self, "position_m", frozen(position))
        if not isinstance(self.array, AntennaArray):
            raise InvalidArgumentError("array", "an antenna array of channels", repr(self.array))
        if self.element is None:
            return
        if not isinstance(self.element, SurfaceElement):
            raise InvalidArgumentError("element", "a channels.SurfaceElement or None", repr(self.element))
        if not isinstance(self.array, UniformArray):
            raise InvalidArgumentError("element", "None for an array without orientation", repr(self.element))

    def element_gain(self, azimuth: ArrayLike, elevation: ArrayLike) -> NDArray[np.float64]:
        """Return the linear power gain of one element towards a direction in global axes, shape (...)."""
        return self.gain_along(direction(azimuth, elevation))

    def gain_along(self, towards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear power gain of one element along global unit vectors, (..., 3) to (...)."""
        # Arrays without an orientation have no element: the constructor sees to it.
        if self.element is None or not isinstance(self.array, UniformArray):
            return np.ones(towards.shape[:-1])
        return self.element.gain(np.clip(towards @ self.array.orientation.matrix[:, 0], -1, 1))


@dataclass(frozen=True, eq=False)
class Sightline:
    """The straight lines from start points to end points; made by `sightline`.

    Attributes
    ----------
    distance_m : array, shape (...)
        Length, metres.
    departure_azimuth, departure_elevation : array, shape (...)
        Direction from the start towards the end in global axes, radians, as `arrays.direction` takes it.
        Azimuth is in [-pi, pi], elevation in [-pi/2, pi/2].
    arrival_azimuth, arrival_elevation : array, shape (...)
        Direction from the end back towards the start, from where a wave arrives.
    """

    distance_m: NDArray[np.float64]
    departure_azimuth: NDArray[np.float64]
    departure_elevation: NDArray[np.float64]
    arrival_azimuth: NDArray[np.float64]
    arrival_elevation: NDArray[np.float64]


def sightline(start_m: ArrayLike, end_m: ArrayLike) -> Sightline:
    """Return distance and directions between points.

    Parameters
    ----------
    start_m, end_m : array_like, shapes (..., 3)
        Positions in global axes, metres; the leading axes broadcast.

    Raises
    ------
    InvalidArgumentError
        If the points are not finite real triples, do not broadcast, or start and end coincide.

    Notes
    -----
    Straight up and straight down have the azimuth 0.
    """
    start, end = as_points("start_m", start_m), as_points("end_m", end_m)
    try:
        way = end - start
    except ValueError:
        shapes = f"{start.shape} and {end.shape}"
        raise InvalidArgumentError("start_m, end_m", "shapes that broadcast", shapes) from None
    distance = np.linalg.norm(way, axis=-1)
    if not np.all(distance > 0):
        raise InvalidArgumentError("start_m, end_m", "different points", "a distance of 0")
    return Sightline(np.asarray(distance), *_angles(way), *_angles(start - end))


def fraunhofer_distance_m(frequency_hz: float, *arrays: AntennaArray) -> float:
    """Return the distance from which a wave is plane over the arrays to pi / 8.

    Parameters
    ----------
    frequency_hz : float
        Carrier frequency, > 0.
    *arrays : AntennaArray
        One array, or the two at both ends of a hop.

    Returns
    -------
    float
        2 D^2 / lambda, D the sum of the largest distances between two elements of each array; 0 for single
        elements.

    Notes
    -----
    Points at most D / 2 from the axis of a path of length d have it longer by at most D^2 / (8 d), a phase of
    pi / 8 at this d. With two arrays, offsets of up to D1 / 2 and D2 / 2 at the two ends make up to
    (D1 + D2) / 2 between them. Balanis, "Antenna theory", 4th edition 2016, chapter 4, for one array.
    """
    wavelength = scipy.constants.c / positive("frequency_hz", frequency_hz)
    if not arrays:
        raise InvalidArgumentError("arrays", "one or two arrays", "none")
    return float(2 * sum(_aperture(array) for array in arrays) ** 2 * wavelength)


def is_near_field(distance_m: ArrayLike, frequency_hz: float, *arrays: AntennaArray) -> NDArray[np.bool_]:
    """Whether a distance is below `fraunhofer_distance_m`, where plane-wave directions do not hold.

    Parameters
    ----------
    distance_m : array_like, shape (...)
        Distance to the array, or between two arrays, metres.
    frequency_hz, *arrays
        As for `fraunhofer_distance_m`.

    Returns
    -------
    bool array, shape (...)
    """
    distance = np.asarray(real("distance_m", finite("distance_m", as_array("distance_m", distance_m))))
    return np.asarray(distance < fraunhofer_distance_m(frequency_hz, *arrays))


class UserDrop(abc.ABC):
    """Where the users of a drop are."""

    count: int

    @abc.abstractmethod
    def place(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions in metres, shape (..., K, 3), from numbers in [0, 1), shape (..., K, 2)."""


@dataclass(frozen=True, eq=False)
class UsersAt(UserDrop):
    """Users that stay where they are.

    Parameters
    ----------
    positions_m : array_like, shape (K, 3)
        Global axes, metres.
    """

    positions_m: Any

    def __post_init__(self) -> None:
        positions = as_points("positions_m", self.positions_m)
        if positions.ndim != 2 or len(positions) == 0:
            raise InvalidArgumentError("positions_m", "shape (K, 3) with K >= 1", f"shape {positions.shape}")
        object.__setattr__(self, "positions_m", frozen(positions))
        object.__setattr__(self, "count", len(positions))

    def place(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the given positions for every drop, shape (..., K, 3)."""
        return np.broadcast_to(self.positions_m, (*uniform.shape[:-1], 3))


@dataclass(frozen=True)
class UsersInDisc(UserDrop):
    """Users uniform in a horizontal disc, independent of one another.

    Parameters
    ----------
    count : int
        Number of users K, >= 1.
    centre_m : triple of float
        Centre in global axes, metres; its z is the height of the users.
    radius_m : float
        Radius, >= 0.
    """

    count: int
    centre_m: tuple[float, float, float]
    radius_m: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", integer("count", self.count, 1))
        object.__setattr__(self, "centre_m", _centre(self.centre_m))
        object.__setattr__(self, "radius_m", non_negative("radius_m", self.radius_m))

    def place(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions with radius R sqrt(u) and angle 2 pi v, shape (..., K, 3)."""
        radius, angle = self.radius_m * np.sqrt(uniform[..., 0]), 2 * np.pi * uniform[..., 1]
        offset = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(angle.shape)], axis=-1)
        return np.asarray(self.centre_m + offset)


@dataclass(frozen=True)
class UsersInRectangle(UserDrop):
    """Users uniform in a horizontal rectangle with sides along x and y, independent of one another.

    Parameters
    ----------
    count : int
        Number of users K, >= 1.
    centre_m : triple of float
        Centre in global axes, metres; its z is the height of the users.
    sides_m : float or pair of floats
        Lengths along x and along y, >= 0; one number for both. Kept as the pair.
    """

    count: int
    centre_m: tuple[float, float, float]
    sides_m: float | tuple[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", integer("count", self.count, 1))
        object.__setattr__(self, "centre_m", _centre(self.centre_m))
        object.__setattr__(self, "sides_m", pair("sides_m", self.sides_m, non_negative))

    def place(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions with x and y at u - 1/2 and v - 1/2 of the sides, shape (..., K, 3)."""
        offset = (uniform - 0.5) * self.sides_m
        flat = np.zeros((*offset.shape[:-1], 1))
        return np.asarray(np.concatenate([offset, flat], axis=-1) + self.centre_m)


def as_points(argument: str, value: Any) -> NDArray[np.float64]:
    """Return finite real positions, shape (..., 3); errors name `argument`."""
    points = np.asarray(real(argument, finite(argument, as_array(argument, value))))
    if points.ndim == 0 or points.shape[-1] != 3:
        raise InvalidArgumentError(argument, "shape (..., 3)", f"shape {points.shape}")
    return points


def _centre(value: Any) -> tuple[float, ...]:
    centre = as_points("centre_m", value)
    if centre.ndim != 1:
        raise InvalidArgumentError("centre_m", "shape (3,)", f"shape {centre.shape}")
    return tuple(map(float, centre))


def _angles(way: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    azimuth = np.arctan2(way[..., 1], way[..., 0])
    elevation = np.arctan2(way[..., 2], np.hypot(way[..., 0], way[..., 1]))
    return np.asarray(azimuth), np.asarray(elevation)


def _aperture(array: AntennaArray) -> float:
    """Largest distance of two elements, wavelengths."""
    if not isinstance(array, AntennaArray):
        raise InvalidArgumentError("arrays", "antenna arrays of channels", repr(array))
    return float(pdist(array.positions).max(initial=0.0))
