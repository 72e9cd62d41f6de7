"""The statistical task: phases from users' directions, spreads and gains, for the exact hardening sum rate.

Users in different directions at both surfaces, all three reflected paths, local scattering around every
direction (`ris.predictors.waves`), phase noise by a von Mises law and quantisation. The loss is the closed
form itself: no labels, and no noise of sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import channels
from channels.correlation import Correlation, GridCorrelation, exponential_correlation
from channels.draws import uniform
from channels.phase_noise import PhaseNoise, QuantizationNoise, VonMises
from channels.streams import Stream
from ris.backend import Array
from ris.element_moments import ElementMoments
from ris.grid_reflection import GridReflection, GridSide, GridStack
from ris.link import BsTraces, Surface
from ris.moments import ClosedFormMoments
from ris.perfect_moments import perfect_moments, surface1_tables, surface2_tables
from ris.predictors.features import CHANNELS, Cascade, PathFeatures, cascade_of_lags, feature_maps
from ris.predictors.geometry import TRAINED, UNSEEN, Geometry, decibels, directions
from ris.predictors.task import Split
from ris.predictors.waves import factors, lags, principal_factors
from ris.rates import rate_from_moments
from ris.system import DoubleRIS

__all__ = ["Scenes", "StatisticalBatch", "StatisticalTask"]

ANTENNAS, NEIGHBOURS = 16, 0.5
"""Of the BS, and the correlation of neighbours (exponential) on its side of both hops."""

POOL = 512
"""Pairs of surfaces that the training combines with users, drawn anew for every step."""

USERS = (4, 2, 4, 3, 4, 6)
"""Numbers of users of the training, step by step."""

TOLERANCE = {"train": 1e-3, "test": 1e-4}
"""Eigenvalues of the surfaces' covariances towards the BS, relative, that the rates leave out."""

Real = NDArray[np.float64]


SNR_DB, SINGLE_DB, DOUBLE_DB = (-5.0, 10.0), (-6.0, 6.0), (-6.0, 6.0)
"""SNR of a user alone by a single reflection of middle strength; how single reflections differ from that; and
the double one, relative to the single one at surface 2: all as if coherent."""

CONCENTRATION, BITS = (2.0, 20.0), (0, 3, 2)
"""Von Mises phase noise, logarithmically uniform, and quantisation to so many bits (0: none)."""


@dataclass(frozen=True, eq=False)
class Infrastructure:
    """Directions and spreads, radians, at surface 1 towards the BS and surface 2, at 2 towards the BS and 1.

    Shapes (S, 4, 2) and (S, 4).
    """

    angles: Real
    spreads: Real

    @classmethod
    def draw(cls, stream: Stream, count: int, first: int, geometry: Geometry) -> "Infrastructure":
        """Draw S = count of them."""
        angles, spreads = directions(stream, 4, count, first, geometry, geometry.hop_spread)
        return cls(angles, spreads)

    def __getitem__(self, rows: NDArray[np.int64]) -> "Infrastructure":
        return Infrastructure(self.angles[rows], self.spreads[rows])


