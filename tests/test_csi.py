"""Channel estimates from pilots: the closed form against Wick expansion, limits, and bad input."""

import dataclasses

import array_api_strict
import numpy as np
import pytest
from oracles import WickOracle
from systems import PATH_SETS, DiscreteNoise, random_phases, random_system

import channels
import ris
from ris._kernels.pilots import estimate_channels, receive_pilots
from ris.pilots import PilotEstimator

LAW = DiscreteNoise.three_point(1.1, 0.7)

ESTIMATES = {
    "exact": lambda *pilots: ris.LmmseCsi(*pilots),
    "nominal": lambda *pilots: ris.LmmseCsi(*pilots, covariance="nominal"),
    "gain": lambda *pilots: ris.LmmseCsi(*pilots, covariance="gain"),
    "ls": lambda *pilots: ris.LsCsi(*pilots),
}


def assumed_filter(estimate, j, group, covariance, nominal, noise):
    """L_j from the covariances that the BS takes for true; no rate depends on its phase."""
    M = len(covariance[0])
    if estimate == "ls":
        return np.eye(M)
    assumed = {
        "exact": covariance,
        "nominal": nominal,
        "gain": [np.trace(R).real / M * np.eye(M) for R in covariance],
    }[estimate]
    L = assumed[j] @ np.linalg.inv(sum(assumed[i] for i in group) + noise * np.eye(M))
    mean = np.trace(L @ covariance[j])
    return L * abs(mean) / mean


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("pilots", [(0, 1), (0, 0)], ids=["own pilots", "one pilot"])
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_pilot_moments_equal_wick_expansion(paths, pilots, estimate):
    rng = np.random.default_rng(len("".join(paths)))
    system = random_system(rng, paths, antennas=2, elements=(2, 2), users=2, noise=(LAW, LAW))
    phases = random_phases(rng, system)
    noise = 1.9 / (2 * 0.7)
    got = ris.closed_form_moments(system, *phases, csi=ESTIMATES[estimate](2, 0.7, 1.9, pilots))
    oracle = WickOracle(system, *phases)
    quiet = dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise())
    covariance = [oracle.covariance(k) for k in range(2)]
    nominal = [WickOracle(quiet, *phases).covariance(k) for k in range(2)]
    groups = [[i for i in range(2) if pilots[i] == pilots[j]] for j in range(2)]
    for j, group in enumerate(groups):
        L = assumed_filter(estimate, j, group, covariance, nominal, noise)
        received = sum(covariance[i] for i in group) + noise * np.eye(2)
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


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_batches_and_array_libraries(generic, estimate):
    system, phases = generic
    rng = np.random.default_rng(4)
    csi = ESTIMATES[estimate](2, 0.5, 1.0)
    theta1, theta2 = rng.uniform(0, 6, (5, 4)), rng.uniform(0, 6, (5, 3))
    batch = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    one = ris.closed_form_moments(system, theta1[3], theta2[3], csi=csi)
    np.testing.assert_allclose(batch.interference[3], one.interference, rtol=1e-12)
    strict = ris.closed_form_moments(system, *map(array_api_strict.asarray, phases), csi=csi)
    expected = ris.closed_form_moments(system, *phases, csi=csi)
    for name in ("mean_gain", "interference", "precoder_gain"):
        np.testing.assert_allclose(np.asarray(getattr(strict, name)), getattr(expected, name), rtol=1e-12)


def test_without_phase_noise_the_nominal_covariance_is_exact(generic):
    system, phases = generic
    quiet = dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise())
    exact, nominal = (
        ris.closed_form_moments(quiet, *phases, csi=ESTIMATES[name](2, 0.5, 1.0))
        for name in ("exact", "nominal")
    )
    np.testing.assert_allclose(nominal.interference, exact.interference, rtol=1e-12)
    np.testing.assert_allclose(nominal.precoder_gain, exact.precoder_gain, rtol=1e-12)


def test_white_covariances_make_all_estimates_scaled_pilots():
    """Then the correlation that "gain" does not know of is none, and rates do not depend on the scale."""
    system = ris.DoubleRIS(bs_user=channels.UserHop([0.8], np.eye(5)))
    rates = [
        ris.closed_form_rate(system, power=2.0, noise_power=1.0, csi=make(2, 1.5, 0.6))
        for make in ESTIMATES.values()
    ]
    np.testing.assert_allclose(rates, np.broadcast_to(rates[0], (4, 1)), rtol=1e-13)


