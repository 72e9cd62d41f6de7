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
nothing larger than N^(1/2) by N^(1/2) is ever built. The first round goes from numbers to amplitudes node by
node, the second from amplitudes to elements row by row: so that of F, what reflects, and F^H one after the
other, only the amplitudes are ever held for the whole grid. Measured at 128 by 128 elements they take 1 ms
for four users, where block-circulant embedding would take 5 ms in FFTs alone (65,536 points), and would not
be nonnegative: the density of the wavenumbers ends in a pole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.special
from numpy.typing import NDArray

from channels._kernels.parity import fold, unfold
from channels.blocks import BlockMatrix, Place, Stacked, stacked
from channels.scratch import Scratch
from channels.spectral import block_factors

__all__ = ["IsotropicFactor", "Walk", "azimuthal_quadrature"]

Columns = NDArray[Any]
"""Axes (row, real or imaginary part, column, realization), float64 or float32."""

QUADRATURE_ERROR = 1e-9
"""Largest error of an entry of the covariance, whose diagonal is one."""

PIECE, STRIP = 256, 256
"""Numbers, and elements, worked through at a time: half a megabyte of columns for four users and 32
realizations. Half and twice as many are as fast."""


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


class Walk(NamedTuple):
    """Tables for a walk over the numbers piece by piece, the grid strip by strip, and back.

    Attributes
    ----------
    pieces : int64 array, shape (pieces, 2)
        First number of each piece, and the one behind its last.
    strips : int64 array, shape (strips, 7)
        Of each strip: rows, its first row of the amplitudes, number of its matrix, and first element and the
        one behind the last of its upper and of its lower half.
    forward, adjoint : Stacked
        By piece, from numbers to the amplitudes and back.
    join, split : Stacked
        By number, from amplitudes to parts of elements and back.
    """

    pieces: NDArray[np.int64]
    strips: NDArray[np.int64]
    forward: Stacked
    adjoint: Stacked
    join: Stacked
    split: Stacked


class IsotropicFactor:
    """The factor of the module's text; attributes and methods as of `channels.factors.Factor`.

    Between the two rounds of products lie amplitudes, a row for each row of the upper half of the grid, part
    and node, in this order: so the waves meet neighbouring rows. The parts are those of `fold`. Each row of
    the grid has one row of the array more than it needs: with an even distance, those that a node meets would
    fall into few places of the cache.

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
        (rows, columns), (row_step, column_step) = grid, spacing
        nodes, weights = azimuthal_quadrature(
            float(np.hypot((rows - 1) * row_step, (columns - 1) * column_step))
        )
        phase = 2 * np.pi * column_step * np.outer(np.arange(columns) - (columns - 1) / 2, nodes)
        waves = np.empty_like(phase)
        # In the basis of even and odd parts, of which a cosine has the first and a sine the second alone.
        fold(waves, np.cos(phase), 1)
        even_columns = waves[: columns - columns // 2].copy()
        fold(waves, np.sin(phase), 1)
        by_columns = [even_columns, waves[columns - columns // 2 :]]
        lags = row_step * np.arange(rows)
        blocks = []
        for node, weight in zip(nodes, weights, strict=True):
            J = scipy.linalg.toeplitz(weight * scipy.special.j0(2 * np.pi * np.sqrt(1 - node**2) * lags))
            blocks.append(_parity_blocks(J))
        made = block_factors([block for pair in blocks for block in pair])
        by_rows = [made[0::2], made[1::2]]  # even and odd rows, one factor a node
        self._pieces = _pieces(by_rows, dtype)
        self._strips = _strips(grid, by_columns, dtype)
        self._amplitudes = (rows - rows // 2) * (4 * len(nodes) + 1)
        self.size, self.rank = rows * columns, 2 * sum(Q.shape[1] for Q in made)
        self.multiplications = 2 * sum(Q.size for Q in made) + rows * sum(c.size for c in by_columns)

    def times(self, out: Columns, numbers: Columns, scratch: Scratch) -> None:
        """Write F X, shape (size, 2, C, B), for X of shape (rank, 2, C, B)."""
        amplitudes = scratch.array("amplitudes", (self._amplitudes, *numbers.shape[1:]))
        for piece in self._pieces:
            piece.forward.times(amplitudes, numbers[piece.numbers])
        for strip in self._strips:
            columns = scratch.array("strip", (strip.size, *numbers.shape[1:]))
            strip.join(columns, amplitudes, scratch)
            for elements, half in strip.halves(columns):
                out[elements] = half

    def adjoint_times(self, out: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write F^H V, shape (rank, 2, C, B), for V of shape (size, 2, C, B)."""
        amplitudes = scratch.array("amplitudes", (self._amplitudes, *columns.shape[1:]))
        for strip in self._strips:
            mine = scratch.array("strip", (strip.size, *columns.shape[1:]))
            for elements, half in strip.halves(mine):
                half[...] = columns[elements]
            strip.split(amplitudes, mine, scratch)
        for piece in self._pieces:
            piece.adjoint.times(out[piece.numbers], amplitudes)

    @cached_property
    def walk(self) -> Walk:
        """What a kernel needs in order to apply F and F^H without all columns or numbers at once."""
        joins = list(dict.fromkeys(strip.waves for strip in self._strips))
        splits = list(dict.fromkeys(strip.adjoint for strip in self._strips))
        pieces = [(piece.numbers.start, piece.numbers.stop) for piece in self._pieces]
        strips = [
            (strip.rows, strip.place.start, joins.index(strip.waves), *strip.ranges) for strip in self._strips
        ]
        return Walk(
            np.array(pieces),
            np.array(strips),
            stacked([piece.forward for piece in self._pieces]),
            stacked([piece.adjoint for piece in self._pieces]),
            stacked(joins),
            stacked(splits),
        )

    @property
    def walk_sizes(self) -> tuple[int, int, int]:
        """Rows of the arrays that such a kernel works in: of amplitudes, numbers and elements."""
        return (
            self._amplitudes,
            max(piece.adjoint.rows for piece in self._pieces),
            max(strip.size for strip in self._strips),
        )


