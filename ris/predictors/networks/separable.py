"""Residual network of depthwise-separable convolutions with normalisations, on the element grid."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["separable"]


def separable(channels: int, width: int = 32, blocks: int = 4) -> Graph:
    """Return the network.

    That of `cnn`, with each convolution over neighbours split into one over neighbours for every channel
    alone and one over channels for every element alone, a normalisation behind either and a rectifier between
    them (Howard et al., "MobileNets", 2017): about a sixth of the products.

    Parameters
    ----------
    channels : int
        Of the input.
    width, blocks : int
        Channels and residual blocks.
    """
    to = GraphBuilder(channels)
    state = to.conv(to.input, width)
    for _ in range(blocks):
        together = _separated(to, to.add_node("mean_users", state), width)
        inner = to.relu(to.add_node("add", _separated(to, state, width), together))
        state = to.residual(state, _separated(to, inner, width))
    combine_steering(to, to.relu(state))
    return to.graph()


def _separated(to: GraphBuilder, of: str, width: int) -> str:
    near = to.relu(to.add_node("batch_norm", to.conv(of, width, groups=width)))
    return to.add_node("batch_norm", to.conv(near, width, 1))
