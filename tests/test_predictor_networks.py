"""Networks: what the order of the users changes (nothing), sizes, codebooks, shared scales."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from channels.errors import InvalidArgumentError
from ris.predictors.coarse import CoarseTask
from ris.predictors.graph import GraphBuilder
from ris.predictors.model_file import decode_model, encode_model, packed_bytes
from ris.predictors.module import Network
from ris.predictors.networks import NETWORKS, cnn
from ris.predictors.networks.mixed_dense import ScaleRecurrent, Sizes, up_graph
from ris.predictors.networks.unrolled import UNROLLED, Unrolled
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.scattered import ScatteredTask
from ris.predictors.statistical import StatisticalTask
from ris.predictors.symmetries import all_turned
from ris.predictors.train import Recipe, build, on_device, phasors, train

SIDE, ORDER = 4, [2, 0, 1]
TASK = StatisticalTask(side=SIDE, users=3)


def systems(permuted=False, dtype=torch.float32):
    scenes = TASK.scenes("validation", 2)
    if permuted:
        swapped = {name: getattr(scenes, name)[:, ORDER] for name in ("angles", "spreads", "gains")}
        scenes = dataclasses.replace(scenes, **swapped)
    from ris.predictors.statistical import HopTables, StatisticalBatch

    return on_device(StatisticalBatch.of(scenes, HopTables.of(scenes.hops, SIDE, 1e-3)), "cpu", dtype)


def shaken(network):
    """A network whose zeros are no zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("name", [*NETWORKS, "unrolled2", "ascent8"])
