"""Sub-graph training of a learnable graph convolution for surfaces of 2 x 1,024 elements.

Gao, Wang and Ji, "Large-scale learnable graph convolutional networks", KDD 2018, train on sub-graphs that
grow from random nodes by their neighbours, so that memory does not depend on the whole graph. Here the nodes
are the elements of two surfaces of 32 x 32, each with eight neighbours, and the users. A sub-graph has 256
elements of each surface, grown from a random one; among eight neighbours that is a square of 16 x 16, so that
the grid's own operations serve it. The loss is the rate of the whole system: the phases outside are what the
network makes of the whole graph just then, without gradients. Those that a sub-graph passes are then, on
average, a share of the whole graph's, but for the edges and for means over the elements.

The systems are those of the instantaneous task with local scattering (`ris.predictors.scattered`), a fixed
set for training that every epoch takes once: their rates cost next to nothing, so that time and memory are
the network's. Memory is the most bytes of torch's tensors that are alive at any time of a step, the batch
among them; time is that of the processor for the gradients of an epoch, whose steps the networks take in
turns, so that what else the machine does falls on all of them. Beside it stands a plain graph convolutional
network (Kipf and Welling, ICLR 2017) of as many parameters to 4 %, trained in the same way.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.progress import Progress, labelled, parts
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels
from studies.results import versions
from studies.trained import FOLDER

if TYPE_CHECKING:
    from ris.predictors.bootstrap import Estimate
    from ris.predictors.module import Network
    from ris.predictors.scattered import ScatteredBatch, ScatteredTask

__all__ = ["EXPERIMENT"]

PAPER = "Gao, Wang & Ji 2018: training on sub-graphs"

MEMORY, TIME, RATE, AGAINST_GCN = 0.4, 0.6, 0.995, 1.0
"""Largest shares of memory and time, and least rates over the whole graph's and over the plain network's."""

WHOLE = "whole graph"
NETWORKS = (f"lgcl, {WHOLE}", "lgcl, sub-graphs", "gcn, sub-graphs")

LGCL_WIDTH, GCN_WIDTH = 8, 21
"""Channels: 3,000 and 3,112 parameters."""


@dataclass(frozen=True)
class Settings:
    """Sizes of surfaces and sub-graphs, users, trainings, and what they are measured on.

    Parameters
    ----------
    side, patch, users : int
        Rows and columns of the surfaces and of the sub-graphs, and users.
    seeds, systems, batch, epochs : int
        Trainings, systems of each, systems of a step, and how often all come. Sub-graphs learn more slowly:
        in one training they had 99.3 % of the whole graph's rate after 24 epochs.
    test : int
        Systems that the rates are means of.
    """

    side: int = 32
    patch: int = 16
    users: int = 2
    seeds: int = 3
    systems: int = 256
    batch: int = 8
    epochs: int = 48
    test: int = 1000


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Train all networks, and compare what it took and their rates on the same systems."""
    from ris.predictors.bootstrap import ratio
    from ris.predictors.state_file import kept

    trained = []
    *trainings, at_last = parts(progress, [1] * (settings.seeds * len(NETWORKS)) + [1])
    memory = np.empty(len(NETWORKS))
    for seed in range(settings.seeds):
        batches = _batches(settings, seed)
        trained.append([_network(name, seed) for name in NETWORKS])
        for i, (name, network) in enumerate(zip(NETWORKS, trained[seed], strict=True)):
            tell = labelled(trainings[seed * len(NETWORKS) + i], f"{name}, seed {seed}")
            places, patch = stream.child("places", seed), _patch(settings, name)
            made_by = [name, seed, asdict(settings), stream.seed, dict(versions())]
            make = partial(_training, settings, network, batches, places, patch, tell)
            made = kept(FOLDER, f"subgraph-{seed}", made_by, make)
            network.load_arrays(made["weights"])
            memory[i] = made["memory"]
    at_last(0.0, "time of an epoch")
    seconds = np.array([_seconds(settings, *one, stream) for one in enumerate(trained)])
    at_last(0.1, "rates")
    rates, without = _rates(settings, trained)
    ratios = ratio(rates[1], rates[0]), ratio(rates[1], rates[2])
    systems = ("network", "seed", "system")
    data: Variables = {
        "network": (("network",), np.array(NETWORKS, object), {"long_name": "network and its training"}),
        "memory": (("network",), memory, {"units": "B", "long_name": "peak memory of a step"}),
        "step_time": (
            ("seed", "network", "step"),
            seconds,
            {"units": "s", "long_name": "processor time of the gradients of each step of an epoch"},
        ),
        "rate": (systems, rates, {"units": "bit/s/Hz", "long_name": "sum rate on systems of the test"}),
        "steering_rate": (
            ("system",),
            without,
            {"units": "bit/s/Hz", "long_name": "sum rate of steering all users' single reflections at once"},
        ),
        "ratio": (
            ("pair", "bound"),
            np.array(ratios),
            {"units": "1", "long_name": "sub-graphs to whole graph, lgcl to gcn: value, low, high"},
        ),
    }
    return Outcome(data, tuple(_checks(memory, seconds, ratios)))


def _task(settings: Settings) -> "ScatteredTask":
    from ris.predictors.scattered import ScatteredTask

    return ScatteredTask(settings.side, settings.users)


def _network(name: str, seed: int) -> "Network":
    from ris.predictors.module import Network
    from ris.predictors.networks import lgcl
    from studies.experiments.claims._subgraph import CHANNELS, gcn, gentle, plain

    if name.startswith("lgcl"):
        return gentle(Network(lgcl(CHANNELS, width=LGCL_WIDTH), seed))
    return plain(gentle(Network(gcn(CHANNELS, GCN_WIDTH), seed)))


