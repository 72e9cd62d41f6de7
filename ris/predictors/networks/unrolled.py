"""Few learned ascent steps on the rate itself, after a convolutional start."""

import torch
from torch import Tensor, nn

from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network
from ris.predictors.networks.cnn import cnn
from ris.predictors.task import Batch, unit

__all__ = ["UNROLLED", "Unrolled"]

UNROLLED = {"unrolled1": 1, "unrolled2": 2, "unrolled3": 3, "unrolled4": 4}
"""Networks by name: numbers of steps."""

STATE = 8
"""Channels that a step hands to the next."""


def step_graph(width: int = 16) -> Graph:
    """Return one step: slopes, the last move and a state in; a move of the phases and the state out."""
    to = GraphBuilder(2 + STATE)
    hidden = to.relu(to.conv(to.input, width))
    hidden = to.relu(to.conv(hidden, width))
    to.conv(hidden, 1 + STATE)
    return to.graph()


class Unrolled(nn.Module):
    """A start by the network `cnn` with gates, then `steps` learned moves of the phases.

    Each move sees the slopes of the sum rate's logarithm by the phases, exact, from the batch's
    `known_rates`, and turns the phasors by

        exp(j (g_t slope + output of a small convolutional network)),

    with a learned rate g_t for each step and one network for all steps. Slopes pass no gradients: the training
    needs no second derivatives.

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
        self.start = Network(cnn(channels, se=True), seed)
        self.step = Network(step_graph(), seed + 1)
        self.rates = nn.Parameter(torch.full((steps,), 0.3))
        with torch.no_grad():
            for name, value in self.step.named_parameters():
                if name.startswith(self.step.graph.nodes[-1].name):
                    value *= 0.1

    def forward(self, maps: Tensor, batch: Batch) -> Tensor:
        """Return phasors, shape (2 B, rows, columns)."""
        start = self.start(maps)
        x: Tensor = unit(torch.complex(start[:, 0, 0], start[:, 0, 1]))
        move = torch.zeros_like(x.real)
        state = move[:, None].expand(-1, STATE, -1, -1)
        for rate in self.rates:
            slopes = _slopes(batch, x)
            given = torch.cat([slopes[:, None], move[:, None], state], 1)
            made = self.step(given[:, None])[:, 0]
            move, state = rate * slopes + made[:, 0], made[:, 1:]
            x = x * torch.polar(torch.ones_like(move), move)
        return x


def _slopes(batch: Batch, x: Tensor) -> Tensor:
    """Return slopes of the log sum rate by the phases, times the number of elements of a surface."""
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        total = batch.known_rates(given).sum(-1).log().sum()
        (gradient,) = torch.autograd.grad(total, given)
    return (given.conj() * gradient).imag.detach() * x.shape[-1] * x.shape[-2]
