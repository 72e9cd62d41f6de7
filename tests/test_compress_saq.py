"""Sharpness-aware quantization: learned clips, the step, generated bit-widths, export."""

import copy
import itertools

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn
from predictors_models import oracle
from test_predictor_model_file import edited

from channels.errors import InvalidArgumentError
from ris.predictors.compress.bit_widths import BitWidthGenerator, Budget, PolicyGradient
from ris.predictors.compress.further import control, stages
from ris.predictors.compress.learned_clip import ClippedNetwork, odd_codes
from ris.predictors.compress.saq import FiniteRecipe, clipped, generated_bits, saq
from ris.predictors.compress.sharpness import sharpness_aware, shift_uphill
from ris.predictors.finite import FiniteTask
from ris.predictors.graph import GraphBuilder
from ris.predictors.integer_operations import codes_of, integer_operation
from ris.predictors.model import CONVOLUTIONS, IntegerModel, without_zero
from ris.predictors.model_file import ModelFileError, decode_model, encode_model
from ris.predictors.module import Network
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import StatisticalTask
from ris.predictors.train import Recipe, backward, build, loss_of, on_device
from studies.benchmarks import onnx_graph
from studies.experiments.claims import saq as claim

CNN = residual_cnn(8, 1)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network_of(graph, size, seed=0):
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


def maps_for(graph, size, count=2, seed=1):
    maps = np.random.default_rng(seed).standard_normal((count, 4, graph.input_channels, *size))
    return torch.from_numpy(maps.astype(np.float32))


def clipped_of(graph=CNN, size=(6, 6), bits=3, widths=()):
    network = ClippedNetwork(network_of(graph, size), bits, widths).eval()
    network.calibrate([maps_for(graph, size)])
    return network


# --- the quantizer


@pytest.mark.parametrize("bits", [2, 3, 4, 7])
def test_odd_codes_are_those_of_the_formula(bits):
    weights = torch.from_numpy(np.random.default_rng(0).normal(0, 1, 5000))
    clip, top = 1.3, 2**bits - 1
    u = np.clip(weights.numpy() / clip, -1, 1)
    expected = 2 * np.rint(top * (u + 1) / 2) - top
    codes = odd_codes(weights, torch.tensor(clip), bits)
    np.testing.assert_allclose(codes, expected, atol=1e-12)
    assert set(expected.astype(int)) == set(range(-top, top + 1, 2))


def frozen(codes, weights, clip, top):
    """What a clip does where the rounding errors of the codes stay."""
    inside = top * np.clip(weights / clip, -1, 1)
    return lambda other: other / top * (top * np.clip(weights / other, -1, 1) + codes - inside)


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_clips_of_weights_learn_by_the_rounding_error(bits):
    numbers = np.random.default_rng(bits).normal(0, 1, 400)
    weights = torch.from_numpy(numbers).requires_grad_()
    logarithm = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    top, clip = 2**bits - 1, np.exp(0.2)
    codes = odd_codes(weights, logarithm.exp(), bits)
    rounded = logarithm.exp() / top * codes
    direction = torch.from_numpy(np.random.default_rng(9).normal(0, 1, 400))
    torch.sum(direction * rounded).backward()
    inside = np.abs(numbers) < clip
    np.testing.assert_allclose(weights.grad, np.where(inside, direction, 0), atol=1e-12)
    made = rounded.detach().numpy()
    by_clip = np.where(inside, made - numbers, np.sign(numbers) * clip)
    assert float(logarithm.grad) == pytest.approx(direction.numpy() @ by_clip, rel=1e-10)
    value, h = frozen(codes.detach().numpy(), numbers, clip, top), 1e-6
    difference = (value(clip * np.exp(h)) - value(clip * np.exp(-h))) / (2 * h)
    assert float(logarithm.grad) == pytest.approx(direction.numpy() @ difference, rel=1e-6)


