"""Networks in integers whose clips are learned, each convolution at a bit-width that can be switched.

A result with the range [low, high] of calibration and k bits is clipped to a learned multiple of it (Esser et
al., "Learned step size quantization", ICLR 2020; here with a zero point z):

    x -> s clip(rint(x / s), -z, t - z),   s = e^a (high - low) / t,   z = rint(-low t / (high - low)),

with t = 2^k - 1.

Weights are divided by their root mean square d at each output channel, and clipped:

    w -> d e^a q / t,   q = 2 rint(t (u + 1) / 2) - t,   u = clip(w / (d e^a), -1, 1),

so that q are the odd numbers from -t to t: the grid without zero of Liu, Cai and Zhuang ("Sharpness-aware
quantization for deep neural networks", arXiv 2111.12273). They divide by the deviation of all weights of a
layer, and subtract the mean before, since the batch normalisation behind gives channels their sizes back, and
sums their means. Here none follows: d takes care of the sizes, and weights keep their mean. Channels learn at
one pace (`rescaled`).

Gradients pass through rint as if it were not there; d is taken as a constant. What clips learn follows from
these formulas alone: the derivative of a result by a is its rounding error where x is inside, and the clip
where it is not. Clips are positive, and so their logarithms a are the parameters, one for each bit-width.
Weights of 8 bits have a zero and no clip, as for `QuantizedNetwork`. So have those of the first and the last
convolutions, and those that meet means over the grid, as gates do. Each of these has less than a
ten-thousandth of the products, and each result of a gate multiplies a whole channel: of one network, rounded
to 4 bits, the first convolution of one gate alone took a fifth of the rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from channels.errors import InvalidArgumentError
from ris.predictors.compress.rescaled import RescaledNetwork
from ris.predictors.folding import fold_batch_norms, weight_bits
from ris.predictors.graph import Graph, Node
from ris.predictors.model import CONVOLUTIONS, OWN_SCALE
from ris.predictors.module import Network
from ris.predictors.quantize import Observer, QuantizedNetwork
from ris.predictors.ranges import least_squares
from ris.progress import Progress, tell_nothing

__all__ = ["ClippedNetwork", "odd_codes"]

PLAIN = 8
"""Bits of what is not switched."""

SHARES = torch.linspace(0.05, 1, 96)
"""Shares of the largest normalised weight that a first clip is chosen from."""


class ClippedNetwork(QuantizedNetwork):
    """A network that computes as its integer model will, with learned clips, and switchable bit-widths.

    The bits of a convolution are those of its weights and of its input. Where that input is needed elsewhere
    too, it is rounded once more for this convolution, and elsewhere keeps 8 bits.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    bits : int or mapping of str to int
        Of the convolutions on the grid between the first and the last ones, to begin with; by node, those
        that are not named have 8.
    widths : sequence of int
        Bits that they can have beside these and 8.

    Attributes
    ----------
    between : dict of str to str
        Convolutions on the grid between the first and the last ones, with the nodes that are their inputs.
    shifts : dict of str to Tensor
        By "node/parameter" what is added to rounded weights and to biases, in units of the channel's gain;
        empty for nothing.
    """

    def __init__(
        self, network: Network, bits: int | Mapping[str, int] = 4, widths: Sequence[int] = ()
    ) -> None:
        network = _rounded_inputs(network)
        chosen = _on_grid(network.graph)
        super().__init__(
            network, dict.fromkeys(chosen, bits) if isinstance(bits, int) else bits, PLAIN, follow=False
        )
        self.network: RescaledNetwork = RescaledNetwork(self.network)
        self.between = {node.name: node.inputs[0] for node in self.graph if node.name in chosen}
        if any(width != PLAIN for name, width in self.weight_bits.items() if name not in chosen):
            raise InvalidArgumentError("bits", f"some of {sorted(chosen)}", f"{bits}")
        self.widths = sorted({*widths, *self.weight_bits.values(), PLAIN})
        if not 2 <= self.widths[0] <= self.widths[-1] == PLAIN:
            raise InvalidArgumentError("widths", f"2 to {PLAIN} bits", f"{list(widths)}")
        shape = len(self.graph.nodes), len(self.widths)
        self.weight_clips = nn.Parameter(torch.zeros(shape))
        self.result_clips = nn.Parameter(torch.zeros(shape))
        self.shifts: dict[str, Tensor] = {}
        self._begin_weights()
        self.choose({name: self.weight_bits[name] for name in self.between})

    def choose(self, bits: Mapping[str, int]) -> None:
        """Switch convolutions with learned clips to other bits."""
        if not set(bits) <= set(self.between) or not set(bits.values()) <= set(self.widths):
            raise InvalidArgumentError("bits", f"{self.widths} of {sorted(self.between)}", f"{dict(bits)}")
        for name, width in bits.items():
            self.weight_bits[name] = self._bits[self.between[name]] = width

    @torch.no_grad()
    def calibrate(
        self,
        batches: Iterable[Tensor],
        observer: Observer = "output",
        progress: Progress = tell_nothing,
    ) -> None:
        """Set the ranges of all results at 8 bits, and within them the clips of fewer bits.

        Parameters
        ----------
        batches, observer, progress
            As for `QuantizedNetwork`, of 8 bits. Clips of fewer are those of the least squared error.
        """
        kept, chosen = list(batches), {name: self.weight_bits[name] for name in self.between}
        self.choose(dict.fromkeys(self.between, PLAIN))
        self.result_clips.zero_()
        super().calibrate(kept, observer, progress)
        counts = self._counts(kept)
        for number in np.flatnonzero(counts.any(1)):
            low, high = float(self.low[number]), float(self.high[number])
            for place, width in enumerate(self.widths[:-1]):
                least, most = least_squares(counts[number], low, high, width)
                self.result_clips[number, place] = np.log((most - least) / (high - low))
        self.choose(chosen)

    def no_shifts(self) -> dict[str, Tensor]:
        """Return shifts of 0 of all weights and biases, to take gradients by."""
        made = {}
        for node in self.graph:
            if node.op in CONVOLUTIONS:
                for name, value in self.network.own(node).items():
                    made[f"{node.name}/{name}"] = torch.zeros_like(value, requires_grad=True)
        return made

    @torch.no_grad()
    def _begin_weights(self) -> None:
        """Choose the clips of weights that round with the least squared error."""
        for name in self.between:
            normalised, _ = _normalised(self.network.own(self.graph[name])["weight"])
            # Weights that are all 0 get any clip.
            clips = SHARES.to(normalised) * (normalised.abs().max() or 1.0)
            for place, width in enumerate(self.widths[:-1]):
                top = 2**width - 1
                errors = [
                    torch.sum((c / top * odd_codes(normalised, c, width) - normalised) ** 2) for c in clips
                ]
                self.weight_clips[self._number[name], place] = clips[torch.stack(errors).argmin()].log()

    def _clip(self, clips: Tensor, name: str, bits: int) -> Tensor:
        return torch.exp(clips[self._number[name], self.widths.index(bits)])

    def _codes(self, node: Node) -> tuple[Tensor, Tensor, int]:
        scale, zero, top = super()._codes(node)
        if node.name in self._real:
            return scale, zero, top
        source = self._source[node.name]
        return scale * self._clip(self.result_clips, source, self._bits[source]), zero, top

    def _rounded(self, node: Node, values: Tensor) -> Tensor:
        scale, zero, top = self._codes(node)
        made: Tensor = _Rounded.apply(values, scale, -float(zero), top - float(zero))  # type: ignore[no-untyped-call]
        return made

    def _odd(self, node: Node) -> tuple[Tensor, Tensor]:
        """Scales of weights, and their codes, with gradients."""
        bits = self.weight_bits[node.name]
        normalised, size = _normalised(self.network.own(node)["weight"])
        clip = self._clip(self.weight_clips, node.name, bits)
        return size.flatten() * clip / (2**bits - 1), odd_codes(normalised, clip, bits)

    def _weights(self, node: Node) -> tuple[Tensor, Tensor, Tensor]:
        if self.weight_bits[node.name] == PLAIN:
            return super()._weights(node)
        scale, codes = (one.detach() for one in self._odd(node))
        source, _, _ = self._codes(self.graph[node.inputs[0]])
        return scale, codes, torch.round(self.network.own(node)["bias"].detach() / (source.detach() * scale))

    def _own(self, node: Node) -> dict[str, Tensor]:
        own = super()._own(node)
        if node.op in CONVOLUTIONS and self.weight_bits[node.name] != PLAIN:
            scale, codes = self._odd(node)
            own["weight"] = scale.reshape(-1, *[1] * (codes.ndim - 1)) * codes
        shifts = ((name, self.shifts.get(f"{node.name}/{name}")) for name in own)
        return own | {
            name: own[name] + shift * self.network.gain(node.name, shift)
            for name, shift in shifts
            if shift is not None
        }


class _Rounded(torch.autograd.Function):
    """Results y = s rint(clip(x / s, low, high)), with gradients in few passes.

    As if nothing was rounded, dy / dx is 1 inside and 0 beyond, and dy / ds is y / s, less x / s inside. The
    former is that of torch's `hardtanh`, which has a kernel for it.
    """

    @staticmethod
    def forward(context: Any, values: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
        ratio = values / scale
        codes = ratio.clamp(low, high).round_()
        context.save_for_backward(ratio, codes, scale)
        context.ends = low, high
        return codes * scale

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (slope,), (ratio, codes, scale), (low, high) = slopes, context.saved_tensors, context.ends
        of_values: Tensor = torch.ops.aten.hardtanh_backward(slope, ratio, low, high)
        of_scale = torch.dot(slope.flatten(), codes.flatten()) - torch.dot(
            of_values.flatten(), ratio.flatten()
        )
        return of_values, of_scale.reshape(scale.shape), None, None


def odd_codes(normalised: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Return the codes q of normalised weights, with their gradients.

    Parameters
    ----------
    normalised : Tensor
        w / d.
    clip : Tensor, shape ()
        e^a.
    bits : int
        There are 2^bits codes.
    """
    top = 2**bits - 1
    inside: Tensor = top * torch.clamp(normalised / clip, -1, 1)
    made: Tensor = inside + (2 * torch.round((inside + top) / 2) - top - inside).detach()
    return made


