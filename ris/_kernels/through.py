"""A surface whose covariance is isotropic on both sides, strip by strip: columns stay in a core's cache."""

from numba import njit

from channels._kernels.parity import fold, unfold
from channels._kernels.products import multiply_blocks
from ris._kernels.reduced import draw_columns, gram
from ris._kernels.surface import reflect_parts

__all__ = ["gram_through"]


@njit(cache=True, nogil=True, error_model="numpy")
def gram_through(grams, work, walk, factors, key, first, unrolled, surface):
    """Add to the Gram matrix of F^H D F X, X of rows that are drawn and D what the surface does.

    Parameters
    ----------
    grams : float64 array, shape (C, 2, C, B)
        As for `gram`.
    work : tuple of arrays of one type
        Overwritten: amplitudes, numbers of a piece, and columns and parts of a strip; shapes (rows, 2, C, B),
        with as many rows as `IsotropicFactor.walk_sizes` says.
    walk : Walk
        F = `channels.isotropic.IsotropicFactor`.
    factors, key, first, unrolled
        As for `draw_columns`, which draws X.
    surface : tuple
        Arguments of `reflect_parts` between the columns and the number of an element.
    """
    amplitudes, numbers, columns, parts = work
    noisy, shifts, law, noise_key, hardware, failure_key = surface
    amplitude, number, part = amplitudes.reshape(-1), numbers.reshape(-1), parts.reshape(-1)
    width = amplitudes[0].size
    lines, folded = columns.reshape(len(columns), width), parts.reshape(len(parts), width)
    pieces, strips = walk.pieces, walk.strips
    for p in range(len(pieces)):
        draw_columns(numbers[: pieces[p, 1] - pieces[p, 0]], factors, key, pieces[p, 0], first, unrolled)
        multiply_blocks(amplitude, number, walk.forward.panels, _of(walk.forward, p), width)
    for s in range(len(strips)):
        rows, place, matrix = strips[s, 0], strips[s, 1], strips[s, 2]
        upper, lower = strips[s, 4] - strips[s, 3], strips[s, 6] - strips[s, 5]
        mine, size = amplitude[place * width :], upper + lower
        multiply_blocks(part, mine, walk.join.panels, _of(walk.join, matrix), width)
        unfold(lines[:size], folded[:size], rows)
        for begin, end, start in ((0, upper, strips[s, 3]), (upper, size, strips[s, 5])):
            reflect_parts(
                columns[begin:end], noisy, shifts, law, noise_key, hardware, failure_key, start, first
            )
        fold(folded[:size], lines[:size], rows)
        multiply_blocks(mine, part, walk.split.panels, _of(walk.split, matrix), width)
    for p in range(len(pieces)):
        multiply_blocks(number, amplitude, walk.adjoint.panels, _of(walk.adjoint, p), width)
        gram(grams, numbers[: pieces[p, 1] - pieces[p, 0]])


@njit(cache=True, error_model="numpy")
def _of(stacked, matrix):
    # The table of one of several matrices.
    return stacked.table[stacked.ends[matrix - 1] if matrix > 0 else 0 : stacked.ends[matrix]]
