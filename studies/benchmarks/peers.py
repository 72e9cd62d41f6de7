"""Sionna's channel generators, composed to the double-reflection channels that Sionna has no class for.

Only where Sionna 2 is installed; nothing else depends on it.
"""

import importlib
import importlib.metadata
from typing import Any

import numpy as np

import channels

__all__ = ["SionnaHops", "sionna_version"]

SPACING, LOADING = 0.5, 1e-4
"""Of its surfaces, in wavelengths, and what is added to the diagonal of their covariance: Sionna colours with
a Cholesky factor and does not ask whether there is one, which for smaller spacings there is not."""

SMALLEST_BATCH = 8
"""Realizations: a batch takes the Cholesky factors anew."""


def sionna_version() -> str | None:
    """Version of the installed Sionna, built on torch since 2.0, or None if there is none so new."""
    for name in ("sionna", "sionna-no-rt"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if int(version.split(".")[0]) >= 2 else None
    return None


class SionnaHops:
    """The three hops by `GenerateFlatFadingChannel` with a `KroneckerModel` each, fixed phases in between.

    In Sionna's own single precision, and without phase noise: less than the other ways do.

    Parameters
    ----------
    elements, antennas, users : int
        Of each surface (a square), of the BS, and users.
    threads : int
        Of torch.
    """

    def __init__(self, elements: int, antennas: int, users: int, threads: int) -> None:
        torch, library = importlib.import_module("torch"), importlib.import_module("sionna.phy.channel")
        torch.set_num_threads(threads)
        side = int(np.sqrt(elements))
        R = np.asarray(channels.isotropic_correlation(channels.UniformPlanarArray(side, side, SPACING)))
        R = torch.from_numpy(R + LOADING * np.eye(elements))
        RB = torch.from_numpy(np.asarray(channels.exponential_correlation(antennas, 0.5)).astype(float))

        def generator(inputs: int, outputs: int, right: Any, left: Any) -> Any:
            law = library.KroneckerModel(right, left, device="cpu")
            return library.GenerateFlatFadingChannel(inputs, outputs, law, device="cpu")

        self._hops = (
            generator(elements, antennas, R, RB),
            generator(elements, elements, R, R),
            generator(users, elements, None, R),
        )
        self._phasors = torch.ones(elements, dtype=torch.complex64)

    def draw(self, count: int) -> Any:
        """Return channels of shape (count, M, K)."""
        bs_ris1, ris1_ris2, ris2_user = (hop(count) for hop in self._hops)
        return (bs_ris1 * self._phasors) @ ris1_ris2 @ (self._phasors[:, None] * ris2_user)
