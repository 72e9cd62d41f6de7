"""Evaluation of a study: closed form and simulation of every scheme at every value of its axis."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from studies.config import Point, Study
from studies.quantities import QUANTITIES, Part, z_values
from studies.results import StudyResult, versions
from studies.scenario import build, power_and_noise

__all__ = ["Evaluation", "Task", "evaluate", "run_study", "tasks"]

Evaluation = dict[tuple[str, Part], NDArray[np.float64]]
"""Values of one point by quantity and part."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


@dataclass(frozen=True)
class Task:
    """One scheme at one value: all that its evaluation depends on.

    Attributes
    ----------
    scheme, index : int
        Where the result belongs: the number of the scheme, and of the value on the axis.
    point : Point
        The system.
    stream : channels.Stream
        Random numbers: those of the seed, the axis and the value. So schemes share them, which makes their
        differences sharper than their levels, and a point keeps its numbers whatever else is in the sweep.
    realizations : int
        Number of realizations.
    """

    scheme: int
    index: int
    point: Point
    stream: channels.Stream
    realizations: int


def tasks(study: Study, *, seed: int, realizations: int, quick: bool = False) -> Iterator[Task]:
    """Yield the tasks of a study, scheme by scheme."""
    axis = study.settings.sweep.axis
    for scheme in range(len(study.schemes)):
        for index, value in enumerate(study.values(quick)):
            stream = channels.Stream(seed, axis, repr(float(value)))
            yield Task(scheme, index, study.point(scheme, value), stream, realizations)


def evaluate(
    task: Task, threads: int | None = None, progress: Callable[[int], None] | None = None
) -> Evaluation:
    """Evaluate one task; the result does not depend on the number of threads.

    Parameters
    ----------
    task : Task
        What to evaluate.
    threads : int, optional
        Threads of the simulation; by default as many as processors.
    progress : callable, optional
        Called with the number of realizations done.
    """
    csi = task.point.transmission.csi
    power, noise_power = power_and_noise(task.point.transmission)
    system, theta1, theta2 = build(task.point, task.stream.seed)
    moments = ris.closed_form_moments(system, theta1, theta2, csi)
    rates = {
        bound: ris.rate_from_moments(moments, power=power, noise_power=noise_power, bound=bound)
        for bound in ("hardening", "ratio")
    }
    closed = {
        "hardening_sum_rate": rates["hardening"].sum(),
        "ratio_sum_rate": rates["ratio"].sum(),
        "hardening_rate": rates["hardening"],
        "ratio_rate": rates["ratio"],
        "mean_gain": moments.mean_gain,
        "interference": moments.interference,
    }
    simulation = ris.simulate(
        system,
        theta1,
        theta2,
        power=power,
        noise_power=noise_power,
        realizations=task.realizations,
        seed=task.stream,
        csi=csi,
        engine=task.point.simulation.engine,
        threads=threads,
        progress=progress,
    )
    result: Evaluation = {}
    for name, quantity in QUANTITIES.items():
        estimate = getattr(simulation, name)
        result[name, "simulated"] = np.asarray(estimate.value)
        result[name, "standard_error"] = np.asarray(estimate.standard_error)
        if quantity.closed:
            result[name, "closed_form"] = np.asarray(closed[name])
            result[name, "z"] = z_values(closed[name], estimate.value, estimate.standard_error)
    return result


def run_study(
    study: Study,
    *,
    seed: int | None = None,
    realizations: int | None = None,
    quick: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Evaluate a study.

    Parameters
    ----------
    study : Study
        From `load_study` or `parse_study`.
    seed, realizations : int, optional
        In place of those of the study.
    quick : bool
        Take the study's quick values and quick number of realizations.
    threads : int, optional
        As for `evaluate`.
    progress : callable, optional
        Called with the share of the work that is done.

    Returns
    -------
    StudyResult
        The same numbers for any number of threads.
    """
    begin = time.monotonic()
    seed = study.settings.seed if seed is None else seed
    realizations = study.realizations(quick) if realizations is None else realizations
    todo = list(tasks(study, seed=seed, realizations=realizations, quick=quick))
    sizes = {
        "user": (users := max(task.point.system.users.count for task in todo)),
        "other_user": users,
    }
    lead = (len(study.schemes), len(study.values(quick)))
    data = {
        (name, part): np.full((*lead, *(sizes[axis] for axis in quantity.axes)), np.nan)
        for name, quantity in QUANTITIES.items()
        for part in quantity.parts
    }
    for number, task in enumerate(todo):
        inner = None
        if progress is not None:
            inner = _inner(progress, number, len(todo), task.realizations)
        for key, value in evaluate(task, threads, inner).items():
            # Points with fewer users than others leave the rest of their row empty (NaN).
            place: tuple[Any, ...] = (task.scheme, task.index, *(slice(length) for length in value.shape))
            data[key][place] = value
    return StudyResult(
        study=study,
        seed=seed,
        realizations=realizations,
        quick=quick,
        data=data,
        versions=versions(),
        wall_time_s=time.monotonic() - begin,
    )


def _inner(progress: Progress, number: int, total: int, realizations: int) -> Callable[[int], None]:
    return lambda done: progress((number + done / realizations) / total)
