"""Panel of a claim on several trainings: rates of networks over that of their teacher."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from studies.experiment import Values
from studies.plots import COLOURS, MARKERS

__all__ = ["draw_shares"]


def draw_shares(axes: Axes, values: Values, names: Sequence[str]) -> None:
    """Draw the share of every training, and beside it that of all with its interval.

    Parameters
    ----------
    axes : Axes
        Where.
    values : mapping
        "rate", shape (1 + networks, trainings), that of the teacher first, and "share", shape (networks, 3):
        value, low and high end of the interval.
    names : sequence of str
        Names of the networks below the axis.
    """
    rates = values["rate"] / values["rate"][0]
    places = np.arange(len(names))
    for i, place in enumerate(places):
        axes.plot(
            np.full(rates.shape[1], place + 0.12), 100 * rates[i + 1], color=COLOURS[i], marker=MARKERS[i],
            markersize=3, markerfacecolor="none", linestyle="none",
        )  # fmt: skip
    value, low, high = 100 * values["share"].T
    axes.errorbar(
        places - 0.12, value, [value - low, high - value], color="0.2", marker="o", markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label="all trainings, 95 % interval",
    )  # fmt: skip
    axes.set_xticks(places, names, fontsize=6.5)
    axes.set_xlim(-0.5, places[-1] + 0.5)
