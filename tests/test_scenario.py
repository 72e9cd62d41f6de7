"""Drops of a scenario: link budgets by hand, directions, statistics, batches."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

import channels
import ris
from channels import (
    FreeSpace,
    InvalidArgumentError,
    LogDistance,
    MemoryLimitError,
    Node,
    Orientation,
    SurfaceElement,
    UniformLinearArray,
    UniformPlanarArray,
    UrbanMicro,
    UsersAt,
    UsersInDisc,
    sightline,
)
from ris import HopLaw, Scenario

FREE = FreeSpace(3e9)
ELEMENT = SurfaceElement(0.25)
HOPS = ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user")
Z = 6.5  # standard errors: a false alarm in 1.2e10 checks


def street(users=None, **changes):
    """A street with everything on: UMi, surfaces that face it, local scattering at most ends."""
    umi = UrbanMicro(3.5e9)

    def surface(x, yaw):
        return Node((x, 20, 8), UniformPlanarArray(3, 4, 0.5, Orientation(yaw=yaw)), ELEMENT)

    settings = {
        "bs": Node((0, 0, 10), UniformLinearArray(4, 0.5)),
        "ris1": surface(40, -1.2),
        "ris2": surface(80, -2.0),
        "users": users or UsersInDisc(3, (70, -10, 1.5), 12.0),
        "bs_ris1": HopLaw(umi, line_of_sight=True, left_spread=0.1, right_spread=(0.1, 0.05)),
        "bs_ris2": HopLaw(umi),
        "ris1_ris2": HopLaw(LogDistance(2.2, 43.0, shadowing_db=3.0)),
        "ris1_user": HopLaw(umi, left_spread=0.2),
        "ris2_user": HopLaw(umi),
        "bs_user": HopLaw(umi, line_of_sight=False, left_spread=0.3),
        "bandwidth_hz": 20e6,
        "noise_figure_db": 9.0,
        "phase_noise1": channels.VonMises(2.0),
    }
    return Scenario(**(settings | changes))


def test_systems_have_the_hardware_and_the_interference_of_the_scenario():
    given = {
        "phase_noise2": channels.VonMises(1.0),
        "hardware1": channels.Hardware(failures=channels.ElementFailures(0.1)),
        "hardware2": channels.Hardware(amplitude=channels.PhaseDependentAmplitude(0.2, 1.3, 1.6)),
        "emi1": channels.Interference(1e-13, np.eye(12)),
        "emi2": channels.Interference(2e-13, np.eye(12)),
    }
    system = street(**given).drops(2, seed=1)
    assert all(getattr(system, name) is value for name, value in given.items())


def by_hand(**changes):
    """A surface at the origin that faces +x; BS 30 m and user 40 m away, at 60 degrees and at broadside."""
    settings = {
        "bs": Node((15, 15 * np.sqrt(3), 0), UniformLinearArray(2, 0.5)),
        "ris1": Node((0, 0, 0), UniformPlanarArray(2, 2, 0.5), ELEMENT),
        "users": UsersAt([[40.0, 0.0, 0.0]]),
        "bs_ris1": HopLaw(FREE),
        "ris1_user": HopLaw(FREE),
        "bs_user": HopLaw(LogDistance(3.5, 42.0)),
        "bandwidth_hz": 1e6,
        "noise_figure_db": 7.0,
    }
    return Scenario(**(settings | changes))


def test_link_budget_by_hand():
    budget = by_hand().link_budget(seed=1)
    first, second, direct = budget.rows
    # 20 log10(4 pi d 3e9 / c): 41.99021 dB at 1 m, and 20 log10(30) = 29.54243, 20 log10(40) = 32.04120
    assert (first.hop, first.user, first.line_of_sight) == ("bs_ris1", None, True)
    assert_allclose(first.distance_m, 30, rtol=1e-15)
    assert_allclose(first.path_loss_db, 71.53264, atol=1e-5)
    assert_allclose(first.right_gain_db, 1.96120, atol=1e-5)  # 10 log10(pi cos 60)
    assert_allclose(first.total_db, -69.57144, atol=1e-5)
    assert (second.hop, second.user) == ("ris1_user", 0)
    assert_allclose(second.path_loss_db, 74.03141, atol=1e-5)
    assert_allclose(second.left_gain_db, 4.97150, atol=1e-5)  # 10 log10(pi)
    assert_allclose(second.total_db, -69.05991, atol=1e-5)
    # d^2 = 25^2 + 3 * 15^2 = 1300; 42 + 17.5 log10(1300)
    assert_allclose(direct.path_loss_db, 96.49401, atol=1e-5)
    assert (direct.left_gain_db, direct.right_gain_db, direct.shadowing_db) == (0, 0, 0)
    assert_allclose(budget.noise_power_dbm, -173.97519 + 60 + 7, atol=1e-5)
    assert_allclose(by_hand().noise_power_w, 1.380649e-23 * 290 * 1e6 * 10**0.7, rtol=1e-12)


def test_link_budget_prints_as_a_table():
    text = str(by_hand().link_budget(seed=1)).splitlines()
    assert text[0].split() == [
        *("hop", "user", "m", "state"),
        *("loss", "dB", "left", "dB", "right", "dB", "shadow", "dB", "total", "dB"),
    ]
    assert text[1].split() == ["bs_ris1", "30.00", "LoS", "71.53", "0.00", "1.96", "0.00", "-69.57"]
    assert text[2].split() == ["ris1_user", "0", "40.00", "LoS", "74.03", "4.97", "0.00", "0.00", "-69.06"]
    assert text[4] == "noise power -106.98 dBm"
    assert len({len(line) for line in text[:4]}) == 1


def test_behind_a_surface_is_no_gain():
    scenario = by_hand(users=UsersAt([[-5.0, 0.0, 0.0], [40.0, 0.0, 0.0]]))
    assert_array_equal(scenario.drop(seed=1).ris1_user.gain > 0, [False, True])
    budget = scenario.link_budget(seed=1)
    assert budget.rows[1].total_db == -np.inf
    assert "-inf" in str(budget)


def test_gains_are_the_budget():
    scenario = street()
    system, budget = scenario.drop(seed=3, index=7), scenario.link_budget(seed=3, index=7)
    for name in HOPS:
        total = [row.total_db for row in budget.rows if row.hop == name]
        assert_allclose(10 * np.log10(np.atleast_1d(getattr(system, name).gain)), total, atol=1e-12)
    assert [row.user for row in budget.rows] == [None] * 3 + [0, 1, 2] * 3


def test_covariances_follow_the_geometry():
    scenario = street()
    system = scenario.drop(seed=5)
    users_m = scenario.large_scale(1, seed=5).users_m[0]
    for user, place in enumerate(users_m):
        line = sightline(scenario.ris1.position_m, place)
        expected = channels.local_scattering_correlation(
            scenario.ris1.array, line.departure_azimuth, line.departure_elevation, 0.2
        )
        assert_allclose(system.ris1_user.correlation.matrix[user], expected.matrix, atol=1e-14)
    line = sightline(scenario.bs.position_m, scenario.ris1.position_m)
    # A plane wave: the channel matrix is a(departure) b(arrival)^T, so the right covariance is conjugated.
    expected = channels.local_scattering_correlation(
        scenario.ris1.array, line.arrival_azimuth, line.arrival_elevation, (0.1, 0.05)
    )
    assert_allclose(system.bs_ris1.right.matrix, expected.matrix.conj(), atol=1e-12)
    isotropic = channels.isotropic_correlation(scenario.ris2.array)
    assert_array_equal(system.ris2_user.correlation.matrix, isotropic.matrix)
    assert system.bs_ris2.right is system.ris1_ris2.right is system.ris2_user.correlation


def wrapped(phases):
    return np.angle(np.exp(1j * (phases - phases[..., :1])))


def test_a_mirror_needs_no_phase_shifts_and_other_angles_need_a_gradient():
    # Reflection law: between directions u_in and u_out, as seen from the surface, phases must undo
    # 2 pi p . (u_in + u_out), which vanishes over the surface where they mirror one another.
    surface = Node((0, 0, 0), UniformPlanarArray(4, 4, 0.3))
    law = HopLaw(FREE, left_spread=0.01, right_spread=0.01)
    for place, mirror in (((20.0, -8.0, -3.0), True), ((20.0, 2.0, 5.0), False)):
        scenario = Scenario(
            bs=Node((40, 16, 6), UniformLinearArray(2, 0.5)),
            ris1=surface,
            users=UsersAt([place]),
            bs_ris1=law,
            ris1_user=HopLaw(FREE, left_spread=0.01),
            bandwidth_hz=1e6,
            noise_figure_db=0.0,
            scattering_method="small_angle",
        )
        design = ris.optimal_phases(scenario.drop(seed=1))
        assert design.certified
        u = sum(np.array(point) / np.linalg.norm(point) for point in ((40, 16, 6), place))
        expected = wrapped(-2 * np.pi * (surface.array.positions @ u))
        assert_allclose(np.exp(1j * wrapped(design.theta1)), np.exp(1j * expected), atol=1e-6)
        assert mirror == np.allclose(expected, 0, atol=1e-12)


def moved(scenario, turn, shift):
    """The whole scene after a rigid motion."""

    def node(old):
        array = old.array
        own = Rotation.from_euler(
            "ZYX", [array.orientation.yaw, array.orientation.pitch, array.orientation.roll]
        )
        angles = (turn * own).as_euler("ZYX")
        turned = dataclasses.replace(array, orientation=Orientation(*angles))
        return Node(turn.apply(old.position_m.copy()) + shift, turned, old.element)

    users = UsersAt(turn.apply(scenario.users.positions_m.copy()) + shift)
    nodes = {name: node(getattr(scenario, name)) for name in ("bs", "ris1", "ris2")}
    return dataclasses.replace(scenario, users=users, **nodes)


def matrices(system):
    """Gains and covariances of all hops."""
    for name in HOPS:
        hop = getattr(system, name)
        yield hop.gain
        yield from (
            [hop.correlation.matrix] if hasattr(hop, "users") else [hop.left.matrix, hop.right.matrix]
        )


def test_turning_and_shifting_the_scene_on_the_ground_changes_nothing():
    scenario = street(users=UsersAt([[70.0, -10.0, 1.5], [75.0, 0.0, 2.0], [60.0, -5.0, 1.5]]))
    turn = Rotation.from_euler("z", 2.1)
    after = moved(scenario, turn, np.array([300.0, -50.0, 0.0]))
    for old, new in zip(matrices(scenario.drop(seed=2)), matrices(after.drop(seed=2)), strict=True):
        assert_allclose(new, old, rtol=1e-10, atol=1e-11)


def test_any_rigid_motion_changes_nothing_where_ground_does_not_matter():
    laws = {name: HopLaw(FREE) for name in HOPS}
    scenario = street(users=UsersAt([[70.0, -10.0, 1.5], [75.0, 0.0, 2.0]]), **laws)
    turn = Rotation.from_euler("ZYX", [0.4, -1.1, 2.3])
    after = moved(scenario, turn, np.array([1.0, 2.0, -30.0]))
    for old, new in zip(matrices(scenario.drop(seed=2)), matrices(after.drop(seed=2)), strict=True):
        assert_allclose(new, old, rtol=1e-10, atol=1e-11)


def test_batches_are_batches_of_drops(monkeypatch):
    scenario = street()
    whole = scenario.drops(7, seed=9, first=3)
    assert whole.batch_shape == (7,)
    theta = np.linspace(0, 3, 12)
    rates = ris.closed_form_rate(whole, theta, theta, power=1.0, noise_power=scenario.noise_power_w)
    for drop in range(7):
        one = scenario.drop(seed=9, index=3 + drop)
        assert one.batch_shape == ()
        for name in HOPS:
            assert_allclose(getattr(one, name).gain, getattr(whole, name).gain[drop], rtol=1e-12)
        assert_allclose(one.bs_user.correlation.matrix, whole.bs_user.correlation.matrix[drop], atol=1e-14)
        alone = ris.closed_form_rate(one, theta, theta, power=1.0, noise_power=scenario.noise_power_w)
        assert_allclose(rates[drop], alone, rtol=1e-10)
    monkeypatch.setattr("ris.scenario.BATCH_BYTES", 3 * scenario._drop_bytes)
    batches = list(scenario.batches(7, seed=9, first=3))
    assert [batch.batch_shape for batch in batches] == [(3,), (3,), (1,)]
    for name in HOPS:
        joined = np.concatenate([getattr(batch, name).gain for batch in batches])
        assert_allclose(joined, getattr(whole, name).gain, rtol=1e-12)
    monkeypatch.setattr("ris.scenario.DRAWN_TOGETHER", 4)
    batches = list(scenario.batches(7, seed=9, first=3))
    assert [batch.batch_shape for batch in batches] == [(3,), (1,), (3,)]
    joined = np.concatenate([batch.bs_user.gain for batch in batches])
    assert_allclose(joined, whole.bs_user.gain, rtol=1e-12)


def test_drop_bytes_count_what_a_batch_multiplies():
    scenario = street()
    hops = (scenario.drops(2, seed=1).ris1_user, scenario.drops(2, seed=1).bs_user)
    assert 2 * scenario._drop_bytes == sum(hop.correlation.matrix.nbytes for hop in hops)
    assert scenario.drops(2, seed=1).ris2_user.correlation.shape == (12, 12)


def test_state_and_shadowing_follow_their_laws():
    # One user at a horizontal distance of 36 m: LoS probability 0.68394, deviations 4 and 7.82 dB.
    count = 40_000
    scenario = street(users=UsersAt([[36.0, 0.0, 1.5], [0.0, 36.0, 1.5]]), bs_user=HopLaw(UrbanMicro(3.5e9)))
    drawn = scenario.large_scale(count, seed=11).hops["bs_user"]
    los, shadowing = drawn.line_of_sight, drawn.shadowing_db
    p = 0.6839397206
    assert np.all(np.abs(los.mean(axis=0) - p) < Z * np.sqrt(p * (1 - p) / count))
    for state, deviation in ((True, 4.0), (False, 7.82)):
        normal = shadowing[los == state] / deviation
        assert abs(normal.mean()) < Z / np.sqrt(len(normal))
        assert abs(np.mean(normal**2) - 1) < Z * np.sqrt(2 / len(normal))
        assert abs(np.mean(normal**4) - 3) < Z * np.sqrt(96 / len(normal))
        loss = UrbanMicro(3.5e9).loss_db(np.hypot(36, 8.5), (10.0, 1.5), state)
        assert_allclose(drawn.path_loss_db[los == state], loss, rtol=1e-14)


def test_users_hops_and_drops_are_independent():
    count = 20_000
    hops = street(users=UsersAt([[70.0, -10.0, 1.5], [75.0, 0.0, 1.5]])).large_scale(count, seed=12).hops
    columns = []
    for name in HOPS:
        drawn = hops[name]
        columns += list(np.atleast_2d(drawn.shadowing_db.T))
        states = np.atleast_2d(drawn.line_of_sight.T)
        columns += [state for state in states.astype(float) if 0 < state.mean() < 1]
    table = np.array(columns)
    assert len(table) == 3 + 6 + 1 + 4  # shadowing everywhere; states of bs_ris2 and of two users' hops
    standard = (table - table.mean(axis=1, keepdims=True)) / table.std(axis=1, keepdims=True)
    pairs = standard @ standard.T / count
    # A state scales its own shadowing without making it lean either way, so no pair is correlated, but the
    # product of the two spreads more than 1: hence the factor 1.5.
    assert np.all(np.abs(pairs - np.eye(len(table))) < 1.5 * Z / np.sqrt(count))
    later = np.sum(standard[:, 1:] * standard[:, :-1], axis=1) / count
    assert np.all(np.abs(later) < 1.5 * Z / np.sqrt(count))


def test_given_states_and_no_shadowing_are_obeyed():
    umi = UrbanMicro(3.5e9)
    drawn = street(
        ris1_user=HopLaw(umi, line_of_sight=False, shadowing=False), ris2_user=HopLaw(umi, line_of_sight=True)
    ).large_scale(50, seed=1)
    assert not drawn.hops["ris1_user"].line_of_sight.any()
    assert drawn.hops["ris2_user"].line_of_sight.all()
    assert_array_equal(drawn.hops["ris1_user"].shadowing_db, 0)
    assert drawn.hops["ris2_user"].shadowing_db.std() > 0
    assert np.linalg.norm(drawn.users_m - [70, -10, 1.5], axis=-1).max() <= 12


def test_one_hop_does_not_shift_the_numbers_of_another():
    everything = street().large_scale(5, seed=4)
    fewer = street(bs_ris2=None, ris1_user=None).large_scale(5, seed=4)
    assert_array_equal(fewer.users_m, everything.users_m)
    assert_array_equal(fewer.hops["bs_user"].gain, everything.hops["bs_user"].gain)
    assert not np.array_equal(street().large_scale(5, seed=5).users_m, everything.users_m)


def test_too_large_a_batch_is_refused():
    scenario = street()
    with pytest.raises(MemoryLimitError, match="batches"):
        scenario.drops(1000, seed=1, memory_limit=1e6)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("path_loss", lambda: HopLaw(40.0)),
        ("line_of_sight", lambda: HopLaw(FREE, line_of_sight=1)),
        ("shadowing", lambda: HopLaw(FREE, shadowing=None)),
        ("left_spread", lambda: HopLaw(FREE, left_spread=-0.1)),
        ("right_spread", lambda: HopLaw(FREE, right_spread=(0.1, 0.1, 0.1))),
        ("bs", lambda: street(bs=None)),
        ("ris1", lambda: street(ris1=None)),
        ("ris2", lambda: street(ris2=(0, 0, 0))),
        ("users", lambda: street(users=np.zeros((2, 3)).tolist())),
        ("bs_ris2", lambda: street(bs_ris2=FREE)),
        ("ris1_user", lambda: street(ris1_user=HopLaw(UrbanMicro(3.5e9), right_spread=0.1))),
        ("frequency_hz", lambda: street(bs_user=HopLaw(FREE))),
        ("bandwidth_hz", lambda: street(bandwidth_hz=0.0)),
        ("noise_figure_db", lambda: street(noise_figure_db=-1.0)),
        ("scattering_method", lambda: street(scattering_method="exact")),
        ("count", lambda: street().large_scale(0, seed=1)),
        ("count", lambda: next(street().batches(0, seed=1))),
        ("first", lambda: street().drops(1, seed=1, first=-1)),
        ("distance_m", lambda: street(users=UsersAt([[5.0, 0.0, 1.5]])).drop(seed=1)),
    ],
)
def test_bad_input_is_named(argument, call):
    with pytest.raises(InvalidArgumentError) as error:
        call()
    assert error.value.argument == argument


# Lines of sight -------------------------------------------------------------------------------------------


def clear_scene(k_factor_db):
    """Free space, every hop in line of sight, nodes 600 m and more apart."""
    law = HopLaw(FREE, k_factor_db=k_factor_db)
    return Scenario(
        bs=Node((0, 0, 30), UniformLinearArray(3, 0.5, Orientation(yaw=0.7))),
        ris1=Node((500, 400, 20), UniformPlanarArray(2, 3, 0.5, Orientation(yaw=-2.0, pitch=0.2))),
        ris2=Node((1100, -300, 80), UniformPlanarArray(3, 2, 0.4, Orientation(yaw=1.0))),
        users=UsersAt([(1900, 500, 1.5), (1500, 900, 1.5)]),
        **dict.fromkeys(HOPS, law),
        bandwidth_hz=20e6,
        noise_figure_db=9.0,
    )


def test_lines_of_sight_are_the_waves_of_the_true_distances():
    """Every path as a sum of exp(-j 2 pi d / lambda) over all elements: signs, sides, phases of all hops."""
    scene, wavelength = clear_scene(300.0), 299792458.0 / 3e9
    system = scene.drop(1)
    rng = np.random.default_rng(1)
    theta1, theta2 = rng.uniform(0, 6, 6), rng.uniform(0, 6, 6)
    bs, one, two = (
        node.position_m + node.array.positions * wavelength for node in (scene.bs, scene.ris1, scene.ris2)
    )
    users = scene.users.positions_m

    def wave(a, b):
        distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
        return wavelength / (4 * np.pi * distance) * np.exp(-2j * np.pi * distance / wavelength)

    x1, x2 = np.exp(1j * theta1)[:, None], np.exp(1j * theta2)[:, None]
    paths = {
        "direct": wave(bs, users),
        "single1": wave(bs, one) @ (x1 * wave(one, users)),
        "single2": wave(bs, two) @ (x2 * wave(two, users)),
        "double": wave(bs, one) @ (x1 * (wave(one, two) @ (x2 * wave(two, users)))),
    }
    hops = {
        "direct": ["bs_user"],
        "single1": ["bs_ris1", "ris1_user"],
        "single2": ["bs_ris2", "ris2_user"],
        "double": ["bs_ris1", "ris1_ris2", "ris2_user"],
    }
    for name, expected in paths.items():
        alone = ris.DoubleRIS(**{hop: getattr(system, hop) for hop in hops[name]})
        phases = theta1 if alone.elements1 else None, theta2 if alone.elements2 else None
        h = ris.draw_channels(alone, *phases, realizations=1, seed=1)[0]
        assert_allclose(h, expected, atol=0.01 * np.abs(expected).max(), err_msg=name)


def test_k_factors_follow_their_law():
    law = UrbanMicro(3.5e9)
    scenario = street(UsersAt([(70, -10, 1.5), (60, 5, 1.5)]), ris1_user=HopLaw(law, k_factor_db="law"))
    hop = scenario.large_scale(4000, seed=3).hops["ris1_user"]
    assert_array_equal(hop.k_factor > 0, hop.line_of_sight)
    decibels = 10 * np.log10(hop.k_factor[hop.line_of_sight])
    n = decibels.size
    assert abs(decibels.mean() - 9) < Z * 5 / np.sqrt(n)
    assert abs(decibels.std() - 5) < Z * 5 / np.sqrt(2 * n)
    assert_array_equal(scenario.large_scale(3, 3, first=5).hops["ris1_user"].k_factor, hop.k_factor[5:8])


def test_k_factor_splits_the_gain_of_clear_hops_alone():
    scenario = street(ris1_user=HopLaw(UrbanMicro(3.5e9), k_factor_db=6.0))
    drops = scenario.drops(40, seed=2)
    drawn = scenario.large_scale(40, seed=2).hops["ris1_user"]
    assert 0 < drawn.line_of_sight.mean() < 1
    K = np.where(drawn.line_of_sight, 10**0.6, 0.0)
    assert_allclose(drops.ris1_user.gain, drawn.gain / (1 + K), rtol=1e-12)
    power = np.abs(drops.ris1_user.mean) ** 2
    assert_allclose(power, np.broadcast_to((drawn.gain * K / (1 + K))[..., None], power.shape), rtol=1e-12)
    assert scenario.drops(40, seed=2).bs_ris2.mean is None
    one = scenario.drop(2, 7)
    sight = np.zeros_like(drops.ris1_user.mean[7]) if one.ris1_user.mean is None else one.ris1_user.mean
    assert_allclose(sight, drops.ris1_user.mean[7], rtol=1e-12)


def test_drops_with_lines_of_sight_are_batches_of_drops():
    scene = clear_scene(3.0)
    theta = np.zeros(6), np.zeros(6)
    batch = ris.closed_form_moments(scene.drops(2, seed=1), *theta)
    for i in range(2):
        one = ris.closed_form_moments(scene.drop(1, i), *theta)
        assert_allclose(batch.interference[i], one.interference, rtol=1e-9)


@pytest.mark.parametrize(("law", "value"), [(FREE, "law"), (LogDistance(2.0, 40.0), "law"), (FREE, np.nan)])
def test_bad_k_factors(law, value):
    with pytest.raises(InvalidArgumentError, match="k_factor_db"):
        HopLaw(law, k_factor_db=value)
