"""Phases for each realization: gradients, monotone ascents, bounds, exhaustive search, the simulation."""

import dataclasses
import functools

import numpy as np
import pytest
from systems import PATH_SETS, random_system

import channels
import ris
from ris.instantaneous import _rates

POWERS = {"power": 3.0, "noise_power": 1.0}


def without_noise(hops):
    silent = {name: np.zeros_like(getattr(hops, name)) for name in ("phase_noise1", "phase_noise2")}
    return dataclasses.replace(hops, **silent)


def slow_rates(h, noise):
    """By loops over realizations and users."""
    rates = np.empty((len(h), h.shape[-1]))
    for i, H in enumerate(h):
        total = sum(np.linalg.norm(column) ** 2 for column in H.T)
        for k, hk in enumerate(H.T):
            other = sum(abs(np.vdot(hk, hj)) ** 2 for j, hj in enumerate(H.T) if j != k)
            rates[i, k] = np.log2(1 + np.linalg.norm(hk) ** 4 / (other + noise * total))
    return rates


def test_rates_and_their_gradient():
    rng = np.random.default_rng(0)
    h, step = (rng.standard_normal((4, 3, 5)) + 1j * rng.standard_normal((4, 3, 5)) for _ in range(2))
    rates, V = _rates(h, 0.3)
    np.testing.assert_allclose(rates, slow_rates(h, 0.3), rtol=1e-13)
    up, down = (slow_rates(h + s * step, 0.3).sum(axis=-1) for s in (1e-5, -1e-5))
    np.testing.assert_allclose((up - down) / 2e-5, np.sum((V.conj() * step).real, axis=(1, 2)), rtol=1e-7)


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("objective", ["received_power", "sum_rate"])
def test_designs_are_monotone_and_below_their_bounds(paths, objective):
    rng = np.random.default_rng(1)
    system = random_system(rng, paths, elements=(4, 3), users=2, noise=(None, channels.VonMises(2.0)))
    hops = ris.draw_hops(system, realizations=20, seed=2)
    design = ris.instantaneous_phases(hops, objective=objective, **POWERS, max_iterations=300)
    assert np.all(np.diff(design.history) >= -1e-12 * design.history[:, 1:])
    np.testing.assert_allclose(design.value, design.history[:, -1], rtol=1e-12)
    assert np.all(design.value <= design.bound * (1 + 1e-12))
    assert design.converged.mean() >= 0.8

    def reached(theta1, theta2):
        h = without_noise(hops).channels(theta1, theta2)
        if objective == "received_power":
            return np.sum(np.abs(h) ** 2, axis=(1, 2))
        return slow_rates(h, 1 / 3).sum(axis=-1)

    np.testing.assert_allclose(design.value, reached(*design), rtol=1e-10)
    for _ in range(50):
        theta = [rng.uniform(-np.pi, np.pi, angles.shape) for angles in design]
        assert np.mean(reached(*theta)) <= np.mean(design.value) * (1 + 1e-12)


def test_one_user_one_antenna_one_surface_meets_the_bound():
    """|h| is the sum of |a_n u_n|: the phases of the textbook, and the rate that follows."""
    system = random_system(np.random.default_rng(3), ("single1",), antennas=1, elements=(6, 2), users=1)
    hops = ris.draw_hops(system, realizations=10, seed=4)
    sizes = np.abs(hops.bs_ris1[:, 0]) * np.abs(hops.ris1_user[:, :, 0])
    for objective in ("received_power", "sum_rate"):
        design = ris.instantaneous_phases(hops, objective=objective, **POWERS, tolerance=1e-12)
        np.testing.assert_allclose(design.value, design.bound, rtol=1e-6)
        power = sizes.sum(axis=1) ** 2
        expected = power if objective == "received_power" else np.log2(1 + 3 * power)
        np.testing.assert_allclose(design.value, expected, rtol=1e-6)


