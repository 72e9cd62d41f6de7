"""From trained networks to model files that say what they are for, what made them and what they reach."""

import copy
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ris.predictors.climb import MOVES, predicted_phasors
from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LEARNED_ASCENTS, LearnedAscent
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task
from ris.predictors.train import AT_ONCE, LARGEST_NORM, Recipe, loss_of, on_device
from ris.predictors.trained_range import TrainedRange

__all__ = ["float_model", "integer_model", "mean_rate"]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

SPLITS: tuple[Split, ...] = ("test", "unseen")

FIRST = 8
"""Systems whose own rates a model keeps."""

RATE = 3e-4
"""First learning rate of the steps with rounding; it falls as a cosine."""


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
    made = _graph_of(network)
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
        Of a training on the same loss, in which the ranges stay; systems follow those of the last recipe.
    """
    recipe, quantized = recipes[-1], QuantizedNetwork(_graph_of(network).cpu(), bits).eval()
    # A few elements are steep, and have to move far: no slopes are cut off.
    observer: Observer = "min-max" if isinstance(network, LearnedAscent) else "percentile"
    quantized.calibrate(_training_inputs(network, recipe), observer)
    trained: nn.Module = quantized
    if isinstance(network, LearnedAscent):
        trained = copy.deepcopy(network)
        trained.register_module("step", quantized)
    optimiser, task = torch.optim.Adam(quantized.network.parameters(), RATE), recipe.make_task()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        batch = on_device(task.training_batch(recipe.steps + step, recipe.batch, recipe.seed), "cpu")
        optimiser.zero_grad()
        torch.autograd.backward(loss_of(trained, batch))
        torch.nn.utils.clip_grad_norm_(quantized.network.parameters(), LARGEST_NORM)
        optimiser.step()
    return _described(quantized.export(), recipes, f"{command}; {steps} steps in integers", test_systems)


def _graph_of(network: Network | LearnedAscent) -> Network:
    return network.step if isinstance(network, LearnedAscent) else network


def _training_inputs(network: Network | LearnedAscent, recipe: Recipe) -> list[Tensor]:
    """What the graph of a network is given in the first batches of its training."""
    if not isinstance(network, LearnedAscent):
        return [torch.from_numpy(maps) for maps in _training_maps([recipe])]
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
