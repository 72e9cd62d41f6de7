"""The reduced engine has the law of the explicit one: moments, distributions, planted errors, invariances."""

import itertools

import numpy as np
import pytest
import scipy.stats
from systems import PATH_SETS, random_phases, random_system

import channels
import ris
import ris.reduced
from ris._kernels.reduced import draw_columns, factor_grams, gram

LAWS = [channels.VonMises(2.0), channels.UniformNoise(1.2), channels.WrappedNormal(0.6), channels.NoNoise()]
SHAPES = [(4, (3, 5), 2), (3, (1, 4), 3), (4, (6, 1), 2), (5, (2, 2), 5), (6, (4, 3), 1)]
"""Antennas, elements and users: N = 1 on either surface, more users than elements, a single user."""

FALSE_ALARM = 1e-6


def general_system(number):
    """A random system; over the numbers, all path sets, shapes, laws and both kinds of covariances occur."""
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


def z_scores(system, phases, csi, realizations, seed, engine="reduced"):
    exact = ris.closed_form_moments(system, *phases, csi=csi)
    got = ris.simulate(
        system,
        *phases,
        power=1.0,
        noise_power=1.0,
        realizations=realizations,
        seed=seed,
        csi=csi,
        engine=engine,
        threads=2,
    )
    names = ["mean_gain", "interference", "precoder_gain"] + ["gain_product"] * (csi == "perfect")
    return np.concatenate(
        [
            ((e := getattr(got, n)).value - getattr(exact, n)).ravel() / e.standard_error.ravel()
            for n in names
        ]
    )


@pytest.mark.parametrize("block", range(13))
def test_moments_equal_closed_form(block):
    """104 random systems, both CSI in turn; about 1,500 scores at 7 standard errors: 4e-9 by normal tails.

    The margin to 1e-6 is for the tails of the fourth moments, which are heavier than normal.
    """
    for number in range(8 * block, 8 * block + 8):
        system, phases = general_system(number)
        csi = ("perfect", "nominal")[(number // 15) % 2]
        assert np.abs(z_scores(system, phases, csi, 60_000, number)).max() < 7.0, number


def observables(system, phases, engine, realizations, seed):
    """Instantaneous SINR of user 0, and |h_0^H h_1|^2 and |h_0|^2."""
    h = ris.draw_channels(
        system, *phases, realizations=realizations, seed=seed, engine=engine, threads=2
    )
    products = np.abs(np.swapaxes(h.conj(), 1, 2) @ h) ** 2
    noise = float(np.sum(ris.closed_form_moments(system, *phases).mean_gain))
    signal = products[:, 0, 0]
    return {"sinr": signal / (products[:, 0].sum(axis=-1) - signal + noise), "product": products[:, 0, 1]}


KS_SYSTEMS = [n for n in range(15, 60) if SHAPES[n % 5][2] > 1][:12]
KS_DRAWS = 40_000


def ks_levels():
    """The two-sample tests: 24 in all, so that all together raise a false alarm with probability 1e-6.

    At 40,000 draws a side a test rejects at distance D > (log(2 / level) / draws)^(1/2) = 0.021, so that true
    distances above 0.03 are found with near certainty (Dvoretzky, Kiefer, Wolfowitz). A power off by a factor
    1 + x moves the distribution function of an exponential variable by x / e, so x = 10 % counts 0.037.
    """
    return FALSE_ALARM / (2 * len(KS_SYSTEMS))


def smallest_p(number, engine="reduced"):
    system, phases = general_system(number)
    one = observables(system, phases, "explicit", KS_DRAWS, 7)
    two = observables(system, phases, engine, KS_DRAWS, 8)
    return min(scipy.stats.ks_2samp(one[name], two[name], method="asymp").pvalue for name in one)


@pytest.mark.parametrize("number", KS_SYSTEMS)
def test_distributions_equal_explicit_engine(number):
    assert smallest_p(number) > ks_levels()
