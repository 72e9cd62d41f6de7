"""Small students, branches left out in training, zeros that stay, combinations under a budget of bytes."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from channels.errors import InvalidArgumentError
from ris.predictors import train
from ris.predictors.bootstrap import Estimate
from ris.predictors.compress import combined as combining
from ris.predictors.compress.combined import Combination, combine, combined, file_bytes, fitting, search
from ris.predictors.compress.distillation import ALPHA, disagreement, distilled, taught, taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.sparse import SparseNetwork, sparse
from ris.predictors.compress.stochastic_depth import (
    StochasticDepth,
    kept_products,
    stochastic_depth,
    survival,
)
from ris.predictors.folding import weight_bits
from ris.predictors.model_file import decode_model, encode_model, read_model
from ris.predictors.module import Network, residual_sums
from ris.predictors.networks import NETWORKS, builder_of, cnn, separable
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe, build, on_device, optimise, phasors, task_loss
from studies.cli import run_command
from studies.experiments.claims import distillation, pareto
from studies.trained import file_of, kept_model, kept_network, trained_combination, trained_student

SMALL = Recipe("instantaneous", "se-4x1", seed=3, side=4, steps=4, batch=4)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "VALIDATION", 8)
    monkeypatch.setattr(combining, "VALIDATION", 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaken(network, seed=1, spread=0.1):
    """A network whose zeros are no zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def teacher(seed=0):
    return shaken(build("cnn", SMALL.make_task().channels, 4, seed))


def systems(count=4):
    return on_device(SMALL.make_task().training_batch(0, count, 0), "cpu")


def maps(count=4):
    return torch.from_numpy(np.asarray(SMALL.make_task().systems("test", count).maps))


def turned(angles):
    return torch.polar(torch.ones_like(angles), angles)


# --- names


def test_networks_of_other_sizes_are_called_by_them():
    assert builder_of("se-16x2")(11, 8) == cnn(11, 16, 2, se=True)
    assert builder_of("se-32x4")(11, 8) == NETWORKS["se"](11, 8)
    for name in ("se-3x1", "se-16", "se-16x0", "se-016x2", "se-16x100", "se-16x2\n", "cnn-8x1", "e"):
        assert builder_of(name) is None
        with pytest.raises(InvalidArgumentError, match="se-WIDTHxBLOCKS"):
            build(name, 11, 8, 0)


# --- distillation


def test_disagreement_against_a_loop():
    rng = np.random.default_rng(0)
    theta, phi = rng.uniform(-3, 3, (2, 6, 3, 5))
    made = disagreement(*(turned(torch.from_numpy(one)) for one in (theta, phi)))
    each = [
        1 - abs(sum(np.exp(1j * (theta[s, i, j] - phi[s, i, j])) for i in range(3) for j in range(5)) / 15)
        for s in range(6)
    ]
    assert float(made) == pytest.approx(np.mean(each), abs=1e-12)


def test_a_common_phase_of_a_surface_is_not_seen():
    angles = torch.rand(6, 4, 4, dtype=torch.float64)
    common = 5 * torch.rand(6, 1, 1, dtype=torch.float64)
    assert abs(float(disagreement(turned(angles), turned(angles + common)))) < 1e-12
    other = torch.rand(6, 4, 4, dtype=torch.float64)
    plain, shifted = (disagreement(turned(angles), turned(one)) for one in (other, other + common))
    assert float(plain) == pytest.approx(float(shifted), abs=1e-12)
    assert float(plain) > 0.01


def test_the_loss_has_two_parts_and_the_teacher_no_gradient():
    student, fixed, batch = shaken(SMALL.make_network()).train(), teacher().train(), systems()
    losses = [taught_loss(student, fixed, SMALL, alpha)(batch) for alpha in (0.0, 2.0)]
    assert not fixed.training
    with torch.no_grad():
        x, y = phasors(student, batch), phasors(fixed, batch)
    assert float(losses[0].detach()) == pytest.approx(float(task_loss(x, batch)), rel=1e-6)
    difference = float((losses[1] - losses[0]).detach())
    assert difference == pytest.approx(2 * float(disagreement(x, y)), rel=1e-3)
    losses[1].backward()
    assert all(one.grad is None for one in fixed.parameters())
    assert all(one.grad is not None for one in student.parameters())


