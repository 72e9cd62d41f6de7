"""ONNX graphs of integer operators, built from integer models: the same arithmetic in the hands of others.

Tensors have axes (batch x user, channel, row, column). Needs onnx and onnxruntime.
"""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper, numpy_helper

from ris.predictors.graph import Graph, Node
from ris.predictors.model import OWN_SCALE, Array, IntegerModel
from ris.predictors.runtime import Predictor

__all__ = ["WITHOUT", "differing_codes", "single", "whole"]

MICROSOFT = "com.microsoft"
"""Domain of quantized operators that ONNX itself does not have."""

REAL = {
    "add": "Sum",
    "sub": "Sub",
    "mul": "Mul",
    "concat": "Concat",
    "sum_users": "ReduceSum",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
"""Operators of real results; other operations move them as they move codes."""

WITHOUT = ("neighbour_max", "neighbour_median", "top_k")
"""Operations without an ONNX operator."""


def whole(model: IntegerModel, batch: int, users: int, rows: int, columns: int) -> Any:
    """Return a session from float maps (batch, user, channel, row, column) to the codes of the output."""
    writer = _Writer(model, batch, users, rows, columns)
    first, *others = model.graph.nodes
    shape = [batch, users, first.attributes["channels"], rows, columns]
    writer.inputs.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, shape))
    quantized = writer.add("QuantizeLinear", "maps", *writer.codes(first.name))
    writer.reshape(quantized, (batch * users, *shape[2:]), first.name)
    for node in others:
        writer.node(node)
    return writer.session(model.graph.nodes[-1].name)


def single(model: IntegerModel, node: Node, batch: int, users: int, rows: int, columns: int) -> Any:
    """Return a session from the codes of a node's inputs ("in_0", ...) to those of its result."""
    writer = _Writer(model, batch, users, rows, columns)
    for i, name in enumerate(dict.fromkeys(node.inputs)):
        writer.inputs.append(helper.make_tensor_value_info(f"in_{i}", TensorProto.UINT8, writer.shape(name)))
        writer.add("Identity", f"in_{i}", out=name)
    writer.node(node)
    return writer.session(node.name)


def differing_codes(model: IntegerModel, maps: Array, codes: int) -> tuple[int, int]:
    """Count codes before the last convolution, and those that onnxruntime computes otherwise.

    Parameters
    ----------
    model : IntegerModel
        Whose results are real from its last convolution on.
    maps : ndarray, shape (2 B, users, channels, rows, columns)
        Inputs of B systems.
    codes : int
        So many codes are compared at least, or those of all systems.
    """
    part, compared, differing = _before_real(model), 0, 0
    predictor = Predictor(part)
    session = whole(part, 2, *maps.shape[1:2], *maps.shape[3:])
    for first in range(0, len(maps), 2):
        if compared >= codes:
            break
        given = maps[first : first + 2]
        ours = predictor.codes(given)
        (theirs,) = session.run(None, {"maps": given})
        compared += ours.size
        differing += int(np.count_nonzero(ours != theirs.reshape(ours.shape)))
    return compared, differing


def _before_real(model: IntegerModel) -> IntegerModel:
    """The model as far as its last convolution, without it."""
    last = next(node for node in model.graph.nodes if node.name in model.real).inputs[0]
    count = 1 + next(i for i, node in enumerate(model.graph.nodes) if node.name == last)
    graph = Graph(model.graph.nodes[:count])
    arrays = {name: model.arrays[name] for name in IntegerModel.layout(graph, model.rows, model.columns)}
    arrays |= {name: model.arrays[name][:count] for name in ("scale", "zero_point", "bits", "weight_bits")}
    return IntegerModel(graph, arrays, model.rows, model.columns)


