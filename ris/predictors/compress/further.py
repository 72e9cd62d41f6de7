"""Training that follows the first one: of methods that train, and of what they are held against."""

import copy
import dataclasses
from collections.abc import Iterable

from channels.checks import integer, positive
from ris.predictors.module import Network
from ris.predictors.train import Recipe, optimise

__all__ = ["control", "stages"]

APART = 1000
"""Between the seeds of trainings that follow one another, so that none repeats systems of another."""


def stages(recipe: Recipe, steps: int, rate: float, count: int) -> list[Recipe]:
    """Return the recipes of trainings that follow one after the other, on systems of their own.

    Parameters
    ----------
    recipe : Recipe
        Of the first training.
    steps, rate : int, float
        Steps and highest learning rate of each stage.
    count : int
        Stages.
    """
    each, highest = integer("steps", steps, minimum=1), positive("rate", rate)
    return [
        dataclasses.replace(recipe, seed=recipe.seed + APART * (1 + i), steps=each, rate=highest)
        for i in range(integer("count", count, minimum=1))
    ]


def control(network: Network, recipes: Iterable[Recipe]) -> Network:
    """Return the network in floats after the further steps that a method takes: the matched control.

    Parameters
    ----------
    network : Network
        What the method begins with; it is copied.
    recipes : iterable of Recipe
        The trainings of the method: the same steps, learning rates and systems.
    """
    made = copy.deepcopy(network)
    for recipe in recipes:
        optimise(made, recipe)
    return made.eval()
