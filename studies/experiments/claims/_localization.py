"""Locators of diffusions on a graph: their signals, filter and activation, and their training."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from channels.draws import normal, uniform
from channels.streams import Stream

__all__ = ["ACTIVATIONS", "LocalActivation", "Localization", "accuracy"]

ACTIVATIONS = ("relu", "max", "median")

NODES, COMMUNITIES, INSIDE, ACROSS = 100, 5, 0.8, 0.2
LONGEST = 10
"""Diffusions take 0 to LONGEST - 1 steps."""

FEATURES, TAPS = 8, 5
BATCH, RATE, EVERY = 100, 5e-3, 20


@dataclass(frozen=True)
class Localization:
    """What is trained.

    Parameters
    ----------
    noise : float
        Standard deviation, against signals of root mean square one.
    training, validation, test : int
        Signals.
    steps : int
        Of the optimiser (Adam).
    """

    noise: float = 0.02
    training: int = 8000
    validation: int = 200
    test: int = 2000
    steps: int = 800


class LocalActivation(nn.Module):
    """w_0 x + sum over h of w_h op(x over the nodes within h steps), the node itself included.

    Parameters
    ----------
    adjacency : ndarray of bool, shape (N, N)
        Of the graph.
    op : {"max", "median"}
        Median: the lower one of an even number.
    weights : Tensor, shape (reach + 1,)
        First values of w.
    read : list of int, optional
        Nodes whose results are asked for; by default all.
    """

    def __init__(
        self, adjacency: NDArray[np.bool_], op: str, weights: Tensor, read: list[int] | None = None
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self._median = op == "median"
        self._read = list(range(len(adjacency))) if read is None else read
        self._near = [_near(adjacency, reach, self._read) for reach in range(1, len(weights))]

    def forward(self, x: Tensor) -> Tensor:
        """Return the result for values with the nodes along the last axis."""
        total = self.weights[0] * x[..., self._read]
        missing = functional.pad(x, (0, 1), value=math.inf if self._median else -math.inf)
        for weight, (places, middle) in zip(self.weights[1:], self._near, strict=True):
            gathered = missing[..., places]
            if self._median:
                index = middle.expand(*gathered.shape[:-2], -1)[..., None]
                total = total + weight * gathered.sort(-1).values.gather(-1, index)[..., 0]
            else:
                total = total + weight * gathered.amax(-1)
        return total


class _Locator(nn.Module):
    """One graph filter, an activation, and one linear map for all communities, read at their sources."""

    def __init__(self, graph: "_Graph", activation: str, stream: Stream) -> None:
        super().__init__()
        draws = torch.from_numpy(2 * uniform(stream, FEATURES * (TAPS + 2) + 3, 1)[0] - 1).float()
        bound = 1 / math.sqrt(TAPS)
        self.taps = nn.Parameter(bound * draws[: FEATURES * TAPS].reshape(FEATURES, TAPS))
        self.bias = nn.Parameter(bound * draws[FEATURES * TAPS : FEATURES * (TAPS + 1)])
        self.read = nn.Parameter(draws[FEATURES * (TAPS + 1) : -3] / math.sqrt(FEATURES))
        self.offset = nn.Parameter(draws[-3] / math.sqrt(FEATURES))
        self._sources = graph.sources
        self.local = (
            None
            if activation == "relu"
            else LocalActivation(graph.adjacency, activation, draws[-2:].clone(), graph.sources)
        )

    def forward(self, diffused: Tensor) -> Tensor:
        """Return logits of the communities, shape (B, 5), for x, S x, ..., shape (B, TAPS, N)."""
        filtered = self.taps @ diffused + self.bias[:, None]
        hidden = functional.relu(filtered[..., self._sources]) if self.local is None else self.local(filtered)
        logits: Tensor = self.read @ hidden + self.offset
        return logits


class _Graph:
    """A connected stochastic block model, its sources, and its adjacency over the largest eigenvalue.

    The source of a community is its node of the highest degree.
    """

    def __init__(self, stream: Stream) -> None:
        community = np.repeat(np.arange(COMMUNITIES), NODES // COMMUNITIES)
        chance = np.where(community[:, None] == community, INSIDE, ACROSS)
        attempt = 0
        while True:
            drawn = np.triu(uniform(stream, NODES**2, 1, attempt).reshape(NODES, NODES) < chance, 1)
            self.adjacency: NDArray[np.bool_] = drawn | drawn.T
            if _reach(self.adjacency, NODES).all():
                break
            attempt += 1
        degrees = self.adjacency.sum(axis=0)
        self.sources = [
            int(np.flatnonzero(community == c)[np.argmax(degrees[community == c])])
            for c in range(COMMUNITIES)
        ]
        matrix = self.adjacency.astype(np.float64)
        self.shift = matrix / np.linalg.eigvalsh(matrix)[-1]

    def signals(self, count: int, noise: float, stream: Stream) -> tuple[Tensor, Tensor]:
        """Return x, S x, ... of noisy diffusions, shape (count, TAPS, N), and their communities.

        x = S^t delta after a random number t of steps, scaled to norm sqrt(N), with white noise.
        """
        drawn = uniform(stream.child("source"), 2, count)
        community = (COMMUNITIES * drawn[:, 0]).astype(np.int64)
        spread = np.eye(NODES)
        diffused = np.empty((LONGEST, NODES, NODES))
        for t in range(LONGEST):
            diffused[t], spread = spread, self.shift @ spread
        x = diffused[(LONGEST * drawn[:, 1]).astype(np.int64), np.array(self.sources)[community]]
        x = x * math.sqrt(NODES) / np.linalg.norm(x, axis=1, keepdims=True)
        x = x + noise * normal(stream.child("noise"), NODES, count)
        taps = [x]
        for _ in range(TAPS - 1):
            taps.append(taps[-1] @ self.shift)
        return torch.from_numpy(np.stack(taps, axis=1)).float(), torch.from_numpy(community)


def accuracy(activation: str, stream: Stream, settings: Localization | None = None) -> float:
    """Train on one graph, and return the share of test signals that are placed rightly.

    Of all weights on the way, those count that were best on the validation signals.

    Parameters
    ----------
    activation : {"relu", "max", "median"}
        Local ones over one hop.
    stream : Stream
        Of the graph, the signals and the first weights: the same ones for all activations.
    settings : Localization, optional
        What is trained.
    """
    settings = settings or Localization()
    graph = _Graph(stream.child("graph"))
    training, validation, test = (
        graph.signals(count, settings.noise, stream.child(name))
        for name, count in (
            ("training", settings.training),
            ("validation", settings.validation),
            ("test", settings.test),
        )
    )
    locator = _Locator(graph, activation, stream.child("weights"))
    optimiser = torch.optim.Adam(locator.parameters(), RATE)
    best, placed = -1.0, 0.0
    for step in range(settings.steps):
        rows = uniform(stream.child("batches"), BATCH, 1, step)[0] * settings.training
        chosen = torch.from_numpy(rows.astype(np.int64))
        optimiser.zero_grad()
        loss = functional.cross_entropy(locator(training[0][chosen]), training[1][chosen])
        torch.autograd.backward(loss)
        optimiser.step()
        if (step + 1) % EVERY == 0 and (score := _share(locator, *validation)) > best:
            best, placed = score, _share(locator, *test)
    return placed


def _share(locator: nn.Module, signals: Tensor, community: Tensor) -> float:
    with torch.no_grad():
        return float((locator(signals).argmax(1) == community).float().mean())


def _reach(adjacency: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Which nodes lie within so many steps of each other."""
    near = np.eye(len(adjacency), dtype=bool)
    for _ in range(steps):
        wider = near | (near.astype(np.float64) @ adjacency > 0)
        if (wider == near).all():
            break
        near = wider
    return near


def _near(adjacency: NDArray[np.bool_], reach: int, nodes: list[int]) -> tuple[Tensor, Tensor]:
    """Nodes within reach of each given one, filled up with N, and the place of their lower median."""
    near = _reach(adjacency, reach)[nodes]
    sizes = near.sum(axis=1)
    places = np.full((len(nodes), sizes.max()), near.shape[1])
    for node, among in enumerate(near):
        places[node, : sizes[node]] = np.flatnonzero(among)
    return torch.from_numpy(places), torch.from_numpy((sizes - 1) // 2)
