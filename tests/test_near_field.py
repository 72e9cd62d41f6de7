"""Spherical waves: by hand, far away, over large apertures, and their degrees of freedom."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.constants import c
from scipy.integrate import quad
from scipy.special import fresnel

from channels import (
    ArbitraryArray,
    FreeSpace,
    InvalidArgumentError,
    LogDistance,
    NearFieldWarning,
    Node,
    Orientation,
    SurfaceElement,
    UniformLinearArray,
    UniformPlanarArray,
    UsersAt,
    effective_degrees_of_freedom,
    fraunhofer_distance_m,
    line_of_sight,
    sightline,
    spherical_steering,
    spherical_wave,
)
from ris import HopLaw, Scenario, focusing_phases

F = c / 0.1  # a wavelength of 10 cm


def facing(distance, rows=4, columns=4, spacing=0.5, element=None):
    """Two surfaces that face each other along x."""
    return (
        Node((0, 0, 0), UniformPlanarArray(rows, columns, spacing), element),
        Node((distance, 0, 0), UniformPlanarArray(rows, columns, spacing, Orientation(math.pi)), element),
    )


def random_pair(rng, distance, element=None):
    """Two surfaces of any orientation; elements look at each other."""
    u = rng.standard_normal(3)
    u /= np.linalg.norm(u)
    yaw, pitch = math.atan2(u[1], u[0]), -math.asin(u[2])

    def surface(place, yaw, pitch):
        turned = Orientation(yaw + rng.uniform(-0.5, 0.5), pitch + rng.uniform(-0.5, 0.5), rng.uniform(-3, 3))
        return Node(place, UniformPlanarArray(3, 5, (0.4, 0.6), turned), element)

    start = rng.uniform(-5, 5, 3)
    return surface(start, yaw, pitch), surface(start + distance * u, yaw + math.pi, -pitch)


def test_steering_by_hand():
    # Elements 0.3 m to both sides of the centre, a point 0.4 m in front: 0.5 m from either.
    node = Node((1, 2, 3), UniformLinearArray(2, 6.0))
    expected = 0.4 / 0.5 * np.exp(-2j * np.pi * 0.1 / 0.1)
    assert_allclose(spherical_steering(node, (1.4, 2, 3), F), [expected] * 2, rtol=1e-12)
    # Along the line the nearer element answers earlier: 0.5 - 0.3 and 0.5 + 0.3 m, three waves either way.
    along = spherical_steering(node, [(1, 2.5, 3), (1, 2.525, 3)], F)
    assert_allclose(along[0], [0.5 / 0.8, 0.5 / 0.2], rtol=1e-12)
    assert_allclose(np.angle(along[1] / node.array.steering(math.pi / 2)), 0, atol=1e-12)


def test_wave_against_loops_over_elements():
    rng = np.random.default_rng(1)
    left, right = random_pair(rng, 0.9, SurfaceElement(0.2, 1.5))
    H = spherical_wave(left, right, F)
    places = [node.position_m + 0.1 * node.array.positions for node in (left, right)]
    normals = [node.array.orientation.matrix @ (1, 0, 0) for node in (left, right)]
    d = math.dist(left.position_m, right.position_m)
    for n, p in enumerate(places[0]):
        for m, q in enumerate(places[1]):
            length = math.dist(p, q)
            cosines = np.dot(normals[0], q - p) / length, np.dot(normals[1], p - q) / length
            gains = [4 * math.pi * 0.2 * max(cosine, 0) ** 1.5 for cosine in cosines]
            expected = d / length * math.sqrt(gains[0] * gains[1]) * np.exp(-20j * math.pi * (length - d))
            assert_allclose(H[n, m], expected, rtol=1e-11)


def test_there_and_back_is_the_same_channel():
    left, right = random_pair(np.random.default_rng(2), 1.3, SurfaceElement(0.25))
    assert_allclose(spherical_wave(left, right, F), spherical_wave(right, left, F).T, rtol=1e-12)


def test_a_single_antenna_at_the_other_end_is_steering():
    left, right = random_pair(np.random.default_rng(3), 0.8)
    antenna = Node(right.position_m, ArbitraryArray([[0.0, 0.0, 0.0]]))
    expected = spherical_steering(left, right.position_m, F)
    assert_allclose(spherical_wave(left, antenna, F)[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_far_away_it_is_the_product_of_two_steering_vectors(seed):
    rng = np.random.default_rng(seed)
    arrays = [node.array for node in random_pair(rng, 1.0)]
    reach = fraunhofer_distance_m(F, *arrays)
    worst = []
    for share in (1, 10, 100):
        left, right = random_pair(np.random.default_rng(seed), share * reach, SurfaceElement(0.25))
        line = sightline(left.position_m, right.position_m)
        a, b = (
            node.array.steering(line.departure_azimuth, line.departure_elevation) for node in (left, right)
        )
        H = spherical_wave(left, right, F)
        worst.append(abs(np.angle(H * np.conj(np.outer(a, b.conj())))).max())
        assert worst[-1] < np.pi / 8 / share
        gain = left.element_gain(line.departure_azimuth, line.departure_elevation)
        gain *= right.element_gain(line.arrival_azimuth, line.arrival_elevation)
        assert_allclose(abs(H), np.sqrt(gain), rtol=1 / share)
    assert_allclose(np.divide(worst[1:], worst[:-1]), 0.1, rtol=0.1)


def test_the_bound_is_reached_by_surfaces_that_face_each_other():
    d = fraunhofer_distance_m(F, *(node.array for node in facing(1.0)))
    left, right = facing(d)
    off = np.angle(spherical_wave(left, right, F))  # all steering phases are zero
    assert_allclose(abs(off).max(), np.pi / 8, rtol=1e-3)


def test_line_of_sight_is_chosen_by_the_distance():
    element = SurfaceElement(0.25)
    d = fraunhofer_distance_m(F, *(node.array for node in facing(1.0)))
    near, far = facing(0.999 * d, element=element), facing(1.001 * d, element=element)
    assert_array_equal(line_of_sight(*near, F), spherical_wave(*near, F))
    assert np.linalg.matrix_rank(line_of_sight(*far, F)) == 1
    assert_allclose(line_of_sight(*far, F), np.pi, rtol=1e-12)  # 4 pi area = pi at either end
    assert_allclose(line_of_sight(*far, F), spherical_wave(*far, F), atol=np.pi * np.pi / 8)


@pytest.mark.parametrize("distance", [0.05, 0.4, 3.0])
def test_a_plate_takes_its_share_of_the_solid_angle(distance):
    # Of the power of an isotropic source over the middle of a square of side W, the projected areas of small
    # elements take 1 / pi atan(W^2 / (4 d sqrt(d^2 + W^2 / 2))), its share of the sphere, at any distance.
    spacing, side = 0.05, 80
    node = Node((0, 0, 0), UniformPlanarArray(side, side, spacing), SurfaceElement(spacing**2))
    W = 0.1 * spacing * side
    answers = spherical_steering(node, (distance, 0, 0), F)
    share = np.sum(abs(answers) ** 2) * (0.1 / (4 * np.pi * distance)) ** 2
    expected = math.atan(W**2 / (4 * distance * math.sqrt(distance**2 + W**2 / 2))) / np.pi
    assert_allclose(share, expected, rtol=1e-3)


# --- focusing


def test_focusing_adds_all_amplitudes():
    rng = np.random.default_rng(4)
    surface, _ = random_pair(rng, 1.0)
    source = surface.position_m + np.array([0.7, 0.2, -0.3])
    targets = surface.position_m + rng.uniform(0.2, 1, (6, 3))
    incoming, outgoing = spherical_steering(surface, source, F), spherical_steering(surface, targets, F)
    theta = focusing_phases(surface, source, targets, F)
    assert theta.shape == (6, 15)
    reached = abs(np.sum(incoming * np.exp(1j * theta) * outgoing, axis=-1))
    assert_allclose(reached, np.sum(abs(incoming) * abs(outgoing), axis=-1), rtol=1e-12)
    moved = theta + rng.normal(0, 0.3, theta.shape)
    assert np.all(abs(np.sum(incoming * np.exp(1j * moved) * outgoing, axis=-1)) < 0.99 * reached)


def test_focusing_far_away_is_steering():
    surface, _ = random_pair(np.random.default_rng(5), 1.0)
    ends = surface.position_m + 1e5 * np.array([(1, 2, 0.5), (-1, 0.3, 0.7)])
    lines = [sightline(surface.position_m, end) for end in ends]
    c1, c2 = (surface.array.steering(line.departure_azimuth, line.departure_elevation) for line in lines)
    off = np.exp(1j * focusing_phases(surface, *ends, F)) * c1 * c2
    assert_allclose(off, np.ones(15), atol=1e-3)


@pytest.mark.parametrize("distance", [20.0, 30.0, 60.0, 200.0])
def test_plane_phases_lose_what_the_fresnel_integrals_say(distance):
    # The mean of exp(-j pi (x^2 + y^2) / (lambda d)) over a square of side W has the modulus
    # (C(s)^2 + S(s)^2) / s^2, s = W / sqrt(2 lambda d).
    node = Node((0, 0, 0), UniformPlanarArray(100, 100, 0.25))
    answers = spherical_steering(node, (distance, 0, 0), F)
    s = 2.5 / math.sqrt(2 * 0.1 * distance)
    S, C = fresnel(s)
    assert_allclose(abs(np.mean(answers)) ** 2, ((C**2 + S**2) / s**2) ** 2, atol=2e-3)


# --- degrees of freedom


def test_degrees_of_freedom_of_known_matrices():
    assert_allclose(effective_degrees_of_freedom(np.outer([1, 2j, 3], [1, 1])), 1, rtol=1e-12)
    assert_allclose(effective_degrees_of_freedom(np.eye(4, 6)), 4, rtol=1e-12)
    assert_allclose(effective_degrees_of_freedom([np.diag([2.0, 1.0]), np.eye(2)]), [25 / 17, 2], rtol=1e-12)


@pytest.mark.parametrize("modes", [0.3, 1.0, 4.0, 12.0])
def test_degrees_of_freedom_of_two_lines(modes):
    """Parallel lines of length L, d apart, have the singular functions of a sinc kernel if d >> L.

    sum s^4 over (sum s^2)^2 is then the mean of sinc^2(n (x - y)) over the unit square, n = L^2 / (lambda d).
    """
    elements, distance = 200, 100.0
    length = math.sqrt(modes * 0.1 * distance)
    spacing = length / elements / 0.1
    left = Node((0, 0, 0), UniformLinearArray(elements, spacing))
    right = Node((distance, 0, 0), UniformLinearArray(elements, spacing))
    mean = quad(lambda t: 2 * (1 - t) * np.sinc(modes * t) ** 2, 0, 1, limit=200)[0]
    assert_allclose(effective_degrees_of_freedom(spherical_wave(left, right, F)), 1 / mean, rtol=0.02)


# --- scenarios


def near(distance, law=None, **hop):
    law = law or FreeSpace(F)
    return Scenario(
        bs=Node((0, 0, 0), UniformLinearArray(2, 0.5)),
        users=UsersAt([[distance, 0, 0], [50, 0, 0]]),
        bs_user=HopLaw(law, **hop),
        bandwidth_hz=1e6,
        noise_figure_db=0.0,
    )


def test_a_scenario_knows_its_near_field():
    # Two elements 5 cm apart at 10 cm: 2 * 0.05^2 / 0.1 = 5 cm.
    drawn = near(0.049, left_spread=0.1).large_scale(3, seed=1).hops["bs_user"]
    assert_array_equal(drawn.near_field, [[True, False]] * 3)
    assert not near(0.051).large_scale(1, seed=1).hops["bs_user"].near_field.any()
    unknown = near(0.049, LogDistance(2.0, 40.0, reference_m=0.01))
    assert unknown.frequency_hz is None
    assert not unknown.large_scale(1, seed=1).hops["bs_user"].near_field.any()


def test_local_scattering_in_the_near_field_warns():
    with pytest.warns(NearFieldWarning, match="bs_user is shorter than 0.05 m, its Fraunhofer distance"):
        near(0.04, left_spread=0.1).drops(3, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near(0.06, left_spread=0.1).drops(3, seed=1)  # far enough
        near(0.04).drops(3, seed=1)  # isotropic: no directions


def friis(positions, places):
    """Free-space amplitudes between isotropic antennas, shape (n, m)."""
    lengths = np.linalg.norm(places - positions[:, None], axis=-1)
    return 0.1 / (4 * np.pi * lengths) * np.exp(-20j * np.pi * lengths)


def test_lines_of_sight_of_users_are_those_of_every_element():
    scenario = near(0.049, line_of_sight=True, shadowing=False, k_factor_db=10.0)
    hop = scenario.drops(2, seed=1).bs_user
    assert hop.mean.shape == (2, 2, 2)
    exact = friis(0.1 * scenario.bs.array.positions, scenario.users.positions_m)
    share = np.sqrt(10 / 11)
    assert_allclose(hop.mean[0, 0], share * exact[:, 0], rtol=1e-11)
    # 50 m away, a plane wave: off by a phase of pi 0.025^2 / (0.1 50).
    assert_allclose(abs(hop.mean[0, 1] / exact[:, 1] / share - 1), 3.93e-4, rtol=1e-2)
    assert_array_equal(hop.mean[1], hop.mean[0])


@pytest.mark.parametrize("distance", [1.0, 5.0])  # the Fraunhofer distance is 3.6 m
def test_lines_of_sight_between_arrays_are_those_of_every_pair(distance):
    element = SurfaceElement(0.25)
    ris1, bs = facing(distance, element=element)
    scenario = Scenario(
        bs=bs,
        ris1=ris1,
        users=UsersAt([[2.0, 1.0, 0.0]]),
        bs_ris1=HopLaw(FreeSpace(F), shadowing=False, k_factor_db=0.0),
        ris1_user=HopLaw(FreeSpace(F)),
        bandwidth_hz=1e6,
        noise_figure_db=0.0,
    )
    assert scenario.large_scale(1, seed=1).hops["bs_ris1"].near_field == (distance < 3.6)
    mean = scenario.drop(seed=1).bs_ris1.mean
    places = [node.position_m + 0.1 * node.array.positions for node in (bs, ris1)]
    lengths = np.linalg.norm(places[1] - places[0][:, None], axis=-1)
    exact = friis(*places) * np.pi * distance / lengths / np.sqrt(2)  # gains pi cos t, half of the power
    if distance < 3.6:
        assert_allclose(mean.matrix, exact, atol=1e-12 * abs(exact).max())
        assert mean.rank > 1
    else:
        assert_allclose(mean.matrix, exact, atol=np.pi / 8 * abs(exact).max())
        assert mean.rank == 1


def test_no_line_of_sight_behind_an_element():
    node = Node((0, 0, 0), UniformPlanarArray(2, 2, 0.5), SurfaceElement(0.25))
    changes = {"bs": node, "users": UsersAt([[-0.04, 0, 0]])}
    scenario = dataclasses.replace(near(1.0, line_of_sight=True, k_factor_db=3.0), **changes)
    assert_array_equal(scenario.drop(seed=1).bs_user.mean, np.zeros((1, 4)))


# --- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spherical_steering(facing(1.0)[0], (1, 2), F), "points_m: expected shape"),
        (lambda: spherical_steering(facing(1.0)[0], (0, 0, 0), F), "points_m: expected points away"),
        (lambda: spherical_steering(facing(1.0)[0], (1, 0, 0), 0.0), "frequency_hz: expected"),
        (lambda: spherical_wave(*facing(1.0), -F), "frequency_hz: expected"),
        (
            lambda: effective_degrees_of_freedom(np.zeros((2, 2))),
            "matrix: expected matrices that are not zero",
        ),
        (lambda: effective_degrees_of_freedom([1.0, 2.0]), r"matrix: expected shape \(..., n, m\)"),
        (lambda: effective_degrees_of_freedom([[np.nan]]), "matrix: expected finite"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InvalidArgumentError, match=words):
        call()
