"""Sums of absolute differences in torch, with the gradients of adder networks.

Of y = -sum |x - w| adder networks (Chen et al., "AdderNet: do we really need multiplications in deep
learning?", CVPR 2020) take for gradients

    dy / dw = x - w,    dy / dx = clip(w - x, -1, 1)

instead of the signs, which say nothing of distances; the clipping keeps what goes back through many layers
from growing.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ris.predictors._kernels.adder import add_slopes, sum_differences

__all__ = ["sums_of_differences"]

TILE = 64
"""Maps whose patches are in memory at once."""


def sums_of_differences(maps: Tensor, weight: Tensor) -> Tensor:
    """Return sum |x - w| over channels and kernel, with zeros around the maps.

    Parameters
    ----------
    maps : Tensor, shape (maps, channels in, rows, columns)
    weight : Tensor, shape (channels out, channels in, kernel, kernel)

    Returns
    -------
    Tensor, shape (maps, channels out, rows, columns)
        Gradients are minus those above. The work is done on the processor.
    """
    made: Tensor = _Sums.apply(maps, weight)  # type: ignore[no-untyped-call]
    return made


class _Sums(torch.autograd.Function):
    """Patches are made anew for the gradients: all of them would fill the memory."""

    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(maps, weight)
        kernel, flat = weight.shape[-1], _array(weight.flatten(1))
        made = []
        for tile in maps.split(TILE):
            patches = _array(_patches(tile, kernel))
            sums = np.empty((len(patches), len(flat), patches.shape[2]), patches.dtype)
            sum_differences(sums, patches, flat)
            made.append(torch.from_numpy(sums))
        return torch.cat(made).reshape(len(maps), len(weight), *maps.shape[2:]).to(maps.device)

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        maps, weight = context.saved_tensors
        kernel, flat = weight.shape[-1], weight.flatten(1)
        of_maps, of_weight = [], flat * slopes[0].sum((0, 2, 3))[:, None]
        for tile, slope in zip(maps.split(TILE), slopes[0].flatten(2).split(TILE), strict=True):
            patches = _patches(tile, kernel)
            of_weight -= torch.bmm(slope, patches.mT).sum(0)
            given = _array(patches)
            moved = np.empty_like(given)
            add_slopes(moved, given, _array(flat), _array(slope))
            of_patches = torch.from_numpy(moved).to(maps.device)
            of_maps.append(functional.fold(of_patches, tile.shape[2:], kernel, padding=kernel // 2))
        return torch.cat(of_maps), of_weight.reshape(weight.shape)


def _patches(maps: Tensor, kernel: int) -> Tensor:
    """What the weights meet at every element, shape (maps, entries of the weights, elements)."""
    made: Tensor = functional.unfold(maps, kernel, padding=kernel // 2)
    return made


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy(force=True)
