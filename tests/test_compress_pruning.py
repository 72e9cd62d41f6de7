"""Pruning of weights and of filters, and shared weights: against loops, and what is exported."""

import dataclasses
import importlib
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn
from predictors_models import operation, oracle, random_codes
from random_networks import random_network
from scipy.cluster.vq import kmeans2

from channels.errors import InvalidArgumentError
from ris.predictors.compress.distillation import taught_loss
from ris.predictors.compress.filter_pruning import (
    filter_pruning,
    filters_pruned,
    narrowed,
    removable,
    smallest,
)
from ris.predictors.compress.further import control, stages
from ris.predictors.compress.methods import METHODS, compressed, size_of
from ris.predictors.compress.pruning import RAMP, PrunedNetwork, pruned, pruning
from ris.predictors.compress.sparse import SparseNetwork
from ris.predictors.compress.weight_sharing import SharedNetwork, k_means, weight_sharing
from ris.predictors.folding import between, weight_bits
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import FloatModel
from ris.predictors.model_file import decode_model, encode_model, read_model, write_model
from ris.predictors.networks import NETWORKS
from ris.predictors.optimiser import Optimiser
from ris.predictors.publish import training_maps
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe, optimise
from studies.cli import run_command

TINY = Recipe("instantaneous", "se", side=4, steps=30, batch=8)
CHANNELS = TINY.make_task().channels
SE = residual_cnn(8, 2, CHANNELS)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def small_network(graph, size=(4, 4), seed=0):
    return random_network(graph, size, seed)


def maps_for(graph, size=(4, 4), seed=1):
    maps = np.random.default_rng(seed).standard_normal((4, 3, graph.input_channels, *size))
    return torch.from_numpy(maps.astype(np.float32))


def check_runs_as_simulated(quantized):
    """The file, the runtime without torch, and all convolutions of codes against sums in 64 bits."""
    model = quantized.export()
    read = decode_model(encode_model(model))
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    maps = TINY.make_task().systems("test", 4).maps
    with torch.no_grad():
        simulated = quantized(torch.from_numpy(maps)).numpy()
    assert np.mean((Predictor(read).run(maps) - simulated) ** 2) < 1e-3 * np.mean(simulated**2)
    rng = np.random.default_rng(0)
    for node in model.graph.nodes:
        if node.op == "conv" and node.name not in model.real:
            (codes,) = random_codes(rng, model, node, 2, 3, 4, 4)
            np.testing.assert_array_equal(operation(read, node)(codes), oracle(model, node, [codes]))
    return model


# --- magnitude


def test_zeros_become_more_as_the_schedule_says():
    made = PrunedNetwork(small_network(SE), 0.8, 10.0)
    assert [made.share_at(t) for t in (0, 10, 11, 500)] == [0, 0.8, 0.8, 0.8]
    assert made.share_at(5) == pytest.approx(0.8 * (1 - 0.5**3))
    assert np.all(np.diff([made.share_at(t) for t in range(11)]) > 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 0.999])
def test_what_is_smallest_beside_its_layer_goes(share):
    network = small_network(SE)
    ranked = []
    for name in between(SE):
        weight = network.arrays()[f"{name}/weight"].astype(float)
        size = np.sqrt(np.mean(weight**2))
        ranked += [(abs(one) / size, name, place) for place, one in enumerate(weight.ravel())]
    gone = {(name, place) for _, name, place in sorted(ranked)[: round(share * len(ranked))]}
    arrays = PrunedNetwork(network, share, 1.0).plain().arrays()
    for name, array in network.arrays().items():
        layer = name.split("/")[0]
        wanted = array.ravel().copy()
        if name.endswith("/weight"):
            wanted[[place for one, place in gone if one == layer]] = 0
        np.testing.assert_array_equal(arrays[name].ravel(), wanted)


