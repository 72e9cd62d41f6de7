"""Training of networks for large surfaces on sub-graphs of them, and on the whole graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from channels.draws import uniform
from channels.streams import Stream
from ris.predictors.graph import Graph, GraphBuilder
from ris.predictors.module import Network
from ris.predictors.networks.steering import combine_steering
from ris.predictors.networks.unrolled import as_phasors
from ris.predictors.scattered import ScatteredBatch, ScatteredTask
from ris.predictors.task import Split, unit
from ris.predictors.train import on_device
from ris.progress import Progress, tell_nothing

__all__ = [
    "CHANNELS",
    "PeakMemory",
    "drawn",
    "gcn",
    "gentle",
    "loss",
    "maps_of",
    "parameters",
    "plain",
    "predicted",
    "steering",
    "step",
    "train",
]

CHANNELS = 11
"""Channels of `maps_of`."""

RATE, WARM_UP, LARGEST_NORM = 5e-3, 0.1, 1.0
"""Highest learning rate (Adam), share of the steps in which it rises before it falls as a cosine, and the
norm to which longer gradients are shortened."""

SMALL = 0.1
"""Factor of the first weights of the output."""

AT_ONCE = 4
"""Surfaces that a prediction without gradients works through together."""

Window = tuple[slice, slice]


def drawn(task: ScatteredTask, split: Split, count: int, first: int) -> ScatteredBatch:
    """Return systems as tensors."""
    batch: ScatteredBatch = on_device(task.systems(split, count, first), "cpu")  # type: ignore[assignment]
    return batch


def maps_of(batch: ScatteredBatch) -> Tensor:
    """Return maps with what steers both reflections to each user first, shape (2 B, K, 11, rows, columns).

    These are products of what pilots tell of a user's hop and what steers the hops between arrays; the double
    reflection meets the users' hops at surface 2 only.
    """
    pilots = torch.complex(batch.maps[:, :, 0], batch.maps[:, :, 1])
    single, double = (torch.complex(batch.steering[:, :, i], batch.steering[:, :, i + 1]) for i in (0, 2))
    half = len(pilots) // 2
    cascades = pilots * single, torch.cat([double[:half].expand_as(pilots[:half]), (pilots * double)[half:]])
    parts = [part for cascade in cascades for part in (cascade.real, cascade.imag)]
    # Row, column, four SNRs, then the Doppler spread, which is none, and the surface.
    return torch.cat([torch.stack(parts, 2), batch.maps[:, :, 2:8], batch.maps[:, :, 9:]], 2)


def steering(maps: Tensor) -> Tensor:
    """Return phasors that steer all users' single reflections at once, shape (2 B, rows, columns)."""
    phasor: Tensor = unit(torch.complex(maps[:, :, 0].sum(1), maps[:, :, 1].sum(1)))
    return phasor


def gcn(channels: int, width: int, layers: int = 2) -> Graph:
    """Return a plain graph convolutional network, with the same inputs and output as `networks.lgcl`.

    A layer is relu(A x W + b) with A the mean of an element and its eight neighbours (Kipf and Welling,
    "Semi-supervised classification with graph convolutional networks", ICLR 2017), beside the means over the
    users and over the elements. A is a convolution of its own for every channel, for `plain` to fix.
    """
    to = GraphBuilder(channels)
    state = to.conv(to.input, width, 1)
    for layer in range(layers):
        near = to.conv(state, width, 3, groups=width, name=f"neighbours{layer}")
        users, elements = to.add_node("mean_users", state), to.add_node("mean_grid", state)
        state = to.relu(to.add_node("add", *(to.conv(one, width, 1) for one in (near, users, elements))))
    combine_steering(to, state, kernel=1)
    return to.graph()


def gentle(network: Network) -> Network:
    """Return a network that begins near steering: with larger weights the tanh can stop all gradients."""
    output = next(node for node in network.graph if node.op == "tanh")
    with torch.no_grad():
        network.own(network.graph[output.inputs[0]])["weight"].mul_(SMALL)
    return network


