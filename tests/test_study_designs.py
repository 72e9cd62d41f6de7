"""Designs of phase shifts in study files: from the keys to the phases."""

import numpy as np
import pytest
from small_study import TEXT, changed

import channels
import ris
from studies.build import build
from studies.cli import run_command
from studies.cli.catalogue import find_study
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


@pytest.mark.parametrize(
    ("keys", "settings"),
    [
        ({}, {"model": "reference"}),
        ({"model": "reference-int8"}, {"model": "reference-int8"}),
        ({"bits": 2}, {"model": "reference", "bits": 2}),
    ],
)
def test_predicted_phases_are_those_of_the_library(keys, settings):
    study = find_study("predicted")
    chosen = study.point(study.schemes.index("network"), 10)
    chosen = chosen.model_copy(update={"phases": chosen.phases.model_copy(update=keys)})
    system, theta1, theta2 = build(chosen)
    power, noise = power_and_noise(chosen.transmission)
    predicted = ris.predict_phases(system, power=power, noise_power=noise, **settings)
    np.testing.assert_array_equal(theta1, predicted[0])
    np.testing.assert_array_equal(theta2, predicted[1])


def test_systems_that_no_network_is_for_are_refused_before_the_run(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text(changed(('design = "optimal"', 'design = "predicted"')))
    assert run_command(["run", str(path), "--out", str(tmp_path)]) == 2
    assert "the paths ('single1', 'single2', 'double') of the training" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


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
        (
            'design = "predicted"\nmodel = "mine"',
            "phases.model: expected one of ['reference', 'reference-int8'], got",
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
