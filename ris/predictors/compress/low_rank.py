"""Convolutions of low rank: fewer weights by factors, and training that mends what is discarded.

The weights w of a k x k convolution from C to O channels become a core between two bases (Tucker-2; Kim,
Park, Yoo, Choi, Yang and Shin, "Compression of deep convolutional neural networks for fast and low power
mobile applications", ICLR 2016):

    w[o, c, i, j] = sum over p, q of out[o, p] core[p, q, i, j] into[c, q],

that is three convolutions one behind the other, 1x1 from C to r1 channels, k x k to r2, 1x1 to O. For k = 1
it is two, by the singular values (SVD). The bases are those of the largest singular values of w unfolded to
O x (C k k) and to C x (O k k) (HOSVD), then in turn the best ones for the other (HOI; De Lathauwer, De Moor
and Vandewalle, SIAM J. Matrix Anal. Appl. 21(4), 2000). They are orthonormal, so that the squared error is
|w|^2 - |core|^2.

All layers keep the same share of the squared singular values, with the largest share that leaves few enough
weights; that is ours, as the paper chooses ranks by variational Bayes. A layer whose factors would be no
smaller stays.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.compress.distillation import taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.rounding import rounded
from ris.predictors.folding import weight_bits
from ris.predictors.graph import Graph, Node
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["decomposed", "factored", "inner_convolutions", "low_rank", "tucker"]

SWEEPS = 3
"""Of the bases, in turn."""

HALVINGS = 40
"""Of the interval in which the share of the squared singular values lies."""

Real = NDArray[np.float64]
Ranks = tuple[int, int]
"""Of the output and of the input channels."""


def low_rank(
    network: Network,
    recipe: Recipe,
    bits: int = 8,
    *,
    factor: float = 3.0,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Factor the convolutions between the first and the last ones, train on with a teacher, and round.

    Parameters
    ----------
    network : Network
        Trained; it is copied, and is the teacher.
    recipe : Recipe
        What trained it, and what the further training follows but for steps and learning rate.
    bits : int
        Of the weights of the factors, as for `QuantizedNetwork`.
    factor : float
        How many times fewer weights the convolutions between the first and the last ones have.
    steps : int
        Of the further training.
    rate : float
        Its highest learning rate.
    checkpoint, progress
        As for `ris.predictors.train.optimise`.

    Returns
    -------
    QuantizedNetwork
        Ready for export.
    """
    if isinstance(bits, Mapping):
        raise InvalidArgumentError("bits", "a whole number, as layers become others", "bits by layer")
    made = decomposed(
        network, recipe, factor, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress
    )
    return rounded(made, recipe, bits)


