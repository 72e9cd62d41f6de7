"""Adders: their sums, gradients, codes and moves, and what teaches them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from predictors_graphs import one_adder
from predictors_models import operation, oracle, random_codes, random_model

from channels.errors import InvalidArgumentError
from ris.predictors import statistical
from ris.predictors import train as training
from ris.predictors.adder import sums_of_differences
from ris.predictors.compress import adder as distillation
from ris.predictors.compress.adder import adders, distil, teacher_of
from ris.predictors.folding import real_tail, weight_bits
from ris.predictors.graph import GraphBuilder
from ris.predictors.integer_operations import codes_of, integer_operation
from ris.predictors.model import FloatModel, IntegerModel
from ris.predictors.model_file import decode_model, encode_model
from ris.predictors.module import Network
from ris.predictors.networks import adder_cnn
from ris.predictors.optimiser import ADDER_RATE, MOMENTUM, Optimiser
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.train import Recipe, build, on_device, phasors, task_loss, train
from studies.benchmarks import onnx_graph

SMALL = {"network": "adder", "side": 4, "steps": 6, "batch": 2}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(training, "VALIDATION", 4)
    monkeypatch.setattr(training, "EVERY", 3)
    monkeypatch.setattr(statistical, "POOL", 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


# --- sums and gradients


def naive(maps, weight, slopes):
    """Sums, and the gradients of sum slopes x sums, one difference after the other."""
    kernel, edge = weight.shape[-1], weight.shape[-1] // 2
    wide = np.pad(maps, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    sums, of_wide, of_weight = np.zeros(slopes.shape), np.zeros(wide.shape), np.zeros(weight.shape)
    for m, o, row, column in np.ndindex(*slopes.shape):
        for c, i, j in np.ndindex(weight.shape[1], kernel, kernel):
            apart = wide[m, c, row + i, column + j] - weight[o, c, i, j]
            sums[m, o, row, column] += abs(apart)
            of_wide[m, c, row + i, column + j] += slopes[m, o, row, column] * min(max(apart, -1), 1)
            of_weight[o, c, i, j] -= slopes[m, o, row, column] * apart
    rows, columns = maps.shape[2:]
    return sums, of_wide[:, :, edge : edge + rows, edge : edge + columns], of_weight


@pytest.mark.parametrize(("channels", "out", "kernel"), [(3, 5, 3), (1, 1, 1), (4, 8, 1), (2, 6, 5)])
def test_sums_and_gradients_are_those_of_a_loop(channels, out, kernel):
    maps = 2 * normal(3, channels, 4, 5).requires_grad_()
    maps.retain_grad()
    weight = normal(out, channels, kernel, kernel, seed=1).requires_grad_()
    slopes = normal(3, out, 4, 5, seed=2)
    made = sums_of_differences(maps, weight)
    made.backward(slopes)
    wanted = naive(maps.detach().numpy(), weight.detach().numpy(), slopes.numpy())
    for ours, theirs in zip((made.detach(), maps.grad, weight.grad), wanted, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-12)
    single = sums_of_differences(maps.detach().float(), weight.detach().float())
    np.testing.assert_allclose(single.numpy(), wanted[0], rtol=1e-5)


def test_sums_do_not_depend_on_how_maps_are_cut():
    maps, weight = normal(35, 2, 3, 3, dtype=torch.float32), normal(4, 2, 3, 3, dtype=torch.float32)
    whole = sums_of_differences(maps, weight)
    apart = torch.cat([sums_of_differences(one[None], weight) for one in maps])
    assert torch.equal(whole, apart)


def test_an_adder_is_scaled_and_shifted():
    network = Network(one_adder(2, 3)).double()
    own = network.own(network.graph["adder"])
    with torch.no_grad():
        own["scale"].copy_(normal(3, seed=3))
        own["bias"].copy_(normal(3, seed=4))
    maps = normal(2, 1, 2, 4, 4)
    sums = sums_of_differences(maps[:, 0], own["weight"])
    wanted = own["bias"][:, None, None] - own["scale"][:, None, None] * sums
    torch.testing.assert_close(network(maps)[:, 0], wanted)


def test_first_weights():
    weight = Network(one_adder(64, 64)).arrays()["adder/weight"]
    assert weight.std() == pytest.approx(1.0, abs=6.5 / math.sqrt(2 * weight.size))
    student = Network(adder_cnn(13, 4, 1))
    maps = normal(2, 2, 13, 4, 4, dtype=torch.float32)
    first = student.results(maps)
    ends = [node.name for node in student.graph if node.op == "add" and node.inputs[0] == "conv_1"]
    torch.testing.assert_close(first[ends[-1]], first["conv_1"])
    assert all(one.std() > 0 for name, one in student.named_parameters() if name.endswith("/weight"))


def test_operations_are_differences_and_no_products():
    graph = one_adder(13, 32)
    assert graph.products(4, 8, 8)["adder"] == 0
    assert graph.differences(4, 8, 8)["adder"] == 4 * 64 * 32 * 13 * 9
    assert graph.bit_operations(4, 8, 8) == 32 * graph.differences(4, 8, 8)["adder"]
    assert graph.bit_operations(4, 8, 8, {"adder": (8, 4)}) == 8 * graph.differences(4, 8, 8)["adder"]


# --- integers


def quantized(graph, count=4, seed=0, scale=1.0, **bits):
    """A network of random numbers with a range of its own in every layer, and some inputs."""
    network = Network(graph, seed).eval()
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0, 1, value.shape).astype(np.float32) for name, value in network.arrays().items()
    }
    for name, value in arrays.items():
        if name.endswith("/weight") and "adder" not in name:
            value *= math.sqrt(2 / value[0].size)
        elif name.endswith("adder/weight"):
            value *= np.float32(scale)
        elif name.endswith("/variance"):
            arrays[name] = np.abs(value) + np.float32(40)
    network.load_arrays(arrays)
    maps = normal(count, 3, graph.input_channels, 6, 6, seed=seed + 1, dtype=torch.float32)
    made = QuantizedNetwork(network, **bits).eval()
    made.calibrate([maps], "min-max")
    return network, made, maps


def between_convolutions(width=8):
    net = GraphBuilder(3)
    made = net.relu(net.conv(net.input, width))
    made = net.add_node("batch_norm", net.adder(made, width, name="adder"))
    net.conv(net.relu(made), 2, name="last")
    return net.graph()


def test_integers_are_those_of_a_slow_oracle_in_a_whole_network():
    _, simulated, maps = quantized(between_convolutions())
    model = simulated.export()
    node, codes = model.graph["adder"], codes_of(model)
    assert "batch_norm" not in {one.op for one in model.graph}
    with torch.no_grad():
        results = simulated.results(maps)
    given = codes[node.inputs[0]]
    inputs = np.rint(results[node.inputs[0]].numpy() / given.scale) + given.zero
    inputs = np.ascontiguousarray(np.moveaxis(inputs.astype(np.uint8), 2, -1))
    made = integer_operation(model, node, codes)(inputs)
    np.testing.assert_array_equal(made, oracle(model, node, [inputs]))
    assert len(np.unique(made)) > 100
    own = np.rint(results["adder"].numpy() / codes["adder"].scale) + codes["adder"].zero
    off = np.abs(np.moveaxis(own, 2, -1) - made)
    assert off.max() <= 1
    assert off.mean() < 1e-3
    theirs = simulated(maps).detach().numpy()
    np.testing.assert_allclose(Predictor(model).run(maps.numpy()), theirs, atol=0.02 * np.abs(theirs).max())


def test_weights_share_scale_and_bits_with_the_input():
    for bits in (8, 4):
        _, simulated, _ = quantized(between_convolutions(), activation_bits=bits)
        model = simulated.export()
        numbers = {node.name: i for i, node in enumerate(model.graph)}
        assert model.arrays["weight_bits"][numbers["adder"]] == bits
        codes = model.weight_codes(model.graph["adder"])
        assert codes.min() >= 0
        assert codes.max() <= 2**bits - 1
        source = numbers[model.graph["adder"].inputs[0]]
        scale, zero = (model.arrays[name][source] for name in ("scale", "zero_point"))
        weight = simulated.network.arrays()["adder/weight"]
        inside = (weight > -int(zero) * scale) & (weight < (2**bits - 1 - int(zero)) * scale)
        assert 0.2 < inside.mean() < 0.8
        apart = np.abs(scale * (codes - int(zero)) - weight)
        assert apart[inside].max() <= 0.5001 * scale


def test_weights_beyond_the_range_of_the_input_lose_nothing():
    """Weights of whole steps of the input, but far away: the float network on the same codes is exact."""
    network, simulated, maps = quantized(one_adder(3, 8), scale=20.0)
    model = simulated.export()
    scale, zero = model.arrays["scale"][0], int(model.arrays["zero_point"][0])
    own = network.own(network.graph["adder"])
    with torch.no_grad():
        own["weight"].copy_(torch.round(own["weight"] / scale) * scale)
    simulated = QuantizedNetwork(network).eval()
    simulated.calibrate([maps], "min-max")
    model = simulated.export()
    codes = np.clip(np.rint(maps.numpy() / scale) + zero, 0, 255)
    assert np.mean(np.abs(own["weight"].detach().numpy()) > 128 * scale) > 0.5
    with torch.no_grad():
        wanted = network(torch.from_numpy((scale * (codes - zero)).astype(np.float32))).numpy()
    # The last layer is real: nothing is rounded but the bias, in steps of the sum.
    made = Predictor(model).run(maps.numpy())
    step = np.abs(own["scale"].detach().numpy() * scale)[:, None, None]
    assert (np.abs(made - wanted) <= 0.51 * step + 1e-5 * np.abs(wanted)).all()


def test_what_is_last_stays_real_and_adders_count_as_weights():
    assert real_tail(one_adder(3, 8)) == {"adder"}
    net = GraphBuilder(3)
    net.adder(net.conv(net.input, 4, name="first"), 4, name="behind")
    assert real_tail(net.graph()) == {"behind"}
    assert weight_bits(net.graph(), 4) == {"first": 8}


@pytest.mark.parametrize("sign", [1.0, 0.0, -1.0])
def test_channels_that_count_little_are_exported_soundly(sign):
    network, _, maps = quantized(between_convolutions())
    with torch.no_grad():
        norm = next(node for node in network.graph if node.op == "batch_norm")
        own = network.own(norm)
        own["scale"].fill_(sign * 1e-12)
        own["shift"].copy_(torch.linspace(-3, 3, 8))
    simulated = QuantizedNetwork(network).eval()
    simulated.calibrate([maps], "min-max")
    with torch.no_grad():
        wanted = network(maps).numpy()
    made = Predictor(simulated.export()).run(maps.numpy())
    np.testing.assert_allclose(made, wanted, atol=0.03 * np.abs(wanted).max())


def test_the_largest_sums_do_not_wrap():
    graph = one_adder(32, 2)
    model = random_model(graph, 8, 8, np.random.default_rng(0))
    node, most = graph.nodes[-1], 2**31 - 1 - 255 * 32 * 9
    model.arrays["adder/weight"][:] = np.array([127, -128])[:, None, None, None]
    model.arrays["adder/bias"][:] = most, -most
    model.arrays["adder/multiplier"][:] = 100 / 2**31, -100 / 2**31
    model.arrays["zero_point"][:] = 0, 128
    IntegerModel(graph, model.arrays)  # the bound holds
    for code in (0, 255):
        inputs = [np.full((1, 1, 8, 8, 32), code, np.uint8)]
        np.testing.assert_array_equal(operation(model, node)(*inputs), oracle(model, node, inputs))
    model.arrays["adder/bias"][0] += 1
    with pytest.raises(InvalidArgumentError, match="sums below"):
        IntegerModel(graph, model.arrays)


@pytest.mark.parametrize(("name", "value"), [("weight_bits", 7), ("bits", 7)])
def test_other_codes_than_those_of_the_input_are_refused(name, value):
    model = random_model(one_adder(3, 4), 8, 8, np.random.default_rng(0))
    model.arrays["zero_point"][:] = 3
    model.arrays[name][1 if name == "weight_bits" else 0] = value
    with pytest.raises(InvalidArgumentError, match="codes of its input"):
        IntegerModel(model.graph, model.arrays)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("channels", "out", "kernel"), [(5, 6, 3), (13, 7, 1), (2, 3, 5), (6, 40, 3)])
def test_codes_are_those_of_differences_in_onnxruntime(channels, out, kernel, ties):
    # Eight pixels and 32 channels are summed together where a row has so many.
    rng, size = np.random.default_rng([channels, ties]), (2, 3, 5, 9 if out > 32 else 6)
    model = random_model(one_adder(channels, out, kernel), *size[2:], rng, ties)
    node = model.graph.nodes[-1]
    (inputs,) = random_codes(rng, model, node, *size)
    feed = np.ascontiguousarray(np.moveaxis(inputs, -1, 2)).reshape(-1, channels, *size[2:])
    (theirs,) = onnx_graph.single(model, node, *size).run(None, {"in_0": feed})
    made = np.moveaxis(operation(model, node)(inputs), -1, 2).reshape(theirs.shape)
    assert len(np.unique(made)) > 10
    np.testing.assert_array_equal(made, theirs)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_files_keep_adders(bits):
    _, simulated, maps = quantized(between_convolutions(), activation_bits=bits)
    model = simulated.export()
    data = encode_model(model)
    read = decode_model(data)
    assert read.graph == model.graph
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    assert encode_model(read) == data
    np.testing.assert_array_equal(Predictor(read).run(maps.numpy()), Predictor(model).run(maps.numpy()))


def test_training_in_integers_mends_what_rounding_broke():
    # Where rounding breaks much, so that what is mended does not hang on how sums are rounded.
    network, student, maps = quantized(between_convolutions(), seed=1, activation_bits=3)
    with torch.no_grad():
        wanted = network(maps)

    def loss():
        return torch.mean((student(maps) - wanted) ** 2)

    before = float(loss().detach())
    optimiser = Optimiser([student], 3e-3)
    student.train()
    for step in range(100):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 100)
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    student.eval()
    after = float(loss().detach())
    assert after < 0.5 * before
    made = Predictor(student.export()).run(maps.numpy())
    assert float(np.mean((made - wanted.numpy()) ** 2)) == pytest.approx(after, rel=0.05)


# --- moves


def test_adders_move_by_layers_and_all_else_by_adam():
    both = torch.nn.ModuleList([Network(between_convolutions(), 1), Network(between_convolutions(), 1)])
    ours, plain = both
    weight = ours.own(ours.graph["adder"])["weight"]
    optimiser, adam = Optimiser([ours], 0.01), torch.optim.Adam(plain.parameters(), 0.01)
    gradients, move, before = [], torch.zeros_like(weight), weight.detach().clone()
    for step in range(3):
        maps = normal(2, 2, 3, 6, 6, seed=step, dtype=torch.float32)
        for network in both:
            network.zero_grad()
            (100 * network(maps).square().mean()).backward()
        gradient = weight.grad.clone()
        gradients.append(gradient)
        others = [one for name, one in plain.named_parameters() if name != "adder/weight"]
        assert torch.nn.utils.clip_grad_norm_(others, 1.0) > 1
        move = MOMENTUM * move + ADDER_RATE * gradient / gradient.square().mean().sqrt()
        before -= 0.01 * move
        optimiser.step()
        adam.step()
        torch.testing.assert_close(weight.detach(), before)
        with torch.no_grad():
            plain.own(plain.graph["adder"])["weight"].copy_(weight)
        for name, one in ours.named_parameters():
            assert torch.equal(one, dict(plain.named_parameters())[name])
    first = ADDER_RATE * gradients[0] / gradients[0].square().mean().sqrt()
    assert float(first.square().mean().sqrt()) == pytest.approx(ADDER_RATE, rel=1e-5)


def test_an_adder_without_a_gradient_rests():
    network = Network(one_adder(2, 2))
    before = network.arrays()["adder/weight"]
    optimiser = Optimiser([network], 0.1)
    optimiser.step()
    (0 * network(normal(1, 1, 2, 3, 3, dtype=torch.float32))).sum().backward()
    optimiser.step()
    np.testing.assert_array_equal(network.arrays()["adder/weight"], before)


class StoppedError(Exception):
    pass


def stop(share, text):
    raise StoppedError


def test_an_interrupted_training_goes_on_as_if_nothing_was(tmp_path):
    recipe = Recipe(seed=3, **SMALL)
    for learn in (train, distil):
        whole, checkpoint = learn(recipe), tmp_path / learn.__name__
        with pytest.raises(StoppedError):
            learn(recipe, checkpoint=checkpoint, progress=stop)
        resumed = learn(recipe, checkpoint=checkpoint)
        assert resumed.history == whole.history
        for name in ("network",) if learn is train else ("student", "teacher"):
            one, other = (getattr(made, name).arrays() for made in (whole, resumed))
            assert all(np.array_equal(one[key], other[key]) for key in one)


def test_adders_learn():
    recipe = Recipe(network="adder", side=4, steps=30, batch=8)
    systems = on_device(recipe.make_task().systems("test", 64), "cpu")
    before = build("adder", recipe.make_task().channels, 4, recipe.seed)
    rates = [training.sum_rates(one, systems).mean() for one in (train(recipe).network, before)]
    assert rates[0] > 1.03 * rates[1]


# --- the teacher


def both(seed=0, alpha=0.3, beta=0.1):
    student = build("adder", Recipe(**SMALL).make_task().channels, 4, seed)
    return distillation._Both(student, teacher_of(student), alpha, beta, 0)


def systems(step=0):
    return on_device(Recipe(**SMALL).make_task().training_batch(step, 2, 0), "cpu")


def test_the_teacher_begins_with_the_weights_of_the_student():
    student = build("adder", 13, 4, 5)
    teacher = teacher_of(student)
    assert "adder" not in {node.op for node in teacher.graph}
    assert [node.name for node in teacher.graph] == [node.name for node in student.graph]
    ours, theirs = student.arrays(), teacher.arrays()
    assert set(ours) - set(theirs) == {f"{node.name}/scale" for node in student.graph if node.op == "adder"}
    for name, value in theirs.items():
        replaced = student.graph[name.split("/")[0]].op == "adder" and name.endswith("/weight")
        np.testing.assert_array_equal(
            value, ours[name] * np.float32(math.sqrt(2 / value[0].size) if replaced else 1)
        )
    # as if it had been made with that seed
    np.testing.assert_array_equal(
        theirs["adder_3/weight"], Network(teacher.graph, 5, 4, 4).arrays()["adder_3/weight"]
    )


def test_nothing_flows_back_to_the_teacher():
    pair, batch = both(alpha=10.0, beta=10.0).train(), systems()
    pair.loss(batch).backward()
    alone = teacher_of(both().student).train()
    task_loss(phasors(alone, batch), batch).backward()
    for name, one in alone.named_parameters():
        torch.testing.assert_close(dict(pair.teacher.named_parameters())[name].grad, one.grad)
    # So it learns as it would alone, to the last bit.
    for network, parts in ((pair, pair.parts), (alone, [alone])):
        optimiser = Optimiser(parts, 0.01)
        for step in range(3):
            batch = systems(step)
            optimiser.zero_grad()
            loss = pair.loss(batch) if network is pair else task_loss(phasors(alone, batch), batch)
            loss.backward()
            optimiser.step()
    learned = pair.teacher.arrays()
    assert all(np.array_equal(learned[name], value) for name, value in alone.arrays().items())
    batch = systems()
    pair = both(alpha=10.0, beta=10.0).train()
    pair.loss(batch).backward()
    taught = both(alpha=0.0, beta=0.0).train()
    taught.loss(batch).backward()
    name = "conv_1/weight"
    ours, theirs = (dict(one.student.named_parameters())[name].grad for one in (pair, taught))
    assert not torch.allclose(ours, theirs)


def test_the_loss_has_its_three_parts():
    batch = systems()
    losses = {}
    for alpha, beta in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0)):
        losses[alpha, beta] = float(both(alpha=alpha, beta=beta).train().loss(batch).detach())
    pair = both().train()
    ours, theirs = pair.student.results(batch.maps), pair.teacher.results(batch.maps)
    last = pair.student.graph.nodes[-1].name
    x, y = (made[last].detach()[:, 0].numpy() for made in (ours, theirs))
    angles = np.arctan2(x[:, 1], x[:, 0]) - np.arctan2(y[:, 1], y[:, 0])
    agreement = np.abs(np.exp(1j * angles).mean((1, 2)))
    assert losses[2.0, 0.0] - losses[0.0, 0.0] == pytest.approx(2 * np.mean(1 - agreement), rel=1e-3)
    assert losses[0.0, 3.0] > losses[0.0, 0.0]
    with torch.no_grad():
        alone = [
            task_loss(phasors(one, batch), batch) for one in (pair.student.train(), pair.teacher.train())
        ]
    assert losses[0.0, 0.0] == pytest.approx(float(sum(alone)), rel=1e-5)


def test_kernels_compare_distances_and_products():
    kernels = distillation._Kernels(3).double()
    student, teacher = -20 - 3 * normal(4, 2, 3, 5, 5).abs(), 2 * normal(4, 2, 3, 5, 5, seed=1)
    made = float(kernels(student, teacher).detach())
    s, t = (np.mean(np.abs(one.numpy())) for one in (student, teacher))
    h = np.exp(student.numpy() / (2 * s)), np.exp(teacher.numpy() / t)
    axes = (0, 1, 3, 4)
    ours, theirs = ((one - one.mean(axes, keepdims=True)) / one.std(axes, keepdims=True) for one in h)
    assert made == pytest.approx(np.mean((ours - theirs) ** 2), rel=1e-6)
    # A product that says the same as the distance: the exponents are equal, and so are the kernels.
    same = distillation._Kernels(3).double()
    assert float(same(student, student * 0.7).detach()) < 0.02
    with torch.no_grad():
        same.wider[1] = math.log(2)
        assert float(same(student, student * 0.7)) < 1e-6
        same.wider.fill_(100.0)
        wide = float(same(student, teacher))
        same.wider.fill_(distillation.WIDEST)
        assert float(same(student, teacher)) == wide


def test_a_method_of_compression():
    recipe = Recipe("statistical", "cnn", 0, 4, 3, 2)
    network = build("cnn", recipe.make_task().channels, 4, 0)
    model = adders(network, recipe).export()
    assert [node.op for node in model.graph].count("adder") == 12
    maps = recipe.make_task().systems("test", 2).maps
    assert np.isfinite(Predictor(model).phases(maps)).all()
    student = distil(dataclasses.replace(recipe, network="adder")).student
    exact = Predictor(FloatModel(student.graph, student.arrays(), 4, 4)).run(maps)
    with torch.no_grad():
        np.testing.assert_allclose(exact, student(torch.from_numpy(maps)).numpy(), rtol=1e-3, atol=1e-4)


def test_bad_requests():
    with pytest.raises(InvalidArgumentError, match="adders"):
        distil(Recipe(network="se", side=4))
    with pytest.raises(InvalidArgumentError, match="adders"):
        distil(Recipe(network="unrolled1", side=4))
    with pytest.raises(InvalidArgumentError, match="alpha"):
        distil(Recipe(**SMALL), alpha=-1.0)
    with pytest.raises(InvalidArgumentError, match="beta"):
        distil(Recipe(**SMALL), beta=math.nan)
    with pytest.raises(InvalidArgumentError, match="bits"):
        QuantizedNetwork(Network(between_convolutions()), bits={"adder": 4})
    net = GraphBuilder(2)
    net.adder(net.input, 4, 2)
    with pytest.raises(InvalidArgumentError, match="odd kernel"):
        net.graph().shapes(1, 4, 4)
