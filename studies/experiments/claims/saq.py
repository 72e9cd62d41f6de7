"""Sharpness-aware quantization: rate against bit operations, on geometries that no training has seen.

Trained networks are quantized between their first and last layers, but for their gates, and trained further
on a finite set of systems: with the rounding alone, and at the worst weights nearby
(`ris.predictors.compress.saq`, after Liu, Cai and Zhuang, arXiv 2111.12273), at 2, 3 and 4 bits of weights
and inputs alike; and with bits that a generator chose for each layer, within the bit operations of 3 bits
everywhere. The control is the network in floats after as many further steps on the same systems, and the
teacher of all others. All are measured on users and surfaces in directions outside the ranges of the training
("unseen"), the quantized ones as the integer runtime executes them.

A teacher alone may keep what coarse rounding loses, and leave flat minima nothing to mend. So the
sharpness-aware steps are held against the rounding alone without one as well, as in that paper, on fewer
systems and with the worst weights further away; the control stays the same.

The claims: with 4 bits, at least 99.5 % of the control's mean rate for at most a fiftieth of its bit
operations (products times bits of both factors, 32 and 32 in floats); at 2 and at 3 bits, at least the rate
of training with the rounding alone; and with generated bits, at least the rate of 3 bits everywhere.

Steps count alike, though one at the worst weights nearby takes two gradients; learning rates are those that
suit floats and integers. Intervals are those of 95 % by the bootstrap over trainings and, within them,
systems.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from ris.predictors.compress.saq import FiniteRecipe
    from ris.predictors.model import IntegerModel, Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT", "WAYS", "quantized"]

SHARE, LESS = 0.995, 50.0
"""Of the control's rate, and of bit operations."""

FEW_BITS = 3
"""Most bits at which sharpness-aware steps are claimed to gain."""

PAPER = "Liu, Cai & Zhuang 2021: flat minima keep what coarse rounding loses"

Real = NDArray[np.float64]


class Way(NamedTuple):
    """How a network is quantized."""

    name: str
    bits: int
    sharp: bool
    generated: bool = False
    taught: bool = True


WAYS = (
    *(Way("rounding alone", bits, False) for bits in (2, 3, 4)),
    *(Way("sharpness-aware", bits, True) for bits in (2, 3, 4)),
    Way("sharpness-aware, generated bits", 3, True, True),
    *(Way("rounding alone, no teacher", bits, False, taught=False) for bits in (2, 3)),
    *(Way("sharpness-aware, no teacher", bits, True, taught=False) for bits in (2, 3)),
)
SHARP3, SHARP4, GENERATED = (
    WAYS.index(Way("sharpness-aware", 3, True)),
    WAYS.index(Way("sharpness-aware", 4, True)),
    WAYS.index(Way("sharpness-aware, generated bits", 3, True, True)),
)
PAIRS = tuple(
    (WAYS.index(sharp), i)
    for i, plain in enumerate(WAYS)
    for sharp in WAYS
    if not plain.sharp and sharp == plain._replace(name=sharp.name, sharp=True)
)
"""Those with sharpness-aware steps, and what each is held against."""


@dataclass(frozen=True)
class Settings:
    """How networks are trained, and on how much they are measured.

    `side`, `batch` and `first_steps` are those of the recipes, one for each of `seeds`. `finite` systems are
    those of the further training, of `steps` steps, and of the search for bits, of `search` ones; at `rate`,
    and at `control_rate` in floats. Within `radius` the worst weights are nearby. `few` and `far` take the
    places of `finite` and `radius` where there is no teacher.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    batch: int = 32
    first_steps: int = 1500
    finite: int = 1024
    steps: int = 1000
    rate: float = 2e-3
    control_rate: float = 1e-3
    radius: float = 0.001
    few: int = 512
    far: float = 0.05
    search: int = 250
    systems: int = 1000


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Train, quantize and measure every network."""
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    rates = np.empty((1 + len(WAYS), count, settings.systems))
    less, layers = np.empty((len(WAYS), count)), []
    for i, (seed, training) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        training(0, f"seed {seed}")
        recipe = Recipe("instantaneous", "se", seed, settings.side, settings.first_steps, settings.batch)
        control, models = _trained(settings, recipe, training)
        task, size = recipe.make_task(), (settings.side, settings.side)
        outputs = [Predictor(model).run for model in (control, *models)]
        rates[:, i] = rates_of(outputs, task, "unseen", settings.systems)
        less[:, i] = [
            control.bit_operations(task.users, *size) / model.bit_operations(task.users, *size)
            for model in models
        ]
        bits = models[GENERATED].arrays["weight_bits"]
        layers.append(bits[bits > 0].astype(float))
    shares = np.array([ratio(way, rates[0]) for way in rates[1:]])
    gains = np.array([ratio(rates[1 + sharp], rates[1 + plain]) for sharp, plain in PAIRS])
    data = _data(settings, rates, shares, gains, less, np.array(layers))
    return Outcome(data, tuple(_checks(settings, rates[1:], shares, less)))


