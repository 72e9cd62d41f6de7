r"""Moments of one surface as functions of its phase shifts, with their derivatives.

`ris.noise_moments` gives the means, products and chained traces of a surface at given phase shifts. An ascent
asks for them at many, so here everything that the phase shifts do not change is multiplied out beforehand.
With x = exp(j theta) and X = diag(x) the BS-side covariance is A = X^H R X, and the elements add phase noise
alone. Notation otherwise as in `ris.noise_moments`: A and C of two BS sides, B_k of the users; r is the mean,
sg the variance s, tau the pseudovariance t and r k3 the product of mean and third moment u of
`ris.element_moments`; * and o work element by element.

    alpha_k = diag(A B_k) = conj(x) * (S_k x),   S_k = R o B_k^T,   diag(B_k A) = conj(alpha_k)

holds whatever is linear in A. What has an A and a C joined at an index without noise between loses the
phasor there, since |x_n| = 1, and is a quadratic form in x again; what has both at both indices is one in
y = x * x. Of the real part of every table (no other is needed with perfect CSI) this leaves

    mean      r^2 sum alpha_k + sg sum dA dB_k
    product   trS trT + r^2 (trS b + trT a) + r^4 a b + 2 r^2 (tau Re ro.ru + sg Re ro.conj(ru))
              + tau^2 (y^H W_kj y - dS.dT) + sg^2 OUt,      ro = alpha_k - dS, ru likewise of C and B_j,
              a and b their sums, dS = dA dB_k with sum trS, dT = dC dB_j with sum trT
    chained   r^4 Re tr(A B_k C B_j) + x^H M_kj x + tau^2 y^H W_kj y
              + r^2 tau Re(alpha_k.gamma_j + gamma_k.alpha_j)
              + r k3 Re[dC dB_k.alpha_j + dC dB_j.alpha_k + dA dB_k.gamma_j + dA dB_j.gamma_k] + constant

with gamma the alpha of C, OUt = sum_mn A_mn C_nm (B_k)_nm (B_j)_mn off the diagonal, which does not depend
on x, and the constant matrices

    W_kj = R_A o R_C o (B_k o B_j)^T
    M_kj = r^2 sg times the Hermitian part of (R_A diag(dB_k) R_C) o B_j^T + (R_C diag(dB_j) R_A) o B_k^T
           + R_C o (B_j diag(dA) B_k)^T + R_A o (B_k diag(dC) B_j)^T.

The chained trace itself needs products for every x. With factors R = F F^H and B_k = G_k G_k^H of low rank

    tr(A B_k C B_j) = tr(Z_k Z_j^H),   Z_k = T_k U_k^H,   T_k = F_A^H X G_k,   U_k = F_C^H X G_k.

The real parts are symmetric in k and j but for the product where A and C differ. Derivatives by theta, from
dx = j x dtheta:

    x^H M x                   2 Im(conj(x) * (M x))     (in y: 4 Im(conj(y) * (W y)))
    Re beta.alpha_k           Im(beta * alpha_k + conj(x) * (S_k (conj(beta) * x)))
    Re tr(D^H T_k)            -Im(x * sum over columns of G_k * conj(F_A D))

so the matrix-vector products of the forms serve twice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ris.link import Surface

__all__ = ["SurfaceTables", "TableSet", "TableState"]

FACTOR_RESIDUAL = 1e-7
"""What a factor may leave of the diagonal of its covariance, relative to the largest entry. The residual is
positive semidefinite, so that no entry of it is larger."""


@dataclass(frozen=True, eq=False)
class TableSet:
    """Tables of a surface, or weights of them.

    Attributes
    ----------
    means : list of ndarray, shape (S, ..., J)
        For each BS side.
    products, chained : list of ndarray, shape (S, ..., J, J)
        For each pair of BS sides: the only one; or first with first, first with last, last with last.
    """

    means: list[NDArray[Any]]
    products: list[NDArray[Any]]
    chained: list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TableState:
    """What the derivatives need of an evaluation; columns are the S sets of phase shifts.

    Attributes
    ----------
    x : ndarray, shape (..., 1, N, S)
        Phasors.
    alphas : list of ndarray, shape (..., J, N, S)
        For each BS side.
    Mx, Wy : list of ndarray, shape (..., pairs of users, N, S)
        Products with the forms, for each pair of BS sides; empty without noise.
    T : list of ndarray, shape (S, ..., J, rank of F, rank of G)
        For each BS side.
    Z : list of ndarray, shape (S, ..., J, rank of F_A, rank of F_C)
        For each pair of BS sides.
    """

    x: NDArray[np.complex128]
    alphas: list[NDArray[np.complex128]]
    Mx: list[NDArray[np.complex128]]
    Wy: list[NDArray[np.complex128]]
    T: list[NDArray[np.complex128]]
    Z: list[NDArray[np.complex128]]


class SurfaceTables:
    """The tables of one surface.

    Parameters
    ----------
    surface : Surface
        At phase shifts zero; leading axes (...) of its covariances are batch axes.
    means_alone : bool
        Whether to leave out products and chained traces, which cost most.

    Notes
    -----
    Memory for J (J + 1) complex matrices for each pair of BS sides, the W and M, unless there is no phase
    noise. An evaluation costs O(J^2 N^2 + J N rank^2) for each set of phase shifts, in products of matrices;
    the derivatives cost as much again.
    """

    def __init__(self, surface: Surface, means_alone: bool = False) -> None:
        R = [np.asarray(side) for side in surface.bs_sides]
        B = np.asarray(surface.user_matrices)
        moments = surface.moments
        self.rr, self.sg, self.tau = moments.mean**2, moments.variance, moments.pseudovariance
        self.rk3 = moments.mean * moments.third
        self.pairs = [] if means_alone else [(0, 0)] if len(R) == 1 else [(0, 0), (0, 1), (1, 1)]
        self.users = np.triu_indices(B.shape[-3])
        self.dB = _diagonal(B)
        self.dR = [_diagonal(side)[..., None, :] for side in R]
        self.S = [side[..., None, :, :] * _transposed(B) for side in R]
        self.F = [_factor(side) for side in R] if self.pairs else []
        self.G = _factor(B) if self.pairs else B
        k, j = self.users
        Bk, Bj, dBk, dBj = B[..., k, :, :], B[..., j, :, :], self.dB[..., k, :], self.dB[..., j, :]
        self.W: list[NDArray[Any]] = []
        self.M: list[NDArray[Any]] = []
        self.crossed: list[Any] = []
        self.constant: list[Any] = []
        for first, second in self.pairs:
            A, C = R[first][..., None, :, :], R[second][..., None, :, :]
            dA, dC = self.dR[first], self.dR[second]
            if self.tau != 0:
                self.W.append(A * C * _transposed(Bk * Bj))
            if self.sg == 0:
                self.crossed.append(0.0)
                self.constant.append(0.0)
                continue
            M = (A * dBk[..., None, :]) @ C * _transposed(Bj) + (C * dBj[..., None, :]) @ A * _transposed(Bk)
            M = (
                M
                + C * _transposed((Bj * dA[..., None, :]) @ Bk)
                + A * _transposed((Bk * dC[..., None, :]) @ Bj)
            )
            self.M.append(self.rr * self.sg / 2 * (M + _transposed(M).conj()))
            outer = np.sum(_transposed(A) * C * dBk[..., :, None] * dBj[..., None, :], axis=(-2, -1))
            inner = np.sum(dA[..., :, None] * Bk * dC[..., None, :] * _transposed(Bj), axis=(-2, -1))
            equal = np.sum(dA * dC * dBk * dBj, axis=-1)
            f = self.sg**2 * (outer + inner).real + moments.fourth * equal
            self.constant.append(self._square(f))
            left, flat = A * _transposed(C) * _transposed(B), (*B.shape[:-2], -1)
            crossed = _dot(left.reshape(*left.shape[:-2], -1), B.reshape(flat)).real
            self.crossed.append(crossed - self._square(equal))

    def at(self, x: NDArray[np.complex128]) -> tuple[TableSet, TableState]:
        """Return the tables at S sets of phasors, shape (S, ..., N), and what `slopes` needs of them."""
        columns = np.moveaxis(x, 0, -1)[..., None, :, :]
        alphas = [columns.conj() * (S @ columns) for S in self.S]
        y = columns**2
        Mx, Wy = [M @ columns for M in self.M], [W @ y for W in self.W]
        XG = x[..., None, :, None] * self.G if self.pairs else self.G
        T = [_transposed(F).conj()[..., None, :, :] @ XG for F in self.F]
        Z = [T[first] @ _transposed(T[second]).conj() for first, second in self.pairs]
        state = TableState(columns, alphas, Mx, Wy, T, Z)
        aligned: list[Any] = [self._square(_forms(y, product)) for product in Wy] or [0.0] * len(self.pairs)
        forms: list[Any] = [self._square(_forms(columns, product)) for product in Mx] or [0.0] * len(
            self.pairs
        )
        rows = [np.moveaxis(alpha, -1, 0) for alpha in alphas]
        return (
            TableSet(
                [
                    self.rr * alpha.real.sum(axis=-1) + self.sg * np.sum(dA * self.dB, axis=-1)
                    for alpha, dA in zip(rows, self.dR, strict=True)
                ],
                [self._product(p, rows, value) for p, value in enumerate(aligned)],
                [
                    self._chained(p, rows, Z[p]) + form + self.tau**2 * value
                    for p, (form, value) in enumerate(zip(forms, aligned, strict=True))
                ],
            ),
            state,
        )

    def slopes(self, state: TableState, weights: TableSet) -> NDArray[np.float64]:
        """Return the derivatives by the phase shifts of the weighted sum of all tables, shape (S, ..., N)."""
        x, y = state.x, state.x**2
        rows = [np.moveaxis(alpha, -1, 0) for alpha in state.alphas]
        # Weights of the alphas, and of the factors T.
        beta = [self.rr * mean[..., None] + np.zeros(rows[0].shape) for mean in weights.means]
        D = [np.zeros_like(T) for T in state.T]
        total = np.zeros((*x.shape[:-3], *x.shape[-2:]))
        for p, (first, second) in enumerate(self.pairs):
            product, chained = weights.products[p], weights.chained[p]
            both = chained + _transposed(chained)
            self._add_product(beta, rows, p, product)
            self._add_chained(beta, rows, p, both)
            Q = self.rr**2 * _mixed(both, state.Z[p])
            D[first] += Q @ state.T[second]
            D[second] += _transposed(Q).conj() @ state.T[first]
            k, j = self.users
            half = np.where(k == j, 0.5, 1.0)
            if self.sg != 0:
                total += 2 * _weighted(half * both[..., k, j], x, state.Mx[p])
            if self.tau != 0:
                pairs = half * (both + product + _transposed(product))[..., k, j]
                total += 4 * self.tau**2 * _weighted(pairs, y, state.Wy[p])
        for S, weight, alpha in zip(self.S, beta, state.alphas, strict=True):
            columns = np.moveaxis(weight, 0, -1)
            moved = columns * alpha + x.conj() * (S @ (columns.conj() * x))
            total += moved.imag.sum(axis=-3)
        for F, T in zip(self.F, D, strict=True):
            through = np.sum(self.G * (F[..., None, :, :] @ T).conj(), axis=(-3, -1))
            total -= (x[..., 0, :, :] * np.moveaxis(through, 0, -1)).imag
        return np.moveaxis(total, -1, 0)

    def _product(self, p: int, rows: list[NDArray[Any]], aligned: Any) -> NDArray[np.float64]:
        dS, dT, ro, ru = self._off_diagonal(p, rows)
        a, b, trS, trT = (np.sum(part.real, axis=-1) for part in (ro, ru, dS, dT))
        return np.asarray(
            _outer(trS, trT)
            + self.rr * (_outer(trS, b) + _outer(a, trT))
            + self.rr**2 * _outer(a, b)
            + 2 * self.rr * (self.tau * _dot(ro, ru) + self.sg * _dot(ro, ru.conj())).real
            + self.tau**2 * (aligned - _dot(dS, dT))
            + self.sg**2 * self.crossed[p]
        )

    def _add_product(
        self, beta: list[NDArray[Any]], rows: list[NDArray[Any]], p: int, w: NDArray[np.float64]
    ) -> None:
        first, second = self.pairs[p]
        dS, dT, ro, ru = self._off_diagonal(p, rows)
        a, b, trS, trT = (np.sum(part.real, axis=-1)[..., None] for part in (ro, ru, dS, dT))
        v, rr, tau, sg = _transposed(w), self.rr, self.tau, self.sg
        beta[first] = beta[first] + w @ (rr * trT + rr**2 * b) + 2 * rr * (w @ (tau * ru + sg * ru.conj()))
        beta[second] = beta[second] + v @ (rr * trS + rr**2 * a) + 2 * rr * (v @ (tau * ro + sg * ro.conj()))

    def _chained(self, p: int, rows: list[NDArray[Any]], Z: NDArray[Any]) -> NDArray[np.float64]:
        first, second = self.pairs[p]
        alpha, gamma = rows[first], rows[second]
        dAB, dCB = self.dR[first] * self.dB, self.dR[second] * self.dB
        half = self.rr * self.tau * _dot(alpha, gamma).real
        half = half + self.rk3 * (_dot(dCB, alpha) + _dot(dAB, gamma)).real
        flat = Z.reshape(*Z.shape[:-2], -1)
        full = _dot(flat.real, flat.real) + _dot(flat.imag, flat.imag)
        return np.asarray(self.rr**2 * full + half + _transposed(half) + self.constant[p])

    def _add_chained(
        self, beta: list[NDArray[Any]], rows: list[NDArray[Any]], p: int, both: NDArray[np.float64]
    ) -> None:
        first, second = self.pairs[p]
        dAB, dCB = self.dR[first] * self.dB, self.dR[second] * self.dB
        alpha, gamma = rows[first], rows[second]
        beta[first] = beta[first] + both @ (self.rr * self.tau * gamma + self.rk3 * dCB)
        beta[second] = beta[second] + both @ (self.rr * self.tau * alpha + self.rk3 * dAB)

    def _off_diagonal(self, p: int, rows: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        first, second = self.pairs[p]
        dS, dT = self.dR[first] * self.dB, self.dR[second] * self.dB
        return dS, dT, rows[first] - dS, rows[second] - dT

    def _square(self, triangle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Make a symmetric matrix, (..., J, J), of its upper triangle, (..., pairs of users)."""
        k, j = self.users
        J = self.dB.shape[-2]
        square = np.empty((*triangle.shape[:-1], J, J))
        square[..., k, j] = square[..., j, k] = triangle
        return square


