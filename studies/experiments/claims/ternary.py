"""Ternary weights: the rate that is left, and the bytes that are.

The weights of trained networks between the first and the last convolution become -1, 0 and 1, by training in
stages in which more and more of them are zero (`ris.predictors.compress.ternary`; after Liu, Chen, Fu, Ma and
Liu, "Pruning ternary quantization", arXiv 2107.10998, of which no code is public). Results of layers, and the
first and the last weights, have 8 bits. Models are stored in three ways: with five weights in a byte; with
weights coded by the number of their arrangement or by how often they occur, whatever is shorter
(`ris.predictors.compress.coding`), scales, biases and the counts that a decoder needs included; and as the
file on a disk, with the graph as text. All are held against the floats stored alike. The control is the
network in floats after the same number of further steps, at the learning rate of other claims' controls.

The claims: the small network keeps at least 96 % of its control's mean rate with at most 0.65 coded bits for
each weight between the ends; and a network whose ends hold at most 2 % of the weights does so with all of
its arrays at least 40 times smaller than in floats. What is the best that the small one could do, with no
bits at all for its weights between the ends, is beside it. The runtime makes the same numbers of sums and
differences alone, as of products.

Intervals are those of 95 % by the bootstrap over trainings and, within them, systems of the test.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, labelled, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, log_axis, make_panels
from studies.trained import file_of, float_model_of, kept_model, trained_graph

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.model import FloatModel, IntegerModel
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT", "Plan", "ternary_model"]

SHARE, BITS, LESS, ENDS = 0.96, 0.65, 40.0, 0.02
"""Of the control's rate; coded bits of a weight; bytes of floats over coded ones; share of the ends."""

CONTROL_RATE = 1e-3
"""Highest learning rate of the further training in floats."""

IDEA = "Liu et al. 2021: 49 times smaller, from 32 bits a weight, costs at most 4 %"
FORTY = "forty times smaller"
TURNED = "Liu et al. 2021: pruning turns weights towards their images"

STORED = ("five weights a byte", "coded", "file on disk")

Real = NDArray[np.float64]


