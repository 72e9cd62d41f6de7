"""Small networks that are taught, pruned and rounded, under a budget of bytes: what is best for how many.

A combination is a small network with so many bits of its weights and such a share of zeros. To make it, the
small network is trained with a teacher (`distillation`) or alone, its smallest weights become zero
(`sparse`), and what is left is trained on as integers, with the same loss (`integers`). Whatever else makes
a network smaller in floats, from `Network` to `Network`, goes where `sparse` is.

The search for the best combination is staged, and deterministic. The bytes of a file are known before any
training, nearly: random weights take as many as trained ones. Of all combinations that fit, each network is
tried with its finest weights, and of the networks the largest ones. These are trained for some steps, with
the teacher and alone, the better half of them for more (successive halving, Jamieson and Talwalkar, AISTATS
2016), and the best one to the end. All of this is ours.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from channels.checks import integer
from channels.errors import InvalidArgumentError
from ris.predictors.checkpoints import files_of_stages
from ris.predictors.compress.distillation import ALPHA, taught, taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.sparse import SparseNetwork, sparse
from ris.predictors.equalize import equalized
from ris.predictors.folding import weight_bits
from ris.predictors.graph import Graph
from ris.predictors.model_file import encode_model
from ris.predictors.module import Network
from ris.predictors.networks import cnn
from ris.predictors.publish import training_maps
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.train import VALIDATION, Recipe, build, optimise, rates_on
from ris.progress import Progress, labelled, parts, tell_nothing

__all__ = [
    "KEEPS_95",
    "KEEPS_99",
    "Combination",
    "combine",
    "combined",
    "file_bytes",
    "fitting",
    "integers",
    "search",
]


@dataclass(frozen=True)
class Combination:
    """A way to a small model.

    Parameters
    ----------
    network : str
        Name of the small network, as in a recipe.
    bits, ends : int
        Of weights: between the first and the last layers, and of these.
    zeros : float
        Share of the weights between that are zero.
    alpha : float
        Weight of the teacher's phases; 0 for a network that learns alone, as one does that surpasses it.
    """

    network: str
    bits: int = 4
    ends: int = 8
    zeros: float = 0.0
    alpha: float = ALPHA


KEEPS_99 = Combination("se-16x4", alpha=0.0)
KEEPS_95 = Combination("se-8x2", alpha=0.0)
"""Of the float network with 32 channels and 4 blocks so much per cent, with pilots and as many steps, in the
mean of several trainings. Smaller ones were found for the first training alone."""

WIDTHS, BLOCKS = (4, 6, 8, 12, 16, 24, 32), (1, 2, 4)
BITS, ENDS, ZEROS = (8, 4, 3, 2), (8, 6), (0.0, 0.5)
"""What the search can choose from, the best first."""

TRIED = 4
"""Networks that are trained at all."""

METADATA = 1000
"""Bytes left for what a file says about its model."""

SHAKEN = 0.02
"""Standard deviation of what is added to first weights."""

SHARE, RATE = 1 / 3, 1e-3
"""Steps of the training as integers over those before, and its highest learning rate."""


def combined(
    network: Network,
    recipe: Recipe,
    *,
    most_bytes: int = 64_000,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Return the best model that the search finds for a file of at most so many bytes.

    Parameters
    ----------
    network : Network
        Trained: the teacher.
    recipe : Recipe
        What trained it, and but for its network trains the small one.
    most_bytes : int
        Of a model file.
    checkpoint : Path, optional
        File by whose name those of all trainings begin (`checkpoints.files_of_stages`).
    progress : callable
        As for `train.optimise`.
    """
    files = files_of_stages(checkpoint, 2)
    of_search, of_best = parts(progress, [3, 1])
    found = search(network, recipe, most_bytes, checkpoint=files[0], progress=of_search)
    made = combine(network, recipe, found, checkpoint=files[1], progress=of_best)
    if file_bytes(made) > most_bytes:
        raise InvalidArgumentError("most_bytes", f"{file_bytes(made)} for {found}", repr(most_bytes))
    return made


