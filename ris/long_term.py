"""Scales of precoders that have the transmit power in the mean over realizations."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ris.linear_precoding import power_scales
from ris.precoders import LinearPrecoder

__all__ = ["LongTerm"]


@dataclass(frozen=True, eq=False)
class LongTerm:
    """Scales of the columns v_k of a precoder, f_k = scales_k v_k, and what depends on them.

    Attributes
    ----------
    scales : ndarray, shape (K,)
        With E sum_k |f_k|^2 = power.
    slope : ndarray, shape (K,)
        How the ergodic rates, bit/s/Hz, change with t = E sum_k |f_k|^2 if all f_k are divided by
        (t / power)^(1/2), at t = power.
    """

    scales: NDArray[np.float64]
    slope: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        precoder: LinearPrecoder,
        products: NDArray[np.float64],
        column_powers: NDArray[np.float64],
        power: float,
        noise_power: float,
    ) -> "LongTerm":
        """Estimate them from realizations.

        Parameters
        ----------
        precoder : LinearPrecoder
            Says how the users share the power.
        products : ndarray, shape (K, K, 2, n)
            h_k^H v_j, real and imaginary part, with the true channels.
        column_powers : ndarray, shape (K, n) or (K, 1)
            |v_k|^2, or their means where they are known.
        power, noise_power : float
            Total transmit power and noise power at a user, > 0.
        """
        powers = np.sum(products**2, axis=2)
        mean = np.einsum("kkpn->kp", products) / products.shape[3]
        squared = power_scales(
            precoder.allocation,
            np.sum(mean**2, axis=1)[:, None],
            powers.mean(axis=2)[:, :, None],
            column_powers.mean(axis=1)[:, None],
            power,
            noise_power,
        )[:, 0]
        with np.errstate(invalid="ignore"):
            received = np.einsum("kjn,j->kn", powers, squared) + noise_power
            others = received - np.einsum("kkn->kn", powers) * squared[:, None]
        slope = noise_power / power / math.log(2) * np.mean(1 / received - 1 / others, axis=1)
        return cls(np.sqrt(squared), slope)