def _factor(R: NDArray[Any]) -> NDArray[Any]:
    """Return F with R = F F^H, shape (..., N, rank), by Cholesky decompositions with pivoting.

    Each step takes out the largest entry that is left on the diagonal. The rank is that of the matrix of the
    stack that has most; the others end in zero columns.
    """
    N = R.shape[-1]
    factors = []
    for matrix in R.reshape(-1, N, N):
        decompose: Any = scipy.linalg.get_lapack_funcs("pstrf", (matrix,))
        L, pivots, rank, _ = decompose(matrix, tol=FACTOR_RESIDUAL * matrix.diagonal().real.max(), lower=1)
        F = np.zeros((N, rank), L.dtype)
        F[pivots - 1] = np.tril(L)[:, :rank]
        factors.append(F)
    stack = np.zeros((len(factors), N, max(F.shape[1] for F in factors)), R.dtype)
    for row, F in zip(stack, factors, strict=True):
        row[:, : F.shape[1]] = F
    return stack.reshape(*R.shape[:-1], -1)


def _forms(x: NDArray[Any], Mx: NDArray[Any]) -> NDArray[np.float64]:
    """x^H M x of every form and column, (..., pairs, N, S) to (S, ..., pairs)."""
    values = np.einsum("...ns,...ns->...s", x.conj(), Mx).real
    return np.asarray(np.moveaxis(values, -1, 0))


def _weighted(w: NDArray[np.float64], x: NDArray[Any], Mx: NDArray[Any]) -> NDArray[np.float64]:
    """Im(conj(x) * sum_p w_p M_p x), weights (S, ..., pairs), to (..., N, S)."""
    mixed = np.einsum("...ps,...pns->...ns", np.moveaxis(w, 0, -1), Mx)
    return np.asarray((x[..., 0, :, :].conj() * mixed).imag)


def _mixed(w: NDArray[np.float64], Z: NDArray[Any]) -> NDArray[Any]:
    """sum_j w_kj Z_j."""
    flat = w @ Z.reshape(*Z.shape[:-2], -1)
    return np.asarray(flat.reshape(Z.shape))


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """left_k . right_j without conjugation, (..., J, n) twice to (..., J, J)."""
    return np.asarray(left @ _transposed(right))


def _outer(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(left[..., :, None] * right[..., None, :])


def _diagonal(matrix: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1).real)


def _transposed(matrix: NDArray[Any]) -> NDArray[Any]:
    return np.swapaxes(matrix, -1, -2)
