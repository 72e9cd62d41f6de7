"""Lines of sight in study files: from the keys to the system, its budget and a run."""

import numpy as np
import pytest
from scenario_study import TEXT as SCENARIO
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

TABLE = """[system.line_of_sight]
k_factor_db = 3
bs_ris1 = { left_azimuth_deg = 20, right_azimuth_deg = -40, left_elevation_deg = 5, right_elevation_deg = -9 }
ris1_ris2 = { k_factor_db = 6, left_azimuth_deg = 35, right_azimuth_deg = 30 }
ris1_user = { azimuth_deg = -25 }
ris2_user = { k_factor_db = [0, 9], azimuth_deg = [10, 40], elevation_deg = -8 }
"""


def text_of(table=TABLE, *more):
    return changed(("[transmission]", f"{table}\n[transmission]"), *more)


def faults(text):
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "small")
    return [str(fault) for fault in caught.value.faults]


def same_hop(found, expected):
    np.testing.assert_allclose(found.gain, expected.gain, rtol=1e-13)
    mine, its = (hop.mean.matrix if isinstance(hop, channels.Hop) else hop.mean for hop in (found, expected))
    np.testing.assert_allclose(mine, its, rtol=1e-12, atol=1e-15)


def test_hops_are_those_of_the_library():
    system, _, _ = build(parse_study(text_of(), "small").point(0, 0))
    bs, surface = channels.UniformLinearArray(2, 0.5), channels.UniformPlanarArray(2, 2, 0.25)

    def steering(array, *degrees):
        return array.steering(*np.deg2rad(degrees))

    RB, R = system.bs_ris1.left, system.bs_ris1.right
    first = np.outer(steering(bs, 20, 5), steering(surface, -40, -9).conj())
    between = np.outer(steering(surface, 35, 0), steering(surface, 30, 0).conj())
    same_hop(system.bs_ris1, channels.Hop.rician(1.0, 10**0.3, RB, R, first))
    same_hop(system.ris1_ris2, channels.Hop.rician(10**-0.3, 10**0.6, R, R, between))
    one = np.stack([steering(surface, -25, 0)] * 2)
    same_hop(system.ris1_user, channels.UserHop.rician([1.0, 10**-0.3], 10**0.3, R, one))
    own = np.stack([steering(surface, 10, -8), steering(surface, 40, -8)])
    same_hop(system.ris2_user, channels.UserHop.rician([1.0, 1.0], [1.0, 10**0.9], R, own))
    assert system.bs_ris2.mean is None
    assert system.bs_user.mean is None


def test_a_line_of_sight_has_the_covariances_of_scattering_around_it():
    ray = "bs_ris1 = { k_factor_db = 90, left_azimuth_deg = 20, right_azimuth_deg = -40 }"
    law = 'towards_bs = { law = "local_scattering", azimuth_deg = -40, angular_spread_deg = 0.01 }'
    text = text_of(f"[system.line_of_sight]\n{ray}", ("spacing = 0.25", f"spacing = 0.25\n{law}"))
    system, _, _ = build(parse_study(text, "small").point(0, 0))
    A = system.bs_ris1.mean.matrix
    np.testing.assert_allclose(A.conj().T @ A / 2, system.bs_ris1.right.matrix, atol=1e-3)


def test_closed_forms_agree_with_the_simulation():
    keys = ("realizations = 400", "realizations = 4000"), ("values = [-10, 0, 10]", "values = [0, 10]")
    study = parse_study(text_of(TABLE, *keys), "small")
    result = run_study(study)
    tests, threshold = z_tests(result)
    assert max(abs(test.worst) for test in tests) < threshold
    for i, value in enumerate(study.values()):
        system, theta1, theta2 = build(study.point(0, value))
        moments = ris.closed_form_moments(system, theta1, theta2)
        found = result.data["mean_gain", "closed_form"][0, i]
        np.testing.assert_allclose(found, moments.mean_gain, rtol=1e-12)


def test_the_k_factor_is_an_axis():
    table = TABLE.replace("k_factor_db = 6, ", "")
    study = parse_study(text_of(table, ('axis = "power_dbm"', 'axis = "k_factor_db"')), "small")
    for value in (-10, 10):
        system, _, _ = build(study.point(0, value))
        share = 1 / (1 + 10 ** (value / 10))
        assert system.bs_ris1.gain == pytest.approx(share)
        assert system.ris1_ris2.gain == pytest.approx(10**-0.3 * share)


