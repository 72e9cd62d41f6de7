"""The optimiser of all trainings: Adam, but for the weights of adders."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ris.predictors.module import Network

__all__ = ["ADDER_RATE", "Optimiser"]

LARGEST_NORM = 1.0
"""Longer gradients are shortened to this."""

ADDER_RATE = 1.0
"""Root mean square of the step of an adder's weight, in learning rates; momentum adds up to ten of them."""

MOMENTUM = 0.9


class Optimiser(torch.optim.Adam):
    """Adam (Kingma and Ba, ICLR 2015) with gradients of limited length; layers of adders move evenly.

    The gradient of an adder's weights is a sum of distances: it differs widely between layers, and hardly
    says how far to go. After Chen et al., "AdderNet" (CVPR 2020), a layer with k weights and the gradient g
    moves by momentum of

        eta sqrt(k) g / |g|.

    Parameters
    ----------
    parts : sequence of Module
        What is trained. The gradients of each part are shortened on their own, so that parts with losses of
        their own move as if they were alone.
    rate : float
        Learning rate.
    """

    def __init__(self, parts: Sequence[nn.Module], rate: float) -> None:
        adders = [weight for part in parts for weight in _adder_weights(part)]
        known = {id(weight) for weight in adders}
        groups: list[dict[str, Any]] = [
            {"params": [one for one in part.parameters() if id(one) not in known]} for part in parts
        ]
        self._parts = len(parts)
        super().__init__([*groups, {"params": adders}] if adders else groups, rate)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters by their gradients; those of the adders are used up."""
        for group in self.param_groups[: self._parts]:
            nn.utils.clip_grad_norm_(group["params"], LARGEST_NORM)
        for group in self.param_groups[self._parts :]:
            for weight in group["params"]:
                self._move(weight, group["lr"])
                weight.grad = None
        super().step()

    def _move(self, weight: Tensor, rate: float) -> None:
        if not self.state[weight]:
            # Adam asks for the number of steps of whatever has a state.
            self.state[weight].update(step=torch.zeros(()), move=torch.zeros_like(weight))
        move, gradient = self.state[weight]["move"].mul_(MOMENTUM), weight.grad
        if gradient is not None and gradient.any():
            move.add_(gradient, alpha=ADDER_RATE * math.sqrt(weight.numel()) / float(gradient.norm()))
        weight.sub_(move, alpha=rate)


def _adder_weights(module: nn.Module) -> list[Tensor]:
    networks = [one for one in module.modules() if isinstance(one, Network)]
    return [one.own(node)["weight"] for one in networks for node in one.graph if node.op == "adder"]
