"""The explicit engine: every hop matrix drawn, every product carried out.

From the users inwards, with F a factor of each covariance (R = F F^H) and W of iid CN(0, 1) entries, a hop
acts on the columns V that reach it as sqrt(gain) F_left W F_right^H V + mean V. Arrays of a tile have axes
(element or antenna, realization, column). The columns are the K users, and for nominal CSI once more the K
users as the phase shifts alone would have it: both sets pass through the same hops.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.fading import Hop, UserHop
from channels.interference import Interference
from channels.streams import Stream
from ris._kernels.hop import draw_vectors, explicit_product
from ris.options import Csi
from ris.reflection import SurfaceReflection
from ris.system import DoubleRIS

__all__ = ["ExplicitEngine"]


class ExplicitEngine:
    """Draws tiles of channels hop matrix by hop matrix.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    stream : Stream
        Where the numbers come from; every hop and surface draws from a child of its own.
    csi : {"perfect", "nominal"}
        What the precoding channels see of phase noise and hardware.

    Attributes
    ----------
    bytes_per_realization : int
        Of the largest array of a tile.
    """

    def __init__(
        self, system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], stream: Stream, csi: Csi
    ) -> None:
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
        self.surfaces = (
            SurfaceReflection(system, 1, theta1, stream),
            SurfaceReflection(system, 2, theta2, stream),
        )
        self.emi = _EmiFactor.of(system.emi1), _EmiFactor.of(system.emi2)
        largest = max(system.antennas, system.elements1, system.elements2)
        self.bytes_per_realization = 16 * largest * self.users * self.copies

    def draw(self, first: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the channels of that many realizations from number `first` on, and what interferes.

        Returns
        -------
        channels : ndarray, shape (M, 2, C, count)
            Axes (antenna, real or imaginary part, column, realization).
        emi : ndarray, shape (K, count), or None
            Power of the interference that the surfaces reflect to the users; None without.
        """
        K = self.users
        h = np.zeros((self.antennas, count, K * self.copies), np.complex128)
        emi = [np.zeros((K, count))]
        if self.bs_user:
            h += self._copied(self.bs_user.draw(first, count, K))
        if self.ris2_user:
            v2 = self._reflected(1, self._copied(self.ris2_user.draw(first, count, K)), first, emi)
            if self.bs_ris2:
                h += self.bs_ris2.apply(v2, first)
        if self.bs_ris1:
            v1: Any = 0.0
            if self.ris1_user:
                v1 = self._copied(self.ris1_user.draw(first, count, K))
            if self.ris1_ris2:
                v1 = v1 + self.ris1_ris2.apply(v2, first)
            h += self.bs_ris1.apply(self._reflected(0, v1, first, emi), first)
        parts = np.ascontiguousarray(np.stack([h.real, h.imag]).transpose(1, 0, 3, 2))
        return parts, np.sum(emi, axis=0) if any(self.emi) else None

    def _reflected(
        self, surface: int, columns: NDArray[np.complex128], first: int, emi: list[NDArray[np.float64]]
    ) -> NDArray[np.complex128]:
        self.surfaces[surface].reflect(columns, first)
        at_surface = self.emi[surface]
        if at_surface is not None:
            emi.append(at_surface.power(columns[:, :, : self.users]))
        return columns

    def _copied(self, columns: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return columns if self.copies == 1 else np.concatenate([columns, columns], axis=-1)


class _EmiFactor:
    """Interference at a surface, by a factor of its covariance."""

    def __init__(self, emi: Interference) -> None:
        self.factor = np.ascontiguousarray(emi.correlation.factor.conj().T) * np.sqrt(emi.power)

    @classmethod
    def of(cls, emi: Interference | None) -> "_EmiFactor | None":
        return None if emi is None else cls(emi)

    def power(self, columns: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Return v^H power R v of columns with axes (element, realization, column), shape (column, B)."""
        seen = _times(self.factor, np.ascontiguousarray(columns))
        return np.asarray(np.sum(seen.real**2 + seen.imag**2, axis=0).T)


class _UserDraw:
    """Channels from an array to the users."""

    def __init__(self, hop: UserHop, stream: Stream) -> None:
        self.factor, self.amplitude, self.key = hop.correlation.factor, np.sqrt(hop.gain), stream.key
        self.mean = None if hop.mean is None else hop.mean.T[:, None, :]

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
        return colored if self.mean is None else colored + self.mean


class _HopDraw:
    """A hop between two arrays, its matrix drawn anew in each realization."""

    def __init__(self, hop: Hop, stream: Stream) -> None:
        self.left = hop.left.factor * np.sqrt(hop.gain)
        self.right = np.ascontiguousarray(hop.right.factor.conj().T)
        self.mean, self.key = hop.mean, stream.key

    @classmethod
    def of(cls, hop: Hop | None, stream: Stream) -> "_HopDraw | None":
        return None if hop is None else cls(hop, stream)

    def apply(self, columns: NDArray[np.complex128], first: int) -> NDArray[np.complex128]:
        inner = _times(self.right, columns)
        drawn = np.empty((self.left.shape[1], *columns.shape[1:]), np.complex128)
        explicit_product(drawn, inner, self.key, first)
        product = _times(self.left, drawn)
        if self.mean is not None:
            product += _times(self.mean.left, _times(np.conj(self.mean.right.T), columns))
        return product


def _times(factor: NDArray[Any], columns: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Matrix (n, m) times columns (m, ...); a real one acts on both parts as one real product."""
    flat = columns.reshape(columns.shape[0], -1)
    if factor.dtype == np.float64:
        product = (factor @ flat.view(np.float64)).view(np.complex128)
    else:
        product = factor @ flat
    return product.reshape(factor.shape[0], *columns.shape[1:])
