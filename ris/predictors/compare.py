"""What networks reach, against the numerical optimum and simple designs: rate, time, size and operations."""

import dataclasses
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.blas import one_blas_thread
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.phases import optimal_phases
from ris.predictors.ascent import Climb, ascend, multistart, turn
from ris.predictors.baselines import random_phasors, superposed_steering, user_steering
from ris.predictors.bootstrap import Estimate, mean_rate_of, ratio
from ris.predictors.climb import bit_operations, predicted_phasors
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.model import PARTS, IntegerModel
from ris.predictors.networks.unrolled import UNROLLED, Unrolled
from ris.predictors.optimum import Search, optimal_phasors
from ris.predictors.runtime import Predictor
from ris.predictors.state_file import kept
from ris.predictors.statistical import StatisticalTask
from ris.predictors.task import Batch, Split, unit
from ris.predictors.train import Predictor as Trainable
from ris.predictors.train import on_device, phasors
from ris.predictors.weights import files_of, read_network
from ris.predictors.zoo import load_predictor
from ris.progress import Progress, tell_nothing

__all__ = [
    "FULL",
    "OPTIMUM",
    "QUICK",
    "SPLITS",
    "Comparison",
    "Entry",
    "Given",
    "Settings",
    "Way",
    "by_network",
    "by_predictor",
    "compare",
    "median_seconds",
    "rates_of_ways",
    "untrained_ways",
]

SPLITS: tuple[Split, ...] = ("test", "unseen")

OPTIMUM = "numerical optimum"
"""Name of the best of several ascents."""

KEPT = 3
"""Ascents of the instantaneous optimum that go on to the end."""

TIMED, FEWEST = 0.3, 5
"""A time is the median of as many calls as fit into so many seconds, or so many."""

Kind = Literal["without training", "ascent", "float", "integer", "unrolled"]
Phasors = NDArray[np.complex128]
Real = NDArray[np.float64]
Family = StatisticalTask | InstantaneousTask
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Parameters
    ----------
    systems : int
        First systems of each split.
    budgets : tuple of int
        Steps of the ascents from superposed steering: turns of the statistical task, steps of Adam of the
        instantaneous one (`ris.predictors.ascent`).
    random_starts, steps : int
        Of the numerical optimum of the instantaneous task: random starts besides superposed steering and each
        user's steering; steps of Adam from the best `KEPT` ends of a third as many from all starts.
    at_once : int
        Systems that are worked through together.
    search : Search
        Of the numerical optimum of the statistical task.
    """

    systems: int
    budgets: tuple[int, ...]
    random_starts: int
    steps: int
    at_once: int = 16
    search: Search = field(default_factory=Search)


FULL = Settings(systems=1000, budgets=(3, 10, 30, 100), random_starts=5, steps=300)
QUICK = Settings(systems=16, budgets=(3, 10, 30), random_starts=0, steps=60)


@dataclass(frozen=True, eq=False)
class Entry:
    """A way to set the phases, and what was measured of it.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        "without training", "ascent", "float", "integer", or "unrolled" for networks that climb themselves.
    rates : dict
        Sum rates of the systems of each split, shape (S,), bit/s/Hz.
    seconds : float
        Median time for one system, from maps to phases, on one core.
    bytes, bit_operations : int or None
        Size of the model files, and products times bits of both factors for one system; with those of the
        slopes that moves are made along, but without those that a network of kind "unrolled" climbs by.
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
    progress: Progress = tell_nothing,
    folder: Path | None = None,
) -> Comparison:
    """Measure models and what to hold them against, on fixed systems.

    Parameters
    ----------
    task : {"statistical", "instantaneous"}
        Family of systems; the rates of the instantaneous one are those of the true channels, on which the
        ascents climb, while steering and networks know what the pilots tell.
    models : mapping of str to Path
        Model files by name, all of the task and of surfaces of one size; of an unrolled network its start,
        beside its step.
    settings : Settings
        How much.
    progress : callable
        Told the share that is done, and what is next.
    folder : Path, optional
        Keeps the rates, so that an interrupted comparison goes on: see `rates_of_ways`.
    """
    models_of = {name: _Loaded.of(path) for name, path in models.items()}
    for name, loaded in models_of.items():
        if not loaded.task.startswith(task):
            raise InvalidArgumentError("models", f"those of the {task} task", f"{name} of {loaded.task!r}")
    sides = {loaded.side for loaded in models_of.values()}
    if len(sides) != 1:
        raise InvalidArgumentError("models", "models of one size of the surfaces", f"sizes {sorted(sides)}")
    side = sides.pop()
    family = StatisticalTask(side) if task == "statistical" else InstantaneousTask(side)
    ways = {**untrained_ways(family, settings), **{name: loaded.way for name, loaded in models_of.items()}}
    rates = rates_of_ways(family, ways, settings.systems, settings.at_once, progress, folder)
    one, entries = Given.of(family, "test", 1, 0), []
    for name, way in ways.items():
        progress(1.0, f"time of {name}")
        of_splits = rates[name]
        seconds = median_seconds(lambda way=way: way.phasors(one))  # type: ignore[misc]
        if name in models_of:
            loaded = models_of[name]
            operations = loaded.bit_operations(family.users)
            entries.append(Entry(name, loaded.kind, of_splits, seconds, loaded.bytes, operations))
        else:
            kind: Kind = "ascent" if name == OPTIMUM or name.startswith("ascent") else "without training"
            entries.append(Entry(name, kind, of_splits, seconds))
    return Comparison(task, side, family.users, tuple(entries))


