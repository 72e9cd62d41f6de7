"""Where commands print: tables on the output stream, progress on the error stream."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

# What a command needs is imported by that command, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from studies.run import Status

__all__ = ["make_console", "show_bar", "show_progress"]

SECONDS_BETWEEN_LINES = 10.0
"""How often progress is told where no terminal shows a bar."""

WIDTH = 150
"""Characters a line where no terminal sets them."""


def make_console(quiet: bool = False) -> "Console":
    """Return a console for tables, as wide as the terminal."""
    from rich.console import Console

    # Titles and labels are printed as they are, whatever brackets and colons they hold.
    width = None if sys.stdout.isatty() else WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width, quiet=quiet)


@contextmanager
def show_progress(label: str, quiet: bool) -> "Iterator[Callable[[Status], None] | None]":
    """Show how far a run is: share, point, half-width, realizations a second and time left."""
    if quiet:
        yield None
        return
    begin, first = time.monotonic(), -1

    with show_bar(label) as bar:

        def tell(status: "Status") -> None:
            nonlocal first
            if first < 0:  # blocks of earlier runs come at once
                first = status.realizations
            rate = (status.realizations - first) / max(time.monotonic() - begin, 1e-3)
            width = "" if status.half_width is None else f", half-width {status.half_width:.3g}"
            points = f"{status.points_done}/{status.points} points"
            bar(status.share, f"{points}, {rate:,.0f} realizations/s, at {status.label}{width}")

        yield tell


@contextmanager
def show_bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show progress on the error stream: a bar on a terminal, else a plain line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn(label),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda share, text: bar.update(task, completed=share, description=text)
        return
    begin = told = time.monotonic()
    start = None

    def tell(share: float, text: str) -> None:
        nonlocal told, start
        start = share if start is None else start
        if (now := time.monotonic()) - told >= SECONDS_BETWEEN_LINES:
            told, left = now, ""
            if share > start:
                left = f", about {(now - begin) * (1 - share) / (share - start):.0f} s left"
            print(f"{label}: {share:.0%}{left}; {text}", file=sys.stderr, flush=True)

    yield tell
