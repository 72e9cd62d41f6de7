r"""A factor of the isotropic covariance of a planar grid that is a sum of Kronecker products.

With the elements' displacement x along the rows' axis and y along the columns', and the directions' cosine s
to the first axis uniform on [-1, 1],

    sinc(2 (x^2 + y^2)^(1/2)) = 1/2 int_(-1)^1 exp(j 2 pi x s) J0(2 pi y (1 - s^2)^(1/2)) ds,

the mean of a plane wave over the sphere, taken over the azimuth around that axis first (Clarke's J0). The
expansion of a plane wave of wavenumber 2 pi in spherical waves, its mean over the azimuth taken, is

    f(s) = sum_l (2 l + 1) j^l j_l(2 pi d) P_l(x / d) P_l(s),    d = (x^2 + y^2)^(1/2),

so that Gauss-Legendre quadrature with n nodes, exact for degrees below 2 n, with positive weights of sum two,
errs by at most sum_(l >= 2 n) (2 l + 1) |j_l(2 pi d)| in the mean. The smallest even n that keeps this below
1e-9 is taken. With w_t the weights of the nodes s_t > 0, of sum one, and the pair +-s_t giving a cosine,

    R = sum_t w_t (c_t c_t^T + s_t s_t^T) kron J_t + (entries below 1e-9)

where c_t and s_t are cosine and sine of 2 pi s_t times the centred row positions, and J_t is the Toeplitz
matrix of J0(2 pi (1 - s_t^2)^(1/2) |y|): positive semidefinite by construction, with an exact diagonal. J_t
has a factor Q_t of even and odd eigenvectors, the smallest left out as in `channels.spectral`, so that

    F = [..., w_t^(1/2) c_t kron Q_t, w_t^(1/2) s_t kron Q_t, ...].

Its products are two rounds of small matrix products, O(N^(3/2)) in all and half of them spared by parity;
nothing larger than N^(1/2) by N^(1/2) is ever built. Measured at 128 by 128 elements they take 1 ms for four
users, where block-circulant embedding would take 5 ms in FFTs alone (65,536 points), and would not be
nonnegative: the density of the wavenumbers ends in a pole.
"""

from itertools import accumulate, pairwise, repeat
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
from numpy.typing import NDArray

from channels._kernels.parity import fold, unfold
from channels.blocks import BlockMatrix
from channels.scratch import Scratch
from channels.spectral import block_factors

__all__ = ["IsotropicFactor", "azimuthal_quadrature"]

Columns = NDArray[Any]
"""Axes (row, real or imaginary part, column, realization), float64 or float32."""

QUADRATURE_ERROR = 1e-9
"""Largest error of an entry of the covariance, whose diagonal is one."""


