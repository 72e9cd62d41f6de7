"""Error feedback against rounding on Gaussian inputs: what wide neurons gain.

Neurons of N weights, uniform on [-1, 1], meet m samples of N inputs, iid normal. Their weights become codes
by rounding, or by the error feedback of `ris.predictors.compress.error_feedback` (GPFQ): ternary ones, with
steps s of 1, and 17 levels, with steps of 1/8. The error is |X w - s X c|^2 / |X w|^2, its median over all
neurons and draws.

Rounding leaves a share of the error that does not depend on N: with steps s it is about (s^2 / 12) / (1 / 3).
Error feedback makes at most about m log(N) / N of it (Lybrand and Saab, JMLR 22, 2021, theorem 2; constants
left aside): the slope in log-log scales tends to -1. The line is fitted from 4 m inputs on, where there are
many more weights to choose than samples to meet.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.draws import normal, uniform
from channels.streams import Stream
from ris.predictors.compress.error_feedback import feed_back
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels

__all__ = ["EXPERIMENT"]

METHODS = ("rounding", "error feedback")

STEPS = (1.0, 1 / 8)
"""Of ternary codes and of 17 levels: both reach from -1 to 1."""

WELL_ABOVE = 4
"""Inputs over samples, from which on slopes are fitted."""

LOW, HIGH, FLAT = -1.1, -0.9, 0.05
"""Between which the slope of error feedback should lie, and what that of rounding should stay below."""


@dataclass(frozen=True)
class Settings:
    """Samples, numbers of inputs, neurons of a draw, and draws of the inputs."""

    samples: tuple[int, ...] = (32, 128)
    inputs: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192)
    neurons: int = 20
    draws: int = 5


def measure(settings: Settings, stream: Stream, progress: Progress) -> Outcome:
    """Quantize neurons of every size."""
    shape = (len(METHODS), len(STEPS), len(settings.samples), len(settings.inputs))
    errors = np.empty((*shape, settings.draws * settings.neurons))
    for i, samples in enumerate(settings.samples):
        for j, inputs in enumerate(settings.inputs):
            progress(
                (i + j / len(settings.inputs)) / len(settings.samples),
                f"{samples} samples of {inputs} inputs",
            )
            own = stream.child(samples, inputs)
            for draw in range(settings.draws):
                some = slice(draw * settings.neurons, (draw + 1) * settings.neurons)
                errors[:, :, i, j, some] = _errors(settings.neurons, samples, inputs, own.child(draw))
    error = np.median(errors, axis=-1)
    axes = ("method", "step", "samples", "inputs")
    data: Variables = {
        "method": (("method",), np.array(METHODS, object), {"long_name": "way to choose codes"}),
        "step": (("step",), np.array(STEPS), {"units": "1", "long_name": "step of the codes"}),
        "samples": (
            ("samples",),
            np.array(settings.samples, float),
            {"units": "1", "long_name": "samples"},
        ),
        "inputs": (("inputs",), np.array(settings.inputs, float), {"units": "1", "long_name": "inputs"}),
        "error": (axes, error, {"units": "1", "long_name": "median relative squared error"}),
        "slope": (axes[:3], _slopes(settings, error), {"units": "1", "long_name": "slope of log error"}),
    }
    return Outcome(data, tuple(_checks(settings, data["slope"][1])))


def _errors(neurons: int, samples: int, inputs: int, stream: Stream) -> NDArray[np.float64]:
    """Relative squared errors, shape (methods, steps, neurons)."""
    x = normal(stream.child("inputs"), inputs, samples)
    weight = 2 * uniform(stream.child("weights"), inputs, neurons) - 1
    wanted = (weight @ x.T) ** 2
    found = []
    for step in STEPS:
        rounded = (weight - step * np.rint(weight / step)) @ x.T
        _, fed_back = feed_back(weight, x, x, np.full(neurons, step), round(1 / step))
        found.append([(residual**2).sum(1) / wanted.sum(1) for residual in (rounded, fed_back)])
    return np.swapaxes(np.array(found), 0, 1)


def _slopes(settings: Settings, error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes of the logarithm of the error over that of the inputs, shape (methods, steps, samples)."""
    inputs, slopes = np.array(settings.inputs), np.empty(error.shape[:3])
    for i, samples in enumerate(settings.samples):
        many = inputs >= WELL_ABOVE * samples
        logs = np.log(error[:, :, i, many]).reshape(-1, many.sum()).T
        slopes[:, :, i] = np.polyfit(np.log(inputs[many]), logs, 1)[0].reshape(error.shape[:2])
    return slopes


def _checks(settings: Settings, slopes: NDArray[np.float64]) -> Iterator[Check]:
    theory = "Lybrand & Saab 2021: error of at most m log(N) / N, constants aside"
    for i, samples in enumerate(settings.samples):
        first = min(n for n in settings.inputs if n >= WELL_ABOVE * samples)
        octaves = np.log2(settings.inputs[-1] / first)
        for j, step in enumerate(STEPS):
            what = f"m = {samples}, {2 * round(1 / step) + 1} levels, {octaves:.0f} octaves"
            name = f"slope of error feedback, {what}"
            yield Check(name, slopes[1, j, i], (LOW + HIGH) / 2, theory, tolerance=(HIGH - LOW) / 2)
            name = f"|slope| of rounding, {what}"
            yield Check(name, abs(slopes[0, j, i]), FLAT, "rounding: the same error for every N", "at most")


def draw(values: Values) -> Figure:
    """Errors over inputs; m log(N) / N as a dotted line."""
    figure, panels = make_panels(len(values["step"]))
    n = values["inputs"]
    for j, (axes, step) in enumerate(zip(panels, values["step"], strict=True)):
        for i, samples in enumerate(values["samples"]):
            for k, (method, line) in enumerate(zip(values["method"], ("--", "-"), strict=True)):
                error, slope = values["error"][k, j, i], values["slope"][k, j, i]
                axes.plot(
                    n, error, color=COLOURS[i], linestyle=line, marker=MARKERS[k], markersize=3,
                    markerfacecolor="white", label=f"{method}, $m$ = {samples:.0f}: slope {slope:.3f}",
                )  # fmt: skip
            bound = samples * np.log(n) / n
            scale = values["error"][1, j, i, -1] / bound[-1]
            axes.plot(n, scale * bound, color="0.4", linestyle=":", linewidth=1.2)
        axes.set(xscale="log", yscale="log", xlabel="Inputs $N$", ylabel="Relative squared error")
        axes.set_title(f"{2 * round(1 / step) + 1} levels", fontsize=8)
        axes.set_ylim(bottom=axes.get_ylim()[0] / 40)
        axes.legend(loc="lower left", title=r"dotted: $\propto m \log(N) / N$", title_fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure, draw, Settings(), Settings(neurons=10, draws=2), papers=("lybrand2021", "zhang2023gpfq")
)
