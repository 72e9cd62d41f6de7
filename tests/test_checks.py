"""Checks of arguments: what passes, in which form, and what is refused with which words."""

import pickle
from typing import Literal

import array_api_strict
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from channels import checks
from channels.errors import InvalidArgumentError, MemoryLimitError


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
def test_numbers_become_floats(value):
    for check in (checks.number, checks.positive, checks.non_negative):
        result = check("x", value)
        assert type(result) is float
        assert result == 2


@pytest.mark.parametrize("value", ["2", None, True, 2j, [2], np.array([2.0]), float("nan"), float("-inf")])
@pytest.mark.parametrize("check", [checks.number, checks.positive, checks.non_negative])
def test_not_a_finite_real_number(check, value):
    with pytest.raises(InvalidArgumentError, match=r"^x: expected a .*number") as caught:
        check("x", value)
    assert caught.value.got == repr(value)


def test_signs():
    assert checks.number("x", -1) == -1
    assert checks.non_negative("x", 0) == 0
    with pytest.raises(InvalidArgumentError, match="x: expected a number >= 0, got -1"):
        checks.non_negative("x", -1)
    with pytest.raises(InvalidArgumentError, match="x: expected a number > 0, got 0"):
        checks.positive("x", 0)


def test_integers():
    assert type(checks.integer("n", np.int32(3), 1)) is int
    for bad in (0, 3.0, True, "3", None):
        with pytest.raises(InvalidArgumentError, match="n: expected an integer >= 1") as caught:
            checks.integer("n", bad, 1)
        assert caught.value.got == repr(bad)


@pytest.mark.parametrize("value", ["c", 3, None, ["a"], np.array(["a", "b"]), {}])
def test_one_of(value):
    options = Literal["a", "b", 2]
    assert checks.one_of("mode", "a", options) == "a"
    assert checks.one_of("mode", np.int64(2), options) == 2
    with pytest.raises(InvalidArgumentError, match="mode: expected one of 'a', 'b', 2, got"):
        checks.one_of("mode", value, options)


def test_pair():
    assert checks.pair("x", 2, checks.positive) == (2.0, 2.0)
    assert checks.pair("x", (1, 2), checks.positive) == (1.0, 2.0)
    assert checks.pair("x", [1, 2], checks.positive) == (1.0, 2.0)
    for bad, message in [
        ((1,), "a pair"),
        ((1, 2, 3), "a pair"),
        ((1, -2), "> 0, got -2"),
        (None, "real number"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            checks.pair("x", bad, checks.positive)


def test_arrays_become_double_precision():
    for value in (3, [1, 2], np.float32([1.5]), np.arange(3)):
        assert checks.as_array("x", value).dtype == np.float64
    for value in (1j, np.complex64([1j])):
        assert checks.as_array("x", value).dtype == np.complex128


@pytest.mark.parametrize("value", ["abc", None, [None], [True], [[1, 2], [3]], object(), ["1"]])
def test_not_an_array_of_numbers(value):
    with pytest.raises(InvalidArgumentError, match="x: expected an array"):
        checks.as_array("x", value)


def test_other_libraries_pass_unchanged():
    array = array_api_strict.asarray([1.0, 2.0], dtype=array_api_strict.float32)
    assert checks.as_array("x", array) is array
    assert checks.finite("x", array) is array
    assert checks.real("x", array) is array
    assert checks.frozen(array) is array


def test_finite_counts_what_is_not():
    with pytest.raises(
        InvalidArgumentError, match="x: expected finite entries, got 2 that are NaN or infinite"
    ):
        checks.finite("x", np.array([1.0, np.nan, np.inf]))


def test_real():
    array = np.zeros(2)
    assert checks.real("x", array) is array
    with pytest.raises(InvalidArgumentError, match="x: expected real numbers, got dtype complex128"):
        checks.real("x", np.zeros(2, complex))


def test_frozen_copies_only_what_could_change():
    array = np.arange(3.0)
    kept = checks.frozen(array)
    array[:] = -1
    assert_array_equal(kept, [0, 1, 2])
    assert not kept.flags.writeable
    assert checks.frozen(kept) is kept


def test_shaped():
    array = np.zeros((5, 2, 3))
    assert checks.shaped("x", array, (2, 3), "(..., M, N)") is array
    with pytest.raises(InvalidArgumentError, match=r"shape \(..., N\) = \(..., 4\), got shape \(5, 2, 3\)"):
        checks.shaped("x", array, (4,), "(..., N)")
    with pytest.raises(InvalidArgumentError, match=r"got shape \(3,\)"):
        checks.shaped("x", np.zeros(3), (2, 3), "(..., M, N)")


def test_errors_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(InvalidArgumentError("x", "a number", "None")))  # noqa: S301
    assert (error.argument, error.expected, error.got) == ("x", "a number", "None")
    assert str(error) == "x: expected a number, got None"
    limit = pickle.loads(pickle.dumps(MemoryLimitError("a draw", 3 * 10**9, 10**9, "ask for less")))  # noqa: S301
    assert str(limit) == "a draw needs 3 GB, the limit is 1 GB: ask for less"
