"""Scale-recurrent mixed-dense networks: phases of large surfaces from pilots at every s-th element.

Purohit, Mandal and Rajagopalan, "Mixed-dense connection networks for image and video super-resolution",
Neurocomputing 398, 2020 (arXiv 2201.11996), on the maps of users' channels: blocks that both add to their
state and append to it; one module that doubles a map and is applied twice to quadruple it; successive frames
as channels of one input. Layer sizes are our own. Training begins at twice the rows and columns, and goes on
with twice, three and four times in turn.

Elements are lambda / 8 apart, and pilots are sent from every s-th, s = 2, 3, 4, of 16 x 16, 24 x 24 and 32 x
32: 8 x 8 samples, up to half a wavelength apart, of channels of no higher bandwidth
(`ris.predictors.scattered`). The rate is that of the whole surfaces, with regularised zero forcing for four
users.

Against it stand a network for maps of all elements, equally deep, with pilots from all elements and with the
same pilots interpolated by cubic convolution; a separate network for four times the rows and columns; blocks
that only add or only append, with equal numbers of parameters. Moving users send five pilots, one interval T
apart, the last one interval before the phases are used, at 10 dB: a network that sees all of them, as its
channels or combined by a Wiener filter for age and noise at every element, against one that sees the last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.predictors.bootstrap import ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels
from studies.trained import trained_network

# torch takes long to import, and a list of the experiments does without.
if TYPE_CHECKING:
    from studies.experiments.claims._coarse import CoarseRecipe

__all__ = ["EXPERIMENT"]

PAPER = "Purohit, Mandal & Rajagopalan 2020"

INPUTS = ("coarse", "of all elements", "interpolated")
BLOCKS = ("mixed-dense", "residual", "dense")
FRAMES = ("all pilots as channels", "all pilots combined", "the last pilots")

OF_FULL, OVER_BICUBIC, SHARE = 0.98, 1.05, 0.6
"""Least ratios of rates to all pilots and to interpolated ones, and highest ratio of parameters."""

MOTION, PILOTS_DB = (0.01, 0.3), (10.0, 10.0)
"""Range of f_d T and SNR of the pilots of moving users."""

Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Steps of the trainings at first, of all scales in turn, and of the separate network; sizes; f_d T."""

    first: int = 800
    turns: int = 300
    separate: int = 400
    map_side: int = 8
    sides: tuple[int, ...] = (16, 24, 32)
    doppler: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    frames: int = 5
    seeds: int = 3
    batch: int = 16
    systems: int = 1000


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train all networks; the systems of training and test have fixed seeds of their own."""
    found = [_Trainings(settings, seed) for seed in range(settings.seeds)]
    measured = []
    for seed, (one, told) in enumerate(zip(found, parts(progress, [1] * len(found)), strict=True)):
        of_training, of_rates = parts(told, [4, 1])
        one.train(of_training)
        of_rates(0.0, f"rates, seed {seed}")
        measured.append(
            (
                [one.rates_of_inputs(side) for side in settings.sides],
                one.rates_of_separate(),
                one.rates_of_blocks(),
                [one.rates_of_frames(doppler) for doppler in settings.doppler],
            )
        )
    sizes, separate, blocks, moving = (np.array(rates) for rates in zip(*measured, strict=True))
    # Axes: size or f_d T, training, what is compared, system.
    sizes, moving = sizes.swapaxes(0, 1), moving.swapaxes(0, 1)
    gains = {
        "inputs": [[ratio(one[:, 0], one[:, i]) for i in (1, 2)] for one in sizes],
        "separate": ratio(sizes[-1, :, 0], separate),
        "blocks": [ratio(blocks[:, 0], blocks[:, i]) for i in (1, 2)],
        "frames": [[ratio(one[:, i], one[:, 2]) for i in (0, 1)] for one in moving],
    }
    parameters = found[0].parameters()
    interval = {"units": "1", "long_name": "ratio of rates and its 95 % interval"}
    rate = {"units": "bit/s/Hz", "long_name": "mean sum rate on the test systems"}
    data: Variables = {
        "side": (("side",), np.array(settings.sides, float), {"units": "1", "long_name": "elements a side"}),
        "input": (("input",), np.array(INPUTS, object), {"long_name": "what the network is given"}),
        "rate": (("side", "training", "input"), sizes.mean(axis=-1), rate),
        "ratio": (("side", "other", "estimate"), np.array(gains["inputs"]), interval),
        "separate_rate": (("training",), separate.mean(axis=-1), rate),
        "separate_ratio": (("estimate",), np.array(gains["separate"]), interval),
        "block": (("block",), np.array(BLOCKS, object), {"long_name": "kind of block"}),
        "block_rate": (("training", "block"), blocks.mean(axis=-1), rate),
        "block_ratio": (("other", "estimate"), np.array(gains["blocks"]), interval),
        "doppler": (("doppler",), np.array(settings.doppler), {"units": "1", "long_name": "f_d T"}),
        "frames": (("frames",), np.array(FRAMES, object), {"long_name": "what the network is given"}),
        "frames_rate": (("doppler", "training", "frames"), moving.mean(axis=-1), rate),
        "frames_ratio": (("doppler", "other", "estimate"), np.array(gains["frames"]), interval),
        "parameters": (
            ("network",),
            np.array([*parameters.values()]),
            {"units": "1", "long_name": f"parameters: {', '.join(parameters)}"},
        ),
    }
    return Outcome(data, tuple(_checks(settings, gains, parameters)))


class _Trainings:
    """The networks of one seed, and their rates on the test systems."""

    def __init__(self, settings: Settings, seed: int) -> None:
        from studies.experiments.claims._coarse import CoarseRecipe, CombinedRecipe

        self._settings = settings
        first = CoarseRecipe(
            seed=seed,
            side=settings.map_side,
            steps=settings.first,
            batch=settings.batch,
            sides=settings.sides[:1],
        )
        full = replace(first, coarse=False, factors=(1,))
        moving = replace(first, doppler=MOTION, pilot_db=PILOTS_DB)
        large = settings.sides[-1]
        self._shared, self._full = (
            [one, replace(one, steps=settings.turns, sides=settings.sides)] for one in (first, full)
        )
        self._separate = [
            replace(first, steps=settings.separate, sides=(large,), factors=(large // first.side,))
        ]
        self._blocks = [[replace(first, network=name)] for name in BLOCKS]
        several = replace(moving, frames=settings.frames)
        self._frames: list[list[CoarseRecipe]] = [[several], [CombinedRecipe(**vars(several))], [moving]]

    def train(self, progress: Progress) -> None:
        """Train all networks that no file keeps."""
        every = [self._shared, self._full, self._separate, *self._blocks, *self._frames]
        for recipes, told in zip(every, parts(progress, [1] * len(every)), strict=True):
            trained_network(recipes, told)

    def rates_of_inputs(self, side: int) -> list[Rates]:
        """Rates with each of `INPUTS` at one size."""
        from studies.experiments.claims._coarse import InterpolatedRecipe

        return [
            self._rates(self._shared, replace(self._shared[-1], sides=(side,))),
            self._rates(self._full, replace(self._full[-1], sides=(side,))),
            self._rates(self._full, InterpolatedRecipe(side=self._settings.map_side, sides=(side,))),
        ]

    def rates_of_separate(self) -> Rates:
        """Rates of the network for the largest size alone."""
        return self._rates(self._separate, self._separate[-1])

    def rates_of_blocks(self) -> list[Rates]:
        """Rates with each of `BLOCKS` at the smallest size, after the first training."""
        return [self._rates(recipes, recipes[-1]) for recipes in self._blocks]

    def rates_of_frames(self, doppler: float) -> list[Rates]:
        """Rates with each of `FRAMES`."""
        return [
            self._rates(recipes, replace(recipes[-1], doppler=(doppler, doppler))) for recipes in self._frames
        ]

    def parameters(self) -> dict[str, int]:
        """Count those of the modules that quadruple, shared and separate, and of the kinds of blocks."""
        doubling = ("stem", "up2", "head")
        counts = {
            "shared": _count(trained_network(self._shared), doubling),
            "separate": _count(trained_network(self._separate)),
        }
        for name, recipes in zip(BLOCKS, self._blocks, strict=True):
            counts[name] = _count(trained_network(recipes), doubling)
        return counts

    def _rates(self, recipes: "list[CoarseRecipe]", test: "CoarseRecipe") -> Rates:
        """Rates of a network on the test systems of a recipe."""
        from ris.predictors.train import rates_on

        return rates_on(test, trained_network(recipes), "test", self._settings.systems)


def _count(network: Any, parts: tuple[str, ...] | None = None) -> int:
    return sum(
        one.numel()
        for name, part in network.named_children()
        if parts is None or name in parts
        for one in part.parameters()
    )


def _checks(settings: Settings, gains: dict[str, Any], parameters: dict[str, int]) -> Iterator[Check]:
    def at_least(quantity: str, gain: Any, threshold: float) -> Check:
        return Check.of(quantity, gain, threshold, PAPER, "at least")

    for side, (full, bicubic) in zip(settings.sides, gains["inputs"], strict=True):
        yield at_least(f"rate over that with all pilots, {side} x {side}", full, OF_FULL)
        yield at_least(f"rate over that with interpolated pilots, {side} x {side}", bicubic, OVER_BICUBIC)
    yield at_least("rate of the doubling twice over a separate network", gains["separate"], 1.0)
    share = parameters["shared"] / parameters["separate"]
    yield Check("parameters of the doubling twice over separate", share, SHARE, PAPER, "at most")
    for name, gain in zip(BLOCKS[1:], gains["blocks"], strict=True):
        yield at_least(f"rate of mixed-dense over {name} blocks", gain, 1.0)
    for doppler, of_frames in zip(settings.doppler, gains["frames"], strict=True):
        for name, gain in zip(FRAMES, of_frames, strict=False):
            yield at_least(f"rate of {name} over {FRAMES[2]}, f_d T = {doppler}", gain, 1.0)


def draw(values: Values) -> Figure:
    """Rates by size, what the parts are worth, and frames of moving users."""
    figure, (left, middle, right) = make_panels(3)
    side = values["side"]
    for i, (name, marker) in enumerate(zip(values["input"], "o^s", strict=True)):
        rates = values["rate"][:, :, i]
        left.plot(side, rates.mean(axis=1), color=COLOURS[i], linewidth=0.9)
        dots = left.plot(
            side, rates, color=COLOURS[i], marker=marker, markersize=3.5, linestyle="none",
            markerfacecolor="white",
        )  # fmt: skip
        dots[0].set_label(name)
    separate = values["separate_rate"]
    left.plot(
        np.full(separate.size, side[-1]), separate, color=COLOURS[3], marker="x", markersize=4,
        linestyle="none", label="coarse, separate network",
    )  # fmt: skip
    left.set(xlabel="Elements a side", ylabel="Mean sum rate (bit/s/Hz)", xticks=side)
    left.legend(title="maps of the pilots", title_fontsize=7, fontsize=6)
    names = [f"separate,\n{side[-1]:g} x {side[-1]:g}", *(f"{name}\nblocks" for name in values["block"][1:])]
    _intervals(middle, np.arange(3), np.vstack([values["separate_ratio"], values["block_ratio"]]), 0)
    middle.set(ylabel="Gain over others (%)", xlim=(-0.5, 2.5))
    middle.set_xticks(np.arange(3), names, fontsize=7)
    for i, shift in ((0, 0.96), (1, 1.04)):
        _intervals(right, shift * values["doppler"], values["frames_ratio"][:, i], i, values["frames"][i])
    right.set(xlabel="Doppler shift times interval", xscale="log", ylabel="Gain on the last pilots (%)")
    right.legend(fontsize=6)
    return figure


def _intervals(
    axes: Axes, places: NDArray[Any], estimates: NDArray[np.float64], i: int, label: str | None = None
) -> None:
    value, low, high = 100 * (estimates.T - 1)
    axes.errorbar(
        places, value, [value - low, high - value], color=COLOURS[i], marker="os"[i], markersize=4,
        markerfacecolor="white", linestyle="none", capsize=2, label=label,
    )  # fmt: skip
    axes.axhline(0, color="0.5", linewidth=0.8)


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        first=12,
        turns=6,
        separate=4,
        map_side=4,
        sides=(8, 16),
        doppler=(0.01, 0.3),
        seeds=2,
        batch=2,
        systems=16,
    ),
    papers=("purohit2020",),
    packages=("torch",),
)
