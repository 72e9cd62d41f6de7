"""The studies that come with the package, and studies by name or file."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from studies.errors import UsageError

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from studies.config import Study

__all__ = ["FIGURES", "find_study", "named_studies"]

FIGURES = Path(__file__).parent.parent / "figures"
"""Where the studies of the package are."""


def named_studies() -> dict[str, Path]:
    """Return the files of the studies of the package by their names."""
    return {path.stem: path for path in sorted(FIGURES.glob("*.toml"))}


def find_study(name: str) -> "Study":
    """Load a study by its name, or from a file."""
    from studies.config import load_study

    named = named_studies()
    if name in named:
        return load_study(named[name])
    if name.endswith(".toml"):
        return load_study(Path(name))
    close = difflib.get_close_matches(name, named, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(named)}."
    raise UsageError(f"no study {name!r}; {hint} A file of your own ends in .toml.")
