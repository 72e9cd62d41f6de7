"""Inference without torch: a model of floats or of integers, executed with NumPy and Numba."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from channels.checks import finite, integer
from channels.errors import InvalidArgumentError
from ris.predictors.float_operations import float_operation
from ris.predictors.graph import Node
from ris.predictors.integer_operations import codes_of, integer_operation
from ris.predictors.model import Array, FloatModel, IntegerModel, Model

__all__ = ["Predictor", "codebook"]

MOST_ADDENDS = 2**23
"""So many codes can be summed in 32 bits."""

MOST_ENTRIES = 2**28
"""Of a tensor, for one entry of the batch; a model from elsewhere shall not fill the memory."""


class Predictor:
    """A model that is ready to run.

    Parameters
    ----------
    model : FloatModel or IntegerModel
        From training, or from a file.
    additions : bool
        Whether convolutions with weights of -1, 0 and 1 add and subtract codes, as many as there are weights
        that are not zero, and multiply none. Results are the same. Processors that multiply bytes four at a
        time take longer so: measured with AVX-512 VNNI 123 us against 22 for 8 maps of 8 x 8 elements, 32
        channels in and out and kernels of 3 by 3, if 88 % of the weights are zero.
    """

    def __init__(self, model: Model, additions: bool = False) -> None:
        self.model = model
        self._sizes: set[tuple[int, ...]] = set()
        last = {name: node.name for node in model.graph.nodes for name in node.inputs}
        self._done = {
            node.name: [one for one in last if last[one] == node.name] for node in model.graph.nodes
        }
        if isinstance(model, IntegerModel):
            self._codes = codes_of(model)
            self._steps = self._prepared(lambda node: integer_operation(model, node, self._codes, additions))
        elif isinstance(model, FloatModel):
            self._steps = self._prepared(lambda node: float_operation(model.arrays, node))
        else:
            raise InvalidArgumentError("model", "a float or integer model", repr(model))

    def run(self, maps: Array) -> NDArray[np.float32]:
        """Return the output for an input, both with axes (batch, user, channel, row, column).

        Raises
        ------
        InvalidArgumentError
            If the input is not finite and real, or its shape does not fit the graph.
        """
        values = self._execute(maps)
        if values.dtype == np.uint8:
            values = self._codes[self.model.graph.nodes[-1].name].numbers(values)
        return np.ascontiguousarray(np.moveaxis(values, -1, 2))

    def codes(self, maps: Array) -> NDArray[np.uint8]:
        """Return the codes of an output that has some, axes (batch, user, channel, row, column)."""
        if not isinstance(self.model, IntegerModel) or self.model.graph.nodes[-1].name in self.model.real:
            raise InvalidArgumentError("model", "an integer model with codes as output", "real numbers")
        return np.ascontiguousarray(np.moveaxis(self._execute(maps), -1, 2))

    def phases(self, maps: Array) -> NDArray[np.float32]:
        """Return phase shifts (batch, user, row, column) from output channels (cosine, sine)."""
        made = self._two(self.run(maps))
        return np.arctan2(made[:, :, 1], made[:, :, 0])

    def phase_levels(self, maps: Array, bits: int) -> NDArray[np.uint8]:
        """Return the level i of the phase shift 2 pi i / 2^bits, axes (batch, user, row, column).

        It is the i of the largest c C_i + s S_i in integers, with the table (C, S) of `codebook`, the least
        one among equals. c and s are the output's codes from their zero point, or the real cosine and sine
        over the larger of their magnitudes, times 2^14 and rounded half to even.
        """
        cosines, sines = codebook(bits)
        values = self._two(np.moveaxis(self._execute(maps), -1, 2))
        if values.dtype == np.uint8:
            pairs = values.astype(np.int32) - self._codes[self.model.graph.nodes[-1].name].zero
        else:
            largest = np.maximum(np.abs(values).max(2, keepdims=True), np.finfo(np.float32).tiny)
            pairs = np.rint(values / largest * np.float32(2**14)).astype(np.int32)
        c, s = pairs[:, :, 0, ..., None], pairs[:, :, 1, ..., None]
        levels: NDArray[np.uint8] = np.argmax(c * cosines + s * sines, -1).astype(np.uint8)
        return levels

    def _two(self, made: Array) -> Array:
        if made.shape[2] != 2:
            raise InvalidArgumentError("model", "two output channels, cosine and sine", f"{made.shape[2]}")
        return made

    def _prepared(
        self, operation: Callable[[Node], Callable[..., Array]]
    ) -> list[tuple[Node, Callable[..., Array]]]:
        first, *others = self.model.graph.nodes
        head = operation(first) if isinstance(self.model, IntegerModel) else _channels_last
        return [(first, head), *((node, operation(node)) for node in others)]

    def _execute(self, maps: Array) -> Array:
        maps = self._checked(maps)
        values: dict[str, Array] = {}
        for node, step in self._steps:
            values[node.name] = step(*[values[name] for name in node.inputs]) if node.inputs else step(maps)
            for name in self._done[node.name]:
                del values[name]
        return values[node.name]

    def _checked(self, maps: Array) -> Array:
        maps = np.asarray(maps)
        if maps.dtype.kind not in "fiu":
            raise InvalidArgumentError("maps", "real numbers", f"dtype {maps.dtype}")
        maps = finite("maps", maps.astype(np.float32, copy=False))
        channels = self.model.graph.input_channels
        if maps.ndim != 5 or maps.shape[2] != channels or maps.shape[0] == 0:
            expected = f"axes (batch, user, channel, row, column) with {channels} channels"
            raise InvalidArgumentError("maps", expected, f"shape {maps.shape}")
        _, users, _, rows, columns = maps.shape
        if (users, rows, columns) not in self._sizes:
            self._check_size(users, rows, columns)
            self._sizes.add((users, rows, columns))
        return maps

    def _check_size(self, users: int, rows: int, columns: int) -> None:
        graph = self.model.graph
        fitting = self.model.layout(graph, rows, columns)
        if any(fitting[name][1] != array.shape for name, array in self.model.arrays.items()):
            raise InvalidArgumentError(
                "maps", "a surface of the size that was trained", f"{rows} x {columns}"
            )
        for name, shape in graph.shapes(users, rows, columns).items():
            if math.prod(shape) > MOST_ENTRIES:
                raise InvalidArgumentError(name, f"at most {MOST_ENTRIES} entries", f"{tuple(shape)}")
            if max(shape.users, shape.rows * shape.columns) > MOST_ADDENDS:
                raise InvalidArgumentError(
                    name, f"at most {MOST_ADDENDS} users and elements", f"{tuple(shape)}"
                )


@cache
def codebook(bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return rint(32767 cos) and rint(32767 sin) of the phase shifts 2 pi i / 2^bits, i = 0 .. 2^bits - 1."""
    if integer("bits", bits, minimum=1) > 8:
        raise InvalidArgumentError("bits", "an integer from 1 to 8", repr(bits))
    angles = 2 * math.pi * np.arange(2**bits) / 2**bits
    return np.rint(32767 * np.cos(angles)).astype(np.int32), np.rint(32767 * np.sin(angles)).astype(np.int32)


def _channels_last(maps: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(maps, 2, -1))
