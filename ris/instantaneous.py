r"""Phase shifts chosen for each realization, by a surface that knows the hops but not its phase noise.

Given the phasors of the other surface the channel is affine in those of one, x:

    h_k = c_k + A (g_k * x),     surface 1: A = A1,  g_k = u1k + D T2 u2k,
                                 surface 2: A = A2 + A1 T1 D,  g_k = u2k,

so the received power sum_k |h_k|^2 is convex in x and lies above its tangents: with h at hand, no x has a
larger tangent than x = exp(j arg sum_k conj(g_k) * (A^H h_k)), which therefore never lowers the power
(minorise and maximise). The surfaces take turns.

The rates are those of maximum-ratio transmission with all power spent in every realization,

    SINR_k = q_k^2 / I_k,   I_k = sum over j != k of |h_k^H h_j|^2 + s sum_j q_j,   q_k = |h_k|^2,

with s = noise_power / power. With weights e_k = 2 q_k / (I_k (1 + SINR_k)) and
w_k = -q_k^2 / (I_k^2 (1 + SINR_k)) the differential of sum ln(1 + SINR_k) is Re sum_k v_k^H dh_k with

    v_k = 2 [(e_k + s sum_i w_i) h_k + sum over j != k of (w_k + w_j) (h_j^H h_k) h_j],

and by the phase shifts Im(conj(x) * sum_k conj(g_k) * (A^H v_k)): the step of the power with v in place of
h. The ascent of `ris.ascent` starts where the received power has its maximum.

Bounds. The length of a sum is at most the sum of the lengths, for the channels as vectors, with the spectral
norms of the hops, and antenna by antenna, with the moduli of their entries; the smaller one counts. With
received powers so bounded, no interference and the best shares of the power (`ris.bounds`) the rates are:
tight for one user and one antenna, loose otherwise.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from channels.checks import integer, non_negative, one_of, positive
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.ascent import ascend
from ris.bounds import shared_sum
from ris.estimates import Estimate, Observations
from ris.hops import HopRealizations, draw_hops
from ris.options import InstantaneousObjective
from ris.system import DoubleRIS

__all__ = ["InstantaneousDesign", "InstantaneousSimulation", "instantaneous_phases", "simulate_instantaneous"]

WINDOW = 5
"""Iterations over which the received power must gain less than the tolerance."""

BLOCK_BYTES = 2**26
"""Realizations are drawn and designed in blocks whose hops take about this much memory."""

Array = NDArray[Any]
Phasors = list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class InstantaneousDesign:
    """Phase shifts of n realizations. Iterates to theta1, theta2.

    Attributes
    ----------
    theta1, theta2 : ndarray, shapes (n, N1) and (n, N2), radians
        Phase shifts.
    value : ndarray, shape (n,)
        The objective, without phase noise.
    bound : ndarray, shape (n,)
        What no phase shifts exceed.
    history : ndarray, shape (n, iterations + 1)
        The objective from the start on, never falling; realizations that end before others repeat their
        last value.
    converged : ndarray of bool, shape (n,)
        Whether the ascent ended at its tolerance.
    """

    theta1: NDArray[np.float64]
    theta2: NDArray[np.float64]
    value: NDArray[np.float64]
    bound: NDArray[np.float64]
    history: NDArray[np.float64]
    converged: NDArray[np.bool_]

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return iter((self.theta1, self.theta2))


def instantaneous_phases(
    hops: HopRealizations,
    *,
    objective: InstantaneousObjective = "received_power",
    power: float = 1.0,
    noise_power: float = 1.0,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> InstantaneousDesign:
    """Choose phase shifts for each realization of the hops.

    Parameters
    ----------
    hops : HopRealizations
        From `draw_hops`; its phase noise is not looked at.
    objective : {"received_power", "sum_rate"}
        Sum over the users of |h_k|^2, or of their rates under maximum-ratio transmission.
    power, noise_power : float
        For the rates: total transmit power (>= 0) and noise power at a user (> 0), linear, in one unit.
    tolerance : float
        An ascent ends when five iterations improve the objective by less than this, relative, > 0.
    max_iterations : int
        Iterations at most, >= 1; for the sum rate also those of the received power before.

    Returns
    -------
    InstantaneousDesign
        A local maximum for each realization.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.

    Notes
    -----
    One iteration costs a few products of the hops with K columns, for all realizations at once.
    """
    one_of("objective", objective, InstantaneousObjective)
    if not (hops.hardware1.ideal and hops.hardware2.ideal):
        raise InvalidArgumentError(
            "hops",
            "phase noise alone to design phases for (hardware1 and hardware2 = channels.Hardware() by "
            "dataclasses.replace; the hops stay)",
            "hardware",
        )
    power, noise_power = non_negative("power", power), positive("noise_power", noise_power)
    positive("tolerance", tolerance)
    integer("max_iterations", max_iterations, minimum=1)
    with one_blas_thread():
        x, history, converged = _aligned(hops, tolerance, max_iterations)
        bounds = _power_bounds(hops)
        if objective == "received_power":
            theta = [np.angle(phasors) for phasors in x]
            return InstantaneousDesign(
                theta[0], theta[1], history[:, -1], bounds.sum(axis=-1), history, converged
            )
        noise = noise_power / power if power > 0 else np.inf
        return _climbed(hops, x, noise, bounds, tolerance, max_iterations)


@dataclass(frozen=True, eq=False)
class InstantaneousSimulation:
    """Estimates over realizations with phase shifts chosen for each.

    Attributes
    ----------
    observations : Observations
        Of the K rates and then of the received power sum_k |h_k|^2.
    """

    observations: Observations

    @property
    def ergodic_rate(self) -> Estimate:
        """E log2(1 + SINR_k), all power spent in every realization, shape (K,), bit/s/Hz."""
        every = self.observations.estimate()
        return Estimate(every.value[:-1], every.standard_error[:-1])

    @property
    def ergodic_sum_rate(self) -> Estimate:
        """Sum of the ergodic rates, a scalar."""
        total = np.append(np.ones(len(self.observations.mean) - 1), 0.0)
        return self.observations.function(float(total @ self.observations.mean), total)

    @property
    def received_power(self) -> Estimate:
        """E sum_k |h_k|^2, a scalar."""
        every = self.observations.estimate()
        return Estimate(every.value[-1], every.standard_error[-1])


def simulate_instantaneous(
    system: DoubleRIS,
    choose: Callable[[HopRealizations], Any],
    *,
    power: float,
    noise_power: float,
    realizations: int,
    seed: int | Stream,
) -> InstantaneousSimulation:
    """Estimate rates with phase shifts that follow the hops of each realization.

    Every hop matrix is drawn, as by the explicit engine: the reduced engine's law does not hold here. The BS
    knows its channels, phase noise included, and spends all power in every realization.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    choose : callable
        Takes `HopRealizations` to an iterable of theta1 and theta2, shapes (n, N1) and (n, N2), or (N1,) and
        (N2,): `instantaneous_phases` with its objective, or a function that returns one statistical design.
    power, noise_power : float
        Total transmit power (>= 0) and noise power at a user (> 0), linear, in the same unit.
    realizations : int
        Number of realizations, at least 1.
    seed : int or Stream
        The same hops for the same seed, whatever is chosen.

    Returns
    -------
    InstantaneousSimulation

    Raises
    ------
    InvalidArgumentError
        On bad arguments.
    """
    integer("realizations", realizations, minimum=1)
    power, noise_power = non_negative("power", power), positive("noise_power", noise_power)
    if system.emi1 is not None or system.emi2 is not None:
        raise InvalidArgumentError(
            "system",
            "no interference at the surfaces (emi1 and emi2 = None by dataclasses.replace)",
            "interference",
        )
    if not callable(choose):
        raise InvalidArgumentError("choose", "a function of the hops", repr(choose))
    M, N1, N2, K = system.antennas, system.elements1, system.elements2, system.users
    block = max(1, BLOCK_BYTES // (16 * ((M + K) * (N1 + N2) + N1 * N2 + M * K)))
    noise = noise_power / power if power > 0 else np.inf

    def observed(first: int) -> Observations:
        count = min(block, realizations - first)
        hops = draw_hops(system, realizations=count, seed=seed, first=first)
        h = hops.channels(*choose(hops))
        powers = np.sum(np.abs(h) ** 2, axis=(-2, -1))
        return Observations.of(np.column_stack([_rates(h, noise)[0], powers]))

    parts = map(observed, range(0, realizations, block))
    return InstantaneousSimulation(functools.reduce(Observations.merge, parts))


@dataclass(frozen=True, eq=False)
class _Paths:
    """Hops as arrays with a leading axis of realizations; zeros for those switched off."""

    A1: Array
    A2: Array
    D: Array
    u1: Array
    u2: Array
    d: Array

    @classmethod
    def of(cls, hops: HopRealizations) -> "_Paths":
        n, N1 = hops.phase_noise1.shape
        N2 = hops.phase_noise2.shape[1]
        M = next(hop.shape[1] for hop in (hops.bs_user, hops.bs_ris1, hops.bs_ris2) if hop is not None)
        K = next(hop.shape[2] for hop in (hops.bs_user, hops.ris1_user, hops.ris2_user) if hop is not None)
        shapes = {
            "bs_ris1": (M, N1),
            "bs_ris2": (M, N2),
            "ris1_ris2": (N1, N2),
            "ris1_user": (N1, K),
            "ris2_user": (N2, K),
            "bs_user": (M, K),
        }
        given = [(getattr(hops, name), shape) for name, shape in shapes.items()]
        return cls(*(np.zeros((n, *shape), complex) if hop is None else hop for hop, shape in given))

    def taken(self, rows: NDArray[np.bool_]) -> "_Paths":
        """Return some realizations; these arrays themselves if all."""
        if rows.all():
            return self
        return _Paths(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def channels(self, x: Phasors) -> Array:
        """Return h, shape (n, M, K)."""
        reflected = x[1][..., None] * self.u2
        arriving = self.u1 + self.D @ reflected
        return np.asarray(self.d + self.A1 @ (x[0][..., None] * arriving) + self.A2 @ reflected)

    def pulled(self, x: Phasors, V: Array) -> Phasors:
        """Return sum_k conj(g_k) * (A^H v_k) of both surfaces, shapes (n, N1) and (n, N2)."""
        arriving = self.u1 + self.D @ (x[1][..., None] * self.u2)
        back1 = _adjoint_product(self.A1, V)
        back2 = _adjoint_product(self.A2, V) + _adjoint_product(self.D, x[0].conj()[..., None] * back1)
        return [np.sum(arriving.conj() * back1, axis=-1), np.sum(self.u2.conj() * back2, axis=-1)]


def _aligned(
    hops: HopRealizations, tolerance: float, max_iterations: int
) -> tuple[Phasors, NDArray[np.float64], NDArray[np.bool_]]:
    """Maximise the received power, the surfaces in turns, from all phase shifts zero."""
    paths = _Paths.of(hops)
    x: Phasors = [np.ones(noise.shape, complex) for noise in (hops.phase_noise1, hops.phase_noise2)]
    h = paths.channels(x)
    history = [np.sum(np.abs(h) ** 2, axis=(-2, -1))]
    converged = np.zeros(len(h), bool)
    while not converged.all() and len(history) <= max_iterations:
        for surface in (0, 1):
            pulled = paths.pulled(x, h)[surface]
            size = np.abs(pulled)
            x[surface] = np.where(size > 0, pulled / np.where(size > 0, size, 1.0), x[surface])
            h = paths.channels(x)
        history.append(np.sum(np.abs(h) ** 2, axis=(-2, -1)))
        if len(history) > WINDOW:
            converged = history[-1] <= (1 + tolerance) * history[-1 - WINDOW]
    return x, np.array(history).T, converged


def _climbed(
    hops: HopRealizations,
    x: Phasors,
    noise: float,
    bounds: NDArray[np.float64],
    tolerance: float,
    max_iterations: int,
) -> InstantaneousDesign:
    """Maximise the sum rate from the phasors given."""
    paths, N1 = _Paths.of(hops), x[0].shape[1]

    def objective(theta: Array, rows: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        x = np.split(np.exp(1j * theta[:, 0]), [N1], axis=-1)
        some = paths.taken(rows)
        rates, V = _rates(some.channels(x), noise)
        slopes = [(mine.conj() * pulled).imag for mine, pulled in zip(x, some.pulled(x, V), strict=True)]
        total = rates.sum(axis=-1, keepdims=True)
        return total, np.concatenate(slopes, axis=-1)[:, None], total

    start = np.angle(np.concatenate(x, axis=-1))[:, None]
    ascent = ascend(objective, start, tolerance, max_iterations)
    theta = np.split(np.angle(np.exp(1j * ascent.theta[:, 0])), [N1], axis=-1)
    longest = ascent.iterations + 1
    history = np.array([lane + lane[-1:] * (longest - len(lane)) for (lane,) in ascent.history])
    # No interference, and SINR_k <= p_k q_k / noise with the share p_k of all received power.
    shares = shared_sum(0.0, noise / bounds) if np.isfinite(noise) else np.zeros(len(start))
    return InstantaneousDesign(
        theta[0], theta[1], ascent.merit[:, 0], shares, history, ascent.converged[:, 0]
    )


def _rates(h: Array, noise: float) -> tuple[NDArray[np.float64], Array]:
    """Return rates, shape (n, K), and the gradient V of their sum by h, shape (n, M, K)."""
    K = h.shape[-1]
    grams = _adjoint_product(h, h)
    q = np.diagonal(grams, axis1=-2, axis2=-1).real
    if not np.isfinite(noise):
        return np.zeros(q.shape), np.zeros_like(h)
    others = np.abs(grams) ** 2 * (1 - np.eye(K))
    rest = others.sum(axis=-1) + noise * q.sum(axis=-1, keepdims=True)
    total = rest + q**2
    e, w = 2 * q / total, -(q**2) / (rest * total)
    own = e + noise * w.sum(axis=-1, keepdims=True)
    pairs = (w[:, :, None] + w[:, None, :]) * grams * (1 - np.eye(K)) + own[:, None, :] * np.eye(K)
    return np.log2(total / rest), 2 / np.log(2) * (h @ pairs)


def _power_bounds(hops: HopRealizations) -> NDArray[np.float64]:
    """Return bounds of |h_k|^2, shape (n, K)."""
    paths = _Paths.of(hops)
    sizes = _Paths(*(np.abs(getattr(paths, field.name)) for field in dataclasses.fields(paths)))
    ones = [np.ones(noise.shape) for noise in (hops.phase_noise1, hops.phase_noise2)]
    by_entries = np.sum(sizes.channels(ones).real ** 2, axis=-2)

    def norm(matrices: Array) -> Array:
        norms = np.linalg.norm(matrices, 2, axis=(-2, -1)) if matrices.size else np.zeros(1)
        return np.asarray(norms)[:, None]

    def lengths(vectors: Array) -> Array:
        return np.asarray(np.linalg.norm(vectors, axis=-2))

    through1 = norm(paths.A1) * (lengths(paths.u1) + norm(paths.D) * lengths(paths.u2))
    by_norms = (lengths(paths.d) + through1 + norm(paths.A2) * lengths(paths.u2)) ** 2
    return np.asarray(np.minimum(by_entries, by_norms))


def _adjoint_product(left: Array, right: Array) -> Array:
    """left^H right, without a conjugated copy of the large left factor."""
    return np.asarray(np.swapaxes((np.swapaxes(right.conj(), -1, -2) @ left).conj(), -1, -2))
