"""Perceptron on all elements at once, for surfaces of one size."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["mlp"]


def mlp(channels: int, side: int = 8, width: int = 256, layers: int = 2) -> Graph:
    """Return the network.

    Every user's maps pass through the same layers, which also see the mean over the users.

    Parameters
    ----------
    channels : int
        Of the input.
    side : int
        Rows and columns of the surface.
    width, layers : int
        Numbers in a hidden layer, and hidden layers, >= 1.
    """
    to = GraphBuilder(channels)
    state = to.relu(to.conv(to.add_node("flatten", to.input, rows=side, columns=side), width, 1))
    for _ in range(layers - 1):
        together = to.conv(to.add_node("mean_users", state), width, 1)
        state = to.relu(to.add_node("add", to.conv(state, width, 1), together))
    combine_steering(
        to, to.add_node("unflatten", to.conv(state, 4 * side**2, 1), rows=side, columns=side), kernel=1
    )
    return to.graph()
