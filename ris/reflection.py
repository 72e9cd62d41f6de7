"""What a surface does to columns in simulations: phase shifts, phase noise, hardware and mutual coupling."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.streams import Stream
from ris._kernels.surface import reflect, reflect_parts
from ris.system import DoubleRIS

__all__ = ["SurfaceReflection"]

PART_BYTES = 2**25
"""Realizations whose matrices have about this size together are worked through in one go."""


class SurfaceReflection:
    """Surface 1 or 2 at its phase shifts.

    The channels of the K users meet the surface as it is. Further columns, those of nominal channels, meet
    its phase shifts alone.

    Parameters
    ----------
    system : DoubleRIS
        The system.
    surface : {1, 2}
        Which surface.
    theta : ndarray, shape (N,), radians
        Its phase shifts.
    stream : Stream
        Of the simulation; phase noise and failures draw from children.

    Attributes
    ----------
    coupled : bool
        Whether elements act on each other; if not, each acts on its own columns alone.
    law : tuple
        Number of users, and what kernels want to know of phase shifts, phase noise and hardware.
    """

    def __init__(self, system: DoubleRIS, surface: int, theta: NDArray[Any], stream: Stream) -> None:
        noise = system.phase_noise1 if surface == 1 else system.phase_noise2
        self._hardware = system.hardware1 if surface == 1 else system.hardware2
        self.coupled = self._hardware.coupling is not None
        self._users, self._shifts = system.users, np.exp(1j * theta)
        self._certain = self._hardware.certain(noise)
        self.law = (
            system.users,
            self._shifts,
            noise.kernel_table(),
            stream.child(f"phase_noise{surface}").key,
            self._hardware.kernel_table(len(theta)),
            stream.child(f"failures{surface}").key,
        )

    def reflect(self, columns: NDArray[np.complex128], first: int) -> None:
        """Reflect columns with axes (element, realization, column), from realization `first` on, in place."""
        if not self.coupled:
            reflect(columns, *self.law, first)
        else:
            columns[:, :, self._users :] *= self._shifts[:, None, None]
            self._reflect_coupled(columns[:, :, : self._users], first)

    def reflect_parts(self, columns: NDArray[Any], first: int) -> None:
        """Reflect columns with axes (element, real or imaginary part, column, realization), in place."""
        if not self.coupled:
            reflect_parts(columns, *self.law, 0, first)
            return
        whole = np.ascontiguousarray((columns[:, 0] + 1j * columns[:, 1]).swapaxes(1, 2), np.complex128)
        self.reflect(whole, first)
        columns[:, 0], columns[:, 1] = whole.real.swapaxes(1, 2), whole.imag.swapaxes(1, 2)

    def _reflect_coupled(self, columns: NDArray[np.complex128], first: int) -> None:
        N, B, K = columns.shape
        lone = np.ones((N, 1 if self._certain else B, 1), np.complex128)
        reflect(lone, 1, *self.law[1:], first)
        coefficients = lone[:, :, 0].T
        if self._certain:  # one matrix for all realizations
            reflected = self._hardware.reflected(coefficients[0], columns.reshape(N, -1))
            columns[...] = reflected.reshape(N, B, K)
            return
        step = max(1, PART_BYTES // (16 * N * N))
        for start in range(0, B, step):
            part = slice(start, start + step)
            reflected = self._hardware.reflected(coefficients[part], columns[:, part].swapaxes(0, 1))
            columns[:, part] = reflected.swapaxes(0, 1)
