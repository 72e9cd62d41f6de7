"""Post-training quantization with error feedback, layer by layer, from some systems and without training.

Every convolution takes the codes of `error_feedback` for what it meets at its patches of the maps: X in the
network of floats, X' in the network whose earlier weights are in codes already. So a layer mends the errors
before it as well as its own. An input that is 1 everywhere, with weight b, comes last: its code is so fine
that it stands for any number, and what it takes up is the mean of the error (the correction of the bias).

Results stay real until all codes are chosen; then their ranges follow, as for any other weights. Ranges clip
what does not matter behind, and a layer that mends what is clipped there does harm: of one network, codes of
4 bits that were chosen behind results of 8 bits kept 95 % of the rate, these ones all of it.

Not all errors matter alike: what a convolution adds up far below a rectifier's zero never gets through, but
can have most of the squared error. So samples have weights, channel by channel,

    h / mean(h) + DAMPING,

with the sensitivity h of the output's directions (`sensitivity`). The constant stands for what slopes do not
tell: a sum that is below zero now may be above after an error, and errors add up from layer to layer.
That is ours; without weights it is the algorithm of the papers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from channels.checks import one_of, positive
from channels.draws import uniform
from channels.streams import Stream
from ris.predictors.compress.error_feedback import Rounding, feed_back, nearest
from ris.predictors.compress.rounding import SYSTEMS, batches_of, rounded
from ris.predictors.compress.sensitivity import sensitivities
from ris.predictors.graph import Node
from ris.predictors.model import CONVOLUTIONS
from ris.predictors.module import Network
from ris.predictors.publish import parted, training_maps
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe
from ris.progress import Progress, parts, tell_nothing

__all__ = ["Radius", "gpfq"]

Radius = Literal["row", "layer"]
"""Whether every output channel has its own step, or all of a layer the largest one.

In the papers a layer's one step follows from a mean over its channels, times a factor that is searched for.
Here channels differ so much that the mean clips: of one network 4 bits kept 98.0 % of the rate, and 84.5 %
where all errors count alike; with the largest one they keep 99.8 and 99.7 %.
"""

PATCHES = 2**13
"""Patches that a layer keeps, about, drawn at random where there are more."""

STRETCH = 1.16
"""Steps are so many times what 2^(bits - 1) of them to the radius would be, as the authors' experiments have
it: the largest code, one less, then still reaches the radius at 4 bits."""

DAMPING = 0.1
"""Weight of every error beside its sensitivity, which is 1 on average."""

Real = NDArray[np.float64]


@torch.no_grad()
def gpfq(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 4,
    activation_bits: int | None = 8,
    *,
    systems: int = SYSTEMS,
    radius: Radius = "row",
    stretch: float = STRETCH,
    rounding: Rounding = nearest,
    correct_bias: bool = True,
    weighted: bool = True,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Quantize a network's weights with error feedback.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it.
    bits : int or mapping of str to int
        Bits of the weights, 2 to 8; the first and the last convolutions keep 8. By node, in mixed precision,
        those that are not named keep 8.
    activation_bits : int or None
        Bits of results, or None for real ones, as for `QuantizedNetwork`.
    systems : int
        Systems of the training that it sees, rounded down to whole batches.
    radius : {"row", "layer"}
        What the steps follow from: the largest weight of each output channel, or of the layer.
    stretch : float
        2^(bits - 1) steps make this times the radius.
    rounding : callable
        How a number becomes a code: `error_feedback.nearest`, `soft`, `hard` or `stochastic`.
    correct_bias : bool
        Whether biases take up the mean errors.
    weighted : bool
        Whether errors count by how sensitive the output is to them, or all alike.
    progress : callable
        Told of every layer.

    Returns
    -------
    QuantizedNetwork
        Ready for export.
    """
    one_of("radius", radius, Radius)
    positive("stretch", stretch)
    quantized = rounded(network, recipe, bits, None, systems=systems, equalize=False)
    layer = _Layer(quantized, radius, stretch, rounding, correct_bias)
    maps = [torch.from_numpy(one) for one in training_maps(recipe, batches_of(recipe, systems))]
    weights = sensitivities(quantized, maps) if weighted else {}
    exact: dict[str, list[Tensor]] = {}
    simulated: dict[str, list[Tensor]] = {}
    last = {name: node.name for node in quantized.graph.nodes for name in node.inputs}
    of_weights, of_ranges = parts(progress, [1, 1])
    for number, node in enumerate(quantized.graph.nodes):
        of_weights(number / len(quantized.graph.nodes), f"weights of {node.name}")
        given, met = (_inputs(node, values, maps) for values in (exact, simulated))
        exact[node.name] = [quantized.exact(node, *one) for one in given]
        if node.op in CONVOLUTIONS:
            layer.quantize(
                node, [one[0] for one in given], [one[0] for one in met], weights.pop(node.name, None)
            )
        simulated[node.name] = [quantized.simulated(node, *one) for one in met]
        for name in [one for one in exact if last.get(one) == node.name]:
            del exact[name], simulated[name]
    if activation_bits is None:
        return quantized
    made = QuantizedNetwork(parted(network), bits, activation_bits).eval()
    for name, chosen in layer.chosen.items():
        made.set_weights(name, *chosen)
    made.calibrate(maps, progress=of_ranges)
    return made


