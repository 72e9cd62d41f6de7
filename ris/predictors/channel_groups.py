"""Nodes whose results have the same channels, so that what happens to a channel of one happens to all."""

from collections.abc import Callable, Collection, Sequence

from ris.predictors.graph import Graph, Node

__all__ = ["channel_groups"]


def channel_groups(
    graph: Graph, tied: Callable[[Node], Sequence[str]], fixed: Collection[str]
) -> dict[str, str]:
    """Return the name of each node's group; nodes that share a group with a fixed one have none.

    Parameters
    ----------
    graph : Graph
        Any.
    tied : callable
        Which inputs of a node have its channels.
    fixed : collection of str
        Nodes whose channels have to stay.
    """
    parent = {node.name: node.name for node in graph.nodes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        for name in tied(node):
            parent[root(name)] = root(node.name)
    stay = {root(name) for name in fixed}
    return {name: root(name) for name in parent if root(name) not in stay}