def test_without_weight_the_teacher_changes_nothing_and_with_it_the_student_follows():
    recipe = dataclasses.replace(SMALL, steps=40, rate=1e-2)
    fixed = teacher()
    before = fixed.arrays()
    alone = train.train(recipe).network.eval()
    unheard, heard = (taught(fixed, recipe, alpha) for alpha in (0.0, 30.0))
    assert all(np.array_equal(alone.arrays()[name], value) for name, value in unheard.arrays().items())
    assert all(np.array_equal(before[name], value) for name, value in fixed.arrays().items())
    batch = systems(32)
    with torch.no_grad():
        far, near = (
            float(disagreement(phasors(one, batch), phasors(fixed, batch))) for one in (alone, heard)
        )
    assert near < 0.8 * far


def test_distillation_is_a_method():
    recipe = dataclasses.replace(SMALL, network="cnn")
    made = distilled(teacher(), recipe, student="se-6x1")
    model = made.export()
    assert [node.op for node in model.graph] == [node.op for node in made.graph]
    assert model.graph["conv_1"].attributes["channels"] == 6
    exact = taught(teacher(), dataclasses.replace(recipe, network="se-6x1"))
    with torch.no_grad():
        wanted = exact(maps()).numpy()
    assert np.mean((Predictor(model).run(maps().numpy()) - wanted) ** 2) < 3e-3 * np.mean(wanted**2)


@pytest.mark.parametrize(
    ("network", "alpha", "message"), [("se", -1.0, "alpha"), ("unrolled1", 1.0, "one graph")]
)
def test_bad_distillation_is_refused(network, alpha, message):
    with pytest.raises(InvalidArgumentError, match=message):
        taught(teacher(), dataclasses.replace(SMALL, network=network), alpha)


# --- stochastic depth


def test_branches_survive_by_a_linear_law():
    graph = NETWORKS["se"](11, 8)
    sums = residual_sums(graph)
    assert len(sums) == 4
    assert list(survival(graph).items()) == list(zip(sums, (0.875, 0.75, 0.625, 0.5), strict=True))
    assert set(survival(graph, 1.0).values()) == {1.0}


def test_products_that_are_left_against_the_sum_over_blocks():
    net = cnn(11, 8, 3)
    products = net.products(4, 8, 8)
    names, sums = [node.name for node in net], residual_sums(net)
    ends = [names.index("conv_1"), *map(names.index, sums)]
    blocks = [sum(products[name] for name in names[a + 1 : b + 1]) for a, b in itertools.pairwise(ends)]
    chances = survival(net, 0.4)
    left = sum(products.values()) - sum(
        (1 - p) * block for p, block in zip(chances.values(), blocks, strict=True)
    )
    assert kept_products(net, chances, 4, 8, 8) == pytest.approx(left / sum(products.values()), rel=1e-12)
    assert kept_products(net, survival(net, 1.0), 4, 8, 8) == pytest.approx(1)


def test_branches_left_out_are_zero_and_others_larger():
    """Against the whole network with the last convolutions of the branches scaled."""
    graph = cnn(11, 6, 3)
    network = shaken(Network(graph, 0, 4, 4))
    chances = survival(graph)
    shallow = StochasticDepth(network, chances).train()
    sums = list(chances)
    for dropped in (set(), {sums[0]}, {sums[2]}, {sums[0], sums[1]}, set(sums)):
        other = Network(graph, 0, 4, 4)
        arrays = network.arrays()
        for name in sums:
            end = graph[name].inputs[1]
            factor = np.float32(0 if name in dropped else 1 / chances[name])
            for short in ("weight", "bias"):
                arrays[f"{end}/{short}"] = factor * arrays[f"{end}/{short}"]
        other.load_arrays(arrays)
        with torch.no_grad():
            torch.testing.assert_close(shallow.without(dropped, maps()), other(maps()), rtol=1e-4, atol=1e-5)


