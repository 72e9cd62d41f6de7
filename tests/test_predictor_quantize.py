"""Calibration, simulated quantization, and export."""

import dataclasses

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn

from channels.errors import InvalidArgumentError
from ris.predictors.equalize import equalized
from ris.predictors.folding import fold_batch_norms, fuse_rectifiers, part_sums, weight_bits
from ris.predictors.graph import GraphBuilder
from ris.predictors.integer_operations import codes_of, integer_operation
from ris.predictors.model import FloatModel
from ris.predictors.module import Network
from ris.predictors.publish import calibrated
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.ranges import BINS, least_squares
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe, optimise, train

GRAPHS = [(residual_cnn(16, 2), (16, 16)), (every_operation(), (4, 6))]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def trained(graph, size, seed=0):
    rng = np.random.default_rng(seed)
    network = Network(graph, 0, *size).eval()
    made = {}
    for name, value in network.arrays().items():
        spread = np.sqrt(2 / np.prod(value.shape[1:])) if value.ndim > 1 else 0.2
        made[name] = rng.normal(0, spread, value.shape).astype(np.float32)
        if name.endswith(("variance", "scale")):
            made[name] = np.abs(made[name]) + np.float32(0.5)
    network.load_arrays(made)
    return network


def inputs(graph, size, count=2, seed=1):
    maps = np.random.default_rng(seed).standard_normal((count, 4, graph.input_channels, *size))
    return torch.from_numpy(maps.astype(np.float32))


def quantized(graph, size, observer="min-max", **bits):
    network = QuantizedNetwork(trained(graph, size), **bits).eval()
    network.calibrate([inputs(graph, size)], observer)
    return network


def test_folding_changes_nothing():
    graph = every_operation()
    network = trained(graph, (4, 6))
    folded, arrays = fold_batch_norms(graph, network.arrays())
    assert "batch_norm" not in {node.op for node in folded.nodes}
    assert len(folded.nodes) == len(graph.nodes) - 2
    maps = inputs(graph, (4, 6)).numpy()
    made = Predictor(FloatModel(folded, arrays, 4, 6)).run(maps)
    wanted = Predictor(FloatModel(graph, network.arrays(), 4, 6)).run(maps)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_a_normalisation_without_a_convolution_becomes_one():
    net = GraphBuilder(3)
    both = net.add_node("add", net.conv(net.input, 3), net.input)
    shared = net.conv(both, 3)
    net.add_node("add", net.add_node("batch_norm", both), net.add_node("batch_norm", shared), shared)
    graph = net.graph()
    network = trained(graph, (5, 5))
    folded, arrays = fold_batch_norms(graph, network.arrays())
    assert [node.op for node in folded.nodes].count("conv") == 4
    maps = inputs(graph, (5, 5)).numpy()
    made = Predictor(FloatModel(folded, arrays)).run(maps)
    np.testing.assert_allclose(
        made, Predictor(FloatModel(graph, network.arrays())).run(maps), rtol=1e-4, atol=1e-5
    )


def test_rectifiers_are_fused_where_nothing_else_needs_what_they_rectify():
    net = GraphBuilder(4)
    state = net.conv(net.input, 4, name="state")
    alone = net.relu(net.conv(net.relu(state), 4, name="alone"))
    net.relu(net.conv(net.relu(net.residual(state, alone)), 4))
    graph, rectified = fuse_rectifiers(net.graph())
    # What is behind the last convolution stays real, and its rectifiers stay.
    assert [node.op for node in graph.nodes] == ["input", "conv", "relu", "conv", "add", "conv", "relu"]
    assert rectified == {"alone", "add_5"}


def test_sums_that_are_added_to_and_go_elsewhere_are_there_twice():
    net = GraphBuilder(3)
    state = net.conv(net.input, 4, name="state")
    for number in range(2):
        state = net.add_node("add", state, net.conv(state, 4, name=f"branch{number}"))
    net.add_node("sub", state, net.relu(state))
    graph = part_sums(net.graph())
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("input", ()),
        ("state", ("input",)),
        ("branch0", ("state",)),
        ("add_3", ("state", "branch0")),
        ("add_3_again", ("state", "branch0")),
        ("branch1", ("add_3",)),
        ("add_5", ("add_3_again", "branch1")),
        ("add_5_again", ("add_3_again", "branch1")),
        ("relu_6", ("add_5",)),
        ("sub_7", ("add_5_again", "relu_6")),
    ]
    plain, parted = trained(net.graph(), (4, 5)), trained(graph, (4, 5))
    maps = inputs(graph, (4, 5))
    torch.testing.assert_close(parted(maps), plain(maps))
    # Nothing to part: sums of which there is one use, or that are only added to.
    for done in (residual_cnn(16, 0), part_sums(graph)):
        assert part_sums(done) == done


