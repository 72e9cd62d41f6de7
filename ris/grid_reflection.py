r"""Sums over a surface whose covariances depend on differences of positions in its grid alone.

Then R_nm is a table over lags (`channels.GridCorrelation`), its products with vectors are convolutions, and
sums over all pairs of elements are sums over lags. With a factor F of few columns for each BS-side
covariance, A = Y Y^H with Y = diag(x)^H F where x = exp(j theta), all that `ris.noise_moments` asks for costs
O(J p N log N) for J user sides and p columns instead of O(J N^3), in a batch, and differentiably. Elements
are all alike: M = mu I.
"""

from dataclasses import dataclass

import array_api_compat

from ris.backend import Array, conjugate, matmul, real
from ris.element_moments import ElementMoments
from ris.noise_moments import BsSide

__all__ = ["GridReflection", "GridSide", "GridStack"]


@dataclass(frozen=True, eq=False)
class GridSide:
    """A BS-side covariance R = F F^H of a surface, before any phase shifts.

    Parameters
    ----------
    factor : array, shape (..., p, rows, columns)
        Columns of F on the grid of elements.
    lags : array, shape (..., 2 rows - 1, 2 columns - 1)
        R as in `channels.GridCorrelation`.
    """

    factor: Array
    lags: Array


@dataclass(frozen=True, eq=False)
class GridStack:
    """A stack of user-side covariances B_k.

    Parameters
    ----------
    lags : array, shape (..., J, 2 rows - 1, 2 columns - 1)
        As in `channels.GridCorrelation`.
    spectrum : array, shape (..., J, 2 rows, 2 columns)
        From `of`.
    """

    lags: Array
    spectrum: Array

    @classmethod
    def of(cls, lags: Array) -> "GridStack":
        """Transform the lags: a circular convolution of twice the size is the product with B_k."""
        xp = array_api_compat.array_namespace(lags)
        rows, columns = _grid(lags)
        wide = xp.concat([lags, 0 * lags[..., :1, :]], axis=-2)
        wide = xp.concat([wide, 0 * wide[..., :1]], axis=-1)
        wide = xp.roll(wide, (1 - rows, 1 - columns), axis=(-2, -1))
        return cls(lags, xp.fft.fftn(wide, axes=(-2, -1)))

    def times(self, Y: Array) -> Array:
        """Products B_k Y, shape (..., J, p, rows, columns), of columns Y, shape (..., p, rows, columns)."""
        xp = array_api_compat.array_namespace(Y)
        rows, columns = Y.shape[-2:]
        transformed = xp.fft.fftn(Y, s=(2 * rows, 2 * columns), axes=(-2, -1))
        product = self.spectrum[..., :, None, :, :] * transformed[..., None, :, :, :]
        return xp.fft.ifftn(product, axes=(-2, -1))[..., :rows, :columns]