@dataclass(frozen=True, eq=False)
class Given:
    """Systems first, first + 1, ... of a split, as the different ways need them.

    Attributes
    ----------
    split, first
        Which they are.
    batch, tensors, exact : Batch
        The systems as NumPy arrays, and as torch tensors of single and of double precision.
    """

    split: Split
    first: int
    batch: Batch
    tensors: Batch
    exact: Batch

    @classmethod
    def of(cls, family: Family, split: Split, count: int, first: int) -> "Given":
        """Draw them."""
        batch = family.systems(split, count, first)
        return cls(split, first, batch, on_device(batch, "cpu"), on_device(batch, "cpu", torch.float64))

    @property
    def count(self) -> int:
        """Systems."""
        return int(self.batch.maps.shape[0]) // 2

    def rates(self, x: Phasors) -> Real:
        """Sum rates at phasors x, shape (B,), bit/s/Hz."""
        return np.asarray(self.exact.rates(torch.from_numpy(x)).sum(-1).numpy(), np.float64)


@dataclass(frozen=True, eq=False)
class Way:
    """A way to set the phases.

    Parameters
    ----------
    phasors : callable
        Of systems: phasors, shape (2 B, rows, columns).
    made_by : JSON value
        All that decides them besides the systems.
    """

    phasors: Callable[[Given], Phasors]
    made_by: Any


def rates_of_ways(
    family: Family,
    ways: Mapping[Name, Way],
    systems: int,
    at_once: int = 16,
    progress: Progress = tell_nothing,
    folder: Path | None = None,
) -> dict[Name, dict[Split, Real]]:
    """Return the sum rates that ways reach on the first systems of each split, shape (systems,), bit/s/Hz.

    Parameters
    ----------
    family : StatisticalTask or InstantaneousTask
        Family of the systems.
    ways : mapping of any name to Way
        How phases are set.
    systems, at_once : int
        Systems of each split, and those that are worked through together.
    progress : callable
        Told the share that is done, and what is next.
    folder : Path, optional
        Keeps the rates of every way and block: thousands of systems take hours. They are taken from there, if
        the same way by the same packages has left them.

    Raises
    ------
    StateFileError
        If a file that keeps rates is damaged.
    """
    packages = {name: importlib.metadata.version(name) for name in ("double-ris", "numba", "numpy", "torch")}
    blocks = [(split, first) for split in SPLITS for first in range(0, systems, at_once)]
    rates: dict[Name, dict[Split, list[Real]]] = {name: {split: [] for split in SPLITS} for name in ways}
    for done, (split, first) in enumerate(blocks):
        count = min(at_once, systems - first)
        block = f"{family.name}-{split}-{first}-{count}"
        given = cache(partial(Given.of, family, split, count, first))
        for i, (name, way) in enumerate(ways.items()):
            progress((done + i / len(ways)) / len(blocks), f"{split} systems from {first}: {name}")
            made_by = [dataclasses.asdict(family), split, first, count, way.made_by, packages]
            rates[name][split].append(kept(folder, block, made_by, partial(_rates, way, given)))
    return {
        name: {split: np.concatenate(of_blocks) for split, of_blocks in of_way.items()}
        for name, of_way in rates.items()
    }


