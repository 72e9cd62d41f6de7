"""Channels of like size before quantization: what is divided where it is made is multiplied where it is used.

All channels of a tensor share one scale, so that small ones beside large ones are lost in its steps, and
long trainings make some large. A channel may be divided by a positive number if whatever uses it multiplies
by the same: sums, rectifiers, means, maxima and gates pass the number on, a convolution before it takes it
into its output channels, one behind it into its input channels (Nagel, van Baalen, Blankevoort and Welling,
"Data-free quantization through weight equalization and bias correction", ICCV 2019). The network computes the
same. Weights have scales for output channels, so that only input channels cost precision: dividing by square
roots of sizes shares it between both.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ris.predictors.channel_groups import channel_groups
from ris.predictors.folding import fold_batch_norms
from ris.predictors.graph import Graph, Node
from ris.predictors.module import Network, execute

__all__ = ["equalized"]

PASSING = (
    "add", "sub", "relu", "gain", "mean_grid", "mean_users", "sum_users", "max_users", "neighbour_max",
    "neighbour_median",
)  # fmt: skip
"""Operations on single channels that pass a positive factor of all their inputs on to their result."""

SMALLEST = 1e-3
"""Least divisor of a channel, that of the largest being 1."""


@torch.no_grad()
def equalized(network: Network, batches: Iterable[Tensor]) -> Network:
    """Return a network that computes the same with channels of sizes more alike, normalisations folded.

    Parameters
    ----------
    network : Network
        Trained.
    batches : iterable of Tensor
        Inputs, axes (batch, user, channel, row, column), from which sizes are read: largest magnitudes.
    """
    graph, arrays = fold_batch_norms(network.graph, network.arrays())
    made = Network(graph, 0, network.rows, network.columns)
    made.load_arrays(arrays)
    group = _groups(graph)
    divisors = {name: _divisors(size) for name, size in _sizes(made, group, batches).items()}
    for node in graph.nodes:
        if node.op != "conv":
            continue
        weight, bias = arrays[f"{node.name}/weight"], arrays[f"{node.name}/bias"]
        outputs, inner = weight.shape[:2]
        groups = node.attributes["groups"]
        before = divisors.get(group.get(node.inputs[0], ""), np.ones(inner * groups))
        after = divisors.get(group.get(node.name, ""), np.ones(outputs))
        columns = np.repeat(before.reshape(groups, inner), outputs // groups, axis=0)
        factor = columns[:, :, None, None] / after[:, None, None, None]
        arrays[f"{node.name}/weight"] = (weight * factor).astype(np.float32)
        arrays[f"{node.name}/bias"] = (bias / after).astype(np.float32)
    made.load_arrays(arrays)
    return made


def _groups(graph: Graph) -> dict[str, str]:
    """Name of the group of nodes whose channels share divisors; nodes that cannot be divided have none."""
    fixed = {graph.nodes[-1].name}
    for node in graph.nodes:
        if node.op == "mul":
            fixed.add(node.inputs[1])
        elif node.op not in (*PASSING, "conv"):
            fixed |= {node.name, *node.inputs}
    return channel_groups(graph, _tied, fixed)


def _tied(node: Node) -> tuple[str, ...]:
    if node.op == "mul":
        return node.inputs[:1]
    return node.inputs if node.op in PASSING else ()


def _sizes(network: Network, group: dict[str, str], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Largest magnitude of each channel of a group."""
    sizes: dict[str, Tensor] = {}
    first, *others = network.graph.nodes
    for maps in batches:
        values = {first.name: maps}
        for node in others:
            made = execute(node, network.own(node), *[values[name] for name in node.inputs])
            values[node.name] = made
            if node.name in group:
                size = made.abs().amax((0, 1, 3, 4))
                name = group[node.name]
                sizes[name] = torch.maximum(sizes[name], size) if name in sizes else size
    return sizes


def _divisors(size: Tensor) -> NDArray[np.float64]:
    """Square roots of the sizes over the largest one; channels of nothing stay."""
    share = size.double().numpy() / max(float(size.max()), np.finfo(np.float32).tiny)
    return np.maximum(np.sqrt(np.where(share > 0, share, 1.0)), SMALLEST)
