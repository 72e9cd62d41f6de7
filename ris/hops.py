"""Realizations of every hop, of phase noise and of failed elements, to import into other simulators."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import integer, positive
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.fading import Hop, UserHop
from channels.hardware import Hardware
from channels.phase_noise import PhaseNoise
from channels.streams import Stream
from ris._kernels.hop import draw_matrices, draw_vectors
from ris.link import check_phases
from ris.montecarlo import MEMORY_LIMIT, as_stream
from ris.system import DoubleRIS, check_single

__all__ = ["HopRealizations", "draw_hops"]

Draws = NDArray[np.complex128] | None


@dataclass(frozen=True, eq=False)
class HopRealizations:
    """Drawn hops; None for a hop that is switched off.

    Attributes
    ----------
    bs_ris1, bs_ris2, ris1_ris2 : ndarray, shapes (n, M, N1), (n, M, N2) and (n, N1, N2)
        Channel matrices, rows on the side nearer to the BS.
    ris1_user, ris2_user, bs_user : ndarray, shapes (n, N1, K), (n, N2, K) and (n, M, K)
        Channel vectors of the users as columns.
    phase_noise1, phase_noise2 : ndarray, shapes (n, N1) and (n, N2)
        Phase noise of the surfaces, radians.
    failed1, failed2 : ndarray, shapes (n, N1) and (n, N2)
        Reflection coefficients of the failed elements, complex; NaN for those that work.
    hardware1, hardware2 : Hardware
        Of the surfaces: amplitudes follow the phase shifts that are chosen later.
    """

    bs_ris1: Draws
    bs_ris2: Draws
    ris1_ris2: Draws
    ris1_user: Draws
    ris2_user: Draws
    bs_user: Draws
    phase_noise1: NDArray[np.float64]
    phase_noise2: NDArray[np.float64]
    failed1: NDArray[np.complex128]
    failed2: NDArray[np.complex128]
    hardware1: Hardware
    hardware2: Hardware

    def channels(self, theta1: Any = None, theta2: Any = None) -> NDArray[np.complex128]:
        """Compose the users' channels at given phase shifts.

        Parameters
        ----------
        theta1, theta2 : array_like, shapes (N1,) and (N2,), or (n, N1) and (n, N2), radians
            Phase shifts: the same for all realizations, or chosen for each from its hops.

        Returns
        -------
        ndarray, shape (n, M, K)
            h_k = d_k + A1 T1 u1k + A2 T2 u2k + A1 T1 D T2 u2k, as in `DoubleRIS`.
        """
        T1 = _reflection("theta1", theta1, self.phase_noise1, self.hardware1, self.failed1)
        T2 = _reflection("theta2", theta2, self.phase_noise2, self.hardware2, self.failed2)
        parts = [] if self.bs_user is None else [self.bs_user]
        at_surface1 = [] if self.ris1_user is None else [self.ris1_user]
        if self.ris2_user is not None:
            reflected = self.hardware2.reflected(T2, self.ris2_user)
            if self.bs_ris2 is not None:
                parts.append(self.bs_ris2 @ reflected)
            if self.ris1_ris2 is not None:
                at_surface1.append(self.ris1_ris2 @ reflected)
        if self.bs_ris1 is not None and at_surface1:
            parts.append(self.bs_ris1 @ self.hardware1.reflected(T1, sum(at_surface1)))
        return np.asarray(sum(parts))


def draw_hops(
    system: DoubleRIS,
    *,
    realizations: int,
    seed: int | Stream,
    first: int = 0,
    memory_limit: float = MEMORY_LIMIT,
) -> HopRealizations:
    """Draw every hop matrix, and phase noise and failed elements of both surfaces.

    The numbers are those that `draw_channels` with the same seed and engine "explicit" draws: composed at the
    same phase shifts, they make the same channels up to rounding.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    realizations : int
        Number of realizations n, at least 1.
    seed : int or Stream
        A whole number >= 0, or a stream of random numbers.
    first : int
        Number of the first realization.
    memory_limit : float
        Bytes that the draws may take.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    MemoryLimitError
        If the draws would exceed `memory_limit`.
    """
    n = integer("realizations", realizations, minimum=1)
    integer("first", first, minimum=0)
    check_single(system, "simulate")
    stream = as_stream(seed)
    M, N1, N2, K = system.antennas, system.elements1, system.elements2, system.users
    entries = M * (N1 + N2) + N1 * N2 + K * (M + N1 + N2) + 2 * (N1 + N2)
    if 2 * 16 * n * entries > positive("memory_limit", memory_limit):
        raise MemoryLimitError(
            "drawing the hops", 32 * n * entries, int(memory_limit), "ask for fewer realizations at a time"
        )

    def between(name: str) -> Draws:
        hop: Hop | None = getattr(system, name)
        return None if hop is None else _matrices(hop, n, stream.child(name).key, first)

    def to_users(name: str) -> Draws:
        hop: UserHop | None = getattr(system, name)
        return None if hop is None else _vectors(hop, n, stream.child(name).key, first)

    def noise(name: str, elements: int) -> NDArray[np.float64]:
        law: PhaseNoise = getattr(system, name)
        if elements == 0:
            return np.empty((n, 0))
        return law.sample(elements, n, stream.child(name), first)

    def failed(hardware: Hardware, name: str, elements: int) -> NDArray[np.complex128]:
        return hardware.sample_failures(elements, n, stream.child(name), first)

    return HopRealizations(
        bs_ris1=between("bs_ris1"),
        bs_ris2=between("bs_ris2"),
        ris1_ris2=between("ris1_ris2"),
        ris1_user=to_users("ris1_user"),
        ris2_user=to_users("ris2_user"),
        bs_user=to_users("bs_user"),
        phase_noise1=noise("phase_noise1", N1),
        phase_noise2=noise("phase_noise2", N2),
        failed1=failed(system.hardware1, "failures1", N1),
        failed2=failed(system.hardware2, "failures2", N2),
        hardware1=system.hardware1,
        hardware2=system.hardware2,
    )


def _matrices(hop: Hop, n: int, key: NDArray[np.uint32], first: int) -> NDArray[np.complex128]:
    left, right = hop.left.factor, hop.right.factor
    W = np.empty((n, left.shape[1], right.shape[1]), np.complex128)
    draw_matrices(W, key, first)
    matrices: NDArray[np.complex128] = np.sqrt(hop.gain) * (left @ W @ right.conj().T)
    if hop.mean is not None:
        matrices += hop.mean.matrix
    return matrices


def _vectors(hop: UserHop, n: int, key: NDArray[np.uint32], first: int) -> NDArray[np.complex128]:
    factor, K = hop.correlation.factor, hop.users
    numbers = np.empty((factor.shape[-1], n, K), np.complex128)
    draw_vectors(numbers, key, first)
    factors = np.broadcast_to(factor, (K, *factor.shape[-2:]))
    vectors: NDArray[np.complex128] = np.einsum("kir,rnk->nik", factors, numbers, optimize=True)
    vectors *= np.sqrt(hop.gain)
    if hop.mean is not None:
        vectors += hop.mean.T
    return vectors


def _reflection(
    name: str,
    theta: Any,
    noise: NDArray[np.float64],
    hardware: Hardware,
    failed: NDArray[np.complex128],
) -> NDArray[np.complex128]:
    phases = check_phases(name, theta, noise.shape[1])
    if phases.shape not in (noise.shape[1:], noise.shape):
        raise InvalidArgumentError(name, f"shape {noise.shape[1:]} or {noise.shape}", f"shape {phases.shape}")
    coefficients: NDArray[np.complex128] = hardware.coefficients(phases + noise, failed)
    return coefficients
