"""How much an error of a layer's result matters: what it does to the directions of the output."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from channels.draws import normal
from channels.streams import Stream
from ris.predictors.model import CONVOLUTIONS
from ris.predictors.quantize import QuantizedNetwork

__all__ = ["sensitivities"]

PROJECTIONS = 4
"""Random directions that stand for all of the output."""


def sensitivities(quantized: QuantizedNetwork, batches: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Return the sensitivity of the output's directions to every number of a convolution's results.

    With small errors e_i of the results y_i of a convolution, uncorrelated and before any rectifier, the
    directions u of the output, unit vectors of two numbers, move by

        sum_k E (u_k(y + e) - u_k(y))^2 = sum_i h_i E e_i^2,   h_i = sum_k (du_k / dy_i)^2,

    to first order, where every other layer is exact. h is the mean of (d<r, u> / dy_i)^2 over random normal
    vectors r, of which `PROJECTIONS` are drawn, always the same ones.

    Parameters
    ----------
    quantized : QuantizedNetwork
        Its exact results are what is looked at.
    batches : sequence of Tensor
        Inputs, axes (batch, user, channel, row, column).

    Returns
    -------
    dict of str to list of Tensor
        h by convolution and batch, in the shape of the result, axes (batch, user, channel, row, column).
    """
    nodes = quantized.graph.nodes
    found: dict[str, list[Tensor]] = {node.name: [] for node in nodes if node.op in CONVOLUTIONS}
    for number, maps in enumerate(batches):
        with torch.enable_grad():
            values: dict[str, Tensor] = {}
            for node in nodes:
                inputs = [values[name] for name in node.inputs] or [maps]
                values[node.name] = quantized.exact(node, *inputs)
            directions = functional.normalize(values[nodes[-1].name], dim=2)
        drawn = normal(Stream(0, "compress", "sensitivity").child(number), directions.numel(), PROJECTIONS)
        for name, made in found.items():
            made.append(torch.zeros_like(values[name]))
        results = [values[name] for name in found]
        for one in torch.from_numpy(drawn).to(directions).reshape(PROJECTIONS, *directions.shape):
            slopes = torch.autograd.grad(directions, results, one, retain_graph=True, materialize_grads=True)
            for made, slope in zip(found.values(), slopes, strict=True):
                made[-1] += slope.square() / PROJECTIONS
    return found
