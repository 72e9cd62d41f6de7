"""The system object: which paths are there, and what it refuses."""

import dataclasses

import numpy as np
import pytest
from systems import PATH_SETS, PATHS, random_system

import channels
import ris


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
def test_paths_follow_from_hops(paths):
    system = random_system(np.random.default_rng(0), paths, antennas=3, elements=(4, 5), users=2)
    expected = set(paths)
    if {"single2", "double"} & expected and "single1" not in expected:
        expected -= {"single1"}
    assert {path for path in PATHS if getattr(system, path)} == expected
    assert system.users == 2
    assert system.antennas == 3
    assert system.elements1 == (4 if expected & {"single1", "double"} else 0)
    assert system.elements2 == (5 if expected & {"single2", "double"} else 0)


def test_batch_shape_joins_all_hops():
    system = random_system(np.random.default_rng(0), batch=(2, 3))
    assert system.batch_shape == (2, 3)
    wider = dataclasses.replace(system, bs_user=channels.UserHop(np.ones((4, 1, 1, 2)), np.eye(3)))
    assert wider.batch_shape == (4, 2, 3)


def test_a_hop_on_no_path_adds_nothing():
    rng = np.random.default_rng(1)
    system = random_system(rng, ("direct",))
    dangling = dataclasses.replace(system, ris1_user=channels.UserHop(np.ones(2), np.eye(4)))
    expected = ris.closed_form_moments(system)
    got = ris.closed_form_moments(dangling, np.zeros(4))
    np.testing.assert_array_equal(got.interference, expected.interference)


HOP = channels.Hop(1.0, np.eye(2), np.eye(3))
USERS = channels.UserHop(np.ones(2), np.eye(3))


@pytest.mark.parametrize(
    ("hops", "message"),
    [
        ({}, "at least one complete path.*got no hop at all"),
        ({"bs_ris1": HOP}, "at least one complete path.*got only bs_ris1"),
        ({"bs_ris1": HOP, "ris2_user": USERS}, "at least one complete path.*got only bs_ris1, ris2_user"),
        (
            {"bs_ris1": HOP, "ris1_user": channels.UserHop(np.ones(2), np.eye(4))},
            "one number of elements of surface 1",
        ),
        (
            {"bs_ris2": HOP, "ris2_user": channels.UserHop(np.ones(2), np.eye(4))},
            "one number of elements of surface 2",
        ),
        ({"bs_ris1": HOP, "ris1_user": USERS, "bs_user": USERS}, "one number of antennas of the BS"),
        (
            {"bs_ris1": HOP, "ris1_user": USERS, "bs_user": channels.UserHop(np.ones(3), np.eye(2))},
            "one number of users, got ris1_user.gain has 2, bs_user.gain has 3",
        ),
        ({"bs_user": HOP}, "bs_user: expected a channels.UserHop or None"),
        ({"bs_ris1": np.eye(3)}, "bs_ris1: expected a channels.Hop or None"),
        ({"bs_user": USERS, "phase_noise1": 2.0}, "phase_noise1: expected a phase-noise law"),
        (
            {
                "bs_user": channels.UserHop(np.ones((4, 2)), np.eye(2)),
                "bs_ris1": HOP,
                "ris1_user": channels.UserHop(np.ones((3, 2)), np.eye(3)),
            },
            "batch axes that broadcast",
        ),
    ],
)
def test_bad_systems(hops, message):
    with pytest.raises(channels.InvalidArgumentError, match=message):
        ris.DoubleRIS(**hops)


def test_frozen():
    system = random_system(np.random.default_rng(0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        system.bs_user = None
