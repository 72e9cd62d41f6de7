"""Squeeze-and-excitation against the same network without, and against a wider one.

Gates from the means of all channels over the surface (Hu, Shen and Sun, "Squeeze-and-excitation networks",
CVPR 2018) on the residual branches of the convolutional network on the element grid: the claim is at least
5 % more rate than the same network without them, for at most 5 % more parameters, and as much more than a
network that spends these on width: in a shallow convolutional network nothing but gates tells an element what
those far away see.

Three settings, each with the same systems, steps and learning rate for all networks. The networks of the
package combine the steering phasors of their inputs, and are told the strengths of all paths at every
element: on instantaneous channels and on statistics. And networks whose cosine and sine come straight from a
convolution, on instantaneous channels. In all of them blocks mix in the mean of all users' maps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

__all__ = ["EXPERIMENT"]

PAPER = "Hu, Shen & Sun 2018: gates gain more than their parameters cost"

NETWORKS = ("cnn", "cnn-wide", "se")
"""Without gates, wider instead, and with gates."""

GAIN, COST = 1.05, 1.05
"""Least ratio of rates, and highest one of parameters."""


@dataclass(frozen=True)
class Case:
    """A task, the steps of its trainings, and whether the networks have a plain output."""

    task: str
    steps: int
    plain: bool = False

    @property
    def name(self) -> str:
        """Name in figures."""
        return f"{self.task}, plain output" if self.plain else self.task


@dataclass(frozen=True)
class Settings:
    """Cases, seeds, systems of a step and of the test, and elements a side."""

    cases: tuple[Case, ...] = (
        Case("instantaneous", 1000),
        Case("statistical", 400),
        Case("instantaneous", 1000, plain=True),
    )
    seeds: int = 3
    batch: int = 16
    systems: int = 1000
    side: int = 8


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train all networks in all settings; the systems of training and test have fixed seeds of their own."""
    from ris.predictors.train import Recipe, rates_on
    from studies.experiments.claims._plain_head import PlainRecipe
    from studies.trained import trained_network

    cases = settings.cases
    rates = np.empty((len(cases), len(NETWORKS), settings.seeds, settings.systems))
    parameters = np.empty((len(cases), len(NETWORKS)))
    places = list(np.ndindex(*rates.shape[:3]))
    for place, told in zip(places, parts(progress, [1] * len(places)), strict=True):
        case, network, seed = cases[place[0]], NETWORKS[place[1]], place[2]
        told(0, f"{case.name}: {network}, seed {seed}")
        kind = PlainRecipe if case.plain else Recipe
        recipe = kind(case.task, network, seed, settings.side, case.steps, settings.batch)
        trained = trained_network([recipe], told)
        rates[place] = rates_on(recipe, trained, "test", settings.systems)
        parameters[place[:2]] = sum(one.numel() for one in trained.parameters())
    gains = [[ratio(of_case[2], of_case[i]) for i in (0, 1)] for of_case in rates]
    names = [case.name for case in cases]
    data: Variables = {
        "case": (("case",), np.array(names, object), {"long_name": "setting"}),
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network"}),
        "parameters": (("case", "network"), parameters, {"units": "1", "long_name": "parameters"}),
        "rate": (
            ("case", "network", "seed"),
            rates.mean(axis=-1),
            {"units": "bit/s/Hz", "long_name": "mean sum rate on the test systems"},
        ),
        "gain": (
            ("case", "other", "estimate"),
            np.array(gains),
            {"units": "1", "long_name": "rate with gates over the others', and its 95 % interval"},
        ),
    }
    return Outcome(data, tuple(_checks(names, gains, parameters)))


def _checks(
    names: list[str], gains: list[list[Estimate]], parameters: NDArray[np.float64]
) -> Iterator[Check]:
    for name, against, sizes in zip(names, gains, parameters, strict=True):
        for other, gain in zip(NETWORKS, against, strict=False):
            yield Check.of(f"rate with gates over {other}, {name}", gain, GAIN, PAPER, "at least")
        yield Check(
            f"parameters with gates over without, {name}", sizes[2] / sizes[0], COST, PAPER, "at most"
        )


def draw(values: Values) -> Figure:
    """Rates of all trainings, and the gains with their intervals."""
    figure, (left, right) = make_panels(2)
    places = np.arange(values["case"].size)
    for i, (name, marker) in enumerate(zip(values["network"], "so^", strict=True)):
        rates = values["rate"][:, i]
        left.plot(
            np.repeat(places + 0.2 * (i - 1), rates.shape[1]), rates.ravel(), color=COLOURS[i], marker=marker,
            markersize=4, markerfacecolor="none", linestyle="none", label=name,
        )  # fmt: skip
    left.set(ylabel="Mean sum rate (bit/s/Hz)")
    left.legend()
    for i, marker in ((0, "s"), (1, "o")):
        value, low, high = 100 * (values["gain"][:, i].T - 1)
        right.errorbar(
            places + 0.16 * (i - 0.5), value, [value - low, high - value], color=COLOURS[i], marker=marker,
            markersize=4, markerfacecolor="white", linestyle="none", capsize=2, label=f"over {NETWORKS[i]}",
        )  # fmt: skip
    right.axhline(100 * (GAIN - 1), color="0.4", linestyle=":", label="claim")
    right.axhline(0, color="0.5", linewidth=0.8)
    right.set(ylabel="Gain by gates (%)")
    right.legend(title="bars: 95 % interval", title_fontsize=7)
    for panel in (left, right):
        panel.set_xticks(places, [name.replace(", ", ",\n") for name in values["case"]], fontsize=7)
        panel.set_xlim(-0.5, places[-1] + 0.5)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        (Case("instantaneous", 20), Case("statistical", 20), Case("instantaneous", 20, plain=True)),
        seeds=2,
        batch=4,
        systems=32,
        side=4,
    ),
    papers=("hu2018",),
    packages=("torch",),
)
