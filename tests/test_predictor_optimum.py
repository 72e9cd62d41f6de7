"""The numerical optimum: what it is above, and what it does not depend on."""

import numpy as np
import torch

from channels.streams import Stream
from ris.predictors.ascent import multistart, turn
from ris.predictors.baselines import random_phasors, superposed_steering
from ris.predictors.optimum import Search, optimal_phasors
from ris.predictors.statistical import StatisticalTask
from ris.predictors.train import on_device

TASK = StatisticalTask(side=4)
SEARCH = Search(random_starts=3, screening=2, kept=2, steps=8)


def test_a_search_ends_above_its_starts_and_at_a_standstill():
    batch = TASK.systems("test", 5)
    tensors = on_device(batch, "cpu", torch.float64)
    x = torch.from_numpy(optimal_phasors(batch, on_device(batch, "cpu"), "test", 0, SEARCH))
    rates = tensors.rates(x).sum(-1)
    assert (rates >= tensors.rates(torch.from_numpy(superposed_steering(batch))).sum(-1)).all()
    further, _ = turn(tensors, x[None], 30)
    assert (further[0] < rates * 1.02).all()


def test_all_that_is_kept_is_a_full_search():
    """With every start kept, the search is that of all starts by all steps."""
    batch = TASK.systems("test", 3)
    tensors = on_device(batch, "cpu", torch.float64)
    starts = torch.from_numpy(np.stack([random_phasors(batch, Stream(i)) for i in range(4)]))
    best, x = multistart(tensors, starts, screening=0, kept=4, steps=6, climb=turn)
    rates, _ = turn(tensors, starts, 6)
    torch.testing.assert_close(best, rates.amax(0))
    torch.testing.assert_close(tensors.rates(x).sum(-1), best)


def test_a_search_does_not_depend_on_the_blocks():
    def found(count, first):
        batch = TASK.systems("unseen", count, first)
        x = optimal_phasors(batch, on_device(batch, "cpu"), "unseen", first, SEARCH)
        return on_device(batch, "cpu", torch.float64).rates(torch.from_numpy(x)).sum(-1)

    torch.testing.assert_close(torch.cat([found(2, 0), found(2, 2)]), found(4, 0), rtol=1e-4, atol=0)


def test_a_search_costs_a_quarter_of_all_steps_from_all_starts_and_reaches_as_much():
    batch = TASK.systems("test", 3)
    tensors = on_device(batch, "cpu")
    starts = torch.from_numpy(
        np.stack([superposed_steering(batch), *(random_phasors(batch, Stream(0, i)) for i in range(15))])
    ).to(torch.complex64)
    full, _ = turn(tensors, starts, 25)
    found, _ = multistart(tensors, starts, screening=3, kept=3, steps=12, climb=turn)
    assert found.mean() >= 0.995 * full.amax(0).mean()
