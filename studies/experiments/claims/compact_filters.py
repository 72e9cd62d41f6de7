"""Compact filters: networks of fewer weights by their architecture, against one of plain convolutions.

The residual network with gates, and three others that are trained from their first weights as it was, with
fewer weights between the first and the last convolution: depthwise-separable convolutions with normalisations
in place of gates (Howard et al., "MobileNets", 2017), a seventh; kernels of which each serves 8 output
channels, turned and flipped (transferred filters), a seventh too, with as many products; and concatenated
rectifiers, max(x, 0) beside max(-x, 0), behind half the filters (Shang, Sohn, Almeida and Lee, ICML 2016),
half.

The claim is that the first two keep 97 % of the reference's rate, and that half the filters lose nothing, as
Shang et al. found: not one percent. Rates are those of the networks in integers of 8 bits in the runtime over
those of the reference in floats; of both in floats as well. Of kernels that are copies of each other, a model
file has one. Intervals are those of 95 % by the bootstrap over trainings and, within them, systems of the
test.
"""

import math
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
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import float_model_of, trained_graph

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.graph import Graph
    from ris.predictors.model import Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

NETWORKS = ("se", "separable", "symmetric", "crelu")
TITLES = ("plain convolutions", "depthwise separable", "symmetric kernels", "concatenated rectifiers")

OURS, SHANG = "97 % of the rate (ours)", "Shang et al. 2016: no loss at half the filters; within one percent"
CLAIMS = {"separable": (6.0, 0.97, OURS), "symmetric": (6.0, 0.97, OURS), "crelu": (1.9, 0.99, SHANG)}
"""How many times fewer inner weights at least, and the least share of the reference's rate."""

MEASURES = ("inner weights", "bytes of the file", "bit operations")

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which trainings, one for each of `seeds`, and on how many systems of the test they are measured."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    steps: int = 1500
    batch: int = 32
    systems: int = 1000

    def recipe(self, network: str, seed: int) -> "Recipe":
        """Return the training of a network."""
        from ris.predictors.train import Recipe

        return Recipe("instantaneous", network, seed, self.side, self.steps, self.batch)


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Train all networks from every seed, and measure them on the same systems."""
    count = len(settings.seeds)
    rates = np.empty((2, len(NETWORKS), count, settings.systems))
    sizes = np.empty((len(MEASURES), len(NETWORKS), count))
    places = list(np.ndindex(len(NETWORKS), count))
    for (n, s), told in zip(places, parts(progress, [1] * len(places)), strict=True):
        told(0, f"{NETWORKS[n]}, seed {settings.seeds[s]}")
        recipe = settings.recipe(NETWORKS[n], settings.seeds[s])
        rates[:, n, s], sizes[:, n, s] = _measured(recipe, settings.systems, told)
    shares = np.array([[ratio(one, rates[0, 0]) for one in row] for row in rates])
    data = _data(settings, rates, shares, sizes)
    return Outcome(data, tuple(_checks(settings, shares[1], sizes[0].mean(1))))


def _measured(recipe: "Recipe", systems: int, progress: Progress) -> tuple[Real, Real]:
    """Sum rates of a network in floats and in 8 bits, shape (2, systems), and its `MEASURES`."""
    from ris.predictors.compress.methods import size_of
    from ris.predictors.compress.rounding import rounded
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor

    network, task = trained_graph([recipe], progress), recipe.make_task()
    integers = rounded(network, recipe, 8).export()
    models: tuple[Model, ...] = (float_model_of(network), integers)
    size = size_of(integers, task.users)
    rates = rates_of([Predictor(one).run for one in models], task, "test", systems)
    return rates, np.array([_inner_weights(network.graph), size.file, size.bit_operations], float)


def _inner_weights(graph: "Graph") -> int:
    """Weights of all convolutions but the first and the last one."""
    sizes = [math.prod(shape) for name, shape in graph.parameters().items() if name.endswith("/weight")]
    return sum(sizes[1:-1])


def _data(settings: Settings, rates: Real, shares: Real, sizes: Real) -> Variables:
    """Labelled arrays; the last axis of shares is that of an `Estimate`."""
    return {
        "network": (("network",), np.array(TITLES, object), {"long_name": "network"}),
        "numbers": (("numbers",), np.array(["floats", "8 bits"], object), {"long_name": "computed in"}),
        "seed": (("seed",), np.array(settings.seeds, float), {"units": "1", "long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "measure": (("measure",), np.array(MEASURES, object), {"long_name": "what a network takes"}),
        "rate": (
            ("numbers", "network", "seed"),
            rates.mean(-1),
            {"units": "bit/s/Hz", "long_name": "mean sum rate on the test systems"},
        ),
        "share": (
            ("numbers", "network", "end"),
            shares,
            {"units": "1", "long_name": "rate over that of plain convolutions in floats"},
        ),
        "size": (
            ("measure", "network"),
            sizes.mean(-1),
            {"units": "1", "long_name": "weights between the ends, bytes, and bit operations in 8 bits"},
        ),
        "least": (
            ("network",),
            np.array([CLAIMS.get(name, (1.0, np.nan))[1] for name in NETWORKS]),
            {"units": "1", "long_name": "claimed share"},
        ),
    }


def _checks(settings: Settings, shares: Real, weights: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for name, title, share, left in zip(NETWORKS, TITLES, shares, weights, strict=True):
        if name in CLAIMS:
            fewer, least, source = CLAIMS[name]
            yield Check(
                f"{title}: inner weights of the reference over these",
                weights[0] / left,
                fewer,
                source,
                "at least",
            )
            quantity = f"{title}, 8 bits: rate over that of the reference in floats, {trainings}"
            yield Check.of(quantity, share, least, source, "at least")


def draw(values: Values) -> Figure:
    """Rates of all networks, and what they take."""
    figure, (left, right) = make_panels(2)
    names = [name.replace(" ", "\n") for name in values["network"]]
    for k, numbers in enumerate(values["numbers"]):
        value, low, high = 100 * values["share"][k].T
        left.errorbar(
            np.arange(len(names)) + 0.2 * (k - 0.5), value, [value - low, high - value], color=COLOURS[k],
            marker=MARKERS[k], markersize=4, markerfacecolor="white", linestyle="none", capsize=2,
            label=numbers,
        )  # fmt: skip
    left.plot(
        100 * values["least"], color="0.3", marker="_", markersize=24, markeredgewidth=1.2, linestyle="none",
        zorder=0, label="claim",
    )  # fmt: skip
    left.axhline(100, color="0.5", linewidth=0.8)
    left.set_xticks(np.arange(len(names)), names)
    left.set(ylabel="Sum rate (% of the reference in floats)", xlim=(-0.5, len(names) - 0.5))
    left.legend(title="bars: 95 % intervals", title_fontsize=7)
    places = np.arange(len(values["measure"]))
    for n, name in enumerate(values["network"][1:], start=1):
        share = 100 * values["size"][:, n] / values["size"][:, 0]
        right.plot(
            places + 0.15 * (n - 2), share, color=COLOURS[n], marker=MARKERS[n], markersize=5,
            linestyle="none", label=name,
        )  # fmt: skip
    right.axhline(100, color="0.5", linewidth=0.8)
    right.set_xticks(places, values["measure"])
    right.set(ylabel="Share of the reference (%)", ylim=(0, 150), xlim=(-0.5, places[-1] + 0.5))
    right.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0, 1), side=2, steps=4, batch=16, systems=16),
    papers=("howard2017", "shang2016", "cohen2016", "cheng2018"),
    packages=("torch",),
)
