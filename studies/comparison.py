"""A comparison of phase predictors as a table, a CSV file and a picture."""

import csv
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.table import Table

from ris.predictors.bootstrap import Estimate
from ris.predictors.compare import SPLITS, Comparison, Entry
from studies.files import replace_file
from studies.plots import COLOURS, MARKERS, PAGE, STYLE

__all__ = ["TITLES", "comparison_table", "draw_comparison", "shown", "write_comparison"]

TITLES = {"test": "test", "unseen": "unseen geometry"}
GROUPS = ("without training", "ascent", "float", "integer", "unrolled")


def comparison_table(comparison: Comparison) -> Table:
    """Return the table for a terminal: a row for each way to set the phases, on each split."""
    table = Table(
        title=f"{comparison.task} task, {comparison.users} users, "
        f"surfaces of {comparison.side} x {comparison.side}",
        caption="sum rate in bit/s/Hz and percentages of mean rates, with 95 % intervals (paired bootstrap); "
        "time on one core, one system",
    )
    for text in ("systems", "phases"):
        table.add_column(text, no_wrap=True)
    for text in ("rate", "% of optimum", "% of float", "kB", "bit operations", "time"):
        table.add_column(text, justify="right", no_wrap=True)
    for split in SPLITS:
        for entry in comparison.entries:
            source = comparison.floating(entry)
            table.add_row(
                TITLES[split],
                entry.name,
                shown(comparison.mean(entry, split), 1, 3),
                shown(comparison.share(entry, split), 100, 1),
                "" if source is None else shown(comparison.share(entry, split, source), 100, 2),
                "" if entry.bytes is None else f"{entry.bytes / 1000:.0f}",
                "" if entry.bit_operations is None else f"{entry.bit_operations:.2e}",
                _duration(entry.seconds),
            )
        table.add_section()
    return table


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the numbers of the table as CSV.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    ends = ("", "_low", "_high")
    header = ["phases", "kind"]
    for split in SPLITS:
        for quantity in ("rate", "share_of_optimum", "share_of_float"):
            header += [f"{split}_{quantity}{end}" for end in ends]
    header += ["bytes", "bit_operations", "seconds"]

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(header)
            rows.writerows(_row(comparison, entry) for entry in comparison.entries)

    replace_file(path, write)


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw rate against time: a marker for each way to set the phases, hollow on unseen geometry."""
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.axhline(100, color="0.5", linewidth=0.8)
        # Markers follow one another over all kinds: in grey a network and its integers shall differ.
        for entry, marker in zip(comparison.entries, cycle(MARKERS), strict=False):
            colour = COLOURS[GROUPS.index(entry.kind)]
            for split in SPLITS:
                estimate = comparison.share(entry, split)
                axes.errorbar(
                    1e3 * entry.seconds,
                    100 * estimate.value,
                    np.abs(100 * np.array([[estimate.low], [estimate.high]]) - 100 * estimate.value),
                    color=colour,
                    marker=marker,
                    markerfacecolor=colour if split == "test" else "white",
                    linestyle="none",
                    elinewidth=0.7,
                    capsize=1.5,
                    label=entry.name if split == "test" else None,
                )
        axes.set(xscale="log", xlabel="Time on one core (ms)", ylabel="Sum rate (% of the numerical optimum)")
        axes.tick_params(direction="in", which="both", top=True, right=True)
        figure.legend(
            loc="outside right upper",
            frameon=False,
            title="filled: test; hollow: unseen geometry\nbars: 95 % intervals",
            title_fontsize=7,
            alignment="left",
        )
    return figure


def _row(comparison: Comparison, entry: Entry) -> Iterator[object]:
    yield from (entry.name, entry.kind)
    for split in SPLITS:
        source = comparison.floating(entry)
        yield from comparison.mean(entry, split)
        yield from comparison.share(entry, split)
        yield from ("", "", "") if source is None else comparison.share(entry, split, source)
    yield from (entry.bytes, entry.bit_operations, entry.seconds)


def shown(estimate: Estimate, factor: float, digits: int) -> str:
    """Return a number with its interval as text, both times a factor."""
    value, low, high = (f"{factor * number:.{digits}f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
