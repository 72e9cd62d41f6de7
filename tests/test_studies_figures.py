"""What the named figures show: the published claims, each in the regime where it holds."""

import functools

import numpy as np
import pytest

import ris
from studies.blocks import Measurement, Task, compute_block
from studies.build import build
from studies.cli.catalogue import FIGURES
from studies.config import load_study
from studies.link_budget import link_budget
from studies.run import Plan
from studies.transmission import known_csi, power_and_noise


@functools.cache
def closed_form(name, label, *values):
    """Sum of the hardening bounds, and the mean gain of the first user in dB."""
    study = load_study(FIGURES / f"{name}.toml")
    point = study.point(study.schemes.index(label), *values)
    system, theta1, theta2 = build(point, study.settings.seed)
    moments = ris.closed_form_moments(system, theta1, theta2, known_csi(point.transmission))
    power, noise = power_and_noise(point.transmission)
    rates = ris.rate_from_moments(moments, power=power, noise_power=noise)
    return float(rates.sum()), 10 * np.log10(moments.mean_gain[0])


def rate(name, label, *values):
    return closed_form(name, label, *values)[0]


@functools.cache
def simulated(name, label, *values):
    """Measurement of 400 realizations."""
    study = load_study(FIGURES / f"{name}.toml")
    point = study.point(study.schemes.index(label), *values)
    task = Task.of(point, Plan.of(study).stream(values), 400, 400, study.settings.metrics)
    measurement = Measurement(task)
    measurement.take(compute_block(task, 0))
    return measurement


def test_surface_correlation_is_essential_where_noise_limits_and_harmful_where_interference_does():
    # 4 users at the values of a double reflection of 8 x 8 surfaces, a quarter wavelength, M = 16.
    assert rate("spacing", "isotropic scattering, 0 dB", 0.25) == pytest.approx(4 * 0.8931, abs=1e-3)
    assert rate("spacing", "uncorrelated, 0 dB", 0.25) == pytest.approx(4 * 0.2968, abs=1e-3)
    assert rate("spacing", "isotropic scattering, 20 dB", 0.25) == pytest.approx(4 * 1.1268, abs=1e-3)
    assert rate("spacing", "uncorrelated, 20 dB", 0.25) == pytest.approx(4 * 1.7641, abs=1e-3)


def test_double_reflection_loses_twice_the_decibels():
    loss = {
        path: closed_form("concentration", f"{path}, noise-aware", 1e9)[1]
        - closed_form("concentration", f"{path}, noise-aware", 2)[1]
        for path in ("single", "double")
    }
    assert loss["single"] == pytest.approx(1.98, abs=0.01)
    assert loss["double"] == pytest.approx(3.97, abs=0.01)


def test_both_paths_have_the_same_gain_without_noise():
    single, double = (
        closed_form("concentration", f"{path}, noise-aware", 1e9)[1] for path in ("single", "double")
    )
    assert single == pytest.approx(double, abs=0.01)


@pytest.mark.parametrize("path", ["single", "double"])
@pytest.mark.parametrize("concentration", [0.25, 1, 4])
def test_knowing_the_noise_helps(path, concentration):
    aware, unaware = (
        rate("concentration", f"{path}, noise-{how}", concentration) for how in ("aware", "unaware")
    )
    assert aware > unaware


def test_phase_noise_costs_rate_where_noise_limits():
    for paths in ("all paths", "single only", "double only"):
        assert rate("power", f"{paths}, phase noise", 0) < rate("power", f"{paths}, no phase noise", 0)


def test_phase_noise_raises_the_bound_of_all_paths_where_interference_limits():
    assert rate("power", "all paths, phase noise", 40) > rate("power", "all paths, no phase noise", 40)


@pytest.mark.parametrize("paths", ["all paths", "single only", "double only"])
def test_bs_correlation_costs_most_where_interference_limits(paths):
    share = {
        power: rate("bs_correlation", f"{paths}, {power} dBm", 0.9)
        / rate("bs_correlation", f"{paths}, {power} dBm", 0)
        for power in (5, 30)
    }
    assert share[30] < 0.55 < 0.7 < share[5] < 1


def test_double_reflection_overtakes_as_surfaces_grow():
    single, double = "single only, phase noise", "double only, phase noise"
    assert rate("elements", double, 36) < rate("elements", single, 36)
    assert rate("elements", double, 256) > rate("elements", single, 256)


def test_mean_gain_rises_with_the_resolution_of_the_phases():
    gains = [
        closed_form("phases", label, 0)[1] for label in ("random", "1 bit", "2 bits", "3 bits", "optimal")
    ]
    assert gains == sorted(gains)
    rates = [rate("phases", label, 0) for label in ("random", "1 bit", "2 bits", "3 bits", "optimal")]
    assert rates == sorted(rates)
    assert rate("phases", "random", 30) > rate("phases", "optimal", 30)


