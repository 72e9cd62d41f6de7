"""The instantaneous task with local scattering: channels smooth enough to be sensed at a part of the elements.

All hops have waves from around one direction at a surface (`ris.predictors.waves`) and no line of sight;
elements lie close together. So every s-th element tells the channel of all, as long as those are at most half
a wavelength apart: a plane wave of direction cosine u turns by 2 pi s d u from one to the next, which has to
stay below pi. The map is therefore that of the users' hop alone. A cascade of two hops, with the difference of
two cosines, would need twice as many elements; what the hops between arrays do is known at every element.

Users may move. Pilots then are 1, 2, ... intervals T old when the phases are used, and the amplitude of every
wave is a Gaussian process with the autocorrelation J0(2 pi f_d T n) of Clarke and Jakes.
"""

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
    """

    side: int = 16
    users: int = 4
    frames: int = 1
    doppler: tuple[float, float] | None = None
    pilot_db: tuple[float, float] = (10.0, 30.0)

    name = "scattered"

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return 2 * self.frames + COMMON

    def training_batch(self, step: int, count: int, seed: int) -> ScatteredBatch:
        """New systems."""
        users = USERS[step % len(USERS)]
        return self._draw(Stream(seed, self.name, "train"), users, TRAINED, count, step * count)

    def systems(self, split: Split, count: int, first: int = 0) -> ScatteredBatch:
        """Return systems of a split; other ranges of f_d T and of the SNR change these and the noise alone."""
        geometry = UNSEEN if split == "unseen" else TRAINED
        return self._draw(Stream(0, self.name, split, self.users), self.users, geometry, count, first)

    def _draw(self, stream: Stream, users: int, geometry: Geometry, count: int, first: int) -> ScatteredBatch:
        side, N, M, K, waves = self.side, self.side**2, ANTENNAS, users, NODES**2
        # At surface 1 towards the BS and surface 2, at 2 towards the BS and surface 1; then the users.
        hops = directions(stream.child("hops"), 4, count, first, geometry, geometry.hop_spread)
        sights = directions(stream.child("users"), 2 * K, count, first, geometry, geometry.user_spread)
        gains = decibels(stream.child("gains"), 2 * K, count, first, SINGLE_DB)
        snr = decibels(stream.child("SNR"), 1, count, first, SNR_DB)[:, 0]
        ratio = decibels(stream.child("between"), 1, count, first, DOUBLE_DB)[:, 0]
        share = uniform(stream.child("pilots and motion"), 2, count, first)
        pilots = 10 ** (between(share[:, 0], self.pilot_db) / 10)
        doppler = np.zeros(count)
        if self.doppler is not None:
            low, high = np.log(self.doppler)
            doppler = np.exp(between(share[:, 1], (low, high)))

        def complex_normal(name: str, *shape: int) -> Complex:
            parts = normal(stream.child(name), 2 * int(np.prod(shape)), count, first).reshape(
                count, *shape, 2
            )
            return np.asarray((parts[..., 0] + 1j * parts[..., 1]) / np.sqrt(2), np.complex128)

        factor = factors(*hops, side, SPACING).reshape(count, 4, waves, N)
        at1b, at1d, at2b, at2d = np.moveaxis(factor, 1, 0)
        G1, G2 = (
            at.swapaxes(-1, -2) @ complex_normal(f"BS to {i + 1}", waves, M)
            for i, at in enumerate((at1b, at2b))
        )
        core = complex_normal("1 to 2", waves, waves) * np.sqrt(ratio / N**2)[:, None, None]
        D = LowRank(at2d.swapaxes(-1, -2), core @ at1d.conj())
        h, known, pilot_maps, strengths = [], [], [], []
        for i in (0, 1):
            own = slice(i * K, (i + 1) * K)
            gain = gains[:, own] * (snr / (M * N**2))[:, None]
            white = complex_normal(f"users {i + 1}", self.frames + 1, K, waves)
            amplitudes = np.einsum("bij,bjkw->bikw", _root(doppler, self.frames + 1), white)
            at = (angles[:, None, own] for angles in sights)
            field = fields(*at, amplitudes, side, SPACING)
            noise = complex_normal(f"pilots {i + 1}", self.frames, K, side, side)
            heard = field[:, 1:] + noise / np.sqrt(pilots)[:, None, None, None, None]
            amplitude = np.sqrt(gain)[..., None]
            h.append(amplitude * field[:, 0].reshape(count, K, N))
            known.append(amplitude * heard[:, 0].reshape(count, K, N))
            # What steers towards a user is the conjugate of the row of the channel.
            parts = np.stack([heard.real, -heard.imag], axis=2)
            pilot_maps.append(np.moveaxis(parts.reshape(count, 2 * self.frames, K, side, side), 1, 2))
            strengths.append(gain * M * N**2)
        maps = _maps(pilot_maps, strengths, ratio, pilots, doppler)
        steering = _steering(hops[0], side)
        return ScatteredBatch(maps, G1, G2, D, h[0], h[1], known[0], known[1], True, steering)


def _root(doppler: Real, frames: int) -> Real:
    """Symmetric root of the correlation J0(2 pi f_d T n) of frames, shape (B, frames, frames).

    Slow users make it singular: its smallest eigenvalues then are rounding, of either sign.
    """
    apart = np.arange(frames)[:, None] - np.arange(frames)
    values, vectors = np.linalg.eigh(j0(2 * np.pi * doppler[:, None, None] * apart))
    root: Real = (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.swapaxes(-1, -2)
    return root


def _maps(
    pilot_maps: list[Real], strengths: list[Real], ratio: Real, pilots: Real, doppler: Real
) -> NDArray[np.float32]:
    B, K, heard, side, _ = pilot_maps[0].shape
    maps = np.zeros((2, B, K, heard + COMMON, side, side), np.float32)
    position = np.linspace(-1, 1, side)
    double = strengths[1] * ratio[:, None]
    for surface in (0, 1):
        maps[surface, :, :, :heard] = pilot_maps[surface]
        values: tuple[Any, ...] = (
            position[:, None],
            position,
            *(
                np.log10(value)[..., None, None]
                for value in (strengths[surface], double, strengths[1 - surface], pilots[:, None])
            ),
            doppler[:, None, None, None],
            surface,
        )
        for i, value in enumerate(values):
            maps[surface, :, :, heard + i] = value
    return maps.reshape(-1, *maps.shape[2:])


def _steering(angles: Real, side: int) -> NDArray[np.float32]:
    """Conjugates of what arrives; and at surface 1, for the double reflection, with what leaves towards 2."""
    from_bs1, to_2, from_bs2, from_1 = np.moveaxis(plane_waves(angles, side, SPACING), 1, 0)
    pairs = np.array([[from_bs1.conj(), to_2 * from_bs1.conj()], [from_bs2.conj(), from_1.conj()]])
    parts = np.moveaxis(np.stack([pairs.real, pairs.imag], axis=2), 3, 1)
    return np.asarray(parts.reshape(-1, 1, 4, side, side), np.float32)
