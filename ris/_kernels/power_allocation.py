"""How much power each user gets, realization by realization.

User k has the SINR signal_k p_k / (sum_j interference_kj p_j + noise_power) if user j gets the power p_j.
"""

import numpy as np
from numba import njit

__all__ = ["max_min_powers", "water_filling_powers"]

TOLERANCE = 1e-12
"""Relative gap of the largest and the smallest SINR at which they count as equal."""

ITERATIONS = 100
"""Most iterations for that; the gap is squared by each, so that half a dozen are enough."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def max_min_powers(powers, signal, interference, power, noise_power):
    """Write the powers of sum `power` that make the smallest SINR as large as it can be.

    There all SINRs are equal (Schubert and Boche, "Solution of the multiuser downlink beamforming problem
    with individual SINR constraints", IEEE Trans. Veh. Technol. 53(1), 2004). As powers add up to `power`,
    1 / SINR_k = (A p)_k / p_k with A_kj = (interference_kj + noise_power / power) / signal_k: p is the Perron
    vector of the positive matrix A, and the SINR one over its largest eigenvalue. Noda's iteration finds both
    ("Note on the computation of the maximal eigenvalue of a non-negative irreducible matrix", Numer. Math.
    17, 1971): x is replaced by (u I - A)^(-1) x with u the largest (A x)_k / x_k. The smallest and the
    largest ratio enclose the eigenvalue and converge quadratically; no number turns negative, so the
    elimination needs no pivoting.

    Parameters
    ----------
    powers : float64 array, shape (K, B)
        Overwritten; NaN where a user has no signal, as no powers then make its SINR positive.
    signal : float64 array, shape (K, B)
        Own gain of each user.
    interference : float64 array, shape (K, K, B)
        Gain from the power of user j (column) to user k (row); the diagonal may count too.
    power, noise_power : float
        Above zero.
    """
    K, B = powers.shape
    A, rest, x, y = np.empty((K, K)), np.empty((K, K)), np.empty(K), np.empty(K)
    for t in range(B):
        for k in range(K):
            x[k] = 1.0
            for j in range(K):
                A[k, j] = (interference[k, j, t] + noise_power / power) / signal[k, t]
        for _ in range(ITERATIONS):
            low, high = np.inf, 0.0
            for k in range(K):
                y[k] = 0.0
                for j in range(K):
                    y[k] += A[k, j] * x[j]
                low, high = min(low, y[k] / x[k]), max(high, y[k] / x[k])
            if not (low > 0.0 and high < np.inf and high - low > TOLERANCE * high):
                break
            for k in range(K):
                for j in range(K):
                    rest[k, j] = -A[k, j]
                rest[k, k] += high
            _solve(rest, x, 1e-16 * high)
            total = 0.0
            for k in range(K):
                total += x[k]
            for k in range(K):
                x[k] /= total
        total = 0.0
        for k in range(K):
            total += x[k]
        for k in range(K):
            powers[k, t] = power * x[k] / total if high < np.inf else np.nan


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def water_filling_powers(powers, signal, power, noise_power):
    """Write the powers of sum `power` that maximise the sum of log(1 + signal_k p_k / noise_power).

    p_k = max(0, level - floor_k), floor_k = noise_power / signal_k. With users in the order of their floors,
    the level that the first n of them share is (power + the sum of their floors) / n, for the largest n that
    leaves the last of them a power above zero. Levels and floors are counted from the lowest floor.

    Parameters
    ----------
    powers : float64 array, shape (K, B)
        Overwritten; NaN where no user has a signal.
    signal : float64 array, shape (K, B)
        Own gain of each user.
    power, noise_power : float
        Above zero.
    """
    K, B = powers.shape
    floors = np.empty(K)
    for t in range(B):
        lowest = np.inf
        for k in range(K):
            lowest = min(lowest, noise_power / signal[k, t])
        for k in range(K):  # insertion sort
            floor, place = noise_power / signal[k, t] - lowest, k
            while place > 0 and floors[place - 1] > floor:
                floors[place] = floors[place - 1]
                place -= 1
            floors[place] = floor
        level, filled = np.nan, 0.0
        for n in range(K):
            filled += floors[n]
            if not power + filled > (n + 1) * floors[n]:
                break
            level = (power + filled) / (n + 1)
        for k in range(K):
            floor = noise_power / signal[k, t] - lowest
            powers[k, t] = 0.0 if floor >= level else level - floor


@njit(cache=True, error_model="numpy", fastmath=False)
def _solve(matrix, x, smallest):
    # x becomes matrix^(-1) x, for a nonsingular M-matrix: off its diagonal no entry is positive.
    K = len(x)
    for d in range(K):
        pivot = max(matrix[d, d], smallest)  # rounding may leave none near the solution
        for k in range(d + 1, K):
            factor = matrix[k, d] / pivot
            for j in range(d + 1, K):
                matrix[k, j] -= factor * matrix[d, j]
            x[k] -= factor * x[d]
        matrix[d, d] = pivot
    for d in range(K - 1, -1, -1):
        for j in range(d + 1, K):
            x[d] -= matrix[d, j] * x[j]
        x[d] /= matrix[d, d]
