"""Pictures of results, sized for a two-column paper: closed form as lines, simulation as markers."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from studies.config.plot import Panel
from studies.errors import OutputError
from studies.files import replace_file
from studies.options import Metric
from studies.quantities import OPTIONAL, QUANTITIES, Part
from studies.results import StudyResult

__all__ = [
    "COLOURS",
    "DASHES",
    "INTERVAL",
    "MARKERS",
    "STYLE",
    "draw",
    "draw_series",
    "log_axis",
    "make_panels",
    "save",
    "write_figure",
]

INTERVAL = 2.5758293035489004
"""Half-width of a 99 % interval in standard errors, of the normal law."""

COLUMN, PAGE = 3.5, 7.16
"""Widths of a column and of a page of an IEEE paper, inches."""

MOST_TICKS = 12
"""A logarithmic axis of at most as many values has a tick at each."""

STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "0.85",
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
}

# Neighbouring colours differ in lightness, and no two curves share dashes and marker: fit for grey print.
COLOURS = ("#000000", "#0b4f8a", "#c0392b", "#1b8a5a", "#b8860b", "#8e6bbf", "#5aa9d6", "#e08f62")
DASHES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 2)),
)
MARKERS = ("o", "s", "^", "D", "v", "<", "p", ">", "h")


ALL = {**QUANTITIES, **OPTIONAL}
"""Quantities that a panel may show."""


@dataclass(frozen=True)
class _Shown:
    """How a metric is called: in a legend, on an axis of its own, and on one that it shares with its like."""

    name: str
    alone: str
    axis: str
    decibel: bool = False


_SHOWN: Mapping[Metric, _Shown] = {
    "hardening_sum_rate": _Shown("hardening bound", "sum rate, hardening bound", "sum rate"),
    "ratio_sum_rate": _Shown("ratio of moments", "sum rate, ratio of moments", "sum rate"),
    "ergodic_sum_rate": _Shown("ergodic rate (simulation only)", "ergodic sum rate", "sum rate"),
    "hardening_rate": _Shown("hardening bound", "rate of user 1, hardening bound", "rate of user 1"),
    "ergodic_rate": _Shown("ergodic rate (simulation only)", "ergodic rate of user 1", "rate of user 1"),
    "minimum_rate": _Shown("smallest rate (simulation only)", "smallest rate of a realization", "rate"),
    "outage": _Shown("outage (simulation only)", "outage of user 1", "outage of user 1"),
    "energy_efficiency": _Shown("hardening bound", "energy efficiency", "energy efficiency"),
    "mean_gain": _Shown("mean gain", "mean gain of user 1", "mean gain of user 1", decibel=True),
}


@dataclass(frozen=True)
class _Curve:
    """A metric of a scheme."""

    metric: Metric
    scheme: str


def draw(result: StudyResult) -> Figure:
    """Draw the panels that the study asks for.

    Parameters
    ----------
    result : StudyResult
        From `run_study` or `read_result`.

    Returns
    -------
    Figure
        In the object API of matplotlib: nothing is shown and no global state changes. In every axes the
        lines come first, one closed form each, and then the markers with 99 % intervals.
    """
    result = result.over_drops()
    plot = result.study.settings.plot
    labels = [_label(curve, panel, result) for panel in plot.panel for curve in _curves(panel, result)]
    labels = list(dict.fromkeys(labels))
    width = COLUMN if len(plot.panel) == 1 else PAGE
    columns = _columns(labels, width)
    rows = -(-len(labels) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(width, 2.35 + 0.14 * (rows + 1)), layout="constrained")
        handles: dict[str, Any] = {}
        row = figure.subplots(1, len(plot.panel), squeeze=False)[0]
        for axes, panel in zip(row, plot.panel, strict=True):
            for curve in _curves(panel, result):
                number = labels.index(_label(curve, panel, result))
                handles.setdefault(labels[number], _draw_curve(axes, result, curve, number))
            _finish(axes, result, panel)
        # A legend fills column by column; this order reads row by row.
        order = [label for column in range(columns) for label in list(handles)[column::columns]]
        figure.legend(
            [handles[label] for label in order],
            order,
            loc="outside upper center",
            ncols=columns,
            title=_legend_title(result),
            title_fontsize=7,
            frameon=False,
            handlelength=3.2,
            columnspacing=1.2,
            labelspacing=0.3,
        )
    return figure


def save(result: StudyResult, png: Path, pdf: Path) -> None:
    """Draw a result into a PNG file of 300 dots per inch and a PDF file, in place of those that are there.

    Raises
    ------
    OutputError
        If a file cannot be written, or a label holds mathematics between dollar signs that is not TeX.
    """
    write_figure(lambda: draw(result), png, pdf)


def write_figure(draw_figure: Callable[[], Figure], png: Path, pdf: Path) -> None:
    """Draw a figure in the style of all figures, as PNG of 300 dots per inch and PDF.

    Raises
    ------
    OutputError
        If a file cannot be written, or a label holds mathematics between dollar signs that is not TeX.
    """
    try:
        with rc_context(STYLE):
            figure = draw_figure()
            replace_file(png, lambda path: figure.savefig(path, format="png", dpi=300))
            # Without a date the same result makes the same file.
            replace_file(
                pdf, lambda path: figure.savefig(path, format="pdf", metadata={"CreationDate": None})
            )
    except ValueError as error:
        raise OutputError(f"cannot draw the picture: {error}") from None


def make_panels(count: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels side by side: the width of a column for one, of a page for more."""
    figure = Figure(figsize=(COLUMN if count == 1 else PAGE, height), layout="constrained")
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.tick_params(direction="in", which="both", top=True, right=True)
    return figure, panels


