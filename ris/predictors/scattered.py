"""The instantaneous task with local scattering: channels so smooth that a part of the elements tells them.

All hops have waves from around one direction at a surface (`ris.predictors.waves`) and no line of sight;
elements lie close together. So every s-th element tells the channel of all, as long as those are at most half
a wavelength apart: a plane wave of direction cosine u turns by 2 pi s d u from one to the next, which has to
stay below pi. The map is therefore that of the users' hop alone. A cascade of two hops, with the difference
of two cosines, would need twice as many elements; what the hops between arrays do is known at all of them.

Users may move. Pilots then are 1, 2, ... intervals T old when the phases are used, and the amplitude of every
wave is a Gaussian process with the autocorrelation J0(2 pi f_d T n) of Clarke and Jakes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from channels.draws import normal, uniform
from channels.streams import Stream
from ris.backend import Array
from ris.predictors.geometry import TRAINED, UNSEEN, Geometry, between, decibels, directions
from ris.predictors.instantaneous import ANTENNAS, DOUBLE_DB, SINGLE_DB, SNR_DB, InstantaneousBatch
from ris.predictors.task import Split
from ris.predictors.waves import NODES, factors, fields, plane_waves

__all__ = ["SPACING", "LowRank", "ScatteredBatch", "ScatteredTask"]

SPACING = 0.125
"""Distance of neighbouring elements in wavelengths: every fourth is half a wavelength from the next."""

USERS = (4, 2, 4, 3)
"""Numbers of users of the training, step by step."""

COMMON = 8
"""Channels of the maps besides the pilots."""

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LowRank:
    """A product of matrices, shapes (B, N, p) and (B, p, N), applied one after the other."""

    left: Array
    right: Array

    def __matmul__(self, columns: Array) -> Array:
        return self.left @ (self.right @ columns)


@dataclass(frozen=True, eq=False)
class ScatteredBatch(InstantaneousBatch):
    """Channels of B systems, with D as `LowRank`; `known1` and `known2` are the latest pilots.

    Attributes
    ----------
    maps : array, shape (2 B, K, 2 frames + 8, side, side)
        Real and imaginary parts of what steers towards the users, from the latest pilots to the oldest; row,
        column, log10 of the SNR by the single, the double and the other single reflection and of the pilots,
        f_d T, and whether it is surface 2.
    steering : array, shape (2 B, 1, 4, side, side)
        Real and imaginary part of what makes the single and the double reflection steer so, if the hops
        between arrays had their middle directions alone.
    """

    steering: Array


@dataclass(frozen=True)
class ScatteredTask:
    """A `ris.predictors.task.Task`.

    Parameters
    ----------
    side : int
        Rows and columns of both surfaces.
    users : int
        Users of the systems of `systems`.
    frames : int
        Successive pilots.
    doppler : pair of float, optional
        Range of f_d T, logarithmically uniform; None for users that do not move.
    pilot_db : pair of float
        Range of the SNR of the pilots, for a mean channel between element and user.
    combined : bool
        Whether the maps hold, instead of all pilots, their Wiener estimate of the channel.
    """

    side: int = 16
    users: int = 4
    frames: int = 1
    doppler: tuple[float, float] | None = None
    pilot_db: tuple[float, float] = (10.0, 30.0)
    combined: bool = False

    name = "scattered"

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return 2 * (1 if self.combined else self.frames) + COMMON

    def training_batch(self, step: int, count: int, seed: int) -> ScatteredBatch:
        """New systems."""
        users = USERS[step % len(USERS)]
        return self._draw(Stream(seed, self.name, "train"), users, TRAINED, count, step * count)

    def systems(self, split: Split, count: int, first: int = 0) -> ScatteredBatch:
        """Return systems of a split; other ranges of f_d T and of the SNR change motion and noise alone."""
        geometry = UNSEEN if split == "unseen" else TRAINED
        return self._draw(Stream(0, self.name, split, self.users), self.users, geometry, count, first)

    def _draw(self, stream: Stream, users: int, geometry: Geometry, count: int, first: int) -> ScatteredBatch:
        draws = _Draws(stream, count, first)
        # At surface 1 towards the BS and surface 2, at 2 towards the BS and surface 1; then the users.
        hops = directions(stream.child("hops"), 4, count, first, geometry, geometry.hop_spread)
        sights = directions(stream.child("users"), 2 * users, count, first, geometry, geometry.user_spread)
        gains = decibels(stream.child("gains"), 2 * users, count, first, SINGLE_DB)
        snr = decibels(stream.child("SNR"), 1, count, first, SNR_DB)
        ratio = decibels(stream.child("between"), 1, count, first, DOUBLE_DB)[:, 0]
        share = uniform(stream.child("pilots and motion"), 2, count, first)
        pilots = 10 ** (between(share[:, 0], self.pilot_db) / 10)
        doppler = np.zeros(count)
        if self.doppler is not None:
            low, high = np.log(self.doppler)
            doppler = np.exp(between(share[:, 1], (low, high)))
        G1, G2, D = _between_arrays(draws, *hops, ratio, self.side)
        correlation = _correlation(doppler, self.frames + 1)
        # What the SNR of a path over a surface is, for a gain of one, if all is coherent.
        coherent = ANTENNAS * self.side**4
        h, known, told, strengths = [], [], [], []
        for i in (0, 1):
            angles, spreads, single = (one[:, i * users : (i + 1) * users] for one in (*sights, gains))
            gain = single * (snr / coherent)
            field, heard = _pilots(draws, i + 1, angles, spreads, correlation, pilots, self.side)
            amplitude = np.sqrt(gain)[..., None]
            h.append(amplitude * field.reshape(count, users, -1))
            known.append(amplitude * heard[:, 0].reshape(count, users, -1))
            told.append(_wiener(correlation, pilots, heard) if self.combined else heard)
            strengths.append(gain * coherent)
        maps = _maps(told, strengths, ratio, pilots, doppler)
        steering = _steering(hops[0], self.side)
        return ScatteredBatch(
            maps, G1, G2, D, h[0], h[1], known[0], known[1], known[0], known[1], True, steering
        )


@dataclass(frozen=True)
class _Draws:
    """Numbers of the systems first, first + 1, ..."""

    stream: Stream
    count: int
    first: int

    def complex_normal(self, name: str, *shape: int) -> Complex:
        """Of variance one, shape (count, *shape)."""
        parts = normal(self.stream.child(name), 2 * math.prod(shape), self.count, self.first)
        pairs = parts.reshape(self.count, *shape, 2)
        return np.asarray((pairs[..., 0] + 1j * pairs[..., 1]) / math.sqrt(2), np.complex128)


def _between_arrays(
    draws: _Draws, angles: Real, spreads: Real, ratio: Real, side: int
) -> tuple[Complex, Complex, LowRank]:
    """Return G1, G2 and D. At the BS, antennas are far apart."""
    factor = factors(angles, spreads, side, SPACING).reshape(draws.count, 4, NODES**2, side**2)
    at1b, at1d, at2b, at2d = np.moveaxis(factor, 1, 0)
    G1, G2 = (
        at.swapaxes(-1, -2) @ draws.complex_normal(f"BS to {i + 1}", NODES**2, ANTENNAS)
        for i, at in enumerate((at1b, at2b))
    )
    core = draws.complex_normal("1 to 2", NODES**2, NODES**2) * np.sqrt(ratio / side**4)[:, None, None]
    return G1, G2, LowRank(at2d.swapaxes(-1, -2), core @ at1d.conj())


def _pilots(
    draws: _Draws, surface: int, angles: Real, spreads: Real, correlation: Real, pilots: Real, side: int
) -> tuple[Complex, Complex]:
    """Return rows to users now, (B, K, side, side), and as pilots told them, (B, frames, K, side, side)."""
    frames, users = correlation.shape[-1], spreads.shape[1]
    white = draws.complex_normal(f"users {surface}", frames, users, NODES**2)
    amplitudes = np.einsum("bij,bjkw->bikw", _root(correlation), white)
    field = fields(angles[:, None], spreads[:, None], amplitudes, side, SPACING)
    noise = draws.complex_normal(f"pilots {surface}", frames - 1, users, side, side)
    return field[:, 0], field[:, 1:] + noise / np.sqrt(pilots)[:, None, None, None, None]


def _correlation(doppler: Real, frames: int) -> Real:
    """J0(2 pi f_d T n) of frames n intervals apart, shape (B, frames, frames)."""
    apart = np.arange(frames)[:, None] - np.arange(frames)
    return np.asarray(j0(2 * np.pi * doppler[:, None, None] * apart))


def _root(correlation: Real) -> Real:
    """Symmetric root of a correlation of frames.

    Slow users make it singular: its smallest eigenvalues then are rounding, of either sign.
    """
    values, vectors = np.linalg.eigh(correlation)
    root: Real = (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.swapaxes(-1, -2)
    return root


def _wiener(correlation: Real, pilots: Real, heard: Complex) -> Complex:
    """Return c^H (C + I / SNR)^-1 of the pilots, shape (B, 1, ...): the linear estimate of least mean square.

    C is the correlation of the pilots, and c that with the channel now, the first frame.
    """
    noise = np.eye(correlation.shape[-1] - 1) / pilots[:, None, None]
    weights = np.linalg.solve(correlation[:, 1:, 1:] + noise, correlation[:, 1:, :1])
    return np.asarray(np.einsum("bft,bf...->bt...", weights, heard))


def _maps(
    told: list[Complex], strengths: list[Real], ratio: Real, pilots: Real, doppler: Real
) -> NDArray[np.float32]:
    B, frames, K, side, _ = told[0].shape
    maps = np.zeros((2, B, K, 2 * frames + COMMON, side, side), np.float32)
    position = np.linspace(-1, 1, side)
    double = strengths[1] * ratio[:, None]
    for surface in (0, 1):
        row = np.moveaxis(told[surface], 1, 2)
        # What steers towards a user is the conjugate of the row of the channel.
        maps[surface, :, :, 0 : 2 * frames : 2], maps[surface, :, :, 1 : 2 * frames : 2] = row.real, -row.imag
        ratios = (strengths[surface], double, strengths[1 - surface], pilots[:, None])
        values: tuple[Any, ...] = (
            position[:, None],
            position,
            *(np.log10(value)[..., None, None] for value in ratios),
            doppler[:, None, None, None],
            surface,
        )
        for i, value in enumerate(values):
            maps[surface, :, :, 2 * frames + i] = value
    return maps.reshape(-1, *maps.shape[2:])


def _steering(angles: Real, side: int) -> NDArray[np.float32]:
    """Conjugates of what arrives; and at surface 1, for the double reflection, with what leaves towards 2."""
    from_bs1, to_2, from_bs2, from_1 = np.moveaxis(plane_waves(angles, side, SPACING), 1, 0)
    pairs = np.array([[from_bs1.conj(), to_2 * from_bs1.conj()], [from_bs2.conj(), from_1.conj()]])
    parts = np.moveaxis(np.stack([pairs.real, pairs.imag], axis=2), 3, 1)
    return np.asarray(parts.reshape(-1, 1, 4, side, side), np.float32)
