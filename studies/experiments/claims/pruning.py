"""Pruning and sharing of weights: what fewer weights, fewer channels and few different weights keep.

Three ways to make a trained network smaller, each with the same further training: the smallest 80 % of the
weights between the first and the last convolutions become zero on a cubic schedule (after Zhu and Gupta,
2017); channels within the branches are removed until these convolutions have half of their products (after
Li et al., ICLR 2017); and the weights of each of them are replaced by 16 numbers, which train together
(Han, Mao and Dally, "Deep compression", ICLR 2016). All end in codes of 8 bits, and are measured as the
integer runtime executes them, on systems of the test. The control is the network in floats after as many
further steps; its own 8 bits, without any of the three, and the network with zeros in floats say what
rounding costs by itself.

That literature finds no loss for any of them, in networks for the classification of images. Here a loss of at
most one percent is asked for: with 80 % zeros, with half of the products between the ends, and with 16
different weights, which are told in at most 4 bits each. Bytes are those of all arrays: packed; coded, with
the weights of each layer in a Huffman code and its table (`ris.predictors.compress.coding`); and of the model
file, in which gzip codes them. Intervals are those of 95 % by the bootstrap over trainings and, within them,
systems.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import compressed_integers, compressed_network, float_model_of, trained_graph

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.model import Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

WAYS = ("8 bits alone", "pruning", "filter pruning", "weight sharing")
ROUNDED, PRUNED, NARROWED, SHARED = range(len(WAYS))

SIZES = ("packed", "gzip", "Huffman")
"""Bytes of the numbers, of the model file, and of the numbers with weights in codes."""

KEPT, PRODUCTS, BITS = 0.99, 0.5, 4.0
"""Least share of the control's rate; most products left of filter pruning; bits of a shared weight."""

