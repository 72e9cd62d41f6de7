"""Pictures of any quantity over any axis of a result, one curve for each value of another axis."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from studies.config.sweep import DROPS
from studies.errors import UsageError
from studies.plots import STYLE, draw_series
from studies.quantities import Part, quantities
from studies.results import StudyResult

__all__ = ["draw_axes"]

SHORT = {"sum_rate": "hardening_sum_rate", "rate": "hardening_rate"}
"""Short names of quantities."""


def draw_axes(result: StudyResult, x: str, y: str, by: str) -> Figure:
    """Draw a quantity over an axis.

    Parameters
    ----------
    result : StudyResult
        What to draw.
    x, by : str
        Two axes of the quantity: "scheme", an axis of the sweep, "user", "other_user" or "quantile".
    y : str
        The quantity; "sum_rate" and "rate" stand for the hardening bound.

    Raises
    ------
    UsageError
        If there is no such quantity, or it has no such axes.

    Notes
    -----
    Axes that are neither x nor by are taken at their first value; the title says so. Over drops of a scenario
    the mean is drawn.
    """
    if DROPS not in (x, by):
        result = result.over_drops()
    known = quantities(result.study.settings)
    name = SHORT.get(y, y)
    if name not in known:
        raise UsageError(f"--y: expected one of {', '.join([*SHORT, *known])}, got {y!r}")
    quantity = known[name]
    coordinates = _coordinates(result)
    axes = ["scheme", *(one.name for one in result.dimensions), *quantity.axes]
    for option, axis in (("--x", x), ("--by", by)):
        if axis not in axes:
            raise UsageError(f"{option}: expected one of {', '.join(axes)}, got {axis!r}")
    if x == by:
        raise UsageError(f"--by: expected another axis than {x!r}")

    def curves(part: Part) -> NDArray[np.float64]:
        values = result.data[name, part]
        for number in reversed([i for i, axis in enumerate(axes) if axis not in (x, by)]):
            values = np.take(values, 0, axis=number)
        return values if axes.index(by) < axes.index(x) else values.T

    rest = [
        f"{axis} = {coordinates[axis][0]}"
        for axis in axes
        if axis not in (x, by) and len(coordinates[axis]) > 1
    ]
    with rc_context(STYLE):
        figure = Figure(figsize=(4.5, 3.2), layout="constrained")
        panel = figure.subplots()
        lines = curves("closed_form") if quantity.closed else None
        for i, label in enumerate(coordinates[by]):
            line = None if lines is None or np.all(np.isnan(lines[i])) else lines[i]
            markers, errors = curves("simulated")[i], curves("standard_error")[i]
            artists = draw_series(panel, np.asarray(coordinates[x]), line, markers, errors, i)
            artists[-1].set_label(str(label) if by == "scheme" else f"{by} = {label}")
        panel.set_xlabel(x)
        panel.set_ylabel(f"{quantity.long_name} ({quantity.units})")
        panel.set_title("; ".join(rest))
        panel.grid(True)
        panel.legend(title="lines: closed form; markers: simulation, 99 % intervals", title_fontsize=6)
    return figure


def _coordinates(result: StudyResult) -> dict[str, list[Any]]:
    users = list(range(1, result.users + 1))
    return {
        "scheme": result.study.schemes,
        **{one.name: one.coordinates[one.name] for one in result.dimensions},
        "user": users,
        "other_user": users,
        "quantile": result.study.settings.metrics.sinr_quantiles,
    }