def test_clips_of_results_learn_by_the_rounding_error():
    network = clipped_of().double()
    name = network.between["conv_4"]
    node, place = network.graph[name], network.widths.index(3)
    scale, zero, top = (float(torch.as_tensor(one).detach()) for one in network._codes(node))
    assert top == 7
    assert 0 < zero < 7
    numbers = np.random.default_rng(2).normal(0, 3 * scale, 300)
    values = torch.from_numpy(numbers).requires_grad_()
    rounded = network._rounded(node, values)
    low, high = -zero * scale, (top - zero) * scale
    expected = scale * np.clip(np.rint(numbers / scale), -zero, top - zero)
    np.testing.assert_allclose(rounded.detach(), expected, atol=1e-9)
    direction = torch.from_numpy(np.random.default_rng(3).normal(0, 1, 300))
    torch.sum(direction * rounded).backward()
    inside = (numbers > low) & (numbers < high)
    assert 0.2 < inside.mean() < 0.99
    np.testing.assert_allclose(values.grad, np.where(inside, direction, 0), atol=1e-9)
    by_clip = np.where(inside, expected - numbers, np.clip(numbers, low, high))
    gradient = network.result_clips.grad.clone()
    number = [one.name for one in network.graph].index(name)
    assert float(gradient[number, place]) == pytest.approx(direction.numpy() @ by_clip, rel=1e-6)
    gradient[number, place] = 0
    assert not gradient.any()


def test_first_clips_of_weights_have_the_least_error():
    network = clipped_of(bits=2, widths=(4,))
    for name in network.between:
        weight = network.network.own(network.graph[name])["weight"].detach().flatten(1)
        normalised = weight / weight.square().mean(1, keepdim=True).sqrt()
        for place, bits in enumerate((2, 4)):
            clip = network.weight_clips[[n.name for n in network.graph].index(name), place].exp()

            def error(one, bits=bits, normalised=normalised):
                codes = odd_codes(normalised, one, bits)
                return float(torch.sum((one / (2**bits - 1) * codes - normalised) ** 2))

            others = [error(share * normalised.abs().max()) for share in torch.linspace(0.02, 1, 300)]
            assert error(clip.detach()) <= 1.05 * min(others)


def test_widths_have_clips_of_their_own_and_switch_back_and_forth():
    network, maps = clipped_of(bits=3, widths=(2, 5)), maps_for(CNN, (6, 6))
    first = network(maps).detach()
    names = list(network.between)
    network.choose({names[0]: 5, names[1]: 2})
    other = network(maps)
    assert not torch.equal(first, other)
    other.square().sum().backward()
    numbers = {node.name: number for number, node in enumerate(network.graph)}
    used = network.weight_clips.grad != 0
    for name in names:
        place = network.widths.index(network.weight_bits[name])
        used[numbers[name], place] ^= True
    assert not used.any()
    network.choose({names[0]: 3, names[1]: 3})
    torch.testing.assert_close(network(maps), first, rtol=0, atol=0)


def test_ends_and_gates_have_eight_bits():
    network = clipped_of(bits=3)
    gates = {"conv_9", "conv_11"}
    assert [network.graph[name].inputs for name in sorted(gates)] == [("conv_9",), ("mean_grid_8",)]
    assert network.weight_bits == {
        name: 8 if name in gates | {"conv_1", "head"} else 3 for name in network.weight_bits
    }
    assert set(network.between) == {"conv_3", "conv_4", "conv_7"}
    results = dict(zip((node.name for node in network.graph), network.export().arrays["bits"], strict=True))
    assert {results[name] for name in network.between.values()} == {3}
    assert {results[name] for name in ("mean_grid_8", "conv_9")} == {8}


def test_eight_bits_are_those_without_clips():
    graph, size = residual_cnn(8, 1), (6, 6)
    network, maps = clipped_of(graph, size, 8), maps_for(graph, size)
    with torch.no_grad():
        exact = network_of(graph, size)(maps)
        error = (network(maps) - exact).norm() / exact.norm()
    assert error < 0.02


# --- export


