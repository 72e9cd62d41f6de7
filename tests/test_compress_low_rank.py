"""Factored convolutions: decompositions against their definitions, graphs of factors, what training mends."""

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn
from random_networks import random_network

from channels.errors import InvalidArgumentError
from ris.predictors import train
from ris.predictors.compress import low_rank as module
from ris.predictors.compress.low_rank import factored, inner_convolutions, low_rank, tucker
from ris.predictors.compress.methods import METHODS, compressed
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import FloatModel
from ris.predictors.model_file import decode_model, encode_model, read_model, write_model
from ris.predictors.module import Network
from ris.predictors.networks import NETWORKS
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe
from studies.cli import run_command

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def random_weight(shape, seed=0):
    """A weight whose singular values fall, as those of trained ones."""
    rng = np.random.default_rng(seed)
    out, into = (rng.standard_normal((n, n)) / (1 + np.arange(n)) ** 0.7 for n in shape[:2])
    return np.einsum("op,pqij,cq->ocij", out, rng.standard_normal(shape), into)


def rebuilt(core, out, into):
    """The weight that factors stand for, entry by entry."""
    made = np.zeros((len(out), len(into), *core.shape[2:]))
    for o, c in np.ndindex(len(out), len(into)):
        for p, q in np.ndindex(core.shape[:2]):
            made[o, c] += out[o, p] * core[p, q] * into[c, q]
    return made


# --- decompositions


def test_full_rank_is_exact():
    weight = random_weight((6, 5, 3, 3))
    np.testing.assert_allclose(rebuilt(*tucker(weight, (6, 5))), weight, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_one_by_one_loses_the_discarded_singular_values(rank):
    weight = random_weight((7, 5, 1, 1))
    lost = weight - rebuilt(*tucker(weight, (rank, rank)))
    values = np.linalg.svd(weight[:, :, 0, 0], compute_uv=False)
    assert np.sum(lost**2) == pytest.approx(np.sum(values[rank:] ** 2), rel=1e-9)


def test_what_is_lost_is_what_the_core_lacks_and_falls_with_the_ranks():
    weight = random_weight((8, 9, 3, 3))
    lost = np.empty((8, 9))
    for ranks in np.ndindex(8, 9):
        core, out, into = tucker(weight, (ranks[0] + 1, ranks[1] + 1))
        np.testing.assert_allclose(out.T @ out, np.eye(out.shape[1]), atol=1e-12)
        np.testing.assert_allclose(into.T @ into, np.eye(into.shape[1]), atol=1e-12)
        lost[ranks] = np.sum((weight - rebuilt(core, out, into)) ** 2)
        assert lost[ranks] == pytest.approx(np.sum(weight**2) - np.sum(core**2), rel=1e-6, abs=1e-9)
    tiny = 1e-9 * lost.max()
    assert (np.diff(lost, axis=0) <= tiny).all()
    assert (np.diff(lost, axis=1) <= tiny).all()
    assert lost[-1, -1] < tiny


def test_a_sweep_beats_the_bases_of_the_unfolded_weight_and_any_random_ones(monkeypatch):
    weight, rng = random_weight((8, 9, 3, 3)), np.random.default_rng(1)

    def kept(core):
        return np.sum(core**2)

    best = kept(tucker(weight, (3, 4))[0])
    monkeypatch.setattr(module, "SWEEPS", 0)
    plain, out, into = tucker(weight, (3, 4))
    assert best > 1.0001 * kept(plain)
    for _ in range(50):
        near = [np.linalg.qr(one + 0.1 * rng.standard_normal(one.shape))[0] for one in (out, into)]
        assert kept(np.einsum("ocij,op,cq->pqij", weight, *near)) < best


def test_a_weight_of_low_rank_is_found_exactly():
    rng = np.random.default_rng(2)
    core, out, into = (rng.standard_normal(one) for one in ((2, 3, 3, 3), (8, 2), (7, 3)))
    weight = rebuilt(core, out, into)
    np.testing.assert_allclose(rebuilt(*tucker(weight, (2, 3))), weight, atol=1e-10)


# --- networks


def weights_of(network, names):
    return sum(network.arrays()[f"{name}/weight"].size for name in names)


@pytest.mark.parametrize("factor", [1.2, 2.0, 3.0, 6.0])
def test_the_factors_are_few_enough_and_compute_the_rebuilt_weights(factor):
    network = random_network(residual_cnn(16, 2, 5))
    before = network.arrays()
    made = factored(network, factor)
    arrays, names = made.arrays(), [node.name for node in made.graph.nodes]
    inner = inner_convolutions(network.graph)
    count = weights_of(
        made, [one for one in names if one.removesuffix("_into").removesuffix("_core") in inner]
    )
    assert 0.93 / factor < count / weights_of(network, inner) <= 1 / factor
    wanted = Network(network.graph, 0, 8, 8).eval()
    spread = {}
    for name in inner:
        bias, last = before[f"{name}/bias"], arrays[f"{name}/weight"][:, :, 0, 0]
        np.testing.assert_array_equal(arrays[f"{name}/bias"], bias)
        if f"{name}_into" not in names:
            continue
        first = arrays[f"{name}_into/weight"][:, :, 0, 0]
        core = arrays.get(f"{name}_core/weight", np.eye(len(first))[:, :, None, None])
        spread[f"{name}/weight"] = rebuilt(core, last, first.T).astype(np.float32)
        assert not arrays[f"{name}_into/bias"].any()
    assert len(spread) >= 5
    wanted.load_arrays({**before, **spread})
    maps = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 3, 5, 8, 8)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(made(maps), wanted(maps), rtol=1e-4, atol=1e-4)
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_layers_share_what_they_keep():
    """A layer of low rank gets few channels, and one that needs all stays as it is."""
    net = GraphBuilder(4)
    easy = net.conv(net.conv(net.input, 16), 16, name="easy")
    net.conv(net.conv(easy, 16, name="hard"), 2)
    network = random_network(net.graph())
    arrays, rng = network.arrays(), np.random.default_rng(0)
    few = rebuilt(*(rng.standard_normal(one) for one in ((2, 3, 3, 3), (16, 2), (16, 3))))
    flat = np.linalg.qr(rng.standard_normal((144, 16)))[0].T.reshape(16, 16, 3, 3)
    network.load_arrays({**arrays, "easy/weight": few.astype(np.float32), "hard/weight": flat.astype("f4")})
    made = factored(network, 1.7)
    assert made.graph["easy_core"].attributes == {"channels": 2, "kernel": 3, "groups": 1}
    assert made.graph["easy_into"].attributes["channels"] == 3
    assert "hard_core" not in [node.name for node in made.graph.nodes]


