"""Factors of covariances by eigenvectors, the smallest eigenvalues left out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread

__all__ = ["DISCARDED", "block_factors"]

DISCARDED = 1e-8
"""Sum of the eigenvalues that a factor leaves out, relative to the trace."""


def block_factors(blocks: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Factors of the diagonal blocks of one covariance, the smallest eigenvalues of all left out."""
    with one_blas_thread():
        pairs = [np.linalg.eigh(block) for block in blocks]
    ascending = np.sort(np.concatenate([values for values, _ in pairs]))
    kept = ascending[np.cumsum(np.maximum(ascending, 0.0)) > DISCARDED * ascending.sum()]
    smallest = kept[0] if kept.size else ascending[-1]
    return [vectors[:, values >= smallest] * np.sqrt(values[values >= smallest]) for values, vectors in pairs]
