"""Phase shifts that maximise a closed-form objective: every method behind one interface.

From the simplest to the most thorough:

closed_form       `ris.optimal_phases`: maximises the mean gain summed over the users.
steering          `ris.steered_phases` towards one user, the one for whom the objective comes out best.
random            Phase shifts drawn at random.
gradient          Riemannian L-BFGS ascent over both surfaces (`ris.ascent`), from several starts.
alternating       The same ascent over one surface and then the other, in turns.
coordinate        Elements one by one take their best level (`ris.coordinate`); b-bit phases.
branch_and_bound  The best levels, proved (`ris.branch_and_bound`); b-bit phases of small surfaces.

Ascents of the smallest rate climb the smoothed minimum of `ris.objectives` in stages and end each at the
iterate of the largest true minimum; the history, of the largest true minima so far, never falls.
"""

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.checks import frozen, integer, non_negative, one_of, positive
from channels.errors import InvalidArgumentError
from channels.phase_noise import UniformNoise
from channels.streams import Stream
from ris.ascent import Ascent, Climb, ascend
from ris.bounds import RateCeiling, mean_gain_ceilings
from ris.branch_and_bound import Search, branch_and_bound
from ris.coordinate import coordinate_ascent
from ris.gradient import Angles, Powers, UserValues
from ris.link import check_phases
from ris.moments import closed_form_moments
from ris.montecarlo import as_stream
from ris.objectives import Goal
from ris.options import DesignMethod, Objective
from ris.phases import (
    MeanGain,
    check_bits,
    optimal_phases,
    quantize_phases,
    steered_phases,
)
from ris.rates import rate_from_moments
from ris.system import DoubleRIS, check_arrays, each_system

__all__ = ["Design", "design_phases"]

SCREENING = 20
"""Iterations that every start gets; the best start goes on."""

TURN = 20
"""Iterations at one surface before the other has its turn."""

PART_BYTES = 2**28
"""A batch is designed in parts whose forms take about this much memory."""


NODES_PER_ITERATION = 10_000

MISMATCH = 1e-4
"""Relative difference of an objective from its closed form that cannot come from factors and rounding."""

Array = NDArray[np.float64]

Turns = list[tuple[int, ...]]
"""Surfaces, 0 and 1, that an ascent moves together, one turn after the other."""


@dataclass(frozen=True, eq=False)
class Design:
    """Phase shifts, and what is known about them. Leading axes (...) are the batch axes of the system.

    Attributes
    ----------
    theta1, theta2 : ndarray, shapes (..., N1) and (..., N2), radians
        Phase shifts of the two surfaces, within [-pi, pi].
    rate : ndarray, shape (..., K)
        Hardening bound of each user at these phases, perfect CSI, bit/s/Hz.
    value : ndarray, shape (...)
        The objective.
    bound : ndarray, shape (...)
        What the objective cannot exceed at any phase shifts, proved; after a complete branch and bound, at
        any of its levels. See `ris.bounds`: loose for the rates of several users.
    history : ndarray, shape (..., iterations + 1)
        The objective from the start on, never falling; with `bits`, before and after rounding, which may
        cost. Systems that end before others repeat their last value.
    converged : ndarray of bool, shape (...)
        Whether the method came to its end: ascents, to a local maximum within the tolerance; branch and
        bound, to a proof.
    evaluations : int
        Evaluations of the objective, each of all systems of a part and all starts; of branch and bound,
        nodes.
    seconds : float
        Time that the design took.
    """

    theta1: Array
    theta2: Array
    rate: Array
    value: Array
    bound: Array
    history: Array
    converged: NDArray[np.bool_]
    evaluations: int
    seconds: float


