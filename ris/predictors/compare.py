"""What networks reach, against the numerical optimum and simple designs: rate, time, size and operations."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.blas import one_blas_thread
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.phases import optimal_phases
from ris.predictors.ascent import ascend
from ris.predictors.baselines import random_phasors, superposed_steering, user_steering
from ris.predictors.bootstrap import Estimate, mean_rate_of, ratio
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.model import IntegerModel
from ris.predictors.runtime import Predictor
from ris.predictors.statistical import StatisticalTask
from ris.predictors.task import Batch, Split, unit
from ris.predictors.train import on_device
from ris.predictors.zoo import load_predictor

__all__ = ["FULL", "OPTIMUM", "QUICK", "SPLITS", "Comparison", "Entry", "Settings", "compare"]

SPLITS: tuple[Split, ...] = ("test", "unseen")

OPTIMUM = "numerical optimum"
"""Name of the best of several ascents."""

TIMED, FEWEST = 0.3, 5
"""A time is the median of as many calls as fit into so many seconds, or so many."""

Kind = Literal["without training", "ascent", "float", "integer"]
Phasors = NDArray[np.complex128]
Real = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Parameters
    ----------
    systems : int
        First systems of each split.
    budgets : tuple of int
        Steps of the ascents from superposed steering.
    random_starts, steps : int
        Of the numerical optimum: random starts besides superposed steering and each user's steering, and
        steps from each.
    at_once : int
        Systems that are worked through together.
    """

    systems: int
    budgets: tuple[int, ...]
    random_starts: int
    steps: int
    at_once: int = 16


FULL = Settings(systems=1000, budgets=(3, 10, 30, 100), random_starts=1, steps=150)
QUICK = Settings(systems=16, budgets=(3, 10, 30), random_starts=0, steps=60)


