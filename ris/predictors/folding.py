"""Rewriting of a graph before it is quantized: normalisations into convolutions, rectifiers into clipping.

Convolutions that share their kernels among channels become plain ones, and a sum may be there once for
each use.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from channels.errors import InvalidArgumentError
from ris.predictors.float_operations import EPSILON
from ris.predictors.graph import Graph, Node
from ris.predictors.model import CONVOLUTIONS, OWN_SCALE, WEIGHTED, Array
from ris.predictors.symmetries import all_turned

__all__ = ["between", "fold_batch_norms", "fuse_rectifiers", "part_sums", "real_tail", "weight_bits"]

SUMS = ("add", "sub")
"""Operations that add to what they are given."""


def fold_batch_norms(graph: Graph, arrays: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:
    """Return an equal graph without batch normalisations and without shared kernels, and its parameters.

    With f = scale / sqrt(variance + EPSILON), a normalisation of a convolution that feeds nothing else makes
    its weights f w and its bias f (bias - mean) + shift; an adder's scales take up f likewise. Any other
    becomes a convolution of single channels.

    Parameters
    ----------
    graph : Graph
        As trained.
    arrays : mapping of str to array
        Its parameters by "node/parameter".
    """
    graph, made = _spread(graph, arrays)
    for name in [node.name for node in graph.nodes if node.op == "batch_norm"]:
        node = graph[name]
        scale, shift, mean, variance = (
            made.pop(f"{name}/{one}").astype(np.float64) for one in ("scale", "shift", "mean", "variance")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        source = graph[node.inputs[0]]
        linear = "scale" if source.op == "adder" else "weight"
        if source.op in ("conv", "adder") and _consumers(graph, source) == [node.name]:
            weight, bias = made[f"{source.name}/{linear}"], made[f"{source.name}/bias"]
            graph = _absorbed(graph, source, node)
        else:
            channels = len(factor)
            attributes = {"channels": channels, "kernel": 1, "groups": channels}
            source, linear = Node(name, "conv", node.inputs, attributes), "weight"
            weight, bias = np.ones((channels, 1, 1, 1)), np.zeros(channels)
            graph = Graph(tuple(source if one.name == name else one for one in graph.nodes))
        made[f"{source.name}/{linear}"] = (weight.T * factor).T.astype(np.float32)
        made[f"{source.name}/bias"] = (factor * (bias - mean) + shift).astype(np.float32)
    return graph, made


def fuse_rectifiers(graph: Graph) -> tuple[Graph, frozenset[str]]:
    """Return the graph without rectifiers whose input has codes of its own and feeds nothing else.

    Returns
    -------
    graph : Graph
        Without these rectifiers.
    rectified : frozenset of str
        Nodes whose results have to be clipped at zero: the ranges of their codes begin there.
    """
    rectified = set()
    real = real_tail(graph)
    for name in [node.name for node in graph.nodes if node.op == "relu"]:
        node = graph[name]
        source = graph[node.inputs[0]]
        coded = source.op in OWN_SCALE[1:] and source.name not in real
        if coded and _consumers(graph, source) == [name]:
            graph = _absorbed(graph, source, node)
            rectified.add(source.name)
    return graph, frozenset(rectified)


def part_sums(graph: Graph) -> Graph:
    """Return an equal graph where a sum that others add to, and that goes elsewhere too, is there twice.

    So the state of a residual network has one range for the convolutions of the next block, and another for
    the sum behind that.
    """
    nodes: list[Node] = []
    again: dict[str, str] = {}
    for node in graph.nodes:
        if node.op not in SUMS:
            nodes.append(node)
            continue
        node = replace(node, inputs=tuple(again.get(name, name) for name in node.inputs))
        nodes.append(node)
        added = [graph[name].op in SUMS for name in _consumers(graph, node)]
        if any(added) and not all(added):
            again[node.name] = f"{node.name}_again"
            nodes.append(replace(node, name=again[node.name]))
    return Graph(tuple(nodes))


def weight_bits(graph: Graph, interior: int, ends: int = 8) -> dict[str, int]:
    """Return bits of every convolution's weights: `ends` if no weights are before or none behind it."""
    before = _weights_before(graph)
    followed = set().union(*before.values())
    return {
        name: interior if those and name in followed else ends
        for name, those in before.items()
        if graph[name].op in CONVOLUTIONS
    }


def between(graph: Graph) -> list[str]:
    """Return the convolutions with weights before and behind them.

    Raises
    ------
    InvalidArgumentError
        If there are none.
    """
    found = [name for name, bits in weight_bits(graph, 0, 1).items() if bits == 0]
    if not found:
        raise InvalidArgumentError("network", "convolutions between the first and the last", "none")
    return found


def real_tail(graph: Graph) -> frozenset[str]:
    """Return the nodes whose results stay real: weighted, with none such behind, and all that needs these.

    None if there is a "gain" among them, which needs codes.
    """
    before = _weights_before(graph)
    tail = set(before) - set().union(*before.values())
    for node in graph.nodes:
        if tail & set(node.inputs):
            tail.add(node.name)
    return frozenset() if any(graph[name].op == "gain" for name in tail) else frozenset(tail)


def _spread(graph: Graph, arrays: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:
    """Plain convolutions in place of symmetric ones."""
    made, nodes = dict(arrays), []
    for node in graph.nodes:
        if node.op == "symmetric_conv":
            made[f"{node.name}/weight"] = all_turned(made[f"{node.name}/weight"])
            node = replace(node, op="conv", attributes={**node.attributes, "groups": 1})
        nodes.append(node)
    return Graph(tuple(nodes)), made


def _weights_before(graph: Graph) -> dict[str, set[str]]:
    """Convolutions and adders on which each of them depends."""
    needed: dict[str, set[str]] = {}
    for node in graph.nodes:
        needed[node.name] = set().union(*(needed[name] for name in node.inputs))
        needed[node.name] |= {name for name in node.inputs if graph[name].op in WEIGHTED}
    return {node.name: needed[node.name] for node in graph.nodes if node.op in WEIGHTED}


def _consumers(graph: Graph, source: Node) -> list[str]:
    return [node.name for node in graph.nodes if source.name in node.inputs]


def _absorbed(graph: Graph, source: Node, follower: Node) -> Graph:
    """The source in place of its one follower."""
    nodes = []
    for node in graph.nodes:
        inputs = tuple(source.name if name == follower.name else name for name in node.inputs)
        if node is follower:
            nodes.append(source)
        elif node is not source:
            nodes.append(replace(node, inputs=inputs))
    return Graph(tuple(nodes))
