r"""First and second moments of channels with lines of sight, on surfaces of any size.

The sums over paths and pairings of `ris.wick` for the slots (h_k, h_j^*), where a surface meets at most one
covariance on either side. With T the reflection matrix that h_k meets and T' that of h_j it leaves

    E tr(A T B T'^H) = tr(A E T B E T'^H) + sum_n s_n A_nn B_nn,

where A and B are covariances or products of two rays, and s_n is the variance of the coefficient of element
n. Only a covariance meets vectors, never its matrix, but at surfaces with mutual coupling.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation
from channels.fading import Hop, UserHop
from ris.correlations import diagonal, each, times
from ris.mean_surface import MeanSurface, Seen, mean_surfaces, turned, turned_back
from ris.system import DoubleRIS
from ris.wick import PATHS, Hops, Slot, State, expectation

__all__ = ["rician_second_moments"]

Complex = NDArray[np.complex128]


def rician_second_moments(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], seen: Seen = "perfect"
) -> tuple[Complex, Complex]:
    """Return E h_k, shape (K, M), and E h_k g_j^H, shape (K, K, M, M); g_j is h_j, or sees less of it.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    seen : {"perfect", "nominal", "mixed"}
        Whether phase noise and hardware act in both channels, in neither, or in h_k alone.

    Notes
    -----
    O(N^2), and O(N log N) without a matrix where the covariances at a surface belong to one grid.
    """
    paths = [path for path in PATHS.values() if all(getattr(system, hop) is not None for hop in path)]
    hops: dict[str, Hop | UserHop] = {hop: getattr(system, hop) for path in paths for hop in path}
    left = {name: _left_end(hop) for name, hop in hops.items()}
    right = {name: _right_end(hop) for name, hop in hops.items() if isinstance(hop, Hop)}
    rays = {name: (len(end.rays),) * 2 for name, end in left.items()}
    one, two = mean_surfaces(system, theta1, theta2, seen)
    surface1 = functools.partial(
        _surface, one, [right.get("bs_ris1")], [left.get("ris1_ris2"), left.get("ris1_user")]
    )
    surface2 = functools.partial(
        _surface, two, [right.get("bs_ris2"), right.get("ris1_ris2")], [left.get("ris2_user")]
    )
    bs = functools.partial(_bs, [left.get(name) for name in ("bs_ris1", "bs_ris2", "bs_user")])
    M, K = system.antennas, system.users
    means = np.zeros((K, 1, 1, 1), np.complex128) + expectation(
        [Slot(False, 0)], Hops(rays, set(hops)), bs, surface1, surface2
    )
    products = np.zeros((K, K, M, M), np.complex128) + expectation(
        [Slot(False, 0), Slot(True, 1)], Hops(rays, set(hops)), bs, surface1, surface2
    )
    return np.broadcast_to(means, (K, 1, 1, M))[:, 0, 0], products


@dataclass(frozen=True, eq=False)
class _End:
    """One end of a hop.

    Attributes
    ----------
    covariances : list of Correlation
        One for all users, or the own of each.
    gains : ndarray, shape (1,) or (K,)
        What they are scaled by.
    rays : list of ndarray, shape (1 or K, n)
        For all users, or the own of each.
    own : bool
        Whether the end is of a hop to the users, whose random parts are independent.
    """

    covariances: list[Correlation]
    gains: NDArray[np.float64]
    rays: list[Complex]
    own: bool = False

    def pairs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give every pair of users the values, shape (1 or K, ...), of its covariance; shape (K, K, ...)."""
        scaled = self.gains.reshape(-1, *[1] * (values.ndim - 1)) * values
        if not self.own:
            return np.asarray(scaled[:, None])
        spread = np.zeros((len(self.gains), *scaled.shape), values.dtype)
        spread[np.arange(len(self.gains)), np.arange(len(self.gains))] = scaled
        return spread


def _left_end(hop: Hop | UserHop) -> _End:
    """The end nearer to the BS; the gain of the hop is counted here."""
    if isinstance(hop, UserHop):
        means = [] if hop.mean is None else [np.asarray(hop.mean, np.complex128)]
        return _End(each(hop), np.asarray(hop.gain), means, own=True)
    columns = [] if hop.mean is None else [column[None, :] + 0j for column in hop.mean.left.T]
    return _End([hop.left], np.reshape(hop.gain, 1), columns)


def _right_end(hop: Hop) -> _End:
    columns = [] if hop.mean is None else [column[None, :] + 0j for column in hop.mean.right.T]
    return _End([hop.right], np.ones(1), columns)


def _found(ends: Sequence[_End | None], states: Sequence[State]) -> tuple[_End | None, dict[int, Complex]]:
    """Return the end at which the slots are paired, if they are, and the rays of those that are not."""
    paired, rays = None, {}
    for end, state in zip(ends, states, strict=True):
        for slot, partner in enumerate(state):
            if end is None or partner is None:
                continue
            if partner >= 0:
                paired = end
            else:
                rays[slot] = end.rays[-1 - partner]
    return paired, rays


def _bs(ends: Sequence[_End | None], *states: State) -> NDArray[Any]:
    """Part of the BS, shape (1 or K, 1 or K, M or 1, M)."""
    paired, rays = _found(ends, states)
    if paired is not None:
        return paired.pairs(np.stack([np.asarray(R) for R in paired.covariances]))
    if len(states[0]) == 1:
        return rays[0][:, None, None, :]
    return np.asarray(rays[0][:, None, :, None] * rays[1].conj()[None, :, None, :])


def _surface(
    surface: MeanSurface, left: Sequence[_End | None], right: Sequence[_End | None], *states: State
) -> NDArray[Any]:
    """Part of a surface, shape (1 or K, 1 or K, 1, 1); `left` are the ends of hops towards the BS."""
    A, b = _found(left, states[: len(left)])
    B, w = _found(right, states[len(left) :])
    T, s = (surface.first, surface.second), surface.variance
    value: NDArray[Any]
    if A is not None and B is not None:
        (R,) = A.covariances
        known = {
            id(own): surface.reflected(R, own) for own in {id(own): own for own in B.covariances}.values()
        }
        value = B.pairs(np.array([known[id(own)] for own in B.covariances]))
    elif A is not None:
        (R,) = A.covariances
        value = times(R, turned(T[0], w[0]).T).T @ turned(T[1], w[1]).conj().T
        value = value + (w[0] * s * diagonal(R)) @ w[1].conj().T
    elif B is not None:
        ends = turned_back(T[0], b[0]), turned_back(T[1], b[1])
        forms = [
            ends[0].conj() @ times(R, ends[1].T) + (b[0].conj() * s * diagonal(R)) @ b[1].T
            for R in B.covariances
        ]
        value = B.pairs(np.array(forms)[:, 0, 0])
    else:
        amplitudes = {slot: np.sum(b[slot].conj() * turned(T[slot], w[slot]), axis=-1) for slot in b}
        value = np.ones((1, 1), np.complex128)
        value = value if 0 not in b else value * amplitudes[0][:, None]
        value = value if 1 not in b else value * amplitudes[1].conj()[None, :]
        if len(b) == 2:
            value = value + (w[0] * b[0].conj() * s * b[1]) @ w[1].conj().T
    return np.asarray(value)[..., None, None]
