"""From trained networks to model files that say what they are for, what made them and what they reach."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.module import Network
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task, unit
from ris.predictors.train import AT_ONCE, Recipe, optimise
from ris.predictors.trained_range import TrainedRange

__all__ = ["calibrated", "float_model", "integer_model", "mean_rate"]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

RATE = 3e-4
"""Highest learning rate of the steps with rounding."""


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
        Of a training as the last recipe's, in which the ranges stay.
    """
    quantized = calibrated(network, recipes[-1], bits=bits, follow=False)
    optimise(quantized, dataclasses.replace(recipes[-1], steps=steps, rate=RATE))
    return _described(quantized.export(), recipes, f"{command}; {steps} steps in integers", test_systems)


def calibrated(
    network: Network, recipe: Recipe, observer: Observer = "percentile", **options: Any
) -> QuantizedNetwork:
    """Return a network in simulated integers, its ranges read from the first batches of its training.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        How.
    observer : {"min-max", "percentile", "mse"}
        How a range follows from numbers.
    **options
        Of `QuantizedNetwork`.
    """
    quantized = QuantizedNetwork(network.cpu(), **options).eval()
    quantized.calibrate([torch.from_numpy(maps) for maps in _training_maps([recipe])], observer)
    return quantized


def mean_rate(model: Model, task: Task, split: Split, systems: int) -> float:
    """Return the mean sum rate of the first systems of a split, bit/s/Hz, as the runtime predicts."""
    predictor, total = Predictor(model), 0.0
    for first in range(0, systems, AT_ONCE):
        batch = task.systems(split, min(AT_ONCE, systems - first), first)
        made = predictor.run(batch.maps)[:, 0]
        total += float(batch.rates(unit(made[:, 0] + 1j * made[:, 1])).sum())
    return total / systems


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