def test_exact_covariances_make_the_least_error():
    """Also against the Wiener filter of 20,000 simulated pilots, whose noise it cannot but learn.

    Errors E|h_k - hhat_k|^2 of the same 20,000 realizations: that filter is the best for these, by its own
    number of 5 x 5 coefficients over 20,000 at most, and the exact one next.
    """
    rng = np.random.default_rng(8)
    noise = channels.VonMises(1.0), channels.VonMises(1.0)
    system = random_system(rng, antennas=5, elements=(4, 3), users=3, noise=noise, rank=2)
    phases, n = random_phases(rng, system), 20000
    true = ris.draw_channels(system, *phases, realizations=n, seed=1)
    tile = np.ascontiguousarray(np.stack([true.real, true.imag], axis=2).transpose(1, 2, 3, 0))
    pilots, stream = (2, 0.5, 200.0, (0, 1, 0)), channels.Stream(2)

    def estimated(estimate):
        found = PilotEstimator(system, *phases, ESTIMATES[estimate](*pilots), stream).estimates(tile, 0)
        return np.moveaxis(found[:, 0] + 1j * found[:, 1], -1, 0)

    def errors(estimates):
        return np.mean(np.sum(np.abs(true - estimates) ** 2, axis=1), axis=0)

    received = estimated("ls")  # the pilots themselves
    wiener = np.empty_like(received)
    for k in range(3):
        filtered = np.linalg.lstsq(received[:, :, k], true[:, :, k], rcond=None)[0]
        wiener[:, :, k] = received[:, :, k] @ filtered
    found = {name: errors(estimated(name)) for name in ("exact", "gain", "ls")}
    assert np.all(errors(wiener) < found["exact"])
    assert np.all(found["exact"] < 1.02 * errors(wiener))
    assert np.all(1.05 * found["exact"] < found["gain"])
    assert np.all(found["gain"] < found["ls"])


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_simulated_pilots_agree_with_the_closed_form(paths, estimate):
    """6.5 standard errors: false alarms below 1e-7 in total for some 1,000 comparisons."""
    rng = np.random.default_rng(50 + len("".join(paths)))
    noise = channels.VonMises(2.0), channels.QuantizationNoise(2)
    system = random_system(rng, paths, elements=(5, 4), users=3, noise=noise)
    phases = random_phases(rng, system)
    csi = ESTIMATES[estimate](2, 0.5, 3.0)
    powers = {"power": 2.0, "noise_power": 9.0}
    e = ris.simulate(system, *phases, **powers, realizations=20000, seed=5, csi=csi)
    m = ris.closed_form_moments(system, *phases, csi=csi)
    expected = {
        "mean_gain": m.mean_gain,
        "interference": m.interference,
        "precoder_gain": m.precoder_gain,
        "hardening_rate": ris.rate_from_moments(m, **powers),
    }
    for name, value in expected.items():
        estimate = getattr(e, name)
        z = (estimate.value - value) / estimate.standard_error
        assert np.all(np.abs(z) < 6.5), f"{name}: {z}"
    unaware = ris.closed_form_moments(system, *phases)
    gap = np.abs(e.precoder_gain.value - unaware.precoder_gain)
    assert np.any(gap > 6.5 * e.precoder_gain.standard_error)


def test_pilot_kernels_against_numpy(generic):
    """Without pilot noise the received pilot is the sum of its users, and the filters are matrix products."""
    rng = np.random.default_rng(6)
    channels_drawn, filters = rng.standard_normal((5, 2, 3, 7)), rng.standard_normal((2, 3, 5, 5))
    pilots = np.array([0, 1, 0])
    received, estimates = np.empty((5, 2, 2, 7)), np.empty((5, 2, 3, 7))
    receive_pilots(received, channels_drawn, pilots, 0.0, channels.Stream(1).key, 0)
    h = channels_drawn[:, 0] + 1j * channels_drawn[:, 1]
    y = np.stack([h[:, 0] + h[:, 2], h[:, 1]], axis=1)
    np.testing.assert_allclose(received[:, 0] + 1j * received[:, 1], y, rtol=1e-13)
    L = filters[0] + 1j * filters[1]
    estimate_channels(estimates, received, pilots, L)
    expected = np.einsum("kmn,nkt->mkt", L, y[:, pilots])
    np.testing.assert_allclose(estimates[:, 0] + 1j * estimates[:, 1], expected, rtol=1e-11)


def test_pilot_noise_is_white_and_of_the_stated_power():
    received = np.empty((3, 2, 3, 40000))
    receive_pilots(received, np.zeros((3, 2, 1, 40000)), np.array([0]), 0.7, channels.Stream(1).key, 0)
    noise = (received[:, 0] + 1j * received[:, 1]).reshape(9, -1)
    covariance = noise @ noise.conj().T / 40000
    # Entries of a sample covariance of 40,000 draws: standard error 0.49 / 200, real and imaginary together.
    assert np.all(np.abs(covariance - 0.49 * np.eye(9)) < 6.5 * 0.49 / 200)


def test_threads_and_cuts_change_no_bit_of_the_pilots(generic):
    system, phases = generic
    common = {"power": 1.0, "noise_power": 1.0, "seed": 9, "csi": ris.LmmseCsi(2, 0.5, 3.0)}
    one, two = (ris.simulate(system, *phases, realizations=1500, threads=n, **common) for n in (1, 2))
    np.testing.assert_array_equal(one.per_user.mean, two.per_user.mean)
    parts = ris.simulate(system, *phases, realizations=700, **common).merge(
        ris.simulate(system, *phases, realizations=800, first=700, **common)
    )
    np.testing.assert_allclose(parts.per_user.mean, one.per_user.mean, rtol=1e-12)


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
        ({"covariance": "none"}, "covariance"),
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


def test_pilots_without_an_estimate_are_no_csi(generic):
    system, phases = generic
    with pytest.raises(channels.InvalidArgumentError, match=r"^csi: expected .*, got "):
        ris.closed_form_moments(system, *phases, csi=ris.PilotCsi(2, 1.0, 1.0))
    assert ris.LsCsi(2, 1.0, 1.0) != ris.LmmseCsi(2, 1.0, 1.0) != ris.LmmseCsi(2, 1.0, 1.0, None, "gain")
