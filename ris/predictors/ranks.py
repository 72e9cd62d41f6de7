"""Values of given ranks among an element's neighbours, by fixed sequences of comparisons.

A comparator puts two values in order. A sequence of them that sorts any values (Batcher's merge exchange,
Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M) needs no decisions: each is one minimum and one
maximum of whole maps, which for a few neighbours is far faster than to sort element by element.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Step", "comparators", "ranked_neighbours"]

AT_ONCE = 2**14
"""Elements that a sequence works through together: few enough to stay in a cache."""

Step = tuple[int, int]
"""Rows and columns from an element to a neighbour."""

Pairs = tuple[tuple[int, int], ...]


@cache
def comparators(size: int, ranks: tuple[int, ...]) -> Pairs:
    """Return pairs i < j: the smaller value of each goes to i, after which `ranks` hold what belongs there.

    Parameters
    ----------
    size : int
        Values.
    ranks : tuple of int
        Ranks that are asked for, from 0; comparators that do not matter to them are left out.
    """
    asked, kept = set(ranks), []
    for pair in reversed([*_merge_exchange(size)]):
        if asked.intersection(pair):
            asked.update(pair)
            kept.append(pair)
    return tuple(reversed(kept))


def ranked_neighbours(maps: Tensor, steps: Sequence[Step], ranks: Sequence[int], missing: Tensor) -> Tensor:
    """Return the values of some ranks among each element's neighbours, along a new first axis.

    A gradient goes to the neighbour that has the rank; among equal ones, to one of them.

    Parameters
    ----------
    maps : Tensor, shape (..., rows, columns)
        Values.
    steps : sequence of (int, int)
        To the n neighbours.
    ranks : sequence of int
        From 0, the smallest, to n - 1.
    missing : Tensor, shape (n, rows, columns)
        What stands for neighbours outside the surface, -inf or inf; 0 for those inside.
    """
    planes = maps.flatten(0, -3)
    made: Tensor = _Ranked.apply(planes, tuple(steps), tuple(ranks), missing)  # type: ignore[no-untyped-call]
    return made.reshape(len(ranks), *maps.shape)


class _Ranked(torch.autograd.Function):
    """The comparators, a block of maps at a time; the way back repeats them, and passes them in reverse."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, steps: tuple[Step, ...], ranks: tuple[int, ...], missing: Tensor
    ) -> Tensor:
        pairs, made = comparators(len(steps), ranks), maps.new_empty(len(ranks), *maps.shape)
        for block in _blocks(maps):
            wires = _neighbours(maps[block], steps, missing)
            for i, j in pairs:
                wires[i], wires[j] = torch.minimum(wires[i], wires[j]), torch.maximum(wires[i], wires[j])
            for rank, place in zip(ranks, made[:, block], strict=True):
                place.copy_(wires[rank])
        ctx.save_for_backward(maps, missing)
        ctx.steps, ctx.ranks = steps, ranks
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,), (maps, missing), steps = gradients, ctx.saved_tensors, ctx.steps
        pairs, reach = comparators(len(steps), ctx.ranks), _reach(steps)
        wide = functional.pad(torch.zeros_like(maps), (reach,) * 4)
        for block in _blocks(maps):
            wires = _neighbours(maps[block], steps, missing)
            # Numbers rather than booleans: torch's operations on those take several times as long.
            swapped = maps.new_empty(len(pairs), *maps[block].shape)
            for (i, j), swap in zip(pairs, swapped, strict=True):
                torch.gt(wires[i], wires[j], out=swap)
                wires[i], wires[j] = torch.minimum(wires[i], wires[j]), torch.maximum(wires[i], wires[j])
            wires = [torch.zeros_like(wires[0])] * len(steps)
            for rank, given in zip(ctx.ranks, gradient[:, block], strict=True):
                wires[rank] = given
            for (i, j), swap in zip(reversed(pairs), reversed(swapped.unbind()), strict=True):
                moved = (wires[j] - wires[i]) * swap
                wires[i], wires[j] = wires[i] + moved, wires[j] - moved
            for view, wire in zip(_views(wide[block], steps), wires, strict=True):
                view += wire
        rows, columns = maps.shape[1:]
        return wide[:, reach : reach + rows, reach : reach + columns], None, None, None


def _blocks(maps: Tensor) -> Iterator[slice]:
    count = max(1, AT_ONCE // math.prod(maps.shape[1:]))
    return (slice(first, first + count) for first in range(0, len(maps), count))


def _neighbours(maps: Tensor, steps: Sequence[Step], missing: Tensor) -> list[Tensor]:
    wide = functional.pad(maps, (_reach(steps),) * 4)
    return [view + outside for view, outside in zip(_views(wide, steps), missing, strict=True)]


def _views(wide: Tensor, steps: Sequence[Step]) -> Iterator[Tensor]:
    """Every neighbour of all elements, from maps with as many rows and columns around them as it takes."""
    reach = _reach(steps)
    rows, columns = (size - 2 * reach for size in wide.shape[1:])
    return (
        wide[:, reach + row : reach + row + rows, reach + column : reach + column + columns]
        for row, column in steps
    )


def _reach(steps: Sequence[Step]) -> int:
    return max(abs(distance) for step in steps for distance in step)


def _merge_exchange(size: int) -> Iterator[tuple[int, int]]:
    p = 1
    while p < size:
        k = p
        while k:
            for j in range(k % p, size - k, 2 * k):
                for i in range(j, min(j + k, size - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        yield i, i + k
            k //= 2
        p *= 2
