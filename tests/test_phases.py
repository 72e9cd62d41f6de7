"""Phase design for the mean gain: the certificate, optimality, the ascent, and the simple phases."""

import itertools

import array_api_strict as xp
import numpy as np
import pytest
from systems import PATH_SETS, PATHS, covariance, random_phases, random_system

import channels
import ris
from ris import phases as design

SURFACE = channels.UniformPlanarArray(rows=4, columns=4, spacing=0.25)
AZIMUTHS, ELEVATIONS = np.array([0.7, -0.4, 0.1]), np.array([0.1, 0.3, -0.2])  # of three users


def scattering(azimuth, elevation, method="small_angle", spread=0.15):
    return channels.local_scattering_correlation(SURFACE, azimuth, elevation, spread, method)


def facing(inward, outward, users=3, noise=None, paths=PATHS):
    """A system whose surfaces see `inward` towards the BS and `outward` towards the users."""
    M = channels.exponential_correlation(3, 0.5)
    gains = np.linspace(0.5, 1.5, users)
    noise = noise or channels.VonMises(2.0)
    has = set(paths)
    # The hop between the surfaces leaves surface 1 outwards and reaches surface 2 from inwards.
    first = channels.Correlation(np.asarray(outward).reshape(-1, *inward.shape)[0])
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(0.8, M, inward) if has & {"single1", "double"} else None,
        bs_ris2=channels.Hop(1.3, M, inward) if "single2" in has else None,
        ris1_ris2=channels.Hop(0.7, first, inward) if "double" in has else None,
        ris1_user=channels.UserHop(gains, outward) if "single1" in has else None,
        ris2_user=channels.UserHop(gains[::-1], outward) if has & {"single2", "double"} else None,
        bs_user=channels.UserHop(gains, M) if "direct" in has else None,
        phase_noise1=noise,
        phase_noise2=noise,
    )


def mean_gain(system, theta1, theta2):
    return ris.closed_form_moments(system, theta1, theta2).mean_gain


def random_ascents(system, count, rng):
    """Phases at the ends of ascents of the summed mean gain from random ones, and their values."""
    gain = design.MeanGain(system, np.ones(system.users))
    start = tuple(np.exp(1j * theta.T) for theta in random_phases(rng, system, batch=(count,)))
    ends = design._ascended(gain, start, [0, 1], 1e-12)
    return [np.angle(v).T for v in ends], gain.value(ends)


ISOTROPIC = channels.isotropic_correlation(SURFACE)
EXPONENTIAL = channels.exponential_correlation(16, 0.6)
TURNED = channels.exponential_correlation(16, 0.6 * np.exp(0.8j))
IDENTITY = channels.Correlation(np.eye(16))
BLOCKS = channels.Correlation(np.kron(np.eye(4), channels.exponential_correlation(4, 0.7j)))
INWARD = scattering(-0.9, 0.2)
ONE_DIRECTION = scattering(np.full(3, 0.7), np.full(3, 0.1))
BROADSIDE = scattering(0.0, 0.0, "quadrature")
OBLIQUE = scattering(0.7, 0.1, "quadrature")
ALL_DIRECTIONS = scattering(AZIMUTHS, ELEVATIONS)

CERTIFIED = {
    "isotropic": (ISOTROPIC, ISOTROPIC),
    "isotropic and uncorrelated": (ISOTROPIC, IDENTITY),
    "uncorrelated": (IDENTITY, IDENTITY),
    "exponential": (EXPONENTIAL, EXPONENTIAL),
    "complex exponential": (EXPONENTIAL, TURNED),
    "groups": (BLOCKS, EXPONENTIAL),
    "scattering, users in one direction": (INWARD, ONE_DIRECTION),
    "scattering around broadside by quadrature": (BROADSIDE, BROADSIDE),
}
NOT_CERTIFIED = {
    "isotropic and exponential": (
        ISOTROPIC,
        EXPONENTIAL,
    ),  # the sinc is negative between 1/2 and 1 wavelength
    "isotropic and scattering": (ISOTROPIC, ONE_DIRECTION),
    "scattering, users in different directions": (INWARD, ALL_DIRECTIONS),
    "oblique scattering by quadrature": (INWARD, OBLIQUE),
    "random complex": (
        channels.Correlation(covariance(np.random.default_rng(1), 16)),
        channels.Correlation(covariance(np.random.default_rng(2), 16, batch=(3,))),
    ),
}


