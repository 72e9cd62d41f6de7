"""The numerical optimum of many systems at once: gradient ascent on the rate from several starts."""

import math

import torch
from torch import Tensor

from ris.predictors.task import Batch

__all__ = ["ascend", "multistart"]

RATE, LAST = 0.1, 0.01
"""First and last learning rate of Adam, radians a step; it falls linearly."""


def multistart(
    batch: Batch, starts: Tensor, *, screening: int, kept: int, steps: int
) -> tuple[Tensor, Tensor]:
    """Ascend from all starts by `screening` steps, and from the ends of the best by `steps` more.

    Parameters
    ----------
    batch : Batch
        B systems, torch tensors.
    starts : Tensor, shape (starts, 2 B, rows, columns)
        Phasors.
    screening, kept, steps : int
        Steps from all starts, ends that go on, for each system its own, and their steps.

    Returns
    -------
    best : Tensor, shape (B,)
        Highest sum rates, bit/s/Hz. They cost screening x starts + steps x kept rates and gradients.
    x : Tensor, shape (2 B, rows, columns)
        Phasors that reach them, or more.
    """
    first, ends = ascend(batch, starts, screening)
    B = first.shape[1]
    order = first.argsort(0, descending=True)[:kept]
    both = torch.cat([order, order], 1)
    chosen = ends.gather(0, both[..., None, None].expand(-1, -1, *ends.shape[2:]))
    second, polished = ascend(batch, chosen, steps)
    best, place = second.max(0)
    place = torch.cat([place, place])
    return torch.maximum(best, first.max(0).values), polished[place, torch.arange(2 * B)]


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
