r"""A system with lines of sight as its arrays see it: covariances and rays at both ends of every hop.

With x the entries of a hop at one of its ends and y at the other, its matrix is a sum of rays y x^H and of a
random part with the covariances C_y and C_x. User k's hop has C_k and the ray of its mean.

There are two families of channels: those of the users (0; axis -2 of every result) and those that precoders
are made from (1; axis -1). Channel j of family 1 is the sum of the channels of its members among the users,
then filtered at the BS by L_j, plus a constant c_j: estimates from pilots are that.
"""

import functools
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from channels.coupling import reflection_matrix
from channels.errors import InvalidArgumentError
from channels.fading import Hop, UserHop
from channels.hardware import Hardware
from ris.backend import Array, adjoint, is_complex, real, unify
from ris.element_moments import IDEAL, ElementMoments
from ris.link import batch_shape, check_phases
from ris.system import DoubleRIS, check_coupling
from ris.wick import PATHS, Hops

__all__ = ["End", "Ends", "RicianLink"]

MOST_RAYS = 2
"""Rank of the mean of a hop between arrays up to which closed forms answer.

A mean of rank R takes R^4 times the terms. One of full rank W between surfaces that both have phase noise
leaves the sum over a, b, p, q of W_ab Z_pq D_bp D_bq D*_ap D*_aq, four indices of which every two are joined:
O(N^4), so that such hops are simulated.
"""

PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, eq=False)
class End:
    """One end of a hop.

    Attributes
    ----------
    links : dict of (int, int) to (array, array)
        By the families of the channel that is not and the one that is conjugated, their covariance: a scale
        of shape (..., K or 1, K or 1) and a matrix of shape (..., K or 1, K or 1, n, n).
    rays : tuple of list of array, shape (..., K or 1, K or 1, n)
        For each family.
    """

    links: dict[tuple[int, int], tuple[Array, Array]]
    rays: tuple[list[Array], list[Array]]


@dataclass(frozen=True, eq=False)
class Ends:
    """What the hops are made of, and their ends.

    Attributes
    ----------
    one : array, shape (1, 1)
        The number, in the array type of all others.
    hops : Hops
        For `ris.wick.expectation`.
    bs, surface1, surface2 : tuple of End
        At each array, in the order of the states there.
    """

    one: Array
    hops: Hops
    bs: tuple[End, End, End]
    surface1: tuple[End, End, End]
    surface2: tuple[End, End, End]


NO_END = End({}, ([], []))


