"""Execution of a graph in torch."""

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from channels.errors import InvalidArgumentError
from ris.predictors.adder import sums_of_differences
from ris.predictors.float_operations import EPSILON
from ris.predictors.graph import Graph, Node
from ris.predictors.moves import both_surfaces
from ris.predictors.ranks import Step, ranked_neighbours
from ris.predictors.symmetries import all_turned

__all__ = ["Network", "execute", "residual_sums"]

SCALED = ("conv", "symmetric_conv", "adder", "rank_conv", "batch_norm", "gain")
"""Operations whose parameters decide how large their results are."""

MOMENTUM = 0.1
"""Weight of the last batch in the running statistics of a batch normalisation."""

Parameters = Mapping[str, Tensor]
Attributes = Mapping[str, int]


class Network(nn.Module):
    """A graph with its parameters.

    Parameters are called "node/parameter", as in `Graph.parameters`, in the state dictionary too. Weights
    begin as normal numbers of variance 2 / (inputs of the sum), biases as zeros (He et al., ICCV 2015); the
    last convolution of a residual branch begins as zero, so that a deep network begins as a shallow one. The
    weights of adders are compared with their inputs and begin with variance 1 (Chen et al., CVPR 2020), from
    the same normal numbers.

    Parameters
    ----------
    graph : Graph
        What is executed.
    seed : int
        Decides the first weights.
    rows, columns : int
        Size of the surface; the parameters depend on it after a "flatten" only.
    """

    def __init__(self, graph: Graph, seed: int = 0, rows: int = 8, columns: int = 8) -> None:
        super().__init__()
        self.graph, self.rows, self.columns = graph, rows, columns
        self._short: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
        generator = torch.Generator().manual_seed(seed)
        zero = _ends_of_branches(graph)
        parameters = graph.parameters(rows, columns)
        for name, shape in parameters.items():
            node, short = name.split("/")
            self._short[node].append(short)
            value = _first_value(graph[node].op, short, shape, generator)
            if node in zero and short == ("scale" if f"{node}/scale" in parameters else "weight"):
                value = torch.zeros(shape)
            if short in ("mean", "variance"):
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, nn.Parameter(value))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output, axes (batch, user, channel, row, column), for an input with the same axes."""
        return self.results(maps)[self.graph.nodes[-1].name]

    def results(self, maps: Tensor) -> dict[str, Tensor]:
        """Return the results of all nodes."""
        channels = self.graph.input_channels
        if maps.ndim != 5 or maps.shape[2] != channels:
            axes = f"axes (batch, user, channel, row, column) with {channels} channels"
            raise InvalidArgumentError("maps", axes, f"shape {tuple(maps.shape)}")
        values = {self.graph.nodes[0].name: maps}
        for node in self.graph.nodes[1:]:
            values[node.name] = self.result(node, *(values[name] for name in node.inputs))
        return values

    def result(self, node: Node, *inputs: Tensor) -> Tensor:
        """Return the result of a node for its inputs."""
        own = self.own(node)
        alive = node.op == "batch_norm" and self.training
        return _normalise_batch(own, *inputs) if alive else execute(node, own, *inputs)

    def own(self, node: Node) -> dict[str, Tensor]:
        """Return the parameters of a node by their short names ("weight", ...)."""
        return {short: getattr(self, f"{node.name}/{short}") for short in self._short[node.name]}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all parameters by "node/parameter"."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}

    def load_arrays(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Set all parameters to what `arrays` returned."""
        self.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})


def execute(node: Node, parameters: Parameters, *inputs: Tensor) -> Tensor:
    """Return the result of a node for its parameters, by short names, and its inputs."""
    return _EXECUTE[node.op](node.attributes, parameters, *inputs)


def residual_sums(graph: Graph) -> list[str]:
    """Return the sums whose first input is an ancestor of the second and last, the residual branch."""
    ancestors: dict[str, set[str]] = {}
    sums = []
    for node in graph.nodes:
        ancestors[node.name] = {node.name}.union(*(ancestors[name] for name in node.inputs))
        if node.op == "add" and len(node.inputs) == 2 and node.inputs[0] in ancestors[node.inputs[1]]:
            sums.append(node.name)
    return sums


def _ends_of_branches(graph: Graph) -> set[str]:
    """Nodes with weights from which the second input of a residual sum comes straight."""
    ends = set()
    for node in map(graph.__getitem__, residual_sums(graph)):
        end = graph[node.inputs[1]]
        while end.op not in SCALED and end.name != node.inputs[0]:
            end = graph[end.inputs[0]]
        ends.add(end.name)
    return ends


