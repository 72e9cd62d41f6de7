"""Values of given ranks among neighbours: sequences of comparisons, values and gradients against sorting."""

import itertools

import numpy as np
import pytest
import torch

from ris.predictors import ranks
from ris.predictors.ranks import comparators, ranked_neighbours

STEPS = [(0, 0), (-1, 0), (1, 0), (0, -2), (0, 1)]


@pytest.mark.parametrize(
    ("size", "wanted"), [(1, (0,)), (2, (1,)), (5, (2,)), (8, (7, 6, 5)), (9, tuple(range(9))), (13, (6,))]
)
def test_comparators_sort_all_zeros_and_ones(size, wanted):
    """What sorts those sorts everything (Knuth 5.3.4, theorem Z)."""
    for bits in itertools.product((0, 1), repeat=size):
        wires = list(bits)
        for i, j in comparators(size, wanted):
            assert i < j
            wires[i], wires[j] = min(wires[i], wires[j]), max(wires[i], wires[j])
        assert [wires[rank] for rank in wanted] == [sorted(bits)[rank] for rank in wanted]


def test_what_does_not_matter_is_left_out():
    every = len(comparators(13, tuple(range(13))))
    assert len(comparators(13, (6,))) < every


def slow(x, fill, wanted):
    """Element by element, through torch's own sorting."""
    rows, columns = x.shape[-2:]
    made = torch.empty(len(wanted), *x.shape, dtype=x.dtype)
    for row, column in itertools.product(range(rows), range(columns)):
        near = []
        for (down, right), outside in zip(STEPS, fill[:, row, column], strict=True):
            inside = 0 <= row + down < rows and 0 <= column + right < columns
            near.append(x[..., row + down, column + right] if inside else torch.full(x.shape[:-2], outside))
        ordered = torch.stack(near).sort(0).values
        for place, rank in enumerate(wanted):
            made[place, ..., row, column] = ordered[rank]
    return made


@pytest.mark.parametrize("wanted", [(2,), (4, 1), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("at_once", [1, 40, 2**14])
def test_values_and_gradients(wanted, at_once, monkeypatch):
    monkeypatch.setattr(ranks, "AT_ONCE", at_once)
    rng = np.random.default_rng(len(wanted))
    x = torch.from_numpy(rng.standard_normal((2, 3, 4, 3)))
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (5, 4, 3)))
    inside = torch.zeros(5, 4, 3, dtype=torch.bool)
    for i, (down, right) in enumerate(STEPS):
        for row, column in itertools.product(range(4), range(3)):
            inside[i, row, column] = 0 <= row + down < 4 and 0 <= column + right < 3
    fill = torch.where(inside, 0.0, torch.inf * signs)
    weight = torch.from_numpy(rng.standard_normal((len(wanted), *x.shape)))
    found = []
    for way in (lambda y: ranked_neighbours(y, STEPS, wanted, fill), lambda y: slow(y, fill, wanted)):
        given = x.clone().requires_grad_()
        made = way(given)
        # Infinite ones of those that are missing get no gradient.
        torch.where(made.isfinite(), made * weight, 0.0).sum().backward()
        found.append((made.detach(), given.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1])


def test_of_equal_neighbours_one_gets_the_gradient():
    x = torch.ones(1, 3, 3, requires_grad=True)
    missing = torch.zeros(2, 3, 3)
    missing[0, 0] = -torch.inf
    made = ranked_neighbours(x, [(-1, 0), (0, 0)], [1], missing)
    made.sum().backward()
    torch.testing.assert_close(made.detach(), torch.ones(1, 1, 3, 3))
    assert x.grad.sum() == 9
    assert set(x.grad.unique().tolist()) <= {0.0, 1.0, 2.0}