def log_axis(axes: Axes, ticks: Iterable[float]) -> None:
    """Make the x axis logarithmic, with ticks at these values, written as plain numbers, and no others."""
    ticks = list(ticks)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _curves(panel: Panel, result: StudyResult) -> Iterator[_Curve]:
    schemes = panel.schemes or result.study.schemes
    return (_Curve(metric, scheme) for metric in panel.metrics for scheme in schemes)


def _legend_title(result: StudyResult) -> str:
    shown = [curve for panel in result.study.settings.plot.panel for curve in _curves(panel, result)]
    closed = [_closed_form(result, curve) is not None for curve in shown]
    lines = (
        "" if not any(closed) else "lines: closed form;  " if all(closed) else "bold lines: closed form;  "
    )
    return f"{lines}markers: simulation, 99 % intervals"


def _label(curve: _Curve, panel: Panel, result: StudyResult) -> str:
    parts = [_SHOWN[curve.metric].name] if len(panel.metrics) > 1 else []
    if len(result.study.schemes) > 1 or not parts:
        parts.append(curve.scheme)
    return ", ".join(parts)


def _columns(labels: list[str], width: float) -> int:
    """Columns of a legend that fits the width, by the length of the longest label, with its rows even."""
    entry = 0.45 + 0.041 * max(map(len, labels))
    rows = math.ceil(len(labels) / max(1, int(width / entry)))
    return math.ceil(len(labels) / rows)


def _draw_curve(axes: Axes, result: StudyResult, curve: _Curve, number: int) -> Any:
    """Draw a curve, the line first, and return its artists for the legend."""
    line = _closed_form(result, curve)
    simulated, error = (_values(result, curve, part) for part in ("simulated", "standard_error"))
    return draw_series(axes, result.values, line, simulated, error, number, _SHOWN[curve.metric].decibel)


def draw_series(
    axes: Axes,
    x: NDArray[Any],
    line: NDArray[np.float64] | None,
    markers: NDArray[np.float64],
    error: NDArray[np.float64],
    number: int,
    decibel: bool = False,
) -> tuple[Any, ...]:
    """Draw a line and markers with 99 % intervals in the style of curve `number`; return the artists.

    Without a line a thin one joins the markers.
    """

    def shown(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return 10 * np.log10(values) if decibel else values

    colour = COLOURS[number % len(COLOURS)]
    artists: list[Any] = []
    if line is not None:
        artists += axes.plot(x, shown(line), color=colour, linestyle=DASHES[number % len(DASHES)], zorder=2)
    reach = INTERVAL * error
    low, middle, high = shown(markers - reach), shown(markers), shown(markers + reach)
    artists.append(
        axes.errorbar(
            x,
            middle,
            yerr=[middle - low, high - middle],
            color=colour,
            linestyle="none" if line is not None else DASHES[number % len(DASHES)],
            linewidth=0.5,
            marker=MARKERS[number % len(MARKERS)],
            markerfacecolor="white",
            markeredgewidth=0.8,
            elinewidth=0.8,
            capsize=1.8,
            zorder=3,
        )
    )
    return tuple(artists)


def _values(result: StudyResult, curve: _Curve, part: Part) -> NDArray[np.float64]:
    """Values along the first axis, at the first values of others, of the first user."""
    values = result.data[curve.metric, part][result.study.schemes.index(curve.scheme)]
    return np.asarray(values.reshape(len(values), -1)[:, 0])


def _closed_form(result: StudyResult, curve: _Curve) -> NDArray[np.float64] | None:
    """Values of the closed form; None if the metric or the scheme has none."""
    if not ALL[curve.metric].closed:
        return None
    values = _values(result, curve, "closed_form")
    return None if np.all(np.isnan(values)) else values


def _finish(axes: Axes, result: StudyResult, panel: Panel) -> None:
    plot = result.study.settings.plot
    shown = [_SHOWN[metric] for metric in panel.metrics]
    units = "dB" if shown[0].decibel else ALL[panel.metrics[0]].units
    name = shown[0].alone if len(shown) == 1 else shown[0].axis
    axes.set_xlabel(f"{plot.x_label} ({plot.x_unit})" if plot.x_unit else plot.x_label)
    axes.set_ylabel(f"{name[0].upper()}{name[1:]} ({units})")
    if plot.x_scale == "log" and len(result.values) <= MOST_TICKS:
        log_axis(axes, result.values)
    elif result.values.dtype != object:
        axes.set_xscale(plot.x_scale)
    axes.set_yscale(panel.y_scale)
    if panel.title:
        axes.set_title(panel.title)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.tick_params(direction="in", top=True, right=True)
    if panel.y_scale == "linear" and not shown[0].decibel:
        axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])
