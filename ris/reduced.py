r"""The reduced engine: the law of all users' channels without any hop matrix.

Given the columns V that reach a hop sqrt(gain) F_left W F_right^H from the users' side, the rows of
W (F_right^H V), W of iid CN(0, 1) entries, are independent and Gaussian with the Gram matrix

    G = gain (F_right^H V)^H (F_right^H V) = gain V^H R_right V

as covariance of their entries: row^H row has mean G. So the hop acts on V as F_left Z L^H does, with Z of
iid CN(0, 1) entries, one column for each of V, and L L^H = G. Hop by hop from the users inwards this gives
the law of (h_1, ..., h_K) exactly, at the cost of K columns.

More follows. What reaches an array through hops that have one covariance R_left in common, and from users
whose covariance is that same R_left, is a sum of conditionally independent terms F_left Z_i L_i^H, and so of
the law of F_left Z L^H with L L^H = sum_i L_i L_i^H: one draw and one product for all of them. The users'
Gram matrix is the diagonal one of their gains. For nominal CSI there are 2 K columns: the K users with the
phase noise, then the K users as the phase shifts alone would have it; both pass through the same hops, and a
user's fading is the same in both, which makes its Gram matrix the 2 by 2 block matrix of equal diagonals.

Interference that meets a surface with covariance R reaches a user at the power v^H R v, v the user's column
as the surface reflects it: the columns are at hand, so that the powers are drawn jointly with the channels.

The mean left right^H of a Rician hop acts on the columns themselves: left (right^H V) is added to the draw.
Given V it is fixed, so that the law stays exact; only its few rows right^H V travel from array to array.

Where the covariance on both sides of a surface is that of an isotropic planar grid, the columns are made,
reflected and seen strip by strip of the grid: the same bits in less time, for they stay in a core's cache.

Arrays of a tile have axes (element, real or imaginary part, column, realization).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.factors import DenseFactor, Factor, factor_of
from channels.fading import Hop, UserHop
from channels.interference import Interference
from channels.isotropic import IsotropicFactor
from channels.scratch import Scratch, ScratchPool
from channels.streams import Stream
from ris._kernels.reduced import draw_columns, factor_grams, gram
from ris._kernels.through import gram_through
from ris.options import Csi, Precision
from ris.reflection import SurfaceReflection
from ris.system import DoubleRIS

__all__ = ["ReducedEngine"]

Columns = NDArray[Any]
"""Axes (element, real or imaginary part, column, realization), float64 or float32."""

Grams = NDArray[np.float64]
"""Axes (distance s, real or imaginary part, column c, realization): entry (c, c - s), for c >= s."""

Passing = tuple[Grams, Columns | None]
"""What a hop sees of the columns V that reach it: V^H R_right V, and right^H V of its mean, if it has one."""


class ReducedEngine:
    """Draws tiles of channels, K or 2 K Gaussian columns a hop.

    Parameters and attributes are those of `ris.explicit.ExplicitEngine`, and one more.

    Parameters
    ----------
    precision : {"double", "single"}
        Of the columns. Random numbers, phasors and Gram matrices are made in double precision.
    """

    def __init__(
        self,
        system: DoubleRIS,
        theta1: NDArray[Any],
        theta2: NDArray[Any],
        stream: Stream,
        csi: Csi,
        precision: Precision = "double",
    ) -> None:
        self.dtype = dtype = np.float64 if precision == "double" else np.float32
        single1, single2, double = system.single1, system.single2, system.double
        self.single2, self.columns = single2, system.users * (1 if csi == "perfect" else 2)
        self.scratches = ScratchPool(dtype)
        factors = _Factors(dtype)
        hops1 = [hop for hop in (system.bs_ris1,) if hop and (single1 or double)]
        hop2 = system.bs_ris2 if single2 else None
        hop3 = system.ris1_ris2 if double else None
        hops2 = [hop for hop in (hop2, hop3) if hop]

        def arrival(name: str, hops: list[Hop], users: UserHop | None) -> _Arrival:
            return _Arrival(hops, users, self.columns, stream.child(name), factors)

        self.at_bs = arrival("bs", [hop for hop in (hop2, *hops1) if hop], system.bs_user)
        self.at_surface1 = arrival("surface1", [hop3] if hop3 else [], system.ris1_user if single1 else None)
        self.at_surface2 = arrival("surface2", [], system.ris2_user if hops2 else None)
        self.from_surface1 = _Departure(hops1, SurfaceReflection(system, 1, theta1, stream), factors)
        self.from_surface2 = _Departure(hops2, SurfaceReflection(system, 2, theta2, stream), factors)
        self.emi = _EmiFactor.of(system.emi1, factors), _EmiFactor.of(system.emi2, factors)
        self.users = system.users
        largest = max(system.antennas, system.elements1, system.elements2)
        self.bytes_per_realization = 16 * largest * self.columns

    def draw(self, first: int, count: int) -> tuple[Columns, NDArray[np.float64] | None]:
        """Return the channels of that many realizations from number `first` on, and what interferes.

        Returns
        -------
        channels : ndarray, shape (M, 2, C, count)
            Axes (antenna, real or imaginary part, column, realization).
        emi : ndarray, shape (K, count), or None
            Power of the interference that the surfaces reflect to the users; None without.
        """
        emi = np.zeros((self.users, count)) if any(self.emi) else None
        h = np.empty((self.at_bs.size, 2, self.columns, count), self.dtype)
        with self.scratches.borrow() as scratch:
            passing2 = self.from_surface2.passing(
                self.at_surface2, [], first, count, scratch, self.emi[1], emi
            )
            to_bs, to_surface1 = passing2[: self.single2], passing2[self.single2 :]
            passing1 = self.from_surface1.passing(
                self.at_surface1, to_surface1, first, count, scratch, self.emi[0], emi
            )
            self.at_bs.draw(h, [*to_bs, *passing1], first, scratch)
        return h, emi


class _EmiFactor:
    """Interference at a surface, by a factor of its covariance."""

    def __init__(self, emi: Interference, factors: "_Factors") -> None:
        self.level, self.factor = float(emi.power), factors.of(emi.correlation)

    @classmethod
    def of(cls, emi: Interference | None, factors: "_Factors") -> "_EmiFactor | None":
        return None if emi is None else cls(emi, factors)

    def add(self, total: NDArray[np.float64], columns: Columns, scratch: Scratch) -> None:
        """Add v^H power R v of the first columns to the total, shape (K, B)."""
        seen = scratch.array("inner", (self.factor.rank, *columns.shape[1:]))
        self.factor.adjoint_times(seen, columns, scratch)
        total += self.level * np.sum(np.square(seen, dtype=np.float64), axis=(0, 1))[: len(total)]


class _Arrival:
    """What reaches an array: the sum over hops and users, one draw for all that share a covariance."""

    def __init__(
        self, hops: list[Hop], users: UserHop | None, columns: int, stream: Stream, factors: "_Factors"
    ) -> None:
        self.columns, self.stream, self.factors = columns, stream, factors
        self.groups: list[_Group] = []
        self.means = [factors.of_mean(hop.mean.left) if hop.mean else None for hop in hops]
        self.user_means = None
        for number, hop in enumerate(hops):
            self._group(hop.left, slice(None)).hops.append((number, float(hop.gain)))
        if users is not None:
            if users.mean is not None:
                parts = np.stack([users.mean.real, users.mean.imag]).transpose(2, 0, 1)
                self.user_means = np.tile(parts, columns // users.users)[..., None]
            K, R = users.users, users.correlation
            own = len(R.shape) == 3 and R.shape[0] == K
            for k, gain in enumerate(users.gain):
                places = slice(k, None, K) if own else slice(None)
                group = self._group(R[k if own else 0] if len(R.shape) == 3 else R, places)
                mine = np.arange(columns)[places] % K == k
                for distance in range(len(mine)):
                    group.users[distance, 0, distance:] += gain * (
                        mine[distance:] & mine[: len(mine) - distance]
                    )
        self.size = self.groups[0].factor.size if self.groups else 0

    def draw(self, out: Columns, passing: list[Passing], first: int, scratch: Scratch) -> None:
        """Write the columns, given what the hops see of those that reach them."""
        grams = [gram for gram, _ in passing]
        if len(self.groups) == 1:
            self.groups[0].draw(out, grams, first, scratch)
        else:
            out[:] = 0.0
            for group in self.groups:
                part = scratch.array("group", (self.size, 2, len(group.users), out.shape[3]))
                group.draw(part, grams, first, scratch)
                out[:, :, group.places] += part
        for mean, (_, rows) in zip(self.means, passing, strict=True):
            if mean is not None and rows is not None:
                part = scratch.array("group", out.shape)
                mean.times(part, rows, scratch)
                out += part
        if self.user_means is not None:
            out += self.user_means

    @property
    def lone(self) -> "_Group | None":
        """The one group that makes all columns, if there is no other and no mean."""
        whole = len(self.groups) == 1 and not any(self.means) and self.user_means is None
        return self.groups[0] if whole else None

    def _group(self, covariance: Correlation, places: slice) -> "_Group":
        factor, stream = self.factors.of(covariance), self.stream.child(len(self.groups))
        for group in self.groups:
            if group.places == places and group.factor is factor:
                return group
        self.groups.append(_Group(factor, places, len(range(self.columns)[places]), stream))
        return self.groups[-1]


class _Group:
    """Arrivals at an array that share a covariance there: hops by number, and users by their Gram matrix."""

    def __init__(self, factor: Factor, places: slice, width: int, stream: Stream) -> None:
        self.factor, self.places = factor, places
        self.hops: list[tuple[int, float]] = []
        self.users = np.zeros((width, 2, width))
        self.key = stream.key

    def draw(self, out: Columns, grams: list[Grams], first: int, scratch: Scratch) -> None:
        numbers = scratch.array("inner", (self.factor.rank, *out.shape[1:]))
        draw_columns(numbers, self.coefficients(grams, out.shape[3]), self.key, 0, first, self.unrolled)
        self.factor.times(out, numbers, scratch)

    @property
    def unrolled(self) -> tuple[int, ...]:
        """A number for each column, as `draw_columns` wants them."""
        return (0,) * len(self.users)

    def coefficients(self, grams: list[Grams], count: int) -> NDArray[np.float64]:
        """Return L, axes (column, column, real or imaginary part, realization)."""
        width = len(self.users)
        total = np.empty((*self.users.shape, count))
        total[:] = self.users[..., None]
        for number, gain in self.hops:
            total += gain * grams[number]
        factors = np.empty((width, width, 2, count))
        factor_grams(factors, total)
        return factors


class _Departure:
    """What leaves a surface: the arriving columns, reflected, as the hops towards the BS see them."""

    def __init__(
        self,
        hops: list[Hop],
        surface: SurfaceReflection,
        factors: "_Factors",
    ) -> None:
        self.surface = surface
        by_hop = [factors.of(hop.right) for hop in hops]
        self.factors = list(dict.fromkeys(by_hop))
        self.places = [self.factors.index(factor) for factor in by_hop]
        self.means = [factors.of_mean(hop.mean.right) if hop.mean else None for hop in hops]

    def passing(
        self,
        arrival: _Arrival,
        arriving: list[Passing],
        first: int,
        count: int,
        scratch: Scratch,
        interference: "_EmiFactor | None",
        emi: NDArray[np.float64] | None,
    ) -> list[Passing]:
        """Draw what arrives and return, for each hop, its Gram matrix and right^H V of its mean.

        The Gram matrix is (F_right^H V)^H (F_right^H V). The power of the interference is added to `emi`.
        """
        if not self.factors:
            return []
        group = arrival.lone
        if (
            group is not None
            and isinstance(group.factor, IsotropicFactor)
            and self.factors == [group.factor]
            and not (any(self.means) or self.surface.coupled or interference)
        ):
            coefficients = group.coefficients([gram for gram, _ in arriving], count)
            seen = self._seen_through(group, group.factor, coefficients, first, scratch)
            return [(seen, None)] * len(self.places)
        columns = scratch.array("columns", (arrival.size, 2, arrival.columns, count))
        arrival.draw(columns, arriving, first, scratch)
        self.surface.reflect_parts(columns, first)
        if interference is not None and emi is not None:
            interference.add(emi, columns, scratch)
        made = []
        for factor in self.factors:
            inner = scratch.array("inner", (factor.rank, *columns.shape[1:]))
            factor.adjoint_times(inner, columns, scratch)
            made.append(np.zeros((arrival.columns, 2, arrival.columns, count)))
            gram(made[-1], inner)
        rows: list[Columns | None] = []
        for mean in self.means:
            row = None if mean is None else np.empty((mean.rank, *columns.shape[1:]), columns.dtype)
            if mean is not None and row is not None:
                mean.adjoint_times(row, columns, scratch)
            rows.append(row)
        return [(made[place], row) for place, row in zip(self.places, rows, strict=True)]

    def _seen_through(
        self,
        group: _Group,
        factor: IsotropicFactor,
        coefficients: NDArray[np.float64],
        first: int,
        scratch: Scratch,
    ) -> Grams:
        """The Gram matrix of all hops where one covariance stands on both sides of elements on their own."""
        columns, _, _, count = coefficients.shape
        made = np.zeros((columns, 2, columns, count))
        amplitudes, numbers, elements = factor.walk_sizes
        sizes = {"amplitudes": amplitudes, "numbers": numbers, "strip": elements, "parts": elements}
        work = tuple(scratch.array(name, (rows, 2, columns, count)) for name, rows in sizes.items())
        gram_through(
            made, work, factor.walk, coefficients, group.key, first, group.unrolled, self.surface.law
        )
        return made


class _Factors:
    """The factors in use, one for all covariances of the same value."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self._dtype = dtype
        self._known: list[tuple[Correlation, Factor]] = []

    def of(self, covariance: Correlation) -> Factor:
        for known, factor in self._known:
            if _same(known, covariance):
                return factor
        self._known.append((covariance, factor_of(covariance, self._dtype)))
        return self._known[-1][1]

    def of_mean(self, side: NDArray[Any]) -> Factor:
        """One side of a mean; it acts as a factor does."""
        return DenseFactor(side, self._dtype)


def _same(a: Correlation, b: Correlation) -> bool:
    if a is b or a.shape != b.shape:
        return a is b
    if isinstance(a, GridCorrelation) and isinstance(b, GridCorrelation):
        return a.grid == b.grid and np.array_equal(a.lags, b.lags)
    return np.array_equal(a.matrix, b.matrix)
