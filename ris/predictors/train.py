"""Training on the exact rate: deterministic on a processor, resumable, ended early by validation."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from channels.errors import InvalidArgumentError
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.module import Network
from ris.predictors.networks import NETWORKS, SIZED, builder_of
from ris.predictors.networks.composed import Composed
from ris.predictors.networks.learned_ascent import LEARNED_ASCENTS, LearnedAscent
from ris.predictors.networks.unrolled import UNROLLED, Unrolled, as_phasors
from ris.predictors.optimiser import Optimiser
from ris.predictors.state_file import StateFileError, digest_of, read_state, write_state
from ris.predictors.statistical import StatisticalTask
from ris.predictors.task import Batch, Split, Task, converted
from ris.progress import Progress, tell_nothing

__all__ = [
    "Gradients",
    "Recipe",
    "Trained",
    "backward",
    "build",
    "loss_of",
    "measure",
    "on_codebook",
    "on_device",
    "optimise",
    "phasors",
    "rates_on",
    "sum_rates",
    "task_loss",
    "train",
]

VALIDATION, EVERY, PATIENCE, MARGIN = 256, 100, 15, 1e-4
"""Systems, steps between validations, validations without a rise of the score by MARGIN until the end."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls as a cosine."""

MEASURED = 1000
"""Systems of a split that `measure` averages over."""

CORRUPTED = 0.05
"""Share of the pilots that bursts hit in the task of that name."""

AT_ONCE = 64
"""Systems that an evaluation works through together."""


Predictor = Network | Composed

Gradients = Callable[[Callable[[], Tensor]], None]
"""Given a function that works out the loss: sets the gradients for one step."""


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights.

    Parameters
    ----------
    task : {"statistical", "instantaneous", "instantaneous-corrupted"}
        Family of systems; the last with bursts of interference on `CORRUPTED` of the pilots.
    network : str
        A key of `ris.predictors.networks.NETWORKS`, `UNROLLED` or `LEARNED_ASCENTS`, or an "se" of another
        size, called as `ris.predictors.networks.SIZED` says.
    seed : int
        Of the first weights and of the systems of the training.
    side : int
        Rows and columns of the surfaces.
    steps : int
        Optimiser steps at most.
    batch : int
        Systems a step.
    rate : float
        Highest learning rate of the `Optimiser`.
    bits : int
        Phase resolution of the surfaces that the network is trained for; 0 is continuous.
    """

    task: str = "statistical"
    network: str = "se"
    seed: int = 0
    side: int = 8
    steps: int = 3000
    batch: int = 64
    rate: float = 1.5e-3
    bits: int = 0

    def make_task(self) -> Task:
        """Return the family of systems."""
        if self.task == "statistical":
            return StatisticalTask(side=self.side)
        if self.task == "instantaneous":
            return InstantaneousTask(side=self.side)
        if self.task == "instantaneous-corrupted":
            return InstantaneousTask(side=self.side, corrupted=CORRUPTED)
        known = "'statistical', 'instantaneous' or 'instantaneous-corrupted'"
        raise InvalidArgumentError("task", known, repr(self.task))

    def make_network(self) -> Predictor:
        """Return the network with its first weights.

        Raises
        ------
        InvalidArgumentError
            If there is none of that name, or it is not for the task.
        """
        task = self.make_task()
        if self.network in LEARNED_ASCENTS and isinstance(task, StatisticalTask):
            raise InvalidArgumentError(
                "network", f"one for the statistical task, such as {sorted(UNROLLED)}", repr(self.network)
            )
        return build(self.network, task.channels, self.side, self.seed)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes
    ----------
    network : Network or Composed
        At its best validation.
    history : list of (int, float)
        Step and score, the mean sum rate in bit/s/Hz, of all validations.
    """

    network: Predictor
    history: list[tuple[int, float]]


def build(network: str, channels: int, side: int, seed: int) -> Predictor:
    """Return a network by name with its first weights."""
    if network in UNROLLED:
        return Unrolled(UNROLLED[network], channels, seed)
    if network in LEARNED_ASCENTS:
        return LearnedAscent(LEARNED_ASCENTS[network], seed, side, side)
    builder = builder_of(network)
    if builder is None:
        known = sorted([*NETWORKS, SIZED, *UNROLLED, *LEARNED_ASCENTS])
        raise InvalidArgumentError("network", f"one of {known}", repr(network))
    return Network(builder(channels, side), seed, side, side)


