"""Networks: what the order of the users changes (nothing), sizes, codebooks, shared scales."""

import dataclasses

import pytest
import torch

from channels.errors import InvalidArgumentError
from ris.predictors.networks import NETWORKS
from ris.predictors.networks.mixed_dense import ScaleRecurrent, Sizes
from ris.predictors.networks.unrolled import UNROLLED, Unrolled
from ris.predictors.statistical import StatisticalTask
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


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_one_network_for_all_scales(scale):
    sizes = Sizes(state=8, reused=4, growth=2, units=2, blocks=1)
    network = shaken(ScaleRecurrent(TASK.channels, sizes=sizes))
    batch = systems()
    made = network(batch.maps, scale)
    assert made.shape == (4, 1, 2, scale * SIDE, scale * SIDE)
    permuted = network(batch.maps[:, ORDER], scale)
    assert (made - permuted).abs().max() < 1e-4 * made.abs().max()
    with pytest.raises(InvalidArgumentError, match="scale"):
        network(batch.maps, 5)


def test_quadrupling_is_doubling_twice():
    network = ScaleRecurrent(TASK.channels, sizes=Sizes(state=8, reused=4, growth=2, units=1, blocks=1))
    batch = systems()
    state = network.stem(batch.maps)
    expected = network.head(network.up2(network.up2(state)))
    torch.testing.assert_close(network(batch.maps, 4), expected)