def test_near_the_best_of_a_fine_grid():
    """Three free phases, 16 levels each: the local maxima reach the global one on average."""
    system = random_system(np.random.default_rng(5), ("double",), elements=(3, 2), users=2)
    hops = ris.draw_hops(system, realizations=12, seed=6)
    levels = 2 * np.pi * np.arange(16) / 16
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    best = np.zeros(12)
    for a, b, c in grid:
        h = hops.channels(np.array([0, a, b]), np.array([0, c]))
        best = np.maximum(best, np.sum(np.abs(h) ** 2, axis=(1, 2)))
    design = ris.instantaneous_phases(hops, tolerance=1e-9, max_iterations=2000)
    assert np.all(design.value <= best * 1.1)
    assert design.value.mean() >= 0.97 * best.mean()


def test_simulation_of_fixed_phases_has_the_law_of_the_reduced_engine():
    """Received power against the closed form, 6.5 standard errors; a wrong noise law would be seen."""
    rng = np.random.default_rng(7)
    system = random_system(rng, elements=(4, 3), users=2, noise=(None, channels.VonMises(2.0)))
    theta = tuple(rng.uniform(-np.pi, np.pi, n) for n in (4, 3))
    found = ris.simulate_instantaneous(system, lambda hops: theta, **POWERS, realizations=20_000, seed=8)
    power = found.received_power
    exact = ris.closed_form_moments(system, *theta).mean_gain.sum()
    silent = dataclasses.replace(system, phase_noise2=channels.NoNoise())
    planted = ris.closed_form_moments(silent, *theta).mean_gain.sum()
    assert abs(power.value - exact) < 6.5 * power.standard_error
    assert abs(power.value - planted) > 6.5 * power.standard_error


def test_knowing_the_hops_helps_and_blocks_do_not_matter(monkeypatch):
    system = random_system(
        np.random.default_rng(9), elements=(6, 6), users=2, noise=(channels.VonMises(8.0), None)
    )
    by_rate = functools.partial(ris.instantaneous_phases, objective="sum_rate", **POWERS)
    statistical = ris.optimal_phases(system)
    runs = {
        name: ris.simulate_instantaneous(system, choose, **POWERS, realizations=200, seed=10)
        for name, choose in (
            ("statistical", lambda hops: statistical),
            ("power", ris.instantaneous_phases),
            ("rate", by_rate),
        )
    }
    assert runs["power"].received_power.value > 1.2 * runs["statistical"].received_power.value
    assert runs["rate"].ergodic_sum_rate.value > 1.2 * runs["power"].ergodic_sum_rate.value
    np.testing.assert_allclose(
        runs["rate"].ergodic_rate.value.sum(), runs["rate"].ergodic_sum_rate.value, rtol=1e-13
    )
    monkeypatch.setattr(ris.instantaneous, "BLOCK_BYTES", 2**15)
    cut = ris.simulate_instantaneous(system, ris.instantaneous_phases, **POWERS, realizations=200, seed=10)
    np.testing.assert_allclose(cut.ergodic_rate.value, runs["power"].ergodic_rate.value, rtol=1e-9)
    np.testing.assert_allclose(
        cut.received_power.standard_error, runs["power"].received_power.standard_error, rtol=1e-9
    )


def test_without_power_there_is_no_rate():
    hops = ris.draw_hops(random_system(np.random.default_rng(0)), realizations=2, seed=1)
    design = ris.instantaneous_phases(hops, objective="sum_rate", power=0.0, noise_power=1.0)
    assert design.value.tolist() == design.bound.tolist() == [0.0, 0.0]


HOPS = ris.draw_hops(random_system(np.random.default_rng(0)), realizations=2, seed=1)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"objective": "min_rate"}, "objective"),
        ({"power": -1.0}, "power"),
        ({"noise_power": 0.0}, "noise_power"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_bad_input_names_the_argument(options, argument):
    with pytest.raises(channels.InvalidArgumentError) as caught:
        ris.instantaneous_phases(HOPS, **options)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("options", "argument"),
    [({"choose": None}, "choose"), ({"realizations": 0}, "realizations"), ({"power": -1.0}, "power")],
)
def test_bad_input_of_the_simulation(options, argument):
    arguments = {"choose": ris.instantaneous_phases, **POWERS, "realizations": 2, "seed": 1, **options}
    system = random_system(np.random.default_rng(0))
    with pytest.raises(channels.InvalidArgumentError) as caught:
        ris.simulate_instantaneous(system, **arguments)
    assert caught.value.argument == argument
