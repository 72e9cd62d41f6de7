"""Adders in place of convolutions: what a teacher that learns beside them gives back.

In the residual network with gates, sums of absolute differences take the place of all convolutions over
neighbours but the first and the last one, a normalisation behind each (Chen et al., "AdderNet", CVPR 2020).
It is trained on the task alone, and beside a teacher with convolutions in place of the adders, which begins
with the same weights and learns the task alone, with the same steps and systems (Xu et al., "Kernel based
progressive distillation", NeurIPS 2020; `ris.predictors.compress.adder`). The claim is that the student comes
within half a percent of its teacher, or beyond; that it makes up for more than half of what plain adders fall
short by; and that integers of 8 bits, where an adder's weights share the scale of its input, lose less than
one percent.

The teacher is measured at the best validation of the student. Intervals are those of 95 % by the bootstrap
over trainings and, within them, systems of the test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.experiments.claims._shares import draw_shares
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels
from studies.trained import float_model_of, taught_network, trained_graph

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.module import Network
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

NETWORKS = ("teacher", "plain adders", "taught adders", "taught adders, 8 bits")

PAPER = "Xu et al. 2020: taught adders do as well as convolutions"
INTEGERS = "within one percent of the floats"

OF_TEACHER, OF_GAP, OF_FLOATS = 0.995, 0.5, 0.99
"""Least rate of the student over the teacher's, share of the gap closed, and rate of integers over floats."""

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which trainings, and on how many systems of the test they are measured.

    `side`, `steps` and `batch` are those of the recipes, one for each of `seeds`. The rates of student and
    teacher differ by less than half a percent, which the first 1,000 systems know to 0.3 % for a training,
    and 4,000 to 0.15 % (halves of 95 % intervals), which is less than trainings differ by.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    steps: int = 3000
    batch: int = 32
    systems: int = 4000


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Train all networks from every seed, and measure them on the same systems."""
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    rates = np.empty((len(NETWORKS), count, settings.systems))
    for i, (seed, training) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        training(0, f"seed {seed}")
        recipe = Recipe("instantaneous", "adder", seed, settings.side, settings.steps, settings.batch)
        # A teacher beside it takes half as long again.
        of_plain, of_taught = parts(training, [2, 3])
        plain = trained_graph([recipe], of_plain)
        student, teacher = taught_network(recipe, of_taught)
        rates[:, i] = _rates(recipe, settings.systems, teacher, plain, student)
    shares = np.array([ratio(one, rates[0]) for one in rates[1:]])
    closed = [_closed(*of_seed) for of_seed in np.moveaxis(rates[:3], 1, 0)]
    checked = _closed(*rates[:3]), ratio(rates[2], rates[0]), ratio(rates[3], rates[2])
    data = _data(settings, rates, shares, np.array([*closed, checked[0]]))
    return Outcome(data, tuple(_checks(settings, *checked)))


def _rates(recipe: "Recipe", systems: int, teacher: "Network", plain: "Network", student: "Network") -> Real:
    """Sum rates of all networks, shape (networks, systems)."""
    from ris.predictors.compress.rounding import rounded
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor

    models = (float_model_of(one) for one in (teacher, plain, student))
    predictors = [*map(Predictor, models), Predictor(rounded(student, recipe, 8).export())]
    return rates_of([one.run for one in predictors], recipe.make_task(), "test", systems)


def _closed(teacher: Real, plain: Real, taught: Real) -> Estimate:
    """Share of what plain adders fall short by that the taught ones make up for."""
    return ratio(taught - plain, teacher - plain)


def _data(settings: Settings, rates: Real, shares: Real, closed: Real) -> Variables:
    """Labelled arrays; the last axis of shares and closed is that of an `Estimate`."""
    seeds = np.array([*map(str, settings.seeds), "all"], object)
    return {
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "training": (("training",), seeds, {"long_name": "seed of the training"}),
        "seed": (("seed",), np.array(settings.seeds, float), {"units": "1", "long_name": "training"}),
        "rate": (
            ("network", "seed"),
            rates.mean(axis=-1),
            {"units": "bit/s/Hz", "long_name": "mean sum rate on the test systems"},
        ),
        "adder": (("adder",), np.array(NETWORKS[1:], object), {"long_name": "network of adders"}),
        "share": (("adder", "end"), shares, {"units": "1", "long_name": "rate over the teacher's"}),
        "closed": (("training", "end"), closed, {"units": "1", "long_name": "share of the gap closed"}),
    }


def _checks(settings: Settings, closed: Estimate, share: Estimate, kept: Estimate) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for name, found, least, source in (
        ("rate of taught adders over their teacher's", share, OF_TEACHER, PAPER),
        ("share of the gap between plain adders and the teacher that is closed", closed, OF_GAP, PAPER),
        ("rate of taught adders of 8 bits over that in floats", kept, OF_FLOATS, INTEGERS),
    ):
        yield Check.of(f"{name}, {trainings}", found, least, source, "at least")


def draw(values: Values) -> Figure:
    """Rates over the teacher's, and how much of the gap is closed in every training and in all."""
    figure, (left, right) = make_panels(2)
    draw_shares(left, values, [name.replace(", ", ",\n") for name in values["adder"]])
    left.axhline(100 * OF_TEACHER, color="0.4", linestyle=":", label="claim")
    left.axhline(100, color="0.5", linewidth=0.8)
    left.set(ylabel="Rate (% of the teacher's)")
    value, low, high = 100 * values["closed"].T
    trainings = np.arange(len(value))
    right.errorbar(
        trainings, value, [value - low, high - value], color=COLOURS[1], marker="s", markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label="95 % interval",
    )  # fmt: skip
    right.axhline(100 * OF_GAP, color="0.4", linestyle=":", label="claim")
    right.set_xticks(trainings, values["training"])
    right.set(xlabel="Seed of the training", ylabel="Gap to the teacher closed (%)")
    for axes in (left, right):
        axes.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0, 1), side=2, steps=6, batch=16, systems=16),
    papers=("chen2020", "xu2020"),
    packages=("torch",),
)
