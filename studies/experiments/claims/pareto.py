"""Rate against size: every method of compression on one network, beside designs without one.

The reference network with 32 channels and 4 blocks is trained on noisy pilots, and made smaller in every way
that `ris.predictors.compress` knows. For each model: the mean sum rate on systems of the test, in per cent of
that of the reference in floats, the bytes of its file, in which gzip codes the weights, and its bit
operations, products times bits of both factors. The first and the last layers keep 8 bits unless a method
says otherwise. "Trained on" is the reference after the further training that methods with one take: as many
steps, on the same systems.

The claims: a model of at most 64 kB keeps 99 % of the reference's rate, and one of at most 16 kB 95 %. They
are checked on low rank, and on the best that the search for combinations finds under these budgets. For
scale, the best steering, which needs no network, and gradient ascent with perfect channel knowledge.
Intervals are those of 95 % by the bootstrap over trainings and, within them, systems.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.experiments.claims import saq, ternary
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, log_axis, make_panels
from studies.trained import (
    compressed_integers,
    float_model_of,
    taught_network,
    trained_combination,
    trained_graph,
    trained_integers,
    trained_student,
)

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from ris.predictors.model import Model
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT", "MODELS"]

COMBINATIONS = ("KEEPS_99", "KEEPS_95")
"""Of `ris.predictors.compress.combined`."""

CLAIMS = {
    "a third of the weights": (64_000, 0.99),
    "KEEPS_99": (64_000, 0.99),
    "KEEPS_95": (16_000, 0.95),
}
"""Models by their labels; most bytes of the file, and least rate over the reference's."""

SOURCE = "how small a model may be"
LINES = ("best steering", "gradient ascent, perfect channels")

COMPACT = ("separable", "symmetric", "crelu")

KILOBYTES = (8, 16, 32, 64, 128, 256, 512)
"""Ticks of the picture."""

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which trainings, and on how many systems of the test they are measured.

    `side`, `steps` and `batch` are those of the reference's recipes, one for each of `seeds`;
    `further_steps` and `further_rate` those of all trainings that follow one. Methods without training see
    `calibration` systems of it. Gradient ascent goes from steering and `random_starts` by `screening` steps,
    and from the best two ends by `polishing` more.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    steps: int = 1500
    batch: int = 32
    further_steps: int = 500
    further_rate: float = 1e-3
    calibration: int = 256
    systems: int = 1000
    random_starts: int = 3
    screening: int = 60
    polishing: int = 200


class Trainings(NamedTuple):
    """What a model is made from: the reference's training, the one that follows, systems for calibration."""

    recipe: "Recipe"
    further: "Recipe"
    calibration: int
    progress: Progress


class Entry(NamedTuple):
    """A model in the picture.

    Attributes
    ----------
    family : str
        Method; those of one family that differ in bits alone are joined by a line.
    label : str
        Tells them apart.
    make : callable
        The model from what is trained.
    """

    family: str
    label: str
    make: "Callable[[Trainings], Model]"


def _reference(given: Trainings) -> "Model":
    return float_model_of(trained_graph([given.recipe], given.progress))


def _trained_on(given: Trainings) -> "Model":
    return float_model_of(trained_graph([given.recipe, given.further], given.progress))


def _without_training(method: str, bits: int, given: Trainings) -> "Model":
    from ris.predictors.compress.methods import METHODS

    network = trained_graph([given.recipe], given.progress)
    return METHODS[method](network, given.recipe, bits, systems=given.calibration).export()


def _aware(bits: int, given: Trainings) -> "Model":
    options: dict[str, Any] = {"observer": "output", "ready": True, "bits": bits, "follow": False}
    return trained_integers([given.recipe], given.further, given.progress, **options)


def _further(method: str, options: Mapping[str, float], given: Trainings) -> "Model":
    """A method that trains further as `claims/pruning` and `claims/low_rank` do."""
    further = {"steps": given.further.steps, "rate": given.further.rate}
    return compressed_integers(given.recipe, method, given.progress, **options, **further)


def _other(network: str, given: Trainings) -> "Model":
    from ris.predictors.compress.rounding import rounded

    recipe = dataclasses.replace(given.recipe, network=network)
    return rounded(trained_graph([recipe], given.progress), recipe, 8).export()


