"""Weights that are zero, and stay zero while integers are trained: gzip codes many of them in few bits."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.folding import weight_bits
from ris.predictors.model import CONVOLUTIONS
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork

__all__ = ["SparseNetwork", "sparse"]


def sparse(network: Network, zeros: float) -> Network:
    """Return a network in which so large a share of every layer's weights, the smallest ones, are zero.

    The first and the last layers stay as they are.
    """
    if not 0 <= number("zeros", zeros) < 1:
        raise InvalidArgumentError("zeros", "a share from 0 to below 1", repr(zeros))
    made = copy.deepcopy(network)
    between = [name for name, bits in weight_bits(made.graph, 0).items() if bits == 0]
    with torch.no_grad():
        for name in between:
            weight = made.own(made.graph[name])["weight"]
            size = weight.abs()
            weight.mul_(size >= size.flatten().quantile(zeros))
    return made


class SparseNetwork(QuantizedNetwork):
    """A network in simulated integers whose weights that are zero stay zero in training.

    Parameters
    ----------
    network : Network
        Trained, with zeros as `sparse` and other prunings leave them; it is copied.
    bits, **options
        Of `QuantizedNetwork`.
    """

    def __init__(self, network: Network, bits: int | Mapping[str, int] = 8, **options: Any) -> None:
        super().__init__(network, bits, **options)
        named = [node for node in self.graph.nodes if node.op in CONVOLUTIONS]
        self._support = {node.name: self.network.own(node)["weight"].detach() != 0 for node in named}

    def _weight_codes(self, name: str, weight: Tensor, top: int, least: Tensor) -> tuple[Tensor, Tensor]:
        support = self._support[name].to(weight.device)
        return super()._weight_codes(name, weight * support, top, least)
