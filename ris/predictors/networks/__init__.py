"""Networks as functions that build graphs, one idea a file, and the names by which they are asked for."""

import re
from collections.abc import Callable, Mapping

from ris.predictors.graph import Graph
from ris.predictors.networks.adder import adder_cnn
from ris.predictors.networks.cnn import cnn
from ris.predictors.networks.crelu import crelu_cnn
from ris.predictors.networks.lgcl import lgcl
from ris.predictors.networks.local_gnn import local_gnn
from ris.predictors.networks.mlp import mlp
from ris.predictors.networks.paired import paired
from ris.predictors.networks.separable import separable
from ris.predictors.networks.symmetric import symmetric_cnn

__all__ = [
    "NETWORKS",
    "SIZED",
    "builder_of",
    "cnn",
    "crelu_cnn",
    "lgcl",
    "local_gnn",
    "mlp",
    "paired",
    "separable",
    "symmetric_cnn",
]

Builder = Callable[[int, int], Graph]

NETWORKS: Mapping[str, Builder] = {
    "mlp": lambda channels, side: mlp(channels, side),
    "cnn": lambda channels, side: cnn(channels),
    "cnn-wide": lambda channels, side: cnn(channels, width=33),
    "se": lambda channels, side: cnn(channels, se=True),
    "adder": lambda channels, side: adder_cnn(channels),
    "paired": lambda channels, side: paired(channels),
    "separable": lambda channels, side: separable(channels),
    "symmetric": lambda channels, side: symmetric_cnn(channels),
    "crelu": lambda channels, side: crelu_cnn(channels),
    "gnn-relu": lambda channels, side: local_gnn(channels, "relu"),
    "gnn-median": lambda channels, side: local_gnn(channels, "median"),
    "gnn-max": lambda channels, side: local_gnn(channels, "max"),
    "lgcl": lambda channels, side: lgcl(channels),
}
"""Builders by name, given the channels of the input and the rows and columns of the surface."""

SIZED = "se-WIDTHxBLOCKS"
"""How an "se" of another width (4 to 999 channels) and depth (1 to 99 blocks) is called, as "se-16x2"."""


def builder_of(name: str) -> Builder | None:
    """Return the builder of a name, one of `NETWORKS` or as `SIZED` says; None for any other name."""
    sized = re.fullmatch(r"se-([1-9]\d\d?|[4-9])x([1-9]\d?)", name, re.ASCII)
    if sized is None:
        return NETWORKS.get(name)
    width, blocks = map(int, sized.groups())
    return lambda channels, side: cnn(channels, width, blocks, se=True)
