"""A system prepared for the moment formulas: path weights, traces at the BS, covariances at the surfaces."""

import functools
from typing import Any, Protocol

import array_api_compat
import numpy as np

from channels.checks import as_array, finite
from channels.coupling import reflection_matrix
from channels.errors import InvalidArgumentError
from channels.fading import UserHop
from ris.backend import Array, adjoint, conjugate, imaginary, is_complex, matmul, real, stacked, unify
from ris.element_moments import IDEAL, ElementMoments
from ris.noise_moments import Reflection
from ris.system import DoubleRIS, check_coupling

__all__ = ["BsTraces", "Link", "PathWeights", "Surface", "check_phases"]


def check_phases(argument: str, theta: Any, elements: int) -> Array:
    """Return phase shifts as an array of shape (..., elements), radians; None stands for no element."""
    if theta is None and elements > 0:
        raise InvalidArgumentError(argument, f"the phase shifts of {elements} elements", "None")
    phases = finite(argument, as_array(argument, () if theta is None else theta))
    if is_complex(phases):
        raise InvalidArgumentError(argument, "real phase shifts in radians", f"dtype {phases.dtype}")
    if phases.ndim == 0 or phases.shape[-1] != elements:
        raise InvalidArgumentError(
            argument, f"shape (..., N) with N = {elements} elements", f"shape {tuple(phases.shape)}"
        )
    return phases


def batch_shape(system: DoubleRIS, theta1: Any, theta2: Any) -> tuple[int, ...]:
    """Return the leading axes that system and phase shifts have together."""
    axes = [system.batch_shape]
    for argument, theta, elements in (
        ("theta1", theta1, system.elements1),
        ("theta2", theta2, system.elements2),
    ):
        axes.append(tuple(check_phases(argument, theta, elements).shape[:-1]))
    try:
        return np.broadcast_shapes(*axes)
    except ValueError:
        shapes = f"batch axes {axes[0]} of the system, {axes[1]} and {axes[2]} of the phase shifts"
        raise InvalidArgumentError("theta1, theta2", "batch axes that broadcast", shapes) from None


class PathWeights(Protocol):
    """Weights of the paths and traces at the BS, as those of `Link`."""

    @property
    def a(self) -> Array:
        """Of the direct paths."""
        ...

    @property
    def b(self) -> Array:
        """Of the single reflections at surface 1."""
        ...

    @property
    def c(self) -> Array:
        """Of the single reflections at surface 2."""
        ...

    @property
    def d(self) -> Array:
        """Of the double reflections."""
        ...

    @property
    def x(self) -> Array:
        """Of the cross terms."""
        ...

    @property
    def bs(self) -> "BsTraces":
        """Traces of the BS-side covariances."""
        ...


