"""Small weights become zero, more and more of them while training goes on.

Of the weights w of the convolutions between the first and the last ones those with the smallest

    |w| / (root mean square of the layer's weights as they were trained)

go, all layers together. Sizes are relative, as those with which layers begin depend on the number of their
inputs, and absolute ones would empty those with many; how sensitive a layer is they do not tell. In step t of
the training a share

    s_t = s (1 - (1 - t / T)^3),   from T on s,

of them is zero (Zhu and Gupta, "To prune, or not to prune", 2017): many at once, while others can make up
for it, and the last ones slowly; T is `RAMP` of all steps, and from there on the zeros stay where they are.
What is zero stays zero. The whole network is the teacher of what is left (`distillation`).

Validations, and the network that is returned, are of the full share: in the middle of the ramp too, those of
the network as it would be, pruned at once. So the best one is not one with fewer zeros.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.compress.distillation import taught_loss
from ris.predictors.compress.further import stages
from ris.predictors.compress.rounding import rounded
from ris.predictors.folding import between
from ris.predictors.graph import Node
from ris.predictors.module import Network
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe, optimise
from ris.progress import Progress, tell_nothing

__all__ = ["RAMP", "PrunedNetwork", "pruned", "pruning"]

RAMP = 0.6
"""Share of the steps in which zeros become more."""


class PrunedNetwork(Network):
    """A network of which a share of the weights between the ends is zero, in training only after a ramp.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    share : float
        Of these weights that are zero in the end, from 0 to below 1.
    ramp : float
        Steps of training until then.

    Attributes
    ----------
    between : list of str
        Convolutions whose weights may become zero.
    """

    steps: Tensor

    def __init__(self, network: Network, share: float, ramp: float) -> None:
        super().__init__(network.graph, 0, network.rows, network.columns)
        self.load_arrays(network.arrays())
        if not 0 <= number("share", share) < 1:
            raise InvalidArgumentError("share", "a share from 0 to below 1", repr(share))
        self.share, self._ramp = share, ramp
        self.between = between(network.graph)
        self._size = {name: float(self._weight(name).square().mean().sqrt()) for name in self.between}
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for name in self.between:
            self.register_buffer(f"{name}/left", torch.ones_like(self._weight(name), dtype=torch.bool))
        self._left: Mapping[str, Tensor] = {}

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output: in training with as many zeros as it is time for, otherwise with all."""
        if self.training:
            self.steps += 1
            self._left = self.left(self.share_at(int(self.steps)))
            for name, left in self._left.items():
                getattr(self, f"{name}/left").copy_(left)
        else:
            self._left = self.left(self.share)
        return super().forward(maps)

    def share_at(self, step: int) -> float:
        """Return the share of zeros in a step of training."""
        return self.share * (1 - max(1 - step / self._ramp, 0.0) ** 3)

    @torch.no_grad()
    def left(self, share: float) -> dict[str, Tensor]:
        """Return which weights are left by layer if a share of all is zero: of those that are left now."""
        size = {
            name: self._weight(name).abs() / self._size[name] * getattr(self, f"{name}/left")
            for name in self.between
        }
        together = torch.cat([one.flatten() for one in size.values()])
        gone = round(share * together.numel())
        threshold = together.kthvalue(gone).values if gone else -1.0
        return {name: one > threshold for name, one in size.items()}

    def own(self, node: Node) -> dict[str, Tensor]:
        """Return the parameters of a node by their short names, with zeros among its weights."""
        own = super().own(node)
        return {**own, "weight": own["weight"] * self._left[node.name]} if node.name in self._left else own

    @torch.no_grad()
    def plain(self) -> Network:
        """Return a network of these weights with the full share of zeros."""
        left = self.left(self.share)
        made = Network(self.graph, 0, self.rows, self.columns).eval()
        arrays = self.arrays()
        for name in left:
            arrays[f"{name}/weight"] *= left[name].cpu().numpy()
        made.load_arrays({name: arrays[name] for name in made.state_dict()})
        return made

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = getattr(self, f"{name}/weight").detach()
        return weight


def pruned(
    network: Network,
    recipe: Recipe,
    share: float = 0.8,
    *,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Network:
    """Make a share of the weights between the first and the last convolutions zero, by training on.

    Parameters
    ----------
    network : Network
        Trained; it is copied, and is the teacher.
    recipe : Recipe
        What trained it, and what the further training follows but for steps and learning rate.
    share : float
        Of zeros, from 0 to below 1.
    steps, rate
        Of the further training: optimiser steps, and highest learning rate.
    checkpoint, progress
        As for `ris.predictors.train.optimise`.

    Returns
    -------
    Network
        Of the same graph.
    """
    (stage,) = stages(recipe, steps, rate, 1)
    made = PrunedNetwork(network, share, RAMP * steps)
    loss = taught_loss(made, network, stage)
    optimise(made, stage, loss=loss, checkpoint=checkpoint, progress=progress)
    return made.plain()


def pruning(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 8,
    *,
    share: float = 0.8,
    steps: int = 500,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Prune as `pruned`, and round what is left to so many bits; zeros stay."""
    made = pruned(network, recipe, share, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    return rounded(made, recipe, bits)