class _Writer:
    """Collects the ONNX nodes of a model's graph for one size of the input."""

    def __init__(self, model: IntegerModel, batch: int, users: int, rows: int, columns: int) -> None:
        self.model, self.batch = model, batch
        self.shapes = model.graph.shapes(users, rows, columns)
        self.numbers = {node.name: number for number, node in enumerate(model.graph.nodes)}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []

    def shape(self, name: str) -> tuple[int, ...]:
        users, *others = self.shapes[name]
        return self.batch * users, *others

    def with_users(self, name: str) -> tuple[int, ...]:
        return self.batch, *self.shapes[name]

    def constant(self, value: ArrayLike, dtype: DTypeLike) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def codes(self, name: str, factor: int = 1) -> tuple[str, str]:
        """Scale and zero point of a node's result."""
        number = self.numbers[name]
        scale, zero = self.model.arrays["scale"][number], self.model.arrays["zero_point"][number]
        return self.constant(scale / np.float32(factor), np.float32), self.constant(zero, np.uint8)

    def add(self, op: str, *inputs: str, out: str | None = None, domain: str = "", **attributes: Any) -> str:
        out = out or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], domain=domain, **attributes))
        return out

    def reshape(self, name: str, shape: ArrayLike, out: str | None = None) -> str:
        return self.add("Reshape", name, self.constant(shape, np.int64), out=out)

    def session(self, output: str) -> Any:
        element = TensorProto.FLOAT if output in self.model.real else TensorProto.UINT8
        made = helper.make_tensor_value_info(output, element, self.shape(output))
        graph = helper.make_graph(self.nodes, "model", self.inputs, [made], self.constants)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        onnx_model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Processors without products of bytes would saturate sums of two 16-bit products.
        options.add_session_config_entry("session.x64quantprecision", "1")
        return onnxruntime.InferenceSession(onnx_model.SerializeToString(), options, ["CPUExecutionProvider"])

    def node(self, node: Node) -> None:
        if node.name in self.model.real and node.op in REAL:
            self._real(node)
        else:
            getattr(self, f"_{node.op}")(node, *node.inputs)
            top = int(self.model.highest[self.numbers[node.name]])
            if node.op in OWN_SCALE and 0 < top < 255:
                self._clip(node.name, top)

    def _clip(self, name: str, top: int) -> None:
        """Codes of fewer bits: onnxruntime has those of bytes alone."""
        wide = self.nodes[-1].output[0] = f"{name}_wide"
        self.add("Min", wide, self.constant(top, np.uint8), out=name)

    def _real(self, node: Node) -> None:
        """Real numbers from real numbers, or from codes; with users of their own axis."""
        inputs = []
        for name in node.inputs:
            value = name if name in self.model.real else self.add("DequantizeLinear", name, *self.codes(name))
            inputs.append(self.reshape(value, self.with_users(name)))
        if node.op == "sum_users":
            inputs.append(self.constant([1], np.int64))
        attributes: dict[str, Any] = {"axis": 2} if node.op == "concat" else {}
        made = self.add(REAL[node.op], *inputs, **attributes)
        self.reshape(made, self.shape(node.name), node.name)

    def own(self, node: Node, name: str) -> Array:
        return self.model.arrays[f"{node.name}/{name}"]

    def _convolve(self, x: str, node: Node, weight: Array, out: str | None, **attributes: Any) -> str:
        # Scales enter as xs ws / ys alone: with xs = ys = 1 the multiplier stands in for ws.
        one, multiplier = (
            self.constant(1, np.float32),
            self.constant(self.own(node, "multiplier"), np.float32),
        )
        zeros = self.constant(np.zeros(len(weight)), np.int8)
        inputs = [x, one, self.codes(node.inputs[0])[1], self.constant(weight, np.int8), multiplier, zeros]
        inputs += [one, self.codes(node.name)[1], self.constant(self.own(node, "bias"), np.int32)]
        return self.add("QLinearConv", *inputs, out=out, **attributes)

    def _conv(self, node: Node, x: str) -> None:
        edge, weight = node.attributes["kernel"] // 2, self.own(node, "weight")
        around: dict[str, Any] = {"pads": [edge] * 4, "group": node.attributes["groups"]}
        if node.name not in self.model.real:
            self._convolve(x, node, weight, node.name, **around)
            return
        sums = self.add("ConvInteger", x, self.constant(weight, np.int8), self.codes(x)[1], **around)
        bias, multiplier = (self.own(node, name)[:, None, None] for name in ("bias", "multiplier"))
        total = self.add("Cast", self.add("Add", sums, self.constant(bias, np.int32)), to=TensorProto.FLOAT)
        self.add("Mul", total, self.constant(multiplier, np.float32), out=node.name)

    def _adder(self, node: Node, x: str) -> None:
        kernel, (_, _, rows, columns) = node.attributes["kernel"], self.shape(x)
        edge, (_, zero) = kernel // 2, self.codes(x)
        wide, border = (self.add("Cast", name, to=TensorProto.INT32) for name in (x, zero))
        wide = self.add("Pad", wide, self.constant([0, 0, edge, edge] * 2, np.int64), border)
        sums = self.constant(self.own(node, "bias")[:, None, None], np.int32)
        weights = self.model.weight_codes(node)[..., None, None]
        for i in range(kernel):
            for j in range(kernel):
                ends = [self.constant(end, np.int64) for end in ([i, j], [i + rows, j + columns], [2, 3])]
                seen = self.add("Unsqueeze", self.add("Slice", wide, *ends), self.constant([1], np.int64))
                apart = self.add("Abs", self.add("Sub", seen, self.constant(weights[:, :, i, j], np.int32)))
                apart = self.add("ReduceSum", apart, self.constant([2], np.int64), keepdims=0)
                sums = self.add("Add", sums, apart)
        real = self.add("Cast", sums, to=TensorProto.FLOAT)
        real = self.add("Mul", real, self.constant(self.own(node, "multiplier")[:, None, None], np.float32))
        one = self.constant(1, np.float32)
        self.add("QuantizeLinear", real, one, self.codes(node.name)[1], out=node.name)

    def _rank_conv(self, node: Node, x: str) -> None:
        maps, channels, rows, columns = self.shape(x)
        ranks, out = node.attributes["ranks"], node.attributes["channels"]
        wide = self.reshape(x, (maps, channels // ranks, ranks, rows, columns))
        wide = self.add("Transpose", wide, perm=[0, 3, 4, 1, 2])
        wide = self.reshape(wide, (maps * rows * columns, channels // ranks, ranks))
        made = self._convolve(wide, node, self.own(node, "weight"), None)
        made = self.reshape(made, (maps, rows, columns, out, -1))
        made = self.add("Transpose", made, perm=[0, 3, 4, 1, 2])
        self.reshape(made, self.shape(node.name), node.name)

    def _binary(self, op: str, node: Node, triples: list[tuple[str, str, str]]) -> None:
        """A quantized operator of two tensors; with users of their own axis if one is common to them."""
        split = self.shapes[node.inputs[0]].users != self.shapes[node.inputs[1]].users
        inputs = []
        for (value, scale, zero), name in zip(triples, node.inputs, strict=True):
            inputs += [self.reshape(value, self.with_users(name)) if split else value, scale, zero]
        made = self.add(
            op, *inputs, *self.codes(node.name), domain=MICROSOFT, out=None if split else node.name
        )
        if split:
            self.reshape(made, self.shape(node.name), node.name)

    def _add(self, node: Node, *inputs: str) -> None:
        if len(inputs) == 2:
            self._binary("QLinearAdd", node, [(name, *self.codes(name)) for name in inputs])
            return
        # Of more there is no operator: step by step as `IntegerModel` states it, with products in double.
        terms = list(zip(inputs, self.own(node, "multiplier"), strict=True))[::-1]
        moved = np.float32(0)
        for name, multiplier in terms:
            zero = np.float64(self.model.arrays["zero_point"][self.numbers[name]])
            moved = np.float32(multiplier * zero + moved)
        own_zero = np.float32(self.model.arrays["zero_point"][self.numbers[node.name]])
        total = self.constant(own_zero - moved, np.float32)
        for name, multiplier in terms:
            wide = self.add("Cast", self.reshape(name, self.with_users(name)), to=TensorProto.DOUBLE)
            product = self.add("Mul", wide, self.constant(multiplier, np.float64))
            exact = self.add("Add", product, self.add("Cast", total, to=TensorProto.DOUBLE))
            total = self.add("Cast", exact, to=TensorProto.FLOAT)
        rounded = self.add("QuantizeLinear", total, self.constant(1, np.float32), self.constant(0, np.uint8))
        self.reshape(rounded, self.shape(node.name), node.name)

    def _sub(self, node: Node, one: str, other: str) -> None:
        # -s (q - z) = s ((255 - q) - (255 - z))
        scale, _ = self.codes(other)
        zero = self.constant(255 - self.model.arrays["zero_point"][self.numbers[other]], np.uint8)
        negative = (self.add("BitwiseNot", other), scale, zero)
        self._binary("QLinearAdd", node, [(one, *self.codes(one)), negative])

    def _mul(self, node: Node, one: str, other: str) -> None:
        self._binary("QLinearMul", node, [(name, *self.codes(name)) for name in (one, other)])

    def _concat(self, node: Node, *inputs: str) -> None:
        axes = self.with_users(node.name)
        triples = []
        for name in inputs:
            channels = self.shapes[name].channels
            shape = self.constant((*axes[:2], channels, *axes[3:]), np.int64)
            wide = self.add("Expand", self.reshape(name, self.with_users(name)), shape)
            triples += [wide, *self.codes(name)]
        made = self.add("QLinearConcat", *self.codes(node.name), *triples, domain=MICROSOFT, axis=2)
        self.reshape(made, self.shape(node.name), node.name)

    def _sigmoid(self, node: Node, x: str) -> None:
        codes = (*self.codes(x), *self.codes(node.name))
        self.add("QLinearSigmoid", x, *codes, domain=MICROSOFT, out=node.name)

    def _tanh(self, node: Node, x: str) -> None:
        made = self.add("Tanh", self.add("DequantizeLinear", x, *self.codes(x)))
        self.add("QuantizeLinear", made, *self.codes(node.name), out=node.name)

    def _mean_grid(self, node: Node, x: str) -> None:
        self._average(x, self.codes(x), self.codes(node.name), 0, node.name)

    def _average(
        self, x: str, given: tuple[str, str], made: tuple[str, str], last: int, out: str | None
    ) -> str:
        return self.add(
            "QLinearGlobalAveragePool", x, *given, *made, domain=MICROSOFT, channels_last=last, out=out
        )

    def _mean_users(self, node: Node, x: str, factor: int = 1) -> None:
        # Users as rows of a tensor whose channels come last need no transposition.
        batch, users, *others = self.with_users(x)
        wide = self.reshape(x, (batch, users, 1, int(np.prod(others))))
        mean = self._average(wide, self.codes(x), self.codes(node.name, factor), 1, None)
        self.reshape(mean, self.shape(node.name), node.name)

    def _sum_users(self, node: Node, x: str) -> None:
        self._mean_users(node, x, self.shapes[x].users)

    def _relu(self, node: Node, x: str) -> None:
        self.add("Max", x, self.codes(x)[1], out=node.name)

    def _slice(self, node: Node, x: str) -> None:
        ends = [self.constant([node.attributes[name]], np.int64) for name in ("start", "stop")]
        self.add("Slice", x, *ends, self.constant([1], np.int64), out=node.name)

    def _max_users(self, node: Node, x: str) -> None:
        wide = self.reshape(x, self.with_users(x))
        made = self.add("ReduceMax", wide, self.constant([1], np.int64))
        self.reshape(made, self.shape(node.name), node.name)

    def _other_surface(self, node: Node, x: str) -> None:
        half = self.shape(x)[0] // 2
        ends = (self.constant([number], np.int64) for number in (0, half, 2 * half, 0))
        first, middle, last, axis = ends
        one, other = self.add("Slice", x, first, middle, axis), self.add("Slice", x, middle, last, axis)
        self.add("Concat", other, one, out=node.name, axis=0)

    def _pixel_shuffle(self, node: Node, x: str) -> None:
        maps, channels, rows, columns = self.shape(x)
        f = node.attributes["factor"]
        made = self.reshape(x, (maps, channels // f**2, f, f, rows, columns))
        made = self.add("Transpose", made, perm=[0, 1, 4, 2, 5, 3])
        self.reshape(made, self.shape(node.name), node.name)

    def _repeat(self, node: Node, x: str) -> None:
        maps, channels, rows, columns = self.shape(x)
        f = node.attributes["factor"]
        made = self.reshape(x, (maps, channels, rows, 1, columns, 1))
        made = self.add("Expand", made, self.constant((maps, channels, rows, f, columns, f), np.int64))
        self.reshape(made, self.shape(node.name), node.name)

    def _flatten(self, node: Node, x: str) -> None:
        self.reshape(x, self.shape(node.name), node.name)

    _unflatten = _flatten
