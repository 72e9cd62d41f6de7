"""What the named figures show: the published claims, each in the regime where it holds."""

import functools

import numpy as np
import pytest

import ris
from studies.build import build
from studies.cli.catalogue import FIGURES
from studies.config import load_study
from studies.transmission import power_and_noise


@functools.cache
def closed_form(name, label, value):
    """Sum of the hardening bounds, and the mean gain of the first user in dB."""
    study = load_study(FIGURES / f"{name}.toml")
    point = study.point(study.schemes.index(label), value)
    system, theta1, theta2 = build(point, study.settings.seed)
    moments = ris.closed_form_moments(system, theta1, theta2, point.transmission.csi)
    power, noise = power_and_noise(point.transmission)
    rates = ris.rate_from_moments(moments, power=power, noise_power=noise)
    return float(rates.sum()), 10 * np.log10(moments.mean_gain[0])


def rate(name, label, value):
    return closed_form(name, label, value)[0]


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
