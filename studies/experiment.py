"""Experiments: named figures that are no sweep of a study file, and what their numbers are held against.

An experiment is a module below `studies.experiments`, named by its path there. The docstring of the module
is its title and description, and its `EXPERIMENT` says how it is measured and drawn, with which settings in
full and in a quick first look. What it measures are labelled arrays, from which alone the picture is drawn,
and checks: numbers of ours beside those of a source, or beside the threshold that a claim has to pass.
"""

import csv
import dataclasses
import importlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar, get_args

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.progress import Progress, tell_nothing
from studies.errors import ResultFileError
from studies.experiments import named_experiments
from studies.files import replace_file
from studies.netcdf import Variables, read_netcdf, write_netcdf
from studies.results import versions

__all__ = [
    "AGREEMENT",
    "CLAIM",
    "Check",
    "Experiment",
    "ExperimentResult",
    "Outcome",
    "Values",
    "farthest",
    "is_experiment_file",
    "load_experiment",
    "read_experiment",
    "run_experiment",
]

FORMAT = "double-ris experiment result"
SCHEMA_VERSION = 1

_CHECK, _VERSION = "check_", "version_"
"""What names of the columns of checks, and of the versions of packages, begin with."""

AGREEMENT = 5.0
"""Half-width, in standard errors, of an interval that should hold a reference: off by chance once in 2e6."""

CLAIM = 2.5758293035489004
"""Half-width, in standard errors, of the 99 % interval that should lie beyond a threshold."""

Values = Mapping[str, NDArray[Any]]
"""Values of the labelled arrays by name."""

Relation = Literal["equals", "at least", "at most"]
Verdict = Literal["passed", "not sure", "FAILED"]


@dataclass(frozen=True)
class Check:
    """A number of ours beside a reference or a threshold.

    Parameters
    ----------
    quantity : str
        What the number is, with its unit.
    ours : float
        Our value.
    reference : float
        The value of the source, or the threshold.
    source : str
        Where the reference comes from.
    relation : {"equals", "at least", "at most"}
        What ours should be.
    tolerance : float
        How far what `ours` estimates may be from the reference: half a unit of its last printed digit, or the
        known error of a limit.
    half_width : float
        Of the interval around `ours`: `AGREEMENT` standard errors for "equals", for thresholds `CLAIM`, or
        what the estimate has, by the bootstrap a 95 % interval; 0 for a number without statistical error. Of
        an interval that reaches further on one side it is that of the side on which the threshold lies.
    """

    quantity: str
    ours: float
    reference: float
    source: str
    relation: Relation = "equals"
    tolerance: float = 0.0
    half_width: float = 0.0

    @classmethod
    def of(
        cls, quantity: str, estimate: Iterable[float], reference: float, source: str, relation: Relation
    ) -> Self:
        """Return the check of an estimate with its interval: value, low and high end."""
        value, low, high = map(float, estimate)
        towards = value - low if value >= reference else high - value
        return cls(quantity, value, reference, source, relation, half_width=towards)

    @property
    def deviation(self) -> float:
        """Ours less the reference."""
        return self.ours - self.reference

    @property
    def passed(self) -> bool:
        """Whether the interval meets the reference, or lies beyond the threshold as a whole; not for NaN."""
        if self.relation == "equals":
            return abs(self.deviation) <= self.tolerance + self.half_width
        return self._ahead >= self.half_width

    @property
    def verdict(self) -> Verdict:
        """Whether it passed, failed, or is not sure, as the interval holds the threshold."""
        if self.passed:
            return "passed"
        return "not sure" if self.relation != "equals" and abs(self._ahead) < self.half_width else "FAILED"

    @property
    def _ahead(self) -> float:
        """How far ours is on the right side of the threshold."""
        return self.tolerance + (self.deviation if self.relation == "at least" else -self.deviation)


