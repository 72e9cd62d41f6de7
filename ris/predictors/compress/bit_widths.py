"""A generator of bit-widths layer by layer, trained by policy gradient.

As in sharpness-aware quantization (Liu, Cai and Zhuang, arXiv 2111.12273) a recurrent network (LSTM) reads
the bits of one layer and tells the probabilities of those of the next. A draw b costs C(b), such as the loss
with these bits. REINFORCE (Williams, Machine Learning 8, 1992) goes down

    E[A log p(b)] - h H,   A = (C(b) - m) / d,

with the entropies H of the layers' choices, weighted h. No gradient passes through C. Three things are ours.
The mean m and the deviation d of earlier costs make the variance less, and steps independent of the unit of
the cost. A learned vector for each layer tells it from the others; without, one bit-width for all is learned
before any difference, and often the last thing. And where the authors add the square of what is missing from
a budget of bit operations or exceeds it, which leaves the optimum beyond, here only what exceeds it costs, in
proportion: from a certain price on the optimum is within.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from channels.checks import non_negative, positive
from channels.errors import InvalidArgumentError

__all__ = ["BitWidthGenerator", "Budget", "Draw", "PolicyGradient"]

HIDDEN, FIRST = 64, 0.1
"""Units of the recurrent network, and the largest first weight."""

DECAY = 0.9
"""What mean and deviation of the costs keep at one more."""

MOMENTS = (0.5, 0.999)
"""Decay rates of Adam, the authors'."""


@dataclass(frozen=True)
class Budget:
    """Bit operations that layers may take: products times the square of the bits of weights and inputs.

    Parameters
    ----------
    products : mapping of str to int
        Of each layer.
    bits : float
        As many operations as with so many bits in all of them.
    """

    products: Mapping[str, int]
    bits: float

    def share(self, bits: Mapping[str, int]) -> float:
        """Return what share of the budget bits by layer take."""
        taken = sum(count * bits[name] ** 2 for name, count in self.products.items())
        return taken / (self.bits**2 * sum(self.products.values()))


class Draw(NamedTuple):
    """Bits of all layers.

    Attributes
    ----------
    bits : tuple of int
        By layer.
    log_probability, entropy : Tensor, shape ()
        Of the draw, and of its layers' choices, summed.
    """

    bits: tuple[int, ...]
    log_probability: Tensor
    entropy: Tensor


class BitWidthGenerator(nn.Module):
    """A distribution over the bits of all layers.

    Parameters
    ----------
    layers : int
        How many.
    choices : sequence of int
        Bits that a layer can have.
    seed : int
        Decides the first weights.
    """

    def __init__(self, layers: int, choices: Sequence[int] = (2, 3, 4, 5), seed: int = 0) -> None:
        super().__init__()
        if layers < 1 or len(set(choices)) != len(choices) or not choices:
            raise InvalidArgumentError(
                "choices", "different ones, for a layer or more", f"{choices}, {layers}"
            )
        self.layers, self.choices = layers, tuple(choices)
        # The one row more is what the first layer reads.
        self.embedding = nn.Embedding(len(choices) + 1, HIDDEN)
        self.layer = nn.Parameter(torch.empty(layers, HIDDEN))
        self.cell = nn.LSTMCell(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, len(choices))
        generator = torch.Generator().manual_seed(seed)
        for value in self.parameters():
            bound = 1.0 if value is self.layer else FIRST
            nn.init.uniform_(value, -bound, bound, generator=generator)

    def draw(self, numbers: NDArray[np.float64]) -> Draw:
        """Return the draw that uniform numbers decide, one for each layer, on [0, 1)."""
        state, read, places = None, len(self.choices), []
        log_probability = entropy = torch.zeros(())
        for layer, number in zip(self.layer, numbers, strict=True):
            state = self.cell(self.embedding(torch.tensor([read])) + layer, state)
            logs = torch.log_softmax(self.head(state[0])[0], 0)
            below = np.cumsum(logs.detach().exp().numpy())
            read = min(int(np.searchsorted(below, number, side="right")), len(self.choices) - 1)
            places.append(read)
            log_probability = log_probability + logs[read]
            entropy = entropy - torch.sum(logs.exp() * logs)
        return Draw(tuple(self.choices[place] for place in places), log_probability, entropy)


class PolicyGradient:
    """Trains a generator to draw what costs little.

    Parameters
    ----------
    generator : BitWidthGenerator
        It is changed.
    rate : float
        Learning rate (Adam).
    entropy : float
        h above.
    """

    def __init__(self, generator: BitWidthGenerator, rate: float = 1e-2, entropy: float = 0.2) -> None:
        self._entropy = non_negative("entropy", entropy)
        self._optimiser = torch.optim.Adam(generator.parameters(), positive("rate", rate), betas=MOMENTS)
        self._mean, self._variance = math.nan, 0.0

    def learn(self, draw: Draw, cost: float) -> None:
        """Take a step for a draw and what it cost."""
        advantage = self._advantage(cost)
        self._optimiser.zero_grad()
        torch.autograd.backward(advantage * draw.log_probability - self._entropy * draw.entropy)
        self._optimiser.step()

    def _advantage(self, cost: float) -> float:
        """Cost less the mean of earlier ones, over their deviation; 0 until there is one."""
        if math.isnan(self._mean):
            self._mean = cost
        above = cost - self._mean
        made = above / math.sqrt(self._variance) if self._variance > 0 else 0.0
        self._mean += (1 - DECAY) * above
        self._variance = DECAY * (self._variance + (1 - DECAY) * above**2)
        return made
