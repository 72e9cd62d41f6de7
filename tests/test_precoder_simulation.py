"""Simulations with precoders other than the closed forms': against draws, in the long term, bit by bit."""

import numpy as np
import pytest
from systems import random_phases, random_system

import channels
import ris
from ris import transmitter
from ris.estimates import Observations
from ris.mean_gain import channel_covariances
from ris.pilots import PilotEstimator
from ris.sampler import ChannelSampler

NOISE = (channels.VonMises(2.0), channels.WrappedNormal(0.4) + channels.QuantizationNoise(2))
POWERS = {"power": 3.0, "noise_power": 40.0}
PILOTS = ris.LmmseCsi(3, power=2.0, noise_power=30.0)
PRECODERS = [
    ris.MRT(normalisation="realization"),
    ris.MRT(allocation="max_min"),
    ris.ZF(),
    ris.ZF(allocation="water_filling"),
    ris.RZF(),
    ris.RZF(2.0, allocation="max_min"),
    ris.MMSE(),
    ris.MMSE(normalisation="long_term"),
    ris.RZF(normalisation="long_term", allocation="common"),
    ris.ZF(normalisation="long_term", allocation="max_min"),
    ris.WMMSE(),
]
BY_REALIZATION = [
    precoder for precoder in PRECODERS if getattr(precoder, "normalisation", "realization") == "realization"
]


@pytest.fixture(scope="module")
def generic():
    rng = np.random.default_rng(1)
    system = random_system(rng, antennas=5, elements=(6, 5), users=3, noise=NOISE)
    return system, random_phases(rng, system)


def simulate(generic, precoder, csi="perfect", realizations=700, **options):
    system, phases = generic
    options = {"seed": 8, **POWERS} | options
    return ris.simulate(system, *phases, realizations=realizations, csi=csi, precoder=precoder, **options)


def known_and_true(generic, csi, n=700, seed=8):
    """The channels of a simulation and what its BS knows, shapes (n, M, K)."""
    system, phases = generic
    stream = channels.Stream(seed)
    drawn = "nominal" if csi == "nominal" else "perfect"
    sampler = ChannelSampler(system, *phases, stream, drawn, "reduced")
    tiles = []
    for tile in sampler.each(lambda done, tile, emi: tile, 0, n, 1):
        true, known = tile[:, :, :3], tile[:, :, -3:]
        if isinstance(csi, ris.PilotCsi):
            estimator = PilotEstimator(system, *phases, csi, stream.child("pilots"))
            known = estimator.estimates(true, sum(len(done[0]) for done in tiles))
        tiles.append([np.moveaxis(each[:, 0] + 1j * each[:, 1], -1, 0) for each in (known, true)])
    return (np.concatenate(parts) for parts in zip(*tiles, strict=True))


