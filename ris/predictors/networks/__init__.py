"""Networks as functions that build graphs, one idea a file, and the names by which they are asked for."""

from collections.abc import Callable, Mapping
from functools import partial

from ris.predictors.graph import Graph
from ris.predictors.networks.cnn import cnn

__all__ = ["NETWORKS", "cnn"]

NETWORKS: Mapping[str, Callable[[int], Graph]] = {
    "cnn": cnn,
    "se": partial(cnn, se=True),
}
"""Builders by name, given the channels of the input."""