def decomposed(
    network: Network,
    recipe: Recipe,
    factor: float = 3.0,
    *,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Network:
    """Factor the convolutions between the first and the last ones, and train on: all as for `low_rank`."""
    made, (stage,) = factored(network, factor), stages(recipe, steps, rate, 1)
    loss = taught_loss(made, network, stage)
    optimise(made, stage, loss=loss, checkpoint=checkpoint, progress=progress)
    return made.eval()


def factored(network: Network, factor: float) -> Network:
    """Return a network whose convolutions between the first and the last ones have low ranks.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    factor : float
        How many times fewer weights these have, > 1. Biases stay where they are; the factors in front of them
        have biases of their own, of zero at first.

    Raises
    ------
    InvalidArgumentError
        If a rank of 1 in every layer is not enough.
    """
    if number("factor", factor) <= 1:
        raise InvalidArgumentError("factor", "a number > 1", repr(factor))
    arrays = network.arrays()
    weights = {
        name: arrays[f"{name}/weight"].astype(np.float64) for name in inner_convolutions(network.graph)
    }
    ranks = _ranks(weights, factor)
    nodes = []
    for node in network.graph.nodes:
        if node.name not in ranks:
            nodes.append(node)
            continue
        of, bias = node.inputs, arrays.pop(f"{node.name}/bias")
        weight = arrays.pop(f"{node.name}/weight")
        for part in _parts(node, weights[node.name], ranks[node.name]):
            channels, _, kernel, _ = part[1].shape
            name = node.name + part[0]
            nodes.append(Node(name, "conv", of, {"channels": channels, "kernel": kernel, "groups": 1}))
            arrays[f"{name}/weight"] = part[1].astype(weight.dtype)
            arrays[f"{name}/bias"] = np.zeros(channels, weight.dtype)
            of = (name,)
        arrays[f"{node.name}/bias"] = bias
    made = Network(Graph(tuple(nodes)), 0, network.rows, network.columns).eval()
    made.load_arrays(arrays)
    return made


def inner_convolutions(graph: Graph) -> list[str]:
    """Return the plain convolutions that are neither first nor last."""
    inner = weight_bits(graph, interior=1, ends=0)
    return [name for name, one in inner.items() if one and graph[name].attributes.get("groups") == 1]


def tucker(weight: Real, ranks: Ranks) -> tuple[Real, Real, Real]:
    """Return the core and the bases of output and input channels that come close to a weight.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs, k, k)
        Of a convolution.
    ranks : pair of int
        Of the outputs and of the inputs; of a weight with k = 1 both are the smaller one.

    Returns
    -------
    core : ndarray, shape (rank of outputs, rank of inputs, k, k)
    out, into : ndarray, shape (outputs, rank), (inputs, rank)
        With orthonormal columns.
    """
    out, into = (_basis(weight, axis, rank) for axis, rank in enumerate(ranks))
    for _ in range(SWEEPS):
        out = _basis(np.einsum("ocij,cq->oqij", weight, into), 0, ranks[0])
        into = _basis(np.einsum("ocij,op->pcij", weight, out), 1, ranks[1])
    return np.einsum("ocij,op,cq->pqij", weight, out, into), out, into


def _basis(weight: Real, axis: int, rank: int) -> Real:
    """The first left singular vectors of a weight unfolded along an axis."""
    unfolded = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    basis: Real = np.linalg.svd(unfolded, full_matrices=False)[0][:, :rank]
    return basis


def _parts(node: Node, weight: Real, ranks: Ranks) -> list[tuple[str, Real]]:
    """Ends of names, and weights, of the convolutions in a node's place; the last keeps its name."""
    core, out, into = tucker(weight, ranks)
    first, last = into.T[:, :, None, None], out[:, :, None, None]
    if weight.shape[2] == 1:
        return [("_into", first), ("", np.einsum("op,pqij->oqij", out, core))]
    return [("_into", first), ("_core", core), ("", last)]


def _ranks(weights: Mapping[str, Real], factor: float) -> dict[str, Ranks]:
    """Ranks of the layers that are worth factoring, all with the same share of squared singular values."""
    spectra = {name: [_energy(one, axis) for axis in (0, 1)] for name, one in weights.items()}
    most = sum(one.size for one in weights.values()) / factor

    def chosen(share: float) -> dict[str, Ranks]:
        found = {}
        for name, (outputs, inputs) in spectra.items():
            ranks = int(np.searchsorted(outputs, share)) + 1, int(np.searchsorted(inputs, share)) + 1
            if _entries(weights[name], ranks) < weights[name].size:
                found[name] = ranks
        return found

    def entries(found: Mapping[str, Ranks]) -> int:
        return sum(_entries(one, found[name]) if name in found else one.size for name, one in weights.items())

    low, high = 0.0, 1.0
    if entries(chosen(low)) > most:
        fewest = entries(chosen(low))
        raise InvalidArgumentError("factor", f"at most {most * factor / fewest:.3g}", f"{factor:g}")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if entries(chosen(middle)) <= most else (low, middle)
    return chosen(low)


def _energy(weight: Real, axis: int) -> Real:
    """Shares of the squared singular values that the first 1, 2, ... of an unfolded weight have."""
    unfolded = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    squares = np.linalg.svd(unfolded, compute_uv=False) ** 2
    made: Real = np.cumsum(squares) / max(squares.sum(), np.finfo(float).tiny)
    return made


def _entries(weight: Real, ranks: Ranks) -> int:
    """Entries of the factors of a weight."""
    outputs, inputs, kernel = (int(size) for size in weight.shape[:3])
    if kernel == 1:
        return min(ranks) * (outputs + inputs)
    return outputs * ranks[0] + ranks[0] * ranks[1] * kernel**2 + ranks[1] * inputs
