"""From a trained network to an integer model: calibration, simulated quantization, training with it, export.

Weights are symmetric for each output channel, activations affine for each tensor, after Krishnamoorthi,
"Quantizing deep convolutional networks for efficient inference" (2018): with codes of b bits a range
[low, high], widened to contain 0, has scale s = (high - low) / (2^b - 1) and zero point z = rint(-low / s); a
weight has scale max|w| / (2^(b - 1) - 1) and no zero point; a bias has the product of both scales.

The weights of an adder have the codes of its input, whose range clips them without loss: for any x in that
range, |x - w| is |x - clip(w)| plus a number that the bias takes up.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from channels.checks import integer, one_of
from channels.errors import InvalidArgumentError
from ris.predictors.folding import fold_batch_norms, fuse_rectifiers, real_tail, weight_bits
from ris.predictors.graph import Graph, Node
from ris.predictors.model import CONVOLUTIONS, OWN_SCALE, TABLES, IntegerModel
from ris.predictors.module import Network, execute
from ris.predictors.ranges import BINS, quantiles
from ris.progress import Progress, tell_nothing

__all__ = ["Observer", "QuantizedNetwork"]

Observer = Literal["min-max", "percentile", "output"]
"""How a range follows from numbers: all of them, all but 0.5 % at each end, or the least squared error of the
output's directions."""

DECAY = 0.99
"""What the ranges keep in one step of training."""

PATIENCE = 2
"""Halvings of an end of a range that are tried without a gain."""

LEAST = 1e-9
"""Codes of a result that a step of an adder's sum makes at least: with 2^23 steps still none."""


