"""Random systems for tests: random complex covariances of any rank, any subset of paths, any noise law."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

import channels
import ris

PATHS = ("direct", "single1", "single2", "double")
HOPS = ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user")
PATH_SETS = [s for n in range(1, 5) for s in itertools.combinations(PATHS, n)]

LAWS = [channels.VonMises(2.0), channels.UniformNoise(1.2), channels.WrappedNormal(0.6), channels.NoNoise()]
SHAPES = [(4, (3, 5), 2), (3, (1, 4), 3), (4, (6, 1), 2), (5, (2, 2), 5), (6, (4, 3), 1)]
"""Antennas, elements and users: N = 1 on either surface, more users than elements, a single user."""


@dataclass(frozen=True)
class DiscreteNoise(channels.PhaseNoise):
    """Phase noise on finitely many values, symmetric about zero: everything can be summed exactly."""

    values: tuple[float, ...]
    weights: tuple[float, ...]

    def moment(self, order):
        return float(np.dot(self.weights, np.cos(order * np.array(self.values))))

    def kernel_table(self):
        raise TypeError("a law for exact sums, not for sampling")

    @classmethod
    def three_point(cls, spread, weight):
        return cls((-spread, 0.0, spread), (weight / 2, 1 - weight, weight / 2))


def covariance(rng, size, rank=None, real=False, batch=()):
    rank = size if rank is None else rank
    factor = rng.standard_normal((*batch, size, rank)) + (
        0 if real else 1j * rng.standard_normal((*batch, size, rank))
    )
    return factor @ np.conj(np.swapaxes(factor, -1, -2)) / rank


def random_system(
    rng,
    paths=PATHS,
    antennas=3,
    elements=(2, 3),
    users=2,
    noise=(None, None),
    own=True,
    batch=(),
    rank=None,
    hardware=(None, None),
):
    """A system with unequal everything; `own` gives every user its own covariances."""
    M, (N1, N2), K = antennas, elements, users

    def gain(*shape):
        return rng.uniform(0.3, 1.7, (*batch, *shape))

    def cov(size, *lead):
        return covariance(rng, size, rank, batch=(*batch, *lead))

    def to_users(size):
        if own:
            return channels.UserHop(gain(K), cov(size, K))
        return channels.UserHop(gain(K), cov(size, 1) if batch else covariance(rng, size, rank))

    has = set(paths)
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(gain(), cov(M), cov(N1)) if has & {"single1", "double"} else None,
        bs_ris2=channels.Hop(gain(), cov(M), cov(N2)) if "single2" in has else None,
        ris1_ris2=channels.Hop(gain(), cov(N1), cov(N2)) if "double" in has else None,
        ris1_user=to_users(N1) if "single1" in has else None,
        ris2_user=to_users(N2) if has & {"single2", "double"} else None,
        bs_user=to_users(M) if "direct" in has else None,
        phase_noise1=noise[0] or channels.NoNoise(),
        phase_noise2=noise[1] or channels.NoNoise(),
        hardware1=hardware[0] or channels.Hardware(),
        hardware2=hardware[1] or channels.Hardware(),
    )


def random_phases(rng, system, batch=()):
    return tuple(rng.uniform(-np.pi, np.pi, (*batch, n)) for n in (system.elements1, system.elements2))


def with_means(rng, system, hops, rank=1):
    """The system with random means in these hops, of that rank between arrays."""

    def complex_normal(*shape):
        return 0.7 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))

    def rician(hop):
        batch = system.batch_shape
        if isinstance(hop, channels.Hop):
            left, right = (complex_normal(*batch, size, rank) for size in hop.shape)
            return channels.Hop(hop.gain, hop.left, hop.right, channels.LineOfSight(left, right))
        return channels.UserHop(hop.gain, hop.correlation, complex_normal(*batch, hop.users, hop.size))

    own = {name: rician(getattr(system, name)) for name in hops if getattr(system, name) is not None}
    return dataclasses.replace(system, **own)


def assert_close(got, expected, tolerance):
    """Equal up to `tolerance` of the largest entry: single ones may nearly vanish where means cancel."""
    scale = np.max(np.abs(expected))
    assert scale > 0
    assert np.max(np.abs(np.asarray(got) - expected)) <= tolerance * scale


def general_system(number):
    """A random system and phase shifts; over the numbers all path sets, shapes, laws and ranks occur."""
    rng = np.random.default_rng(1000 + number)
    antennas, elements, users = SHAPES[number % len(SHAPES)]
    system = random_system(
        rng,
        PATH_SETS[number % len(PATH_SETS)],
        antennas,
        elements,
        users,
        noise=(LAWS[number % 4], LAWS[(number // 4) % 4]),
        own=number % 2 == 0,
        rank=(None, 2)[(number // 3) % 2],
    )
    return system, random_phases(rng, system)
