"""Residual network of concatenated rectifiers, on the element grid."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.steering import combine_steering

__all__ = ["crelu_cnn"]


def crelu_cnn(channels: int, width: int = 32, blocks: int = 4) -> Graph:
    """Return the network.

    That of `cnn` with gates, with half the filters in every convolution but the last. Trained filters often
    come in pairs of opposite signs, of which a rectifier needs both; one of a pair is enough where what
    follows is given both max(x, 0) and max(-x, 0) (Shang, Sohn, Almeida and Lee, "Understanding and improving
    convolutional neural networks via concatenated rectified linear units", ICML 2016). The convolutions of a
    block have inputs as wide as those of `cnn`, and so half the weights.

    Parameters
    ----------
    channels : int
        Of the input.
    width, blocks : int
        Channels behind a concatenated rectifier, twice the filters, and residual blocks.
    """
    to, filters = GraphBuilder(channels), width // 2
    state = to.conv(to.input, filters)
    for _ in range(blocks):
        both = _both_signs(to, state)
        together = to.conv(to.add_node("mean_users", both), filters)
        inner = _both_signs(to, to.add_node("add", to.conv(both, filters), together))
        branch = to.squeeze_excite(to.conv(inner, filters), filters, max(8, filters // 4))
        state = to.residual(state, branch)
    combine_steering(to, _both_signs(to, state))
    return to.graph()


def _both_signs(to: GraphBuilder, of: str) -> str:
    """max(x, 0) and max(-x, 0) = max(x, 0) - x, one behind the other."""
    positive = to.relu(of)
    return to.add_node("concat", positive, to.add_node("sub", positive, of))
