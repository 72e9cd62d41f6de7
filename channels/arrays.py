"""Antenna arrays and surfaces: element positions in wavelengths, orientation, plane-wave response."""

import abc
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from channels.checks import as_array, finite, frozen, integer, number, pair, positive, real
from channels.errors import InvalidArgumentError

__all__ = [
    "AntennaArray",
    "ArbitraryArray",
    "Orientation",
    "UniformArray",
    "UniformLinearArray",
    "UniformPlanarArray",
    "as_angles",
    "direction",
]


def as_angles(azimuth: ArrayLike, elevation: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return azimuth and elevation, radians, as finite real arrays of one common shape."""
    angles = {"azimuth": azimuth, "elevation": elevation}
    checked = [np.asarray(real(name, finite(name, as_array(name, value)))) for name, value in angles.items()]
    try:
        az, el = np.broadcast_arrays(*checked)
    except ValueError:
        shapes = " and ".join(str(angle.shape) for angle in checked)
        raise InvalidArgumentError("azimuth, elevation", "shapes that broadcast", shapes) from None
    return az, el


def direction(azimuth: ArrayLike, elevation: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Return the unit vector u = (cos el cos az, cos el sin az, sin el), shape (..., 3).

    Parameters
    ----------
    azimuth, elevation : array_like, shape (...)
        Radians. Azimuth turns from +x towards +y, elevation rises from the x-y plane towards +z.
    """
    az, el = as_angles(azimuth, elevation)
    return np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], axis=-1)


@dataclass(frozen=True)
class Orientation:
    """How an array is turned: intrinsic rotations about z (yaw), then y' (pitch), then x'' (roll), radians.

    A vector v of the array's own axes is `matrix` v in global axes, matrix = Rz(yaw) Ry(pitch) Rx(roll).
    Positive yaw turns broadside (+x) towards +y, positive pitch tilts it down towards -z. These are the
    bearing, downtilt and slant angles of 3GPP TR 38.901, section 7.1.3, equation (7.1-2).

    Raises
    ------
    InvalidArgumentError
        If an angle is not a finite real number.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "roll"):
            object.__setattr__(self, name, number(name, getattr(self, name)))

    @functools.cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Rotation matrix from the array's own axes to global axes, shape (3, 3)."""
        matrix: NDArray[np.float64] = Rotation.from_euler(
            "ZYX", [self.yaw, self.pitch, self.roll]
        ).as_matrix()
        matrix.flags.writeable = False
        return matrix


class AntennaArray(abc.ABC):
    """Isotropic elements at given positions."""

    @property
    @abc.abstractmethod
    def positions(self) -> NDArray[np.float64]:
        """Element positions in global axes, wavelengths, shape (N, 3), read-only."""

    @property
    def size(self) -> int:
        """Number of elements N."""
        return len(self.positions)

    def steering(self, azimuth: ArrayLike, elevation: ArrayLike = 0.0) -> NDArray[np.complex128]:
        """Response to a plane wave, exp(j 2 pi p_n . u) with u = `direction` (azimuth, elevation).

        Parameters
        ----------
        azimuth, elevation : array_like, shape (...)
            Direction in global axes, radians; the two broadcast.

        Returns
        -------
        array, shape (..., N)
            Of unit modulus.
        """
        response: NDArray[np.complex128] = np.exp(
            2j * np.pi * (direction(azimuth, elevation) @ self.positions.T)
        )
        return response


