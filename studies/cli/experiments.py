"""What commands do with experiments: measure one, and show its checks."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from studies.cli.app import FAILED_VERIFICATION
from studies.cli.catalogue import title_of
from studies.cli.console import make_console, show_bar
from studies.errors import OutputError
from studies.experiments import named_experiments

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from studies.experiment import ExperimentResult

__all__ = ["print_experiment", "run_named_experiment"]


def run_named_experiment(
    name: str, *, quick: bool, out: Path, force: bool, seed: int | None, quiet: bool
) -> int:
    """Measure an experiment and write its files; return the exit code, 1 if a check failed.

    A result that is there is drawn again. The seed is 1 by default.
    """
    from ris.progress import tell_nothing
    from studies import plots
    from studies.experiment import load_experiment, read_experiment, run_experiment
    from studies.files import prepare_outputs

    paths = {kind: out / f"{name}{'-quick' * quick}.{kind}" for kind in ("h5", "csv", "png", "pdf")}
    seed = 1 if seed is None else seed
    result = None
    if paths["h5"].exists() and not force:
        result = read_experiment(paths["h5"])
        if not result.is_of(name, seed, quick):
            there = f"{paths['h5']} already there, of another run or by other versions of packages"
            raise OutputError(f"{there}: give --force to overwrite, or another --out")
    prepare_outputs(paths.values(), force=True)
    console = make_console(quiet)
    title, description = title_of(named_experiments()[name])
    console.print(title, style="bold")
    console.print(f"{description}\n")
    if result is None:
        with nullcontext(tell_nothing) if quiet else show_bar(name) as progress:
            result = run_experiment(name, seed=seed, quick=quick, progress=progress)
        result.write(paths["h5"])
    result.write_csv(paths["csv"])
    plots.write_figure(result.draw, paths["png"], paths["pdf"])
    print_experiment(result, console)
    console.print("Written: " + ", ".join(map(str, paths.values())), soft_wrap=True)
    if papers := load_experiment(name).papers:
        console.print(f"Papers to cite (BibTeX: ris cite {name}): {', '.join(papers)}")
    return 0 if result.passed else FAILED_VERIFICATION


def print_experiment(result: "ExperimentResult", console: "Console") -> None:
    """Print the checks of an experiment, the verdict and where the numbers come from."""
    from studies import report

    console.print(report.check_table(result))