class Link:
    """Everything that the moments need of one system without lines of sight, in one array library.

    `part` takes these systems alone from the first batch axis.

    A path that is switched off has weight zero, and a covariance that is missing is zero, at a surface of a
    single element, so that the formulas need no cases.

    Attributes
    ----------
    a, b, c, d, x : array, shape (..., K)
        Path weights: direct, single reflection at surface 1 and 2, double reflection, and the cross term of
        the last two (see `ris.moments`).
    bs_sides : tuple of array, shapes (..., J, M, M), (..., M, M) and (..., M, M)
        BS-side covariances of the direct channels, of hop 1 and of hop 2.
    """

    def __init__(self, system: DoubleRIS, theta1: Any, theta2: Any, part: slice | None = None) -> None:
        if system.line_of_sight:
            raise InvalidArgumentError("system", "Rayleigh fading in all hops", "a hop with a mean")
        check_coupling(system)
        hops = (system.bs_ris1, system.bs_ris2, system.ris1_ris2)
        to_users = (system.ris1_user, system.ris2_user, system.bs_user)
        xp, arrays = unify(
            check_phases("theta1", theta1, system.elements1),
            check_phases("theta2", theta2, system.elements2),
            *(None if hop is None else hop.gain[..., None] for hop in hops),
            *(None if hop is None else hop.left.matrix for hop in hops),
            *(None if hop is None else hop.right.matrix for hop in hops),
            *(None if hop is None else hop.gain for hop in to_users),
            *(None if hop is None else _per_user(hop.correlation.matrix) for hop in to_users),
            *(_low_rank(system.ris1_user), _low_rank(system.ris2_user)),
        )
        if part is not None:
            axes = len(batch_shape(system, theta1, theta2))
            trailing = [1] * 5 + [2] * 6 + [1] * 3 + [3] * 5
            arrays = [_cut(array, axes + n, part) for array, n in zip(arrays, trailing, strict=True)]
        theta1, theta2, g1, g2, gD, RB1, RB2, R1d, R1b, R2b, R2d, g1k, g2k, gdk, R1k, R2k, RBk, F1k, F2k = (
            arrays
        )
        single1, single2, double = system.single1, system.single2, system.double
        # Zero with the batch axes of the phase shifts, so that every result has them.
        off = 0 * next(gain for gain in (g1k, g2k, gdk) if gain is not None)
        off = off + xp.sum(theta1[..., :0], axis=-1)[..., None] + xp.sum(theta2[..., :0], axis=-1)[..., None]
        self.a = gdk + off if system.direct else off
        self.b = g1k * g1 + off if single1 else off
        self.c = g2k * g2 + off if single2 else off
        self.d = g2k * g1 * gD + off if double else off
        self.x = g2k * xp.sqrt(g1 * g2 * gD) + off if single2 and double else off

        missing = xp.zeros((1, 1), dtype=off.dtype, device=array_api_compat.device(off))
        no_side = xp.zeros((system.antennas,) * 2, dtype=off.dtype, device=array_api_compat.device(off))
        self.bs_sides = (
            RBk if system.direct else no_side[None, ...],
            RB1 if single1 or double else no_side,
            RB2 if single2 else no_side,
        )
        self._system, self._missing = system, missing
        self._theta = theta1, theta2
        self._noise = system.phase_noise1, system.phase_noise2
        self._hardware = system.hardware1, system.hardware2
        self._covariances = R1b, R1d, R1k, R2b, R2d, R2k
        self._factors = F1k, F2k

    @functools.cached_property
    def bs(self) -> "BsTraces":
        """Traces of the BS-side covariances."""
        return BsTraces(*self.bs_sides)

    def _elements(self, surface: int) -> ElementMoments:
        """Moments of the elements of surface 1 or 2; of coupled ones, `_seen` has all that they do."""
        if self._hardware[surface - 1].coupling is not None:
            return IDEAL
        return self._coefficients(surface)

    def _coefficients(self, surface: int) -> ElementMoments:
        noise, hardware = self._noise[surface - 1], self._hardware[surface - 1]
        return ElementMoments.of(noise, hardware, self._theta[surface - 1])

    def _seen(self, covariance: Array, surface: int) -> Array:
        """Absorb what is certain of surface 1 or 2: the phase shifts or, T coupled, T^H R T."""
        theta, hardware = self._theta[surface - 1], self._hardware[surface - 1]
        if hardware.coupling is None:
            return _steered(covariance, theta)
        xp = array_api_compat.array_namespace(theta)
        T = reflection_matrix(xp.exp(1j * theta) * self._coefficients(surface).mean, hardware.coupling)
        return matmul(adjoint(T), matmul(covariance, T))

    def surface1(self) -> "Surface":
        """Surface 1 seen from the BS; its user sides are the users' and then that of the hop to surface 2."""
        system, (R1b, R1d, R1k, *_) = self._system, self._covariances
        users = [(R1k, self._factors[0])] if system.single1 else []
        onward = [(R1d[..., None, :, :], None)] if system.double else []
        moments, K = IDEAL, system.users
        if users or onward:
            moments = self._elements(1)
        return Surface(
            [self._seen(R1b, 1)] if users or onward else [self._missing],
            [*users, *onward] or [(self._missing[None, ...], None)],
            [*(_places(K, R1k) if users else [0] * K), -1],
            moments,
        )

    def surface2(self) -> "Surface":
        """Surface 2 seen from the BS (first) and from surface 1 (last); its user sides are the users'."""
        system, (*_, R2b, R2d, R2k) = self._system, self._covariances
        sides = ([R2b] if system.single2 else []) + ([R2d] if system.double else [])
        hop2, hopD = system.bs_ris2, system.ris1_ris2
        if len(sides) == 2 and hop2 and hopD and hop2.right is hopD.right:
            sides = [R2b]  # one covariance for both hops, as in the published model: half the work
        moments, K = IDEAL, system.users
        if sides:
            moments = self._elements(2)
        return Surface(
            [self._seen(side, 2) for side in sides] or [self._missing],
            [(R2k, self._factors[1])] if sides else [(self._missing[None, ...], None)],
            _places(K, R2k) if sides else [0] * K,
            moments,
        )


