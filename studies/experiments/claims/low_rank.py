"""Convolutions of low rank: what a third of the weights keep of the rate.

The convolutions between the first and the last one of a trained network become products of smaller ones:
those over neighbours by Tucker decomposition (Kim et al., "Compression of deep convolutional neural networks
for fast and low power mobile applications", ICLR 2016), those of the gates by singular values; all keep the
same share of their squared singular values (`ris.predictors.compress.low_rank`). Then they are trained on,
and rounded to 8 bits. The claim is that a third of the weights, trained on, keep 98 % of the rate.

Rates are those of integers in the runtime, over those of the whole network in floats after the same further
steps; before the training on, of the factors in floats. Intervals are those of 95 % by the bootstrap over
trainings and, within them, systems of the test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, labelled, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import compressed_integers, float_model_of, trained_graph

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.model import Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

CLAIMED, LEAST = 3.0, 0.98
"""So many times fewer weights should keep this share of the control's rate."""

SOURCE = "98 % of the rate with a third of the weights (ours)"

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which networks, how they are factored and trained, and on how many systems of the test.

    `network`, `side`, `steps` and `batch` are those of the recipes, one for each of `seeds`; `further_steps`
    and `further_rate` those of the training on, of the factors and of the control.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    factors: tuple[float, ...] = (CLAIMED, 5.0)
    network: str = "se"
    side: int = 8
    steps: int = 1500
    batch: int = 32
    further_steps: int = 500
    further_rate: float = 1e-3
    systems: int = 1000

    def recipe(self, seed: int) -> "Recipe":
        """Return the training of a network."""
        from ris.predictors.train import Recipe

        return Recipe("instantaneous", self.network, seed, self.side, self.steps, self.batch)


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Factor every network by all factors, train on, and measure."""
    count, factors = len(settings.seeds), settings.factors
    control = np.empty((count, settings.systems))
    rates = np.empty((2, len(factors), *control.shape))
    ranks = []
    for i, told in enumerate(parts(progress, [1] * count)):
        made, of_factors = _factored(settings, settings.recipe(settings.seeds[i]), told)
        control[i], rates[:, :, i] = made[0], made[1:].reshape(2, len(factors), -1)
        ranks.append(of_factors)
    kept = np.array([[ratio(one, control) for one in row] for row in rates])
    data = _data(settings, control, kept, np.array(ranks))
    return Outcome(data, tuple(_checks(settings, kept[1])))


def _factored(settings: Settings, recipe: "Recipe", progress: Progress) -> tuple[Real, NDArray[np.int64]]:
    """Sum rates of control, factors and their integers, and ranks, shape (factors, layers)."""
    from ris.predictors.compress.further import stages
    from ris.predictors.compress.low_rank import factored, inner_convolutions
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor

    further = stages(recipe, settings.further_steps, settings.further_rate, 1)
    of_control, *of_each = parts(progress, [2, *[1] * len(settings.factors)])
    models: list[Model] = [float_model_of(trained_graph([recipe, *further], of_control))]
    network = trained_graph([recipe])
    plain = [factored(network, factor) for factor in settings.factors]
    models += [float_model_of(one) for one in plain]
    options = {"steps": settings.further_steps, "rate": settings.further_rate}
    for factor, told in zip(settings.factors, of_each, strict=True):
        tell = labelled(told, f"seed {recipe.seed}: {factor:g} times fewer weights")
        models.append(compressed_integers(recipe, "low-rank", tell, factor=factor, **options))
    runs = [Predictor(one).run for one in models]
    channels = [
        [one.arrays()[f"{name}/weight"].shape[1] for name in inner_convolutions(network.graph)]
        for one in plain
    ]
    return rates_of(runs, recipe.make_task(), "test", settings.systems), np.array(channels)


def _data(settings: Settings, control: Real, kept: Real, ranks: NDArray[np.int64]) -> Variables:
    """Labelled arrays; the last axis of kept is that of an `Estimate`."""
    stages = np.array(["factored, in floats", "trained on, 8 bits"], object)
    return {
        "stage": (("stage",), stages, {"long_name": "how far the network is"}),
        "factor": (
            ("factor",),
            np.array(settings.factors),
            {"units": "1", "long_name": "inner weights over those that are left"},
        ),
        "seed": (("seed",), np.array(settings.seeds, float), {"units": "1", "long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "control_rate": (
            ("seed",),
            control.mean(1),
            {"units": "bit/s/Hz", "long_name": "mean sum rate of the control on the test systems"},
        ),
        "kept": (
            ("stage", "factor", "end"),
            kept,
            {"units": "1", "long_name": "rate over that of the control"},
        ),
        "rank": (
            ("seed", "factor", "layer"),
            ranks.astype(float),
            {"units": "1", "long_name": "channels in front of the last factor of an inner convolution"},
        ),
    }


def _checks(settings: Settings, kept: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    name = f"rate of {CLAIMED:g} times fewer weights in 8 bits over that of the control, {trainings}"
    yield Check.of(name, kept[settings.factors.index(CLAIMED)], LEAST, SOURCE, "at least")


def draw(values: Values) -> Figure:
    """Rates over the control's by how many weights are left, and the ranks of all layers."""
    figure, panels = make_panels(3)
    factor = values["factor"]
    for i, (axes, stage) in enumerate(zip(panels, values["stage"], strict=False)):
        value, low, high = 100 * values["kept"][i].T
        axes.errorbar(
            factor, value, [value - low, high - value], color=COLOURS[i], marker=MARKERS[i], markersize=4,
            markerfacecolor="white", linewidth=0.8, capsize=2, label=stage,
        )  # fmt: skip
        axes.set(xlabel="Inner weights over those left", ylabel="Sum rate (% of the control)", xticks=factor)
    panels[1].plot(
        CLAIMED, 100 * LEAST, color="0.3", marker="_", markersize=14, linestyle="none", label="claim"
    )
    for axes in panels[:2]:
        axes.legend(title="bars: 95 % intervals", title_fontsize=7)
    right = panels[2]
    layer = 1 + np.arange(values["rank"].shape[2])
    for k, one in enumerate(factor):
        ranks = values["rank"][:, k]
        right.vlines(layer, ranks.min(0), ranks.max(0), color=COLOURS[k + 1], linewidth=0.8)
        right.plot(
            layer, ranks.mean(0), color=COLOURS[k + 1], marker=MARKERS[k + 2], markersize=3.5,
            markerfacecolor="white", linestyle="none", label=f"{one:g} times fewer",
        )  # fmt: skip
    right.set(xlabel="Inner convolution", ylabel="Rank of the outputs", ylim=(0, 1.5 * values["rank"].max()))
    right.locator_params("x", integer=True)
    right.legend(title="mean and range of trainings", title_fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0, 1), network="se-8x2", side=2, steps=6, batch=16, further_steps=4, systems=16),
    papers=("kim2016", "delathauwer2000", "cheng2018"),
    packages=("torch",),
)
