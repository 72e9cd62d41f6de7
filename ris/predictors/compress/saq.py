"""Sharpness-aware quantization: training at the worst weights nearby, with learned clips, and bits by layer.

After Liu, Cai and Zhuang, "Sharpness-aware quantization for deep neural networks" (arXiv 2111.12273), on a
finite set of systems: where every step draws new ones there is nothing to generalise from, and flat minima
gain nothing. `learned_clip` is the quantizer, `sharpness` the step, `bit_widths` the generator. A network in
floats is the teacher (`distillation`); that is ours.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from channels.checks import integer, positive
from channels.draws import uniform
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.predictors.compress.bit_widths import BitWidthGenerator, Budget, Draw, PolicyGradient
from ris.predictors.compress.distillation import ALPHA, taught_loss
from ris.predictors.compress.learned_clip import ClippedNetwork
from ris.predictors.compress.sharpness import sharpness_aware, shift_uphill
from ris.predictors.finite import FiniteTask
from ris.predictors.module import Network
from ris.predictors.optimiser import Optimiser
from ris.predictors.publish import training_maps
from ris.predictors.task import Batch, Task
from ris.predictors.train import Recipe, loss_of, on_device, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["CHOICES", "RADIUS", "FiniteRecipe", "clipped", "generated_bits", "saq"]

CALIBRATION = 4
"""Batches of the training from which ranges are read."""

RATE = 2e-3
"""Highest learning rate."""

RADIUS = 0.001
"""How far the worst weights may be. Fifty times as far, one loss at 4 bits was nine times as high."""

CHOICES = (2, 3, 4, 5)
"""Bits that the generator chooses from."""

WARM_UP = 0.2
"""Share of the search in which bits are drawn evenly, and the generator waits."""

PRICE = 1.0
"""Of the whole budget once more, in the unit of the loss: a logarithm of a rate."""

CANDIDATES, TRIES = 16, 1024
"""Draws within the budget that are compared in the end, and most draws for them."""


@dataclass(frozen=True)
class FiniteRecipe(Recipe):
    """Training on a finite set.

    Parameters
    ----------
    systems : int
        The first ones of the training: the whole batches among so many.
    """

    systems: int = 1024

    def make_task(self) -> Task:
        """Return the family of systems."""
        batches = integer("systems", self.systems, minimum=self.batch) // self.batch
        return FiniteTask(super().make_task(), batches)

    @classmethod
    def after(cls, recipe: Recipe, systems: int, steps: int, rate: float) -> "FiniteRecipe":
        """Return a training that follows another one, of the same network for the same task."""
        told = dataclasses.asdict(recipe) | {"systems": systems, "steps": steps, "rate": rate}
        return cls(**told)


def saq(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    *,
    systems: int = 1024,
    steps: int = 1000,
    rate: float = RATE,
    radius: float = RADIUS,
    teacher: Network | None = None,
    alpha: float = ALPHA,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> ClippedNetwork:
    """Quantize a network, and train it further.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it.
    bits : int or mapping of str to int
        Of weights and inputs of the convolutions that have learned clips (`ClippedNetwork`); all others have
        8, and if bits are given by node, those that are not named.
    systems, steps, rate
        Of the further training: number of systems, optimiser steps, and highest learning rate.
    radius : float
        How far the worst weights may be; 0 for training with the rounding alone.
    teacher : Network, optional
        In floats, whose phases are followed: the network itself, if nothing else is said.
    alpha : float
        Weight of the teacher's phases in the loss; 0 for training without a teacher.
    checkpoint, progress
        As for `ris.predictors.train.optimise`.

    Returns
    -------
    ClippedNetwork
        Ready for export.
    """
    quantized = clipped(network, recipe, bits)
    tuning = FiniteRecipe.after(recipe, systems, steps, rate)
    optimise(
        quantized,
        tuning,
        loss=taught_loss(quantized, teacher or network, tuning, alpha),
        gradients=sharpness_aware(quantized, radius),
        checkpoint=checkpoint,
        progress=progress,
    )
    return quantized.cpu().eval()


def clipped(
    network: Network, recipe: Recipe, bits: int | Mapping[str, int], widths: Sequence[int] = ()
) -> ClippedNetwork:
    """Return a network with learned clips as they begin: see `ClippedNetwork.calibrate`."""
    made = ClippedNetwork(network.cpu(), bits, widths).eval()
    made.calibrate(map(torch.from_numpy, training_maps(recipe, CALIBRATION)))
    return made


def generated_bits(
    network: Network,
    recipe: Recipe,
    mean: float = 3.0,
    *,
    choices: Sequence[int] = CHOICES,
    systems: int = 1024,
    steps: int = 1000,
    rate: float = RATE,
    radius: float = RADIUS,
) -> dict[str, int]:
    """Choose the bits of each convolution that has learned clips (`ClippedNetwork`), within a budget.

    The network trains on one half of the systems with bits that the generator draws, and the generator on the
    other one, where draws cost the loss at the worst weights nearby. Of draws within the budget the one that
    costs least is returned; `saq` begins from the network of floats again.

    Parameters
    ----------
    network, recipe
        As for `saq`.
    mean : float
        The budget of bit operations: as many as with so many bits everywhere.
    choices : sequence of int
        Bits that a convolution can have.
    systems, steps, rate, radius
        As for `saq`; a step trains the network, and the generator too.

    Returns
    -------
    dict of str to int
        Bits by convolution.
    """
    batches = integer("systems", systems, minimum=2 * recipe.batch) // (2 * recipe.batch)
    search = _Search(
        clipped(network, recipe, choices[0], choices), recipe, positive("mean", mean), choices, radius
    )
    task = recipe.make_task()
    train, held_out = FiniteTask(task, batches), FiniteTask(task, batches, first=batches)
    optimiser = Optimiser([search.network], rate)
    for step in range(integer("steps", steps, minimum=1)):
        warming = step < WARM_UP * steps
        batch, other = (
            on_device(one.training_batch(step, recipe.batch, recipe.seed), "cpu") for one in (train, held_out)
        )
        search.train_network(optimiser, search.even_draw() if warming else search.draw(), batch)
        if not warming:
            search.train_generator(other)
    kept = [on_device(held_out.training_batch(i, recipe.batch, recipe.seed), "cpu") for i in range(batches)]
    return search.cheapest(kept)


class _Search:
    """A switchable network, and the generator of its bits."""

    def __init__(
        self, network: ClippedNetwork, recipe: Recipe, mean: float, choices: Sequence[int], radius: float
    ) -> None:
        self.network, self._radius = network, radius
        self._gradients = sharpness_aware(network, radius)
        users = recipe.make_task().users
        products = network.graph.products(users, network.network.rows, network.network.columns)
        self._budget = Budget({name: products[name] for name in network.between}, mean)
        if self._budget.share(dict.fromkeys(network.between, min(choices))) > 1:
            raise InvalidArgumentError("mean", f"at least {min(choices)} bits", repr(mean))
        self._generator = BitWidthGenerator(len(network.between), choices, recipe.seed)
        self._policy = PolicyGradient(self._generator)
        self._stream, self._draws = Stream(recipe.seed, "compress", "bit-widths"), 0

    def even_draw(self) -> dict[str, int]:
        """Bits of which all are equally probable."""
        choices = self._generator.choices
        return self._named([choices[int(number * len(choices))] for number in self._numbers()])

    def draw(self) -> dict[str, int]:
        """Bits that the generator draws."""
        return self._named(self._drawn().bits)

    def train_network(self, optimiser: Optimiser, bits: Mapping[str, int], batch: Batch) -> None:
        """Take a step of the network with some bits."""
        self.network.choose(bits)
        optimiser.zero_grad()
        self._gradients(lambda: loss_of(self.network, batch))
        optimiser.step()

    def train_generator(self, batch: Batch) -> None:
        """Take a step of the generator."""
        draw = self._drawn()
        bits = self._named(draw.bits)
        self._policy.learn(draw, self._loss(bits, batch) + PRICE * max(self._budget.share(bits) - 1, 0.0))

    def cheapest(self, batches: Sequence[Batch]) -> dict[str, int]:
        """Return the best of draws within the budget."""
        found: dict[tuple[int, ...], dict[str, int]] = {}
        for _ in range(TRIES):
            bits = self.draw()
            if self._budget.share(bits) <= 1:
                found[tuple(bits.values())] = bits
            if len(found) == CANDIDATES:
                break
        if not found:
            raise InvalidArgumentError("steps", "enough to learn the budget", "no draw within it")
        return min(found.values(), key=lambda bits: sum(self._loss(bits, batch) for batch in batches))

    def _loss(self, bits: Mapping[str, int], batch: Batch) -> float:
        """Loss at the worst weights nearby."""
        self.network.choose(bits)
        shift_uphill(self.network, self._radius, lambda: loss_of(self.network, batch))
        with torch.no_grad():
            made = float(loss_of(self.network, batch))
        self.network.shifts = {}
        return made

    def _named(self, bits: Sequence[int]) -> dict[str, int]:
        return dict(zip(self.network.between, bits, strict=True))

    def _drawn(self) -> Draw:
        return self._generator.draw(self._numbers())

    def _numbers(self) -> NDArray[np.float64]:
        self._draws += 1
        return np.asarray(uniform(self._stream, self._generator.layers, 1, self._draws)[0])
