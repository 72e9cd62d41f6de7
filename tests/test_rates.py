"""Rates from moments: known answers, limits and bad input."""

import numpy as np
import pytest
from systems import random_phases, random_system

import channels
import ris


def uncorrelated_bs_system(correlated, noise, antennas=16, users=4):
    """Double reflection over 8x8 surfaces, uncorrelated BS, all gains 1: the setting of the known answers."""
    surface = channels.UniformPlanarArray(8, 8, 0.25)
    R = channels.isotropic_correlation(surface) if correlated else channels.Correlation(np.eye(64))
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(antennas), R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop(np.ones(users), R),
        phase_noise1=noise,
        phase_noise2=noise,
    )


@pytest.mark.parametrize(
    ("correlated", "noise", "known"),
    [
        (False, channels.NoNoise(), (0.0353, 0.2968, 1.1932, 1.7641, 1.8682)),
        (True, channels.NoNoise(), (0.3155, 0.8931, 1.1003, 1.1268, 1.1298)),
        (True, channels.VonMises(2.0), (0.1517, 0.6597, 1.0035, 1.0596, 1.0663)),
    ],
)
def test_known_hardening_rates(correlated, noise, known):
    """Rate of a user at P M N1 N2 / s2 = -10, 0, 10, 20 dB and without noise, to the four digits printed."""
    system = uncorrelated_bs_system(correlated, noise)
    for snr_db, expected in zip((-10, 0, 10, 20, 200), known, strict=True):
        power = 10 ** (snr_db / 10) / (16 * 64 * 64)
        rate = ris.closed_form_rate(system, np.zeros(64), np.zeros(64), power=power, noise_power=1.0)
        np.testing.assert_allclose(rate, expected, atol=5.001e-5)


def test_correlation_helps_noise_and_hurts_interference():
    """The uncorrelated surfaces overtake those at lambda / 4 at SNR0 = 9.0 dB."""
    rates = {}
    for snr_db in (8.9, 9.1):
        power = 10 ** (snr_db / 10) / (16 * 64 * 64)
        rates[snr_db] = [
            ris.closed_form_rate(
                uncorrelated_bs_system(correlated, channels.NoNoise()),
                np.zeros(64),
                np.zeros(64),
                power=power,
                noise_power=1.0,
            )[0]
            for correlated in (False, True)
        ]
    assert rates[8.9][0] < rates[8.9][1]
    assert rates[9.1][0] > rates[9.1][1]


def test_direct_iid_hardening_rate():
    """No surface, iid channels: SINR = M q / (K q + 1) with q = power gain / (K noise)."""
    M, K, gain, power, noise = 10, 4, 0.3, 5.0, 2.0
    system = ris.DoubleRIS(bs_user=channels.UserHop(np.full(K, gain), np.eye(M)))
    q = power * gain / (K * noise)
    rate = ris.closed_form_rate(system, power=power, noise_power=noise)
    np.testing.assert_allclose(rate, np.log2(1 + M * q / (K * q + 1)), rtol=1e-13)


def test_single_user_ratio_rate():
    """One user: no interference, ratio of moments = E|h|^4 P / (s2 E|h|^2)."""
    rng = np.random.default_rng(1)
    system = random_system(rng, users=1)
    phases = random_phases(rng, system)
    m = ris.closed_form_moments(system, *phases)
    rate = ris.closed_form_rate(system, *phases, power=3.0, noise_power=2.0, bound="ratio")
    np.testing.assert_allclose(rate, np.log2(1 + 3 * m.interference[0] / (2 * m.mean_gain)), rtol=1e-13)


@pytest.fixture
def generic():
    rng = np.random.default_rng(2)
    system = random_system(rng, users=3, noise=(channels.VonMises(2.0), channels.VonMises(1.0)))
    return system, random_phases(rng, system)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("bound", ["hardening", "ratio"])
def test_rate_depends_on_the_ratio_of_powers_alone(generic, csi, bound):
    system, phases = generic
    options = {"csi": csi, "bound": bound}
    one = ris.closed_form_rate(system, *phases, power=2.0, noise_power=1.0, **options)
    np.testing.assert_allclose(
        ris.closed_form_rate(system, *phases, power=6.0, noise_power=3.0, **options), one, rtol=1e-13
    )


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_rate_rises_with_power_and_hardening_is_below_ratio(generic, csi):
    system, phases = generic
    power = np.geomspace(1e-3, 1e6, 20)
    hardening = ris.closed_form_rate(system, *phases, power=power, noise_power=1.0, csi=csi)
    ratio = ris.closed_form_rate(system, *phases, power=power, noise_power=1.0, csi=csi, bound="ratio")
    assert hardening.shape == (20, 3)
    assert np.all(np.diff(hardening, axis=0) > 0)
    assert np.all(hardening < ratio)


@pytest.mark.parametrize("gains", [(0.0, 1.0), (0.0, 0.0)])
def test_no_gain_is_no_rate(gains):
    system = ris.DoubleRIS(bs_user=channels.UserHop(np.array(gains), np.eye(3)))
    for bound in ("hardening", "ratio"):
        rate = ris.closed_form_rate(system, power=1.0, noise_power=1.0, bound=bound)
        assert np.array_equal(rate == 0, np.array(gains) == 0)


def test_no_power_is_no_rate(generic):
    system, phases = generic
    for bound in ("hardening", "ratio"):
        assert np.all(ris.closed_form_rate(system, *phases, power=0.0, noise_power=1.0, bound=bound) == 0)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"power": -1.0}, "power"),
        ({"power": np.nan}, "power"),
        ({"power": 1j}, "power"),
        ({"power": "much"}, "power"),
        ({"noise_power": 0.0}, "noise_power"),
        ({"noise_power": -1.0}, "noise_power"),
        ({"noise_power": np.inf}, "noise_power"),
        ({"bound": "ergodic"}, "bound"),
    ],
)
def test_bad_arguments(generic, change, argument):
    system, phases = generic
    with pytest.raises(channels.InvalidArgumentError, match=f"^{argument}: expected .*, got "):
        ris.closed_form_rate(system, *phases, **({"power": 1.0, "noise_power": 1.0} | change))
