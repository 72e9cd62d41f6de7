"""The reduced engine has the law of the system: moments by closed form, distributions by the explicit engine.

Every check on every system is shown to find errors of the size that it claims to find. False alarms, of all
checks on all systems together, have a probability of 1e-6; so has a planted error of any system to pass.
"""

import dataclasses
import functools
import math

import numpy as np
import pytest
import scipy.stats
from systems import SHAPES, general_system, random_phases, random_system

import channels
import ris
import ris.reduced

SYSTEMS = range(104)
BLOCKS = [range(start, start + 8) for start in range(0, 104, 8)]
USERS = [SHAPES[number % len(SHAPES)][2] for number in SYSTEMS]
FALSE_ALARM = MISSED = 1e-6

# Moments

DRAWS = 60_000
SCORES = sum(2 * K + 2 * K**2 for K in USERS)
HIGH = scipy.stats.norm.isf(FALSE_ALARM / 4 / SCORES)
LOW = math.sqrt(2 * math.log(4 * SCORES / FALSE_ALARM))
MARGIN = math.sqrt(2 * math.log(5 * 2 * SCORES / MISSED))
"""Standard errors that a mean may lie above and below its closed form, 6.4 and 6.8; and that it may lie off
beside a planted error, 6.9, for up to five errors a score.

The terms are gains and their products (and real parts of products h^H f, of lighter tails), with tails so
heavy that no normal law holds this far out. But for terms X >= 0 of whatever law, a mean of n falls below
E X - z (E X^2 / n)^(1/2) with probability below exp(-z^2 / 2) (Maurer, J. Inequal. Pure Appl. Math. 4(1),
2003, from exp(-x) <= 1 - x + x^2 / 2); E X^2 is taken from the sample. And a large term that raises a mean
raises its standard error as well: the upper tail of a self-normalised mean of terms skewed to the right is
lighter than the normal one. Half of the false alarms are for the moments, one half of these for each side.
"""


@dataclasses.dataclass
class Means:
    """Means over the draws and what they should be, one dimension; `error` is (E X^2 / n)^(1/2)."""

    mean: np.ndarray
    error: np.ndarray
    exact: np.ndarray

    def alarm(self, factor=1.0, exact=None):
        """Whether any mean of terms `factor` times as large is off, if `exact` is what it should be."""
        exact = self.exact if exact is None else exact
        mean, error = factor * self.mean, factor * self.error
        standard_error = np.sqrt(np.maximum(error**2 - mean**2 / DRAWS, 0.0))
        return bool(np.any(mean > exact + HIGH * standard_error) | np.any(mean < exact - LOW * error))

    @property
    def smallest_factors(self):
        """Factors of the terms next to 1 that are claimed to be seen: below 1, and above 1 or None.

        A mean m within MARGIN errors of E X, times f, is above E X by HIGH errors, themselves times f, if
        f (1 - (HIGH + MARGIN) error / E X) > 1, and below likewise.
        """
        share = float(np.min(self.error / self.exact))
        above = 1 - (HIGH + MARGIN) * share
        return 1 / (1 + (LOW + MARGIN) * share), 1 / above if above > 0 else None


def measured(system, phases, csi, seed):
    """Means of each kind, by name."""
    options = {"power": 1.0, "noise_power": 1.0, "realizations": DRAWS, "seed": seed, "csi": csi}
    got = ris.simulate(system, *phases, threads=2, **options)
    exact = closed_form(system, phases, csi)
    means = {}
    for name, value in exact.items():
        estimate = getattr(got, name)
        error = np.sqrt(estimate.standard_error**2 + estimate.value**2 / DRAWS)
        means[name] = Means(estimate.value.ravel(), error.ravel(), value)
    return means


def closed_form(system, phases, csi):
    exact = ris.closed_form_moments(system, *phases, csi=csi)
    names = ["mean_gain", "interference", "precoder_gain"] + ["gain_product"] * (csi == "perfect")
    return {name: getattr(exact, name).ravel() for name in names}


