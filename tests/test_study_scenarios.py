"""Scenarios in study files: from the keys to the drops, and means over them."""

import io
import re

import numpy as np
import pytest
import xarray
from rich.console import Console
from scenario_study import TEXT as SCENARIO
from scenario_study import changed
from small_study import TEXT

import channels
import ris
from channels.errors import InvalidArgumentError
from studies import plots, report
from studies.build import build
from studies.citations import papers_of
from studies.config import parse_study
from studies.curves import draw_axes
from studies.errors import StudyFileError
from studies.link_budget import link_budget
from studies.results import read_result
from studies.run import Plan, run_study
from studies.template import TEMPLATE

USERS = 'users = { law = "disc", x_m = 70, y_m = -5, z_m = 1.5, radius_m = 12 }'


def by_hand(users=None):
    """The scenario of the study, made without it."""

    def turned(*degrees):
        return channels.Orientation(*np.deg2rad(degrees))

    umi, both = channels.UrbanMicro(3.5e9), tuple(np.deg2rad([8.0, 4.0]))
    ten = float(np.deg2rad(10.0))
    return ris.Scenario(
        bs=channels.Node((0, 0, 10), channels.UniformLinearArray(2, 0.4, turned(0, 5, 0))),
        ris1=channels.Node(
            (40, 20, 8),
            channels.UniformPlanarArray(1, 2, 0.25, turned(-70, 0, 0)),
            channels.SurfaceElement(0.0625, 2.0),
        ),
        ris2=channels.Node(
            (80, -30, 8),
            channels.UniformPlanarArray(2, 2, 0.5, turned(100, 0, 3)),
            channels.SurfaceElement(0.2, 1.0),
        ),
        users=users or channels.UsersInDisc(2, (70, -5, 1.5), 12),
        bs_ris1=ris.HopLaw(channels.FreeSpace(3.5e9), True),
        bs_ris2=ris.HopLaw(umi, left_spread=ten, right_spread=both),
        ris1_ris2=ris.HopLaw(channels.LogDistance(2.2, 43.0, shadowing_db=3.0)),
        ris1_user=ris.HopLaw(umi, left_spread=ten),
        ris2_user=ris.HopLaw(umi, left_spread=ten),
        bs_user=ris.HopLaw(umi, False, shadowing=False),
        bandwidth_hz=20e6,
        noise_figure_db=7.0,
        phase_noise1=channels.VonMises(2.0),
    )


def same(system, other):
    for hop in ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user"):
        mine, its = getattr(system, hop), getattr(other, hop)
        np.testing.assert_allclose(mine.gain, its.gain, rtol=1e-12)
        for side in ("left", "right") if hasattr(mine, "left") else ("correlation",):
            np.testing.assert_allclose(
                getattr(mine, side).matrix, getattr(its, side).matrix, rtol=1e-12, atol=1e-14
            )
    assert system.phase_noise1.moment(1) == other.phase_noise1.moment(1)


@pytest.fixture(scope="module")
def result():
    return run_study(parse_study(SCENARIO, "drops"), workers=1)