@dataclass(frozen=True, eq=False)
class Scenes:
    """Systems as numbers.

    Attributes
    ----------
    hops : Infrastructure
        The hops between arrays.
    angles, spreads : ndarray, shapes (S, K, 2, 2) and (S, K, 2)
        Directions (azimuth, elevation) and spreads of the users at surfaces 1 and 2, radians.
    gains : ndarray, shape (S, K, 2)
        Gains of the hops to the users; those of the BS's hops are one.
    between : ndarray, shape (S,)
        Gain of the hop between the surfaces.
    concentration, bits : ndarray, shape (S, 2)
        Laws of the phase noise.
    noise_power : ndarray, shape (S,)
        At transmit power one.
    """

    side: int
    hops: Infrastructure
    angles: Real
    spreads: Real
    gains: Real
    between: Real
    concentration: Real
    bits: NDArray[np.int64]
    noise_power: Real

    @classmethod
    def draw(
        cls,
        stream: Stream,
        count: int,
        *,
        side: int,
        users: int,
        geometry: Geometry,
        hops: Infrastructure | None = None,
        first: int = 0,
    ) -> "Scenes":
        """Draw S = count of them, between given surfaces or new ones."""
        angles, spreads = directions(
            stream.child("users"), 2 * users, count, first, geometry, geometry.user_spread
        )
        elements = side**2
        gains = decibels(stream.child("gains"), 2 * users, count, first, SINGLE_DB)
        law = uniform(stream.child("phase noise"), 4, count, first)
        low, high = np.log(CONCENTRATION)
        return cls(
            side=side,
            hops=hops or Infrastructure.draw(stream.child("hops"), count, first, geometry),
            angles=angles.reshape(count, users, 2, 2),
            spreads=spreads.reshape(count, users, 2),
            gains=gains.reshape(count, users, 2) / (ANTENNAS * elements**2),
            between=decibels(stream.child("between"), 1, count, first, DOUBLE_DB)[:, 0] / elements**2,
            concentration=np.exp(low + (high - low) * law[:, :2]),
            bits=np.array(BITS)[(len(BITS) * law[:, 2:]).astype(np.int64)],
            noise_power=1 / decibels(stream.child("SNR"), 1, count, first, SNR_DB)[:, 0],
        )

    def __len__(self) -> int:
        return len(self.noise_power)

    def noise_law(self, system: int, surface: int) -> PhaseNoise:
        """Return the law of the phase noise at surface 1 or 2."""
        bits = int(self.bits[system, surface - 1])
        law = VonMises(float(self.concentration[system, surface - 1]))
        return law + QuantizationNoise(bits) if bits else law

    def system(self, index: int) -> DoubleRIS:
        """Return one of them; its transmit power is one, its noise power `noise_power`."""

        def covariance(angles: Real, spread: Real) -> Correlation:
            return GridCorrelation(lags(angles, spread, self.side))

        bs = exponential_correlation(ANTENNAS, NEIGHBOURS)
        at1b, at1d, at2b, at2d = (
            covariance(self.hops.angles[index, i], self.hops.spreads[index, i]) for i in range(4)
        )
        user1, user2 = (
            channels.UserHop(
                self.gains[index, :, i], covariance(self.angles[index, :, i], self.spreads[index, :, i])
            )
            for i in (0, 1)
        )
        return DoubleRIS(
            bs_ris1=channels.Hop(1.0, bs, at1b),
            bs_ris2=channels.Hop(1.0, bs, at2b),
            ris1_ris2=channels.Hop(self.between[index], at1d, at2d),
            ris1_user=user1,
            ris2_user=user2,
            phase_noise1=self.noise_law(index, 1),
            phase_noise2=self.noise_law(index, 2),
        )


@dataclass(frozen=True, eq=False)
class HopTables:
    """Covariances of hops between arrays: at surface 1 towards BS and surface 2, at 2 towards BS and 1."""

    at1b: GridSide
    at1d: Array
    at2b: GridSide
    at2d: GridSide

    @classmethod
    def of(cls, hops: Infrastructure, side: int, tolerance: float) -> "HopTables":
        """Work them out."""

        def bs_side(i: int) -> GridSide:
            direction = hops.angles[:, i], hops.spreads[:, i], side
            return GridSide(principal_factors(factors(*direction), tolerance), lags(*direction))

        return cls(bs_side(0), lags(hops.angles[:, 1], hops.spreads[:, 1], side), bs_side(2), bs_side(3))

    def __getitem__(self, rows: NDArray[np.int64]) -> "HopTables":
        def taken(one: GridSide) -> GridSide:
            return GridSide(one.factor[rows], one.lags[rows])

        return HopTables(taken(self.at1b), self.at1d[rows], taken(self.at2b), taken(self.at2d))


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the paths as in `ris.moments`, shapes (B, K), and the BS's side of all hops."""

    a: Array
    b: Array
    c: Array
    d: Array
    x: Array
    bs_side: Array

    @property
    def bs(self) -> BsTraces:
        """Traces at the BS."""
        return BsTraces(self.bs_side[None, ...], self.bs_side, self.bs_side)


@dataclass(frozen=True, eq=False)
class StatisticalBatch:
    """Systems as their closed form needs them; a `ris.predictors.task.Batch`.

    Attributes
    ----------
    maps : array, shape (2 B, K, channels, side, side)
        Features of surface 1, then of surface 2.
    """

    maps: Array
    hops: HopTables
    sides1: GridStack
    sides2: GridStack
    weights: Weights
    moments1: ElementMoments
    moments2: ElementMoments
    noise_power: Array

    @classmethod
    def of(cls, scenes: Scenes, hops: HopTables) -> "StatisticalBatch":
        """Prepare systems."""
        B, K = scenes.noise_power.size, scenes.gains.shape[1]
        near, far = (lags(scenes.angles[:, :, i], scenes.spreads[:, :, i], scenes.side) for i in (0, 1))
        b, c = scenes.gains[..., 0], scenes.gains[..., 1]
        d = c * scenes.between[:, None]
        bs = exponential_correlation(ANTENNAS, NEIGHBOURS).matrix
        moments = []
        for surface in (1, 2):
            laws = [scenes.noise_law(i, surface) for i in range(B)]
            first, second = (np.array([[law.moment(m)] for law in laws]) for m in (1, 2))
            one = np.ones_like(first)
            moments.append(ElementMoments.from_raw(first, second, one, first, one))
        return cls(
            maps=_maps(scenes, hops, near, far, moments),
            hops=hops,
            sides1=GridStack.of(np.concatenate([near, hops.at1d[:, None]], axis=1)),
            sides2=GridStack.of(far),
            weights=Weights(np.zeros((B, K)), b, c, d, np.sqrt(c * d), bs),
            moments1=moments[0],
            moments2=moments[1],
            noise_power=scenes.noise_power,
        )

    def rates(self, x: Array) -> Array:
        """Hardening bounds of the users, shape (B, K), at phasors x, shape (2 B, side, side)."""
        half, users = x.shape[0] // 2, self.weights.b.shape[-1]
        x1, x2 = x[:half, ...], x[half:, ...]
        one = GridReflection.of(self.hops.at1b, self.sides1, x1, self.moments1)
        b = GridReflection.of(self.hops.at2b, self.sides2, x2, self.moments2)
        d = GridReflection.of(self.hops.at2d, self.sides2, x2, self.moments2)
        to_all = Surface([], [], [*range(users + 1)], self.moments1)
        to_users = Surface([], [], [*range(users)], self.moments2)
        tables = surface1_tables(to_all, one), surface2_tables(to_users, b, d)
        mean, interference, product = perfect_moments(self.weights, *tables)
        moments = ClosedFormMoments(mean, interference, product, mean, "perfect")
        return rate_from_moments(moments, power=1.0, noise_power=self.noise_power)

    known_rates = rates


