"""Draws of all users' channels, tile of realizations by tile of realizations.

A tile is a fixed range of realization numbers, so results depend neither on the number of threads nor on how
a job is cut. Arrays of a tile have axes (element or antenna, realization, column). The columns are the K users,
and for nominal CSI once more the K users as the phase shifts alone would have it: both sets pass through the
same hops.

From the users inwards, with F a factor of each covariance (R = F F^H) and W of iid CN(0, 1) entries, a hop acts
on the columns V that reach it as sqrt(gain) F_left W F_right^H V.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from channels.checks import integer, one_of
from channels.errors import InvalidArgumentError
from channels.fading import Hop, UserHop
from channels.phase_noise import PhaseNoise
from channels.streams import Stream
from ris._kernels.hop import draw_vectors, explicit_product
from ris._kernels.surface import reflect
from ris.link import check_phases
from ris.options import Csi, Engine
from ris.system import DoubleRIS

__all__ = ["ChannelSampler", "Tile"]

TILE_BYTES = 2**20
"""Size at which an array of a tile still stays in a core's cache."""

LARGEST_TILE = 256

Tile = tuple[NDArray[np.complex128], NDArray[np.complex128]]
"""Channels h and precoding channels f of one tile, shapes (M, B, K); the same array for perfect CSI."""


