"""Factors F of covariances R = F F^H, held so that products with many columns are cheap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation

__all__ = ["Factor"]


class Factor:
    """F with R = F F^H, acting on arrays with axes (row, real or imaginary part, column, realization).

    Parameters
    ----------
    covariance : Correlation
        A single covariance (no batch axes) of NumPy arrays.

    Attributes
    ----------
    size, rank : int
        Rows and columns of F.
    """

    def __init__(self, covariance: Correlation) -> None:
        F = covariance.factor
        self.size, self.rank = F.shape
        self._forward, self._adjoint = _as_real(F), np.ascontiguousarray(_as_real(F).T)

    def times(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        return _product(self._forward, columns, self.size)

    def adjoint_times(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        return _product(self._adjoint, columns, self.rank)


def _as_real(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """A real matrix as it is; a complex one with each entry x + j y as the block [[x, -y], [y, x]]."""
    if matrix.dtype == np.float64:
        return np.ascontiguousarray(matrix)
    blocks = np.array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    rows, columns = matrix.shape
    return blocks.transpose(2, 0, 3, 1).reshape(2 * rows, 2 * columns)


def _product(matrix: NDArray[np.float64], columns: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    # A real matrix meets rows that hold both parts, a complex one as real blocks meets a row for each part.
    product = matrix @ columns.reshape(matrix.shape[1], -1)
    return product.reshape(rows, *columns.shape[1:])
