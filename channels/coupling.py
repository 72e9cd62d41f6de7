r"""Mutual coupling of the elements of a surface, by its scattering matrix or its impedance matrix.

Between the ports of its N elements a surface is a linear network with the scattering matrix S. Element n ends
in a load that reflects with the coefficient c_n, what a lone element would do. Waves b that leave the network
at the ports come back as a = C b, C = diag(c), and with the waves v that a hop brings b = S a + v. So what a
surface reflects of v is

    a = C (I - S C)^(-1) v,

which is (C^(-1) - S)^(-1) v where no element absorbs (Shen, Clerckx and Murch, "Modeling and architecture
design of reconfigurable intelligent surfaces using scattering parameter network analysis", IEEE Trans.
Wireless Commun. 21(2), 2022). Without coupling S is zero. With Z the impedance matrix and a real reference z
of all ports, S = (Z - z I) (Z + z I)^(-1) (Gradoni and Di Renzo, "End-to-end mutual coupling aware
communication model for reconfigurable intelligent surfaces", IEEE Wireless Commun. Lett. 10(5), 2021, argue
in Z).

Dipoles. A thin dipole of length l along z with the current sin(k (l / 2 - |z|)) has the exact near field

    E_z = -j eta I / (4 pi) [exp(-j k R1) / R1 + exp(-j k R2) / R2 - 2 cos(k l / 2) exp(-j k r) / r],

R1, R2 and r the distances to its ends and its middle. The induced EMF of a parallel one at the distance d and
the height h, weighted with its current, is their mutual impedance referred to the feed (Balanis, Antenna
Theory, 3rd ed., sections 8.5.2 and 8.6.2). The integrals are, with w the height over the end or the middle,

    int exp(+-j k w) exp(-j k R) / R dw = -+[E(R -+ w)],   E(u) = Ci(k u) - j Si(k u),   R^2 = d^2 + w^2,

as R -+ w changes by -+(R -+ w) / R. The distance of a dipole to itself is the radius of its wire.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import sici

from channels.arrays import AntennaArray
from channels.checks import as_array, finite, positive
from channels.errors import InvalidArgumentError

__all__ = ["mutual_impedance", "reflection_matrix", "scattering_matrix"]

FREE_SPACE_IMPEDANCE = 376.730313668
"""Of free space, ohm (CODATA 2018)."""

Array = Any


def reflection_matrix(coefficients: Array, scattering: Array) -> Array:
    """Return C (I - S C)^(-1), shape (..., N, N).

    Parameters
    ----------
    coefficients : array, shape (..., N)
        c, what each element would do alone.
    scattering : array, shape (N, N)
        S.
    """
    xp = array_api_compat.array_namespace(coefficients)
    device = array_api_compat.device(coefficients)
    matrix = xp.asarray(np.array(scattering), device=device)
    identity = xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=device)
    return coefficients[..., :, None] * xp.linalg.inv(identity - matrix * coefficients[..., None, :])


def scattering_matrix(impedance: ArrayLike, reference: float = 50.0) -> NDArray[np.complex128]:
    """Return S = (Z - z I) (Z + z I)^(-1) of a network.

    Parameters
    ----------
    impedance : array_like, shape (N, N)
        Z, ohm.
    reference : float
        z, ohm, > 0, the same at all ports.

    Returns
    -------
    ndarray, shape (N, N)

    Raises
    ------
    InvalidArgumentError
        If the impedances are no square matrix of finite numbers, or Z + z I has no inverse.
    """
    Z = np.asarray(finite("impedance", as_array("impedance", impedance)), np.complex128)
    if Z.ndim != 2 or Z.shape[0] != Z.shape[1]:
        raise InvalidArgumentError("impedance", "shape (N, N)", f"shape {Z.shape}")
    shift = positive("reference", reference) * np.eye(len(Z))
    try:
        return np.asarray(np.linalg.solve((Z + shift).T, (Z - shift).T).T)
    except np.linalg.LinAlgError:
        raise InvalidArgumentError("impedance", "Z + z I with an inverse", "a singular one") from None


def mutual_impedance(
    array: AntennaArray, length: float = 0.5, radius: float = 1e-4
) -> NDArray[np.complex128]:
    """Impedance matrix of thin dipoles at the elements of an array, all along z, fed in the middle.

    Parameters
    ----------
    array : AntennaArray
        Where they are.
    length : float
        Of a dipole in wavelengths, > 0 and no multiple of 1, where the current at the feed is zero.
    radius : float
        Of its wire in wavelengths, > 0, small against the length.

    Returns
    -------
    ndarray, shape (N, N), complex
        Ohm; symmetric. That of a half-wave dipole alone is 73.1 + 42.5 j.

    Raises
    ------
    InvalidArgumentError
        On bad arguments, and if dipoles overlap.
    """
    if not isinstance(array, AntennaArray):
        raise InvalidArgumentError("array", "a channels.AntennaArray", repr(array))
    if positive("length", length) % 1 == 0:
        raise InvalidArgumentError("length", "no multiple of the wavelength", repr(length))
    if positive("radius", radius) > length / 4:
        raise InvalidArgumentError("radius", "a wire that is thin against the length", repr(radius))
    offsets = array.positions[:, None, :] - array.positions[None, :, :]
    across, h = np.hypot(offsets[..., 0], offsets[..., 1]), np.abs(offsets[..., 2])
    overlapping = (across < 2 * radius) & (h < length) & ~np.eye(array.size, dtype=bool)
    if np.any(overlapping):
        first, second = np.argwhere(overlapping)[0]
        raise InvalidArgumentError(
            "length", "dipoles that do not overlap", f"overlap of {first} and {second}"
        )
    d, half, k = np.maximum(across, radius), length / 2, 2 * np.pi
    total = np.zeros(h.shape, np.complex128)
    for shift, weight in ((-half, 1.0), (half, 1.0), (0.0, -2 * np.cos(k * half))):
        centre = h + shift
        for start, end, sign in ((-half, 0.0, 1), (0.0, half, -1)):
            # sin(k (l / 2 + sign z)) as two exponentials
            rising = _radiated(d, centre, start, end, sign) * np.exp(1j * k * half)
            falling = _radiated(d, centre, start, end, -sign) * np.exp(-1j * k * half)
            total += weight * (rising - falling) / 2j
    return np.asarray(1j * FREE_SPACE_IMPEDANCE / (4 * np.pi * np.sin(k * half) ** 2) * total)


def _radiated(
    d: NDArray[np.float64], centre: NDArray[np.float64], start: float, end: float, sign: int
) -> NDArray[np.complex128]:
    """Integral of exp(j sign k z) exp(-j k R) / R, R^2 = d^2 + (z + centre)^2, over start <= z <= end."""
    k = 2 * np.pi

    def primitive(z: float) -> NDArray[np.complex128]:
        w = sign * (z + centre)
        R = np.hypot(d, w)
        u = np.where(w > 0, d**2 / (R + np.abs(w)), R - w)  # R - w, without cancellation
        sine, cosine = sici(k * u)
        return np.asarray(cosine - 1j * sine)

    return np.asarray(-sign * np.exp(-1j * sign * k * centre) * (primitive(end) - primitive(start)))
