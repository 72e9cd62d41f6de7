"""Local medians against a rectifier where bursts of interference corrupt 5 % of the pilots.

The graph network of `ris.predictors.networks.local_gnn` for phases from noisy pilots, with the lower median
over every element and its four neighbours before the rectifier (Ruiz, Gama, Marques and Ribeiro, IEEE TSP 68,
2020), and with the rectifier alone; the medians have one more number to learn a layer. Both are trained on
pilots of which 5 % are corrupted: elements are sounded one after the other, and a burst 20 dB above the pilot
takes an estimate's place. Trainings of one seed have the same systems, and the weights count that were best
on the systems of the validation. Both are then tested with corrupted pilots and with clean ones.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

import channels
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

if TYPE_CHECKING:
    from ris.predictors.bootstrap import Estimate

__all__ = ["EXPERIMENT"]

PAPER = "Ruiz, Gama, Marques & Ribeiro 2020: medians resist outliers"

NETWORKS, PILOTS = ("gnn-relu", "gnn-median"), ("corrupted", "clean")

LEAST = 1.02, 0.995
"""Least ratios of the median's rates to the rectifier's with corrupted and with clean pilots."""


@dataclass(frozen=True)
class Settings:
    """Trainings, rows and columns of the surfaces, steps, systems of a step and of the test."""

    seeds: int = 8
    side: int = 8
    steps: int = 800
    batch: int = 32
    test: int = 1000


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train both networks with every seed, and test them; all seeds are fixed, and `stream` has no part."""
    from ris.predictors.bootstrap import ratio
    from ris.predictors.train import Recipe, rates_on
    from studies.trained import trained_network

    rates = np.empty((len(PILOTS), len(NETWORKS), settings.seeds, settings.test))
    places = list(np.ndindex(settings.seeds, len(NETWORKS)))
    for (seed, i), told in zip(places, parts(progress, [1] * len(places)), strict=True):
        recipe = Recipe(
            "instantaneous-corrupted", NETWORKS[i], seed, settings.side, settings.steps, settings.batch
        )
        network = trained_network([recipe], told)
        rates[0, i, seed] = rates_on(recipe, network, "test", settings.test)
        clean = dataclasses.replace(recipe, task="instantaneous")
        rates[1, i, seed] = rates_on(clean, network, "test", settings.test)
    ratios = [ratio(median, relu) for relu, median in rates]
    data: Variables = {
        "pilots": (("pilots",), np.array(PILOTS, object), {"long_name": "pilots of the test"}),
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network"}),
        "rate": (
            ("pilots", "network", "seed", "system"),
            rates,
            {"units": "bit/s/Hz", "long_name": "sum rate on systems of the test"},
        ),
        "ratio": (
            ("pilots", "bound"),
            np.array(ratios),
            {"units": "1", "long_name": "mean rate, median to rectifier: value, low, high (95 %)"},
        ),
    }
    return Outcome(data, tuple(_checks(ratios)))


def _checks(ratios: "list[Estimate]") -> Iterator[Check]:
    for pilots, found, least in zip(PILOTS, ratios, LEAST, strict=True):
        yield Check.of(f"mean rate, median to rectifier, {pilots} pilots", found, least, PAPER, "at least")


def draw(values: Values) -> Figure:
    """Mean rates of every training, and the ratios with their intervals and thresholds."""
    figure, (left, right) = make_panels(2)
    mean = values["rate"].mean(axis=-1)
    seeds = np.arange(mean.shape[-1])
    for j, (pilots, marker) in enumerate(zip(values["pilots"], "os", strict=True)):
        for i, network in enumerate(values["network"]):
            left.plot(
                seeds + 0.08 * (2 * i - 1), mean[j, i], color=COLOURS[i], marker=marker, markersize=5,
                markerfacecolor="white", linestyle="none", label=f"{network}, {pilots} pilots",
            )  # fmt: skip
    left.set(xlabel="Seed", ylabel="Sum rate (bit/s/Hz)", xlim=(-0.5, seeds[-1] + 0.5))
    left.set_xticks(seeds)
    left.margins(y=0.4)
    left.legend(loc="lower center", ncols=2)
    value, low, high = values["ratio"].T
    places = np.arange(value.size)
    right.errorbar(
        places, value, [value - low, high - value], color=COLOURS[1], marker="o", markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label="95 % interval",
    )  # fmt: skip
    for place, least in zip(places, LEAST, strict=True):
        right.plot((place - 0.3, place + 0.3), (least, least), color="0.2", linewidth=1.2)
    right.plot([], [], color="0.2", linewidth=1.2, label="least that is claimed")
    right.set_xticks(places, [f"{pilots} pilots" for pilots in values["pilots"]])
    right.set(ylabel="Mean rate, median to rectifier", xlim=(-0.6, places[-1] + 0.6))
    right.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=2, side=4, steps=10, batch=8, test=32),
    papers=("ruiz2020",),
    packages=("torch",),
)
