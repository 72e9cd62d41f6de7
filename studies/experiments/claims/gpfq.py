"""Error feedback against rounding on a trained network: what a few systems and no training give back.

Weights become codes of 4 and of 3 bits, those of the first and the last layers of 8: by rounding, and by the
error feedback of `ris.predictors.compress.gpfq`, which sees 256 systems of the training. In the papers all
errors of a layer count alike; by default they are weighted by how sensitive the output is to them. Both are
measured, and the claims are held against the weighted one. What it recovers is a share of the mean rate that
rounding loses, (R_gpfq - R_rounding) / (R_float - R_rounding), on systems of the test.

In three cases: with one step for all weights of a layer and results in floats, as Zhang, Zhou and Saab have
it (SIAM J. Math. Data Sci. 5(2), 2023); with a step for each output channel, as is the default, by which
rounding loses much less; and so with results of 8 bits, where the integer runtime executes the exported
models, and what 8 bits of results cost is part of the loss.

Intervals are those of 95 % by the bootstrap over trainings and, within them, systems.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from channels.streams import Stream
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import trained_network

# torch takes long to import, and only measuring needs it.
if TYPE_CHECKING:
    from torch import nn

    from ris.predictors.compress.gpfq import Radius

__all__ = ["EXPERIMENT"]

METHODS = ("rounding", "error feedback", "weighted error feedback")
CASES: "dict[str, tuple[Radius, int | None]]" = {
    "steps of layers, results in floats": ("layer", None),
    "steps of channels, results in floats": ("row", None),
    "steps of channels, results of 8 bits": ("row", 8),
}
"""What has a step of its own, and bits of results: None are floats."""

LEAST = {4: 1 / 2, 3: 2 / 3}
"""Of what rounding to so many bits loses, error feedback should recover this share."""

SHOWN = (-150.0, 150.0)
"""Per cent of the loss that the picture shows."""

SOURCE = "half of the loss at 4 bits, two thirds at 3"

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Which networks, how they are trained, and on how much they are measured.

    `side`, `steps` and `batch` are those of the recipes, one for each of `seeds`; `calibration` and `systems`
    count systems of the training and of the test.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    side: int = 8
    steps: int = 1500
    batch: int = 32
    calibration: int = 256
    systems: int = 1000


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Quantize every network, and measure it."""
    from ris.predictors.train import Recipe

    count = len(settings.seeds)
    floats = np.empty((count, settings.systems))
    rates = np.empty((len(CASES), len(LEAST), len(METHODS), count, settings.systems))
    for i, (seed, told) in enumerate(zip(settings.seeds, parts(progress, [1] * count), strict=True)):
        recipe = Recipe(
            "instantaneous", "se", seed, side=settings.side, steps=settings.steps, batch=settings.batch
        )
        of_training, of_codes = parts(told, [1, 1])
        network = trained_network([recipe], of_training)
        floats[i], rates[..., i, :] = _rates(settings, recipe, network, of_codes)
    shares = np.array([[[ratio(way, floats) for way in ways] for ways in rows] for rows in rates])
    recovered = np.array(
        [[[ratio(way - ways[0], floats - ways[0]) for way in ways[1:]] for ways in rows] for rows in rates]
    )
    data = _data(settings, floats, rates, shares, recovered)
    return Outcome(data, tuple(_checks(settings, recovered)))


def _rates(settings: Settings, recipe: Any, network: Any, progress: Progress) -> tuple[Real, Real]:
    """Sum rates of a network, shape (systems,), and of it quantized, (cases, bits, methods, systems)."""
    from ris.predictors.compress.gpfq import gpfq
    from ris.predictors.compress.rounding import rounded
    from ris.predictors.publish import calibrated, rates_of
    from ris.predictors.runtime import Predictor

    outputs = [_output(network)]
    for i, (case, (steps, results)) in enumerate(CASES.items()):
        for j, bits in enumerate(LEAST):
            progress((i + j / len(LEAST)) / len(CASES), f"codes of {bits} bits, {case}")
            if steps == "layer":
                how: dict[str, Any] = {"bits": bits, "activation_bits": results, "per_channel": False}
                made = [calibrated(network, recipe, "min-max", **how)]
            else:
                seen = settings.calibration
                made = [rounded(network, recipe, bits, results, systems=seen, equalize=False)]
            for weighted in (False, True):
                made.append(
                    gpfq(
                        network, recipe, bits, results, systems=settings.calibration, radius=steps,
                        weighted=weighted,
                    )
                )  # fmt: skip
            outputs += [_output(one) if results is None else Predictor(one.export()).run for one in made]
    rates = rates_of(outputs, recipe.make_task(), "test", settings.systems)
    return rates[0], rates[1:].reshape(len(CASES), len(LEAST), len(METHODS), settings.systems)


