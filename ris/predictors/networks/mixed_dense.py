"""Mixed-dense connection blocks, scale-recurrent: phases of a large surface from a coarse map of its users.

A unit makes C_r + g channels of those that it has, by convolutions of 1 x 1, 3 x 3 and 1 x 1; the first C_r
are added to the first of the state, as in a residual network, and the other g appended, as in a dense one.
A block is some units, a 1 x 1 convolution back to C channels, and a sum with what came in. Doubling a map
is one module of blocks; for four times as many rows it is applied twice, with the same weights.

What comes out are two fields P and Q on the fine grid, sums over the users, and the phases are those of
P a + Q b. The steering a and b of the single and the double reflection comes from the hops between arrays,
which are known at every element: it need not be guessed from a coarse map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.errors import InvalidArgumentError
from ris.predictors.coarse import CoarseBatch
from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network
from ris.predictors.networks.composed import Composed
from ris.predictors.task import unit

__all__ = ["ScaleRecurrent", "Sizes", "head_graph", "stem_graph", "up_graph"]


@dataclass(frozen=True)
class Sizes:
    """Of the blocks.

    Parameters
    ----------
    state, reused, growth : int
        Channels C of the state, C_r of them that a unit adds to, and g that it appends. A unit with C_r = C
        and g = 0 is one of a residual network, one with C_r = 0 one of a dense network.
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
    """Return what makes real and imaginary parts of P and Q from the state."""
    to = GraphBuilder(sizes.state)
    to.add_node("sum_users", to.conv(to.relu(to.conv(to.input, sizes.state)), 4))
    return to.graph()


class ScaleRecurrent(Composed):
    """Phases at once or several times the rows and columns of the map.

    Parameters
    ----------
    channels : int
        Of the maps.
    seed : int
        Of the first weights.
    sizes : Sizes
        Of all blocks.
    factors : sequence of int
        By which single modules refine a map. Four is made of two and two if it is not among them.
    """

    def __init__(
        self, channels: int, seed: int = 0, sizes: Sizes | None = None, factors: Sequence[int] = (2, 3)
    ) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.stem = Network(stem_graph(channels, sizes), seed)
        self.head = Network(head_graph(sizes), seed + 1)
        self._steps = {1: [], **{factor: [f"up{factor}"] for factor in factors}}
        if 2 in factors:
            self._steps.setdefault(4, ["up2", "up2"])
        for factor in factors:
            self.add_module(f"up{factor}", Network(up_graph(factor, sizes), seed + factor))

    def forward(self, maps: Tensor, batch: CoarseBatch) -> Tensor:
        """Return phasors, shape (2 B, rows, columns) of the full surfaces."""
        P, Q = self.fields(maps, batch.scale)
        a, b = _complex_pair(batch.full.steering)
        x: Tensor = unit(P * a + Q * b)
        return x

    def fields(self, maps: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Return P and Q, shape (2 B, scale rows, scale columns)."""
        if scale not in self._steps:
            raise InvalidArgumentError("scale", f"one of {sorted(self._steps)}", repr(scale))
        state = self.stem(maps)
        for name in self._steps[scale]:
            state = getattr(self, name)(state)
        return _complex_pair(self.head(state))


def _complex_pair(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Two fields from their real and imaginary parts, shape (2 B, 1, 4, rows, columns)."""
    return torch.complex(parts[:, 0, 0], parts[:, 0, 1]), torch.complex(parts[:, 0, 2], parts[:, 0, 3])


def _blocks(to: GraphBuilder, state: str, sizes: Sizes) -> str:
    for _ in range(sizes.blocks):
        inner, size = state, sizes.state
        for _ in range(sizes.units):
            inner, size = _unit(to, inner, size, sizes)
        state = to.residual(state, to.conv(inner, sizes.state, 1))
    return state


def _unit(to: GraphBuilder, inner: str, size: int, sizes: Sizes) -> tuple[str, int]:
    """Return the state behind a unit, and its channels."""
    reused, made_channels = sizes.reused, sizes.reused + sizes.growth
    made = to.conv(to.relu(inner), sizes.state, 1)
    made = to.conv(to.relu(to.conv(to.relu(made), sizes.state)), made_channels, 1)

    def part(of: str, start: int, stop: int) -> str:
        return to.add_node("slice", of, start=start, stop=stop)

    parts = []
    if reused:
        parts.append(to.residual(part(inner, 0, reused), part(made, 0, reused)))
    if size > reused:
        parts.append(part(inner, reused, size))
    if sizes.growth:
        parts.append(part(made, reused, made_channels))
    return to.add_node("concat", *parts) if len(parts) > 1 else parts[0], size + sizes.growth