@pytest.mark.parametrize(
    ("graph", "size"), [(residual_cnn(8, 2), (8, 8)), (every_operation(), (4, 6))], ids=["cnn", "every"]
)
@pytest.mark.parametrize("bits", [2, 3, 4, 7])
def test_the_runtime_is_the_simulation_code_by_code(graph, size, bits):
    network = clipped_of(graph, size, bits)
    model, maps = network.export(), maps_for(graph, size, seed=2)
    with torch.no_grad():
        results = network.double().results(maps.double())
    codes, weightless = codes_of(model), True
    for node in model.graph.nodes[1:]:

        def rounded(name):
            values, one = np.moveaxis(results[name].numpy(), 2, -1), codes[name]
            if name in model.real:
                return np.ascontiguousarray(values.astype(np.float32))
            return np.ascontiguousarray((np.rint(values / one.scale) + one.zero).astype(np.uint8))

        given = [rounded(name) for name in node.inputs]
        made = integer_operation(model, node, codes)(*given)
        if node.name in model.real:
            np.testing.assert_allclose(made, rounded(node.name), rtol=1e-4, atol=1e-4 * np.abs(made).max())
            continue
        # In float32 what lies between two codes can fall to the other side, seldom.
        apart = np.abs(made.astype(int) - rounded(node.name))
        assert apart.max() <= 1, node.name
        assert apart.mean() < 1e-3, node.name
        if node.op in CONVOLUTIONS:
            weightless = False
            np.testing.assert_array_equal(made, oracle(model, node, given), node.name)
    assert not weightless
    for name in network.between:
        weight = model.arrays[f"{name}/weight"]
        assert set(np.abs(weight).ravel() % 2) == {1}
        assert np.abs(weight).max() <= 2**bits - 1


def test_the_runtime_is_onnxruntime():
    network, maps = clipped_of(residual_cnn(16, 2), (16, 16), 4), maps_for(CNN, (16, 16), seed=2).numpy()
    model = network.export()
    (theirs,) = onnx_graph.whole(model, 2, 4, 16, 16).run(None, {"maps": maps})
    ours = Predictor(model).run(maps).reshape(theirs.shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())


def test_bit_operations_count_the_bits_of_both_factors():
    network = clipped_of(bits=3, widths=(2, 4))
    names = list(network.between)
    network.choose({names[0]: 2, names[1]: 4})
    model = network.export()
    products = model.graph.products(4, 6, 6)
    bits = {name: network.weight_bits[name] ** 2 for name in network.weight_bits}
    real = {node.name: 32 * 8 for node in model.graph if node.name in model.real and node.op == "mul"}
    expected = sum(count * (bits | real).get(name, 64) for name, count in products.items())
    assert model.bit_operations(4, 6, 6) == expected
    interior = sum(products[name] for name in names)
    budget = Budget({name: products[name] for name in names}, 3.0)
    taken = sum(products[name] * bits[name] for name in names)
    assert budget.share(network.weight_bits) == pytest.approx(taken / (9 * interior))


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_files_keep_weights_without_a_zero(bits):
    model = clipped_of(bits=bits).export()
    data = encode_model(model)
    again = decode_model(data)
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    assert encode_model(again) == data
    assert (b"odd" in data) == (bits <= 4)
    assert (b"weight_4bit" in data) == (bits in (3, 4))
    assert (b"weight_2bit" in data) == (bits == 2)


def test_flags_of_odd_weights_that_cannot_be_are_refused():
    data = encode_model(clipped_of(bits=4).export())
    for place, value in ((0, 1), (1, 1), (4, 2)):  # the input; a convolution of 8 bits; no flag

        def wrong(file, place=place, value=value):
            file["odd"][place] = value

        with pytest.raises(ModelFileError):
            decode_model(edited(wrong, data))


def line(weight, bits):
    """A model of a single layer."""
    graph = ClippedNetwork(Network(_single())).graph
    arrays = {
        "scale": np.ones(2, np.float32),
        "zero_point": np.zeros(2, np.uint8),
        "bits": np.array([8, 0], np.uint8),
        "weight_bits": np.array([0, bits], np.uint8),
        "line/weight": np.array(weight, np.int8).reshape(1, 2, 1, 1),
        "line/bias": np.zeros(1, np.int32),
        "line/multiplier": np.ones(1, np.float32),
    }
    return IntegerModel(graph, arrays)


def _single():
    net = GraphBuilder(2)
    net.conv(net.input, 1, 1, name="line")
    return net.graph()


@pytest.mark.parametrize(
    ("weight", "bits", "sound"),
    [
        ((-3, 3), 2, True),
        ((-15, 1), 4, True),
        ((127, -127), 7, True),
        ((-1, 0), 2, True),
        ((-3, 0), 2, False),
        ((2, 1), 2, False),
        ((-5, 3), 2, False),
        ((9, 8), 4, False),
        ((-128, 1), 8, False),
        ((-127, 2), 8, True),
        ((-65, 64), 7, False),
    ],
)
def test_weights_are_symmetric_or_odd(weight, bits, sound):
    if sound:
        model = line(weight, bits)
        assert without_zero(model.arrays["line/weight"], bits) == (max(np.abs(weight)) >= 2 ** (bits - 1))
        made = Predictor(model).run(np.array([2.0, 3.0], np.float32).reshape(1, 1, 2, 1, 1))
        assert made.item() == 2 * weight[0] + 3 * weight[1]
    else:
        with pytest.raises(InvalidArgumentError, match="line"):
            line(weight, bits)