class QuantizedNetwork(nn.Module):
    """A network that computes as its integer model will, and that can be trained so.

    Gradients pass through the rounding, and stop where a range clips. In training the ranges follow the
    largest and smallest numbers with exponential forgetting, if they shall. Normalisations are folded before.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    bits : int or mapping of str to int
        Bits of the weights, 2 to 8; the first and the last convolutions keep 8. By node, those that are
        not named keep 8.
    activation_bits : int or None
        Bits of results, 1 to 8; the input keeps 8, and what is behind the last weights stays real. None
        leaves all results real, to see what rounding the weights does alone; such a network has no export.
    delay : int
        So many steps of training leave activations as they are.
    per_channel : bool
        Whether each output channel has a scale of its weights, or all of a convolution share one.
    follow : bool
        Whether the ranges follow in training, or stay as calibrated.

    Attributes
    ----------
    graph : Graph
        What is executed, without normalisations and with few rectifiers left.
    weight_bits : dict of str to int
        Bits of every convolution's weights, and of every adder's, which has those of its input.
    """

    low: Tensor
    high: Tensor
    steps: Tensor

    def __init__(
        self,
        network: Network,
        bits: int | Mapping[str, int] = 8,
        activation_bits: int | None = 8,
        delay: int = 0,
        per_channel: bool = True,
        follow: bool = True,
    ) -> None:
        super().__init__()
        self._weights_alone = activation_bits is None
        activation_bits = 8 if activation_bits is None else activation_bits
        _check_bits("activation_bits", activation_bits, 1)
        graph, arrays = fold_batch_norms(network.graph, network.arrays())
        self.graph, self._rectified = fuse_rectifiers(graph)
        self.network = Network(self.graph, 0, network.rows, network.columns)
        self.network.load_arrays(arrays)
        self._source = _sources(self.graph)
        self._real = real_tail(self.graph)
        self._bits = dict.fromkeys(self._source.values(), activation_bits)
        self._bits[self.graph.nodes[0].name] = 8
        self._bits |= dict.fromkeys(self._real, 0)
        self.weight_bits = _bits_of_weights(self.graph, bits)
        adders = (node for node in self.graph.nodes if node.op == "adder")
        self.weight_bits |= {node.name: self._bits[self._source[node.inputs[0]]] for node in adders}
        self._kept: dict[str, Tensor] = {}
        self._number = {node.name: number for number, node in enumerate(self.graph.nodes)}
        self.delay, self.per_channel, self.follow = integer("delay", delay, 0), per_channel, follow
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("low", torch.zeros(len(self.graph.nodes)))
        self.register_buffer("high", torch.zeros(len(self.graph.nodes)))

    @torch.no_grad()
    def calibrate(
        self,
        batches: Iterable[Tensor],
        observer: Observer = "output",
        progress: Progress = tell_nothing,
    ) -> None:
        """Set the ranges of all results from what the float network makes of some inputs.

        Parameters
        ----------
        batches : iterable of Tensor
            Inputs, axes (batch, user, channel, row, column); 100 batches are plenty.
        observer : {"min-max", "percentile", "output"}
            How a range follows from the numbers: see `Observer`.
        progress : callable
            Told of every range that the output decides.
        """
        one_of("observer", observer, Observer)
        kept = list(batches)
        if not kept:
            raise InvalidArgumentError("batches", "one batch or more", "none")
        low, high = torch.zeros_like(self.low), torch.zeros_like(self.high)

        def widen(node: Node, values: Tensor) -> Tensor:
            number = self._number[node.name]
            low[number] = torch.minimum(low[number], values.min())
            high[number] = torch.maximum(high[number], values.max())
            return values

        for maps in kept:
            self._run(maps, widen, self.network.own)
        if not torch.isfinite(low + high).all():
            raise InvalidArgumentError("batches", "finite numbers in all layers", "NaN or infinite ones")
        self.low.copy_(low)
        self.high.copy_(high)
        if observer == "output" and not self._weights_alone:
            self._halve(kept[0], progress)
        elif observer == "percentile":
            for number, counts in enumerate(self._counts(kept)):
                if counts.any():
                    ends = quantiles(counts, float(self.low[number]), float(self.high[number]))
                    self.low[number], self.high[number] = ends

    def _counts(self, batches: Iterable[Tensor]) -> NDArray[np.float64]:
        """Histograms of all results, clipped to their ranges, shape (nodes, BINS)."""
        counts = np.zeros((len(self.graph.nodes), BINS))

        def count(node: Node, values: Tensor) -> Tensor:
            number = self._number[node.name]
            low, high = float(self.low[number]), float(self.high[number])
            if low < high:
                inside = values.float().clamp(low, high)
                counts[number] += torch.histc(inside, BINS, low, high).cpu().numpy()
            return values

        for maps in batches:
            self._run(maps, count, self.network.own)
        return counts

    def _halve(self, maps: Tensor, progress: Progress) -> None:
        """Halve ends of the ranges, so often that the output moves least, for maps as `calibrate` is given.

        Steps far too wide move it by any number, wherever they are, so that one halving can seem to do harm:
        `PATIENCE` of them without a gain end the search.

        What a network adds up to a rectifier can be far below zero and never matter, or matter where it goes
        next; no statistics of the numbers tell which. So each result is rounded, and the output says which
        range serves it best: by its directions, as phases are all that is used. What counts is the error if
        all others are exact, plus that if those before are rounded: alone, the former leaves ranges that are
        lost together; the latter finds ones that clip what others clip too, and fail if anything else moves.
        """
        exact: dict[str, Tensor] = {}
        output = functional.normalize(
            self._run(maps, lambda node, made: made, self.network.own, exact), dim=2
        )
        last, rounded = self.graph.nodes[-1].name, exact
        for node in self.graph.nodes:
            if node.op not in OWN_SCALE or node.name in self._real:
                continue
            progress(self._number[node.name] / len(self._number), f"range of {node.name}")

            def error(node: Node = node, before: Mapping[str, Tensor] = rounded) -> float:
                made = [self._after_rounding(node, values)[last] for values in (exact, before)]
                return sum(float((functional.normalize(one, dim=2) - output).square().mean()) for one in made)

            number, least, better = self._number[node.name], error(), True
            while better:
                better = False
                for end in (self.low, self.high):
                    whole, best, halvings = end[number].clone(), 0, 0
                    while whole != 0 and halvings < best + PATIENCE:
                        halvings += 1
                        end[number] = whole / 2**halvings
                        made = error()
                        if made < least:  # not if NaN
                            least, best, better = made, halvings, True
                    end[number] = whole / 2**best
            rounded = self._after_rounding(node, rounded)

    def _after_rounding(self, node: Node, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All results if one of these values is rounded: what needs it is made again, exactly."""
        made = {**values, node.name: self._rounded(node, values[node.name])}
        moved = {node.name}
        for one in self.graph.nodes[self._number[node.name] + 1 :]:
            if not moved.isdisjoint(one.inputs):
                moved.add(one.name)
                inputs = tuple(made[name] for name in one.inputs)
                made[one.name] = self._made(one, self.network.own(one), inputs)
        return made

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output for an input, both with axes (batch, user, channel, row, column)."""
        self._check_calibrated()
        if not self.training:
            return self._run(maps, self._rounded, self._own)
        self.steps += 1
        return self._run(maps, self._followed, self._own)

    def exact(self, node: Node, *inputs: Tensor) -> Tensor:
        """Return a node's result in floats."""
        return self._made(node, self.network.own(node), inputs)

    def simulated(self, node: Node, *inputs: Tensor) -> Tensor:
        """Return a node's result as the integer model will have it; that of the input for maps."""
        return self._coded(node, self._made(node, self._own(node), inputs))

    @torch.no_grad()
    def set_weights(self, name: str, codes: Tensor, step: Tensor, bias: Tensor) -> None:
        """Choose the codes of a convolution's weights instead of rounding them; training moves on from there.

        Parameters
        ----------
        name : str
            A convolution of `graph`.
        codes : Tensor
            Whole numbers of the bits of the weights, in the shape of the weights.
        step, bias : Tensor, shape (channels,)
            Scales of the weights, from now on kept, and the biases.
        """
        own, top = self.network.own(self.graph[name]), 2 ** (self.weight_bits[name] - 1) - 1
        if codes.abs().max() > top or not torch.equal(codes, codes.round()):
            raise InvalidArgumentError("codes", f"whole numbers from -{top} to {top}", f"up to {codes.max()}")
        self._kept[name] = step.to(own["weight"])
        own["weight"].copy_(codes * _per_channel(step, codes))
        own["bias"].copy_(bias)

    def results(self, maps: Tensor) -> dict[str, Tensor]:
        """Return the results of all nodes as the integer model will have them."""
        self._check_calibrated()
        values: dict[str, Tensor] = {}
        self._run(maps, self._rounded, self._own, values)
        return values

    @torch.no_grad()
    def rounded_weights(self) -> dict[str, NDArray[np.float32]]:
        """Return what the weights of the integer model stand for, by "node/weight"."""
        self._check_calibrated()
        convolutions = [node for node in self.graph.nodes if node.op in CONVOLUTIONS]
        return {f"{node.name}/weight": self._own(node)["weight"].numpy(force=True) for node in convolutions}

    @torch.no_grad()
    def export(self, metadata: Mapping[str, Any] | None = None) -> IntegerModel:
        """Return the integer model.

        Raises
        ------
        InvalidArgumentError
            If a sum could leave 32 bits, a scale is beyond what float32 serves well, or none is calibrated.
        """
        self._check_calibrated()
        if self._weights_alone:
            raise InvalidArgumentError("network", "results in codes", "real ones")
        codes = [self._codes(node) for node in self.graph.nodes]
        arrays: dict[str, NDArray[Any]] = {
            "scale": np.array([scale.numpy(force=True) for scale, _, _ in codes], np.float32),
            "zero_point": np.array([int(zero) for _, zero, _ in codes], np.uint8),
            "bits": np.array([self._bits[self._source[node.name]] for node in self.graph.nodes], np.uint8),
            "weight_bits": np.array(
                [self.weight_bits.get(node.name, 0) for node in self.graph.nodes], np.uint8
            ),
        }
        for node in self.graph.nodes[1:]:
            made = self._exported(node).items()
            arrays |= {f"{node.name}/{name}": np.asarray(value.numpy(force=True)) for name, value in made}
        return IntegerModel(self.graph, arrays, self.network.rows, self.network.columns, metadata or {})

    def _check_calibrated(self) -> None:
        if not torch.any(self.low < self.high):
            raise InvalidArgumentError("network", "calibrated ranges", "none yet")

    def _run(
        self,
        maps: Tensor,
        activation: Callable[[Node, Tensor], Tensor],
        own: Callable[[Node], Mapping[str, Tensor]],
        values: dict[str, Tensor] | None = None,
    ) -> Tensor:
        values = {} if values is None else values
        for node in self.graph.nodes:
            inputs = tuple(values[name] for name in node.inputs) or (maps,)
            values[node.name] = self._coded(node, self._made(node, own(node), inputs), activation)
        return values[self.graph.nodes[-1].name]

    def _made(self, node: Node, own: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
        made = execute(node, own, *inputs) if node.inputs else inputs[0]
        return torch.relu(made) if node.name in self._rectified else made

    def _coded(
        self, node: Node, made: Tensor, activation: Callable[[Node, Tensor], Tensor] | None = None
    ) -> Tensor:
        """A result of a node with a scale of its own as `activation` has it, by default in codes."""
        if node.op not in OWN_SCALE or node.name in self._real:
            return made
        return (activation or self._rounded)(node, made)

    def _codes(self, node: Node) -> tuple[Tensor, Tensor, int]:
        """Scale, zero point and largest code of a node's result."""
        if node.name in self._real:
            return torch.ones(()), torch.zeros(()), 0
        source = self._source[node.name]
        number, top = self._number[source], 2 ** self._bits[source] - 1
        return *_affine(self.low[number], self.high[number], top), top

    def _rounded(self, node: Node, values: Tensor) -> Tensor:
        if self._weights_alone:
            return values
        scale, zero, top = self._codes(node)
        inside = torch.clamp(values, -zero * scale, (top - zero) * scale)
        rounded = scale * (_code(values, scale, zero, top) - zero)
        return inside + (rounded - inside).detach()

    @torch.no_grad()
    def _move(self, node: Node, values: Tensor) -> None:
        number = self._number[node.name]
        self.low[number].lerp_(values.min().clamp(max=0), 1 - DECAY)
        self.high[number].lerp_(values.max().clamp(min=0), 1 - DECAY)

    def _followed(self, node: Node, values: Tensor) -> Tensor:
        if self.follow:
            self._move(node, values)
        return self._rounded(node, values) if self.steps > self.delay else values

    def _weights(self, node: Node) -> tuple[Tensor, Tensor, Tensor]:
        """Scales of the weights, their codes, and the codes of the biases."""
        own = {name: value.detach() for name, value in self.network.own(node).items()}
        weight, bias, top = own["weight"], own["bias"], 2 ** (self.weight_bits[node.name] - 1) - 1
        source, _, _ = self._codes(self.graph[node.inputs[0]])
        # A channel of small weights with a large bias: the bias has to fit 32 bits too.
        scale, codes = self._weight_codes(node.name, weight, top, bias.abs() / (source * 2**30))
        return scale, codes, torch.round(bias / (source * scale))

    def _weight_codes(self, name: str, weight: Tensor, top: int, least: Tensor) -> tuple[Tensor, Tensor]:
        """Scales of weights, the least ones given, and their codes."""
        step = self._kept.get(name)
        if step is None:
            step = weight.abs().flatten(1).amax(1) / top
        scale = torch.maximum(step, least)
        if not self.per_channel:
            scale = scale.amax().expand_as(scale)
        scale = torch.where(scale > 0, scale, 1.0)
        return scale, torch.clamp(torch.round(weight / _per_channel(scale, weight)), -top, top)

    def _own(self, node: Node) -> dict[str, Tensor]:
        """Parameters of a node as the integer model will have them."""
        own = self.network.own(node)
        if node.op == "adder":
            made = self._adder(node)
            return {name: value + (made[name] - value).detach() for name, value in own.items()}
        if node.op not in CONVOLUTIONS:
            return own
        weight, bias = own["weight"], own["bias"]
        scale, weight_codes, bias_codes = self._weights(node)
        source, _, _ = self._codes(self.graph[node.inputs[0]])
        rounded = weight_codes * _per_channel(scale, weight)
        return {
            "weight": weight + (rounded - weight).detach(),
            "bias": bias + (bias_codes * (source * scale) - bias).detach(),
        }

    def _adder(self, node: Node) -> dict[str, Tensor]:
        """Parameters of an adder as the integer model will have them, and their codes."""
        own = {name: value.detach() for name, value in self.network.own(node).items()}
        source, zero, top = self._codes(self.graph[node.inputs[0]])
        result, _, _ = self._codes(node)
        exact = own["weight"] / source + zero
        inside = torch.clamp(exact, 0, top)
        bias = own["bias"] - own["scale"] * source * (exact - inside).abs().flatten(1).sum(1)
        # What a step of the sum makes: so much that the bias fits 32 bits.
        step = source * own["scale"]
        least = torch.maximum(bias.abs() / 2**30, LEAST * result)
        step = torch.where(step.abs() < least, torch.copysign(least, step), step)
        codes, bias_codes = torch.round(inside), torch.round(-bias / step)
        return {
            "weight": source * (codes - zero),
            "scale": step / source,
            "bias": -step * bias_codes,
            "codes": codes,
            "bias codes": bias_codes,
            "multiplier": -step / result,
        }

    def _exported(self, node: Node) -> dict[str, Tensor]:
        scale, zero, top = self._codes(node)
        inputs = [self._codes(self.graph[name]) for name in node.inputs]
        if node.op in CONVOLUTIONS:
            of_weights, weight, bias = self._weights(node)
            # The scale of a real result is 1.
            multiplier = (inputs[0][0] * of_weights) / scale
            return {"weight": weight.to(torch.int8), "bias": bias.to(torch.int32), "multiplier": multiplier}
        if node.op == "adder":
            adder = self._adder(node)
            signed = adder["codes"] - 2 ** self.weight_bits[node.name] // 2
            bias = adder["bias codes"].to(torch.int32)
            return {"weight": signed.to(torch.int8), "bias": bias, "multiplier": adder["multiplier"]}
        if node.name in self._real and node.op in ("add", "sub", "mul"):
            return {"multiplier": torch.ones(() if node.op == "mul" else len(inputs))}
        if node.name in self._real and node.op in TABLES:
            return {"table": torch.zeros(len(inputs), 256, dtype=torch.uint8)}
        if node.op in ("add", "sub"):
            signs = [1, -1 if node.op == "sub" else 1, *[1] * len(inputs)]
            factors = [sign * one[0] / scale for sign, one in zip(signs, inputs, strict=False)]
            return {"multiplier": torch.stack(factors)}
        if node.op == "mul":
            return {"multiplier": inputs[0][0] * inputs[1][0] / scale}
        if node.op not in TABLES:
            return {}
        tables = []
        for source, origin, _ in inputs:
            numbers = source * (torch.arange(256) - origin)
            made = numbers if node.op == "concat" else execute(node, self.network.own(node), numbers)
            if node.name in self._rectified:
                made = torch.relu(made)
            tables.append(_code(made, scale, zero, top))
        return {"table": torch.stack(tables).to(torch.uint8)}


def _check_bits(name: str, value: int, least: int) -> None:
    if integer(name, value, least) > 8:
        raise InvalidArgumentError(name, f"an integer from {least} to 8", repr(value))


def _bits_of_weights(graph: Graph, bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every convolution's weights: given by node, or for all between the first and the last."""
    if not isinstance(bits, Mapping):
        _check_bits("bits", bits, 2)
        return weight_bits(graph, bits)
    made = weight_bits(graph, 8)
    if not set(bits) <= set(made):
        raise InvalidArgumentError("bits", f"names among {sorted(made)}", f"{sorted(bits)}")
    for name, value in bits.items():
        _check_bits(f"bits of {name}", value, 2)
    return made | dict(bits)


def _per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    """Scales with axes for those of weights."""
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def _sources(graph: Graph) -> dict[str, str]:
    """Node that has the scale of each node's result."""
    sources: dict[str, str] = {}
    for node in graph.nodes:
        sources[node.name] = node.name if node.op in OWN_SCALE else sources[node.inputs[0]]
    return sources


def _affine(low: Tensor, high: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of a range that contains 0; a range of nothing gets any."""
    scale = (high - low) / top
    scale = torch.where(scale > 0, scale, 1.0)
    return scale, torch.clamp(torch.round(-low / scale), 0, top)


def _code(values: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    return torch.clamp(torch.round(values / scale) + zero, 0, top)
