"""Whole channels removed: the network that is left has fewer filters, and no zeros.

A channel can go if all that uses it, through whatever works on single channels, are convolutions: then the
filters that make it go as well, and what these convolutions multiply it by. That holds for the channels
within a branch of a residual block, and for those to which a gate squeezes its means. The first and the last
convolutions stay as they are, and so do the channels that they make or use, which those of a residual sum
are.

Which ones go follows Li et al., "Pruning filters for efficient convnets" (ICLR 2017), and the scales |gamma|
of normalisations that Liu et al., "Learning efficient convolutional networks through network slimming" (ICCV
2017) go by. Where there are no normalisations a rectifier leaves the size of a filter undetermined: twice the
weights before it and half of those behind it are the same network. So the size of a channel is (ours)

    |weights of the filters that make it| |weights that it is multiplied by|,

norms over all of them, with scales of normalisations folded into the former, where they take gamma's part.
Channels go by size, relative to the root mean square of those that are alike, over the products that
they cost, until the convolutions between the ends have so many products less.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.channel_groups import channel_groups
from ris.predictors.compress.distillation import taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.rounding import rounded
from ris.predictors.folding import between, fold_batch_norms
from ris.predictors.graph import Graph, Node
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["Channels", "filter_pruning", "filters_pruned", "narrowed", "removable", "smallest"]

SINGLE = (
    "add", "batch_norm", "gain", "max_users", "mean_grid", "mean_users", "mul", "neighbour_max",
    "neighbour_median", "other_surface", "relu", "repeat", "sigmoid", "sub", "sum_users", "tanh",
)  # fmt: skip
"""Operations on single channels."""

Kept = Mapping[str, NDArray[np.bool_]]
"""Which channels are left, by group."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """Channels that several nodes have in common, and that can go.

    Attributes
    ----------
    nodes : tuple of str
        With these channels in their results.
    makers, users : tuple of str
        Convolutions that make them, and those whose input they are.
    count : int
        How many.
    """

    nodes: tuple[str, ...]
    makers: tuple[str, ...]
    users: tuple[str, ...]
    count: int


def removable(network: Network) -> dict[str, Channels]:
    """Return the channels of a network that can go, by the name of a group.

    Raises
    ------
    InvalidArgumentError
        If there are none.
    """
    graph = network.graph
    shapes = graph.shapes(1, network.rows, network.columns)
    inner = between(graph)
    fixed = {graph.nodes[-1].name}
    for node in graph.nodes:
        alike = all(shapes[name].channels == shapes[node.name].channels for name in node.inputs)
        passes = alike if node.op in SINGLE else _dense(node) and node.name in inner
        if not passes:
            fixed |= {node.name, *node.inputs}
    group = channel_groups(graph, lambda node: node.inputs if node.op in SINGLE else (), fixed)
    found = {}
    for name in dict.fromkeys(group.values()):
        nodes = [node for node in graph.nodes if group.get(node.name) == name]
        found[name] = Channels(
            tuple(node.name for node in nodes),
            tuple(node.name for node in nodes if _dense(node)),
            tuple(node.name for node in graph.nodes if _dense(node) and group.get(node.inputs[0]) == name),
            shapes[name].channels,
        )
    if not found:
        raise InvalidArgumentError("network", "channels that only convolutions between the ends use", "none")
    return found


def narrowed(network: Network, groups: Mapping[str, Channels], kept: Kept) -> Network:
    """Return a network without the channels that are not kept."""
    made = Network(_narrowed(network.graph, groups, kept), 0, network.rows, network.columns).eval()
    arrays: dict[str, NDArray[Any]] = network.arrays()
    for name, channels in groups.items():
        for array in arrays:
            # What has an axis of channels: weights and biases of convolutions, and all of a normalisation.
            if array.split("/")[0] in channels.nodes and arrays[array].ndim:
                arrays[array] = arrays[array][kept[name]]
        for user in channels.users:
            arrays[f"{user}/weight"] = arrays[f"{user}/weight"][:, kept[name]]
    made.load_arrays(arrays)
    return made


def smallest(network: Network, share: float, users: int) -> tuple[dict[str, Channels], Kept]:
    """Return the channels that can go, and which of them are left if a share of the products goes.

    Parameters
    ----------
    network : Network
        Trained.
    share : float
        Of the products of the convolutions between the ends, above 0 and below 1; slightly more go.
    users : int
        For which products are counted.
    """
    if not 0 < number("share", share) < 1:
        raise InvalidArgumentError("share", "a share above 0 and below 1", repr(share))
    graph, groups = network.graph, removable(network)
    inner = between(graph)

    def products(of: Graph) -> dict[str, int]:
        counts = of.products(users, network.rows, network.columns)
        return {name: counts[name] for name in inner}

    before = products(graph)
    costs = {
        name: sum(before[one] for one in (*channels.makers, *channels.users)) / channels.count
        for name, channels in groups.items()
    }
    ranked = sorted(
        (size / costs[name], name, channel)
        for name, sizes in _sizes(network, groups).items()
        for channel, size in enumerate(sizes.tolist())
    )
    kept = {name: np.ones(channels.count, bool) for name, channels in groups.items()}
    for _, name, channel in ranked:
        if kept[name].sum() > 1:
            kept[name][channel] = False
        if sum(products(_narrowed(graph, groups, kept)).values()) <= (1 - share) * sum(before.values()):
            return groups, kept
    raise InvalidArgumentError("share", "one that leaves a channel everywhere", repr(share))


def filters_pruned(
    network: Network,
    recipe: Recipe,
    share: float = 0.5,
    *,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Network:
    """Remove channels, and train what is left further, with the whole network as its teacher.

    Parameters
    ----------
    network : Network
        Trained; it is copied, and is the teacher.
    recipe : Recipe
        What trained it, and what the further training follows but for steps and learning rate.
    share : float
        Of the products of the convolutions between the first and the last ones, above 0 and below 1.
    steps, rate
        Of the further training: optimiser steps, and highest learning rate.
    checkpoint, progress
        As for `ris.predictors.train.optimise`.

    Returns
    -------
    Network
        Of a smaller graph.
    """
    (stage,) = stages(recipe, steps, rate, 1)
    made = narrowed(network, *smallest(network, share, recipe.make_task().users))
    loss = taught_loss(made, network, stage)
    optimise(made, stage, loss=loss, checkpoint=checkpoint, progress=progress)
    return made.eval()


def filter_pruning(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 8,
    *,
    share: float = 0.5,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Remove channels as `filters_pruned`, and round what is left to so many bits."""
    made = filters_pruned(
        network, recipe, share, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress
    )
    return rounded(made, recipe, bits)


def _dense(node: Node) -> bool:
    """Whether a node is a convolution that joins all channels."""
    return node.op == "conv" and node.attributes["groups"] == 1


def _narrowed(graph: Graph, groups: Mapping[str, Channels], kept: Kept) -> Graph:
    widths = {maker: int(kept[name].sum()) for name, channels in groups.items() for maker in channels.makers}
    nodes = (
        dataclasses.replace(node, attributes={**node.attributes, "channels": widths[node.name]})
        if node.name in widths
        else node
        for node in graph.nodes
    )
    return Graph(tuple(nodes))


def _sizes(network: Network, groups: Mapping[str, Channels]) -> dict[str, NDArray[np.float64]]:
    """Sizes of channels over the root mean square of their group's."""
    _, arrays = fold_batch_norms(network.graph, network.arrays())
    made = {}
    for name, channels in groups.items():
        makers, users = (
            sum(np.square(arrays[f"{one}/weight"], dtype=float).sum(axes) for one in some)
            for some, axes in ((channels.makers, (1, 2, 3)), (channels.users, (0, 2, 3)))
        )
        squares = np.asarray(makers * users)
        made[name] = np.sqrt(squares / max(squares.mean(), np.finfo(float).tiny))
    return made