def design_phases(
    system: DoubleRIS,
    *,
    power: float,
    noise_power: float,
    method: DesignMethod = "gradient",
    objective: Objective = "sum_rate",
    bits: int | None = None,
    starts: int = 2,
    seed: int | Stream = 0,
    theta1: ArrayLike | None = None,
    theta2: ArrayLike | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> Design:
    """Design phase shifts from the statistics of a system, for maximum-ratio transmission with perfect CSI.

    Parameters
    ----------
    system : DoubleRIS
        Of NumPy arrays. A batch of systems is designed together.
    power, noise_power : float
        Total transmit power (>= 0) and noise power at a user (> 0), linear, in the same unit.
    method : str
        See `ris.optimize`. "coordinate" and "branch_and_bound" need `bits`.
    objective : {"sum_rate", "min_rate", "mean_gain"}
        Sum or minimum over the users of their hardening bounds, or the sum of their mean gains E|h_k|^2.
    bits : int, optional
        Resolution of the surfaces, 1 to 32; by default continuous. The ascents are rounded and then refined
        by coordinate ascent, the simple designs rounded.
    starts : int
        Random starts of "gradient", "alternating" and "coordinate", >= 0, besides the designs "closed_form"
        and "steering". Every start has 20 iterations, then the best goes on; "coordinate" takes all to their
        ends.
    seed : int or Stream
        Of the random phase shifts.
    theta1, theta2 : array_like, shapes (..., N1) and (..., N2), radians, optional
        A start instead of the two designs; one of the two is completed by the closed form.
    tolerance : float
        An ascent ends when five iterations improve the objective by less than this, relative, > 0.
    max_iterations : int
        Iterations of an ascent, or rounds over all elements, at most, >= 1; branch and bound opens 10,000
        times as many nodes at most.

    Returns
    -------
    Design
        Of the methods that start somewhere, never worse than any of their starts (rounded to `bits`).

    Raises
    ------
    InvalidArgumentError
        On bad arguments, a system with arrays of another library, or one with hardware, interference or
        lines of sight (`check_phase_noise_alone`).

    Notes
    -----
    The same design for the same seed and any number of threads. An evaluation with its gradient costs
    O(K^2 N^2 + K N rank^2), after O(K^2 N^3) once; memory for about 6 K^2 complex N x N matrices.
    """
    begin = time.perf_counter()
    check_arrays(system, "design phases for")
    one_of("method", method, DesignMethod)
    goal = Goal(one_of("objective", objective, Objective))
    powers = Powers(power=non_negative("power", power), noise_power=positive("noise_power", noise_power))
    integer("starts", starts, minimum=0)
    positive("tolerance", tolerance)
    integer("max_iterations", max_iterations, minimum=1)
    if bits is not None:
        check_bits(bits)
    elif method in ("coordinate", "branch_and_bound"):
        raise InvalidArgumentError("bits", f"a resolution with method = {method!r}", "None")
    batch, systems = system.batch_shape, each_system(system)
    given = _given(system, systems, theta1, theta2)
    random = _random_starts(system, max(starts, 1), as_stream(seed))
    found = []
    for part, rows in _parts(system):
        values = UserValues(system, None if objective == "mean_gain" else powers, part)
        designer = _Designer(
            values, systems[rows], goal, powers, bits, random[:starts], tolerance, max_iterations
        )
        found.append(designer.design(method, random[0], None if given is None else given[rows]))
    theta = np.concatenate([part.theta for part in found])
    history = _aligned([lane for part in found for lane in part.history])
    theta = np.angle(np.exp(1j * theta)) if bits is None else quantize_phases(theta, bits)
    ends = [part.reshape(*batch, -1) for part in np.split(theta, [system.elements1], axis=-1)]
    moments = closed_form_moments(system, ends[0], ends[1])
    rate = rate_from_moments(moments, **powers)
    value = goal.of(moments.mean_gain if objective == "mean_gain" else rate)
    if not np.allclose(value, history[:, -1].reshape(batch), rtol=MISMATCH, atol=0.0):
        # `UserValues` refuses all that is known before the design runs; this is for what is not.
        raise InvalidArgumentError(
            "system",
            "Rayleigh fading and phase noise of one law at each surface",
            "one of which the moments are others than those that the design maximised",
        )
    return Design(
        theta1=frozen(ends[0]),
        theta2=frozen(ends[1]),
        rate=frozen(rate),
        value=frozen(value),
        bound=frozen(np.concatenate([part.bound for part in found]).reshape(batch)),
        history=frozen(history.reshape(*batch, -1)),
        converged=frozen(np.concatenate([part.converged for part in found]).reshape(batch)),
        evaluations=sum(part.evaluations for part in found),
        seconds=time.perf_counter() - begin,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """Designs of P systems: angles, shape (P, n), n = N1 + N2; a history for each; converged, shape (P,)."""

    theta: Array
    history: list[list[float]]
    converged: NDArray[np.bool_]
    evaluations: int
    bound: Array


class _Designer:
    """Designs for some systems of a batch, in flat order. Arrays of angles have shape (..., P, n)."""

    def __init__(
        self,
        values: UserValues,
        systems: list[DoubleRIS],
        goal: Goal,
        powers: Powers,
        bits: int | None,
        random: Array,
        tolerance: float,
        max_iterations: int,
    ) -> None:
        self.values, self.systems, self.goal, self.powers, self.bits = values, systems, goal, powers, bits
        self.random, self.tolerance, self.max_iterations = random, tolerance, max_iterations
        self.batch = values.batch_shape
        self.N1 = systems[0].elements1
        self.n = self.N1 + systems[0].elements2

    def design(self, method: DesignMethod, drawn: Array, given: Array | None) -> _Found:
        """Run a method, with random phases and starts that the caller may give, shapes (n,) and (P, n)."""
        if method in ("closed_form", "steering", "random"):
            simple = {"closed_form": self.closed_form, "steering": self.steering}
            theta = simple[method]() if method in simple else np.tile(drawn, (len(self.systems), 1))
            return self._simple(theta)
        starts = self._starts(given)
        if self.bits is not None and method == "coordinate":
            return self._coordinate(starts, self.bits)
        if self.bits is not None and method == "branch_and_bound":
            return self._searched(self._coordinate(starts, self.bits), self.bits)
        return self._ascended(starts, [(0, 1)] if method == "gradient" else [(0,), (1,)])

    def closed_form(self) -> Array:
        """Maximise the mean gain summed over the users."""
        return np.array([np.concatenate([*optimal_phases(system)]) for system in self.systems])

    def steering(self) -> Array:
        """Maximise the mean gain of one user, the best choice."""
        users = range(self.systems[0].users)
        steered = [
            [np.concatenate([*steered_phases(system, user)]) for system in self.systems] for user in users
        ]
        return self._best(np.array(steered))

    def value(self, theta: Array) -> Array:
        """Return the objective at angles of shape (S, P, n), shape (S, P)."""
        return self.goal.of(self.values.at(self._split(theta))).reshape(theta.shape[:2])

    def bound(self, theta: Array) -> Array:
        """Return what no phase shifts exceed, shape (P,), given the best angles known."""
        if self.goal.objective == "mean_gain":
            v = np.exp(1j * theta)
            return np.array(
                [
                    MeanGain(system, np.ones(system.users)).ceiling((x[: self.N1], x[self.N1 :]))
                    for system, x in zip(self.systems, v, strict=True)
                ]
            )
        ceilings = [RateCeiling.of(system, **self.powers) for system in self.systems]
        return np.array(
            [
                ceiling(self.goal.objective, mean_gain_ceilings(system))
                for system, ceiling in zip(self.systems, ceilings, strict=True)
            ]
        )

    def _starts(self, given: Array | None) -> Array:
        """All starts, shape (S, P, n)."""
        fixed = [self.closed_form(), self.steering()] if given is None else [given]
        P = len(self.systems)
        return np.concatenate([fixed, np.repeat(self.random[:, None], P, axis=1)])

    def _best(self, theta: Array) -> Array:
        """Return the best for each system of angles of shape (S, P, n)."""
        choice = np.argmax(self.value(theta), axis=0)
        return np.asarray(theta[choice, np.arange(choice.size)])

    def _simple(self, theta: Array) -> _Found:
        theta = theta if self.bits is None else quantize_phases(theta, self.bits)
        history = self.value(theta[None]).T.tolist()
        return _Found(theta, history, np.ones(len(theta), bool), 1, self.bound(theta))

    def _ascended(self, starts: Array, turns: Turns) -> _Found:
        """Ascend from every start, then on from where the best of them is; with bits, round and refine."""
        stages = self.goal.stages
        ascent = self._climbed(starts, stages[0], turns, min(SCREENING, self.max_iterations)).best
        for stage in stages:
            if ascent.iterations < self.max_iterations:
                left = self.max_iterations - ascent.iterations
                ascent = ascent.then(self._climbed(ascent.theta, stage, turns, left))
        theta, bound = ascent.theta[0], self.bound(ascent.theta[0])
        if self.bits is None:
            return _Found(theta, ascent.history[0], ascent.converged[0], ascent.evaluations, bound)
        rounded = self._best(quantize_phases(np.concatenate([ascent.theta, starts]), self.bits))
        return self._moved(rounded, self.bits, ascent.evaluations, bound)

    def _climbed(self, start: Array, goal: Goal, turns: Turns, iterations: int) -> Ascent:
        """Ascend over the surfaces in turns, until a cycle of turns gains no more."""
        values = self.values.at(self._split(start))
        unit = values.mean(axis=(0, -1))

        if len(turns) == 1:
            return ascend(self._smoothed(goal, unit, turns[0]), start, self.tolerance, iterations)
        merit = goal.of(values).reshape(start.shape[:2])
        ascent = Ascent.at(start, merit)
        while True:
            before, done = ascent.merit, ascent.iterations
            for free in turns:
                most = min(TURN, max(iterations - ascent.iterations, 0))
                turn = ascend(self._smoothed(goal, unit, free), ascent.theta, self.tolerance, most)
                ascent = ascent.then(turn)
            still = ascent.merit - before <= self.tolerance * np.abs(ascent.merit)
            if still.all() or ascent.iterations >= iterations or ascent.iterations == done:
                return dataclasses.replace(ascent, converged=still)

    def _smoothed(self, goal: Goal, unit: Array, free: tuple[int, ...]) -> Climb:
        """Return the smoothed objective for `ascend`, with the true one as its merit."""

        def f(theta: Array, _: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
            values, slopes = self.values.gradient(
                self._split(theta), lambda values: goal.smooth(values, unit)[1], free
            )
            lanes = theta.shape[:2]
            smooth = goal.smooth(values, unit)[0].reshape(lanes)
            return (
                smooth,
                np.concatenate(slopes, axis=-1).reshape(theta.shape),
                goal.of(values).reshape(lanes),
            )

        return f

    def _coordinate(self, starts: Array, bits: int) -> _Found:
        """Move elements from every start, and take the best end."""
        ends = [self._moved(start, bits, 0, np.empty(0)) for start in starts]
        values = np.array([[lane[-1] for lane in end.history] for end in ends])
        choice = values.argmax(axis=0)
        best = np.array([ends[s].theta[p] for p, s in enumerate(choice)])
        return _Found(
            best,
            [ends[s].history[p] for p, s in enumerate(choice)],
            np.array([ends[s].converged[p] for p, s in enumerate(choice)]),
            sum(end.evaluations for end in ends),
            self.bound(best),
        )

    def _moved(self, start: Array, bits: int, evaluations: int, bound: Array) -> _Found:
        """Move elements from one start a system, shape (P, n)."""
        begin = [angles[0] for angles in self._split(start[None])]
        ends, rounds, converged = coordinate_ascent(
            self.values, self.goal.of, begin, bits, self.max_iterations
        )
        theta = np.concatenate(ends, axis=-1).reshape(start.shape)
        history = np.array([values.ravel() for values in rounds]).T.tolist()
        evaluations += 5 * self.n * (len(rounds) - 1)
        return _Found(theta, history, converged.ravel(), evaluations, bound)

    def _searched(self, found: _Found, bits: int) -> _Found:
        """Search all levels, given good ones."""
        step = 2 * np.pi / 2**bits
        gain = self.goal.objective == "mean_gain"

        def search(system: DoubleRIS, theta: Array) -> Search:
            values = UserValues(system, None if gain else self.powers)
            ceiling = RateCeiling.of(system, **self.powers)

            def exact(angles: Array) -> Array:
                return self.goal.of(values.at(np.split(angles, [self.N1], axis=-1)))

            def bounded(gains: Array) -> Array:
                return self.goal.of(gains) if gain else ceiling(self.goal.objective, gains)

            levels = np.mod(np.rint(theta / step).astype(int), 2**bits)
            most = NODES_PER_ITERATION * self.max_iterations
            return branch_and_bound(system, bits, levels, exact, bounded, most)

        searches = list(map(search, self.systems, found.theta))
        return _Found(
            step * np.array([search.levels for search in searches]),
            [
                [*history, max(search.value, history[-1])]
                for history, search in zip(found.history, searches, strict=True)
            ],
            np.array([search.complete for search in searches]),
            sum(search.nodes for search in searches),
            np.array([search.bound for search in searches]),
        )

    def _split(self, theta: Array) -> Angles:
        """Angles of the two surfaces, with the batch axes of the systems, from angles of shape (S, P, n)."""
        shape = (len(theta), *self.batch)
        return [theta[..., : self.N1].reshape(*shape, -1), theta[..., self.N1 :].reshape(*shape, -1)]


def _given(
    system: DoubleRIS, systems: list[DoubleRIS], theta1: ArrayLike | None, theta2: ArrayLike | None
) -> Array | None:
    """Return the caller's start, shape (P, n), what is missing completed by the closed form."""
    if theta1 is None and theta2 is None:
        return None
    closed = [optimal_phases(one) for one in systems] if theta1 is None or theta2 is None else []
    starts = []
    for name, theta, elements in (
        ("theta1", theta1, system.elements1),
        ("theta2", theta2, system.elements2),
    ):
        if theta is None:
            starts.append(np.array([getattr(design, name) for design in closed]))
            continue
        phases = np.asarray(check_phases(name, theta, elements))
        wanted = (*system.batch_shape, elements)
        if phases.shape not in (wanted, (elements,)):
            raise InvalidArgumentError(name, f"shape {wanted}", f"shape {phases.shape}")
        starts.append(np.broadcast_to(phases, wanted).reshape(len(systems), -1))
    return np.concatenate(starts, axis=-1)


def _random_starts(system: DoubleRIS, number: int, stream: Stream) -> Array:
    """Draw angles, shape (number, n), the first the same for any number."""
    sizes = {"surface 1": system.elements1, "surface 2": system.elements2}
    draws = [
        UniformNoise(np.pi).sample(elements, number, stream.child(name))
        if elements
        else np.zeros((number, 0))
        for name, elements in sizes.items()
    ]
    return np.concatenate(draws, axis=-1)


def _parts(system: DoubleRIS) -> Iterator[tuple[slice | None, slice]]:
    """Cut a batch: slices of its first axis, and of its systems in flat order."""
    batch = system.batch_shape
    if not batch:
        yield None, slice(None)
        return
    each = math.prod(batch[1:])
    elements = max(system.elements1, system.elements2)
    size = max(1, PART_BYTES // (each * 96 * (system.users + 1) ** 2 * max(elements, 1) ** 2))
    for first in range(0, batch[0], size):
        yield slice(first, first + size), slice(first * each, (first + size) * each)


def _aligned(histories: list[list[float]]) -> Array:
    """One row each, their last values repeated."""
    longest = max(map(len, histories))
    return np.array([lane + lane[-1:] * (longest - len(lane)) for lane in histories])
