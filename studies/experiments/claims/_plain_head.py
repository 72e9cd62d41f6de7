"""Trainings of convolutional networks whose output combines no steering phasors."""

from dataclasses import dataclass

from ris.predictors.module import Network
from ris.predictors.networks import cnn
from ris.predictors.train import Recipe

__all__ = ["PlainRecipe"]

NETWORKS = {"cnn": {}, "cnn-wide": {"width": 33}, "se": {"se": True}}
"""What tells the networks of `ris.predictors.networks.NETWORKS` apart."""


@dataclass(frozen=True)
class PlainRecipe(Recipe):
    """Training of the network of a name with cosine and sine straight from a convolution."""

    head: str = "plain"

    def make_network(self) -> Network:
        """Return the network with its first weights."""
        graph = cnn(self.make_task().channels, steering=False, **NETWORKS[self.network])
        return Network(graph, self.seed, self.side, self.side)
