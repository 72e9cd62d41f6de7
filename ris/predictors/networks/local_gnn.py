"""Graph network with nodes for elements, users and surfaces, and activations over neighbourhoods."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["local_gnn"]


def local_gnn(
    channels: int, activation: str = "median", width: int = 32, layers: int = 3, hops: int = 1
) -> Graph:
    """Return the network.

    An element, for each user, is joined to its eight neighbours with weights for each direction, to the node
    of the user at that surface (the mean of its elements), to the same element for the other users, and to
    the surface (the mean of them all). Before the rectifier stands, if asked for, the local activation

        x + sum over h = 1 .. hops of w_h op(x over the elements within h steps),

    with op the median or the maximum (Ruiz, Gama, Marques and Ribeiro, "Invariance-preserving localized
    activation functions for graph neural networks", IEEE TSP 68, 2020; there it takes the rectifier's place).
    All w begin as zeros. The first layer sees single elements, so that a local activation comes before the
    first filter, which would spread values that are far off over all neighbours.

    Parameters
    ----------
    channels : int
        Of the input.
    activation : {"median", "max", "relu"}
        What follows a layer: a local activation and a rectifier, or the rectifier alone.
    width, layers, hops : int
        Channels, layers, and reach of the local activation.
    """
    to = GraphBuilder(channels)
    state = _activated(to, to.conv(to.input, width, 1), activation, hops)
    for _ in range(layers):
        user, shared = to.add_node("mean_grid", state), to.add_node("mean_users", state)
        surface = to.add_node("mean_users", user)
        joined = to.add_node(
            "add",
            to.conv(state, width),
            to.conv(user, width, 1),
            to.conv(shared, width, 1),
            to.conv(surface, width, 1),
        )
        state = to.residual(state, to.conv(_activated(to, joined, activation, hops), width, 1))
    combine_steering(to, _activated(to, state, activation, hops), kernel=1)
    return to.graph()


def _activated(to: GraphBuilder, of: str, activation: str, hops: int) -> str:
    state = of
    if activation != "relu":
        for reach in range(1, hops + 1):
            near = to.add_node(f"neighbour_{activation}", of, hops=reach)
            state = to.residual(state, to.add_node("gain", near))
    return to.relu(state)
