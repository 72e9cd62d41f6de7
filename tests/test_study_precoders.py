"""Precoders in study files: from the keys to the results, tables and pictures of a run."""

import io

import numpy as np
import pytest
from rich.console import Console
from small_study import TEXT, changed

import ris
from studies import plots, report
from studies.build import build
from studies.config import parse_study
from studies.errors import StudyFileError
from studies.results import read_result
from studies.run import Plan, run_study
from studies.transmission import chosen_precoder, known_csi, power_and_noise

SCHEMES = 'label = "double"\nset = { links = ["double"], phase_noise = { law = "none" } }'
POWER_MODEL = "[power_model]\namplifier_efficiency = 0.4\nbs_w = 5\nelement_w = 0.01\n"


def study_of(*settings, more="", realizations=60):
    """The small study in blocks of 20: maximum ratio, and a scheme for each of the settings of a precoder."""
    schemes = "\n".join(f'[[scheme]]\nlabel = "{i}"\nset = {{ {one} }}' for i, one in enumerate(settings))
    text = changed(
        ("realizations = 400", f"realizations = {realizations}\nblock_realizations = 20"),
        (f"[[scheme]]\n{SCHEMES}", f"{schemes}\n{more}"),
    )
    return parse_study(text, "precoders")


def faults(text):
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "small")
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", ris.MRT()),
        ('precoder = "mrt", allocation = "equal"', ris.MRT(allocation="equal")),
        ('precoder = "zf"', ris.ZF()),
        ('precoder = "rzf", allocation = "max_min"', ris.RZF(allocation="max_min")),
        (
            'precoder = "mmse", normalisation = "long_term", allocation = "water_filling"',
            ris.MMSE(normalisation="long_term", allocation="water_filling"),
        ),
        ('precoder = "wmmse"', ris.WMMSE()),
    ],
)
def test_precoders(keys, expected):
    assert chosen_precoder(study_of(keys).point(1, 0).transmission) == expected


@pytest.mark.parametrize(
    ("csi", "expected"),
    [
        ('csi = "lmmse"', ris.LmmseCsi(2, 1.0, 1.0)),
        ('csi = "lmmse", pilot_covariance = "nominal"', ris.LmmseCsi(2, 1.0, 1.0, covariance="nominal")),
        ('csi = "lmmse", pilot_covariance = "gain"', ris.LmmseCsi(2, 1.0, 1.0, covariance="gain")),
        ('csi = "ls"', ris.LsCsi(2, 1.0, 1.0)),
    ],
)
def test_estimates(csi, expected):
    study = study_of(f"{csi}, pilot_power_dbm = 0, pilot_length = 2")
    found = known_csi(study.point(1, 0).transmission)
    assert found == expected
    assert type(found) is type(expected)


PRECODERS = (
    'precoder = "zf"',
    'precoder = "rzf", normalisation = "long_term", allocation = "common"',
    'precoder = "wmmse"',
)


@pytest.fixture(scope="module")
def result():
    return run_study(study_of(*PRECODERS, more=POWER_MODEL))


def test_results_are_those_of_the_library(result):
    study, plan = result.study, Plan.of(result.study)
    for scheme in (1, 2, 3):
        for i, value in enumerate(study.values()):
            point = study.point(scheme, value)
            system, theta1, theta2 = build(point)
            power, noise = power_and_noise(point.transmission)
            simulated = ris.simulate(
                system, theta1, theta2, power=power, noise_power=noise, realizations=60,
                seed=plan.stream((value,)), precoder=chosen_precoder(point.transmission),
            )  # fmt: skip
            for name in ("hardening_rate", "ergodic_sum_rate", "mean_gain", "interference"):
                estimate = getattr(simulated, name)
                found = result.data[name, "simulated"][scheme, i]
                np.testing.assert_allclose(found, estimate.value, rtol=1e-10)
                found = result.data[name, "standard_error"][scheme, i]
                np.testing.assert_allclose(found, estimate.standard_error, rtol=1e-8)
            assert result.unconverged[scheme, i] == simulated.unconverged
    assert np.all(result.data["ergodic_sum_rate", "difference"][3] > 0), (
        "WMMSE is above the closed forms' MRT"
    )


