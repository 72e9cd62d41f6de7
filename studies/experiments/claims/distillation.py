"""Distillation and stochastic depth: what a teacher and left-out branches give to trainings of equal length.

A small network with gates is trained for the task alone, and once more, from the same first weights, with as
many steps and the same systems, with the phases of the trained reference network in its loss
(`ris.predictors.compress.distillation`, after Hinton, Vinyals and Dean, "Distilling the knowledge in a neural
network", 2015, with a loss for phases of ours). The claim is that the teacher does not harm: the taught one
has at least the rate of its twin. The reference network itself is trained once more with its residual
branches left out at random (`ris.predictors.compress.stochastic_depth`, after Huang et al., "Deep networks
with stochastic depth", 2016), which is claimed to save a quarter of the products of the training, and to
raise the rate.

Rates are those of 1,000 systems of the test, of the taught network in integers of 8 bits as well, as the
integer runtime executes them. Intervals are those of 95 % by the bootstrap over trainings and, within them,
systems.
"""

import dataclasses
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
from studies.experiments.claims._shares import draw_shares
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import file_of, float_model_of, kept_network, trained_graph, trained_student

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.model import Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

NETWORKS = ("teacher", "alone", "taught", "taught, 8 bits", "stochastic depth")
TEACHER, ALONE, TAUGHT, TAUGHT8, SHALLOW = range(len(NETWORKS))

GAINS = {"taught over alone": (TAUGHT, ALONE), "stochastic depth over all branches": (SHALLOW, TEACHER)}
"""What is held against what."""

PAPERS = ("Hinton et al. 2015: a teacher helps", "Huang et al. 2016: fewer branches train better networks")
SAVED, PAPER = 0.25, "Huang et al. 2016: a quarter of the training is saved"

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which trainings, and on how many systems of the test they are measured.

    `side`, `steps` and `batch` are those of all recipes, one for each of `seeds`; `student` is the name of
    the small network.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    steps: int = 1500
    batch: int = 32
    student: str = "se-8x1"
    systems: int = 1000


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Train all networks from every seed, and measure them on the same systems."""
    from ris.predictors.compress.stochastic_depth import kept_products, survival
    from ris.predictors.model_file import encode_model
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    rates = np.empty((len(NETWORKS), count, settings.systems))
    sizes, kept = np.empty((len(NETWORKS), count)), 1.0
    for i, (seed, training) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        training(0, f"seed {seed}")
        recipe = Recipe("instantaneous", "se", seed, settings.side, settings.steps, settings.batch)
        models, task = _trained(settings, recipe, training), recipe.make_task()
        sizes[:, i] = [len(encode_model(model)) for model in models]
        rates[:, i] = rates_of([Predictor(one).run for one in models], task, "test", settings.systems)
        graph = models[TEACHER].graph
        kept = kept_products(graph, survival(graph), task.users, settings.side, settings.side)
    gains = np.array([_gains(rates[a], rates[b]) for a, b in GAINS.values()])
    shares = np.array([ratio(one, rates[TEACHER]) for one in rates[1:]])
    data = _data(settings, rates, sizes, shares, gains, kept)
    return Outcome(data, tuple(_checks(settings, gains[:, -1], kept)))


def _trained(settings: Settings, recipe: "Recipe", progress: Progress) -> "list[Model]":
    """Models of all networks."""
    from ris.predictors.compress.rounding import rounded
    from ris.predictors.compress.stochastic_depth import LAST, stochastic_depth

    small = dataclasses.replace(recipe, network=settings.student)
    of_teacher, of_alone, of_taught, of_shallow = parts(progress, [1] * 4)
    teacher = trained_graph([recipe], of_teacher)
    alone = trained_graph([small], of_alone)
    taught = trained_student(recipe, settings.student, of_taught)
    shallow = kept_network(
        file_of([recipe], {"stochastic depth": LAST}),
        lambda file: stochastic_depth(
            recipe, checkpoint=file, progress=labelled(of_shallow, "stochastic depth")
        ),
    )
    floats = [float_model_of(one) for one in (teacher, alone, taught, shallow)]
    return [*floats[:TAUGHT8], rounded(taught, small, 8).export(), floats[-1]]


def _gains(ours: Real, theirs: Real) -> Real:
    """Estimates of the ratio of rates in every training, and in all of them."""
    return np.array([*map(ratio, ours, theirs), ratio(ours, theirs)])


def _data(settings: Settings, rates: Real, sizes: Real, shares: Real, gains: Real, kept: float) -> Variables:
    """Labelled arrays; the last axis of shares and gains is that of an `Estimate`."""
    seeds = np.array([*map(str, settings.seeds), "all"], object)
    one = {"units": "1"}
    return {
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network"}),
        "other": (("other",), np.array(NETWORKS[1:], object), {"long_name": "network but the teacher"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "training": (("training",), seeds, {"long_name": "seed of the training"}),
        "seed": (("seed",), np.array(settings.seeds, float), one | {"long_name": "training"}),
        "rate": (
            ("network", "seed"),
            rates.mean(axis=-1),
            {"units": "bit/s/Hz", "long_name": "mean sum rate on the test systems"},
        ),
        "bytes": (("network",), sizes.mean(axis=1), one | {"long_name": "bytes of the model file"}),
        "share": (("other", "end"), shares, one | {"long_name": "rate over the teacher's"}),
        "pair": (("pair",), np.array(list(GAINS), object), {"long_name": "what is held against what"}),
        "gain": (("pair", "training", "end"), gains, one | {"long_name": "ratio of rates"}),
        "kept": ((), np.array(kept), one | {"long_name": "share of the products of a training step"}),
    }


def _checks(settings: Settings, gains: Real, kept: float) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for name, paper, gain in zip(GAINS, PAPERS, gains, strict=True):
        yield Check.of(f"rate, {name}, {trainings}", gain, 1.0, paper, "at least")
    name = "products of the training that stochastic depth saves, share"
    yield Check(name, 1 - kept, SAVED, PAPER, "at least")


def draw(values: Values) -> Figure:
    """Rates over the teacher's, and gains in every training and in all."""
    figure, (left, right) = make_panels(2)
    sizes = values["bytes"][1:] / 1000
    names = [f"{name}\n{size:.3g} kB" for name, size in zip(values["other"], sizes, strict=True)]
    draw_shares(left, values, names)
    left.set(ylabel=f"Rate (% of the teacher's, {values['bytes'][0] / 1000:.3g} kB)")
    trainings = np.arange(values["gain"].shape[1])
    for i, (name, gain) in enumerate(zip(values["pair"], 100 * values["gain"], strict=True)):
        value, low, high = gain.T
        right.errorbar(
            trainings + 0.2 * (i - 0.5), value, [value - low, high - value], color=COLOURS[1 + i],
            marker=MARKERS[1 + i], markersize=4, markerfacecolor="white", linestyle="none", capsize=2,
            label=name,
        )  # fmt: skip
    right.set_xticks(trainings, values["training"])
    right.set(xlabel="Seed of the training", ylabel="Ratio of rates (%), 95 % interval")
    for axes in (left, right):
        axes.axhline(100, color="0.5", linewidth=0.8)
        axes.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0, 1), side=2, steps=6, batch=16, student="se-8x1", systems=16),
    papers=("hinton2015", "huang2016"),
    packages=("torch",),
)
