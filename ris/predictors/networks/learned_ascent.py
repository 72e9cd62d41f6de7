"""Learned moves up the known rate, from steering: a small network for each element, the same at all."""

import torch
from torch import Tensor

from ris.predictors.baselines import best_steering
from ris.predictors.climb import INPUTS, STATE, climb
from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network
from ris.predictors.networks.composed import Composed
from ris.predictors.networks.unrolled import log_slopes
from ris.predictors.task import Batch

__all__ = ["LEARNED_ASCENTS", "LearnedAscent", "move_graph"]

LEARNED_ASCENTS = {"ascent8": 8, "ascent16": 16, "ascent32": 32}
"""Networks by name: numbers of moves."""

WIDTH = 16

ALONG, ON, SMALL = 0.15, 0.7, 0.1
"""Of the first weights: radians for a slope of the usual size, share of the last move, size of the rest."""


def move_graph(width: int = WIDTH) -> Graph:
    """Return a move: a slope and the last move in learned shares, and a correction, all within bounds.

    The shares and the correction are learned functions of what the element is given, behind gates from the
    whole surface (squeeze-and-excitation, Hu, Shen and Sun, CVPR 2018). As the layers are 1 x 1, an element
    meets the others through the gates and through the slopes, to which all elements and users contribute.
    """
    to = GraphBuilder(INPUTS)
    hidden = to.relu(to.conv(to.input, width, 1))
    hidden = to.relu(to.conv(hidden, width, 1))
    hidden = to.squeeze_excite(hidden, width, max(8, width // 4))
    made = to.add_node("tanh", to.conv(hidden, 3 + STATE, 1, name="made"))

    def channels(of: str, start: int, stop: int) -> str:
        return to.add_node("slice", of, start=start, stop=stop)

    slope, last = channels(to.input, 0, 1), channels(to.input, 1, 2)
    shares = to.add_node("mul", channels(made, 0, 2), channels(to.input, 0, 2))
    move = to.add_node(
        "add",
        to.add_node("gain", slope, name="along"),
        to.add_node("gain", last, name="on"),
        channels(shares, 0, 1),
        channels(shares, 1, 2),
        channels(made, 2, 3),
    )
    to.add_node("concat", move, channels(made, 3, 3 + STATE))
    return to.graph()


class LearnedAscent(Composed):
    """Moves of the phases by one network, from the steering that looks best.

    The slopes are exact and pass no gradients themselves: the training needs no second derivatives.

    Parameters
    ----------
    moves : int
        How many; the same weights serve for other numbers.
    seed : int
        Of the first weights.
    rows, columns : int
        Of the surfaces that it is meant for, as for `Network`.
    """

    def __init__(self, moves: int, seed: int = 0, rows: int = 8, columns: int = 8) -> None:
        super().__init__()
        self.moves = moves
        self.step = Network(move_graph(), seed, rows, columns)
        with torch.no_grad():
            self.step.own(self.step.graph["made"])["weight"].mul_(SMALL)
            self.step.own(self.step.graph["along"])["weight"].fill_(ALONG)
            self.step.own(self.step.graph["on"])["weight"].fill_(ON)

    def forward(self, maps: Tensor, batch: Batch) -> Tensor:
        """Return phasors, shape (2 B, rows, columns)."""
        return self.path(batch)[-1]

    def path(self, batch: Batch) -> list[Tensor]:
        """Return the phasors after every move, those of the start first."""
        with torch.no_grad():
            start = best_steering(batch)
        return climb(start, lambda x: log_slopes(batch, x), self.step, self.moves)
