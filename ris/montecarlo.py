"""Monte Carlo: draws of the users' channels, and estimates of moments and rates from them."""

import dataclasses
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
from ris.csi import AnyCsi, PilotCsi
from ris.estimates import Estimate, Observations
from ris.mean_gain import mean_emi_power
from ris.options import Csi, Engine, Precision
from ris.precoders import MAXIMUM_RATIO, Precoder, check_precoder
from ris.sampler import ChannelSampler, Tile, check_threads
from ris.system import DoubleRIS
from ris.transmitter import Transmitter

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
    """Estimates from simulated channels h_k and precoders f_k; simulations merge.

    Rates are in bit/s/Hz, with total power `power`. |f_k|^2 is the power of user k, but with `MRT` as in the
    closed forms f_k is the channel that the BS knows, and powers are those of
    (power / sum_i E|f_i|^2)^(1/2) f_k, as in `rate_from_moments`.

    All estimates are plain means over independent realizations, or functions of such means. For the ergodic
    rate with long-term normalisation that takes E|f_i|^2 beforehand: in closed form with `MRT`, for other
    precoders from 1,024 further realizations, whose error is corrected along the way to first order
    (`ris.transmitter`). What is left is of the order of the squared relative error of their mean power in
    bit/s/Hz, 1e-3 where the power spreads by as much as its mean.

    Parameters
    ----------
    power, noise_power : float
        Total transmit power and noise power at a user, linear, in one unit.
    csi : {"perfect", "nominal"} or PilotCsi
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
    precoder : MRT, ZF, RZF, MMSE or WMMSE
        How the BS precodes.
    unconverged : int
        Realizations in which the iteration of `WMMSE` stopped before its tolerance was met.
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
    precoder: Precoder = field(default=MAXIMUM_RATIO, kw_only=True)
    unconverged: int = field(default=0, kw_only=True)

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
        mine, its = ((one.power, one.noise_power, one.csi, one.precoder) for one in (self, other))
        if mine != its:
            raise InvalidArgumentError(
                "other", f"a simulation at (power, noise_power, csi, precoder) = {mine}", f"{its}"
            )
        return dataclasses.replace(
            self,
            per_user=self.per_user.merge(other.per_user),
            interferences=self.interferences.merge(other.interferences),
            gain_products=self.gain_products.merge(other.gain_products),
            observed=_merged(self.observed, other.observed),
            emi_powers=_merged(self.emi_powers, other.emi_powers),
            unconverged=self.unconverged + other.unconverged,
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
    precoder: Precoder = MAXIMUM_RATIO,
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
    csi : {"perfect", "nominal"} or PilotCsi
        What the BS knows, as for `closed_form_moments`; precoders follow from that, rates from the true
        channels.
    precoder : MRT, ZF, RZF, MMSE or WMMSE
        How the BS precodes: `ris.precoders` has the choices. By default it is the precoder of the closed
        forms; with any other the power must be above zero.
    observe : callable, optional
        Called for each tile, in threads and in any order, with the instantaneous rates log2(1 + SINR_k) in
        bit/s/Hz, shape (realizations, K); returns numbers of any kind for each realization, shape
        (realizations, m), whose means and co-moments the simulation keeps in `observed`. With long-term
        normalisation of other precoders than `MRT` the rates are those before that correction.
    progress : callable, optional
        Called with the number of realizations done, after each tile.

    Returns
    -------
    Simulation
        The same to the last bit for any number of threads.

    Raises
    ------
    InvalidArgumentError, MemoryLimitError
        As for `draw_channels`, and if the channels that the BS knows do not allow the precoder (`precode`).
    """
    integer("realizations", realizations, minimum=1)
    integer("first", first, minimum=0)
    closed = check_precoder(precoder) == MAXIMUM_RATIO
    power = (non_negative if closed else positive)("power", power)
    noise_power = positive("noise_power", noise_power)
    threads = check_threads(threads)
    drawn: Csi = "perfect" if isinstance(csi, PilotCsi) else csi
    sampler = ChannelSampler(system, theta1, theta2, as_stream(seed), drawn, engine, precision)
    _check_memory(sampler, 0, threads, memory_limit)
    mean_emi = None
    if system.emi1 is not None or system.emi2 is not None:
        mean_emi = mean_emi_power(system, sampler.theta1, sampler.theta2)
    transmitter = Transmitter(system, sampler, precoder, csi, as_stream(seed), power, noise_power, threads)

    def measure_tile(done: int, tile: Tile, emi: NDArray[np.float64] | None) -> Simulation:
        precoders, unconverged = transmitter.precoders(tile, first + done)
        share = 0.0 if emi is None else emi / noise_power
        noise = np.broadcast_to(transmitter.noise * (1 + share), (system.users, tile.shape[-1]))
        per_user, interference, product = _measured(tile[:, :, : system.users], precoders, noise)
        observed = None if observe is None else Observations.of(observe(per_user[4].T))
        transmitter.correct(per_user[4], per_user[3])
        return Simulation(
            power,
            noise_power,
            csi,
            Observations.of(per_user.reshape(-1, per_user.shape[-1]).T),
            Observations.of(np.moveaxis(interference, -1, 0)[..., None]),
            Observations.of(np.moveaxis(product, -1, 0)[..., None]),
            observed,
            mean_emi=mean_emi,
            emi_powers=None if emi is None else Observations.of(emi.T),
            precoder=precoder,
            unconverged=unconverged,
        )

    parts = sampler.each(measure_tile, first, realizations, threads)
    for result in itertools.accumulate(parts, Simulation.merge):
        if progress is not None:
            progress(result.realizations)
    return result


def as_stream(seed: int | Stream) -> Stream:
    """Return the stream of a seed."""
    return seed if isinstance(seed, Stream) else Stream(seed)


def _measured(
    channels: Tile, precoders: Tile, noise: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    _, _, K, B = channels.shape
    per_user, interference, product = np.empty((5, K, B)), np.empty((K, K, B)), np.empty((K, K, B))
    measure(per_user, interference, product, channels, precoders, noise)
    return per_user, interference, product


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
