"""Intervals of means and of their ratios by the bootstrap, over systems and over trainings."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from channels.draws import uniform
from channels.streams import Stream

__all__ = ["Estimate", "mean_rate_of", "ratio"]

RESAMPLES, COVERAGE = 2000, 0.95

Real = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def mean_rate_of(rates: Real) -> Estimate:
    """Return the mean of rates, of systems, shape (S,), or of trainings and systems, shape (T, S)."""
    rates = np.atleast_2d(rates)
    return _interval(rates.mean(), _resampled(rates))


def ratio(ours: Real, theirs: Real) -> Estimate:
    """Return the ratio of two means, paired: a resample takes the same systems for both.

    The percentile bootstrap (Efron and Tibshirani, 1993). Of several trainings, those of a resample are drawn
    as well, and with them their systems; the t-th training of ours and of theirs belong together.

    Parameters
    ----------
    ours, theirs : ndarray, shape (S,) or (T, S)
        Rates or times of the same S systems, of one or of T trainings; one may stand for every training.
    """
    ours, theirs = np.broadcast_arrays(np.atleast_2d(ours), np.atleast_2d(theirs))
    return _interval(ours.mean() / theirs.mean(), _resampled(ours) / _resampled(theirs))


def _resampled(rates: Real) -> Real:
    """Means of resamples, shape (RESAMPLES,): the same trainings and systems for any rates of that shape."""
    stream = Stream(0, "bootstrap")
    trainings, systems = (
        (count * uniform(stream.child(name), count, RESAMPLES)).astype(np.int64)
        for name, count in zip(("trainings", "systems"), rates.shape, strict=True)
    )
    # By counts: a mean over chosen trainings and systems is a quadratic form.
    weights = [
        np.array([np.bincount(row, minlength=count) for row in rows]) / count
        for rows, count in zip((trainings, systems), rates.shape, strict=True)
    ]
    return np.asarray(((weights[0] @ rates) * weights[1]).sum(axis=1))


def _interval(value: float, resampled: Real) -> Estimate:
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Estimate(float(value), float(low), float(high))
