r"""When a point has enough realizations.

A confidence interval is looked at after b_1 < b_2 < ... blocks, b_1 at least `FIRST_LOOK` and each next one
`GROWTH` times the one before, and the point stops at the first look where its half-width reaches the target
and the estimate is no longer skewed. The half-width is

    h = t_{b-1, (1 + confidence) / 2} * standard error,

with the quantile of Student's law for b - 1 degrees of freedom. The skewness of the estimate is s = g /
sqrt(b), g that of the influences of the blocks (`studies.blocks.Measurement.influences`).

To stop where h is small is to choose sets of realizations with a small sample variance. For this fixed-width
rule the coverage tends to the stated one as the target shrinks (Chow and Robbins, "On the asymptotic theory
of fixed-width sequential confidence intervals for the mean", Annals of Mathematical Statistics 36(2), 1965;
for estimators of simulations Glynn and Whitt, "The asymptotic validity of sequential stopping rules for
stochastic simulations", Annals of Applied Probability 2(1), 1992). What remains at a finite number n of
realizations:

- The chosen variance is too small, by a relative O(1/n). The quantile of b - 1 degrees, where n - 1 would do
  for a single look, adds 0.9 points to a coverage of 95 % at 32 blocks and 0.3 at 100 (0.4 and 0.1 to 99 %).
- A skewed metric has low estimates together with low variances. In the Edgeworth expansion of the studentized
  mean (Hall, The Bootstrap and Edgeworth Expansion, Springer, 1992, section 2.6) skewness takes
  phi(z) s^2 (z^5 + 2 z^3 - 3 z) / 9 off the coverage: 0.25 points of 95 % and 0.22 of 99 % at s = 0.1, which
  is the largest that `LARGEST_SKEWNESS` lets stop. The moments of products of several hops are so skewed that
  they need hundreds of thousands of realizations for it; rates need few.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ris.estimates import Estimate
from studies.options import StopReason

__all__ = ["FIRST_LOOK", "StoppingRule", "critical"]

FIRST_LOOK = 32
"""Fewest blocks that a half-width is trusted after."""

LARGEST_SKEWNESS = 0.1
"""Skewness of an estimate whose half-width can be trusted."""

GROWTH = 1.1
"""Blocks of the next look over blocks of this one, at least."""


@cache
def critical(confidence: float, blocks: int) -> float:
    """Half-width of an interval in standard errors."""
    return float(stdtrit(blocks - 1, (1 + confidence) / 2))


@dataclass(frozen=True)
class StoppingRule:
    """Stops at a target half-width, at the largest number of blocks or at a time limit.

    Parameters
    ----------
    half_width : float or None
        Target, in the unit of the metric; None stands for no target.
    relative : bool
        Whether the target is a share of the estimate.
    confidence : float
        Of the interval.
    min_blocks, max_blocks : int
        Fewest blocks for the first look, at least `FIRST_LOOK`; blocks of a point that never stops earlier.
    time_s : float or None
        Largest time of the blocks of a point, added up, in seconds.
    """

    half_width: float | None
    relative: bool
    confidence: float
    min_blocks: int
    max_blocks: int
    time_s: float | None

    def next_look(self, blocks: int) -> int:
        """Return the number of blocks at the first look after `blocks`; the last one is at `max_blocks`."""
        if self.half_width is None:
            return self.max_blocks
        look = max(self.min_blocks, FIRST_LOOK)
        while look <= blocks:
            look = max(look + 1, math.ceil(GROWTH * look))
        return min(look, self.max_blocks)

    def reason(
        self, blocks: int, seconds: float, estimate: Estimate | None = None, influences: Any = None
    ) -> StopReason | None:
        """Return why to stop after `blocks` blocks, if one should.

        Parameters
        ----------
        blocks : int
            Blocks so far, in their order.
        seconds : float
            Time that they took, added up.
        estimate : Estimate, optional
            The metric, given at looks; of a metric with several entries every one must reach the target.
        influences : ndarray, shape (blocks, ...), optional
            Influences of the blocks on the metric, with the estimate.
        """
        first = max(self.min_blocks, FIRST_LOOK)
        if estimate is not None and self.half_width is not None and blocks >= first:
            reached = critical(self.confidence, blocks) * np.asarray(estimate.standard_error)
            target = self.half_width * (np.abs(estimate.value) if self.relative else 1.0)
            skewness = np.abs(_skewness(np.asarray(influences))) / math.sqrt(blocks)
            # A standard error of zero shows that nothing has varied yet, not that nothing will.
            if np.all((reached <= target) & (reached > 0) & (skewness <= LARGEST_SKEWNESS)):
                return "half_width"
        if blocks >= self.max_blocks:
            return "max_realizations"
        if self.time_s is not None and seconds >= self.time_s:
            return "wall_time"
        return None


def _skewness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Skewness along the first axis; 0 where nothing varies."""
    centred = values - values.mean(axis=0)
    variance = np.mean(centred**2, axis=0)
    return np.asarray(np.mean(centred**3, axis=0) / np.where(variance > 0, variance, 1.0) ** 1.5)
