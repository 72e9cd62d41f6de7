"""Integer operations are those of onnxruntime, bit for bit."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from predictors_graphs import residual_cnn
from predictors_models import operation, random_codes, random_model

from ris.predictors.graph import GraphBuilder
from ris.predictors.module import Network
from ris.predictors.publish import calibrated
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe, train
from studies.benchmarks import onnx_graph


def channels_first(codes):
    batch, users, rows, columns, channels = codes.shape
    return codes.transpose(0, 1, 4, 2, 3).reshape(batch * users, channels, rows, columns)


def graph_of(op, *inputs, width=12, **attributes):
    """A graph that ends with one operation of tensors that have scales of their own."""
    net = GraphBuilder(width)
    made = []
    for kind in inputs:
        scaled = net.conv(net.input, width, 1)
        made.append(scaled if kind == "input" else net.add_node(kind, scaled))
    net.add_node(op, *made, **attributes)
    return net.graph()


def conv(inputs, channels, kernel, groups=1):
    net = GraphBuilder(inputs)
    net.conv(net.input, channels, kernel, groups)
    return net.graph()


FAMILIES = {
    "convolution": [
        (conv(13, 32, 3), (2, 4, 16, 16)),
        (conv(32, 32, 3), (2, 8, 16, 16)),
        (conv(32, 4, 3), (2, 4, 9, 11)),
        (conv(32, 70, 1), (4, 4, 16, 17)),
        (conv(12, 24, 5, 4), (2, 4, 16, 5)),
        (conv(16, 16, 3, 16), (4, 4, 32, 32)),
        (conv(1, 33, 7), (1, 4, 24, 8)),
    ],
    "linear layer": [(conv(64, 257, 1), (64, 64, 1, 1))],
    "rank convolution": [
        (graph_of("rank_conv", "input", width=60, channels=30, kernel=3, ranks=5), (2, 8, 24, 16))
    ],
    "product": [
        (graph_of("mul", "input", "input"), (2, 16, 32, 32)),
        (graph_of("mul", "input", "mean_grid"), (2, 16, 32, 32)),
        (graph_of("mul", "mean_users", "input"), (2, 16, 32, 32)),
    ],
    "concatenation": [
        (graph_of("concat", "input", "mean_users", "input", "mean_grid"), (2, 8, 24, 56)),
        (graph_of("concat", "input"), (2, 16, 64, 64)),
    ],
    "sigmoid": [(graph_of("sigmoid", "input"), (2, 16, 64, 64))],
    "tanh": [(graph_of("tanh", "input"), (2, 16, 64, 64))],
    "mean over the surface": [(graph_of("mean_grid", "input", width=64), (128, 128, 3, 5))],
    "mean over users": [(graph_of("mean_users", "input"), (16, 3, 64, 96))],
    "sum over users": [(graph_of("sum_users", "input"), (16, 4, 64, 96))],
    "maximum over users": [(graph_of("max_users", "input"), (16, 3, 64, 96))],
    "other surface": [(graph_of("other_surface", "input"), (4, 16, 64, 32))],
    "rectifier": [(graph_of("relu", "input"), (2, 16, 64, 64))],
    "channels": [(graph_of("slice", "input", start=3, stop=9), (4, 16, 64, 48))],
    "pixel shuffle": [(graph_of("pixel_shuffle", "input", factor=2), (2, 16, 64, 48))],
    "repeat": [(graph_of("repeat", "input", factor=3), (2, 8, 32, 24))],
    "flatten": [(graph_of("flatten", "input", rows=8, columns=12), (40, 30, 8, 12))],
    "sum": [
        (graph_of("add", "input", "input"), (2, 16, 32, 32)),
        (graph_of("add", "input", "mean_users"), (2, 16, 32, 32)),
        (graph_of("add", "input", "mean_grid"), (2, 16, 32, 32)),
        (graph_of("add", "input", "input", "mean_users"), (2, 16, 32, 32)),
    ],
}
DIFFERENCES = [
    (graph_of("sub", "input", "input"), (2, 16, 48, 32)),
    (graph_of("sub", "mean_users", "input"), (2, 16, 48, 32)),
]


def compared(cases, ties):
    """Differences of the codes between both, as one array."""
    made = []
    for seed, (graph, size) in enumerate(cases):
        rng = np.random.default_rng([seed, ties])
        model, node = random_model(graph, *size[2:], rng, ties), graph.nodes[-1]
        inputs = random_codes(rng, model, node, *size)
        named = {name: channels_first(codes) for name, codes in zip(node.inputs, inputs, strict=True)}
        feed = {f"in_{i}": codes for i, codes in enumerate(named.values())}
        (theirs,) = onnx_graph.single(model, node, *size).run(None, feed)
        ours = channels_first(operation(model, node)(*inputs))
        assert len(np.unique(ours)) > 10
        made.append(ours.astype(int).ravel() - theirs.astype(int).ravel())
    return np.concatenate(made)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_million_codes_of_each_family_are_those_of_onnxruntime(family):
    differences = np.concatenate([compared(FAMILIES[family], ties) for ties in (False, True)])
    assert differences.size >= 10**6
    assert not differences.any()


def test_a_million_differences_are_off_by_one_code_at_most_and_hardly_ever():
    differences = np.concatenate([compared(DIFFERENCES, ties) for ties in (False, True)])
    assert differences.size >= 10**6
    assert np.abs(differences).max() <= 1
    # onnxruntime has sums alone, here of mirrored codes: float32 rounding moves numbers across a tie.
    assert np.count_nonzero(differences) <= 1e-4 * differences.size


def matrix_product(model, x):
    """Codes of QLinearMatMul for the convolution of a model, whose scales enter as their product alone."""
    arrays, one = model.arrays, np.float32(1)
    weight = arrays["conv_1/weight"][:, :, 0, 0].T
    zeros = np.zeros(weight.shape[1], np.int8)
    operands = [
        one,
        arrays["zero_point"][0],
        weight,
        arrays["conv_1/multiplier"],
        zeros,
        one,
        arrays["zero_point"][1],
    ]
    constants = [numpy_helper.from_array(np.asarray(value), f"c{i}") for i, value in enumerate(operands)]
    node = helper.make_node("QLinearMatMul", ["x", *(constant.name for constant in constants)], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, [None, None]) for name in ("x", "y")]
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_a_million_codes_of_linear_layers_are_those_of_a_matrix_product():
    graph, size = conv(96, 257, 1), (32, 128, 1, 1)
    rng = np.random.default_rng(9)
    model, node = random_model(graph, 1, 1, rng), graph.nodes[-1]
    model.arrays["conv_1/bias"][:] = 0  # the operator has none
    (inputs,) = random_codes(rng, model, node, *size)
    made = operation(model, node)(inputs).reshape(-1, 257)
    theirs = matrix_product(model, inputs.reshape(-1, 96))
    assert made.size >= 10**6
    np.testing.assert_array_equal(made, theirs)


def test_a_wrong_multiplier_is_found():
    graph, size = FAMILIES["convolution"][0]
    rng = np.random.default_rng(0)
    model, node = random_model(graph, *size[2:], rng, ties=True), graph.nodes[-1]
    (inputs,) = random_codes(rng, model, node, *size)
    (theirs,) = onnx_graph.single(model, node, *size).run(None, {"in_0": channels_first(inputs)})
    model.arrays["conv_1/multiplier"][:] = np.nextafter(model.arrays["conv_1/multiplier"], np.float32(1))
    assert (channels_first(operation(model, node)(inputs)) != theirs).any()


def test_a_whole_network_is_that_of_onnxruntime():
    rng = np.random.default_rng(3)
    network = Network(residual_cnn(16, 2), 0, 16, 16)
    arrays = {
        name: rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in network.arrays().items()
    }
    network.load_arrays(arrays)
    maps = rng.standard_normal((2, 4, 13, 16, 16)).astype(np.float32)
    quantized = QuantizedNetwork(network)
    quantized.calibrate([torch.from_numpy(maps)])
    model = quantized.export()
    (theirs,) = onnx_graph.whole(model, 2, 4, 16, 16).run(None, {"maps": maps})
    ours = Predictor(model).run(maps).reshape(theirs.shape)
    # The codes before the last convolution are the same, real sums behind it are rounded in another order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["se", "gnn-relu"])
def test_the_codes_of_a_trained_network_are_those_of_onnxruntime(name):
    recipe = Recipe("statistical", name, 0, side=4, steps=4, batch=4)
    model = calibrated(train(recipe).network, recipe).export()
    maps = recipe.make_task().systems("test", 12).maps
    assert onnx_graph.differing_codes(model, maps, 10_000) == (12_288, 0)
