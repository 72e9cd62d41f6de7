"""Training: the same bits for the same seed, with and without an interruption; what it writes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ris
from channels.errors import InvalidArgumentError
from ris.predictors import statistical
from ris.predictors import train as training
from ris.predictors.model_file import read_model
from ris.predictors.networks.unrolled import Unrolled
from ris.predictors.state_file import StateFileError, read_state, write_state
from ris.predictors.train import Recipe, build, measure, on_device, phasors, sum_rates, train
from ris.predictors.weights import read_network, read_weights, recipes_of, save
from studies.cli import run_command

SMALL = {"side": 4, "steps": 12, "batch": 4}
TASKS = {"ascent8": "instantaneous"}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(training, "VALIDATION", 8)
    monkeypatch.setattr(training, "EVERY", 4)
    monkeypatch.setattr(training, "MEASURED", 8)
    monkeypatch.setattr(statistical, "POOL", 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class StoppedError(Exception):
    pass


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("network", ["se", "unrolled1", "ascent8"])
def test_the_same_seed_gives_the_same_bits_also_after_an_interruption(network, tmp_path):
    recipe = Recipe(TASKS.get(network, "statistical"), network, seed=3, **SMALL)
    whole = train(recipe)

    def stop(share, text):
        if text.startswith("step 8,"):
            raise StoppedError

    checkpoint = tmp_path / "kept"
    with pytest.raises(StoppedError):
        train(recipe, checkpoint=checkpoint, progress=stop)
    resumed = train(recipe, checkpoint=checkpoint)
    assert same(whole.network.state_dict(), resumed.network.state_dict())
    assert whole.history == resumed.history
    other = train(replace(recipe, seed=4))
    assert not same(whole.network.state_dict(), other.network.state_dict())


def test_a_checkpoint_of_another_recipe(tmp_path):
    train(Recipe(network="mlp", **SMALL), checkpoint=tmp_path / "kept")
    with pytest.raises(InvalidArgumentError, match="recipe"):
        train(Recipe(network="mlp", seed=5, **SMALL), checkpoint=tmp_path / "kept")


def test_a_checkpoint_of_other_first_weights(tmp_path):
    recipe = Recipe(network="mlp", **SMALL)
    train(recipe, checkpoint=tmp_path / "kept")
    start = recipe.make_network().state_dict()
    start = {name: 2 * value if value.is_floating_point() else value for name, value in start.items()}
    with pytest.raises(InvalidArgumentError, match="first weights"):
        train(recipe, start=start, checkpoint=tmp_path / "kept")


def test_a_damaged_checkpoint(tmp_path):
    recipe, path = Recipe(network="mlp", **SMALL), tmp_path / "kept"
    train(recipe, checkpoint=path)
    state = read_state(path)
    for key in state:
        write_state(path, {**state, key: {"mlp": 3}})
        with pytest.raises((StateFileError, InvalidArgumentError)):
            train(recipe, checkpoint=path)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(StateFileError, match="remove the file"):
        train(recipe, checkpoint=path)


@pytest.mark.parametrize(
    ("task", "bits"),
    [("statistical", 0), ("statistical", 1), ("instantaneous", 0), ("instantaneous-corrupted", 0)],
)
def test_training_raises_the_rate(task, bits):
    recipe = Recipe(task=task, network="cnn", side=4, steps=40, batch=16, bits=bits)
    trained = train(recipe)
    systems = on_device(recipe.make_task().systems("test", 64), "cpu")
    before = build("cnn", recipe.make_task().channels, 4, recipe.seed)
    assert sum_rates(trained.network, systems, bits).mean() > 1.05 * sum_rates(before, systems, bits).mean()


def test_it_ends_when_validation_does_not_rise(monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 2)
    monkeypatch.setattr(training, "MARGIN", 10.0)
    trained = train(Recipe(network="mlp", side=4, steps=100, batch=2))
    assert [step for step, _ in trained.history] == [4, 8, 12]


def test_a_larger_surface_begins_with_the_weights_of_a_smaller_one():
    first = train(Recipe(network="cnn", **SMALL)).network.state_dict()
    recipe = Recipe(network="cnn", side=6, steps=1, batch=2, rate=1e-12)
    second = train(recipe, start=first).network.state_dict()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-9)
    with pytest.raises(InvalidArgumentError, match="start"):
        train(Recipe(network="mlp", **SMALL), start=first)


@pytest.mark.parametrize("network", ["se", "unrolled1", "ascent8"])
def test_what_is_saved_is_what_was_trained(network, tmp_path):
    recipe = Recipe(TASKS.get(network, "statistical"), network, **SMALL)
    trained = train(recipe)
    measured = measure(recipe, trained.network)
    path = tmp_path / "model.h5"
    save(path, [recipe], trained, measured)
    again = build(network, recipe.make_task().channels, 4, 99)
    again.load_state_dict(read_weights(path))
    assert same(again.state_dict(), trained.network.state_dict())
    metadata = read_model(path).metadata
    assert [metadata[name] for name in ("task", "network")] == [recipe.task, network]
    assert metadata["recipes"][0]["network"] == network
    assert metadata["mean sum rates"] == measured


def test_networks_of_another_task_are_refused():
    """At once: a learned ascent follows the slopes of the rate of one channel."""
    with pytest.raises(
        InvalidArgumentError, match=r"network: expected one for the statistical task.*'ascent8'"
    ):
        train(Recipe(network="ascent8", **SMALL))


@pytest.mark.filterwarnings("ignore::ris.predictors.trained_range.OutOfRangeWarning")
def test_phases_of_a_system_by_a_network_of_ones_own(tmp_path):
    """What `ris train` writes says what it is for, with the training that it began with."""
    small, large, climbing = (tmp_path / f"{name}.h5" for name in ("small", "large", "climbing"))
    command = ["train", "statistical", "--steps", "4", "--batch", "4", "--network"]
    assert run_command([*command, "se", "--side", "4", "--out", str(small)]) == 0
    for network, side, out in (("se", "6", large), ("unrolled1", "4", climbing)):
        assert run_command([*command, network, "--side", side, "--start", str(small), "--out", str(out)]) == 0
    first, last = recipes_of(read_model(large))
    assert (first, last) == (Recipe(network="se", side=4, steps=4, batch=4), replace(first, side=6))
    scenes, given = statistical.StatisticalTask(6).scenes("test", 1), {"power": 1.0}
    given["noise_power"] = scenes.noise_power[0]
    batch = on_device(statistical.StatisticalTask(6).systems("test", 1), "cpu")
    network = read_network(large)
    with torch.no_grad():
        expected = phasors(network.eval(), batch).numpy().reshape(2, -1)
    theta = ris.predict_phases(scenes.system(0), model=large, **given)
    np.testing.assert_allclose(np.exp(1j * np.array(theta)), expected, atol=1e-4)
    with pytest.raises(InvalidArgumentError, match="users"):
        ris.predict_phases(
            statistical.StatisticalTask(6, users=9).scenes("test", 1).system(0), model=large, **given
        )
    with pytest.raises(InvalidArgumentError, match="one part"):
        ris.predict_phases(scenes.system(0), model=climbing, **given)


def test_a_start_that_is_none(tmp_path, capsys):
    command = ["train", "statistical", "--side", "4", "--steps", "1", "--batch", "2"]
    assert run_command([*command, "--network", "se-8x1", "--out", str(tmp_path / "a.h5")]) == 0
    for network, start in (("se-8x2", "a.h5"), ("se-4x1", "a.h5"), ("se-8x1", "none.h5")):
        told = ["--network", network, "--start", str(tmp_path / start), "--out", str(tmp_path / "b.h5")]
        assert run_command([*command, *told]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("ris: ")
        assert (
            "cannot be read" if start == "none.h5" else "start: expected weights of the same network"
        ) in line


def test_command(tmp_path, capsys):
    out = tmp_path / "made" / "mlp.h5"
    command = ["train", "statistical", "--network", "mlp", "--side", "4", "--steps", "8", "--batch", "4"]
    assert run_command([*command, "--seed", "2", "--out", str(out)]) == 0
    assert "mean sum rate test" in capsys.readouterr().out
    expected = train(Recipe(network="mlp", seed=2, side=4, steps=8, batch=4)).network.state_dict()
    assert same(read_weights(out), expected)
    assert list(out.parent.iterdir()) == [out]
    for wrong, mend in ((out, "--force"), (out.with_suffix(""), "ends in .h5")):
        assert run_command([*command, "--out", str(wrong)]) == 2
        assert mend in capsys.readouterr().err
    assert run_command([*command, "--force", "--out", str(out)]) == 0


def test_start_of_an_unrolled_network(tmp_path):
    recipe = Recipe(network="se", **SMALL)
    start = train(recipe).network.state_dict()
    begun = train(Recipe(network="unrolled2", side=4, steps=1, batch=2, rate=1e-12), start=start).network
    assert isinstance(begun, Unrolled)
    for name, value in start.items():
        np.testing.assert_allclose(begun.start.state_dict()[name], value, atol=1e-9)
