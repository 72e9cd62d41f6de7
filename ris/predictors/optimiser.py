"""The optimiser of all trainings: Adam, but for the weights of adders."""

import math
from collections.abc import Callable
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
    module : Module
        What is trained.
    rate : float
        Learning rate.
    """

    def __init__(self, module: nn.Module, rate: float) -> None:
        adders = _adder_weights(module)
        others = [one for one in module.parameters() if all(one is not weight for weight in adders)]
        groups: list[dict[str, Any]] = [{"params": others}]
        super().__init__([*groups, {"params": adders}] if adders else groups, rate)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all parameters by their gradients; those of the adders are used up."""
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], LARGEST_NORM)
        for group in self.param_groups[1:]:
            for weight in group["params"]:
                self._move(weight, group["lr"])
                weight.grad = None
        return super().step(closure)

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
