r"""Rates in closed form at many phase shifts, together with their gradient, at the cost of a few products.

The moments of the channels are a smooth function of the tables of each surface (means, products and chained
traces over its phase noise for every user and pair of users). So the gradient has two factors.

1. The slope of a weighted sum of the rates by every entry of a table. The assembly from tables to rates is
   analytic, so that each slope is the imaginary part of the sum at an entry that moved by an imaginary step,
   over the step: a tiny step leaves no truncation error and nothing cancels (Squire and Trapp, "Using complex
   variables to estimate derivatives of real functions", SIAM Review 40(1), 1998). It costs O(K^4), whatever
   the surfaces.

2. The slope of the tables, so weighted, by the phase shifts: `ris.surface_tables`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from ris.link import Link, Surface
from ris.moments import ClosedFormMoments
from ris.perfect_moments import mean_weights, perfect_moments
from ris.rates import rate_from_moments
from ris.surface_tables import SurfaceTables, TableSet, TableState
from ris.system import DoubleRIS, check_phase_noise_alone

__all__ = ["Powers", "UserValues"]

STEP = 1e-30
"""Imaginary step relative to the largest entry of a table."""

BLOCK = 2**20
"""Table entries that are moved in one go, times the number of entries, are about this many."""

Tables = list[NDArray[Any]]
"""Of one surface with a row for each user: means, then products, then chained traces, of its BS sides."""

Angles = list[NDArray[np.float64]]


class Powers(TypedDict):
    """Total transmit power and noise power at a user, linear, in the same unit."""

    power: float
    noise_power: float


class UserValues:
    """Rates or mean gains of the users as functions of the phase shifts alone, with their gradient.

    The rates are hardening bounds under perfect CSI.

    Parameters
    ----------
    system : DoubleRIS
        Of NumPy arrays; its leading axes (...) are batch axes.
    powers : Powers, optional
        For rates; without, the values are mean gains.
    part : slice, optional
        Systems to take, along the first batch axis; by default all.

    Attributes
    ----------
    batch_shape : tuple of int
        Batch axes of the systems taken.

    Raises
    ------
    InvalidArgumentError
        If there is more than Rayleigh fading and phase noise (`check_phase_noise_alone`).

    Notes
    -----
    Preparation costs O(K^2 N^3), once, for rates. For the cost afterwards see `ris.surface_tables`.
    """

    def __init__(self, system: DoubleRIS, powers: Powers | None, part: slice | None = None) -> None:
        check_phase_noise_alone(system)
        self._link = Link(system, np.zeros(system.elements1), np.zeros(system.elements2), part)
        self._powers = powers
        self.batch_shape = self._link.a.shape[:-1]
        surfaces = [(self._link.surface1(), system.elements1), (self._link.surface2(), system.elements2)]
        with one_blas_thread(), ThreadPoolExecutor(2) as pool:
            self._surfaces = list(pool.map(lambda of: _UserTables(of[0], of[1], powers is None), surfaces))

    def tables(self, surface: int, theta: NDArray[np.float64]) -> Tables:
        """Return the tables of a surface, 0 or 1, axes (S, ...) first, at phase shifts (S, ..., N)."""
        return self._surfaces[surface].at(theta)[0]

    def of(self, tables1: Tables, tables2: Tables) -> NDArray[Any]:
        """Return the values, shape (S, ..., K), from the tables of both surfaces."""
        bs = self._link.bs
        if self._powers is None:
            _, over1, over2 = mean_weights(self._link, tables1, [tables2[0], tables2[-1]])
            return np.asarray(self._link.a * bs.sk + over1 * bs.s1 + over2 * bs.s2)
        if len(tables2) == 3:  # one covariance for both hops: all pairs of BS sides are the same one
            m, U, V = tables2
            tables2 = [m, m, U, U, U, V, V, V]
        mb, md, Ub, Um, Ud, Vb, Vm, Vd = tables2
        # The imaginary part of the mixed chained trace, last, counts only with a filter at the BS.
        mean, interference, product = perfect_moments(
            self._link, tables1, [mb, md, Ub, Vb, Um, Vm, Ud, Vd, np.zeros_like(Vm)]
        )
        moments = ClosedFormMoments(mean, interference, product, mean, "perfect")
        return np.asarray(rate_from_moments(moments, **self._powers))

    def at(self, theta: Angles) -> NDArray[np.float64]:
        """Return the values, shape (S, ..., K), at phase shifts of shapes (S, ..., N1) and (S, ..., N2)."""
        with one_blas_thread():
            return self.of(self.tables(0, theta[0]), self.tables(1, theta[1]))

    def gradient(
        self,
        theta: Angles,
        weigh: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        free: tuple[int, ...] = (0, 1),
    ) -> tuple[NDArray[np.float64], Angles]:
        """Return the values, and the gradient of their sum with the weights that `weigh` gives them.

        Parameters
        ----------
        theta : list of ndarray, shapes (S, ..., N1) and (S, ..., N2), radians
            Phase shifts of the two surfaces.
        weigh : callable
            Called with the values; returns weights of the same shape.
        free : tuple of int
            Surfaces, 0 and 1, to derive by; the slopes of any other are zero.

        Returns
        -------
        values : ndarray, shape (S, ..., K)
            In bit/s/Hz, if rates.
        slopes : list of ndarray, shapes of `theta`
            The same per radian.
        """
        # Threads of BLAS would change the last bits and wait for each other; the surfaces are independent.
        with one_blas_thread(), ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(_UserTables.at, self._surfaces, theta))
            tables = [part[0] for part in parts]
            values = self.of(*tables)
            weights = weigh(values)

            def slopes(i: int) -> NDArray[np.float64]:
                def total(moved: Tables) -> NDArray[Any]:
                    both = (moved, tables[1]) if i == 0 else (tables[0], moved)
                    return np.asarray(np.sum(weights * self.of(*both), axis=-1))

                if i not in free:
                    return np.zeros_like(theta[i])
                by_tables = _slopes(total, tables[i], weights.ndim - 1)
                found = self._surfaces[i].slopes(parts[i][1], by_tables)
                return np.broadcast_to(found, theta[i].shape)

            return values, list(pool.map(slopes, (0, 1)))


class _UserTables:
    """The tables of a surface with a row for each user: means, then products, then chained traces."""

    def __init__(self, surface: Surface, elements: int, means_alone: bool) -> None:
        self._surface, self._tables = surface, SurfaceTables(surface, means_alone)
        # A surface on no path comes as a single zero, whatever its number of elements.
        self._idle = elements != surface.bs_sides[0].shape[-1]

    def at(self, theta: NDArray[np.float64]) -> tuple[Tables, TableState]:
        """Return the tables at phase shifts of shape (S, ..., N), and what `slopes` needs of them."""
        x = np.exp(1j * (np.zeros((*theta.shape[:-1], 1)) if self._idle else theta))
        sets, state = self._tables.at(x)
        users = self._surface
        pairs = [*sets.products, *sets.chained]
        return [*map(users.vector, sets.means), *map(users.matrix, pairs)], state

    def slopes(self, state: TableState, weights: Tables) -> NDArray[np.float64]:
        """Return the derivatives by the phase shifts of the tables, so weighted, shape (S, ..., N)."""
        if self._idle:
            return np.zeros((*weights[0].shape[:-1], 1))
        # Users that share a covariance share the entries of its tables.
        P = np.asarray(self._surface.selection)
        sides = sum(weight.ndim == weights[0].ndim for weight in weights)
        pairs = [P.T @ weight @ P for weight in weights[sides:]]
        half = len(pairs) // 2
        means = [weight @ P for weight in weights[:sides]]
        return self._tables.slopes(state, TableSet(means, pairs[:half], pairs[half:]))


def _slopes(f: Callable[[Tables], NDArray[Any]], tables: Tables, lanes: int) -> Tables:
    """Return the derivatives of f by every entry of the tables.

    The tables have `lanes` leading axes, over which f works one by one; f takes tables with one more axis in
    front of them.
    """
    flat = np.concatenate([table.reshape(*table.shape[:lanes], -1) for table in tables], axis=-1)
    sizes = [int(np.prod(table.shape[lanes:])) for table in tables]
    largest = [np.max(np.abs(table), axis=tuple(range(lanes, table.ndim))) for table in tables]
    steps = STEP * np.repeat(np.stack(largest, axis=-1), sizes, axis=-1)
    steps[steps == 0] = STEP
    rows = max(1, BLOCK // flat.size)
    slopes = np.empty_like(flat)
    for first in range(0, flat.shape[-1], rows):
        moved = np.arange(first, min(first + rows, flat.shape[-1]))
        entries = np.tile(flat.astype(np.complex128), (moved.size, *[1] * flat.ndim))
        entries[np.arange(moved.size), ..., moved] += 1j * np.moveaxis(steps[..., moved], -1, 0)
        parts = np.split(entries, np.cumsum(sizes)[:-1], axis=-1)
        stacks = [
            part.reshape(*part.shape[:-1], *table.shape[lanes:])
            for part, table in zip(parts, tables, strict=True)
        ]
        slopes[..., moved] = np.moveaxis(f(stacks).imag, 0, -1) / steps[..., moved]
    return [
        part.reshape(table.shape)
        for part, table in zip(np.split(slopes, np.cumsum(sizes)[:-1], axis=-1), tables, strict=True)
    ]