@dataclass(frozen=True, eq=False)
class Entry:
    """A way to set the phases, and what was measured of it.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        "without training", "ascent", "float" or "integer".
    rates : dict
        Sum rates of the systems of each split, shape (S,), bit/s/Hz.
    seconds : float
        Median time for one system, from maps to phases, on one core.
    bytes, bit_operations : int or None
        Size of the model file, and products times bits of both factors for one system.
    """

    name: str
    kind: Kind
    rates: Mapping[Split, Real]
    seconds: float
    bytes: int | None = None
    bit_operations: int | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` measured.

    Attributes
    ----------
    task : str
        Name of the task.
    side, users : int
        Rows and columns of the surfaces; users.
    entries : tuple of Entry
        One for each way to set the phases.
    """

    task: str
    side: int
    users: int
    entries: tuple[Entry, ...]

    def __getitem__(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

    def mean(self, entry: Entry, split: Split) -> Estimate:
        """Return the mean sum rate with its bootstrap interval."""
        return mean_rate_of(entry.rates[split])

    def share(self, entry: Entry, split: Split, of: Entry | None = None) -> Estimate:
        """Return the ratio of mean sum rates to those of another, the numerical optimum by default."""
        return ratio(entry.rates[split], (of or self[OPTIMUM]).rates[split])

    def floating(self, entry: Entry) -> Entry | None:
        """Return the float model that an integer one comes from, by its name without "-int...", or None."""
        name, found, _ = entry.name.rpartition("-int")
        return next((other for other in self.entries if found and other.name == name), None)


def compare(
    task: Literal["statistical", "instantaneous"],
    models: Mapping[str, Path],
    settings: Settings = FULL,
    progress: Progress = lambda share, text: None,
) -> Comparison:
    """Measure models and what to hold them against, on fixed systems.

    Parameters
    ----------
    task : {"statistical", "instantaneous"}
        Family of systems; the rates of the instantaneous one are those of the true channels, on which the
        ascents climb, while steering and networks know what the pilots tell.
    models : mapping of str to Path
        Model files by name, all of surfaces of one size.
    settings : Settings
        How much.
    progress : callable
        Told the share that is done, and what is next.
    """
    predictors = {name: load_predictor(path) for name, path in models.items()}
    sides = {predictor.model.rows for predictor in predictors.values()}
    if len(sides) != 1:
        raise InvalidArgumentError("models", "models of one size of the surfaces", f"sizes {sorted(sides)}")
    side = sides.pop()
    family = StatisticalTask(side) if task == "statistical" else InstantaneousTask(side)
    ways = dict(_ways(family, settings, predictors))
    rates: dict[str, dict[Split, list[Real]]] = {name: {split: [] for split in SPLITS} for name in ways}
    blocks = [(split, first) for split in SPLITS for first in range(0, settings.systems, settings.at_once)]
    for done, (split, first) in enumerate(blocks):
        progress(done / len(blocks), f"{split} systems from {first}")
        given = _Given.of(family, split, min(settings.at_once, settings.systems - first), first)
        exact = on_device(given.batch, "cpu", torch.float64)
        for name, way in ways.items():
            rates[name][split].append(exact.rates(torch.from_numpy(way(given))).sum(-1).numpy())
    entries = []
    with one_blas_thread():
        one = _Given.of(family, "test", 1, 0)
        for name, way in ways.items():
            progress(1.0, f"time of {name}")
            of_splits = {split: np.concatenate(rates[name][split]) for split in SPLITS}
            seconds = _seconds(lambda way=way: way(one))  # type: ignore[misc]
            if name not in predictors:
                kind: Kind = "ascent" if name == OPTIMUM or name.startswith("ascent") else "without training"
                entries.append(Entry(name, kind, of_splits, seconds))
                continue
            model = predictors[name].model
            operations = 2 * model.bit_operations(family.users, side, side)
            kind = "integer" if isinstance(model, IntegerModel) else "float"
            size = models[name].stat().st_size
            entries.append(Entry(name, kind, of_splits, seconds, size, operations))
    return Comparison(task, side, family.users, tuple(entries))


@dataclass(frozen=True, eq=False)
class _Given:
    """Systems first, first + 1, ... of a split, as the different ways need them."""

    split: Split
    first: int
    batch: Batch
    tensors: Batch

    @classmethod
    def of(
        cls, family: StatisticalTask | InstantaneousTask, split: Split, count: int, first: int
    ) -> "_Given":
        batch = family.systems(split, count, first)
        return cls(split, first, batch, on_device(batch, "cpu"))

    @property
    def count(self) -> int:
        return int(self.batch.maps.shape[0]) // 2


Way = Callable[[_Given], Phasors]


def _ways(
    family: StatisticalTask | InstantaneousTask, settings: Settings, predictors: Mapping[str, Predictor]
) -> Iterator[tuple[str, Way]]:
    """Every way to set the phases: phasors, shape (2 B, side, side), of systems."""
    yield "random", _random
    if isinstance(family, StatisticalTask):
        yield "closed form (mean gain)", lambda given: _closed_form(family, given)
    yield "steering, best user", _best_user
    yield "superposed steering", lambda given: superposed_steering(given.batch)
    for steps in settings.budgets:
        yield f"ascent, {steps} steps", lambda given, steps=steps: _ascended(given, steps)  # type: ignore[misc]
    yield OPTIMUM, lambda given: _optimum(given, settings)
    for name, predictor in predictors.items():
        yield name, lambda given, predictor=predictor: _predicted(predictor, given)  # type: ignore[misc]


def _random(given: _Given) -> Phasors:
    return random_phasors(given.batch, Stream(0, "compare", given.split, given.first))


def _closed_form(family: StatisticalTask, given: _Given) -> Phasors:
    """What maximises the mean gain summed over the users."""
    scenes = family.scenes(given.split, given.count, given.first)
    designs = [optimal_phases(scenes.system(i)) for i in range(given.count)]
    theta = np.array([[design.theta1, design.theta2] for design in designs]).swapaxes(0, 1)
    return np.asarray(np.exp(1j * theta).reshape(2 * given.count, scenes.side, scenes.side))


def _best_user(given: _Given) -> Phasors:
    """Steering of the user for which the sum rate comes out best, as far as the BS can tell."""
    users = given.batch.maps.shape[1]
    steered = [user_steering(given.batch, user) for user in range(users)]
    rates = np.array([given.batch.known_rates(x).sum(-1) for x in steered])
    best = np.tile(np.argmax(rates, axis=0), 2)
    return np.asarray(np.array(steered)[best, np.arange(2 * given.count)])


def _ascended(given: _Given, steps: int) -> Phasors:
    _, x = ascend(given.tensors, _tensor(superposed_steering(given.batch))[None], steps)
    return _unit(x[0])


def _optimum(given: _Given, settings: Settings) -> Phasors:
    """The best of ascents from superposed steering, from each user's steering, and from random phases."""
    stream = Stream(0, "compare", "optimum", given.split, given.first)
    starts = [
        superposed_steering(given.batch),
        *(user_steering(given.batch, user) for user in range(given.batch.maps.shape[1])),
        *(random_phasors(given.batch, stream.child(i)) for i in range(settings.random_starts)),
    ]
    rates, x = ascend(given.tensors, _tensor(np.array(starts)), settings.steps)
    best = rates.argmax(0).tile(2)
    return _unit(x[best, torch.arange(2 * given.count)])


def _predicted(predictor: Predictor, given: _Given) -> Phasors:
    made = predictor.run(given.batch.maps)[:, 0]
    return np.asarray(unit((made[:, 0] + 1j * made[:, 1]).astype(np.complex128)))


def _tensor(phasors: Phasors) -> Tensor:
    return torch.from_numpy(phasors).to(torch.complex64)


def _unit(x: Tensor) -> Phasors:
    return np.asarray(unit(x.numpy().astype(np.complex128)))


def _seconds(call: Callable[[], object]) -> float:
    """Return the median time of a call on one thread, after one that counts not."""
    numba_threads, torch_threads = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        call()
        times: list[float] = []
        while len(times) < FEWEST or sum(times) < TIMED:
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    finally:
        numba.set_num_threads(numba_threads)
        torch.set_num_threads(torch_threads)
    return float(np.median(times))
