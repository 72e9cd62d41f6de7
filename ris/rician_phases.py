r"""Phase shifts for the mean gain of systems with lines of sight, by ascent.

Given the phases of the other surface the mean gain, summed over users with weights w_k, is quadratic in
x = exp(j theta): x^H S x + 2 Re(l^H x) + constant, S positive semidefinite. Below, G_i = E A_i^H A_i,
X_i = diag(x_i), U_ik = E u_ik u_ik^H, r_i is the mean and s_i the variance of what the elements add (phase
noise, failures), all alike, and

    smooth(R, X, i) = X^H (r_i^2 R + s_i diag(R)) X.

Surface 1. With what arrives there, a_k = u_1k + D v_k, where v_k = X_2 E_2 u_2k has the second moments V_k
and the mean r_2 X_2 u_2k, and what goes past it, g_k = d_k + A_2 v_k,

    S = r_1^2 G_1 o (sum w E a a^H)^T,    l^* = r_1 diag(sum w E[a g^H] A_1),
    E a a^H = U_1 + D V D^H + g_D tr(R_2d V) R_1d + u_1 (D v)^H + (D v) u_1^H,
    E a g^H = (u_1 + D v) d^H + u_1 v^H A_2^H + D V A_2^H                       (all hops by their means).

Surface 2. With B = A_1 E_1 X_1 D + A_2 towards the BS, b_k = d_k + A_1 E_1 X_1 u_1k past it, and
M = smooth(G_1, X_1, 1),

    S = r_2^2 E[B^H B] o (sum w U_2)^T,    l^* = r_2 sum w u_2 o E[b^H B],
    E B^H B = D^H M D + g_D tr(R_1d M) R_2d + G_2 + r_1 (D^H X_1^H A_1^H A_2 + its adjoint),
    E b^H B = d^H (r_1 A_1 X_1 D + A_2) + u_1^H (M D + r_1 X_1^H A_1^H A_2).

As S >= 0, the tangent bounds the form from below, and x = exp(j arg(S x' + l)) never lowers the sum from x'.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.fading import Hop, UserHop
from ris.correlations import each
from ris.element_moments import ElementMoments
from ris.rician_gain import rician_second_moments
from ris.system import DoubleRIS

__all__ = ["RicianGain"]

Complex = NDArray[np.complex128]


class RicianGain:
    """The mean gain of a system with lines of sight, summed over users with weights.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    weights : ndarray, shape (K,)
        Weights of the users, >= 0.
    """

    def __init__(self, system: DoubleRIS, weights: NDArray[Any]) -> None:
        self._system, self._weights = system, np.asarray(weights, np.float64)
        self.elements = system.elements1, system.elements2
        self._moments = tuple(
            ElementMoments.of(*law, np.zeros(elements))
            for law, elements in zip(
                ((system.phase_noise1, system.hardware1), (system.phase_noise2, system.hardware2)),
                self.elements,
                strict=True,
            )
        )
        M, (N1, N2) = system.antennas, self.elements
        self._A1, self._G1 = _towards_bs(system.bs_ris1, M, N1)
        self._A2, self._G2 = _towards_bs(system.bs_ris2, M, N2)
        hop = system.ris1_ris2
        self._D = _mean(hop, N1, N2)
        self._R1d, self._R2d = np.zeros((N1, N1)), np.zeros((N2, N2))
        if hop is not None:
            self._R1d, self._R2d = hop.gain * hop.left.matrix, hop.right.matrix
        self._u1, self._U1 = self._users(system.ris1_user, N1)
        self._u2, self._U2 = self._users(system.ris2_user, N2)
        self._d, _ = self._users(system.bs_user, M)

    def value(self, x: tuple[Complex, Complex]) -> float:
        """Return the sum of the mean gains."""
        _, products = rician_second_moments(self._system, np.angle(x[0]), np.angle(x[1]))
        return float(np.einsum("k,kkmm->", self._weights, products).real)

    def form(self, surface: int, x: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
        """Return S and l of a surface, 0 or 1, given the phasors of the other."""
        return self._form1(x[1]) if surface == 0 else self._form2(x[0])

    def _form1(self, x2: Complex) -> tuple[Complex, Complex]:
        r1, r2 = (moments.mean for moments in self._moments)
        V = _smooth(self._U2, x2.conj(), self._moments[1])
        u, v, d = (self._weights[:, None] ** 0.5 * rows for rows in (self._u1, r2 * self._u2 * x2, self._d))
        Dv = v @ self._D.T
        arriving = self._U1 + self._D @ V @ self._D.conj().T + np.vdot(self._R2d, V) * self._R1d
        arriving = arriving + u.T @ Dv.conj() + Dv.T @ u.conj()
        across = (u + Dv).T @ d.conj() + (u.T @ v.conj() + self._D @ V) @ self._A2.conj().T
        slope = r1 * np.sum(across * self._A1.T, axis=1)
        return r1**2 * self._G1 * arriving.T, slope.conj()

    def _form2(self, x1: Complex) -> tuple[Complex, Complex]:
        r1, r2 = (moments.mean for moments in self._moments)
        M = _smooth(self._G1, x1, self._moments[0])
        turned = r1 * (self._A1 * x1)
        cross = turned.conj().T @ self._A2
        towards = self._D.conj().T @ M @ self._D + np.vdot(self._R1d, M) * self._R2d + self._G2
        towards = towards + self._D.conj().T @ cross + cross.conj().T @ self._D
        past = self._d.conj() @ (turned @ self._D + self._A2) + self._u1.conj() @ (M @ self._D + cross)
        slope = r2 * np.sum(self._weights[:, None] * self._u2 * past, axis=0)
        return r2**2 * towards * self._U2.T, slope.conj()

    def _users(self, hop: UserHop | None, size: int) -> tuple[Complex, Complex]:
        """Means, shape (K, size), and weighted sum of second moments of the users' hop."""
        K = self._system.users
        if hop is None:
            return np.zeros((K, size), np.complex128), np.zeros((size, size), np.complex128)
        mean = np.zeros((K, size), np.complex128) if hop.mean is None else hop.mean + 0j
        pairs = zip(self._weights * hop.gain, each(hop), strict=True)
        covariance = sum(weight * R.matrix for weight, R in pairs)
        return mean, np.asarray(covariance + (self._weights * mean.T) @ mean.conj())


def _mean(hop: Hop | None, rows: int, columns: int) -> Complex:
    if hop is None or hop.mean is None:
        return np.zeros((rows, columns), np.complex128)
    return np.asarray(hop.mean.matrix, np.complex128)


def _towards_bs(hop: Hop | None, antennas: int, elements: int) -> tuple[Complex, Complex]:
    """Mean of a hop to the BS, and E A^H A."""
    mean = _mean(hop, antennas, elements)
    second = mean.conj().T @ mean
    if hop is not None:
        second = second + hop.gain * np.trace(hop.left.matrix).real * hop.right.matrix
    return mean, second


def _smooth(R: Complex, x: Complex, moments: ElementMoments) -> Complex:
    """X^H (r^2 R + s diag(R)) X."""
    averaged = moments.mean**2 * R + moments.variance * np.diag(np.diag(R))
    return np.asarray(x.conj()[:, None] * averaged * x)