@pytest.mark.parametrize("sides", CERTIFIED.values(), ids=CERTIFIED.keys())
@pytest.mark.parametrize("noise", [channels.NoNoise(), channels.VonMises(1.0)], ids=["no noise", "noise"])
def test_certified_phases_beat_all_others(sides, noise):
    """For every user alone, 300 random phases and 50 random-start ascents stay below."""
    rng = np.random.default_rng(3)
    system = facing(*sides, noise=noise)
    found = ris.optimal_phases(system)
    assert found.certified
    assert found.gap <= 1e-9
    assert found.statement.startswith("Globally optimal for the mean gain of all users")
    best = mean_gain(system, *found)
    assert np.all(mean_gain(system, *random_phases(rng, system, batch=(300,))) <= best * (1 + 1e-12))
    ends, values = random_ascents(system, 50, rng)
    assert np.all(values <= best.sum() * (1 + 1e-12))
    assert np.all(mean_gain(system, *ends) <= best * (1 + 1e-12))


@pytest.mark.parametrize("sides", NOT_CERTIFIED.values(), ids=NOT_CERTIFIED.keys())
def test_designs_without_closed_form_are_near_the_best_of_many_ascents(sides):
    """Within 2 % of the best of 200 random starts, and that one within the bound that is proved."""
    system = facing(*sides)
    found = ris.optimal_phases(system)
    assert not found.certified
    assert found.statement.startswith("A local optimum of the mean gain of all users in sum")
    value = mean_gain(system, *found).sum()
    _, values = random_ascents(system, 200, np.random.default_rng(4))
    assert value >= 0.98 * values.max()
    assert values.max() <= value / (1 - found.gap) * (1 + 1e-12)
    others = mean_gain(system, *random_phases(np.random.default_rng(5), system, batch=(300,))).sum(axis=-1)
    assert others.max() <= value


def test_quadrature_scattering_is_close_to_certified():
    """The curvature that small angles leave out costs the certificate, and little gain."""
    assert ris.optimal_phases(facing(INWARD, OBLIQUE)).gap <= 2e-3


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_equal_phases_for_isotropic_correlation_on_any_paths(paths):
    system = facing(ISOTROPIC, ISOTROPIC, paths=paths)
    found = ris.optimal_phases(system)
    assert found.certified
    assert [theta.tolist() for theta in found] == [[0.0] * system.elements1, [0.0] * system.elements2]


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_the_objective_is_the_mean_gain_of_the_moments(paths):
    rng = np.random.default_rng(6)
    system = random_system(
        rng, paths, elements=(4, 3), users=3, noise=(channels.VonMises(1.0), channels.UniformNoise(1.0))
    )
    chosen = np.array([1.0, 0.0, 1.0])
    gain = design.MeanGain(system, chosen)
    theta = random_phases(rng, system)
    v = tuple(np.exp(1j * t) for t in theta)
    np.testing.assert_allclose(gain.value(v), chosen @ mean_gain(system, *theta), rtol=1e-12)
    assert gain.ceiling(v) >= gain.value(v)


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_the_ascent_never_loses_gain(paths):
    rng = np.random.default_rng(7)
    system = random_system(rng, paths, elements=(6, 5), users=3, noise=(None, channels.VonMises(2.0)))
    gain = design.MeanGain(system, np.ones(3))
    v = tuple(np.exp(1j * theta.T) for theta in random_phases(rng, system, batch=(20,)))
    first = last = gain.value(v)
    for step in range(120):
        v = design._stepped(gain, v, step % 2)
        before, last = last, gain.value(v)
        assert np.all(last >= before * (1 - 1e-13))
    theta = [np.angle(phasors).T for phasors in v]
    np.testing.assert_allclose(last, mean_gain(system, *theta).sum(axis=-1), rtol=1e-12)
    assert np.all(last > first) or paths == ("direct",)


