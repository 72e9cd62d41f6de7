r"""Phase shifts that maximise the mean gain, proved where they can be, and simple ones to compare with.

The mean gain of user k over all fading and phase noise is (`ris.moments`)

    E|h_k|^2 = a_k tr RBk + b_k tr RB1 T(R1b, R1k) + c_k tr RB2 T(R2b, R2k)
             + d_k tr RB1 T(R1b, R1d) T(R2d, R2k)

with T(A, B) = E tr(A Th B Th^H) = mu^2 v^H S v + s tr S, S = A o B^T (element by element) and
v = exp(j theta) of that surface, and mu the mean and s the variance of what its elements add (phase noise,
failures), all alike. S is positive semidefinite, all weights are >= 0, and so is every T.

Closed form. v^H S v <= sum_mn |S_mn|, with equality if and only if S_mn = v_m conj(v_n) |S_mn| for all m, n.
So if the matrices S of all pairs (A, B) at a surface share one vector c of unit-modulus entries with
S_mn = c_m conj(c_n) |S_mn|, then theta = arg c maximises every T of that surface at once, hence the mean gain
of every user, for any subset of the paths, any gains and any law of phase noise. Correlation that is real and
non-negative after the product (isotropic on both sides of the same surface, exponential) has c = 1: equal
phases. Small-angle local scattering around a_in and a_out has c = conj(a_out) o a_in, the steering phases.
An S without entries off its diagonal (uncorrelated fading) does not depend on the phases.

Otherwise. The sum over users is f1(v1) + f2(v2) + g1(v1) g2(v2) + constant with quadratic forms f and g of
positive semidefinite matrices. Given the phases of the other surface it is v^H S v + constant with S >= 0,
convex and so above its tangents: v^H S v >= 2 Re(v^H S v') - v'^H S v'. The best v for the tangent at v',
exp(j arg(S v')), therefore never lowers the sum (minorise and maximise), and the steps alternate over the
surfaces. The best of several ascents is a local maximum. How far it can be from the global one follows from
T <= mu^2 min(sum |S_mn|, N lambda_max(S)) + s tr S.

Lines of sight add terms linear in each v and products of paths: the same ascent, on the forms of
`ris.rician_phases`, without a certificate and without a bound.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csgraph

from channels.blas import one_blas_thread
from channels.checks import as_array, finite, frozen, integer, real
from channels.errors import InvalidArgumentError
from channels.phase_noise import UniformNoise
from channels.streams import Stream
from ris.element_moments import ElementMoments
from ris.link import Link, Surface
from ris.montecarlo import as_stream
from ris.rician_phases import RicianGain
from ris.system import DoubleRIS, check_designable

__all__ = [
    "MeanGain",
    "PhaseDesign",
    "check_bits",
    "optimal_phases",
    "quantize_phases",
    "random_phases",
    "steered_phases",
    "uniform_phases",
]

TIGHT = 1e-9
"""A design is certified if every v^H S v is within this of sum |S_mn|, relative: rounding, not geometry."""

RANDOM_STARTS = 16
"""Ascents from random phases, the same in every design, besides the two from the tree and the eigenvectors.
Those two can share a symmetry of the surface, which the ascent keeps: then they end on a saddle."""

RICIAN_STARTS = 4
"""Ascents from random phases with lines of sight, besides one from equal phases."""

SCREENING, POLISH = 1e-5, 1e-9
"""All ascents stop when ROUND sweeps over the surfaces raise no mean gain by more than the first, relative;
the best goes on until they raise it by less than the second."""

ROUND, MOST_ROUNDS = 10, 1000


@dataclass(frozen=True, eq=False)
class PhaseDesign:
    """Phase shifts for the mean gain, and what is known about them. Iterates to theta1, theta2.

    Attributes
    ----------
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts of the two surfaces, within [-pi, pi].
    certified : bool
        Whether they are proved to maximise the mean gain of every user that they were designed for.
    statement : str
        What is proved and why, or why no closed form applies.
    gap : float
        Proved: no phases have a mean gain, summed over those users, above 1 / (1 - gap) of this one's; 1 if
        no bound is known.
    """

    theta1: NDArray[np.float64]
    theta2: NDArray[np.float64]
    certified: bool
    statement: str
    gap: float

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return iter((self.theta1, self.theta2))


def optimal_phases(system: DoubleRIS) -> PhaseDesign:
    """Phase shifts that maximise the mean gain E|h_k|^2 of all users, in closed form where there is one.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays.

    Returns
    -------
    PhaseDesign
        ``theta1, theta2 = optimal_phases(system)``. Certified: the global maximum for every user at once.
        Not certified: a local maximum of the sum over users, by a monotone ascent; so always with lines of
        sight. Phases that the mean gain
        does not depend on are zero.

    Raises
    ------
    InvalidArgumentError
        If the system has batch axes or arrays of another library, or the elements of a surface are not alike
        (`check_designable`).

    Notes
    -----
    The mean gain is not the rate: with several users the interference also depends on the phases, and
    `ris.design_phases` may do better. For the derivation see the module.
    """
    check_designable(system)
    return _design(system, np.ones(system.users), "all users")


def steered_phases(system: DoubleRIS, user: int) -> PhaseDesign:
    """Phase shifts that maximise the mean gain of one user, as if it were alone.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays.
    user : int
        Its number, 0 to K - 1.

    Returns
    -------
    PhaseDesign
        As from `optimal_phases`.

    Raises
    ------
    InvalidArgumentError
        As for `optimal_phases`, and if there is no such user.
    """
    check_designable(system)
    if integer("user", user, minimum=0) >= system.users:
        raise InvalidArgumentError("user", f"a number below K = {system.users}", repr(user))
    return _design(system, np.arange(system.users) == user, f"user {user}")


def uniform_phases(elements: int) -> NDArray[np.float64]:
    """Return equal phase shifts, all zero, shape (elements,)."""
    return np.zeros(integer("elements", elements, minimum=0))


def random_phases(elements: int, seed: int | Stream) -> NDArray[np.float64]:
    """Draw phase shifts, independent and uniform on [-pi, pi).

    Parameters
    ----------
    elements : int
        Number of elements, >= 0.
    seed : int or Stream
        The same phases for the same seed: give each surface a stream of its own, as in
        ``Stream(seed, "surface 1")``.

    Returns
    -------
    ndarray, shape (elements,)
        Radians.
    """
    if integer("elements", elements, minimum=0) == 0:
        return np.zeros(0)
    return UniformNoise(np.pi).sample(elements, 1, as_stream(seed).child("phase shifts")).reshape(elements)


def quantize_phases(theta: ArrayLike, bits: int) -> NDArray[np.float64]:
    """Round phase shifts to the nearest of the 2^bits levels 2 pi m / 2^bits.

    Parameters
    ----------
    theta : array_like, any shape, radians
        Phase shifts.
    bits : int
        Resolution, 1 to 32.

    Returns
    -------
    ndarray, shape of `theta`
        Levels within [-pi, pi), m = -2^(bits - 1) .. 2^(bits - 1) - 1. A phase half-way between two levels
        goes to the one of even m.

    Raises
    ------
    InvalidArgumentError
        If a phase is not finite and real, or `bits` is no whole number from 1 to 32.
    """
    phases = np.asarray(real("theta", finite("theta", as_array("theta", theta))))
    half = 2 ** (check_bits(bits) - 1)
    levels = np.mod(np.rint(phases * (half / np.pi)) + half, 2 * half) - half
    return np.asarray(levels * (np.pi / half))


def check_bits(bits: int) -> int:
    """Return a resolution of 1 to 32 bits."""
    if integer("bits", bits, minimum=1) > 32:
        raise InvalidArgumentError("bits", "an integer from 1 to 32", repr(bits))
    return int(bits)


@dataclass(frozen=True, eq=False)
class _Forms:
    """The quadratic forms of one surface in the mean gain, summed over the users of the design.

    Attributes
    ----------
    pairs : list of array, shape (N, N)
        S of every pair of covariances in play.
    single, double : array, shape (N, N)
        Weighted sums of S: for the single reflection, and for the surface's factor of the double one.
    moments : ElementMoments
        Of the elements, all alike.
    """

    pairs: list[NDArray[Any]]
    single: NDArray[Any]
    double: NDArray[Any]
    moments: ElementMoments

    @classmethod
    def of(cls, surface: Surface, elements: int, single: NDArray[Any], double: NDArray[Any]) -> "_Forms":
        """Take weights of the user-side covariances, shape (J,), for the first and the last BS side."""
        B = surface.user_matrices
        terms = [(surface.bs_sides[0], single), (surface.bs_sides[-1], double)]
        pairs = [A * B[j].T for A, weights in terms for j in np.flatnonzero(weights)]
        # A surface on no path comes as a single zero, whatever its number of elements.
        sums = (
            np.broadcast_to(A * np.tensordot(weights, B, axes=1).T, (elements, elements))
            for A, weights in terms
        )
        return cls([S for S in pairs if S.any()], next(sums), next(sums), surface.moments)

    @property
    def elements(self) -> int:
        """Number of elements N."""
        return len(self.single)

    def mean(self, S: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
        """mu^2 v^H S v + s tr S, of one v or of every column."""
        return self.noisy(S, _form(S, v))

    def ceiling(self, S: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
        """Return a bound on `mean` over all v, given the best v known."""
        bound = float(np.abs(S).sum())
        if not _tight(S, v):
            largest = scipy.linalg.eigvalsh(S, subset_by_index=[len(S) - 1] * 2)[0]
            bound = min(bound, len(S) * float(largest))
        return self.noisy(S, np.asarray(bound))

    def noisy(self, S: NDArray[Any], form: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the elements make of v^H S v on average, at values of this form."""
        return np.asarray(self.moments.mean**2 * form + self.moments.variance * np.trace(S).real)


