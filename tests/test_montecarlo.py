"""Draws and estimates: against plain NumPy, against the closed forms, the same bits however they are made."""

import math

import numpy as np
import pytest
from systems import PATH_SETS, random_phases, random_system

import channels
import ris
from ris._kernels.hop import draw_matrices, draw_vectors, explicit_product
from ris._kernels.statistics import measure
from ris._kernels.surface import reflect
from ris.estimates import Observations

NOISE = (channels.VonMises(2.0), channels.WrappedNormal(0.4) + channels.QuantizationNoise(2))


@pytest.fixture
def generic():
    rng = np.random.default_rng(1)
    system = random_system(rng, elements=(4, 5), users=3, noise=NOISE)
    return system, random_phases(rng, system)


# Kernels against plain NumPy


def test_explicit_product_draws_the_matrices_of_draw_matrices():
    rng = np.random.default_rng(2)
    key = channels.Stream(3).key
    columns = rng.standard_normal((7, 6, 4)) + 1j * rng.standard_normal((7, 6, 4))
    out, W = np.empty((5, 6, 4), complex), np.empty((6, 5, 7), complex)
    explicit_product(out, columns, key, 11)
    draw_matrices(W, key, 11)
    np.testing.assert_allclose(out, np.einsum("tij,jtc->itc", W, columns), rtol=1e-13)


def test_draw_vectors_are_the_columns_of_one_sequence():
    key = channels.Stream(3).key
    vectors, flat = np.empty((5, 6, 4), complex), np.empty((6, 1, 20), complex)
    draw_vectors(vectors, key, 11)
    draw_matrices(flat, key, 11)
    np.testing.assert_array_equal(np.transpose(vectors, (1, 2, 0)).reshape(6, 20), flat[:, 0])


def test_reflect():
    rng = np.random.default_rng(4)
    columns = rng.standard_normal((7, 6, 4)) + 1j * rng.standard_normal((7, 6, 4))
    theta, law, stream = rng.uniform(0, 6, 7), NOISE[1], channels.Stream(5)
    phases = law.sample(7, 6, stream, first=14).T
    got = columns.copy()
    no_hardware = channels.Hardware().kernel_table(7)
    reflect(got, 3, np.exp(1j * theta), law.kernel_table(), stream.key, no_hardware, stream.key, 14)
    expected = columns * np.exp(1j * theta)[:, None, None]
    expected[..., :3] *= np.exp(1j * phases)[..., None]
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_measure():
    rng = np.random.default_rng(6)
    h, f = rng.standard_normal((2, 3, 5, 4)) + 1j * rng.standard_normal((2, 3, 5, 4))
    per_user, interference, product = np.empty((5, 4, 5)), np.empty((4, 4, 5)), np.empty((4, 4, 5))
    rows = [np.stack([x.real, x.imag], axis=1).transpose(0, 1, 3, 2) for x in (h, f)]
    measure(per_user, interference, product, *rows, np.full((4, 5), 0.7))
    per_user, interference, product = (np.moveaxis(x, -1, 0) for x in (per_user, interference, product))
    inner = np.einsum("mtk,mtj->tkj", h.conj(), f)
    power = np.abs(inner) ** 2
    gain = np.sum(np.abs(h) ** 2, axis=0)
    np.testing.assert_allclose(interference, power, rtol=1e-13)
    np.testing.assert_allclose(product, gain[:, :, None] * gain[:, None, :], rtol=1e-13)
    signal = np.diagonal(power, axis1=1, axis2=2)
    others = power.sum(axis=2) - signal
    rate = np.log2(1 + signal / (others + 0.7))
    expected = [
        np.diagonal(inner, axis1=1, axis2=2).real,
        signal,
        others,
        np.sum(np.abs(f) ** 2, axis=0),
        rate,
    ]
    np.testing.assert_allclose(per_user, np.stack(expected, axis=1), rtol=1e-12)


# Estimates


