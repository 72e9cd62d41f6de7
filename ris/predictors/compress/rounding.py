"""Post-training quantization as it is: weights rounded to nearest, ranges of results read from some systems."""

from collections.abc import Mapping

from channels.checks import integer
from ris.predictors.module import Network
from ris.predictors.publish import calibrated
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe

__all__ = ["BATCHES", "rounded"]

BATCHES = 4
"""Batches of the training that methods without training see: 256 systems, if they have 64."""


def rounded(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    activation_bits: int | None = 8,
    *,
    batches: int = BATCHES,
) -> QuantizedNetwork:
    """Round a network's weights to nearest, in steps of the largest one of each output channel.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it.
    bits, activation_bits
        Of weights and of results, as for `QuantizedNetwork`.
    batches : int
        Batches of the training from which the ranges are read, with the least squared error.
    """
    count = integer("batches", batches, minimum=1)
    return calibrated(network, recipe, "mse", count, bits=bits, activation_bits=activation_bits)
