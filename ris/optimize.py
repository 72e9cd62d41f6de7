"""Phase shifts that maximise the closed-form sum rate, by gradient ascent from several starts."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, minimize

from channels.blas import one_blas_thread
from channels.checks import frozen, integer, non_negative, positive
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.gradient import sum_rate_gradient
from ris.link import check_phases
from ris.montecarlo import as_stream
from ris.phases import check_bits, optimal_phases, quantize_phases, random_phases
from ris.rates import closed_form_rate
from ris.system import DoubleRIS, check_designable

__all__ = ["RateDesign", "maximise_rate"]

FLATNESS = 1e-8
"""An ascent also ends where no slope of the sum rate exceeds this share of its start's value, per radian."""

GAIN = 1e-12
"""A move of a single element by a level must raise the sum rate by more than this, relative: by more than
rounding, so that the moves end."""

Phases = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class RateDesign:
    """Phase shifts for the sum rate.

    Attributes
    ----------
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts of the two surfaces, within [-pi, pi].
    rate : ndarray, shape (K,)
        Hardening bound of each user at these phases, perfect CSI, bit/s/Hz.
    sum_rate : float
        Its sum over the users.
    history : ndarray, shape (iterations + 1,)
        Sum rates of the ascent that led here, from its start on; before any rounding to `bits`.
    iterations : int
        Iterations of that ascent.
    converged : bool
        Whether it ended at its tolerance: at a local maximum, which need not be the global one.
    """

    theta1: NDArray[np.float64]
    theta2: NDArray[np.float64]
    rate: NDArray[np.float64]
    sum_rate: float
    history: NDArray[np.float64]
    iterations: int
    converged: bool


