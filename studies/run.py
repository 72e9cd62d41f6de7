"""The run of a study: closed form and simulation of every scheme at every place of its sweep."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
from channels.errors import InvalidArgumentError
from ris.estimates import Estimate
from studies.blocks import Measurement, Task, compute_block
from studies.checkpoint import Block, Checkpoint, fingerprint
from studies.config import Study, parse_study
from studies.config.metrics import Stop
from studies.engines import open_engine
from studies.errors import CheckpointError
from studies.options import ExecutorName, StopReason
from studies.quantities import Quantity, quantities, z_values
from studies.results import Data, StudyResult, versions
from studies.runner import Blocks, run_tasks, take_tasks
from studies.stopping import StoppingRule, critical

__all__ = ["Plan", "Status", "checkpoint_path", "merge", "run_study"]


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    points, points_done : int
        Points of the run, all schemes together, and those that are finished.
    share : float
        Share of the work that is done, from 0 to 1; early stops make it jump.
    realizations : int
        Realizations done, those of earlier runs included.
    label : str
        The point that advanced last.
    half_width : float or None
        Its half-width of the metric that stops it, at the last look.
    """

    points: int
    points_done: int
    share: float
    realizations: int
    label: str
    half_width: float | None


Progress = Callable[[Status], None]


@dataclass(frozen=True)
class Plan:
    """A study together with all choices that its numbers depend on.

    Tasks have numbers: places in their order, schemes fastest.
    """

    study: Study
    seed: int
    realizations: int
    quick: bool

    @classmethod
    def of(
        cls, study: Study, seed: int | None = None, realizations: int | None = None, quick: bool = False
    ) -> "Plan":
        """Make the plan of a study; seed and number of realizations by default those of the study."""
        return cls(
            study,
            study.settings.seed if seed is None else seed,
            study.realizations(quick) if realizations is None else realizations,
            quick,
        )

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Plan":
        """Return the plan whose blocks a checkpoint holds."""
        about = checkpoint.about
        try:
            study = parse_study(about["text"], about["name"])
            return cls(study, about["seed"], about["realizations"], about["quick"])
        except (KeyError, TypeError):
            raise CheckpointError(f"fingerprint {checkpoint.fingerprint}: no checkpoint of a study") from None

    @property
    def about(self) -> dict[str, Any]:
        """All that `from_checkpoint` needs."""
        return {
            "text": self.study.text,
            "name": self.study.name,
            "seed": self.seed,
            "realizations": self.realizations,
            "quick": self.quick,
        }

    @property
    def configuration(self) -> dict[str, Any]:
        """All that the numbers depend on; titles, pictures and papers are no part of it."""
        shown = {"title", "description", "citations", "plot"}
        chosen = {"seed", "realizations", "quick_realizations", "sweep"}
        return {
            **self.study.settings.model_dump(mode="json", exclude=shown | chosen),
            "seed": self.seed,
            "realizations": self.realizations,
            "sweep": [[list(one.keys), *map(list, one.values)] for one in self.study.dimensions(self.quick)],
            "versions": versions(),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration."""
        return fingerprint(self.configuration)

    @functools.cached_property
    def quantities(self) -> dict[str, Quantity]:
        """Quantities by name."""
        return quantities(self.study.settings)

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Numbers of schemes, and of values by dimension."""
        return len(self.study.schemes), *(len(one.values) for one in self.study.dimensions(self.quick))

    @property
    def points(self) -> int:
        """Number of tasks."""
        return int(np.prod(self.shape))

    @functools.cached_property
    def rule(self) -> StoppingRule:
        """The stopping rule of every point."""
        stop, block = self.study.settings.stop, self.study.settings.block_realizations
        blocks = -(-self.realizations // block)
        if stop is None:
            return StoppingRule(None, False, 0.95, blocks, blocks, None)
        return StoppingRule(
            stop.half_width or stop.relative_half_width,
            stop.half_width is None,
            stop.confidence,
            -(-stop.min_realizations // block),
            blocks,
            stop.wall_time_s,
        )

    def courses(
        self, shard: tuple[int, int] = (0, 1), keep: bool = False
    ) -> Iterator[tuple[int, "StudyCourse"]]:
        """Yield the tasks of a shard (i, n): those of numbers i, i + n, i + 2 n, ..."""
        number = -1
        settings, schemes = self.study.settings, len(self.study.schemes)
        for place in self.study.places(self.quick):
            stream = self.stream(place)
            for scheme in range(schemes):
                number += 1
                if number % shard[1] != shard[0]:
                    continue
                point = self.study.point(scheme, *place)
                task = Task.of(
                    point, stream, self.realizations, settings.block_realizations, settings.metrics
                )
                label = f"{self.study.schemes[scheme]}, {self.where(place)}"
                yield number, StudyCourse(self, task, label, keep)

    def stream(self, place: tuple[Any, ...]) -> channels.Stream:
        """Return the random numbers of a place, shared by all schemes."""
        pairs = zip(self._axes, map(_label, place), strict=True)
        return channels.Stream(self.seed, *itertools.chain.from_iterable(pairs))

    def where(self, place: tuple[Any, ...]) -> str:
        """Name a place."""
        return ", ".join(f"{axis} = {value}" for axis, value in zip(self._axes, place, strict=True))

    @functools.cached_property
    def _axes(self) -> list[str]:
        return [key for one in self.study.dimensions(self.quick) for key in one.keys]

    def assemble(self, blocks: Blocks) -> StudyResult:
        """Make the result from blocks that are all there.

        Raises
        ------
        CheckpointError
            If one is missing or damaged.
        """
        users = max(
            self.study.point(scheme, *place).system.users.count
            for place in self.study.places(self.quick)
            for scheme in range(self.shape[0])
        )
        sizes = {
            "user": users,
            "other_user": users,
            "quantile": len(self.study.settings.metrics.sinr_quantiles),
        }
        data: Data = {
            (name, part): np.full((*self.shape, *(sizes[axis] for axis in quantity.axes)), np.nan)
            for name, quantity in self.quantities.items()
            for part in quantity.parts(len(self.study.schemes))
        }
        counts, unconverged = np.zeros((2, *self.shape), dtype=np.int64)
        reasons = np.full(self.shape, "", dtype=object)
        seconds = 0.0
        paired = len(self.study.schemes) > 1
        baseline: Mapping[str, NDArray[np.float64]] = {}
        for task, course in take_tasks(self.courses(keep=paired), blocks):
            scheme, place = task % self.shape[0], np.unravel_index(task // self.shape[0], self.shape[1:])
            where: tuple[int, ...] = (scheme, *(int(i) for i in place))
            measurement = course.measurement
            for key, value in self._values(measurement).items():
                # Points with fewer users than others leave the rest of their row empty (NaN).
                data[key][(*where, *_corner(value.shape))] = value
            simulation = measurement.simulation
            counts[where], unconverged[where] = simulation.realizations, simulation.unconverged
            reasons[where] = course.reason
            seconds += measurement.seconds
            if paired:
                influences = measurement.influences(
                    [name for name, one in self.quantities.items() if one.paired]
                )
                baseline = influences if scheme == 0 else baseline
                for key, value in _paired(data, where, baseline, influences).items():
                    data[key][(*where, *_corner(value.shape))] = value
        return StudyResult(
            study=self.study,
            seed=self.seed,
            realizations=self.realizations,
            quick=self.quick,
            data=data,
            counts=counts,
            reasons=reasons,
            unconverged=unconverged,
            versions=versions(),
            wall_time_s=seconds,
            fingerprint=self.fingerprint,
        )

    def _values(self, measurement: Measurement) -> Data:
        found: Data = {}
        for name, quantity in self.quantities.items():
            estimate = measurement.estimate(name)
            found[name, "simulated"] = np.asarray(estimate.value)
            found[name, "standard_error"] = np.asarray(estimate.standard_error)
            if quantity.closed:
                closed = measurement.closed.get(name, np.full_like(found[name, "simulated"], np.nan))
                found[name, "closed_form"] = closed
                found[name, "z"] = z_values(closed, estimate.value, estimate.standard_error)
        return found


def _corner(shape: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(slice(length) for length in shape)


def _label(value: Any) -> str:
    return repr(float(value)) if isinstance(value, int | float) else repr(value)


def _paired(
    data: Data,
    where: tuple[int, ...],
    baseline: Mapping[str, NDArray[np.float64]],
    influences: Mapping[str, NDArray[np.float64]],
) -> Data:
    """Differences to the first scheme, with standard errors that know of the shared random numbers.

    Influences x of the first scheme and y of this one, over m and n blocks of the same realizations, c of
    them common: the difference of the means has the variance c var(y / n - x / m) + (n - c) var(y) / n^2
    + (m - c) var(x) / m^2.
    """
    found: Data = {}
    for name, y in influences.items():
        x = baseline[name]
        if x.shape[1:] != y.shape[1:]:
            continue  # other users: nothing to compare one by one
        m, n = len(x), len(y)
        c = min(m, n)
        value, cut = data[name, "simulated"], _corner(y.shape[1:])
        found[name, "difference"] = np.asarray(value[(*where, *cut)] - value[(0, *where[1:], *cut)])
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (
                c * _variance(y[:c] / n - x[:c] / m)
                + (n - c) * _variance(y) / n**2
                + (m - c) * _variance(x) / m**2
            )
        found[name, "difference_standard_error"] = np.sqrt(variance)
    return found


def _variance(values: NDArray[np.float64]) -> Any:
    return np.var(values, axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


class StudyCourse:
    """One task of a study under way; a `studies.runner.Course`."""

    def __init__(self, plan: Plan, task: Task, label: str, keep: bool) -> None:
        self.payload = task
        self.label = label
        self.reason: StopReason | None = None
        self.half_width: float | None = None
        self.measurement = Measurement(task, keep or plan.rule.half_width is not None)
        self._rule, self._stop = plan.rule, plan.study.settings.stop
        self.wanted = self._rule.next_look(0)

    def take(self, block: Block) -> bool:
        """Take the next block; return whether the point has enough."""
        measurement, look = self.measurement, tuple[Any, ...]()
        measurement.take(block)
        if measurement.blocks == self.wanted:
            self.wanted = self._rule.next_look(self.wanted)
            if self._stop is not None:
                look = self._look(self._stop)
        self.reason = self._rule.reason(measurement.blocks, measurement.seconds, *look)
        return self.reason is not None

    def _look(self, stop: Stop) -> tuple[Estimate, NDArray[np.float64]]:
        """Return the estimate of the metric to stop by, and the influences of the blocks."""
        estimate = self.measurement.estimate(stop.metric)
        factor = critical(stop.confidence, self.measurement.blocks)
        self.half_width = factor * float(np.max(estimate.standard_error))
        return estimate, self.measurement.influences([stop.metric])[stop.metric]


def run_study(
    study: Study,
    *,
    seed: int | None = None,
    realizations: int | None = None,
    quick: bool = False,
    engine: ExecutorName = "serial",
    workers: int | None = None,
    scheduler: str | None = None,
    checkpoint: Path | None = None,
    shard: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> StudyResult | None:
    """Run a study, or go on with a run that was interrupted.

    Parameters
    ----------
    study : Study
        From `load_study` or `parse_study`.
    seed, realizations : int, optional
        In place of those of the study.
    quick : bool
        Take the study's quick values and quick number of realizations.
    engine, workers, scheduler
        As for `studies.engines.open_engine`.
    checkpoint : Path, optional
        File that keeps finished blocks; blocks that it holds are not computed again. By default they are kept
        in a temporary file.
    shard : tuple of int, optional
        (i, n) with 0 <= i < n: compute the blocks of the i-th of n parts only, into the checkpoint.
    progress : callable, optional
        Called with a `Status`.

    Returns
    -------
    StudyResult or None
        The same numbers for any engine, number of workers, interruptions and shards; None for a shard.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged, in use, or holds blocks of another run.
    OutputError
        If blocks cannot be kept; those kept before are safe.
    EngineError
        If the engine cannot be had, or its workers keep dying.
    """
    if shard is not None and (checkpoint is None or not 0 <= shard[0] < shard[1]):
        raise InvalidArgumentError("shard", "(i, n) with 0 <= i < n, and a checkpoint", f"{shard}")
    plan = Plan.of(study, seed, realizations, quick)
    with (
        Checkpoint(checkpoint, plan.configuration, plan.about) as blocks,
        open_engine(engine, workers, scheduler) as chosen,
    ):
        work = functools.partial(compute_block, threads=chosen.threads)
        part = shard or (0, 1)
        report = _report(plan, part, progress)
        run_tasks(plan.courses(part), work, blocks, chosen, report)
        return plan.assemble(blocks) if shard is None else None


def merge(checkpoints: list[Path]) -> StudyResult:
    """Make the result of a study from the checkpoints of its shards.

    Raises
    ------
    CheckpointError
        If a checkpoint is damaged, they belong to different runs, or a block is in none of them.
    """
    opened: list[Checkpoint] = []
    try:
        for path in checkpoints:
            configuration = opened[0].configuration if opened else None
            opened.append(Checkpoint(path, configuration, must_exist=True))
        return Plan.from_checkpoint(opened[0]).assemble(_Union(opened))
    finally:
        for one in opened:
            one.close()


class _Union:
    """Blocks of several checkpoints, to read."""

    def __init__(self, checkpoints: list[Checkpoint]) -> None:
        self._checkpoints = checkpoints

    def get(self, task: int, block: int) -> Block | None:
        """Return a block from the first checkpoint that has it."""
        return next((found for one in self._checkpoints if (found := one.get(task, block)) is not None), None)


def checkpoint_path(result: Path, shard: tuple[int, int] | None = None) -> Path:
    """Return where blocks are kept until the result is complete: NAME.partial, or NAME.1-of-4.partial."""
    suffix = ".partial" if shard is None else f".{shard[0] + 1}-of-{shard[1]}.partial"
    return result.with_name(result.stem + suffix)


def _report(
    plan: Plan, shard: tuple[int, int], progress: Progress | None
) -> Callable[[int, Any, bool], None]:
    points = len(range(shard[0], plan.points, shard[1]))
    blocks: dict[int, int] = {}
    finished, realizations = 0, 0

    def report(task: int, course: StudyCourse, done: bool) -> None:
        nonlocal finished, realizations
        taken, before = course.measurement.blocks, blocks.pop(task, 0)
        realizations += (taken - before) * plan.study.settings.block_realizations
        finished += done
        if not done:
            blocks[task] = taken
        if progress is not None:
            share = (finished + sum(blocks.values()) / plan.rule.max_blocks) / points
            progress(Status(points, finished, share, realizations, course.label, course.half_width))

    return report
