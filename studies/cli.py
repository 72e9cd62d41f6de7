"""The `ris` command."""

import difflib
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from studies.errors import OutputError, ResultFileError, StudyFileError, UsageError

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from studies.config import Study

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
    threads: Count | None = None,
) -> None:
    """Run a study: closed form and simulation of every scheme at every point, then tables and a picture.

    Writes NAME.h5 (everything, netCDF4), NAME.csv, NAME.png and NAME.pdf; with --quick, NAME-quick.*. The
    same seed gives the same numbers on any number of threads.

    Example: `ris run power --quick`

    Example: `ris run my_study.toml --out my_results --realizations 50000`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    quick
        Fewer points and realizations: a first look in seconds.
    out
        Directory of the results; made if it is not there.
    force
        Overwrite results that are there.
    realizations
        Realizations of each point, in place of the study's.
    seed
        Seed of the random numbers, in place of the study's.
    threads
        Threads of the simulation; all processors by default.
    """
    from studies import plots, report
    from studies.citations import papers_of
    from studies.link_budget import link_budget
    from studies.files import prepare_outputs
    from studies.run import run_study

    loaded = _study(study)
    if realizations == 1:
        raise UsageError("--realizations: expected >= 2, as one realization has no standard error, got 1")
    paths = {kind: out / f"{loaded.name}{'-quick' * quick}.{kind}" for kind in ("h5", "csv", "png", "pdf")}
    prepare_outputs(list(paths.values()), force=force)

    console = _console()
    settings = loaded.settings
    console.print(f"[bold]{settings.title}[/bold]\n{settings.description.strip()}\n")
    values = loaded.values(quick)
    middle = values[len(values) // 2]
    points = {label: loaded.point(number, middle) for number, label in enumerate(loaded.schemes)}
    budgets = {
        label: link_budget(point, settings.seed if seed is None else seed) for label, point in points.items()
    }
    console.print(report.budget_table(budgets, f"{settings.sweep.axis} = {middle:g}"))
    with _progress(loaded.name) as progress:
        result = run_study(
            loaded, seed=seed, realizations=realizations, quick=quick, threads=threads, progress=progress
        )
    result.write(paths["h5"])
    result.write_csv(paths["csv"])
    plots.save(result, paths["png"], paths["pdf"])
    console.print(report.rate_tables(result), report.z_table(result))
    console.print(
        f"\nSeed {result.seed}, {result.realizations} realizations a point, {result.wall_time_s:.1f} s."
    )
    console.print("Written: " + ", ".join(map(str, paths.values())), soft_wrap=True)
    papers = papers_of(points.values(), settings.citations)
    console.print(f"Papers to cite (BibTeX: ris cite {study}): {', '.join(papers)}")


@app.command
def plot(result: Path, /, *, out: Path | None = None, force: Flag = False) -> None:
    """Draw the picture of a result file again, as PNG (300 dots per inch) and PDF.

    Example: `ris plot results/power.h5 --out pictures`

    Parameters
    ----------
    result
        An .h5 file that `ris run` wrote.
    out
        Directory of the pictures; that of the result by default.
    force
        Overwrite pictures that are there.
    """
    from studies import plots
    from studies.files import prepare_outputs
    from studies.results import read_result

    content = read_result(result)
    png, pdf = ((out or result.parent) / f"{result.stem}.{kind}" for kind in ("png", "pdf"))
    prepare_outputs([png, pdf], force=force)
    plots.save(content, png, pdf)
    print(f"Written: {png}, {pdf}")


@app.command
def verify(
    *, systems: Count = 200, seed: Seed = 1, realizations: Count = 50_000, threads: Count | None = None
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

    with _progress("verify") as progress:
        found = verify_systems(
            systems=systems, seed=seed, realizations=realizations, threads=threads, progress=progress
        )
    _console().print(report.verification_table(found))
    return 0 if found.passed else FAILED_VERIFICATION


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


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


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
    from channels.errors import InvalidArgumentError, MemoryLimitError

    known = CycloptsError, OutputError, ResultFileError, StudyFileError, UsageError
    return isinstance(error, (*known, InvalidArgumentError, MemoryLimitError))


@contextmanager
def _progress(label: str) -> Iterator[Callable[[float], None]]:
    """Show progress on the error stream: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = TextColumn(label), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=1.0)
            yield lambda share: bar.update(task, completed=share)
        return
    begin = told = time.monotonic()

    def tell(share: float) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= SECONDS_BETWEEN_LINES:
            told = now
            print(f"{label}: {share:.0%} after {now - begin:.0f} s", file=sys.stderr, flush=True)

    yield tell
