r"""When a point has enough realizations.

A confidence interval is looked at after b_1 < b_2 < ... blocks, b_1 at least `FIRST_LOOK` and each next one
`GROWTH` times the one before, and the point stops at the first look whose half-width reaches the target. The
half-width is

    h = t_{b-1, (1 + confidence) / 2} * standard error,

with the quantile of Student's law for b - 1 degrees of freedom, b the number of blocks.

To stop where h is small is to choose sets of realizations with a small sample variance. For the fixed-width
rule the coverage still tends to the stated one as the target shrinks (Chow and Robbins, "On the asymptotic theory
of fixed-width sequential confidence intervals for the mean", Annals of Mathematical Statistics 36(2), 1965; for
standardized estimators of simulations Glynn and Whitt, "The asymptotic validity of sequential stopping rules for
stochastic simulations", Annals of Applied Probability 2(1), 1992). At a finite number n of realizations two
effects remain: the chosen variance is too small by a relative O(1/n), and where the metric is skewed, by g, low
estimates come with low variances, which shifts the stopped mean by about -g / sqrt(n) of its standard error. The
quantile of b - 1 degrees, although n - 1 would do for one look at n realizations, widens intervals by 9 % at 16
blocks and 3 % at 50, which more than pays for the first effect; the second stays below a point of coverage while
|g| / sqrt(n) < 0.1, so `min_realizations` of very skewed metrics should be 100 g^2 or more. Instantaneous and
hardening rates have |g| of order one: the default of `FIRST_LOOK` blocks of 1,024 realizations is far beyond that.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import stdtrit

from ris.estimates import Estimate
from studies.options import StopReason

__all__ = ["FIRST_LOOK", "StoppingRule", "critical"]

FIRST_LOOK = 16
"""Fewest blocks that a half-width is trusted after."""

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

    def reason(self, blocks: int, seconds: float, estimate: Estimate | None) -> StopReason | None:
        """Return why to stop after `blocks` blocks, if one should.

        Parameters
        ----------
        blocks : int
            Blocks so far, in their order.
        seconds : float
            Time that they took, added up.
        estimate : Estimate or None
            The metric, given at looks; of a metric with several entries every one must reach the target.
        """
        if (
            estimate is not None
            and self.half_width is not None
            and blocks >= max(self.min_blocks, FIRST_LOOK)
        ):
            reached = critical(self.confidence, blocks) * np.asarray(estimate.standard_error)
            target = self.half_width * (np.abs(estimate.value) if self.relative else 1.0)
            # A standard error of zero shows that nothing has varied yet, not that nothing will.
            if np.all((reached <= target) & (reached > 0)):
                return "half_width"
        if blocks >= self.max_blocks:
            return "max_realizations"
        if self.time_s is not None and seconds >= self.time_s:
            return "wall_time"
        return None
