r"""A factor of a covariance on a planar grid that is a mean of plane waves.

Waves of weights w_p advance in phase by mu_p from row to row and by nu_p from column to column:

    R = sum_p w_p (e(mu_p) e(mu_p)^H) kron (f(nu_p) f(nu_p)^H),

with the vectors of entries e(mu)_i = exp(j mu i) and f(nu)_j = exp(j nu j), i and j the centred numbers of
rows and columns. The phases of an axis count modulo 2 pi and are cut into bands |mu - mu_s| <= h, in each of
which e(mu) = diag(e(mu_s)) e(x), x = mu - mu_s. For |x| <= h the vectors e(x), of n elements, fill little
more than n h / pi dimensions. Interpolated in x at m Chebyshev points x_k, exp(j x i) errs by at most
4 sum_(l >= m) |J_l(z)|, z = h (n - 1) / 2, since its Chebyshev coefficients have modulus 2 |J_l|
(Jacobi-Anger) and interpolation at most doubles what is cut off. The singular vectors B_c of the matrix
cos(x_k i) and B_s of sin(x_k i) are kept until what remains of the matrix is small against the amplification
of errors by interpolation, 1 + 2 / pi log(m + 1). So with B = [B_c, j B_s],

    e(x) = B g(x),    g(x) = [B_c^T cos(x i), B_s^T sin(x i)]    real,

but for a vector of norm `WAVE_ERROR` n^(1/2) for every x in the band. A pair of bands, one of each axis, is a
cell. With C and f(nu) = diag(f(nu_t)) C g'(nu - nu_t) likewise for the columns,

    R = sum_(cells s, t) (E_s kron F_t) G_st (E_s kron F_t)^H,
    E_s = diag(e(mu_s)) B,    F_t = diag(f(nu_t)) C,
    G_st = sum_(p in cell) w_p g_p g_p^T,    g_p = g(mu_p - mu_s) kron g'(nu_p - nu_t),

positive semidefinite by construction, within 4 `WAVE_ERROR` of R in the trace norm relative to the trace.
With real factors Q of the small G, the smallest eigenvalues left out as in `channels.spectral`, F has the
columns (E_s kron F_t) Q_st. Its products are one real product a cell and two rounds of products with the
bases, O(N^(3/2)) in all; nothing of N entries by the rank is ever built.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from channels.scratch import Scratch
from channels.spectral import low_rank_factors, real_blocks

__all__ = ["PlaneWaveFactor", "wave_basis"]

Columns = NDArray[Any]
"""Axes (row, real or imaginary part, column, realization), float64 or float32."""

WAVE_ERROR = 1e-9
"""Largest error of a wave along one axis, Euclidean norms, relative."""

BAND = 12.0
"""About n h / pi of a band. From 8 to 24 the products of 128 by 128 elements cost the same within
20 %; the rank falls by a third and the time to set up grows threefold."""


def wave_basis(elements: int, half: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return orthonormal bases B_c of cos(x i) and B_s of sin(x i), |x| <= half: shapes (n, m_c), (n, m_s).

    i runs over the centred numbers of the elements. Every vector exp(j x i) is within `WAVE_ERROR` n^(1/2) of
    its projection.
    """
    position = np.arange(elements // 2, elements) - (elements - 1) / 2
    z = half * position[-1]
    orders = np.arange(int(z + 20 * np.cbrt(z) + 60))
    tails = 4 * np.cumsum(np.abs(scipy.special.jv(orders, z))[::-1])[::-1]
    nodes = max(1, int(np.argmax(tails <= WAVE_ERROR / 2)))
    points = half * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    allowed = WAVE_ERROR / 2 / (1 + 2 / np.pi * np.log(nodes + 1)) * math.sqrt(elements / 2)
    # An even or odd vector is known from the elements at i >= 0, where those at i > 0 count twice.
    twice = np.where(position > 0, math.sqrt(2), 1.0)[:, None]
    bases = []
    for function, sign in ((np.cos, 1.0), (np.sin, -1.0)):
        with one_blas_thread():
            U, values, _ = np.linalg.svd(function(np.outer(position, points)) * twice, full_matrices=False)
        remaining = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1])
        upper = U[:, : np.count_nonzero(remaining > allowed)] / twice
        if sign < 0:
            upper[position == 0] = 0.0  # as the sine is, but for rounding
        bases.append(np.concatenate([sign * upper[elements % 2 :][::-1], upper]))
    return bases[0], bases[1]


