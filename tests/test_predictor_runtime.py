"""Inference with NumPy and Numba."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from predictors_graphs import every_operation, one_adder, residual_cnn
from predictors_models import operation, oracle, random_codes, random_model

from channels.errors import InvalidArgumentError
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import FloatModel, IntegerModel
from ris.predictors.module import Network
from ris.predictors.runtime import Predictor, codebook

SIZES = [(residual_cnn(8, 2), (2, 4, 16, 16)), (every_operation(), (2, 3, 4, 6))]


def trained(graph, rows, columns, seed=0):
    """A network with random parameters."""
    rng = np.random.default_rng(seed)
    network = Network(graph, 0, rows, columns).eval()
    arrays = {
        name: rng.normal(0, 0.3, value.shape).astype(np.float32) for name, value in network.arrays().items()
    }
    network.load_arrays({n: np.abs(v) + 0.5 if n.endswith("variance") else v for n, v in arrays.items()})
    return network


@pytest.mark.parametrize(("graph", "size"), SIZES)
def test_a_float_model_computes_what_torch_does(graph, size):
    network = trained(graph, *size[2:])
    maps = np.random.default_rng(1).standard_normal((*size[:2], graph.input_channels, *size[2:]))
    made = Predictor(FloatModel(graph, network.arrays(), *size[2:])).run(maps)
    with torch.no_grad():
        wanted = network(torch.from_numpy(maps.astype(np.float32))).numpy()
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def one_operation(op, users, rows, columns, channels, other, attributes):
    net = GraphBuilder(channels)
    made = [net.conv(net.input, channels, 1)]
    for kind in other:
        made.append(net.conv(net.input, channels, 1))
        if kind:
            made[-1] = net.add_node(kind, made[-1])
    net.add_node(op, *made, **attributes)
    return net.graph()


@st.composite
def operations(draw):
    """An operation with products or sums, and the size of its input."""
    op = draw(
        st.sampled_from(
            ["conv", "adder", "rank_conv", "add", "sub", "mul", "mean_grid", "mean_users", "sum_users"]
        )
    )
    size = tuple(draw(st.integers(1, high)) for high in (3, 4, 6, 20))
    channels, other, attributes = draw(st.integers(1, 40)), [], {}
    if op == "conv":
        groups = draw(st.sampled_from([1, 1, channels]))
        out = groups * draw(st.integers(1, 70 if groups == 1 else 2))
        attributes = {"channels": out, "kernel": draw(st.sampled_from([1, 3, 5])), "groups": groups}
    elif op == "adder":
        attributes = {"channels": draw(st.integers(1, 40)), "kernel": draw(st.sampled_from([1, 3, 5]))}
    elif op == "rank_conv":
        ranks = draw(st.sampled_from([r for r in range(1, 10) if channels % r == 0]))
        attributes = {
            "channels": draw(st.integers(1, 40)),
            "kernel": draw(st.integers(1, ranks)),
            "ranks": ranks,
        }
    elif op in ("add", "sub", "mul"):
        kinds = st.sampled_from(["", "mean_users", "mean_grid"])
        other = draw(st.lists(kinds, min_size=1, max_size=4 if op == "add" else 1))
    return one_operation(op, *size[1:], channels, other, attributes), size


@settings(max_examples=300, deadline=None)
@given(operations(), st.integers(0, 2**32), st.booleans())
def test_integer_operations_are_those_of_exact_arithmetic(case, seed, ties):
    graph, size = case
    rng = np.random.default_rng(seed)
    model, node = random_model(graph, *size[2:], rng, ties), graph.nodes[-1]
    model.arrays["bits"][-1] = rng.integers(1, 9)
    model.arrays["zero_point"][-1] %= model.highest[-1] + 1
    inputs = random_codes(rng, model, node, *size)
    if rng.random() < 0.3:
        inputs = [rng.choice(np.array([0, 255], np.uint8), codes.shape) for codes in inputs]
    np.testing.assert_array_equal(operation(model, node)(*inputs), oracle(model, node, inputs))


@pytest.mark.parametrize(("kernel", "channels"), [(1, 64), (3, 32)])
def test_the_largest_sums_do_not_wrap(kernel, channels):
    net = GraphBuilder(channels)
    net.conv(net.input, 2, kernel)
    graph = net.graph()
    model, node = random_model(graph, 8, 8, np.random.default_rng(0)), graph.nodes[-1]
    most = 2**31 - 1 - 255 * 127 * channels * kernel**2
    model.arrays["conv_1/weight"][:] = np.array([127, -127])[:, None, None, None]
    model.arrays["conv_1/bias"][:] = most, -most
    model.arrays["conv_1/multiplier"][:] = 100 / 2**31
    model.arrays["zero_point"][:] = 0, 128
    IntegerModel(graph, model.arrays)  # the bound holds
    inputs = [np.full((1, 1, 8, 8, channels), 255, np.uint8)]
    np.testing.assert_array_equal(operation(model, node)(*inputs), oracle(model, node, inputs))
    model.arrays["conv_1/bias"][0] += 1
    with pytest.raises(InvalidArgumentError, match="sums below"):
        IntegerModel(graph, model.arrays)


def moved(graph, codes):
    """What the float runtime makes of codes, as numbers from their zero point."""
    model = random_model(graph, *codes.shape[3:], np.random.default_rng(5))
    zero = int(model.arrays["zero_point"][0])
    whole = Predictor(FloatModel(graph, {}, *codes.shape[3:])).run(codes.astype(np.float32) - zero)
    inputs = np.ascontiguousarray(np.moveaxis(codes, 2, -1))
    values = {"input": inputs}
    for node in graph.nodes[1:]:
        values[node.name] = operation(model, node)(*[values[name] for name in node.inputs])
    return np.moveaxis(values[graph.nodes[-1].name], -1, 2), whole + zero


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("relu", {}),
        ("slice", {"start": 2, "stop": 5}),
        ("max_users", {}),
        ("neighbour_max", {"hops": 2}),
        ("neighbour_median", {"hops": 1}),
        ("neighbour_median", {"hops": 3}),
        ("top_k", {"k": 8}),
        ("top_k", {"k": 3}),
        ("pixel_shuffle", {"factor": 2}),
        ("repeat", {"factor": 3}),
        ("flatten", {"rows": 4, "columns": 7}),
    ],
)
def test_what_moves_codes_moves_them_as_numbers(op, attributes):
    net = GraphBuilder(8)
    net.add_node(op, net.input, **attributes)
    codes = np.random.default_rng(2).integers(0, 256, (2, 3, 8, 4, 7), dtype=np.uint8)
    made, wanted = moved(net.graph(), codes)
    np.testing.assert_array_equal(made, wanted)


def test_unflatten_undoes_flatten():
    net = GraphBuilder(3)
    flat = net.add_node("flatten", net.input, rows=4, columns=5)
    net.add_node("unflatten", flat, rows=4, columns=5)
    codes = np.random.default_rng(2).integers(0, 256, (2, 3, 3, 4, 5), dtype=np.uint8)
    made, wanted = moved(net.graph(), codes)
    np.testing.assert_array_equal(made, codes)
    np.testing.assert_array_equal(wanted, codes)


def test_inputs_are_rounded_half_to_even_and_clipped():
    net = GraphBuilder(1)
    net.add_node("slice", net.input, start=0, stop=1)
    model = random_model(net.graph(), 1, 8, np.random.default_rng(0))
    model.arrays["scale"][:], model.arrays["zero_point"][:] = 0.5, 3
    numbers = np.array([0.25, 0.75, -0.25, -0.75, -1.5, -9.0, 126.0, 400.0])
    made = Predictor(model).codes(numbers.reshape(1, 1, 1, 1, 8)).ravel()
    np.testing.assert_array_equal(made, [3, 5, 3, 1, 0, 0, 255, 255])
    values = Predictor(model).run(numbers.reshape(1, 1, 1, 1, 8)).ravel()
    np.testing.assert_array_equal(values, 0.5 * (made.astype(float) - 3))


@pytest.mark.parametrize(("graph", "size"), SIZES)
def test_users_are_a_symmetric_axis_and_entries_of_a_batch_are_apart(graph, size):
    rng = np.random.default_rng(3)
    predictor = Predictor(random_model(every_or_folded(graph), *size[2:], rng))
    maps = rng.normal(0, 1, (*size[:2], graph.input_channels, *size[2:]))
    made = predictor.codes(maps)
    order = rng.permutation(size[1])
    np.testing.assert_array_equal(
        predictor.codes(maps[:, order]), made if made.shape[1] == 1 else made[:, order]
    )
    # The entries of a pair are the two surfaces of one system; pairs are apart.
    systems = predictor.codes(np.concatenate([maps[::2], 2 * maps[::2], maps[1::2], -maps[1::2]]))
    np.testing.assert_array_equal(systems[::2], made)


def every_or_folded(graph):
    from ris.predictors.folding import fold_batch_norms

    return fold_batch_norms(graph, Network(graph, 0, 4, 6).arrays())[0] if len(graph.nodes) < 45 else graph


@pytest.mark.parametrize("bits", range(1, 9))
def test_phase_levels_are_the_exact_largest_projection(bits):
    net = GraphBuilder(2)
    net.add_node("slice", net.input, start=0, stop=2)
    model = random_model(net.graph(), 256, 256, np.random.default_rng(0))
    model.arrays["scale"][:], model.arrays["zero_point"][:] = 1.0, 117
    grid = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    made = Predictor(model).phase_levels(grid[None, None] - 117.0, bits)[0, 0]
    pairs = grid.astype(np.int64) - 117
    cosines, sines = (table.astype(np.int64) for table in codebook(bits))
    wanted = np.argmax(pairs[0][..., None] * cosines + pairs[1][..., None] * sines, -1)
    np.testing.assert_array_equal(made, wanted)
    # The level is the one whose angle is nearest, but for ties.
    angles = 2 * np.pi * made / 2**bits
    away = np.abs(np.angle(np.exp(1j * (np.arctan2(pairs[1], pairs[0]) - angles))))
    # Entries of the codebook are rounded: neighbours, 2 pi / 2^bits apart, meet a little off the middle.
    assert away[(pairs != 0).any(0)].max() <= np.pi / 2**bits + 2**bits * 5e-6
    assert made[117, 117] == 0


def test_phases_of_a_float_model():
    net = GraphBuilder(2)
    net.add_node("slice", net.input, start=0, stop=2)
    predictor = Predictor(FloatModel(net.graph(), {}))
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (2, 1, 8, 8))
    maps = np.stack([np.cos(angles), np.sin(angles)], 2)
    np.testing.assert_allclose(predictor.phases(maps), angles, atol=1e-6)
    levels = predictor.phase_levels(1e-20 * maps, 3)
    codes = np.rint(maps[:, :, :2] / np.abs(maps).max(2, keepdims=True) * 2**14).astype(np.int64)
    cosines, sines = (table.astype(np.int64) for table in codebook(3))
    products = codes[:, :, 0, ..., None] * cosines + codes[:, :, 1, ..., None] * sines
    np.testing.assert_array_equal(levels, np.argmax(products, -1))
    assert not predictor.phase_levels(0 * maps, 3).any()
    assert np.abs(np.angle(np.exp(1j * (angles - levels * np.pi / 4)))).max() <= np.pi / 8 + 1e-4


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((1, 2, 3, 8)), "axes"),
        (np.zeros((1, 2, 4, 8, 8)), "3 channels"),
        (np.zeros((0, 2, 3, 4, 6)), "axes"),
        (np.full((1, 1, 3, 4, 6), np.nan), "finite"),
        (np.full((1, 1, 3, 4, 6), np.inf), "finite"),
        (np.zeros((1, 1, 3, 4, 6), complex), "real"),
        (np.zeros((1, 1, 3, 5, 6)), "size that was trained|surface of 4 x 6"),
        (np.zeros((1, 0, 3, 4, 6)), "entries"),
    ],
)
def test_bad_inputs_are_refused(maps, message):
    graph = every_operation()
    predictor = Predictor(FloatModel(graph, trained(graph, 4, 6).arrays(), 4, 6))
    with pytest.raises(InvalidArgumentError, match=message):
        predictor.run(maps)


def test_a_model_cannot_ask_for_all_memory():
    net = GraphBuilder(1)
    net.add_node("repeat", net.input, factor=2**14)
    with pytest.raises(InvalidArgumentError, match="entries"):
        Predictor(FloatModel(net.graph(), {}, 2, 2)).run(np.zeros((1, 1, 1, 2, 2)))


def test_more_bad_requests():
    net = GraphBuilder(3)
    net.relu(net.input)
    predictor = Predictor(FloatModel(net.graph(), {}))
    maps = np.zeros((1, 1, 3, 8, 8))
    with pytest.raises(InvalidArgumentError, match="two output channels"):
        predictor.phases(maps)
    with pytest.raises(InvalidArgumentError, match="integer model"):
        predictor.codes(maps)
    with pytest.raises(InvalidArgumentError, match="from 1 to 8"):
        codebook(9)


PORTABLE = """
import hashlib
import numpy as np
from predictors_graphs import one_adder, residual_cnn
from predictors_models import random_model
from ris.predictors._kernels.convolution import convolve
from ris.predictors.runtime import Predictor
for graph in residual_cnn(24, 1), one_adder(13, 24):
    rng = np.random.default_rng(7)
    predictor = Predictor(random_model(graph, 9, 10, rng))
    print(hashlib.sha256(predictor.run(rng.standard_normal((2, 3, 13, 9, 10)))).hexdigest())
print("vpdpbusd" in "".join(convolve.inspect_asm().values()))
"""


def test_processors_without_products_of_bytes_compute_the_same(tmp_path):
    def run(**settings):
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **settings,
        }
        command = [sys.executable, "-c", PORTABLE]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()

    here, there = run(), run(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    for graph, ours, theirs in zip((residual_cnn(24, 1), one_adder(13, 24)), here, there, strict=False):
        rng = np.random.default_rng(7)
        predictor = Predictor(random_model(graph, 9, 10, rng))
        made = predictor.run(rng.standard_normal((2, 3, 13, 9, 10)))
        assert ours == theirs == hashlib.sha256(made).hexdigest()
    assert there[-1] == "False"
