"""Sums over a grid by convolution against the same sums by matrices."""

import numpy as np
import pytest
import torch

from ris.element_moments import IDEAL, ElementMoments
from ris.grid_reflection import GridReflection, GridSide, GridStack
from ris.noise_moments import Reflection, fourth_moments

NOISE = ElementMoments.from_raw(0.8, 0.45, 1.0, 0.8, 1.0)
TURNED = ElementMoments.from_raw(*(np.array([m]) for m in (0.7 + 0.2j, 0.3 - 0.1j, 0.9, 0.6 + 0.1j, 0.95)))


def waves(rng, rows, columns, count, batch=()):
    """Factor, shape (..., count, rows, columns), and lags of a sum of plane waves."""
    u, v = rng.uniform(-0.4, 0.4, (2, *batch, count, 1, 1))
    weight = rng.uniform(0.2, 1.0, (*batch, count, 1, 1))
    i, j = np.arange(rows)[:, None], np.arange(columns)
    factor = np.sqrt(weight) * np.exp(2j * np.pi * (u * i + v * j))
    i, j = np.arange(1 - rows, rows)[:, None], np.arange(1 - columns, columns)
    return factor, (weight * np.exp(2j * np.pi * (u * i + v * j))).sum(axis=-3)


def dense(factor):
    F = np.swapaxes(factor.reshape(*factor.shape[:-2], -1), -1, -2)
    return F @ np.conj(np.swapaxes(F, -1, -2))


def both_kinds(moments, rows=3, columns=4, batch=(2,)):
    rng = np.random.default_rng(0)
    sides = [waves(rng, rows, columns, count, batch) for count in (5, 4)]
    FB, LB = waves(rng, rows, columns, 6, (*batch, 3))
    theta = rng.uniform(0, 2 * np.pi, (*batch, rows, columns))
    x, B = np.exp(1j * theta), dense(FB)
    v = x.reshape(*batch, -1)
    slow = [
        Reflection.of(v.conj()[..., :, None] * dense(F) * v[..., None, :], [(B, None)], moments)
        for F, _ in sides
    ]
    stack = GridStack.of(LB)
    return slow, [GridReflection.of(GridSide(F, L), stack, x, moments) for F, L in sides]


@pytest.mark.parametrize("moments", [IDEAL, NOISE, TURNED])
@pytest.mark.parametrize("pair", [(0, 0), (0, 1)])
def test_as_by_matrices(moments, pair):
    slow, fast = both_kinds(moments)
    for one, other in zip(slow, fast, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=0, atol=1e-11)
    by_matrices = fourth_moments(*(slow[i] for i in pair))
    by_convolution = fourth_moments(*(fast[i] for i in pair))
    for one, other in zip(by_matrices, by_convolution, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


def test_moments_of_each_system():
    law = {"mean": 0.8, "square": 0.45, "power": 1.0, "third": 0.8, "fourth": 1.0}
    other = {"mean": 0.6, "square": 0.2, "power": 1.0, "third": 0.6, "fourth": 1.0}
    each = ElementMoments.from_raw(**{key: np.array([[law[key]], [other[key]]]) for key in law})
    _, together = both_kinds(each)
    for system, one in enumerate((law, other)):
        _, alone = both_kinds(ElementMoments.from_raw(**one))
        for a, b in zip(fourth_moments(*alone), fourth_moments(*together), strict=True):
            np.testing.assert_allclose(a[system], b[system], rtol=1e-12)


def test_torch_differentiates():
    rng = np.random.default_rng(1)
    (F, L), (_, LB) = waves(rng, 3, 3, 4), waves(rng, 3, 3, 5, (2,))
    theta = torch.from_numpy(rng.uniform(0, 2 * np.pi, (3, 3)))
    side = GridSide(torch.from_numpy(F), torch.from_numpy(L))
    stack = GridStack.of(torch.from_numpy(LB))

    def chained(theta):
        R = GridReflection.of(side, stack, torch.exp(1j * theta), NOISE)
        return torch.stack([table.real.sum() for table in fourth_moments(R, R)])

    assert torch.autograd.gradcheck(chained, theta.requires_grad_())