class BsTraces:
    """Traces of the BS-side covariances of direct channels (k), of hop 1 (`bs_ris1`) and hop 2 (`bs_ris2`).

    There is a filter L between them, by default the identity.

    Attributes
    ----------
    s1, s2, sk : array, shapes (..., 1) and (..., K)
        tr(RB L).
    c11, c22, c12, c12_imag, ck1, ck2 : array, shapes (..., 1) and (..., K)
        Re tr(RBa L) conj(tr(RBb L)), once also its imaginary part.
    t11, t22, t12, t21, tk1, t1k, tk2, t2k : array, shapes (..., 1) and (..., K)
        tr(RBa L RBb L^H).
    ckj, tkj : array, shape (..., K, K)
        The same of two users' direct channels.
    """

    def __init__(self, RBk: Array, RB1: Array, RB2: Array, L: Array | None = None) -> None:
        RB1, RB2 = RB1[..., None, :, :], RB2[..., None, :, :]
        L = None if L is None else L[..., None, :, :]
        left1, left2, leftk = (RB if L is None else RB @ L for RB in (RB1, RB2, RBk))
        right1, right2, rightk = (RB if L is None else RB @ adjoint(L) for RB in (RB1, RB2, RBk))
        closed = (_trace(left1), _trace(left2), _trace(leftk))
        self.s1, self.s2, self.sk = map(real, closed) if L is None else closed
        s12 = self.s1 * conjugate(self.s2)
        self.c11, self.c22 = real(self.s1 * conjugate(self.s1)), real(self.s2 * conjugate(self.s2))
        self.c12, self.c12_imag = real(s12), imaginary(s12)
        self.ck1, self.ck2 = real(self.sk * conjugate(self.s1)), real(self.sk * conjugate(self.s2))
        self.ckj = real(self.sk[..., :, None] * conjugate(self.sk[..., None, :]))
        self.t11, self.t22 = _trace_product(left1, right1), _trace_product(left2, right2)
        self.t12, self.t21 = _trace_product(left1, right2), _trace_product(left2, right1)
        self.tk1, self.t1k = _trace_product(leftk, right1), _trace_product(left1, rightk)
        self.tk2, self.t2k = _trace_product(leftk, right2), _trace_product(left2, rightk)
        self.tkj = _trace_product(leftk[..., :, None, :, :], rightk[..., None, :, :, :])


