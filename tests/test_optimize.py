"""The design ladder: ascents, discrete searches against enumeration, bounds, batches, bad input."""

import dataclasses
import itertools

import numpy as np
import pytest
from systems import DiscreteNoise, random_phases, random_system

import channels
import ris
from ris.ascent import ascend
from ris.bounds import RateCeiling, mean_gain_ceilings, shared_sum
from ris.branch_and_bound import _GainBounds
from ris.gradient import UserValues

POWERS = {"power": 3.0, "noise_power": 0.7}
NOISE = (
    DiscreteNoise.three_point(1.1, 0.7),
    DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1)),
)
ALL = ("direct", "single1", "single2", "double")
OBJECTIVES = ("sum_rate", "min_rate", "mean_gain")
METHODS = ("closed_form", "steering", "random", "gradient", "alternating", "coordinate", "branch_and_bound")
DISCRETE = ("coordinate", "branch_and_bound")


def objective(system, which, theta1, theta2):
    if which == "mean_gain":
        return ris.closed_form_moments(system, theta1, theta2).mean_gain.sum(axis=-1)
    rates = ris.closed_form_rate(system, theta1, theta2, **POWERS)
    return rates.min(axis=-1) if which == "min_rate" else rates.sum(axis=-1)


def scattered(rng, rows, users, kappa=4.0):
    """Local scattering in different directions at every hop: no closed form applies."""
    array = channels.UniformPlanarArray(rows=rows, columns=rows, spacing=0.25)
    line = channels.UniformLinearArray(4, 0.5)

    def seen_from(place):
        return np.asarray(
            channels.local_scattering_correlation(place, rng.uniform(-1, 1), rng.uniform(-0.5, 0.5), 0.2)
        )

    N = rows**2
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, seen_from(line), seen_from(array)),
        bs_ris2=channels.Hop(0.5 * N, seen_from(line), seen_from(array)),
        ris1_ris2=channels.Hop(1.0, seen_from(array), seen_from(array)),
        ris1_user=channels.UserHop(
            N * rng.uniform(0.3, 1, users), np.stack([seen_from(array) for _ in range(users)])
        ),
        ris2_user=channels.UserHop(
            rng.uniform(0.3, 1, users), np.stack([seen_from(array) for _ in range(users)])
        ),
        phase_noise1=channels.VonMises(kappa),
        phase_noise2=channels.VonMises(kappa),
    )


