r"""What a design maximises, as a function of the users' values: sum or minimum, the minimum also smoothed.

The minimum has kinks. For an ascent it is replaced by

    -s log sum_k exp(-v_k / s),     min v - s log K <= this <= min v,

whose gradient weighs user k by exp(-v_k / s) / sum_j exp(-v_j / s): the more the closer to the minimum.
As s falls from one stage of the ascent to the next the two become one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ris.options import Objective

__all__ = ["Goal"]

STAGES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""Smoothing s of a minimum, stage by stage, as shares of the mean over the users at the stage's start."""


@dataclass(frozen=True)
class Goal:
    """An objective, smoothed or not.

    Parameters
    ----------
    objective : {"sum_rate", "min_rate", "mean_gain"}
        The mean gain counts summed over the users, as the rates do.
    smoothing : float
        s as a share of the users' mean value; 0 for none. A sum ignores it.
    """

    objective: Objective
    smoothing: float = 0.0

    @property
    def stages(self) -> "list[Goal]":
        """The smoothed objectives of an ascent, one after the other."""
        if self.objective != "min_rate":
            return [self]
        return [Goal(self.objective, smoothing) for smoothing in STAGES]

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the objective itself, from values of the users, shape (..., K), shape (...)."""
        return np.asarray(values.min(axis=-1) if self.objective == "min_rate" else values.sum(axis=-1))

    def smooth(
        self, values: NDArray[np.float64], unit: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smoothed objective and the weights of the users in its gradient.

        `unit` is what s is a share of, shape (...): fixed during an ascent.
        """
        if self.objective != "min_rate":
            return self.of(values), np.ones_like(values)
        s = self.smoothing * np.where(unit > 0, unit, 1.0)
        least = values.min(axis=-1)
        weights = np.exp((least[..., None] - values) / s[..., None])
        total = weights.sum(axis=-1)
        return least - s * np.log(total), weights / total[..., None]
