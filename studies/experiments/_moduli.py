"""Moduli of correlated Gaussian numbers: what the sum of amplitudes over a surface is on average."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import hyp2f1

__all__ = ["mean_product"]


def mean_product(correlation: ArrayLike) -> NDArray[np.float64]:
    """Return E |x| |y| of jointly circular complex Gaussian x and y with E|x|^2 = E|y|^2 = 1.

    (pi / 4) 2F1(-1/2, -1/2; 1; |rho|^2) with rho = E x conj(y): pi / 4 if independent, 1 if equal. Miller,
    "Complex stochastic processes", 1974, section 2.4.
    """
    return np.asarray(np.pi / 4 * hyp2f1(-0.5, -0.5, 1.0, np.minimum(np.abs(correlation) ** 2, 1.0)))
