r"""Exact moments of what one surface does to the channel, over what its elements do at random.

A surface enters the moments of the channel through traces tr(A E B E^H): A is a covariance on its BS side
with the phase shifts absorbed, B one on its user side, and E = diag(e_1 .. e_N) what phase noise and hardware
add, independent from element to element (`ris.element_moments`). For a stack of user-side covariances B_k and
two BS-side covariances A and C this module gives

    mean            E tr(A E B_k E^H)
    fourth_moments  E tr(A E B_k E^H) tr(C E B_j E^H) and E tr(A E B_k E^H C E B_j E^H)

and the same where only one of the factors sees E. Matrices may be any, not only Hermitian.

Derivation. With e = mu + z the traces expand into sums over indices n of products of mu, z and their
conjugates. As the z_n are independent and of zero mean, a product of them counts only where each z meets
another: two at one element average to s = E|z|^2 or t = E z^2, three to u = E z|z|^2 or its conjugate. Four
average to s^2 or |t|^2 for each way to pair them, at two elements or at one, and where all four are at one
element to w = E|z|^4 - 2 s^2 - |t|^2 besides. M = diag(mu), and s, t, u, w in the formulas stand for vectors.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import array_api_compat

from ris.backend import Array, adjoint, conjugate, matmul, stacked, vecdot
from ris.element_moments import ElementMoments

__all__ = [
    "AnySide",
    "BsSide",
    "Reflection",
    "amplitude",
    "amplitude_product",
    "fourth_moments",
    "inner_chain",
    "mean_traces",
    "outer_chain",
]

BLOCK_BYTES = 2**25
"""Temporaries of the sums over pairs of users are worked through in blocks of about this many bytes."""


class BsSide(ABC):
    """One BS-side covariance A of a surface with a stack of user-side covariances B_k, as the formulas ask.

    Sums over pairs take `other`, the same surface and stack with a BS-side covariance C. N stands for 1 where
    all elements have the same value.

    Attributes
    ----------
    moments : ElementMoments
        Of the elements of the surface.
    AB, BA : array, shape (..., J, N)
        Diagonals of A M B_k and of B_k M^H A.
    """

    moments: ElementMoments
    AB: Array
    BA: Array

    @property
    @abstractmethod
    def dA(self) -> Array:
        """Diagonal of A, shape (..., 1, N)."""

    @property
    @abstractmethod
    def dB(self) -> Array:
        """Diagonals of the B_k, shape (..., J, N)."""

    @property
    def mean(self) -> Array:
        """E tr(A E B_k E^H) = tr(M^H A M B_k) + sum_n s_n A_nn (B_k)_nn, shape (..., J)."""
        return _mean_trace(self.BA, self.dA * self.dB, self.moments)

    @abstractmethod
    def aligned_sum(self, other: Self) -> Array:
        """sum_ab t_a^* t_b A_ab (B_k)_ba C_ab (B_j)_ba, shape (..., J, J)."""

    @abstractmethod
    def crossed_sum(self, other: Self) -> Array:
        """sum_ab s_a s_b A_ab (B_k)_ba C_ba (B_j)_ab, shape (..., J, J)."""

    @abstractmethod
    def diagonal_pair_sum(self, other: Self) -> Array:
        """sum_ab s_a s_b A_ab (B_k)_bb C_ba (B_j)_aa, shape (..., J, J)."""

    @abstractmethod
    def smoothed_trace(self, other: Self) -> Array:
        """tr(A' B_k C' B_j), with A' = M^H A M + diag(s_n A_nn) and C' alike, shape (..., J, J)."""

    @abstractmethod
    def chain_diagonal(self, other: Self) -> Array:
        """Diagonals of A M B_k M^H C, shape (..., J, N)."""


@dataclass(frozen=True, eq=False)
class Reflection(BsSide):
    """A BS-side covariance and user-side covariances of any kind, as matrices.

    Parameters
    ----------
    A : array, shape (..., N, N)
        BS-side covariance, phase shifts absorbed: conj(x_m) A_mn x_n with x = exp(j theta).
    B : array, shape (..., J, N, N)
        User-side covariances.
    moments : ElementMoments
        Of the elements of the surface.
    X : array, shape (..., J, N, N)
        A M B_k.
    P : array, shape (..., J, N, N)
        A' B_k, with A' = M^H A M + diag(s_n A_nn) the average of E^H A E.
    AB, BA : array, shape (..., J, N)
        Diagonals of A M B_k and of B_k M^H A.
    """

    A: Array
    B: Array
    moments: ElementMoments
    X: Array
    P: Array
    AB: Array
    BA: Array

    @classmethod
    def of(
        cls, A: Array, sides: Sequence[tuple[Array, Array | None]], moments: ElementMoments
    ) -> "Reflection":
        """Multiply out what the moments share.

        `sides` are stacks of covariances B_k, J in all, each with factors F_k, B_k = F_k F_k^H, or None.
        """
        B = stacked([matrices for matrices, _ in sides])
        AM = A * _columns(moments.mean)
        MA = _rows(_conjugate(moments.mean)) * A
        X = stacked([_product(AM[..., None, :, :], *side) for side in sides])
        return cls(
            A=A,
            B=B,
            moments=moments,
            X=X,
            P=_rows(_conjugate(_stacks(moments.mean))) * X
            + _rows(_stacks(moments.variance) * _diagonal(A)[..., None, :]) * B,
            AB=vecdot(adjoint(AM)[..., None, :, :], B, axis=-2),
            BA=_row_dot(B, MA),
        )

    @property
    def dA(self) -> Array:
        """Diagonal of A, shape (..., 1, N)."""
        return _diagonal(self.A)[..., None, :]

    @property
    def dB(self) -> Array:
        """Diagonals of the B_k, shape (..., J, N)."""
        return _diagonal(self.B)

    def aligned_sum(self, other: Self) -> Array:
        """sum_ab t_a^* t_b A_ab (B_k)_ba C_ab (B_j)_ba, shape (..., J, J)."""
        xp = array_api_compat.array_namespace(self.A)
        t = self.moments.pseudovariance
        weight = xp.matrix_transpose(_rows(_conjugate(t)) * self.A * other.A * _columns(t))[..., None, :, :]
        total = 0
        for rows in _row_blocks(self.B):
            block = self.B[..., rows, :]
            total = total + _dot(_flat(weight[..., rows, :] * block), _flat(block))
        return total

    def crossed_sum(self, other: Self) -> Array:
        """sum_ab s_a s_b A_ab (B_k)_ba C_ba (B_j)_ab, shape (..., J, J)."""
        xp = array_api_compat.array_namespace(self.A)
        s = self.moments.variance
        weight = (_rows(s) * self.A * xp.matrix_transpose(other.A) * _columns(s))[..., None, :, :]
        total = 0
        for rows in _row_blocks(self.B):
            columns = xp.matrix_transpose(self.B[..., :, rows])
            total = total + _dot(_flat(weight[..., rows, :] * columns), _flat(self.B[..., rows, :]))
        return total

    def diagonal_pair_sum(self, other: Self) -> Array:
        """sum_ab s_a s_b A_ab (B_k)_bb C_ba (B_j)_aa, shape (..., J, J)."""
        xp = array_api_compat.array_namespace(self.A)
        s = _stacks(self.moments.variance)
        weight = xp.matrix_transpose(self.A) * other.A
        return _dot(matmul(s * self.dB, weight), s * self.dB)

    def smoothed_trace(self, other: Self) -> Array:
        """tr(A' B_k C' B_j), shape (..., J, J)."""
        return _trace_sum(self.P, other.P)

    def chain_diagonal(self, other: Self) -> Array:
        """Diagonals of A M B_k M^H C, shape (..., J, N)."""
        return _row_dot(self.X, _rows(_conjugate(self.moments.mean)) * other.A)


AnySide = TypeVar("AnySide", bound=BsSide)
"""Two sides that meet in a formula are of one kind."""


def mean_traces(A: Array, B: Array, moments: ElementMoments) -> Array:
    """E tr(A E B_k E^H) alone, shape (..., J), at a cost of N^2; parameters as those of `Reflection`."""
    BA = _row_dot(B, _rows(_conjugate(moments.mean)) * A)
    return _mean_trace(BA, _diagonal(A)[..., None, :] * _diagonal(B), moments)


def fourth_moments(first: AnySide, second: AnySide) -> tuple[Array, Array]:
    """Means over the elements of products of two traces and of the chained trace.

    Parameters
    ----------
    first, second : BsSide
        Of the same surface and stack B, with BS-side covariances A and C.

    Returns
    -------
    product, chained : array, shape (..., J, J)
        E tr(A E B_k E^H) tr(C E B_j E^H) and E tr(A E B_k E^H C E B_j E^H).
    """
    aligned = first.aligned_sum(second)
    return _product_mean(first, second, aligned), _chained_mean(first, second, aligned)


def _mean_trace(BA: Array, dS: Array, moments: ElementMoments) -> Array:
    """sum_n mu_n (B M^H A)_nn + s_n A_nn B_nn, given the diagonals of B M^H A and A o B."""
    return _sum(_stacks(moments.mean) * BA) + _sum(_stacks(moments.variance) * dS)


def _product_mean(first: AnySide, second: AnySide, aligned: Array) -> Array:
    """E tr(A E B_k E^H) tr(C E B_j E^H).

    With D = B_j, dX the diagonal of X and (AB)_n = (A M B)_nn, (BA)_n = (B M^H A)_nn, likewise for C and D,

        E tr(A E B E^H) E tr(C E D E^H) + sum_n [ s (BA CD + AB DC) + t BA DC + t^* AB CD ]
        + sum_n [ u^* (dA dB CD + AB dC dD) + u (dA dB DC + BA dC dD) + w dA dB dC dD ]
        + sum_ab t_a^* t_b A_ab B_ba C_ab D_ba + sum_ab s_a s_b A_ab B_ba C_ba D_ab,

    the sums over a and b being `aligned` and `BsSide.crossed_sum`.
    """
    s, t, u, w = _excesses(first)
    dS, dT = first.dA * first.dB, second.dA * second.dB
    return (
        _outer(first.mean, second.mean)
        + _dot(first.BA, s * second.AB + t * second.BA + u * dT)
        + _dot(first.AB, s * second.BA + _conjugate(t) * second.AB + _conjugate(u) * dT)
        + _dot(dS, _conjugate(u) * second.AB + u * second.BA + w * dT)
        + aligned
        + first.crossed_sum(second)
    )


def _chained_mean(first: AnySide, second: AnySide, aligned: Array) -> Array:
    """E tr(A E B_k E^H C E B_j E^H).

    In the notation of `_product_mean`, with (BC)_n = (B M^H C)_nn, (DA)_n = (D M^H A)_nn,

        tr(A' B C' D) + sum_n s [ dB (C M D M^H A)_nn + dD (A M B M^H C)_nn ] + sum_n [ t BC DA + t^* AB CD ]
        + sum_n [ u^* (dA dB CD + dC dD AB) + u (dB dC DA + dD dA BC) + w dA dB dC dD ]
        + sum_ab s_a s_b A_ab dB_b C_ba dD_a + sum_ab t_a^* t_b A_ab B_ba C_ab D_ba (`aligned`),

    where A' = M^H A M + diag(s dA) holds the pairs around A, and C' those around C.
    """
    s, t, u, w = _excesses(first)
    dA, dC, dB = first.dA, second.dA, first.dB
    AB, DA, CD, BC = first.AB, first.BA, second.AB, second.BA
    around_B = s * second.chain_diagonal(first) + u * dC * DA + _conjugate(u) * dA * CD
    around_D = s * first.chain_diagonal(second) + u * dA * BC + _conjugate(u) * dC * AB
    return (
        first.smoothed_trace(second)
        + _dot(dB, around_B)
        + _dot(around_D + w * dA * dC * dB, dB)
        + _dot(t * BC, DA)
        + _dot(_conjugate(t) * AB, CD)
        + first.diagonal_pair_sum(second)
        + aligned
    )


def outer_chain(random: Reflection, nominal: Reflection) -> Array:
    """E tr(A E B_k C B_j E^H) = tr(A' B_k C B_j), shape (..., J, J): E surrounds the chain B_k C B_j.

    Parameters
    ----------
    random, nominal : Reflection
        Of the same surface and stack B: A with the moments of its elements, C with ideal ones.
    """
    return _trace_sum(random.P, nominal.P)


def inner_chain(random: Reflection, nominal: Reflection) -> Array:
    """E tr(A E B_k E^H C B_j) = tr(A M B_k M^H C B_j) + sum_n s_n (B_k)_nn (C B_j A)_nn.

    Parameters
    ----------
    random, nominal : Reflection
        As for `outer_chain`.

    Returns
    -------
    array, shape (..., J, J)
    """
    moments = random.moments
    onward = random.X * _columns(_conjugate(_stacks(moments.mean)))
    return _trace_sum(onward, nominal.P) + _dot(
        _stacks(moments.variance) * random.dB, _row_dot(nominal.P, random.A)
    )


def amplitude(nominal: Reflection, moments: ElementMoments) -> Array:
    """E tr(A E B_k) = sum_n mu_n (B_k A)_nn, shape (..., J).

    Parameters
    ----------
    nominal : Reflection
        With ideal elements.
    moments : ElementMoments
        Of E.
    """
    return _sum(_stacks(moments.mean) * nominal.BA)


def amplitude_product(first: Reflection, second: Reflection, moments: ElementMoments) -> Array:
    """E tr(A E B_k) conj(tr(C E B_j)), shape (..., J, J).

    It is E tr(A E B_k) conj(E tr(C E B_j)) + sum_n s_n a_n conj(c_n), with a and c the diagonals of B_k A and
    B_j C.

    Parameters
    ----------
    first, second : Reflection
        Of the same surface and stack B with ideal elements, with BS-side covariances A and C.
    moments : ElementMoments
        Of E.
    """
    means = _outer(amplitude(first, moments), conjugate(amplitude(second, moments)))
    return means + _dot(_stacks(moments.variance) * first.BA, conjugate(second.BA))


def _excesses(reflection: BsSide) -> tuple[Array | float, ...]:
    """s, t, u and w, each a float or of shape (..., 1, N)."""
    moments = reflection.moments
    each = (moments.variance, moments.pseudovariance, moments.third, moments.fourth)
    return tuple(_stacks(value) for value in each)


def _product(A: Array, B: Array, factors: Array | None) -> Array:
    """A B_k, at the cost of two products of the rank of the factors instead of one of N."""
    if factors is None:
        return matmul(A, B)
    return matmul(matmul(A, factors), adjoint(factors))


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


def _rows(vector: float | Array) -> float | Array:
    """A factor for each row of a matrix; a float is one for all."""
    return vector if isinstance(vector, float) else vector[..., :, None]


def _columns(vector: float | Array) -> float | Array:
    """A factor for each column of a matrix."""
    return vector if isinstance(vector, float) else vector[..., None, :]


def _stacks(vector: float | Array) -> float | Array:
    """The same vector for every entry of a stack: shape (..., N) to (..., 1, N)."""
    return vector if isinstance(vector, float) else vector[..., None, :]


def _conjugate(vector: float | Array) -> float | Array:
    return vector if isinstance(vector, float) else conjugate(vector)


def _outer(left: Array, right: Array) -> Array:
    return left[..., :, None] * right[..., None, :]


def _sum(vectors: Array) -> Array:
    xp = array_api_compat.array_namespace(vectors)
    return xp.sum(vectors, axis=-1)


def _diagonal(matrix: Array) -> Array:
    xp = array_api_compat.array_namespace(matrix)
    return xp.linalg.diagonal(matrix)
