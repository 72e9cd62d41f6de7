"""Nodes, lines of sight, near field and places of users."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from channels import (
    ArbitraryArray,
    InvalidArgumentError,
    Node,
    Orientation,
    SurfaceElement,
    UniformLinearArray,
    UniformPlanarArray,
    UsersAt,
    UsersInDisc,
    UsersInRectangle,
    fraunhofer_distance_m,
    is_near_field,
    sightline,
)
from channels.arrays import direction

LINE = UniformLinearArray(2, 0.5)


@pytest.mark.parametrize(
    ("end", "distance", "departure", "arrival"),
    [
        ((3, 0, 0), 3, (0, 0), (np.pi, 0)),
        ((0, 2, 0), 2, (np.pi / 2, 0), (-np.pi / 2, 0)),
        ((1, 1, 0), np.sqrt(2), (np.pi / 4, 0), (-3 * np.pi / 4, 0)),
        ((1, 0, 1), np.sqrt(2), (0, np.pi / 4), (np.pi, -np.pi / 4)),
        ((3, 4, -5), np.sqrt(50), (np.arctan2(4, 3), -np.pi / 4), (np.arctan2(-4, -3), np.pi / 4)),
        ((0, 0, 7), 7, (0, np.pi / 2), (0, -np.pi / 2)),
    ],
)
def test_sightline_of_known_placements(end, distance, departure, arrival):
    line = sightline((1.0, 2.0, 3.0), np.add(end, (1.0, 2.0, 3.0)))
    assert_allclose(line.distance_m, distance, rtol=1e-15)
    assert_allclose((line.departure_azimuth, line.departure_elevation), departure, atol=1e-15)
    azimuth, elevation = arrival
    assert_allclose(np.abs(line.arrival_azimuth), abs(azimuth), atol=1e-15)
    assert_allclose(direction(line.arrival_azimuth), direction(azimuth), atol=1e-15)
    assert_allclose(line.arrival_elevation, elevation, atol=1e-15)


def test_sightline_leads_from_start_to_end_in_a_batch():
    rng = np.random.default_rng(1)
    start, end = rng.normal(size=(5, 1, 3)), rng.normal(size=(4, 3))
    line = sightline(start, end)
    assert line.distance_m.shape == (5, 4)
    forth = direction(line.departure_azimuth, line.departure_elevation)
    back = direction(line.arrival_azimuth, line.arrival_elevation)
    assert_allclose(start + line.distance_m[..., None] * forth, np.broadcast_to(end, (5, 4, 3)), atol=1e-14)
    assert_allclose(back, -forth, atol=1e-15)
    one = sightline(start[2, 0], end[3])
    for name in ("distance_m", "departure_azimuth", "arrival_elevation"):
        assert getattr(one, name) == getattr(line, name)[2, 3]


def test_element_gain_turns_with_the_array():
    element = SurfaceElement(area=0.25)
    node = Node((0, 0, 0), UniformPlanarArray(2, 2, 0.5, Orientation(yaw=np.pi / 2)), element)
    assert_allclose(node.element_gain(np.pi / 2, 0.0), np.pi, rtol=1e-15)
    assert_allclose(node.element_gain(np.pi / 2, np.pi / 3), np.pi / 2, rtol=1e-14)
    assert_allclose(node.element_gain(np.pi / 2 + np.pi / 3, 0.0), np.pi / 2, rtol=1e-14)
    assert_array_equal(node.element_gain([-np.pi / 2, -0.1], 0.0), [0, 0])
    assert_array_equal(Node((0, 0, 0), LINE).element_gain([0.0, 2.0], 1.0), [1, 1])


def test_distances_and_element_gains_survive_rigid_motion():
    rng = np.random.default_rng(2)
    for _ in range(20):
        before = Rotation.random(rng=rng)
        motion, shift = Rotation.random(rng=rng), rng.normal(size=3)
        here, there = rng.normal(size=3), rng.normal(size=3)
        gains, distances = [], []
        for turn, a, b in (
            (before, here, there),
            (motion * before, motion.apply(here) + shift, motion.apply(there) + shift),
        ):
            array = UniformPlanarArray(2, 2, 0.5, Orientation(*turn.as_euler("ZYX")))
            line = sightline(a, b)
            node = Node(a, array, SurfaceElement(0.1, 2.0))
            gains.append(node.element_gain(line.departure_azimuth, line.departure_elevation))
            distances.append(line.distance_m)
        assert_allclose(*gains, atol=1e-13)
        assert_allclose(*distances, rtol=1e-13)


def test_fraunhofer_distance_by_hand():
    wavelength = 299792458 / 3e9
    line = UniformLinearArray(11, 0.5)  # five wavelengths from end to end
    assert_allclose(fraunhofer_distance_m(3e9, line), 50 * wavelength, rtol=1e-14)
    assert_allclose(fraunhofer_distance_m(3e9, line, line), 200 * wavelength, rtol=1e-14)
    square = UniformPlanarArray(11, 11, 0.5)  # its diagonal counts
    assert_allclose(fraunhofer_distance_m(3e9, square), 100 * wavelength, rtol=1e-14)
    assert fraunhofer_distance_m(3e9, UniformLinearArray(1, 0.5)) == 0


def test_the_phase_error_of_a_plane_wave_is_an_eighth_of_pi_at_the_fraunhofer_distance():
    line = UniformLinearArray(81, 0.5)
    distance = fraunhofer_distance_m(299792458.0, line, line)  # in wavelengths of 1 m
    across = np.hypot(distance, 40.0)  # from one end of an array to the other end of the other
    assert_allclose(2 * np.pi * (across - distance), np.pi / 8, rtol=1e-4)


def test_near_field_is_what_is_nearer():
    line = UniformLinearArray(11, 0.5)
    limit = fraunhofer_distance_m(3e9, line)
    assert_array_equal(is_near_field([0.99 * limit, limit, 2 * limit], 3e9, line), [True, False, False])


def test_users_go_where_the_numbers_say():
    corners = np.array([[0.0, 0.0], [0.5, 0.5], [0.25, 1.0]])
    assert_allclose(
        UsersInRectangle(3, (1, 2, 1.5), (4.0, 2.0)).place(corners), [[-1, 1, 1.5], [1, 2, 1.5], [0, 3, 1.5]]
    )
    assert_allclose(
        UsersInDisc(3, (1, 2, 1.5), 2.0).place(np.array([[0.0, 0.3], [0.25, 0.0], [1.0, 0.25]])),
        [[1, 2, 1.5], [2, 2, 1.5], [1, 4, 1.5]],
    )
    fixed = UsersAt([[0, 0, 1], [1, 1, 1]])
    assert fixed.count == 2
    assert_array_equal(fixed.place(np.zeros((5, 2, 2))), np.broadcast_to(fixed.positions_m, (5, 2, 3)))


def test_users_are_uniform_over_the_area():
    # Shares of a disc's inner half by radius and of its half-plane; 6.5 standard errors.
    uniform = np.random.default_rng(3).random((40_000, 1, 2))
    offset = UsersInDisc(1, (0, 0, 0), 1.0).place(uniform)[:, 0]
    error = 6.5 * np.sqrt(0.25 * 0.75 / len(offset))
    assert abs(np.mean(np.linalg.norm(offset, axis=1) < 0.5) - 0.25) < error
    assert abs(np.mean((offset[:, 0] > 0) & (offset[:, 1] > 0)) - 0.25) < error
    offset = UsersInRectangle(1, (0, 0, 0), (2.0, 6.0)).place(uniform)[:, 0]
    assert abs(np.mean((np.abs(offset[:, 0]) < 0.5) & (np.abs(offset[:, 1]) < 1.5)) - 0.25) < error


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("position_m", lambda: Node((0, 0), LINE)),
        ("position_m", lambda: Node((0, 0, np.nan), LINE)),
        ("position_m", lambda: Node([[0, 0, 0]], LINE)),
        ("array", lambda: Node((0, 0, 0), "array")),
        ("element", lambda: Node((0, 0, 0), LINE, 0.25)),
        ("element", lambda: Node((0, 0, 0), ArbitraryArray([[0, 0, 0]]), SurfaceElement(0.1))),
        ("start_m, end_m", lambda: sightline((0, 0, 0), (0, 0, 0))),
        ("start_m, end_m", lambda: sightline(np.zeros((2, 3)), np.ones((3, 3)))),
        ("end_m", lambda: sightline((0, 0, 0), (1, 1))),
        ("end_m", lambda: sightline((0, 0, 0), (1, 1, 1j))),
        ("frequency_hz", lambda: fraunhofer_distance_m(0.0, LINE)),
        ("arrays", lambda: fraunhofer_distance_m(1e9)),
        ("arrays", lambda: fraunhofer_distance_m(1e9, 0.5)),
        ("distance_m", lambda: is_near_field(np.inf, 1e9, LINE)),
        ("positions_m", lambda: UsersAt((0, 0, 0))),
        ("positions_m", lambda: UsersAt(np.zeros((0, 3)))),
        ("count", lambda: UsersInDisc(0, (0, 0, 0), 1.0)),
        ("count", lambda: UsersInRectangle(2.0, (0, 0, 0), 1.0)),
        ("centre_m", lambda: UsersInDisc(1, (0, 0), 1.0)),
        ("centre_m", lambda: UsersInRectangle(1, np.zeros((1, 3)), 1.0)),
        ("radius_m", lambda: UsersInDisc(1, (0, 0, 0), -1.0)),
        ("sides_m", lambda: UsersInRectangle(1, (0, 0, 0), (1.0, -1.0))),
    ],
)
def test_bad_input_is_named(argument, call):
    with pytest.raises(InvalidArgumentError) as error:
        call()
    assert error.value.argument == argument


def test_a_node_is_frozen():
    position = np.zeros(3)
    node = Node(position, LINE)
    position[0] = 1
    assert_array_equal(node.position_m, np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        node.position_m[0] = 1
