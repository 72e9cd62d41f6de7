"""Ways to draw the double-reflection channels without the package: NumPy as it is usually written.

Every way is a class with a method `draw(count)` that returns channels of shape (count, M, K), for unit gains,
one covariance R at both surfaces, RB at the BS, and von Mises phase noise of concentration kappa at both.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.spectral import block_factors

__all__ = ["HopMatrices", "ReducedNumPy", "UserSide"]


class _Baseline(ABC):
    def __init__(self, R: NDArray[Any], RB: NDArray[Any], users: int, kappa: float, seed: int) -> None:
        self.R, self.RB = _root(R), _root(RB)
        self.N, self.M, self.K, self.kappa = len(R), len(RB), users, kappa
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def draw(self, count: int) -> NDArray[np.complex128]:
        """Return channels of shape (count, M, K)."""

    def normals(self, *shape: int) -> NDArray[np.complex128]:
        parts = self.rng.standard_normal((*shape, 2))
        parts *= np.sqrt(0.5)
        numbers: NDArray[np.complex128] = parts.view(np.complex128)[..., 0]
        return numbers

    def phasors(self, *shape: int) -> NDArray[np.complex128]:
        phasors: NDArray[np.complex128] = np.exp(1j * self.rng.vonmises(0.0, self.kappa, shape))
        return phasors


class HopMatrices(_Baseline):
    """Every hop matrix with its covariances, then their products, in batches."""

    def draw(self, count: int) -> NDArray[np.complex128]:
        """Return channels of shape (count, M, K)."""
        bs_ris1 = self.RB @ self.normals(count, self.M, self.N) @ self.R
        ris1_ris2 = self.R @ self.normals(count, self.N, self.N) @ self.R
        ris2_user = self.R @ self.normals(count, self.N, self.K)
        noisy = self.phasors(count, self.N, 1) * ris1_ris2 * self.phasors(count, 1, self.N)
        h: NDArray[np.complex128] = (bs_ris1 @ noisy) @ ris2_user
        return h


class UserSide(_Baseline):
    """Every iid matrix in full, the products ordered from the users inwards."""

    def draw(self, count: int) -> NDArray[np.complex128]:
        """Return channels of shape (count, M, K)."""
        columns = self.phasors(count, self.N, 1) * (self.R @ self.normals(count, self.N, self.K))
        columns = self.R @ (self.normals(count, self.N, self.N) @ (self.R @ columns))
        columns = self.R @ (self.phasors(count, self.N, 1) * columns)
        h: NDArray[np.complex128] = self.RB @ (self.normals(count, self.M, self.N) @ columns)
        return h


class ReducedNumPy(_Baseline):
    """The reduced algorithm with the same truncated factors, each product one call of the BLAS."""

    def __init__(self, R: NDArray[Any], RB: NDArray[Any], users: int, kappa: float, seed: int) -> None:
        super().__init__(R, RB, users, kappa, seed)
        (self.F,) = block_factors([R])
        (self.FB,) = block_factors([RB])

    def draw(self, count: int) -> NDArray[np.complex128]:
        """Return channels of shape (count, M, K)."""
        columns = self._times(self.F, self.normals(self.F.shape[1], count, self.K))
        for factor in (self.F, self.FB):
            columns *= self.phasors(self.N, count, 1)
            inner = self._times(self.F.T, columns).transpose(1, 0, 2)
            grams = np.conj(inner.transpose(0, 2, 1)) @ inner
            roots = np.conj(np.linalg.cholesky(grams).transpose(0, 2, 1))
            numbers = self.normals(count, factor.shape[1], self.K) @ roots
            columns = self._times(factor, np.ascontiguousarray(numbers.transpose(1, 0, 2)))
        return columns.transpose(1, 0, 2)

    @staticmethod
    def _times(F: NDArray[np.float64], columns: NDArray[np.complex128]) -> NDArray[np.complex128]:
        # A real factor acts on real and imaginary parts as one real product.
        flat = columns.reshape(len(columns), -1).view(np.float64)
        return (F @ flat).view(np.complex128).reshape(len(F), *columns.shape[1:])


def _root(R: NDArray[Any]) -> NDArray[Any]:
    values, vectors = np.linalg.eigh(R)
    root: NDArray[Any] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.conj().T
    return root
