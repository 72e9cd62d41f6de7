"""Estimates that carry their standard error, and sums of observations that merge exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Observations"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over realizations, or a smooth function of such means.

    Attributes
    ----------
    value : float or ndarray
        The estimate.
    standard_error : float or ndarray
        Its standard error; of a function of means by the delta method. NaN from a single realization.
    """

    value: Any
    standard_error: Any

    def __repr__(self) -> str:
        if np.ndim(self.value) == 0:
            return f"{float(self.value):.6g} +- {float(self.standard_error):.2g}"
        return f"Estimate(value={self.value!r}, standard_error={self.standard_error!r})"


@dataclass(frozen=True, eq=False)
class Observations:
    """Count, mean and co-moments of vectors observed in independent realizations.

    Parameters
    ----------
    count : int
        Number of realizations.
    mean : ndarray, shape (..., n)
        Mean vectors.
    comoment : ndarray, shape (..., n, n)
        Sums of (x - mean)(x - mean)^T.
    """

    count: int
    mean: NDArray[np.float64]
    comoment: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> "Observations":
        """Observe rows, shape (realizations, ..., n)."""
        mean = rows.mean(axis=0)
        centred = np.moveaxis(rows - mean, 0, -1)
        return cls(len(rows), mean, centred @ np.swapaxes(centred, -1, -2))

    def merge(self, other: "Observations") -> "Observations":
        """Join two sets of realizations (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        spread = step[..., :, None] * step[..., None, :] * (self.count * other.count / count)
        return Observations(
            count, self.mean + step * (other.count / count), self.comoment + other.comoment + spread
        )

    def estimate(self) -> Estimate:
        """Means of the entries, shape (..., n)."""
        variance = np.diagonal(self.comoment, axis1=-2, axis2=-1)
        return Estimate(self.mean, np.sqrt(variance / self._degrees))

    def function(self, value: Any, gradient: NDArray[np.float64]) -> Estimate:
        """Estimate of a function of the means, by the delta method.

        Parameters
        ----------
        value : float or ndarray, shape (m,)
            The function at the means.
        gradient : ndarray, shape (m, n) or (n,)
            Its derivatives there.
        """
        variance = np.sum((gradient @ self.comoment) * gradient, axis=-1)
        return Estimate(value, np.sqrt(variance / self._degrees))

    @property
    def _degrees(self) -> float:
        # count * (count - 1), so that one realization has a standard error of NaN and not of zero.
        return self.count * (self.count - 1) if self.count > 1 else np.nan
