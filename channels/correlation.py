"""Covariance matrices that know their factor and effective rank, and the laws of spatial correlation."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any, Self

import array_api_compat
import numpy as np
import scipy.fft
import scipy.linalg
import scipy.special
from numpy.typing import ArrayLike, NDArray

from channels.arrays import AntennaArray, UniformArray, as_angles
from channels.blas import one_blas_thread
from channels.checks import as_array, finite, frozen, integer, non_negative, one_of, pair, real
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.options import ScatteringDimensions, ScatteringMethod
from channels.scattering import GridWaves, LocalScattering, PlaneScattering

__all__ = [
    "Correlation",
    "GridCorrelation",
    "as_correlation",
    "exponential_correlation",
    "isotropic_correlation",
    "local_scattering_correlation",
]

TOLERANCE = 1e-10
"""How far a matrix may be from Hermitian, relative to its largest diagonal entry, and how negative an
eigenvalue may be, relative to the trace. Single precision is allowed 100 of its rounding units, 1.2e-5."""

MATRIX_LIMIT = 1e9
"""Bytes that a matrix made on demand may take."""

COLUMNS_AT_A_TIME = 32
"""Columns that a convolution transforms together, to bound its memory."""


@dataclass(frozen=True, eq=False)
class Correlation:
    """A covariance matrix R, or a stack of them, checked on construction.

    Acts as its matrix wherever an array is expected (``numpy.asarray(R)``).

    Parameters
    ----------
    matrix : array_like, shape (..., N, N)
        Hermitian and positive semidefinite. NumPy input becomes float64 or complex128 and read-only, a
        writable array by a copy; arrays of other array-API libraries stay as they are.

    Attributes
    ----------
    low_rank : bool
        Whether a factor of rank below N / 2 was given: products cost less with it than with the matrix.

    Raises
    ------
    InvalidArgumentError
        If the matrix is not square, not finite, not Hermitian (beyond 1e-10 of its largest diagonal
        entry), or indefinite (an eigenvalue below -1e-10 of its trace).
    """

    matrix: Any
    low_rank: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        matrix = finite("correlation", as_array("correlation", self.matrix))
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
            raise InvalidArgumentError(
                "correlation", "square matrices, shape (..., N, N)", f"shape {tuple(matrix.shape)}"
            )
        _check_hermitian(matrix)
        _check_definite(matrix)
        object.__setattr__(self, "matrix", frozen(matrix))

    @classmethod
    def from_factor(cls, factor: Any) -> Self:
        """Return the correlation R = F F^H of a given factor F, which it keeps as its `factor`.

        Parameters
        ----------
        factor : array_like, shape (..., N, rank)
            Finite; any rank, and F need not have orthogonal columns.
        """
        F = finite("factor", as_array("factor", factor))
        if F.ndim < 2 or 0 in F.shape[-2:]:
            raise InvalidArgumentError("factor", "shape (..., N, rank)", f"shape {tuple(F.shape)}")
        with one_blas_thread():
            correlation = cls._semidefinite(F @ _adjoint(F))
        object.__setattr__(correlation, "factor", frozen(F))
        object.__setattr__(correlation, "low_rank", 2 * F.shape[-1] < F.shape[-2])
        return correlation

    @classmethod
    def _semidefinite(cls, matrix: Any) -> Self:
        """Return the correlation of a matrix that its maker has proved to be one: it is not checked again."""
        correlation = object.__new__(cls)
        object.__setattr__(correlation, "matrix", frozen(matrix))
        return correlation

    @property
    def size(self) -> int:
        """Number of elements N."""
        return int(self.matrix.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        return tuple(self.matrix.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.matrix, dtype=dtype, copy=copy)

    def __getitem__(self, index: int) -> "Correlation":
        """Return one covariance of a stack of them, unchecked since the stack was."""
        return type(self)._semidefinite(self.matrix[index])

    @functools.cached_property
    def factor(self) -> Any:
        """F with R = F F^H, shape (..., N, rank): eigenvectors times root eigenvalues, largest first.

        Eigenvalues up to N * eps of the largest, which rounding cannot tell from zero, are dropped. In a
        stack, the rank is that of the matrix that has most; the others end in zero columns.
        """
        xp = array_api_compat.array_namespace(self.matrix)
        with one_blas_thread():
            values, vectors = xp.linalg.eigh(self.matrix)
        floor = self.size * float(xp.finfo(values.dtype).eps) * values[..., -1:]
        values = xp.where(values > floor, values, xp.zeros_like(values))
        rank = max(1, int(xp.max(xp.sum(xp.astype(values > 0, xp.int64), axis=-1))))
        first = self.size - rank
        roots = xp.sqrt(xp.flip(values[..., first:], axis=-1))
        return frozen(xp.flip(vectors[..., first:], axis=-1) * roots[..., None, :])

    @functools.cached_property
    def eigenvalues(self) -> Any:
        """Eigenvalues as computed, not clipped, shape (..., N), largest first."""
        xp = array_api_compat.array_namespace(self.matrix)
        with one_blas_thread():
            return frozen(xp.flip(xp.linalg.eigvalsh(self.matrix), axis=-1))

    def effective_rank(self, tolerance: float = 1e-6) -> Any:
        """Return the number of eigenvalues above `tolerance` times the largest: an int, or shape (...)."""
        xp = array_api_compat.array_namespace(self.matrix)
        above = self.eigenvalues > non_negative("tolerance", tolerance) * self.eigenvalues[..., :1]
        rank = xp.sum(xp.astype(above, xp.int64), axis=-1)
        return int(rank) if rank.ndim == 0 else rank


class GridCorrelation(Correlation):
    """A covariance that depends on the difference of positions in a grid of elements alone.

    Its matrix, which is block Toeplitz, is made when it is first asked for: a surface of 16,384 elements is
    sampled without it.

    Parameters
    ----------
    lags : ndarray, shape (..., 2 rows - 1, 2 columns - 1)
        R_nm at [i + rows - 1, j + columns - 1] if n is i rows and j columns beyond m. Made by a law that is
        positive semidefinite: not checked again.
    isotropic_spacing : pair of float, optional
        Distance of neighbouring rows and columns in wavelengths, if R_nm = sinc(2 d) at distance d and rows
        and columns are orthogonal.
    waves : GridWaves, optional
        Plane waves whose mean is R, if the law has them: they make factors of large surfaces.

    Attributes
    ----------
    grid : pair of int
        Numbers of rows and columns; element n = row * columns + column.
    """

    def __init__(
        self,
        lags: NDArray[Any],
        isotropic_spacing: tuple[float, float] | None = None,
        waves: GridWaves | None = None,
    ) -> None:
        attributes = {
            "lags": frozen(lags),
            "grid": ((lags.shape[-2] + 1) // 2, (lags.shape[-1] + 1) // 2),
            "isotropic_spacing": isotropic_spacing,
            "waves": waves,
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    lags: NDArray[Any]
    grid: tuple[int, int]
    isotropic_spacing: tuple[float, float] | None
    waves: GridWaves | None

    @property
    def size(self) -> int:
        """Number of elements N."""
        return self.grid[0] * self.grid[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        return (*self.lags.shape[:-2], self.size, self.size)

    @functools.cached_property
    def matrix(self) -> Any:
        """The matrix itself.

        Raises
        ------
        MemoryLimitError
            If it would take more than 1 GB.
        """
        needed = math.prod(self.shape) * self.lags.itemsize
        if needed > MATRIX_LIMIT:
            raise MemoryLimitError(
                f"the covariance matrix of {self.size} elements",
                needed,
                int(MATRIX_LIMIT),
                "sample with engine='reduced', which does without, or take fewer elements",
            )
        row, column = (np.subtract.outer(np.arange(n), np.arange(n)) + n - 1 for n in self.grid)
        matrix = self.lags[..., row[:, None, :, None], column[None, :, None, :]].reshape(self.shape)
        matrix.flags.writeable = False
        return matrix

    def __getitem__(self, index: int) -> "GridCorrelation":
        waves = None if self.waves is None else self.waves[index]
        return GridCorrelation(self.lags[index], self.isotropic_spacing, waves)

    def __repr__(self) -> str:
        return f"GridCorrelation(grid={self.grid}, shape={self.shape})"

    def times(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return R V of columns V, shape (N, m), by convolution with the lags; a single covariance."""
        rows, length = self.grid
        # Circular: what wraps around falls on entries that are not kept.
        size = [scipy.fft.next_fast_len(2 * n - 1) for n in self.grid]
        spectrum = scipy.fft.fft2(self.lags, size)[..., None]
        real_product = np.isrealobj(self.lags) and np.isrealobj(columns)
        out = np.empty(columns.shape, np.float64 if real_product else np.complex128)
        for start in range(0, columns.shape[1], COLUMNS_AT_A_TIME):
            part = slice(start, start + COLUMNS_AT_A_TIME)
            grid = columns[:, part].reshape(rows, length, -1)
            product = scipy.fft.ifft2(spectrum * scipy.fft.fft2(grid, size, axes=(0, 1)), axes=(0, 1))
            kept = product[rows - 1 : 2 * rows - 1, length - 1 : 2 * length - 1].reshape(len(out), -1)
            out[:, part] = kept.real if real_product else kept
        return out