@pytest.mark.parametrize("number", [0, 2])
def test_drops_are_those_of_the_library(number):
    system, _, _ = build(parse_study(SCENARIO, "drops").point(0, 10, number), seed=4)
    same(system, by_hand().drop(4, number))
    assert np.all(system.bs_user.gain != by_hand().drop(4, 1).bs_user.gain)


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (
            'users = { law = "rectangle", x_m = 70, y_m = -5, z_m = 1.5, x_side_m = 6, y_side_m = 3 }',
            channels.UsersInRectangle(2, (70, -5, 1.5), (6, 3)),
        ),
        (
            'users = { law = "fixed", positions_m = [[70, -5, 1.5], [60, 0, 1.6]] }',
            channels.UsersAt([[70, -5, 1.5], [60, 0, 1.6]]),
        ),
    ],
)
def test_where_users_are(users, expected):
    system, _, _ = build(parse_study(changed((USERS, users)), "drops").point(0, 10, 1), seed=4)
    same(system, by_hand(expected).drop(4, 1))


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ('{ law = "uma" }', channels.UrbanMacro(3.5e9)),
        ('{ law = "inh", office = "open" }', channels.IndoorOffice(3.5e9, "open")),
        (
            '{ law = "log_distance", exponent = 3, reference_db = 40, reference_m = 2 }',
            channels.LogDistance(3.0, 40.0, 2.0),
        ),
    ],
)
def test_path_loss_laws(law, expected):
    path_loss = 'path_loss = { law = "umi" }, line_of_sight = false'
    text = changed((path_loss, f"path_loss = {law}, line_of_sight = false"))
    system, _, _ = build(parse_study(text, "drops").point(1, 10, 0), seed=4)
    users = by_hand().large_scale(1, 4).users_m[0]
    heights = (10.0, users[:, 2])
    loss = expected.loss_db(np.linalg.norm(users - [0, 0, 10], axis=1), heights, False)
    np.testing.assert_allclose(-10 * np.log10(system.bs_user.gain), loss, rtol=1e-12)


def test_places_and_file(result, tmp_path):
    study = result.study
    assert list(study.places()) == [(power, number) for power in (10, 30) for number in range(3)]
    assert list(study.places(quick=True)) == [(power, number) for power in (10, 30) for number in range(2)]
    result.write(tmp_path / "drops.h5")
    with xarray.open_dataset(tmp_path / "drops.h5", engine="h5netcdf") as data:
        assert dict(data.mean_gain_simulated.sizes) == {"scheme": 2, "power_dbm": 2, "drop": 3, "user": 2}
        assert list(data["drop"].values) == [0, 1, 2]
    np.testing.assert_array_equal(read_result(tmp_path / "drops.h5").over_drops().counts, 180)


def test_every_drop_is_its_own_system(result):
    rates = result.data["hardening_rate", "closed_form"]
    for number in range(3):
        system = by_hand().drop(4, number)
        theta1, theta2 = ris.optimal_phases(system)
        noise = 10 ** (channels.noise_power_dbm(20e6, 7.0) / 10)
        expected = ris.closed_form_rate(system, theta1, theta2, power=10.0, noise_power=noise)
        np.testing.assert_allclose(rates[0, 0, number], expected, rtol=1e-9)
    # Powers and schemes share the drops: with one gain, rates rise with the power in each of them.
    assert np.all(rates[:, 1] > rates[:, 0])


def test_means_over_drops(result):
    mean, data = result.over_drops(), result.data
    assert [one.name for one in mean.dimensions] == ["power_dbm"]
    for name in ("hardening_rate", "ergodic_sum_rate", "interference"):
        np.testing.assert_allclose(
            mean.data[name, "simulated"], sum(data[name, "simulated"][:, :, i] for i in range(3)) / 3
        )
        variance = sum(data[name, "standard_error"][:, :, i] ** 2 for i in range(3)) / 9
        np.testing.assert_allclose(mean.data[name, "standard_error"] ** 2, variance)
    gap = mean.data["mean_gain", "simulated"] - mean.data["mean_gain", "closed_form"]
    np.testing.assert_allclose(mean.data["mean_gain", "z"], gap / mean.data["mean_gain", "standard_error"])
    np.testing.assert_allclose(
        mean.data["ergodic_sum_rate", "difference"][1],
        (mean.data["ergodic_sum_rate", "simulated"][1] - mean.data["ergodic_sum_rate", "simulated"][0]),
    )
    assert set(mean.reasons.ravel()) == {"max_realizations"}
    assert mean.over_drops() is mean


def test_errors_given_the_drops_hold():
    # Mean gains are means of Gamma-like variables: at 4,000 realizations each z is normal to 5 sigma.
    study = parse_study(
        changed(("realizations = 60", "realizations = 4000"), ("= 30\n[sy", "= 4000\n[sy")), "d"
    )
    mean = run_study(study).over_drops()
    z = mean.data["mean_gain", "z"]
    assert np.all(np.abs(z) < 6.5)
    shifted = mean.data["mean_gain", "closed_form"] * 1.3
    planted = (mean.data["mean_gain", "simulated"] - shifted) / mean.data["mean_gain", "standard_error"]
    assert np.all(planted < -6.5), "an error of 30 % is found"