def exhaustive(system, which, bits):
    """The objective of all levels, first elements at zero (a common phase changes nothing)."""
    levels = 2 * np.pi / 2**bits * np.arange(2**bits)
    free = system.elements1 - 1, system.elements2 - 1
    points = np.array(list(itertools.product(levels, repeat=sum(free))))
    zero = np.zeros((len(points), 1))
    theta1, theta2 = points[:, : free[0]], points[:, free[0] :]
    return objective(system, which, np.hstack([zero, theta1]), np.hstack([zero, theta2]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("which", OBJECTIVES)
def test_every_method_reports_what_it_reached(method, which):
    system = random_system(np.random.default_rng(1), ALL, elements=(4, 3), users=3, noise=NOISE)
    bits = 1 if method in DISCRETE else None
    found = ris.design_phases(system, method=method, objective=which, **POWERS, bits=bits)
    np.testing.assert_allclose(found.value, objective(system, which, found.theta1, found.theta2), rtol=1e-9)
    np.testing.assert_allclose(found.history[-1], found.value, rtol=1e-9)
    np.testing.assert_allclose(
        found.rate, ris.closed_form_rate(system, found.theta1, found.theta2, **POWERS), rtol=1e-12
    )
    assert np.all(np.diff(found.history) >= 0)
    assert found.value <= found.bound * (1 + 1e-12)
    assert found.converged
    assert found.evaluations >= 1
    assert found.seconds > 0
    for theta in (found.theta1, found.theta2):
        assert np.abs(theta).max() <= np.pi
        assert bits is None or np.array_equal(theta, ris.quantize_phases(theta, bits))


@pytest.mark.parametrize(
    ("method", "which"), [*(("gradient", which) for which in OBJECTIVES), ("alternating", "sum_rate")]
)
def test_ascents_at_generic_geometry(method, which):
    """Above closed form, steering and random phases; no small move gains more than a slack."""
    rng = np.random.default_rng(2)
    system = scattered(rng, rows=3, users=3)
    simple = [
        ris.design_phases(system, method=name, objective=which, **POWERS)
        for name in ("closed_form", "steering", "random")
    ]
    tolerance, slack = (1e-7, 1e-4) if method == "gradient" else (1e-5, 1e-2)
    found = ris.design_phases(system, method=method, objective=which, **POWERS, tolerance=tolerance)
    assert found.converged
    # The ascents know covariances to 1e-7.
    assert found.value >= max(design.value for design in simple) * (1 - 1e-7)
    if which != "mean_gain":
        assert found.value > 1.2 * max(design.value for design in simple)
    assert found.value <= found.bound
    assert found.value > objective(system, which, *random_phases(rng, system, (500,))).max()
    for scale in (1e-3, 0.1):
        moves = [scale * rng.standard_normal((100, 9)) for _ in range(2)]
        moved = objective(system, which, found.theta1 + moves[0], found.theta2 + moves[1])
        assert moved.max() <= found.value * (1 + slack)


def test_the_maximum_has_no_slope():
    system = scattered(np.random.default_rng(3), rows=3, users=2)
    found = ris.design_phases(system, **POWERS, tolerance=1e-12)
    _, slopes = UserValues(system, POWERS).gradient([found.theta1[None], found.theta2[None]], np.ones_like)
    assert max(np.abs(slope).max() for slope in slopes) <= 1e-5 * found.value


def test_alternating_and_joint_ascent_of_one_surface_agree():
    """With a single surface in play there is nothing to take turns with."""
    system = random_system(np.random.default_rng(4), ("single1",), elements=(5, 2), users=2)
    found = [
        ris.design_phases(system, method=method, **POWERS, tolerance=1e-10)
        for method in ("gradient", "alternating")
    ]
    np.testing.assert_allclose(found[0].value, found[1].value, rtol=1e-6)


def test_the_closed_form_is_the_maximum_where_it_is_certified():
    """One user, isotropic correlation: the bounds are met, and no method moves away."""
    array = channels.UniformPlanarArray(rows=2, columns=3, spacing=0.25)
    R = channels.isotropic_correlation(array)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, channels.exponential_correlation(3, 0.5), R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop([1.0], R),
    )
    for method in METHODS:
        found = ris.design_phases(system, method=method, objective="mean_gain", **POWERS, bits=1)
        if method != "random":
            np.testing.assert_allclose(found.value, found.bound, rtol=1e-9)
    np.testing.assert_allclose(mean_gain_ceilings(system), found.bound, rtol=1e-12)


@pytest.mark.parametrize("which", OBJECTIVES)
@pytest.mark.parametrize(("bits", "elements"), [(1, (5, 4)), (2, (3, 3))])
def test_discrete_methods_against_enumeration(bits, elements, which):
    for case in range(3):
        rng = np.random.default_rng(100 + case)
        paths = [("double",), ("single1", "single2"), ALL][case % 3]
        noise = NOISE if case < 2 else (None, None)
        system = random_system(rng, paths, elements=elements, users=3, noise=noise, rank=2)
        best = exhaustive(system, which, bits).max()
        proved = ris.design_phases(system, method="branch_and_bound", objective=which, **POWERS, bits=bits)
        assert proved.converged
        np.testing.assert_allclose(proved.value, best, rtol=1e-9)
        np.testing.assert_allclose(proved.bound, best, rtol=1e-9)
        moved = ris.design_phases(system, method="coordinate", objective=which, **POWERS, bits=bits)
        rounded = ris.design_phases(system, objective=which, **POWERS, bits=bits)
        free = ris.design_phases(system, objective=which, **POWERS, starts=6)
        for found in (moved, rounded):
            assert 0.85 * best <= found.value <= best * (1 + 1e-9)
            for n, sign in itertools.product(range(sum(elements)), (1, -1)):
                theta = np.concatenate([found.theta1, found.theta2])
                theta[n] += sign * 2 * np.pi / 2**bits
                other = objective(system, which, theta[: elements[0]], theta[elements[0] :])
                assert other <= found.value * (1 + 1e-9)
        assert free.value >= best * (1 - 1e-3)


def test_discrete_methods_of_many_bits():
    """Sixteen levels from five values of the tables: the best level of a single element, by trying all."""
    system = random_system(np.random.default_rng(6), ("double",), elements=(2, 1), users=2, noise=NOISE)
    found = ris.design_phases(system, method="coordinate", **POWERS, bits=4)
    np.testing.assert_allclose(found.value, exhaustive(system, "sum_rate", 4).max(), rtol=1e-9)


def test_an_unfinished_search_says_so(monkeypatch):
    system = random_system(np.random.default_rng(7), ALL, elements=(5, 5), users=3)
    monkeypatch.setattr(ris.optimize, "NODES_PER_ITERATION", 1)
    found = ris.design_phases(
        system, method="branch_and_bound", objective="sum_rate", **POWERS, bits=1, max_iterations=5
    )
    assert not found.converged
    assert found.value < found.bound
    assert found.bound >= exhaustive(system, "sum_rate", 1).max()


@pytest.mark.parametrize("noise", [NOISE, (None, None)], ids=["noise", "no noise"])
def test_bounds_hold_below_every_node(noise):
    """Bounds of a node against all its leaves, and against continuous phases at the root."""
    rng = np.random.default_rng(8)
    for paths in (ALL, ("double",), ("direct", "single2")):
        system = random_system(rng, paths, elements=(3, 3), users=2, noise=noise)
        sizes = system.elements1, system.elements2
        gains = _GainBounds(system, np.exp(1j * np.pi / 2 * np.arange(4)))
        ceiling = RateCeiling.of(system, **POWERS)
        leaves = np.array(list(itertools.product(range(4), repeat=sum(sizes))))
        theta = np.pi / 2 * leaves
        reached = ris.closed_form_moments(system, theta[:, : sizes[0]], theta[:, sizes[0] :]).mean_gain
        for depth in range(sum(sizes) + 1):
            node = rng.integers(0, 4, (1, depth))
            below = np.all(leaves[:, :depth] == node, axis=1)
            bound = gains(node)[0]
            assert np.all(reached[below] <= bound * (1 + 1e-12))
            for which in ("sum_rate", "min_rate"):
                values = objective(system, which, theta[below, : sizes[0]], theta[below, sizes[0] :])
                assert values.max() <= ceiling(which, bound[None])[0]
        np.testing.assert_allclose(bound, reached[below][0], rtol=1e-12)  # at a leaf, exact
        free = random_phases(rng, system, (500,))
        assert np.all(ris.closed_form_moments(system, *free).mean_gain <= mean_gain_ceilings(system))


def test_the_best_shares():
    """Against a grid of all shares of three users."""
    c = np.array([0.05, 0.2, 1.0])
    p = np.linspace(0, 1, 401)
    one, two = np.meshgrid(p, p, indexing="ij")
    three = 1 - one - two
    for a in (0.0, 0.3):
        kept = three >= 0
        total = sum(
            np.log2(1 + q[kept] / (a * q[kept] + s)) for q, s in zip((one, two, three), c, strict=True)
        )
        bound = shared_sum(a, c[None])[0]
        assert total.max() <= bound * (1 + 1e-12)
        np.testing.assert_allclose(bound, total.max(), rtol=1e-3)


def test_a_batch_is_its_systems():
    """The same starts, designs to rounding, whatever the batch axes and its parts."""
    system = random_system(np.random.default_rng(9), ALL, elements=(4, 3), users=2, noise=NOISE, batch=(2, 2))
    for method, bits in (("gradient", None), ("alternating", None), ("coordinate", 1), ("steering", None)):
        many = ris.design_phases(system, method=method, **POWERS, bits=bits, seed=3)
        assert many.theta1.shape == (2, 2, 4)
        assert many.rate.shape == (2, 2, 2)
        assert (
            many.history.shape[:2] == many.value.shape == many.bound.shape == many.converged.shape == (2, 2)
        )
        for index, one in zip(np.ndindex(2, 2), ris.system.each_system(system), strict=True):
            alone = ris.design_phases(one, method=method, **POWERS, bits=bits, seed=3)
            # Turns go on until no system gains any more, so that alternation may go further in a batch.
            loose = 2e-2 if method == "alternating" else 1e-4
            np.testing.assert_allclose(many.value[index], alone.value, rtol=loose)
            np.testing.assert_allclose(many.bound[index], alone.bound, rtol=1e-9)


def test_a_batch_in_parts(monkeypatch):
    system = random_system(np.random.default_rng(9), ALL, elements=(4, 3), users=2, batch=(3,))
    whole = ris.design_phases(system, **POWERS)
    monkeypatch.setattr(ris.optimize, "PART_BYTES", 1)
    np.testing.assert_allclose(ris.design_phases(system, **POWERS).value, whole.value, rtol=1e-4)


def test_seeds_repeat():
    system = random_system(np.random.default_rng(10), ("double",), elements=(5, 5), users=4)
    found = [ris.design_phases(system, **POWERS, seed=seed) for seed in (1, channels.Stream(1), 2)]
    assert np.array_equal(found[0].theta1, found[1].theta1)
    assert np.array_equal(found[0].theta2, found[1].theta2)
    assert not np.array_equal(found[0].theta2, found[2].theta2)


def test_the_given_start_is_where_the_ascent_begins():
    rng = np.random.default_rng(11)
    system = random_system(rng, elements=(4, 4), users=3)
    theta1, theta2 = random_phases(rng, system)
    found = ris.design_phases(system, **POWERS, starts=0, theta1=theta1, theta2=theta2)
    np.testing.assert_allclose(found.history[0], objective(system, "sum_rate", theta1, theta2), rtol=1e-12)
    half = ris.design_phases(system, **POWERS, starts=0, theta1=theta1)
    best_mean = ris.optimal_phases(system)
    np.testing.assert_allclose(
        half.history[0], objective(system, "sum_rate", theta1, best_mean.theta2), rtol=1e-12
    )
    stopped = ris.design_phases(system, **POWERS, starts=0, theta1=theta1, max_iterations=1)
    assert stopped.history.size == 2
    assert not stopped.converged
    coarse = [ris.quantize_phases(theta, 1) for theta in (theta1, theta2)]
    rounded = ris.design_phases(
        system, **POWERS, starts=0, theta1=theta1, theta2=theta2, bits=1, max_iterations=1
    )
    assert rounded.value >= objective(system, "sum_rate", *coarse) * (1 - 1e-12)


def test_no_phases_and_no_power():
    system = random_system(np.random.default_rng(12), ("direct",))
    found = ris.design_phases(system, **POWERS, bits=1)
    assert found.theta1.size == found.theta2.size == 0
    np.testing.assert_allclose(found.value, objective(system, "sum_rate", None, None), rtol=1e-14)
    silent = ris.design_phases(random_system(np.random.default_rng(12)), power=0.0, noise_power=1.0)
    assert silent.value == silent.bound == 0.0
    assert silent.converged


def test_a_system_with_another_closed_form_is_refused(monkeypatch):
    """Should the moments learn of effects that the prepared forms leave out, no design may ignore them."""
    exact = ris.optimize.closed_form_moments

    def with_more(system, *theta):
        moments = exact(system, *theta)
        return dataclasses.replace(moments, mean_gain=1.01 * moments.mean_gain)

    monkeypatch.setattr(ris.optimize, "closed_form_moments", with_more)
    for which in OBJECTIVES:
        with pytest.raises(channels.InvalidArgumentError, match="system"):
            ris.design_phases(SINGLE, method="random", objective=which, **POWERS)


def test_ascent_of_a_function_with_kinks():
    """-max |sin((theta_i - c_i) / 2)|: maximum 0 at c, where it has no gradient; lanes end one by one."""
    c = np.array([0.3, -1.2, 2.0])

    def f(theta, rows):
        parts = -np.abs(np.sin((theta - c) / 2))
        worst = parts.argmin(axis=-1)
        inner = np.take_along_axis(theta - c, worst[..., None], axis=-1)[..., 0]
        slopes = np.zeros_like(theta)
        slope = -np.sign(np.sin(inner / 2)) * np.cos(inner / 2) / 2
        np.put_along_axis(slopes, worst[..., None], slope[..., None], axis=-1)
        value = parts.min(axis=-1)
        return value, slopes, value

    starts = c + np.random.default_rng(13).uniform(-1.5, 1.5, (6, 2, 3))
    found = ascend(f, starts, 1e-9, 400)
    assert found.merit.min() > -0.05
    for row in found.history:
        for lane in row:
            assert np.all(np.diff(lane) >= 0)


def test_results_are_read_only():
    found = ris.design_phases(random_system(np.random.default_rng(0)), **POWERS, starts=0)
    for array in (found.theta1, found.theta2, found.rate, found.history, found.value, found.bound):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1.0


SINGLE = random_system(np.random.default_rng(0))  # 2 and 3 elements


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"power": -1.0}, "power"),
        ({"power": [1.0, 2.0]}, "power"),
        ({"noise_power": 0.0}, "noise_power"),
        ({"method": "magic"}, "method"),
        ({"objective": "product"}, "objective"),
        ({"method": "coordinate"}, "bits"),
        ({"method": "branch_and_bound"}, "bits"),
        ({"seed": -1}, "seed"),
        ({"starts": -1}, "starts"),
        ({"theta1": np.zeros(3)}, "theta1"),
        ({"theta1": np.zeros((4, 2))}, "theta1"),
        ({"theta2": [0.0, np.nan, 0.0]}, "theta2"),
        ({"theta2": [0.0, 1j, 0.0]}, "theta2"),
        ({"bits": 0}, "bits"),
        ({"bits": 40}, "bits"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"system": None}, "system"),
    ],
)
def test_bad_input_names_the_argument(options, argument):
    options = {"system": SINGLE, **POWERS, **options}
    system = options.pop("system")
    with pytest.raises(channels.InvalidArgumentError) as caught:
        ris.design_phases(system, **options)
    assert caught.value.argument == argument
