r"""What no phase shifts can exceed: mean gains, and the rates that follow from them.

Mean gain. That of user k is a sum, with weights >= 0, of means T = r^2 x^H S x + (1 - r^2) tr S over the
surfaces and of their products (see `ris.phases`), and T <= r^2 min(sum |S_mn|, N lambda_max(S))
+ (1 - r^2) tr S for each on its own. Tight where one x suits all S that the user sees.

Rates. With Qbar_k = E h_k h_k^H = sum_p w_kp RB_p, the BS-side covariances of the paths weighted, the mean
gain is C_k = tr Qbar_k. Let kappa be the smallest tr(RB_p RB_q) / (tr RB_p tr RB_q). Then

    E|h_k|^4 - C_k^2 = E tr(Q_k^2) + Var tr Q_k >= tr(Qbar_k^2) >= kappa C_k^2

by Jensen's inequality, Q_k being the covariance given what the users share. Without phase noise moreover

    E|h_k^H h_j|^2 = E tr(Q_k Q_j) >= tr(Qbar_k Qbar_j) >= kappa C_k C_j:

in the moments of `ris.perfect_moments` the traces over a surface then have no spread, so that the products of
traces are those of the means, and what comes on top is not negative. (With phase noise the traces of two
users may be correlated negatively, and the interference is bounded by zero alone.) With the share
p_k = C_k / sum_j C_j and s = noise_power / power the hardening bound log2(1 + SINR_k) of `ris.rates` has

    without phase noise   SINR_k <= p_k / (kappa + s / C_k)
    with phase noise      SINR_k <= p_k / (kappa p_k + s / C_k)

and both rise with C_k and p_k, and the rate is concave in p_k. So upper bounds of the C_k, each user as if
alone, and the best shares bound the sum (by one Lagrange multiplier for sum p_k = 1) and the minimum (all
users at the same SINR). Tight for one user of a single path. With several users it is loose: it grants every
user the phase shifts that suit it best, and with phase noise no interference.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from ris.link import Link
from ris.options import Objective
from ris.phases import MeanGain
from ris.system import DoubleRIS

__all__ = ["RateCeiling", "mean_gain_ceilings", "shared_sum"]

NEGLIGIBLE = 1e-30
"""Users of a smaller share of the largest mean gain count as if they had this share, to divide by."""

BISECTIONS = 100
"""Halvings of the interval of a multiplier or rate: down to rounding."""


def mean_gain_ceilings(system: DoubleRIS) -> NDArray[np.float64]:
    """Return what no phase shifts can make the mean gain of each user exceed, shape (K,), of one system."""
    uniform = np.ones(system.elements1, complex), np.ones(system.elements2, complex)
    with one_blas_thread():
        return np.array([MeanGain(system, user).ceiling(uniform) for user in np.eye(system.users)])


@dataclass(frozen=True, eq=False)
class RateCeiling:
    """Bounds on the hardening bound under perfect CSI, given bounds on mean gains; see the module.

    Attributes
    ----------
    floor : float
        kappa.
    coherent : bool
        Whether no surface has phase noise.
    noise : float
        noise_power / power; infinite without power.
    """

    floor: float
    coherent: bool
    noise: float

    @classmethod
    def of(cls, system: DoubleRIS, *, power: float, noise_power: float) -> "RateCeiling":
        """Take one system, no batch."""
        link = Link(system, np.zeros(system.elements1), np.zeros(system.elements2))
        direct, *others = (np.asarray(side) for side in link.bs_sides)
        sides = [side for side in (*direct, *others) if side.any()]
        traces = np.array([np.trace(side).real for side in sides])
        products = np.array([[np.sum(left * right.T).real for right in sides] for left in sides])
        laws = (system.phase_noise1, system.phase_noise2)
        return cls(
            floor=float(np.min(products / np.outer(traces, traces), initial=1.0)),
            coherent=all(law.moment(1) == 1 for law in laws),
            noise=noise_power / power if power > 0 else np.inf,
        )

    def __call__(self, objective: Objective, gains: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the sum or smallest rate cannot exceed where no user's mean gain exceeds `gains`.

        Parameters
        ----------
        objective : {"sum_rate", "min_rate"}
            Function of the rates.
        gains : ndarray, shape (..., K)
            Bounds on the mean gains.

        Returns
        -------
        ndarray, shape (...), bit/s/Hz
        """
        largest = np.max(gains, axis=-1, keepdims=True)
        if not np.isfinite(self.noise) or not np.any(largest):
            return np.zeros(gains.shape[:-1])
        c = self.noise / np.maximum(gains, NEGLIGIBLE * np.where(largest > 0, largest, 1.0))
        a = 0.0
        if self.coherent:
            c = c + self.floor
        else:
            a = self.floor
        if objective == "min_rate":
            return _common_rate(a, c)
        return shared_sum(a, c)


def shared_sum(a: float, c: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest sum of log2(1 + p / (a p + c)) over shares p of sum 1, for c of shape (..., K).

    The slope c / ((a p + c) ((a + 1) p + c)) equals mu where p is a root of a (a + 1) p^2 + (2 a + 1) c p
    + c^2 - c / mu; at slopes below 1 / c, its value at p = 0, the share is positive.
    """

    def shares(mu: NDArray[Any]) -> NDArray[Any]:
        excess = np.maximum(c / mu - c**2, 0.0)
        linear = (2 * a + 1) * c
        return np.asarray(2 * excess / (linear + np.sqrt(linear**2 + 4 * a * (a + 1) * excess)))

    # Slopes where all shares are 0, and where each is at least 1.
    high = np.max(1 / c, axis=-1, keepdims=True)
    low = np.min(c / ((a + c) * (a + 1 + c)), axis=-1, keepdims=True)
    for _ in range(BISECTIONS):
        mu = np.sqrt(low * high)
        over = np.sum(shares(mu), axis=-1, keepdims=True) > 1
        low, high = np.where(over, mu, low), np.where(over, high, mu)
    p = shares(low)  # of sum >= 1: on the safe side
    return np.asarray(np.sum(np.log2(1 + p / (a * p + c)), axis=-1))


def _common_rate(a: float, c: NDArray[Any]) -> NDArray[np.float64]:
    """Largest log2(1 + t) with shares p = t c / (1 - a t) of sum at most 1."""
    low = np.zeros(c.shape[:-1])
    high = np.min(1 / (a + c), axis=-1)  # where one user alone takes all
    for _ in range(BISECTIONS):
        t = (low + high) / 2
        over = np.sum(t[..., None] * c / (1 - a * t[..., None]), axis=-1) > 1
        low, high = np.where(over, low, t), np.where(over, t, high)
    return np.asarray(np.log2(1 + high))
