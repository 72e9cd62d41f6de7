r"""Exact moments of what one surface does to the channel, over its phase noise.

A surface enters the moments of the channel through traces tr(A E B E^H): A is a covariance on its BS side
with the phase shifts absorbed, B one on its user side, and E = diag(e_1 .. e_N), e_n = exp(j phi_n), its
phase noise. With phi_n iid, symmetric and of zero mean, only r = E e^{j phi} and r2 = E e^{2j phi} matter.
For a stack of user-side covariances B_k and two BS-side covariances A and C this module gives

    mean            E tr(A E B_k E^H)
    fourth_moments  E tr(A E B_k E^H) tr(C E B_j E^H) and E tr(A E B_k E^H C E B_j E^H)

and the same where only one of the factors sees the noise. Matrices may be any, not only Hermitian.

Derivation. A product of two e and two e^* averages to r^4 where its four indices differ. Where an e meets an
e^* the factor r^2 becomes 1 (excess sg = 1 - r^2), where two e meet it becomes r2 (excess tau = r2 - r^2);
three equal indices leave the excess r k3, k3 = 2 r^3 - r r2 - r, four leave what is missing to 1. Inclusion
and exclusion over the coincidences turns the sum over distinct indices into sums over free ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat

from ris.backend import Array, adjoint, conjugate, matmul, stacked, vecdot

__all__ = ["Reflection", "amplitude_product", "fourth_moments", "inner_chain", "outer_chain"]

BLOCK_BYTES = 2**25
"""Temporaries of the sums over pairs of users are worked through in blocks of about this many bytes."""


@dataclass(frozen=True, eq=False)
class Reflection:
    """One BS-side covariance A of a surface, seen together with a stack of user-side covariances B_k.

    Parameters
    ----------
    A : array, shape (..., N, N)
        BS-side covariance, phase shifts absorbed: conj(x_m) A_mn x_n with x = exp(j theta).
    B : array, shape (..., J, N, N)
        User-side covariances.
    r, r2 : float
        First and second circular moments of the phase noise; 1 and 1 without noise.
    P : array, shape (..., J, N, N)
        A' B_k, with A' = r^2 A + (1 - r^2) diag(A) the average of E^H A E.
    AB, BA : array, shape (..., J, N)
        Diagonals of A B_k and of B_k A.
    """

    A: Array
    B: Array
    r: float
    r2: float
    P: Array
    AB: Array
    BA: Array

    @classmethod
    def of(cls, A: Array, sides: Sequence[tuple[Array, Array | None]], r: float, r2: float) -> "Reflection":
        """Multiply out what the moments share.

        `sides` are stacks of covariances B_k, J in all, each with factors F_k, B_k = F_k F_k^H, or None.
        """
        array_api_compat.array_namespace(A)
        B = stacked([matrices for matrices, _ in sides])
        smoothed = _smoothed(A, r)[..., None, :, :]
        column = adjoint(A)[..., None, :, :]
        return cls(
            A=A,
            B=B,
            r=r,
            r2=r2,
            P=stacked([_product(smoothed, *side) for side in sides]),
            AB=vecdot(column, B, axis=-2),
            BA=_row_dot(B, A),
        )

    @property
    def dA(self) -> Array:
        """Diagonal of A, shape (..., 1, N)."""
        return _diagonal(self.A)[..., None, :]

    @property
    def dB(self) -> Array:
        """Diagonals of the B_k, shape (..., J, N)."""
        return _diagonal(self.B)

    @property
    def mean(self) -> Array:
        """E tr(A E B_k E^H) = r^2 tr(A B_k) + (1 - r^2) sum_n A_nn B_nn, shape (..., J)."""
        return self.r**2 * _sum(self.BA) + (1 - self.r**2) * _sum(self.dA * self.dB)


def fourth_moments(first: Reflection, second: Reflection) -> tuple[Array, Array]:
    """Means over the phase noise of products of two traces and of the chained trace.

    Parameters
    ----------
    first, second : Reflection
        Of the same surface and stack B, with BS-side covariances A and C.

    Returns
    -------
    product, chained : array, shape (..., J, J)
        E tr(A E B_k E^H) tr(C E B_j E^H) and E tr(A E B_k E^H C E B_j E^H).
    """
    aligned = _aligned_sum(first, second)
    return _product_mean(first, second, aligned), _chained_mean(first, second, aligned)


def _product_mean(first: Reflection, second: Reflection, aligned: Array) -> Array:
    """E tr(A E B_k E^H) tr(C E B_j E^H).

    With S = A o B_k^T and T = C o B_j^T the product is (e^H S e)(e^H T e). Off the diagonals S and T have
    row sums ro, ru, column sums co, cu and totals a, b; OU = sum O o U and OUt = sum O o U^T over their
    off-diagonal parts. Then, with c1 = ro.ru - OU, c2 = co.cu - OU, c3 = ro.cu - OUt, c4 = co.ru - OUt,

        trS trT + r^2 (trS b + trT a) + r^4 (a b - c1 - c2 - c3 - c4 - OU - OUt)
        + r2 r^2 (c1 + c2) + r2^2 OU + r^2 (c3 + c4) + OUt.
    """
    rr, r2 = first.r**2, first.r2
    dS, dT = first.dA * first.dB, second.dA * second.dB
    ro, ru = first.AB - dS, second.AB - dT
    co, cu = first.BA - dS, second.BA - dT
    a, b = _sum(ro), _sum(ru)
    trS, trT = _sum(dS), _sum(dT)
    OU = aligned - _dot(dS, dT)
    OUt = _crossed_sum(first, second) - _dot(dS, dT)
    c1, c2 = _dot(ro, ru) - OU, _dot(co, cu) - OU
    c3, c4 = _dot(ro, cu) - OUt, _dot(co, ru) - OUt
    return (
        _outer(trS, trT)
        + rr * (_outer(trS, b) + _outer(a, trT))
        + rr**2 * (_outer(a, b) - c1 - c2 - c3 - c4 - OU - OUt)
        + r2 * rr * (c1 + c2)
        + r2**2 * OU
        + rr * (c3 + c4)
        + OUt
    )


def _chained_mean(first: Reflection, second: Reflection, aligned: Array) -> Array:
    """E tr(A E B_k E^H C E B_j E^H).

    With D = B_j, sg = 1 - r^2, tau = r2 - r^2, dX the diagonal of X,

        r^4 full + r^2 (sg s1 + tau s2) + r k3 s3 + sg^2 (f1 + f2) + tau^2 f3 + (k4 - 2 sg^2 - tau^2) f4

    where full = tr(ABCD),
    s1 = tr(A diag(dB) C D) + tr(diag(dA) B C D) + tr(A B diag(dC) D) + tr(A B C diag(dD)),
    s2 = sum_n (BC)_nn (DA)_nn + (AB)_nn (CD)_nn,
    s3 = sum_n dB dC (DA)_nn + dA dB (CD)_nn + dD dA (BC)_nn + dC dD (AB)_nn,
    f1 = sum_ab A_ab dB_b C_ba dD_a, f2 = sum_ac dA_a B_ac dC_c D_ca,
    f3 = sum_ab A_ab B_ba C_ab D_ba (`aligned`), f4 = sum_n dA dB dC dD,
    k3 = 2 r^3 - r r2 - r and k4 = (1 + r^2)^2 - 4 r^2 (1 + r^2) + 2 r^2 (1 + r2).
    full, two terms of s1 and f2 are together tr(A'B C'D), A' = r^2 A + sg diag(dA), one product.
    """
    r, r2 = first.r, first.r2
    rr = r**2
    sg, tau = 1 - rr, r2 - rr
    k3 = 2 * r**3 - r * r2 - r
    k4 = (1 + rr) ** 2 - 4 * rr * (1 + rr) + 2 * rr * (1 + r2)
    dA, dC, dB = first.dA, second.dA, first.dB
    AB, DA, CD, BC = first.AB, first.BA, second.AB, second.BA
    smoothed = _trace_sum(first.P, second.P)
    CDA = _row_dot(second.P, first.A) - sg * dC * DA
    ABC = _row_dot(first.P, second.A) - sg * dA * BC
    s1_rest = _dot(dB, CDA) + _dot(ABC, dB)
    s2 = _dot(BC, DA) + _dot(AB, CD)
    s3 = _dot(dB * dC, DA) + _dot(dA * dB, CD) + _dot(dA * BC, dB) + _dot(dC * AB, dB)
    f1 = _diagonal_pair_sum(first, second)
    f4 = _dot(dA * dB, dC * dB)
    return (
        smoothed
        + sg * s1_rest
        + rr * tau * s2
        + r * k3 * s3
        + sg**2 * f1
        + tau**2 * aligned
        + (k4 - 2 * sg**2 - tau**2) * f4
    )


def outer_chain(noisy: Reflection, nominal: Reflection) -> Array:
    """E tr(A E B_k C B_j E^H) = tr(A' B_k C B_j), shape (..., J, J): the noise surrounds the chain B_k C B_j.

    Parameters
    ----------
    noisy, nominal : Reflection
        Of the same surface and stack B: A with its phase noise, C without (r = 1).
    """
    return _trace_sum(noisy.P, nominal.P)


def inner_chain(first: Reflection, second: Reflection, r: float) -> Array:
    """E tr(A E B_k E^H C B_j) = r^2 tr(A B_k C B_j) + (1 - r^2) sum_n (B_k)_nn (C B_j A)_nn.

    Parameters
    ----------
    first, second : Reflection
        Of the same surface and stack B without noise (r = 1), with BS-side covariances A and C.
    r : float
        First circular moment of the phase noise.

    Returns
    -------
    array, shape (..., J, J)
    """
    return r**2 * _trace_sum(first.P, second.P) + (1 - r**2) * _dot(first.dB, _row_dot(second.P, first.A))


def amplitude_product(first: Reflection, second: Reflection, r: float) -> Array:
    """E tr(A E B_k) conj(tr(C E B_j)) = r^2 tr(A B_k) conj(tr(C B_j)) + (1 - r^2) sum_n a_n conj(c_n).

    Here a and c are the diagonals of B_k A and B_j C. Parameters and shape of the result are those of
    `inner_chain`.
    """
    other = conjugate(second.BA)
    return r**2 * _outer(_sum(first.BA), _sum(other)) + (1 - r**2) * _dot(first.BA, other)


def _smoothed(A: Array, r: float) -> Array:
    """A' = r^2 A + (1 - r^2) diag(A), the average of E^H A E."""
    if r == 1:
        return A
    xp = array_api_compat.array_namespace(A)
    identity = xp.eye(A.shape[-1], dtype=A.dtype, device=array_api_compat.device(A))
    return r**2 * A + (1 - r**2) * (_diagonal(A)[..., None, :] * identity)


def _product(A: Array, B: Array, factors: Array | None) -> Array:
    """A B_k, at the cost of two products of the rank of the factors instead of one of N."""
    if factors is None:
        return matmul(A, B)
    return matmul(matmul(A, factors), adjoint(factors))


def _aligned_sum(first: Reflection, second: Reflection) -> Array:
    """sum_ab A_ab (B_k)_ba C_ab (B_j)_ba, shape (..., J, J)."""
    xp = array_api_compat.array_namespace(first.A)
    weight = xp.matrix_transpose(first.A * second.A)[..., None, :, :]
    total = 0
    for rows in _row_blocks(first.B):
        block = first.B[..., rows, :]
        total = total + _dot(_flat(weight[..., rows, :] * block), _flat(block))
    return total


def _crossed_sum(first: Reflection, second: Reflection) -> Array:
    """sum_ab A_ab (B_k)_ba C_ba (B_j)_ab, shape (..., J, J)."""
    xp = array_api_compat.array_namespace(first.A)
    weight = (first.A * xp.matrix_transpose(second.A))[..., None, :, :]
    total = 0
    for rows in _row_blocks(first.B):
        columns = xp.matrix_transpose(first.B[..., :, rows])
        total = total + _dot(_flat(weight[..., rows, :] * columns), _flat(first.B[..., rows, :]))
    return total


def _trace_sum(X: Array, Y: Array) -> Array:
    """tr(X_k Y_j) for every pair, shape (..., J, J)."""
    xp = array_api_compat.array_namespace(X)
    total = 0
    for rows in _row_blocks(X):
        total = total + _dot(_flat(X[..., rows, :]), _flat(xp.matrix_transpose(Y[..., :, rows])))
    return total


def _row_dot(stack: Array, matrix: Array) -> Array:
    """Diagonals of X_k A, shape (..., J, N)."""
    xp = array_api_compat.array_namespace(matrix)
    # Flattened in between, the transpose lies in memory by its own rows, as the stack does.
    columns = xp.reshape(_flat(adjoint(matrix)), matrix.shape)
    return vecdot(columns[..., None, :, :], stack, axis=-1)


def _diagonal_pair_sum(first: Reflection, second: Reflection) -> Array:
    """sum_ab A_ab (B_k)_bb C_ba (B_j)_aa, shape (..., J, J)."""
    xp = array_api_compat.array_namespace(first.A)
    weight = xp.matrix_transpose(first.A) * second.A
    return _dot(matmul(first.dB, weight), first.dB)


def _row_blocks(stack: Array) -> list[slice]:
    """Slices over the rows of a stack of matrices, each block of about BLOCK_BYTES."""
    size = stack.shape[-1]
    row_bytes = 16 * math.prod(stack.shape[:-1])
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _flat(stack: Array) -> Array:
    """Matrices as vectors: (..., J, n, m) to (..., J, n m)."""
    xp = array_api_compat.array_namespace(stack)
    return xp.reshape(stack, (*stack.shape[:-2], stack.shape[-2] * stack.shape[-1]))


def _dot(left: Array, right: Array) -> Array:
    """Inner products without conjugation of all pairs, (..., J, n) and (..., I, n) to (..., J, I)."""
    xp = array_api_compat.array_namespace(left, right)
    return matmul(left, xp.matrix_transpose(right))


def _outer(left: Array, right: Array) -> Array:
    return left[..., :, None] * right[..., None, :]


def _sum(vectors: Array) -> Array:
    xp = array_api_compat.array_namespace(vectors)
    return xp.sum(vectors, axis=-1)


def _diagonal(matrix: Array) -> Array:
    xp = array_api_compat.array_namespace(matrix)
    return xp.linalg.diagonal(matrix)