def test_first_and_last_convolutions_keep_their_bits():
    bits = weight_bits(residual_cnn(8, 2), 4)
    assert bits["conv_1"] == bits["head"] == 8
    assert sorted(bits.values()) == [4] * 10 + [8] * 2


@pytest.mark.parametrize(("graph", "size"), GRAPHS)
@pytest.mark.parametrize(
    "bits", [{}, {"bits": 4}, {"bits": 4, "activation_bits": 5}, {"bits": 6, "per_channel": False}]
)
def test_every_layer_is_within_one_code_of_the_simulation(graph, size, bits):
    every_layer_agrees(quantized(graph, size, **bits), inputs(graph, size, seed=2))


def test_every_layer_of_the_reference_network_agrees_after_training_with_rounding():
    recipe = Recipe("statistical", "se", 0, side=8, steps=6, batch=4)
    network = calibrated(train(recipe).network, recipe, bits=4, follow=False)
    before = network.rounded_weights()
    optimise(network, dataclasses.replace(recipe, rate=1e-3))
    after = network.rounded_weights()
    assert all((before[name] != after[name]).any() for name in before)
    every_layer_agrees(network, torch.from_numpy(recipe.make_task().systems("test", 4).maps))


def every_layer_agrees(network, maps):
    model = network.export()
    with torch.no_grad():
        simulated = network.results(maps)
    codes = codes_of(model)
    for number, node in enumerate(model.graph.nodes):

        def rounded(name):
            one = codes[name]
            if name in model.real:
                return np.ascontiguousarray(np.moveaxis(simulated[name].numpy(), 2, -1))
            values = np.rint(simulated[name].numpy() / one.scale) + one.zero
            return np.ascontiguousarray(np.moveaxis(values.astype(np.uint8), 2, -1))

        given = [rounded(name) for name in node.inputs] or [maps.numpy()]
        made, wanted = integer_operation(model, node, codes)(*given), rounded(node.name)
        if node.name in model.real:
            np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
            continue
        off = np.abs(made.astype(int) - wanted)
        assert off.max() <= 1, node
        assert np.mean(off) < 0.01, node
        assert made.max() <= model.highest[number]


@pytest.mark.parametrize(("graph", "size"), GRAPHS)
def test_eight_bits_are_close_to_floats_and_four_less_so(graph, size):
    maps = inputs(graph, size, seed=2)
    with torch.no_grad():
        wanted = trained(graph, size)(maps).numpy()
        simulated = {bits: quantized(graph, size, bits=bits)(maps).numpy() for bits in (8, 4)}
    errors = {
        bits: np.linalg.norm(made - wanted) / np.linalg.norm(wanted) for bits, made in simulated.items()
    }
    assert errors[8] < 0.1
    assert errors[8] < errors[4] < 0.6
    made = Predictor(quantized(graph, size).export()).run(maps.numpy())
    np.testing.assert_allclose(made, simulated[8], rtol=1e-3, atol=0.02 * np.abs(wanted).max())


def test_what_is_exported_says_its_bits_and_metadata():
    model = quantized(*GRAPHS[0], bits=4).export({"task": "statistical"})
    assert model.metadata == {"task": "statistical"}
    weights = {
        n.name: int(b) for n, b in zip(model.graph.nodes, model.arrays["weight_bits"], strict=True) if b
    }
    assert weights == weight_bits(model.graph, 4)
    assert np.abs(model.arrays["conv_4/weight"]).max() == 7
    products = model.graph.products(4, 16, 16)
    inner = {name: 8 * weights.get(name, 8) for name in products}
    inner |= {node.name: 32 * 8 for node in model.graph.nodes if node.name in model.real and node.op == "mul"}
    wanted = sum(count * inner[name] for name, count in products.items())
    assert model.bit_operations(4, 16, 16) == wanted