# --- the step


def naive_step(network, maps, loss, radius):
    """The step as the authors' code takes it: keep dL/dq, shift what is there, restore it; over gains."""
    kept = {}
    own = network._own

    def recording(node):
        made = own(node)
        for name in made if node.op in CONVOLUTIONS else ():
            if f"{node.name}/{name}" in shifts:
                made[name] = made[name] + shifts[f"{node.name}/{name}"]
            made[name].retain_grad()
            kept[f"{node.name}/{name}"] = made[name]
        return made

    network._own, shifts = recording, {}
    loss(network(maps)).backward()
    gains = {name: network.network.gain(name.split("/")[0], value) for name, value in kept.items()}
    gradients = {name: gains[name] * value.grad for name, value in kept.items()}
    norm = torch.cat([one.flatten() for one in gradients.values()]).norm()
    shifts = {name: radius * gains[name] * one / norm for name, one in gradients.items()}
    network.zero_grad()
    loss(network(maps)).backward()
    del network._own
    return {name: value.grad for name, value in network.named_parameters()}


def test_the_step_is_that_of_a_naive_implementation():
    network, maps = clipped_of(), maps_for(CNN, (6, 6), seed=3)
    wanted = network_of(CNN, (6, 6), 5)(maps).detach()

    def loss(made):
        return torch.mean((made - wanted) ** 2)

    expected = naive_step(copy.deepcopy(network), maps, loss, 0.1)
    plain = copy.deepcopy(network)
    loss(plain(maps)).backward()
    sharpness_aware(network, 0.1)(lambda: loss(network(maps)))
    assert network.shifts == {}
    differs = 0.0
    for (name, value), before in zip(network.named_parameters(), plain.parameters(), strict=True):
        if expected[name] is None:
            assert value.grad is None
            continue
        size = expected[name].abs().max()
        torch.testing.assert_close(value.grad, expected[name], rtol=1e-4, atol=float(1e-5 * size))
        differs = max(differs, float((value.grad - before.grad).abs().max() / before.grad.abs().max()))
    assert differs > 0.05
    assert sharpness_aware(network, 0) is backward


def test_the_loss_rises_most_where_the_weights_are_shifted():
    network, maps = clipped_of(), maps_for(CNN, (6, 6), seed=3)
    wanted = network(maps).detach() + 0.3

    def loss():
        return torch.mean((network(maps) - wanted) ** 2)

    before = float(loss().detach())
    shift_uphill(network, 0.02, loss)
    shifts = network.shifts
    size = np.sqrt(sum(float(one.square().sum()) for one in shifts.values()))
    assert size == pytest.approx(0.02, rel=1e-5)
    highest = float(loss().detach())
    assert highest > before
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        random = {name: torch.randn(one.shape, generator=generator) for name, one in shifts.items()}
        norm = np.sqrt(sum(float(one.square().sum()) for one in random.values()))
        network.shifts = {name: 0.02 / norm * one for name, one in random.items()}
        assert float(loss().detach()) < highest


# --- the generator


def test_draws_have_the_probabilities_that_they_tell():
    generator = BitWidthGenerator(2, (2, 4, 5), seed=3)
    with torch.no_grad():
        for value in generator.parameters():
            value *= 8
    found = {}
    grid = (np.arange(30) + 0.5) / 30
    for pair in itertools.product(grid, grid):
        draw = generator.draw(np.array(pair))
        found.setdefault(draw.bits, []).append(draw)
    assert set(found) <= set(itertools.product((2, 4, 5), repeat=2))
    told = {bits: float(draws[0].log_probability.detach().exp()) for bits, draws in found.items()}
    assert sum(told.values()) == pytest.approx(1, abs=1e-5)
    for bits, draws in found.items():
        assert len(draws) / 900 == pytest.approx(told[bits], abs=0.04)
    firsts = {bit: sum(p for bits, p in told.items() if bits[0] == bit) for bit in (2, 4, 5)}
    assert max(firsts.values()) - min(firsts.values()) > 0.05
    # The mean of -log p is the mean entropy of the choices.
    entropy = sum(told[bits] * float(draws[0].entropy.detach()) for bits, draws in found.items())
    assert entropy == pytest.approx(-sum(p * np.log(p) for p in told.values()), abs=1e-4)


