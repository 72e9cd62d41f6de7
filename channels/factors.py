"""Factors F of covariances R = F F^H, held so that products with many columns are cheap.

The columns have axes (row, real or imaginary part, column, realization), so that a real factor acts on both
parts as one real product. A covariance that is symmetric under the mirrors of its grid (isotropic
scattering on a planar array) has eigenvectors that are even or odd in each axis: in the basis of such parts
it falls into four blocks, and products cost a quarter.

A factor leaves out the smallest eigenvalues, up to 1e-8 of the trace in sum: so the trace norm of R - F F^H,
and with it the error of every mean power, is near 1e-8 of the whole: at most 2e-8 with what factors without
a matrix approximate beside. A mean over fewer than 1e16
realizations cannot show that, and the products cost a third less than with all eigenvalues above rounding.
"""

from typing import Any, Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from channels._kernels.parity import fold, unfold
from channels.blocks import block_diagonal
from channels.correlation import Correlation, GridCorrelation
from channels.isotropic import IsotropicFactor
from channels.plane_waves import PlaneWaveFactor
from channels.scratch import Scratch
from channels.spectral import block_factors, real_blocks

__all__ = ["DenseFactor", "Factor", "KroneckerFactor", "ParityFactor", "factor_of"]

Columns = NDArray[Any]
"""Axes (row, real or imaginary part, column, realization), float64 or float32."""

SYMMETRY = 1e-13
"""How far, relative to the largest entry, mirrored entries of a covariance may differ: rounding."""

SEPARABLE = 1e-12
"""How far, relative to the diagonal, the lags of a product may be from one: rounding of phases of hundreds
of radians. The difference has a trace norm below N^(1/2) times as much of the trace, 1.3e-10 at 16,384."""

LARGE, LARGE_SIDE = 1024, 16
"""Elements, and elements of the shorter side, from which on a grid is sampled without its matrix."""


class Factor(Protocol):
    """F with R = F F^H.

    Attributes
    ----------
    size, rank : int
        Rows and columns of F.
    multiplications : int
        Real ones that a product with one real column takes.
    """

    size: int
    rank: int
    multiplications: int

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        ...

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        ...


def factor_of(covariance: Correlation, dtype: type[np.floating[Any]] = np.float64) -> Factor:
    """Return the factor that makes products with a single covariance of NumPy arrays cheapest.

    It is computed in double precision and kept as `dtype`, that of the columns that it meets.

    Measured at a quarter wavelength, for four users and with the draw of the numbers and the Gram matrix that
    go with them: products with `IsotropicFactor` cost 1.5 times those of the four parity blocks at N = 256,
    1.1 times at 576, 76 % of them at 1,024 and 51 % at 2,304. Products with `PlaneWaveFactor` alone cost
    three quarters of those with one matrix of the same rank at N = 1,024; for covariances of high rank the
    matrix is better there. At 4,096 they cost a third, and the matrix takes minutes to factor.

    Raises
    ------
    MemoryLimitError
        If the covariance is too large for its matrix and no factor does without.
    """
    grid = (1, covariance.size)
    if isinstance(covariance, GridCorrelation):
        grid = covariance.grid
        if covariance.size >= LARGE:
            if covariance.isotropic_spacing and min(grid) >= LARGE_SIDE:
                return IsotropicFactor(grid, covariance.isotropic_spacing, dtype)
            sides = _separated(covariance) if min(grid) > 1 else None
            if sides is not None:
                return KroneckerFactor(*(factor_of(side, dtype) for side in sides))
            if covariance.waves is not None:
                factor = PlaneWaveFactor(grid, *covariance.waves.waves(), dtype)
                if covariance.size >= 2 * LARGE or 2 * factor.rank <= factor.size:
                    return factor
    if covariance.low_rank:
        return DenseFactor(covariance.factor, dtype)
    R = covariance.matrix
    if R.dtype == np.float64:
        for rows in dict.fromkeys((grid[0], 1)):
            if _is_mirrored(R, rows):
                return ParityFactor(R, rows, dtype)
    return DenseFactor(block_factors([R])[0], dtype)


class DenseFactor:
    """One matrix; attributes and methods as of `Factor`.

    Parameters
    ----------
    F : ndarray, shape (N, rank)
        Real or complex.
    dtype : type
        Of the columns that it meets.
    """

    def __init__(self, F: NDArray[Any], dtype: type[np.floating[Any]] = np.float64) -> None:
        self.size, self.rank = F.shape
        matrix = _as_real(F)
        self._forward, self._adjoint = block_diagonal([matrix], dtype), block_diagonal([matrix.T], dtype)
        self.multiplications = F.size if np.isrealobj(F) else 2 * F.size

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        self._forward.times(out, numbers.reshape(self._forward.inner, -1))

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        self._adjoint.times(out, columns.reshape(self._adjoint.inner, -1))