def test_in_training_zeros_stay_zeros_and_are_as_many_as_it_is_time_for():
    made, maps = PrunedNetwork(small_network(SE), 0.7, 8.0), maps_for(SE)
    optimiser = Optimiser([made], 1e-2)
    total, before = sum(made.left(0.0)[name].numel() for name in made.between), {}
    for step in range(1, 15):
        made.train()
        optimiser.zero_grad()
        torch.autograd.backward(made(maps).square().mean())
        left = {name: made.own(SE[name])["weight"] != 0 for name in made.between}
        assert sum(int((~one).sum()) for one in left.values()) == round(made.share_at(step) * total)
        for name, one in left.items():
            assert not made.get_parameter(f"{name}/weight").grad[~one].any()
            assert not (one & ~before.get(name, one)).any()
            if step > 8:
                assert torch.equal(one, before[name])
        before = left
        optimiser.step()
        # Validations are of the full share.
        with torch.no_grad():
            validated = made.eval()(maps)
            torch.testing.assert_close(validated, made.plain()(maps))
        zeros = sum(int((made.plain().own(SE[name])["weight"] == 0).sum()) for name in made.between)
        assert zeros == round(0.7 * total)


def test_without_zeros_it_is_the_control():
    network = small_network(NETWORKS["se"](CHANNELS, 4))
    (stage,) = stages(TINY, 3, 1e-3, 1)
    made = PrunedNetwork(network, 0.0, 2.0)
    optimise(made, stage)
    wanted = control(network, [stage]).arrays()
    for name, array in made.plain().arrays().items():
        np.testing.assert_array_equal(array, wanted[name])


def test_pruned_weights_are_zero_in_integers():
    graph = NETWORKS["se"](CHANNELS, 4)
    network = small_network(graph)
    before = network.arrays()
    made = pruning(network, TINY, share=0.75, steps=5)
    model = check_runs_as_simulated(made)
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])
    codes = {name: model.arrays[f"{name}/weight"] for name in between(graph)}
    floats = {name: made.network.own(graph[name])["weight"].detach().numpy() for name in codes}
    zero = {name: floats[name] == 0 for name in codes}
    assert sum(one.sum() for one in zero.values()) == round(0.75 * sum(one.size for one in zero.values()))
    for name in codes:
        assert not codes[name][zero[name]].any()
    # Rounding adds few.
    assert sum((one == 0).sum() for one in codes.values()) < 1.03 * sum(one.sum() for one in zero.values())
    assert set(model.arrays["weight_bits"].tolist()) == {0, 8}


# --- filters


def test_the_channels_within_branches_and_gates_can_go():
    groups = removable(small_network(SE))
    assert {(len(one.makers), len(one.users), one.count) for one in groups.values()} == {(2, 1, 8), (1, 1, 2)}
    assert len(groups) == 4
    for one in groups.values():
        ops = sorted(SE[name].op for name in one.nodes)
        assert ops in (["add", "conv", "conv", "relu"], ["conv", "relu"])
    ends = {name for name, bits in weight_bits(SE, 4).items() if bits == 8}
    assert not ends & {name for one in groups.values() for name in (*one.makers, *one.users)}


GRAPHS = {
    **{name: (build(CHANNELS, 4), (4, 4)) for name, build in NETWORKS.items()},
    "every operation": (every_operation(), (4, 6)),
}


NOTHING = {"separable", "lgcl"}
"""Networks without channels that can go."""


