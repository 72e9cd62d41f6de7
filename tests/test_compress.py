"""Methods of compression: error feedback against loops, the walk over a network, mixed precision, sizes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn
from predictors_models import operation, oracle, random_codes, random_model
from random_networks import random_network

from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.predictors import train
from ris.predictors.compress import gpfq as walk
from ris.predictors.compress import ternary as ternary_module
from ris.predictors.compress.coding import coded_bytes
from ris.predictors.compress.error_feedback import feed_back, hard, nearest, soft, stochastic
from ris.predictors.compress.further import control, stages
from ris.predictors.compress.gpfq import gpfq
from ris.predictors.compress.methods import METHODS, compressed, size_of
from ris.predictors.compress.mixed_precision import CHOICES, mixed_bits, spread
from ris.predictors.compress.rounding import batches_of, rounded
from ris.predictors.compress.sensitivity import sensitivities
from ris.predictors.compress.ternary import TernaryNetwork, ternary
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import CONVOLUTIONS, FloatModel, IntegerModel
from ris.predictors.model_file import (
    PACKINGS,
    _pack,
    _unpack,
    decode_model,
    encode_model,
    packed_bytes,
    read_model,
    write_model,
)
from ris.predictors.module import Network
from ris.predictors.networks import NETWORKS
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe
from ris.predictors.weights import recipes_of
from studies.cli import run_command
from studies.experiment import run_experiment

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Family:
    """A recipe and its task in one: maps of random numbers in place of systems."""

    batch, seed = 4, 0

    def __init__(self, channels, size):
        self.channels, self.size = channels, size

    def make_task(self):
        return self

    def training_batch(self, step, count, seed):
        shape = (2 * count, 3, self.channels, *self.size)
        maps = np.random.default_rng([step, seed]).standard_normal(shape) + 0.3
        return SimpleNamespace(maps=maps.astype(np.float32))


# --- error feedback


def naive(weight, exact, rounded, scale, top, rounding):
    """Codes of one neuron, term by term as the definition has it."""
    samples, residual, codes = len(exact), [0.0] * len(exact), []
    for t, w in enumerate(weight):
        met = [rounded[i][t] for i in range(samples)]
        residual = [residual[i] + w * exact[i][t] for i in range(samples)]
        power = math.fsum(x * x for x in met)
        wanted = math.fsum(r * x for r, x in zip(residual, met, strict=True)) / power if power else 0.0
        codes.append(min(max(rounding(wanted / scale), -top), top))
        residual = [r - scale * codes[-1] * x for r, x in zip(residual, met, strict=True)]
    return codes, residual


def layer(neurons=5, inputs=40, samples=25, seed=0):
    rng = np.random.default_rng(seed)
    exact = np.maximum(rng.standard_normal((samples, inputs)), 0) + 0.1
    return rng.uniform(-1, 1, (neurons, inputs)), exact, exact + 0.05 * rng.standard_normal(exact.shape)


def threshold(level):
    return lambda x: round(x) if abs(x) > level else 0


@pytest.mark.parametrize(
    ("rounding", "plain"),
    [
        (nearest, round),
        (soft(0.4), lambda x: round(math.copysign(max(abs(x) - 0.4, 0.0), x))),
        (hard(0.9), threshold(0.9)),
    ],
)
@pytest.mark.parametrize("top", [1, 3, 7])
def test_every_neuron_against_a_loop(rounding, plain, top):
    weight, exact, rounded = layer()
    rounded[:, 7] = 0.0  # an input that is always zero
    scale = np.abs(weight).max(1) / (top + 0.5)
    codes, residual = feed_back(weight, exact, rounded, scale, top, rounding)
    for n in range(len(weight)):
        wanted, left = naive(weight[n], exact.tolist(), rounded.tolist(), scale[n], top, plain)
        assert codes[n].tolist() == wanted
        np.testing.assert_allclose(residual[n], left, atol=1e-12)
    assert np.abs(codes).max() == top
    assert not codes[:, 7].any()
    np.testing.assert_allclose(residual, weight @ exact.T - (scale[:, None] * codes) @ rounded.T, atol=1e-12)


def test_codes_are_those_of_brevitas():
    """Of its 0.13.4, `gpfq_mode` in float64: two layers of per-channel codes with a rectifier between."""

    def sines(*shape):
        return np.sin(np.arange(1, np.prod(shape) + 1) ** 2).reshape(shape)

    inputs, first, last = sines(50, 6), sines(9, 6), sines(3, 9)
    step = np.abs(first).max(1) / 7
    codes, _ = feed_back(first, inputs, inputs, step, 7)
    assert codes.tolist() == [
        [6, -5, 3, -2, -1, -7], [-7, 6, -4, -4, 7, -3], [-4, 7, -7, -7, 0, -3], [2, -6, 7, 1, 7, -7],
        [1, -4, 1, -7, -6, 7], [-2, -1, 6, -1, -1, 7], [-5, -6, 3, -6, -2, -7], [7, 5, 7, -7, -3, -7],
        [6, -6, -2, 7, 4, 5],
    ]  # fmt: skip
    exact, rounded = (np.maximum(inputs @ one.T, 0) for one in (first, step[:, None] * codes))
    codes, _ = feed_back(last, exact, rounded, np.abs(last).max(1) / 3, 3)
    assert codes.tolist() == [
        [3, -2, 1, -1, 0, -3, -3, 2, -2], [-2, 3, -1, -2, 3, -3, -3, 0, -1], [1, -3, 3, 1, 3, -3, 0, -2, 0]
    ]  # fmt: skip
    # Rounding to nearest would give others.
    assert np.any(codes != np.rint(last / np.abs(last).max(1, keepdims=True) * 3))


def test_weights_of_samples_are_repetitions():
    weight, exact, rounded = layer(samples=30)
    times = np.random.default_rng(2).integers(0, 4, (len(weight), 30))
    scale = np.abs(weight).max(1) / 3
    codes, residual = feed_back(weight, exact, rounded, scale, 3, importance=times.astype(float))
    for n, each in enumerate(times):
        row = slice(n, n + 1)
        wanted, left = feed_back(weight[row], exact.repeat(each, 0), rounded.repeat(each, 0), scale[row], 3)
        np.testing.assert_array_equal(codes[row], wanted)
        np.testing.assert_allclose(residual[row].repeat(each, 1), left, atol=1e-12)
    assert np.any(codes != feed_back(weight, exact, rounded, scale, 3)[0])


def test_error_feedback_beats_rounding_for_every_neuron():
    weight, exact, _ = layer(neurons=30, inputs=200)
    codes, residual = feed_back(weight, exact, exact, np.full(30, 0.5), 2)
    rounding = (weight - 0.5 * np.rint(weight / 0.5)) @ exact.T
    assert np.all((residual**2).sum(1) < (rounding**2).sum(1))
    assert np.median((residual**2).sum(1) / (rounding**2).sum(1)) < 0.3
    assert set(np.unique(codes)) == {-2, -1, 0, 1, 2}


def test_thresholds_make_zeros_where_they_say():
    x = np.array([-2.2, -0.9, -0.3, 0.0, 0.6, 1.4, 1.6])
    assert soft(0.5)(x).tolist() == [-2, 0, 0, 0, 0, 1, 1]
    assert hard(1.0)(x).tolist() == [-2, 0, 0, 0, 0, 1, 2]
    assert nearest(np.array([0.5, 1.5, -0.5])).tolist() == [0, 2, 0]
    with pytest.raises(InvalidArgumentError, match="threshold"):
        soft(-1)
    with pytest.raises(InvalidArgumentError, match="threshold"):
        hard(math.nan)


def test_stochastic_rounding_is_right_on_average():
    x = np.array([-1.3, -0.25, 0.0, 0.5, 2.9])
    rounding, count = stochastic(Stream(3, "test")), 20_000
    made = np.array([rounding(x) for _ in range(count)])
    assert np.all((made == np.floor(x)) | (made == np.floor(x) + 1))
    share = x - np.floor(x)
    # 6.5 standard errors: a false alarm once in 1e10.
    assert np.all(np.abs(made.mean(0) - x) <= 6.5 * np.sqrt(share * (1 - share) / count))
    again = stochastic(Stream(3, "test"))
    np.testing.assert_array_equal([again(x) for _ in range(5)], made[:5])


# --- networks


def one_layer(op):
    net = GraphBuilder(6)
    state = net.input
    if op == "rank_conv":
        net.add_node("rank_conv", state, channels=4, kernel=2, ranks=3)
    else:
        net.conv(state, 4, 3 if op != "dense" else 1, groups=2 if op == "groups" else 1)
    return net.graph()


@pytest.mark.parametrize("op", ["conv", "groups", "dense", "rank_conv"])
def test_patches_times_weights_are_the_layer(op):
    graph = one_layer(op)
    network, node = random_network(graph), graph.nodes[-1]
    maps = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 6, 5, 7)).astype(np.float32))
    own = network.own(node)
    patches = walk._patches(node, maps)
    per_group = own["weight"].flatten(1).unflatten(0, (len(patches), -1))
    with torch.no_grad():
        made = (patches @ per_group.mT).movedim(0, 1).flatten(1) + own["bias"]
        wanted = network(maps)
    if op == "rank_conv":
        made = made.reshape(2, 3, 5, 7, 2, 4).permute(0, 1, 5, 4, 2, 3).flatten(2, 3)
    else:
        made = made.reshape(2, 3, 5, 7, 4).movedim(-1, 2)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("radius", "weighted"), [("row", False), ("layer", False), ("row", True)])
def test_codes_of_a_grouped_layer_are_those_of_its_patches(radius, weighted, monkeypatch):
    monkeypatch.setattr(walk, "PATCHES", 10**9)
    net = GraphBuilder(6)
    net.conv(net.conv(net.input, 6, 1), 4, groups=2)
    graph = net.graph()
    network, family = random_network(graph), Family(6, (5, 5))
    _, first, node = graph.nodes
    bits = {first.name: 3, node.name: 3}
    quantized = gpfq(network, family, bits, systems=8, radius=radius, weighted=weighted)
    model = quantized.export()
    batches = [torch.from_numpy(family.training_batch(step, 4, 0).maps) for step in range(2)]
    # What the layer meets without codes, and behind those of the first one; results are real for both.
    whole = walk.rounded(network, family, bits, None, equalize=False)
    coded = gpfq(network, family, bits, None, systems=8, radius=radius, weighted=weighted)
    exact, rounded = (
        torch.cat([walk._patches(node, layer(first, one)) for one in batches], 1).detach().double().numpy()
        for layer in (whole.exact, coded.simulated)
    )
    assert not np.array_equal(exact, rounded)
    weight = network.own(node)["weight"].detach().double().flatten(1).numpy()
    importance = np.ones((4, exact.shape[1]))
    if weighted:
        slopes = sensitivities(whole, batches)[node.name]
        slopes = torch.cat([one.movedim(2, 0).flatten(1) for one in slopes], 1).double().numpy()
        importance = slopes / slopes.mean(1, keepdims=True) + walk.DAMPING
    largest = np.abs(weight).max(1)
    step = walk.STRETCH / 4 * (largest if radius == "row" else np.full(4, largest.max()))
    for g, rows in enumerate((slice(0, 2), slice(2, 4))):
        codes, residual = feed_back(
            weight[rows], exact[g], rounded[g], step[rows], 3, importance=importance[rows]
        )
        made = model.arrays[f"{node.name}/weight"][rows].reshape(2, -1)
        np.testing.assert_array_equal(made, codes)
        # The biases take up the mean errors.
        bias = quantized.network.own(node)["bias"][rows].detach().numpy()
        wanted = network.own(node)["bias"][rows].detach().numpy()
        wanted = wanted + (importance[rows] * residual).sum(1) / importance[rows].sum(1)
        np.testing.assert_allclose(bias, wanted, rtol=1e-5, atol=1e-6)
    plain = gpfq(network, family, bits, systems=8, radius=radius, correct_bias=False)
    torch.testing.assert_close(plain.network.own(node)["bias"], network.own(node)["bias"])


def test_sensitivities_against_the_output_after_every_small_error(monkeypatch):
    net = GraphBuilder(3)
    net.conv(net.relu(net.conv(net.input, 2)), 4, 1)
    graph = net.graph()
    first, last = graph.nodes[1].name, graph.nodes[-1].name
    maps = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 1, 3, 2, 3)).astype(np.float32))
    quantized = rounded(random_network(graph), Family(3, (2, 3)), 8, systems=4)
    # Every number of the output in turn, instead of random sums of them.
    numbers = 2 * 4 * 2 * 3
    monkeypatch.setattr("ris.predictors.compress.sensitivity.PROJECTIONS", numbers)
    monkeypatch.setattr(
        "ris.predictors.compress.sensitivity.normal",
        lambda stream, size, count: math.sqrt(count) * np.eye(count, size),
    )
    found = sensitivities(quantized, [maps, 2 * maps])
    assert list(found) == [first, last]

    def directions(name, error=0.0):
        made = quantized.exact(graph[first], maps) + (error if name == first else 0.0)
        made = quantized.exact(graph[last], torch.relu(made)) + (error if name == last else 0.0)
        return made / made.square().sum(2, keepdim=True).sqrt()

    small = 1e-3
    corner = quantized.exact(graph[first], maps).abs() < small  # of the rectifier: no slope is right there
    for name, (made, other) in found.items():
        assert made.shape == other.shape == (2, 1, 2 if name == first else 4, 2, 3)
        smooth = ~corner.flatten() if name == first else torch.ones(made.numel(), dtype=torch.bool)
        for i in torch.nonzero(smooth).flatten():
            error = torch.zeros(made.numel())
            error[i] = small
            with torch.no_grad():
                above, below = (directions(name, sign * error.reshape(made.shape)) for sign in (1, -1))
            wanted = ((above - below) / (2 * small)).square().sum()
            torch.testing.assert_close(made.flatten()[i], wanted, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(("graph", "size"), [(residual_cnn(12, 2, 5), (8, 8)), (every_operation(), (4, 6))])
@pytest.mark.parametrize("results", [None, 8])
def test_networks_lose_less_than_by_rounding(graph, size, results):
    network, family = random_network(graph, size), Family(graph.input_channels, size)
    maps = torch.from_numpy(family.training_batch(9, 4, 1).maps)
    with torch.no_grad():
        wanted = network(maps)
        made = [method(network, family, 3, results, systems=16)(maps) for method in (rounded, gpfq)]
    errors = [float(((one - wanted) ** 2).mean() / (wanted**2).mean()) for one in made]
    assert errors[1] < 0.7 * errors[0]


def test_what_is_exported_runs_without_torch_as_it_was_simulated():
    graph, size = every_operation(), (4, 6)
    family = Family(3, size)
    quantized = gpfq(random_network(graph, size), family, 4, systems=8)
    model = decode_model(encode_model(quantized.export()))
    weights = zip(model.graph.nodes, model.arrays["weight_bits"], strict=True)
    assert {node.name: bits for node, bits in weights if bits} == quantized.weight_bits
    maps = family.training_batch(5, 4, 0).maps
    with torch.no_grad():
        simulated = quantized(torch.from_numpy(maps)).numpy()
    made = Predictor(model).run(maps)
    assert np.mean((made - simulated) ** 2) < 1e-3 * np.mean(simulated**2)


def test_the_same_systems_give_the_same_model():
    graph = residual_cnn(8, 1, 5)
    network, family = random_network(graph), Family(5, (8, 8))
    one, other, more = (gpfq(network, family, 3, systems=count).export() for count in (8, 8, 16))
    assert encode_model(one) == encode_model(other) != encode_model(more)


def test_chosen_codes_stay_on_their_steps_and_are_checked():
    graph = one_layer("conv")
    name, network = graph.nodes[-1].name, random_network(graph)
    quantized = rounded(network, Family(6, (5, 5)), {name: 3}, systems=4)
    codes = torch.randint(-3, 4, (4, 6, 3, 3), generator=torch.Generator().manual_seed(0)).double()
    step, bias = torch.tensor([0.5, 0.25, 0.1, 2.0]), torch.tensor([1.0, 0, -1, 3])
    quantized.set_weights(name, codes, step, bias)
    exported = quantized.export().arrays
    np.testing.assert_array_equal(exported[f"{name}/weight"], codes.numpy())
    np.testing.assert_allclose(exported[f"{name}/bias"] * step.numpy(), bias / exported["scale"][0], atol=1.1)
    with torch.no_grad():
        quantized.network.own(graph.nodes[-1])["weight"][0, 0, 0, 0] += 1.1  # two steps, as training may
    moved = quantized.export().arrays[f"{name}/weight"] - codes.numpy()
    assert moved[0, 0, 0, 0] == min(2, 3 - codes[0, 0, 0, 0])
    assert np.count_nonzero(moved) <= 1
    for wrong in (codes + 4, codes + 0.5):
        with pytest.raises(InvalidArgumentError, match="codes"):
            quantized.set_weights(name, wrong, step, bias)


def test_weights_alone_leave_results_as_they_are():
    graph = residual_cnn(8, 1, 5)
    network, family = random_network(graph), Family(5, (8, 8))
    quantized = rounded(network, family, 8, None, systems=4, equalize=False)
    own = {}
    for node in quantized.graph.nodes:
        if node.op in CONVOLUTIONS:
            weight = network.own(node)["weight"].detach()
            scale = weight.abs().flatten(1).amax(1)[:, None, None, None] / 127
            own[f"{node.name}/weight"] = (torch.round(weight / scale) * scale).numpy()
            own[f"{node.name}/bias"] = network.arrays()[f"{node.name}/bias"]
    exact = Network(graph).eval()
    exact.load_arrays(network.arrays() | own)
    maps = torch.from_numpy(family.training_batch(0, 2, 0).maps)
    with torch.no_grad():
        # The biases are rounded, finely.
        torch.testing.assert_close(quantized(maps), exact(maps), rtol=0, atol=2e-3)
    with pytest.raises(InvalidArgumentError, match="codes"):
        quantized.export()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": "column"}, "radius"),
        ({"stretch": 0.0}, "stretch"),
        ({"systems": 0}, "systems"),
        ({"bits": 9}, "bits"),
        ({"bits": {"nowhere": 4}}, "bits"),
        ({"bits": {"conv_1": 1}}, "conv_1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        gpfq(random_network(one_layer("conv")), Family(6, (5, 5)), **options)


def test_whole_batches():
    assert [batches_of(Recipe(batch=64), systems) for systems in (1, 64, 255, 256)] == [1, 1, 3, 4]


# --- mixed precision


def test_bits_go_where_they_save_most():
    costs = {"a": {2: 9.0, 3: 1.0, 4: 0.5}, "b": {2: 2.0, 3: 1.0, 4: 0.0}, "c": {2: 8.0, 3: 8.0, 4: 1.0}}
    weights = {"a": 10, "b": 10, "c": 30}
    assert spread(costs, weights, 2.0) == {"a": 2, "b": 2, "c": 2}
    assert spread(costs, weights, 2.2) == {"a": 3, "b": 2, "c": 2}
    assert spread(costs, weights, 2.4) == {"a": 3, "b": 3, "c": 2}
    # Two bits at once for c save 7 for 60: more for each than the next bit of b, if there are so many left.
    assert spread(costs, weights, 3.38) == {"a": 4, "b": 4, "c": 2}
    assert spread(costs, weights, 3.6) == {"a": 3, "b": 3, "c": 4}
    assert spread(costs, weights, 8.0) == {"a": 4, "b": 4, "c": 4}
    for mean in (1.9, math.nan):
        with pytest.raises(InvalidArgumentError, match="mean"):
            spread(costs, weights, mean)


def test_mixed_precision_keeps_to_its_mean():
    recipe = Recipe("instantaneous", "se", side=4, batch=4)
    network = random_network(NETWORKS["cnn"](recipe.make_task().channels, 4))
    bits = mixed_bits(network, recipe, 3.5)
    shapes = network.graph.parameters(4, 4)
    weights = {name: math.prod(shapes[f"{name}/weight"]) for name in bits}
    mean = sum(bits[name] * weights[name] for name in bits) / sum(weights.values())
    assert 3.2 < mean <= 3.5
    assert set(bits.values()) <= set(CHOICES)
    assert len(set(bits.values())) > 1
    assert gpfq(network, recipe, bits, systems=4).weight_bits == {
        node.name: bits.get(node.name, 8) for node in network.graph.nodes if node.op == "conv"
    }


# --- models, files and the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    recipe = {"task": "instantaneous", "network": "cnn", "seed": 0, "side": 4, "batch": 4}
    graph = NETWORKS["cnn"](Recipe(**recipe).make_task().channels, 4)
    model = FloatModel(graph, random_network(graph, (4, 4)).arrays(), 4, 4, {"recipes": [recipe]})
    path = tmp_path_factory.mktemp("models") / "tiny.h5"
    write_model(model, path)
    return path


@pytest.mark.parametrize("method", ["rounding", "gpfq"])
def test_methods_without_training_make_a_model_that_says_where_it_comes_from(method, trained):
    source = read_model(trained)
    assert method in METHODS
    made = compressed(source, method, 3.0, "as the test says", 8)
    assert made.metadata["command"] == "as the test says"
    assert recipes_of(made) == recipes_of(source) == [Recipe(**source.metadata["recipes"][0])]
    assert made.metadata["metrics"]["systems"] == 8
    weights = sum(array.size for name, array in made.arrays.items() if name.endswith("/weight"))
    size, before = size_of(made, 4), size_of(source, 4)
    assert before.packed == 4 * sum(array.size for array in source.arrays.values())
    assert weights / 2 < size.packed < weights / 2 + 12_000
    assert size.file == len(encode_model(made))
    assert (size.coded, before.coded) == (coded_bytes(made), before.packed)
    assert before.bit_operations == 2 * source.graph.bit_operations(4, 4, 4)
    assert 20 < before.bit_operations / size.bit_operations < 42


def test_what_cannot_be_compressed_is_refused(trained):
    source = read_model(trained)
    with pytest.raises(InvalidArgumentError, match="method"):
        compressed(source, "zip", 4, "", 8)
    with pytest.raises(InvalidArgumentError, match="share"):
        compressed(source, "gpfq", 4, "", 8, share=0.5)
    unknown = FloatModel(source.graph, source.arrays, 4, 4, {"recipes": [{"colour": "red"}]})
    for model in (unknown, FloatModel(source.graph, source.arrays, 4, 4)):
        with pytest.raises(InvalidArgumentError, match="recipe"):
            compressed(model, "gpfq", 4, "", 8)


def test_the_command(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = ["compress", "rounding", "--model", str(trained), "--systems", "4", "--bits", "3.5"]
    assert run_command(told) == 0
    made = read_model(tmp_path / "tiny-int3.5-rounding.h5")
    assert made.metadata["command"] == f"ris compress rounding --model {trained} --bits 3.5"
    text = capsys.readouterr().out
    assert "tiny-int3.5-rounding" in text
    assert f"{len(encode_model(made)) / 1000:.1f}" in text
    assert run_command(told) == 2
    assert "--force" in capsys.readouterr().err
    assert run_command([*told, "--force"]) == 0
    assert run_command(["compress", "rounding", "--model", "tiny-int3.5-rounding.h5"]) == 2
    assert "floats" in capsys.readouterr().err


def test_the_gaussian_experiment_agrees_and_finds_a_mistake(monkeypatch):
    assert run_experiment("claims/gpfq_gaussian", seed=20, quick=True).passed

    def rounding(weight, exact, rounded, scale, top):
        codes = np.clip(np.rint(weight / scale[:, None]), -top, top)
        return codes, (weight - scale[:, None] * codes) @ exact.T

    monkeypatch.setattr("studies.experiments.claims.gpfq_gaussian.feed_back", rounding)
    assert not run_experiment("claims/gpfq_gaussian", seed=20, quick=True).passed


# --- weights of 2 bits


def ternary_model(graph, size, zeros=0.5, seed=0):
    rng = np.random.default_rng(seed)
    model = random_model(graph, *size, rng)
    arrays = dict(model.arrays)
    for number, node in enumerate(graph.nodes):
        if node.op in CONVOLUTIONS:
            arrays["weight_bits"][number] = 2
            name, signs = f"{node.name}/weight", (1 - zeros) / 2
            arrays[name] = rng.choice([-1, 0, 1], arrays[name].shape, p=[signs, zeros, signs]).astype(np.int8)
            arrays[f"{node.name}/bias"] //= 16
            arrays[f"{node.name}/multiplier"] = np.float32(40) * arrays[f"{node.name}/multiplier"]
    return IntegerModel(graph, arrays, *size)


@pytest.mark.parametrize("op", ["conv", "groups", "dense", "rank_conv"])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (40, 60)])
def test_additions_and_subtractions_are_the_convolution(op, size):
    graph = one_layer(op)
    model, rng = ternary_model(graph, size), np.random.default_rng(1)
    node = graph.nodes[-1]
    (codes,) = random_codes(rng, model, node, 2, 3, *size)
    wanted = oracle(model, node, [codes])
    for additions in (False, True):
        np.testing.assert_array_equal(operation(model, node, additions)(codes), wanted)
    assert len(np.unique(wanted)) > 3


def test_real_results_of_additions_and_subtractions():
    graph = one_layer("conv")
    model, node = ternary_model(graph, (5, 7)), graph.nodes[-1]
    arrays = dict(model.arrays) | {"bits": np.array([8, 0], np.uint8)}
    arrays["scale"][1], arrays["zero_point"][1] = 1, 0
    real = IntegerModel(graph, arrays, 5, 7)
    (codes,) = random_codes(np.random.default_rng(1), model, node, 2, 3, 5, 7)
    np.testing.assert_array_equal(operation(real, node, additions=True)(codes), operation(real, node)(codes))


@pytest.mark.parametrize("entries", [1, 4, 5, 6, 643])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_packed_weights_come_back(bits, entries):
    _, base, digits = PACKINGS[bits]
    top = 2 ** (bits - 1) - 1
    values = np.random.default_rng(0).integers(-top, top + 1, entries).astype(np.int8)
    packed = _pack(values, base, digits)
    assert packed.size == -(-entries // digits)
    np.testing.assert_array_equal(_unpack(packed, base, digits, entries), values)


def test_packed_bytes_are_as_documented():
    assert _pack(np.array([1, -1, 0, 0, 1, -1], np.int8), 3, 5).tolist() == [1 + 2 * 3 + 81, 2]
    assert _pack(np.array([7, -7, -1], np.int8), 16, 2).tolist() == [7 + 9 * 16, 15]
    with pytest.raises(ValueError, match="above 242"):
        _unpack(np.array([243], np.uint8), 3, 5, 5)


def test_ternary_models_are_stored_in_their_entropy_nearly():
    net = GraphBuilder(64)
    net.conv(net.input, 64)
    graph = net.graph()
    model = ternary_model(graph, (8, 8), zeros=0.88)
    read = decode_model(encode_model(model))
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    weights, rest = 9 * 64**2, 64 * 8 + 2 * (4 + 1 + 1 + 1)
    assert packed_bytes(model) == math.ceil(weights / 5) + rest
    dense_model = ternary_model(graph, (8, 8), zeros=1 / 3)
    saved = len(encode_model(dense_model)) - len(encode_model(model))
    # log2(3) - 0.65 bits a weight less, and gzip is near.
    assert saved * 8 / weights > 0.75 * (math.log2(3) - 0.65)


# --- ternary weights by training


def tiny(steps=30):
    recipe = Recipe("instantaneous", "cnn", side=4, steps=steps, batch=8)
    graph = NETWORKS["cnn"](recipe.make_task().channels, 4)
    return recipe, graph


def test_ternary_weights_are_the_best_of_their_signs():
    _, graph = tiny()
    network = random_network(graph, (4, 4))
    made = TernaryNetwork(network)
    cosines = []
    for share in (0.0, 0.5, 0.88):
        made.zeros = share
        cosines.append({name: float(one.detach()) for name, one in made.cosines().items()})
        for name in made.ternary_layers:
            weight = network.own(graph[name])["weight"].detach()
            scale, codes = made._weight_codes(name, weight, 1, torch.zeros(len(weight)))
            assert float((codes == 0).float().mean()) == pytest.approx(share, abs=2 / codes.numel())
            image = scale[:, None, None, None] * codes
            assert set(codes.unique().tolist()) <= {-1.0, 0.0, 1.0}
            # The error of least squares is at right angles to the image.
            assert torch.all(((weight - image) * image).flatten(1).sum(1).abs() < 1e-4)
    assert min(min(one.values()) for one in cosines) > 0.5
    # Of normal weights the half that is larger has a direction nearest to that of its signs.
    assert all(cosines[1][name] > max(cosines[0][name], cosines[2][name]) for name in cosines[0])


def test_training_through_ternary_weights_mends_and_keeps_the_support(monkeypatch):
    recipe, graph = tiny()
    network, seen = random_network(graph, (4, 4)), []

    def optimise(made, stage, **how):
        seen.append((made.zeros, bool(made._support), stage.seed, stage.steps, stage.rate))
        before = float(made.mean_cosine().detach())
        train.optimise(made, stage, **how)
        angles.append((before, float(made.mean_cosine().detach())))

    monkeypatch.setattr(ternary_module, "optimise", optimise)
    angles, told = [], []
    made = ternary(
        network,
        recipe,
        steps=40,
        rate=3e-3,
        shares=(0.3, 0.5),
        progress=lambda share, text: told.append(share),
    )
    assert told == [1 / 3, 2 / 3, 1]
    assert made.angles == angles
    # In every stage weights turn towards their images.
    assert all(before < behind for before, behind in angles)
    assert seen == [
        (0.3, False, 1000, 40, 3e-3),
        (0.5, False, 2000, 40, 3e-3),
        (0.5, True, 3000, 40, 3e-3),
    ]
    before = rounded(network, recipe, 2, systems=16)
    rates = [float(train.rates_on(recipe, one, "test", 32).mean()) for one in (before, made)]
    assert rates[1] > 1.02 * rates[0]
    model = made.export()
    for name in made.ternary_layers:
        codes = model.arrays[f"{name}/weight"]
        assert np.abs(codes).max() == 1
        # A weight of the frozen support that passes through 0 keeps its place.
        np.testing.assert_array_equal(codes != 0, made._support[name].numpy())
        assert np.mean(codes == 0) == pytest.approx(0.5, abs=0.01)
    read = decode_model(encode_model(model))
    maps = recipe.make_task().systems("test", 4).maps
    with torch.no_grad():
        simulated = made(torch.from_numpy(maps)).numpy()
    executed = Predictor(read).run(maps)
    assert np.mean((executed - simulated) ** 2) < 1e-3 * np.mean(simulated**2)
    np.testing.assert_array_equal(Predictor(read, additions=True).run(maps), executed)


def test_the_control_takes_the_same_steps_and_leaves_its_network():
    recipe, graph = tiny()
    network = random_network(graph, (4, 4))
    kept, follow = network.arrays(), stages(recipe, 4, 1e-3, 2)
    assert [(one.seed, one.steps, one.rate, one.batch) for one in follow] == [
        (1000, 4, 1e-3, 8),
        (2000, 4, 1e-3, 8),
    ]
    made = control(network, follow)
    wanted = Network(graph, 0, 4, 4)
    wanted.load_arrays(kept)
    for one in follow:
        train.optimise(wanted, one)
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, kept[name])
        np.testing.assert_array_equal(made.arrays()[name], wanted.arrays()[name])
    assert any(np.any(made.arrays()[name] != array) for name, array in kept.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "bits"),
        ({"shares": (0.5, 0.4)}, "shares"),
        ({"shares": (0.5, 1.0)}, "shares"),
        ({"shares": ()}, "shares"),
        ({"steps": 0}, "steps"),
        ({"rate": 0.0}, "rate"),
    ],
)
def test_bad_ternary_options_are_refused(options, message):
    recipe, graph = tiny()
    with pytest.raises(InvalidArgumentError, match=message):
        ternary(random_network(graph, (4, 4)), recipe, **options)