def test_tables_and_pictures_show_means(result):
    figure = plots.draw(result)
    line = figure.axes[0].get_lines()[0]
    mean = result.data["hardening_sum_rate", "closed_form"].mean(axis=2)
    np.testing.assert_array_equal(line.get_xdata(), [10, 30])
    np.testing.assert_allclose(line.get_ydata(), mean[0])
    console = Console(record=True, width=250, file=io.StringIO())
    console.print(report.rate_tables(result), report.z_table(result), report.summary(result))
    told = console.export_text()
    assert f"{mean[0, 0]:.4f}" in told
    assert "drop " not in told.split("Seed")[0]
    assert "60 realizations a point in each drop" in told
    curves = draw_axes(result, "power_dbm", "sum_rate", "scheme").axes[0]
    np.testing.assert_allclose(curves.get_lines()[0].get_ydata(), mean[0])
    each = draw_axes(result, "power_dbm", "sum_rate", "drop").axes[0]
    first = result.data["hardening_sum_rate", "closed_form"][0, :, 0]
    np.testing.assert_allclose(each.get_lines()[0].get_ydata(), first)


def test_link_budget(result):
    budget = link_budget(result.study.point(0, 10, 1), 4)
    gains = by_hand().drop(4, 1)
    decibels = ", ".join(f"{value:g}" for value in np.round(10 * np.log10(gains.bs_user.gain), 2))
    distances = np.linalg.norm(by_hand().large_scale(2, 4).users_m[1] - [0, 0, 10], axis=1)
    sights = ", ".join(f"{distance:.1f} m NLoS" for distance in distances)
    assert budget.hops["bs_user"] == f"{decibels} dB ({sights})"
    # 44.8 m = (40^2 + 20^2 + 2^2)^(1/2)
    first = np.round(10 * np.log10(gains.bs_ris1.gain), 2)
    assert budget.hops["bs_ris1"] == f"{first:g} dB (44.8 m LoS)"
    direct = 10 * np.log10(2 * gains.bs_user.gain.mean())
    assert budget.paths["direct"] == pytest.approx(direct)


