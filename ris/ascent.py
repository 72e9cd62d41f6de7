r"""Ascent on a product of circles: limited-memory BFGS with a Wolfe line search, of many lanes at once.

A phase shift is a point exp(j theta) of a circle, and N of them one of a torus. The torus is flat: in the
angles, the Riemannian gradient is the vector of partial derivatives, the exponential map adds angles
(exp(j theta) exp(j t d), a geodesic) and parallel transport leaves vectors as they are. So the Riemannian
L-BFGS method is the two-loop recursion (Nocedal and Wright, Numerical Optimization, algorithm 7.4) on angles
without bounds, and the moduli stay one exactly.

The step along the direction d at slope s = g.d > 0 fulfils the weak Wolfe conditions

    f(theta + t d) >= f(theta) + 1e-4 t s,       g(theta + t d).d <= 0.9 s

found by bisection and doubling (Lewis and Overton, "Nonsmooth optimization via quasi-Newton methods", Math.
Program. 141, 2013, which also applies where f has kinks). The first makes the ascent monotone, the second
keeps the curvature pairs positive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ascent", "Climb", "ascend"]

MEMORY = 20
"""Curvature pairs."""

WINDOW = 5
"""Iterations over which an ascent must gain less than its tolerance to end."""

FLATNESS = 1e-9
"""An ascent also ends where no slope exceeds this share of the value, per radian."""

FIRST_STEP = 0.3
"""Largest change of an angle that the first step of an ascent tries, radians."""

MOST_TRIALS = 30
"""Steps tried along one direction; then rounding hides what is left to gain."""

Values = NDArray[np.float64]
Climb = Callable[[Values, NDArray[np.bool_]], tuple[Values, Values, Values]]
"""What `ascend` maximises: value, gradient and merit by angles and rows."""


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where an ascent of many lanes ended.

    Attributes
    ----------
    theta : ndarray, shape (S, P, n), radians
        Angles.
    merit : ndarray, shape (S, P)
        Merit there, the highest of all iterates.
    history : list of list of list of float
        Highest merit of each lane so far, at its start and after every iteration, at [s][p].
    converged : ndarray of bool, shape (S, P)
        Whether the lane ended at its tolerance, and not at the largest number of iterations.
    evaluations : int
        Calls of the objective.
    """

    theta: Values
    merit: Values
    history: list[list[list[float]]]
    converged: NDArray[np.bool_]
    evaluations: int

    @classmethod
    def at(cls, theta: Values, merit: Values) -> "Ascent":
        """Return an ascent that has not begun."""
        history = [[[float(entry)] for entry in row] for row in merit]
        return cls(theta, merit, history, np.zeros(merit.shape, bool), 1)

    def then(self, later: "Ascent") -> "Ascent":
        """Return this ascent followed by one from where it ended."""
        history = [
            [first + second[1:] for first, second in zip(mine, its, strict=True)]
            for mine, its in zip(self.history, later.history, strict=True)
        ]
        evaluations = self.evaluations + later.evaluations
        return Ascent(later.theta, later.merit, history, later.converged, evaluations)

    @property
    def best(self) -> "Ascent":
        """The best lane s of each p alone."""
        choice = np.argmax(self.merit, axis=0)
        p = np.arange(choice.size)
        return Ascent(
            self.theta[choice, p][None],
            self.merit[choice, p][None],
            [[self.history[s][p] for p, s in enumerate(choice)]],
            self.converged[choice, p][None],
            self.evaluations,
        )

    @property
    def iterations(self) -> int:
        """Iterations of the longest lane."""
        return max(len(lane) for row in self.history for lane in row) - 1


