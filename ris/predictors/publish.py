"""From trained networks to model files that say what they are for, what made them and what they reach."""

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ris.predictors.climb import MOVES, predicted_phasors
from ris.predictors.equalize import equalized
from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LEARNED_ASCENTS, LearnedAscent
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task
from ris.predictors.train import AT_ONCE, Recipe, on_device, optimise
from ris.predictors.trained_range import TrainedRange

__all__ = ["calibrated", "float_model", "integer_model", "mean_rate"]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

SPLITS: tuple[Split, ...] = ("test", "unseen")

FIRST = 8
"""Systems whose own rates a model keeps."""

RATE = 3e-4
"""Highest learning rate of the steps with rounding."""


def float_model(
    network: Network | LearnedAscent, recipes: Sequence[Recipe], command: str, test_systems: int = 1000
) -> FloatModel:
    """Return a model of a trained network.

    Parameters
    ----------
    network : Network or LearnedAscent
        Trained.
    recipes : sequence of Recipe
        What made it: each began with the weights of the one before.
    command : str
        The same for a person.
    test_systems : int
        Fixed systems of each split that tell what it reaches.
    """
    made = network.step if isinstance(network, LearnedAscent) else network
    model = FloatModel(made.graph, made.arrays(), recipes[-1].side, recipes[-1].side)
    return _described(model, recipes, command, test_systems)


def integer_model(
    network: Network | LearnedAscent,
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
    recipe = recipes[-1]
    trained: nn.Module
    if isinstance(network, LearnedAscent):
        # A few elements are steep, and have to move far: no slopes are cut off.
        quantized = _calibrated(
            network.step, _inputs_of_moves(network, recipe), "min-max", bits=bits, follow=False
        )
        trained = copy.deepcopy(network)
        trained.register_module("step", quantized)
    else:
        trained = quantized = calibrated(network, recipe, bits=bits, equalize=True, follow=False)
    optimise(trained, dataclasses.replace(recipe, steps=steps, rate=RATE))
    return _described(quantized.export(), recipes, f"{command}; {steps} steps in integers", test_systems)


def calibrated(
    network: Network,
    recipe: Recipe,
    observer: Observer = "percentile",
    equalize: bool = False,
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
    equalize : bool
        Whether channels are brought to like sizes before.
    **options
        Of `QuantizedNetwork`.
    """
    batches = [torch.from_numpy(maps) for maps in _training_maps([recipe])]
    return _calibrated(network, batches, observer, equalize, **options)


def _calibrated(
    network: Network, inputs: list[Tensor], observer: Observer, equalize: bool = False, **options: Any
) -> QuantizedNetwork:
    network = equalized(network.cpu(), inputs) if equalize else network.cpu()
    quantized = QuantizedNetwork(network, **options).eval()
    quantized.calibrate(inputs, observer)
    return quantized


def _inputs_of_moves(network: LearnedAscent, recipe: Recipe) -> list[Tensor]:
    """What the moves are given in the first batches of their training."""
    task, given = recipe.make_task(), list[Tensor]()
    hook = network.step.register_forward_pre_hook(lambda step, inputs: given.append(inputs[0].detach()))
    with torch.no_grad():
        for step in range(CALIBRATION):
            network.path(on_device(task.training_batch(step, recipe.batch, recipe.seed), "cpu"))
    hook.remove()
    return given


def mean_rate(model: Model, task: Task, split: Split, systems: int) -> float:
    """Return the mean sum rate of the first systems of a split, bit/s/Hz, as the runtime predicts."""
    starts = range(0, systems, AT_ONCE)
    sums = (_rates(model, task, split, min(AT_ONCE, systems - first), first).sum() for first in starts)
    return float(sum(sums)) / systems


def _rates(model: Model, task: Task, split: Split, count: int, first: int = 0) -> NDArray[np.float64]:
    """Sum rates of some systems, shape (count,)."""
    batch = task.systems(split, count, first)
    return np.asarray(batch.rates(predicted_phasors(Predictor(model), batch)).sum(-1), np.float64)


def _described(model: Described, recipes: Sequence[Recipe], command: str, systems: int) -> Described:
    task, network = recipes[-1].make_task(), recipes[-1].network
    metadata: dict[str, Any] = {
        "task": recipes[-1].task,
        "network": network,
        "command": command,
        "recipes": [dataclasses.asdict(recipe) for recipe in recipes],
        "torch": torch.__version__,
    }
    if network in LEARNED_ASCENTS:
        metadata[MOVES] = LEARNED_ASCENTS[network]
    if recipes[-1].task == "statistical":
        metadata["range"] = statistical_range(recipes).as_metadata()
    described = dataclasses.replace(model, metadata=metadata)
    metrics: dict[str, Any] = {
        "systems": systems,
        **{split: mean_rate(described, task, split, systems) for split in SPLITS},
        "first of test": _rates(described, task, "test", min(FIRST, systems)).tolist(),
    }
    return dataclasses.replace(described, metadata={**metadata, "metrics": metrics})


def statistical_range(recipes: Sequence[Recipe]) -> TrainedRange:
    """Return what the statistical task trains for."""
    return TrainedRange.of(("single1", "single2", "double"), (ANTENNAS, ANTENNAS), _training_maps(recipes))


def _training_maps(recipes: Sequence[Recipe]) -> Iterable[Any]:
    """Maps of the first batches of each training; it has every number of users soon."""
    for recipe in recipes:
        task = recipe.make_task()
        for step in range(CALIBRATION):
            yield np.asarray(task.training_batch(step, recipe.batch, recipe.seed).maps)
