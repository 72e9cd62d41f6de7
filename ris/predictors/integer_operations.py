"""Operations of an integer model: tables and Numba kernels, after the arithmetic that `model` states.

Arrays have axes (batch, user, row, column, channel) and are contiguous.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ris.predictors._kernels.convolution import convolve
from ris.predictors._kernels.elementwise import add, look_up, multiply, quantize, sum_middle
from ris.predictors._kernels.ternary import add_and_subtract, requantize
from ris.predictors.float_operations import common_shape, dense, float_operation
from ris.predictors.graph import Node
from ris.predictors.model import WEIGHTED, Array, IntegerModel, without_zero
from ris.predictors.moves import MOVES

__all__ = ["Codes", "codes_of", "integer_operation"]


@dataclass(frozen=True)
class Codes:
    """Codes of a node's result: scale, zero point, and bounds of the rounded number."""

    scale: np.float32
    zero: np.int32
    low: np.float32
    high: np.float32

    @property
    def clip(self) -> tuple[np.float32, np.float32, np.int32]:
        """Bounds and zero point as the kernels take them."""
        return self.low, self.high, self.zero

    @property
    def dtype(self) -> type[np.generic]:
        """Type of the result: bytes, or floats if it is real, without any code above zero."""
        return np.float32 if self.low == self.high else np.uint8

    def numbers(self, codes: Array) -> NDArray[np.float32]:
        """What codes stand for."""
        return self.scale * (codes.astype(np.int32) - self.zero).astype(np.float32)


def codes_of(model: IntegerModel) -> dict[str, Codes]:
    """Return the codes of all nodes."""
    arrays = model.arrays
    quantities = zip(model.graph.nodes, arrays["scale"], arrays["zero_point"], model.highest, strict=True)
    return {
        node.name: Codes(scale, np.int32(zero), np.float32(-int(zero)), np.float32(highest - int(zero)))
        for node, scale, zero, highest in quantities
    }


def integer_operation(
    model: IntegerModel, node: Node, codes: dict[str, Codes], additions: bool = False
) -> Callable[..., Array]:
    """Return a function of a node's inputs; `additions` as for `runtime.Predictor`."""
    inputs, out = [codes[name] for name in node.inputs], codes[node.name]
    if node.name in model.real and node.op not in WEIGHTED:
        return _real(node, [None if name in model.real else codes[name] for name in node.inputs])
    if node.op in MOVES:
        move = partial(MOVES[node.op], node.attributes, np.uint8(out.zero))
        return lambda x: np.ascontiguousarray(move(x))
    if node.op == "input":
        return partial(_quantized, out)
    own: dict[str, Any] = {
        name: model.arrays.get(f"{node.name}/{name}") for name in ("weight", "bias", "multiplier", "table")
    }
    bits = model.arrays["weight_bits"][model.graph.nodes.index(node)]
    own["ternary"] = additions and bits == 2 and not without_zero(own["weight"], bits)
    if node.op == "adder":
        own["weight"] = model.weight_codes(node).astype(np.uint8)
    return _OPERATIONS[node.op](node, own, inputs, out)


def _quantized(out: Codes, maps: Array) -> Array:
    """Codes of float maps (batch, user, channel, row, column)."""
    batch, users, channels, rows, columns = maps.shape
    y = np.empty((batch, users, rows, columns, channels), np.uint8)
    x = np.ascontiguousarray(maps, np.float32).reshape(batch * users, channels, rows * columns)
    quantize(y.reshape(batch * users, rows * columns, channels), x, out.scale, *out.clip)
    return y


def _real(node: Node, inputs: Sequence[Codes | None]) -> Callable[..., Array]:
    """Real numbers from real numbers, or from codes where these are given."""
    operation = float_operation({}, node)

    def run(*values: Array) -> Array:
        return operation(
            *[x if one is None else one.numbers(x) for one, x in zip(inputs, values, strict=True)]
        )

    return run


def _convolution(weight: Array, own: Any, source: Codes, out: Codes) -> Callable[[Array], Array]:
    """A convolution over the surface."""
    # sum (qx - zx) qw + bias = sum qx qw + (bias - zx sum qw)
    bias = own["bias"] - int(source.zero) * weight.astype(np.int64).reshape(len(weight), -1).sum(1)
    kind = _Ternary if own["ternary"] else _Convolution
    return kind(weight, bias.astype(np.int32), own["multiplier"], source, out)