def test_one_scale_for_a_convolution_is_the_largest_of_its_channels():
    each, one = (quantized(*GRAPHS[0], bits=4, per_channel=shared).export() for shared in (True, False))
    scales = {}
    for name, model in (("each", each), ("one", one)):
        # A multiplier is the scale of the input times that of the weights over that of the result.
        made = model.arrays["conv_4/multiplier"].astype(float)
        scales[name] = made * model.arrays["scale"][4] / model.arrays["scale"][3]
    assert len(set(scales["each"])) > 10
    np.testing.assert_allclose(scales["one"], scales["each"].max(), rtol=1e-5)
    assert np.abs(each.arrays["conv_4/weight"]).reshape(16, -1).max(1).min() == 7
    assert np.abs(one.arrays["conv_4/weight"]).reshape(16, -1).max(1).min() < 7


def test_rounded_weights_are_those_of_the_integer_model():
    network = quantized(*GRAPHS[0], bits=4)
    model, weights = network.export(), network.rounded_weights()
    source = dict(zip((node.name for node in model.graph.nodes), model.arrays["scale"], strict=True))
    for name, made in weights.items():
        node = model.graph[name.split("/")[0]]
        scale = (
            model.arrays[f"{node.name}/multiplier"].astype(float) * source[node.name] / source[node.inputs[0]]
        )
        np.testing.assert_allclose(made, model.arrays[name] * scale[:, None, None, None], rtol=1e-5)


def test_ranges_stay_if_they_shall():
    network = QuantizedNetwork(Network(chain()), follow=False)
    network.calibrate([torch.rand(1, 1, 1, 5, 5)], "min-max")
    before = network.high.clone()
    network.train()
    network(torch.full((1, 1, 1, 5, 5), 9.0))
    assert torch.equal(network.high, before)


def chain(*, channels=1):
    net = GraphBuilder(channels)
    net.conv(net.input, 1, 1, name="line")
    return net.graph()


def test_observers_follow_their_definitions():
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 1, 200_000).astype(np.float32)
    numbers[:8] = 40.0  # outliers
    maps = torch.from_numpy(numbers.reshape(1, 1, 1, 400, 500))
    ends = {}
    for observer in ("min-max", "percentile"):
        network = QuantizedNetwork(Network(chain()), activation_bits=4)
        network.calibrate([maps[..., :250], maps[..., 250:]], observer)
        ends[observer] = float(network.low[0]), float(network.high[0])
    assert ends["min-max"] == (numbers.min(), 40.0)
    wanted = np.quantile(numbers, [5e-3, 1 - 5e-3])
    np.testing.assert_allclose(ends["percentile"], wanted, atol=2 * (40 + 5) / 2048)


@pytest.mark.parametrize("bits", [3, 4])
def test_the_range_of_least_squares_beats_all_shares(bits):
    numbers = np.append(np.random.default_rng(0).normal(0, 1, 200_000), np.full(8, 40.0))
    low, high = numbers.min(), numbers.max()
    counts, _ = np.histogram(numbers, BINS, (low, high))

    def error(low, high):
        scale = (high - low) / (2**bits - 1)
        zero = np.rint(-low / scale)
        codes = np.clip(np.rint(numbers / scale) + zero, 0, 2**bits - 1)
        return np.mean((scale * (codes - zero) - numbers) ** 2)

    ends = least_squares(counts.astype(float), low, high, bits)
    assert ends[1] / ends[0] == pytest.approx(high / low)
    assert error(*ends) <= min(error(share * low, share * high) for share in np.linspace(0.3, 1, 36)) * 1.02
    assert error(*ends) < 0.9 * error(low, high)


