"""Commands on study files: list, new, cite."""

import tomllib
from pathlib import Path

from studies.cli.app import app
from studies.cli.catalogue import FIGURES, find_study, named_predictors, named_studies, title_of
from studies.errors import UsageError
from studies.experiments import named_experiments

__all__ = ["cite", "list_studies", "new"]


@app.command(name="list")
def list_studies() -> None:
    """List the studies, experiments and trained predictors that come with the package.

    Run one by its name, or use the file of a study as a start for your own.

    Example: `ris list`
    """
    paths, experiments = named_studies(), named_experiments()
    width = max(map(len, [*paths, *experiments]))
    for name, path in paths.items():
        print(f"{name:{width}}  {tomllib.loads(path.read_text(encoding='utf-8'))['title']}")
    print("\nNumbers against those of others:")
    for name, path in experiments.items():
        print(f"{name:{width}}  {title_of(path)[0].rstrip('.')}")
    print("\nTrained predictors of phases (`ris predict`, `ris compare`):")
    for name, path in named_predictors().items():
        print(f"{name:{width}}  {path.stat().st_size / 1000:.0f} kB")
    print(f"\nRun one:          ris run {next(iter(paths))} --quick\nThe study files:  {FIGURES}")


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
def cite(study: str | None = None, /) -> None:
    """Print the papers behind a study, or behind everything, as BibTeX.

    Example: `ris cite power > power.bib`

    Parameters
    ----------
    study
        Name of a study or an experiment (see `ris list`), or a TOML file.
    """
    from studies.citations import BIBTEX, papers_of
    from studies.experiment import load_experiment

    keys = sorted(BIBTEX)
    if study in named_experiments():
        keys = list(load_experiment(study).papers)
    elif study is not None:
        loaded = find_study(study)
        place = next(loaded.places())
        points = [loaded.point(i, *place) for i in range(len(loaded.schemes))]
        keys = papers_of(points, loaded.settings.citations)
    print("\n\n".join(BIBTEX[key] for key in keys))
