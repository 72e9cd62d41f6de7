"""Few learned ascent steps on the rate itself, after a convolutional start."""

import torch
from torch import Tensor

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network
from ris.predictors.networks.cnn import cnn
from ris.predictors.networks.composed import Composed
from ris.predictors.task import Batch, unit

__all__ = ["UNROLLED", "Unrolled", "as_phasors", "log_slopes", "step_graph"]

UNROLLED = {"unrolled1": 1, "unrolled2": 2, "unrolled3": 3, "unrolled4": 4}
"""Networks by name: numbers of steps."""

STATE = 8
"""Channels that a step hands to the next."""

SCALE, SMALL = 0.3, 0.1
"""Radians for a slope of one at the first weights, and how much of a correction these make."""


def step_graph(width: int = 16) -> Graph:
    """Return one step: slope, last move and state of every element in; move and state out.

    The move is the slope times a learned number, plus a correction by three convolutions.
    """
    to = GraphBuilder(2 + STATE)
    hidden = to.relu(to.conv(to.input, width))
    hidden = to.relu(to.conv(hidden, width))
    made = to.conv(hidden, 1 + STATE, name="made")
    slope = to.add_node("gain", to.add_node("slice", to.input, start=0, stop=1))
    move = to.add_node("add", slope, to.add_node("slice", made, start=0, stop=1))
    to.add_node("concat", move, to.add_node("slice", made, start=1, stop=1 + STATE))
    return to.graph()


class Unrolled(Composed):
    """A start by the network `cnn` with gates, then learned moves of the phases, all by one step network.

    A move sees the slopes of the logarithm of the sum rate by the phases, exact, from the batch's
    `known_rates`. They pass no gradients themselves: the training needs no second derivatives.

    Parameters
    ----------
    steps : int
        Learned moves.
    channels : int
        Of the maps.
    seed : int
        Of the first weights.
    """

    def __init__(self, steps: int, channels: int, seed: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.start = Network(cnn(channels, se=True), seed)
        self.step = Network(step_graph(), seed + 1)
        with torch.no_grad():
            self.step.own(self.step.graph["made"])["weight"].mul_(SMALL)

    def forward(self, maps: Tensor, batch: Batch) -> Tensor:
        """Return phasors, shape (2 B, rows, columns)."""
        x = as_phasors(self.start(maps))
        made = torch.zeros(len(x), 1, 1 + STATE, *x.shape[-2:], device=x.device)
        for _ in range(self.steps):
            slopes = SCALE * x.shape[-1] * x.shape[-2] * log_slopes(batch, x)
            made = self.step(torch.cat([slopes[:, None, None], made], 2))
            move = made[:, 0, 0]
            x = x * torch.polar(torch.ones_like(move), move)
        return x


def as_phasors(output: Tensor) -> Tensor:
    """Return unit phasors from (cosine, sine), axes (batch, 1, 2, row, column)."""
    phasor: Tensor = unit(torch.complex(output[:, 0, 0], output[:, 0, 1]))
    return phasor


def log_slopes(batch: Batch, x: Tensor) -> Tensor:
    """Return slopes of the logarithm of the known sum rate by the phases, constants to any gradient."""
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        total = batch.known_rates(given).sum(-1).log().sum()
        (gradient,) = torch.autograd.grad(total, given)
    # A phase moves x by j x, and torch's gradient is that by the real part plus j that by the imaginary part.
    return (given.conj() * gradient).imag.detach()