def plain(network: Network) -> Network:
    """Return a network of `gcn` with its neighbourhoods fixed: they are no parameters."""
    for name, parameter in network.named_parameters():
        if name.startswith("neighbours"):
            parameter.requires_grad_(False).fill_(1 / 9 if name.endswith("weight") else 0.0)
    return network


def parameters(network: nn.Module) -> int:
    """Return how many numbers are learned."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def predicted(network: Network, maps: Tensor) -> Tensor:
    """Return phasors of whole surfaces, without gradients, shape (2 B, rows, columns)."""
    with torch.no_grad():
        return torch.cat([as_phasors(network(some)) for some in maps.split(AT_ONCE)])


def loss(network: Network, batch: ScatteredBatch, windows: tuple[Window, Window] | None) -> Tensor:
    """Return minus the mean logarithm of the sum rate.

    Parameters
    ----------
    network : Network
        What is trained.
    batch : ScatteredBatch
        B systems.
    windows : pair of (slice, slice), optional
        Rows and columns of the sub-graph at surface 1 and at surface 2, of the same size. All phases outside
        are held at what the network makes of the whole graph, and pass no gradients. By default the whole
        graph is trained on.
    """
    maps = maps_of(batch)
    if windows is None:
        x = as_phasors(network(maps))
    else:
        x, half = predicted(network, maps), len(maps) // 2
        places = [(slice(i * half, (i + 1) * half), ..., *window) for i, window in enumerate(windows)]
        inner = as_phasors(network(torch.cat([maps[place] for place in places])))
        for place, phasors in zip(places, inner.split(half), strict=True):
            x[place] = phasors
    made: Tensor = -batch.rates(x).sum(-1).log().mean()
    return made


def grown(side: int, patch: int, stream: Stream, step: int) -> tuple[Window, Window]:
    """Return the sub-graph of a step: at each surface patch^2 elements, grown from a random one.

    All neighbours of those that are in come in together. Among eight neighbours that is a square around the
    first element; here it is moved to lie inside the surface.
    """
    seeds = (side * uniform(stream, 4, 1, step)[0]).astype(int)
    first = [min(max(seed - patch // 2, 0), side - patch) for seed in seeds.tolist()]
    spans = [slice(one, one + patch) for one in first]
    return (spans[0], spans[1]), (spans[2], spans[3])


def train(
    network: Network,
    batches: Sequence[ScatteredBatch],
    epochs: int,
    stream: Stream,
    patch: int | None,
    progress: Progress = tell_nothing,
) -> None:
    """Train a network.

    Parameters
    ----------
    network : Network
        What is trained.
    batches : sequence of ScatteredBatch
        Systems of each step of an epoch.
    epochs : int
        How often all come.
    stream : Stream
        Of the places of sub-graphs.
    patch : int, optional
        Rows and columns of sub-graphs at each surface; by default every step is on the whole graph.
    progress : callable
        Told of every epoch.
    """
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], RATE)
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, steps, pct_start=WARM_UP, cycle_momentum=False, final_div_factor=1e4
    )
    for number in range(steps):
        epoch, within = divmod(number, len(batches))
        if within == 0:
            progress(epoch / epochs, f"epoch {epoch + 1} of {epochs}")
        optimiser.zero_grad()
        step(network, batches[within], stream, number, patch)
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_NORM)
        optimiser.step()
        schedule.step()


def step(network: Network, batch: ScatteredBatch, stream: Stream, number: int, patch: int | None) -> None:
    """Work out the gradients of a step, on a sub-graph drawn by its number, or on the whole graph."""
    windows = None if patch is None else grown(batch.maps.shape[-1], patch, stream, number)
    torch.autograd.backward(loss(network, batch, windows))


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of tensors that operations make or see a part of, as long as these live.

    What an operation needs for itself while it runs is not counted.

    Attributes
    ----------
    peak : int
        The most at any time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: kept for key, kept in self._alive.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return made
