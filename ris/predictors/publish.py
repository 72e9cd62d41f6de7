"""From trained networks to model files that say what they are for, what made them and what they reach."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ris.predictors.climb import MOVES, predicted_phasors
from ris.predictors.equalize import equalized
from ris.predictors.folding import part_sums
from ris.predictors.model import FloatModel, Model
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LEARNED_ASCENTS, LearnedAscent
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import ANTENNAS
from ris.predictors.task import Split, Task, unit
from ris.predictors.train import AT_ONCE, Recipe, on_device
from ris.predictors.trained_range import TrainedRange
from ris.progress import Progress, parts, tell_nothing

__all__ = [
    "calibrated",
    "calibrated_moves",
    "described",
    "float_model",
    "origin",
    "parted",
    "predicted_rates",
    "rates_of",
    "training_maps",
]

Described = TypeVar("Described", bound=Model)

CALIBRATION = 12
"""Batches of the training from which ranges are read."""

SPLITS: tuple[Split, ...] = ("test", "unseen")

FIRST = 8
"""Systems whose own rates a model keeps."""


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
    return described(model, recipes, command, test_systems)


def calibrated(
    network: Network,
    recipe: Recipe,
    observer: Observer = "percentile",
    ready: bool = False,
    batches: int = CALIBRATION,
    progress: Progress = tell_nothing,
    **options: Any,
) -> QuantizedNetwork:
    """Return a network in simulated integers, its ranges read from the first batches of its training.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        How.
    observer : {"min-max", "percentile", "output"}
        How a range follows from numbers.
    ready : bool
        Whether the network is first replaced by one that computes the same and loses less: with a sum for
        each use of it (`folding.part_sums`), and channels of like sizes (`equalize`) if so the output's
        directions move less. That is so for most networks; but some have small channels that matter, and
        lose 2 % as their weights become small beside those of others.
    batches : int
        Batches of the training that are read.
    progress : callable
        Told of every range that the output decides.
    **options
        Of `QuantizedNetwork`.
    """
    inputs = [torch.from_numpy(maps) for maps in training_maps(recipe, batches)]
    return _calibrated(network, inputs, observer, ready, progress, **options)


def calibrated_moves(network: LearnedAscent, recipe: Recipe, **options: Any) -> QuantizedNetwork:
    """Return the network that makes the moves in simulated integers, its ranges read as for `calibrated`.

    A few elements are steep, and have to move far: no slopes are cut off.
    """
    return _calibrated(network.step, _inputs_of_moves(network, recipe), "min-max", **options)


def _calibrated(
    network: Network,
    inputs: list[Tensor],
    observer: Observer,
    ready: bool = False,
    progress: Progress = tell_nothing,
    **options: Any,
) -> QuantizedNetwork:
    if not ready:
        return _with_ranges(network.cpu(), inputs, observer, progress, **options)
    alone = parted(network.cpu())
    candidates = zip((equalized(alone, inputs), alone), parts(progress, [1, 1]), strict=True)
    made = [_with_ranges(one, inputs, observer, told, **options) for one, told in candidates]
    return min(made, key=partial(_moved, alone, inputs))


def _with_ranges(
    network: Network, inputs: list[Tensor], observer: Observer, progress: Progress, **options: Any
) -> QuantizedNetwork:
    quantized = QuantizedNetwork(network, **options).eval()
    quantized.calibrate(inputs, observer, progress)
    return quantized


@torch.no_grad()
def _moved(network: Network, inputs: list[Tensor], quantized: QuantizedNetwork) -> float:
    """How far all rounding together moves the directions of the output: a sum of squares."""
    pairs = ((quantized(maps), network(maps)) for maps in inputs)
    return sum(
        float((functional.normalize(made, dim=2) - functional.normalize(exact, dim=2)).square().sum())
        for made, exact in pairs
    )


def parted(network: Network) -> Network:
    """Return an equal network with a range for each use of a sum: see `folding.part_sums`."""
    made = Network(part_sums(network.graph), 0, network.rows, network.columns)
    made.load_arrays(network.arrays())
    return made


def _inputs_of_moves(network: LearnedAscent, recipe: Recipe) -> list[Tensor]:
    """What the moves are given in the first batches of their training."""
    task, given = recipe.make_task(), list[Tensor]()
    hook = network.step.register_forward_pre_hook(lambda step, inputs: given.append(inputs[0].detach()))
    with torch.no_grad():
        for step in range(CALIBRATION):
            network.path(on_device(task.training_batch(step, recipe.batch, recipe.seed), "cpu"))
    hook.remove()
    return given


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
    task, metadata = recipes[-1].make_task(), {**origin(recipes), "command": command}
    made = dataclasses.replace(model, metadata=metadata)
    rates = {split: predicted_rates(made, task, split, systems) for split in SPLITS}
    metrics: dict[str, Any] = {
        "systems": systems,
        **{split: float(rates[split].mean()) for split in SPLITS},
        "first of test": rates["test"][:FIRST].tolist(),
    }
    return dataclasses.replace(made, metadata={**metadata, "metrics": metrics})


def origin(recipes: Sequence[Recipe]) -> dict[str, Any]:
    """Return what the metadata of a model say of its trainings, and of what they made it for."""
    task, network = recipes[-1].task, recipes[-1].network
    told: dict[str, Any] = {
        "task": task,
        "network": network,
        "recipes": [dataclasses.asdict(recipe) for recipe in recipes],
        "torch": torch.__version__,
    }
    if network in LEARNED_ASCENTS:
        told[MOVES] = LEARNED_ASCENTS[network]
    if task == "statistical":
        told["range"] = statistical_range(recipes).as_metadata()
    return told


def predicted_rates(model: Model, task: Task, split: Split, systems: int) -> NDArray[np.float64]:
    """Return sum rates of the first systems of a split, bit/s/Hz, at the phases that a model predicts."""
    predictor, rates = Predictor(model), np.empty(systems)
    for first in range(0, systems, AT_ONCE):
        batch = task.systems(split, min(AT_ONCE, systems - first), first)
        rates[first : first + AT_ONCE] = batch.rates(predicted_phasors(predictor, batch)).sum(-1)
    return rates


def statistical_range(recipes: Sequence[Recipe]) -> TrainedRange:
    """Return what the statistical task trains for."""
    maps = (one for recipe in recipes for one in training_maps(recipe))
    return TrainedRange.of(("single1", "single2", "double"), (ANTENNAS, ANTENNAS), maps)


def training_maps(recipe: Recipe, batches: int = CALIBRATION) -> Iterator[NDArray[np.float32]]:
    """Return maps of the first batches of a training; it has every number of users soon."""
    task = recipe.make_task()
    for step in range(batches):
        yield np.asarray(task.training_batch(step, recipe.batch, recipe.seed).maps)
