"""Phases for one channel from noisy pilots: learned ascents and networks against the optimum of perfect CSI.

The instantaneous task of `ris.predictors`: Rician hops around lines of sight in random directions, two
surfaces with all three reflected paths, 8 antennas, 4 users, regularised zero forcing once the phases are
set. The BS chooses the phases from pilots of the users' hops, of an SNR from 0 to 30 dB for a mean channel
between element and user, and the rate is that of the true channels. 100 % is the best of gradient ascents on
these from superposed steering, each user's steering and random phases: all by some steps, the best three ends
by more.

The learned ascent (`ris.predictors.networks.learned_ascent`) begins at the steering that looks best and
makes 16 or 32 moves by one small network, fed by the slopes of the rate that the estimated channels promise.
The convolutional network with gates (squeeze-and-excitation) sees maps of the pilots alone. An ascent with
momentum is what the learned moves begin as: slopes over their root mean square, factors set by hand on
systems of the validation. Its 200 moves tell what the estimates are good for, and the same from the pilots as
they come, what the estimation is.

Intervals are 95 %, by the bootstrap over systems and trainings, paired (`ris.predictors.bootstrap`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, MARKERS, make_panels
from studies.trained import trained_network

# torch takes long to import, and a list of experiments needs none.
if TYPE_CHECKING:
    from ris.predictors.bootstrap import Estimate
    from ris.predictors.train import Recipe

__all__ = ["EXPERIMENT"]

SPLITS = ("test", "unseen")
AT_ONCE = 50

GATE = 0.9
CLAIM = "claim: the best network reaches 90 % of the optimum of perfect CSI at the highest SNR of the pilots"
ABOVE = "claim: every network is above steering"

ALONG, ON, SLOWER = 0.3, 0.7, 0.95
"""Momentum by hand: radians for a slope of the usual size, share of the last move, loss of the first at the
end."""

LONG = 200
"""Moves after which there is little to gain."""

STEERING = ("superposed steering", "steering, best")
NETWORKS = ("se", "ascent16", "ascent32")
NAMES = {
    "ascent32": "learned ascent, 32 moves",
    "ascent16": "learned ascent, 16 moves",
    "se": "convolutional network",
}

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What is trained, and on what it is measured.

    Parameters
    ----------
    side : int
        Rows and columns of both surfaces.
    systems : int
        First systems of each split.
    pilots_db : tuple of float
        SNR of the pilots.
    networks : tuple of str
        Networks; "ascent32" begins with the weights of "ascent16".
    seeds : int
        Trainings of each network.
    steps, batch : tuple of int
        Steps of the trainings and systems a step: of "se", "ascent16" and "ascent32".
    random_starts, screening, kept, polishing : int
        Of the optimum: random starts; steps from all starts, ends that go on, and their steps.
    """

    side: int = 8
    systems: int = 1000
    pilots_db: tuple[float, ...] = (0.0, 7.5, 15.0, 22.5, 30.0)
    networks: tuple[str, ...] = NETWORKS
    seeds: int = 3
    steps: tuple[int, int, int] = (1500, 1000, 200)
    batch: tuple[int, int, int] = (32, 64, 64)
    random_starts: int = 5
    screening: int = 200
    kept: int = 3
    polishing: int = 600


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train the networks, and measure them and what to hold them against."""
    from ris.predictors.bootstrap import ratio

    ways = _ways(settings, lambda share, text: progress(0.6 * share, text))
    levels = list(settings.pilots_db)
    shape = (len(SPLITS), len(ways), len(levels))
    share, low, high = np.empty(shape), np.empty(shape), np.empty(shape)
    gain: dict[tuple[str, float], Estimate] = {}
    optimum = np.empty(len(SPLITS))
    for i, split in enumerate(SPLITS):
        progress(0.6 + 0.2 * i, f"optimum, {split} systems")
        best = _optimum(settings, split, stream)
        optimum[i] = best.mean()
        for k, pilot_db in enumerate(levels):
            progress(0.7 + 0.2 * i + 0.1 * k / len(levels), f"{split}, pilots at {pilot_db:g} dB")
            rates = _rates(settings, split, pilot_db, ways)
            for j, name in enumerate(ways):
                share[i, j, k], low[i, j, k], high[i, j, k] = ratio(rates[name], best)
            if split == "test":
                steered = max((rates[name] for name in STEERING), key=np.mean)
                gain |= {(name, pilot_db): ratio(rates[name], steered) for name in settings.networks}
    axes = ("split", "way", "pilot_snr")
    data: Variables = {
        "split": (("split",), np.array(SPLITS, object), {"long_name": "systems"}),
        "way": (("way",), np.array(list(ways), object), {"long_name": "how phases are set"}),
        "pilot_snr": (("pilot_snr",), np.array(levels), {"units": "dB", "long_name": "SNR of the pilots"}),
        "share": (axes, share, {"units": "1", "long_name": "mean sum rate over that of the optimum"}),
        "share_low": (axes, low, {"units": "1", "long_name": "lower end of the 95 % interval"}),
        "share_high": (axes, high, {"units": "1", "long_name": "upper end of the 95 % interval"}),
        "optimum": (("split",), optimum, {"units": "bit/s/Hz", "long_name": "optimum with perfect CSI"}),
    }
    at = list(ways).index
    of_test = np.array([share[0], low[0], high[0]])
    return Outcome(data, tuple(_checks(settings, of_test, gain, at)))


def _checks(
    settings: Settings,
    shares: Real,
    gain: "Mapping[tuple[str, float], Estimate]",
    at: Callable[[str], int],
) -> Iterator[Check]:
    levels = settings.pilots_db
    highest = int(np.argmax(levels))
    best = max(settings.networks, key=lambda name: shares[0, at(name), highest])
    quantity = f"{NAMES[best]}: share of the optimum, pilots at {levels[highest]:g} dB"
    yield Check.of(quantity, shares[:, at(best), highest], GATE, CLAIM, "at least")
    for name in settings.networks:
        level = min(levels, key=lambda level: gain[name, level].low)
        quantity = f"{NAMES[name]}: rate over that of the best steering, pilots at {level:g} dB (worst)"
        yield Check.of(quantity, gain[name, level], 1.0, ABOVE, "at least")


def _ways(settings: Settings, progress: Progress) -> dict[str, Callable[[Any], list[Any]]]:
    """Ways to set phases by name: of a batch, phasors of every training."""
    import torch

    from ris.predictors.baselines import best_steering, superposed_steering
    from ris.predictors.climb import STATE, climb
    from ris.predictors.train import phasors

    def by_hand(batch: Any, moves: int) -> Any:
        def step(given: Any) -> Any:
            along = ALONG * (1 - SLOWER * given[:, :, -1:])
            move = along * given[:, :, :1] + ON * given[:, :, 1:2]
            return torch.cat([move, torch.zeros_like(given[:, :, :STATE])], 2)

        return climb(best_steering(batch), batch.known_slopes, step, moves)[-1]

    def unestimated(batch: Any) -> Any:
        return dataclasses.replace(batch, estimate1=batch.known1, estimate2=batch.known2)

    def superposed(batch: Any) -> Any:
        arrays = dataclasses.replace(batch, maps=batch.maps.numpy())
        return torch.from_numpy(superposed_steering(arrays)).to(batch.h1.dtype)

    ways: dict[str, Callable[[Any], list[Any]]] = {
        "superposed steering": lambda batch: [superposed(batch)],
        "steering, best": lambda batch: [best_steering(batch)],
        "momentum, 16 moves": lambda batch: [by_hand(batch, 16)],
        "momentum, 32 moves": lambda batch: [by_hand(batch, 32)],
        f"momentum, {LONG} moves": lambda batch: [by_hand(batch, LONG)],
        f"momentum, {LONG} moves, pilots as they come": lambda batch: [by_hand(unestimated(batch), LONG)],
    }
    for number, name in enumerate(settings.networks):
        trained = []
        for seed in range(settings.seeds):
            done = (number + seed / settings.seeds) / len(settings.networks)
            progress(done, f"{NAMES[name]}, training {seed + 1}")
            trained.append(trained_network(_recipes(settings, name, seed)).eval())

        def of_each(batch: Any, trained: list[Any] = trained) -> list[Any]:
            with torch.no_grad():
                return [phasors(network, batch) for network in trained]

        ways[name] = of_each
    return ways


def _recipes(settings: Settings, name: str, seed: int) -> "list[Recipe]":
    from ris.predictors.train import Recipe

    recipes = [
        Recipe("instantaneous", network, seed, settings.side, steps, batch, rate)
        for network, steps, batch, rate in zip(
            NETWORKS, settings.steps, settings.batch, (3e-3, 3e-3, 1e-3), strict=True
        )
    ]
    return recipes[1:] if name == "ascent32" else [recipes[NETWORKS.index(name)]]


def _rates(
    settings: Settings, split: str, pilot_db: float, ways: Mapping[str, Callable[[Any], list[Any]]]
) -> dict[str, Real]:
    """True sum rates by way, shapes (trainings, systems)."""
    rates: dict[str, list[Real]] = {name: [] for name in ways}
    for batch in _batches(settings, split, pilot_db):
        for name, way in ways.items():
            rates[name].append(np.array([batch.rates(x).sum(-1).numpy() for x in way(batch)], np.float64))
    return {name: np.concatenate(some, axis=1) for name, some in rates.items()}


def _optimum(settings: Settings, split: str, stream: channels.Stream) -> Real:
    """Highest sum rates found with perfect CSI, shape (systems,)."""
    import torch

    from ris.predictors.ascent import multistart
    from ris.predictors.baselines import random_phasors, superposed_steering, user_steering

    found: list[Real] = []
    for number, batch in enumerate(_batches(settings, split, max(settings.pilots_db))):
        arrays = dataclasses.replace(batch, maps=batch.maps.numpy())
        starts = [
            superposed_steering(arrays),
            *(user_steering(arrays, user) for user in range(arrays.maps.shape[1])),
            *(
                random_phasors(arrays, stream.child("optimum", split, number, i))
                for i in range(settings.random_starts)
            ),
        ]
        best, _ = multistart(
            batch,
            torch.from_numpy(np.array(starts)).to(batch.h1.dtype),
            screening=settings.screening,
            kept=settings.kept,
            steps=settings.polishing,
        )
        found.append(best.numpy().astype(np.float64))
    return np.concatenate(found)


def _batches(settings: Settings, split: Any, pilot_db: float) -> Iterator[Any]:
    from ris.predictors.instantaneous import InstantaneousTask
    from ris.predictors.train import on_device

    task = InstantaneousTask(settings.side, pilot_db=(pilot_db, pilot_db))
    for first in range(0, settings.systems, AT_ONCE):
        yield on_device(task.systems(split, min(AT_ONCE, settings.systems - first), first), "cpu")


def draw(values: Values) -> Figure:
    """Shares over the SNR of the pilots, of systems like those of the training and of others."""
    figure, panels = make_panels(2, height=3.4)
    for i, axes in enumerate(panels):
        for j, way in enumerate(values["way"]):
            name = NAMES.get(way, way)
            middle = values["share"][i, j]
            ends = [middle - values["share_low"][i, j], values["share_high"][i, j] - middle]
            axes.errorbar(
                values["pilot_snr"],
                100 * middle,
                100 * np.abs(ends),
                color=COLOURS[j % len(COLOURS)],
                marker=MARKERS[j % len(MARKERS)],
                markersize=3.5,
                markerfacecolor="white" if way in NETWORKS else None,
                linestyle="-" if way in NETWORKS else ":",
                linewidth=1.1 if way in NETWORKS else 0.8,
                label=name,
            )
        axes.axhline(100 * GATE, color="0.5", linewidth=0.8)
        axes.set(xlabel="SNR of the pilots (dB)", ylabel="Rate (% of the optimum with perfect CSI)")
        axes.set_title(("like the training", "directions outside those of the training")[i])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=6.5)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(
        side=4,
        systems=40,
        pilots_db=(0.0, 30.0),
        networks=("ascent16", "ascent32"),
        seeds=1,
        steps=(0, 100, 10),
        batch=(16, 16, 16),
        random_starts=2,
        screening=40,
        kept=2,
        polishing=60,
    ),
    packages=("torch",),
)
