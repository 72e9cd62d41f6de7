"""Element positions, orientation and plane-wave response."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from channels import (
    ArbitraryArray,
    InvalidArgumentError,
    Orientation,
    UniformLinearArray,
    UniformPlanarArray,
)
from channels.arrays import direction

angles = st.floats(-7, 7)
turns = st.builds(Orientation, angles, angles, angles)


def test_linear_array_lies_along_y_centred():
    array = UniformLinearArray(3, 0.5)
    assert array.size == 3
    assert_array_equal(array.positions, [[0, -0.5, 0], [0, 0, 0], [0, 0.5, 0]])


def test_planar_array_counts_columns_first_rows_along_z():
    array = UniformPlanarArray(rows=2, columns=3, spacing=(1.0, 0.25))
    assert array.size == 6
    assert array.spacing == (1.0, 0.25)
    expected = [[0, y, z] for z in (-0.5, 0.5) for y in (-0.25, 0, 0.25)]
    assert_array_equal(array.positions, expected)


def test_one_spacing_serves_rows_and_columns():
    assert UniformPlanarArray(4, 4, 0.25) == UniformPlanarArray(4, 4, (0.25, 0.25))


def test_single_element_sits_at_the_origin():
    assert_array_equal(UniformLinearArray(1, 0.5).positions, np.zeros((1, 3)))
    assert_array_equal(UniformPlanarArray(1, 1, 0.5).positions, np.zeros((1, 3)))


def test_planar_array_of_one_row_is_the_linear_array():
    turn = Orientation(0.3, -0.2, 0.5)
    row = UniformPlanarArray(1, 7, (3.0, 0.4), turn)
    assert_array_equal(row.positions, UniformLinearArray(7, 0.4, turn).positions)


def test_direction_known_answers():
    assert_allclose(direction(0.0), [1, 0, 0], atol=1e-15)
    assert_allclose(direction(np.pi / 2), [0, 1, 0], atol=1e-15)
    assert_allclose(direction(0.7, np.pi / 2), [0, 0, 1], atol=1e-15)


def test_yaw_turns_broadside_to_y_and_pitch_tilts_it_down():
    broadside = np.array([1.0, 0.0, 0.0])
    assert_allclose(Orientation(yaw=np.pi / 2).matrix @ broadside, [0, 1, 0], atol=1e-15)
    assert_allclose(Orientation(pitch=np.pi / 2).matrix @ broadside, [0, 0, -1], atol=1e-15)
    assert_allclose(Orientation(roll=1.0).matrix @ broadside, broadside, atol=1e-15)
    assert_allclose(Orientation(roll=np.pi / 2).matrix @ [0, 1, 0], [0, 0, 1], atol=1e-15)
    assert_allclose(Orientation(0.4, 0.1).matrix @ broadside, direction(0.4, -0.1), atol=1e-15)


@given(angles, angles, angles)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_orientation_is_yaw_then_pitch_then_roll(yaw, pitch, roll):
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    assert_allclose(Orientation(yaw, pitch, roll).matrix, about_z @ about_y @ about_x, atol=1e-14)


@given(turns, angles, angles)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_steering_sees_only_the_direction_relative_to_the_array(turn, azimuth, elevation):
    turned = UniformPlanarArray(3, 4, 0.4, turn)
    u = turn.matrix @ direction(azimuth, elevation)
    seen = turned.steering(np.arctan2(u[1], u[0]), np.arcsin(np.clip(u[2], -1, 1)))
    # arcsin loses half the digits towards the poles.
    assert_allclose(seen, UniformPlanarArray(3, 4, 0.4).steering(azimuth, elevation), atol=1e-6)


def test_steering_known_answers():
    array = UniformLinearArray(4, 0.5)
    assert_array_equal(array.steering(0.0), np.ones(4))
    # Endfire at half a wavelength: neighbours in opposition.
    endfire = array.steering(np.pi / 2)
    assert_allclose(endfire[1:] / endfire[:-1], -np.ones(3), atol=1e-14)
    # 30 degrees off broadside: a quarter period a step.
    assert_allclose(
        array.steering(np.pi / 6)[1:] / array.steering(np.pi / 6)[:-1], 1j * np.ones(3), atol=1e-14
    )


def test_steering_batch_is_the_loop():
    array = UniformPlanarArray(2, 5, (0.3, 0.6), Orientation(0.2, 0.4, -0.3))
    azimuth = np.linspace(-2, 2, 4)[:, None]
    elevation = np.linspace(-1, 1, 3)
    batch = array.steering(azimuth, elevation)
    assert batch.shape == (4, 3, 10)
    for i, az in enumerate(azimuth[:, 0]):
        for k, el in enumerate(elevation):
            by_hand = [np.exp(2j * np.pi * p @ direction(az, el)) for p in array.positions]
            assert_allclose(batch[i, k], by_hand, atol=1e-13)
    assert_allclose(abs(batch), 1.0, atol=1e-14)


def test_arbitrary_array_keeps_its_own_positions():
    positions = np.random.default_rng(1).normal(size=(5, 3))
    array = ArbitraryArray(positions)
    kept = positions.copy()
    positions[:] = 0
    assert array.size == 5
    assert_array_equal(array.positions, kept)
    with pytest.raises(ValueError, match="read-only"):
        array.positions[0] = 0


@pytest.mark.parametrize("spacing", [0, 0.0, -0.5, float("nan"), float("inf"), "0.5", 0.5j, None, True])
@pytest.mark.parametrize("kind", ["linear", "planar", "row", "column"])
def test_bad_spacing(kind, spacing):
    build = {
        "linear": lambda: UniformLinearArray(4, spacing),
        "planar": lambda: UniformPlanarArray(4, 4, spacing),
        "row": lambda: UniformPlanarArray(4, 4, (spacing, 0.5)),
        "column": lambda: UniformPlanarArray(4, 4, (0.5, spacing)),
    }[kind]
    with pytest.raises(InvalidArgumentError, match="number") as caught:
        build()
    assert caught.value.argument == "spacing"
    assert repr(spacing) in caught.value.got


def test_spacing_of_three_numbers():
    with pytest.raises(InvalidArgumentError, match=r"spacing: expected .* pair .*, got \(1, 2, 3\)"):
        UniformPlanarArray(4, 4, (1, 2, 3))


@pytest.mark.parametrize("count", [0, -1, 2.0, 2.5, "4", None, True])
@pytest.mark.parametrize("name", ["elements", "rows", "columns"])
def test_bad_counts(name, count):
    kind, good = (
        (UniformLinearArray, {"elements": 4, "spacing": 0.5})
        if name == "elements"
        else (UniformPlanarArray, {"rows": 4, "columns": 4, "spacing": 0.5})
    )
    with pytest.raises(InvalidArgumentError, match="an integer >= 1") as caught:
        kind(**(good | {name: count}))
    assert caught.value.argument == name
    assert caught.value.got == repr(count)


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll"])
@pytest.mark.parametrize("angle", [float("nan"), "0", 1j, None])
def test_bad_orientation_angle(name, angle):
    with pytest.raises(InvalidArgumentError, match=f"{name}: expected"):
        Orientation(**{name: angle})


def test_orientation_must_be_one():
    with pytest.raises(InvalidArgumentError, match=r"orientation: expected a channels.Orientation, got 0.3"):
        UniformLinearArray(4, 0.5, 0.3)
    with pytest.raises(InvalidArgumentError, match=r"orientation: .*, got None"):
        UniformPlanarArray(4, 4, 0.5, None)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros((4, 2)), r"shape \(N, 3\) with N >= 1, got shape \(4, 2\)"),
        (np.zeros(3), r"got shape \(3,\)"),
        (np.zeros((0, 3)), r"got shape \(0, 3\)"),
        ([[0, 0, float("nan")]], "finite entries"),
        (np.zeros((4, 3), complex), "real numbers"),
        ([[0, 0, 0], [1, 2]], "ragged"),
    ],
)
def test_bad_positions(positions, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        ArbitraryArray(positions)
    assert caught.value.argument == "positions"


def test_bad_angles():
    array = UniformLinearArray(4, 0.5)
    with pytest.raises(InvalidArgumentError, match="azimuth: expected finite entries"):
        array.steering(float("nan"))
    with pytest.raises(InvalidArgumentError, match="elevation: expected real numbers"):
        array.steering(0.0, 1j)
    with pytest.raises(InvalidArgumentError, match=r"broadcast, got \(2,\) and \(3,\)"):
        array.steering(np.zeros(2), np.zeros(3))
