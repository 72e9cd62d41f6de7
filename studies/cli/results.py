"""Commands on result files: show, export, plot."""

from pathlib import Path

from studies.cli.app import Flag, app
from studies.cli.console import make_console
from studies.cli.experiments import print_experiment
from studies.errors import UsageError

__all__ = ["export", "plot", "show"]


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
    from studies.experiment import is_experiment_file, read_experiment
    from studies.results import read_result

    console = make_console()
    if is_experiment_file(result):
        print_experiment(read_experiment(result), console)
        return
    content = read_result(result)
    console.print(content.study.settings.title, style="bold")
    console.print(report.rate_tables(content), report.z_table(content))
    console.print(f"\n{report.summary(content)}")


@app.command
def export(result: Path, /, *, csv: Path | None = None, force: Flag = False) -> None:
    """Write a result file as one tidy CSV table: a row for each scheme, point, quantity and user.

    For an experiment, a row for each check.

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
    from studies.experiment import is_experiment_file, read_experiment
    from studies.files import prepare_outputs
    from studies.results import read_result

    path = csv or result.with_suffix(".csv")
    content = read_experiment(result) if is_experiment_file(result) else read_result(result)
    prepare_outputs([path], force=force)
    content.write_csv(path)
    print(f"Written: {path}")


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
    from studies.experiment import is_experiment_file, read_experiment
    from studies.files import prepare_outputs
    from studies.results import read_result

    if is_experiment_file(result):
        if x is not None:
            raise UsageError("--x: an experiment has a picture of its own only")
        png, pdf = ((out or result.parent) / f"{result.stem}.{kind}" for kind in ("png", "pdf"))
        prepare_outputs([png, pdf], force=force)
        plots.write_figure(read_experiment(result).draw, png, pdf)
        print(f"Written: {png}, {pdf}")
        return
    content = read_result(result)
    stem = result.stem if x is None else f"{result.stem}-{y}-over-{x}-by-{by}"
    png, pdf = ((out or result.parent) / f"{stem}.{kind}" for kind in ("png", "pdf"))
    figure = None if x is None else curves.draw_axes(content, x, y, by)
    prepare_outputs([png, pdf], force=force)
    if figure is None:
        plots.save(content, png, pdf)
    else:
        plots.write_figure(lambda: figure, png, pdf)
    print(f"Written: {png}, {pdf}")
