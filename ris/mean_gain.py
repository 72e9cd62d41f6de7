"""Second moments of the channels: what a simulation needs of the closed form, on surfaces of any size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.correlation import Correlation, GridCorrelation
from channels.coupling import reflection_matrix
from channels.fading import UserHop
from ris.element_moments import IDEAL, ElementMoments
from ris.options import Csi
from ris.system import DoubleRIS, check_coupling

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
    over1, over2 = _weights(system, _surfaces(system, theta1, theta2, csi))
    return _mean_trace(system, over1, over2)


def nominal_turns(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the phasors of conj(E h_k^H f_k) of nominal precoders, shape (K,); 1 where the mean is zero.

    Parameters are those of `mean_precoder_gain`.
    """
    over1, over2 = _weights(system, _surfaces(system, theta1, theta2, "mixed"))
    means = _mean_trace(system, over1, over2)
    sizes = np.abs(means)
    return np.where(sizes > 0, means / np.where(sizes > 0, sizes, 1.0), 1.0)


def mean_emi_power(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean power of the interference that the surfaces reflect to each user, shape (K,).

    As `ris.moments.closed_form_moments` does; parameters and cost are those of `mean_precoder_gain`.
    """
    one, two = _surfaces(system, theta1, theta2, "perfect")
    between, users1, users2 = system.ris1_ris2, system.ris1_user, system.ris2_user
    total = np.zeros(system.users)
    if system.emi1 is not None:
        R = system.emi1.correlation
        if users1 is not None:
            total += system.emi1.power * _to_users(R, users1, one)
        if between is not None and users2 is not None:
            onward = between.gain * _reflected(R, between.left, one)
            total += system.emi1.power * onward * _to_users(between.right, users2, two)
    if system.emi2 is not None and users2 is not None:
        total += system.emi2.power * _to_users(system.emi2.correlation, users2, two)
    return total


def channel_covariances(
    system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: Csi = "perfect"
) -> NDArray[np.complex128]:
    """Return E f_k f_k^H, shape (K, M, M); parameters and cost are those of `mean_precoder_gain`."""
    over1, over2 = _weights(system, _surfaces(system, theta1, theta2, csi))
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


def _mean_trace(system: DoubleRIS, over1: NDArray[Any], over2: NDArray[Any]) -> NDArray[Any]:
    """Traces of the direct covariances and of RB1 and RB2 with their weights, shape (K,)."""
    gains = np.zeros(system.users)
    if system.bs_user is not None:
        gains = gains + system.bs_user.gain * np.array([_trace(R) for R in _each(system.bs_user)])
    if system.bs_ris1 is not None:
        gains = gains + over1 * _trace(system.bs_ris1.left)
    if system.bs_ris2 is not None:
        gains = gains + over2 * _trace(system.bs_ris2.left)
    return gains


@dataclass(frozen=True)
class _Surface:
    """What a surface does at the two ends of a covariance B on its user side, on average.

    Attributes
    ----------
    right : ndarray, shape (N,) or (N, N)
        Mean coefficients, or the matrix of coupled elements.
    left : ndarray, shape (N,), or None
        Coefficients at the other end; None for the same elements.
    variance : float or ndarray, shape (N,)
        Of the coefficients, if both ends have the same.
    """

    right: NDArray[np.complex128]
    left: NDArray[np.complex128] | None
    variance: float | NDArray[Any]


def _surfaces(system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], sees: str) -> list[_Surface]:
    """Surfaces whose elements act at both ends ("perfect"), at neither ("nominal") or at one ("mixed")."""
    check_coupling(system)
    made = []
    for noise, hardware, theta in (
        (system.phase_noise1, system.hardware1, theta1),
        (system.phase_noise2, system.hardware2, theta2),
    ):
        moments = IDEAL if sees == "nominal" else ElementMoments.of(noise, hardware, theta)
        x: NDArray[np.complex128] = np.exp(1j * theta)
        right = x * moments.mean
        if hardware.coupling is not None and sees != "nominal" and len(theta) > 0:
            right = reflection_matrix(right, hardware.coupling)
        mixed = sees == "mixed"
        made.append(_Surface(right, x if mixed else None, 0.0 if mixed else moments.variance))
    return made


def _weights(system: DoubleRIS, surfaces: list[_Surface]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights of RB1 and RB2 in E h_k h_k^H, or with nominal channels for both or one, shapes (K,)."""
    one, two = surfaces
    hop1, hop2, between = system.bs_ris1, system.bs_ris2, system.ris1_ris2
    users1, users2 = system.ris1_user, system.ris2_user
    over1, over2 = np.zeros(system.users), np.zeros(system.users)
    if hop1 is not None:
        if users1 is not None:
            over1 = over1 + hop1.gain * _to_users(hop1.right, users1, one)
        if between is not None and users2 is not None:
            onward = between.gain * _reflected(hop1.right, between.left, one)
            over1 = over1 + hop1.gain * onward * _to_users(between.right, users2, two)
    if hop2 is not None and users2 is not None:
        over2 = over2 + hop2.gain * _to_users(hop2.right, users2, two)
    return over1, over2


def _to_users(A: Correlation, users: UserHop, surface: _Surface) -> NDArray[Any]:
    """Mean gain from a covariance A on the BS side of a surface to each user, shape (K,)."""
    covariances = _each(users)
    gains = {id(R): _reflected(A, R, surface) for R in {id(R): R for R in covariances}.values()}
    return np.asarray(users.gain * np.array([gains[id(R)] for R in covariances]))


def _reflected(A: Correlation, B: Correlation, surface: _Surface) -> Any:
    """E tr(A T B T^H) = (M x)^H (A o B^T) M x and what coinciding elements add; complex if T^H is another.

    With a full matrix T the sum of all A T o (B T^H)^T.
    """
    right, left = surface.right, surface.right if surface.left is None else surface.left
    if right.ndim == 2:
        onward = B.matrix @ right.conj().T if left is right else B.matrix * left.conj()
        form = np.sum((A.matrix @ right) * onward.T)
        return form.real if left is right else form
    if isinstance(A, GridCorrelation) and isinstance(B, GridCorrelation) and A.grid == B.grid:
        product = GridCorrelation(A.lags * B.lags[::-1, ::-1])
        diagonal = np.full(product.size, product.lags[A.grid[0] - 1, A.grid[1] - 1].real)
        form = np.vdot(left, product.times(right[:, None])[:, 0])
    else:
        matrix = A.matrix * B.matrix.T
        diagonal = np.diagonal(matrix).real
        form = np.vdot(left, matrix @ right)
    return (form.real if left is right else form) + np.sum(surface.variance * diagonal)


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
