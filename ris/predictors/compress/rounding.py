"""Post-training quantization: weights rounded to nearest, ranges of results from some systems."""

from collections.abc import Mapping
from typing import Any

from channels.checks import integer
from ris.predictors.module import Network
from ris.predictors.publish import calibrated, parted
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe
from ris.progress import Progress, tell_nothing

__all__ = ["SYSTEMS", "batches_of", "rounded"]

SYSTEMS = 256
"""Systems of the training that methods without training see."""


def rounded(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    activation_bits: int | None = 8,
    *,
    systems: int = SYSTEMS,
    equalize: bool = True,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Round a network's weights to nearest, in steps of the largest one of each output channel.

    Ranges of results are those that move the output least, with one for each use of a sum
    (`folding.part_sums`): so the graph may have more sums than the network's.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it.
    bits, activation_bits
        Of weights and of results, as for `QuantizedNetwork`.
    systems : int
        Systems of the training from which the ranges are read, rounded down to whole batches; those of the
        first batch tell which ranges move the output least.
    equalize : bool
        Whether channels are brought to like sizes before (`ris.predictors.equalize`) where the output says
        that it serves, or weights stay as they are, to be compared with or to be set one by one.
    progress : callable
        Told of every range.
    """
    batches = batches_of(recipe, systems)
    how: dict[str, Any] = {"bits": bits, "activation_bits": activation_bits, "progress": progress}
    given = network if equalize else parted(network)
    return calibrated(given, recipe, "output", ready=equalize, batches=batches, **how)


def batches_of(recipe: Recipe, systems: int) -> int:
    """Return how many batches of a training have at most so many systems; at least one."""
    return max(1, integer("systems", systems, minimum=1) // recipe.batch)
