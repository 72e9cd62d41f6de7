"""Spatial correlation: covariance matrices that know their factor and their effective rank."""

import functools
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from channels.checks import as_array, finite
from channels.errors import InvalidArgumentError

__all__ = ["Correlation", "as_correlation"]

HERMITIAN_TOLERANCE = 1e-10
"""Largest |R - R^H| accepted, relative to the largest diagonal entry."""

DEFINITE_TOLERANCE = 1e-10
"""Most negative eigenvalue accepted, relative to the trace."""


@dataclass(frozen=True, eq=False)
class Correlation:
    """A covariance matrix R, or a stack of them, checked on construction.

    Acts as its matrix wherever an array is expected (``numpy.asarray(R)``).

    Parameters
    ----------
    matrix : array_like, shape (..., N, N)
        Hermitian and positive semidefinite. NumPy input becomes float64 or complex128 and read-only.

    Raises
    ------
    InvalidArgumentError
        If the matrix is not square, not finite, not Hermitian (beyond 1e-10 of its largest diagonal
        entry), or indefinite (an eigenvalue below -1e-10 of its trace).
    """

    matrix: Any

    def __post_init__(self) -> None:
        matrix = finite("correlation", as_array("correlation", self.matrix))
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
            raise InvalidArgumentError(
                "correlation", "square matrices, shape (..., N, N)", f"shape {tuple(matrix.shape)}"
            )
        _check_hermitian(matrix)
        _check_definite(matrix)
        if array_api_compat.is_numpy_array(matrix):
            matrix = matrix.view()
            matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @property
    def size(self) -> int:
        """Number of elements N."""
        return int(self.matrix.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        return tuple(self.matrix.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.matrix, dtype=dtype, copy=copy)

    @functools.cached_property
    def _eigen(self) -> tuple[NDArray[Any], NDArray[Any]]:
        # One BLAS thread: the vectors of a repeated eigenvalue, and so every draw made with them, would
        # otherwise change with the number of threads.
        with threadpool_limits(limits=1, user_api="blas"):
            values, vectors = np.linalg.eigh(self.matrix)
        return values, vectors

    @functools.cached_property
    def factor(self) -> NDArray[Any]:
        """F with R = F F^H, shape (..., N, rank): eigenvectors times root eigenvalues, largest first.

        Eigenvalues up to N * eps of the largest, which rounding cannot tell from zero, are dropped.
        """
        values, vectors = self._eigen
        floor = self.size * np.finfo(np.float64).eps * values[..., -1:]
        kept = np.where(values > floor, values, 0.0)[..., ::-1]
        rank = max(1, int(np.max(np.sum(kept > 0, axis=-1))))
        factor = vectors[..., ::-1][..., :rank] * np.sqrt(kept[..., None, :rank])
        factor = np.ascontiguousarray(factor)
        factor.flags.writeable = False
        return factor

    def effective_rank(self, tolerance: float = 1e-6) -> Any:
        """Number of eigenvalues above `tolerance` times the largest, an int or an array of shape (...)."""
        values, _ = self._eigen
        rank = np.sum(values > tolerance * values[..., -1:], axis=-1)
        return int(rank) if rank.ndim == 0 else rank


def as_correlation(argument: str, value: Any) -> Correlation:
    """Return `value` as a `Correlation`; errors name `argument`."""
    if isinstance(value, Correlation):
        return value
    try:
        return Correlation(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(argument, error.expected, error.got) from None


def _check_hermitian(matrix: Any) -> None:
    xp = array_api_compat.array_namespace(matrix)
    adjoint = xp.matrix_transpose(matrix)
    if xp.isdtype(matrix.dtype, "complex floating"):
        adjoint = xp.conj(adjoint)
    gap = float(xp.max(xp.abs(matrix - adjoint)))
    scale = float(xp.max(xp.abs(xp.linalg.diagonal(matrix))))
    if gap > HERMITIAN_TOLERANCE * scale:
        raise InvalidArgumentError(
            "correlation",
            f"Hermitian matrices (|R - R^H| <= {HERMITIAN_TOLERANCE:g} of the largest diagonal entry)",
            f"|R - R^H| = {gap:.3g} with largest diagonal entry {scale:.3g}",
        )


def _check_definite(matrix: Any) -> None:
    xp = array_api_compat.array_namespace(matrix)
    trace = xp.sum(xp.real(xp.linalg.diagonal(matrix)), axis=-1) if xp.isdtype(
        matrix.dtype, "complex floating"
    ) else xp.sum(xp.linalg.diagonal(matrix), axis=-1)
    if array_api_compat.is_numpy_array(matrix):
        # A Cholesky factor of R + tolerance exists exactly when no eigenvalue is below -tolerance,
        # and costs a tenth of the eigenvalues.
        shift = (DEFINITE_TOLERANCE * np.abs(trace) + np.finfo(float).tiny)[..., None, None]
        try:
            np.linalg.cholesky(matrix + shift * np.eye(matrix.shape[-1]))
        except np.linalg.LinAlgError:
            pass
        else:
            return
    lowest = xp.linalg.eigvalsh(matrix)[..., 0]
    if bool(xp.any(lowest < -DEFINITE_TOLERANCE * xp.abs(trace))):
        raise InvalidArgumentError(
            "correlation",
            f"positive semidefinite matrices (no eigenvalue below -{DEFINITE_TOLERANCE:g} of the trace)",
            f"a lowest eigenvalue of {float(xp.min(lowest)):.3g}",
        )