def ascend(f: Climb, start: Values, tolerance: float, max_iterations: int) -> Ascent:
    """Maximise in every lane.

    Parameters
    ----------
    f : callable
        Called with angles of shape (s, P, n) and with a mask of shape (S,) of the s rows that they belong
        to: those of which any lane is under way. Returns value, shape (s, P), its gradient, shape (s, P, n),
        and merit, shape (s, P): what the result is chosen by. Where the value is a smoothed merit, an
        iterate may lower the merit; the ascent ends at the iterate of the highest.
    start : ndarray, shape (S, P, n), radians
        Where the lanes start.
    tolerance : float
        A lane ends when `WINDOW` iterations gain less than this, relative to the merit.
    max_iterations : int
        Iterations of a lane at most.
    """
    lanes = _Lanes(start, *f(start, np.ones(len(start), bool)))
    evaluations = 1
    lanes.finish_if(lanes.flat, converged=True)
    lanes.finish_if(np.full(lanes.merit.shape, max_iterations == 0), converged=False)
    while lanes.active.any():
        rows: NDArray[np.bool_] = np.asarray(lanes.active.any(axis=1))
        trial = lanes.trial[rows]
        accepted = lanes.judge(rows, trial, *f(trial, rows))
        evaluations += 1
        gains = lanes.recent_gain
        lanes.finish_if(accepted & ((gains <= tolerance * np.abs(lanes.value)) | lanes.flat), converged=True)
        lanes.finish_if(lanes.exhausted, converged=True)
        lanes.finish_if(accepted & (lanes.iterations >= max_iterations), converged=False)
    return Ascent(lanes.record, lanes.merit, lanes.history, lanes.converged, evaluations)


