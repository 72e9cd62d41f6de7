"""Ranges of numbers that are to be rounded, from histograms of them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "least_squares", "quantiles"]

BINS = 2048
"""Of a histogram, evenly between the smallest and the largest number."""

TAIL = 5e-3
"""Share of the numbers beyond either end of a range by quantiles."""

SHARES = np.linspace(0.3, 1.0, 71)
"""Shares of a range that are tried for the least squared error."""


def quantiles(counts: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Return the ends between which all but TAIL of the numbers on each side lie, with zero among them.

    Parameters
    ----------
    counts : ndarray, shape (BINS,)
        Histogram of the numbers.
    low, high : float
        Its ends.
    """
    edges = np.linspace(low, high, BINS + 1)
    share = np.cumsum(counts) / counts.sum()
    first, last = int(np.searchsorted(share, TAIL)), int(np.searchsorted(share, 1 - TAIL))
    return min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0)


def least_squares(counts: NDArray[np.float64], low: float, high: float, bits: int) -> tuple[float, float]:
    """Return the range whose codes of so many bits have the least squared error, of histograms as above.

    It is a share of that from low to high, which keeps where zero is.
    """
    edges = np.linspace(low, high, BINS + 1)
    numbers, top = (edges[1:] + edges[:-1]) / 2, 2**bits - 1
    scale = SHARES[:, None] * (high - low) / top
    zero = np.rint(-SHARES[:, None] * low / scale)
    rounded = scale * (np.clip(np.rint(numbers / scale) + zero, 0, top) - zero)
    share = float(SHARES[np.argmin(((rounded - numbers) ** 2) @ counts)])
    return share * low, share * high
