"""The errors that studies raise on bad input; each message is one for the person who gave it."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CheckpointError",
    "EngineError",
    "Fault",
    "FaultsError",
    "OutputError",
    "ResultFileError",
    "StudyFileError",
    "UsageError",
]


@dataclass(frozen=True)
class Fault:
    """What is wrong at a key; the path is empty for the file or table as a whole."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class FaultsError(ValueError):
    """Faults that a check across several keys found; paths are relative to the table that was checked."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = list(faults)


class StudyFileError(ValueError):
    """A study file with faults.

    Attributes
    ----------
    source : str
        The file.
    faults : list of Fault
        All of them.
    """

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"{source}: {len(faults)} fault{'s' * (len(faults) > 1)}{lines}")
        self.source = source
        self.faults = list(faults)

    def __reduce__(self) -> tuple[type, tuple[str, list[Fault]]]:
        return type(self), (self.source, self.faults)


class ResultFileError(ValueError):
    """A file is no whole result file."""


class OutputError(OSError):
    """Results cannot be written where they should go."""


class UsageError(ValueError):
    """A command was asked for something that is not there."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, in use, belongs to another run, or lacks blocks."""


class EngineError(RuntimeError):
    """An engine cannot be had, or lost its workers."""
