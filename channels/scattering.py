"""Scattering as a mean of plane waves: over Gaussian angles around a direction, or over a circle."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from channels.arrays import UniformArray, direction
from channels.blas import one_blas_thread
from channels.options import ScatteringMethod

__all__ = ["GridWaves", "LocalScattering", "PlaneScattering", "circle_nodes", "line_nodes"]

REACH = 8.5
"""Standard deviations that nodes on a line cover: a normal angle is beyond them with probability 2e-17."""

CIRCLE_REACH = 7.5
"""Standard deviations that nodes on the circle cover: see `circle_nodes`."""

NEGLIGIBLE = 1e-10
"""Sum of the weights of the waves that `GridWaves.waves` leaves out, at most."""


@dataclass(frozen=True, eq=False)
class LocalScattering:
    """The law of `channels.local_scattering_correlation`, whose arguments these are.

    Parameters
    ----------
    azimuth, elevation : ndarray, shape (...)
        Mean directions, radians.
    spreads : pair of float
        Standard deviations of azimuth and elevation, radians.
    method : {"quadrature", "small_angle"}
        Whether waves travel along the direction of their angles or along its expansion to first order.
    """

    azimuth: NDArray[np.float64]
    elevation: NDArray[np.float64]
    spreads: tuple[float, float]
    method: ScatteringMethod

    def mean_wave(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return E exp(j 2 pi (x_i + y_j) . u), shape (..., I, J).

        Parameters
        ----------
        left, right : array, shape (I, 3) and (J, 3)
            x and y in wavelengths.
        """
        return (self._closed_form if self.method == "small_angle" else self._quadrature)(left, right)

    def lag_table(self, array: UniformArray) -> NDArray[np.complex128]:
        """Return the mean wave along lags (i, j) of a grid, i of 0 to rows - 1, j of both signs.

        Shape (..., rows, 2 columns - 1).
        """
        rows, columns = array.grid
        row_lags = np.arange(rows)[:, None] * array.steps[0]
        column_lags = np.arange(1 - columns, columns)[:, None] * array.steps[1]
        if self.method == "small_angle":
            return self._closed_form(row_lags, column_lags)
        return self._by_powers(array, float(cdist(row_lags, -column_lags).max()))

    def directions(self, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return u, shape (P, 3), and weights, (P,), for a mean over waves along `reach` wavelengths.

        Around a single direction. The vectors u of small angles are of any length.
        """
        nodes = line_nodes if self.method == "small_angle" else circle_nodes
        (deltas, by_azimuth), (epsilons, by_elevation) = (nodes(spread, reach) for spread in self.spreads)
        weights = np.outer(by_elevation, by_azimuth)
        kept = weights > NEGLIGIBLE / weights.size
        i, j = np.nonzero(kept)
        if self.method == "small_angle":
            by_angles = deltas[j, None] * self._derivatives()[0] + epsilons[i, None] * self._derivatives()[1]
            return direction(self.azimuth, self.elevation) + by_angles, weights[kept]
        return direction(self.azimuth + deltas[j], self.elevation + epsilons[i]), weights[kept]

    def _closed_form(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.complex128]:
        exponent: Any = 2j * np.pi * _along(left, right, direction(self.azimuth, self.elevation))
        for derivative, spread in zip(self._derivatives(), self.spreads, strict=True):
            exponent = exponent - 0.5 * (2 * np.pi * spread * _along(left, right, derivative)) ** 2
        mean: NDArray[np.complex128] = np.exp(exponent)
        return mean

    def _derivatives(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the direction by azimuth and by elevation, shape (..., 3)."""
        az, el = self.azimuth, self.elevation
        by_azimuth = np.stack(
            [-np.cos(el) * np.sin(az), np.cos(el) * np.cos(az), np.zeros(az.shape)], axis=-1
        )
        by_elevation = np.stack([-np.sin(el) * np.cos(az), -np.sin(el) * np.sin(az), np.cos(el)], axis=-1)
        return by_azimuth, by_elevation

    def _quadrature(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.complex128]:
        # The wave splits into a function of x_i and one of y_j, so that the sum over the nodes is a matrix
        # product; with y = -x it is a sum of outer products, semidefinite whatever the nodes.
        reach = float(cdist(left, -right).max())
        deltas, delta_weights = circle_nodes(self.spreads[0], reach)
        epsilons, epsilon_weights = circle_nodes(self.spreads[1], reach)
        mean = np.zeros((*self.azimuth.shape, len(left), len(right)), np.complex128)
        with one_blas_thread():
            for epsilon, weight in zip(epsilons, epsilon_weights, strict=True):
                u = direction(self.azimuth[..., None] + deltas, self.elevation[..., None] + epsilon)
                from_left = np.exp(2j * np.pi * (left @ u.mT))
                from_right = np.exp(2j * np.pi * (u @ right.T))
                mean += (weight * delta_weights * from_left) @ from_right
        return mean

    def _by_powers(self, array: UniformArray, reach: float) -> NDArray[np.complex128]:
        # The quadrature with waves along lags as powers of those along one step: few exponentials. Phases
        # p . u split into a part of each angle: cos el (x cos az + y sin az) + z sin el.
        deltas, delta_weights = circle_nodes(self.spreads[0], reach)
        epsilons, epsilon_weights = circle_nodes(self.spreads[1], reach)
        turned = self.azimuth[..., None] + deltas
        level = 2 * np.pi * (np.stack([np.cos(turned), np.sin(turned)], axis=-1) @ array.steps[:, :2].T)
        upright = 2 * np.pi * array.steps[:, 2]
        mean: Any = 0.0
        with one_blas_thread():
            for epsilon, weight in zip(epsilons, epsilon_weights, strict=True):
                raised = self.elevation[..., None, None] + epsilon
                wave = np.exp(1j * (np.cos(raised) * level + np.sin(raised) * upright))
                rows, columns = (_powers(wave[..., axis], count) for axis, count in enumerate(array.grid))
                both = np.concatenate([columns[..., :0:-1].conj(), columns], axis=-1)
                mean = mean + (weight * delta_weights[:, None] * rows).mT @ both
        table: NDArray[np.complex128] = mean
        return table


@dataclass(frozen=True, eq=False)
class PlaneScattering:
    """Scattering that is equally strong from all directions in one plane, of unit normal `normal`."""

    normal: NDArray[np.float64]

    def directions(self, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return u and weights as `LocalScattering.directions` does, of equal weights.

        With P of them, the mean of exp(j z cos(t - t0)), |z| <= 2 pi reach, errs by 2 sum_k |J_(k P)(z)|.
        """
        count = _orders(reach)
        turn = 2 * np.pi * np.arange(count) / count
        across = np.linalg.svd(self.normal[None])[2][1:]
        return np.stack([np.cos(turn), np.sin(turn)], axis=-1) @ across, np.full(count, 1 / count)


@dataclass(frozen=True, eq=False)
class GridWaves:
    """Scattering as the elements of a uniform array see it: waves made when they are asked for."""

    scattering: LocalScattering | PlaneScattering
    array: UniformArray

    def __getitem__(self, index: int) -> "GridWaves":
        law = self.scattering
        if isinstance(law, PlaneScattering):
            return self
        one = replace(law, azimuth=law.azimuth[index], elevation=law.elevation[index])
        return replace(self, scattering=one)

    def waves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return plane waves whose weighted mean is the covariance around a single direction.

        Returns
        -------
        phases : ndarray, shape (P, 2)
            From row to row and from column to column, radians.
        weights : ndarray, shape (P,)
            Positive, of sum one but for 1e-10 left out.
        """
        reach = float(np.linalg.norm(self.array.positions[-1] - self.array.positions[0]))
        vectors, weights = self.scattering.directions(reach)
        return 2 * np.pi * (vectors @ self.array.steps.T), weights


def circle_nodes(spread: float, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights for the mean over a normal angle of a plane wave along `reach` wavelengths.

    The trapezoidal rule with a step 2 pi / P that divides the circle, P the smallest with an error below
    1e-13 up to reach = 100. Along either angle t the wave is exp(j z cos(t - t0)), |z| <= Z = 2 pi reach,
    with Fourier coefficients of modulus |J_m(z)| (Jacobi-Anger). The rule replaces the exact mean
    f(m) = exp(-m^2 s^2 / 2) of exp(j m t) by the sum of f(m + k P) over all integer k, so that its error is
    at most the sum over m and k != 0 of |J_m(z)| f(m + k P), where

        |J_m(z)| <= 1,    |J_m(z)| <= 0.6749 |m|^(-1/3),    |J_m(z)| <= J_m(Z) for |m| >= Z;

    orders |m| > Z + 12 Z^(1/3) + 15 carry less than 1e-14 in all, and k = 1 and -1 nearly everything of
    the sum over k, since J_m(Z) has vanished before |m| reaches 2 P. (The second bound: Landau, "Bessel
    functions: monotonicity and bounds", J. London Math. Soc. 61(1), 2000.) Nodes beyond 7.5 standard
    deviations, which weigh less than 7e-14 together, are left out. Nodes that meet on the circle are
    merged; beyond s = 9 the angle is uniform on it to rounding, exp(-s^2 / 2) < 3e-18.
    """
    if spread < np.finfo(float).eps:
        return np.zeros(1), np.ones(1)
    spread = min(spread, 9.0)
    circle = _circle_count(spread, reach)
    index, weights = _trapezoid(spread, circle, CIRCLE_REACH)
    if len(index) > circle:
        weights = np.asarray(np.bincount(index % circle, weights, minlength=circle), np.float64)
        index = np.arange(circle, dtype=np.intp)
    return np.asarray(index * (2 * math.pi / circle)), weights / weights.sum()


def line_nodes(spread: float, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights for the mean over a normal t of exp(j z t), |z| <= 2 pi reach.

    The trapezoidal rule: a step of 2 pi / P replaces the exact mean exp(-z^2 s^2 / 2) by its sum over
    z + k P, k integer, and P = 2 pi reach + 8.5 / s leaves 2 exp(-8.5^2 / 2) = 4e-16.
    """
    if spread < np.finfo(float).eps:
        return np.zeros(1), np.ones(1)
    density = 2 * math.pi * reach + REACH / spread
    index, weights = _trapezoid(spread, density, REACH)
    return np.asarray(index * (2 * math.pi / density)), weights / weights.sum()


def _orders(reach: float) -> int:
    """M beyond which a wave along a circle has negligible Fourier coefficients, as in `circle_nodes`."""
    wavenumber = 2 * math.pi * reach
    return math.ceil(wavenumber + 12 * math.cbrt(wavenumber) + 15)


def _circle_count(spread: float, reach: float) -> int:
    """P of `circle_nodes`, by bisection."""
    wavenumber, count = 2 * math.pi * reach, _orders(reach)
    m = np.arange(count)
    largest = np.minimum(1.0, 0.6749 * np.maximum(m, 0.3) ** (-1 / 3))
    beyond = m >= wavenumber
    largest[beyond] = np.minimum(largest[beyond], scipy.special.jv(m[beyond], wavenumber))

    def error(circle: int) -> float:
        aliases = (np.exp(-0.5 * ((m + k * circle) * spread) ** 2) for k in (-1, 1))
        return float(2 * largest @ sum(aliases))

    low, high = math.floor(wavenumber), count + math.ceil(REACH / spread)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= 1e-13 else (middle, high)
    return high


def _powers(steps: NDArray[np.complex128], count: int) -> NDArray[np.complex128]:
    """Waves along 0 to count - 1 steps, shape (..., count)."""
    powers = np.empty((*steps.shape, count), np.complex128)
    powers[..., 0] = 1
    for n in range(1, count):
        np.multiply(powers[..., n - 1], steps, out=powers[..., n])
    return powers


def _trapezoid(
    spread: float, density: float, deviations: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Multiples of the step 2 pi / density within so many deviations, and weights up to a factor."""
    last = math.ceil(deviations * spread * density / (2 * math.pi))
    index = np.arange(-last, last + 1)
    return index, np.exp(-0.5 * (index * (2 * math.pi / density / spread)) ** 2)


def _along(
    left: NDArray[np.float64], right: NDArray[np.float64], vector: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(x_i + y_j) . vector, shape (..., I, J)."""
    along: NDArray[np.float64] = (vector @ left.T)[..., :, None] + (vector @ right.T)[..., None, :]
    return along
