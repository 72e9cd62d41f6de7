"""Block diagonal real matrices, held so that products with many columns are fast."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels._kernels.products import multiply_blocks

__all__ = ["BlockDiagonal"]


class BlockDiagonal:
    """A real block diagonal matrix.

    Its products are a kernel's and not the BLAS's: they take one call for all blocks, and with AVX-512 ran at
    60 to 90 GFLOP/s where OpenBLAS 0.3.31 ran at 30 for blocks of 16 rows, 50 for 64 and 60 for 2,048.

    Parameters
    ----------
    blocks : list of ndarray
        From the upper left one on.
    dtype : type
        Of the columns that it meets.

    Attributes
    ----------
    rows, inner : int
        Rows and columns of the matrix.
    """

    def __init__(self, blocks: list[NDArray[Any]], dtype: type[np.floating[Any]]) -> None:
        self._panels = np.concatenate([_panels(block) for block in blocks]).astype(dtype)
        self._shapes = np.array([block.shape for block in blocks])
        self.rows, self.inner = self._shapes.sum(axis=0).tolist()

    def times(self, out: NDArray[Any], columns: NDArray[Any]) -> None:
        """Write the product with columns; both arrays are contiguous, of `rows` and `inner` rows."""
        width = columns.size // self.inner
        multiply_blocks(out.reshape(-1), columns.reshape(-1), self._panels, self._shapes, width)


def _panels(block: NDArray[Any]) -> NDArray[Any]:
    """The entries in the order of the kernel: rows by four and then single, in those entries by four."""
    rows, inner = block.shape
    filled = np.zeros((rows, -(-inner // 4) * 4))
    filled[:, :inner] = block
    whole = rows - rows % 4
    by_four = filled[:whole].reshape(whole // 4, 4, filled.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.concatenate([by_four.ravel(), filled[whole:].ravel()])
