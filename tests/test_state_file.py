"""Files of states: what was written comes back, and what was not written is refused."""

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from ris.predictors import state_file
from ris.predictors.state_file import StateFileError, digest_of, kept, read_state, write_state

STATE = {
    "weights": {"conv/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(7.0)},
    "optimiser": {"state": {0: {"mean": np.array([-0.0, np.nan, np.inf])}, 1: {}}, "betas": [0.9, 0.1 + 0.2]},
    "kinds": [np.array([True, False]), np.array([], np.int64), np.array([1 - 2j], np.complex64)],
    "numbers": [3, -math.inf, None, "text \n", True],
}


def same(one, other):
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        assert other.flags.writeable
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert type(one) is type(other)
        assert one == other


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "a.state"
    write_state(path, STATE)
    same(STATE, read_state(path))
    assert list(tmp_path.iterdir()) == [path]
    rates = np.linspace(0, 1, 5)
    write_state(path, rates)
    same(rates, read_state(path))


def test_digests_tell_values_names_types_and_shapes_apart():
    states = (
        {"a": np.zeros(2)},
        {"b": np.zeros(2)},
        {"a": np.zeros(2, np.float32)},
        {"a": np.zeros((1, 2))},
        {"a": np.array([0.0, 1e-300])},
    )
    assert len({digest_of(state) for state in states}) == len(states)
    assert digest_of(states[0]) == digest_of({"a": np.zeros(2)})


def test_every_damage_is_found(tmp_path):
    """Each of the bytes of a file, and each shorter file."""
    path = tmp_path / "a.state"
    write_state(path, {"rates": np.ones(3), "best": 1.5})
    whole = path.read_bytes()
    for i in range(len(whole)):
        for data in (whole[:i], bytes([*whole[:i], whole[i] ^ 0x10, *whole[i + 1 :]])):
            path.write_bytes(data)
            with pytest.raises(StateFileError, match="remove the file to start over"):
                read_state(path)


@pytest.mark.parametrize(
    "header",
    [
        None,
        7,
        [],
        {"arrays": []},
        {"arrays": [["<f8", [2**40]]], "state": None},
        {"arrays": [["<f8", [-1]]], "state": None},
        {"arrays": [["<f8", [0.5]]], "state": None},
        {"arrays": [["<f8", 3]], "state": None},
        {"arrays": [["|O", [1]]], "state": None},
        {"arrays": [["nothing", [1]]], "state": None},
        {"arrays": [["<f8", [0]]], "state": None},
        {"arrays": [["<f8", [1]]], "state": {"array": 1}},
        {"arrays": [["<f8", [1]]], "state": {"array": "0"}},
        {"arrays": [["<f8", [1]]], "state": {"array": 0, "list": []}},
        {"arrays": [["<f8", [1]]], "state": {"call": []}},
        {"arrays": [["<f8", [1]]], "state": {"list": 3}},
        {"arrays": [["<f8", [1]]], "state": {"table": [[1, 2, 3]]}},
        {"arrays": [["<f8", [1]]], "state": {"table": [[[], 2]]}},
    ],
)
def test_hashed_nonsense_is_refused(header, tmp_path):
    path = tmp_path / "a.state"
    body = json.dumps(header).encode() + b"\n" + bytes(8)
    path.write_bytes(state_file._head(body) + body)
    with pytest.raises(StateFileError):
        read_state(path)


def test_deep_and_pickled_states_are_refused(tmp_path):
    path = tmp_path / "a.state"
    for body in (b'{"arrays": [], "state": ' + b'{"list": [' * 10**5, pickle.dumps(STATE)):
        path.write_bytes(state_file._head(body) + body)
        with pytest.raises(StateFileError):
            read_state(path)
    path.write_bytes(pickle.dumps(STATE))
    with pytest.raises(StateFileError, match="does not begin"):
        read_state(path)


def test_errors_can_be_handed_on():
    error = StateFileError(Path("a.state"), "too short")
    assert str(copy.copy(error)) == str(error)


def test_what_was_made_once_is_kept(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.full(2, len(made))

    folder = tmp_path / "new"
    for made_by, expected in ((["a", 1], 1), (["a", 1], 1), (["a", 2], 2), (["a", 1], 1)):
        np.testing.assert_array_equal(kept(folder, "block", made_by, make), expected)
    np.testing.assert_array_equal(kept(None, "block", ["a", 1], make), 3)
    for path in folder.iterdir():
        write_state(path, {"made_by": "other", "state": np.zeros(2)})
    with pytest.raises(StateFileError, match="another computation"):
        kept(folder, "block", ["a", 1], make)
