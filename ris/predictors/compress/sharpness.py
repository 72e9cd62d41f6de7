"""Gradients at the worst weights nearby, for minima that are flat.

Sharpness-aware quantization (Liu, Cai and Zhuang, arXiv 2111.12273) minimises the largest loss within a
radius of the weights q as they are rounded, after Foret et al., "Sharpness-aware minimization for efficiently
improving generalization" (ICLR 2021), to first order:

    g = dL/dq,   e = radius g / |g|,   step along dL/dw at q + e,

with the norm over all weights and biases at once. It is the rounded weights that are shifted: a shift of the
latent ones w that rounding undoes would tell nothing. The authors' weights are normalised; here q, g and e
are those in units of the gains of their channels (`rescaled`), in which all have about one size too.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from channels.checks import non_negative
from ris.predictors.compress.learned_clip import ClippedNetwork
from ris.predictors.train import Gradients, backward

__all__ = ["set_gradients", "sharpness_aware", "shift_uphill"]

TINY = 1e-12
"""Least norm of a gradient."""


def sharpness_aware(network: ClippedNetwork, radius: float) -> Gradients:
    """Return how to set the gradients of a network; as always if the radius is 0."""
    return partial(set_gradients, network, radius) if non_negative("radius", radius) > 0 else backward


def set_gradients(network: ClippedNetwork, radius: float, loss: Callable[[], Tensor]) -> None:
    """Set the gradients of all parameters to those of a loss at the shifted weights, and shift them back."""
    shift_uphill(network, radius, loss)
    backward(loss)
    network.shifts = {}


def shift_uphill(network: ClippedNetwork, radius: float, loss: Callable[[], Tensor]) -> None:
    """Shift rounded weights and biases by so much, all together, to where the loss rises most."""
    network.shifts = network.no_shifts()
    names, zeros = zip(*network.shifts.items(), strict=True)
    gradient = torch.autograd.grad(loss(), zeros)
    factor = radius / max(math.hypot(*(float(one.norm()) for one in gradient)), TINY)
    network.shifts = {name: factor * one for name, one in zip(names, gradient, strict=True)}