def test_closed_forms_are_those_of_maximum_ratio_alone(result):
    for (name, part), values in result.data.items():
        if part in ("closed_form", "z"):
            assert np.all(np.isfinite(values[0])), name
            assert np.all(np.isnan(values[1:])), name
        elif not part.endswith("standard_error"):
            assert np.all(np.isfinite(values)), (name, part)
    tests, threshold = report.z_tests(result)
    assert {test.scheme for test in tests} == {"all"}
    assert 3 < threshold < 5
    efficiency, rate = (
        result.data[name, "simulated"][1] for name in ("energy_efficiency", "hardening_sum_rate")
    )
    np.testing.assert_allclose(efficiency * 5.08, rate, rtol=0.01)  # 10 mW beside what never rests


def test_nothing_to_compare():
    alone = study_of('precoder = "zf"', realizations=40)
    text = alone.text.replace("noise_power_dbm = 0", 'noise_power_dbm = 0\nprecoder = "rzf"')
    result = run_study(parse_study(text, "alone"))
    assert report.z_tests(result) == ([], np.inf)
    console = Console(file=io.StringIO(), width=200)
    console.print(report.z_table(result), report.rate_tables(result))
    shown = console.file.getvalue()
    assert "No scheme has closed forms" in shown
    assert "nan" not in shown


def test_unconverged_realizations_are_kept_and_told(result, tmp_path):
    assert result.unconverged.dtype == np.int64
    assert "tolerance" not in report.summary(result)
    result.unconverged[3, 1] += 2
    path = tmp_path / "result.h5"
    result.write(path)
    read = read_result(path)
    result.unconverged[3, 1] -= 2
    assert read.unconverged[3, 1] == 2
    assert "in 2 of all the precoders stopped short" in report.summary(read)


def test_pictures_join_markers_where_there_is_no_closed_form(result):
    figure = plots.draw(result)
    (axes,) = figure.axes
    bare = [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 3]
    assert len(bare) == 1, "one closed form"
    joined = [bar.lines[0].get_linestyle() for bar in axes.containers]
    assert joined[0] == "None"
    assert "None" not in joined[1:]
    assert figure.legends[0].get_title().get_text().startswith("bold lines: closed form")


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            'precoder = "zff"',
            "transmission.precoder: expected 'mrt', 'zf', 'rzf', 'mmse' or 'wmmse', got 'zff'",
        ),
        (
            'precoder = "wmmse"\nallocation = "equal"',
            "transmission.allocation: expected nothing, as precoder = 'wmmse' divides the power itself",
        ),
        (
            'precoder = "zf"\nnormalisation = "sometimes"',
            "transmission.normalisation: expected 'realization' or 'long_term', got 'sometimes'",
        ),
        ('csi = "ls"', "transmission.pilots: expected a table, as csi = 'ls' needs it, got nothing"),
        (
            'csi = "lmmse"\npilots = { power_dbm = 0, length = 2, covariance = "true" }',
            "transmission.pilots.covariance: expected 'exact', 'nominal' or 'gain', got 'true'",
        ),
    ],
)
def test_faults(keys, fault):
    found = faults(changed(("noise_power_dbm = 0", f"noise_power_dbm = 0\n{keys}")))
    assert any(line.startswith(fault) for line in found), found


def test_zero_forcing_needs_antennas():
    text = changed(
        ("noise_power_dbm = 0", 'noise_power_dbm = 0\nprecoder = "zf"'), ("antennas = 2", "antennas = 1")
    )
    expected = "system.users.count: expected at most 1 (system.bs.antennas) with 'zf', got 2"
    assert any(line.startswith(expected) for line in faults(text)), faults(text)


def test_studies_without_the_later_keys_are_what_they_were():
    found = Plan.of(parse_study(TEXT, "small")).configuration["transmission"]
    assert found["precoder"] == "mrt"
    assert not {"normalisation", "allocation"} & found.keys()
    piloted = changed(("noise_power_dbm = 0", "noise_power_dbm = 0\npilots = { power_dbm = 0, length = 2 }"))
    pilots = Plan.of(parse_study(piloted, "small")).configuration["transmission"]["pilots"]
    assert "covariance" not in pilots
