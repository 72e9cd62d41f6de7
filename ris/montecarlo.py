"""Monte Carlo: draws of the users' channels, and estimates of moments and rates from them."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import integer, non_negative, positive
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.streams import Stream
from ris._kernels.statistics import measure
from ris.csi import AnyCsi, LmmseCsi
from ris.estimates import Estimate, Observations
from ris.mean_gain import mean_emi_power, mean_precoder_gain, nominal_turns
from ris.options import Csi, Engine, Precision
from ris.pilots import PilotEstimator
from ris.sampler import ChannelSampler, Tile, check_threads
from ris.system import DoubleRIS

__all__ = ["Simulation", "draw_channels", "simulate"]

MEMORY_LIMIT = 4e9
"""Bytes that a draw may take unless the caller allows more."""


def draw_channels(
    system: DoubleRIS,
    theta1: Any = None,
    theta2: Any = None,
    *,
    realizations: int,
    seed: int | Stream,
    engine: Engine = "reduced",
    precision: Precision = "double",
    first: int = 0,
    threads: int | None = None,
    memory_limit: float = MEMORY_LIMIT,
) -> NDArray[np.complexfloating[Any]]:
    """Draw the channels of all users.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : array_like, shapes (N1,) and (N2,), radians
        Phase shifts; None only for a surface that no hop touches.
    realizations : int
        Number of realizations n, at least 1.
    seed : int or Stream
        A whole number >= 0, or a stream of random numbers.
    engine : {"reduced", "explicit"}
        "reduced" draws the law of the channels of all users without the hop matrices (see `ris.reduced`),
        exactly and many times faster; "explicit" draws every hop matrix: other numbers, the same law.
        Phase shifts that follow the instantaneous hops, anew in each realization, are beyond the reduced
        engine: its law holds given phase shifts that depend on statistics alone.
    precision : {"double", "single"}
        Arithmetic of the reduced engine. In single precision the channels differ from those of double
        precision by 2e-7 of their root mean square (measured; more where users' columns nearly coincide),
        and a draw takes 0.7 of the time at 256 elements and 0.6 from 1,024 on.
    first : int
        Number of the first realization: draws of [0, 10) and [10, 20) together are those of [0, 20).
    threads : int, optional
        Threads to draw in; by default as many as processors. The draws do not depend on it.
    memory_limit : float
        Bytes that the request may take.

    Returns
    -------
    ndarray, shape (n, M, K)
        Channels h_k, column vectors towards the BS: user k receives h_k^H x. complex128, in single precision
        complex64.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    MemoryLimitError
        If result and workspace would exceed `memory_limit`.
    """
    integer("realizations", realizations, minimum=1)
    integer("first", first, minimum=0)
    threads = check_threads(threads)
    sampler = ChannelSampler(system, theta1, theta2, as_stream(seed), "perfect", engine, precision)
    size = 16 * realizations * system.antennas * system.users
    _check_memory(sampler, size, threads, memory_limit)
    kind = np.complex128 if precision == "double" else np.complex64
    out = np.empty((realizations, system.antennas, system.users), kind)

    def keep(done: int, tile: Tile, _: NDArray[np.float64] | None) -> None:
        drawn = np.moveaxis(tile, -1, 0)
        out.real[done : done + len(drawn)] = drawn[:, :, 0]
        out.imag[done : done + len(drawn)] = drawn[:, :, 1]

    for _ in sampler.each(keep, first, realizations, threads):
        pass
    return out


@dataclass(frozen=True, eq=False)
class Simulation:
    """Estimates from simulated channels h_k and maximum-ratio precoders f_k; simulations merge.

    Rates are in bit/s/Hz, with total power `power` and precoders normalised by their mean gain, as in
    `rate_from_moments`. The normalisation uses the closed form of sum_i E|f_i|^2, so that the ergodic rate
    is a plain mean over independent realizations.

    Parameters
    ----------
    power, noise_power : float
        Total transmit power and noise power at a user, linear, in one unit.
    csi : {"perfect", "nominal"} or LmmseCsi
        What the BS knows.
    per_user : Observations
        Of five numbers for each user, shape (5 K,): Re h_k^H f_k, |h_k^H f_k|^2, sum over j != k of
        |h_k^H f_j|^2, |f_k|^2, instantaneous rate.
    interferences, gain_products : Observations
        Of |h_k^H f_j|^2 and of |h_k|^2 |h_j|^2, shape (K, K, 1).
    observed : Observations, optional
        Of what the caller of `simulate` observes beside these.
    mean_emi : ndarray, shape (K,), optional
        Mean power of the interference that the surfaces reflect to each user, in closed form, as the
        hardening bound and the ratio of moments take it.
    emi_powers : Observations, optional
        Of that power, shape (K,).
    """

    power: float
    noise_power: float
    csi: AnyCsi
    per_user: Observations
    interferences: Observations
    gain_products: Observations
    observed: Observations | None = None
    mean_emi: NDArray[np.float64] | None = field(default=None, kw_only=True)
    emi_powers: Observations | None = field(default=None, kw_only=True)

    @property
    def realizations(self) -> int:
        """Number of realizations."""
        return self.per_user.count

    @property
    def mean_gain(self) -> Estimate:
        """E h_k^H f_k, shape (K,)."""
        return self._entry(0)

    @property
    def precoder_gain(self) -> Estimate:
        """E |f_k|^2, shape (K,)."""
        return self._entry(3)

    @property
    def interference(self) -> Estimate:
        """E |h_k^H f_j|^2, shape (K, K)."""
        return _squeezed(self.interferences.estimate())

    @property
    def gain_product(self) -> Estimate:
        """E |h_k|^2 |h_j|^2, shape (K, K)."""
        return _squeezed(self.gain_products.estimate())

    @property
    def emi_power(self) -> Estimate | None:
        """Mean power of the interference that the surfaces reflect to each user, shape (K,); None without."""
        return None if self.emi_powers is None else self.emi_powers.estimate()

    @property
    def ergodic_rate(self) -> Estimate:
        """E log2(1 + SINR_k) of a user that knows its instantaneous gains, shape (K,)."""
        return self._entry(4)

    @property
    def ergodic_sum_rate(self) -> Estimate:
        """Sum of the ergodic rates, a scalar."""
        total = np.zeros_like(self.per_user.mean)
        total[4 * self._users :] = 1
        return self.per_user.function(float(self.ergodic_rate.value.sum()), total)

    @property
    def hardening_rate(self) -> Estimate:
        """The hardening bound at the estimated moments, shape (K,)."""
        return self.per_user.function(*self._hardening)

    @property
    def hardening_sum_rate(self) -> Estimate:
        """Sum of the hardening bounds, a scalar."""
        return self._summed(*self._hardening)

    @property
    def ratio_rate(self) -> Estimate:
        """The ratio of moments as a rate, at the estimated moments, shape (K,)."""
        return self.per_user.function(*self._ratio)

    @property
    def ratio_sum_rate(self) -> Estimate:
        """Sum of the ratio-of-moments rates, a scalar."""
        return self._summed(*self._ratio)

    def merge(self, other: "Simulation") -> "Simulation":
        """Join simulations of the same system over different realizations."""
        mine, its = (self.power, self.noise_power, self.csi), (other.power, other.noise_power, other.csi)
        if mine != its:
            raise InvalidArgumentError(
                "other", f"a simulation at (power, noise_power, csi) = {mine}", f"{its}"
            )
        return Simulation(
            *mine,
            self.per_user.merge(other.per_user),
            self.interferences.merge(other.interferences),
            self.gain_products.merge(other.gain_products),
            _merged(self.observed, other.observed),
            mean_emi=self.mean_emi,
            emi_powers=_merged(self.emi_powers, other.emi_powers),
        )

    @property
    def _users(self) -> int:
        return int(self.interferences.mean.shape[0])

    def _entry(self, number: int) -> Estimate:
        all_entries = self.per_user.estimate()
        part = slice(number * self._users, (number + 1) * self._users)
        return Estimate(all_entries.value[part], all_entries.standard_error[part])

    def _summed(self, value: NDArray[np.float64], gradient: NDArray[np.float64]) -> Estimate:
        return self.per_user.function(float(value.sum()), gradient.sum(axis=0))

    @property
    def _noise(self) -> NDArray[np.float64]:
        """Mean noise power of each user, what surfaces reflect included."""
        return np.full(self._users, self.noise_power) + (0.0 if self.mean_emi is None else self.mean_emi)

    @functools.cached_property
    def _hardening(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Rate log2(total / rest) with rest = P (F - C^2 + I) + s2 sum Q and total = rest + P C^2.
        C, F, J, Q, _ = self.per_user.mean.reshape(5, -1)
        P, s2 = self.power, self._noise
        rest = P * (F - C**2 + J) + s2 * Q.sum()
        total = rest + P * C**2
        by_rest = 1 / total - 1 / rest
        return _rate(total, rest, (2 * P * C / rest, P * by_rest, P * by_rest, s2 * by_rest))

    @functools.cached_property
    def _ratio(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Rate log2(total / rest) with rest = P J + s2 sum Q and total = rest + P F.
        _, F, J, Q, _ = self.per_user.mean.reshape(5, -1)
        P, s2 = self.power, self._noise
        rest = P * J + s2 * Q.sum()
        total = rest + P * F
        by_rest = 1 / total - 1 / rest
        return _rate(total, rest, (np.zeros_like(F), P / total, P * by_rest, s2 * by_rest))


def simulate(
    system: DoubleRIS,
    theta1: Any = None,
    theta2: Any = None,
    *,
    power: float,
    noise_power: float,
    realizations: int,
    seed: int | Stream,
    csi: AnyCsi = "perfect",
    engine: Engine = "reduced",
    precision: Precision = "double",
    first: int = 0,
    threads: int | None = None,
    memory_limit: float = MEMORY_LIMIT,
    observe: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Estimate moments and rates by simulation.

    Parameters
    ----------
    system, theta1, theta2, realizations, seed, engine, precision, first, threads, memory_limit
        As for `draw_channels`.
    power, noise_power : float
        Total transmit power (>= 0) and noise power at a user (> 0), linear, in the same unit.
    csi : {"perfect", "nominal"} or LmmseCsi
        What the BS knows, as for `closed_form_moments`.
    observe : callable, optional
        Called for each tile, in threads and in any order, with the instantaneous rates log2(1 + SINR_k) in
        bit/s/Hz, shape (realizations, K); returns numbers of any kind for each realization, shape
        (realizations, m), whose means and co-moments the simulation keeps in `observed`.
    progress : callable, optional
        Called with the number of realizations done, after each tile.

    Returns
    -------
    Simulation
        The same to the last bit for any number of threads.

    Raises
    ------
    InvalidArgumentError, MemoryLimitError
        As for `draw_channels`.
    """
    integer("realizations", realizations, minimum=1)
    integer("first", first, minimum=0)
    power, noise_power = non_negative("power", power), positive("noise_power", noise_power)
    threads = check_threads(threads)
    drawn: Csi = "perfect" if isinstance(csi, LmmseCsi) else csi
    sampler = ChannelSampler(system, theta1, theta2, as_stream(seed), drawn, engine, precision)
    _check_memory(sampler, 0, threads, memory_limit)
    theta1, theta2 = sampler.theta1, sampler.theta2
    pilots = None
    if isinstance(csi, LmmseCsi):
        pilots = PilotEstimator(system, theta1, theta2, csi, as_stream(seed).child("pilots"))
        total = pilots.mean_gain
    else:
        total = float(np.sum(mean_precoder_gain(system, theta1, theta2, csi)))
    noise = noise_power * total / power if power > 0 else np.inf
    K = system.users
    mean_emi = None
    if system.emi1 is not None or system.emi2 is not None:
        mean_emi = mean_emi_power(system, theta1, theta2)
    turns = None
    if csi == "nominal" and not (system.hardware1.alike and system.hardware2.alike):
        turns = nominal_turns(system, theta1, theta2)

    def measure_tile(done: int, tile: Tile, emi: NDArray[np.float64] | None) -> Simulation:
        precoders = tile[:, :, -K:] if pilots is None else pilots.estimates(tile, first + done)
        if turns is not None:
            precoders = _turned(precoders, turns)
        return _observe(tile[:, :, :K], precoders, noise, power, noise_power, csi, observe, mean_emi, emi)

    parts = sampler.each(measure_tile, first, realizations, threads)
    for result in itertools.accumulate(parts, Simulation.merge):
        if progress is not None:
            progress(result.realizations)
    return result


def as_stream(seed: int | Stream) -> Stream:
    """Return the stream of a seed."""
    return seed if isinstance(seed, Stream) else Stream(seed)


def _turned(precoders: Tile, turns: NDArray[np.complex128]) -> Tile:
    """Multiply the precoders of each user by its phasor."""
    re, im = precoders[:, 0], precoders[:, 1]
    cosines, sines = turns.real[:, None], turns.imag[:, None]
    return np.stack([re * cosines - im * sines, re * sines + im * cosines], axis=1)


def _observe(
    channels: Tile,
    precoders: Tile,
    noise: float,
    power: float,
    noise_power: float,
    csi: AnyCsi,
    observe: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None,
    mean_emi: NDArray[np.float64] | None,
    emi: NDArray[np.float64] | None,
) -> Simulation:
    _, _, K, B = channels.shape
    noises = np.full((K, B), noise) if emi is None else noise * (1 + emi / noise_power)
    per_user, interference, product = np.empty((5, K, B)), np.empty((K, K, B)), np.empty((K, K, B))
    measure(per_user, interference, product, channels, precoders, noises)
    return Simulation(
        power,
        noise_power,
        csi,
        Observations.of(per_user.reshape(-1, B).T),
        Observations.of(np.moveaxis(interference, -1, 0)[..., None]),
        Observations.of(np.moveaxis(product, -1, 0)[..., None]),
        None if observe is None else Observations.of(observe(per_user[4].T)),
        mean_emi=mean_emi,
        emi_powers=None if emi is None else Observations.of(emi.T),
    )


def _merged(mine: Observations | None, its: Observations | None) -> Observations | None:
    return None if mine is None or its is None else mine.merge(its)


def _check_memory(sampler: ChannelSampler, result: int, threads: int, limit: float) -> None:
    needed = result + threads * sampler.workspace_bytes
    if needed > positive("memory_limit", limit):
        raise MemoryLimitError(
            "the draw", needed, int(limit), "ask for fewer realizations at a time, or raise memory_limit"
        )


def _rate(
    total: NDArray[np.float64], rest: NDArray[np.float64], partial: tuple[NDArray[np.float64], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log2(total / rest) and its gradient over the 5 K means; `partial` by the user's C, F, J and every Q."""
    by_own = partial[:3]
    K = len(total)
    gradient = np.zeros((K, 5, K))
    for entry, derivative in enumerate(by_own):
        gradient[np.arange(K), entry, np.arange(K)] = derivative
    gradient[:, 3, :] = partial[3][:, None]
    return np.log2(total / rest), gradient.reshape(K, -1) / np.log(2)


def _squeezed(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value[..., 0], estimate.standard_error[..., 0])
