"""Residual branches that are left out at random in training.

Huang, Sun, Liu, Sedra and Weinberger, "Deep networks with stochastic depth" (ECCV 2016): in a step of the
training the l-th of L residual branches is there with a probability that falls linearly,

    p_l = 1 - (l / L) (1 - p_L),

and what nobody needs then is not computed. The paper multiplies branches by p_l in tests; here those that are
there in training are divided by it, which is the same network, and leaves tests as they are.
"""

import itertools
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from channels.checks import number
from channels.draws import uniform
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.predictors.graph import Graph
from ris.predictors.module import Network, residual_sums
from ris.predictors.train import Recipe, build, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["LAST", "StochasticDepth", "kept_products", "stochastic_depth", "survival"]

LAST = 0.5
"""Probability of the last branch."""


def stochastic_depth(
    recipe: Recipe, last: float = LAST, *, checkpoint: Path | None = None, progress: Progress = tell_nothing
) -> Network:
    """Train a residual network with branches left out.

    Parameters
    ----------
    recipe : Recipe
        Training of a network with residual branches.
    last : float
        Probability of the last branch, in (0, 1].
    checkpoint, progress
        As for `train.optimise`.
    """
    network = build(recipe.network, recipe.make_task().channels, recipe.side, recipe.seed)
    if not isinstance(network, Network):
        raise InvalidArgumentError("recipe", "one of a network that is one graph", repr(recipe.network))
    shallow = StochasticDepth(network, survival(network.graph, last), recipe.seed)
    optimise(shallow, recipe, checkpoint=checkpoint, progress=progress)
    return network.eval()


def survival(graph: Graph, last: float = LAST) -> dict[str, float]:
    """Return the probability of every residual branch, by the node that adds it."""
    sums = residual_sums(graph)
    if not sums:
        raise InvalidArgumentError("graph", "residual branches", "none")
    if not 0 < number("last", last) <= 1:
        raise InvalidArgumentError("last", "a probability above 0", repr(last))
    return {name: 1 - (i + 1) / len(sums) * (1 - last) for i, name in enumerate(sums)}


def kept_products(
    graph: Graph, probabilities: Mapping[str, float], users: int, rows: int, columns: int
) -> float:
    """Return the share of a graph's products that a step of the training computes, on average."""
    products = graph.products(users, rows, columns)
    mean = 0.0
    for there in itertools.product((True, False), repeat=len(probabilities)):
        chance = math.prod(
            p if kept else 1 - p for p, kept in zip(probabilities.values(), there, strict=True)
        )
        dropped = {name for name, kept in zip(probabilities, there, strict=True) if not kept}
        mean += chance * sum(products[name] for name in _needed(graph, dropped))
    return mean / sum(products.values())


class StochasticDepth(nn.Module):
    """A residual network with branches left out in training, and whole elsewhere.

    Parameters
    ----------
    network : Network
        It is trained itself.
    probabilities : mapping of str to float
        Of branches, by the node that adds each, as of `survival`.
    seed : int
        Decides which are left out in which step.
    """

    steps: Tensor

    def __init__(self, network: Network, probabilities: Mapping[str, float], seed: int = 0) -> None:
        super().__init__()
        self.network, self._probabilities = network, dict(probabilities)
        self._stream = Stream(seed, "compress", "stochastic depth")
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output for an input, as `Network`."""
        if not self.training:
            made: Tensor = self.network(maps)
            return made
        chances = uniform(self._stream, len(self._probabilities), 1, int(self.steps))[0]
        self.steps += 1
        kept = self._probabilities.items()
        return self.without(
            {name for chance, (name, p) in zip(chances, kept, strict=True) if chance >= p}, maps
        )

    def without(self, dropped: Collection[str], maps: Tensor) -> Tensor:
        """Return what a step of the training makes of an input without some branches."""
        graph = self.network.graph
        needed, values = _needed(graph, dropped), {graph.nodes[0].name: maps}
        for node in graph.nodes[1:]:
            if node.name in dropped:
                values[node.name] = values[node.inputs[0]]
            elif node.name in needed:
                inputs = [values[name] for name in node.inputs]
                if node.name in self._probabilities:
                    inputs[1] = inputs[1] / self._probabilities[node.name]
                values[node.name] = self.network.result(node, *inputs)
        return values[graph.nodes[-1].name]


def _needed(graph: Graph, dropped: Collection[str]) -> set[str]:
    """Nodes that have to be computed if some sums take their first input alone; these are not among them."""
    needed = {graph.nodes[-1].name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs[:1] if node.name in dropped else node.inputs)
    return needed.difference(dropped)
