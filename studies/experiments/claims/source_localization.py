"""Local activations against a rectifier: in which community of a network a diffusion began.

The task of Ruiz, Gama, Marques and Ribeiro, "Invariance-preserving localized activation functions for graph
neural networks", IEEE TSP 68, 2020: in a stochastic block model of five communities of 20 nodes, joined with
probability 0.8 inside and 0.2 across, a unit source at one community's node of the highest degree diffuses
for t steps, x = S^t delta with S the adjacency over its largest eigenvalue, and a graph network says where it
began. Noiseless signals are few, so that tests repeat what the training met, and a readout of all nodes
solves the task without any activation. Here therefore t < 10, x is scaled to norm sqrt(N) = 10 and has white
noise of standard deviation sigma; the network is one filter of 8 features and 5 taps, an activation, and one
linear map that all communities share, read at their sources: 57 parameters with a rectifier and 59 with the
median or the maximum over one hop. The weights that count are those of the best validation on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

import channels
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

__all__ = ["EXPERIMENT"]

PAPER = "Ruiz, Gama, Marques & Ribeiro 2020: local activations win"

ACTIVATIONS = ("relu", "max", "median")

JUDGED = 0.02
"""The noise at which the claim is held against its threshold."""

POINTS, LEVEL = 2.0, 0.05
"""Least gain of the median, and the level of its paired test."""


@dataclass(frozen=True)
class Settings:
    """Standard deviations of the noise, graphs, signals, and steps of the optimiser."""

    noise: tuple[float, ...] = (JUDGED, 0.1)
    graphs: int = 10
    training: int = 8000
    test: int = 2000
    steps: int = 800


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train every activation on every graph, with the same signals and first weights."""
    from studies.experiments.claims._localization import Localization, accuracy

    found = np.empty((len(ACTIVATIONS), len(settings.noise), settings.graphs))
    for place in np.ndindex(*found.shape):
        i, j, graph = place
        noise = settings.noise[j]
        progress(float(np.ravel_multi_index(place, found.shape)) / found.size, f"{ACTIVATIONS[i]} {noise}")
        trained = Localization(noise, settings.training, test=settings.test, steps=settings.steps)
        found[place] = 100 * accuracy(ACTIVATIONS[i], stream.child("graph", graph), trained)
    data: Variables = {
        "activation": (("activation",), np.array(ACTIVATIONS, object), {"long_name": "activation"}),
        "noise": (
            ("noise",),
            np.array(settings.noise),
            {"units": "1", "long_name": "standard deviation of the noise"},
        ),
        "accuracy": (
            ("activation", "noise", "graph"),
            found,
            {"units": "%", "long_name": "test signals that are placed rightly"},
        ),
    }
    return Outcome(data, tuple(_checks(found[:, settings.noise.index(JUDGED)])))


def _checks(found: NDArray[np.float64]) -> Iterator[Check]:
    relu, largest, median = found
    gain = median - relu
    yield Check(
        f"points that the median gains on the rectifier, noise {JUDGED}, mean of {gain.size} graphs",
        float(gain.mean()),
        POINTS,
        PAPER,
        "at least",
    )
    yield Check(
        "p of the paired t-test that the median gains nothing",
        float(stats.ttest_rel(median, relu, alternative="greater").pvalue),
        LEVEL,
        PAPER,
        "at most",
    )
    difference = largest - relu
    yield Check(
        "points that the maximum gains, up to the 95 % interval of that",
        float(difference.mean()),
        0.0,
        PAPER,
        "at least",
        tolerance=float(_half_width(difference)),
    )


def _half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half-width of the 95 % interval of the mean, by Student's law; along the last axis."""
    quantile = stats.t.ppf(0.975, values.shape[-1] - 1)
    return np.asarray(quantile * stats.sem(values, axis=-1), np.float64)


def draw(values: Values) -> Figure:
    """Accuracies with their intervals, and the gain on every graph."""
    figure, (left, right) = make_panels(2)
    places, names = np.arange(values["noise"].size), values["activation"]
    for i, (name, accuracy) in enumerate(zip(names, values["accuracy"], strict=True)):
        left.errorbar(
            places + 0.12 * (i - 1), accuracy.mean(axis=-1), _half_width(accuracy), color=COLOURS[i],
            marker="o", markersize=4, markerfacecolor="white", linestyle="none", capsize=2, label=name,
        )  # fmt: skip
    left.set(xlabel="Noise", ylabel="Placed rightly (%)", xlim=(-0.5, places[-1] + 0.5))
    left.set_xticks(places, [f"{noise:g}" for noise in values["noise"]])
    left.legend(title="bars: 95 % interval over graphs", title_fontsize=7)
    for i, marker in ((1, "s"), (2, "o")):
        for j, noise in enumerate(values["noise"]):
            gain = values["accuracy"][i, j] - values["accuracy"][0, j]
            right.plot(
                np.arange(1, gain.size + 1), gain, color=COLOURS[i], marker=marker, markersize=4,
                markerfacecolor=COLOURS[i] if j == 0 else "white", linestyle="none",
                label=f"{names[i]}, noise {noise:g}",
            )  # fmt: skip
    right.axhline(0, color="0.5", linewidth=0.8)
    right.margins(y=0.4)
    right.set(xlabel="Graph", ylabel="Gain on the rectifier (points)")
    right.legend(loc="lower center", ncols=2)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(noise=(JUDGED,), graphs=2, training=400, test=200, steps=60),
    papers=("ruiz2020",),
    packages=("torch",),
)
