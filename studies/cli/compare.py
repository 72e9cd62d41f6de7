"""Commands that use phase predictors: compare and predict."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from studies.cli.app import Count, Flag, app
from studies.cli.catalogue import find_study
from studies.cli.console import make_console, show_bar
from studies.errors import UsageError

__all__ = ["compare", "predict"]


@app.command
def compare(
    *models: Path,
    task: Literal["statistical", "instantaneous"] = "statistical",
    quick: Flag = False,
    systems: Count | None = None,
    out: Path = Path("results"),
) -> None:
    """Hold predictors against the numerical optimum and simple designs: rate, time, size, operations.

    One table and one figure, on fixed systems like those of the training and of unseen geometry: closed
    form, steering, random phases, gradient ascents of several budgets, and networks in floats and integers.
    Writes compare-TASK.csv, .png and .pdf. In full it takes hours, most of them for ascents; rates are kept
    in results/rates, so that an interrupted comparison goes on, and one of other models takes minutes. Needs
    torch (`pip install double-ris[train]`).

    Example: `ris compare --quick`

    Example: `ris compare mine.h5 mine-int8.h5 --systems 200`

    Parameters
    ----------
    models
        Model files, all of the task and for surfaces of one size, besides those that come with the package
        for that size; an integer one is also held against the float one whose name it has before "-int". An
        unrolled network is named by the file of its start, with that of its step beside it.
    task
        The family of systems.
    quick
        Few systems and starts of the ascents: a first look in minutes.
    systems
        Systems of each split; 1000 by default, 16 with --quick.
    out
        Directory of the results; made if it is not there.
    """
    if find_spec("torch") is None:
        raise UsageError("ris compare needs torch: pip install 'double-ris[train]'")
    import dataclasses

    from ris.predictors import compare as comparing
    from ris.predictors import zoo
    from studies import comparison, plots
    from studies.files import prepare_outputs
    from studies.trained import RATES

    own = {path.stem: path for path in models}
    if len(own) < len(models) or own.keys() & set(zoo.names()):
        raise UsageError(
            f"MODELS: expected files of different names, and other ones than {zoo.names()}, "
            f"got {[str(path) for path in models]}"
        )
    sizes = {zoo.load_predictor(path).model.rows for path in models}
    shipped = {name: zoo.path_of(name) for name in zoo.names() if zoo.task_of(name) == task}
    fitting = (name for name in shipped if not sizes or zoo.load_predictor(name).model.rows in sizes)
    files = {name: shipped[name] for name in fitting} | own
    settings = comparing.QUICK if quick else comparing.FULL
    if systems is not None:
        settings = dataclasses.replace(settings, systems=systems)
    csv, png, pdf = (out / f"compare-{task}{'-quick' * quick}.{kind}" for kind in ("csv", "png", "pdf"))
    prepare_outputs([csv, png, pdf], force=True)
    with show_bar("compare") as bar:
        found = comparing.compare(task, files, settings, bar, RATES)
    comparison.write_comparison(found, csv)
    plots.write_figure(lambda: comparison.draw_comparison(found), png, pdf)
    console = make_console()
    console.print(comparison.comparison_table(found))
    console.print(f"Written: {csv}, {png}, {pdf}", soft_wrap=True)


@app.command
def predict(
    study: str,
    /,
    *,
    scheme: str | None = None,
    model: str = "reference",
    bits: Annotated[int, Parameter(validator=Number(gte=1, lte=8))] | None = None,
    out: Path | None = None,
) -> None:
    """Predict the phase shifts of the system of a study by a trained network.

    The system is that in the middle of the axes. Prints the closed-form sum rate at the phases beside those
    of other designs, and the phases in degrees, row by row.

    Example: `ris predict my_study.toml --bits 2`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    scheme
        Label of a scheme, by default the first.
    model
        A model that comes with the package, or a model file (.h5).
    bits
        Resolution of the surfaces; continuous by default.
    out
        CSV file for the phases, in place of printing them.
    """
    from studies.files import prepare_outputs
    from studies.prediction import predict_point, prediction_table, surface_tables, write_phases

    loaded = find_study(study)
    label = loaded.schemes[0] if scheme is None else scheme
    if label not in loaded.schemes:
        raise UsageError(f"--scheme: expected one of {loaded.schemes}, got {label!r}")
    places = list(loaded.places())
    point = loaded.point(loaded.schemes.index(label), *places[len(places) // 2])
    if out is not None:
        prepare_outputs([out], force=True)
    found = predict_point(point, loaded.settings.seed, model, bits)
    for text in found.warnings:
        print(f"ris: warning: {text}", file=sys.stderr)
    console = make_console()
    console.print(prediction_table(found, label))
    if out is None:
        console.print(*surface_tables(found))
    else:
        write_phases(found, out)
        console.print(f"Written: {out}")