@pytest.mark.parametrize("name", GRAPHS)
def test_without_channels_is_with_channels_that_nothing_uses(name):
    graph, size = GRAPHS[name]
    network = small_network(graph, size)
    if name in NOTHING:
        with pytest.raises(InvalidArgumentError, match="only convolutions between the ends"):
            removable(network)
        return
    groups = removable(network)
    rng = np.random.default_rng(0)
    kept = {one: rng.permutation(channels.count) >= channels.count // 2 for one, channels in groups.items()}
    made = narrowed(network, groups, kept)
    arrays = network.arrays()
    for one, channels in groups.items():
        for user in channels.users:
            arrays[f"{user}/weight"][:, ~kept[one]] = 0
    network.load_arrays(arrays)
    maps = maps_for(graph, size)
    with torch.no_grad():
        torch.testing.assert_close(made(maps), network(maps), rtol=1e-4, atol=1e-5)
    assert sum(array.size for array in made.arrays().values()) < sum(array.size for array in arrays.values())


def test_the_smallest_channels_for_their_products_go_until_enough_is_saved():
    network = small_network(SE)
    groups, kept = smallest(network, 0.4, users=4)
    arrays, ranked = network.arrays(), []
    products = SE.products(4, 4, 4)
    for name, channels in groups.items():
        sizes = []
        for c in range(channels.count):
            made = sum((arrays[f"{one}/weight"][c].astype(float) ** 2).sum() for one in channels.makers)
            used = sum((arrays[f"{one}/weight"][:, c].astype(float) ** 2).sum() for one in channels.users)
            sizes.append(np.sqrt(made * used))
        cost = sum(products[one] for one in (*channels.makers, *channels.users)) / channels.count
        rms = np.sqrt(np.mean(np.square(sizes)))
        ranked += [(size / rms / cost, name, c) for c, size in enumerate(sizes)]
    many = sum((~one).sum() for one in kept.values())
    gone = {(name, c) for _, name, c in sorted(ranked)[:many]}
    assert gone == {(name, c) for name, one in kept.items() for c in np.flatnonzero(~one).tolist()}
    saved = []
    for last in (0, 1):
        some = {name: one.copy() for name, one in kept.items()}
        if last:
            _, name, c = sorted(ranked)[many - 1]
            some[name][c] = True
        after = narrowed(network, groups, some).graph.products(4, 4, 4)
        saved.append(
            1 - sum(after[name] for name in between(SE)) / sum(products[name] for name in between(SE))
        )
    assert saved[1] < 0.4 <= saved[0] < 0.45


def test_sizes_that_a_rectifier_passes_on_do_not_count():
    network = small_network(SE)
    _, wanted = smallest(network, 0.4, users=4)
    arrays, rng = network.arrays(), np.random.default_rng(1)
    for channels in removable(network).values():
        factor = 2.0 ** rng.integers(-3, 4, channels.count).astype(np.float32)
        for one in channels.makers:
            arrays[f"{one}/weight"] = (arrays[f"{one}/weight"].T * factor).T
            arrays[f"{one}/bias"] *= factor
        for one in channels.users:
            arrays[f"{one}/weight"] /= factor[:, None, None]
    network.load_arrays(arrays)
    _, made = smallest(network, 0.4, users=4)
    for name, one in wanted.items():
        np.testing.assert_array_equal(made[name], one)


def test_scales_of_normalisations_count():
    net = GraphBuilder(3)
    state = net.conv(net.input, 6)
    state = net.relu(net.add_node("batch_norm", net.conv(state, 6), name="norm"))
    net.conv(net.conv(state, 6), 2)
    network = small_network(net.graph())
    arrays = network.arrays()
    arrays["norm/scale"][[1, 4]] = 1e-3
    network.load_arrays(arrays)
    groups, kept = smallest(network, 0.2, users=2)
    (left,) = (kept[name] for name, channels in groups.items() if "norm" in channels.nodes)
    assert np.flatnonzero(~left).tolist() == [1, 4]
    assert narrowed(network, groups, kept).arrays()["norm/variance"].shape == (4,)


def test_what_is_left_is_trained_and_exported():
    graph = NETWORKS["se"](CHANNELS, 4)
    network = small_network(graph)
    made = filter_pruning(network, TINY, share=0.5, steps=4)
    model = check_runs_as_simulated(made)
    products = [one.products(4, 4, 4) for one in (graph, model.graph)]
    interior = [sum(one[name] for name in between(graph)) for one in products]
    assert 0.47 < interior[1] / interior[0] <= 0.5
    plain, (stage,) = narrowed(network, *smallest(network, 0.5, 4)), stages(TINY, 4, 1e-3, 1)
    optimise(plain, stage, loss=taught_loss(plain, network, stage))
    wanted = plain.arrays()
    for name, array in filters_pruned(network, TINY, 0.5, steps=4).arrays().items():
        np.testing.assert_array_equal(array, wanted[name])


def test_a_channel_is_left_everywhere():
    network = small_network(SE)
    _, kept = smallest(network, 0.8, users=4)
    assert min(one.sum() for one in kept.values()) >= 1
    with pytest.raises(InvalidArgumentError, match="share"):
        smallest(network, 0.99, users=4)


# --- shared weights


@pytest.mark.parametrize("count", [2, 7, 16])
def test_k_means_as_by_scipy(count):
    rng = np.random.default_rng(count)
    values = rng.normal(0, 1, (40, 5, 3)).astype(np.float32)
    means, nearest = k_means(values, count)
    first = np.linspace(float(values.min()), float(values.max()), count)[:, None]
    wanted, _ = kmeans2(values.reshape(-1, 1).astype(float), first, iter=300, minit="matrix", missing="raise")
    np.testing.assert_allclose(means, wanted[:, 0], rtol=1e-9)
    assert nearest.shape == values.shape
    np.testing.assert_array_equal(nearest, np.abs(values[..., None] - means).argmin(-1))


def test_k_means_of_few_values_and_of_gaps():
    means, nearest = k_means(np.array([[0.0, 1.0], [1.0, 9.0]]), 8)
    assert means[nearest].tolist() == [[0, 1], [1, 9]]
    assert np.all(np.diff(means) > 0)
    means, nearest = k_means(np.full(5, 0.25), 4)
    assert means.tolist() == [0.25] * 4
    assert means[nearest].tolist() == [0.25] * 5


def test_the_gradient_of_a_shared_weight_is_the_sum_over_those_that_share_it():
    made, maps = SharedNetwork(small_network(SE), 3), maps_for(SE)
    plain = made.plain()
    torch.testing.assert_close(made(maps), plain(maps))
    for network in (made, plain):
        torch.autograd.backward(network(maps).square().mean())
    for name in between(SE):
        gradient = plain.own(SE[name])["weight"].grad.numpy()
        scale, nearest = (made.get_buffer(f"{name}/{one}").numpy() for one in ("scale", "nearest"))
        wanted = [(gradient * scale)[nearest == cluster].sum() for cluster in range(8)]
        found = made.get_parameter(f"{name}/centroids").grad
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_shared_weights_are_near_and_few(bits):
    network = small_network(SE)
    made = SharedNetwork(network, bits)
    errors = []
    for name in between(SE):
        weight = network.arrays()[f"{name}/weight"]
        image = made.own(SE[name])["weight"].detach().numpy()
        relative = weight / np.abs(weight).max((1, 2, 3), keepdims=True)
        found = made.shared(name).detach().numpy()
        assert len(np.unique(found)) <= 2**bits
        errors.append(np.square(image - weight).sum() / np.square(weight).sum())
        # No further than half of an even grid.
        assert np.sqrt(np.mean((found - relative) ** 2)) <= 1 / (2**bits - 1)
        codes, step = made.codes(name)
        assert torch.equal(codes, codes.round())
        assert codes.abs().max() <= 127
        np.testing.assert_allclose(codes * step[:, None, None, None], image, atol=float(step.max()) * 0.5001)
    assert max(errors) < {2: 0.3, 4: 0.02, 8: 1e-3}[bits]


@pytest.mark.parametrize("network", ["se", "separable"])
def test_the_integer_model_has_few_codes(network):
    graph = NETWORKS[network](CHANNELS, 4)
    recipe = dataclasses.replace(TINY, network=network)
    source = small_network(graph)
    begun = SharedNetwork(source, 4)
    made = weight_sharing(source, recipe, 4, steps=4)
    model = check_runs_as_simulated(made)
    for name, bits in weight_bits(model.graph, 4).items():
        distinct = len(np.unique(model.arrays[f"{name}/weight"]))
        assert distinct <= 16 if bits == 4 else distinct > 16
    # The same weights share a code as before the training.
    for name in begun.bits:
        nearest, codes = begun.get_buffer(f"{name}/nearest").numpy(), model.arrays[f"{name}/weight"]
        pairs = set(zip(nearest.ravel().tolist(), codes.ravel().tolist(), strict=True))
        assert len(pairs) == len({cluster for cluster, _ in pairs})


def test_layers_by_name_share_and_others_do_not():
    first, *others = between(SE)
    made = SharedNetwork(small_network(SE), {first: 2})
    assert len(made.own(SE[first])["weight"].unique()) <= 4 * 8
    assert len(made.shared(first).unique()) <= 4
    assert len(made.own(SE[others[0]])["weight"].unique()) > 500


# --- the command


@pytest.fixture
def source(tmp_path):
    graph = NETWORKS["se"](CHANNELS, 4)
    metadata = {"recipes": [dataclasses.asdict(TINY)]}
    model = FloatModel(graph, small_network(graph).arrays(), 4, 4, metadata)
    write_model(model, tmp_path / "tiny.h5")
    return model


def test_the_share_decides_how_many_weights_are_zero(source):
    zeros = []
    for share in (0.5, 0.9):
        made = compressed(source, "pruning", None, "as told", 8, share=share, steps=2)
        codes = np.concatenate([made.arrays[f"{name}/weight"].ravel() for name in between(source.graph)])
        zeros.append(np.mean(codes == 0))
        assert size_of(made, 4).coded < (1 - share / 2) * size_of(made, 4).packed
    assert 0.5 <= zeros[0] < 0.53
    assert 0.9 <= zeros[1] < 0.91


def test_a_share_is_told_to_a_method_that_has_one(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = ["--model", "tiny.h5", "--systems", "4"]
    assert run_command(["compress", "gpfq", *told, "--share", "0.5"]) == 2
    assert "share" in capsys.readouterr().err
    assert run_command(["compress", "pruning", *told, "--share", "1"]) == 2
    quick = partial(filter_pruning, steps=1)
    monkeypatch.setitem(METHODS, "filter-pruning", quick)
    assert run_command(["compress", "filter-pruning", *told, "--share", "0.25"]) == 0
    made = read_model(tmp_path / "tiny-int-filter-pruning.h5")
    assert made.metadata["command"] == "ris compress filter-pruning --model tiny.h5 --share 0.25"
    products = [sum(one.products(4, 4, 4).values()) for one in (source.graph, made.graph)]
    assert 0.7 < products[1] / products[0] < 0.85
    assert "coded" in capsys.readouterr().out


# --- what is refused


def ends_alone():
    net = GraphBuilder(CHANNELS)
    net.conv(net.conv(net.input, 4), 2)
    return small_network(net.graph())


def test_zeros_stay_while_integers_are_trained():
    network = small_network(SE)
    inner = between(SE)
    with torch.no_grad():
        for name in inner:
            network.own(SE[name])["weight"].mul_(torch.rand(network.own(SE[name])["weight"].shape) < 0.3)
    before = network.arrays()
    made = SparseNetwork(network, follow=False)
    made.calibrate(map(torch.from_numpy, training_maps(TINY, 2)), "output")
    optimise(made, dataclasses.replace(TINY, steps=3, rate=1e-2))
    model = made.export()
    moved = 0.0
    for name in inner:
        zero = before[f"{name}/weight"] == 0
        assert np.all(model.arrays[f"{name}/weight"][zero] == 0)
        moved += np.abs(made.network.own(made.graph[name])["weight"].detach().numpy()).sum()
    assert moved > 0
    assert all(np.array_equal(network.arrays()[name], before[name]) for name in before)


def test_bad_options_are_refused():
    network = small_network(SE)
    for method, share in itertools.product((pruning, filter_pruning), (-0.1, 1.0, np.nan)):
        with pytest.raises(InvalidArgumentError, match="share"):
            method(network, TINY, share=share)
    with pytest.raises(InvalidArgumentError, match="share"):
        filter_pruning(network, TINY, share=0.0)
    for bits in (0, 9, {"head": 4}, {"nowhere": 4}, {between(SE)[0]: 2.5}):
        with pytest.raises(InvalidArgumentError, match="bits"):
            weight_sharing(network, TINY, bits)
    for method in ("pruning", "filter-pruning", "weight-sharing"):
        with pytest.raises(InvalidArgumentError, match="steps"):
            METHODS[method](network, TINY, steps=0)
        with pytest.raises(InvalidArgumentError, match="between the first and the last"):
            METHODS[method](ends_alone(), TINY)


# --- the network that is made smaller is the teacher


@pytest.mark.parametrize("method", ["pruning", "filter-pruning", "weight-sharing", "low-rank"])
def test_what_is_left_learns_from_the_whole_network(method, monkeypatch):
    module = importlib.import_module(f"ris.predictors.compress.{method.replace('-', '_')}")
    network, told = small_network(SE), []

    def recorded(student, teacher, recipe):
        told.append((teacher, recipe))
        return taught_loss(student, teacher, recipe)

    monkeypatch.setattr(module, "taught_loss", recorded)
    METHODS[method](network, TINY, steps=2, rate=1e-3)
    assert told == [(network, stages(TINY, 2, 1e-3, 1)[0])]


def test_a_pruned_network_is_trained_with_the_loss_of_a_student():
    network, (stage,) = small_network(SE), stages(TINY, 4, 1e-2, 1)
    made = pruned(network, TINY, 0.8, steps=4, rate=1e-2)
    students = [PrunedNetwork(network, 0.8, RAMP * 4) for _ in range(2)]
    optimise(students[0], stage, loss=taught_loss(students[0], network, stage, 1.0))
    optimise(students[1], stage)
    wanted, other = (one.plain().arrays() for one in students)
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(array, wanted[name])
    assert any((array != other[name]).any() for name, array in made.arrays().items())