class MeanGain:
    """The mean gain, summed over some users, as a function of v1 = exp(j theta1) and v2 = exp(j theta2)."""

    def __init__(self, system: DoubleRIS, chosen: NDArray[Any]) -> None:
        link = Link(system, np.zeros(system.elements1), np.zeros(system.elements2))
        one, two, bs = link.surface1(), link.surface2(), link.bs
        d = chosen * link.d
        self.direct = float(np.sum(chosen * link.a * bs.sk))
        self.surfaces = (
            _Forms.of(
                one,
                system.elements1,
                chosen * link.b * bs.s1 @ one.selection[:-1],
                bs.s1 * np.any(d) @ one.selection[-1:],
            ),
            _Forms.of(
                two,
                system.elements2,
                chosen * link.c * bs.s2 @ two.selection,
                d @ two.selection,
            ),
        )

    def value(self, v: "_Phasors") -> NDArray[np.float64]:
        """Return the sum of the mean gains, for one v1 and v2 or for every column."""
        return self._sum(v, _Forms.mean)

    def ceiling(self, v: "_Phasors") -> float:
        """Return what no phases exceed, given the best phases known."""
        return float(self._sum(v, _Forms.ceiling))

    def weight(self, v: "_Phasors", i: int) -> NDArray[np.float64]:
        """Return what the other surface contributes to the double reflection, seen from number i."""
        other = self.surfaces[1 - i]
        return other.mean(other.double, v[1 - i])

    def _sum(
        self, v: "_Phasors", f: Callable[[_Forms, NDArray[Any], NDArray[Any]], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        (one, two), (v1, v2) = self.surfaces, v
        singles = f(one, one.single, v1) + f(two, two.single, v2)
        return self.direct + singles + f(one, one.double, v1) * f(two, two.double, v2)


_Phasors = tuple[NDArray[np.complex128], NDArray[np.complex128]]


def _design(system: DoubleRIS, chosen: NDArray[Any], whom: str) -> PhaseDesign:
    """Design for the chosen users, shape (K,), 1 or 0."""
    with one_blas_thread():  # the same phases for any number of threads
        if system.line_of_sight:
            return _rician_design(RicianGain(system, chosen), whom)
        return _designed(MeanGain(system, chosen), whom)


def _rician_design(gain: RicianGain, whom: str) -> PhaseDesign:
    """Ascend from equal and from random phases, and take the best end."""
    stream = Stream(0, "ascent of the mean gain")
    streams = [stream.child(f"surface {i + 1}") for i in (0, 1)]
    one, two = gain.elements
    starts: list[_Phasors] = [(np.ones(one, np.complex128), np.ones(two, np.complex128))]
    for number in range(RICIAN_STARTS):
        theta1, theta2 = (
            random_phases(one, streams[0].child(number)),
            random_phases(two, streams[1].child(number)),
        )
        starts.append((np.exp(1j * theta1), np.exp(1j * theta2)))
    ends = [_rician_ascent(gain, start, SCREENING) for start in starts]
    v1, v2 = _rician_ascent(gain, max(ends, key=gain.value), POLISH)
    statement = (
        f"A local optimum of the mean gain of {whom} in sum, the best of {len(starts)} monotone ascents. "
        "With lines of sight no closed form applies, and no bound is proved."
    )
    return PhaseDesign(frozen(np.angle(v1)), frozen(np.angle(v2)), False, statement, 1.0)


def _rician_ascent(gain: RicianGain, start: "_Phasors", tolerance: float) -> "_Phasors":
    """Minorise and maximise, some steps at each surface in turn."""
    v, value = start, gain.value(start)
    for _ in range(MOST_ROUNDS):
        for i in (0, 1):
            S, slope = gain.form(i, v)
            stepped = v[i]
            for _ in range(ROUND):
                stepped = _phasors(S @ stepped + slope, stepped)
            v = (stepped, v[1]) if i == 0 else (v[0], stepped)
        before, value = value, gain.value(v)
        if value <= (1 + tolerance) * before:
            break
    return v


def _designed(gain: MeanGain, whom: str) -> PhaseDesign:
    (v1, groups1), (v2, groups2) = (_spanning_phasors(surface) for surface in gain.surfaces)
    v = v1, v2
    proved = [all(_tight(S, v[i]) for S in gain.surfaces[i].pairs) for i in (0, 1)]
    if not all(proved):
        free = [i for i in (0, 1) if not proved[i]]
        ends = _ascended(gain, _starts(gain, v, free), free, SCREENING)
        best = np.argmax(gain.value(ends))
        v = _ascended(gain, (ends[0][:, best], ends[1][:, best]), free, POLISH)
    ceiling = gain.ceiling(v)
    gap = max(0.0, 1 - float(gain.value(v)) / ceiling) if ceiling > 0 else 0.0
    theta1, theta2 = (frozen(np.angle(phasors)) for phasors in v)
    statement = _statement(whom, proved, max(groups1, groups2) > 1, gap)
    return PhaseDesign(theta1, theta2, all(proved), statement, gap)


def _spanning_phasors(surface: _Forms) -> tuple[NDArray[np.complex128], int]:
    """Return c with S_mn = c_m conj(c_n) |S_mn| on a spanning tree of strong entries, and the group count.

    A group holds the elements that non-zero entries connect; its first element has phase 0. If any c suits
    all pairs, it suits their sum, in which then no two entries cancel, and this finds it.
    """
    N = surface.elements
    total = np.zeros((N, N), np.complex128)
    for S in surface.pairs:
        total += S / S.diagonal().real.max()  # the largest entry of a semidefinite matrix is on its diagonal
    size = np.abs(total)
    floor = N * np.finfo(float).eps * size.max(initial=0.0)
    # Costs 1 to 2, least for the strongest; zero means no edge. A node 0 joins the groups by edges of cost 3.
    cost = np.zeros((N + 1, N + 1))
    cost[0, 1:] = 3.0
    cost[1:, 1:] = np.where(size > floor, 2 - size / size.max(initial=floor or 1.0), 0.0)
    tree = csgraph.minimum_spanning_tree(cost)
    order, parents = csgraph.breadth_first_order(tree, 0, directed=False)
    c = np.ones(N + 1, np.complex128)
    for node in order[1:]:
        parent = parents[node]
        if parent > 0:
            link = total[node - 1, parent - 1]
            c[node] = c[parent] * link / abs(link)
    return c[1:], int(np.sum(parents[1:] == 0))


def _starts(gain: MeanGain, v: _Phasors, free: list[int]) -> _Phasors:
    """Columns to start from: at the surfaces `free` v, principal eigenvectors, random ones; else v alone."""

    def columns(i: int) -> NDArray[np.complex128]:
        if i not in free:
            return np.tile(v[i][:, None], (1, 2 + RANDOM_STARTS))
        surface = gain.surfaces[i]
        S = surface.single + gain.weight(v, i) * surface.double
        _, vectors = scipy.linalg.eigh(S, subset_by_index=[len(S) - 1] * 2)
        stream = Stream(0, "ascent of the mean gain", f"surface {i + 1}")
        random = UniformNoise(np.pi).sample(len(S), RANDOM_STARTS, stream)
        return np.stack([v[i], _phasors(vectors[:, 0], v[i]), *np.exp(1j * random)], axis=1)

    return columns(0), columns(1)


def _ascended(gain: MeanGain, start: _Phasors, free: list[int], tolerance: float) -> _Phasors:
    """Minorise and maximise at the surfaces `free` in turn, in every column of the start."""
    v, value = start, gain.value(start)
    for _ in range(MOST_ROUNDS):
        for _ in range(ROUND):
            for i in free:
                v = _stepped(gain, v, i)
        before, value = value, gain.value(v)
        if np.all(value <= (1 + tolerance) * before):
            break
    return v


def _stepped(gain: MeanGain, v: _Phasors, i: int) -> _Phasors:
    """Replace the phasors of surface i + 1 by exp(j arg(S v)), given those of the other."""
    surface = gain.surfaces[i]
    stepped = _phasors(surface.single @ v[i] + gain.weight(v, i) * (surface.double @ v[i]), v[i])
    return (stepped, v[1]) if i == 0 else (v[0], stepped)


def _phasors(vector: NDArray[Any], otherwise: NDArray[Any]) -> NDArray[np.complex128]:
    """exp(j arg) of each entry; where an entry is zero, any phase does as well as the one given."""
    size = np.abs(vector)
    return np.where(size > 0, vector / np.where(size > 0, size, 1.0), otherwise)


def _form(S: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
    """v^H S v of a Hermitian S, for one v or for every column."""
    return np.asarray(np.sum(v.conj() * (S @ v), axis=0).real)


def _tight(S: NDArray[Any], v: NDArray[Any]) -> bool:
    """Whether v^H S v attains its bound, the sum of all |S_mn|."""
    return bool(_form(S, v) >= (1 - TIGHT) * np.abs(S).sum())


def _statement(whom: str, proved: list[bool], groups: bool, gap: float) -> str:
    if all(proved):
        free = (
            " Groups of elements uncorrelated with each other have a free common phase each."
            if groups
            else ""
        )
        return (
            f"Globally optimal for the mean gain of {whom}, for any law of phase noise: for every pair of "
            "covariances A and B at a surface, A_mn B_nm is non-negative up to the phases exp(j(theta_m - "
            f"theta_n)), so that these phases align all terms at once.{free}"
        )
    where = " and ".join(f"surface {i + 1}" for i in (0, 1) if not proved[i])
    return (
        f"A local optimum of the mean gain of {whom} in sum, the best of {2 + RANDOM_STARTS} monotone "
        f"ascents. No closed form applies: at {where} no phases align the terms A_mn B_nm of every pair of "
        "covariances A and B at once. "
        f"Proved: no phases exceed this sum by more than {100 * gap / (1 - gap):.3g} %."
    )