class RicianLink:
    """All arrays of one system in one library, complex, with the axes of the users' two families.

    Parameters
    ----------
    system : DoubleRIS
        The system.
    theta1, theta2 : array_like, shapes (..., N1) and (..., N2), radians
        Phase shifts.
    part : slice, optional
        Take these systems alone from the first batch axis.

    Raises
    ------
    InvalidArgumentError
        If the mean of a hop between arrays has a rank above `MOST_RAYS`, or elements with mutual coupling do
        something at random.
    """

    def __init__(self, system: DoubleRIS, theta1: Any, theta2: Any, part: slice | None = None) -> None:
        check_coupling(system)
        paths = [path for path in PATHS.values() if all(getattr(system, hop) is not None for hop in path)]
        self._hops: dict[str, Hop | UserHop] = {hop: getattr(system, hop) for path in paths for hop in path}
        theta1 = check_phases("theta1", theta1, system.elements1)
        theta2 = check_phases("theta2", theta2, system.elements2)
        named: dict[str, tuple[Array, int]] = {"theta1": (theta1, 1), "theta2": (theta2, 1)}
        for name, hop in self._hops.items():
            named |= {f"{name}.{part}": entry for part, entry in _parts(name, hop).items()}
        xp, moved = unify(*(array for array, _ in named.values()))
        batch = batch_shape(system, theta1, theta2)
        if part is not None:
            axes = [len(batch) + own for _, own in named.values()]
            moved = [_cut(array, dimensions, part) for array, dimensions in zip(moved, axes, strict=True)]
            batch = (len(range(*part.indices(batch[0]))), *batch[1:])
        self._arrays = dict(zip(named, map(_as_complex, moved), strict=True))
        self.namespace, self._system = xp, system
        self.batch, self.users, self.antennas = batch, system.users, system.antennas

    @functools.cached_property
    def elements(self) -> tuple[ElementMoments, ElementMoments]:
        """Moments of the elements of both surfaces; of coupled ones, the ends have all that they do."""
        one, two = (
            IDEAL if self._hardware(i).coupling is not None else self._coefficients(i) for i in (1, 2)
        )
        return one, two

    def _hardware(self, surface: int) -> Hardware:
        hardware: Hardware = getattr(self._system, f"hardware{surface}")
        return hardware

    def _coefficients(self, surface: int) -> ElementMoments:
        noise = getattr(self._system, f"phase_noise{surface}")
        return ElementMoments.of(noise, self._hardware(surface), real(self._arrays[f"theta{surface}"]))

    def constant(self, value: Any) -> Array:
        """Return a constant as an array of the kind of all others."""
        like = self._arrays["theta1"]
        values = self.namespace.asarray(
            np.asarray(value, np.complex128), device=array_api_compat.device(like)
        )
        return self.namespace.astype(values, like.dtype)

    def ends(self, members: Any = None, filters: Array | None = None, constants: Array | None = None) -> Ends:
        """Return the ends of all hops.

        Parameters
        ----------
        members : array_like, shape (K, K), optional
            Whether user k (row) is a member of channel j of family 1 (column); by default it is for j = k.
        filters, constants : array, shapes (..., K, M, M) and (..., K, M), optional
            L_j and c_j.
        """
        members = self.constant(np.eye(self.users) if members is None else members)
        direct = self._user_end("bs_user", members, filters)
        if constants is not None:
            own = direct.rays[1]
            constant = constants[..., None, :, :]
            direct = End(direct.links, (direct.rays[0], [own[0] + constant if own else constant]))
        ends = {
            "bs_user": direct,
            **{name: self._user_end(name, members) for name in ("ris1_user", "ris2_user")},
            **{f"{name}.left": self._left_end(name, filters) for name in ("bs_ris1", "bs_ris2")},
            "ris1_ris2.left": self._left_end("ris1_ris2"),
            "bs_ris1.right": self._right_end("bs_ris1", 1),
            "bs_ris2.right": self._right_end("bs_ris2", 2),
            "ris1_ris2.right": self._right_end("ris1_ris2", 2),
        }
        rays = {name: _ray_counts(ends.get(f"{name}.left", ends.get(name, NO_END))) for name in self._hops}
        if constants is not None:
            rays["bs_user"] = _ray_counts(direct)
        return Ends(
            self.constant([[1.0]]),
            Hops(rays, set(self._hops)),
            (ends["bs_ris1.left"], ends["bs_ris2.left"], ends["bs_user"]),
            (ends["bs_ris1.right"], ends["ris1_ris2.left"], ends["ris1_user"]),
            (ends["bs_ris2.right"], ends["ris1_ris2.right"], ends["ris2_user"]),
        )

    def _user_end(self, name: str, members: Array, filters: Array | None = None) -> End:
        """The end of a hop to the users at its array."""
        if name not in self._hops:
            return NO_END
        R, gain = self._arrays[f"{name}.left"], self._arrays[f"{name}.gain"]
        xp, mean = self.namespace, self._arrays.get(f"{name}.mean")
        to_sums = xp.matrix_transpose(members)
        shared = R.shape[-3] == 1
        if shared:
            scales, summed_scales = gain, (to_sums @ gain[..., None])[..., 0]
            summed = R
        else:
            R = gain[..., None, None] * R
            scales = summed_scales = xp.ones_like(gain)
            flat = xp.reshape(R, (*R.shape[:-2], R.shape[-1] ** 2))
            summed = xp.reshape(to_sums @ flat, R.shape)
        own, summed = R[..., :, None, :, :], summed[..., None, :, :, :]
        scales = scales[..., :, None]
        links = {
            (0, 0): (scales, own),
            (0, 1): (scales * members, _filtered(own, None, filters)),
            (1, 0): (scales * members, _filtered(own, filters, None)),
            (1, 1): (summed_scales[..., None, :], _filtered(summed, filters, filters)),
        }
        if mean is None:
            return End(links, ([], []))
        return End(links, ([mean[..., :, None, :]], [_turned((to_sums @ mean)[..., None, :, :], filters)]))

    def _left_end(self, name: str, filters: Array | None = None) -> End:
        """The end of a hop between arrays nearer to the BS; the gain of the hop is counted here."""
        if name not in self._hops:
            return NO_END
        R = self._arrays[f"{name}.left"][..., None, None, :, :]
        gain = self._arrays[f"{name}.gain"][..., None, None]
        links = {
            (p, q): (gain, _filtered(R, filters if p else None, filters if q else None)) for p, q in PAIRS
        }
        rays = self._rays(f"{name}.mean.left")
        return End(links, (rays, [_turned(ray, filters) for ray in rays]))

    def _right_end(self, name: str, surface: int) -> End:
        """The end of a hop between arrays nearer to the users.

        What is certain of the surface there is absorbed: the phase shifts or, elements coupled, all of T.
        """
        if name not in self._hops:
            return NO_END
        xp, right, rays = self.namespace, self._arrays[f"{name}.right"], self._rays(f"{name}.mean.right")
        x = xp.exp(1j * self._arrays[f"theta{surface}"])
        coupling = self._hardware(surface).coupling
        if coupling is None:
            steered = xp.conj(x)[..., :, None] * right * x[..., None, :]
            rays = [xp.conj(ray) * x[..., None, None, :] for ray in rays]
        else:
            T = reflection_matrix(x * self._coefficients(surface).mean, coupling)
            steered = adjoint(T) @ right @ T
            rays = [xp.conj(ray) @ T[..., None, :, :] for ray in rays]
        R = xp.matrix_transpose(steered)[..., None, None, :, :]
        return End(dict.fromkeys(PAIRS, (self.constant([[1.0]]), R)), (rays, rays))

    def _rays(self, name: str) -> list[Array]:
        side = self._arrays.get(name)
        return [] if side is None else [side[..., None, None, :, i] for i in range(side.shape[-1])]


