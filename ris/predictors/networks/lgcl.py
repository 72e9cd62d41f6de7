"""Learnable graph convolution: ordinary convolutions over the ranked values of a node's neighbours."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["lgcl"]

K = 8
"""Neighbours that count, of up to eight."""


def lgcl(channels: int, width: int = 24, layers: int = 2) -> Graph:
    """Return the network.

    A layer takes, for every channel on its own, an element's value and the K largest of its neighbours, in
    falling order, and convolves twice along the ranks, until one is left (Gao, Wang and Ji, "Large-scale
    learnable graph convolutional networks", KDD 2018). Input and result are joined, as there; here means over
    the users and over the elements come in besides.

    Parameters
    ----------
    channels : int
        Of the input.
    width, layers : int
        Channels that a layer adds, and layers.
    """
    to = GraphBuilder(channels)
    state, size = to.conv(to.input, width, 1), width
    for _ in range(layers):
        joined = to.add_node(
            "add",
            state,
            to.conv(to.add_node("mean_users", state), size, 1),
            to.conv(to.add_node("mean_grid", state), size, 1),
        )
        state = to.add_node("concat", state, _ranked(to, joined, size, width))
        size += width
    combine_steering(to, state, kernel=1)
    return to.graph()


def _ranked(to: GraphBuilder, of: str, size: int, width: int) -> str:
    first, middle = K // 2 + 1, (size + width) // 2
    ranked = to.add_node("top_k", of, k=K)
    narrowed = to.add_node("rank_conv", ranked, channels=middle, kernel=first, ranks=K + 1)
    left = K + 2 - first
    return to.relu(to.add_node("rank_conv", to.relu(narrowed), channels=width, kernel=left, ranks=left))