def combine(
    teacher: Network,
    recipe: Recipe,
    combination: Combination,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> SparseNetwork:
    """Return what a combination makes of a teacher.

    Parameters
    ----------
    teacher : Network
        Trained.
    recipe : Recipe
        Training of the small network but for its name; that as integers takes `SHARE` of the steps more.
    combination : Combination
        How.
    checkpoint, progress
        As for `combined`.
    """
    recipe = dataclasses.replace(recipe, network=combination.network)
    (tuning,) = stages(recipe, max(1, round(SHARE * recipe.steps)), RATE, 1)
    files, told = files_of_stages(checkpoint, 2), parts(labelled(progress, combination.network), [1, SHARE])
    student = taught(teacher, recipe, combination.alpha, checkpoint=files[0], progress=told[0])
    return integers(student, teacher, recipe, tuning, combination, checkpoint=files[1], progress=told[1])


def integers(
    student: Network,
    teacher: Network,
    recipe: Recipe,
    tuning: Recipe,
    combination: Combination,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> SparseNetwork:
    """Prune and round a trained student, and train it on.

    Parameters
    ----------
    student, teacher : Network
        Trained.
    recipe, tuning : Recipe
        What trained the student, and what trains the integers.
    combination : Combination
        How.
    checkpoint, progress
        As for `train.optimise`.
    """
    maps = [torch.from_numpy(one) for one in training_maps(recipe)]
    made = _rounded(equalized(sparse(student.cpu(), combination.zeros), maps), combination, maps, "output")
    loss = taught_loss(made, teacher, tuning, combination.alpha)
    optimise(made, tuning, loss=loss, checkpoint=checkpoint, progress=progress)
    return made.cpu().eval()


def search(
    teacher: Network,
    recipe: Recipe,
    most_bytes: int,
    tried: int = TRIED,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Combination:
    """Return the combination that does best on systems of the validation after a short training.

    Parameters
    ----------
    teacher, recipe, most_bytes
        As for `combined`.
    tried : int
        Networks that are trained.
    checkpoint, progress
        As for `combined`.
    """
    left = list(fitting(recipe, integer("most_bytes", most_bytes, minimum=1)))
    if not left:
        raise InvalidArgumentError("most_bytes", "enough for the smallest combination", repr(most_bytes))
    left = sorted(left, key=lambda one: -_weights(recipe, one))[: integer("tried", tried, minimum=1)]
    left = [dataclasses.replace(one, alpha=alpha) for one in left for alpha in (ALPHA, 0.0)]
    steps = max(1, recipe.steps // len(left))
    rounds = len(left).bit_length() - 1
    for file, told in zip(files_of_stages(checkpoint, rounds), parts(progress, [1] * rounds), strict=True):
        short = dataclasses.replace(recipe, steps=steps)
        each = zip(left, files_of_stages(file, len(left)), parts(told, [1] * len(left)), strict=True)
        scores = {
            one: _score(combine(teacher, short, one, checkpoint=kept, progress=tell), short)
            for one, kept, tell in each
        }
        left = sorted(left, key=scores.__getitem__, reverse=True)[: len(left) // 2]
        steps *= 2
    return left[0]


def fitting(recipe: Recipe, most_bytes: int) -> Iterator[Combination]:
    """Yield each network with the finest weights with which its file has at most so many bytes, if any."""
    (maps,) = training_maps(recipe, 1)
    for width, blocks in product(WIDTHS, BLOCKS):
        name = f"se-{width}x{blocks}"
        network = _shaken(cnn(recipe.make_task().channels, width, blocks, se=True), recipe)
        for choice in product(BITS, ENDS, ZEROS):
            combination = Combination(name, *choice)
            made = _rounded(
                sparse(network, combination.zeros), combination, [torch.from_numpy(maps)], "min-max"
            )
            if file_bytes(made) <= most_bytes:
                yield combination
                break


def file_bytes(made: QuantizedNetwork) -> int:
    """Return how large the file of a model is, with what it says about it."""
    return len(encode_model(made.export())) + METADATA


def _rounded(
    network: Network, combination: Combination, maps: list[Tensor], observer: Observer
) -> SparseNetwork:
    bits = weight_bits(network.graph, combination.bits, combination.ends)
    made = SparseNetwork(network, bits, follow=False).eval()
    made.calibrate(maps, observer)
    return made


def _shaken(graph: Graph, recipe: Recipe) -> Network:
    """A network before its training, with random numbers where it begins with zeros: as hard to code."""
    network = Network(graph, recipe.seed, recipe.side, recipe.side)
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=SHAKEN)
    return network


def _weights(recipe: Recipe, combination: Combination) -> int:
    network = build(combination.network, recipe.make_task().channels, recipe.side, 0)
    return sum(parameter.numel() for parameter in network.parameters())


def _score(made: QuantizedNetwork, recipe: Recipe) -> float:
    """Mean sum rate on the systems of the validation."""
    return float(rates_on(recipe, made, "validation", VALIDATION).mean())
