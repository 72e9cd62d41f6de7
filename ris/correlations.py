"""What moments need of single covariances of NumPy arrays, on surfaces of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.fading import UserHop

__all__ = ["diagonal", "each", "reflected", "times", "trace"]


def reflected(A: Correlation, B: Correlation, x: NDArray[Any], r: float) -> float:
    """E tr(A E X B X^H E^H), X = diag(x): r^2 x^H (A o B^T) x, and what coinciding elements add."""
    if isinstance(A, GridCorrelation) and isinstance(B, GridCorrelation) and A.grid == B.grid:
        product = GridCorrelation(A.lags * B.lags[::-1, ::-1])
        diagonal = product.size * float(product.lags[A.grid[0] - 1, A.grid[1] - 1].real)
        form = np.vdot(x, product.times(x[:, None])[:, 0]).real
    else:
        matrix = A.matrix * B.matrix.T
        diagonal = float(np.trace(matrix).real)
        form = np.vdot(x, matrix @ x).real
    return float(r**2 * form + (1 - r**2) * diagonal)


def trace(R: Correlation) -> float:
    """Tr R."""
    if isinstance(R, GridCorrelation):
        return R.size * float(R.lags[R.grid[0] - 1, R.grid[1] - 1].real)
    return float(np.trace(R.matrix).real)


def diagonal(R: Correlation) -> NDArray[Any]:
    """Diagonal of R."""
    if isinstance(R, GridCorrelation):
        return np.full(R.size, R.lags[R.grid[0] - 1, R.grid[1] - 1].real)
    return np.asarray(np.diagonal(R.matrix))


def times(R: Correlation, columns: NDArray[Any]) -> NDArray[Any]:
    """R V of columns V."""
    return R.times(columns) if isinstance(R, GridCorrelation) else np.asarray(R.matrix @ columns)


def each(users: UserHop) -> list[Correlation]:
    """The covariance of each user; the same object for all that share one."""
    R = users.correlation
    if len(R.shape) == 2:
        return [R] * users.users
    own = [R[k] for k in range(R.shape[0])]
    return own if len(own) == users.users else own * users.users