def test_certified_phases_beat_a_fine_grid():
    """Three and two elements: every phase on a grid of 5 degrees, for each user."""
    line3, line2 = (channels.UniformLinearArray(n, 0.3) for n in (3, 2))
    at1, at2 = (
        [channels.local_scattering_correlation(line, a, 0.0, 0.3, "small_angle") for a in (-0.6, 1.0)]
        for line in (line3, line2)
    )
    M = channels.exponential_correlation(2, 0.4)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, M, at1[0]),
        bs_ris2=channels.Hop(0.6, M, at2[0]),
        ris1_ris2=channels.Hop(0.7, at1[1], at2[0]),
        ris1_user=channels.UserHop([1.0, 0.3], at1[1]),
        ris2_user=channels.UserHop([0.4, 1.2], at2[1]),
        phase_noise2=channels.VonMises(3.0),
    )
    found = ris.optimal_phases(system)
    assert found.certified
    best = mean_gain(system, *found)
    # The mean gain does not depend on a common phase of a surface: the first element stays at zero.
    grid = np.deg2rad(np.arange(0.0, 360.0, 5.0))
    first, second, third = (g.ravel() for g in np.meshgrid(grid, grid, grid, indexing="ij"))
    highest = np.zeros(2)
    for part in np.array_split(np.arange(first.size), 40):
        zero = np.zeros(part.size)
        theta1, theta2 = np.stack([zero, first[part], second[part]], -1), np.stack([zero, third[part]], -1)
        highest = np.maximum(highest, mean_gain(system, theta1, theta2).max(axis=0))
    assert np.all(highest <= best * (1 + 1e-12))
    # The grid has a point within 2.5 degrees of each phase of the optimum.
    assert np.all(highest >= best * np.cos(np.deg2rad(5.0)) ** 2)


def test_local_scattering_has_the_steering_phases():
    """Small angles around a_in and a_out: c = conj(a_out) o a_in at unit modulus, up to a common phase."""
    theta1, theta2 = ris.optimal_phases(facing(INWARD, ONE_DIRECTION))
    steering = SURFACE.steering(-0.9, 0.2) * SURFACE.steering(0.7, 0.1).conj()
    for theta in (theta1, theta2):
        offset = np.exp(1j * theta) * steering.conj()
        np.testing.assert_allclose(offset, offset[0], atol=1e-12)


def test_phases_of_uncorrelated_groups_are_free():
    system = facing(BLOCKS, EXPONENTIAL)
    theta1, theta2 = ris.optimal_phases(system)
    assert "free common phase" in ris.optimal_phases(system).statement
    assert "free common phase" not in ris.optimal_phases(facing(EXPONENTIAL, TURNED)).statement
    moved = theta1 + np.repeat([0.0, 1.0, -2.0, 0.5], 4)
    np.testing.assert_allclose(
        mean_gain(system, moved, theta2), mean_gain(system, theta1, theta2), rtol=1e-12
    )


def test_users_without_gain_do_not_matter():
    def system(gains):
        hop = channels.Hop(1.0, np.eye(2), INWARD)
        return ris.DoubleRIS(bs_ris1=hop, ris1_user=channels.UserHop(gains, ALL_DIRECTIONS))

    assert ris.optimal_phases(system([0.0, 2.0, 0.0])).certified
    assert not ris.optimal_phases(system([0.0, 2.0, 1e-6])).certified


def test_the_certificate_speaks_for_every_user_not_for_their_sum():
    """Equal phases have the largest sum, and yet the smallest gain of the second user."""
    sides = [[[1.0, 0.8], [0.8, 1.0]], [[1.0, -0.3], [-0.3, 1.0]]]
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(2), np.ones((2, 2))), ris1_user=channels.UserHop([1.0, 1.0], sides)
    )
    found = ris.optimal_phases(system)
    np.testing.assert_allclose(np.ptp(found.theta1), 0.0, atol=1e-6)
    assert found.gap <= 1e-12
    assert not found.certified
    assert [ris.steered_phases(system, user).certified for user in (0, 1)] == [True, True]


def test_a_surface_on_no_path_keeps_zero_phases():
    system = ris.DoubleRIS(
        bs_user=channels.UserHop([1.0, 1.0], np.eye(2)), ris1_user=channels.UserHop([1.0, 1.0], np.eye(5))
    )
    found = ris.optimal_phases(system)
    assert found.certified
    assert found.theta1.tolist() == [0.0] * 5
    assert found.theta2.size == 0


def test_steered_phases_are_optimal_for_their_user():
    system = facing(INWARD, ALL_DIRECTIONS, paths=("single1", "direct"))
    shared = mean_gain(system, *ris.optimal_phases(system))
    for user in range(3):
        found = ris.steered_phases(system, user)
        assert found.certified
        assert f"user {user}" in found.statement
        gains = mean_gain(system, *found)
        assert gains[user] > shared[user]
        rng = np.random.default_rng(8)
        others = mean_gain(system, *random_phases(rng, system, batch=(300,)))[:, user]
        assert others.max() < gains[user]