class _Lanes:
    """Iterates, directions and line searches of all lanes."""

    def __init__(self, theta: Values, value: Values, slopes: Values, merit: Values) -> None:
        S, P, n = theta.shape
        self.theta, self.value, self.slopes, self.merit = (
            theta.copy(),
            value.copy(),
            slopes.copy(),
            merit.copy(),
        )
        self.record = theta.copy()
        self.history = [[[float(entry)] for entry in row] for row in merit]
        self.values = [[[float(entry)] for entry in row] for row in value]
        self.active, self.converged = np.ones((S, P), bool), np.zeros((S, P), bool)
        # Pairs of steps and changes of slope, newest last; a pair not yet filled has weight 0.
        self.steps, self.changes = np.zeros((MEMORY, S, P, n)), np.zeros((MEMORY, S, P, n))
        self.weights = np.zeros((MEMORY, S, P))
        self.direction = np.zeros_like(theta)
        self.step, self.low, self.high = np.ones((S, P)), np.zeros((S, P)), np.full((S, P), np.inf)
        self.trials = np.zeros((S, P), int)
        self._aim(self.active)

    @property
    def trial(self) -> Values:
        """Angles to try next."""
        return self.theta + self.step[..., None] * self.direction

    @property
    def iterations(self) -> NDArray[np.int64]:
        """Iterations of each lane so far."""
        return np.array([[len(lane) - 1 for lane in row] for row in self.history])

    @property
    def recent_gain(self) -> Values:
        """What the last `WINDOW` iterations gained; infinite before there are as many."""
        return np.array(
            [
                [lane[-1] - lane[-1 - WINDOW] if len(lane) > WINDOW else np.inf for lane in row]
                for row in self.values
            ]
        )

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Whether a lane has no slope left."""
        return np.asarray(np.max(np.abs(self.slopes), axis=-1, initial=0.0) <= FLATNESS * np.abs(self.value))

    @property
    def exhausted(self) -> NDArray[np.bool_]:
        """Whether a lane found no step along the gradient itself."""
        return self.active & (self.trials > MOST_TRIALS)

    def finish_if(self, ended: NDArray[np.bool_], converged: bool) -> None:
        """End lanes that are under way."""
        self.converged |= ended & self.active & converged
        self.active &= ~ended

    def judge(
        self, rows: NDArray[np.bool_], trial: Values, value: Values, slopes: Values, merit: Values
    ) -> NDArray[np.bool_]:
        """Accept the trials of some rows where both Wolfe conditions hold, else set the next steps."""
        tried = self._spread(rows, np.ones(value.shape, bool), False) & self.active
        theta, value, slopes, merit = (
            self._spread(rows, part, 0.0) for part in (trial, value, slopes, merit)
        )
        slope = np.sum(self.slopes * self.direction, axis=-1)
        rises = value >= self.value + 1e-4 * self.step * slope
        flattens = np.sum(slopes * self.direction, axis=-1) <= 0.9 * slope
        self.trials[tried] += 1
        # After many trials along one direction any rise will do.
        accepted = tried & rises & (flattens | (self.trials > MOST_TRIALS // 2))
        self._store(accepted, theta, slopes)
        for mine, new in ((self.theta, theta), (self.value, value), (self.slopes, slopes)):
            mine[accepted] = new[accepted]
        better = accepted & (merit > self.merit)
        self.record[better], self.merit[better] = theta[better], merit[better]
        for s, p in zip(*np.nonzero(accepted), strict=True):
            self.history[s][p].append(float(self.merit[s, p]))
            self.values[s][p].append(float(value[s, p]))
        too_far, too_near = tried & ~rises, tried & rises & ~accepted
        self.high[too_far], self.low[too_near] = self.step[too_far], self.step[too_near]
        bisected = np.where(np.isfinite(self.high), (self.low + self.high) / 2, 2 * self.step)
        self.step = np.where(tried & ~accepted, bisected, self.step)
        # Without a step along a quasi-Newton direction, the gradient gets its turn.
        lost = tried & ~accepted & (self.trials > MOST_TRIALS) & self.weights.any(axis=0)
        self.weights[:, lost] = 0.0
        self._aim(accepted | lost)
        return np.asarray(accepted)

    def _spread(self, rows: NDArray[np.bool_], part: NDArray, fill: float) -> NDArray:  # type: ignore[type-arg]
        whole = np.full((len(rows), *part.shape[1:]), fill, part.dtype)
        whole[rows] = part
        return whole

    def _store(self, accepted: NDArray[np.bool_], theta: Values, slopes: Values) -> None:
        step, change = (theta - self.theta)[accepted], (self.slopes - slopes)[accepted]
        curvature = np.sum(step * change, axis=-1)
        useful = curvature > 1e-12 * np.linalg.norm(step, axis=-1) * np.linalg.norm(change, axis=-1)
        lanes: tuple[Any, ...] = tuple(index[useful] for index in np.nonzero(accepted))
        for memory, new in (
            (self.steps, step[useful]),
            (self.changes, change[useful]),
            (self.weights, 1 / curvature[useful]),
        ):
            memory[:-1, *lanes] = memory[1:, *lanes]
            memory[-1, *lanes] = new

    def _aim(self, lanes: NDArray[np.bool_]) -> None:
        """Set direction and first step of a new line search."""
        which: tuple[Any, ...] = np.nonzero(lanes)
        steps, changes, weights = self.steps[:, *which], self.changes[:, *which], self.weights[:, *which]
        d = self.slopes[which]
        factors = np.zeros_like(weights)
        for i in reversed(range(MEMORY)):
            factors[i] = weights[i] * np.sum(steps[i] * d, axis=-1)
            d = d - factors[i][:, None] * changes[i]
        size = np.max(np.abs(self.slopes[which]), axis=-1, initial=0.0)
        curvature = weights[-1] * np.sum(changes[-1] ** 2, axis=-1)
        first = weights[-1] == 0
        d = (
            d
            * np.where(first, FIRST_STEP / np.where(size > 0, size, 1), 1 / np.where(first, 1, curvature))[
                :, None
            ]
        )
        for i in range(MEMORY):
            factor = factors[i] - weights[i] * np.sum(changes[i] * d, axis=-1)
            d = d + factor[:, None] * steps[i]
        self.direction[which] = d
        self.step[which], self.low[which], self.high[which], self.trials[which] = 1.0, 0.0, np.inf, 0
