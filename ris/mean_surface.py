"""What surfaces do to the channels on average: all that second moments need of them, at any size."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.coupling import reflection_matrix
from ris.element_moments import IDEAL, ElementMoments
from ris.options import Csi
from ris.system import DoubleRIS, check_coupling

__all__ = ["MeanSurface", "Seen", "mean_surfaces", "turned", "turned_back"]

Seen = Csi | Literal["mixed"]
"""Which of two channels the elements act in: in both ("perfect"), in neither ("nominal"), where the phase
shifts act alone, or in the first ("mixed")."""


@dataclass(frozen=True)
class MeanSurface:
    """A surface in the products h g^H of two channels, through the reflection matrices T in h and T' in g.

    Attributes
    ----------
    first, second : ndarray, shape (N,) or (N, N)
        E T and E T': coefficients of the elements, or the matrix of coupled ones.
    variance : float or ndarray, shape (N,)
        Of the coefficients, if both channels meet the same elements, else 0.
    """

    first: NDArray[np.complex128]
    second: NDArray[np.complex128]
    variance: float | NDArray[Any]

    def reflected(self, A: Correlation, B: Correlation) -> Any:
        """E tr(A T B T'^H): m'^H (A o B^T) m of mean coefficients, and what coinciding elements add.

        With full matrices T the sum of all A T o (B T'^H)^T. Real if both are the same.
        """
        first, second = self.first, self.second
        if first.ndim == 2 or second.ndim == 2:
            onward = B.matrix @ second.conj().T if second.ndim == 2 else B.matrix * second.conj()
            towards = A.matrix @ first if first.ndim == 2 else A.matrix * first
            form = np.sum(towards * onward.T)
            return form.real if second is first else form
        if isinstance(A, GridCorrelation) and isinstance(B, GridCorrelation) and A.grid == B.grid:
            product = GridCorrelation(A.lags * B.lags[::-1, ::-1])
            diagonal = np.full(product.size, product.lags[A.grid[0] - 1, A.grid[1] - 1].real)
            form = np.vdot(second, product.times(first[:, None])[:, 0])
        else:
            matrix = A.matrix * B.matrix.T
            diagonal = np.diagonal(matrix).real
            form = np.vdot(second, matrix @ first)
        return (form.real if second is first else form) + np.sum(self.variance * diagonal)


def mean_surfaces(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], seen: Seen
) -> tuple[MeanSurface, MeanSurface]:
    """Return both surfaces.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    seen : {"perfect", "nominal", "mixed"}
        Where the elements act.
    """
    check_coupling(system)

    def of(number: int, theta: NDArray[Any]) -> MeanSurface:
        noise, hardware = getattr(system, f"phase_noise{number}"), getattr(system, f"hardware{number}")
        x: NDArray[np.complex128] = np.exp(1j * theta)
        if seen == "nominal":
            return MeanSurface(x, x, IDEAL.variance)
        moments = ElementMoments.of(noise, hardware, theta)
        T = x * moments.mean
        if hardware.coupling is not None and len(theta) > 0:
            T = reflection_matrix(T, hardware.coupling)
        return MeanSurface(T, x, 0.0) if seen == "mixed" else MeanSurface(T, T, moments.variance)

    return of(1, theta1), of(2, theta2)


def turned(T: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.complex128]:
    """T w of every row w."""
    return np.asarray(rows @ T.T if T.ndim == 2 else T * rows)


def turned_back(T: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.complex128]:
    """T^H b of every row b."""
    return np.asarray(rows @ T.conj() if T.ndim == 2 else T.conj() * rows)