def train(
    recipe: Recipe,
    *,
    start: Mapping[str, Tensor] | None = None,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Trained:
    """Train a network from its first weights, or from those of `start`.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    start : mapping of str to Tensor, optional
        State dictionary to begin with, of a network with the same parameters, as from another size of the
        surfaces, or of what an unrolled or a paired network adds to.
    checkpoint, progress
        As for `optimise`.

    Returns
    -------
    Trained

    Raises
    ------
    InvalidArgumentError
        On a recipe that cannot be, or a checkpoint of another one, or of other first weights.
    StateFileError
        If the checkpoint is not sound.
    """
    network = recipe.make_network()
    if start is not None:
        _begin(network, start)
    return Trained(network, optimise(network, recipe, checkpoint=checkpoint, progress=progress))


def backward(loss: Callable[[], Tensor]) -> None:
    """Set the gradients of a loss by backpropagation."""
    torch.autograd.backward(loss())


def optimise(
    network: nn.Module,
    recipe: Recipe,
    *,
    loss: Callable[[Batch], Tensor] | None = None,
    parts: Sequence[nn.Module] | None = None,
    gradients: Gradients = backward,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> list[tuple[int, float]]:
    """Train a network as it is, to its best validation, and return the history of validations.

    The same network, recipe and number of threads give the same weights to the last bit on a processor.

    Parameters
    ----------
    network : Module
        As `Network`, such as one that simulates integers; it is changed.
    recipe : Recipe
        How to train it.
    loss : callable, optional
        Of a batch of systems, instead of `loss_of` the network.
    parts : sequence of Module, optional
        As for `Optimiser`; the whole network is one by default.
    gradients : callable
        How the gradients of a step follow from the loss: by backpropagation, if nothing else is said.
    checkpoint : Path, optional
        File that keeps the state at every validation, and from which an interrupted training goes on.
    progress : callable
        Told of every validation.
    """
    task, device = recipe.make_task(), "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    optimiser = Optimiser([network] if parts is None else parts, recipe.rate)
    state = _State(recipe, network, optimiser)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    validation = [on_device(batch, device) for batch in _batches(task, "validation", VALIDATION)]
    for step in range(state.step, recipe.steps):
        if state.stale >= PATIENCE:
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * _schedule((step + 1) / recipe.steps)
        batch = on_device(task.training_batch(step, recipe.batch, recipe.seed), device)
        network.train()
        optimiser.zero_grad()
        gradients(partial(loss, batch) if loss else partial(loss_of, network, batch, recipe.bits))
        optimiser.step()
        if (step + 1) % EVERY == 0 or step + 1 == recipe.steps:
            score = float(torch.cat([sum_rates(network, one, recipe.bits) for one in validation]).mean())
            state.note(step + 1, score)
            if checkpoint is not None:
                state.save(checkpoint)
            told = f"step {step + 1}, validation {score:.4f} bit/s/Hz, best {state.best:.4f}"
            progress((step + 1) / recipe.steps, told)
    network.load_state_dict(state.best_weights)
    return state.history


def measure(recipe: Recipe, network: Predictor, count: int = MEASURED) -> dict[str, float]:
    """Return the mean sum rates on the first systems of "test" and "unseen", bit/s/Hz."""
    splits: tuple[Split, ...] = ("test", "unseen")
    return {split: float(rates_on(recipe, network, split, count).mean()) for split in splits}


def rates_on(recipe: Recipe, network: nn.Module, split: Split, count: int = MEASURED) -> NDArray[np.float64]:
    """Return the sum rates on the first systems of a split, shape (count,), bit/s/Hz."""
    device = next(network.parameters()).device.type
    batches = (on_device(batch, device) for batch in _batches(recipe.make_task(), split, count))
    rates = torch.cat([sum_rates(network, batch, recipe.bits) for batch in batches])
    return np.asarray(rates.cpu().numpy(), np.float64)


def on_device(batch: Batch, device: str, dtype: torch.dtype = torch.float32) -> Batch:
    """Return a batch of NumPy arrays as one of torch tensors."""
    complex_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128

    def convert(array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.array(array))
        return tensor.to(device, complex_dtype if tensor.is_complex() else dtype)

    return converted(batch, convert)


def phasors(network: nn.Module, batch: Batch, bits: int = 0) -> Tensor:
    """Return what a network sets, `on_codebook`: phasors of the elements, shape (2 B, rows, columns)."""
    x = network(batch.maps, batch) if isinstance(network, Composed) else as_phasors(network(batch.maps))
    return on_codebook(x, bits)


def on_codebook(x: Tensor, bits: int) -> Tensor:
    """Return phasors, with bits > 0 rounded to the 2^bits phases 2 pi m / 2^bits.

    Gradients pass as if they were not rounded (straight-through, Bengio, Leonard and Courville, 2013).
    """
    if not bits:
        return x
    step = 2 * math.pi / 2**bits
    rounded = torch.polar(torch.ones_like(x.real), torch.round(x.angle().detach() / step) * step)
    return x + (rounded - x).detach()


def sum_rates(network: nn.Module, batch: Batch, bits: int = 0) -> Tensor:
    """Return the sum rates of a network on systems, shape (B,), bit/s/Hz."""
    network.eval()
    with torch.no_grad():
        rates: Tensor = batch.rates(phasors(network, batch, bits)).sum(-1)
    return rates


def _begin(network: Predictor, start: Mapping[str, Tensor]) -> None:
    """Take the weights of a start; nodes that it knows nothing of keep their first weights."""
    part = network
    if isinstance(network, Unrolled) and not any(name.startswith("start.") for name in start):
        part = network.start
    known = {name.split("/")[0] for name in start}
    added = {name: value for name, value in part.state_dict().items() if name.split("/")[0] not in known}
    own, begun = part.state_dict(), {**added, **start}
    shapes = [{name: tuple(value.shape) for name, value in weights.items()} for weights in (own, begun)]
    if wrong := {name for name, _ in set(shapes[0].items()) ^ set(shapes[1].items())}:
        told = f"{len(wrong)} of {len(own)} with another name or shape, such as {min(wrong)}"
        raise InvalidArgumentError("start", "weights of the same network", told)
    part.load_state_dict(begun)


def loss_of(network: nn.Module, batch: Batch, bits: int = 0) -> Tensor:
    """Return the loss; for a learned ascent it is the mean over the later half of its moves."""
    if isinstance(network, LearnedAscent):
        path = network.path(batch)
        made = [on_codebook(x, bits) for x in path[len(path) // 2 :]]
    else:
        made = [phasors(network, batch, bits)]
    return torch.stack([task_loss(x, batch) for x in made]).mean()


def task_loss(x: Tensor, batch: Batch) -> Tensor:
    """Return minus the mean logarithm of the sum rate: all systems count alike, whatever their SNR."""
    loss: Tensor = -batch.rates(x).sum(-1).log().mean()
    return loss


def _schedule(share: float) -> float:
    """Factor of the learning rate after a share of the steps."""
    if share < WARM_UP:
        return share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def _batches(task: Task, split: Split, count: int) -> Iterator[Batch]:
    for first in range(0, count, AT_ONCE):
        yield task.systems(split, min(AT_ONCE, count - first), first)


class _State:
    """Where a training stands: all that it needs to go on as if it had never stopped."""

    def __init__(self, recipe: Recipe, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._recipe, self._network, self._optimiser = recipe, network, optimiser
        self.step, self.stale, self.best = 0, 0, -math.inf
        self.best_weights = _copied(network)
        self._began = digest_of(_arrays(self.best_weights))
        self.history: list[tuple[int, float]] = []

    def note(self, step: int, score: float) -> None:
        """Take down a validation."""
        self.step = step
        self.stale = 0 if score > self.best * (1 + MARGIN) else self.stale + 1
        if score > self.best:
            self.best, self.best_weights = score, _copied(self._network)
        self.history.append((step, score))

    def save(self, path: Path) -> None:
        """Write it, all or nothing."""
        kept = {
            "recipe": dataclasses.asdict(self._recipe),
            "began": self._began,
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "best_weights": self.best_weights,
            "numbers": (self.step, self.stale, self.best),
            "history": self.history,
        }
        write_state(path, _arrays(kept))

    def load(self, path: Path) -> None:
        """Go on where a file left off."""
        kept = tree_map_only(np.ndarray, torch.from_numpy, read_state(path))
        if not isinstance(kept, dict):
            raise StateFileError(path, "it is no state of a training")
        if kept.get("recipe") != dataclasses.asdict(self._recipe):
            raise InvalidArgumentError("checkpoint", "that of the same recipe", str(kept.get("recipe")))
        if kept.get("began") != self._began:
            raise InvalidArgumentError("checkpoint", "that of the same first weights", f"others in {path}")
        try:
            self._network.load_state_dict(kept["best_weights"])
            self.best_weights = _copied(self._network)
            self._network.load_state_dict(kept["network"])
            self._optimiser.load_state_dict(kept["optimiser"])
            self.step, self.stale, self.best = kept["numbers"]
            self.history = [(step, score) for step, score in kept["history"]]
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise StateFileError(path, str(error)) from error


def _arrays(state: Any) -> Any:
    """Return a state with NumPy arrays in place of its tensors."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach().cpu().numpy(), state)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