def _ternary(given: Trainings) -> "Model":
    from ris.predictors.compress.ternary import SHARES

    recipe = given.recipe
    stage = max(1, given.further.steps // (len(SHARES) + 1))
    plan = ternary.Plan("small", recipe.network, recipe.steps, stage, 3e-3, SHARES)
    return ternary.ternary_model(plan, recipe, given.progress)


def _sharpness(way: saq.Way, given: Trainings) -> "Model":
    from ris.predictors.compress.saq import FiniteRecipe

    full: saq.Settings = saq.EXPERIMENT.settings
    settings = dataclasses.replace(
        full,
        # As many as in its own claim.
        steps=min(full.steps, 2 * given.further.steps),
        finite=min(full.finite, 4 * given.calibration),
        search=min(full.search, given.further.steps),
    )
    network = trained_graph([given.recipe], given.progress)
    tuning = FiniteRecipe.after(given.recipe, settings.finite, settings.steps, settings.control_rate)
    return saq.quantized(settings, network, [given.recipe, tuning], way, given.progress)


def _adders(given: Trainings) -> "Model":
    from ris.predictors.compress.rounding import rounded

    recipe = dataclasses.replace(given.recipe, network="adder")
    student, _ = taught_network(recipe, given.progress)
    return rounded(student, recipe, 8).export()


def _student(given: Trainings) -> "Model":
    from ris.predictors.compress.distillation import STUDENT
    from ris.predictors.compress.rounding import rounded

    network = trained_student(given.recipe, STUDENT, given.progress)
    return rounded(network, given.recipe, 8, systems=given.calibration).export()


def _combined(name: str, given: Trainings) -> "Model":
    from ris.predictors.compress import combined

    return trained_combination(given.recipe, getattr(combined, name), given.further, given.progress)


MODELS = (
    Entry("floats", "reference", _reference),
    Entry("floats", "trained on", _trained_on),
    *(Entry("rounding", f"{bits} bits", partial(_without_training, "rounding", bits)) for bits in (8, 4, 3)),
    *(Entry("error feedback", f"{bits} bits", partial(_without_training, "gpfq", bits)) for bits in (4, 3)),
    *(Entry("trained with rounding", f"{bits} bits", partial(_aware, bits)) for bits in (8, 4)),
    *(
        Entry("sharpness-aware", f"{way.bits} bits" + ", generated" * way.generated, partial(_sharpness, way))
        for way in saq.WAYS
        if way.sharp and way.taught
    ),
    Entry("pruned", "80 % zeros", partial(_further, "pruning", {"share": 0.8})),
    Entry("pruned", "half of the products", partial(_further, "filter-pruning", {"share": 0.5})),
    Entry("pruned to ternary", "88 % zeros", _ternary),
    Entry("shared weights", "16 a layer", partial(_further, "weight-sharing", {"bits": 4})),
    Entry("low rank", "a third of the weights", partial(_further, "low-rank", {"factor": 3.0})),
    *(Entry("other filters", network, partial(_other, network)) for network in COMPACT),
    Entry("taught adders", "8 bits", _adders),
    Entry("taught small network", "8 bits", _student),
    *(Entry("combined", name, partial(_combined, name)) for name in COMBINATIONS),
)
"""All models; the first one is what they are held against."""


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Make every model from every training, and measure them on the same systems."""
    from ris.predictors.compress.further import stages
    from ris.predictors.compress.methods import size_of
    from ris.predictors.publish import rates_of
    from ris.predictors.runtime import Predictor
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    rates = np.empty((len(MODELS), count, settings.systems))
    sizes, operations = np.empty((2, len(MODELS), count))
    for i, (seed, training) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        recipe = Recipe("instantaneous", "se", seed, settings.side, settings.steps, settings.batch)
        (further,) = stages(recipe, settings.further_steps, settings.further_rate, 1)
        models = []
        for entry, told in zip(MODELS, parts(training, [1] * len(MODELS)), strict=True):
            told(0, f"{entry.family}, {entry.label}")
            models.append(entry.make(Trainings(recipe, further, settings.calibration, told)))
        task = recipe.make_task()
        rates[:, i] = rates_of([Predictor(one).run for one in models], task, "test", settings.systems)
        of_models = [size_of(model, task.users) for model in models]
        sizes[:, i] = [size.file for size in of_models]
        operations[:, i] = [size.bit_operations for size in of_models]
    shares = np.array([ratio(one, rates[0]) for one in rates])
    steered, best = _designs(settings, stream)
    lines = np.array([ratio(steered, rates[0]), ratio(best, rates[0])])
    data = _data(settings, rates, sizes, operations, shares, lines)
    return Outcome(data, tuple(_checks(settings, shares, sizes)))


def _designs(settings: Settings, stream: Stream) -> tuple[Real, Real]:
    """Sum rates of the best steering and of gradient ascent, shapes (systems,)."""
    import torch

    from ris.predictors.ascent import multistart
    from ris.predictors.baselines import best_steering, random_phasors, superposed_steering, user_steering
    from ris.predictors.instantaneous import InstantaneousTask
    from ris.predictors.train import AT_ONCE, on_device

    task, steered, best = InstantaneousTask(settings.side), list[Real](), list[Real]()
    for first in range(0, settings.systems, AT_ONCE):
        batch = task.systems("test", min(AT_ONCE, settings.systems - first), first)
        starts = [
            superposed_steering(batch),
            *(user_steering(batch, user) for user in range(task.users)),
            *(random_phasors(batch, stream.child("start", i), first) for i in range(settings.random_starts)),
        ]
        found, _ = multistart(
            on_device(batch, "cpu"),
            torch.from_numpy(np.array(starts)).to(torch.complex64),
            screening=settings.screening,
            kept=2,
            steps=settings.polishing,
        )
        best.append(np.asarray(found.numpy(), np.float64))
        steered.append(np.asarray(batch.rates(best_steering(batch)).sum(-1), np.float64))
    return np.concatenate(steered), np.concatenate(best)


def _data(
    settings: Settings, rates: Real, sizes: Real, operations: Real, shares: Real, lines: Real
) -> Variables:
    """Labelled arrays; the last axis of shares and lines is that of an `Estimate`."""
    one = {"units": "1"}
    return {
        "family": (("model",), np.array([entry.family for entry in MODELS], object), {"long_name": "method"}),
        "label": (("model",), np.array([entry.label for entry in MODELS], object), {"long_name": "which"}),
        "seed": (("seed",), np.array(settings.seeds, float), one | {"long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "rate": (("model", "seed"), rates.mean(2), {"units": "bit/s/Hz", "long_name": "mean sum rate"}),
        "bytes": (("model", "seed"), sizes, one | {"long_name": "bytes of the model file"}),
        "operations": (("model", "seed"), operations, one | {"long_name": "bit operations for a system"}),
        "share": (("model", "end"), shares, one | {"long_name": "rate over that of the reference"}),
        "line": (("line",), np.array(LINES, object), {"long_name": "design without a network"}),
        "line_share": (("line", "end"), lines, one | {"long_name": "rate over that of the reference"}),
    }


def _checks(settings: Settings, shares: Real, sizes: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for entry, share, size in zip(MODELS, shares, sizes.max(1), strict=True):
        if entry.label not in CLAIMS:
            continue
        most, least = CLAIMS[entry.label]
        text = f"rate over the reference's: {entry.family}, {entry.label}, {trainings}"
        yield Check.of(text, share, least, SOURCE, "at least")
        yield Check("bytes of its file (largest of the trainings)", size, most, SOURCE, "at most")


def draw(values: Values) -> Figure:
    """Rates against bytes, and against bit operations."""
    figure, panels = make_panels(2, height=3.6)
    share, families = 100 * values["share"], list(dict.fromkeys(values["family"]))
    for axes, across, unit in zip(panels, ("bytes", "operations"), (1000, 1e9), strict=True):
        places = values[across].mean(1) / unit
        for i, family in enumerate(families):
            some = np.flatnonzero(values["family"] == family)
            value, low, high = share[some].T
            colour = COLOURS[i % len(COLOURS)]
            axes.errorbar(
                places[some], value, [value - low, high - value], color=colour,
                marker=MARKERS[i % len(MARKERS)],
                markersize=4, markerfacecolor="white" if i % 2 else colour, linestyle="none",
                elinewidth=0.8, capsize=1.5, label=family,
            )  # fmt: skip
            series = [one for one in some if values["label"][one].endswith(" bits")]
            axes.plot(places[series], share[series, 0], color=colour, linewidth=0.6, linestyle=":")
        lines = 100 * values["line_share"][:, 0]
        bottom, top = share[:, 1].min() - 1, max(share[:, 2].max(), 101) + 1
        for k, (name, line) in enumerate(zip(values["line"], lines, strict=True)):
            # One that lies outside of the picture is drawn near its edge.
            where = " (far above)" if line > top else " (far below)" if line < bottom else ""
            axes.axhline(
                np.clip(line, bottom + 0.2, top - 0.2), color="0.3", linewidth=1.2, linestyle=("--", "-.")[k],
                label=f"{name}: {line:.0f} %{where}",
            )  # fmt: skip
        axes.axhline(100, color="0.6", linewidth=0.6)
        axes.set(xscale="log", ylabel="Sum rate (% of the reference in floats)")
        axes.set_ylim(bottom, top)
    for i, (most, least) in enumerate(sorted(set(CLAIMS.values()))):
        # The corner to the left and above which the claim holds.
        corner = np.array([[0.7, 1, 1], [0, 0, 1.2]])
        panels[0].plot(
            most / 1000 * corner[0], 100 * least + corner[1], color="0.2", linewidth=1.2,
            label=None if i else "claims: left and above",
        )  # fmt: skip
    panels[0].set(xlabel="Model file (kB)")
    log_axis(panels[0], KILOBYTES)
    panels[1].set(xlabel="Bit operations for a system ($10^9$)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=6.5)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        seeds=(0,),
        side=4,
        steps=5,
        batch=4,
        further_steps=5,
        calibration=16,
        systems=16,
        random_starts=1,
        screening=2,
        polishing=2,
    ),
    papers=(
        "krishnamoorthi2018", "lybrand2021", "zhang2023gpfq", "liu2021saq", "liu2021ternary", "zhu2017",
        "li2017", "han2016", "kim2016", "delathauwer2000", "howard2017", "shang2016", "cohen2016",
        "chen2020", "xu2020", "hinton2015",
    ),
    packages=("torch",),
)  # fmt: skip