def test_the_order_of_users_changes_no_phase(name):
    """In double precision: what is left in single precision is rounding, and small sums make it large."""
    network = shaken(build(name, TASK.channels, SIDE, 0)).double()
    one, other = (systems(permuted, torch.float64) for permuted in (False, True))
    assert not torch.equal(one.maps, other.maps)
    with torch.no_grad():
        x, y = phasors(network, one), phasors(network, other)
    assert x.shape == (4, SIDE, SIDE)
    assert (x - y).abs().max() < 1e-5
    torch.testing.assert_close(x.abs(), torch.ones(4, SIDE, SIDE, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mlp"])
def test_weights_fit_any_surface_and_any_number_of_users(name):
    network = build(name, TASK.channels, SIDE, 0)
    large = on_device(StatisticalTask(side=6, users=5).systems("validation", 1), "cpu")
    assert phasors(network, large).shape == (2, 6, 6)


def test_surfaces_hear_of_each_other():
    """What surface 2 sees moves the phases of surface 1 of the same system, and of no other one."""
    network, batch = shaken(build("paired", TASK.channels, SIDE, 0)), systems()
    changed = batch.maps.clone()
    changed[2, :, 6] += 1.0
    with torch.no_grad():
        moved = (network(changed) - network(batch.maps)).abs().amax((1, 2, 3, 4)) > 1e-4
    assert moved.tolist() == [True, False, True, False]
    with pytest.raises(InvalidArgumentError, match="as many of surface 2"):
        network(batch.maps[:3])


def test_a_paired_network_begins_as_what_it_starts_with():
    alone, recipe = build("se", TASK.channels, SIDE, 3), Recipe(network="paired", side=SIDE, steps=0)
    pair = train(recipe, start=shaken(alone).state_dict()).network
    batch = systems()
    with torch.no_grad():
        torch.testing.assert_close(phasors(pair, batch), phasors(alone, batch))
    with pytest.raises(InvalidArgumentError, match="start"):
        train(recipe, start=build("gnn-relu", TASK.channels, SIDE, 0).state_dict())


def inner_weights(name):
    """Weights between the first and the last convolution, of 11 input channels."""
    shapes = build(name, 11, 8, 0).graph.parameters()
    return sum([math.prod(shape) for name, shape in shapes.items() if name.endswith("/weight")][1:-1])


def test_compact_filters_have_fewer_weights():
    gates = 4 * 2 * 8 * 32
    assert inner_weights("se") == 12 * 32 * 32 * 9 + gates
    assert inner_weights("separable") == 12 * (32 * 9 + 32 * 32)
    assert inner_weights("symmetric") == 12 * 32 * 32 * 9 / 8 + gates
    assert inner_weights("crelu") == inner_weights("se") / 2


def test_a_kernel_serves_eight_channels():
    net = GraphBuilder(3)
    net.add_node("symmetric_conv", net.input, name="turned", channels=16, kernel=3)
    network = shaken(Network(net.graph(), 3))
    kernels = network.own(network.graph["turned"])["weight"]
    assert kernels.shape == (2, 3, 3, 3)
    maps = torch.randn(2, 1, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = network(maps)[:, 0] - network.own(network.graph["turned"])["bias"][:, None, None]
        for channel in range(16):
            kernel = kernels[channel // 8]
            kernel = kernel.flip(2) if channel % 8 >= 4 else kernel
            kernel = kernel.rot90(channel % 4, (1, 2))
            wanted = torch.conv2d(maps[:, 0], kernel[None], padding=1)[:, 0]
            torch.testing.assert_close(made[:, channel], wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(all_turned(kernels.detach().numpy())), all_turned(kernels))


def test_integers_keep_the_symmetries_and_files_one_kernel_of_eight():
    network = shaken(build("symmetric", TASK.channels, SIDE, 0))
    quantized = QuantizedNetwork(network).eval()
    quantized.calibrate([systems().maps])
    model = quantized.export()
    shared = [node.name for node in network.graph if node.op == "symmetric_conv"]
    assert len(shared) == 12
    assert {model.graph[name].op for name in shared} == {"conv"}
    weights = {name: model.arrays[f"{name}/weight"] for name in shared}
    assert all(np.array_equal(one, all_turned(one[::8])) for one in weights.values())
    assert encode_model(decode_model(encode_model(model))) == encode_model(model)
    whole = sum(array.nbytes for array in model.arrays.values())
    flags = len(model.graph.nodes)
    assert packed_bytes(model) == whole - sum(one.size for one in weights.values()) * 7 / 8 + flags


@pytest.mark.parametrize(("channels", "kernel"), [(12, 3), (8, 1), (8, 4)])
def test_symmetric_kernels_that_cannot_be_are_refused(channels, kernel):
    net = GraphBuilder(3)
    net.add_node("symmetric_conv", net.input, channels=channels, kernel=kernel)
    with pytest.raises(InvalidArgumentError, match="kernel"):
        net.graph().shapes(1, 8, 8)


def test_both_signs_pass_concatenated_rectifiers():
    network, batch = shaken(build("crelu", TASK.channels, SIDE, 0)), systems()
    with torch.no_grad():
        made = network.results(batch.maps)
    pairs = [node for node in network.graph if node.op == "concat" and made[node.name].shape[2] == 32]
    assert len(pairs) == 9  # two in each block, and one behind the last
    for node in pairs:
        _, negative = node.inputs
        x = made[network.graph[negative].inputs[1]]
        assert x.min() < 0 < x.max()
        torch.testing.assert_close(made[node.name], torch.cat([x.clamp(min=0), (-x).clamp(min=0)], 2))


def test_names():
    with pytest.raises(InvalidArgumentError, match="network"):
        build("transformer", 13, 4, 0)


def test_gates_cost_few_parameters():
    size = {
        name: sum(p.numel() for p in build(name, 13, 8, 0).parameters()) for name in ("cnn", "se", "cnn-wide")
    }
    assert size["cnn"] < size["se"] <= 1.05 * size["cnn"]
    assert size["cnn-wide"] >= size["se"]


def test_codebooks():
    network = shaken(build("cnn", TASK.channels, SIDE, 0))
    batch = systems()
    free = phasors(network, batch)
    for bits in (1, 2):
        x = phasors(network, batch, bits)
        levels = x.detach() ** (2**bits)
        torch.testing.assert_close(levels, torch.ones_like(levels))
        gap = (x * free.conj()).detach().angle().abs().max()
        assert gap <= torch.pi / 2**bits + 1e-5
        gradient = torch.autograd.grad(batch.rates(x).sum(), network.parameters(), allow_unused=True)
        assert any(g is not None and g.abs().max() > 0 for g in gradient)


def test_moves_of_an_unrolled_network_follow_the_slopes():
    network = Unrolled(1, TASK.channels).eval()
    with torch.no_grad():
        for value in network.step.own(network.step.graph["made"]).values():
            value.zero_()
    batch = systems()
    with torch.no_grad():
        begin = network.start(batch.maps)
        before = torch.complex(begin[:, 0, 0], begin[:, 0, 1])
        before = before / before.abs()
        after = network(batch.maps, batch)
    angles = before.angle().requires_grad_()
    rates = batch.rates(torch.polar(torch.ones_like(angles), angles)).sum(-1)
    rates.log().sum().backward()
    moves = (after * before.conj()).angle()
    torch.testing.assert_close(moves, 0.3 * SIDE**2 * angles.grad, rtol=1e-2, atol=1e-3)
    assert (batch.rates(after).sum(-1) > batch.rates(before).sum(-1)).all()
    assert set(UNROLLED.values()) == {1, 2, 3, 4}


def test_gates_and_widths_without_steering():
    sizes = []
    for more in ({}, {"se": True}, {"width": 33}):
        graph = cnn(TASK.channels, steering=False, **more)
        made = shaken(Network(graph))(systems().maps)
        assert made.shape == (4, 1, 2, SIDE, SIDE)
        sizes.append(sum(math.prod(shape) for shape in graph.parameters().values()))
    assert sizes[0] < sizes[1] <= 1.05 * sizes[0]
    assert sizes[2] >= sizes[1]


SMALL = Sizes(state=8, reused=4, growth=2, units=2, blocks=1)


def coarse(scale, dtype=torch.float32):
    task = CoarseTask(ScatteredTask(side=SIDE * scale, users=3), scale)
    return on_device(task.systems("validation", 2), "cpu", dtype)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", [SMALL, Sizes(8, 8, 0, 2, 1), Sizes(8, 0, 3, 2, 1)])
def test_one_network_for_all_scales(scale, sizes):
    batch = coarse(scale, torch.float64)
    network = shaken(ScaleRecurrent(batch.maps.shape[2], sizes=sizes)).double()
    with torch.no_grad():
        x, y = network(batch.maps, batch), network(batch.maps[:, ORDER], batch)
    assert x.shape == (4, scale * SIDE, scale * SIDE)
    assert (x - y).abs().max() < 1e-5
    torch.testing.assert_close(x.abs(), torch.ones_like(x.abs()))
    with pytest.raises(InvalidArgumentError, match="scale"):
        network.fields(batch.maps, 5)


def test_quadrupling_is_doubling_twice_or_a_module_of_its_own():
    batch = coarse(4)
    network = ScaleRecurrent(batch.maps.shape[2], sizes=SMALL)
    state = network.stem(batch.maps)
    expected = network.head(network.up2(network.up2(state)))
    P, Q = network.fields(batch.maps, 4)
    torch.testing.assert_close(torch.stack([P.real, P.imag, Q.real, Q.imag], 1), expected[:, 0])
    own = ScaleRecurrent(batch.maps.shape[2], sizes=SMALL, factors=(4,))
    assert {name for name, _ in own.named_children()} == {"stem", "up4", "head"}
    assert own(batch.maps, batch).shape == (4, 4 * SIDE, 4 * SIDE)
    with pytest.raises(InvalidArgumentError, match="scale"):
        own.fields(batch.maps, 2)


def test_blocks_of_each_kind():
    sizes = Sizes(8, 8, 0, 2, 1), Sizes(8, 0, 3, 2, 1), SMALL
    ops = [[node.op for node in up_graph(2, one)] for one in sizes]
    assert [one.count("concat") for one in ops] == [0, 2, 2]
    # Two sums of every module: users' mean, and what it adds to the repeated map; one of a block.
    assert [one.count("add") - 3 for one in ops] == [2, 0, 2]
