"""Checks of arguments: each returns the value in the form that the code works with, or raises at once."""

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import array_api_compat
import numpy as np

from channels.errors import InvalidArgumentError

__all__ = [
    "as_array",
    "finite",
    "frozen",
    "integer",
    "non_negative",
    "number",
    "one_of",
    "pair",
    "positive",
    "real",
    "shaped",
]


def number(argument: str, value: Any) -> float:
    """Return a finite real scalar as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidArgumentError(argument, "a real number", repr(value))
    if not math.isfinite(value):
        raise InvalidArgumentError(argument, "a finite number", repr(value))
    return float(value)


def positive(argument: str, value: Any) -> float:
    """Return a finite real scalar above zero as a float."""
    result = number(argument, value)
    if result <= 0:
        raise InvalidArgumentError(argument, "a number > 0", repr(value))
    return result


def non_negative(argument: str, value: Any) -> float:
    """Return a finite real scalar of at least zero as a float."""
    result = number(argument, value)
    if result < 0:
        raise InvalidArgumentError(argument, "a number >= 0", repr(value))
    return result


def integer(argument: str, value: Any, minimum: int) -> int:
    """Return a whole number of at least `minimum` as an int; a float is refused, even 3.0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidArgumentError(argument, f"an integer >= {minimum}", repr(value))
    if value < minimum:
        raise InvalidArgumentError(argument, f"an integer >= {minimum}", repr(value))
    return int(value)


def one_of(argument: str, value: Any, options: Any) -> Any:
    """Return `value` if it is one of the values of the Literal type `options`."""
    allowed = get_args(options)
    if not isinstance(value, (str, int, np.integer)) or value not in allowed:
        raise InvalidArgumentError(argument, "one of " + ", ".join(map(repr, allowed)), repr(value))
    return value


def pair(argument: str, value: Any, check: Callable[[str, Any], float]) -> tuple[float, float]:
    """Return two numbers that both pass `check`; one number stands for both."""
    if not isinstance(value, (tuple, list)):
        value = (value, value)
    if len(value) != 2:
        raise InvalidArgumentError(argument, "a number or a pair of numbers", repr(value))
    return check(argument, value[0]), check(argument, value[1])


def as_array(argument: str, value: Any) -> Any:
    """Return an array of real or complex floating numbers.

    Arrays of another array-API library (torch, ...) pass as they are; everything else becomes a NumPy
    array of float64 or complex128.
    """
    if array_api_compat.is_array_api_obj(value) and not array_api_compat.is_numpy_array(value):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgumentError(argument, "an array", f"a ragged sequence ({error})") from error
    if array.dtype.kind not in "iufc":
        raise InvalidArgumentError(argument, "an array of numbers", f"dtype {array.dtype}")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def finite(argument: str, array: Any) -> Any:
    """Return `array` if all its entries are finite."""
    xp = array_api_compat.array_namespace(array)
    good = xp.isfinite(array)
    if not bool(xp.all(good)):
        bad = int(xp.sum(xp.astype(~good, xp.int64)))
        raise InvalidArgumentError(argument, "finite entries", f"{bad} that are NaN or infinite")
    return array


def real(argument: str, array: Any) -> Any:
    """Return `array` if its type is not complex."""
    xp = array_api_compat.array_namespace(array)
    if xp.isdtype(array.dtype, "complex floating"):
        raise InvalidArgumentError(argument, "real numbers", f"dtype {array.dtype}")
    return array


def frozen(array: Any) -> Any:
    """Return `array` read-only: a writable NumPy array is copied, so that no later change can reach it."""
    if array_api_compat.is_numpy_array(array) and array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def shaped(argument: str, array: Any, trailing: Sequence[int], meaning: str) -> Any:
    """Return `array` if its last axes are `trailing`; `meaning` names them, as in ``"(..., N)"``."""
    axes = tuple(trailing)
    if array.ndim < len(axes) or tuple(array.shape[array.ndim - len(axes) :]) != axes:
        wanted = ", ".join(["...", *map(str, axes)])
        raise InvalidArgumentError(argument, f"shape {meaning} = ({wanted})", f"shape {tuple(array.shape)}")
    return array