def test_tests_take_the_whole_network_and_draws_follow_the_law():
    network = shaken(Network(cnn(11, 4, 2), 0, 4, 4))
    chances = survival(network.graph)
    shallow = StochasticDepth(network, chances, seed=1)
    with torch.no_grad():
        assert torch.equal(shallow.eval()(maps()), network(maps()))
        sure = StochasticDepth(network, survival(network.graph, 1.0)).train()
        torch.testing.assert_close(sure(maps()), network(maps()))
    drawn = []
    shallow.without = lambda dropped, given: drawn.append(dropped) or given
    for _ in range(1000):
        shallow.train()(maps())
    for name, p in chances.items():
        there = 1 - np.mean([name in dropped for dropped in drawn])
        assert abs(there - p) < 6 * math.sqrt(p * (1 - p) / 1000)


def test_normalisations_of_branches_that_are_left_out_rest():
    network = Network(separable(11, 4, 2), 0, 4, 4)
    shallow = StochasticDepth(network, survival(network.graph)).train()
    first, second = residual_sums(network.graph)
    before = network.arrays()
    shallow.without({second}, maps())
    moved = {name.split("/")[0] for name, value in network.arrays().items() if np.any(value != before[name])}
    order = [node.name for node in network.graph]
    norms = [node.name for node in network.graph if node.op == "batch_norm"]
    assert moved
    assert moved <= {name for name in norms if order.index(name) < order.index(first)}


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(monkeypatch):
    monkeypatch.setattr(train, "EVERY", 2)
    recipe = dataclasses.replace(SMALL, network="se-4x2", steps=6, rate=1e-2)
    wanted = stochastic_depth(recipe).arrays()

    def stop(share, text):
        if text.startswith("step 4,"):
            raise KeyboardInterrupt

    file = Path("state")
    with pytest.raises(KeyboardInterrupt):
        stochastic_depth(recipe, checkpoint=file, progress=stop)
    made = stochastic_depth(recipe, checkpoint=file).arrays()
    plain = train.train(recipe).network.arrays()
    for name, value in wanted.items():
        assert_array_equal(made[name], value)
    assert any(np.any(plain[name] != value) for name, value in wanted.items())


@pytest.mark.parametrize(
    ("network", "last", "message"),
    [
        ("mlp", 0.5, "residual"),
        ("se-4x1", 0.0, "last"),
        ("se-4x1", 1.1, "last"),
        ("ascent8", 0.5, "one graph"),
    ],
)
def test_bad_stochastic_depth_is_refused(network, last, message):
    with pytest.raises(InvalidArgumentError, match=message):
        stochastic_depth(dataclasses.replace(SMALL, network=network), last)


# --- zeros that stay


def test_the_smallest_weights_become_zero_but_for_the_ends():
    network = shaken(Network(cnn(11, 8, 2, se=True), 0, 4, 4))
    made = sparse(network, 0.6)
    between = {name for name, bits in weight_bits(network.graph, 4).items() if bits == 4}
    assert len(between) == 10
    for name, value in made.arrays().items():
        before = network.arrays()[name]
        if name.endswith("weight") and name.split("/")[0] in between:
            assert np.mean(value == 0) == pytest.approx(0.6, abs=1 / value.size)
            assert np.abs(before[value == 0]).max() <= np.abs(value[value != 0]).min()
            assert_array_equal(value[value != 0], before[value != 0])
        else:
            assert_array_equal(value, before)
    assert all(
        np.array_equal(network.arrays()[name], value) for name, value in sparse(network, 0.0).arrays().items()
    )
    for share in (-0.1, 1.0):
        with pytest.raises(InvalidArgumentError, match="zeros"):
            sparse(network, share)


def test_zeros_stay_in_training_and_all_else_moves():
    network = sparse(shaken(Network(cnn(11, 8, 1), 0, 4, 4)), 0.5)
    made = SparseNetwork(network, 4, follow=False).eval()
    made.calibrate([maps(8)])
    before = made.export()
    optimise(made, dataclasses.replace(SMALL, steps=10, rate=3e-2))
    after = made.cpu().eval().export()
    for name in ("conv_3", "conv_4", "conv_7"):
        zero = network.arrays()[f"{name}/weight"] == 0
        assert 0.4 < zero.mean() < 0.6
        codes, old = (one.arrays[f"{name}/weight"] for one in (after, before))
        assert not codes[zero].any()
        assert np.mean(codes[~zero] != old[~zero]) > 0.1
    with torch.no_grad():
        simulated = made(maps()).numpy()
    assert np.mean((Predictor(after).run(maps().numpy()) - simulated) ** 2) < 1e-3 * np.mean(simulated**2)


