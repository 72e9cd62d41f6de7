"""Sweeps of Python functions: the blocks, engines and checkpoints of studies, for a metric of one's own."""

import dataclasses
import hashlib
import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import integer
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.estimates import Estimate, Observations
from studies.checkpoint import Block, Checkpoint, canonical, fingerprint
from studies.config.sweep import Axis, Dimension, Sweep, dimensions_of, places_of
from studies.engines import open_engine
from studies.errors import OutputError
from studies.files import prepare_outputs, replace_file
from studies.netcdf import Variables, read_netcdf, write_netcdf
from studies.options import ExecutorName, StopReason
from studies.results import versions
from studies.runner import run_tasks, take_tasks
from studies.stopping import StoppingRule

__all__ = ["Draws", "SweepResult", "sweep"]

FORMAT = "double-ris sweep"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Draws:
    """The realizations that a call of a metric is for.

    Attributes
    ----------
    stream : channels.Stream
        Random numbers of the point, for `ris.draw_channels` and `ris.simulate`.
    first, realizations : int
        Realizations [first, first + realizations) of the stream.
    """

    stream: Stream
    first: int
    realizations: int

    @property
    def generator(self) -> np.random.Generator:
        """A NumPy generator for these realizations alone."""
        words = self.stream.child("generator", self.first).key.astype(np.uint64)
        return np.random.Generator(np.random.Philox(key=words))


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The results of a sweep.

    Attributes
    ----------
    dimensions : list of Dimension
        Axes, and those zipped to them.
    value, standard_error : ndarray, shape (values, ..., m) or (values, ...)
        Means over realizations with standard errors; of a metric without realizations, its values and NaN.
    counts, reasons : ndarray, shape (values, ...)
        Realizations of each point, and why it has no more.
    fingerprint : str
        SHA-256 of all that the numbers depend on.
    """

    dimensions: list[Dimension]
    value: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    counts: NDArray[np.int64]
    reasons: NDArray[Any]
    fingerprint: str

    def write(self, path: Path) -> None:
        """Write a netCDF4-valid HDF5 file; it replaces one that is there."""
        lead = tuple(one.name for one in self.dimensions)
        sizes = dict(zip(lead, self.counts.shape, strict=True))
        inner = ("entry",) if self.value.ndim > self.counts.ndim else ()
        if inner:
            sizes["entry"] = self.value.shape[-1]
        variables: Variables = {
            name: (
                (one.name,),
                np.array(values, dtype=object if isinstance(values[0], str) else np.float64),
                {},
            )
            for one in self.dimensions
            for name, values in one.coordinates.items()
        }
        variables |= {
            "value": ((*lead, *inner), self.value, {"long_name": "mean of the metric"}),
            "standard_error": ((*lead, *inner), self.standard_error, {"long_name": "its standard error"}),
            "realizations": (lead, self.counts, {"long_name": "realizations of the point"}),
            "stop_reason": (lead, self.reasons, {"long_name": "why the point has no more realizations"}),
        }
        attributes = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "keys": canonical([list(one.keys) for one in self.dimensions]),
            **{f"version_{name}": version for name, version in versions().items()},
        }
        replace_file(path, lambda temporary: write_netcdf(temporary, sizes, variables, attributes))


@dataclass(frozen=True)
class _Call:
    """One point: the metric, its parameters and its realizations."""

    metric: Callable[..., Any]
    parameters: Mapping[str, Any]
    stream: Stream
    realizations: int | None
    block: int


def sweep(
    metric: Callable[..., Any],
    axes: Mapping[str, Sequence[Any]],
    *,
    zipped: Sequence[str] = (),
    realizations: int | None = None,
    block: int = 1024,
    seed: int = 1,
    half_width: float | None = None,
    relative_half_width: float | None = None,
    confidence: float = 0.95,
    engine: ExecutorName = "serial",
    workers: int | None = None,
    scheduler: str | None = None,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SweepResult:
    """Evaluate a metric on a grid of parameters.

    Parameters
    ----------
    metric : callable
        Called with the parameters by name and, with `realizations`, a `Draws` before them. Returns a number
        or an array (m,); with `realizations` a number or a row for each of them: (draws.realizations,) or
        (draws.realizations, m). The numbers must depend on the arguments alone. Other engines than "serial"
        need a function that can be imported.
    axes : dict of str to sequence
        Values of each parameter: increasing numbers, or texts or lists. The grid of all of them.
    zipped : sequence of str
        Parameters that advance together instead.
    realizations : int, optional
        Largest number of realizations of a point; None for a metric without random numbers.
    block : int
        Realizations that are computed and kept as one piece.
    seed : int
        Seed. All points share the realizations that their random numbers are made of, so that differences
        between points are sharper than their levels.
    half_width, relative_half_width : float, optional
        Target at which a point stops before its largest number of realizations; see `studies.stopping`.
    confidence : float
        Of the interval of that half-width.
    engine, workers, scheduler
        As for `studies.engines.open_engine`.
    out : path, optional
        Result file. Finished blocks are kept beside it in NAME.partial until it is complete; call again after
        an interruption to go on. A complete file of the same sweep is read, not computed again.
    progress : callable, optional
        Called with the numbers of finished and of all points.

    Returns
    -------
    SweepResult

    Raises
    ------
    InvalidArgumentError
        On bad arguments, or if the metric returns something else than it should.
    CheckpointError, OutputError, EngineError
        As for `studies.run.run_study`.

    Examples
    --------
    >>> import studies
    >>> found = studies.sweep(lambda x, y: x * y, {"x": [1, 2], "y": [3, 4, 5]})
    >>> found.value.tolist()
    [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]
    """
    integer("block", block, minimum=1)
    if realizations is not None:
        integer("realizations", realizations, minimum=2)
    elif half_width is not None or relative_half_width is not None:
        raise InvalidArgumentError("realizations", "a largest number, with a target to stop at", "None")
    if half_width is not None and relative_half_width is not None:
        raise InvalidArgumentError("half_width", "no relative_half_width beside it", f"{half_width}")
    try:
        table = Sweep(
            axes=[Axis(axis=name, values=list(values)) for name, values in axes.items()], zip=list(zipped)
        )
    except ValueError as error:
        raise InvalidArgumentError("axes", "a grid of increasing numbers or texts", str(error)) from None
    dimensions = dimensions_of(table)
    blocks = 1 if realizations is None else -(-realizations // block)
    target = relative_half_width if half_width is None else half_width
    rule = StoppingRule(target, half_width is None, confidence, 0, blocks, None)
    configuration = {
        "metric": _identity(metric),
        "sweep": [[list(one.keys), *map(list, one.values)] for one in dimensions],
        "realizations": realizations,
        "block": block,
        "seed": seed,
        "rule": dataclasses.asdict(rule),
        "versions": versions(),
    }
    path = None if out is None else Path(out)
    if path is not None:
        if path.exists():
            return _read(path, dimensions, fingerprint(configuration))
        prepare_outputs([path])
    names = [key for one in dimensions for key in one.keys]
    places = list(places_of(dimensions))

    def courses() -> Any:
        stream = Stream(seed, "sweep")
        for number, place in enumerate(places):
            parameters = dict(zip(names, place, strict=True))
            yield number, _Course(_Call(metric, parameters, stream, realizations, block), rule)

    finished = 0

    def advanced(_: int, __: Any, done: bool) -> None:
        nonlocal finished
        finished += done
        if progress is not None:
            progress(finished, len(places))

    partial = None if path is None else path.with_suffix(".partial")
    with Checkpoint(partial, configuration) as kept, open_engine(engine, workers, scheduler) as chosen:
        run_tasks(courses(), _compute, kept, chosen, advanced)
        result = _assemble(courses(), kept, dimensions, fingerprint(configuration))
    if path is not None and partial is not None:
        result.write(path)
        partial.unlink()
    return result


class _Course:
    """One point under way; a `studies.runner.Course`."""

    def __init__(self, call: _Call, rule: StoppingRule) -> None:
        self.payload, self.rule = call, rule
        self.wanted = rule.next_look(0)
        self.seconds = 0.0
        self.means: list[NDArray[np.float64]] = []
        self.found: Observations | None = None
        self.reason: StopReason | None = None

    def take(self, block: Block) -> bool:
        """Take the next block; return whether the point has enough."""
        mean = block.arrays["mean"]
        part = Observations(int(block.arrays["count"]), mean, block.arrays["comoment"])
        self.found = part if self.found is None else self.found.merge(part)
        self.means.append(mean)
        self.seconds += block.seconds
        look: tuple[Any, ...] = ()
        if len(self.means) == self.wanted:
            self.wanted = self.rule.next_look(self.wanted)
            if self.payload.realizations is not None:
                look = self.found.estimate(), np.array(self.means)
        self.reason = self.rule.reason(len(self.means), self.seconds, *look)
        return self.reason is not None


def _compute(call: _Call, number: int) -> Block:
    begin = time.perf_counter()
    if call.realizations is None:
        rows = np.asarray(call.metric(**call.parameters), dtype=np.float64)[None]
        expected = "a number or an array (m,)"
    else:
        first = number * call.block
        draws = Draws(call.stream, first, min(call.block, call.realizations - first))
        rows = np.asarray(call.metric(draws, **call.parameters), dtype=np.float64)
        expected = f"shape ({draws.realizations},) or ({draws.realizations}, m)"
        if rows.shape[:1] != (draws.realizations,):
            raise InvalidArgumentError("metric", f"a function that returns {expected}", f"shape {rows.shape}")
    if rows.ndim > 2 or not np.all(np.isfinite(rows)):
        raise InvalidArgumentError(
            "metric", f"finite numbers, {expected}", f"shape {rows.shape}, or not finite"
        )
    found = Observations.of(rows.reshape(len(rows), -1))
    arrays = {"count": np.array(float(found.count)), "mean": found.mean, "comoment": found.comoment}
    return Block(arrays, time.perf_counter() - begin)


def _assemble(
    courses: Iterable[tuple[int, _Course]], blocks: Checkpoint, dimensions: list[Dimension], mark: str
) -> SweepResult:
    shape = tuple(len(one.values) for one in dimensions)
    estimates: list[Estimate] = []
    counts, reasons = np.zeros(shape, dtype=np.int64), np.full(shape, "", dtype=object)
    for number, course in take_tasks(courses, blocks):
        where = np.unravel_index(number, shape)
        found = course.found
        if found is None or (estimates and found.mean.shape != np.shape(estimates[0].value)):
            raise InvalidArgumentError("metric", "as many numbers at every point", "others at some")
        estimates.append(found.estimate())
        counts[where], reasons[where] = found.count, course.reason
    value, error = (
        np.array([getattr(one, part) for one in estimates]) for part in ("value", "standard_error")
    )
    inner = () if value.shape[1] == 1 else value.shape[1:]
    return SweepResult(
        dimensions, value.reshape(*shape, *inner), error.reshape(*shape, *inner), counts, reasons, mark
    )


def _read(path: Path, dimensions: list[Dimension], mark: str) -> SweepResult:
    variables, attributes = read_netcdf(path, FORMAT, SCHEMA_VERSION)
    if attributes["fingerprint"] != mark:
        raise OutputError(f"{path} already there, of another sweep: remove it, or choose another file")
    value, error, counts, reasons = (
        variables[name][1] for name in ("value", "standard_error", "realizations", "stop_reason")
    )
    return SweepResult(dimensions, value, error, counts, reasons, mark)


def _identity(metric: Callable[..., Any]) -> dict[str, str]:
    """Name of a metric, and a digest of its source where there is one."""
    name = f"{getattr(metric, '__module__', '')}.{getattr(metric, '__qualname__', type(metric).__qualname__)}"
    try:
        source = inspect.getsource(metric)
    except (OSError, TypeError):
        source = ""
    return {"name": name, "source": hashlib.sha256(source.encode()).hexdigest()}
