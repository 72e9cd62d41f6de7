"""Phases by eight-bit integers: what they keep of the float network's rate, and how much smaller they are.

The reference network on the statistical task, from several first weights. Weights have a scale for each
output channel, activations one for each tensor (Krishnamoorthi, "Quantizing deep convolutional networks for
efficient inference", 2018): first as it is, with ranges from quantiles over systems of the training; then
with channels of a tensor brought to like sizes before (`ris.predictors.equalize`), a range for each use of a
sum, and the ranges that move the output least; and then trained on with the rounding in it. The claims: eight
bits keep 99.5 % of the rate of a float network that was trained as many steps further, on the same systems
with the same learning rate, on systems like those of the training and on unseen geometry, in a file 3.8 times
smaller; weights of four bits keep 99 % of it; surfaces of one and of two bits are better served by a network
trained with their phases in it, gradients passing straight through (Bengio, Leonard and Courville, 2013),
than by rounding what one makes that was trained as long without.

All rates of integers are those of the runtime, which is held against onnxruntime besides: the same codes
before the last convolution, of the reference network and of a graph network, on systems of the test.
Intervals are 95 % bootstrap intervals over trainings and systems, paired.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.predictors.bootstrap import Estimate, ratio
from ris.progress import Progress, parts
from studies.errors import UsageError
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, log_axis, make_panels

# torch takes long to import, and only measurements need it.
if TYPE_CHECKING:
    from ris.predictors.module import Network
    from ris.predictors.train import Recipe
    from studies.experiments.claims._integers import Systems

__all__ = ["EXPERIMENT"]

KRISHNAMOORTHI = "Krishnamoorthi 2018: 8 bits within 2 %, 4-bit weights after training close to float"
SIZE = "8 bits in place of 32, and what else a file holds"
STRAIGHT_THROUGH = "training with the rounded phases is better than rounding afterwards"
EXACT = "the arithmetic of onnxruntime"

PAIRS = {
    "8 bits, as trained": "float",
    "8 bits, fitted": "float",
    "8 bits, trained": "float, trained on",
    "4-bit weights, fitted": "float",
    "4-bit weights, trained": "float, trained on",
    "1-bit phases, trained": "1-bit phases, rounded",
    "2-bit phases, trained": "2-bit phases, rounded",
}
"""Ways to set the phases, and what each is held against."""

KILOBYTES = (50, 100, 200, 400)
"""Ticks of the picture."""

BOUNDS = {
    "8 bits, trained": (0.995, KRISHNAMOORTHI),
    "4-bit weights, trained": (0.99, KRISHNAMOORTHI),
    "1-bit phases, trained": (1.0, STRAIGHT_THROUGH),
    "2-bit phases, trained": (1.0, STRAIGHT_THROUGH),
}
"""Least ratios that are claimed."""

SMALLER = 3.8

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The training of the float networks and the shorter one that follows, systems, and codes to compare."""

    side: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 3000
    batch: int = 64
    further_steps: int = 300
    further_batch: int = 32
    further_rate: float = 3e-4
    graph_steps: int = 40
    systems: int = 1000
    codes: int = 1_000_000

    def recipe(self, seed: int) -> "Recipe":
        """Return the training of the reference network."""
        from ris.predictors.train import Recipe

        return Recipe("statistical", "se", seed, self.side, self.steps, self.batch)

    def further(self, seed: int) -> "Recipe":
        """Return the training that follows."""
        return dataclasses.replace(
            self.recipe(seed), steps=self.further_steps, batch=self.further_batch, rate=self.further_rate
        )


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train, quantize and compare; the systems of training and test have fixed seeds of their own."""
    from studies.experiments.claims._integers import SPLITS, Systems

    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        raise UsageError(
            "claims/integer_inference needs onnx and onnxruntime: pip install 'double-ris[test]'"
        )
    systems = Systems(settings.recipe(0), settings.systems)
    rates: dict[str, list[Real]] = {}
    sizes: dict[str, list[int]] = {}
    for seed, told in zip(settings.seeds, parts(progress, [1] * len(settings.seeds)), strict=True):
        for name, (reached, size) in _trained(settings, seed, systems, told).items():
            rates.setdefault(name, []).append(reached)
            sizes.setdefault(name, []).append(size)
    # Axes (split, seed, system).
    by_name = {name: np.array(reached).swapaxes(0, 1) for name, reached in rates.items()}
    kept = {
        name: [ratio(by_name[name][i], by_name[control][i]) for i in range(len(SPLITS))]
        for name, control in PAIRS.items()
    }
    bytes_of = np.array([np.mean(sizes[name]) for name in by_name])
    axes = ("way", "split")
    data: Variables = {
        "way": (("way",), np.array(list(by_name), object), {"long_name": "how phases are set"}),
        "split": (("split",), np.array(SPLITS, object), {"long_name": "systems"}),
        "pair": (("pair",), np.array(list(PAIRS), object), {"long_name": "what is held against its float"}),
        "rate": (
            (*axes, "seed"),
            np.array([one.mean(axis=-1) for one in by_name.values()]),
            {"units": "bit/s/Hz", "long_name": "mean sum rate"},
        ),
        "bytes": (("way",), bytes_of, {"units": "1", "long_name": "size of the model file"}),
        "kept": (
            ("pair", "split", "estimate"),
            np.array(list(kept.values())),
            {"units": "1", "long_name": "rate over that of its float, and its 95 % interval"},
        ),
    }
    smaller = np.mean(sizes["float"]) / np.mean(sizes["8 bits, trained"])
    exact = _exactness(settings, systems)
    return Outcome(data, (*_checks(kept, SPLITS, float(smaller)), *exact))


def _trained(
    settings: Settings, seed: int, systems: "Systems", progress: Progress
) -> dict[str, tuple[Real, int]]:
    """Rates (split, system) of every way from one training, and bytes of its model file."""
    from ris.predictors.model import FloatModel
    from ris.predictors.model_file import encode_model
    from ris.predictors.publish import calibrated
    from studies.trained import trained_graph, trained_integers

    recipe, further = settings.recipe(seed), settings.further(seed)
    networks: dict[str, tuple[Network, int]] = {}
    made: dict[str, tuple[Real, int]] = {}
    # The first one is longer than what follows it.
    told = iter(parts(progress, [2, *[1] * 5]))

    def take(name: str, *recipes: "Recipe") -> None:
        network = trained_graph(recipes, next(told))
        model = FloatModel(network.graph, network.arrays(), settings.side, settings.side)
        networks[name] = network, len(encode_model(model))

    def note(name: str, model: Any) -> None:
        made[name] = systems.rates_of(model), len(encode_model(model))

    take("float", recipe)
    take("float, trained on", recipe, further)
    for name, (network, size) in networks.items():
        made[name] = systems.rates(network), size
    network, _ = networks["float"]
    note("8 bits, as trained", calibrated(network, recipe).export())
    for bits, kind in ((8, "8 bits"), (4, "4-bit weights")):
        options: dict[str, Any] = {"observer": "output", "ready": True, "bits": bits, "follow": False}
        note(f"{kind}, fitted", calibrated(network, recipe, **options).export())
        note(f"{kind}, trained", trained_integers([recipe], further, next(told), **options))
    for bits in (1, 2):
        network, size = networks["float, trained on"]
        made[f"{bits}-bit phases, rounded"] = systems.rates(network, bits), size
        take(f"{bits}-bit phases, trained", recipe, dataclasses.replace(further, bits=bits))
        network, size = networks[f"{bits}-bit phases, trained"]
        made[f"{bits}-bit phases, trained"] = systems.rates(network, bits), size
    return made


def _checks(kept: dict[str, list[Estimate]], splits: tuple[str, ...], smaller: float) -> Iterator[Check]:
    for name, (least, source) in BOUNDS.items():
        for split, one in zip(splits, kept[name], strict=True):
            yield Check.of(f"rate over {PAIRS[name]}: {name}, {split}", one, least, source, "at least")
    yield Check("size of the float file over that of 8 bits", smaller, SMALLER, SIZE, "at least")


def _exactness(settings: Settings, systems: "Systems") -> Iterator[Check]:
    """Codes that differ from onnxruntime's, before the last convolution."""
    from ris.predictors.publish import calibrated
    from studies.benchmarks.onnx_graph import differing_codes
    from studies.trained import trained_graph

    reference = settings.recipe(settings.seeds[0])
    graph = dataclasses.replace(
        settings.further(settings.seeds[0]), network="gnn-relu", steps=settings.graph_steps
    )
    for name, recipe in (("reference network", reference), ("graph network", graph)):
        model = calibrated(trained_graph([recipe]), recipe).export()
        compared, differing = differing_codes(model, systems.maps(settings.systems), settings.codes)
        yield Check(f"codes that differ, of {compared:.3g}, {name}", differing, 0, EXACT)


