"""From trained networks to model files that say what they are for, what made them and what they reach."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.module import Network
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task, unit
from ris.predictors.train import AT_ONCE, Recipe, optimise
from ris.predictors.trained_range import TrainedRange

__all__ = ["calibrated", "described", "float_model", "integer_model", "rates_of", "training_maps"]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

SPLITS: tuple[Split, ...] = ("test", "unseen")

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
    return described(model, recipes, command, test_systems)


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
    return described(quantized.export(), recipes, f"{command}; {steps} steps in integers", test_systems)


def calibrated(
    network: Network,
    recipe: Recipe,
    observer: Observer = "percentile",
    batches: int = CALIBRATION,
    **options: Any,
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
    batches : int
        Batches of the training that are read.
    **options
        Of `QuantizedNetwork`.
    """
    quantized = QuantizedNetwork(network.cpu(), **options).eval()
    quantized.calibrate(map(torch.from_numpy, training_maps(recipe, batches)), observer)
    return quantized


def rates_of(
    outputs: Sequence[Callable[[NDArray[np.float32]], NDArray[np.float32]]],
    task: Task,
    split: Split,
    systems: int,
) -> NDArray[np.float64]:
    """Return sum rates of networks on the same systems, shape (networks, systems), bit/s/Hz.

    Parameters
    ----------
    outputs : sequence of callable
        From maps to cosines and sines, as `Predictor.run`.
    task, split, systems
        Family and split, and how many of its first systems.
    """
    rates = np.empty((len(outputs), systems))
    for first in range(0, systems, AT_ONCE):
        batch = task.systems(split, min(AT_ONCE, systems - first), first)
        for row, output in zip(rates, outputs, strict=True):
            made = output(batch.maps)[:, 0]
            row[first : first + AT_ONCE] = batch.rates(unit(made[:, 0] + 1j * made[:, 1])).sum(-1)
    return rates


def described(model: Described, recipes: Sequence[Recipe], command: str, systems: int) -> Described:
    """Return a model with metadata of what it is for, what made it, and what it reaches on test systems."""
    task = recipes[-1].make_task()
    reached: dict[str, float] = {
        split: float(rates_of([Predictor(model).run], task, split, systems).mean()) for split in SPLITS
    }
    metadata = {
        "task": recipes[-1].task,
        "network": recipes[-1].network,
        "command": command,
        "recipes": [dataclasses.asdict(recipe) for recipe in recipes],
        "torch": torch.__version__,
        "metrics": {"systems": systems} | reached,
    }
    if recipes[-1].task == "statistical":
        metadata["range"] = statistical_range(recipes).as_metadata()
    return dataclasses.replace(model, metadata=metadata)


def statistical_range(recipes: Sequence[Recipe]) -> TrainedRange:
    """Return what the statistical task trains for."""
    maps = (one for recipe in recipes for one in training_maps(recipe))
    return TrainedRange.of(("single1", "single2", "double"), (ANTENNAS, ANTENNAS), maps)


def training_maps(recipe: Recipe, batches: int = CALIBRATION) -> Iterator[NDArray[np.float32]]:
    """Return maps of the first batches of a training; it has every number of users soon."""
    task = recipe.make_task()
    for step in range(batches):
        yield np.asarray(task.training_batch(step, recipe.batch, recipe.seed).maps)