def farthest(checks: Iterable[Check]) -> Check:
    """Return the one of many like checks that comes closest to failing, or fails by most."""
    among = list(checks)

    def share(check: Check) -> float:
        allowed = check.tolerance + check.half_width
        return abs(check.deviation) / allowed if allowed > 0 else abs(check.deviation)

    worst = max(among, key=lambda check: (not check.passed, share(check)))
    return dataclasses.replace(worst, quantity=f"{worst.quantity} (farthest of {len(among)})")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an experiment measured.

    Attributes
    ----------
    data : dict
        Labelled arrays: by name dimensions, values and notes ("units" and "long_name").
    checks : tuple of Check
        Numbers beside their references.
    """

    data: Variables
    checks: tuple[Check, ...]

    @property
    def values(self) -> Values:
        """Values of the arrays by name."""
        return {name: values for name, (_, values, _) in self.data.items()}


Settings = TypeVar("Settings")


@dataclass(frozen=True, eq=False)
class Experiment(Generic[Settings]):
    """How an experiment is measured and drawn.

    Parameters
    ----------
    measure : callable
        Of the settings, a random stream and a progress callback; returns an `Outcome`.
    draw : callable
        Makes the picture from the values of the outcome.
    settings, quick : dataclass
        Settings in full, and for a first look in seconds.
    papers : tuple of str
        Keys of the papers to cite.
    packages : tuple of str
        Those that compute its numbers, besides those of every result.
    """

    measure: Callable[[Settings, Stream, Progress], Outcome]
    draw: Callable[[Values], Figure]
    settings: Settings
    quick: Settings
    papers: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """The outcome of an experiment and where it comes from.

    Attributes
    ----------
    name : str
        Of the experiment.
    quick : bool
        Whether the quick settings were taken.
    settings : str
        The settings, JSON.
    seed : int
        Of the random numbers.
    outcome : Outcome
        What was measured.
    versions : dict of str to str
        Of Python and the packages that computed it.
    wall_time_s : float
        Time that it took, seconds.
    """

    name: str
    quick: bool
    settings: str
    seed: int
    outcome: Outcome
    versions: Mapping[str, str]
    wall_time_s: float

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.outcome.checks)

    def is_of(self, name: str, seed: int, quick: bool) -> bool:
        """Whether a run of an experiment as it is now, by the packages of now, would measure the same."""
        experiment = load_experiment(name)
        settings = _as_json(experiment.quick if quick else experiment.settings)
        asked = (name, seed, settings, versions(*experiment.packages))
        return (self.name, self.seed, self.settings, dict(self.versions)) == asked

    def draw(self) -> Figure:
        """Draw the picture of the experiment; `plots.write_figure` gives it the style of all figures.

        Raises
        ------
        ResultFileError
            If it lacks something that the experiment, as it is now, draws.
        """
        try:
            return load_experiment(self.name).draw(self.outcome.values)
        except KeyError as error:
            lacks = f"a result of {self.name} of another version: {error.args[0]!r} is missing"
            raise ResultFileError(f"{lacks}; measure it anew by ris run {self.name} --force") from None

    def write(self, path: Path) -> None:
        """Write a result file; it replaces one that is there.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        data = {**self.outcome.data, **_check_table(self.outcome.checks)}
        sizes = {
            dimension: size
            for dimensions, values, _ in data.values()
            for dimension, size in zip(dimensions, values.shape, strict=True)
        }
        attributes = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "experiment": self.name,
            "quick": int(self.quick),
            "settings": self.settings,
            "seed": self.seed,
            "wall_time_s": self.wall_time_s,
            **{f"{_VERSION}{name}": version for name, version in self.versions.items()},
        }
        replace_file(path, lambda temporary: write_netcdf(temporary, sizes, data, attributes))

    def write_csv(self, path: Path) -> None:
        """Write the table of checks.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        table = _check_table(self.outcome.checks)

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file)
                rows.writerow(name.removeprefix(_CHECK) for name in table)
                rows.writerows(zip(*(values.tolist() for _, values, _ in table.values()), strict=True))

        replace_file(path, write)


def load_experiment(name: str) -> Experiment[Any]:
    """Return an experiment of the package by its name.

    Raises
    ------
    InvalidArgumentError
        If there is none of that name.
    """
    known = named_experiments()
    if name not in known:
        raise InvalidArgumentError("name", f"one of {', '.join(known)}", repr(name))
    module = importlib.import_module("studies.experiments." + name.replace("/", "."))
    experiment: Experiment[Any] = module.EXPERIMENT
    return experiment


def run_experiment(
    name: str, *, seed: int = 1, quick: bool = False, progress: Progress = tell_nothing
) -> ExperimentResult:
    """Measure an experiment.

    Parameters
    ----------
    name : str
        Its name.
    seed : int
        Of its random numbers.
    quick : bool
        Whether to take its quick settings.
    progress : callable
        Told the share that is done, and what is next.

    Raises
    ------
    InvalidArgumentError
        If there is no experiment of that name.
    """
    experiment = load_experiment(name)
    settings = experiment.quick if quick else experiment.settings
    begin = time.perf_counter()
    outcome = experiment.measure(settings, Stream(seed, "experiment", name), progress)
    taken = time.perf_counter() - begin
    made_by = versions(*experiment.packages)
    return ExperimentResult(name, quick, _as_json(settings), seed, outcome, made_by, taken)


def is_experiment_file(path: Path) -> bool:
    """Whether a file says that it is the result of an experiment; `read_experiment` finds what is wrong."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:
        return False


