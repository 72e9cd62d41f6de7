"""Hops: Kronecker-correlated Rayleigh or Rician fading between two arrays, or between an array and users."""

from dataclasses import dataclass
from typing import Any, Self

import array_api_compat
import numpy as np
from numpy.typing import ArrayLike

from channels.arrays import AntennaArray
from channels.checks import as_array, finite, frozen, real, shaped
from channels.correlation import Correlation, as_correlation
from channels.errors import InvalidArgumentError

__all__ = ["Hop", "LineOfSight", "UserHop"]


@dataclass(frozen=True, eq=False)
class LineOfSight:
    """The mean of a hop between two arrays, left right^H: a matrix of low rank, never formed at large sizes.

    Parameters
    ----------
    left : array_like, shape (..., n, rank)
        On the side nearer to the BS.
    right : array_like, shape (..., m, rank)
        On the side nearer to the users.

    Raises
    ------
    InvalidArgumentError
        If an entry is not finite or the shapes do not fit.
    """

    left: Any
    right: Any

    def __post_init__(self) -> None:
        for name in ("left", "right"):
            side = finite(name, as_array(name, getattr(self, name)))
            if side.ndim < 2 or 0 in side.shape[-2:]:
                raise InvalidArgumentError(name, "shape (..., n, rank)", f"shape {tuple(side.shape)}")
            object.__setattr__(self, name, frozen(side))
        if self.left.shape[-1] != self.right.shape[-1]:
            ranks = f"{self.left.shape[-1]} and {self.right.shape[-1]}"
            raise InvalidArgumentError("left, right", "one rank", ranks)
        try:
            np.broadcast_shapes(self.left.shape[:-2], self.right.shape[:-2])
        except ValueError:
            shapes = f"shapes {tuple(self.left.shape)} and {tuple(self.right.shape)}"
            raise InvalidArgumentError("left, right", "batch axes that broadcast", shapes) from None

    @classmethod
    def plane_wave(
        cls, left: AntennaArray, right: AntennaArray, azimuth: ArrayLike, elevation: ArrayLike = 0.0
    ) -> Self:
        """Return the response of two arrays to the plane wave between them: rank one, unit-modulus entries.

        Parameters
        ----------
        left, right : AntennaArray
            The arrays nearer to the BS and to the users.
        azimuth, elevation : array_like, shape (...)
            Direction u from the left array to the right one in global axes, radians: the departure angles of
            `sightline` from left to right.

        Notes
        -----
        Elements at p of the left and q of the right array, wavelengths from the centres, are d - p.u + q.u
        apart, d the distance of the centres. So the response exp(-j 2 pi (d - p.u + q.u)) is, but for the
        common phase of d, a(u) b(u)^H with the steering vectors of *one* direction: what leaves the left
        array along u comes in at the right one from -u, and b(-u) = conj(b(u)).
        """
        a, b = (array.steering(azimuth, elevation)[..., None] for array in (left, right))
        return cls(a, b)

    @classmethod
    def of(cls, mean: Any) -> "LineOfSight":
        """Return a mean as it is, or factor a matrix of shape (..., n, m) by its singular values.

        Singular values up to max(n, m) * eps of the largest, which rounding cannot tell from zero, are
        dropped.
        """
        if isinstance(mean, LineOfSight):
            return mean
        matrix = finite("mean", as_array("mean", mean))
        if matrix.ndim < 2 or 0 in matrix.shape[-2:]:
            raise InvalidArgumentError("mean", "shape (..., n, m)", f"shape {tuple(matrix.shape)}")
        xp = array_api_compat.array_namespace(matrix)
        U, values, Vh = xp.linalg.svd(matrix, full_matrices=False)
        floor = max(matrix.shape[-2:]) * xp.finfo(values.dtype).eps * values[..., :1]
        kept = xp.any(xp.reshape(values > floor, (-1, values.shape[-1])), axis=0)
        rank = max(1, int(xp.sum(xp.astype(kept, xp.int64))))
        right = xp.matrix_transpose(Vh[..., :rank, :])
        if xp.isdtype(right.dtype, "complex floating"):
            right = xp.conj(right)
        return cls(U[..., :rank] * values[..., None, :rank], right)

    @property
    def rank(self) -> int:
        """Columns of `left` and `right`."""
        return int(self.left.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (..., n, m) of the matrix."""
        batch = np.broadcast_shapes(self.left.shape[:-2], self.right.shape[:-2])
        return (*batch, self.left.shape[-2], self.right.shape[-2])

    @property
    def matrix(self) -> Any:
        """The matrix left right^H, shape (..., n, m)."""
        return self.left @ _adjoint(self.right)

    def __mul__(self, amplitude: Any) -> "LineOfSight":
        """Return the mean scaled by real or complex amplitudes, shape (...)."""
        return LineOfSight(self.left * as_array("amplitude", amplitude)[..., None, None], self.right)


@dataclass(frozen=True, eq=False)
class Hop:
    """A fading hop between two arrays.

    The channel matrix is mean + sqrt(gain) * left^(1/2) W right^(1/2) with W of iid CN(0, 1) entries:
    Rayleigh fading without a mean, Rician fading with one.

    Parameters
    ----------
    gain : float or array, shape (...)
        Mean power of one entry beside the mean, relative to unit-diagonal covariances, linear, >= 0.
    left : array_like, shape (..., n, n)
        Covariance on the side nearer to the BS.
    right : array_like, shape (..., m, m)
        Covariance on the side nearer to the users.
    mean : LineOfSight or array_like, shape (..., n, m), optional
        Mean of the channel matrix, not scaled by `gain`; a matrix is kept as its factors. None for none.

    Raises
    ------
    InvalidArgumentError
        If the gain is negative or not finite, a covariance is not Hermitian positive semidefinite, or the
        mean has another size than they.
    """

    gain: Any
    left: Correlation
    right: Correlation
    mean: LineOfSight | None = None

    def __init__(self, gain: Any, left: Any, right: Any, mean: Any = None) -> None:
        object.__setattr__(self, "gain", _gain(gain))
        object.__setattr__(self, "left", as_correlation("left", left))
        object.__setattr__(self, "right", as_correlation("right", right))
        object.__setattr__(self, "mean", None if mean is None else LineOfSight.of(mean))
        if self.mean is not None and self.mean.shape[-2:] != self.shape:
            raise InvalidArgumentError("mean", f"shape (..., n, m) = {self.shape}", f"{self.mean.shape}")

    @classmethod
    def rician(cls, gain: Any, k_factor: Any, left: Any, right: Any, line_of_sight: Any) -> Self:
        """Return the hop of a total gain, of which a share K / (K + 1) is a line of sight.

        Parameters
        ----------
        gain : float or array, shape (...)
            Mean power of one entry in all, linear, >= 0.
        k_factor : float or array, shape (...)
            Power of the line of sight relative to the rest, linear, >= 0; infinite for a line of sight alone.
        left, right : array_like
            Covariances of the rest, as for the class.
        line_of_sight : LineOfSight or array_like, shape (..., n, m)
            Its matrix, of unit-modulus entries (`LineOfSight.plane_wave`).
        """
        rest, clear = _shares(gain, k_factor)
        return cls(rest, left, right, LineOfSight.of(line_of_sight) * clear)

    @property
    def shape(self) -> tuple[int, int]:
        """Elements on the left and on the right side."""
        return self.left.size, self.right.size


@dataclass(frozen=True, eq=False)
class UserHop:
    """The fading hop between an array and K single-antenna users.

    User k's channel vector is CN(mean_k, gain_k * correlation_k), independent from user to user.

    Parameters
    ----------
    gain : array_like, shape (..., K)
        Mean power of one entry for each user, linear, >= 0.
    correlation : array_like, shape (n, n) or (..., K, n, n)
        Covariance at the array: one shared by all users, or one for each user.
    mean : array_like, shape (..., K, n), optional
        Mean of each user's channel vector, not scaled by `gain`. None for none.

    Raises
    ------
    InvalidArgumentError
        As for `Hop`, and if the number of users in `gain`, `correlation` and `mean` differs.
    """

    gain: Any
    correlation: Correlation
    mean: Any = None

    def __init__(self, gain: Any, correlation: Any, mean: Any = None) -> None:
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
        if mean is not None:
            vectors = finite("mean", as_array("mean", mean))
            shaped("mean", vectors, (self.users, self.size), "(..., K, n)")
            object.__setattr__(self, "mean", frozen(vectors))

    @classmethod
    def rician(cls, gain: Any, k_factor: Any, correlation: Any, line_of_sight: Any) -> Self:
        """Return the hop of total gains, of which shares K / (K + 1) are lines of sight.

        Parameters
        ----------
        gain : array_like, shape (..., K)
            Mean power of one entry in all, linear, >= 0.
        k_factor : array_like, shape (...) or (..., K)
            Power of the line of sight relative to the rest, linear, >= 0; infinite for a line of sight alone.
        correlation : array_like
            Covariance of the rest, as for the class.
        line_of_sight : array_like, shape (..., K, n)
            Its vectors, of unit-modulus entries: `AntennaArray.steering` of the directions from the array to
            the users.
        """
        rest, clear = _shares(gain, k_factor)
        return cls(rest, correlation, clear[..., None] * as_array("line_of_sight", line_of_sight))

    @property
    def users(self) -> int:
        """Number of users K."""
        return int(self.gain.shape[-1])

    @property
    def size(self) -> int:
        """Elements of the array."""
        return self.correlation.size


def _shares(gain: Any, k_factor: Any) -> tuple[Any, Any]:
    """Gain of the rest, and amplitude of the line of sight."""
    total, K = _gain(gain), real("k_factor", as_array("k_factor", k_factor))
    xp = array_api_compat.array_namespace(total, K)
    if not bool(xp.all(K >= 0)):
        raise InvalidArgumentError("k_factor", "numbers >= 0", repr(k_factor))
    scattered = 1 / (1 + K)
    return total * scattered, xp.sqrt(total * (1 - scattered))


def _adjoint(matrix: Any) -> Any:
    xp = array_api_compat.array_namespace(matrix)
    transposed = xp.matrix_transpose(matrix)
    return xp.conj(transposed) if xp.isdtype(matrix.dtype, "complex floating") else transposed


def _gain(value: Any) -> Any:
    gain = real("gain", finite("gain", as_array("gain", value)))
    xp = array_api_compat.array_namespace(gain)
    if bool(xp.any(gain < 0)):
        raise InvalidArgumentError("gain", "numbers >= 0", f"a smallest value of {float(xp.min(gain))}")
    return frozen(gain)