def _training(
    settings: Settings,
    network: "Network",
    batches: "list[ScatteredBatch]",
    places: channels.Stream,
    patch: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train a network: its weights, and the most bytes of a step."""
    from studies.experiments.claims._subgraph import train

    memory = _peak(network, batches[0], patch, places)
    train(network, batches, settings.epochs, places, patch, progress)
    return {"weights": network.arrays(), "memory": memory}


def _peak(network: "Network", batch: "ScatteredBatch", patch: int | None, stream: channels.Stream) -> int:
    """Most bytes of tensors at any time of a step."""
    from studies.experiments.claims._subgraph import PeakMemory, step

    memory = PeakMemory()
    with memory:
        step(network, batch, stream, 0, patch)
    network.zero_grad()
    return memory.peak


def _batches(settings: Settings, seed: int) -> "list[ScatteredBatch]":
    """Systems of the steps of an epoch: those of the validation, which nothing here needs otherwise."""
    from studies.experiments.claims._subgraph import drawn

    numbers = range(seed * settings.systems, (seed + 1) * settings.systems, settings.batch)
    return [drawn(_task(settings), "validation", settings.batch, first) for first in numbers]


def _seconds(
    settings: Settings, seed: int, networks: "list[Network]", stream: channels.Stream
) -> NDArray[np.float64]:
    """Processor time of the gradients of an epoch's steps, s, shape (networks, steps), after one more."""
    from studies.experiments.claims._subgraph import step

    batches, places = _batches(settings, seed), stream.child("places", seed)
    seconds = np.empty((len(networks), 1 + len(batches)))
    for number, batch in enumerate([batches[0], *batches]):
        for i, (name, network) in enumerate(zip(NETWORKS, networks, strict=True)):
            begin = time.process_time()
            step(network, batch, places, number, _patch(settings, name))
            seconds[i, number] = time.process_time() - begin
    return seconds[:, 1:]


def _patch(settings: Settings, name: str) -> int | None:
    return None if name.endswith(WHOLE) else settings.patch


def _rates(
    settings: Settings, trained: "list[list[Network]]"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum rates of all networks, shape (networks, seeds, systems), and of steering, shape (systems,)."""
    from studies.experiments.claims._subgraph import drawn, maps_of, predicted, steering

    rates = np.empty((len(NETWORKS), settings.seeds, settings.test))
    without = np.empty(settings.test)
    for first in range(0, settings.test, settings.batch):
        count = min(settings.batch, settings.test - first)
        batch = drawn(_task(settings), "test", count, first)
        maps, now = maps_of(batch), slice(first, first + count)
        without[now] = batch.rates(steering(maps)).sum(-1)
        for seed, networks in enumerate(trained):
            for i, network in enumerate(networks):
                rates[i, seed, now] = batch.rates(predicted(network, maps)).sum(-1)
    return rates, without


def _checks(
    memory: NDArray[np.float64], seconds: NDArray[np.float64], ratios: "tuple[Estimate, Estimate]"
) -> Iterator[Check]:
    from ris.predictors.bootstrap import ratio

    whole, part, _ = memory.tolist()
    yield Check("peak memory, sub-graphs to whole graph", part / whole, MEMORY, PAPER, "at most")
    whole, part, _ = seconds.swapaxes(0, 1)
    taken = ratio(part, whole)
    yield Check.of("time of an epoch, sub-graphs to whole graph", taken, TIME, PAPER, "at most")
    for quantity, found, threshold in (
        ("rate, sub-graphs to whole graph", ratios[0], RATE),
        ("rate, lgcl to gcn, both on sub-graphs", ratios[1], AGAINST_GCN),
    ):
        yield Check.of(quantity, found, threshold, PAPER, "at least")


def draw(values: Values) -> Figure:
    """What sub-graphs take of the whole graph's memory and time, and rates of all trainings."""
    figure, (left, right) = make_panels(2)
    memory, seconds = values["memory"], values["step_time"]
    shares = 100 * memory[1] / memory[0], 100 * seconds[:, 1].mean() / seconds[:, 0].mean()
    left.bar((0, 1), shares, width=0.5, color=COLOURS[2])
    for place, limit in ((0, MEMORY), (1, TIME)):
        left.plot((place - 0.35, place + 0.35), (100 * limit, 100 * limit), color="0.2", linewidth=1.2)
    left.set_xticks((0, 1), ("peak memory", "time of an epoch"))
    left.set(ylabel="Sub-graphs to whole graph (%)", ylim=(0, 100), xlim=(-0.6, 1.6))
    left.plot([], [], color="0.2", linewidth=1.2, label="most that is claimed")
    left.legend()
    mean = values["rate"].mean(axis=-1)
    for i, (name, marker) in enumerate(zip(values["network"], "os^", strict=True)):
        right.plot(
            np.arange(mean.shape[1]) + 0.12 * (i - 1), mean[i], color=COLOURS[i], marker=marker, markersize=5,
            markerfacecolor="white", linestyle="none", label=name,
        )  # fmt: skip
    right.axhline(values["steering_rate"].mean(), color="0.5", linewidth=0.8, label="steering, no network")
    right.set(xlabel="Training", ylabel="Sum rate (bit/s/Hz)", xlim=(-0.5, mean.shape[1] - 0.5))
    right.set_xticks(np.arange(mean.shape[1]))
    right.margins(y=0.35)
    right.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(side=8, patch=4, seeds=2, systems=16, batch=8, epochs=2, test=24),
    papers=("gao2018",),
    packages=("torch",),
)
