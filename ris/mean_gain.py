"""Second moments of the channels: what a simulation needs of the closed form, on surfaces of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.fading import Hop, UserHop
from ris.correlations import each, reflected, trace
from ris.options import Csi
from ris.rician_gain import rician_second_moments
from ris.system import DoubleRIS

__all__ = ["channel_covariances", "mean_precoder_gain"]


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
        Whether the precoders see the phase noise.

    Returns
    -------
    ndarray, shape (K,)

    Notes
    -----
    O(N^2), and O(N log N) without a matrix where both covariances at a surface belong to one grid.
    """
    if system.line_of_sight:
        _, products = rician_second_moments(system, theta1, theta2, noisy=csi == "perfect")
        return np.asarray(np.einsum("kkmm->k", products).real)
    over1, over2 = _weights(system, theta1, theta2, csi)
    gains = np.zeros(system.users)
    if system.bs_user is not None:
        gains += system.bs_user.gain * np.array([trace(R) for R in each(system.bs_user)])
    if system.bs_ris1 is not None:
        gains += over1 * trace(system.bs_ris1.left)
    if system.bs_ris2 is not None:
        gains += over2 * trace(system.bs_ris2.left)
    return gains


def channel_covariances(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi = "perfect"
) -> NDArray[np.complex128]:
    """Return E f_k f_k^H, shape (K, M, M); parameters and cost are those of `mean_precoder_gain`.

    Without lines of sight; with them see `ris.rician_gain`.
    """
    over1, over2 = _weights(system, theta1, theta2, csi)
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


def _weights(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of RB1 and RB2 in E h_k h_k^H, shapes (K,)."""
    r1, r2 = (
        law.moment(1) if csi == "perfect" else 1.0 for law in (system.phase_noise1, system.phase_noise2)
    )
    x1, x2 = np.exp(1j * theta1), np.exp(1j * theta2)
    hop1, hop2, between = system.bs_ris1, system.bs_ris2, system.ris1_ris2
    users1, users2 = system.ris1_user, system.ris2_user
    over1, over2 = np.zeros(system.users), np.zeros(system.users)
    if hop1 is not None:
        if users1 is not None:
            over1 += hop1.gain * _to_users(hop1, users1, x1, r1)
        if between is not None and users2 is not None:
            onward = between.gain * reflected(hop1.right, between.left, x1, r1)
            over1 += hop1.gain * onward * _to_users(between, users2, x2, r2)
    if hop2 is not None and users2 is not None:
        over2 += hop2.gain * _to_users(hop2, users2, x2, r2)
    return over1, over2


def _to_users(hop: Hop, users: UserHop, x: NDArray[Any], r: float) -> NDArray[np.float64]:
    """Mean gain from the right side of a hop over its surface to each user, shape (K,)."""
    covariances = each(users)
    gains = {id(R): reflected(hop.right, R, x, r) for R in {id(R): R for R in covariances}.values()}
    return np.asarray(users.gain * np.array([gains[id(R)] for R in covariances]))
