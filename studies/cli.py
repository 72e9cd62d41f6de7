"""The `ris` command."""

import difflib
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from studies.errors import (
    CheckpointError,
    EngineError,
    OutputError,
    ResultFileError,
    StudyFileError,
    UsageError,
)
from studies.options import ExecutorName

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from studies.config import Study
    from studies.results import StudyResult
    from studies.run import Status

__all__ = ["app", "main", "run_command"]

FIGURES = Path(__file__).parent / "figures"

BAD_INPUT, FAILED_VERIFICATION, INTERRUPTED = 2, 1, 128 + signal.SIGINT

SECONDS_BETWEEN_LINES = 10.0
"""How often progress is told where no terminal shows a bar."""

WIDTH = 150
"""Characters a line where no terminal sets them."""

app = App(
    name="ris",
    help="""Rates of the double-RIS multi-user MISO downlink: closed form against simulation.

    Begin with `ris list`, then `ris run power --quick`.
    """,
    help_format="markdown",
    version="",
    version_flags=[],
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)

Flag = Annotated[bool, Parameter(negative="")]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command.

    Returns
    -------
    int
        Exit code: 0, 1 if `ris verify` found a disagreement, 2 on bad input, 130 if interrupted.
    """
    try:
        return app(arguments) or 0
    except KeyboardInterrupt:
        print("ris: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not _is_mistake(error):
            raise
        print(f"ris: {error}", file=sys.stderr)
        return BAD_INPUT


@app.command(name="list")
def list_studies() -> None:
    """List the studies that come with the package.

    Run one by its name, or use its file as a start for your own.

    Example: `ris list`
    """
    paths = _named_studies()
    width = max(map(len, paths))
    for name, path in paths.items():
        print(f"{name:{width}}  {tomllib.loads(path.read_text(encoding='utf-8'))['title']}")
    print(f"\nRun one:          ris run {next(iter(paths))} --quick\nThe study files:  {FIGURES}")


@app.command
def run(
    study: str,
    /,
    *,
    quick: Flag = False,
    out: Path = Path("results"),
    force: Flag = False,
    realizations: Count | None = None,
    seed: Seed | None = None,
    engine: ExecutorName = "serial",
    workers: Count | None = None,
    scheduler: str | None = None,
    shard: str | None = None,
    quiet: Flag = False,
) -> None:
    """Run a study: closed form and simulation of every scheme at every point, then tables and a picture.

    Writes NAME.h5 (everything, netCDF4), NAME.csv, NAME.png and NAME.pdf; with --quick, NAME-quick.*. Until
    they are there, NAME.partial keeps every finished block of realizations: after an interruption of any
    kind, run the same command again to go on. The numbers depend on none of engine, workers, interruptions
    and shards.

    Example: `ris run power --quick`

    Example: `ris run my_study.toml --out my_results --realizations 50000 --engine processes`

    Example: `ris run my_study.toml --shard 2/8`, and when all eight are done `ris merge
    results/my_study.*.partial`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    quick
        Fewer points and realizations: a first look in seconds.
    out
        Directory of the results; made if it is not there.
    force
        Start over: overwrite results and forget blocks that are there.
    realizations
        Realizations of each point, in place of the study's.
    seed
        Seed of the random numbers, in place of the study's.
    engine
        Where blocks are computed: one after the other in this process on `workers` threads, in `workers`
        processes, or by dask.distributed.
    workers
        Threads or processes; all processors by default.
    scheduler
        Address of the dask scheduler, as tcp://host:8786.
    shard
        i/n: compute the i-th of n parts only; `ris merge` makes the result of all.
    quiet
        Print nothing but errors.
    """
    from studies import plots, report
    from studies.citations import papers_of
    from studies.files import prepare_outputs
    from studies.link_budget import link_budget
    from studies.run import Plan, checkpoint_path, run_study

    loaded = _study(study)
    if realizations == 1:
        raise UsageError("--realizations: expected >= 2, as one realization has no standard error, got 1")
    part = None if shard is None else _shard(shard)
    plan = Plan.of(loaded, seed, realizations, quick)
    paths = {kind: out / f"{loaded.name}{'-quick' * quick}.{kind}" for kind in ("h5", "csv", "png", "pdf")}
    checkpoint = checkpoint_path(paths["h5"], part)
    console = _console(quiet)
    result = None
    if force:
        for path in (*paths.values(), checkpoint, checkpoint.with_name(checkpoint.name + "-wal")):
            path.unlink(missing_ok=True)
    elif part is None:
        result = _complete(paths["h5"], plan.fingerprint)
    if result is not None and all(path.exists() for path in paths.values()):
        console.print(f"{paths['h5']} is complete; --force runs the study again.")
        return
    prepare_outputs([checkpoint], force=True)

    settings = loaded.settings
    console.print(settings.title, style="bold")
    console.print(f"{settings.description.strip()}\n")
    places = list(loaded.places(quick))
    middle = places[len(places) // 2]
    points = {label: loaded.point(number, *middle) for number, label in enumerate(loaded.schemes)}
    budgets = {label: link_budget(point, plan.seed) for label, point in points.items()}
    console.print(report.budget_table(budgets, plan.where(middle)))
    if result is None:
        with _progress(loaded.name, quiet) as progress:
            result = run_study(
                loaded,
                seed=seed,
                realizations=realizations,
                quick=quick,
                engine=engine,
                workers=workers,
                scheduler=scheduler,
                checkpoint=checkpoint,
                shard=part,
                progress=progress,
            )
    if result is None:
        console.print(
            f"Written: {checkpoint}. When all shards are done: ris merge {out}/{loaded.name}.*.partial"
        )
        return
    if not paths["h5"].exists():
        result.write(paths["h5"])
    checkpoint.unlink(missing_ok=True)
    result.write_csv(paths["csv"])
    plots.save(result, paths["png"], paths["pdf"])
    console.print(report.rate_tables(result), report.z_table(result))
    console.print(f"\n{report.summary(result)}")
    console.print("Written: " + ", ".join(map(str, paths.values())), soft_wrap=True)
    papers = papers_of(points.values(), settings.citations)
    console.print(f"Papers to cite (BibTeX: ris cite {study}): {', '.join(papers)}")


@app.command
def merge(checkpoints: list[Path], /, *, out: Path | None = None, force: Flag = False) -> None:
    """Make the result of a study from the files of all its shards.

    Example: `ris merge results/power.*.partial`

    Example: `ris merge results/power.*.partial --out power.h5`

    Parameters
    ----------
    checkpoints
        The .partial files that `ris run --shard` wrote.
    out
        The result; by default NAME.h5 beside the first file.
    force
        Overwrite a result that is there.
    """
    from studies.files import prepare_outputs
    from studies.run import merge as merge_shards

    first = checkpoints[0]
    path = out or first.with_name(f"{first.name.split('.')[0]}.h5")
    prepare_outputs([path], force=force)
    merge_shards(checkpoints).write(path)
    print(f"Written: {path}. Tables: ris show {path}")


@app.command
def show(result: Path, /) -> None:
    """Print the tables of a result file.

    Example: `ris show results/power.h5`

    Parameters
    ----------
    result
        An .h5 file that `ris run` or `ris merge` wrote.
    """
    from studies import report
    from studies.results import read_result

    content = read_result(result)
    console = _console()
    console.print(content.study.settings.title, style="bold")
    console.print(report.rate_tables(content), report.z_table(content))
    console.print(f"\n{report.summary(content)}")


@app.command
def export(result: Path, /, *, csv: Path | None = None, force: Flag = False) -> None:
    """Write a result file as one tidy CSV table: a row for each scheme, point, quantity and user.

    Example: `ris export results/power.h5 --csv power.csv`

    Parameters
    ----------
    result
        An .h5 file that `ris run` or `ris merge` wrote.
    csv
        The table; by default beside the result.
    force
        Overwrite a table that is there.
    """
    from studies.files import prepare_outputs
    from studies.results import read_result

    path = csv or result.with_suffix(".csv")
    content = read_result(result)
    prepare_outputs([path], force=force)
    content.write_csv(path)
    print(f"Written: {path}")


@app.command
def export_channels(
    study: str,
    /,
    *,
    realizations: Count,
    out: Path,
    scheme: str | None = None,
    at: list[str] | None = None,
    seed: Seed | None = None,
    force: Flag = False,
) -> None:
    """Write realizations of the users' channels at one point of a study, in bounded memory.

    An HDF5 file for h5py, MATLAB and Octave: channels_real and channels_imag (realization, antenna, user),
    the phase shifts theta1 and theta2, and attributes. They are the realizations that `ris run` sees.

    Example: `ris export-channels power --realizations 1000 --out channels.h5`

    Example: `ris export-channels power --at 20 --scheme "all paths" --realizations 1000000 --out channels.h5`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    realizations
        Number of realizations.
    out
        The file.
    scheme
        Label of a scheme; the first one by default.
    at
        Value of each axis of the sweep, in their order; the first point by default.
    seed
        Seed of the random numbers, in place of the study's.
    force
        Overwrite a file that is there.
    """
    from studies.files import prepare_outputs
    from studies.realizations import export_channels as write_channels
    from studies.run import Plan

    loaded = _study(study)
    if scheme is not None and scheme not in loaded.schemes:
        raise UsageError(f"--scheme: expected one of {', '.join(loaded.schemes)}, got {scheme!r}")
    plan = Plan.of(loaded, seed)
    places = {tuple(map(_typed, place)): place for place in loaded.places()}
    wanted = next(iter(places)) if at is None else tuple(map(_typed, at))
    if wanted not in places:
        raise UsageError(
            f"--at: expected values of the sweep, as {plan.where(places[next(iter(places))])}, got {at}"
        )
    prepare_outputs([out], force=force)
    write_channels(
        loaded,
        out,
        scheme=loaded.schemes.index(scheme or loaded.schemes[0]),
        place=places[wanted],
        stream=plan.stream(places[wanted]),
        realizations=realizations,
    )
    print(f"Written: {out}")


@app.command
def new(name: str, /) -> None:
    """Write a study file to start from, every key with a comment.

    Example: `ris new my_study`, then `ris run my_study.toml --quick`

    Parameters
    ----------
    name
        Name of the study; the file is NAME.toml in this directory.
    """
    from studies.files import prepare_outputs
    from studies.template import TEMPLATE

    if not name.replace("-", "_").isidentifier():
        raise UsageError(f"expected a name of letters, digits, - and _, got {name!r}")
    path = Path(f"{name}.toml")
    prepare_outputs([path])
    path.write_text(TEMPLATE.format(name=name), encoding="utf-8")
    print(f"Written: {path}. Try it: ris run {path} --quick")


@app.command
def plot(
    result: Path,
    /,
    *,
    x: str | None = None,
    y: str = "sum_rate",
    by: str = "scheme",
    out: Path | None = None,
    force: Flag = False,
) -> None:
    """Draw a result file as PNG (300 dots per inch) and PDF: its own picture, or any quantity over any axis.

    Example: `ris plot results/power.h5 --out pictures`

    Example: `ris plot results/power.h5 --x power_dbm --y sum_rate --by scheme`

    Parameters
    ----------
    result
        An .h5 file that `ris run` or `ris merge` wrote.
    x
        Axis to draw over: one of the sweep, scheme, user, or quantile. By default the study's own picture.
    y
        Quantity, as hardening_sum_rate, ergodic_rate, outage; sum_rate and rate are the hardening bound.
    by
        Axis with a curve for each of its values.
    out
        Directory of the pictures; that of the result by default.
    force
        Overwrite pictures that are there.
    """
    from studies import curves, plots
    from studies.files import prepare_outputs
    from studies.results import read_result

    content = read_result(result)
    stem = result.stem if x is None else f"{result.stem}-{y}-over-{x}-by-{by}"
    png, pdf = ((out or result.parent) / f"{stem}.{kind}" for kind in ("png", "pdf"))
    figure = None if x is None else curves.draw_axes(content, x, y, by)
    prepare_outputs([png, pdf], force=force)
    if figure is None:
        plots.save(content, png, pdf)
    else:
        curves.save_axes(figure, png, pdf)
    print(f"Written: {png}, {pdf}")


@app.command
def verify(
    *, systems: Count = 200, seed: Seed = 1, realizations: Count = 100_000, threads: Count | None = None
) -> int:
    """Check the closed forms of random systems against simulation; the exit code is 1 if they disagree.

    Random sizes, complex covariances of random rank, path sets, laws of phase noise, phases and CSI. If every
    closed form is right it fails with probability 1e-6, whatever the number of systems. It also prints the
    smallest error that it would have found.

    Example: `ris verify --systems 20 --seed 7`

    Parameters
    ----------
    systems
        Number of random systems.
    seed
        Seed of the systems and of their simulations.
    realizations
        Fewest realizations of a system, at least 1000; systems of rare large gains take more.
    threads
        Threads of the simulation; all processors by default.
    """
    from studies import report
    from studies.verify import verify as verify_systems

    with _bar("verify") as bar:
        found = verify_systems(
            systems=systems,
            seed=seed,
            realizations=realizations,
            threads=threads,
            progress=lambda share: bar(share, ""),
        )
    _console().print(report.verification_table(found))
    return 0 if found.passed else FAILED_VERIFICATION


@app.command
def bench(
    what: Literal["engine", "design"] = "engine",
    /,
    *,
    quick: Flag = False,
    threads: Count | None = None,
    out: Path = Path("results"),
    force: Flag = False,
) -> None:
    """Measure how fast channels are drawn, or how good the designs of phase shifts are.

    engine: three tables, from runs that take turns: the engines against NumPy at the same law, with the share
    of the bound; time per realization by number of elements; thread scaling. Writes bench-engine.h5.

    design: every method on three systems: rate, share of the best, time, and gap to the bound. Writes
    bench-design.md.

    Example: `ris bench engine --quick`

    Parameters
    ----------
    what
        What is measured.
    quick
        Fewer sizes and turns: a minute instead of several.
    threads
        Most threads of the engines; all processors by default.
    out
        Directory of the result file; made if it is not there.
    force
        Overwrite a result file that is there.
    """
    from studies.benchmarks import design, engine
    from studies.files import prepare_outputs

    def progress(line: str) -> None:
        print(f"measuring {line}", file=sys.stderr, flush=True)

    path = out / ("bench-engine.h5" if what == "engine" else "bench-design.md")
    prepare_outputs([path], force=force)
    result = engine.run(quick, threads, progress) if what == "engine" else design.run(quick, progress)
    print(result.text())
    result.write(path)
    print(f"Written: {path}")


@app.command
def cite(study: str | None = None, /) -> None:
    """Print the papers behind a study, or behind everything, as BibTeX.

    Example: `ris cite power > power.bib`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    """
    from studies.citations import BIBTEX, papers_of

    keys = sorted(BIBTEX)
    if study is not None:
        loaded = _study(study)
        points = [loaded.point(i, loaded.values()[0]) for i in range(len(loaded.schemes))]
        keys = papers_of(points, loaded.settings.citations)
    print("\n\n".join(BIBTEX[key] for key in keys))


def _console(quiet: bool = False) -> "Console":
    from rich.console import Console

    # Titles and labels are printed as they are, whatever brackets and colons they hold.
    width = None if sys.stdout.isatty() else WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width, quiet=quiet)


def _shard(text: str) -> tuple[int, int]:
    """Read "i/n", i from 1."""
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise UsageError(f"--shard: expected i/n, as 1/4, got {text!r}")
    number, count = map(int, parts)
    if not 1 <= number <= count:
        raise UsageError(f"--shard: expected i/n with 1 <= i <= n, got {text!r}")
    return number - 1, count


def _complete(path: Path, fingerprint: str) -> "StudyResult | None":
    """Return the result of a run if it is there; refuse one of another run."""
    from studies.results import read_result

    if not path.exists():
        return None
    result = read_result(path)
    if result.fingerprint != fingerprint:
        raise OutputError(
            f"{path} already there, of another run: give --force to overwrite, or another --out"
        )
    return result


def _typed(value: object) -> object:
    """Numbers as numbers, all else as text: how a person gives the value of an axis."""
    try:
        return float(str(value))
    except ValueError:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _named_studies() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FIGURES.glob("*.toml"))}


def _study(name: str) -> "Study":
    """Load a study by its name, or from a file."""
    from studies.config import load_study

    named = _named_studies()
    if name in named:
        return load_study(named[name])
    if name.endswith(".toml"):
        return load_study(Path(name))
    close = difflib.get_close_matches(name, named, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(named)}."
    raise UsageError(f"no study {name!r}; {hint} A file of your own ends in .toml.")


def _is_mistake(error: Exception) -> bool:
    """Whether an error is about what the person gave, and not about this program."""
    from channels.errors import InvalidArgumentError

    known = (
        CycloptsError,
        CheckpointError,
        EngineError,
        OutputError,
        ResultFileError,
        StudyFileError,
        UsageError,
    )
    return isinstance(error, (*known, InvalidArgumentError, MemoryError))


@contextmanager
def _progress(label: str, quiet: bool) -> "Iterator[Callable[[Status], None] | None]":
    """Show how far a run is: share, point, half-width, realizations a second and time left."""
    if quiet:
        yield None
        return
    begin, first = time.monotonic(), -1

    with _bar(label) as bar:

        def tell(status: "Status") -> None:
            nonlocal first
            if first < 0:  # blocks of earlier runs come at once
                first = status.realizations
            rate = (status.realizations - first) / max(time.monotonic() - begin, 1e-3)
            width = "" if status.half_width is None else f", half-width {status.half_width:.3g}"
            points = f"{status.points_done}/{status.points} points"
            bar(status.share, f"{points}, {rate:,.0f} realizations/s, at {status.label}{width}")

        yield tell


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show progress on the error stream: a bar on a terminal, else a plain line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn(label),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda share, text: bar.update(task, completed=share, description=text)
        return
    begin = told = time.monotonic()
    start = None

    def tell(share: float, text: str) -> None:
        nonlocal told, start
        start = share if start is None else start
        if (now := time.monotonic()) - told >= SECONDS_BETWEEN_LINES:
            told = now
            left = (now - begin) * (1 - share) / (share - start) if share > start else float("inf")
            print(f"{label}: {share:.0%}, about {left:.0f} s left; {text}", file=sys.stderr, flush=True)

    yield tell
