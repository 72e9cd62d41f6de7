"""Commands that compute a study: run and merge."""

from pathlib import Path
from typing import TYPE_CHECKING

from studies.cli.app import Count, Flag, Seed, app
from studies.cli.catalogue import find_study
from studies.cli.console import make_console, show_progress
from studies.cli.experiments import run_named_experiment
from studies.errors import OutputError, UsageError
from studies.experiments import named_experiments
from studies.options import ExecutorName

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from studies.results import StudyResult

__all__ = ["merge", "run"]


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
) -> int:
    """Run a study: closed form and simulation of every scheme at every point, then tables and a picture.

    Or run an experiment: numbers of ours beside those of others. Then the CSV holds the checks, and the exit
    code is 1 if one fails; --quick, --out, --force, --seed and --quiet apply.

    Writes NAME.h5 (everything, netCDF4), NAME.csv, NAME.png and NAME.pdf; with --quick, NAME-quick.*. Until
    they are there, NAME.partial keeps every finished block of realizations: after an interruption of any
    kind, run the same command again to go on. The numbers depend on none of engine, workers, interruptions
    and shards.

    Example: `ris run power --quick`

    Example: `ris run surface_rank`

    Example: `ris run my_study.toml --out my_results --realizations 50000 --engine processes`

    Example: `ris run my_study.toml --shard 2/8`, and when all eight are done `ris merge
    results/my_study.*.partial`

    Parameters
    ----------
    study
        Name of a study or an experiment (see `ris list`), or a TOML file.
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

    if study in named_experiments():
        given = {
            "--realizations": realizations,
            "--workers": workers,
            "--scheduler": scheduler,
            "--shard": shard,
        }
        refused = [option for option, value in given.items() if value is not None]
        if refused or engine != "serial":
            raise UsageError(f"{', '.join(refused or ['--engine'])}: not for the experiment {study!r}")
        return run_named_experiment(study, quick=quick, out=out, force=force, seed=seed, quiet=quiet)
    loaded = find_study(study)
    if realizations == 1:
        raise UsageError("--realizations: expected >= 2, as one realization has no standard error, got 1")
    part = None if shard is None else _shard(shard)
    plan = Plan.of(loaded, seed, realizations, quick)
    paths = {kind: out / f"{loaded.name}{'-quick' * quick}.{kind}" for kind in ("h5", "csv", "png", "pdf")}
    checkpoint = checkpoint_path(paths["h5"], part)
    console = make_console(quiet)
    result = None
    if force:
        for path in (*paths.values(), checkpoint, checkpoint.with_name(checkpoint.name + "-wal")):
            path.unlink(missing_ok=True)
    elif part is None:
        result = _complete(paths["h5"], plan.fingerprint)
    if result is not None and all(path.exists() for path in paths.values()):
        console.print(f"{paths['h5']} is complete; --force runs the study again.")
        return 0
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
        with show_progress(loaded.name, quiet) as progress:
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
        return 0
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
    return 0


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
