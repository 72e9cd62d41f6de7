"""Hops: Kronecker-correlated Rayleigh fading between two arrays, or between an array and the users."""

from dataclasses import dataclass
from typing import Any

import array_api_compat

from channels.checks import as_array, finite, frozen, real
from channels.correlation import Correlation, as_correlation
from channels.errors import InvalidArgumentError

__all__ = ["Hop", "UserHop"]


@dataclass(frozen=True, eq=False)
class Hop:
    """A fading hop between two arrays.

    The channel matrix is sqrt(gain) * left^(1/2) W right^(1/2) with W of iid CN(0, 1) entries.

    Parameters
    ----------
    gain : float or array, shape (...)
        Mean power of one entry relative to unit-diagonal covariances, linear, >= 0.
    left : array_like, shape (..., n, n)
        Covariance on the side nearer to the BS.
    right : array_like, shape (..., m, m)
        Covariance on the side nearer to the users.

    Raises
    ------
    InvalidArgumentError
        If the gain is negative or not finite, or a covariance is not Hermitian positive semidefinite.
    """

    gain: Any
    left: Correlation
    right: Correlation

    def __init__(self, gain: Any, left: Any, right: Any) -> None:
        object.__setattr__(self, "gain", _gain(gain))
        object.__setattr__(self, "left", as_correlation("left", left))
        object.__setattr__(self, "right", as_correlation("right", right))

    @property
    def shape(self) -> tuple[int, int]:
        """Elements on the left and on the right side."""
        return self.left.size, self.right.size


@dataclass(frozen=True, eq=False)
class UserHop:
    """The fading hop between an array and K single-antenna users.

    User k's channel vector is CN(0, gain_k * correlation_k), independent from user to user.

    Parameters
    ----------
    gain : array_like, shape (..., K)
        Mean power of one entry for each user, linear, >= 0.
    correlation : array_like, shape (n, n) or (..., K, n, n)
        Covariance at the array: one shared by all users, or one for each user.

    Raises
    ------
    InvalidArgumentError
        As for `Hop`, and if the number of users in `gain` and `correlation` differs.
    """

    gain: Any
    correlation: Correlation

    def __init__(self, gain: Any, correlation: Any) -> None:
        gains = _gain(gain)
        covariance = as_correlation("correlation", correlation)
        if gains.ndim == 0 or gains.shape[-1] == 0:
            raise InvalidArgumentError(
                "gain", "shape (..., K) with K >= 1 users", f"shape {tuple(gains.shape)}"
            )
        batch = covariance.shape[:-2]
        if batch and batch[-1] not in (1, gains.shape[-1]):
            raise InvalidArgumentError(
                "correlation",
                f"shape (n, n) or (..., K, n, n) with K = {gains.shape[-1]} as in gain",
                f"shape {tuple(covariance.shape)}",
            )
        object.__setattr__(self, "gain", gains)
        object.__setattr__(self, "correlation", covariance)

    @property
    def users(self) -> int:
        """Number of users K."""
        return int(self.gain.shape[-1])

    @property
    def size(self) -> int:
        """Elements of the array."""
        return self.correlation.size


def _gain(value: Any) -> Any:
    gain = real("gain", finite("gain", as_array("gain", value)))
    xp = array_api_compat.array_namespace(gain)
    if bool(xp.any(gain < 0)):
        raise InvalidArgumentError("gain", "numbers >= 0", f"a smallest value of {float(xp.min(gain))}")
    return frozen(gain)