def read_experiment(path: Path) -> ExperimentResult:
    """Read a result file and check that it is whole.

    Raises
    ------
    ResultFileError
        If the file cannot be read, is of another kind or version, is damaged, or is of no experiment of the
        package.
    """
    variables, attributes = read_netcdf(path, FORMAT, SCHEMA_VERSION)
    try:
        types = {"experiment": str, "quick": int, "settings": str, "seed": int, "wall_time_s": float}
        types |= {key: str for key in attributes if key.startswith(_VERSION)}
        for key, expected in types.items():
            if type(attributes[key]) is not expected:
                got = f"expected {expected.__name__}, got {attributes[key]!r}"
                raise ResultFileError(f"{path}: {key}: {got}")
        if attributes["experiment"] not in named_experiments():
            raise ResultFileError(f"{path}: the package has no experiment {attributes['experiment']!r}")
        return ExperimentResult(
            name=attributes["experiment"],
            quick=bool(attributes["quick"]),
            settings=attributes["settings"],
            seed=attributes["seed"],
            outcome=Outcome(
                {name: entry for name, entry in variables.items() if not name.startswith(_CHECK)},
                _checks_of(path, variables),
            ),
            versions={k.removeprefix(_VERSION): v for k, v in attributes.items() if k.startswith(_VERSION)},
            wall_time_s=attributes["wall_time_s"],
        )
    except KeyError as error:
        raise ResultFileError(f"{path}: {error.args[0]!r} is missing") from None


def _checks_of(path: Path, variables: Variables) -> tuple[Check, ...]:
    """Return the checks of the table that `_check_table` made, or raise a `ResultFileError`."""
    fields = dataclasses.fields(Check)
    columns = [variables[f"{_CHECK}{field.name}"][1] for field in fields]
    for field, column in zip(fields, columns, strict=True):
        expected = float if field.type is float else str
        if column.ndim != 1 or not all(type(value) is expected for value in column.tolist()):
            told = f"expected a column of {expected.__name__}, got {column.dtype} of shape {column.shape}"
            raise ResultFileError(f"{path}: {_CHECK}{field.name}: {told}")
    if len({column.size for column in columns}) > 1:
        raise ResultFileError(f"{path}: columns of checks differ in length")
    checks = tuple(Check(*row) for row in zip(*(column.tolist() for column in columns), strict=True))
    for check in checks:
        if check.relation not in get_args(Relation):
            told = f"expected one of {', '.join(get_args(Relation))}, got {check.relation!r}"
            raise ResultFileError(f"{path}: {_CHECK}relation: {told}")
    return checks


def _check_table(checks: tuple[Check, ...]) -> Variables:
    names = [*(field.name for field in dataclasses.fields(Check)), "deviation", "passed"]
    columns = {name: [getattr(check, name) for check in checks] for name in names}
    return {
        f"{_CHECK}{name}": (("check",), np.array(column, object if _is_text(column) else float), {})
        for name, column in columns.items()
    }


def _is_text(column: list[Any]) -> bool:
    return any(isinstance(value, str) for value in column)


def _as_json(settings: Any) -> str:
    return json.dumps(dataclasses.asdict(settings), sort_keys=True)