# --- combinations


def test_a_combination_has_its_bits_and_zeros_and_comes_back_from_a_file():
    combination = Combination("se-6x2", bits=3, ends=6, zeros=0.5)
    made = combine(teacher(), SMALL, combination)
    model = made.export()
    bits = {
        node.name: int(count)
        for node, count in zip(model.graph, model.arrays["weight_bits"], strict=True)
        if count
    }
    assert bits == weight_bits(model.graph, 3, 6)
    assert sorted(set(bits.values())) == [3, 6]
    for name, count in bits.items():
        zeros = np.mean(model.arrays[f"{name}/weight"] == 0)
        assert zeros >= 0.49 if count == 3 else zeros < 0.49
    read = decode_model(encode_model(model))
    for name, array in model.arrays.items():
        assert_array_equal(read.arrays[name], array)
    with torch.no_grad():
        simulated = made(maps()).numpy()
    assert np.mean((Predictor(read).run(maps().numpy()) - simulated) ** 2) < 1e-3 * np.mean(simulated**2)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(combining, "WIDTHS", (4, 8))
    monkeypatch.setattr(combining, "BLOCKS", (1, 2))
    monkeypatch.setattr(combining, "BITS", (8, 3))
    monkeypatch.setattr(combining, "ENDS", (8,))


def test_what_fits_is_known_before_the_training(few):
    everything = list(fitting(SMALL, 10**6))
    assert everything == [Combination(f"se-{w}x{b}", 8, 8, 0.0) for w in (4, 8) for b in (1, 2)]
    most = 11_400
    some = list(fitting(SMALL, most))
    assert some != everything
    assert len(some) == 4
    for one, finest in zip(some, everything, strict=True):
        # What is said to fit does after a training, and a finer one would not, or is the same.
        made = combine(teacher(), SMALL, one)
        assert file_bytes(made) <= most + 100
        if one != finest:
            assert file_bytes(combine(teacher(), SMALL, finest)) > most - 100
    assert list(fitting(SMALL, 3000)) == []


def test_the_search_takes_the_best_after_short_trainings(few, monkeypatch):
    trained = []

    def fake(teacher, recipe, combination, **followed):
        trained.append((combination.network, combination.alpha, recipe.steps))
        return combination

    scores = {"se-8x2": 1.0, "se-8x1": 3.0, "se-4x2": 2.0, "se-4x1": 9.0}
    monkeypatch.setattr(combining, "combine", fake)
    monkeypatch.setattr(combining, "_score", lambda made, recipe: scores[made.network] - made.alpha)
    recipe = dataclasses.replace(SMALL, steps=24)
    found = search(teacher(), recipe, 10**6, tried=3)
    assert (found.network, found.alpha) == ("se-8x1", 0.0)
    each = [(name, alpha, 4) for name in ("se-8x2", "se-8x1", "se-4x2") for alpha in (ALPHA, 0.0)]
    assert trained == [*each, *((*one, 8) for one in (("se-8x1", 0.0), ("se-8x1", ALPHA), ("se-4x2", 0.0)))]
    trained.clear()
    assert search(teacher(), recipe, 10**6, tried=4).network == "se-4x1"
    assert [steps for _, _, steps in trained] == [3] * 8 + [6] * 4 + [12] * 2


def test_the_whole_method_fits_and_is_deterministic(few):
    models = [combined(teacher(), SMALL, most_bytes=11_000).export() for _ in range(2)]
    assert encode_model(models[0]) == encode_model(models[1])
    assert len(encode_model(models[0])) <= 10_000
    with pytest.raises(InvalidArgumentError, match="smallest combination"):
        combined(teacher(), SMALL, most_bytes=3000)


