"""From trained networks to model files that say what they are for, what made them and what they reach."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.module import Network
from ris.predictors.networks.unrolled import as_phasors
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task, unit
from ris.predictors.train import AT_ONCE, LARGEST_NORM, Recipe, on_device
from ris.predictors.trained_range import TrainedRange

__all__ = ["float_model", "integer_model", "mean_rate"]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

FIRST = 8
"""Systems whose own rates a model keeps."""

RATE = 3e-4
"""First learning rate of the steps with rounding; it falls as a cosine."""


def float_model(
    network: Network, recipes: Sequence[Recipe], command: str, test_systems: int = 1000
) -> FloatModel:
    """Return a model of a trained network.

    Parameters
    ----------
    network : Network
        Trained.
    recipes : sequence of Recipe
        What made it: each began with the weights of the one before.
    command : str
        The same for a person.
    test_systems : int
        Fixed systems of each split that tell what it reaches.
    """
    model = FloatModel(network.graph, network.arrays(), network.rows, network.columns)
    return _described(model, recipes, command, test_systems)


def integer_model(
    network: Network,
    recipes: Sequence[Recipe],
    command: str,
    test_systems: int = 1000,
    bits: int = 8,
    steps: int = 200,
) -> IntegerModel:
    """Return a model in integers: ranges from systems of the training, then steps with the rounding in it.

    Parameters
    ----------
    network, recipes, command, test_systems
        As for `float_model`.
    bits : int
        Of the weights.
    steps : int
        Of a training on the same loss, in which the ranges stay; systems follow those of the last recipe.
    """
    recipe = recipes[-1]
    task, quantized = recipe.make_task(), QuantizedNetwork(network.cpu(), bits).eval()
    quantized.calibrate([torch.from_numpy(maps) for maps in _training_maps(recipes[-1:])], "percentile")
    optimiser = torch.optim.Adam(quantized.network.parameters(), RATE)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        batch = on_device(task.training_batch(recipe.steps + step, recipe.batch, recipe.seed), "cpu")
        optimiser.zero_grad()
        loss = -batch.rates(as_phasors(quantized(batch.maps))).sum(-1).log().mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(quantized.network.parameters(), LARGEST_NORM)
        optimiser.step()
    return _described(quantized.export(), recipes, f"{command}; {steps} steps in integers", test_systems)


def mean_rate(model: Model, task: Task, split: Split, systems: int) -> float:
    """Return the mean sum rate of the first systems of a split, bit/s/Hz, as the runtime predicts."""
    starts = range(0, systems, AT_ONCE)
    sums = (_rates(model, task, split, min(AT_ONCE, systems - first), first).sum() for first in starts)
    return float(sum(sums)) / systems


def _rates(model: Model, task: Task, split: Split, count: int, first: int = 0) -> NDArray[np.float64]:
    """Sum rates of some systems, shape (count,)."""
    batch = task.systems(split, count, first)
    made = Predictor(model).run(batch.maps)[:, 0]
    return np.asarray(batch.rates(unit(made[:, 0] + 1j * made[:, 1])).sum(-1), np.float64)


def _described(model: Described, recipes: Sequence[Recipe], command: str, systems: int) -> Described:
    task = recipes[-1].make_task()
    metadata = {
        "task": recipes[-1].task,
        "network": recipes[-1].network,
        "command": command,
        "recipes": [dataclasses.asdict(recipe) for recipe in recipes],
        "torch": torch.__version__,
        "metrics": {
            "systems": systems,
            **{split: mean_rate(model, task, split, systems) for split in ("test", "unseen")},
            "first of test": _rates(model, task, "test", min(FIRST, systems)).tolist(),
        },
    }
    if recipes[-1].task == "statistical":
        metadata["range"] = statistical_range(recipes).as_metadata()
    return dataclasses.replace(model, metadata=metadata)


def statistical_range(recipes: Sequence[Recipe]) -> TrainedRange:
    """Return what the statistical task trains for."""
    return TrainedRange.of(("single1", "single2", "double"), (ANTENNAS, ANTENNAS), _training_maps(recipes))


def _training_maps(recipes: Sequence[Recipe]) -> Iterable[Any]:
    """Maps of the first batches of each training; it has every number of users soon."""
    for recipe in recipes:
        task = recipe.make_task()
        for step in range(CALIBRATION):
            yield np.asarray(task.training_batch(step, recipe.batch, recipe.seed).maps)