class ArbitraryArray(AntennaArray):
    """Elements anywhere.

    Parameters
    ----------
    positions : array_like, shape (N, 3)
        In global axes, wavelengths.

    Raises
    ------
    InvalidArgumentError
        If the positions are not a finite real (N, 3) array with N >= 1.
    """

    def __init__(self, positions: ArrayLike) -> None:
        checked = np.asarray(real("positions", finite("positions", as_array("positions", positions))))
        if checked.ndim != 2 or checked.shape[1] != 3 or len(checked) == 0:
            raise InvalidArgumentError("positions", "shape (N, 3) with N >= 1", f"shape {checked.shape}")
        self._positions: NDArray[np.float64] = frozen(checked)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Element positions in global axes, wavelengths, shape (N, 3), read-only."""
        return self._positions


class UniformArray(AntennaArray):
    """Elements on a regular grid of rows and columns, centred on the origin.

    Element n = row * columns + column sits at (row - (rows - 1) / 2) a + (column - (columns - 1) / 2) b
    with the two grid steps a, b. So positions differ by whole multiples of the steps alone.
    """

    orientation: Orientation

    @property
    @abc.abstractmethod
    def grid(self) -> tuple[int, int]:
        """Numbers of rows and of columns."""

    @property
    @abc.abstractmethod
    def steps(self) -> NDArray[np.float64]:
        """Displacement from row to row and from column to column, global axes, wavelengths, shape (2, 3)."""

    @functools.cached_property
    def positions(self) -> NDArray[np.float64]:
        """Element positions in global axes, wavelengths, shape (N, 3), read-only."""
        rows, columns = (np.arange(count) - (count - 1) / 2 for count in self.grid)
        row, column = np.meshgrid(rows, columns, indexing="ij")
        positions = np.stack([row.ravel(), column.ravel()], axis=-1) @ self.steps
        positions.flags.writeable = False
        return positions


@dataclass(frozen=True)
class UniformLinearArray(UniformArray):
    """Elements on a line: along y when not turned, centred on the origin, broadside +x.

    Parameters
    ----------
    elements : int
        Number of elements, >= 1.
    spacing : float
        Distance of neighbours in wavelengths, > 0.
    orientation : Orientation
        Not turned by default.

    Raises
    ------
    InvalidArgumentError
        If the count is not a whole number >= 1 or the spacing not a finite number > 0.
    """

    elements: int
    spacing: float
    orientation: Orientation = Orientation()

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", integer("elements", self.elements, 1))
        object.__setattr__(self, "spacing", positive("spacing", self.spacing))
        _check_orientation(self.orientation)

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of rows and of columns."""
        return 1, self.elements

    @property
    def steps(self) -> NDArray[np.float64]:
        """Displacement from row to row (none) and from element to element, wavelengths, shape (2, 3)."""
        return np.array([[0.0, 0.0, 0.0], [0.0, self.spacing, 0.0]]) @ self.orientation.matrix.T


@dataclass(frozen=True)
class UniformPlanarArray(UniformArray):
    """Elements on a rectangular grid: in the y-z plane when not turned, centred on the origin, broadside +x.

    Row numbers grow along z, column numbers along y; element n = row * columns + column.

    Parameters
    ----------
    rows, columns : int
        Numbers of rows and of columns, >= 1.
    spacing : float or pair of floats
        Distance of neighbouring rows (along z) and of neighbouring columns (along y), in wavelengths, > 0;
        one number for both. Kept as the pair.
    orientation : Orientation
        Not turned by default.

    Raises
    ------
    InvalidArgumentError
        If a count is not a whole number >= 1 or a spacing not a finite number > 0.
    """

    rows: int
    columns: int
    spacing: float | tuple[float, float]
    orientation: Orientation = Orientation()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", integer("rows", self.rows, 1))
        object.__setattr__(self, "columns", integer("columns", self.columns, 1))
        object.__setattr__(self, "spacing", pair("spacing", self.spacing, positive))
        _check_orientation(self.orientation)

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of rows and of columns."""
        return self.rows, self.columns

    @property
    def steps(self) -> NDArray[np.float64]:
        """Displacement from row to row and from column to column, wavelengths, shape (2, 3)."""
        along_z, along_y = pair("spacing", self.spacing, positive)
        return np.array([[0.0, 0.0, along_z], [0.0, along_y, 0.0]]) @ self.orientation.matrix.T


def _check_orientation(orientation: Any) -> None:
    if not isinstance(orientation, Orientation):
        raise InvalidArgumentError("orientation", "a channels.Orientation", repr(orientation))