SOURCES = {
    PRUNED: "prune 80 % at >= 99 % (Zhu & Gupta 2017: no loss)",
    NARROWED: "Li et al. 2017, Liu et al. 2017: half of the products without loss; here within 1 %",
    SHARED: "Han, Mao & Dally 2016: 16 different weights without loss; here within 1 %",
}

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How networks are trained and made smaller, and on how many systems they are measured.

    `side`, `batch` and `first_steps` are those of the recipes, one for each of `seeds`, and `steps` at `rate`
    those of the further training. `zeros` are a share of the weights, `fewer` one of the products, and
    2^`bits` weights of a layer differ.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    batch: int = 32
    first_steps: int = 1500
    steps: int = 500
    rate: float = 1e-3
    zeros: float = 0.8
    fewer: float = 0.5
    bits: int = 4
    systems: int = 1000


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Make every network smaller, and measure it."""
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    rates = np.empty((2 + len(WAYS), count, settings.systems))
    sizes, left, told = (np.empty((len(WAYS), count, *rest)) for rest in ((len(SIZES),), (), ()))
    of_float = 0.0
    for i, (seed, training) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        training(0, f"seed {seed}")
        recipe = Recipe("instantaneous", "se", seed, settings.side, settings.first_steps, settings.batch)
        control, with_zeros, *models = _models(settings, recipe, training)
        task = recipe.make_task()
        rates[:, i] = rates_of(
            [Predictor(model).run for model in (control, with_zeros, *models)],
            task,
            "test",
            settings.systems,
        )
        of_float = _sizes(control)[0]
        for way, model in enumerate(models):
            sizes[way, i], told[way, i] = _sizes(model), _bits(model)
            left[way, i] = _products(model, task.users) / _products(control, task.users)
    in_floats, *shares = (np.array(ratio(way, rates[0])) for way in rates[1:])
    data = _data(settings, rates, in_floats, np.array(shares), sizes, left, told, of_float)
    return Outcome(data, tuple(_checks(settings, in_floats, np.array(shares), left, told)))


def _models(settings: Settings, recipe: "Recipe", progress: Progress) -> "list[Model]":
    """The control, the pruned network in floats, and those of all ways; what is trained is kept in files."""
    from ris.predictors.compress.further import stages
    from ris.predictors.compress.rounding import rounded

    further: dict[str, Any] = {"steps": settings.steps, "rate": settings.rate}
    of_control, of_zeros, *of_others = parts(progress, [2, 1, 1, 1])
    control = trained_graph([recipe, *stages(recipe, settings.steps, settings.rate, 1)], of_control)
    zeros: dict[str, Any] = {"share": settings.zeros}
    with_zeros = compressed_network(recipe, "pruning", of_zeros, **zeros, **further)
    models: list[Model] = [
        rounded(control, recipe, 8).export(),
        compressed_integers(recipe, "pruning", **zeros, **further),
    ]
    others: dict[str, dict[str, Any]] = {
        "filter-pruning": {"share": settings.fewer},
        "weight-sharing": {"bits": settings.bits},
    }
    for (method, options), told in zip(others.items(), of_others, strict=True):
        models.append(compressed_integers(recipe, method, told, **options, **further))
    return [float_model_of(control), float_model_of(with_zeros), *models]


def _sizes(model: "Model") -> tuple[int, int, int]:
    from ris.predictors.compress.methods import size_of

    size = size_of(model, 1)
    return size.packed, size.file, size.coded


def _bits(model: Any) -> float:
    """Coded bits of a weight between the ends, tables among them."""
    from ris.predictors.compress.coding import coded_weights
    from ris.predictors.folding import between

    names = [f"{name}/weight" for name in between(model.graph)]
    coded = coded_weights(model)
    weights: int = sum(model.arrays[name].size for name in names)
    return 8 * sum(coded[name] for name in names) / weights


def _products(model: "Model", users: int) -> int:
    """Of the convolutions between the ends."""
    from ris.predictors.folding import between

    counts = model.graph.products(users, model.rows, model.columns)
    return sum(counts[name] for name in between(model.graph))


def _data(
    settings: Settings,
    rates: Real,
    in_floats: Real,
    shares: Real,
    sizes: Real,
    left: Real,
    told: Real,
    of_float: float,
) -> Variables:
    """Labelled arrays; the last axis of shares is that of an `Estimate`."""
    one, rate = {"units": "1"}, {"units": "bit/s/Hz"}
    return {
        "way": (("way",), np.array(WAYS, object), {"long_name": "what makes the network smaller"}),
        "size": (("size",), np.array(SIZES, object), {"long_name": "what tells the numbers"}),
        "seed": (("seed",), np.array(settings.seeds, float), one | {"long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "control": (("seed",), rates[0].mean(1), rate | {"long_name": "rate of the control"}),
        "rate": (("way", "seed"), rates[2:].mean(2), rate | {"long_name": "mean sum rate"}),
        "share_in_floats": (("end",), in_floats, one | {"long_name": "the same of pruning, in floats"}),
        "share": (("way", "end"), shares, one | {"long_name": "rate over the control's"}),
        "bytes": (("way", "seed", "size"), sizes, {"units": "B", "long_name": "bytes of a model"}),
        "float_bytes": ((), np.array(of_float), {"units": "B", "long_name": "bytes of the control"}),
        "products": (("way", "seed"), left, one | {"long_name": "products between the ends over control's"}),
        "bits": (("way", "seed"), told, {"units": "bit", "long_name": "coded bits of a weight between ends"}),
    }


def _checks(settings: Settings, in_floats: Real, shares: Real, left: Real, told: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    yield Check.of(
        f"rate over the control's, {WAYS[PRUNED]}, in floats, {trainings}", in_floats, KEPT, SOURCES[PRUNED],
        "at least",
    )  # fmt: skip
    for way, source in SOURCES.items():
        yield Check.of(
            f"rate over the control's, {WAYS[way]}, {trainings}", shares[way], KEPT, source, "at least"
        )
    yield Check(
        "products between the ends over the control's, filter pruning", left[NARROWED].max(), PRODUCTS,
        SOURCES[NARROWED], "at most",
    )  # fmt: skip
    yield Check(
        "coded bits of a weight between the ends, weight sharing", told[SHARED].max(), BITS, SOURCES[SHARED],
        "at most",
    )  # fmt: skip


def draw(values: Values) -> Figure:
    """Rates over the control's, and bytes."""
    figure, (left, right) = make_panels(2)
    places = np.arange(len(values["way"]))
    of_seeds = 100 * values["rate"] / values["control"]
    left.plot(
        np.repeat(places + 0.15, of_seeds.shape[1]), of_seeds.ravel(), color="0.5", marker="_", markersize=6,
        linestyle="none", label="single trainings, 8 bits",
    )  # fmt: skip
    value, low, high = 100 * values["share"].T
    left.errorbar(
        places - 0.1, value, [value - low, high - value], color=COLOURS[1], marker="o", markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label="8 bits, 95 % interval",
    )  # fmt: skip
    value, low, high = 100 * values["share_in_floats"]
    left.errorbar(
        [PRUNED - 0.25], [value], [[value - low], [high - value]], color=COLOURS[2], marker="^", markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label="floats, 95 % interval",
    )  # fmt: skip
    left.axhline(100 * KEPT, color="0.4", linestyle=":", label="claims")
    left.axhline(100, color="0.5", linewidth=0.8)
    left.set(ylabel="Sum rate (% of the control)")
    bottom, top = left.get_ylim()
    left.set_ylim(bottom - 0.3 * (top - bottom), top)  # room for the legend
    kilobytes = values["bytes"].mean(1) / 1000
    for i, name in enumerate(values["size"]):
        right.plot(
            places + 0.15 * (i - 1), kilobytes[:, i], color=COLOURS[i], marker=MARKERS[i], markersize=4,
            markerfacecolor="white", linestyle="none", label=name,
        )  # fmt: skip
    whole = float(values["float_bytes"]) / 1000
    right.axhline(whole, color="0.5", linewidth=0.8)
    right.annotate("control, floats", (places[-1] + 0.45, whole), ha="right", va="bottom", fontsize=7)
    right.set(ylabel="Size of the model (kB)", yscale="log", ylim=(0.6 * kilobytes.min(), 1.6 * whole))
    ticks = [tick for tick in (2, 5, 10, 20, 50, 100, 200, 500) if kilobytes.min() / 2 < tick < 1.6 * whole]
    right.set_yticks(ticks, labels=map(str, ticks))
    right.set_yticks((), minor=True)
    left.legend(loc="lower right")
    right.legend(loc="lower left")
    for axes in (left, right):
        axes.set_xticks(places, ["\n".join(name.rsplit(" ", 1)) for name in values["way"]])
        axes.set_xlim(-0.5, places[-1] + 0.5)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0, 1), side=2, batch=16, first_steps=2, steps=2, systems=16),
    papers=("zhu2017", "li2017", "liu2017", "han2016"),
    packages=("torch",),
)