class _Bands:
    """The phases along one axis, cut into bands.

    Attributes
    ----------
    count : int
        Number of bands.
    of : ndarray, shape (P,)
        Band of each wave.
    width : int
        Columns of a band's basis.
    waves : ndarray, shape (elements, count * width)
        E_s of all bands.
    """

    def __init__(self, elements: int, phases: NDArray[np.float64]) -> None:
        self._position = np.arange(elements) - (elements - 1) / 2
        first = float(phases.min())
        extent = min(float(phases.max()) - first, 2 * math.pi)
        self.count = max(1, round(extent * elements / (2 * math.pi * BAND)))
        half = extent / (2 * self.count)
        beyond = (phases - first) % (2 * math.pi)
        self.of = np.searchsorted(2 * half * np.arange(1, self.count), beyond)
        centres = first + (2 * np.arange(self.count) + 1) * half
        self._offsets = first + beyond - centres[self.of]
        self._even, self._odd = wave_basis(elements, half)
        basis = np.hstack([self._even, 1j * self._odd])
        self.width = basis.shape[1]
        carriers = np.exp(1j * np.outer(self._position, centres))
        self.waves = (carriers[:, :, None] * basis[:, None]).reshape(elements, -1)

    def coordinates(self, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return g of the chosen waves, each in its own band, shape (chosen, width)."""
        angle = np.outer(self._offsets[chosen], self._position)
        return np.hstack([np.cos(angle) @ self._even, np.sin(angle) @ self._odd])


class PlaneWaveFactor:
    """The factor of the module's text; attributes and methods as of `channels.factors.Factor`.

    Parameters
    ----------
    grid : pair of int
        Numbers of rows and columns.
    phases : ndarray, shape (P, 2)
        From row to row and from column to column, radians.
    weights : ndarray, shape (P,)
        Positive.
    dtype : type
        Of the columns that it meets.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        phases: NDArray[np.float64],
        weights: NDArray[np.float64],
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        self.size, self._grid = grid[0] * grid[1], grid
        by_rows, by_columns = (_Bands(n, phases[:, axis]) for axis, n in enumerate(grid))
        cell = by_rows.of * by_columns.count + by_columns.of
        order = np.argsort(cell, kind="stable")
        present, starts = np.unique(cell[order], return_index=True)
        members = np.split(order, starts[1:])
        with one_blas_thread():
            grams = [_gram(by_rows.coordinates(p), by_columns.coordinates(p), weights[p]) for p in members]
        self._cores = [Q.astype(dtype) for Q in low_rank_factors(grams)]
        self._numbers = np.cumsum([0, *(Q.shape[1] for Q in self._cores)]).tolist()
        self.rank = self._numbers[-1]
        (m1, M1), (m2, M2) = ((bands.width, bands.waves.shape[1]) for bands in (by_rows, by_columns))
        self._cell, self._inner = (m1, m2), (M1, 2, M2)
        self._full = len(present) * m1 * m2 == M1 * M2
        starts1, starts2 = np.divmod(present, by_columns.count)
        self._places = [
            (slice(s * m1, (s + 1) * m1), slice(None), slice(t * m2, (t + 1) * m2))
            for s, t in zip(starts1.tolist(), starts2.tolist(), strict=True)
        ]
        # Rows in the order (element, part); columns in the order of the inner axes: (basis vector, part) and
        # (part, basis vector).
        E, F = (real_blocks(bands.waves).astype(dtype) for bands in (by_rows, by_columns))
        self._rows = E.transpose(2, 0, 3, 1).reshape(2 * grid[0], -1)
        self._columns = F.transpose(2, 0, 1, 3).reshape(2 * grid[1], -1)
        self.multiplications = (
            sum(Q.size for Q in self._cores) + (self._rows.size * M2 + self._columns.size * grid[0]) // 2
        )

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        X, width = numbers.reshape(self.rank, -1), numbers[0, 0].size
        inner = scratch.array("cells", (*self._inner, width))
        if not self._full:
            inner[:] = 0.0
        cell = scratch.array("cell", (*self._cell, 2, width))
        for place, Q, (start, stop) in zip(self._places, self._cores, pairwise(self._numbers), strict=True):
            np.matmul(Q, X[start:stop], out=cell.reshape(len(Q), -1))
            inner[place] = cell.swapaxes(1, 2)
        rows, columns = self._grid
        half = scratch.array("rows", (rows, self._columns.shape[1], width))
        np.matmul(self._rows, inner.reshape(self._rows.shape[1], -1), out=half.reshape(2 * rows, -1))
        np.matmul(self._columns, half, out=out.reshape(rows, 2 * columns, width))

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        product, width = out.reshape(self.rank, -1), out[0, 0].size
        rows, length = self._grid
        half = scratch.array("rows", (rows, self._columns.shape[1], width))
        np.matmul(self._columns.T, columns.reshape(rows, 2 * length, width), out=half)
        inner = scratch.array("cells", (*self._inner, width))
        np.matmul(self._rows.T, half.reshape(2 * rows, -1), out=inner.reshape(self._rows.shape[1], -1))
        cell = scratch.array("cell", (*self._cell, 2, width))
        for place, Q, (start, stop) in zip(self._places, self._cores, pairwise(self._numbers), strict=True):
            cell.swapaxes(1, 2)[:] = inner[place]
            np.matmul(Q.T, cell.reshape(len(Q), -1), out=product[start:stop])


def _gram(
    by_rows: NDArray[np.float64], by_columns: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """G of one cell, for the coordinates of its waves along both axes."""
    g = by_rows[:, :, None] * (np.sqrt(weights)[:, None] * by_columns)[:, None]
    g = g.reshape(len(weights), -1)
    gram: NDArray[np.float64] = g.T @ g
    return gram
