"""Scales of precoders that have the transmit power in the mean over realizations."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ris.linear_precoding import allocate
from ris.precoders import LinearPrecoder

__all__ = ["LongTerm"]


@dataclass(frozen=True, eq=False)
class LongTerm:
    """Scales of the columns v_k of a precoder, and what follows from them.

    Attributes
    ----------
    scales : ndarray, shape (K,)
        g_k up to one factor for all: f_k = scales_k v_k (power / total)^(1/2).
    total : float
        sum_k scales_k^2 E|v_k|^2.
    slope : ndarray, shape (K,)
        Derivative of the ergodic rates E log2(1 + SINR_k), bit/s/Hz, by `total`: it is through `total` alone
        that they depend on the normalisation.
    """

    scales: NDArray[np.float64]
    total: float
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
        sizes = column_powers.mean(axis=1)
        mean = np.einsum("kkpn->kp", products) / products.shape[3]
        powers = np.sum(products**2, axis=2)
        scales = np.ones_like(sizes)
        if precoder.allocation != "common":
            with np.errstate(divide="ignore", invalid="ignore"):
                # The hardening bound: what varies of the own signal disturbs as the others do.
                signal = np.sum(mean**2, axis=1) / sizes
                interference = powers.mean(axis=2) / sizes - np.diag(signal)
                shares = allocate(
                    precoder.allocation, signal[:, None], interference[:, :, None], power, noise_power
                )
                scales = np.sqrt(shares[:, 0] / sizes)
        total = float(np.sum(scales**2 * sizes))
        received = np.einsum("kjn,j->kn", powers, scales**2) + noise_power * total / power
        others = received - np.einsum("kkn->kn", powers) * scales[:, None] ** 2
        slope = noise_power / power / math.log(2) * np.mean(1 / received - 1 / others, axis=1)
        return cls(scales, total, slope)