def _inputs(node: Node, values: Mapping[str, list[Tensor]], maps: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """A node's inputs, batch by batch."""
    return list(zip(*(values[name] for name in node.inputs), strict=True)) or [(one,) for one in maps]


class _Layer:
    """Quantizes one layer after the other.

    Attributes
    ----------
    chosen : dict of str to (Tensor, Tensor, Tensor)
        Codes, steps and biases by node.
    """

    def __init__(
        self,
        quantized: QuantizedNetwork,
        radius: Radius,
        stretch: float,
        rounding: Rounding,
        correct_bias: bool,
    ) -> None:
        self._quantized, self._radius, self._stretch = quantized, radius, stretch
        self._rounding, self._correct_bias = rounding, correct_bias
        self.chosen: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def quantize(
        self,
        node: Node,
        exact: Sequence[Tensor],
        simulated: Sequence[Tensor],
        sensitivity: Sequence[Tensor] | None,
    ) -> None:
        """Choose codes, steps and biases; inputs, and how errors matter, are given batch by batch."""
        own = {name: value.double().numpy() for name, value in self._quantized.network.own(node).items()}
        weight, bias = own["weight"].reshape(len(own["weight"]), -1), own["bias"].copy()
        groups = np.split(np.arange(len(weight)), node.attributes.get("groups", 1))
        bits = self._quantized.weight_bits[node.name]
        step, top, codes = self._step(weight, bits), 2 ** (bits - 1) - 1, np.empty(weight.shape)
        kept = _kept(node, exact)
        x, x_rounded = (_samples([_patches(node, one) for one in some], kept) for some in (exact, simulated))
        importance = np.ones((len(weight), x.shape[1]))
        if sensitivity is not None:
            importance = _importance(_samples([_by_channel(node, one) for one in sensitivity], kept))
        for group, rows in enumerate(groups):
            codes[rows], residual = feed_back(
                weight[rows], x[group], x_rounded[group], step[rows], top, self._rounding, importance[rows]
            )
            if self._correct_bias:
                bias[rows] += np.average(residual, 1, importance[rows])
        whole = torch.from_numpy(codes).reshape(own["weight"].shape)
        self.chosen[node.name] = whole, torch.from_numpy(step), torch.from_numpy(bias)
        self._quantized.set_weights(node.name, *self.chosen[node.name])

    def _step(self, weight: Real, bits: int) -> Real:
        largest = np.abs(weight).max(axis=1)
        if self._radius == "layer":
            largest[:] = largest.max()
        return np.where(largest > 0, self._stretch * largest / 2 ** (bits - 1), 1.0)


def _kept(node: Node, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Which patches a layer keeps, batch by batch."""
    counts = [_patches(node, one[:1]).shape[1] * len(one) for one in inputs]
    stream, share = Stream(0, "compress", "gpfq", node.name), PATCHES / sum(counts)
    drawn = (uniform(stream.child(number), 1, count)[:, 0] for number, count in enumerate(counts))
    return [torch.from_numpy(one < share) for one in drawn]


def _samples(batches: Iterable[Tensor], kept: Iterable[Tensor]) -> Real:
    """Those patches, of all batches, which are the second axis."""
    return torch.cat([one[:, these] for one, these in zip(batches, kept, strict=True)], 1).double().numpy()


def _importance(sensitivity: Real) -> Real:
    """Weights of samples, shape (channels, patches)."""
    mean = sensitivity.mean(1, keepdims=True)
    return np.asarray(np.divide(sensitivity, mean, out=np.ones(sensitivity.shape), where=mean > 0)) + DAMPING


def _by_channel(node: Node, result: Tensor) -> Tensor:
    """Numbers of a result's shape as (channels, patches)."""
    ranked = result.unflatten(2, (node.attributes["channels"], -1))
    channels: Tensor = ranked.permute(2, 0, 1, 4, 5, 3).flatten(1)
    return channels


def _patches(node: Node, maps: Tensor) -> Tensor:
    """What the weights of each group are multiplied with, shape (groups, patches, entries)."""
    attributes = node.attributes
    if node.op == "rank_conv":
        ranked = maps.reshape(*maps.shape[:2], -1, attributes["ranks"], *maps.shape[3:])
        windows = ranked.unfold(3, attributes["kernel"], 1).permute(0, 1, 4, 5, 3, 2, 6)
        patches: Tensor = windows.flatten(5).flatten(0, 4)[None]
        return patches
    kernel, groups = attributes["kernel"], attributes["groups"]
    unfolded = functional.unfold(maps.flatten(0, 1), kernel, padding=kernel // 2)
    grouped: Tensor = unfolded.unflatten(1, (groups, -1)).permute(1, 0, 3, 2)
    return grouped.flatten(1, 2)