def test_papers(result):
    every, direct = (papers_of([result.study.point(scheme, 10, 0)]) for scheme in (0, 1))
    assert {"tr38901", "friis1946", "rappaport2002", "ellingson2021", "bjornson2017"} <= {*every}
    assert "bjornson2021" in direct


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("antennas = 2,", 'antennas = 2, correlation = { law = "identity" },', "system.bs.correlation: expe"),
        (
            "users = { count = 2 }",
            "users = { count = 2, seen_from_bs = { azimuth_deg = 0, angular_spread_deg = 3 } }",
            "system.users.seen_from_bs: expected nothing beside scenario, which gives it",
        ),
        ("[system.scenario]", "[system.gains]\nbs_user_db = 0\n[system.scenario]", "system.gains: expected"),
        ("hop = {", "bs_ris2 = {", "system.scenario.ris1_user: expected a table, or hop for all of them, as"),
        (
            "line_of_sight = false, shadowing",
            "right_spread_deg = 3, shadowing",
            "system.scenario.bs_user.right_spread_deg: expected nothing, as users have one antenna",
        ),
        (
            "surface1 = { x_m = 40, y_m = 20, z_m = 8, yaw_deg = -70, element = { exponent = 2 } }",
            "",
            "system.scenario.surface1: expected a table, as the links ['direct', 'single', 'double'] need it",
        ),
        (
            "area = 0.2 }",
            "area = 0.4 }",
            "system.scenario.surface2.element.area: expected at most (exponent + 1) / (2 pi)",
        ),
        (
            USERS,
            'users = { law = "fixed", positions_m = [[1, 2, 3]] }',
            "system.scenario.users.positions_m: expected 2 (users.count), got 1",
        ),
        (USERS, 'users = { law = "ring" }', "system.scenario.users.law: expected one of 'fixed', 'disc'"),
        ('{ law = "umi" }, left', '{ law = "umii" }, left', "system.scenario.hop.path_loss.law: expected"),
        ("spacing = 0.25", "spacing = 1e300", "system.scenario.surface1.element.area: expected"),
        ("radius_m = 12", "radius_m = -1", "system.scenario.users.radius_m: expected >= 0, got -1"),
        ("yaw_deg = -70", "yaw_dg = -70", "system.scenario.surface1.yaw_dg: unknown key; did you mean"),
        ("drops = 3\n", "", "sweep.quick_drops: expected drops beside it, got nothing"),
        ("drops = 3", 'drops = 3\nzip = ["drop", "power_dbm"]', "sweep.zip: expected axes of the sweep"),
        ("drops = 3", "drops = 0", "sweep.drops: expected >= 1, got 0"),
        ('axis = "power_dbm"', 'axis = "drop"', "sweep.axes: expected system.scenario.drop once"),
        ('label = "direct"\nset = {', 'label = "direct"\nset = { drop = 3,', "scheme.1.set.drop: expected"),
        ("drops = 3", "drops = 60_000", "sweep: expected at most 100000 points"),
    ],
)
def test_faults(old, new, fault):
    with pytest.raises(StudyFileError) as caught:
        parse_study(changed((old, new)), "drops")
    found = [str(one) for one in caught.value.faults]
    assert any(line.startswith(fault) for line in found), found


def test_drops_need_a_scenario():
    with pytest.raises(StudyFileError, match=r"sweep\.drops: expected a system\.scenario to drop users in"):
        parse_study(TEXT.replace("quick_values = [0, 10]", "drops = 2"), "small")


def test_surfaces_that_face_away():
    text = changed(('links = ["direct", "single", "double"]', 'links = ["double"]'), ("-70", "110"))
    with pytest.raises(InvalidArgumentError, match="a path that delivers power"):
        build(parse_study(text, "drops").point(0, 10, 0))


def test_equal_correlations_are_one():
    system, _, _ = build(parse_study(TEXT, "small").point(0, 0))
    assert system.bs_ris2.right is system.ris1_ris2.right
    assert system.bs_ris1.left is system.bs_ris2.left
    assert system.bs_ris1.right is system.ris1_ris2.left


def test_positions_are_axes():
    text = changed(('axis = "power_dbm"', 'axis = "system.scenario.surface2.x_m"'), ("[10, 30]", "[70, 90]"))
    study = parse_study(text, "drops")
    near, far = (build(study.point(0, x, 0), 4)[0] for x in (70, 90))
    assert near.bs_ris2.gain > far.bs_ris2.gain
    np.testing.assert_array_equal(near.bs_user.gain, far.bs_user.gain)
    streams = {Plan.of(study).stream(place).path for place in study.places()}
    assert len(streams) == 6


def test_the_scenario_of_the_template():
    """Its comments, taken as they are in place of gains and correlations."""
    text = TEMPLATE.format(name="mine")
    start, end = text.index("#   [system.scenario]"), text.index("[transmission]")
    lines = [line[4:] for line in text[start:end].splitlines() if re.match(r"#   (\[|\w+ = )", line)]
    scenario = "\n".join(line.split("   #")[0] for line in lines)
    text = text[: text.index("[system.gains]")] + scenario + "\n" + text[end:]
    text = re.sub(r"\ncorrelation = .*", "", text)
    system, _, _ = build(parse_study(text, "mine").point(0, 10))
    assert system.users == 4
    pilots = re.search(r"# (pilots = \{.*?\})", text).group(1)
    text = text.replace('csi = "perfect"', f'{pilots}\ncsi = "lmmse"').replace("#   drops", "drops")
    assert parse_study(text, "mine").point(0, 10, 7).transmission.pilots.length == 4
