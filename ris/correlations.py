"""What moments need of single covariances of NumPy arrays, on surfaces of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.fading import UserHop

__all__ = ["diagonal", "each", "times", "trace"]


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
