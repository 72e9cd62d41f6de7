"""Files that keep the state of several trainings behind one another, so that all of them go on."""

from glob import escape
from pathlib import Path

__all__ = ["files_of_stages", "forget"]


def files_of_stages(checkpoint: Path | None, count: int) -> list[Path | None]:
    """Return where the states of so many trainings are kept, if one file is said for all of them."""
    if checkpoint is None:
        return [None] * count
    return [checkpoint.with_name(f"{checkpoint.name}-{i}") for i in range(count)]


def forget(checkpoint: Path) -> None:
    """Remove a file and those of its stages, and of theirs."""
    checkpoint.unlink(missing_ok=True)
    for file in checkpoint.parent.glob(f"{escape(checkpoint.name)}-*"):
        file.unlink()