def _first_value(op: str, short: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if short == "weight" and shape:
        spread = 1.0 if op == "adder" else math.sqrt(2 / math.prod(shape[1:]))
        return torch.randn(shape, generator=generator) * spread
    return torch.ones(shape) if short in ("weight", "scale", "variance") else torch.zeros(shape)


def _normalise_batch(own: Parameters, maps: Tensor) -> Tensor:
    """Result of a batch normalisation with the statistics of this batch, which move the running ones.

    The running variance follows the unbiased one.
    """
    made = functional.batch_norm(
        maps.flatten(0, 1),
        own["mean"],
        own["variance"],
        own["scale"],
        own["shift"],
        training=True,
        momentum=MOMENTUM,
        eps=EPSILON,
    )
    return made.reshape(maps.shape)


def _conv(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    made = functional.conv2d(
        maps.flatten(0, 1),
        own["weight"],
        own["bias"],
        padding=attributes["kernel"] // 2,
        groups=attributes["groups"],
    )
    return made.reshape(*maps.shape[:2], *made.shape[1:])


def _symmetric_conv(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return _conv({**attributes, "groups": 1}, {**own, "weight": all_turned(own["weight"])}, maps)


def _adder(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    sums = sums_of_differences(maps.flatten(0, 1), own["weight"])
    made = own["bias"][:, None, None] - own["scale"][:, None, None] * sums
    return made.reshape(*maps.shape[:2], *made.shape[1:])


def _batch_norm(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    factor = own["scale"] / torch.sqrt(own["variance"] + EPSILON)
    shift = own["shift"] - own["mean"] * factor
    return maps * factor[:, None, None] + shift[:, None, None]


def _add(attributes: Attributes, own: Parameters, *inputs: Tensor) -> Tensor:
    total = inputs[0]
    for one in inputs[1:]:
        total = total + one
    return total


def _concat(attributes: Attributes, own: Parameters, *inputs: Tensor) -> Tensor:
    batch, users, _, rows, columns = (
        max(lengths) for lengths in zip(*(one.shape for one in inputs), strict=True)
    )
    return torch.cat([one.expand(batch, users, -1, rows, columns) for one in inputs], 2)


def _other_surface(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return maps.roll(both_surfaces(len(maps)), 0)


@cache
def _within(hops: int) -> list[Step]:
    """Steps to what lies within so many steps along rows and columns."""
    reach = range(-hops, hops + 1)
    return [(row, column) for row in reach for column in reach if abs(row) + abs(column) <= hops]


_AROUND = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
"""Steps to the up to 8 neighbours of an element."""


def _outside(maps: Tensor, steps: list[Step]) -> Tensor:
    """Which neighbours lie outside the surface, shape (steps, rows, columns)."""
    rows, columns = (torch.arange(size, device=maps.device) for size in maps.shape[3:])
    inside = [
        ((rows + row >= 0) & (rows + row < len(rows)))[:, None]
        & (columns + column >= 0)
        & (columns + column < len(columns))
        for row, column in steps
    ]
    return ~torch.stack(inside)


def _neighbour_max(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    steps = _within(attributes["hops"])
    missing = torch.where(_outside(maps, steps), -math.inf, 0.0)
    return ranked_neighbours(maps, steps, [len(steps) - 1], missing)[0]


def _neighbour_median(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    steps = _within(attributes["hops"])
    outside = _outside(maps, steps)
    # Missing ones count, in turn, as smaller and as larger than all others: so the lower median of those that
    # exist is in the middle.
    smaller = outside.cumsum(0) % 2 == 1
    missing = torch.where(outside, torch.where(smaller, -math.inf, math.inf), 0.0)
    return ranked_neighbours(maps, steps, [len(steps) // 2], missing)[0]


def _top_k(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    missing = torch.where(_outside(maps, _AROUND), -math.inf, 0.0)
    falling = [len(_AROUND) - 1 - i for i in range(attributes["k"])]
    largest = ranked_neighbours(maps, _AROUND, falling, missing)
    largest = torch.where(torch.isneginf(largest), 0.0, largest)
    return torch.cat([maps[None], largest]).movedim(0, 3).flatten(2, 3)


def _rank_conv(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    ranked = maps.unflatten(2, (-1, attributes["ranks"])).flatten(0, 1)
    # Along the ranks alone, one after the other; to put them last for `conv1d` would copy everything twice.
    made = functional.conv3d(ranked, own["weight"][..., None, None], own["bias"])
    return made.reshape(*maps.shape[:2], -1, *maps.shape[3:])


def _pixel_shuffle(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return functional.pixel_shuffle(maps, attributes["factor"])


def _repeat(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return maps.repeat_interleave(attributes["factor"], 3).repeat_interleave(attributes["factor"], 4)


def _flatten(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return maps.flatten(2)[..., None, None]


def _unflatten(attributes: Attributes, own: Parameters, maps: Tensor) -> Tensor:
    return maps.reshape(*maps.shape[:2], -1, attributes["rows"], attributes["columns"])


_EXECUTE: dict[str, Callable[..., Tensor]] = {
    "conv": _conv,
    "symmetric_conv": _symmetric_conv,
    "adder": _adder,
    "batch_norm": _batch_norm,
    "relu": lambda a, p, maps: functional.relu(maps),
    "sigmoid": lambda a, p, maps: torch.sigmoid(maps),
    "tanh": lambda a, p, maps: torch.tanh(maps),
    "add": _add,
    "sub": lambda a, p, one, other: one - other,
    "mul": lambda a, p, one, other: one * other,
    "concat": _concat,
    "slice": lambda a, p, maps: maps[:, :, a["start"] : a["stop"]],
    "mean_grid": lambda a, p, maps: maps.mean((3, 4), keepdim=True),
    "mean_users": lambda a, p, maps: maps.mean(1, keepdim=True),
    "sum_users": lambda a, p, maps: maps.sum(1, keepdim=True),
    "max_users": lambda a, p, maps: maps.amax(1, keepdim=True),
    "other_surface": _other_surface,
    "neighbour_max": _neighbour_max,
    "neighbour_median": _neighbour_median,
    "gain": lambda a, p, maps: maps * p["weight"],
    "top_k": _top_k,
    "rank_conv": _rank_conv,
    "pixel_shuffle": _pixel_shuffle,
    "repeat": _repeat,
    "flatten": _flatten,
    "unflatten": _unflatten,
}
