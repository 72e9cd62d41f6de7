"""Bits of weights layer by layer, where they do most good, for a mean of so many."""

import math
from collections.abc import Mapping

import torch

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.compress.rounding import rounded
from ris.predictors.folding import weight_bits
from ris.predictors.module import Network
from ris.predictors.networks.unrolled import as_phasors
from ris.predictors.publish import training_maps
from ris.predictors.train import Recipe

__all__ = ["CHOICES", "mixed_bits", "spread"]

CHOICES = (2, 3, 4, 6, 8)
"""Bits that a layer can have."""


@torch.no_grad()
def mixed_bits(network: Network, recipe: Recipe, mean: float) -> dict[str, int]:
    """Return bits for every convolution between the first and the last ones.

    The cost of a layer's bits is what rounding this layer alone changes at the output: 1 - cos of the change
    of the phases, the mean over one batch of the training.

    Parameters
    ----------
    network : Network
        Trained.
    recipe : Recipe
        What trained it.
    mean : float
        Bits of these weights on average, at most.
    """
    quantized = rounded(network, recipe, 8, None, systems=1, equalize=False)
    maps = torch.from_numpy(next(training_maps(recipe, 1)))
    exact = as_phasors(quantized(maps))
    between = [name for name, bits in weight_bits(quantized.graph, 4).items() if bits == 4]
    costs: dict[str, dict[int, float]] = {}
    for name in between:
        costs[name] = {}
        for bits in CHOICES:
            quantized.weight_bits[name] = bits
            costs[name][bits] = float((1 - (as_phasors(quantized(maps)) * exact.conj()).real).mean())
        quantized.weight_bits[name] = 8
    shapes = quantized.graph.parameters(network.rows, network.columns)
    weights = {name: math.prod(shapes[f"{name}/weight"]) for name in between}
    return spread(costs, weights, mean)


def spread(
    costs: Mapping[str, Mapping[int, float]], weights: Mapping[str, int], mean: float
) -> dict[str, int]:
    """Return bits by name: from the fewest on, again and again the step that saves most for a weight's bit.

    Parameters
    ----------
    costs : mapping of str to mapping of int to float
        Cost of each choice of bits, by name.
    weights : mapping of str to int
        How many weights have these bits.
    mean : float
        Bits of a weight on average, at most.
    """
    bits = {name: min(choices) for name, choices in costs.items()}
    left = number("mean", mean) * sum(weights.values()) - sum(bits[name] * weights[name] for name in bits)
    if left < 0:
        raise InvalidArgumentError("mean", "at least the fewest bits of a layer", repr(mean))
    while True:
        steps = [
            ((costs[name][bits[name]] - cost) / (more - bits[name]) / weights[name], name, more)
            for name in bits
            for more, cost in costs[name].items()
            if more > bits[name] and (more - bits[name]) * weights[name] <= left
        ]
        saved, name, more = max(steps, default=(0.0, "", 0))
        if saved <= 0:
            return bits
        left -= (more - bits[name]) * weights[name]
        bits[name] = more
