"""Draws of all users' channels, tile of realizations by tile of realizations.

A tile is a fixed range of realization numbers, so results depend neither on the number of threads nor on how
a job is cut. The columns of a tile are the K users, and for nominal CSI once more the K users as the phase
shifts alone would have it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread
from channels.checks import integer, one_of
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.explicit import ExplicitEngine
from ris.link import check_phases
from ris.options import Csi, Engine, Precision
from ris.reduced import ReducedEngine
from ris.system import DoubleRIS, check_single

__all__ = ["ChannelSampler", "Tile"]

TILE_BYTES = 2**21
"""Size of a tile's largest array, so that the arrays of a few hundred elements stay in a core's cache."""

SMALLEST_TILE, LARGEST_TILE = 32, 512
"""Realizations, except where `LARGEST_BYTES` counts. At 1,024 elements and more, 16 are slower by 10 % (short
inner loops), 64 and 128 by 5 and 15 %, with two threads that share a cache by more. Above the largest,
nothing is gained."""

LARGEST_BYTES = 2**25
"""Of a tile's largest array."""

Tile = NDArray[Any]
"""Channels of one tile, axes (antenna, real or imaginary part, column, realization), float64 or float32."""

Result = TypeVar("Result")


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
        What the precoding channels see of phase noise and hardware.
    engine : {"reduced", "explicit"}
        How hops between arrays are drawn.
    precision : {"double", "single"}
        Arithmetic of the reduced engine.

    Attributes
    ----------
    tile : int
        Realizations in a tile.
    theta1, theta2 : ndarray
        The phase shifts, checked.
    """

    def __init__(
        self,
        system: DoubleRIS,
        theta1: Any,
        theta2: Any,
        stream: Stream,
        csi: Csi,
        engine: Engine,
        precision: Precision = "double",
    ) -> None:
        one_of("csi", csi, Csi)
        check_single(system, "simulate")
        self.theta1 = _check_shifts("theta1", theta1, system.elements1)
        self.theta2 = _check_shifts("theta2", theta2, system.elements2)
        self._engine: ExplicitEngine | ReducedEngine
        settings = (system, self.theta1, self.theta2, stream, csi)
        if one_of("engine", engine, Engine) == "reduced":
            self._engine = ReducedEngine(*settings, one_of("precision", precision, Precision))
        elif one_of("precision", precision, Precision) == "double":
            self._engine = ExplicitEngine(*settings)
        else:
            raise InvalidArgumentError("precision", "'double' with engine = 'explicit'", repr(precision))
        self._bytes = self._engine.bytes_per_realization
        tile = int(np.clip(TILE_BYTES // self._bytes, SMALLEST_TILE, LARGEST_TILE))
        self.tile = max(8, min(tile, LARGEST_BYTES // self._bytes) // 8 * 8)

    @property
    def workspace_bytes(self) -> int:
        """Memory that a thread takes for its tiles, roughly: the arrays in work and the results in flight."""
        return 8 * self._bytes * self.tile

    def draw(self, number: int) -> tuple[Tile, NDArray[np.float64] | None]:
        """Draw the tile of that number, realizations number * tile and up, and what interferes (`each`)."""
        return self._engine.draw(number * self.tile, self.tile)

    def each(
        self,
        use: Callable[[int, Tile, NDArray[np.float64] | None], Result],
        first: int,
        realizations: int,
        threads: int,
    ) -> Iterator[Result]:
        """Draw realizations from number `first` on in threads, and use them there.

        Parameters
        ----------
        use : callable
            Called with how many realizations come before those of a tile; with the tile, cut to measure; and
            with the power of the interference that the surfaces reflect to each user, shape (K, realization),
            or None where there is none.
        first, realizations, threads : int
            Number of the first realization, how many, and in how many threads.

        Yields
        ------
        Result
            What `use` returned, in the order of the tiles; at most two tiles a thread are in flight.
        """
        stop = first + realizations

        def run(number: int) -> Result:
            start = number * self.tile
            wanted = slice(max(first - start, 0), min(stop - start, self.tile))
            tile, emi = self.draw(number)
            return use(max(start - first, 0), tile[..., wanted], None if emi is None else emi[:, wanted])

        # BLAS inside the threads must not start threads of its own: many times slower, and other bits.
        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            pending: deque[Future[Result]] = deque()
            for number in range(first // self.tile, -(-stop // self.tile)):
                pending.append(pool.submit(run, number))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()


def check_threads(threads: int | None) -> int:
    """Return the number of threads: as given, or the processors that this process may use."""
    if threads is not None:
        return integer("threads", threads, minimum=1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_shifts(name: str, theta: Any, elements: int) -> NDArray[np.float64]:
    phases = check_phases(name, theta, elements)
    if phases.ndim != 1:
        raise InvalidArgumentError(name, f"shape ({elements},) for a simulation", f"shape {phases.shape}")
    return np.asarray(phases, np.float64)