def test_budgets_count_lines_of_sight():
    point = parse_study(text_of(), "small").point(0, 0)
    budget = link_budget(point)
    assert budget.hops["bs_ris1"] == "0 dB"
    assert budget.hops["ris1_ris2"] == "-3 dB"
    assert budget.hops["ris1_user"] == "0, -3 dB"
    moments = ris.closed_form_moments(*build(point))
    assert budget.total_db == pytest.approx(10 * np.log10(np.mean(moments.mean_gain)), rel=1e-12)
    assert abs(10 ** (budget.total_db / 10) / sum(10 ** (g / 10) for g in budget.paths.values()) - 1) > 1e-3


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (
            "[system.line_of_sight]\nk_factor_db = 3",
            "system.line_of_sight: expected a table for a hop, as bs_ris1, got none",
        ),
        (
            "[system.line_of_sight]\nris1_user = { azimuth_deg = 3 }",
            "system.line_of_sight.ris1_user.k_factor_db: expected a value, here or for all hops, got nothing",
        ),
        (
            "[system.line_of_sight]\nk_factor_db = 3\nbs_ris1 = { left_azimuth_deg = 3 }",
            "system.line_of_sight.bs_ris1.right_azimuth_deg: expected a value, got nothing",
        ),
        (
            "[system.line_of_sight]\nk_factor_db = 3\nris1_user = { azimuth_deg = [3, 4, 5] }",
            "system.line_of_sight.ris1_user.azimuth_deg: expected one number or 2 (users.count), got 3",
        ),
        (
            "[system.line_of_sight]\nris1_user = { k_factor_db = [3, 4, 5], azimuth_deg = 2 }",
            "system.line_of_sight.ris1_user.k_factor_db: expected one number or 2 (users.count), got 3",
        ),
        (
            "[system.line_of_sight]\nk_factor_db = 3\nbs_ris1 = { azimuth_deg = 3 }",
            "system.line_of_sight.bs_ris1.azimuth_deg: unknown key",
        ),
    ],
)
def test_faults(table, fault):
    found = faults(text_of(table))
    assert any(line.startswith(fault) for line in found), found


def test_scenarios_have_k_factors():
    law, clear = 'hop = { path_loss = { law = "umi" }', "line_of_sight = true"
    text = scenario_changed((law, f'{law}, k_factor_db = "law"'), (clear, f"{clear}, k_factor_db = 7"))
    system, _, _ = build(parse_study(text, "drops").point(0, 30, 1), seed=4)
    plain, _, _ = build(parse_study(SCENARIO, "drops").point(0, 30, 1), seed=4)
    np.testing.assert_allclose(system.bs_ris1.gain, plain.bs_ris1.gain / (1 + 10**0.7), rtol=1e-12)
    power = system.bs_ris1.gain + np.mean(np.abs(system.bs_ris1.mean.matrix) ** 2)
    np.testing.assert_allclose(power, plain.bs_ris1.gain, rtol=1e-12)
    drops = [build(parse_study(text, "drops").point(0, 30, drop), seed=4)[0] for drop in range(3)]
    assert any(system.ris2_user.mean is not None for system in drops)
    assert all(system.bs_user.mean is None and system.ris1_ris2.mean is None for system in drops)


def test_lines_of_sight_of_scenarios_are_spherical_in_the_near_field():
    array, clear = ("antennas = 2, spacing = 0.4", "antennas = 40, spacing = 0.5"), "line_of_sight = true"
    text = scenario_changed(array, (clear, f"{clear}, k_factor_db = 7"))
    point = parse_study(text, "drops").point(0, 30, 1)
    hops = link_budget(point, 4).hops
    assert [name for name, shown in hops.items() if "near field" in shown] == ["bs_ris1", "bs_user"]
    system, _, _ = build(point, seed=4)
    values = np.linalg.svd(system.bs_ris1.mean.matrix, compute_uv=False)
    assert values[1] > 1e-4 * values[0], "a plane wave has rank one"


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        (
            ('law = "free_space" }, line_of', 'law = "free_space" }, k_factor_db = "law", line_of'),
            "system.scenario.bs_ris1.k_factor_db: expected a number, as law = 'free_space' has no K-factor",
        ),
        (
            ('law = "free_space" }, line_of', 'law = "free_space" }, k_factor_db = "los", line_of'),
            "system.scenario.bs_ris1.k_factor_db: expected 'law' or a number from -400 to 400, got 'los'",
        ),
        (
            ("[system.scenario]", f"{TABLE}\n[system.scenario]"),
            "system.line_of_sight: expected nothing beside scenario, whose hops may have a k_factor_db",
        ),
    ],
)
def test_faults_of_scenarios(pair, fault):
    found = faults(scenario_changed(pair))
    assert any(line.startswith(fault) for line in found), found


def test_studies_without_lines_of_sight_are_what_they_were():
    assert "line_of_sight" not in Plan.of(parse_study(TEXT, "small")).configuration["system"]
    scenario = Plan.of(parse_study(SCENARIO, "drops")).configuration["system"]["scenario"]
    assert "k_factor_db" not in scenario["hop"]