def _trained(settings: Settings, recipe: "Recipe", progress: Progress) -> "tuple[Model, list[Model]]":
    """The control, and the models of all ways."""
    from ris.predictors.compress.saq import FiniteRecipe

    tuning = FiniteRecipe.after(recipe, settings.finite, settings.steps, settings.control_rate)
    of_control, *of_ways = parts(progress, [1, *(1 + way.sharp for way in WAYS)])
    control = trained_graph([recipe, tuning], of_control)
    network = trained_graph([recipe])
    models = [
        quantized(settings, network, [recipe, tuning], way, told)
        for way, told in zip(WAYS, of_ways, strict=True)
    ]
    return float_model_of(control), models


def quantized(
    settings: Settings, network: Any, recipes: "list[Recipe | FiniteRecipe]", way: Way, tell: Progress
) -> "Model":
    """The model of a way; kept in a file, as networks are."""
    from ris.predictors.compress.distillation import ALPHA
    from ris.predictors.compress.saq import generated_bits, saq

    systems, radius = (settings.finite, settings.radius) if way.taught else (settings.few, settings.far)
    how = {"finite": systems, "radius": radius, "rate": settings.rate, "search": settings.search}
    text = f"{way.name}, {way.bits} bits"
    further: dict[str, Any] = {"systems": systems, "rate": settings.rate}

    def make(partial: Path) -> "IntegerModel":
        bits: int | Mapping[str, int] = way.bits
        if way.generated:
            tell(0, f"{text}: search")
            bits = generated_bits(
                network, recipes[0], way.bits, steps=settings.search, radius=radius, **further
            )
        made = saq(
            network,
            recipes[0],
            bits,
            steps=settings.steps,
            radius=radius if way.sharp else 0.0,
            teacher=trained_graph(recipes),
            alpha=ALPHA if way.taught else 0.0,
            checkpoint=partial,
            progress=labelled(tell, text),
            **further,
        )
        return made.export()

    # The name says whether there is a teacher.
    named = {name: value for name, value in way._asdict().items() if name != "taught"}
    return kept_model(file_of(recipes, named, how), make)


