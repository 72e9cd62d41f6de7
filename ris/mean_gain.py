"""Second moments of the channels: what a simulation needs of the closed form, on surfaces of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation
from channels.fading import UserHop
from ris.correlations import each, trace
from ris.interferer import interferer
from ris.mean_surface import MeanSurface, Seen, mean_surfaces
from ris.options import Csi
from ris.rician_gain import rician_second_moments
from ris.system import DoubleRIS

__all__ = ["channel_covariances", "mean_emi_power", "mean_precoder_gain", "nominal_turns"]


def mean_precoder_gain(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi
) -> NDArray[np.float64]:
    """Return E|f_k|^2 of the maximum-ratio precoders, as `ris.moments.closed_form_moments` does.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    csi : {"perfect", "nominal"}
        Whether the precoders see phase noise and hardware.

    Returns
    -------
    ndarray, shape (K,)

    Notes
    -----
    O(N^2), and O(N log N) without a matrix where both covariances at a surface belong to one grid.
    """
    return np.asarray(_mean_products(system, theta1, theta2, csi).real)


def nominal_turns(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the phasors of conj(E h_k^H f_k) of nominal precoders, shape (K,); 1 where the mean is zero.

    Parameters are those of `mean_precoder_gain`.
    """
    means = _mean_products(system, theta1, theta2, "mixed")
    sizes = np.abs(means)
    return np.where(sizes > 0, means / np.where(sizes > 0, sizes, 1.0), 1.0)


def mean_emi_power(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean power of the interference that the surfaces reflect to each user, shape (K,).

    As `ris.moments.closed_form_moments` does; parameters and cost are those of `mean_precoder_gain`.
    """
    emitter = interferer(system)
    return (
        np.zeros(system.users) if emitter is None else mean_precoder_gain(emitter, theta1, theta2, "perfect")
    )


def channel_covariances(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi = "perfect"
) -> NDArray[np.complex128]:
    """Return E f_k f_k^H, shape (K, M, M); parameters and cost are those of `mean_precoder_gain`.

    Without lines of sight; with them see `ris.rician_gain`.
    """
    over1, over2 = _weights(system, *mean_surfaces(system, theta1, theta2, csi))
    covariances = np.zeros((system.users, system.antennas, system.antennas), np.complex128)
    if system.bs_user is not None:
        covariances += system.bs_user.gain[:, None, None] * np.stack(
            [np.asarray(R) for R in each(system.bs_user)]
        )
    if system.bs_ris1 is not None:
        covariances += over1[:, None, None] * np.asarray(system.bs_ris1.left)
    if system.bs_ris2 is not None:
        covariances += over2[:, None, None] * np.asarray(system.bs_ris2.left)
    return covariances


def _mean_products(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], seen: Seen) -> NDArray[Any]:
    """E g_k^H h_k of channels h_k and g_k that see the elements or not, shape (K,)."""
    if system.line_of_sight:
        _, products = rician_second_moments(system, theta1, theta2, seen)
        return np.asarray(np.einsum("kkmm->k", products))
    over1, over2 = _weights(system, *mean_surfaces(system, theta1, theta2, seen))
    gains = np.zeros(system.users)
    if system.bs_user is not None:
        gains = gains + system.bs_user.gain * np.array([trace(R) for R in each(system.bs_user)])
    if system.bs_ris1 is not None:
        gains = gains + over1 * trace(system.bs_ris1.left)
    if system.bs_ris2 is not None:
        gains = gains + over2 * trace(system.bs_ris2.left)
    return np.asarray(gains)


def _weights(system: DoubleRIS, one: MeanSurface, two: MeanSurface) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights of RB1 and RB2 in E h_k g_k^H, shapes (K,)."""
    hop1, hop2, between = system.bs_ris1, system.bs_ris2, system.ris1_ris2
    users1, users2 = system.ris1_user, system.ris2_user
    over1, over2 = np.zeros(system.users), np.zeros(system.users)
    if hop1 is not None:
        if users1 is not None:
            over1 = over1 + hop1.gain * _to_users(hop1.right, users1, one)
        if between is not None and users2 is not None:
            onward = between.gain * one.reflected(hop1.right, between.left)
            over1 = over1 + hop1.gain * onward * _to_users(between.right, users2, two)
    if hop2 is not None and users2 is not None:
        over2 = over2 + hop2.gain * _to_users(hop2.right, users2, two)
    return over1, over2


def _to_users(A: Correlation, users: UserHop, surface: MeanSurface) -> NDArray[Any]:
    """Mean gain from a covariance A on the BS side of a surface to each user, shape (K,)."""
    covariances = each(users)
    gains = {id(R): surface.reflected(A, R) for R in {id(R): R for R in covariances}.values()}
    return np.asarray(users.gain * np.array([gains[id(R)] for R in covariances]))