def test_observations_merge_to_those_of_all_rows():
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((50, 3, 2)) + 5
    parts = Observations.of(rows[:11]).merge(Observations.of(rows[11:12])).merge(Observations.of(rows[12:]))
    expected = np.stack([np.cov(rows[:, i].T) for i in range(3)])
    np.testing.assert_allclose(parts.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(parts.comoment / 49, expected, rtol=1e-12)
    estimate = parts.estimate()
    np.testing.assert_allclose(estimate.standard_error, rows.std(axis=0, ddof=1) / math.sqrt(50), rtol=1e-12)


def test_one_realization_has_no_standard_error(generic):
    system, phases = generic
    e = ris.simulate(system, *phases, power=1.0, noise_power=1.0, realizations=1, seed=0)
    assert np.all(np.isnan(e.mean_gain.standard_error))
    assert np.all(np.isnan(e.hardening_rate.standard_error))
    assert np.all(np.isfinite(e.mean_gain.value))


@pytest.mark.parametrize("name", ["hardening_rate", "ratio_rate"])
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_rate_gradient_against_differences(generic, name, csi):
    """The delta method's gradient, by central differences of the rate at shifted means."""
    system, phases = generic
    e = ris.simulate(system, *phases, power=2.0, noise_power=9.0, realizations=500, seed=0, csi=csi)
    _, gradient = e._hardening if name == "hardening_rate" else e._ratio

    def at(mean):
        shifted = Observations(500, mean, e.per_user.comoment)
        return getattr(ris.Simulation(2.0, 9.0, csi, shifted, e.interferences, e.gain_products), name).value

    for i, entry in enumerate(e.per_user.mean):
        step = np.zeros(15)
        step[i] = 1e-6 * abs(entry)
        difference = (at(e.per_user.mean + step) - at(e.per_user.mean - step)) / (2 * step[i])
        np.testing.assert_allclose(gradient[:, i], difference, rtol=1e-5, atol=1e-8 * np.abs(gradient).max())


def test_standard_errors_match_the_spread_of_repeats():
    """400 simulations: the spread of each estimate is its mean standard error, to 6.5 of its own errors."""
    rng = np.random.default_rng(13)
    system = random_system(rng, ("direct", "single1"), antennas=8, elements=(8, 1), users=3, noise=NOISE)
    phases = random_phases(rng, system)
    runs = [
        ris.simulate(system, *phases, power=2.0, noise_power=9.0, realizations=1000, seed=seed)
        for seed in range(400)
    ]
    for name in ("mean_gain", "ergodic_rate", "hardening_rate", "hardening_sum_rate", "ratio_rate"):
        values = np.array([getattr(run, name).value for run in runs])
        errors = np.array([getattr(run, name).standard_error for run in runs])
        # The spread of 400 nearly normal values is known to 1/sqrt(798) = 3.5 %: 6.5 errors are 23 %.
        np.testing.assert_allclose(values.std(axis=0, ddof=1), errors.mean(axis=0), rtol=0.23)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_simulation_agrees_with_closed_form(paths, csi):
    """Per user and pair, 6.5 standard errors: false alarms below 1e-7 in total for some 500 comparisons.

    The standard errors of the mean gains are below 1.5 %, so that an error of 20 % shows for sure.
    """
    rng = np.random.default_rng(100 + len("".join(paths)))
    system = random_system(rng, paths, elements=(5, 4), users=2, noise=NOISE)
    phases = random_phases(rng, system)
    powers = {"power": 2.0, "noise_power": 9.0}
    e = ris.simulate(system, *phases, **powers, realizations=40000, seed=5, csi=csi)
    m = ris.closed_form_moments(system, *phases, csi=csi)
    expected = {
        "mean_gain": m.mean_gain,
        "interference": m.interference,
        "precoder_gain": m.precoder_gain,
        "hardening_rate": ris.rate_from_moments(m, **powers),
        "ratio_rate": ris.rate_from_moments(m, **powers, bound="ratio"),
    }
    if csi == "perfect":
        expected["gain_product"] = m.gain_product
    for name, value in expected.items():
        estimate = getattr(e, name)
        z = (estimate.value - value) / estimate.standard_error
        assert np.all(np.abs(z) < 6.5), f"{name}: {z}"
    assert np.all(e.mean_gain.standard_error < 0.015 * m.mean_gain)
    shifted = (e.mean_gain.value - 1.2 * m.mean_gain) / e.mean_gain.standard_error
    assert np.all(np.abs(shifted) > 6.5)


def test_ergodic_rate_against_numpy(generic):
    system, phases = generic
    h = ris.draw_channels(system, *phases, realizations=600, seed=4)
    e = ris.simulate(system, *phases, power=2.0, noise_power=9.0, realizations=600, seed=4)
    power = np.abs(np.einsum("tmk,tmj->tkj", h.conj(), h)) ** 2
    signal = np.diagonal(power, axis1=1, axis2=2)
    noise = 9.0 * np.sum(ris.closed_form_moments(system, *phases).precoder_gain) / 2.0
    rate = np.log2(1 + signal / (power.sum(axis=2) - signal + noise))
    np.testing.assert_allclose(e.ergodic_rate.value, rate.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(e.ergodic_sum_rate.value, rate.sum(axis=1).mean(), rtol=1e-12)
    np.testing.assert_allclose(
        e.ergodic_sum_rate.standard_error, rate.sum(axis=1).std(ddof=1) / math.sqrt(600), rtol=1e-10
    )


def test_no_power_is_no_rate(generic):
    system, phases = generic
    e = ris.simulate(system, *phases, power=0.0, noise_power=1.0, realizations=100, seed=4)
    for rate in (e.ergodic_rate, e.hardening_rate, e.ratio_rate):
        assert np.all(rate.value == 0)


# The same bits however they are made


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_threads_change_no_bit(generic, csi):
    system, phases = generic
    one, two, five = (
        ris.simulate(
            system, *phases, power=1.0, noise_power=1.0, realizations=1500, seed=9, csi=csi, threads=threads
        )
        for threads in (1, 2, 5)
    )
    for other in (two, five):
        np.testing.assert_array_equal(one.per_user.mean, other.per_user.mean)
        np.testing.assert_array_equal(one.per_user.comoment, other.per_user.comoment)
        np.testing.assert_array_equal(one.interferences.comoment, other.interferences.comoment)


@pytest.mark.parametrize("size", [1, 7, 100, 256, 399])
def test_blocks_change_no_bit(generic, size):
    system, phases = generic
    whole = ris.draw_channels(system, *phases, realizations=400, seed=9, threads=2)
    parts = [
        ris.draw_channels(
            system, *phases, realizations=min(size, 400 - start), seed=9, first=start, threads=1
        )
        for start in range(0, 400, size)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_merged_simulations_are_the_whole(generic):
    system, phases = generic
    common = {"power": 1.0, "noise_power": 1.0, "seed": 9}
    whole = ris.simulate(system, *phases, realizations=900, **common)
    parts = ris.simulate(system, *phases, realizations=500, **common).merge(
        ris.simulate(system, *phases, realizations=400, first=500, **common)
    )
    assert parts.realizations == 900
    for name in ("mean_gain", "interference", "hardening_rate", "ergodic_sum_rate"):
        got, expected = getattr(parts, name), getattr(whole, name)
        np.testing.assert_allclose(got.value, expected.value, rtol=1e-12)
        np.testing.assert_allclose(got.standard_error, expected.standard_error, rtol=1e-10)
    other = ris.simulate(system, *phases, realizations=10, power=2.0, noise_power=1.0, seed=9)
    with pytest.raises(channels.InvalidArgumentError, match=r"^other: expected a simulation at"):
        whole.merge(other)


def test_seeds_and_streams_differ(generic):
    system, phases = generic
    draws = [
        ris.draw_channels(system, *phases, realizations=3, seed=seed)
        for seed in (1, 2, channels.Stream(1, "study"), channels.Stream(1))
    ]
    assert np.array_equal(draws[0], draws[3])
    assert not np.any(draws[0] == draws[1])
    assert not np.any(draws[0] == draws[2])


def test_progress_counts_realizations(generic):
    system, phases = generic
    seen = []
    ris.simulate(system, *phases, power=1.0, noise_power=1.0, realizations=1000, seed=0, progress=seen.append)
    assert seen[-1] == 1000
    assert seen == sorted(set(seen))


# Every hop matrix


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_hops_compose_to_the_channels(paths):
    rng = np.random.default_rng(11)
    system = random_system(rng, paths, elements=(4, 5), users=3, own=len(paths) % 2 == 0, noise=NOISE)
    phases = random_phases(rng, system)
    hops = ris.draw_hops(system, realizations=50, seed=5, first=7)
    h = ris.draw_channels(system, *phases, realizations=50, seed=5, first=7, engine="explicit")
    np.testing.assert_allclose(hops.channels(*phases), h, rtol=1e-11)


def test_hops_take_phases_of_each_realization(generic):
    system, _ = generic
    rng = np.random.default_rng(12)
    hops = ris.draw_hops(system, realizations=6, seed=5)
    theta1, theta2 = rng.uniform(0, 6, (6, 4)), rng.uniform(0, 6, (6, 5))
    h = hops.channels(theta1, theta2)
    one = hops.channels(theta1[2], theta2[2])
    np.testing.assert_allclose(h[2], one[2], rtol=1e-13)


@pytest.mark.parametrize(("side", "spacing"), [(16, 0.125), (16, 0.25), (32, 0.125), (32, 0.25)])
def test_drawn_hops_have_the_covariance_of_the_surface(side, spacing):
    """Rank-deficient surfaces: mean element power 1, the quadratic form of every test vector its variance.

    For unit vectors v, |v^H a|^2 over independent draws a has mean v^H R v and the standard deviation of an
    exponential law. 6.5 standard errors for 1 + 40 checks a surface.
    """
    R = channels.isotropic_correlation(channels.UniformPlanarArray(side, side, spacing))
    rng = np.random.default_rng(side)
    N, n = side * side, 400
    system = ris.DoubleRIS(bs_ris1=channels.Hop(1.0, np.eye(4), R), ris1_user=channels.UserHop(np.ones(1), R))
    draws = ris.draw_hops(system, realizations=n, seed=side).bs_ris1.reshape(-1, N)
    power = np.abs(draws) ** 2
    # Var of the mean element power: tr(R^2) / N^2 for each independent row.
    error = math.sqrt(np.sum(np.asarray(R) ** 2) / N**2 / len(draws))
    assert abs(power.mean() - 1) < 6.5 * error
    vectors = rng.standard_normal((N, 40)) + 1j * rng.standard_normal((N, 40))
    vectors[:, :20] = R.factor[:, rng.integers(0, min(40, R.factor.shape[1]), 20)]
    vectors /= np.linalg.norm(vectors, axis=0)
    variance = np.einsum("in,ij,jn->n", vectors.conj(), np.asarray(R), vectors).real
    # Rows are conj-linear in the factor: E conj(a_i) a_j = R_ij.
    drawn = np.abs(draws @ vectors) ** 2
    assert np.all(np.abs(drawn.mean(axis=0) - variance) < 6.5 * variance / math.sqrt(len(draws)))


# Bad input


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"realizations": 0}, "realizations"),
        ({"realizations": 2.0}, "realizations"),
        ({"seed": -1}, "seed"),
        ({"seed": "a"}, "seed"),
        ({"first": -1}, "first"),
        ({"threads": 0}, "threads"),
        ({"engine": "fast"}, "engine"),
        ({"csi": "none"}, "csi"),
        ({"power": -1.0}, "power"),
        ({"noise_power": 0.0}, "noise_power"),
        ({"power": np.nan}, "power"),
        ({"memory_limit": 0.0}, "memory_limit"),
        ({"theta1": np.zeros(3)}, "theta1"),
        ({"theta2": np.zeros((2, 5))}, "theta2"),
    ],
)
def test_bad_arguments(generic, change, argument):
    system, (theta1, theta2) = generic
    arguments = {
        "theta1": theta1,
        "theta2": theta2,
        "power": 1.0,
        "noise_power": 1.0,
        "realizations": 5,
        "seed": 1,
    }
    with pytest.raises(channels.InvalidArgumentError, match=f"^{argument}: expected .*, got "):
        ris.simulate(system, **(arguments | change))


def test_batched_system_cannot_be_simulated():
    rng = np.random.default_rng(0)
    system = random_system(rng, batch=(2,))
    with pytest.raises(channels.InvalidArgumentError, match=r"^system: expected a single system.*\(2,\)"):
        ris.draw_channels(system, *random_phases(rng, system), realizations=5, seed=1)
    with pytest.raises(channels.InvalidArgumentError, match=r"^system: expected a single system.*\(2,\)"):
        ris.draw_hops(system, realizations=5, seed=1)


def test_memory_limit_says_how_much_it_needs(generic):
    system, phases = generic
    with pytest.raises(channels.MemoryLimitError, match=r"needs 1\.44e\+03 GB, the limit is 4 GB"):
        ris.draw_channels(system, *phases, realizations=10**10, seed=1)
    with pytest.raises(channels.MemoryLimitError, match=r"drawing the hops needs .* the limit is 0\.01 GB"):
        ris.draw_hops(system, realizations=10**4, seed=1, memory_limit=1e7)
