"""Claims about networks: how they are judged; maps that are interpolated, networks that are kept."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from ris.predictors import statistical, train
from ris.predictors.bootstrap import Estimate
from studies.experiments.claims import mixed_dense, squeeze_excitation
from studies.experiments.claims._coarse import CoarseRecipe, InterpolatedRecipe, bicubic
from studies.experiments.claims._plain_head import PlainRecipe
from studies.trained import file_of, trained_network


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "VALIDATION", 8)
    monkeypatch.setattr(statistical, "POOL", 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def passes(checks):
    return [check.passed for check in checks]


def test_gates_are_judged():
    sizes = np.array([[1000.0, 1060.0, 1040.0]])
    high, unsure, low = Estimate(1.07, 1.06, 1.08), Estimate(1.07, 1.04, 1.09), Estimate(1.04, 1.03, 1.045)
    judged = squeeze_excitation._checks(["x"], [[high, high]], sizes)
    assert passes(judged) == [True, True, True]
    judged = squeeze_excitation._checks(["x"], [[unsure, low]], np.array([[1000.0, 1060.0, 1051.0]]))
    assert passes(judged) == [False, False, False]


def test_mixed_dense_networks_are_judged():
    settings = dataclasses.replace(mixed_dense.Settings(), sides=(16,), doppler=(0.01,))
    good = {
        "inputs": [[Estimate(0.99, 0.985, 1.0), Estimate(1.07, 1.06, 1.08)]],
        "separate": Estimate(1.01, 1.0, 1.02),
        "blocks": [Estimate(1.01, 1.005, 1.02), Estimate(1.02, 1.0, 1.04)],
        "frames": [[Estimate(1.03, 1.01, 1.04), Estimate(1.1, 1.05, 1.15)]],
    }
    assert all(passes(mixed_dense._checks(settings, good, {"shared": 6, "separate": 10})))
    bad = {
        "inputs": [[Estimate(0.99, 0.975, 1.0), Estimate(1.07, 1.04, 1.08)]],
        "separate": Estimate(1.01, 0.99, 1.02),
        "blocks": [Estimate(0.99, 0.98, 1.0), Estimate(1.02, 0.99, 1.04)],
        "frames": [[Estimate(1.0, 0.99, 1.01), Estimate(1.02, 0.99, 1.05)]],
    }
    assert not any(passes(mixed_dense._checks(settings, bad, {"shared": 61, "separate": 100})))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_keeps_samples_and_parabolas(scale):
    weights = bicubic(8 * scale, scale)
    place = np.arange(8 * scale, dtype=float)
    assert_allclose(weights[::scale], np.eye(8), atol=1e-12)
    for power in (0, 1, 2):
        assert_allclose(weights @ place[::scale] ** power, place**power, atol=1e-9)


def test_interpolation_is_of_third_order():
    """Inside; where it extrapolates, one order less shows."""
    errors = [
        np.abs(bicubic(32, 2) @ np.sin(step * np.arange(0, 32, 2)) - np.sin(step * np.arange(32)))[8:24].max()
        for step in (0.2, 0.1)
    ]
    assert 7 < errors[0] / errors[1] < 17


def test_interpolated_maps():
    recipe = InterpolatedRecipe(side=4, sides=(8,), pilot_db=(300.0, 300.0))
    interpolated = recipe.make_task().systems("test", 2)
    full = dataclasses.replace(CoarseRecipe(side=4, sides=(8,), coarse=False), pilot_db=(300.0, 300.0))
    exact = full.make_task().systems("test", 2)
    assert (interpolated.scale, exact.scale) == (1, 1)
    assert_allclose(interpolated.maps[..., ::2, ::2], exact.maps[..., ::2, ::2], rtol=1e-5, atol=1e-6)
    assert_array_equal(interpolated.maps[:, :, 2:], exact.maps[:, :, 2:])
    # At lambda / 4 and cosines of 0.82 at most, a wave turns by 1.3 from sample to sample.
    difference = np.abs(interpolated.maps - exact.maps)[:, :, :2]
    assert 0 < np.sqrt((difference**2).mean()) < 0.3 * np.sqrt((exact.maps[:, :, :2] ** 2).mean())


def test_networks_of_several_parts_are_kept():
    first = CoarseRecipe(side=2, sides=(4,), steps=3, batch=2)
    turns = dataclasses.replace(first, sides=(4, 8), steps=2)
    network = trained_network([first, turns])
    path = file_of([first, turns])
    assert path != file_of([first])
    for part in ("", "-up2", "-up3", "-head"):
        assert path.with_name(f"{path.stem}{part}.h5").exists()
    again = trained_network([first, turns])
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    begun = first.make_network().state_dict()
    assert any(not torch.equal(value, begun[name]) for name, value in network.state_dict().items())


def test_training_on_coarse_maps_raises_the_rate():
    recipe = CoarseRecipe(side=4, sides=(8,), steps=60, batch=8)
    trained = train.train(recipe)
    before = train.rates_on(recipe, recipe.make_network(), "test", 64)
    assert train.rates_on(recipe, trained.network, "test", 64).mean() > 1.1 * before.mean()


@pytest.mark.parametrize("network", ["cnn", "cnn-wide", "se"])
def test_plain_outputs_change_the_output_alone(network):
    recipe = PlainRecipe("instantaneous", network, side=4)
    plain, shipped = recipe.make_network(), train.Recipe("instantaneous", network, side=4).make_network()
    ops, others = ([node.op for node in one.graph] for one in (plain, shipped))
    assert ops[:-1] == others[: len(ops) - 1]
    assert "tanh" not in ops
    assert file_of([recipe]) != file_of([train.Recipe("instantaneous", network, side=4)])
