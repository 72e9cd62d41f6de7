"""Designs of phase shifts in study files: from the keys to the phases."""

import numpy as np
import pytest
from small_study import TEXT, changed

import channels
import ris
from studies.build import build
from studies.config import parse_study
from studies.errors import StudyFileError
from studies.run import Plan
from studies.transmission import power_and_noise


def point(keys):
    return parse_study(changed(('design = "optimal"', keys)), "small").point(0, 10)


@pytest.mark.parametrize(
    ("keys", "settings"),
    [
        ('design = "gradient"', {"method": "gradient"}),
        ('design = "gradient"\nbits = 2', {"method": "gradient", "bits": 2}),
        ('design = "gradient"\nobjective = "mean_gain"', {"method": "gradient", "objective": "mean_gain"}),
        ('design = "alternating"', {"method": "alternating"}),
        ('design = "coordinate"\nbits = 2', {"method": "coordinate", "bits": 2}),
        ('design = "branch_and_bound"\nbits = 1', {"method": "branch_and_bound", "bits": 1}),
    ],
)
def test_phases_are_those_of_the_library(keys, settings):
    chosen = point(keys)
    system, theta1, theta2 = build(chosen, seed=5)
    power, noise = power_and_noise(chosen.transmission)
    found = ris.design_phases(
        system, power=power, noise_power=noise, seed=channels.Stream(5, "phases"), **settings
    )
    np.testing.assert_array_equal(theta1, found.theta1)
    np.testing.assert_array_equal(theta2, found.theta2)
    if "bits" in settings:
        step = 2 * np.pi / 2 ** settings["bits"]
        np.testing.assert_allclose(theta1 / step, np.round(theta1 / step), atol=1e-12)


def test_the_objective_counts():
    gain, rate = (
        np.concatenate(build(point(f'design = "gradient"\nobjective = "{objective}"'))[1:])
        for objective in ("mean_gain", "sum_rate")
    )
    assert np.max(np.abs(np.exp(1j * gain) - np.exp(1j * rate))) > 1e-3


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            'design = "coordinate"',
            "phases.bits: expected a resolution, as design = 'coordinate' needs it, got nothing",
        ),
        (
            'design = "branch_and_bound"',
            "phases.bits: expected a resolution, as design = 'branch_and_bound' needs it, got nothing",
        ),
        (
            'design = "gradient"\nobjective = "rate"',
            "phases.objective: expected 'sum_rate', 'min_rate' or 'mean_gain', got 'rate'",
        ),
        ('design = "gradeint"', "phases.design: expected 'optimal'"),
    ],
)
def test_faults(keys, fault):
    with pytest.raises(StudyFileError) as caught:
        point(keys)
    found = [str(one) for one in caught.value.faults]
    assert any(line.startswith(fault) for line in found), found


def test_studies_without_an_objective_are_what_they_were():
    assert "objective" not in Plan.of(parse_study(TEXT, "small")).configuration["phases"]
