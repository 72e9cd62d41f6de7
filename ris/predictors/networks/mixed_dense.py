"""Mixed-dense connection blocks, scale-recurrent: phases of a large surface from a coarse map of it.

A unit makes C_r + g channels of those that it has, by convolutions of 1 x 1, 3 x 3 and 1 x 1; the first C_r
are added to the first of the state, as in a residual network, and the other g appended, as in a dense one.
A block is some units, a 1 x 1 convolution back to C channels, and a sum with what came in. Doubling a map
is one module of blocks; for four times as many rows it is applied twice, with the same weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from channels.errors import InvalidArgumentError
from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network

__all__ = ["ScaleRecurrent", "Sizes", "head_graph", "stem_graph", "up_graph"]


@dataclass(frozen=True)
class Sizes:
    """Of the blocks.

    Parameters
    ----------
    state, reused, growth : int
        Channels C of the state, C_r of them that a unit adds to, and g that it appends.
    units, blocks : int
        Units of a block, and blocks of a module.
    """

    state: int = 32
    reused: int = 16
    growth: int = 8
    units: int = 3
    blocks: int = 2


def stem_graph(channels: int, sizes: Sizes) -> Graph:
    """Return what makes the state from a coarse map; all users' mean is mixed in."""
    to = GraphBuilder(channels)
    state = to.conv(to.input, sizes.state)
    together = to.conv(to.add_node("mean_users", to.relu(state)), sizes.state)
    _blocks(to, to.add_node("add", state, together), sizes)
    return to.graph()


def up_graph(factor: int, sizes: Sizes) -> Graph:
    """Return what makes a map of `factor` times the rows and columns, with the same channels."""
    to = GraphBuilder(sizes.state)
    together = to.conv(to.add_node("mean_users", to.input), sizes.state)
    state = _blocks(to, to.add_node("add", to.input, together), sizes)
    finer = to.add_node("pixel_shuffle", to.conv(state, sizes.state * factor**2), factor=factor)
    to.residual(to.add_node("repeat", to.input, factor=factor), finer)
    return to.graph()


def head_graph(sizes: Sizes) -> Graph:
    """Return what makes cosine and sine from the state."""
    to = GraphBuilder(sizes.state)
    to.add_node("sum_users", to.conv(to.relu(to.conv(to.input, sizes.state)), 2))
    return to.graph()


class ScaleRecurrent(nn.Module):
    """Phases at 1, 2, 3 or 4 times the rows and columns of the map.

    Parameters
    ----------
    channels : int
        Of the maps; of several frames, one after the other, for moving users.
    seed : int
        Of the first weights.
    sizes : Sizes
        Of all blocks.
    """

    def __init__(self, channels: int, seed: int = 0, sizes: Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.stem = Network(stem_graph(channels, sizes), seed)
        self.up2 = Network(up_graph(2, sizes), seed + 1)
        self.up3 = Network(up_graph(3, sizes), seed + 2)
        self.head = Network(head_graph(sizes), seed + 3)

    def forward(self, maps: Tensor, scale: int) -> Tensor:
        """Return cosine and sine, shape (batch, 1, 2, scale rows, scale columns)."""
        modules = {1: [], 2: [self.up2], 3: [self.up3], 4: [self.up2, self.up2]}
        if scale not in modules:
            raise InvalidArgumentError("scale", "1, 2, 3 or 4", repr(scale))
        state = self.stem(maps)
        for module in modules[scale]:
            state = module(state)
        made: Tensor = self.head(state)
        return made


def frames(maps: list[Tensor]) -> Tensor:
    """Return the maps of successive frames as the channels of one input."""
    return torch.cat(maps, 2)


def _blocks(to: GraphBuilder, state: str, sizes: Sizes) -> str:
    for _ in range(sizes.blocks):
        inner, size = state, sizes.state
        for _ in range(sizes.units):
            made = to.conv(to.relu(inner), sizes.state, 1)
            made = to.conv(to.relu(to.conv(to.relu(made), sizes.state)), sizes.reused + sizes.growth, 1)
            reused = to.residual(
                to.add_node("slice", inner, start=0, stop=sizes.reused),
                to.add_node("slice", made, start=0, stop=sizes.reused),
            )
            kept = to.add_node("slice", inner, start=sizes.reused, stop=size)
            appended = to.add_node("slice", made, start=sizes.reused, stop=sizes.reused + sizes.growth)
            inner, size = to.add_node("concat", reused, kept, appended), size + sizes.growth
        state = to.residual(state, to.conv(inner, sizes.state, 1))
    return state
