"""Named figures that are no sweep of a study file; one module each, found by its path."""

from pathlib import Path

__all__ = ["named_experiments"]


def named_experiments() -> dict[str, Path]:
    """Return the modules of the experiments of the package by their names."""
    here = Path(__file__).parent
    paths = {path.relative_to(here).with_suffix(""): path for path in here.rglob("*.py")}
    return {name.as_posix(): paths[name] for name in sorted(paths) if not name.name.startswith("_")}