def _output(network: "nn.Module") -> Any:
    """From maps to the output, both NumPy arrays."""
    import torch

    network.eval()

    def run(maps: NDArray[np.float32]) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(maps)).numpy()

    return run


def _data(settings: Settings, floats: Real, rates: Real, shares: Real, recovered: Real) -> Variables:
    """Labelled arrays; the last axis of shares and recovered is that of an `Estimate`."""
    axes = ("case", "bits", "method")
    percent = {"units": "1"}
    return {
        "case": (("case",), np.array(list(CASES), object), {"long_name": "what has a step, and results"}),
        "bits": (("bits",), np.array(list(LEAST), float), {"units": "1", "long_name": "bits of the weights"}),
        "method": (("method",), np.array(METHODS, object), {"long_name": "way to choose codes"}),
        "feedback": (("feedback",), np.array(METHODS[1:], object), {"long_name": "way to feed errors back"}),
        "seed": (("seed",), np.array(settings.seeds, float), {"units": "1", "long_name": "training"}),
        "end": (("end",), np.array(Estimate._fields, object), {"long_name": "of a 95 % interval"}),
        "float_rate": (("seed",), floats.mean(1), {"units": "bit/s/Hz", "long_name": "rate in floats"}),
        "rate": (
            (*axes, "seed"),
            rates.mean(-1),
            {"units": "bit/s/Hz", "long_name": "rate of the quantized network"},
        ),
        "share": ((*axes, "end"), shares, percent | {"long_name": "rate over that in floats"}),
        "recovered": (
            (*axes[:2], "feedback", "end"),
            recovered,
            percent | {"long_name": "share of the loss recovered"},
        ),
        "least": (("bits",), np.array(list(LEAST.values())), percent | {"long_name": "claimed share"}),
    }


def _checks(settings: Settings, recovered: Real) -> Iterator[Check]:
    trainings = f"{len(settings.seeds)} trainings, {settings.systems} systems"
    for case, row in zip(CASES, recovered, strict=True):
        for bits, (_, found) in zip(LEAST, row, strict=True):
            name = f"share of the loss recovered, {bits} bits, {case}, {trainings}"
            yield Check.of(name, found, LEAST[bits], SOURCE, "at least")


def draw(values: Values) -> Figure:
    """Rates over those in floats, and what is recovered."""
    figure, (left, right) = make_panels(2)
    bits, methods = values["bits"], list(values["method"])
    for i, k in np.ndindex(len(values["case"]), len(methods)):
        place = bits + 0.09 * (3 * i + k - 4)
        _bars(left, place, 100 * values["share"][i, :, k], COLOURS[k], MARKERS[i])
        if k:
            _bars(right, place, 100 * values["recovered"][i, :, k - 1], COLOURS[k], MARKERS[i])
    left.axhline(100, color="0.5", linewidth=0.8)
    left.set(ylabel="Sum rate (% of that in floats)")
    for one, least in zip(bits, values["least"], strict=True):
        right.plot([one - 0.45, one + 0.45], [100 * least] * 2, color="0.4", linestyle=":", linewidth=1.2)
    right.set(ylabel="Loss recovered (%)", ylim=SHOWN)
    for axes in (left, right):
        axes.set(xlabel="Bits of a weight", xticks=bits, xlim=(bits.min() - 0.6, bits.max() + 0.6))
    entries: list[Artist] = [Patch(color=COLOURS[k], label=method) for k, method in enumerate(methods)]
    for i, case in enumerate(values["case"]):
        entries.append(
            Line2D(
                [], [], color="0.3", marker=MARKERS[i], markersize=4, markerfacecolor="white",
                linestyle="none", label=case,
            )
        )  # fmt: skip
    figure.legend(
        handles=entries, loc="outside upper center", ncols=2, frameon=False, title_fontsize=7,
        title="dotted: the claims; bars: 95 % intervals, beyond the edge where there is next to no loss",
    )  # fmt: skip
    return figure


def _bars(axes: Any, place: Real, estimates: Real, colour: str, marker: str) -> None:
    value, low, high = estimates.T
    axes.vlines(place, low, high, color=colour, linewidth=0.8)
    axes.plot(
        place, value, color=colour, marker=marker, markersize=4, markerfacecolor="white", linestyle="none"
    )


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(seeds=(0,), side=4, steps=20, batch=16, calibration=16, systems=48),
    papers=("lybrand2021", "zhang2023gpfq"),
    packages=("torch",),
)