def _data(settings: Settings, rates: Real, shares: Real, gains: Real, less: Real, layers: Real) -> Variables:
    """Labelled arrays; the last axis of share and gain is that of an `Estimate`."""
    one = {"units": "1"}
    return {
        "way": (("way",), np.array([way.name for way in WAYS], object), {"long_name": "further training"}),
        "bits": (("way",), np.array([way.bits for way in WAYS], float), one | {"long_name": "bits"}),
        "seed": (("seed",), np.array(settings.seeds, float), one | {"long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "control": (("seed",), rates[0].mean(1), {"units": "bit/s/Hz", "long_name": "rate of the control"}),
        "rate": (("way", "seed"), rates[1:].mean(2), {"units": "bit/s/Hz", "long_name": "mean sum rate"}),
        "taught": (("way",), np.array([way.taught for way in WAYS], float), one | {"long_name": "teachers"}),
        "share": (("way", "end"), shares, one | {"long_name": "rate over the control's"}),
        "sharp": (("pair",), np.array([sharp for sharp, _ in PAIRS], float), one | {"long_name": "its row"}),
        "gain": (("pair", "end"), gains, one | {"long_name": "rate over that by rounding alone"}),
        "fewer": (("way", "seed"), less, one | {"long_name": "bit operations of floats over these"}),
        "layer_bits": (("seed", "layer"), layers, one | {"long_name": "generated bits, layer by layer"}),
    }


def _checks(settings: Settings, rates: Real, shares: Real, less: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} unseen systems"
    yield Check.of(f"rate over the control's, 4 bits, {trainings}", shares[SHARP4], SHARE, PAPER, "at least")
    yield Check(
        "bit operations in floats over those with 4 bits", less[SHARP4].min(), LESS, PAPER, "at least"
    )
    for sharp, plain in PAIRS:
        if WAYS[sharp].bits > FEW_BITS:
            continue
        name = f"rate, {WAYS[sharp].name} over rounding alone, {WAYS[sharp].bits} bits, {trainings}"
        yield Check.of(name, ratio(rates[sharp], rates[plain]), 1.0, PAPER, "at least")
    gain = ratio(rates[GENERATED], rates[SHARP3])
    yield Check.of(f"rate, generated bits over 3 everywhere, {trainings}", gain, 1.0, PAPER, "at least")
    yield Check(
        "bit operations with generated bits over those with 3 everywhere",
        (less[SHARP3] / less[GENERATED]).max(),
        1.0,
        "the budget",
        "at most",
    )


def draw(values: Values) -> Figure:
    """Rates against bit operations, what sharpness-aware steps gain, and the bits of the layers."""
    figure, (left, middle, right) = make_panels(3, height=3.2)
    fewer, share = values["fewer"].mean(1), 100 * values["share"]
    taught = values["taught"] == 1
    for i, name in enumerate(dict.fromkeys(values["way"][taught])):
        some = values["way"] == name
        # Beside each other, where operations are the same.
        place = fewer[some] * 1.02 ** (i - 1)
        left.vlines(place, share[some, 1], share[some, 2], color=COLOURS[i], linewidth=0.8)
        left.plot(
            place, share[some, 0], color=COLOURS[i], marker=MARKERS[i], markersize=4, markerfacecolor="white",
            linewidth=0.6, label=name,
        )  # fmt: skip
    left.plot(
        [LESS, values["fewer"].max()], [100 * SHARE] * 2, color="0.4", linestyle=":", label="claim at 4 bits"
    )
    left.axhline(100, color="0.5", linewidth=0.8)
    left.set(xlabel="Bit operations of floats over these", ylabel="Sum rate (% of the control)")
    log_axis(left, (50, 70, 100, 140))
    sharp = values["sharp"].astype(int)
    for i, (with_one, text) in enumerate(((1, "teacher"), (0, "no teacher"))):
        some = values["taught"][sharp] == with_one
        gain = 100 * (values["gain"][some] - 1)
        middle.errorbar(
            values["bits"][sharp[some]] + 0.06 * (2 * i - 1), gain[:, 0],
            [gain[:, 0] - gain[:, 1], gain[:, 2] - gain[:, 0]], color=COLOURS[i], marker=MARKERS[i],
            markersize=4, markerfacecolor="white", linestyle="none", elinewidth=0.8, capsize=1.5, label=text,
        )  # fmt: skip
    middle.axhline(0, color="0.5", linewidth=0.8)
    middle.set(xlabel="Bits", ylabel="Gain by sharpness-aware steps (%)", xticks=np.unique(values["bits"]))
    middle.legend()
    bits = values["layer_bits"]
    layer = np.arange(1, bits.shape[1] + 1)
    right.vlines(layer, bits.min(0), bits.max(0), color=COLOURS[2], linewidth=0.8)
    right.plot(
        layer, bits.mean(0), color=COLOURS[2], marker=MARKERS[2], markersize=4, linestyle="none",
        label="mean, and range of trainings",
    )  # fmt: skip
    right.set(xlabel="Convolution", ylabel="Generated bits", ylim=(1.5, 8.5))
    right.legend(loc="center", bbox_to_anchor=(0.5, 0.75))  # where no layer is
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower left", ncols=2, title="bars: 95 % intervals"
    )
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        seeds=(0,),
        side=2,
        batch=4,
        first_steps=5,
        finite=8,
        few=8,
        steps=3,
        search=5,
        systems=32,
    ),
    papers=("liu2021saq",),
    packages=("torch",),
)