@functools.cache
def moments_of(number):
    csi = ("perfect", "nominal")[(number // 15) % 2]
    return csi, measured(*general_system(number), csi, number)


@pytest.mark.parametrize("block", BLOCKS)
def test_moments_equal_closed_form(block):
    for number in block:
        _, means = moments_of(number)
        for name, mean in means.items():
            assert not mean.alarm(), (number, name)


@pytest.mark.parametrize("block", BLOCKS)
def test_moments_of_each_kind_reveal_wrong_powers(block):
    """Terms smaller and larger by the claimed factor; a smaller one is claimed for every kind and system."""
    for number in block:
        _, means = moments_of(number)
        for name, mean in means.items():
            for factor in mean.smallest_factors:
                assert factor is None or mean.alarm(factor), (number, name, factor)


def stronger(system, name, size):
    """One hop with too much power, by the share `size`."""
    hop = getattr(system, name)
    return dataclasses.replace(system, **{name: type(hop)((1 + size) * hop.gain, *covariances(hop))})


def decorrelated(system, name, size):
    """One hop whose covariances have lost the share `size`, at most all, of what is off their diagonal."""
    hop, share = getattr(system, name), min(size, 1)
    faded = (np.where(np.eye(R.size), R.matrix, (1 - share) * R.matrix) for R in covariances(hop))
    return dataclasses.replace(system, **{name: type(hop)(hop.gain, *faded)})


def noisier(system, name, size):
    """One surface with a normal phase of standard deviation `size` beside its own noise."""
    return dataclasses.replace(system, **{name: getattr(system, name) + channels.WrappedNormal(size)})


def covariances(hop):
    return (hop.correlation,) if isinstance(hop, channels.UserHop) else (hop.left, hop.right)


HOPS = ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user")
ERRORS = [(error, hop) for error in (stronger, decorrelated) for hop in HOPS]
ERRORS += [(noisier, noise) for noise in ("phase_noise1", "phase_noise2")]
SIZES = (1 / 3, 3.0)


def claimed_size(number, error, name):
    """The first of SIZES at which moments are claimed to reveal that error, and the closed form with it."""
    system, phases = general_system(number)
    if getattr(system, name) is None:
        return None
    csi, means = moments_of(number)
    for size in SIZES:
        wrong = closed_form(error(system, name, size), phases, csi)
        for kind, mean in means.items():
            shift = wrong[kind] - mean.exact
            if np.any((shift > (LOW + MARGIN) * mean.error) | (-shift > (HIGH + MARGIN) * mean.error)):
                return size, wrong
    return None


@pytest.mark.parametrize(("error", "name"), ERRORS, ids=lambda value: getattr(value, "__name__", value))
def test_moments_reveal_wrong_hops_and_noise(error, name):
    """Draws of the right system against the closed form of a wrong one.

    On every system for which a size is claimed. Not all are: a hop may carry a small part of the power, and a
    surface of one element has nothing to decorrelate.
    """
    claimed = 0
    for number in SYSTEMS:
        claim = claimed_size(number, error, name)
        if claim is not None:
            size, wrong = claim
            means = moments_of(number)[1]
            assert any(mean.alarm(exact=wrong[kind]) for kind, mean in means.items()), (number, size)
            claimed += 1
    assert claimed > 0


# Distributions

KS_DRAWS = 40_000
KS_TESTS = sum(1 + (K > 1) for K in USERS)
KS_LIMIT = math.sqrt(math.log(2 * 2 * KS_TESTS / FALSE_ALARM) / KS_DRAWS)
KS_SIZE = KS_LIMIT + math.sqrt(math.log(2 * KS_TESTS / MISSED) / KS_DRAWS)
"""Distances of the distribution functions of two samples: from which on they
differ, 0.0226, and from which on that is sure to be found, 0.0448.

Two samples of n from one law are d apart with probability 2 exp(-n d^2) (Kolmogorov and Smirnov; half of the
false alarms are for these tests). So a sample that is KS_SIZE away from one of the right law is, by the
triangle inequality, KS_LIMIT away from another one but with probability MISSED in all.
"""


def observables(system, phases, engine, seed):
    """Instantaneous SINR of user 0, and |h_0^H h_1|^2 where there are two users."""
    h = ris.draw_channels(system, *phases, realizations=KS_DRAWS, seed=seed, engine=engine, threads=2)
    powers = np.abs(np.einsum("tm,tmj->tj", h[:, :, 0].conj(), h)) ** 2
    noise = float(np.sum(ris.closed_form_moments(system, *phases).mean_gain))
    sinr = powers[:, 0] / (powers[:, 1:].sum(axis=1) + noise)
    samples = {"sinr": np.sort(sinr)}
    if system.users > 1:
        samples["product"] = np.sort(powers[:, 1])
    return samples


def distance(one, two):
    """Largest difference of the empirical distribution functions of two sorted samples of one size."""
    return scipy.stats.ks_2samp(one, two, method="asymp").statistic


def smallest_power_error(sample):
    """The share x, to 1 %, by which a sorted sample times 1 + x is KS_SIZE away from the sample."""
    places = sample[:: len(sample) // 1000]
    below = np.searchsorted(sample, places, side="right")
    x = 0.05
    while np.max(below - np.searchsorted(sample, places / (1 + x), side="left")) < KS_SIZE * len(sample):
        x *= 1.01
    return x


@pytest.mark.parametrize("block", BLOCKS)
def test_distributions_equal_explicit_engine_and_reveal_wrong_powers(block):
    for number in block:
        system, phases = general_system(number)
        right = observables(system, phases, "explicit", 7)
        for name, sample in observables(system, phases, "reduced", 8).items():
            assert distance(right[name], sample) < KS_LIMIT, (number, name)
            x = smallest_power_error(sample)
            assert distance(right[name], (1 + x) * sample) > KS_LIMIT, (number, name)


# Errors in the engine itself


def dense_system():
    """All paths by surfaces, complex covariances, two users with one covariance, much alike."""
    rng = np.random.default_rng(77)
    paths = ("single1", "single2", "double")
    system = random_system(rng, paths, antennas=4, elements=(3, 4), users=2, own=False, rank=2)
    return system, random_phases(rng, system)


def weaker_hops(monkeypatch, factor):
    """Every hop but the users' own hands on too little power."""

    def error(grams):
        grams *= factor

    change_grams(monkeypatch, error)


def independent_users(monkeypatch, _):
    """Every hop but the users' own forgets that users see the same matrix."""

    def error(grams):
        grams[1:] = 0.0

    change_grams(monkeypatch, error)


def repeated_numbers(monkeypatch, _):
    """All hops draw the same numbers."""
    right, key = ris.reduced.draw_columns, channels.Stream(1).key
    monkeypatch.setattr(
        ris.reduced,
        "draw_columns",
        lambda out, factors, _, *rest: right(out, factors, key, *rest),
    )


def change_grams(monkeypatch, error):
    right = ris.reduced.factor_grams

    def wrong(factors, grams):
        if np.ptp(grams[0, 0, 0]) > 0:
            error(grams)
        right(factors, grams)

    monkeypatch.setattr(ris.reduced, "factor_grams", wrong)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("plant", [weaker_hops, independent_users, repeated_numbers])
def test_moments_reveal_errors_of_the_engine(monkeypatch, plant, csi):
    """Hops weaker by the factor that the mean gain claims to reveal; the other errors come in one size.

    A wrong sign of the imaginary parts would leave all of these laws as they are, since the users' channels
    have independent phases; `test_gram_factors` and `test_drawn_columns_are_numbers_times_the_factor` see it.
    """
    system, phases = dense_system()
    right = measured(system, phases, csi, 5)
    assert not any(mean.alarm() for mean in right.values())
    plant(monkeypatch, right["mean_gain"].smallest_factors[0])
    assert any(mean.alarm() for mean in measured(system, phases, csi, 5).values())


@pytest.mark.parametrize("plant", [weaker_hops, independent_users, repeated_numbers])
def test_distributions_reveal_errors_of_the_engine(monkeypatch, plant):
    """Hops weaker by the factor that the power of a reflection by one surface is claimed to show."""
    system, phases = dense_system()
    exact = observables(system, phases, "explicit", 7)
    right = observables(system, phases, "reduced", 8)
    assert all(distance(exact[name], right[name]) < KS_LIMIT for name in exact)
    plant(monkeypatch, 1 / (1 + max(map(smallest_power_error, right.values()))))
    wrong = observables(system, phases, "reduced", 8)
    assert any(distance(exact[name], wrong[name]) > KS_LIMIT for name in exact)
