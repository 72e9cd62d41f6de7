"""The residual network with squeeze-and-excitation, whose two surfaces tell each other what they see."""

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.networks.cnn import cnn

__all__ = ["paired"]


def paired(channels: int, width: int = 32, blocks: int = 4) -> Graph:
    """Return the network.

    Whom a surface should serve depends on whom the other one serves, and on how their directions lie there.
    So behind the first layer and behind every block, each user's means over both surfaces pass through a
    perceptron that also sees the means over the users, and its result is added at all elements.

    The other nodes are those of `cnn` with se=True under the same names: its weights are a start, as the new
    branches begin as zero.
    """
    to, now, state = GraphBuilder(channels), {"input": "input"}, ""
    for node in cnn(channels, width, blocks, se=True).nodes[1:]:
        inputs = [now[name] for name in node.inputs]
        to.add_node(node.op, *inputs, name=node.name, **node.attributes)
        now[node.name] = node.name
        if (node.op == "conv" and not state) or (node.op == "add" and inputs[0] == state):
            now[node.name] = state = _told(to, node.name, width)
    return to.graph()


def _told(to: GraphBuilder, of: str, width: int) -> str:
    """What a tensor becomes where it is told of the other surface; new nodes are called after it."""

    def layer(given: str, number: int) -> str:
        alone = to.conv(given, width, 1, name=f"{of}_alone{number}")
        together = to.add_node("mean_users", given, name=f"{of}_users{number}")
        together = to.conv(together, width, 1, name=f"{of}_together{number}")
        both = to.add_node("add", alone, together, name=f"{of}_both{number}")
        return to.add_node("relu", both, name=f"{of}_hidden{number}")

    here = to.add_node("mean_grid", of, name=f"{of}_here")
    there = to.add_node("other_surface", here, name=f"{of}_there")
    hidden = layer(layer(to.add_node("concat", here, there, name=f"{of}_surfaces"), 1), 2)
    return to.add_node("add", of, to.conv(hidden, width, 1, name=f"{of}_message"), name=f"{of}_told")