def draw(values: Values) -> Figure:
    """Kept rates with intervals, and rates against sizes."""
    figure, (left, right) = make_panels(2)
    pairs = values["pair"]
    places = np.arange(pairs.size)[::-1]
    for i, (split, marker) in enumerate(zip(values["split"], "os", strict=True)):
        value, low, high = 100 * values["kept"][:, i].T
        left.errorbar(
            value, places + 0.12 * (1 - 2 * i), xerr=[value - low, high - value], color=COLOURS[i],
            marker=marker, markersize=3, markerfacecolor="white", elinewidth=0.7, capsize=1.5,
            linestyle="none", label=split,
        )  # fmt: skip
    left.axvline(100, color="0.5", linewidth=0.8)
    left.set(xlabel="Rate over that of its float (%)")
    left.set_yticks(places, [str(pair) for pair in pairs])
    left.legend(title="bars: 95 % interval", title_fontsize=7)
    shown = [i for i, way in enumerate(values["way"]) if "phases" not in way]
    for i, colour, marker in zip(shown, COLOURS, MARKERS, strict=False):
        rate = values["rate"][i, 0]
        right.plot(
            np.full(rate.size, values["bytes"][i] / 1000), rate, color=colour, marker=marker, markersize=4,
            markerfacecolor="none", linestyle="none", label=values["way"][i],
        )  # fmt: skip
    log_axis(right, KILOBYTES)
    right.set(xlabel="Model file (kB)", ylabel="Mean sum rate, test (bit/s/Hz)")
    right.legend(fontsize=6)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        side=4, seeds=(0,), steps=20, batch=8, further_steps=4, further_batch=8, graph_steps=2, systems=32,
        codes=20_000,
    ),
    papers=("krishnamoorthi2018",),
    packages=("torch",),
)  # fmt: skip