def maximise_rate(
    system: DoubleRIS,
    *,
    power: float,
    noise_power: float,
    seed: int | Stream,
    starts: int = 4,
    theta1: ArrayLike | None = None,
    theta2: ArrayLike | None = None,
    bits: int | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> RateDesign:
    """Maximise the sum over users of the hardening bound under perfect CSI by the phase shifts.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays.
    power, noise_power : float
        Total transmit power (>= 0) and noise power at a user (> 0), linear, in the same unit.
    seed : int or Stream
        Of the random starts.
    starts : int
        Number of random starts besides the given one, >= 0.
    theta1, theta2 : array_like, shapes (N1,) and (N2,), radians, optional
        The given start; by default the phases of `optimal_phases`.
    bits : int, optional
        Resolution of the surfaces, 1 to 32; by default continuous. The ends of the ascents, and the given
        start, are rounded, and single elements of the best of them move by a level as long as that helps.
    tolerance : float
        An ascent ends when an iteration improves the sum rate by less than this, relative, > 0.
    max_iterations : int
        Iterations of one ascent at most, >= 1.

    Returns
    -------
    RateDesign
        The best phases found, never worse than the given start (rounded to `bits`).

    Raises
    ------
    InvalidArgumentError
        On bad arguments, a system with batch axes, or one with arrays of another library.

    Notes
    -----
    Quasi-Newton ascent (L-BFGS) on the angles, so that the moduli stay one, with the gradient of
    `ris.gradient`; an iteration costs two to four closed-form rates of few users. With `bits`, each round
    over the N1 + N2 elements costs up to that many rates twice.
    """
    check_designable(system)
    power, noise_power = non_negative("power", power), positive("noise_power", noise_power)
    integer("starts", starts, minimum=0)
    positive("tolerance", tolerance)
    integer("max_iterations", max_iterations, minimum=1)
    if bits is not None:
        check_bits(bits)
    stream = as_stream(seed)
    given = _given_start(system, theta1, theta2)
    begins = [given, *(_random_start(system, stream.child("start", i)) for i in range(starts))]
    rates = functools.partial(closed_form_rate, system, power=power, noise_power=noise_power)
    gradient = functools.partial(sum_rate_gradient, system, power=power, noise_power=noise_power)

    with one_blas_thread():  # the same phases for any number of threads
        ascents = [_Ascent.of(gradient, start, tolerance, max_iterations) for start in begins]
        if bits is None:
            best = max(ascents, key=lambda ascent: ascent.history[-1])
            phases = best.end
        else:
            rounded = [(_rounded(ascent.end, bits), ascent) for ascent in ascents]
            rounded.append((_rounded(given, bits), ascents[0]))
            phases, best = max(rounded, key=lambda pair: float(rates(*pair[0]).sum()))
            phases = _refined(rates, phases, bits)
        rate = rates(*phases)
    return RateDesign(
        theta1=frozen(phases[0]),
        theta2=frozen(phases[1]),
        rate=frozen(rate),
        sum_rate=float(rate.sum()),
        history=frozen(np.array(best.history)),
        iterations=len(best.history) - 1,
        converged=best.converged,
    )


@dataclass(frozen=True, eq=False)
class _Ascent:
    """One ascent: its last phases, its sum rates from the start on, whether it ended at its tolerance."""

    end: Phases
    history: list[float]
    converged: bool

    @classmethod
    def of(
        cls,
        gradient: Callable[..., tuple[float, *Phases]],
        start: Phases,
        tolerance: float,
        max_iterations: int,
    ) -> "_Ascent":
        """Ascend from `start`, given the sum rate and its gradient as functions of theta1 and theta2."""
        N1, angles = start[0].size, np.concatenate(start)
        history = [gradient(*start)[0]]
        # In units of the start's rate, since SciPy takes tolerances below 1 as absolute.
        unit = history[0] or 1.0

        def downhill(angles: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, *slopes = gradient(angles[:N1], angles[N1:])
            return -value / unit, -np.concatenate(slopes) / unit

        def note(intermediate_result: OptimizeResult) -> None:
            history.append(-unit * float(intermediate_result.fun))

        if angles.size == 0:
            return cls(start, history, True)
        result = minimize(
            downhill,
            angles,
            jac=True,
            method="L-BFGS-B",
            callback=note,
            options={
                "ftol": tolerance,
                "gtol": FLATNESS,
                "maxiter": max_iterations,
                "maxfun": 20 * max_iterations,
            },
        )
        end = _wrapped(result.x)
        return cls((end[:N1], end[N1:]), history, bool(result.success))


def _given_start(system: DoubleRIS, theta1: ArrayLike | None, theta2: ArrayLike | None) -> Phases:
    given = []
    for name, theta, default in zip(
        ("theta1", "theta2"), (theta1, theta2), optimal_phases(system), strict=True
    ):
        phases = np.asarray(check_phases(name, default if theta is None else theta, len(default)))
        if phases.ndim != 1:
            raise InvalidArgumentError(name, f"shape ({len(default)},)", f"shape {phases.shape}")
        given.append(phases)
    return given[0], given[1]


def _random_start(system: DoubleRIS, stream: Stream) -> Phases:
    return (
        random_phases(system.elements1, stream.child("surface 1")),
        random_phases(system.elements2, stream.child("surface 2")),
    )


def _wrapped(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles within [-pi, pi]; those that are already stay as they are."""
    return angles - 2 * np.pi * np.rint(angles / (2 * np.pi))


def _rounded(phases: Phases, bits: int) -> Phases:
    return quantize_phases(phases[0], bits), quantize_phases(phases[1], bits)


def _refined(rates: Callable[..., NDArray[np.float64]], phases: Phases, bits: int) -> Phases:
    """Move single elements by one level, up or down, until no such move raises the sum rate."""
    step = 2 * np.pi / 2**bits
    best = float(rates(*phases).sum())
    theta = [phases[0].copy(), phases[1].copy()]
    moved = True
    while moved:
        moved = False
        for i, n in [(0, n) for n in range(theta[0].size)] + [(1, n) for n in range(theta[1].size)]:
            tried = np.stack([theta[i], theta[i]])
            tried[:, n] += (step, -step)
            tried = quantize_phases(tried, bits)
            sums = rates(*(tried if j == i else theta[j] for j in (0, 1))).sum(axis=-1)
            if sums.max() > (1 + GAIN) * best:
                best, theta[i], moved = float(sums.max()), tried[sums.argmax()], True
    return theta[0], theta[1]