def test_ends_groups_and_other_operations_stay():
    graph = every_operation()
    assert inner_convolutions(graph) == ["conv_25", "conv_27"]  # those of gates; all others are ends or share
    made = factored(random_network(graph, (4, 6)), 2.0)
    new = {node.name: node for node in made.graph.nodes}
    assert set(new) - {node.name for node in graph.nodes} == {"conv_25_into", "conv_27_into"}
    for node in graph.nodes:
        if node.name not in ("conv_25", "conv_27"):
            assert new[node.name] == node


@pytest.mark.parametrize(
    ("factor", "message"), [(1.0, "factor"), (-3.0, "factor"), (np.nan, "factor"), (1000.0, "at most")]
)
def test_bad_factors_are_refused(factor, message):
    with pytest.raises(InvalidArgumentError, match=message):
        factored(random_network(residual_cnn(8, 1, 5)), factor)


# --- the method


def tiny():
    recipe = Recipe("instantaneous", "cnn", side=4, steps=30, batch=8)
    return recipe, NETWORKS["cnn"](recipe.make_task().channels, 4)


def test_training_mends_factors_and_the_runtime_executes_them(monkeypatch):
    recipe, graph = tiny()
    network, seen = random_network(graph, (4, 4)), []

    def optimise(made, stage, **how):
        seen.append((stage.seed, stage.steps, stage.rate, train.rates_on(recipe, made, "test", 32).mean()))
        return train.optimise(made, stage, **how)

    monkeypatch.setattr(module, "optimise", optimise)
    made = low_rank(network, recipe, factor=4.0, steps=40, rate=3e-3)
    ((*told, before),) = seen
    assert told == [1000, 40, 3e-3]
    assert train.rates_on(recipe, made, "test", 32).mean() > 1.02 * before
    inner = inner_convolutions(graph)
    model = decode_model(encode_model(made.export()))
    sizes = {name: array.size for name, array in model.arrays.items() if name.endswith("/weight")}
    factors = [f"{name}{part}/weight" for name in inner for part in ("_into", "_core", "")]
    assert sum(sizes.get(name, 0) for name in factors) <= weights_of(network, inner) / 4
    assert set(model.arrays["weight_bits"]) == {0, 8}
    maps = recipe.make_task().systems("test", 4).maps
    with torch.no_grad():
        simulated = made(torch.from_numpy(maps)).numpy()
    assert np.mean((Predictor(model).run(maps) - simulated) ** 2) < 1e-3 * np.mean(simulated**2)


def test_bits_by_layer_are_refused():
    recipe, graph = tiny()
    with pytest.raises(InvalidArgumentError, match="bits"):
        low_rank(random_network(graph, (4, 4)), recipe, {"conv_3": 4})


@pytest.fixture
def trained(tmp_path):
    recipe = {"task": "instantaneous", "network": "cnn", "seed": 0, "side": 4, "batch": 4}
    graph = NETWORKS["cnn"](Recipe(**recipe).make_task().channels, 4)
    path = tmp_path / "tiny.h5"
    write_model(FloatModel(graph, random_network(graph, (4, 4)).arrays(), 4, 4, {"recipes": [recipe]}), path)
    return path


def test_the_command_hands_its_own_option_on(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = []

    def method(network, recipe, bits=8, *, factor=3.0):
        asked.append((bits, factor))
        return low_rank(network, recipe, bits, factor=factor, steps=1)

    monkeypatch.setitem(METHODS, "low-rank", method)
    told = ["compress", "low-rank", "--model", str(trained), "--systems", "4", "--out"]
    assert run_command([*told, "plain.h5"]) == 0
    assert run_command([*told, "four.h5", "--factor", "4", "--bits", "6"]) == 0
    assert asked == [(8, 3.0), (6, 4.0)]
    command = f"ris compress low-rank --model {trained}"
    assert read_model(tmp_path / "plain.h5").metadata["command"] == command
    assert read_model(tmp_path / "four.h5").metadata["command"] == f"{command} --bits 6 --factor 4"
    sizes = [(tmp_path / name).stat().st_size for name in ("plain.h5", "four.h5")]
    assert sizes[1] < sizes[0]
    capsys.readouterr()
    for bad in (["--factor", "1"], ["--bits", "3.5"]):
        assert run_command([*told, "bad.h5", *bad]) == 2
    assert "bits" in capsys.readouterr().err


def test_options_of_other_methods_are_refused(trained):
    with pytest.raises(InvalidArgumentError, match="options: expected those of rounding"):
        compressed(read_model(trained), "rounding", 4, "", 4, factor=3.0)
