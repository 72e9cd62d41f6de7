"""Trained predictors: a graph with its numbers, as floats or as integers.

An integer model computes with codes. A node's result has a scale s and a zero point z; the code q, an
unsigned byte from 0 to 2^bits - 1, stands for s (q - z). Signed codes would be the same, shifted by 128. All
real arithmetic is float32, rounding is half to even:

    conv, rank_conv   clip(rint(float32(sum (qx - zx) qw + bias) multiplier) + z), with a multiplier
                      float32(float32(sx sw) / s) of each output channel; the border is zx
    adder             clip(rint(float32(sum |qx - qw| + bias) multiplier) + z), with a multiplier
                      float32(-sx scale / s) of each output channel; the border is zx
    mean_*, sum_*     clip(rint(float32(sum (qx - zx)) m) + z), m = sx / (s n) for a mean of n, or sx / s
    add, sub          clip(rint(sum multiplier_i (q_i - z_i) + z)), multiplier_i = +-s_i / s, as sum
                      multiplier_i q_i, the last term first, from z - sum multiplier_i z_i, which is summed
                      in that order too; each product is rounded with the sum that it enters
    mul               clip(rint(float32((qa - za) (qb - zb)) multiplier + z)), multiplier = float32(sa sb) / s

while sigmoid, tanh, gain and concat are tables, q = table[qx], one for each input. All other operations
move or compare codes, so that they share scale and zero point with their input. These are the conventions
of ONNX and of the quantized operators that onnxruntime adds to it. (Whether z is added before or after the
rounding decides ties if z is odd.)

Weights of b bits are whole numbers below 2^(b - 1) in magnitude, or odd ones below 2^b: the 2^b levels of a
grid without zero, which fits a signed byte for up to 7 bits. A difference of codes means one of numbers only
if both have one scale: the weights of an adder have scale, zero point and bits of its input. Its codes are
stored less 2^(bits - 1), as signed bytes.

A rectifier costs nothing where a range begins at zero: the clipping does it.

Behind the last convolutions there is little to compute and no later layer to mend what rounding breaks,
while sizes differ widely between systems, and only the phase of the output counts. So results with 0 bits
are real numbers, float32: of a convolution float32(sum + bias) multiplier with the multiplier float32(sx
sw), of anything else what it makes of real numbers s (q - z). What has a real input is real, and no
convolution.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.predictors.graph import Graph, Node

__all__ = [
    "PARTS",
    "Array",
    "FloatModel",
    "IntegerModel",
    "Layout",
    "Model",
    "float_layout",
    "integer_layout",
    "without_zero",
]

PARTS = "parts"
"""What the metadata of a model call the names of all parts of a network, if the model is only one of them."""

Array = NDArray[Any]
Layout = dict[str, tuple[type[np.generic], tuple[int, ...]]]
"""Type and shape of arrays by name."""

LARGEST_MODEL = 2**26
"""Most entries of all arrays of a model."""

TABLES = ("sigmoid", "tanh", "gain", "concat")
CONVOLUTIONS = ("conv", "rank_conv")
WEIGHTED = (*CONVOLUTIONS, "adder")
OWN_SCALE = ("input", *WEIGHTED, *TABLES, "add", "sub", "mul", "mean_grid", "mean_users", "sum_users")
"""Operations whose results have a scale of their own."""

SMALLEST_SCALE, LARGEST_SCALE = 1e-15, 1e15
"""Between these no float32 of a sum overflows."""


def float_layout(graph: Graph, rows: int, columns: int) -> Layout:
    """Return the arrays of a float model: parameters by "node/parameter"."""
    parameters = graph.parameters(rows, columns)
    return _limited(graph, {name: (np.float32, shape) for name, shape in parameters.items()})


def integer_layout(graph: Graph, rows: int, columns: int) -> Layout:
    """Return the arrays of an integer model.

    "scale", "zero_point" and "bits" of every node's result; "weight_bits" of every node, 0 without weights;
    and by "node/name" weights, biases, multipliers and tables; multipliers of 1 and tables of 0 where a real
    result needs none.
    """
    nodes = (len(graph.nodes),)
    layout: Layout = {
        "scale": (np.float32, nodes),
        "zero_point": (np.uint8, nodes),
        "bits": (np.uint8, nodes),
        "weight_bits": (np.uint8, nodes),
    }
    parameters = graph.parameters(rows, columns)
    for node in graph.nodes:
        if node.op in ("batch_norm", "symmetric_conv"):
            raise InvalidArgumentError(node.name, "nothing that `fold_batch_norms` replaces", node.op)
        if node.op in WEIGHTED:
            weight, bias = parameters[f"{node.name}/weight"], parameters[f"{node.name}/bias"]
            layout[f"{node.name}/weight"] = (np.int8, weight)
            layout[f"{node.name}/bias"] = (np.int32, bias)
            layout[f"{node.name}/multiplier"] = (np.float32, bias)
        elif node.op in ("add", "sub", "mul"):
            layout[f"{node.name}/multiplier"] = (np.float32, () if node.op == "mul" else (len(node.inputs),))
        elif node.op in TABLES:
            layout[f"{node.name}/table"] = (np.uint8, (len(node.inputs), 256))
    return _limited(graph, layout)


def _limited(graph: Graph, layout: Layout) -> Layout:
    """The layout, if it is no larger than LARGEST_MODEL with zeros between the groups of convolutions."""
    groups = {f"{node.name}/weight": node.attributes.get("groups", 1) for node in graph.nodes}
    entries = sum(math.prod(shape) * groups.get(name, 1) for name, (_, shape) in layout.items())
    if entries > LARGEST_MODEL:
        raise InvalidArgumentError("graph", f"at most {LARGEST_MODEL} parameters", f"{entries}")
    return layout


def without_zero(weight: Array, bits: int) -> bool:
    """Whether weights are odd numbers, too large for the symmetric ones of so many bits."""
    return bool((weight % 2 == 1).all() and np.abs(weight.astype(np.int64)).max() >= 2 ** (int(bits) - 1))


@dataclass(frozen=True)
class _Model:
    """What float and integer models have in common.

    Parameters
    ----------
    graph : Graph
        Operations.
    arrays : mapping of str to array
        The numbers, as the layout of the class lists them.
    rows, columns : int
        A surface that fits the graph; any other does too if there is no "flatten".
    metadata : mapping of str to JSON values
        What the model is for, how it was made, what it reached.

    Raises
    ------
    InvalidArgumentError
        If an array is missing or has another type or shape, or a number cannot be.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    rows: int = 8
    columns: int = 8
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def _check_arrays(self, layout: Layout) -> None:
        if set(layout) != set(self.arrays):
            wrong = sorted(set(layout) ^ set(self.arrays))
            raise InvalidArgumentError("arrays", "the arrays of the graph", f"a difference in {wrong[:3]}")
        for name, (dtype, shape) in layout.items():
            array = self.arrays[name]
            if array.dtype != dtype or array.shape != shape:
                expected = f"{np.dtype(dtype)} of shape {shape}"
                raise InvalidArgumentError(name, expected, f"{array.dtype} of shape {array.shape}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InvalidArgumentError(name, "finite numbers", "NaN or infinite ones")


@dataclass(frozen=True)
class FloatModel(_Model):
    """A model in float32."""

    kind = "float"
    layout = staticmethod(float_layout)

    def __post_init__(self) -> None:
        self._check_arrays(self.layout(self.graph, self.rows, self.columns))
        for name, array in self.arrays.items():
            if name.endswith("/variance") and (array < 0).any():
                raise InvalidArgumentError(name, "variances >= 0", f"{array.min()}")

    def bit_operations(self, users: int, rows: int, columns: int) -> int:
        """Return the sum of products times bits of both factors, 32 and 32, for one entry of the batch."""
        return self.graph.bit_operations(users, rows, columns)


@dataclass(frozen=True)
class IntegerModel(_Model):
    """A model in integers; no sum of its convolutions can leave 32 bits, for any input."""

    kind = "integer"
    layout = staticmethod(integer_layout)

    def __post_init__(self) -> None:
        self._check_arrays(self.layout(self.graph, self.rows, self.columns))
        self._check_scales("scale", self.arrays["scale"])
        bits = self.arrays["bits"]
        if bits.max() > 8 or bits[0] == 0:
            raise InvalidArgumentError("bits", "1 to 8 bits, or 0 for real results", f"{bits}")
        if (self.arrays["scale"][bits == 0] != 1).any():
            raise InvalidArgumentError("scale", "1 for real results", "others")
        if (self.arrays["zero_point"] > self.highest).any():
            raise InvalidArgumentError("zero_point", "codes of so many bits", f"{self.arrays['zero_point']}")
        numbers = {node.name: number for number, node in enumerate(self.graph.nodes)}
        for number, node in enumerate(self.graph.nodes):
            real = [bits[numbers[name]] == 0 for name in node.inputs]
            if any(real) and (bits[number] != 0 or node.op in WEIGHTED):
                raise InvalidArgumentError(
                    node.name, "a real result, and no weights, behind real ones", node.op
                )
            if bits[number] == 0 and node.op == "gain":
                raise InvalidArgumentError(node.name, "codes, for its table", "a real result")
            if node.op not in OWN_SCALE:
                self._check_shared(number, numbers[node.inputs[0]], node)
            if node.op in CONVOLUTIONS:
                self._check_sums(number, node)
            elif node.op == "adder":
                self._check_differences(number, numbers[node.inputs[0]], node)
            elif self.arrays["weight_bits"][number] != 0:
                raise InvalidArgumentError(node.name, "0 bits of weights", "others")
            if f"{node.name}/multiplier" in self.arrays:
                name = f"{node.name}/multiplier"
                self._check_scales(name, np.abs(self.arrays[name]))
            if node.op in TABLES and (self.arrays[f"{node.name}/table"] > self.highest[number]).any():
                raise InvalidArgumentError(node.name, "a table of codes of so many bits", "larger ones")

    @property
    def real(self) -> frozenset[str]:
        """Nodes whose results are real numbers."""
        return frozenset(
            node.name for node, bits in zip(self.graph.nodes, self.arrays["bits"], strict=True) if not bits
        )

    @property
    def highest(self) -> NDArray[np.int32]:
        """Largest code of every node's result."""
        return (1 << self.arrays["bits"].astype(np.int32)) - 1

    def bit_operations(self, users: int, rows: int, columns: int) -> int:
        """Return the sum of products times bits of both factors, for one entry of the batch."""
        numbers = {node.name: number for number, node in enumerate(self.graph.nodes)}
        bits, weights = self.arrays["bits"], self.arrays["weight_bits"]
        factors = {}
        for node in self.graph.nodes[1:]:
            inputs = [int(bits[numbers[name]]) or 32 for name in node.inputs]
            factors[node.name] = (inputs[0], int(weights[numbers[node.name]]) or inputs[-1])
        return self.graph.bit_operations(users, rows, columns, factors)

    def weight_codes(self, node: Node) -> NDArray[np.int16]:
        """Return the weights of an adder in the codes of its input."""
        bits = int(self.arrays["weight_bits"][self.graph.nodes.index(node)])
        codes: NDArray[np.int16] = self.arrays[f"{node.name}/weight"] + np.int16(2**bits // 2)
        return codes

    def _check_scales(self, name: str, scales: Array) -> None:
        if not ((scales >= SMALLEST_SCALE) & (scales <= LARGEST_SCALE)).all():
            expected = f"magnitudes from {SMALLEST_SCALE} to {LARGEST_SCALE}"
            raise InvalidArgumentError(name, expected, f"{np.min(scales)} to {np.max(scales)}")

    def _check_shared(self, number: int, source: int, node: Node) -> None:
        for name in ("scale", "zero_point", "bits"):
            if self.arrays[name][number] != self.arrays[name][source]:
                raise InvalidArgumentError(node.name, f"the {name} of its input", "another")

    def _check_sums(self, number: int, node: Node) -> None:
        bits = int(self.arrays["weight_bits"][number])
        weight = self.arrays[f"{node.name}/weight"].astype(np.int64)
        if not 2 <= bits <= 8 or np.abs(weight).max() >= 1 << (bits - 1 + without_zero(weight, bits)):
            raise InvalidArgumentError(
                node.name, "symmetric weights of 2 to 8 bits", f"{bits} bits or larger ones"
            )
        self._check_bound(node, 255 * np.abs(weight))

    def _check_differences(self, number: int, source: int, node: Node) -> None:
        bits, top = int(self.arrays["weight_bits"][number]), int(self.highest[source])
        codes = self.weight_codes(node).astype(np.int64)
        if bits != self.arrays["bits"][source] or codes.min() < 0 or codes.max() > top:
            raise InvalidArgumentError(node.name, "weights in the codes of its input", "others")
        self._check_bound(node, np.maximum(codes, top - codes))

    def _check_bound(self, node: Node, largest: Array) -> None:
        """Check that sums of addends of at most these magnitudes stay in 32 bits."""
        sums = largest.reshape(len(largest), -1).sum(1)
        sums += np.abs(self.arrays[f"{node.name}/bias"].astype(np.int64))
        if sums.max() >= 2**31:
            raise InvalidArgumentError(node.name, "sums below 2^31", f"a bound of {sums.max()}")


Model = FloatModel | IntegerModel
"""What the runtime executes."""
