"""Residual network whose kernels are turned and flipped copies of a few, on the element grid."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.cnn import cnn

__all__ = ["symmetric_cnn"]


def symmetric_cnn(channels: int, width: int = 32, blocks: int = 4) -> Graph:
    """Return the network.

    That of `cnn` with gates; of the convolutions over neighbours, all but the first and the last one share a
    kernel among 8 output channels, which see it in the symmetries of a square (transferred filters, after
    Cohen and Welling, "Group equivariant convolutional networks", ICML 2016; each channel has a bias of its
    own, and the kernels of the next convolution take the channels as they come, so that the network is not
    equivariant): an eighth of the weights, and as many products.

    Parameters
    ----------
    channels : int
        Of the input.
    width, blocks : int
        Channels, divisible by 8, and residual blocks.
    """
    to = GraphBuilder(channels)
    whole = cnn(channels, width, blocks, se=True).nodes[1:]
    wide = [node.name for node in whole if node.attributes.get("kernel", 1) > 1]
    for node in whole:
        op, attributes = node.op, dict(node.attributes)
        if node.name in wide[1:-1]:
            op = "symmetric_conv"
            del attributes["groups"]
        to.add_node(op, *node.inputs, name=node.name, **attributes)
    return to.graph()