def azimuthal_quadrature(reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positive nodes s_t and weights w_t, of sum one, for distances up to `reach` wavelengths."""
    z = 2 * np.pi * reach
    orders = np.arange(int(z + 20 * np.cbrt(z) + 60))
    waves = (2 * orders + 1) * np.abs(scipy.special.spherical_jn(orders, z))
    # For l > z, |j_l| grows with the distance, so that the largest one bounds them all.
    tails = np.cumsum(waves[::-1])[::-1]
    degree = max(int(np.argmax(tails <= QUADRATURE_ERROR)), int(z) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(2 * -(-degree // 4))
    return nodes[nodes > 0], weights[nodes > 0]


class IsotropicFactor:
    """The factor of the module's text; attributes and methods as of `channels.factors.Factor`.

    Parameters
    ----------
    grid : pair of int
        Numbers of rows and columns, at least two each.
    spacing : pair of float
        Distance of neighbouring rows and of neighbouring columns in wavelengths; the axes are orthogonal.
    dtype : type
        Of the columns that it meets.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        spacing: tuple[float, float],
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        (self._rows, columns), (row_step, column_step) = grid, spacing
        self.size = self._rows * columns
        nodes, weights = azimuthal_quadrature(
            float(np.hypot((self._rows - 1) * row_step, (columns - 1) * column_step))
        )
        phase = 2 * np.pi * column_step * np.outer(np.arange(columns) - (columns - 1) / 2, nodes)
        waves = np.empty_like(phase)
        # In the basis of even and odd parts, of which a cosine has the first and a sine the second alone.
        fold(waves, np.cos(phase), 1)
        even_columns = waves[: columns - columns // 2].copy()
        fold(waves, np.sin(phase), 1)
        by_columns = [even_columns, waves[columns - columns // 2 :]]
        lags = row_step * np.arange(self._rows)
        blocks = []
        for node, weight in zip(nodes, weights, strict=True):
            J = scipy.linalg.toeplitz(weight * scipy.special.j0(2 * np.pi * np.sqrt(1 - node**2) * lags))
            blocks.append(_parity_blocks(J))
        made = block_factors([block for pair in blocks for block in pair])
        by_rows = [made[0::2], made[1::2]]  # even and odd rows, one factor a node
        self._parts = [_Part(factors, waves, dtype) for factors in by_rows for waves in by_columns]
        self.rank = sum(part.rank for part in self._parts)
        self.multiplications = sum(part.multiplications for part in self._parts)

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        product = out.reshape(self.size, -1)
        X, parts = numbers.reshape(self.rank, -1), scratch.array("parts", product.shape)
        place, number = 0, 0
        for part in self._parts:
            part.times(parts[place : place + part.size], X[number : number + part.rank], scratch)
            place, number = place + part.size, number + part.rank
        unfold(product, parts, self._rows)

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        V, product = columns.reshape(self.size, -1), out.reshape(self.rank, -1)
        parts = scratch.array("parts", V.shape)
        fold(parts, V, self._rows)
        place, number = 0, 0
        for part in self._parts:
            part.adjoint_times(
                product[number : number + part.rank], parts[place : place + part.size], scratch
            )
            place, number = place + part.size, number + part.rank


class _Part:
    """The block [..., w_t^(1/2) Q_t kron c_t, ...] of one parity, as one product after the other.

    What lies between them has a row for each row of the grid and node, (row, node): so that the waves meet
    neighbouring rows. With all rows of a node side by side, those that they meet would fall into one place
    of the cache.
    """

    def __init__(
        self, factors: list[NDArray[np.float64]], waves: NDArray[np.float64], dtype: type[np.floating[Any]]
    ) -> None:
        (columns, nodes), rows = waves.shape, len(factors[0])
        self.size, self.rank = rows * columns, sum(Q.shape[1] for Q in factors)
        self.multiplications = sum(Q.size for Q in factors) + waves.size * rows
        self._between = rows * nodes
        by_node = [range(t, self._between, nodes) for t in range(nodes)]
        by_row = [range(i * nodes, (i + 1) * nodes) for i in range(rows)]
        elements = [range(i * columns, (i + 1) * columns) for i in range(rows)]
        ends = pairwise(accumulate((Q.shape[1] for Q in factors), initial=0))
        numbers = [range(*pair) for pair in ends]
        self._factors = BlockMatrix(factors, list(zip(range(nodes), by_node, numbers, strict=True)), dtype)
        self._factors_adjoint = BlockMatrix(
            [Q.T for Q in factors], list(zip(range(nodes), numbers, by_node, strict=True)), dtype
        )
        self._waves = BlockMatrix([waves], list(zip(repeat(0, rows), elements, by_row, strict=True)), dtype)
        self._waves_adjoint = BlockMatrix(
            [waves.T], list(zip(repeat(0, rows), by_row, elements, strict=True)), dtype
        )

    def times(self, out: NDArray[Any], numbers: NDArray[Any], scratch: Scratch) -> None:
        inner = scratch.array("azimuthal", (self._between, numbers.shape[1]))
        self._factors.times(inner, numbers)
        self._waves.times(out, inner)

    def adjoint_times(self, out: NDArray[Any], columns: NDArray[Any], scratch: Scratch) -> None:
        inner = scratch.array("azimuthal", (self._between, columns.shape[1]))
        self._waves_adjoint.times(inner, columns)
        self._factors_adjoint.times(out, inner)


def _parity_blocks(J: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The blocks of even and of odd parts of a symmetric Toeplitz matrix."""
    half, folded = np.empty_like(J), np.empty_like(J)
    fold(half, J, 1)
    fold(folded, np.ascontiguousarray(half.T), 1)
    even = len(J) - len(J) // 2
    return [folded[:even, :even], folded[even:, even:]]