class Surface:
    """The covariances on both sides of one surface, and the moments of its elements.

    Parameters
    ----------
    bs_sides : list of array, shape (..., N, N)
        Covariances towards the BS, phase shifts absorbed; first and last may be the same.
    user_sides : list of (array, array or None), shapes (..., j, N, N) and (..., j, N, rank)
        Covariances towards the users, J in all, and their factors where products cost less with them.
    places : list of int
        Where in `user_sides` each row of a result stands: K users share one entry or have their own.
    moments : ElementMoments
        Of its elements.
    """

    def __init__(
        self,
        bs_sides: list[Array],
        user_sides: list[tuple[Array, Array | None]],
        places: list[int],
        moments: ElementMoments,
    ) -> None:
        self.bs_sides, self.user_sides, self.places = bs_sides, user_sides, places
        self.moments = moments

    @property
    def user_matrices(self) -> Array:
        """All covariances towards the users, shape (..., J, N, N)."""
        return stacked([matrices for matrices, _ in self.user_sides])

    def noisy(self) -> tuple[Reflection, Reflection]:
        """Reflections of the first and the last BS side by the elements as they are."""
        return self._reflections(self.moments)

    def nominal(self) -> tuple[Reflection, Reflection]:
        """Reflections of the first and the last BS side as the phase shifts alone would make them."""
        return self._reflections(IDEAL)

    def vector(self, table: Array) -> Array:
        """Give every user the real part of its entry of a table of shape (..., J)."""
        return _taken(real(table), self.places, -1)

    def complex_vector(self, table: Array) -> Array:
        """Give every user its entry of a table of shape (..., J)."""
        return _taken(table, self.places, -1)

    def matrix(self, table: Array) -> Array:
        """Give every pair of users the real part of its entry of a table of shape (..., J, J)."""
        return _taken(_taken(real(table), self.places, -1), self.places, -2)

    @property
    def selection(self) -> Array:
        """1 where a row of a result has that entry of a table, else 0, shape (rows, J)."""
        first, _ = self.user_sides[0]
        xp = array_api_compat.array_namespace(first)
        entries = sum(matrices.shape[-3] for matrices, _ in self.user_sides)
        return _taken(xp.eye(entries, device=array_api_compat.device(first)), self.places, -2)

    def _reflections(self, moments: ElementMoments) -> tuple[Reflection, Reflection]:
        made = [Reflection.of(side, self.user_sides, moments) for side in self.bs_sides]
        return made[0], made[-1]


def _cut(array: Array | None, dimensions: int, part: slice) -> Array | None:
    """Take a part of the first batch axis, of an array that has that axis and varies along it."""
    if array is None or array.ndim < dimensions or array.shape[0] == 1:
        return array
    return array[part, ...]


def _per_user(matrix: Array) -> Array:
    """Matrices with a user axis: (n, m) to (1, n, m)."""
    return matrix[None, ...] if matrix.ndim == 2 else matrix


def _low_rank(hop: UserHop | None) -> Array | None:
    return _per_user(hop.correlation.factor) if hop is not None and hop.correlation.low_rank else None


def _places(users: int, stack: Array) -> list[int]:
    own = stack.shape[-3] == users
    return [k if own else 0 for k in range(users)]


def _steered(covariance: Array, theta: Array) -> Array:
    """Absorb phase shifts: conj(x_m) R_mn x_n with x = exp(j theta)."""
    xp = array_api_compat.array_namespace(covariance, theta)
    x = xp.exp(1j * theta)
    return xp.conj(x)[..., :, None] * covariance * x[..., None, :]


def _trace(matrix: Array) -> Array:
    """Tr X, real if X is."""
    xp = array_api_compat.array_namespace(matrix)
    return xp.sum(xp.linalg.diagonal(matrix), axis=-1)


def _trace_product(left: Array, right: Array) -> Array:
    """Re tr(X Y)."""
    xp = array_api_compat.array_namespace(left, right)
    return real(xp.sum(left * xp.matrix_transpose(right), axis=(-2, -1)))


def _taken(table: Array, places: list[int], axis: int) -> Array:
    xp = array_api_compat.array_namespace(table)
    length = table.shape[axis]
    index = xp.asarray([place % length for place in places], device=array_api_compat.device(table))
    return xp.take(table, index, axis=axis)
