"""Second moments of the channels: what a simulation needs of the closed form, on surfaces of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.fading import Hop, UserHop
from ris.options import Csi
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
    over1, over2 = _weights(system, theta1, theta2, csi)
    gains = np.zeros(system.users)
    if system.bs_user is not None:
        gains += system.bs_user.gain * np.array([_trace(R) for R in _each(system.bs_user)])
    if system.bs_ris1 is not None:
        gains += over1 * _trace(system.bs_ris1.left)
    if system.bs_ris2 is not None:
        gains += over2 * _trace(system.bs_ris2.left)
    return gains


def channel_covariances(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi = "perfect"
) -> NDArray[np.complex128]:
    """Return E f_k f_k^H, shape (K, M, M); parameters and cost are those of `mean_precoder_gain`."""
    over1, over2 = _weights(system, theta1, theta2, csi)
    covariances = np.zeros((system.users, system.antennas, system.antennas), np.complex128)
    if system.bs_user is not None:
        covariances += system.bs_user.gain[:, None, None] * np.stack(
            [np.asarray(R) for R in _each(system.bs_user)]
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
            onward = between.gain * _reflected(hop1.right, between.left, x1, r1)
            over1 += hop1.gain * onward * _to_users(between, users2, x2, r2)
    if hop2 is not None and users2 is not None:
        over2 += hop2.gain * _to_users(hop2, users2, x2, r2)
    return over1, over2


def _to_users(hop: Hop, users: UserHop, x: NDArray[Any], r: float) -> NDArray[np.float64]:
    """Mean gain from the right side of a hop over its surface to each user, shape (K,)."""
    covariances = _each(users)
    gains = {id(R): _reflected(hop.right, R, x, r) for R in {id(R): R for R in covariances}.values()}
    return np.asarray(users.gain * np.array([gains[id(R)] for R in covariances]))


def _reflected(A: Correlation, B: Correlation, x: NDArray[Any], r: float) -> float:
    """E tr(A E X B X^H E^H), X = diag(x): r^2 x^H (A o B^T) x, and what coinciding elements add."""
    if isinstance(A, GridCorrelation) and isinstance(B, GridCorrelation) and A.grid == B.grid:
        product = GridCorrelation(A.lags * B.lags[::-1, ::-1])
        diagonal = product.size * float(product.lags[A.grid[0] - 1, A.grid[1] - 1].real)
        form = np.vdot(x, product.times(x[:, None])[:, 0]).real
    else:
        matrix = A.matrix * B.matrix.T
        diagonal = float(np.trace(matrix).real)
        form = np.vdot(x, matrix @ x).real
    return float(r**2 * form + (1 - r**2) * diagonal)


def _trace(R: Correlation) -> float:
    if isinstance(R, GridCorrelation):
        return R.size * float(R.lags[R.grid[0] - 1, R.grid[1] - 1].real)
    return float(np.trace(R.matrix).real)


def _each(users: UserHop) -> list[Correlation]:
    """The covariance of each user; the same object for all that share one."""
    R = users.correlation
    if len(R.shape) == 2:
        return [R] * users.users
    own = [R[k] for k in range(R.shape[0])]
    return own if len(own) == users.users else own * users.users
