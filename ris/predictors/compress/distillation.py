"""A small network that follows a trained one: knowledge distillation for phases.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), have a student learn what its
teacher answers beside the task itself. Here an answer is a phase for every element. With theta and phi what
student and teacher set, the student's loss is

    task + ALPHA (1 - |mean over elements of exp(j (theta - phi))|),

where `train.task_loss` is the first term, and the second one, ours, is a mean over surfaces; it does not see
a phase that all elements of a surface have in common. The teacher stays as it is: a student that does better
than it without one is held back.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from channels.checks import non_negative
from channels.errors import InvalidArgumentError
from ris.predictors.compress.rounding import rounded
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.task import Batch
from ris.predictors.train import Recipe, build, loss_of, optimise, phasors, task_loss
from ris.progress import Progress, tell_nothing

__all__ = ["ALPHA", "STUDENT", "disagreement", "distilled", "taught", "taught_loss"]

ALPHA = 1.0
"""Weight of the teacher's phases."""

STUDENT = "se-8x1"
"""A quarter as wide as "se", and a quarter as deep: a fortieth of its weights."""


def distilled(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 8,
    *,
    student: str = STUDENT,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Return the integers of a small network that was trained as a network was, and taught by it.

    Parameters
    ----------
    network : Network
        Trained: the teacher.
    recipe : Recipe
        What trained it; the student has its first weights from the same seed, and as many steps.
    bits : int or mapping of str to int
        Of the weights, as for `QuantizedNetwork`.
    student : str
        Name of the small network, as in a recipe.
    checkpoint, progress
        As for `train.optimise`.
    """
    recipe = dataclasses.replace(recipe, network=student)
    return rounded(taught(network, recipe, checkpoint=checkpoint, progress=progress), recipe, bits)


def taught(
    teacher: nn.Module,
    recipe: Recipe,
    alpha: float = ALPHA,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Network:
    """Train a network from its first weights, with a teacher.

    Parameters
    ----------
    teacher : Module
        Trained for the same task, as a `Network`; it is not changed.
    recipe : Recipe
        Training of the student.
    alpha : float
        Weight in the loss above; 0 for a student that learns alone.
    checkpoint, progress
        As for `train.optimise`.
    """
    student = build(recipe.network, recipe.make_task().channels, recipe.side, recipe.seed)
    if not isinstance(student, Network):
        raise InvalidArgumentError("recipe", "one of a network that is one graph", repr(recipe.network))
    loss = taught_loss(student, teacher, recipe, alpha)
    optimise(student, recipe, loss=loss, checkpoint=checkpoint, progress=progress)
    return student.eval()


def taught_loss(
    student: nn.Module, teacher: nn.Module, recipe: Recipe, alpha: float = ALPHA
) -> Callable[[Batch], Tensor]:
    """Return the loss above, for `train.optimise`; the student may be one in simulated integers."""
    if non_negative("alpha", alpha) == 0:
        return partial(loss_of, student, bits=recipe.bits)
    teacher.eval()

    # Some trainings ask for the loss of a batch more than once a step.
    asked: list[tuple[Batch, Tensor]] = []

    def loss(batch: Batch) -> Tensor:
        if not asked or asked[0][0] is not batch:
            with torch.no_grad():
                asked[:] = [(batch, phasors(teacher.to(batch.maps.device), batch, recipe.bits))]
        ours = phasors(student, batch, recipe.bits)
        return task_loss(ours, batch) + alpha * disagreement(ours, asked[0][1])

    return loss


def disagreement(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return 1 - |mean over elements of ours times theirs, conjugate|, the mean over surfaces.

    Parameters
    ----------
    ours, theirs : Tensor, shape (surfaces, rows, columns)
        Phasors.
    """
    return (1 - (ours * theirs.conj()).mean((1, 2)).abs()).mean()
