"""Estimates from pilots in study files: from the keys to the results of a run."""

import numpy as np
import pytest
from small_study import TEXT, changed
from sweeps import METRICS, study_text

import ris
from studies.build import build
from studies.config import parse_study
from studies.errors import StudyFileError
from studies.run import Plan, run_study
from studies.transmission import known_csi, power_and_noise

SWEEP = '[sweep]\naxis = "pilot_power_dbm"\nvalues = [-10, 10]'


def lmmse(pilots="pilots = { power_dbm = 3, length = 2 }", *more):
    """The small study with estimates; `noise_power_dbm` is the last of its keys of the transmission."""
    return changed(("noise_power_dbm = 0", f'noise_power_dbm = -7\ncsi = "lmmse"\n{pilots}'), *more)


def pilot_study(realizations=200):
    text = study_text(SWEEP, METRICS, realizations=realizations)
    text = text.replace("noise_power_dbm = 0", "noise_power_dbm = 0\npilots = { power_dbm = 0, length = 2 }")
    text = text.replace('set = { phase_noise = { law = "none" } }', 'set = { csi = "lmmse" }')
    text += '[[scheme]]\nlabel = "contaminated"\nset = { csi = "lmmse", pilot_length = 1 }\n'
    return parse_study(text, "pilots")


def faults(text):
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "small")
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("pilots", "expected"),
    [
        ("{ power_dbm = 3, length = 2 }", ris.LmmseCsi(2, 10**0.3, 10**-0.7)),
        ("{ power_dbm = 3, length = 2, noise_power_dbm = -9 }", ris.LmmseCsi(2, 10**0.3, 10**-0.9)),
        ("{ power_dbm = 3, length = 2, of_users = [1, 1] }", ris.LmmseCsi(2, 10**0.3, 10**-0.7, [1, 1])),
    ],
)
def test_pilots(pilots, expected):
    found = known_csi(parse_study(lmmse(f"pilots = {pilots}"), "small").point(0, 0).transmission)
    assert (found.length, found.pilots) == (expected.length, expected.pilots)
    assert (found.power, found.noise_power) == pytest.approx(
        (expected.power, expected.noise_power), rel=1e-14
    )


def test_names_stay_names():
    for csi in ("perfect", "nominal"):
        text = changed(("noise_power_dbm = 0", f'noise_power_dbm = 0\ncsi = "{csi}"'))
        assert known_csi(parse_study(text, "small").point(0, 0).transmission) == csi


def test_results_are_those_of_the_library():
    study = pilot_study()
    result = run_study(study)
    plan = Plan.of(study)
    for scheme in (1, 2):
        for i, value in enumerate(study.values()):
            point = study.point(scheme, value)
            system, theta1, theta2 = build(point)
            power, noise = power_and_noise(point.transmission)
            csi = ris.LmmseCsi((2, 1)[scheme - 1], 10 ** (value / 10), 1.0)
            moments = ris.closed_form_moments(system, theta1, theta2, csi)
            rate = ris.rate_from_moments(moments, power=power, noise_power=noise)
            where = (scheme, i)
            np.testing.assert_array_equal(result.data["hardening_rate", "closed_form"][where], rate)
            np.testing.assert_array_equal(result.data["mean_gain", "closed_form"][where], moments.mean_gain)
            simulated = ris.simulate(
                system,
                theta1,
                theta2,
                power=power,
                noise_power=noise,
                realizations=200,
                seed=plan.stream((value,)),
                csi=csi,
            )
            for name in ("hardening_rate", "ergodic_rate", "mean_gain"):
                estimate = getattr(simulated, name)
                np.testing.assert_allclose(result.data[name, "simulated"][where], estimate.value, rtol=1e-12)
                found = result.data[name, "standard_error"][where]
                np.testing.assert_allclose(found, estimate.standard_error, rtol=1e-9)
            assert np.all(np.isfinite(result.data["outage", "simulated"][where]))
            assert np.all(np.isfinite(result.data["sinr_quantile", "simulated"][where]))


def test_pilots_cost_and_contamination_costs_more():
    result = run_study(pilot_study(), quick=False)
    perfect, clean, contaminated = result.data["hardening_sum_rate", "closed_form"]
    assert perfect[0] == perfect[1], "perfect CSI needs no pilots"
    assert np.all(clean < perfect)
    assert np.all(contaminated < clean)
    assert clean[0] < clean[1]
    # A difference to the first scheme, of shared realizations.
    assert np.all(result.data["ergodic_sum_rate", "difference"][1] < 0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            lmmse(""),
            "transmission.pilots: expected a table, as csi = 'lmmse' needs it, got nothing",
        ),
        (
            lmmse("pilots = { power_dbm = 0, length = 0 }"),
            "transmission.pilots.length: expected >= 1, got 0",
        ),
        (
            lmmse("pilots = { power_dbm = 0, length = 2, of_users = [0, 2] }"),
            "transmission.pilots.of_users.1: expected < 2 (length), got 2",
        ),
        (
            lmmse("pilots = { power_dbm = 0, length = 2, of_users = [0] }"),
            "transmission.pilots.of_users: expected 2 (system.users.count), got 1",
        ),
        (
            lmmse("pilots = { powr_dbm = 0, length = 2 }"),
            "transmission.pilots.powr_dbm: unknown key; did you mean 'power_dbm'?",
        ),
        (
            lmmse("pilots = 3"),
            "transmission.pilots: expected a table, got 3",
        ),
    ],
)
def test_faults(text, fault):
    assert any(line.startswith(fault) for line in faults(text)), faults(text)


def test_an_axis_of_pilots_needs_pilots():
    text = changed(('axis = "power_dbm"', 'axis = "pilot_power_dbm"'))
    assert faults(text)[0].startswith("transmission.pilots.length: expected a value, got nothing")


def test_studies_without_the_later_tables_are_what_they_were():
    configuration = Plan.of(parse_study(TEXT, "small")).configuration
    assert "pilots" not in configuration["transmission"]
    assert "scenario" not in configuration["system"]
    assert Plan.of(parse_study(lmmse(), "small")).configuration["transmission"]["pilots"]["length"] == 2
