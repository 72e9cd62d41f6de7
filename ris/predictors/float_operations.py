"""Operations of a float model in NumPy.

Arrays have axes (batch, user, row, column, channel).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from ris.predictors._kernels.differences import sum_differences
from ris.predictors.graph import Node
from ris.predictors.model import Array
from ris.predictors.moves import MOVES
from ris.predictors.symmetries import all_turned

__all__ = ["EPSILON", "common_shape", "dense", "float_operation"]

EPSILON = 1e-5
"""Added to the variances of a batch normalisation."""


def float_operation(arrays: Mapping[str, Array], node: Node) -> Callable[..., Array]:
    """Return a function of a node's inputs; `arrays` has its parameters by "node/parameter"."""
    own = {name.split("/")[1]: array for name, array in arrays.items() if name.startswith(f"{node.name}/")}
    if node.op in MOVES:
        return partial(MOVES[node.op], node.attributes, np.float32(0))
    return partial(_OPERATIONS[node.op], node, own)


@lru_cache(maxsize=1024)
def common_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that arrays of these shapes broadcast to."""
    return np.broadcast_shapes(*shapes)


def dense(weight: Array, groups: int) -> Array:
    """Return the weights (O, I, ...) of a convolution in groups with zeros between the groups."""
    per_group = len(weight) // groups
    inner = weight.shape[1]
    wide = np.zeros((len(weight), inner * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        rows = slice(g * per_group, (g + 1) * per_group)
        wide[rows, g * inner : (g + 1) * inner] = weight[rows]
    return wide


def _conv(node: Node, own: dict[str, Array], x: Array) -> Array:
    return _convolved(x, dense(own["weight"], node.attributes["groups"]), own["bias"])


def _symmetric_conv(node: Node, own: dict[str, Array], x: Array) -> Array:
    return _convolved(x, all_turned(own["weight"]), own["bias"])


def _convolved(x: Array, weight: Array, bias: Array) -> Array:
    kernel = weight.shape[2]
    edge = (kernel // 2, kernel // 2)
    wide = np.pad(x, ((0, 0), (0, 0), edge, edge, (0, 0)))
    # Channels last of all: runs of memory are copied. One by one: copies of all systems left the cache.
    windows = np.moveaxis(sliding_window_view(wide, (kernel, kernel), (2, 3)), 4, -1)
    columns = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1).T
    made = np.empty((*x.shape[:4], len(weight)), np.result_type(x, weight))
    for y, one in zip(made, windows, strict=True):
        y[...] = (one.reshape(-1, len(columns)) @ columns).reshape(y.shape)
    made += bias
    return made


def _adder(node: Node, own: dict[str, Array], x: Array) -> Array:
    maps = np.ascontiguousarray(np.moveaxis(x.reshape(-1, *x.shape[2:]), -1, 1))
    sums = np.empty((len(maps), node.attributes["channels"], *x.shape[2:4]), np.float32)
    sum_differences(sums, maps, own["weight"])
    made: Array = own["bias"] - own["scale"] * np.moveaxis(sums, 1, -1)
    return made.reshape(*x.shape[:4], -1)


def _batch_norm(node: Node, own: dict[str, Array], x: Array) -> Array:
    factor = own["scale"] / np.sqrt(own["variance"] + np.float32(EPSILON))
    made: Array = x * factor + (own["shift"] - own["mean"] * factor)
    return made


def _concat(node: Node, own: dict[str, Array], *inputs: Array) -> Array:
    axes = common_shape(*(x.shape[:4] for x in inputs))
    full = [x if x.shape[:4] == axes else np.broadcast_to(x, (*axes, x.shape[4])) for x in inputs]
    return np.concatenate(full, 4)


def _rank_conv(node: Node, own: dict[str, Array], x: Array) -> Array:
    ranked = x.reshape(*x.shape[:4], -1, node.attributes["ranks"])
    windows = sliding_window_view(ranked, node.attributes["kernel"], 5)
    made: Array = np.einsum("burwclk,ock->burwol", windows, own["weight"]) + own["bias"][:, None]
    return made.reshape(*x.shape[:4], -1)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv": _conv,
    "symmetric_conv": _symmetric_conv,
    "adder": _adder,
    "batch_norm": _batch_norm,
    "sigmoid": lambda node, own, x: expit(x),
    "tanh": lambda node, own, x: np.tanh(x),
    "add": lambda node, own, *inputs: reduce(np.add, inputs),
    "sub": lambda node, own, x, y: x - y,
    "mul": lambda node, own, x, y: x * y,
    "concat": _concat,
    "mean_grid": lambda node, own, x: x.mean((2, 3), keepdims=True),
    "mean_users": lambda node, own, x: x.mean(1, keepdims=True),
    "sum_users": lambda node, own, x: x.sum(1, keepdims=True),
    "gain": lambda node, own, x: x * own["weight"],
    "rank_conv": _rank_conv,
}