class ParityFactor:
    """Factors of the blocks of even and odd parts; attributes and methods as of `Factor`.

    Parameters
    ----------
    R : ndarray, shape (N, N)
        Real covariance, symmetric under both mirrors of its grid.
    rows : int
        Rows of the grid, or 1 if R is symmetric under the mirror of all N elements at once.
    dtype : type
        Of the columns that it meets.
    """

    def __init__(self, R: NDArray[np.float64], rows: int, dtype: type[np.floating[Any]] = np.float64) -> None:
        self.size, self._rows = len(R), rows
        half = np.empty_like(R)
        fold(half, R.copy(), rows)  # one that may be written to: kernels are compiled for that type alone
        folded = np.empty_like(R)
        fold(folded, np.ascontiguousarray(half.T), rows)
        length = len(R) // rows
        by_rows, by_columns = (rows - rows // 2, rows // 2), (length - length // 2, length // 2)
        ends = np.cumsum([i * j for i in by_rows for j in by_columns])
        places = [slice(stop - size, stop) for stop, size in zip(ends, np.diff(ends, prepend=0), strict=True)]
        factors = block_factors([folded[place, place] for place in places if place.stop > place.start])
        self._forward = block_diagonal(factors, dtype)
        self._adjoint = block_diagonal([F.T for F in factors], dtype)
        self.rank = self._forward.inner
        self.multiplications = sum(F.size for F in factors)

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        product = out.reshape(self.size, -1)
        parts = scratch.array("parts", product.shape)
        self._forward.times(parts, numbers)
        unfold(product, parts, self._rows)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        V = columns.reshape(self.size, -1)
        parts = scratch.array("parts", V.shape)
        fold(parts, V, self._rows)
        self._adjoint.times(out, parts)


class KroneckerFactor:
    """F = A kron B of the factors of rows and of columns of a grid; attributes and methods as of `Factor`.

    Parameters
    ----------
    by_rows, by_columns : Factor
        A and B. Each leaves out up to 1e-8 of its trace, F up to 2e-8.
    """

    def __init__(self, by_rows: Factor, by_columns: Factor) -> None:
        self._rows, self._columns = by_rows, by_columns
        self.size, self.rank = by_rows.size * by_columns.size, by_rows.rank * by_columns.rank
        self.multiplications = (
            by_rows.multiplications * by_columns.rank + by_columns.multiplications * by_rows.size
        )

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        width = numbers[0, 0].size
        turned, reached, row = self._scratch(scratch, width)
        turned[:] = numbers.reshape(self._rows.rank, self._columns.rank, 2, width).swapaxes(1, 2)
        self._rows.times(reached, turned, scratch)
        grid = out.reshape(self._rows.size, self._columns.size, 2, 1, width)
        for place, part in zip(grid, reached, strict=True):
            row[:, :, 0] = part.swapaxes(0, 1)
            self._columns.times(place, row, scratch)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        width = columns[0, 0].size
        turned, reached, row = self._scratch(scratch, width)
        grid = columns.reshape(self._rows.size, self._columns.size, 2, 1, width)
        for place, part in zip(grid, reached, strict=True):
            self._columns.adjoint_times(row, place, scratch)
            part[:] = row[:, :, 0].swapaxes(0, 1)
        self._rows.adjoint_times(turned, reached, scratch)
        out.reshape(self._rows.rank, self._columns.rank, 2, width)[:] = turned.swapaxes(1, 2)

    def _scratch(self, scratch: Scratch, width: int) -> tuple[Columns, Columns, Columns]:
        # By rows the columns of B are columns as well, so that the part comes before them.
        inner = self._columns.rank
        return (
            scratch.array("turned", (self._rows.rank, 2, inner, width)),
            scratch.array("reached", (self._rows.size, 2, inner, width)),
            scratch.array("row", (inner, 2, 1, width)),
        )


def _separated(covariance: GridCorrelation) -> tuple[Correlation, Correlation] | None:
    """The covariances A of rows and B of columns if R = A kron B: if the table of lags is a product."""
    rows, columns = covariance.grid
    origin = covariance.lags[rows - 1, columns - 1].real
    by_rows, by_columns = covariance.lags[:, columns - 1], covariance.lags[rows - 1] / origin
    if np.abs(covariance.lags - by_rows[:, None] * by_columns).max() > SEPARABLE * origin:
        return None
    left, right = (
        scipy.linalg.toeplitz(lags[len(lags) // 2 :], lags[len(lags) // 2 :: -1])
        for lags in (by_rows, by_columns)
    )
    return Correlation(left), Correlation(right)


def _is_mirrored(R: NDArray[np.float64], rows: int) -> bool:
    """Whether R is symmetric under the mirrors of both axes of its grid, or of all elements for one row."""
    grid = R.reshape(rows, -1, rows, len(R) // rows)
    allowed = SYMMETRY * np.abs(R).max()
    return all(np.abs(grid - np.flip(grid, axes)).max() <= allowed for axes in ((0, 2), (1, 3)))


def _as_real(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """A real matrix as it is; a complex one with each entry x + j y as the block [[x, -y], [y, x]]."""
    if matrix.dtype == np.float64:
        return np.ascontiguousarray(matrix)
    rows, columns = matrix.shape
    return real_blocks(matrix).transpose(2, 0, 3, 1).reshape(2 * rows, 2 * columns)