def test_the_command(few, capsys):
    train_it = [
        "train",
        "instantaneous",
        "--network",
        "se-8x1",
        "--side",
        "4",
        "--steps",
        "2",
        "--batch",
        "4",
    ]
    assert run_command([*train_it, "--out", "mine.h5"]) == 0
    told = ["compress", "combined", "--model", "mine.h5", "--systems", "4", "--bytes", "11000"]
    assert run_command(told) == 0
    assert Path("mine-int-combined.h5").stat().st_size <= 11_000
    made = read_model("mine-int-combined.h5")
    assert made.metadata["command"] == "ris compress combined --model mine.h5 --bytes 11000"
    capsys.readouterr()
    assert run_command([*told, "--force", "--bits", "4"]) == 2
    assert "options: expected those of combined" in capsys.readouterr().err.replace("\n", " ")
    assert run_command(["compress", "rounding", "--model", "mine.h5", "--bytes", "11000"]) == 2
    assert "most_bytes" in capsys.readouterr().err
    assert run_command(["compress", "distil", "--model", "mine.h5", "--systems", "4"]) == 0
    weights = read_model("mine.h5").arrays["conv_1/weight"].shape
    assert read_model("mine-int-distil.h5").arrays["conv_1/weight"].shape == weights


# --- kept in files, and judged


def test_students_and_combinations_are_kept(monkeypatch):
    recipe = dataclasses.replace(SMALL, network="se-4x2")
    (further,) = stages(recipe, 2, 1e-3, 1)
    student = trained_student(recipe, "se-4x1")
    alone, same = trained_student(recipe, "se-4x1", alpha=0.0), dataclasses.replace(recipe, network="se-4x1")
    assert file_of([same]).exists()
    assert any(np.any(alone.arrays()[name] != value) for name, value in student.arrays().items())
    model = trained_combination(recipe, Combination("se-4x1"), further)
    other = trained_combination(recipe, Combination("se-4x1", bits=3), further)
    assert any(np.any(model.arrays[name] != other.arrays[name]) for name in model.arrays)
    monkeypatch.setattr("ris.predictors.compress.distillation.optimise", None)
    monkeypatch.setattr("ris.predictors.compress.combined.optimise", None)
    again = trained_student(recipe, "se-4x1")
    assert file_of([recipe, same], {"alpha": ALPHA}).exists()
    assert all(np.array_equal(again.arrays()[name], value) for name, value in student.arrays().items())
    kept = trained_combination(recipe, Combination("se-4x1"), further)
    assert encode_model(kept) == encode_model(model)


def test_a_model_is_made_once(tmp_path):
    path, asked = tmp_path / "new" / "model.h5", []

    def make(partial):
        asked.append(partial)
        partial.write_bytes(b"")
        return shaken(Network(cnn(11, 4, 1), 0, 4, 4))

    first, again = (kept_network(path, make) for _ in range(2))
    assert asked == [path.with_suffix(".partial")]
    assert [one.name for one in path.parent.iterdir()] == ["model.h5"]
    with torch.no_grad():
        assert torch.equal(first(maps()), again(maps()))
    assert kept_model(path, make).graph == first.graph
    assert file_of([SMALL], 1) != file_of([SMALL], 2)


def test_distillation_is_judged():
    settings = distillation.Settings()
    good, bad = Estimate(1.01, 1.0, 1.02), Estimate(1.01, 0.999, 1.02)
    passes = [
        [check.passed for check in distillation._checks(settings, np.array([good, bad]), kept)]
        for kept in (0.75, 0.76)
    ]
    assert passes == [[True, False, True], [True, False, False]]


def test_sizes_are_judged():
    labels = [entry.label for entry in pareto.MODELS]
    assert len({(entry.family, entry.label) for entry in pareto.MODELS}) == len(labels)
    shares, sizes = np.ones((len(labels), 3)), np.full((len(labels), 2), 99.0)
    for name, (most, least) in pareto.CLAIMS.items():
        shares[labels.index(name)] = least + 0.01, least, least + 0.02
        sizes[labels.index(name)] = most - 1, most
    assert all(check.passed for check in pareto._checks(pareto.Settings(), shares, sizes))
    for name in pareto.CLAIMS:
        shares[labels.index(name), 1] -= 1e-6
        sizes[labels.index(name), 0] += 2
    assert not any(check.passed for check in pareto._checks(pareto.Settings(), shares, sizes))
