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
from scipy.spatial.distance import pdist

from channels.arrays import AntennaArray, UniformArray, as_angles, direction
from channels.blas import one_blas_thread
from channels.checks import as_array, finite, frozen, integer, non_negative, one_of, pair, real
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.options import ScatteringDimensions, ScatteringMethod

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

    Attributes
    ----------
    grid : pair of int
        Numbers of rows and columns; element n = row * columns + column.
    """

    def __init__(self, lags: NDArray[Any], isotropic_spacing: tuple[float, float] | None = None) -> None:
        attributes = {
            "lags": frozen(lags),
            "grid": ((lags.shape[-2] + 1) // 2, (lags.shape[-1] + 1) // 2),
            "isotropic_spacing": isotropic_spacing,
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    lags: NDArray[Any]
    grid: tuple[int, int]
    isotropic_spacing: tuple[float, float] | None

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
        return GridCorrelation(self.lags[index], self.isotropic_spacing)

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
        _hermitian_lags(law(_lags(array))), spacing if dimensions == 3 and orthogonal else None
    )


def exponential_correlation(size: int, coefficient: complex) -> Correlation:
    """Return R_ij = coefficient^(j - i) for j >= i, and the conjugate below.

    Parameters
    ----------
    size : int
        Number of elements, >= 1.
    coefficient : complex
        Correlation of neighbours, of modulus at most 1 (to four rounding units, so that exp(j x) passes).

    Returns
    -------
    Correlation
        Shape (size, size), unit diagonal; real if the coefficient is.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.

    Notes
    -----
    Loyka, "Channel capacity of MIMO architecture using the exponential correlation matrix", IEEE
    Communications Letters 5(9), 2001.
    """
    count = integer("size", size, 1)
    value = finite("coefficient", as_array("coefficient", coefficient))
    if value.ndim != 0 or abs(value) > 1 + 4 * np.finfo(float).eps:
        raise InvalidArgumentError("coefficient", "one number of modulus <= 1", repr(coefficient))
    powers = value ** np.arange(count)
    return Correlation(scipy.linalg.toeplitz(np.conj(powers), powers))


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
    law = _small_angle if one_of("method", method, ScatteringMethod) == "small_angle" else _mean_wave
    if isinstance(array, UniformArray):
        return GridCorrelation(_hermitian_lags(law(array, az, el, spreads)))
    return Correlation._semidefinite(law(array, az, el, spreads))


def _small_angle(
    array: AntennaArray, az: NDArray[Any], el: NDArray[Any], spreads: tuple[float, float]
) -> NDArray[Any]:
    """The law to first order in the angles: by lags, or by pairs of elements."""
    by_azimuth = np.stack([-np.cos(el) * np.sin(az), np.cos(el) * np.cos(az), np.zeros(az.shape)], axis=-1)
    by_elevation = np.stack([-np.sin(el) * np.cos(az), -np.sin(el) * np.sin(az), np.cos(el)], axis=-1)
    if isinstance(array, UniformArray):
        displacements = _lags(array)
    else:
        displacements = array.positions[:, None] - array.positions
    axes = displacements.reshape(-1, 3).T
    exponent = 2j * np.pi * (direction(az, el) @ axes)
    for derivative, spread in zip((by_azimuth, by_elevation), spreads, strict=True):
        exponent -= 0.5 * (2 * np.pi * spread * (derivative @ axes)) ** 2
    matrix: NDArray[Any] = np.exp(exponent).reshape(*az.shape, *displacements.shape[:-1])
    return matrix


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


def _mean_wave(
    array: AntennaArray, az: NDArray[Any], el: NDArray[Any], spreads: tuple[float, float]
) -> NDArray[np.complex128]:
    """E exp(j 2 pi l . u) by product quadrature over both angles: by lags l, or by pairs of elements.

    The wave along l = x + y is one along x times one along y, so that the sum over the nodes is a matrix
    product; over pairs, y = -x, a sum of outer products with positive weights, semidefinite whatever the
    nodes, and on a grid the same numbers.
    """
    deltas, delta_weights = _gaussian_nodes(spreads[0], _extent(array.positions[:, :2]))
    epsilons, epsilon_weights = _gaussian_nodes(spreads[1], _extent(array.positions))
    grid = array.grid if isinstance(array, UniformArray) else None
    # Phases p . u split into a part of each angle, up to one factor: cos el (x cos az + y sin az) + z sin el.
    axes = array.steps if isinstance(array, UniformArray) else array.positions - array.positions.mean(axis=0)
    turned = az[..., None] + deltas
    level = 2 * np.pi * (np.stack([np.cos(turned), np.sin(turned)], axis=-1) @ axes[:, :2].T)
    upright = 2 * np.pi * axes[:, 2]
    mean: Any = 0.0
    with one_blas_thread():
        for epsilon, weight in zip(epsilons, epsilon_weights, strict=True):
            raised = el[..., None, None] + epsilon
            wave = np.exp(1j * (np.cos(raised) * level + np.sin(raised) * upright))
            left, right = (wave, wave.conj()) if grid is None else _grid_waves(wave, grid)
            mean = mean + (weight * delta_weights[:, None] * left).mT @ right
    # On a grid, lags by a negative number of rows are conjugates of those that are there.
    return mean if grid is None else np.concatenate([mean[..., :0:-1, ::-1].conj(), mean], axis=-2)


def _grid_waves(steps: NDArray[Any], grid: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Waves along 0 to n - 1 rows, and along -(n - 1) to n - 1 columns, shapes (..., nodes, lags).

    Powers of the waves along one row and one column, `steps` of shape (..., nodes, 2): few exponentials.
    """
    rows, columns = (np.empty((*steps.shape[:-1], count), np.complex128) for count in grid)
    for axis, powers in enumerate((rows, columns)):
        powers[..., 0] = 1
        for n in range(1, powers.shape[-1]):
            np.multiply(powers[..., n - 1], steps[..., axis], out=powers[..., n])
    return rows, np.concatenate([columns[..., :0:-1].conj(), columns], axis=-1)


