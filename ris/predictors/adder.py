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
from torch.nn.grad import conv2d_weight

from ris.predictors._kernels.differences import add_slopes, sum_differences

__all__ = ["sums_of_differences"]


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
    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(maps, weight)
        sums = np.empty((len(maps), len(weight), *maps.shape[2:]), _array(maps).dtype)
        sum_differences(sums, _array(maps), _array(weight))
        return torch.from_numpy(sums).to(maps.device)

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        maps, weight = context.saved_tensors
        of_maps = np.empty_like(_array(maps))
        add_slopes(of_maps, _array(maps), _array(weight), _array(slopes[0]))
        products = conv2d_weight(maps, weight.shape, slopes[0], padding=weight.shape[-1] // 2)
        of_weight = weight * slopes[0].sum((0, 2, 3))[:, None, None, None] - products
        return torch.from_numpy(of_maps).to(maps.device), of_weight


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy(force=True)
