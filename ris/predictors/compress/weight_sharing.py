"""Few different weights in a layer, which train together.

The weights of a convolution between the first and the last ones are replaced by the nearest of 2^b numbers
(Han, Mao and Dally, "Deep compression", ICLR 2016), relative to the largest one of each output channel:

    w = s_o c[a],   s_o = max |w| of the output channel o,   a = which number.

The relative size is ours, and costs nothing, as the integer model has scales of output channels anyway. The
numbers c come from k-means in one dimension (Lloyd), which begins with numbers that are evenly apart from
the smallest to the largest weight, so that the few large weights have some of their own. Then they train
further, and a stays: the gradient of c[a] is the sum of s_o dL/dw over all weights that share it.

In the integer model a layer has at most 2^b different codes of 8 bits. Codes by how often they occur are
what makes it small: `ris.predictors.compress.coding`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from channels.checks import integer
from channels.errors import InvalidArgumentError
from ris.predictors.compress.distillation import taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.rounding import rounded
from ris.predictors.folding import between, fold_batch_norms
from ris.predictors.graph import Node
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["SharedNetwork", "k_means", "weight_sharing", "weights_shared"]

ROUNDS = 300
"""Most rounds of k-means."""

TOP = 127
"""Largest code of a weight."""


class SharedNetwork(Network):
    """A network with few different weights in each layer between the ends, normalisations folded.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    bits : int or mapping of str to int
        Of the number that a weight is told by; of all convolutions between the first and the last, or by
        node.
    """

    def __init__(self, network: Network, bits: int | Mapping[str, int]) -> None:
        graph, arrays = fold_batch_norms(network.graph, network.arrays())
        super().__init__(graph, 0, network.rows, network.columns)
        self.load_arrays(arrays)
        self.bits = _bits_of(self, bits)
        for name, count in self.bits.items():
            weight = arrays[f"{name}/weight"]
            scale = np.abs(weight).max(tuple(range(1, weight.ndim)), keepdims=True)
            scale[scale == 0] = 1
            centroids, nearest = k_means(weight / scale, 2**count)
            delattr(self, f"{name}/weight")
            values = nn.Parameter(torch.from_numpy(centroids.astype(np.float32)))
            self.register_parameter(f"{name}/centroids", values)
            self.register_buffer(f"{name}/nearest", torch.from_numpy(nearest))
            self.register_buffer(f"{name}/scale", torch.from_numpy(scale))

    def own(self, node: Node) -> dict[str, Tensor]:
        """Return the parameters of a node by their short names, with the weights that are shared."""
        if node.name not in self.bits:
            return super().own(node)
        scale, shared = getattr(self, f"{node.name}/scale"), self.shared(node.name)
        return {"weight": scale * shared, "bias": getattr(self, f"{node.name}/bias")}

    def shared(self, name: str) -> Tensor:
        """Return the weights of a layer over their scales."""
        made: Tensor = getattr(self, f"{name}/centroids")[getattr(self, f"{name}/nearest")]
        return made

    @torch.no_grad()
    def plain(self) -> Network:
        """Return a network of these weights."""
        made = Network(self.graph, 0, self.rows, self.columns).eval()
        made.load_arrays(
            {
                f"{node.name}/{short}": value.numpy(force=True)
                for node in self.graph
                for short, value in self.own(node).items()
            }
        )
        return made

    @torch.no_grad()
    def codes(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the codes of a layer's weights, of 8 bits, and a step for each output channel."""
        largest = getattr(self, f"{name}/centroids").abs().max()
        step = torch.where(largest > 0, largest, 1.0) / TOP
        return torch.round(self.shared(name) / step), getattr(self, f"{name}/scale").flatten() * step


def k_means(values: NDArray[np.floating], count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return means of clusters, rising, and which of them is nearest to each value.

    The algorithm of Lloyd from numbers that are evenly apart; means of no value stay where they are.

    Parameters
    ----------
    values : ndarray
        Of any shape.
    count : int
        Clusters.

    Returns
    -------
    means : ndarray of float, shape (count,)
    nearest : ndarray of int, shape of `values`
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    means = np.linspace(ordered[0], ordered[-1], count)
    for _ in range(ROUNDS):
        # A cluster is what lies between the middles of its mean and the neighbours'.
        ends = np.searchsorted(ordered, (means[1:] + means[:-1]) / 2, side="right")
        ends = np.concatenate([[0], ends, [ordered.size]])
        many = np.diff(ends)
        moved = np.where(many > 0, np.diff(sums[ends]) / np.maximum(many, 1), means)
        if np.array_equal(moved, means):
            break
        means = moved
    return means, np.searchsorted((means[1:] + means[:-1]) / 2, values, side="left")


def weights_shared(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    *,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> SharedNetwork:
    """Share the weights between the first and the last convolutions, and train them further, with a teacher.

    Parameters
    ----------
    network : Network
        Trained; it is copied, and is the teacher.
    recipe : Recipe
        What trained it, and what the further training follows but for steps and learning rate.
    bits : int or mapping of str to int
        Of the number that a weight is told by, 1 to 8: 2^bits different weights in a layer.
    steps, rate
        Of the further training: optimiser steps, and highest learning rate.
    checkpoint, progress
        As for `ris.predictors.train.optimise`.
    """
    (stage,) = stages(recipe, steps, rate, 1)
    made = SharedNetwork(network, bits)
    loss = taught_loss(made, network, stage)
    optimise(made, stage, loss=loss, checkpoint=checkpoint, progress=progress)
    return made.cpu().eval()


def weight_sharing(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    *,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Share weights as `weights_shared`, in codes of 8 bits: a layer has at most 2^bits different ones."""
    shared = weights_shared(
        network, recipe, bits, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress
    )
    made = rounded(shared.plain(), recipe, 8, equalize=False)
    for name in shared.bits:
        made.set_weights(name, *shared.codes(name), made.network.own(made.graph[name])["bias"])
    return made


def _bits_of(network: Network, bits: int | Mapping[str, int]) -> dict[str, int]:
    inner = between(network.graph)
    told = dict(bits) if isinstance(bits, Mapping) else dict.fromkeys(inner, bits)
    if not set(told) <= set(inner):
        raise InvalidArgumentError("bits", f"names among {inner}", f"{sorted(told)}")
    for name, count in told.items():
        if integer(f"bits of {name}", count, 1) > 8:
            raise InvalidArgumentError(f"bits of {name}", "1 to 8", repr(count))
    return told