def as_correlation(argument: str, value: Any) -> Correlation:
    """Return `value` as a `Correlation`; errors name `argument`."""
    if isinstance(value, Correlation):
        return value
    try:
        return Correlation(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(argument, error.expected, error.got) from None


def isotropic_correlation(
    array: AntennaArray, dimensions: ScatteringDimensions = 3, normal: ArrayLike | None = None
) -> Correlation:
    """Return the correlation under scattering that is equally strong from all directions.

    Parameters
    ----------
    array : AntennaArray
        Of N elements.
    dimensions : {3, 2}
        3: from all directions in space, R_nm = sinc(2 d) = sin(2 pi d) / (2 pi d) at distance d in
        wavelengths. 2: from all directions in one plane, R_nm = J0(2 pi d) with d the distance projected
        onto that plane.
    normal : array_like, shape (3,), optional
        With `dimensions` = 2, a vector normal to the plane of the scatterers, of any length. By default
        +z, so that waves travel horizontally, and elements straight above one another see the same.

    Returns
    -------
    Correlation
        Real, shape (N, N), unit diagonal.

    Raises
    ------
    InvalidArgumentError
        On bad arguments, and if `normal` is given with `dimensions` = 3.

    Notes
    -----
    Both are E exp(j 2 pi (p_n - p_m) . u), u uniform on the unit sphere or on the unit circle in the plane,
    and so positive semidefinite for every array, however turned. Three dimensions: Bjornson and Sanguinetti,
    "Rayleigh fading modeling and channel hardening for reconfigurable intelligent surfaces", IEEE WCL 10(4),
    2021, proposition 1. Two: Clarke, "A statistical theory of mobile-radio reception", Bell Syst. Tech. J.
    47(6), 1968, in space instead of time. Without the projection, J0 would be indefinite on some arrays.
    """
    positions = _checked(array).positions
    if one_of("dimensions", dimensions, ScatteringDimensions) == 3:
        if normal is not None:
            raise InvalidArgumentError("normal", "None with dimensions = 3", repr(normal))
        axis = np.zeros(3)
    else:
        axis = real("normal", finite("normal", as_array("normal", (0, 0, 1) if normal is None else normal)))
        if axis.shape != (3,) or not axis.any():
            raise InvalidArgumentError("normal", "a vector of three numbers, not all zero", repr(normal))
        axis = axis / np.linalg.norm(axis)

    def law(displacements: NDArray[np.float64]) -> NDArray[np.float64]:
        in_plane = displacements - (displacements @ axis)[..., None] * axis
        distances = np.linalg.norm(in_plane, axis=-1)
        values: NDArray[np.float64] = (
            np.sinc(2 * distances) if dimensions == 3 else scipy.special.j0(2 * np.pi * distances)
        )
        return values

    if not isinstance(array, UniformArray):
        return Correlation._semidefinite(law(positions[:, None] - positions))
    spacing = tuple(np.linalg.norm(array.steps, axis=-1))
    orthogonal = abs(array.steps[0] @ array.steps[1]) <= 1e-14 * max(spacing) ** 2
    return GridCorrelation(
        _hermitian_lags(law(_lags(array))),
        spacing if dimensions == 3 and orthogonal else None,
        GridWaves(PlaneScattering(axis), array) if dimensions == 2 else None,
    )


def exponential_correlation(size: int | tuple[int, int], coefficient: complex) -> Correlation:
    """Return R_ij = coefficient^(j - i) for j >= i, and the conjugate below.

    On a grid, the Kronecker product of such a matrix for its rows and one for its columns.

    Parameters
    ----------
    size : int or pair of int
        Number of elements, or numbers of rows and columns of a grid with element n = row * columns + column;
        each >= 1.
    coefficient : complex
        Correlation of neighbours, of modulus at most 1 (to four rounding units, so that exp(j x) passes).

    Returns
    -------
    Correlation
        Unit diagonal; real if the coefficient is.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.

    Notes
    -----
    Loyka, "Channel capacity of MIMO architecture using the exponential correlation matrix", IEEE
    Communications Letters 5(9), 2001.
    """
    if isinstance(size, tuple) and len(size) != 2:
        raise InvalidArgumentError("size", "an integer >= 1 or a pair of them", repr(size))
    counts = [integer("size", count, 1) for count in (size if isinstance(size, tuple) else (size,))]
    value = finite("coefficient", as_array("coefficient", coefficient))
    if value.ndim != 0 or abs(value) > 1 + 4 * np.finfo(float).eps:
        raise InvalidArgumentError("coefficient", "one number of modulus <= 1", repr(coefficient))
    powers = [value ** np.arange(count) for count in counts]
    if len(powers) == 1:
        return Correlation(scipy.linalg.toeplitz(np.conj(powers[0]), powers[0]))
    by_rows, by_columns = (np.concatenate([power[:0:-1], np.conj(power)]) for power in powers)
    return GridCorrelation(by_rows[:, None] * by_columns)


def local_scattering_correlation(
    array: AntennaArray,
    azimuth: ArrayLike,
    elevation: ArrayLike,
    angular_spread: float | tuple[float, float],
    method: ScatteringMethod = "quadrature",
) -> Correlation:
    """Return the correlation under scattering around a direction, with Gaussian angles.

    R_nm = E exp(j 2 pi (p_n - p_m) . u(azimuth + delta, elevation + epsilon)), u = `arrays.direction`, delta
    and epsilon independent, zero-mean, Gaussian. The angles are not confined to a sphere's range; u wraps.

    Parameters
    ----------
    array : AntennaArray
        Of N elements.
    azimuth, elevation : array_like, shape (...)
        Mean direction in global axes, radians; the two broadcast, as for K users.
    angular_spread : float or pair of floats
        Standard deviations of azimuth and elevation in radians, >= 0; one number for both.
    method : {"quadrature", "small_angle"}
        "quadrature": to 1e-12 absolute, on arrays up to 100 wavelengths across. "small_angle": closed form,
        with u to first order in delta and epsilon.

    Returns
    -------
    Correlation
        Complex, shape (..., N, N), unit diagonal.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.

    Notes
    -----
    The law: Bjornson, Hoydis and Sanguinetti, "Massive MIMO networks", 2017, sections 2.6 and 7.3.2, with
    Gaussian angles. Small angles: u(azimuth + delta, elevation + epsilon) is about u + delta v + epsilon w
    with the derivatives v, w of u by azimuth and elevation. With l = p_n - p_m and spreads s, t, the
    characteristic function of the normal law gives

        R_nm = exp(j 2 pi l . u) exp(-(2 pi)^2 ((s l . v)^2 + (t l . w)^2) / 2),

    positive semidefinite for every spread, since it is the exact law of other, linear, scattering. What it
    leaves out is a phase near pi l . (s^2 u_aa + t^2 u_ee), with the second derivatives of u: small while
    s^2 and t^2 are small against the wavelengths across the array.
    """
    _checked(array)
    az, el = as_angles(azimuth, elevation)
    spreads = pair("angular_spread", angular_spread, non_negative)
    scattering = LocalScattering(az, el, spreads, one_of("method", method, ScatteringMethod))
    if isinstance(array, UniformArray):
        # Entries depend on p_n - p_m = i a + j b alone: one table over the lags (i, j) holds them all, and
        # those of i >= 0 make the others.
        half = scattering.lag_table(array)
        table = np.concatenate([half[..., :0:-1, ::-1].conj(), half], axis=-2)
        return GridCorrelation(_hermitian_lags(table), waves=GridWaves(scattering, array))
    centred = array.positions - array.positions.mean(axis=0)
    return Correlation._semidefinite(scattering.mean_wave(centred, -centred))


def _lags(array: UniformArray) -> NDArray[np.float64]:
    """Displacements by -(n - 1) to n - 1 rows and columns, shape (2 rows - 1, 2 columns - 1, 3).

    Entries of a covariance that depends on p_n - p_m = i a + j b alone are all in its values there.
    """
    row, column = (
        np.arange(1 - count, count)[:, None] * step
        for count, step in zip(array.grid, array.steps, strict=True)
    )
    return np.asarray(row[:, None] + column)


def _hermitian_lags(table: NDArray[Any]) -> NDArray[Any]:
    # Hermitian to the last bit.
    hermitian: NDArray[Any] = (table + table[..., ::-1, ::-1].conj()) / 2
    return hermitian


def _checked(array: Any) -> AntennaArray:
    if not isinstance(array, AntennaArray):
        raise InvalidArgumentError("array", "an antenna array of channels", repr(array))
    return array


def _adjoint(matrix: Any) -> Any:
    xp = array_api_compat.array_namespace(matrix)
    transpose = xp.matrix_transpose(matrix)
    return xp.conj(transpose) if xp.isdtype(matrix.dtype, "complex floating") else transpose


def _real_diagonal(matrix: Any) -> Any:
    xp = array_api_compat.array_namespace(matrix)
    diagonal = xp.linalg.diagonal(matrix)
    return xp.real(diagonal) if xp.isdtype(matrix.dtype, "complex floating") else diagonal


def _tolerance(matrix: Any) -> float:
    xp = array_api_compat.array_namespace(matrix)
    return max(TOLERANCE, 100 * float(xp.finfo(matrix.dtype).eps))


def _check_hermitian(matrix: Any) -> None:
    xp = array_api_compat.array_namespace(matrix)
    tolerance = _tolerance(matrix)
    gap = xp.max(xp.abs(matrix - _adjoint(matrix)), axis=(-2, -1))
    scale = xp.max(xp.abs(_real_diagonal(matrix)), axis=-1)
    if bool(xp.any(gap > tolerance * scale)):
        raise InvalidArgumentError(
            "correlation",
            f"Hermitian matrices (|R - R^H| <= {tolerance:.2g} of the largest diagonal entry)",
            f"|R - R^H| = {float(xp.max(gap)):.3g} with largest diagonal entry {float(xp.max(scale)):.3g}",
        )


def _check_definite(matrix: Any) -> None:
    xp = array_api_compat.array_namespace(matrix)
    tolerance = _tolerance(matrix)
    allowed = tolerance * xp.abs(xp.sum(_real_diagonal(matrix), axis=-1))
    if array_api_compat.is_numpy_array(matrix) and _has_cholesky(matrix, allowed):
        return
    lowest = xp.min(xp.linalg.eigvalsh(matrix), axis=-1)
    if bool(xp.any(lowest < -allowed)):
        raise InvalidArgumentError(
            "correlation",
            f"positive semidefinite matrices (no eigenvalue below -{tolerance:.2g} of the trace)",
            f"a lowest eigenvalue of {float(xp.min(lowest)):.3g}",
        )


def _has_cholesky(matrix: NDArray[Any], allowed: NDArray[Any]) -> bool:
    # R + allowed * I has a Cholesky factor if no eigenvalue is below -allowed, a tenth of the eigenvalues'
    # cost. Rounding can make it fail near the edge: the caller then looks at the eigenvalues themselves.
    shifted = matrix.copy()
    diagonal = np.arange(matrix.shape[-1])
    shifted[..., diagonal, diagonal] += allowed[..., None] + np.finfo(float).tiny
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True
