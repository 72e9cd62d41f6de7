"""Learned ascents: exact slopes, the same moves with and without torch, estimates of channels from pilots."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from channels.errors import InvalidArgumentError
from ris.predictors import zoo
from ris.predictors.baselines import best_steering, superposed_steering, user_steering
from ris.predictors.climb import INPUTS, STATE, bit_operations, climb, predicted_phasors
from ris.predictors.compare import Settings, compare
from ris.predictors.compress.methods import compressed
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.model import IntegerModel
from ris.predictors.model_file import read_model, write_model
from ris.predictors.networks.learned_ascent import LEARNED_ASCENTS, LearnedAscent
from ris.predictors.networks.unrolled import log_slopes
from ris.predictors.pilots import estimate_rows
from ris.predictors.publish import float_model
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import StatisticalTask
from ris.predictors.train import Recipe, Trained, loss_of, on_device, phasors, train
from ris.predictors.weights import read_weights, save
from studies.cli import run_command

SIDE = 4


def random_phasors(seed, count, side=SIDE):
    return np.exp(2j * np.pi * np.random.default_rng(seed).random((count, side, side)))


def shaken(network):
    """A network whose zeros are no zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


# --- slopes


@pytest.mark.parametrize("zero_forcing", [False, True])
@pytest.mark.parametrize("users", [1, 3])
def test_slopes_are_the_derivative_of_the_rates(zero_forcing, users):
    batch = InstantaneousTask(SIDE, users=users, zero_forcing=zero_forcing).systems("test", 4)
    x = random_phasors(0, 8)
    by_torch = log_slopes(on_device(batch, "cpu", torch.float64), torch.from_numpy(x)).numpy()
    slopes = batch.known_slopes(x)
    np.testing.assert_allclose(slopes, by_torch, rtol=0, atol=1e-10 * np.abs(by_torch).max())
    step = 1e-5

    def total(moved):
        return np.log(batch.known_rates(moved).sum(axis=-1))

    for system, (surface, row, column) in ((0, (0, 1, 2)), (3, (1, 3, 0))):
        turned = [x.copy(), x.copy()]
        for sign, one in zip((-1, 1), turned, strict=True):
            one[4 * surface + system, row, column] *= np.exp(1j * sign * step)
        slope = (total(turned[1]) - total(turned[0]))[system] / (2 * step)
        assert slopes[4 * surface + system, row, column] == pytest.approx(slope, rel=1e-6, abs=1e-9)


# --- starts and moves


def test_the_best_steering_is_the_best_that_the_bs_knows():
    batch = InstantaneousTask(SIDE, pilot_db=(0.0, 0.0)).systems("test", 20)
    best = batch.known_rates(best_steering(batch)).sum(axis=-1)
    among = [superposed_steering(batch), *(user_steering(batch, user) for user in range(4))]
    np.testing.assert_allclose(best, np.max([batch.known_rates(x).sum(axis=-1) for x in among], axis=0))


def test_a_move_along_the_slopes():
    """A step that only follows the slopes turns every phase by them over the root mean square of both."""
    batch = InstantaneousTask(SIDE).systems("test", 2)
    x = random_phasors(1, 4)

    def follow(given):
        assert given.shape == (4, 1, INPUTS, SIDE, SIDE)
        return np.concatenate([0.1 * given[:, :, :1], np.zeros((4, 1, STATE, SIDE, SIDE))], axis=2)

    path = climb(x, batch.known_slopes, follow, 3)
    assert len(path) == 4
    slopes = batch.known_slopes(x)
    size = np.sqrt((slopes.reshape(2, 2, -1) ** 2).mean(axis=(0, 2)))
    turned = np.angle(path[1] * x.conj())
    np.testing.assert_allclose(turned, 0.1 * slopes / np.tile(size, 2)[:, None, None], rtol=1e-5)
    rates = [batch.known_rates(y).sum(axis=-1) for y in path]
    assert all((after > before).all() for before, after in itertools.pairwise(rates))


def test_moves_hand_over_state_and_know_how_far_they_are():
    given = []

    def step(inputs):
        given.append(inputs)
        return np.full((2, 1, 1 + STATE, SIDE, SIDE), float(len(given)))

    climb(random_phasors(2, 2), lambda x: np.full(x.shape, 10.0), step, 4)
    for number, inputs in enumerate(given):
        np.testing.assert_allclose(inputs[:, :, 0], 1, rtol=1e-6)
        np.testing.assert_array_equal(inputs[:, :, 1 : 2 + STATE], number)
        np.testing.assert_allclose(inputs[:, :, -2], np.log10(10 * SIDE**2))
        np.testing.assert_array_equal(inputs[:, :, -1], number / 4)