class Plan(NamedTuple):
    """A network, and its training.

    Attributes
    ----------
    name, network : str
        What it is called here, and in recipes.
    steps, stage : int
        Steps of the first training, and of each stage.
    rate : float
        Highest learning rate of the stages.
    shares : tuple of float
        Of weights that are zero, stage by stage; in all plans as many.
    """

    name: str
    network: str
    steps: int
    stage: int
    rate: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Settings:
    """Which networks, how they are trained, and on how many systems of the test they are measured.

    `side` and `batch` are those of the recipes, one for each of `seeds`.
    """

    plans: tuple[Plan, ...] = (
        Plan("small", "se", 1500, 100, 3e-3, (0.5, 0.7, 0.82, 0.885)),
        Plan("wide", "se-64x4", 800, 80, 3e-3, (0.6, 0.8, 0.9, 0.94)),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    batch: int = 32
    systems: int = 1000


class Sizes(NamedTuple):
    """What a model takes.

    Attributes
    ----------
    bits : float
        Coded bits of a weight between the ends.
    smaller : tuple of float
        Bytes of floats over those of each of `STORED`.
    most : float
        The first of these two for no bytes at all between the ends.
    ends, zeros : float
        Share of all weights that the ends hold, and of the others that is zero.
    """

    bits: float
    smaller: tuple[float, ...]
    most: float
    ends: float
    zeros: float


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Train, make ternary and measure every network."""
    from ris.predictors.compress.further import stages
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor
    from ris.predictors.train import Recipe

    shape = len(settings.plans), len(settings.seeds)
    rates = np.empty((2, *shape, settings.systems))
    sizes: list[list[Sizes]] = [[] for _ in settings.plans]
    angles, apart = [], 0.0
    for (p, s), told in zip(np.ndindex(*shape), parts(progress, [1] * math.prod(shape)), strict=True):
        plan, seed = settings.plans[p], settings.seeds[s]
        told(0, f"{plan.name} network, seed {seed}")
        recipe = Recipe("instantaneous", plan.network, seed, settings.side, plan.steps, settings.batch)
        steps = plan.stage * (1 + len(plan.shares))
        of_floats, of_ternary = parts(told, [plan.steps + steps, steps])
        further = stages(recipe, steps, CONTROL_RATE, 1)
        control = float_model_of(trained_graph([recipe, *further], of_floats))
        model = ternary_model(plan, recipe, of_ternary)
        products, sums = Predictor(model), Predictor(model, additions=True)
        task = recipe.make_task()
        rates[:, p, s] = rates_of([Predictor(control).run, products.run], task, "test", settings.systems)
        maps = task.systems("test", min(16, settings.systems)).maps
        apart = max(apart, float(np.abs(products.run(maps) - sums.run(maps)).max()))
        sizes[p].append(_sizes(control, model))
        angles.append(model.metadata["angles"])
    shares = np.array([ratio(made, control) for control, made in zip(*rates, strict=True)])
    turned = np.array(angles, float).reshape(*shape, -1, 2)
    data = _data(settings, rates, shares, sizes, turned)
    return Outcome(data, tuple(_checks(settings, shares, sizes, turned, apart)))


def ternary_model(plan: Plan, recipe: "Recipe", tell: Progress) -> "IntegerModel":
    """The model of a network; kept in a file, as networks are."""
    from ris.predictors.compress.ternary import ternary
    from ris.predictors.model import IntegerModel

    def make(partial: Path) -> IntegerModel:
        made = ternary(
            trained_graph([recipe], tell),
            recipe,
            steps=plan.stage,
            rate=plan.rate,
            shares=plan.shares,
            checkpoint=partial,
            progress=labelled(tell, f"{plan.name}, ternary"),
        )
        return made.export({"angles": made.angles})

    model = kept_model(file_of([recipe], "ternary", plan._asdict()), make)
    if not isinstance(model, IntegerModel):
        raise TypeError("a file of another model")
    return model


def _sizes(floats: "FloatModel", model: "IntegerModel") -> Sizes:
    from ris.predictors.compress.coding import coded_bytes, coded_weights
    from ris.predictors.model_file import encode_model, packed_bytes

    weights = {name: array for name, array in model.arrays.items() if name.endswith("/weight")}
    bits = dict(zip((node.name for node in model.graph), model.arrays["weight_bits"], strict=True))
    between = {name for name in weights if bits[name.split("/")[0]] == 2}
    coded = coded_weights(model)
    count = sum(weights[name].size for name in between)
    zeros = sum(int(np.sum(weights[name] == 0)) for name in between)
    whole, of_floats = coded_bytes(model), sum(array.nbytes for array in floats.arrays.values())
    return Sizes(
        8 * sum(coded[name] for name in between) / count,
        (
            of_floats / packed_bytes(model),
            of_floats / whole,
            len(encode_model(floats)) / len(encode_model(model)),
        ),
        of_floats / (whole - sum(coded[name] for name in between)),
        1 - count / sum(one.size for one in weights.values()),
        zeros / count,
    )


def _data(settings: Settings, rates: Real, shares: Real, sizes: list[list[Sizes]], angles: Real) -> Variables:
    """Labelled arrays; the last axis of share is that of an `Estimate`."""
    one, axes = {"units": "1"}, ("network", "seed")
    names = np.array([plan.name for plan in settings.plans], object)

    def column(name: str) -> Real:
        return np.array([[getattr(size, name) for size in row] for row in sizes], float)

    return {
        "network": (("network",), names, {"long_name": "network"}),
        "seed": (("seed",), np.array(settings.seeds, float), one | {"long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "stored": (("stored",), np.array(STORED, object), {"long_name": "how a model is stored"}),
        "control": (axes, rates[0].mean(-1), {"units": "bit/s/Hz", "long_name": "rate of the control"}),
        "rate": (axes, rates[1].mean(-1), {"units": "bit/s/Hz", "long_name": "mean sum rate, ternary"}),
        "share": (("network", "end"), shares, one | {"long_name": "rate over the control's"}),
        "bits": (axes, column("bits"), {"units": "bit", "long_name": "coded weight between the ends"}),
        "smaller": ((*axes, "stored"), column("smaller"), one | {"long_name": "bytes of floats over these"}),
        "most": (axes, column("most"), one | {"long_name": "the same without weights between the ends"}),
        "ends": (axes, column("ends"), one | {"long_name": "share of the weights in the ends"}),
        "zeros": (axes, column("zeros"), one | {"long_name": "share of zeros between the ends"}),
        "zeros_of_stage": (
            ("network", "stage"),
            np.array([[*plan.shares, plan.shares[-1]] for plan in settings.plans]),
            one | {"long_name": "share of zeros in a stage"},
        ),
        "cosine": (
            (*axes, "stage", "side"),
            angles,
            one | {"long_name": "cosine of weights and their images, before and behind a stage"},
        ),
    }


def _checks(
    settings: Settings, shares: Real, sizes: list[list[Sizes]], angles: Real, apart: float
) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for plan, share in zip(settings.plans, shares, strict=True):
        name = f"rate over the control's, {plan.name} network, {trainings}"
        yield Check.of(name, share, SHARE, IDEA, "at least")
    small, wide = sizes
    yield Check(
        "coded bits of a weight between the ends, small network", max(one.bits for one in small), BITS, IDEA,
        "at most",
    )  # fmt: skip
    yield Check(
        "share of the weights that the ends hold, wide network", max(one.ends for one in wide), ENDS, FORTY,
        "at most",
    )  # fmt: skip
    coded = STORED.index("coded")
    yield Check(
        "bytes of floats over coded ones, wide network", min(one.smaller[coded] for one in wide), LESS, FORTY,
        "at least",
    )  # fmt: skip
    rise = np.diff(angles).min()
    yield Check("least rise of the cosine of weights and images in a stage", rise, 0.0, TURNED, "at least")
    yield Check(
        "largest difference between sums alone and products", apart, 0.0, "the same integers", "at most"
    )


def draw(values: Values) -> Figure:
    """Rates against sizes, and how weights turn towards their images."""
    figure, (left, right) = make_panels(2)
    for i, name in enumerate(values["network"]):
        value, low, high = 100 * values["share"][i]
        for k, stored in enumerate(values["stored"]):
            place = values["smaller"][i, :, k].mean()
            left.vlines(place, low, high, color=COLOURS[i], linewidth=0.8)
            left.plot(
                place, value, color=COLOURS[i], marker=MARKERS[k], markersize=5, markerfacecolor="white",
                linestyle="none", label=f"{name}: {stored}",
            )  # fmt: skip
        left.axvline(values["most"][i].mean(), color=COLOURS[i], linewidth=0.8, linestyle="--")
        cosine = values["cosine"][i]
        stage = np.arange(1, cosine.shape[1] + 1)
        for at, one in zip(stage, cosine.mean(0), strict=True):
            place = at + 0.3 * (i - 0.5) + np.array([-0.1, 0.1])
            right.plot(
                place, one, color=COLOURS[i], marker=MARKERS[i], markersize=4, markerfacecolor="white",
                linewidth=0.8, label=name if at == 1 else None,
            )  # fmt: skip
            text = f"{100 * values['zeros_of_stage'][i, at - 1]:g} %"
            right.annotate(
                text, (place[1], one.max()), (0, 4), textcoords="offset points", fontsize=5, ha="center"
            )
    left.axhline(100 * SHARE, color="0.4", linestyle=":", linewidth=1.0)
    left.axvline(LESS, color="0.4", linestyle=":", linewidth=1.0)
    left.set(xlabel="Bytes of floats over these", ylabel="Sum rate (% of the control)")
    # Room for the legend.
    left.set_xlim(values["smaller"].min() / 1.2, 6 * values["most"].max())
    log_axis(left, (10, 20, 40, 80))
    left.legend(title="bars: 95 % intervals; dotted: claims;\ndashed: no weights between the ends",
                title_fontsize=6, fontsize=6)  # fmt: skip
    right.margins(y=0.08)  # room for the shares
    right.set(
        xlabel="Stage (beside it the share of zeros)",
        ylabel="Cosine of w and T(w)",
        xticks=stage,
    )
    right.legend(title="before and behind each stage", title_fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        plans=(
            Plan("small", "se-8x1", 4, 2, 1e-3, (0.5, 0.8)),
            Plan("wide", "se-16x1", 4, 2, 1e-3, (0.5, 0.8)),
        ),
        seeds=(0, 1),
        side=4,
        batch=4,
        systems=16,
    ),
    papers=("liu2021ternary",),
    packages=("torch",),
)