def test_the_gradient_is_that_of_the_mean_cost():
    generator, costs = (
        BitWidthGenerator(2, (2, 3), seed=1),
        {(2, 2): 1.0, (2, 3): 5.0, (3, 2): 0.0, (3, 3): 2.0},
    )
    corners = [generator.draw(np.array(pair)) for pair in itertools.product((0.0, 1 - 1e-9), repeat=2)]
    exact = sum(draw.log_probability.exp() * costs[draw.bits] for draw in corners)
    wanted = torch.autograd.grad(exact, list(generator.parameters()), retain_graph=True)
    weighted = sum(
        draw.log_probability.exp().detach() * (costs[draw.bits] - 1.7) * draw.log_probability
        for draw in corners
    )
    made = torch.autograd.grad(weighted, list(generator.parameters()))
    for one, other in zip(made, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-7)


def test_a_generator_learns_which_layers_need_their_bits():
    products = {"a": 400, "b": 100, "c": 250, "d": 400, "e": 150}
    need = dict(zip(products, (0.05, 8.0, 0.5, 0.02, 30.0), strict=True))
    budget = Budget(products, 3.0)

    def loss(bits):
        return sum(need[name] * 4.0 ** -bits[name] for name in bits)

    def named(bits):
        return dict(zip(products, bits, strict=True))

    def cost(bits):
        return loss(bits) + 3 * max(budget.share(bits) - 1, 0)

    every = [named(bits) for bits in itertools.product((2, 3, 4, 5), repeat=5)]
    assert budget.share(min(every, key=cost)) <= 1
    rng = np.random.default_rng(0)
    generator = BitWidthGenerator(5, seed=0)
    policy = PolicyGradient(generator)
    costs = []
    for _ in range(300):
        draw = generator.draw(rng.random(5))
        costs.append(cost(named(draw.bits)))
        policy.learn(draw, costs[-1])
    first, last = np.mean(costs[:50]), np.mean(costs[-50:])
    even, uniform = np.mean([cost(bits) for bits in every]), cost(dict.fromkeys(products, 3))
    assert last < 0.5 * first
    assert last < 0.5 * even
    drawn = [named(generator.draw(rng.random(5)).bits) for _ in range(50)]
    within = [bits for bits in drawn if budget.share(bits) <= 1]
    assert min(loss(bits) for bits in within) < 0.3 * uniform
    others = [loss(bits) for bits in every if budget.share(bits) <= 1]
    assert min(loss(bits) for bits in within) < np.quantile(others, 0.05)


# --- finite sets, and training


def test_a_finite_set_comes_again_and_again_in_new_orders():
    task = FiniteTask(StatisticalTask(side=2), 5, first=2)
    steps = [task.training_batch(step, 4, 7).maps for step in range(20)]
    other = StatisticalTask(side=2)
    known = [other.training_batch(number, 4, 7).maps for number in range(2, 7)]
    orders = []
    for time in range(4):
        once = steps[5 * time : 5 * time + 5]
        orders.append(
            tuple(next(i for i, one in enumerate(known) if np.array_equal(one, maps)) for maps in once)
        )
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len(set(orders)) > 1
    np.testing.assert_array_equal(task.systems("test", 3).maps, other.systems("test", 3).maps)
    assert (task.name, task.side, task.channels, task.users) == ("statistical", 2, other.channels, 4)
    with pytest.raises(InvalidArgumentError, match="count"):
        task.training_batch(0, 3, 7)


TINY = Recipe("statistical", "cnn", seed=1, side=2, steps=10, batch=4)


def tiny_network():
    return build("cnn", TINY.make_task().channels, 2, 1)


