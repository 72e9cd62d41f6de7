"""Local activations on any graph against loops, and the localization of sources."""

import dataclasses

import numpy as np
import pytest
import torch

from channels.streams import Stream
from studies.experiments.claims import _localization, source_localization
from studies.experiments.claims._localization import LocalActivation, Localization, accuracy

PATH = np.eye(6, k=1, dtype=bool) | np.eye(6, k=-1, dtype=bool)
PATH[0, 3] = PATH[3, 0] = True


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def within(node, reach):
    near = {node}
    for _ in range(reach):
        near |= {int(j) for i in near for j in np.flatnonzero(PATH[i])}
    return sorted(near)


@pytest.mark.parametrize(("op", "take"), [("max", -1), ("median", None)])
def test_local_activation_against_loops(op, take):
    weights = torch.tensor([0.5, -1.0, 2.0])
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 6))).float()
    made, some = LocalActivation(PATH, op, weights)(x), LocalActivation(PATH, op, weights, read=[4, 1])(x)
    torch.testing.assert_close(some, made[:, [4, 1]])
    for row in range(3):
        for node in range(6):
            expected = 0.5 * x[row, node]
            for weight, reach in ((-1.0, 1), (2.0, 2)):
                ranked = sorted(float(x[row, j]) for j in within(node, reach))
                expected = expected + weight * ranked[(len(ranked) - 1) // 2 if take is None else take]
            assert made[row, node].item() == pytest.approx(float(expected), abs=1e-5)


def test_renumbering_the_nodes_renumbers_the_result():
    order = np.array([3, 0, 5, 1, 4, 2])
    x = torch.from_numpy(np.random.default_rng(1).standard_normal(6)).float()
    weights = torch.tensor([0.5, 1.0])
    for op in ("max", "median"):
        straight = LocalActivation(PATH, op, weights.clone())(x)[order]
        renumbered = LocalActivation(PATH[np.ix_(order, order)], op, weights.clone())(x[order])
        torch.testing.assert_close(straight, renumbered)


def test_graphs_and_their_signals():
    graph = _localization._Graph(Stream(3))
    adjacency = graph.adjacency
    assert adjacency.shape == (100, 100)
    assert not adjacency.diagonal().any()
    np.testing.assert_array_equal(adjacency, adjacency.T)
    assert np.abs(np.linalg.eigvalsh(graph.shift)).max() == pytest.approx(1)
    inside = np.kron(np.eye(5, dtype=bool), np.ones((20, 20), bool))
    pairs = np.triu(np.ones((100, 100), bool), 1)
    # 950 pairs inside and 4,000 across: the shares are 0.8 and 0.2 to within 6.5 standard deviations.
    assert abs(adjacency[inside & pairs].mean() - 0.8) < 6.5 * np.sqrt(0.16 / 950)
    assert abs(adjacency[~inside & pairs].mean() - 0.2) < 6.5 * np.sqrt(0.16 / 4000)
    degrees = adjacency.sum(axis=0).reshape(5, 20)
    assert [source // 20 for source in graph.sources] == [0, 1, 2, 3, 4]
    assert [degrees.ravel()[source] for source in graph.sources] == degrees.max(axis=1).tolist()
    taps, community = graph.signals(40, 0.0, Stream(4))
    np.testing.assert_allclose(taps[:, 0].norm(dim=1), 10, rtol=1e-6)
    for one, number in zip(taps.numpy(), community, strict=True):
        for k in range(4):
            np.testing.assert_allclose(one[k + 1], one[k] @ graph.shift, atol=1e-5)
        unit = np.eye(100)[graph.sources[number]]
        diffused = np.array([np.linalg.matrix_power(graph.shift, t) @ unit for t in range(10)])
        overlap = diffused @ one[0] / (10 * np.linalg.norm(diffused, axis=1))
        assert overlap.max() == pytest.approx(1, abs=1e-5)
    noisy = graph.signals(40, 0.5, Stream(4))[0][:, 0] - taps[:, 0]
    assert abs(noisy.std() / 0.5 - 1) < 6.5 / np.sqrt(2 * 4000)


@pytest.mark.parametrize(("activation", "parameters"), [("relu", 57), ("max", 59), ("median", 59)])
def test_parameters(activation, parameters):
    graph = _localization._Graph(Stream(0))
    locator = _localization._Locator(graph, activation, Stream(1))
    # Taps, biases and readout are counted by hand: 8 x 5 + 8 + 8 + 1, and the activation's own two.
    assert sum(p.numel() for p in locator.parameters()) == parameters


@pytest.mark.parametrize("activation", ["relu", "median"])
def test_training_finds_sources(activation):
    settings = Localization(training=400, validation=100, test=400, steps=120)
    first = accuracy(activation, Stream(1), settings)
    assert first == accuracy(activation, Stream(1), settings)
    # Guessing one of five places 0.2 of 400 rightly, with standard deviation 0.02: 6.5 of them are 0.13.
    assert first > 0.33
    assert accuracy(activation, Stream(1), dataclasses.replace(settings, steps=20)) < first


def test_checks_of_the_claim():
    relu = np.linspace(60, 70, 10)
    noise = np.tile([0.3, -0.3], 5)

    def passed(largest, median):
        return [check.passed for check in source_localization._checks(np.stack([relu, largest, median]))]

    assert passed(relu + noise, relu + 2.5 + noise) == [True, True, True]
    assert passed(relu + noise, relu + 1.5 + noise) == [False, True, True]
    assert passed(relu + noise, relu + 2.5 + 30 * noise) == [True, False, True]
    assert passed(relu - 1 + noise, relu + 2.5 + noise) == [True, True, False]
