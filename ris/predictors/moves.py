"""Operations that move and compare numbers, the same for floats and for codes.

Arrays have axes (batch, user, row, column, channel). `zero` is what stands for the number 0.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError

__all__ = ["MOVES", "both_surfaces"]

Array = NDArray[Any]
Attributes = Mapping[str, int]


def _slice(attributes: Attributes, zero: Any, x: Array) -> Array:
    return x[..., attributes["start"] : attributes["stop"]]


def _shifted(x: Array, steps: list[tuple[int, int]], missing: Any) -> list[Array]:
    """Views of what lies some rows and columns away from every element."""
    rows, columns = x.shape[2:4]
    reach = max(max(abs(row), abs(column)) for row, column in steps)
    around = ((0, 0), (0, 0), (reach, reach), (reach, reach), (0, 0))
    wide = np.pad(x, around, constant_values=missing)
    return [
        wide[:, :, reach + row : reach + row + rows, reach + column : reach + column + columns]
        for row, column in steps
    ]


def both_surfaces(batch: int) -> int:
    """Return half of a batch that holds two surfaces.

    Raises
    ------
    InvalidArgumentError
        If its size is odd.
    """
    if batch % 2:
        raise InvalidArgumentError("maps", "as many of surface 2 as of surface 1", f"{batch} in all")
    return batch // 2


def _other_surface(attributes: Attributes, zero: Any, x: Array) -> Array:
    half = both_surfaces(len(x))
    return np.concatenate([x[half:], x[:half]])


def _within(hops: int) -> list[tuple[int, int]]:
    reach = range(-hops, hops + 1)
    return [(row, column) for row in reach for column in reach if abs(row) + abs(column) <= hops]


def _neighbour_max(attributes: Attributes, zero: Any, x: Array) -> Array:
    first, *others = _shifted(x, _within(attributes["hops"]), _bounds(x)[0])
    largest = first.copy()
    for view in others:
        np.maximum(largest, view, out=largest)
    return largest


def _neighbour_median(attributes: Attributes, zero: Any, x: Array) -> Array:
    steps = _within(attributes["hops"])
    ranked = np.sort(np.stack(_shifted(x, steps, _bounds(x)[1])), 0)
    there = np.ones((1, 1, *x.shape[2:4], 1), np.int64)
    count = np.sum(_shifted(there, steps, 0), 0)
    made: Array = np.take_along_axis(ranked, (count - 1)[None] // 2, 0)[0]
    return made


def _bounds(x: Array) -> tuple[Any, Any]:
    return (-np.inf, np.inf) if x.dtype.kind == "f" else (0, 255)


def _top_k(attributes: Attributes, zero: Any, x: Array) -> Array:
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    wide = x if x.dtype.kind == "f" else x.astype(np.int16)
    missing = -np.inf if x.dtype.kind == "f" else -1
    ranked = np.sort(np.stack(_shifted(wide, around, missing), -1), -1)[..., ::-1][..., : attributes["k"]]
    ranked = np.where(ranked == missing, zero, ranked).astype(x.dtype)
    return np.concatenate([x[..., None], ranked], -1).reshape(*x.shape[:4], -1)


def _pixel_shuffle(attributes: Attributes, zero: Any, x: Array) -> Array:
    batch, users, rows, columns, channels = x.shape
    factor = attributes["factor"]
    fine = x.reshape(batch, users, rows, columns, channels // factor**2, factor, factor)
    fine = fine.transpose(0, 1, 2, 5, 3, 6, 4)
    return fine.reshape(batch, users, rows * factor, columns * factor, channels // factor**2)


def _repeat(attributes: Attributes, zero: Any, x: Array) -> Array:
    return np.repeat(np.repeat(x, attributes["factor"], 2), attributes["factor"], 3)


def _flatten(attributes: Attributes, zero: Any, x: Array) -> Array:
    return x.transpose(0, 1, 4, 2, 3).reshape(*x.shape[:2], 1, 1, -1)


def _unflatten(attributes: Attributes, zero: Any, x: Array) -> Array:
    rows, columns = attributes["rows"], attributes["columns"]
    return x.reshape(*x.shape[:2], -1, rows, columns).transpose(0, 1, 3, 4, 2)


MOVES: dict[str, Callable[[Attributes, Any, Array], Array]] = {
    "relu": lambda attributes, zero, x: np.maximum(x, zero),
    "slice": _slice,
    "max_users": lambda attributes, zero, x: x.max(1, keepdims=True),
    "other_surface": _other_surface,
    "neighbour_max": _neighbour_max,
    "neighbour_median": _neighbour_median,
    "top_k": _top_k,
    "pixel_shuffle": _pixel_shuffle,
    "repeat": _repeat,
    "flatten": _flatten,
    "unflatten": _unflatten,
}