@pytest.mark.parametrize("csi", ["perfect", "nominal", PILOTS], ids=["perfect", "nominal", "pilots"])
@pytest.mark.parametrize("precoder", BY_REALIZATION, ids=repr)
def test_simulation_is_the_mean_over_draws(generic, precoder, csi):
    """Precoders from what the BS knows, SINRs from the true channels, and the estimates that follow."""
    known, true = known_and_true(generic, csi)
    errors = {}
    if isinstance(precoder, ris.MMSE) and csi is PILOTS:
        covariances = channel_covariances(generic[0], *generic[1])
        learned = [R @ np.linalg.solve(R + 5 * np.eye(5), R) for R in covariances]
        errors = {"error_covariance": covariances.sum(axis=0) - sum(learned)}
    F = ris.precode(known, precoder, **POWERS, **errors)
    e = simulate(generic, precoder, csi)
    through = np.conj(np.swapaxes(true, 1, 2)) @ F
    mean, powers = np.einsum("tkk->k", through).real / 700, (np.abs(through) ** 2).mean(axis=0)
    np.testing.assert_allclose(e.mean_gain.value, mean, rtol=1e-9)
    np.testing.assert_allclose(e.interference.value, powers, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(e.precoder_gain.value.sum(), 3.0, rtol=1e-12)
    rates = np.log2(1 + ris.sinr(true, F, noise_power=40.0))
    np.testing.assert_allclose(e.ergodic_rate.value, rates.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(
        e.ergodic_sum_rate.standard_error, rates.sum(axis=1).std(ddof=1) / 700**0.5, rtol=1e-9
    )
    hardening = np.log2(1 + mean**2 / (powers.sum(axis=1) - mean**2 + 40.0))
    np.testing.assert_allclose(e.hardening_rate.value, hardening, rtol=1e-9)
    assert np.all(e.hardening_rate.value < e.ergodic_rate.value)


def test_ranks_with_perfect_csi(generic):
    rates = {
        name: simulate(generic, precoder).ergodic_sum_rate.value
        for name, precoder in {
            "mrt": ris.MRT(normalisation="realization", allocation="equal"),
            "zf": ris.ZF(allocation="water_filling"),
            "rzf": ris.RZF(),
            "wmmse": ris.WMMSE(),
        }.items()
    }
    assert max(rates["mrt"], rates["zf"]) < rates["rzf"] < rates["wmmse"]


def test_knowing_the_errors_pays():
    """Users behind two correlated surfaces, weak pilots: 16,000 draws show that MMSE beats RZF."""
    R = channels.isotropic_correlation(channels.UniformPlanarArray(4, 4, 0.25))
    RB = channels.exponential_correlation(8, 0.9)
    near, far = channels.UserHop(np.array([3.0, 1.0, 0.2]), R), channels.UserHop(np.ones(3), R)
    hop = channels.Hop(1.0, RB, R)
    system = ris.DoubleRIS(bs_ris1=hop, ris1_user=near, bs_ris2=hop, ris2_user=far)
    generic = system, (np.zeros(16), np.zeros(16))
    powers = {"power": 10.0, "noise_power": 30.0}
    sums = {}
    for covariance in ("exact", "gain"):
        csi = ris.LmmseCsi(3, 1.0, 600.0, covariance=covariance)
        for precoder in (ris.RZF(), ris.MMSE()):
            e = simulate(generic, precoder, csi, 16000, **powers)
            sums[covariance, type(precoder)] = e.ergodic_sum_rate
    best = sums["exact", ris.MMSE]
    for key, other in sums.items():
        if key != ("exact", ris.MMSE):
            error = np.hypot(best.standard_error, other.standard_error)
            assert best.value > other.value + 6.5 * error


def test_strong_pilots_are_perfect_csi(generic):
    for precoder in PRECODERS:
        strong = simulate(generic, precoder, ris.LmmseCsi(3, 1e12, 1.0)).ergodic_rate.value
        np.testing.assert_allclose(strong, simulate(generic, precoder).ergodic_rate.value, rtol=1e-3)


def test_engines_draw_the_same_law(generic):
    for precoder in (ris.RZF(), ris.RZF(normalisation="long_term"), ris.WMMSE()):
        one, two = (
            simulate(generic, precoder, PILOTS, 4000, engine=engine).ergodic_rate
            for engine in ("reduced", "explicit")
        )
        z = (one.value - two.value) / np.hypot(one.standard_error, two.standard_error)
        assert np.all(np.abs(z) < 6.5)
        assert np.any(z != 0)


def test_single_precision(generic):
    for precoder in PRECODERS:
        rates = [
            simulate(generic, precoder, precision=precision).ergodic_rate.value
            for precision in ("single", "double")
        ]
        np.testing.assert_allclose(*rates, rtol=1e-3)


# Long-term normalisation


LONG_TERM = [
    (ris.MRT(allocation="equal"), "perfect"),
    (ris.MRT(allocation="max_min"), "nominal"),
    (ris.RZF(normalisation="long_term", allocation="common"), "perfect"),
    (ris.RZF(normalisation="long_term"), PILOTS),
    (ris.RZF(normalisation="long_term", allocation="max_min"), "perfect"),
]


@pytest.mark.parametrize(("precoder", "csi"), LONG_TERM, ids=repr)
def test_long_term_power(generic, precoder, csi):
    """The mean power is right to the errors of 1,024 preliminary and 8,000 measured realizations."""
    e = simulate(generic, precoder, csi, 8000)
    total = np.zeros_like(e.per_user.mean)
    total[9:12] = 1
    spent = e.per_user.function(e.precoder_gain.value.sum(), total)
    assert abs(spent.value - 3.0) < 6.5 * spent.standard_error * np.sqrt(1 + 8000 / 1024)
    if precoder.allocation == "equal":
        error = 6.5 * e.precoder_gain.standard_error * np.sqrt(1 + 8000 / 1024)
        assert np.all(np.abs(e.precoder_gain.value - 1.0) < error)


def test_maximum_ratio_with_common_power_is_the_closed_form_case(generic):
    """Its preliminary means would do the same: the precoders differ by one factor."""
    closed = simulate(generic, ris.MRT())
    default = ris.simulate(generic[0], *generic[1], realizations=700, seed=8, **POWERS)
    np.testing.assert_array_equal(closed.per_user.mean, default.per_user.mean)
    equal = simulate(generic, ris.MRT(allocation="equal"))
    np.testing.assert_allclose(equal.gain_product.value, closed.gain_product.value, rtol=1e-13)
    ratio = equal.interference.value / closed.interference.value
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-12)


def test_long_term_max_min_makes_hardening_bounds_equal(generic):
    for kind in (ris.MRT, ris.RZF):
        common, fair = (
            simulate(generic, kind(normalisation="long_term", allocation=allocation), realizations=20000)
            for allocation in ("common", "max_min")
        )
        spread = np.ptp(fair.hardening_rate.value)
        # 1,024 preliminary and 20,000 measured realizations, of which the former have the larger error.
        assert spread < 6.5 * np.sqrt(20) * fair.hardening_rate.standard_error.max()
        assert spread < 0.2 * np.ptp(common.hardening_rate.value)
        assert fair.hardening_rate.value.min() > common.hardening_rate.value.min()


def test_ergodic_rate_is_corrected_for_the_error_of_preliminary_means(generic, monkeypatch):
    """From 40 preliminary realizations only, against a mean of the power from 200,000.

    The mean of the power is wrong by some 10 %. With the correction the ergodic rate agrees to 6.5 standard
    errors, and without it no user's does.
    """
    precoder, n = ris.RZF(0.05, normalisation="long_term", allocation="common"), 60000
    H = ris.draw_channels(generic[0], *generic[1], realizations=200000, seed=99)
    F = ris.precode(H, precoder, **POWERS)
    rates = np.log2(1 + ris.sinr(H, F, noise_power=40.0))
    expected, error = rates.mean(axis=0), rates.std(axis=0) / 200000**0.5
    monkeypatch.setattr(transmitter, "PRELIMINARY", 40)
    e = simulate(generic, precoder, realizations=n)
    spent = e.precoder_gain.value.sum() / 3.0
    assert abs(spent - 1) > 0.05
    # The reference depends on its own mean of the power, which adds to its error.
    powers = np.sum(np.abs(F) ** 2, axis=(1, 2)) / 3.0
    error = np.hypot(error, powers.std() / 200000**0.5)
    combined = np.hypot(error, e.ergodic_rate.standard_error)
    rest = (spent - 1) ** 2  # of the second order
    assert np.all(np.abs(e.ergodic_rate.value - expected) < 6.5 * combined + rest)
    monkeypatch.setattr(transmitter.Transmitter, "correct", lambda *_: None)
    plain = simulate(generic, precoder, realizations=n)
    assert np.all(np.abs(plain.ergodic_rate.value - expected) > 6.5 * combined + rest)
    # The correction is the slope by the noise, found by 40 realizations to 1 %, for that excess power.
    noisier = simulate(generic, precoder, realizations=n, noise_power=40.4).ergodic_rate.value
    slope = (noisier - plain.ergodic_rate.value) / 0.01
    change = e.ergodic_rate.value - plain.ergodic_rate.value
    np.testing.assert_allclose(change, slope * (spent - 1), rtol=0.02)


def test_standard_errors_of_long_term_rates_match_the_spread_of_repeats(generic):
    """200 simulations: the spread is known to 1/sqrt(398) = 5 %, 6.5 errors are 33 %."""
    precoder = ris.RZF(normalisation="long_term", allocation="common")
    runs = [simulate(generic, precoder, realizations=400, seed=seed) for seed in range(200)]
    for name in ("ergodic_rate", "hardening_rate"):
        values = np.array([getattr(run, name).value for run in runs])
        errors = np.array([getattr(run, name).standard_error for run in runs])
        np.testing.assert_allclose(values.std(axis=0, ddof=1), errors.mean(axis=0), rtol=0.33)


# The same numbers however they are made


@pytest.mark.parametrize("csi", ["perfect", PILOTS], ids=["perfect", "pilots"])
@pytest.mark.parametrize("precoder", PRECODERS, ids=repr)
def test_threads_and_cuts(generic, precoder, csi):
    whole, two = (simulate(generic, precoder, csi, 1200, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(whole.per_user.mean, two.per_user.mean)
    np.testing.assert_array_equal(whole.per_user.comoment, two.per_user.comoment)
    parts = simulate(generic, precoder, csi, 500).merge(simulate(generic, precoder, csi, 700, first=500))
    np.testing.assert_allclose(parts.per_user.mean, whole.per_user.mean, rtol=1e-11)
    np.testing.assert_allclose(parts.interferences.mean, whole.interferences.mean, rtol=1e-11, atol=1e-25)
    assert parts.precoder == precoder


def test_observed_rates_are_instantaneous(generic):
    seen = simulate(generic, ris.ZF(), observe=lambda rates: rates)
    np.testing.assert_array_equal(seen.observed.mean, seen.ergodic_rate.value)


def test_unconverged_realizations_are_counted(generic):
    hasty = ris.WMMSE(iterations=1, tolerance=1e-12)
    parts = simulate(generic, hasty, realizations=500), simulate(generic, hasty, first=500, realizations=200)
    assert parts[0].unconverged > 0
    whole = simulate(generic, hasty)
    assert parts[0].merge(parts[1]).unconverged == whole.unconverged == sum(p.unconverged for p in parts)
    assert simulate(generic, ris.WMMSE()).unconverged == 0


def test_simulations_of_two_precoders_do_not_merge(generic):
    one, two = simulate(generic, ris.ZF()), simulate(generic, ris.RZF())
    with pytest.raises(channels.InvalidArgumentError, match=r"^other: expected a simulation at"):
        one.merge(two)


def test_positional_simulations_have_the_precoder_of_the_closed_forms(generic):
    e = simulate(generic, ris.MRT())
    parts = (e.per_user, e.interferences, e.gain_products)
    assert all(isinstance(part, Observations) for part in parts)
    assert ris.Simulation(3.0, 40.0, "perfect", *parts).merge(e).realizations == 1400


# Bad input


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"precoder": "ZF"}, "precoder"),
        ({"precoder": ris.ZF(), "power": 0.0}, "power"),
        ({"precoder": ris.WMMSE((1.0, 2.0))}, "weights"),
        ({"precoder": ris.ZF(), "csi": ris.LsCsi(2, 1.0, 1.0)}, "precoder"),
        ({"precoder": ris.ZF(normalisation="long_term"), "csi": ris.LsCsi(2, 1.0, 1.0)}, "precoder"),
    ],
)
def test_bad_arguments(generic, options, argument):
    with pytest.raises(channels.InvalidArgumentError, match=rf"^{argument}: expected .*, got "):
        simulate(generic, **options)


def test_more_users_than_antennas():
    rng = np.random.default_rng(2)
    system = random_system(rng, antennas=2, users=3)
    generic = system, random_phases(rng, system)
    with pytest.raises(
        channels.InvalidArgumentError, match=r"^precoder: .*at most as many users as antennas"
    ):
        simulate(generic, ris.ZF())
    assert np.all(simulate(generic, ris.RZF()).ergodic_rate.value > 0)
