"""Hops: what they hold and what they refuse."""

import array_api_strict
import numpy as np
import pytest

from channels import Correlation, Hop, InvalidArgumentError, UserHop, exponential_correlation

R3 = exponential_correlation(3, 0.5)
R2 = exponential_correlation(2, 0.4j)


def test_hop_takes_anything_array_like():
    hop = Hop(2, left=R3, right=[[1, 0.4j], [-0.4j, 1]])
    assert hop.shape == (3, 2)
    assert hop.gain == 2.0
    assert hop.left is R3
    assert isinstance(hop.right, Correlation)
    assert np.array_equal(hop.right, R2)


def test_user_hop_with_one_covariance_and_with_one_each():
    shared = UserHop([1.0, 2.0], R3)
    assert (shared.users, shared.size) == (2, 3)
    each = UserHop([1.0, 2.0], np.stack([np.eye(3), R3.matrix]))
    assert (each.users, each.size) == (2, 3)
    batch = UserHop(np.ones((5, 2)), np.broadcast_to(np.eye(3), (5, 2, 3, 3)))
    assert (batch.users, batch.size) == (2, 3)


def test_gain_is_kept_from_later_change():
    gain = np.array([1.0, 2.0])
    hop = UserHop(gain, R3)
    gain[0] = -1
    assert hop.gain[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        hop.gain[0] = 3


def test_zero_gain_is_allowed():
    assert Hop(0, R3, R2).gain == 0


def test_other_array_library():
    xp = array_api_strict
    hop = UserHop(xp.asarray([1.0, 2.0]), xp.eye(3))
    assert isinstance(hop.gain, type(xp.asarray(1.0)))
    assert (hop.users, hop.size) == (2, 3)
    with pytest.raises(
        InvalidArgumentError, match=r"gain: expected numbers >= 0, got a smallest value of -2.0"
    ):
        UserHop(xp.asarray([1.0, -2.0]), xp.eye(3))


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        (-1, r"gain: expected numbers >= 0, got a smallest value of -1\.0"),
        (float("nan"), "gain: expected finite entries, got 1"),
        (float("inf"), "gain: expected finite entries, got 1"),
        (1j, "gain: expected real numbers, got dtype complex128"),
        ("1", "gain: expected an array of numbers, got dtype <U1"),
        (None, "gain: expected an array of numbers, got dtype object"),
    ],
)
def test_bad_gain(gain, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Hop(gain, R3, R2)
    with pytest.raises(InvalidArgumentError, match=message):
        UserHop([gain], R3)


@pytest.mark.parametrize("gain", [1.0, []])
def test_user_hop_needs_a_gain_for_each_user(gain):
    with pytest.raises(
        InvalidArgumentError, match=r"gain: expected shape \(..., K\) with K >= 1 users, got shape"
    ):
        UserHop(gain, R3)


def test_user_hop_refuses_another_number_of_users():
    with pytest.raises(InvalidArgumentError, match=r"K = 3 as in gain, got shape \(2, 3, 3\)"):
        UserHop(np.ones(3), np.stack([np.eye(3)] * 2))


def test_bad_covariance_is_named_by_its_side():
    indefinite = np.diag([1.0, -1.0])
    with pytest.raises(InvalidArgumentError, match="left: expected positive semidefinite"):
        Hop(1, indefinite, R2)
    with pytest.raises(InvalidArgumentError, match="right: expected positive semidefinite"):
        Hop(1, R2, indefinite)
    with pytest.raises(InvalidArgumentError, match="correlation: expected positive semidefinite"):
        UserHop([1], indefinite)
