"""Weights of -1, 0 and 1: trained while the smallest ones, more and more of them, become zero.

Pruning ternary quantization, after the idea of Liu, Chen, Fu, Ma and Liu (arXiv 2107.10998): among weights
of one size, a vector and its signs have nearly the same direction, so that pruning the small ones turns the
rest towards its own ternary image. Of the |w| of a layer those up to a threshold are pruned, the quantile of
a share that rises from stage to stage,

    T(w) = s sign(w) [|w| > threshold],   s = mean of the |w| that are left, for each output channel,

and training goes on through T (forward T, gradients as if it were the identity). In the last stage the
support is frozen, so that signs settle. s is the best step for these signs: <w - T(w), T(w)> = 0 in every
channel. Where the paper lets all weights decay, so that pruned ones stay near 0, here (ours) the loss has a
term more, by which weights turn towards their images: TURN (1 - cosine of w and T(w), mean over layers).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from channels.checks import number
from channels.errors import InvalidArgumentError
from ris.predictors.checkpoints import files_of_stages
from ris.predictors.compress.further import stages
from ris.predictors.compress.rounding import SYSTEMS, batches_of
from ris.predictors.module import Network
from ris.predictors.publish import training_maps
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.task import Batch
from ris.predictors.train import Recipe, loss_of, optimise
from ris.progress import Progress, parts, tell_nothing

__all__ = ["SHARES", "TernaryNetwork", "ternary"]

SHARES = (0.5, 0.7, 0.82, 0.885)
"""Of weights that are zero, stage by stage; the support stays in one stage more."""


TURN = 0.3
"""Weight in the loss of what the weights lack in the direction of their images."""


class TernaryNetwork(QuantizedNetwork):
    """A network in simulated integers with weights of -1, 0 and 1 between the first and the last layers.

    Parameters
    ----------
    network : Network
        Trained; it is copied.

    Attributes
    ----------
    zeros : float
        Share of a layer's weights that are zero.
    angles : list of (float, float)
        Mean of the `cosines` before and behind every stage of a training.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network, 2, follow=False)
        self.zeros = 0.0
        self.angles: list[tuple[float, float]] = []
        self._support: dict[str, Tensor] = {}

    @torch.no_grad()
    def freeze(self) -> None:
        """Keep which weights are zero, from now on."""
        self._support = {name: self._left(name, self._latent(name)) for name in self.ternary_layers}

    @property
    def ternary_layers(self) -> list[str]:
        """Convolutions whose weights are -1, 0 and 1."""
        return [name for name, bits in self.weight_bits.items() if bits == 2]

    def cosines(self) -> dict[str, Tensor]:
        """Return the cosine of the angle between the weights of every ternary layer and their image."""
        found = {}
        for name in self.ternary_layers:
            weight = self.network.own(self.graph[name])["weight"]
            scale, codes = self._weight_codes(name, weight.detach(), 1, torch.zeros(len(weight)))
            image = (scale[:, None] * codes.flatten(1)).flatten()
            found[name] = torch.cosine_similarity(weight.flatten(), image, dim=0)
        return found

    def mean_cosine(self) -> Tensor:
        """Return the mean of the `cosines`, shape (), with gradients as if images stayed."""
        return torch.stack([*self.cosines().values()]).mean()

    def _latent(self, name: str) -> Tensor:
        return self.network.own(self.graph[name])["weight"].detach()

    def _left(self, name: str, weight: Tensor) -> Tensor:
        """Which weights are not zero."""
        if name in self._support:
            return self._support[name]
        size = weight.abs()
        pruned = int(self.zeros * (size.numel() - 1))
        return size > size.flatten().kthvalue(1 + pruned).values

    def _weight_codes(self, name: str, weight: Tensor, top: int, least: Tensor) -> tuple[Tensor, Tensor]:
        if self.weight_bits[name] != 2:
            return super()._weight_codes(name, weight, top, least)
        left = self._left(name, weight)
        codes, many = torch.sign(weight) * left, left.flatten(1).sum(1)
        step = (weight.abs() * left).flatten(1).sum(1) / many.clamp(min=1)
        scale = torch.maximum(step, least)
        return torch.where(scale > 0, scale, 1.0), codes


def ternary(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 2,
    *,
    steps: int = 100,
    rate: float = 3e-3,
    shares: Sequence[float] = SHARES,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> TernaryNetwork:
    """Make the weights between the first and the last layers ternary, by training in stages.

    Parameters
    ----------
    network : Network
        Trained; it is copied.
    recipe : Recipe
        What trained it, and what the stages follow but for steps and learning rate.
    bits : int
        2, those of a weight; the first and the last layers keep 8.
    steps : int
        Of every stage, one for each share and one with frozen support.
    rate : float
        Highest learning rate of every stage.
    shares : sequence of float
        Of weights that are zero, stage by stage.
    checkpoint : Path, optional
        File by whose name those of the stages begin (`checkpoints.files_of_stages`).
    progress : callable
        As for `ris.predictors.train.optimise`.

    Returns
    -------
    TernaryNetwork
        Ready for export.
    """
    if bits != 2:
        raise InvalidArgumentError("bits", "2, for ternary weights", repr(bits))
    given = [number("shares", share) for share in shares]
    if not given or given != sorted(given) or not 0 <= given[0] <= given[-1] < 1:
        raise InvalidArgumentError("shares", "shares that rise, from 0 to below 1", repr(shares))
    made = TernaryNetwork(network).eval()
    maps = training_maps(recipe, batches_of(recipe, SYSTEMS))
    made.calibrate([torch.from_numpy(one) for one in maps], "percentile")
    told = parts(progress, [1] * (len(given) + 1))
    files = files_of_stages(checkpoint, len(told))
    for number_of, stage in enumerate(stages(recipe, steps, rate, len(told))):
        if number_of < len(given):
            made.zeros = given[number_of]
        else:
            made.freeze()
        before = float(made.mean_cosine().detach())
        loss = partial(_loss, made, stage.bits)
        optimise(made, stage, loss=loss, checkpoint=files[number_of], progress=told[number_of])
        made.angles.append((before, float(made.mean_cosine().detach())))
    return made.eval()


def _loss(network: TernaryNetwork, bits: int, batch: Batch) -> Tensor:
    return loss_of(network, batch, bits) + TURN * (1 - network.mean_cosine())