def test_gains_do_not_change_the_phases_of_one_path():
    """Path losses of 1e-13 as of 1."""
    sides = channels.Correlation(covariance(np.random.default_rng(9), 6, batch=(3,)))
    hop = np.eye(2), covariance(np.random.default_rng(10), 6)
    near, far = (
        ris.optimal_phases(
            ris.DoubleRIS(bs_ris1=channels.Hop(g, *hop), ris1_user=channels.UserHop([g] * 3, sides))
        )
        for g in (1.0, 1e-13)
    )
    assert not near.certified
    # Up to a common phase, of which nothing depends.
    turns = np.exp(1j * (far.theta1 - near.theta1))
    np.testing.assert_allclose(turns, turns[0], atol=1e-4)
    np.testing.assert_allclose(far.gap, near.gap, rtol=1e-9)


def test_uniform_and_random_phases():
    assert ris.uniform_phases(3).tolist() == [0.0, 0.0, 0.0]
    assert ris.uniform_phases(0).shape == ris.random_phases(0, 1).shape == (0,)
    n = 100_000
    theta = ris.random_phases(n, 11)
    assert theta.shape == (n,)
    assert theta.min() >= -np.pi
    assert theta.max() < np.pi
    for order in (1, 2, 3):  # |mean of n unit phasors|^2 n is exponential: 40 has probability 4e-18
        assert n * np.abs(np.exp(1j * order * theta).mean()) ** 2 < 40
    assert np.array_equal(theta[:10], ris.random_phases(10, 11))
    assert np.array_equal(theta[:10], ris.random_phases(10, channels.Stream(11)))
    apart = [ris.random_phases(10, channels.Stream(11, name)) for name in ("surface 1", "surface 2")]
    assert not np.array_equal(*apart)


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 32])
def test_quantized_phases_are_the_nearest_levels(bits):
    theta = np.random.default_rng(12).uniform(-20.0, 20.0, (7, 5))
    got = ris.quantize_phases(theta, bits)
    step = 2 * np.pi / 2**bits
    assert np.array_equal(got, np.rint(got / step) * step)
    assert got.min() >= -np.pi
    assert got.max() < np.pi
    error = np.angle(np.exp(1j * (got - theta)))
    assert np.abs(error).max() <= step / 2 + 1e-14
    assert np.array_equal(ris.quantize_phases(got, bits), got)


def test_quantization_ties_go_to_even_levels():
    quarter = np.pi / 2
    assert ris.quantize_phases([0.0, quarter, -quarter, np.pi], 1).tolist() == [0.0, 0.0, 0.0, -np.pi]
    halves = np.array([0.5, 1.5, -0.5, -1.5]) * quarter
    assert ris.quantize_phases(halves, 2).tolist() == [0.0, -np.pi, 0.0, -np.pi]
    assert ris.quantize_phases(0.3, 1) == 0.0


BATCH = random_system(np.random.default_rng(0), ("direct", "single1"), batch=(2,))
SINGLE = random_system(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: ris.optimal_phases(BATCH), "system"),
        (lambda: ris.optimal_phases("double"), "system"),
        (lambda: ris.steered_phases(BATCH, 0), "system"),
        (lambda: ris.steered_phases(SINGLE, 2), "user"),
        (lambda: ris.steered_phases(SINGLE, -1), "user"),
        (lambda: ris.steered_phases(SINGLE, 0.0), "user"),
        (lambda: ris.uniform_phases(-1), "elements"),
        (lambda: ris.uniform_phases(2.0), "elements"),
        (lambda: ris.random_phases(-1, 1), "elements"),
        (lambda: ris.random_phases(3, -1), "seed"),
        (lambda: ris.random_phases(3, None), "seed"),
        (lambda: ris.quantize_phases([0.0], 0), "bits"),
        (lambda: ris.quantize_phases([0.0], 33), "bits"),
        (lambda: ris.quantize_phases([0.0], 1.5), "bits"),
        (lambda: ris.quantize_phases([np.nan], 1), "theta"),
        (lambda: ris.quantize_phases([1j], 1), "theta"),
    ],
)
def test_bad_input_names_the_argument(call, argument):
    with pytest.raises(channels.InvalidArgumentError) as caught:
        call()
    assert caught.value.argument == argument


def test_other_array_libraries_are_refused():
    system = ris.DoubleRIS(bs_user=channels.UserHop(xp.ones(2), xp.eye(2)))
    with pytest.raises(channels.InvalidArgumentError, match="bs_user"):
        ris.optimal_phases(system)


def test_designs_iterate_to_both_surfaces_and_are_read_only():
    found = ris.optimal_phases(SINGLE)
    theta1, theta2 = found
    assert theta1 is found.theta1
    assert theta2 is found.theta2
    for theta in itertools.chain(found, ris.steered_phases(SINGLE, 1)):
        with pytest.raises(ValueError, match="read-only"):
            theta[0] = 1.0
