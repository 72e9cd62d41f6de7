"""Hardware in study files: from the keys to the system and the results of a run."""

import numpy as np
import pytest
from scenario_study import changed as scenario_changed
from small_study import TEXT, changed

import channels
import ris
from studies.build import build
from studies.config import parse_study
from studies.errors import StudyFileError
from studies.link_budget import link_budget
from studies.report import z_tests
from studies.run import Plan, run_study
from studies.transmission import chosen_precoder, power_and_noise

SURFACE = 'phase_noise = { law = "von_mises", concentration = 2.0 }\n\n[system.surface2]'
ALL = """failures = { law = "random_phase", probability = 0.25 }
amplitude = { minimum = 0.3, offset = 1.0, steepness = 2.0 }
interference = { power_dbm = -3, correlation = { law = "exponential", coefficient = 0.7 } }"""
COUPLING = "coupling = { length = 0.2, radius = 1e-3, reference_ohm = 75 }"


def text_of(keys=ALL, *more):
    """The small study with keys for surface 1."""
    return changed((SURFACE, SURFACE.replace("\n\n", f"\n{keys}\n\n", 1)), *more)


def faults(text):
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "small")
    return [str(fault) for fault in caught.value.faults]


def built(keys, *more):
    return build(parse_study(text_of(keys, *more), "small").point(0, 0))[0]


def test_amplitudes_and_interference_are_those_of_the_library():
    system = built(ALL)
    law = system.hardware1.amplitude
    assert (law.minimum, law.offset, law.steepness) == (0.3, 1.0, 2.0)
    assert system.hardware2.amplitude is None
    assert system.emi1.power == pytest.approx(10**-0.3)
    grid = channels.UniformPlanarArray(2, 2, 0.25).grid
    expected = channels.exponential_correlation(grid, 0.7).matrix
    np.testing.assert_array_equal(system.emi1.correlation.matrix, expected)
    assert system.emi2 is None


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ('law = "absorbing"', "absorbing"),
        ('law = "random_phase"', "random_phase"),
        ('law = "stuck", phase = 2.5', 2.5),
        ('law = "stuck"', 0.0),
    ],
)
def test_failures(keys, state):
    failures = built(f"failures = {{ {keys}, probability = 0.1 }}").hardware1.failures
    assert failures.probability == 0.1
    assert failures.state == state


def test_coupling_is_that_of_dipoles():
    system = built(COUPLING, ("noise_power_dbm = 0", 'noise_power_dbm = 0\nprecoder = "rzf"'))
    impedance = channels.mutual_impedance(channels.UniformPlanarArray(2, 2, 0.25), 0.2, 1e-3)
    np.testing.assert_array_equal(system.hardware1.coupling, channels.scattering_matrix(impedance, 75.0))


def test_phases_are_those_of_ideal_elements():
    for design in ("optimal", "gradient"):
        pair = ('design = "optimal"', f'design = "{design}"')
        plain = build(parse_study(changed(pair), "small").point(0, 0))[1:]
        faulty = build(parse_study(text_of(ALL, pair), "small").point(0, 0))[1:]
        for mine, its in zip(faulty, plain, strict=True):
            np.testing.assert_array_equal(mine, its)


def test_closed_forms_agree_with_the_simulation():
    keys = ("realizations = 400", "realizations = 8000"), ("values = [-10, 0, 10]", "values = [0, 10]")
    study = parse_study(text_of(ALL, *keys), "small")
    result = run_study(study)
    tests, threshold = z_tests(result)
    assert max(abs(test.worst) for test in tests) < threshold
    plain = run_study(parse_study(changed(*keys), "small"))
    gains, ideal = (one.data["mean_gain", "closed_form"] for one in (result, plain))
    assert np.all(gains < 0.9 * ideal)


def test_results_with_interference_are_those_of_the_library():
    study = parse_study(text_of(ALL, ("seed = 7", "seed = 7\nblock_realizations = 100")), "small")
    result, plan = run_study(study), Plan.of(study)
    for i, value in enumerate(study.values()):
        point = study.point(0, value)
        system, theta1, theta2 = build(point)
        power, noise = power_and_noise(point.transmission)
        settings = {"power": power, "noise_power": noise}
        rate = ris.closed_form_rate(system, theta1, theta2, **settings)
        np.testing.assert_array_equal(result.data["hardening_rate", "closed_form"][0, i], rate)
        simulated = ris.simulate(
            system, theta1, theta2, **settings, realizations=400, seed=plan.stream((value,))
        )
        for name in ("hardening_rate", "ratio_sum_rate", "ergodic_rate"):
            found, estimate = result.data[name, "simulated"][0, i], getattr(simulated, name)
            np.testing.assert_allclose(found, estimate.value, rtol=1e-12)
            error = result.data[name, "standard_error"][0, i]
            np.testing.assert_allclose(error, estimate.standard_error, rtol=1e-9)
    difference = result.data["hardening_sum_rate", "difference_standard_error"]
    assert np.all(np.isfinite(difference))


