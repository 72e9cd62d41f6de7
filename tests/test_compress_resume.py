"""Methods of compression that train: how far they are, and going on after an interruption."""

import dataclasses
import itertools

import numpy as np
import pytest
from random_networks import random_network

from channels.errors import InvalidArgumentError
from ris.predictors import train
from ris.predictors.checkpoints import files_of_stages, forget
from ris.predictors.compress import combined as combining
from ris.predictors.compress.methods import METHODS, OF_MOVES, compressed, network_of
from ris.predictors.model_file import read_model, write_model
from ris.predictors.networks import cnn
from ris.predictors.networks.learned_ascent import LearnedAscent
from ris.predictors.publish import float_model
from ris.predictors.train import Recipe
from ris.predictors.weights import save
from studies.cli import run_command

SMALL = Recipe("instantaneous", "se-4x1", seed=3, side=2, steps=4, batch=32)

OPTIONS = {
    "qat": {"steps": 4},
    "saq": {"steps": 4, "systems": 32},
    "ternary": {"steps": 4, "shares": (0.3, 0.5)},
    "adder": {},
    "pruning": {"steps": 4},
    "filter-pruning": {"steps": 4},
    "weight-sharing": {"steps": 4},
    "low-rank": {"steps": 4, "factor": 1.5},
    "distil": {"student": "se-4x1"},
    "combined": {"most_bytes": 14_000},
}


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "VALIDATION", 4)
    monkeypatch.setattr(train, "EVERY", 2)
    for name, value in {"VALIDATION": 4, "WIDTHS": (4,), "BLOCKS": (1, 2), "TRIED": 1}.items():
        monkeypatch.setattr(combining, name, value)


@pytest.fixture(scope="module")
def network():
    return random_network(cnn(SMALL.make_task().channels, 4, 1, se=True), (2, 2))


def after(count):
    """A progress that stops at the count-th thing that it is told, and what it was told."""
    told = []

    def progress(share, text):
        told.append(share)
        if len(told) == count:
            raise StoppedError(text)

    return progress, told


def test_every_method_that_trains_is_here():
    assert set(OPTIONS) == set(METHODS) - {"rounding", "gpfq"}


@pytest.mark.parametrize("method", OPTIONS)
def test_an_interrupted_method_goes_on_as_if_it_had_not_been(method, network, tmp_path):
    checkpoint = tmp_path / "model.h5.partial"

    def run(progress, kept):
        made = METHODS[method](network, SMALL, checkpoint=kept, progress=progress, **OPTIONS[method])
        return made.export().arrays

    progress, told = after(-1)
    whole = run(progress, None)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    stop, _ = after(len(told) - 1)
    with pytest.raises(StoppedError):
        run(stop, checkpoint)
    again, told_again = after(-1)
    resumed = run(again, checkpoint)
    assert len(told_again) < len(told)
    assert list(resumed) == list(whole)
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole)
    forget(checkpoint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["rounding", "gpfq"])
def test_methods_without_training_tell_how_far_they_are(method, network):
    progress, told = after(-1)
    METHODS[method](network, SMALL, systems=32, progress=progress)
    assert len(told) > 20
    assert told == sorted(told)
    assert told[0] < 0.1
    assert 0.6 < told[-1] <= 1


def test_files_of_stages_are_told_apart(tmp_path):
    kept = tmp_path / "a[1].partial"
    other = tmp_path / "a1.partial-0"
    inner = [file for stage in files_of_stages(kept, 12) for file in files_of_stages(stage, 2)]
    assert len({*inner}) == 24
    for file in (kept, other, *inner):
        file.write_bytes(b"")
    forget(kept)
    assert list(tmp_path.iterdir()) == [other]
    assert files_of_stages(None, 2) == [None, None]


# --- the command


@pytest.fixture
def model(network):
    write_model(float_model(network, [SMALL], "a test", 2), "tiny.h5")
    return "tiny.h5"


def test_the_command_goes_on_but_not_with_what_another_one_left(model, tmp_path, monkeypatch, capsys):
    told = ["compress", "qat", "--model", model, "--bits", "8", "--systems", "2", "--steps", "4", "--out"]
    assert run_command([*told, "whole.h5"]) == 0
    save_state, saved = train._State.save, itertools.count(1)

    def stop(state, path):
        save_state(state, path)
        if next(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(train._State, "save", stop)
    assert run_command([*told, "made.h5"]) == 130
    (left,) = tmp_path.glob("made.h5.*.partial")
    other = ["3" if one == "8" else one for one in told]
    assert run_command([*other, "made.h5"]) == 0
    assert left.exists()
    assert run_command([*told, "made.h5", "--force"]) == 0
    assert not list(tmp_path.glob("*.partial*"))
    whole, made = read_model(tmp_path / "whole.h5"), read_model(tmp_path / "made.h5")
    assert all(np.array_equal(whole.arrays[name], made.arrays[name]) for name in whole.arrays)
    assert made.metadata["command"] == "ris compress qat --model tiny.h5 --bits 8 --steps 4"
    capsys.readouterr()


def test_what_is_trained_with_the_rounding_follows_the_steps(network):
    told = [METHODS["qat"](network, SMALL, 4, steps=steps).export().arrays for steps in (0, 0, 4)]
    weights = [name for name in told[0] if name.endswith("/weight")]
    assert all(np.array_equal(told[0][name], told[1][name]) for name in weights)
    assert any(not np.array_equal(told[0][name], told[2][name]) for name in weights)


# --- networks of moves, and of parts


def test_only_some_methods_make_integers_of_a_learned_ascent():
    recipe = dataclasses.replace(SMALL, network="ascent8")
    made = float_model(LearnedAscent(8, 1), [recipe], "a test", 1)
    assert isinstance(network_of(made), LearnedAscent)
    assert compressed(made, "qat", 8, "", 2, steps=1).metadata["moves"] == 8
    for method in set(METHODS) - set(OF_MOVES):
        with pytest.raises(InvalidArgumentError, match="learned ascent"):
            compressed(made, method, None, "", 2)
    with pytest.raises(InvalidArgumentError, match="whole number"):
        compressed(made, "qat", 3.5, "", 2)


def test_a_network_of_parts_is_refused(capsys):
    recipe = Recipe("statistical", "unrolled1", side=4, steps=0, batch=2)
    save(train.Path("parts.h5"), [recipe], train.Trained(recipe.make_network(), []), {})
    assert run_command(["compress", "rounding", "--model", "parts.h5"]) == 2
    assert "one part" in capsys.readouterr().err
