"""What the claims about integers share: rates of networks and models on fixed systems."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ris.predictors.folding import fold_batch_norms
from ris.predictors.model import Model
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.runtime import Predictor
from ris.predictors.task import Batch, Split
from ris.predictors.train import AT_ONCE, Recipe, on_device, sum_rates

__all__ = ["SPLITS", "Systems", "with_rounded_weights"]

SPLITS: tuple[Split, ...] = ("test", "unseen")

Real = NDArray[np.float64]


class Systems:
    """The first systems of splits.

    Parameters
    ----------
    recipe : Recipe
        Its task is theirs.
    count : int
        Systems of each split.
    splits : tuple of str
        Which.
    """

    def __init__(self, recipe: Recipe, count: int, splits: tuple[Split, ...] = SPLITS) -> None:
        task = recipe.make_task()
        starts = range(0, count, AT_ONCE)
        self._batches = [
            [on_device(task.systems(split, min(AT_ONCE, count - first), first), "cpu") for first in starts]
            for split in splits
        ]

    def rates(self, network: nn.Module, bits: int = 0) -> Real:
        """Return the sum rates that a network reaches with phases of so many bits, shape (split, system)."""
        return self._all(lambda batch: sum_rates(network, batch, bits))

    def rates_of(self, model: Model) -> Real:
        """Return the sum rates that a model reaches in the runtime, shape (split, system)."""
        predictor = Predictor(model)
        return self._all(lambda batch: _rates(predictor, batch))

    def maps(self, count: int) -> NDArray[np.float32]:
        """Return inputs of `count` systems of the test."""
        kept: Sequence[NDArray[np.float32]] = [batch.maps.numpy() for batch in self._batches[0]]
        return np.concatenate(kept)[: 2 * count]

    def _all(self, rates: Callable[[Batch], torch.Tensor]) -> Real:
        made = [torch.cat([rates(batch) for batch in batches]).numpy() for batches in self._batches]
        return np.array(made, np.float64)


def _rates(predictor: Predictor, batch: Batch) -> torch.Tensor:
    made = torch.from_numpy(predictor.run(batch.maps.numpy())[:, 0])
    x = torch.polar(torch.ones_like(made[:, 0]), torch.atan2(made[:, 1], made[:, 0]))
    rates: torch.Tensor = batch.rates(x).sum(-1)
    return rates


def with_rounded_weights(network: Network, quantized: QuantizedNetwork) -> Network:
    """Return a network with the weights of its integers, and nothing else rounded."""
    graph, _ = fold_batch_norms(network.graph, network.arrays())
    made = Network(graph, 0, network.rows, network.columns)
    made.load_arrays({**quantized.network.arrays(), **quantized.rounded_weights()})
    return made