def _normalised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights over their root mean squares d, and d, axes (channels, 1, ...)."""
    size = weight.detach().square().flatten(1).mean(1).sqrt()
    size = torch.where(size > 0, size, 1.0).reshape(-1, *[1] * (weight.ndim - 1))
    return weight / size, size


def _rounded_inputs(network: Network) -> Network:
    """The network with a node of its own for what each convolution on the grid between the ends meets."""
    graph, arrays = fold_batch_norms(network.graph, network.arrays())
    chosen = _on_grid(graph)
    nodes = []
    for node in graph:
        if node.name in chosen and not _own_result(graph, node.inputs[0]):
            nodes.append(Node(f"{node.name}_input", "concat", node.inputs))
            node = Node(node.name, node.op, (nodes[-1].name,), node.attributes)
        nodes.append(node)
    made = Network(Graph(tuple(nodes)), 0, network.rows, network.columns)
    made.load_arrays(arrays)
    return made


def _on_grid(graph: Graph) -> set[str]:
    """Convolutions between the first and the last ones, but for those of means over the grid."""
    means: set[str] = set()
    for node in graph:
        if node.op == "mean_grid" or (node.inputs and means.issuperset(node.inputs)):
            means.add(node.name)
    return {name for name, bits in weight_bits(graph, 0).items() if bits == 0} - means


def _own_result(graph: Graph, name: str) -> bool:
    """Whether a node has codes of its own, or is a rectifier of such, and feeds one node alone."""
    node, users = graph[name], sum(name in one.inputs for one in graph)
    return users == 1 and (node.op in OWN_SCALE or (node.op == "relu" and _own_result(graph, node.inputs[0])))