@pytest.mark.parametrize("other", [0.5, 1000.0])
def test_ranges_by_the_output_cannot_be_halved_with_gain(other):
    """Not even if those of another batch are far too wide, so that a single halving may do harm."""
    graph = residual_cnn(4, 1, 5)
    network = trained(graph, (3, 3))
    maps = inputs(graph, (3, 3))
    maps[:, :, 1] *= 30  # of many sizes
    made = QuantizedNetwork(network).eval()
    made.calibrate([maps, other * maps], "output")
    widest = QuantizedNetwork(network).eval()
    widest.calibrate([maps, other * maps], "min-max")
    nodes = made.graph.nodes

    def directions(last=-1, low=0.0, high=0.0, before=False):
        """With a node's result rounded, of which this is the range, and those before it too if asked for."""
        values = {}
        for i, one in enumerate(nodes):
            values[one.name] = made.exact(one, *[values[name] for name in one.inputs] or [maps])
            if before and i < last and made.low[i] < made.high[i]:
                values[one.name] = made._rounded(one, values[one.name])
            if i == last:
                scale = (high - low) / 255
                zero = np.rint(-low / scale)
                codes = np.clip(np.rint(values[one.name].numpy() / scale) + zero, 0, 255)
                values[one.name] = torch.from_numpy((scale * (codes - zero)).astype(np.float32))
        last = values[nodes[-1].name].numpy()
        return last / np.maximum(np.sqrt((last**2).sum(2, keepdims=True)), 1e-12)

    narrowed = 0
    with torch.no_grad():
        exact = directions()
        for number in range(len(nodes)):
            low, high = float(made.low[number]), float(made.high[number])
            if low == high:
                continue
            whole = float(widest.low[number]), float(widest.high[number])
            narrowed += (low, high) != whole
            error, *others = (
                sum(np.mean((directions(number, *ends, before) - exact) ** 2) for before in (False, True))
                for ends in (
                    (low, high), (low / 2, high), (low / 4, high), (low, high / 2), (low, high / 4), whole
                )
            )  # fmt: skip
            assert error <= min(others) * (1 + 1e-4)
    assert narrowed >= 2