class _Ternary:
    """A convolution whose weights are -1, 0 and 1: no multiplier is needed before the sums are complete."""

    def __init__(self, weight: Array, bias: Array, multiplier: Array, source: Codes, out: Codes) -> None:
        self.bias, self.multiplier, self.kernel = bias, multiplier, weight.shape[2]
        self.zero, self.out = np.uint8(source.zero), out
        signs = [[np.argwhere(one == sign) for sign in (1, -1)] for one in weight]
        counts = [len(places) for pair in signs for places in pair]
        self.ends = np.cumsum(counts).reshape(-1, 2)
        self.taps = np.concatenate([places for pair in signs for places in pair])

    def __call__(self, x: Array) -> Array:
        batch, users, rows, columns, channels = x.shape
        edge, maps = self.kernel // 2, batch * users
        axes = (channels, maps, rows + 2 * edge, columns + 2 * edge)
        plane, width = maps * axes[2] * axes[3], axes[3]
        # Behind the last plane there is room for what the last pixels of its border would meet.
        planes = np.full(channels * plane + 2 * edge * (width + 1), self.zero, np.uint8)
        inner = planes[: channels * plane].reshape(axes)[:, :, edge : edge + rows, edge : edge + columns]
        inner[...] = np.moveaxis(x.reshape(maps, rows, columns, channels), -1, 0)
        sums = np.empty((len(self.bias), plane), np.int32)
        add_and_subtract(sums, planes, self.taps @ np.array([plane, width, 1]), self.ends, self.bias)
        y = np.empty((batch, users, rows, columns, len(self.bias)), self.out.dtype)
        view = y.reshape(maps, rows, columns, -1)
        requantize(view, sums.reshape(-1, *axes[1:]), self.multiplier, *self.out.clip)
        return y