def test_coupled_elements_at_random_are_simulated_alone():
    keys = (
        ("noise_power_dbm = 0", 'noise_power_dbm = 0\nprecoder = "rzf"'),
        ("realizations = 400", "realizations = 50"),
    )
    study = parse_study(text_of(COUPLING, *keys), "small")
    result = run_study(study)
    assert np.all(np.isnan(result.data["mean_gain", "closed_form"]))
    point = study.point(0, 0)
    system, theta1, theta2 = build(point)
    simulated = ris.simulate(
        system, theta1, theta2, power=1.0, noise_power=1.0, realizations=50,
        seed=Plan.of(study).stream((0,)), precoder=chosen_precoder(point.transmission),
    )  # fmt: skip
    found = result.data["ergodic_sum_rate", "simulated"][0, 1]
    np.testing.assert_allclose(found, simulated.ergodic_sum_rate.value, rtol=1e-12)
    assert np.isfinite(link_budget(point).total_db), "without the coupling"


def test_certain_coupled_elements_have_closed_forms():
    quiet = ('phase_noise = { law = "von_mises", concentration = 2.0 }', 'phase_noise = { law = "none" }')
    surface = SURFACE.replace(*quiet)
    text = changed(quiet)
    text = text.replace(surface, surface.replace("\n\n", f"\n{COUPLING}\n\n", 1))
    result = run_study(parse_study(text.replace("realizations = 400", "realizations = 4000"), "small"))
    tests, threshold = z_tests(result)
    assert len({test.scheme for test in tests}) == 2
    assert max(abs(test.worst) for test in tests) < threshold


def test_chances_are_axes():
    failing = 'failures = { law = "absorbing", probability = 0 }'
    text = changed(
        (SURFACE, SURFACE.replace("\n\n", f"\n{failing}\n\n", 1)),
        ("[system.users]", f"{failing}\n[system.users]"),
        (
            'axis = "power_dbm"\nvalues = [-10, 0, 10]\nquick_values = [0, 10]',
            'axis = "failure_probability"\nvalues = [0, 1]',
        ),
    )
    study = parse_study(text, "small")
    system, _, _ = build(study.point(0, 1))
    assert system.hardware1.failures.probability == system.hardware2.failures.probability == 1


def test_hardware_of_surfaces_that_no_path_touches_does_nothing():
    system = built(ALL, ('links = ["direct", "single", "double"]', 'links = ["direct"]'))
    assert system.emi1 is None
    assert system.hardware1.amplitude is None


def test_scenarios_have_hardware():
    noise = 'phase_noise = { law = "von_mises", concentration = 2.0 }'
    point = parse_study(scenario_changed((noise, f"{noise}\n{ALL}")), "drops").point(0, 30, 1)
    system, _, _ = build(point, seed=4)
    assert system.hardware1.amplitude.minimum == 0.3
    assert system.emi1.correlation.size == 2


LONG = (
    "expected no phase noise or random failures beside it, but for perfect CSI, normalisation = 'realization'"
)


@pytest.mark.parametrize(
    ("keys", "transmission", "fault"),
    [
        (
            'failures = { law = "absorbing", probability = 1.5 }',
            "",
            "system.surface1.failures.probability: expected <= 1, got 1.5",
        ),
        (
            'failures = { law = "broken", probability = 0.5 }',
            "",
            "system.surface1.failures.law: expected one of 'absorbing', 'random_phase', 'stuck'",
        ),
        (
            "amplitude = { steepness = 1 }",
            "",
            "system.surface1.amplitude.minimum: expected a value, got nothing",
        ),
        (
            "amplitude = { minimum = 0.2, stepness = 1 }",
            "",
            "system.surface1.amplitude.stepness: unknown key; did you mean 'steepness'?",
        ),
        (
            "coupling = { length = 0.3 }",
            'precoder = "zf"',
            "system.coupling",
        ),
        (COUPLING, "", f"system.surface1.coupling: {LONG}"),
        (COUPLING, 'precoder = "rzf"\ncsi = "nominal"', f"system.surface1.coupling: {LONG}"),
        (
            f"{COUPLING}\ninterference = {{ power_dbm = 0 }}",
            'precoder = "rzf"',
            f"system.surface1.coupling: {LONG}",
        ),
        (
            "interference = { power_dbm = 0 }",
            'precoder = "rzf"\nnormalisation = "long_term"',
            "transmission.normalisation: expected 'realization' beside interference at a surface, with 'rzf'",
        ),
    ],
)
def test_faults(keys, transmission, fault):
    found = faults(text_of(keys, ("noise_power_dbm = 0", f"noise_power_dbm = 0\n{transmission}")))
    if fault == "system.coupling":
        fault = "system.surface1.coupling.length: expected at most 0.25, or dipoles of a column overlap"
    assert any(line.startswith(fault) for line in found), found


def test_studies_without_hardware_are_what_they_were():
    surface = Plan.of(parse_study(TEXT, "small")).configuration["system"]["surface1"]
    assert not {"amplitude", "failures", "coupling", "interference"} & surface.keys()