def _rates(way: Way, given: Callable[[], Given]) -> Real:
    return given().rates(way.phasors(given()))


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A model from a file, for surfaces of side x side elements."""

    way: Way
    kind: Kind
    task: str
    side: int
    bytes: int
    bit_operations: Callable[[int], int]

    @classmethod
    def of(cls, path: Path) -> "_Loaded":
        predictor = load_predictor(path)
        model, side = predictor.model, predictor.model.rows
        if model.metadata.get(PARTS):
            return cls._of_unrolled(path)
        return cls(
            way=by_predictor(predictor, _digests([path])),
            kind="integer" if isinstance(model, IntegerModel) else "float",
            task=str(model.metadata.get("task", "unknown")),
            side=side,
            bytes=path.stat().st_size,
            bit_operations=partial(bit_operations, model),
        )

    @classmethod
    def _of_unrolled(cls, path: Path) -> "_Loaded":
        network = read_network(path)
        if not isinstance(network, Unrolled):
            raise InvalidArgumentError("models", f"networks of one part, or {sorted(UNROLLED)}", str(path))
        model, files = load_predictor(path).model, list(files_of(path, list(network.parts)))
        side = model.rows
        return cls(
            way=by_network(network, _digests(files)),
            kind="unrolled",
            task=str(model.metadata.get("task", "unknown")),
            side=side,
            bytes=sum(file.stat().st_size for file in files),
            bit_operations=lambda users: (
                2
                * (
                    network.start.graph.bit_operations(users, side, side)
                    + network.steps * network.step.graph.bit_operations(1, side, side)
                )
            ),
        )


def _digests(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def by_network(network: Trainable, made_by: Any) -> Way:
    """Return the way of a network of torch."""

    def predicted(given: Given) -> Phasors:
        with torch.no_grad():
            return _unit(phasors(network, given.tensors))

    return Way(predicted, made_by)


def by_predictor(predictor: Predictor, made_by: Any) -> Way:
    """Return the way of a model in the runtime."""
    return Way(lambda given: predicted_phasors(predictor, given.batch), made_by)


def untrained_ways(family: Family, settings: Settings) -> dict[str, Way]:
    """Return ways to set the phases without training."""
    found: dict[str, Callable[[Given], Phasors]] = {"random": _random}
    if isinstance(family, StatisticalTask):
        found["optimal mean gain"] = lambda given: _mean_gain(family, given)
    found["steering, best user"] = _best_user
    found["superposed steering"] = lambda given: superposed_steering(given.batch)
    climb = turn if isinstance(family, StatisticalTask) else ascend
    for steps in settings.budgets:
        found[f"ascent, {steps} steps"] = partial(_ascended, climb=climb, steps=steps)
    ways = {name: Way(phasors, name) for name, phasors in found.items()}
    if isinstance(family, StatisticalTask):
        made_by: list[Any] = [OPTIMUM, dataclasses.asdict(settings.search)]
        ways[OPTIMUM] = Way(
            lambda given: optimal_phasors(
                given.batch, given.tensors, given.split, given.first, settings.search
            ),
            made_by,
        )
    else:
        made_by = [OPTIMUM, settings.random_starts, settings.steps, KEPT]
        ways[OPTIMUM] = Way(partial(_optimum, settings=settings), made_by)
    return ways


def _random(given: Given) -> Phasors:
    return random_phasors(given.batch, Stream(0, "compare", given.split), given.first)


def _mean_gain(family: StatisticalTask, given: Given) -> Phasors:
    """A maximum of the mean gains summed over the users, by an ascent: no closed form gives it here."""
    scenes = family.scenes(given.split, given.count, given.first)
    designs = [optimal_phases(scenes.system(i)) for i in range(given.count)]
    theta = np.array([[design.theta1, design.theta2] for design in designs]).swapaxes(0, 1)
    return np.asarray(np.exp(1j * theta).reshape(2 * given.count, scenes.side, scenes.side))


def _best_user(given: Given) -> Phasors:
    """Steering of the user for which the sum rate comes out best, as far as the BS can tell."""
    users = given.batch.maps.shape[1]
    steered = [user_steering(given.batch, user) for user in range(users)]
    rates = np.array([given.batch.known_rates(x).sum(-1) for x in steered])
    best = np.tile(np.argmax(rates, axis=0), 2)
    return np.asarray(np.array(steered)[best, np.arange(2 * given.count)])


def _ascended(given: Given, climb: Climb, steps: int) -> Phasors:
    _, x = climb(given.tensors, _tensor(superposed_steering(given.batch))[None], steps)
    return _unit(x[0])


def _optimum(given: Given, settings: Settings) -> Phasors:
    """The best of ascents from superposed steering, from each user's steering, and from random phases."""
    stream = Stream(0, "compare", "optimum", given.split)
    starts = [
        superposed_steering(given.batch),
        *(user_steering(given.batch, user) for user in range(given.batch.maps.shape[1])),
        *(random_phasors(given.batch, stream.child(i), given.first) for i in range(settings.random_starts)),
    ]
    _, x = multistart(
        given.tensors,
        _tensor(np.array(starts)),
        screening=settings.steps // 3,
        kept=KEPT,
        steps=settings.steps,
    )
    return _unit(x)


def _tensor(x: Phasors) -> Tensor:
    return torch.from_numpy(x).to(torch.complex64)


def _unit(x: Tensor) -> Phasors:
    return np.asarray(unit(x.numpy().astype(np.complex128)))


def median_seconds(call: Callable[[], object]) -> float:
    """Return the median time of a call on one thread, after one that counts not."""
    numba_threads, torch_threads = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        with one_blas_thread():
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
