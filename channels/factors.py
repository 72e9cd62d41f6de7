"""Factors F of covariances R = F F^H, held so that products with many columns are cheap.

The columns have axes (row, real or imaginary part, column, realization), so that a real factor acts on both
parts as one real product. A covariance that is symmetric under the mirrors of its grid (isotropic
scattering on a planar array) has eigenvectors that are even or odd in each axis: in the basis of such parts
it falls into four blocks, and products cost a quarter.

A factor leaves out the smallest eigenvalues, up to 1e-8 of the trace in sum: so the trace norm of R - F F^H,
and with it the error of every mean power, is below 1e-8 of the whole. A mean over fewer than 1e16
realizations cannot show that, and the products cost a third less than with all eigenvalues above rounding.
"""

from typing import Any, Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from channels._kernels.parity import fold, unfold
from channels.blas import one_blas_thread
from channels.blocks import block_diagonal
from channels.correlation import Correlation, GridCorrelation
from channels.isotropic import IsotropicFactor
from channels.scratch import Scratch
from channels.spectral import DISCARDED, block_factors

__all__ = ["DenseFactor", "Factor", "ParityFactor", "factor_of"]

Columns = NDArray[Any]
"""Axes (row, real or imaginary part, column, realization), float64 or float32."""

SYMMETRY = 1e-13
"""How far, relative to the largest entry, mirrored entries of a covariance may differ: rounding."""

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
    go with them: products with `IsotropicFactor` cost 1.4 times those of the four parity blocks at N = 256,
    as much at 576, 84 % of them at 1,024 and 55 % at 2,304.

    Raises
    ------
    MemoryLimitError
        If the covariance is too large for its matrix, is not isotropic, and has no low-rank factor.
    """
    grid = (1, covariance.size)
    if isinstance(covariance, GridCorrelation):
        grid = covariance.grid
        if covariance.size >= LARGE:
            if covariance.isotropic_spacing and min(grid) >= LARGE_SIDE:
                return IsotropicFactor(grid, covariance.isotropic_spacing, dtype)
            F = _low_rank_factor(covariance)
            if F is not None:
                return DenseFactor(F, dtype)
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
        self._forward.times(out, numbers)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        self._adjoint.times(out, columns)


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
        fold(half, R, rows)
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


def _low_rank_factor(covariance: GridCorrelation) -> NDArray[Any] | None:
    """F of rank up to N / 4 that leaves out `DISCARDED` of the trace, or None if there is none.

    Nystroem's approximation R Y (Y^H R Y)^-1 Y^H R with Y an orthonormal basis of R G, G random: R minus it
    is positive semidefinite, so that the trace of the difference, which is known, bounds every error. Tropp,
    Yurtsever, Udell and Cevher, "Fixed-rank approximation of a positive-semidefinite matrix from streaming
    data", NeurIPS 2017, algorithm 3, whose shift keeps the rounding errors small. R acts by FFT.
    """
    rng = np.random.default_rng(0)
    trace = covariance.size * covariance.lags[covariance.grid[0] - 1, covariance.grid[1] - 1].real
    width = 64
    while width <= covariance.size // 4:
        G = rng.standard_normal((covariance.size, width))
        with one_blas_thread():
            Y, _ = np.linalg.qr(covariance.times(G))
            RY = covariance.times(Y)
            shift = np.finfo(float).eps * np.linalg.norm(RY)
            RY += shift * Y
            inner = Y.conj().T @ RY
            root = np.linalg.cholesky((inner + inner.conj().T) / 2)
            F = scipy.linalg.solve_triangular(root, RY.conj().T, lower=True).conj().T
            U, values, _ = np.linalg.svd(F, full_matrices=False)
        kept = np.maximum(values**2 - shift, 0.0)
        missing = trace - np.cumsum(kept)
        if missing[-1] <= DISCARDED * trace:
            rank = int(np.argmax(missing <= DISCARDED * trace)) + 1
            return U[:, :rank] * np.sqrt(kept[:rank])
        width *= 2
    return None


def _is_mirrored(R: NDArray[np.float64], rows: int) -> bool:
    """Whether R is symmetric under the mirrors of both axes of its grid, or of all elements for one row."""
    grid = R.reshape(rows, -1, rows, len(R) // rows)
    allowed = SYMMETRY * np.abs(R).max()
    return all(np.abs(grid - np.flip(grid, axes)).max() <= allowed for axes in ((0, 2), (1, 3)))


def _as_real(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """A real matrix as it is; a complex one with each entry x + j y as the block [[x, -y], [y, x]]."""
    if matrix.dtype == np.float64:
        return np.ascontiguousarray(matrix)
    blocks = np.array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    rows, columns = matrix.shape
    return blocks.transpose(2, 0, 3, 1).reshape(2 * rows, 2 * columns)