def test_training_lowers_the_loss_and_is_reproducible():
    network = tiny_network()
    made = saq(network, TINY, 3, systems=8, steps=12, rate=3e-3)
    begun, again = clipped(network, TINY, 3), saq(network, TINY, 3, systems=8, steps=12, rate=3e-3)
    plain = saq(network, TINY, 3, systems=8, steps=12, rate=3e-3, radius=0)
    task = FiniteRecipe.after(TINY, 8, 12, 3e-3).make_task()
    batches = [on_device(task.training_batch(step, 4, 1), "cpu") for step in range(2)]

    def loss(one):
        with torch.no_grad():
            return sum(float(loss_of(one, batch)) for batch in batches)

    teacher = control(network, stages(TINY, 5, 1e-2, 1))
    other = saq(network, TINY, 3, systems=8, steps=12, rate=3e-3, teacher=teacher)
    alone = [
        saq(network, TINY, 3, systems=8, steps=12, rate=3e-3, teacher=one, alpha=0) for one in (None, teacher)
    ]
    assert loss(made) < loss(begun) - 0.02
    assert loss(other) != loss(made)
    assert loss(alone[0]) == loss(alone[1]) != loss(made)
    assert loss(again) == loss(made) != loss(plain)
    assert isinstance(made.export(), IntegerModel)


def test_bits_are_generated_within_the_budget():
    network = tiny_network()
    bits = generated_bits(network, TINY, 3.5, systems=16, steps=4)
    quantized = clipped(network, TINY, bits)
    assert list(bits) == list(quantized.between)
    assert set(bits.values()) <= {2, 3, 4, 5}
    uniform = clipped(network, TINY, 4)
    assert quantized.export().bit_operations(4, 2, 2) < uniform.export().bit_operations(4, 2, 2)
    assert generated_bits(network, TINY, 3.5, systems=16, steps=4) == bits


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClippedNetwork(tiny_network(), 1), "bits"),
        (lambda: ClippedNetwork(tiny_network(), {"conv_1": 4}), "some of .*conv_4.* got"),
        (lambda: ClippedNetwork(network_of(CNN, (6, 6)), {"conv_9": 4}), "some of .*conv_4.* got"),
        (lambda: ClippedNetwork(tiny_network(), {"nothing": 4}), "bits"),
        (lambda: ClippedNetwork(tiny_network(), 3, (9,)), "widths"),
        (lambda: ClippedNetwork(tiny_network(), 3, (1,)), "widths"),
        (lambda: ClippedNetwork(tiny_network(), 3).choose({"conv_4": 5}), "bits"),
        (lambda: ClippedNetwork(tiny_network(), 3).export(), "calibrated"),
        (lambda: saq(tiny_network(), TINY, 3, systems=3), "systems"),
        (lambda: saq(tiny_network(), TINY, 3, radius=-0.1), "radius"),
        (lambda: saq(tiny_network(), TINY, 3, alpha=-0.1), "alpha"),
        (lambda: generated_bits(tiny_network(), TINY, 1.9), "mean"),
        (lambda: generated_bits(tiny_network(), TINY, systems=4), "systems"),
        (lambda: BitWidthGenerator(0), "choices"),
        (lambda: BitWidthGenerator(2, (3, 3)), "choices"),
        (lambda: PolicyGradient(BitWidthGenerator(2), rate=0), "rate"),
        (lambda: PolicyGradient(BitWidthGenerator(2), entropy=-1), "entropy"),
        (lambda: FiniteTask(StatisticalTask(), 0), "batches"),
        (lambda: FiniteTask(StatisticalTask(), 1, -1), "first"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_sharpness_is_held_against_rounding_alike():
    """Each way with the step against one that differs by nothing else; a loss fails where it is claimed."""
    assert len(claim.PAIRS) == sum(way.sharp and not way.generated for way in claim.WAYS)
    for sharp, plain in claim.PAIRS:
        assert claim.WAYS[sharp]._replace(name="", sharp=False) == claim.WAYS[plain]._replace(name="")
    rates = np.ones((len(claim.WAYS), 2, 50))
    shares, fewer = np.full((len(rates), 3), 1.0), np.full((len(rates), 2), 60.0)
    assert all(check.passed for check in claim._checks(claim.Settings(), rates, shares, fewer))
    for sharp, _ in claim.PAIRS:
        worse = rates.copy()
        worse[sharp] = 0.99
        failed = [
            one.quantity for one in claim._checks(claim.Settings(), worse, shares, fewer) if not one.passed
        ]
        way = claim.WAYS[sharp]
        assert len(failed) == (way.bits <= 3)
        assert all(f"{way.name} over rounding alone, {way.bits} bits" in one for one in failed)
