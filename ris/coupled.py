"""Reflection by a surface with mutual coupling, in simulations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.hardware import Hardware
from channels.phase_noise import PhaseNoise
from ris._kernels.surface import reflect

__all__ = ["CoupledReflection"]

PART_BYTES = 2**25
"""Realizations whose matrices have about this size together are worked through in one go."""


class CoupledReflection:
    """What a coupled surface does to columns: `ris._kernels.surface.reflect`, with a full matrix.

    Parameters
    ----------
    hardware : Hardware
        With coupling.
    noise : PhaseNoise
        Law of the phase noise. Where the elements do the same in all realizations one matrix does for all.
    """

    def __init__(self, hardware: Hardware, noise: PhaseNoise) -> None:
        self._hardware, self._certain = hardware, hardware.certain(noise)

    @classmethod
    def of(cls, hardware: Hardware, noise: PhaseNoise) -> "CoupledReflection | None":
        """Return it for coupled hardware, else None."""
        return None if hardware.coupling is None else cls(hardware, noise)

    def reflect(
        self, columns: NDArray[np.complex128], coupled: int, shifts: NDArray[Any], *law_and_first: Any
    ) -> None:
        """Reflect; parameters are those of the kernel, and the first `coupled` columns meet the matrix."""
        N, B, _ = columns.shape
        coefficients = np.ones((N, 1 if self._certain else B, 1), np.complex128)
        reflect(coefficients, 1, shifts, *law_and_first)
        lone, arriving = coefficients[:, :, 0].T, columns[:, :, :coupled]
        if self._certain:
            reflected = self._hardware.reflected(lone[0], arriving.reshape(N, -1))
            arriving[...] = reflected.reshape(N, B, coupled)
        else:
            step = max(1, PART_BYTES // (16 * N * N))
            for start in range(0, B, step):
                part = slice(start, start + step)
                reflected = self._hardware.reflected(lone[part], arriving[:, part].swapaxes(0, 1))
                arriving[:, part] = reflected.swapaxes(0, 1)
        columns[:, :, coupled:] *= shifts[:, None, None]