def test_gradients_pass_inside_the_range_and_stop_outside():
    network = QuantizedNetwork(Network(chain())).eval()
    network.network.load_arrays(
        {"line/weight": np.ones((1, 1, 1, 1), np.float32), "line/bias": np.zeros(1, np.float32)}
    )
    network.calibrate([torch.linspace(-1, 1, 9).reshape(1, 1, 1, 1, 9)], "min-max")
    maps = torch.tensor([-3.0, -0.5, 0.0, 0.7, 2.0]).reshape(1, 1, 1, 1, 5).requires_grad_()
    network(maps).sum().backward()
    assert maps.grad.flatten().tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_ranges_follow_in_training_and_rounding_waits_for_its_step():
    network = QuantizedNetwork(Network(chain()), delay=2)
    maps = torch.rand(4, 1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    network.calibrate([maps], "min-max")
    before = float(network.high[0])
    network.train()
    with torch.no_grad():
        exact = network.network(2 * maps)
        first, second, third = (network(2 * maps) for _ in range(3))
    # One weight is its own maximum, so that it is exact.
    torch.testing.assert_close(first, exact)
    torch.testing.assert_close(second, exact)
    expected = before
    for _ in range(3):
        expected += 0.01 * (float(2 * maps.max()) - expected)
    assert float(network.high[0]) == pytest.approx(expected, rel=1e-5)
    weight = float(network.network.arrays()["line/weight"].item())
    steps = third / weight / float(network.export().arrays["scale"][0])
    torch.testing.assert_close(steps, torch.round(steps), rtol=0, atol=1e-3)
    assert len(torch.unique(third)) < len(torch.unique(first))


def test_training_with_quantization_mends_what_rounding_broke():
    graph, size = residual_cnn(8, 1), (8, 8)
    teacher = trained(graph, size)
    maps = inputs(graph, size, 16)
    with torch.no_grad():
        wanted = teacher(maps)
    student = QuantizedNetwork(teacher, bits=2, delay=5)
    student.calibrate([maps])

    def loss():
        return torch.mean((student(maps) - wanted) ** 2)

    student.eval()
    with torch.no_grad():
        before = float(loss())
    student.train()
    optimizer = torch.optim.Adam(student.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    student.eval()
    with torch.no_grad():
        after = float(loss())
    assert after < 0.5 * before
    made = Predictor(student.export()).run(maps.numpy())
    assert float(np.mean((made - wanted.numpy()) ** 2)) == pytest.approx(after, rel=0.02)


def test_channels_of_nothing_and_large_biases_are_exported_soundly():
    net = GraphBuilder(2)
    net.conv(net.input, 3, 1, name="line")
    network = Network(net.graph())
    weight = np.array([[1e-9, 0], [0, 0], [0, 0]], np.float32)[:, :, None, None]
    network.load_arrays({"line/weight": weight, "line/bias": np.array([5, 0, -3], np.float32)})
    quantizing = QuantizedNetwork(network).eval()
    maps = inputs(net.graph(), (4, 4))
    quantizing.calibrate([maps], "min-max")
    made = Predictor(quantizing.export()).run(maps.numpy())
    np.testing.assert_allclose(
        made, np.broadcast_to(np.array([5, 0, -3.0])[:, None, None], made.shape), atol=0.02
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "bits"),
        ({"bits": 9}, "bits"),
        ({"activation_bits": 0}, "activation_bits"),
        ({"delay": -1}, "delay"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        QuantizedNetwork(Network(chain()), **options)


def test_bad_calibrations_are_refused():
    network = QuantizedNetwork(Network(chain()))
    with pytest.raises(InvalidArgumentError, match="batches"):
        network.calibrate([])
    with pytest.raises(InvalidArgumentError, match="observer"):
        network.calibrate([torch.zeros(1, 1, 1, 2, 2)], "guess")
    with pytest.raises(InvalidArgumentError, match="calibrated"):
        network.export()
    with pytest.raises(InvalidArgumentError, match="finite"):
        network.calibrate([torch.full((1, 1, 1, 2, 2), torch.nan)])


@pytest.mark.parametrize(("graph", "size"), GRAPHS)
def test_equalizing_changes_nothing(graph, size):
    network, maps = trained(graph, size), inputs(graph, size)
    made = equalized(network, [maps])
    with torch.no_grad():
        wanted = network(inputs(graph, size, seed=2))
        ours = made(inputs(graph, size, seed=2))
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    before, after = network.arrays(), made.arrays()
    assert any(np.any(after[name] != before[name]) for name in after)


@pytest.mark.parametrize(("factor", "served"), [(100.0, True), (1.0, False)])
def test_channels_are_equalized_where_the_output_says_so(factor, served, monkeypatch):
    """Beside a large channel it serves; a division that leaves one channel alone with its scale does not."""
    net = GraphBuilder(4)
    net.conv(net.relu(net.conv(net.input, 8, name="first")), 2, name="second")
    network, maps = trained(net.graph(), (8, 8)), inputs(net.graph(), (8, 8), 8)

    def scaled(one, by):
        arrays = {name: value.copy() for name, value in one.arrays().items()}
        for name in ("first/weight", "first/bias"):
            arrays[name][0] *= by
        arrays["second/weight"][:, 0] /= by
        made = Network(one.graph, 0, 8, 8)
        made.load_arrays(arrays)
        return made

    network = scaled(network, factor)
    if not served:
        monkeypatch.setattr("ris.predictors.publish.equalized", lambda one, batches: scaled(one, 100.0))
    monkeypatch.setattr("ris.predictors.publish.training_maps", lambda recipe, batches: [maps.numpy()])
    made = calibrated(network, None, "output", ready=True)
    with torch.no_grad():
        ends = [made.network.own(made.graph[name])["weight"] for name in ("first", "second")]
        whole = [network.own(network.graph[name])["weight"] for name in ("first", "second")]
    assert all(torch.equal(one, other) != served for one, other in zip(ends, whole, strict=True))


def test_equalizing_divides_by_square_roots_of_sizes_and_helps_beside_a_large_channel():
    net = GraphBuilder(4)
    net.conv(net.relu(net.conv(net.input, 8, name="first")), 2, name="second")
    network, maps = trained(net.graph(), (8, 8)), inputs(net.graph(), (8, 8), 8)
    with torch.no_grad():
        getattr(network, "first/weight")[0] *= 100
        getattr(network, "first/bias")[0] *= 100
        getattr(network, "second/weight")[:, 0] /= 100
        wanted, made = network(maps), equalized(network, [maps])
        first = torch.nn.functional.conv2d(
            maps.flatten(0, 1), *network.own(net.graph()["first"]).values(), padding=1
        )
        sizes = first.abs().amax((0, 2, 3)).numpy()
        divisors = np.sqrt(sizes / sizes.max())
        errors = []
        for one in (network, made):
            rounded = QuantizedNetwork(one).eval()
            rounded.calibrate([maps], "min-max")
            errors.append(float((rounded(maps) - wanted).norm()))
    scaled = network.arrays()["first/weight"] / divisors[:, None, None, None]
    np.testing.assert_allclose(made.arrays()["first/weight"], scaled, rtol=1e-4)
    assert errors[1] < 0.5 * errors[0]