# --- with and without torch


RECIPE = Recipe(task="instantaneous", network="ascent8", side=SIDE, steps=8, batch=6)


@pytest.fixture(scope="module")
def trained():
    return train(RECIPE).network


def test_the_loss_is_the_mean_over_the_later_half(trained):
    batch = on_device(RECIPE.make_task().systems("test", 3), "cpu")
    with torch.no_grad():
        later = trained.path(batch)[4:]
        assert len(later) == 5
        expected = -np.mean([batch.rates(x).sum(-1).log().mean() for x in later])
        assert float(loss_of(trained, batch)) == pytest.approx(expected, rel=1e-5)


def test_models_make_the_same_moves_without_torch(trained, tmp_path):
    path = tmp_path / "model.h5"
    write_model(float_model(trained, [RECIPE], "a command", 4), path)
    model = read_model(path)
    assert model.metadata["moves"] == LEARNED_ASCENTS["ascent8"] == 8
    batch = RECIPE.make_task().systems("test", 8)
    made = predicted_phasors(Predictor(model), batch)
    with torch.no_grad():
        expected = phasors(trained, on_device(batch, "cpu"))
    np.testing.assert_allclose(np.abs(made), 1)
    rates, ours = batch.rates(expected.numpy()).sum(axis=-1), batch.rates(made).sum(axis=-1)
    np.testing.assert_allclose(ours, rates, rtol=1e-3)
    stated = [batch.rates(made).sum(axis=-1)[:4].mean(), model.metadata["metrics"]["test"]]
    assert stated[0] == pytest.approx(stated[1], rel=1e-12)
    with pytest.raises(InvalidArgumentError, match="moves"):
        predicted_phasors(Predictor(model), StatisticalTask(SIDE).systems("test", 1))


def test_files_of_trainings_say_how_many_moves(trained, tmp_path):
    save(tmp_path / "kept.h5", [RECIPE], Trained(trained, []), {})
    model = read_model(tmp_path / "kept.h5")
    assert model.metadata["moves"] == 8
    again = LearnedAscent(8)
    again.load_state_dict(read_weights(tmp_path / "kept.h5"))
    for name, value in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    batch = RECIPE.make_task().systems("test", 2)
    assert predicted_phasors(Predictor(model), batch).shape == (4, SIDE, SIDE)


def test_the_command_makes_integers_of_moves(trained, tmp_path, capsys):
    made, small = tmp_path / "moves.h5", tmp_path / "moves-int8.h5"
    write_model(float_model(trained, [RECIPE], "a command", 4), made)
    told = ["compress", "qat", "--bits", "8", "--steps", "0", "--systems", "4"]
    assert run_command([*told, "--model", str(made), "--out", str(small)]) == 0
    table = capsys.readouterr().out
    floats, integers = (read_model(path) for path in (made, small))
    for name, model in (("float", floats), ("moves-int8", integers)):
        row = next(line for line in table.splitlines() if line.startswith(f"│ {name} "))
        assert f"{model.metadata['metrics']['test']:.3f}" in row
        assert f"{bit_operations(model, 4):.2e}" in row
    assert (integers.rows, integers.columns) == (floats.rows, floats.columns) == (SIDE, SIDE)
    assert bit_operations(integers, 4) < bit_operations(floats, 4)


def test_bit_operations_count_the_slopes(trained, tmp_path):
    """Of moves on 16 elements, 8 antennas and 4 users, those of the rates' slopes and of the network."""
    write_model(float_model(trained, [RECIPE], "", 1), tmp_path / "ascent.h5")
    settings = Settings(systems=1, budgets=(), random_starts=0, steps=1)
    entry = compare("instantaneous", {"ascent": tmp_path / "ascent.h5"}, settings)["ascent"]
    slopes = 4 * (16**2 * (8 + 4) + 4 * 16 * 8 * 4)
    # Input 12, layers of 16, gates of 8, output 11; two products with the input, two scalars, gated channels.
    network = 16 * (12 * 16 + 16 * 16 + 16 * 11) + 16 * 8 + 8 * 16
    assert slopes + 2 * network <= entry.bit_operations / (8 * 32**2) <= slopes + 2.2 * network


def test_moves_in_integers(trained):
    model = compressed(float_model(trained, [RECIPE], "", 1), "qat", 8, "a command", 4, steps=2)
    assert isinstance(model, IntegerModel)
    batch = RECIPE.make_task().systems("test", 20)
    float_rates = batch.rates(predicted_phasors(Predictor(float_model(trained, [RECIPE], "", 1)), batch))
    rates = batch.rates(predicted_phasors(Predictor(model), batch))
    assert 0.9 < rates.sum() / float_rates.sum() < 1.1
    assert all(isinstance(value, torch.nn.Parameter) for value in trained.step.parameters())


