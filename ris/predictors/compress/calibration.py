"""What methods calibrate on: a trained network's own systems of training."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import AT_ONCE, Recipe

__all__ = ["SYSTEMS", "calibrated", "calibration_maps"]

SYSTEMS = 256
"""Systems of the training that a calibration sees."""


def calibration_maps(recipe: Recipe, systems: int = SYSTEMS) -> Iterator[Tensor]:
    """Return the maps of the first systems of a training, a batch at a time."""
    task = recipe.make_task()
    for step, first in enumerate(range(0, systems, AT_ONCE)):
        batch = task.training_batch(step, min(AT_ONCE, systems - first), recipe.seed)
        yield torch.from_numpy(batch.maps)


def calibrated(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int],
    activation_bits: int | None = 8,
    systems: int = SYSTEMS,
) -> QuantizedNetwork:
    """Return a network with the ranges of its results, and weights that are rounded to nearest.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it.
    bits, activation_bits
        Of weights and results, as for `QuantizedNetwork`.
    systems : int
        Systems of the training that decide the ranges.
    """
    quantized = QuantizedNetwork(network, bits, activation_bits).eval()
    quantized.calibrate(calibration_maps(recipe, systems), "mse")
    return quantized