def _extent(positions: NDArray[np.float64]) -> float:
    """Largest distance of two positions."""
    return float(pdist(positions).max(initial=0.0))


def _gaussian_nodes(spread: float, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights for the mean over a normal angle of a plane wave along `reach` wavelengths.

    The trapezoidal rule with a step 2 pi / P that divides the circle, P the smallest with an error below
    1e-13 up to reach = 100. Along either angle t the wave is exp(j z cos(t - t0)), |z| <= Z = 2 pi reach,
    with Fourier coefficients of modulus |J_m(z)| (Jacobi-Anger). The rule replaces the exact mean
    f(m) = exp(-m^2 s^2 / 2) of exp(j m t) by the sum of f(m + k P) over all integer k, so that its error is
    at most the sum over m and k != 0 of |J_m(z)| f(m + k P), where

        |J_m(z)| <= 1,    |J_m(z)| <= 0.6749 |m|^(-1/3),    |J_m(z)| <= J_m(Z) for |m| >= Z;

    orders |m| > Z + 12 Z^(1/3) + 15 carry less than 1e-14 in all, and k = 1 and -1 nearly everything of
    the sum over k, since J_m(Z) has vanished before |m| reaches 2 P. (The second bound: Landau, "Bessel
    functions: monotonicity and bounds", J. London Math. Soc. 61(1), 2000.) Nodes beyond 7.5 standard
    deviations, which weigh less than 7e-14 together, are left out. Nodes that meet on the circle are
    merged; beyond s = 9 the angle is uniform on it to rounding, exp(-s^2 / 2) < 3e-18.
    """
    if spread < np.finfo(float).eps:
        return np.zeros(1), np.ones(1)
    spread = min(spread, 9.0)
    circle = _circle_nodes(spread, 2 * math.pi * reach)
    last = math.ceil(7.5 * spread * circle / (2 * math.pi))
    index = np.arange(-last, last + 1)
    weights = np.exp(-0.5 * (index * (2 * math.pi / circle / spread)) ** 2)
    if len(index) > circle:
        weights = np.bincount(index % circle, weights, minlength=circle)
        index = np.arange(circle)
    nodes = np.asarray(index * (2 * math.pi / circle), np.float64)
    return nodes, weights / weights.sum()


def _circle_nodes(spread: float, wavenumber: float) -> int:
    """P of `_gaussian_nodes`, by bisection."""
    m = np.arange(math.ceil(wavenumber + 12 * wavenumber ** (1 / 3) + 15))
    largest = np.minimum(1.0, 0.6749 * np.maximum(m, 0.3) ** (-1 / 3))
    beyond = m >= wavenumber
    largest[beyond] = np.minimum(largest[beyond], scipy.special.jv(m[beyond], wavenumber))

    def error(circle: int) -> float:
        aliases = (np.exp(-0.5 * ((m + k * circle) * spread) ** 2) for k in (-1, 1))
        return float(2 * largest @ sum(aliases))

    low, high = math.floor(wavenumber), len(m) + math.ceil(8.5 / spread)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= 1e-13 else (middle, high)
    return high


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
