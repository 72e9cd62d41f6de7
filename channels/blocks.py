"""Real matrices of a few blocks, held so that products with many columns are fast."""

import math
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from channels._kernels.products import height, multiply_blocks

__all__ = ["BlockMatrix", "Place", "Stacked", "block_diagonal", "stacked"]

Place = tuple[int, range, range]
"""Number of a block, and the rows and columns of the matrix that it takes."""


class BlockMatrix:
    """A real matrix that is zero but for blocks, no two of them in one row.

    Its products are a kernel's and not the BLAS's: they take one call for all blocks, and with AVX-512 ran at
    70 to 120 GFLOP/s where OpenBLAS 0.3.31 ran at 30 for blocks of 16 rows, 50 for 64 and 60 for 2,048.

    Parameters
    ----------
    blocks : list of ndarray
        The different ones.
    places : list of Place
        Where they are, one or more times each.
    dtype : type
        Of the columns that it meets.

    Attributes
    ----------
    rows, inner : int
        Rows and columns of the matrix.
    panels, table : ndarray
        Entries and places of the blocks, as `channels._kernels.products.multiply_blocks` wants them.
    """

    def __init__(
        self, blocks: list[NDArray[Any]], places: list[Place], dtype: type[np.floating[Any]]
    ) -> None:
        panels = [_panels(block) for block in blocks]
        self.panels = np.concatenate(panels).astype(dtype)
        entries = [0, *accumulate(len(panel) for panel in panels)]
        self.table = np.array(
            [
                (len(rows), len(inner), entries[block], rows.start, rows.step, inner.start, inner.step)
                for block, rows, inner in places
            ]
        )
        self.rows = sum(len(rows) for _, rows, _ in places)
        self.inner = max(inner.stop for _, _, inner in places)

    def times(self, out: NDArray[Any], columns: NDArray[Any]) -> None:
        """Write the product with columns; both arrays are contiguous, with all rows of the blocks first."""
        width = math.prod(columns.shape[1:])
        multiply_blocks(out.reshape(-1), columns.reshape(-1), self.panels, self.table, width)


class Stacked(NamedTuple):
    """Several matrices for one kernel.

    Attributes
    ----------
    panels, table : ndarray
        Those of all matrices, one after the other.
    ends : int64 array, shape (matrices,)
        Rows of the table up to those of each matrix.
    """

    panels: NDArray[Any]
    table: NDArray[np.int64]
    ends: NDArray[np.int64]


def stacked(matrices: list[BlockMatrix]) -> Stacked:
    """Return matrices, one after the other."""
    tables, begin = [], 0
    for matrix in matrices:
        tables.append(matrix.table + np.array([0, 0, begin, 0, 0, 0, 0]))
        begin += len(matrix.panels)
    return Stacked(
        np.concatenate([matrix.panels for matrix in matrices]),
        np.concatenate(tables),
        np.cumsum([len(table) for table in tables]),
    )


def block_diagonal(blocks: list[NDArray[Any]], dtype: type[np.floating[Any]]) -> BlockMatrix:
    """Return the block diagonal matrix of these blocks, from the upper left one on."""
    rows = pairwise(accumulate((len(block) for block in blocks), initial=0))
    inner = pairwise(accumulate((block.shape[1] for block in blocks), initial=0))
    places = [(number, range(*i), range(*j)) for number, (i, j) in enumerate(zip(rows, inner, strict=True))]
    return BlockMatrix(blocks, places, dtype)


def _panels(block: NDArray[Any]) -> NDArray[Any]:
    """The entries in the order of the kernel: tile by tile, in those by four columns, zeros beyond."""
    panels, start, inner = [np.zeros(0)], 0, -(-block.shape[1] // 4)
    while start < len(block):
        tall = height(len(block) - start)
        filled = np.zeros((tall, 4 * inner))
        some = block[start : start + tall]
        filled[: len(some), : block.shape[1]] = some
        panels.append(filled.reshape(tall, inner, 4).swapaxes(0, 1).ravel())
        start += tall
    return np.concatenate(panels)
