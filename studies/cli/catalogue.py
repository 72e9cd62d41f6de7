"""The studies and experiments that come with the package, and studies by name or file."""

import ast
import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from studies.errors import UsageError
from studies.experiments import named_experiments

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from studies.config import Study

__all__ = ["FIGURES", "find_study", "named_predictors", "named_studies", "title_of"]

FIGURES = Path(__file__).parent.parent / "figures"
"""Where the studies of the package are."""

ZOO = FIGURES.parent.parent / "ris" / "predictors" / "zoo"
"""Where its trained predictors are: `ris.predictors.zoo`, which takes long to import, has no more to say."""


def named_studies() -> dict[str, Path]:
    """Return the files of the studies of the package by their names."""
    return {path.stem: path for path in sorted(FIGURES.glob("*.toml"))}


def named_predictors() -> dict[str, Path]:
    """Return the files of the trained predictors of the package by their names."""
    return {path.stem: path for path in sorted(ZOO.glob("*.h5"))}


def title_of(experiment: Path) -> tuple[str, str]:
    """Return title and description of an experiment from its module, which is not imported."""
    docstring = ast.get_docstring(ast.parse(experiment.read_text(encoding="utf-8"))) or ""
    title, _, description = docstring.partition("\n\n")
    return title, description


def find_study(name: str) -> "Study":
    """Load a study by its name, or from a file."""
    from studies.config import load_study

    named = named_studies()
    if name in named:
        return load_study(named[name])
    if name.endswith(".toml"):
        return load_study(Path(name))
    known = [*named, *named_experiments()]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}."
    raise UsageError(f"no study {name!r}; {hint} A file of your own ends in .toml.")
