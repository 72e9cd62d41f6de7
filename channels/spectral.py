"""Factors of covariances by eigenvectors, the smallest eigenvalues left out."""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from channels.blas import one_blas_thread

__all__ = ["DISCARDED", "block_factors", "low_rank_factors", "real_blocks"]

DISCARDED = 1e-8
"""Sum of the eigenvalues that a factor leaves out, relative to the trace."""

PIVOTED = 1e-12
"""What pivoted Cholesky factors leave of the trace."""


def block_factors(blocks: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Factors of the diagonal blocks of one covariance, the smallest eigenvalues of all left out."""
    with one_blas_thread():
        pairs = [np.linalg.eigh(block) for block in blocks]
    smallest = _smallest_kept([values for values, _ in pairs])
    return [vectors[:, values >= smallest] * np.sqrt(values[values >= smallest]) for values, vectors in pairs]


def low_rank_factors(blocks: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """As `block_factors`, many times faster for real blocks of low rank.

    A Cholesky factor L of G with pivots stops where 1e-12 of the trace is left, positive semidefinite as the
    remainder is. The eigenvalues of the small L^T L are those of L L^T, its eigenvectors w make those of
    L L^T, times their root eigenvalues: L w.
    """
    trace = sum(float(np.trace(block)) for block in blocks)
    with one_blas_thread():
        roots = [_pivoted(block, PIVOTED * trace / sum(map(len, blocks))) for block in blocks]
        pairs = [np.linalg.eigh(L.T @ L) for L in roots]
        smallest = _smallest_kept([values for values, _ in pairs])
        return [L @ w[:, values >= smallest] for L, (values, w) in zip(roots, pairs, strict=True)]


def real_blocks(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return [[x, -y], [y, x]] of x + j y: axes (part of the product, part of the columns, row, column)."""
    return np.array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


def _smallest_kept(values: list[NDArray[Any]]) -> Any:
    ascending = np.sort(np.concatenate(values))
    kept = ascending[np.cumsum(np.maximum(ascending, 0.0)) > DISCARDED * ascending.sum()]
    return kept[0] if kept.size else ascending[-1]


def _pivoted(G: NDArray[np.float64], left_out: float) -> NDArray[np.float64]:
    """L of few columns with G - L L^T semidefinite and no diagonal entry of it above `left_out`."""
    factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(G, tol=left_out, lower=1)
    L = np.zeros((len(G), rank))
    L[pivots - 1] = np.tril(factor)[:, :rank]
    return L