class ChannelSampler:
    """Draws channels of one system at fixed phase shifts.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : array_like, shapes (N1,) and (N2,), radians
        Phase shifts.
    stream : Stream
        Where the numbers come from; every hop and surface draws from a child of its own.
    csi : {"perfect", "nominal"}
        What the precoding channels see of the phase noise.
    engine : {"explicit"}
        How hops between arrays are drawn.

    Attributes
    ----------
    tile : int
        Realizations in a tile.
    """

    def __init__(
        self, system: DoubleRIS, theta1: Any, theta2: Any, stream: Stream, csi: Csi, engine: Engine
    ) -> None:
        one_of("csi", csi, Csi)
        one_of("engine", engine, Engine)
        check_single(system)
        self.antennas, self.users = system.antennas, system.users
        self.copies = 1 if csi == "perfect" else 2
        self.bs_user = _UserDraw.of(system.bs_user, stream.child("bs_user"))
        self.ris1_user = _UserDraw.of(system.ris1_user if system.single1 else None, stream.child("ris1_user"))
        reaches2 = system.single2 or system.double
        self.ris2_user = _UserDraw.of(system.ris2_user if reaches2 else None, stream.child("ris2_user"))
        reaches1 = system.single1 or system.double
        self.bs_ris1 = _HopDraw.of(system.bs_ris1 if reaches1 else None, stream.child("bs_ris1"))
        self.bs_ris2 = _HopDraw.of(system.bs_ris2 if system.single2 else None, stream.child("bs_ris2"))
        self.ris1_ris2 = _HopDraw.of(system.ris1_ris2 if system.double else None, stream.child("ris1_ris2"))
        self.surface1 = _Reflection("theta1", theta1, system.elements1, system.phase_noise1, stream.child("phase_noise1"))
        self.surface2 = _Reflection("theta2", theta2, system.elements2, system.phase_noise2, stream.child("phase_noise2"))
        largest = max(system.antennas, system.elements1, system.elements2) * self.users * self.copies
        self.tile = int(np.clip(TILE_BYTES // (16 * largest), 1, LARGEST_TILE))

    @property
    def workspace_bytes(self) -> int:
        """Memory that the draw of one tile takes, roughly."""
        elements = self.antennas + self.surface1.size + self.surface2.size
        return 4 * 16 * elements * self.users * self.copies * self.tile

    def draw(self, number: int) -> Tile:
        """Draw the tile of that number: realizations number * tile and up."""
        first, B, K = number * self.tile, self.tile, self.users
        h = np.zeros((self.antennas, B, K * self.copies), np.complex128)
        if self.bs_user:
            h += self._copied(self.bs_user.draw(first, B, K))
        if self.ris2_user:
            v2 = self.surface2.reflected(self._copied(self.ris2_user.draw(first, B, K)), K, first)
            if self.bs_ris2:
                h += self.bs_ris2.apply(v2, first)
        if self.bs_ris1:
            v1: Any = 0.0
            if self.ris1_user:
                v1 = self._copied(self.ris1_user.draw(first, B, K))
            if self.ris1_ris2:
                v1 = v1 + self.ris1_ris2.apply(v2, first)
            h += self.bs_ris1.apply(self.surface1.reflected(v1, K, first), first)
        return (h, h) if self.copies == 1 else (h[..., :K], h[..., K:])

    def tiles(self, numbers: range, threads: int) -> Iterator[Tile]:
        """Draw tiles in threads and yield them in order; at most two tiles a thread are in flight."""
        # BLAS inside the threads must not start threads of its own: many times slower, and other bits.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            pending: deque[Future[Tile]] = deque()
            for number in numbers:
                pending.append(pool.submit(self.draw, number))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _copied(self, columns: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return columns if self.copies == 1 else np.concatenate([columns, columns], axis=-1)


class _UserDraw:
    """Channels from an array to the users."""

    def __init__(self, hop: UserHop, stream: Stream) -> None:
        self.factor, self.amplitude, self.key = hop.correlation.factor, np.sqrt(hop.gain), stream.key

    @classmethod
    def of(cls, hop: UserHop | None, stream: Stream) -> "_UserDraw | None":
        return None if hop is None else cls(hop, stream)

    def draw(self, first: int, B: int, K: int) -> NDArray[np.complex128]:
        numbers = np.empty((self.factor.shape[-1], B, K), np.complex128)
        draw_vectors(numbers, self.key, first)
        if self.factor.ndim == 2:
            colored = _times(self.factor, numbers)
        else:
            factors = np.broadcast_to(self.factor, (K, *self.factor.shape[-2:]))
            colored = np.stack(
                [_times(factors[k], np.ascontiguousarray(numbers[..., k])) for k in range(K)], axis=-1
            )
        colored *= self.amplitude
        return colored


class _HopDraw:
    """A hop between two arrays, its matrix drawn anew in each realization."""

    def __init__(self, hop: Hop, stream: Stream) -> None:
        self.left = hop.left.factor * np.sqrt(hop.gain)
        self.right = np.ascontiguousarray(hop.right.factor.conj().T)
        self.key = stream.key

    @classmethod
    def of(cls, hop: Hop | None, stream: Stream) -> "_HopDraw | None":
        return None if hop is None else cls(hop, stream)

    def apply(self, columns: NDArray[np.complex128], first: int) -> NDArray[np.complex128]:
        inner = _times(self.right, columns)
        drawn = np.empty((self.left.shape[1], *columns.shape[1:]), np.complex128)
        explicit_product(drawn, inner, self.key, first)
        return _times(self.left, drawn)


class _Reflection:
    """A surface: its phase shifts and its phase noise."""

    def __init__(self, name: str, theta: Any, elements: int, law: PhaseNoise, stream: Stream) -> None:
        phases = check_phases(name, theta, elements)
        if phases.ndim != 1:
            raise InvalidArgumentError(name, f"shape ({elements},) for a simulation", f"shape {phases.shape}")
        self.size = elements
        self.shifts = np.exp(1j * phases)
        self.law, self.key = law.kernel_table(), stream.key

    def reflected(self, columns: NDArray[np.complex128], noisy: int, first: int) -> NDArray[np.complex128]:
        reflect(columns, noisy, self.shifts, self.law, self.key, first)
        return columns


def check_single(system: DoubleRIS) -> None:
    """Refuse systems that a simulation cannot take: batches, and arrays of other libraries."""
    if system.batch_shape:
        raise InvalidArgumentError("system", "a single system to simulate", f"batch axes {system.batch_shape}")
    for name in ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user"):
        hop = getattr(system, name)
        if hop is not None and not isinstance(hop.gain, np.ndarray | np.generic):
            raise InvalidArgumentError(name, "NumPy arrays to simulate", f"{type(hop.gain).__name__}")


def check_threads(threads: int | None) -> int:
    """Return the number of threads: as given, or the processors that this process may use."""
    if threads is not None:
        return integer("threads", threads, minimum=1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _times(factor: NDArray[Any], columns: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Matrix (n, m) times columns (m, ...); a real factor acts on real and imaginary parts as one real product."""
    flat = columns.reshape(columns.shape[0], -1)
    if factor.dtype == np.float64:
        product = (factor @ flat.view(np.float64)).view(np.complex128)
    else:
        product = factor @ flat
    return product.reshape(factor.shape[0], *columns.shape[1:])