def _parts(name: str, hop: Hop | UserHop) -> dict[str, tuple[Array, int]]:
    """Arrays of a hop, each with the number of axes that are no batch axes."""
    if isinstance(hop, UserHop):
        R = hop.correlation.matrix
        mean = {} if hop.mean is None else {"mean": (hop.mean, 2)}
        return {"gain": (hop.gain, 1), "left": (R[None, ...] if R.ndim == 2 else R, 3), **mean}
    parts = {"gain": (hop.gain, 0), "left": (hop.left.matrix, 2), "right": (hop.right.matrix, 2)}
    if hop.mean is None:
        return parts
    if hop.mean.rank > MOST_RAYS:
        raise InvalidArgumentError(
            name,
            f"a mean of rank {MOST_RAYS} at most for closed forms (rank R: R^4 times the terms)",
            f"rank {hop.mean.rank}",
        )
    return parts | {"mean.left": (hop.mean.left, 2), "mean.right": (hop.mean.right, 2)}


def _cut(array: Array, dimensions: int, part: slice) -> Array:
    """Take a part of the first batch axis, of an array that has that axis and varies along it."""
    return array if array.ndim < dimensions or array.shape[0] == 1 else array[part, ...]


def _as_complex(array: Array) -> Array:
    return array if is_complex(array) else array + 0j


def _filtered(R: Array, left: Array | None, right: Array | None) -> Array:
    """L R L^H with a filter of family 1, or none, at either side."""
    R = R if left is None else left[..., None, :, :, :] @ R
    return R if right is None else R @ adjoint(right)[..., None, :, :, :]


def _turned(ray: Array, filters: Array | None) -> Array:
    """L times a vector of family 1."""
    return ray if filters is None else (filters[..., None, :, :, :] @ ray[..., None])[..., 0]


def _ray_counts(end: End) -> tuple[int, ...]:
    return tuple(len(rays) for rays in end.rays)
