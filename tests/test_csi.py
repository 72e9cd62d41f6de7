"""LMMSE channel estimates: the closed form against Wick expansion, limits, and bad input."""

import array_api_strict
import numpy as np
import pytest
from oracles import WickOracle
from systems import PATH_SETS, DiscreteNoise, random_phases, random_system

import channels
import ris

LAW = DiscreteNoise.three_point(1.1, 0.7)


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("pilots", [(0, 1), (0, 0)], ids=["own pilots", "one pilot"])
def test_lmmse_moments_equal_wick_expansion(paths, pilots):
    rng = np.random.default_rng(len("".join(paths)))
    system = random_system(rng, paths, antennas=2, elements=(2, 2), users=2, noise=(LAW, LAW))
    phases = random_phases(rng, system)
    csi = ris.LmmseCsi(length=2, power=0.7, noise_power=1.9, pilots=pilots)
    noise = 1.9 / (2 * 0.7)
    got = ris.closed_form_moments(system, *phases, csi=csi)
    oracle = WickOracle(system, *phases)
    covariance = [oracle.covariance(k) for k in range(2)]
    groups = [[i for i in range(2) if pilots[i] == pilots[j]] for j in range(2)]
    for j, group in enumerate(groups):
        received = sum(covariance[i] for i in group) + noise * np.eye(2)
        L = covariance[j] @ np.linalg.inv(received)
        np.testing.assert_allclose(got.mean_gain[j], np.trace(L @ covariance[j]).real, rtol=1e-11)
        np.testing.assert_allclose(got.precoder_gain[j], np.trace(L @ received @ L.conj().T).real, rtol=1e-11)
        for k in range(2):
            power = sum(oracle.filtered(k, i, other, L) for i in group for other in group)
            power += noise * np.trace(L @ L.conj().T @ covariance[k])
            assert abs(power.imag) < 1e-12 * abs(power)
            np.testing.assert_allclose(got.interference[k, j], power.real, rtol=1e-11)


@pytest.fixture
def generic():
    rng = np.random.default_rng(3)
    noise = channels.VonMises(2.0), channels.QuantizationNoise(2)
    system = random_system(rng, elements=(4, 3), users=3, noise=noise)
    return system, random_phases(rng, system)


def test_strong_pilots_are_perfect_csi(generic):
    system, phases = generic
    perfect = ris.closed_form_moments(system, *phases)
    strong = ris.closed_form_moments(system, *phases, csi=ris.LmmseCsi(3, 1e9, 1.0))
    np.testing.assert_allclose(strong.mean_gain, perfect.mean_gain, rtol=1e-7)
    np.testing.assert_allclose(strong.interference, perfect.interference, rtol=1e-7)


def test_rates_rise_with_pilot_power_and_fall_with_contamination(generic):
    system, phases = generic
    powers = {"power": 1.0, "noise_power": 30.0}

    def rates(*csi):
        return ris.closed_form_rate(system, *phases, **powers, csi=ris.LmmseCsi(*csi))

    weak, strong = rates(3, 0.01, 1.0), rates(3, 1.0, 1.0)
    assert np.all(weak < strong)
    assert np.all(strong < ris.closed_form_rate(system, *phases, **powers))
    assert np.all(rates(1, 3.0, 1.0) < strong)


def test_one_user_with_white_covariance_is_a_scaled_channel():
    """Direct path, R = I: L = g / (g + s) I, so that SINRs are those of a scaled channel plus noise."""
    gain, M = 0.8, 5
    system = ris.DoubleRIS(bs_user=channels.UserHop([gain], np.eye(M)))
    csi = ris.LmmseCsi(length=2, power=1.5, noise_power=0.6)
    s = 0.6 / 3.0
    m = ris.closed_form_moments(system, csi=csi)
    share = gain / (gain + s)
    np.testing.assert_allclose(m.mean_gain, [share * gain * M], rtol=1e-13)
    expected = share**2 * (gain**2 * M * (M + 1) + s * gain * M)
    np.testing.assert_allclose(m.interference, [[expected]], rtol=1e-13)


def test_batches_and_array_libraries(generic):
    system, phases = generic
    rng = np.random.default_rng(4)
    csi = ris.LmmseCsi(2, 0.5, 1.0)
    theta1, theta2 = rng.uniform(0, 6, (5, 4)), rng.uniform(0, 6, (5, 3))
    batch = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    one = ris.closed_form_moments(system, theta1[3], theta2[3], csi=csi)
    np.testing.assert_allclose(batch.interference[3], one.interference, rtol=1e-12)
    strict = ris.closed_form_moments(system, *map(array_api_strict.asarray, phases), csi=csi)
    expected = ris.closed_form_moments(system, *phases, csi=csi)
    np.testing.assert_allclose(np.asarray(strict.interference), expected.interference, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"length": 0}, "length"),
        ({"length": 2.0}, "length"),
        ({"power": 0.0}, "power"),
        ({"noise_power": -1.0}, "noise_power"),
        ({"noise_power": np.nan}, "noise_power"),
        ({"pilots": (0, 2)}, "pilots"),
        ({"pilots": (0, -1)}, "pilots"),
        ({"pilots": ()}, "pilots"),
    ],
)
def test_bad_pilots(arguments, argument):
    with pytest.raises(channels.InvalidArgumentError, match=rf"^{argument}: expected .*, got "):
        ris.LmmseCsi(**({"length": 2, "power": 1.0, "noise_power": 1.0} | arguments))


def test_pilots_for_other_users(generic):
    system, phases = generic
    with pytest.raises(
        channels.InvalidArgumentError, match=r"^pilots: expected one for each of 3 users, got 2"
    ):
        ris.closed_form_moments(system, *phases, csi=ris.LmmseCsi(2, 1.0, 1.0, pilots=(0, 1)))
