"""How far a long computation is: a share from 0 to 1 and a line about it, told to a function."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

__all__ = ["Progress", "labelled", "parts", "tell_nothing"]

Progress = Callable[[float, str], None]
"""Told the share that is done, and a line about where the work is."""


def tell_nothing(share: float, text: str) -> None:
    """Take note of no progress."""


def labelled(progress: Progress, label: str) -> Progress:
    """Return a progress whose lines begin with a label."""
    return lambda share, text: progress(share, f"{label}: {text}")


def parts(progress: Progress, lengths: Sequence[float]) -> list[Progress]:
    """Divide a progress into parts that follow one another.

    Parameters
    ----------
    progress : callable
        That of all parts together.
    lengths : sequence of float
        How long each part takes, in any unit.
    """

    def part(begin: float, end: float) -> Progress:
        return lambda share, text: progress((begin + share * (end - begin)) / ends[-1], text)

    ends = list(accumulate(lengths, initial=0.0))
    return [part(*two) for two in pairwise(ends)]
