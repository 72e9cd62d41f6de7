"""Rates against bits: scales for channels or for whole convolutions, before and after training with rounding.

After Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (2018), on the
instantaneous task: the reference network, and one of depthwise-separable convolutions, whose normalisations
are folded into them before anything is rounded. Weights with a scale for each output channel or one for the
whole convolution: of 2 to 8 bits alone, as in a smaller file, and of 8, 6 and 4 bits with activations of 8;
activations of 6 and 4 bits with weights of 8. The first and the last convolutions keep 8 bits. Ranges are
those with which the output moves least, for systems of the training. Then 4-bit weights after a training with
the rounding in it, whose ranges begin as quantiles; that of the separable network leaves activations as they
are at first, and lets their ranges follow.

That paper found: with scales for channels, 8 bits cost at most 2 % without any training; with one scale for
a convolution, networks of depthwise convolutions fail even so, as folding makes the sizes of their channels
differ; and training brings weights of 4 bits to within 2 to 10 % of floats. Intervals are 95 % bootstrap
intervals over trainings and systems, paired; a training is held against a float network that was trained as
many steps further, on the same systems with the same learning rate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.predictors.bootstrap import ratio
from ris.progress import Progress, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

# torch takes long to import, and only measurements need it.
if TYPE_CHECKING:
    from ris.predictors.module import Network
    from ris.predictors.quantize import QuantizedNetwork
    from ris.predictors.train import Recipe
    from studies.experiments.claims._integers import Systems

__all__ = ["EXPERIMENT"]

PAPER = "Krishnamoorthi 2018"

NETWORKS = ("reference", "separable")
SCALES = ("channels", "convolutions")
"""What has a scale of weights of its own."""

BITS = (*((bits, 0) for bits in range(8, 1, -1)), (8, 8), (6, 8), (4, 8), (8, 6), (8, 4))
"""Bits of weights and of activations; 0 are activations that are not rounded."""

RESULTS = (8, 6, 4)
"""Bits of activations that are rounded."""

TRAINED = (("reference", "channels"), ("separable", "channels"), ("separable", "convolutions"))
"""Networks and scales with which weights of 4 bits are trained."""

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The trainings of both networks and the shorter one that follows, and systems."""

    side: int = 8
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 1500
    batch: int = 32
    separable_steps: int = 500
    separable_batch: int = 16
    further_steps: int = 500
    further_rate: float = 1e-3
    delay: int = 50
    systems: int = 1000

    def recipe(self, network: str, seed: int) -> "Recipe":
        """Return the training of a network."""
        from ris.predictors.train import Recipe

        if network == "separable":
            return Recipe(
                "instantaneous", network, seed, self.side, self.separable_steps, self.separable_batch
            )
        return Recipe("instantaneous", "se", seed, self.side, self.steps, self.batch)

    def options(self, network: str, scale: str) -> dict[str, Any]:
        """Return how integers are trained: with moving ranges if normalisations were folded."""
        if network == "separable":
            return {"bits": 4, "per_channel": scale == "channels", "delay": self.delay}
        return {"bits": 4, "follow": False}

    def further(self, recipe: "Recipe") -> "Recipe":
        """Return the training that follows."""
        from ris.predictors.compress.further import stages

        (one,) = stages(recipe, self.further_steps, self.further_rate, 1)
        return one


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Quantize and train; the systems of training and test have fixed seeds of their own."""
    from ris.predictors.publish import calibrated
    from studies.experiments.claims._integers import Systems
    from studies.trained import trained_graph, trained_integers

    systems = Systems(settings.recipe("reference", 0), settings.systems, ("test",))
    shape = (len(settings.seeds), settings.systems)
    of_float, of_control = (np.empty((len(NETWORKS), *shape)) for _ in range(2))
    rounded = np.empty((len(NETWORKS), len(SCALES), len(BITS), *shape))
    trained = np.empty((len(TRAINED), *shape))
    places = list(np.ndindex(len(NETWORKS), len(settings.seeds)))
    for (n, s), told in zip(places, parts(progress, [1] * len(places)), strict=True):
        name, seed = NETWORKS[n], settings.seeds[s]
        # About as long as they take.
        of_floats, of_rounded, of_trained = parts(told, [5, 2, 3])
        recipe = settings.recipe(name, seed)
        further = settings.further(recipe)
        of_control[n, s] = systems.rates(trained_graph([recipe, further], of_floats))[0]
        network = trained_graph([recipe])
        of_float[n, s] = systems.rates(network)[0]
        ranges = {bits: calibrated(network, recipe, "output", activation_bits=bits) for bits in RESULTS}
        for i, j in np.ndindex(len(SCALES), len(BITS)):
            done = (i + j / len(BITS)) / len(SCALES)
            of_rounded(done, f"{name}, seed {seed}: weights of {BITS[j][0]} bits, scales of {SCALES[i]}")
            rounded[n, i, j, s] = _rounded(network, ranges[BITS[j][1] or 8], BITS[j], SCALES[i], systems)
        for i, (one, scale) in enumerate(TRAINED):
            if one == name:
                options = settings.options(name, scale)
                model = trained_integers([recipe], further, of_trained, **options)
                trained[i, s] = systems.rates_of(model)[0]
    kept = np.array(
        [[[ratio(one, of_float[n]) for one in scale] for scale in rounded[n]] for n in range(len(NETWORKS))]
    )
    kept_trained = np.array(
        [
            ratio(one, of_control[NETWORKS.index(name)])
            for one, (name, _) in zip(trained, TRAINED, strict=True)
        ]
    )
    data: Variables = {
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network"}),
        "scale": (("scale",), np.array(SCALES, object), {"long_name": "what has a scale of its own"}),
        "bits": (("setting", "of"), np.array(BITS), {"long_name": "bits of weights and activations"}),
        "rate": (
            ("network",),
            of_float.mean(axis=(1, 2)),
            {"units": "bit/s/Hz", "long_name": "mean sum rate, float"},
        ),
        "kept": (
            ("network", "scale", "setting", "estimate"),
            kept,
            {"units": "1", "long_name": "rate over that of the float network, and its 95 % interval"},
        ),
        "training": (
            ("training",),
            np.array([", ".join(one) for one in TRAINED], object),
            {"long_name": "network and scales of a training with rounding"},
        ),
        "kept_trained": (
            ("training", "estimate"),
            kept_trained,
            {"units": "1", "long_name": "4-bit weights, trained: rate over the control, 95 % interval"},
        ),
    }  # fmt: skip
    return Outcome(data, tuple(_checks(kept, kept_trained)))


def _rounded(
    network: "Network", ranges: "QuantizedNetwork", bits: tuple[int, int], scale: str, systems: "Systems"
) -> Real:
    """Rates of a network without training, shape (system,), with ranges that are known."""
    from ris.predictors.quantize import QuantizedNetwork
    from studies.experiments.claims._integers import with_rounded_weights

    of_weights, of_activations = bits
    quantized = QuantizedNetwork(network, of_weights, of_activations or 8, per_channel=scale == "channels")
    quantized.load_state_dict(ranges.state_dict())
    if of_activations:
        return np.asarray(systems.rates_of(quantized.export())[0])
    return np.asarray(systems.rates(with_rounded_weights(network, quantized))[0])


def _checks(kept: Real, kept_trained: Real) -> Iterator[Check]:
    """Value, low and high end of ratios: axes (network, scale, bits) and (training,)."""
    eight, four = BITS.index((8, 8)), BITS.index((4, 8))
    for name, of_scales in zip(NETWORKS, kept, strict=True):
        yield Check.of(
            f"8 bits, scales of channels, {name}: rate over float", of_scales[0, eight], 0.98,
            f"{PAPER}: at most 2 % less", "at least",
        )  # fmt: skip
        gain = of_scales[0, four, 0] - of_scales[1, four, 0]
        yield Check(
            f"4-bit weights, {name}: kept with scales of channels less with those of convolutions", gain, 0.0,
            f"{PAPER}: scales of channels keep more", "at least",
        )  # fmt: skip
    for (name, scale), found in zip(TRAINED, kept_trained, strict=True):
        yield Check.of(
            f"4-bit weights, trained, scales of {scale}, {name}: rate over control", found, 0.9,
            f"{PAPER}: 2 to 10 % less", "at least",
        )  # fmt: skip
    yield Check.of(
        "8-bit weights, scales of convolutions, separable: rate over float", kept[1, 1, BITS.index((8, 0))],
        0.98, f"{PAPER}: depthwise networks fail", "at most",
    )  # fmt: skip


def draw(values: Values) -> Figure:
    """Kept rates against bits of the weights and against those of the activations."""
    figure, panels = make_panels(2)
    bits = values["bits"]
    for n, (panel, name) in enumerate(zip(panels, values["network"], strict=True)):
        for s, (scale, marker) in enumerate(zip(values["scale"], "os", strict=True)):
            lines: Mapping[str, NDArray[np.bool_]] = {
                "weights alone": bits[:, 1] == 0,
                "activations of 8 bits": bits[:, 1] == 8,
                "weights of 8 bits": (bits[:, 0] == 8) & (bits[:, 1] > 0),
            }
            for i, (what, chosen) in enumerate(lines.items()):
                x = bits[chosen, 1 if i == 2 else 0]
                value, low, high = 100 * values["kept"][n, s, chosen].T
                panel.errorbar(
                    x + 0.06 * (i - 1), value, [value - low, high - value], color=COLOURS[i], marker=marker,
                    linestyle="-" if s == 0 else ":", markersize=3, markerfacecolor="white", capsize=1.5,
                    elinewidth=0.7, label=f"{what}; {scale}",
                )  # fmt: skip
            for ends in values["kept_trained"][values["training"] == f"{name}, {scale}"]:
                value, low, high = 100 * ends
                panel.errorbar(
                    4.25, value, [[value - low], [high - value]], color=COLOURS[3], marker=marker,
                    markersize=4, capsize=1.5, elinewidth=0.7, linestyle="none",
                    label=f"4-bit weights, trained; {scale}",
                )  # fmt: skip
        panel.set(xlabel=f"Bits that vary, {name} network", ylabel="Rate over that of floats (%)")
        panel.set_xticks(range(2, 9))
    panels[1].legend(title="what is rounded; scales of", fontsize=6, title_fontsize=6)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        side=4, seeds=(0,), steps=20, batch=8, separable_steps=20, separable_batch=8, further_steps=4,
        delay=2, systems=32,
    ),
    papers=("krishnamoorthi2018",),
    packages=("torch",),
)  # fmt: skip
