"""Residual convolutional network on the element grid, with squeeze-and-excitation if asked for."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["cnn"]


def cnn(channels: int, width: int = 32, blocks: int = 4, se: bool = False, steering: bool = True) -> Graph:
    """Return the network.

    In a block (He, Zhang, Ren and Sun, CVPR 2016) every user's map meets the mean of all users' maps, each
    through a convolution of its own, as in a deep set; so the order of the users does not matter.

    Parameters
    ----------
    channels : int
        Of the input.
    width, blocks : int
        Channels and residual blocks.
    se : bool
        Whether blocks scale their channels by gates from the whole surface (Hu, Shen and Sun, CVPR 2018).
    steering : bool
        Whether the output combines the steering phasors of the input, or comes straight from a convolution.
    """
    to = GraphBuilder(channels)
    state = to.conv(to.input, width)
    for _ in range(blocks):
        state = to.residual(state, _branch(to, state, width, se))
    if steering:
        combine_steering(to, to.relu(state))
    else:
        to.add_node("sum_users", to.conv(to.relu(state), 2))
    return to.graph()


def _branch(to: GraphBuilder, state: str, width: int, se: bool) -> str:
    together = to.conv(to.add_node("mean_users", state), width)
    branch = to.conv(to.relu(to.add_node("add", to.conv(state, width), together)), width)
    return to.squeeze_excite(branch, width, max(8, width // 4)) if se else branch
