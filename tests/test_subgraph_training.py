"""Training on sub-graphs: its gradients against the whole graph's, its inputs, what it measures."""

import numpy as np
import pytest
import torch

from channels.streams import Stream
from ris.predictors.module import Network
from ris.predictors.networks import lgcl
from ris.predictors.networks.unrolled import as_phasors
from ris.predictors.scattered import ScatteredTask
from ris.progress import tell_nothing
from studies.experiments.claims import subgraph_training
from studies.experiments.claims._subgraph import (
    CHANNELS,
    PeakMemory,
    drawn,
    gcn,
    gentle,
    grown,
    loss,
    maps_of,
    parameters,
    plain,
    predicted,
    steering,
    step,
    train,
)

SIDE = 8


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def batch():
    return drawn(ScatteredTask(SIDE, 2), "validation", 3, 0)


def shaken(network):
    """A network whose zeros are no zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def gradients(network):
    found = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    return found


def test_cascades_are_those_of_the_hops(batch):
    maps = maps_of(batch)
    assert maps.shape == (6, 2, CHANNELS, SIDE, SIDE)
    pilots, steering = ((x[:, :, 0] + 1j * x[:, :, 1]).numpy() for x in (batch.maps, batch.steering))
    double = (batch.steering[:, 0, 2] + 1j * batch.steering[:, 0, 3]).numpy()
    for entry, user in np.ndindex(6, 2):
        single = pilots[entry, user] * steering[entry, 0]
        both = double[entry] if entry < 3 else pilots[entry, user] * double[entry]
        for i, part in enumerate((single.real, single.imag, both.real, both.imag)):
            np.testing.assert_allclose(maps[entry, user, i], part, atol=1e-5)
    torch.testing.assert_close(maps[0, 0, 4, :, 0], torch.linspace(-1, 1, SIDE))
    np.testing.assert_array_equal(maps[:, 0, -1, 0, 0], [0, 0, 0, 1, 1, 1])


def test_steering_of_all_users_at_once(batch):
    pilots, at = (x[:, :, 0] + 1j * x[:, :, 1] for x in (batch.maps, batch.steering))
    both = pilots[:, 0] * at[:, 0] + pilots[:, 1] * at[:, 0]
    torch.testing.assert_close(steering(maps_of(batch)), both / both.abs())


@pytest.mark.parametrize("graph", [lgcl(CHANNELS, width=8), gcn(CHANNELS, 21)])
def test_a_gentle_network_begins_near_steering(batch, graph):
    """Far closer than with the usual first weights."""
    maps, networks = maps_of(batch), (Network(graph), gentle(Network(graph)))
    away = [(predicted(network, maps) - steering(maps)).abs().mean() for network in networks]
    assert away[1] < away[0] / 2


def test_the_plain_network_takes_the_mean_of_neighbours():
    network = plain(Network(gcn(CHANNELS, 21)))
    assert abs(parameters(network) / parameters(Network(lgcl(CHANNELS, width=8))) - 1) < 0.04
    assert parameters(network) < sum(p.numel() for p in network.parameters())
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 5))).float()
    weight = network.own(network.graph["neighbours1"])["weight"]
    mean = torch.nn.functional.conv2d(x.expand(1, 21, 5, 5), weight, padding=1, groups=21)[0, 7]
    torch.testing.assert_close(mean[2, 3], x[1:4, 2:5].mean())
    torch.testing.assert_close(mean[0, 0], x[:2, :2].sum() / 9)


@pytest.mark.parametrize("graph", [lgcl(CHANNELS, width=4), gcn(CHANNELS, 6)])
def test_a_sub_graph_of_everything_is_the_whole_graph(batch, graph):
    network = shaken(Network(graph))
    all_of_it = (slice(0, SIDE), slice(0, SIDE))
    values = []
    for windows in (None, (all_of_it, all_of_it)):
        value = loss(network, batch, windows)
        value.backward()
        values.append((value.detach(), gradients(network)))
    torch.testing.assert_close(values[0][0], values[1][0])
    for one, other in zip(values[0][1], values[1][1], strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_sub_graphs_add_up_to_the_whole_graph_s(batch):
    """Exactly so for a network without neighbours and means: all others see the edges of a sub-graph."""
    network = shaken(Network(gcn(CHANNELS, 6, layers=0)))
    value = loss(network, batch, None)
    value.backward()
    whole = gradients(network)
    halves = [slice(0, 4), slice(4, 8)]
    total = [torch.zeros_like(one) for one in whole]
    for rows in halves:
        for columns in halves:
            part = loss(network, batch, ((rows, columns), (columns, rows)))
            torch.testing.assert_close(part, value)
            part.backward()
            total = [sum_so_far + one for sum_so_far, one in zip(total, gradients(network), strict=True)]
    for one, other in zip(whole, total, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_phases_outside_are_those_of_the_whole_graph(batch):
    network = shaken(Network(lgcl(CHANNELS, width=4)))
    maps = maps_of(batch)
    inside = slice(2, 6)
    x = as_phasors(network(maps)).detach()
    x[..., inside, inside] = as_phasors(network(maps[..., inside, inside])).detach()
    expected = -batch.rates(x).sum(-1).log().mean()
    torch.testing.assert_close(loss(network, batch, ((inside, inside),) * 2).detach(), expected)


def test_sub_graphs_grow_from_elements_anywhere():
    seen = np.zeros((2, 8, 8))
    for number in range(400):
        for surface, (rows, columns) in enumerate(grown(8, 4, Stream(1), number)):
            assert (rows.stop - rows.start, columns.stop - columns.start) == (4, 4)
            assert min(rows.start, columns.start) >= 0
            assert max(rows.stop, columns.stop) <= 8
            seen[surface, rows, columns] += 1
    # From 3 of 8 rows a sub-graph reaches row 0: the corner is in one with chance 9 / 64, 400 times.
    assert abs(seen[:, 0, 0] / 400 - 9 / 64).max() < 6.5 * np.sqrt(9 / 64 * 55 / 64 / 400)
    assert grown(8, 4, Stream(1), 7) == grown(8, 4, Stream(1), 7)


def test_memory_is_counted_as_long_as_it_lives():
    memory = PeakMemory()
    with memory:
        a = torch.zeros(1000)
        b = a[:500] + 1
        assert memory.peak == 4000 + 2000
        del a
        c = b.reshape(20, 25)
        assert memory.peak == 6000
        d = torch.zeros(2000)
        assert memory.peak == 2000 + 8000
        assert c.shape == (20, 25)
        del d
    assert memory.peak == 10_000


def test_a_sub_graph_takes_less_memory(batch):
    peaks = []
    for patch in (None, 4):
        memory = PeakMemory()
        with memory:
            step(Network(lgcl(CHANNELS, width=8)), batch, Stream(0), 0, patch)
        peaks.append(memory.peak)
    assert peaks[1] < peaks[0] / 2


@pytest.mark.parametrize("patch", [None, 4])
def test_training(batch, patch):
    def begun():
        return plain(gentle(Network(gcn(CHANNELS, 6))))

    def trained(seed):
        network = begun()
        train(network, [batch], 30, Stream(seed), patch)
        return network

    network = trained(0)
    before, after = (loss(one, batch, None).item() for one in (begun(), network))
    assert after < before - 0.05
    again = trained(0).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    assert set(network.own(network.graph["neighbours0"])["weight"].unique().tolist()) == {
        float(np.float32(1 / 9))
    }


def test_checks_of_the_claim():
    from ris.predictors.bootstrap import Estimate

    def passed(memory, seconds, whole, other):
        """Of an epoch of two steps, with their times."""
        ratios = Estimate(whole, whole - 0.001, whole + 0.001), Estimate(other, other - 0.001, other + 0.001)
        costs = np.array([1.0, memory, 1.0]), np.array([[[1.0, 1.0], seconds, [1.0, 1.0]]])
        return [check.passed for check in subgraph_training._checks(*costs, ratios)]

    assert passed(0.4, [0.6, 0.6], 0.997, 1.002) == [True, True, True, True]
    assert passed(0.41, [0.61, 0.61], 0.9955, 1.0005) == [False, False, False, False]
    assert passed(0.4, [0.5, 0.62], 0.997, 1.002) == [True, False, True, True]


def test_an_interrupted_claim_goes_on(tmp_path, monkeypatch):
    """What was trained, and the memory that took, comes from its files."""
    monkeypatch.chdir(tmp_path)
    settings = subgraph_training.Settings(side=4, patch=2, seeds=1, systems=4, batch=2, epochs=1, test=4)
    first = subgraph_training.measure(settings, Stream(1), tell_nothing)

    def train_again(*_):
        raise NotImplementedError

    monkeypatch.setattr(subgraph_training, "_training", train_again)
    again = subgraph_training.measure(settings, Stream(1), tell_nothing)
    for name in ("memory", "rate"):
        np.testing.assert_array_equal(again.data[name][1], first.data[name][1])
    assert again.values["step_time"].shape == (1, 3, 2)
    assert (again.values["step_time"] > 0).all()
    with pytest.raises(NotImplementedError):
        subgraph_training.measure(settings, Stream(2), tell_nothing)