def test_pilot_power_leads_from_nothing_to_perfect_knowledge():
    powers = (-15, 0, 15, 30, 60)
    rates = [rate("csi", "LMMSE, 4 pilots", power) for power in powers]
    assert rates == sorted(rates)
    perfect, nominal = (rate("csi", label, 0) for label in ("perfect", "nominal"))
    assert rates[0] < 0.05 * perfect
    assert rates[-1] == pytest.approx(perfect, rel=1e-3)
    assert rates[1] < nominal < rates[3]


def test_shared_pilots_cost_more_than_half_at_any_power():
    label = "LMMSE, 2 pilots for 4 users"
    assert rate("csi", label, 30) < rate("csi", label, 90) < 0.5 * rate("csi", "perfect", 0)
    assert rate("csi", label, 90) == pytest.approx(rate("csi", label, 60), rel=1e-3), "levels off"


@functools.cache
def rate_over_drops(label, position):
    return np.mean([rate("geometry", label, position, drop) for drop in range(6)])


def test_a_surface_is_best_across_from_the_users_or_before_them():
    near, before, across, beyond = (rate_over_drops("surface 2 alone", x) for x in (10, 50, 60, 90))
    assert beyond < 0.5 * near < near < min(before, across)


def test_two_surfaces_serve_nearly_as_the_sum_of_both():
    alone = rate_over_drops("surface 1 alone", 60), rate_over_drops("surface 2 alone", 60)
    assert max(alone) < 0.75 * sum(alone) < rate_over_drops("both surfaces", 60) < sum(alone)
    assert rate_over_drops("both, random phases", 60) < min(alone)


def test_the_double_reflection_is_lost_in_the_street():
    study = load_study(FIGURES / "geometry.toml")
    paths = link_budget(study.point(study.schemes.index("both surfaces"), 60, 0), study.settings.seed).paths
    assert paths["double"] < min(paths["single1"], paths["single2"]) - 40


def test_every_precoder_has_its_place():
    def sums(power):
        labels = ("MRT", "ZF", "RZF", "RZF, max-min", "WMMSE")
        return [
            float(simulated("precoders", label, power).estimate("ergodic_sum_rate").value) for label in labels
        ]

    mrt, zf, rzf, fair, best = sums(15)
    assert 2 * zf < fair < mrt < best
    assert rzf == pytest.approx(mrt, rel=0.15)
    mrt, zf, rzf, fair, best = sums(35)
    assert 2 * mrt < min(zf, fair) < rzf < best
    fair, best = (
        float(simulated("precoders", label, 20).estimate("minimum_rate").value)
        for label in ("RZF, max-min", "WMMSE")
    )
    assert best < 0.1 < 0.5 < fair


def test_ascents_of_the_rate_are_best_at_any_power():
    labels = (
        "optimal mean gain",
        "gradient ascent",
        "alternating ascent",
        "coordinate ascent, 2 bits",
        "random",
    )
    gain, both, turns, levels, random = (rate("designs", label, 0) for label in labels)
    assert random < 0.25 * gain < 0.9 * gain < levels < both
    assert both == pytest.approx(gain, rel=0.02)
    gain, both, turns, levels, random = (rate("designs", label, 20) for label in labels)
    assert turns == pytest.approx(both, rel=0.01)
    assert 0.95 * both < levels < both
    assert 1.4 * max(gain, random) < both
    assert rate("designs", "random", 30) > 1.4 * rate("designs", "optimal mean gain", 30)


def test_lines_of_sight_raise_gains_and_cost_rank():
    def ratio(label):
        return rate("rician", label, 25) / rate("rician", label, -15)

    assert ratio("double only, 5 dBm") > 5
    assert ratio("single only, 5 dBm") == pytest.approx(1, abs=0.1)
    for paths in ("all paths", "single only", "double only"):
        assert ratio(f"{paths}, 30 dBm") < 0.65


def test_faults_cost_by_what_failed_elements_still_do():
    for chance in (0.2, 0.5, 0.8):
        absorbing, random, stuck = (
            rate("hardware", label, chance) for label in ("absorbing", "random phase", "stuck at pi")
        )
        assert absorbing < random < stuck
    whole = rate("hardware", "absorbing", 0)
    for label in ("absorbing, amplitude from 0.2", "absorbing, interference"):
        assert 0.4 * whole < rate("hardware", label, 0) < 0.6 * whole
    assert rate("hardware", "absorbing", 0.8) < 0.15 * whole
