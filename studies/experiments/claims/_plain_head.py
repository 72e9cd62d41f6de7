"""Trainings of convolutional networks whose output combines no steering phasors."""

from dataclasses import dataclass

from ris.predictors.module import Network
from ris.predictors.networks import cnn
from ris.predictors.train import Recipe

__all__ = ["PlainRecipe"]

NETWORKS: dict[str, tuple[int, bool]] = {"cnn": (32, False), "cnn-wide": (33, False), "se": (32, True)}
"""Width and gates of the networks of `ris.predictors.networks.NETWORKS`."""


@dataclass(frozen=True)
class PlainRecipe(Recipe):
    """Training of the network of a name with cosine and sine straight from a convolution."""

    head: str = "plain"

    def make_network(self) -> Network:
        """Return the network with its first weights."""
        width, se = NETWORKS[self.network]
        graph = cnn(self.make_task().channels, width, se=se, steering=False)
        return Network(graph, self.seed, self.side, self.side)
