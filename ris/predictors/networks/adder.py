"""Residual network of adders with squeeze-and-excitation, on the element grid."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["adder_cnn"]


def adder_cnn(channels: int, width: int = 32, blocks: int = 4) -> Graph:
    """Return the network.

    That of `cnn` with gates, with adders (Chen et al., "AdderNet", CVPR 2020) in place of the convolutions
    over neighbours but for the first and the last one. Sums of many magnitudes are large and alike, so that
    a normalisation follows each.

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
        together = _normalised(to, to.add_node("mean_users", state), width)
        inner = to.relu(to.add_node("add", _normalised(to, state, width), together))
        branch = to.squeeze_excite(_normalised(to, inner, width), width, max(8, width // 4))
        state = to.residual(state, branch)
    combine_steering(to, to.relu(state))
    return to.graph()


def _normalised(to: GraphBuilder, of: str, width: int) -> str:
    return to.add_node("batch_norm", to.adder(of, width))
