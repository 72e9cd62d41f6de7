"""Factors F of covariances R = F F^H, held so that products with many columns are cheap.

The columns have axes (row, real or imaginary part, column, realization), so that a real factor acts on both
parts as one real product. A covariance that is symmetric under the mirrors of its grid (isotropic scattering
on a planar array) has eigenvectors that are even or odd in each axis: in the basis of such parts it falls into
four blocks, and products cost a quarter.

A factor leaves out the smallest eigenvalues, up to 1e-8 of the trace in sum: so the trace norm of R - F F^H, and
with it the error of every mean power, is below 1e-8 of the whole. A mean over fewer than 1e16 realizations
cannot show that, and the products cost a third less than with all eigenvalues above rounding.
"""

import math
import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from channels._kernels.parity import fold, unfold
from channels.correlation import Correlation, one_blas_thread

__all__ = ["DISCARDED", "DenseFactor", "Factor", "ParityFactor", "Scratch", "factor_of"]

DISCARDED = 1e-8
"""Sum of the eigenvalues that a factor leaves out, relative to the trace."""

SYMMETRY = 1e-13
"""How far, relative to the largest entry, mirrored entries of a covariance may differ: rounding."""

Columns = NDArray[np.float64]
"""Axes (row, real or imaginary part, column, realization)."""


class Scratch(threading.local):
    """Arrays that each thread keeps from one use to the next, since fresh pages cost more than most products."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.float64]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return an array of that shape, its entries left from the last use of that name."""
        size = math.prod(shape)
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = np.empty(size)
        return self._buffers[name][:size].reshape(shape)


class Factor(Protocol):
    """F with R = F F^H.

    Attributes
    ----------
    size, rank : int
        Rows and columns of F.
    """

    size: int
    rank: int

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        ...

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        ...


def factor_of(covariance: Correlation) -> Factor:
    """Return the factor that makes products with a single covariance of NumPy arrays cheapest."""
    R = covariance.matrix
    grid = covariance.grid or (1, covariance.size)
    if R.dtype == np.float64:
        for rows in dict.fromkeys((grid[0], 1)):
            if _is_mirrored(R, rows):
                return ParityFactor(R, rows)
    return DenseFactor(R)


class DenseFactor:
    """Eigenvectors times root eigenvalues as one matrix; attributes and methods as of `Factor`.

    Parameters
    ----------
    R : ndarray, shape (N, N)
        Covariance, real or complex.
    """

    def __init__(self, R: NDArray[Any]) -> None:
        (F,) = _factors([R])
        self.size, self.rank = F.shape
        self._forward = _as_real(F)
        self._adjoint = np.ascontiguousarray(self._forward.T)

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        _multiply(out, self._forward, numbers)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        _multiply(out, self._adjoint, columns)


class ParityFactor:
    """Factors of the blocks of even and odd parts; attributes and methods as of `Factor`.

    Parameters
    ----------
    R : ndarray, shape (N, N)
        Real covariance, symmetric under both mirrors of its grid.
    rows : int
        Rows of the grid, or 1 if R is symmetric under the mirror of all N elements at once.
    """

    def __init__(self, R: NDArray[np.float64], rows: int) -> None:
        self.size, self._rows = len(R), rows
        half = np.empty_like(R)
        fold(half, R, rows)
        folded = np.empty_like(R)
        fold(folded, np.ascontiguousarray(half.T), rows)
        length = len(R) // rows
        by_rows, by_columns = (rows - rows // 2, rows // 2), (length - length // 2, length // 2)
        ends = np.cumsum([i * j for i in by_rows for j in by_columns])
        places = [slice(stop - size, stop) for stop, size in zip(ends, np.diff(ends, prepend=0), strict=True)]
        self._elements = [place for place in places if place.stop > place.start]
        self._forward = _factors([folded[place, place] for place in self._elements])
        self._adjoint = [np.ascontiguousarray(F.T) for F in self._forward]
        ends = np.cumsum([F.shape[1] for F in self._forward])
        self._numbers = [slice(stop - F.shape[1], stop) for stop, F in zip(ends, self._forward, strict=True)]
        self.rank = int(ends[-1])

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        X, product = numbers.reshape(self.rank, -1), out.reshape(self.size, -1)
        parts = scratch.array("parts", product.shape)
        for F, place, elements in zip(self._forward, self._numbers, self._elements, strict=True):
            np.matmul(F, X[place], out=parts[elements])
        unfold(product, parts, self._rows)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        V, product = columns.reshape(self.size, -1), out.reshape(self.rank, -1)
        parts = scratch.array("parts", V.shape)
        fold(parts, V, self._rows)
        for F, place, elements in zip(self._adjoint, self._numbers, self._elements, strict=True):
            np.matmul(F, parts[elements], out=product[place])


def _multiply(out: Columns, matrix: NDArray[np.float64], columns: Columns) -> None:
    # A real matrix meets rows that hold both parts; the blocks of a complex one meet each part as its own row.
    rows, inner = matrix.shape
    np.matmul(matrix, columns.reshape(inner, -1), out=out.reshape(rows, -1))


def _is_mirrored(R: NDArray[np.float64], rows: int) -> bool:
    """Whether R is symmetric under the mirrors of both axes of its grid, or of all elements for one row."""
    grid = R.reshape(rows, -1, rows, len(R) // rows)
    allowed = SYMMETRY * np.abs(R).max()
    return all(np.abs(grid - np.flip(grid, axes)).max() <= allowed for axes in ((0, 2), (1, 3)))


def _factors(blocks: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Factors of the diagonal blocks of one covariance, the smallest eigenvalues of all left out."""
    with one_blas_thread():
        pairs = [np.linalg.eigh(block) for block in blocks]
    ascending = np.sort(np.concatenate([values for values, _ in pairs]))
    discarded = np.cumsum(np.maximum(ascending, 0.0)) <= DISCARDED * ascending.sum()
    floor = ascending[discarded][-1] if discarded.any() else 0.0
    return [
        vectors[:, values > floor] * np.sqrt(values[values > floor])
        for values, vectors in pairs
    ]


def _as_real(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """A real matrix as it is; a complex one with each entry x + j y as the block [[x, -y], [y, x]]."""
    if matrix.dtype == np.float64:
        return np.ascontiguousarray(matrix)
    blocks = np.array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    rows, columns = matrix.shape
    return blocks.transpose(2, 0, 3, 1).reshape(2 * rows, 2 * columns)