@pytest.fixture(scope="module")
def shipped():
    """True rates of the shipped models on 64 systems of the tests, shape (64,)."""
    batch = InstantaneousTask(zoo.load_predictor("instantaneous").model.rows).systems("test", 64)
    return {
        name: batch.rates(predicted_phasors(zoo.load_predictor(name), batch)).sum(axis=-1)
        for name in ("instantaneous", "instantaneous-int8")
    }


def test_shipped_models_reach_what_they_say(shipped):
    for name, rates in shipped.items():
        stated = zoo.load_predictor(name).model.metadata["metrics"]["test"]
        # The mean of 64 systems is within 5 standard errors of that of all.
        assert abs(rates.mean() - stated) < 5 * rates.std() / 8
    batch = InstantaneousTask(8).systems("test", 64)
    steered = batch.rates(best_steering(batch)).sum(axis=-1)
    assert shipped["instantaneous"].mean() > 1.4 * steered.mean()
    assert shipped["instantaneous-int8"].mean() > 0.995 * shipped["instantaneous"].mean()


def test_no_torch_is_loaded():
    code = """
import sys
from ris.predictors.climb import predicted_phasors
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.zoo import load_predictor
predicted_phasors(load_predictor("instantaneous-int8"), InstantaneousTask(8).systems("test", 1))
print(*sorted({"torch", "matplotlib", "pydantic"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_any_number_of_moves_on_any_surface():
    network = shaken(LearnedAscent(3, seed=1))
    batch = on_device(InstantaneousTask(6, users=2).systems("test", 2), "cpu")
    assert len(network.path(batch)) == 4
    network.moves = 5
    assert len(network.path(batch)) == 6
    assert network(batch.maps, batch).shape == (4, 6, 6)


# --- estimates


def test_estimates_of_plane_waves_without_noise_are_exact():
    steps = 2 * np.pi * np.array([[0.0, 0.0], [3 / 32, -5 / 32], [-7 / 32, 1 / 32]])
    waves = np.exp(1j * (steps[:, :1, None] * np.arange(8)[:, None] + steps[:, 1:, None] * np.arange(8)))
    rows = (2 - 1j) * waves.reshape(1, 3, 64)
    np.testing.assert_allclose(estimate_rows(rows, np.full((1, 1), 1e12), (8, 8)), rows, rtol=1e-9)
    noise = np.random.default_rng(3).standard_normal((2, 1, 3, 64)) / np.sqrt(2)
    loud = estimate_rows(rows + np.sqrt(5) * (noise[0] + 1j * noise[1]), np.ones((1, 1)), (8, 8))
    # A known wave has one unknown amplitude in 64 noisy numbers.
    error = (np.abs(loud - rows) ** 2).mean() / 5
    assert error < 0.15


def test_estimates_are_better_than_pilots_and_tend_to_them():
    """Scattering alone of power p in noise of power v leaves an error of p v / (p + v)."""
    errors = {}
    for snr in (0.0, 10.0, 60.0):
        batch = InstantaneousTask(8, pilot_db=(snr, snr)).systems("test", 100)
        power = (np.abs(batch.h1) ** 2).mean(axis=-1)
        errors[snr] = [
            float(((np.abs(one - batch.h1) ** 2).mean(axis=-1) / power).mean())
            for one in (batch.estimate1, batch.known1)
        ]
    assert errors[0.0][0] < 0.3 * errors[0.0][1]
    assert errors[10.0][0] < 0.8 * errors[10.0][1]
    assert errors[60.0][0] == pytest.approx(errors[60.0][1], rel=0.01)
    generator = np.random.default_rng(5)
    scattered, noise = (
        (generator.standard_normal((400, 2, 64, 2)) / np.sqrt(2)).view(np.complex128)[..., 0] for _ in (0, 1)
    )
    made = estimate_rows(scattered + 0.5 * noise, np.full((400, 1), 4.0), (8, 8))
    error = (np.abs(made - scattered) ** 2).mean()
    # The wave that it finds where there is none takes noise for signal: of 64 directions the largest.
    assert 0.2 < error < 0.2 * 1.15


def test_slopes_use_the_estimates():
    batch = InstantaneousTask(SIDE, pilot_db=(0.0, 0.0)).systems("test", 2)
    x = random_phasors(4, 4)
    exact = dataclasses.replace(batch, estimate1=batch.h1, estimate2=batch.h2)
    np.testing.assert_allclose(exact.known_rates(x), batch.rates(x))
    assert np.abs(exact.known_slopes(x) - batch.known_slopes(x)).max() > 1e-3
