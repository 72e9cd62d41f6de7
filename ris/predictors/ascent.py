"""The numerical optimum of many systems at once: gradient ascent on the rate from several starts."""

import math

import torch
from torch import Tensor

from ris.predictors.task import Batch

__all__ = ["ascend"]

RATE, LAST = 0.1, 0.01
"""First and last learning rate of Adam, radians a step; it falls linearly."""


def ascend(batch: Batch, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Ascend from each start.

    Parameters
    ----------
    batch : Batch
        B systems, torch tensors.
    starts : Tensor, shape (starts, 2 B, rows, columns)
        Phasors.
    steps : int
        Steps of Adam from each, a rate and its gradient each.

    Returns
    -------
    best : Tensor, shape (starts, B)
        Highest sum rate on the way, bit/s/Hz.
    x : Tensor, shape (starts, 2 B, rows, columns)
        The last phasors.
    """
    best, ends = [], []
    for start in starts:
        angles = start.angle().requires_grad_()
        optimiser = torch.optim.Adam([angles], RATE)
        highest = torch.full((start.shape[0] // 2,), -math.inf, device=start.device, dtype=angles.dtype)
        for step in range(steps + 1):
            total = batch.rates(torch.polar(torch.ones_like(angles), angles)).sum(-1)
            highest = torch.maximum(highest, total.detach())
            if step < steps:
                for group in optimiser.param_groups:
                    group["lr"] = RATE + (LAST - RATE) * step / steps
                optimiser.zero_grad()
                torch.autograd.backward(-total.log().sum())
                optimiser.step()
        best.append(highest)
        ends.append(torch.polar(torch.ones_like(angles), angles).detach())
    return torch.stack(best), torch.stack(ends)