@dataclass(frozen=True, eq=False)
class StatisticalTask:
    """A `ris.predictors.task.Task`.

    Parameters
    ----------
    side : int
        Rows and columns of both surfaces.
    users : int
        Users of the systems of `systems`.
    training_users : sequence of int
        Users step by step.
    """

    side: int = 8
    users: int = 4
    training_users: Sequence[int] = field(default=USERS)

    name = "statistical"
    channels = len(CHANNELS)

    def training_batch(self, step: int, count: int, seed: int) -> StatisticalBatch:
        """Surfaces out of a pool, with new users."""
        stream = Stream(seed, self.name, "train")
        pool = uniform(stream.child("pool"), 1, count, step * count)[:, 0]
        rows = (POOL * pool).astype(np.int64)
        infrastructure, tables = self._pool
        scenes = Scenes.draw(
            stream,
            count,
            side=self.side,
            users=self.training_users[step % len(self.training_users)],
            geometry=TRAINED,
            hops=infrastructure[rows],
            first=step * count,
        )
        return StatisticalBatch.of(scenes, tables[rows])

    def scenes(self, split: Split, count: int, first: int = 0) -> Scenes:
        """Return systems of a split as numbers."""
        geometry = UNSEEN if split == "unseen" else TRAINED
        stream = Stream(0, self.name, split, self.users)
        return Scenes.draw(stream, count, side=self.side, users=self.users, geometry=geometry, first=first)

    def systems(self, split: Split, count: int, first: int = 0) -> StatisticalBatch:
        """Return systems of a split."""
        scenes = self.scenes(split, count, first)
        return StatisticalBatch.of(scenes, HopTables.of(scenes.hops, self.side, TOLERANCE["test"]))

    @cached_property
    def _pool(self) -> tuple[Infrastructure, HopTables]:
        infrastructure = Infrastructure.draw(Stream(0, self.name, "pool"), POOL, 0, TRAINED)
        return infrastructure, HopTables.of(infrastructure, self.side, TOLERANCE["train"])


def _maps(
    scenes: Scenes,
    hops: HopTables,
    near: NDArray[np.complex128],
    far: NDArray[np.complex128],
    moments: list[ElementMoments],
) -> NDArray[np.float32]:
    users, elements = scenes.gains.shape[1], scenes.side**2
    # Covariances have unit diagonals: all of N tr S is N^2.
    coherent = ANTENNAS * elements**2 / scenes.noise_power[:, None]
    snr1, snr2 = coherent * scenes.gains[..., 0], coherent * scenes.gains[..., 1]
    double = snr2 * scenes.between[:, None] * elements**2
    onward = cascade_of_lags(hops.at1b.lags, hops.at1d)
    shared = Cascade(*(np.repeat(value[:, None], users, axis=1) for value in onward))
    cascades = (
        (cascade_of_lags(hops.at1b.lags[:, None], near), shared),
        tuple(cascade_of_lags(side.lags[:, None], far) for side in (hops.at2b, hops.at2d)),
    )
    maps = [
        feature_maps(
            surface,
            (scenes.side, scenes.side),
            PathFeatures(single, own),
            PathFeatures(onward, double),
            other,
            np.broadcast_to(np.asarray(law.mean), own.shape),
        )
        for surface, (single, onward), own, other, law in (
            (1, cascades[0], snr1, snr2, moments[0]),
            (2, cascades[1], snr2, snr1, moments[1]),
        )
    ]
    return np.concatenate(maps)