class _Convolution:
    """A convolution whose weights are bytes: by products if they are signed, by differences if not."""

    def __init__(self, weight: Array, bias: Array, multiplier: Array, source: Codes, out: Codes) -> None:
        self.channels, _, self.kernel, _ = weight.shape
        self.zero, self.out = np.uint8(source.zero), out
        # What is read beyond the channels is the code of zero, and adds nothing.
        self.weights = _blocks(weight, self.zero if weight.dtype == np.uint8 else 0)
        padding = (0, -self.channels % 32)
        self.bias, self.multiplier = np.pad(bias, padding), np.pad(multiplier, padding)

    def __call__(self, x: Array) -> Array:
        batch, users, rows, columns, _ = x.shape
        y = np.empty((batch, users, rows, columns, self.channels), self.out.dtype)
        wide = _bordered(x, self.kernel // 2, self.zero, -x.shape[4] % 4)
        shape = batch * users, rows, columns
        if self.kernel == 1:
            shape = (1, 1, batch * users * rows * columns)
        convolve(
            y.reshape(*shape, self.channels),
            wide.reshape(shape[0], shape[1] + self.kernel - 1, shape[2] + self.kernel - 1, -1),
            self.weights,
            self.kernel,
            self.bias,
            self.multiplier,
            *self.out.clip,
        )
        return y


def _bordered(x: Array, edge: int, zero: np.uint8, more: int = 0) -> Array:
    """The input with a border of zeros, and more channels, whose weights are zero."""
    if edge == 0 and more == 0:
        return x
    batch, users, rows, columns, channels = x.shape
    wide = np.full((batch, users, rows + 2 * edge, columns + 2 * edge, channels + more), zero, np.uint8)
    wide[:, :, edge : edge + rows, edge : edge + columns, :channels] = x
    return wide


def _blocks(weight: Array, beyond: int | np.uint8) -> Array:
    """Weights (O, I, kernel, kernel) in the order of `convolve`; more channels have weights `beyond`."""
    channels, inputs, kernel, _ = weight.shape
    blocks = []
    for first in range(0, channels, 32):
        block = weight[first : first + 32].transpose(0, 2, 3, 1)
        lanes = 16 if len(block) <= 16 else 32
        padding = (0, lanes - len(block)), (0, 0), (0, 0), (0, -inputs % 4)
        block = np.pad(block, padding, constant_values=beyond)
        fours = block.reshape(lanes, kernel, kernel, -1, 4)
        blocks.append(fours.transpose(1, 2, 3, 0, 4).ravel())
    return np.concatenate(blocks)


def _conv(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    weight = dense(own["weight"], node.attributes["groups"])
    return _convolution(weight, own, inputs[0], out)


def _adder(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    return _Convolution(own["weight"], own["bias"], own["multiplier"], inputs[0], out)


def _rank_conv(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    ranks, kernel = node.attributes["ranks"], node.attributes["kernel"]
    weight = own["weight"].reshape(len(own["weight"]), -1, 1, 1)
    pointwise = _convolution(weight, own, inputs[0], out)

    def run(x: Array) -> Array:
        ranked = x.reshape(*x.shape[:4], -1, ranks)
        runs = [ranked[..., first : first + kernel] for first in range(ranks - kernel + 1)]
        made = [pointwise(np.ascontiguousarray(one).reshape(*x.shape[:4], -1)) for one in runs]
        return np.stack(made, -1).reshape(*x.shape[:4], -1)

    return run


def _merged(inputs: Sequence[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """Shape of the result, and inputs as (outer, middle, inner) of which only the middle broadcasts.

    Where that is not possible nothing broadcasts, and all is inner.
    """
    shape, ends = _middle(tuple(x.shape for x in inputs))
    if ends is None:
        return shape, [_full(x, shape).reshape(1, 1, -1) for x in inputs]
    outer, inner = ends
    return shape, [x.reshape(outer, -1, inner) for x in inputs]


@lru_cache(maxsize=1024)
def _middle(shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    """Shape of the result, and entries of the axes before and behind those that broadcast.

    None if it is not users alone or elements alone that broadcast, in the last inputs alone.
    """
    shape = common_shape(*shapes)
    for begin, end in ((0, 0), (1, 2), (2, 4)):
        ones = (1,) * (end - begin)
        around = all(one[:begin] + one[end:] == shape[:begin] + shape[end:] for one in shapes)
        full = [one == shape for one in shapes]
        within = all(one[begin:end] in (shape[begin:end], ones) for one in shapes)
        if around and within and full == sorted(full, reverse=True):
            return shape, (math.prod(shape[:begin]), math.prod(shape[end:]))
    return shape, None


def _full(x: Array, shape: tuple[int, ...]) -> Array:
    """The input at the full shape: repeated from the last axis on, so that ever longer runs are copied."""
    if x.shape == shape:
        return x
    for axis in reversed(range(len(shape))):
        if x.shape[axis] != shape[axis]:
            x = np.repeat(x, shape[axis], axis)
    return x


def _add(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    zeros = np.array([one.zero for one in inputs], np.int32)
    ends = np.float32(out.zero), out.high - out.low

    def run(*values: Array) -> Array:
        shape, merged = _merged(values)
        y = np.empty(shape, np.uint8)
        full = sum(x.shape == merged[0].shape for x in merged)
        add(y.reshape(merged[0].shape), tuple(merged), full, zeros, own["multiplier"], *ends)
        return y

    return run


def _mul(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    multiplier = np.float32(own["multiplier"])
    ends = np.float32(out.zero), out.high - out.low

    def run(*values: Array) -> Array:
        larger, smaller = (0, 1) if values[0].size >= values[1].size else (1, 0)
        shape, (a, b) = _merged([values[larger], values[smaller]])
        y = np.empty(shape, np.uint8)
        multiply(y.reshape(a.shape), a, b, inputs[larger].zero, inputs[smaller].zero, multiplier, *ends)
        return y

    return run


def _look_up(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    """Tables of all inputs, one after the other along the channels."""

    def run(*values: Array) -> Array:
        axes = common_shape(*(x.shape[:4] for x in values))
        y = np.empty((*axes, sum(x.shape[4] for x in values)), np.uint8)
        first = 0
        for x, table in zip(values, own["table"], strict=True):
            wide = _full(x, (*axes, x.shape[4]))
            look_up(y.reshape(-1, y.shape[4]), wide.reshape(-1, x.shape[4]), table, first)
            first += x.shape[4]
        return y

    return run


def _mean(node: Node, own: Any, inputs: Sequence[Codes], out: Codes) -> Callable[..., Array]:
    (source,), grid = inputs, node.op == "mean_grid"

    def run(x: Array) -> Array:
        batch, users, rows, columns, channels = x.shape
        if grid:
            y, axes = (
                np.empty((batch, users, 1, 1, channels), np.uint8),
                (batch * users, rows * columns, channels),
            )
        else:
            y, axes = (
                np.empty((batch, 1, rows, columns, channels), np.uint8),
                (batch, users, rows * columns * channels),
            )
        count = np.float32(1 if node.op == "sum_users" else axes[1])
        multiplier = source.scale / (out.scale * count)
        sum_middle(y.reshape(axes[0], axes[2]), x.reshape(axes), source.zero, multiplier, *out.clip)
        return y

    return run


_OPERATIONS: dict[str, Callable[..., Callable[..., Array]]] = {
    "conv": _conv,
    "adder": _adder,
    "rank_conv": _rank_conv,
    "add": _add,
    "sub": _add,
    "mul": _mul,
    "sigmoid": _look_up,
    "tanh": _look_up,
    "gain": _look_up,
    "concat": _look_up,
    "mean_grid": _mean,
    "mean_users": _mean,
    "sum_users": _mean,
}
