"""Maximising the sum rate: the gradient, the ascent, and rounding against exhaustive search."""

import dataclasses

import numpy as np
import pytest
from systems import PATH_SETS, DiscreteNoise, random_phases, random_system

import channels
import ris
from ris import gradient as gradients
from ris.gradient import sum_rate_gradient

POWERS = {"power": 3.0, "noise_power": 0.7}
NOISES = {
    "no noise": (None, None),
    "discrete": (
        DiscreteNoise.three_point(1.1, 0.7),
        DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1)),
    ),
    "no coherence at surface 1": (channels.VonMises(0.0), channels.VonMises(0.3)),
}


def sum_rate(system, theta1, theta2, **powers):
    return ris.closed_form_rate(system, theta1, theta2, **(powers or POWERS)).sum(axis=-1)


def central_differences(system, theta1, theta2, **powers):
    """Slopes by all angles, of eighth order: rounding, about 1e-13 of the rate, outweighs the step."""
    step, weights = 0.01, (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    n = theta1.size
    angles, unit = np.concatenate([theta1, theta2]), np.eye(n + theta2.size)
    return sum(
        sign * weight / step * sum_rate(system, moved[:, :n], moved[:, n:], **powers)
        for times, weight in enumerate(weights, 1)
        for sign in (1, -1)
        for moved in [angles + sign * times * step * unit]
    )


def check_gradient(system, theta1, theta2, **powers):
    value, *slopes = sum_rate_gradient(system, theta1, theta2, **(powers or POWERS))
    np.testing.assert_allclose(value, sum_rate(system, theta1, theta2, **powers), rtol=1e-12)
    expected = central_differences(system, theta1, theta2, **powers)
    np.testing.assert_allclose(np.concatenate(slopes), expected, rtol=1e-7, atol=1e-11 * value)
    return expected


@pytest.mark.parametrize("paths", [p for p in PATH_SETS if p != ("direct",)], ids="+".join)
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_gradient_equals_central_differences(paths, noise, own):
    rng = np.random.default_rng(1)
    system = random_system(rng, paths, elements=(4, 5), users=3, own=own, noise=noise)
    expected = check_gradient(system, *random_phases(rng, system))
    assert np.abs(expected).max() > 1e-3 or noise[0] is not None


@pytest.mark.parametrize("block", [1, 700])
def test_gradient_with_one_covariance_for_both_hops_in_blocks(block, monkeypatch):
    """The published model, where surface 2 has one covariance towards both its inner neighbours."""
    monkeypatch.setattr(gradients, "BLOCK", block)
    rng = np.random.default_rng(2)
    system = random_system(rng, elements=(3, 4), users=2, noise=NOISES["discrete"])
    shared = system.bs_ris2.right
    between = dataclasses.replace(
        system, ris1_ris2=channels.Hop(system.ris1_ris2.gain, system.ris1_ris2.left, shared)
    )
    check_gradient(between, *random_phases(rng, between))


def test_gradient_at_path_losses():
    """Gains of 1e-13 a hop: tables of size one, moments down to 1e-78."""
    rng = np.random.default_rng(3)
    system = random_system(rng, ("single1", "double"), elements=(4, 3), users=3)
    far = dataclasses.replace(
        system,
        bs_ris1=channels.Hop(1e-13, system.bs_ris1.left, system.bs_ris1.right),
        ris1_ris2=channels.Hop(1e-13, system.ris1_ris2.left, system.ris1_ris2.right),
        ris1_user=channels.UserHop(system.ris1_user.gain * 1e-26, system.ris1_user.correlation),
        ris2_user=channels.UserHop(system.ris2_user.gain * 1e-13, system.ris2_user.correlation),
    )
    check_gradient(far, *random_phases(rng, far), power=1.0, noise_power=1e-39)


def test_gradient_of_a_surface_without_elements_or_paths():
    hop = channels.UserHop([1.0, 1.0], np.eye(5))
    idle = ris.DoubleRIS(bs_user=channels.UserHop([1.0, 1.0], np.eye(2)), ris1_user=hop)
    value, *slopes = sum_rate_gradient(idle, np.arange(5.0), np.zeros(0), **POWERS)
    np.testing.assert_allclose(value, sum_rate(idle, np.zeros(5), None), rtol=1e-14)
    assert [slope.tolist() for slope in slopes] == [[0.0] * 5, []]


@pytest.mark.parametrize("paths", [("double",), ("direct", "single1", "single2", "double")], ids="+".join)
def test_ascent_ends_at_a_maximum_above_its_starts(paths):
    rng = np.random.default_rng(4)
    system = random_system(rng, paths, elements=(6, 5), users=3, noise=(None, channels.VonMises(2.0)))
    found = ris.maximise_rate(system, **POWERS, seed=5, starts=3, tolerance=1e-13)
    assert found.converged
    assert np.all(np.diff(found.history) >= 0)
    assert found.iterations == found.history.size - 1
    np.testing.assert_allclose(found.sum_rate, found.history[-1], rtol=1e-12)
    np.testing.assert_allclose(
        found.rate, ris.closed_form_rate(system, found.theta1, found.theta2, **POWERS), rtol=1e-12
    )
    for theta in (found.theta1, found.theta2):
        assert np.abs(theta).max() <= np.pi
    _, *slopes = sum_rate_gradient(system, found.theta1, found.theta2, **POWERS)
    assert np.abs(np.concatenate(slopes)).max() <= 1e-5 * found.sum_rate
    assert found.sum_rate > sum_rate(system, *ris.optimal_phases(system))
    # A maximum, not only a point without slope: small moves in any direction lose.
    for scale in (1e-3, 0.1):
        moves = [scale * rng.standard_normal((200, theta.size)) for theta in (found.theta1, found.theta2)]
        moved = sum_rate(system, found.theta1 + moves[0], found.theta2 + moves[1])
        assert moved.max() <= found.sum_rate * (1 + 1e-9)
    others = sum_rate(system, *random_phases(rng, system, batch=(2000,)))
    assert others.max() < found.sum_rate


def test_more_starts_are_never_worse_and_seeds_repeat():
    system = random_system(np.random.default_rng(6), ("double",), elements=(5, 5), users=4)
    found = [ris.maximise_rate(system, **POWERS, seed=1, starts=starts) for starts in (0, 2, 6)]
    assert found[0].sum_rate <= found[1].sum_rate <= found[2].sum_rate
    again = ris.maximise_rate(system, **POWERS, seed=channels.Stream(1), starts=6)
    assert np.array_equal(again.theta1, found[2].theta1)
    assert np.array_equal(again.theta2, found[2].theta2)


def test_the_given_start_is_where_the_ascent_begins():
    rng = np.random.default_rng(7)
    system = random_system(rng, elements=(4, 4), users=3)
    theta1, theta2 = random_phases(rng, system)
    found = ris.maximise_rate(system, **POWERS, seed=1, starts=0, theta1=theta1, theta2=theta2)
    np.testing.assert_allclose(found.history[0], sum_rate(system, theta1, theta2), rtol=1e-12)
    default = ris.maximise_rate(system, **POWERS, seed=1, starts=0)
    best_mean = ris.optimal_phases(system)
    np.testing.assert_allclose(default.history[0], sum_rate(system, *best_mean), rtol=1e-12)
    half = ris.maximise_rate(system, **POWERS, seed=1, starts=0, theta1=theta1)
    np.testing.assert_allclose(half.history[0], sum_rate(system, theta1, best_mean.theta2), rtol=1e-12)
    stopped = ris.maximise_rate(system, **POWERS, seed=1, starts=0, theta1=theta1, max_iterations=1)
    assert stopped.iterations == 1
    assert not stopped.converged


def test_phases_without_effect_and_no_power():
    """One element at each surface has the same rate at any phase; without power there is none."""
    rng = np.random.default_rng(8)
    system = random_system(rng, elements=(1, 1), users=1)
    found = ris.maximise_rate(system, **POWERS, seed=1)
    np.testing.assert_allclose(found.sum_rate, sum_rate(system, np.ones(1), np.ones(1)), rtol=1e-12)
    silent = ris.maximise_rate(system, power=0.0, noise_power=1.0, seed=1)
    assert silent.sum_rate == 0.0
    assert silent.converged


def test_a_system_without_surfaces_has_its_rate():
    system = random_system(np.random.default_rng(9), ("direct",))
    found = ris.maximise_rate(system, **POWERS, seed=1, bits=1)
    assert found.theta1.size == found.theta2.size == found.iterations == 0
    np.testing.assert_allclose(found.sum_rate, sum_rate(system, None, None), rtol=1e-14)


def exhaustive(system, bits):
    """The sum rate of every phase on the grid, first elements at zero (a common phase changes nothing)."""
    levels = 2 * np.pi / 2**bits * np.arange(2**bits)
    free = system.elements1 - 1, system.elements2 - 1
    points = np.stack([g.ravel() for g in np.meshgrid(*[levels] * sum(free), indexing="ij")], axis=-1)
    zero = np.zeros((len(points), 1))
    theta1 = np.concatenate([zero, points[:, : free[0]]], axis=-1)
    theta2 = np.concatenate([zero, points[:, free[0] :]], axis=-1)
    return sum_rate(system, theta1, theta2)


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize(("bits", "elements"), [(1, (5, 4)), (2, (4, 3))])
def test_rounded_phases_against_exhaustive_search(bits, elements, case):
    """Continuous phases beat every grid point; rounded and refined ones reach 97 % of the best of all."""
    rng = np.random.default_rng(100 + case)
    paths = [("double",), ("single1", "single2"), ("direct", "single1", "single2", "double")][case % 3]
    noise = NOISES["discrete"] if case < 3 else (None, None)
    system = random_system(rng, paths, elements=elements, users=3, noise=noise, rank=2)
    grid = exhaustive(system, bits)
    free = ris.maximise_rate(system, **POWERS, seed=case, starts=8)
    coarse = ris.maximise_rate(system, **POWERS, seed=case, starts=8, bits=bits)
    assert free.sum_rate >= grid.max() * (1 - 1e-6)
    assert grid.max() * 0.97 <= coarse.sum_rate <= grid.max() * (1 + 1e-12)
    step = 2 * np.pi / 2**bits
    for theta in (coarse.theta1, coarse.theta2):
        assert np.array_equal(theta, ris.quantize_phases(theta, bits))
    # No single move by a level helps.
    for surface, theta in enumerate((coarse.theta1, coarse.theta2)):
        for n in range(theta.size):
            for sign in (1, -1):
                moved = [coarse.theta1.copy(), coarse.theta2.copy()]
                moved[surface][n] += sign * step
                assert sum_rate(system, *moved) <= coarse.sum_rate * (1 + 1e-11)


def test_rounding_never_loses_a_rounded_start():
    rng = np.random.default_rng(11)
    system = random_system(rng, ("double",), elements=(3, 3), users=3)
    for _ in range(4):
        theta1, theta2 = (ris.quantize_phases(theta, 1) for theta in random_phases(rng, system))
        found = ris.maximise_rate(
            system, **POWERS, seed=1, starts=0, theta1=theta1, theta2=theta2, bits=1, max_iterations=1
        )
        assert found.sum_rate >= sum_rate(system, theta1, theta2) * (1 - 1e-12)


def test_results_are_read_only():
    found = ris.maximise_rate(random_system(np.random.default_rng(0)), **POWERS, seed=1, starts=0)
    for array in (found.theta1, found.theta2, found.rate, found.history):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


BATCH = random_system(np.random.default_rng(0), ("direct", "single1"), batch=(2,))
SINGLE = random_system(np.random.default_rng(0))  # 2 and 3 elements


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"power": -1.0}, "power"),
        ({"power": np.inf}, "power"),
        ({"power": [1.0, 2.0]}, "power"),
        ({"noise_power": 0.0}, "noise_power"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"starts": -1}, "starts"),
        ({"starts": 1.0}, "starts"),
        ({"theta1": np.zeros(3)}, "theta1"),
        ({"theta1": np.zeros((4, 2))}, "theta1"),
        ({"theta2": [0.0, np.nan, 0.0]}, "theta2"),
        ({"theta2": [0.0, 1j, 0.0]}, "theta2"),
        ({"bits": 0}, "bits"),
        ({"bits": 40}, "bits"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"system": BATCH}, "system"),
    ],
)
def test_bad_input_names_the_argument(options, argument):
    options = {"system": SINGLE, **POWERS, "seed": 1, **options}
    system = options.pop("system")
    with pytest.raises(channels.InvalidArgumentError) as caught:
        ris.maximise_rate(system, **options)
    assert caught.value.argument == argument