@dataclass(frozen=True)
class _Piece:
    """A range of the numbers: what the nodes that they belong to bring to the amplitudes."""

    numbers: slice
    forward: BlockMatrix
    adjoint: BlockMatrix


@dataclass(frozen=True)
class _Strip:
    """Neighbouring rows of the grid's upper half with their mirror images: a grid with the same mirrors."""

    rows: int
    elements: list[slice]
    place: slice
    waves: BlockMatrix
    adjoint: BlockMatrix

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.waves.rows

    @property
    def ranges(self) -> tuple[int, int, int, int]:
        """First element and the one behind the last of the upper and of the lower half."""
        upper, lower = self.elements[0], self.elements[-1] if len(self.elements) > 1 else slice(0, 0)
        return upper.start, upper.stop, lower.start, lower.stop

    def join(self, columns: Columns, amplitudes: Columns, scratch: Scratch) -> None:
        """Write the columns of the strip's elements."""
        parts = scratch.array("parts", (self.size, columns[0].size))
        self.waves.times(parts, amplitudes[self.place])
        unfold(columns.reshape(parts.shape), parts, self.rows)

    def split(self, amplitudes: Columns, columns: Columns, scratch: Scratch) -> None:
        """Write the strip's amplitudes: the adjoint of `join`."""
        parts = scratch.array("parts", (self.size, columns[0].size))
        fold(parts, columns.reshape(parts.shape), self.rows)
        self.adjoint.times(amplitudes[self.place], parts)

    def halves(self, columns: Columns) -> Iterator[tuple[slice, Columns]]:
        """The strip's columns as ranges of the grid's elements."""
        start = 0
        for elements in self.elements:
            stop = start + elements.stop - elements.start
            yield elements, columns[start:stop]
            start = stop


def _pieces(by_rows: list[list[NDArray[np.float64]]], dtype: type[np.floating[Any]]) -> list[_Piece]:
    """The factors of the nodes in each part, where they meet numbers and amplitudes."""
    nodes, blocks, stop = len(by_rows[0]), [], 0
    for part in range(4):
        for node, Q in enumerate(by_rows[part // 2]):
            first, start, stop = part * nodes + node, stop, stop + Q.shape[1]
            amplitudes = range(first, first + len(Q) * (4 * nodes + 1), 4 * nodes + 1)
            blocks.append((Q, amplitudes, start, stop))
    pieces = []
    for _, group in groupby(blocks, lambda block: block[2] // PIECE):
        mine = list(group)
        begin, end = mine[0][2], mine[-1][3]
        places = [
            (number, amplitudes, range(start - begin, stop - begin))
            for number, (_, amplitudes, start, stop) in enumerate(mine)
        ]
        pieces.append(_Piece(slice(begin, end), *_with_adjoint([Q for Q, *_ in mine], places, dtype)))
    return pieces


def _strips(
    grid: tuple[int, int], by_columns: list[NDArray[np.float64]], dtype: type[np.floating[Any]]
) -> list[_Strip]:
    """The strips of the grid from its edges to its middle."""
    (rows, columns), nodes = grid, by_columns[0].shape[1]

    @cache
    def waves(upper: int, lower: int) -> tuple[BlockMatrix, BlockMatrix]:
        places, stop = [], 0
        for part in range(4):
            for i in range(upper if part < 2 else lower):
                start, stop = stop, stop + len(by_columns[part % 2])
                first = i * (4 * nodes + 1) + part * nodes
                places.append((part % 2, range(start, stop), range(first, first + nodes)))
        return _with_adjoint(by_columns, places, dtype)

    strips, half, height = [], rows - rows // 2, max(1, STRIP // (2 * columns))
    for first in range(0, half, height):
        stop = min(first + height, half)
        upper, lower = stop - first, min(stop, rows // 2) - first  # a middle row has no mirror image
        ranges = ((first, stop), (rows - first - lower, rows - first))
        strips.append(
            _Strip(
                upper + lower,
                [slice(start * columns, stop * columns) for start, stop in ranges if start < stop],
                slice(first * (4 * nodes + 1), stop * (4 * nodes + 1)),
                *waves(upper, lower),
            )
        )
    return strips


def _with_adjoint(
    blocks: list[NDArray[np.float64]], places: list[Place], dtype: type[np.floating[Any]]
) -> tuple[BlockMatrix, BlockMatrix]:
    transposed = [(number, inner, rows) for number, rows, inner in places]
    return BlockMatrix(blocks, places, dtype), BlockMatrix([block.T for block in blocks], transposed, dtype)


def _parity_blocks(J: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The blocks of even and of odd parts of a symmetric Toeplitz matrix."""
    half, folded = np.empty_like(J), np.empty_like(J)
    fold(half, J, 1)
    fold(folded, np.ascontiguousarray(half.T), 1)
    even = len(J) - len(J) // 2
    return [folded[:even, :even], folded[even:, even:]]