@dataclass(frozen=True, eq=False)
class GridReflection(BsSide):
    """A BS-side covariance and user-side covariances that depend on differences of positions alone.

    Parameters
    ----------
    A : GridSide
        BS-side covariance R, not yet steered.
    B : GridStack
        User-side covariances.
    x : array, shape (..., rows, columns)
        exp(j theta).
    moments : ElementMoments
        All alike: floats, or arrays of shape (..., 1).
    Y : array, shape (..., p, N)
        diag(x)^H F.
    BY : array, shape (..., J, p, N)
        B_k Y.
    AB, BA : array, shape (..., J, N)
        Diagonals of A M B_k and of B_k M^H A.
    """

    A: GridSide
    B: GridStack
    x: Array
    moments: ElementMoments
    Y: Array
    BY: Array
    AB: Array
    BA: Array

    @classmethod
    def of(cls, A: GridSide, B: GridStack, x: Array, moments: ElementMoments) -> "GridReflection":
        """Multiply out what the moments share."""
        xp = array_api_compat.array_namespace(x)
        Y = xp.conj(x)[..., None, :, :] * A.factor
        BY = _flat(B.times(Y))
        Y = _flat(Y)
        AB = _pairs(moments.mean) * xp.sum(Y[..., None, :, :] * xp.conj(BY), axis=-2)
        return cls(A=A, B=B, x=x, moments=moments, Y=Y, BY=BY, AB=AB, BA=xp.conj(AB))

    @property
    def dA(self) -> Array:
        """Diagonal of A, shape (..., 1, N)."""
        return self._over_elements(self._a[..., 0])

    @property
    def dB(self) -> Array:
        """Diagonals of the B_k, shape (..., J, N)."""
        return self._over_elements(_centre(self.B.lags))

    def aligned_sum(self, other: "GridReflection") -> Array:
        """|t|^2 sum_l sum_a conj(x_a)^2 x_(a-l)^2 A(l) C(l) conj(B_k(l) B_j(l)).

        Lags l = a - b; A and C are those before the phase shifts.
        """
        xp = array_api_compat.array_namespace(self.x)
        t = _pairs(self.moments.pseudovariance)
        weight = (self.A.lags * other.A.lags * xp.conj(_autocorrelation(self.x**2)))[..., None, :, :]
        mirrored = xp.conj(self.B.lags)
        return _power(t) * _dot(_flat(weight * mirrored), _flat(mirrored))

    def crossed_sum(self, other: "GridReflection") -> Array:
        """s^2 sum_l n(l) A(l) conj(C(l)) conj(B_k(l)) B_j(l), with n(l) pairs of elements at lag l."""
        s = _pairs(self.moments.variance)
        return s**2 * _dot(_flat(self._lag_products(other) * conjugate(self.B.lags)), _flat(self.B.lags))

    def diagonal_pair_sum(self, other: "GridReflection") -> Array:
        """s^2 B_k(0) B_j(0) sum_l n(l) A(l) conj(C(l))."""
        xp = array_api_compat.array_namespace(self.x)
        b, s = _centre(self.B.lags), _pairs(self.moments.variance)
        total = xp.sum(self._lag_products(other), axis=(-2, -1))[..., None]
        return s**2 * b[..., :, None] * b[..., None, :] * total

    def smoothed_trace(self, other: "GridReflection") -> Array:
        """tr(A' B_k C' B_j) with A' = |mu|^2 A + s A(0) I.

        The trace of A B_k C B_j is that of M_k M_j^H with M_k = Y^H B_k Z, C = Z Z^H.
        """
        mean, s = _pairs(self.moments.mean), _pairs(self.moments.variance)
        power, a, c = _power(mean), self._a, other._a
        M = _flat(self._overlap(other))
        X, Z = _flat(self.BY), _flat(other.BY)
        pairs = _dot(_flat(_counts(self.B.lags) * self.B.lags), conjugate(_flat(self.B.lags)))
        return (
            power**2 * _dot(M, conjugate(M))
            + power * s * (c * _dot(conjugate(X), X) + a * _dot(Z, conjugate(Z)))
            + s**2 * a * c * pairs
        )

    def chain_diagonal(self, other: "GridReflection") -> Array:
        """Diagonals of A M B_k M^H C, shape (..., J, N)."""
        xp = array_api_compat.array_namespace(self.x)
        mean = _pairs(self.moments.mean)
        onward = matmul(self._overlap(other), xp.conj(other.Y)[..., None, :, :])
        return _power(mean) * xp.sum(self.Y[..., None, :, :] * onward, axis=-2)

    @property
    def _a(self) -> Array:
        """A_nn, the same for all n, shape (..., 1, 1)."""
        return _centre(self.A.lags)[..., None, None]

    def _overlap(self, other: "GridReflection") -> Array:
        """Y^H B_k Z, shape (..., J, p, q)."""
        xp = array_api_compat.array_namespace(self.x)
        return matmul(xp.conj(self.Y)[..., None, :, :], xp.matrix_transpose(other.BY))

    def _lag_products(self, other: "GridReflection") -> Array:
        return (_counts(self.A.lags) * self.A.lags * conjugate(other.A.lags))[..., None, :, :]

    def _over_elements(self, values: Array) -> Array:
        """Give all elements the same value, shape (..., n) to (..., n, N)."""
        xp = array_api_compat.array_namespace(values)
        return xp.broadcast_to(values[..., None], (*values.shape, self.Y.shape[-1]))


def _autocorrelation(y: Array) -> Array:
    """sum_a y_a conj(y_(a-l)) over the grid, for all lags, shape (..., 2 rows - 1, 2 columns - 1)."""
    xp = array_api_compat.array_namespace(y)
    rows, columns = y.shape[-2:]
    transformed = xp.fft.fftn(y, s=(2 * rows, 2 * columns), axes=(-2, -1))
    circular = xp.fft.ifftn(transformed * xp.conj(transformed), axes=(-2, -1))
    return xp.roll(circular, (rows - 1, columns - 1), axis=(-2, -1))[..., : 2 * rows - 1, : 2 * columns - 1]


def _counts(lags: Array) -> Array:
    """Pairs of elements at each lag, shape (2 rows - 1, 2 columns - 1)."""
    xp = array_api_compat.array_namespace(lags)
    like = real(lags)
    kind = {"dtype": like.dtype, "device": array_api_compat.device(lags)}
    rows, columns = (n - xp.abs(xp.arange(1 - n, n, **kind)) for n in _grid(lags))
    return rows[:, None] * columns


def _grid(lags: Array) -> tuple[int, int]:
    return (lags.shape[-2] + 1) // 2, (lags.shape[-1] + 1) // 2


def _centre(lags: Array) -> Array:
    """Entries on the diagonal, real."""
    rows, columns = _grid(lags)
    return real(lags[..., rows - 1, columns - 1])


def _pairs(value: float | Array) -> float | Array:
    """A value of each system, (..., 1), against pairs of users or users and elements, (..., J, n)."""
    return value if isinstance(value, float) else value[..., None]


def _power(value: float | Array) -> float | Array:
    """|value|^2."""
    return value**2 if isinstance(value, float) else real(value * conjugate(value))


def _flat(stack: Array) -> Array:
    """Join the last two axes."""
    xp = array_api_compat.array_namespace(stack)
    return xp.reshape(stack, (*stack.shape[:-2], stack.shape[-2] * stack.shape[-1]))


def _dot(left: Array, right: Array) -> Array:
    """Inner products without conjugation of all pairs, (..., J, n) and (..., I, n) to (..., J, I)."""
    xp = array_api_compat.array_namespace(left, right)
    return matmul(left, xp.matrix_transpose(right))
