r"""Coordinate ascent for surfaces of b bits: one element after the other takes its best level.

As a function of the phase shift t of one element every table of its surface is a trigonometric polynomial of
degree two (its phasor enters x^H S x and products of two of them), which five values fix:

    f(t) = sum over p = -2 .. 2 of c_p exp(j p t),     c_p = (1/5) sum_m f(2 pi m / 5) exp(-2 pi j p m / 5).

So the best of any number of levels costs the tables at five phase shifts and the rates at all levels from the
polynomials; the tables of the other surface stay.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from ris.gradient import Angles, Tables, UserValues
from ris.phases import quantize_phases

__all__ = ["coordinate_ascent"]

GAIN = 1e-12
"""A move must raise the objective by more than this, relative: by more than rounding, so that moves end."""

NODES = 2 * np.pi * np.arange(5) / 5
DEGREES = np.arange(-2, 3)


def coordinate_ascent(
    values: UserValues,
    objective: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: Angles,
    bits: int,
    most_rounds: int,
) -> tuple[Angles, list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Move single elements to their best levels until no such move helps, in all systems of a batch.

    Parameters
    ----------
    values : UserValues
        Of the systems.
    objective : callable
        Takes values of the users, shape (..., K), to what to maximise, shape (...).
    start : list of ndarray, shapes (..., N1) and (..., N2), radians
        Phase shifts, rounded here to the levels.
    bits : int
        Resolution.
    most_rounds : int
        Rounds over all elements at most.

    Returns
    -------
    theta : list of ndarray, shapes of `start`
        Levels.
    history : list of ndarray, shape (...)
        Objective at the start and after every round.
    converged : ndarray of bool, shape (...)
        Whether the last round moved nothing.
    """
    theta = [quantize_phases(angles, bits) for angles in start]
    # Where the polynomials stand for a level: from the nodes to the levels, as steps from the present phase.
    levels = 2 * np.pi * np.arange(2**bits) / 2**bits
    to_levels = np.exp(1j * np.subtract.outer(levels, NODES)[..., None] * DEGREES).sum(axis=-1).real / 5
    with one_blas_thread():
        best = objective(values.at([angles[None] for angles in theta]))[0]
        history, moved = [best], np.ones(best.shape, bool)
        while moved.any() and len(history) <= most_rounds:
            moved = np.zeros(best.shape, bool)
            for surface in (0, 1):
                other = values.tables(1 - surface, theta[1 - surface][None])
                for n in range(theta[surface].shape[-1]):
                    trial = np.repeat(theta[surface][None], 5, axis=0)
                    trial[..., n] += NODES.reshape(-1, *[1] * best.ndim)
                    mine = [_mapped(to_levels, table) for table in values.tables(surface, trial)]
                    reached = objective(values.of(*_ordered(surface, mine, other)))
                    choice = np.argmax(reached, axis=0)
                    top = np.take_along_axis(reached, choice[None], axis=0)[0]
                    better = top > best + GAIN * np.abs(best)
                    theta[surface][..., n] += np.where(better, levels[choice], 0.0)
                    best, moved = np.where(better, top, best), moved | better
                theta[surface] = quantize_phases(theta[surface], bits)
            history.append(best)
    return theta, history, ~moved


def _mapped(to_levels: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.tensordot(to_levels, table, axes=1))


def _ordered(surface: int, mine: Tables, other: Tables) -> tuple[Tables, Tables]:
    return (mine, other) if surface == 0 else (other, mine)
