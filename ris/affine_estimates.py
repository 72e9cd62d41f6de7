r"""Channel estimates from pilots where lines of sight give the channels means.

Users are then correlated too, through what they share. With the means m_k and second moments
P_kj = E h_k h_j^H that the BS has, C_kj = P_kj - m_k m_j^H, and y_j the sum of h_i over the users i of j's
pilot plus noise n ~ CN(0, s I),

    hhat_j = m_j + L_j (y_j - E y_j) = c_j + L_j y_j,    L_j = (sum_i C_ji) (sum_ii' C_ii' + s I)^(-1),

is the affine estimate of least mean square error from y_j. Whatever L_j and c_j, with the true moments

    E h_j^H hhat_j = m_j^H c_j + tr(L_j sum_i P_ij),
    E|hhat_j|^2    = |c_j|^2 + 2 Re(c_j^H L_j E y_j) + tr(L_j (sum_ii' P_ii' + s I) L_j^H).
"""

from collections.abc import Callable
from dataclasses import dataclass

import array_api_compat

from ris.backend import Array, adjoint, conjugate, real
from ris.csi import LmmseCsi, PilotCsi

__all__ = ["AffineEstimates", "affine_estimates"]

Moments = tuple[Array, Array]
"""Means m_k, shape (..., K, M), and second moments P_kj, shape (..., K, K, M, M)."""


@dataclass(frozen=True, eq=False)
class AffineEstimates:
    """Estimates hhat_j = c_j + L_j y_j.

    Attributes
    ----------
    filters, constants : array, shapes (..., K, M, M) and (..., K, M)
        L_j and c_j.
    errors : array, shape (..., K, M, M)
        E (h_j - hhat_j)(h_j - hhat_j)^H as the BS has it.
    mean_gain, precoder_gain : array, shape (..., K)
        E h_j^H hhat_j and E|hhat_j|^2.
    """

    filters: Array
    constants: Array
    errors: Array
    mean_gain: Array
    precoder_gain: Array


def affine_estimates(csi: PilotCsi, moments: Moments, nominal: Callable[[], Moments]) -> AffineEstimates:
    """Return the estimates that the BS makes.

    Parameters
    ----------
    csi : PilotCsi
        The pilots, and what the BS knows.
    moments : (array, array)
        Moments of the channels.
    nominal : callable
        Returns the moments of the channels without phase noise.

    Notes
    -----
    A BS that has wrong moments may turn the mean of h_j^H hhat_j in the complex plane. As in
    `ris.lmmse_moments.pilot_filters`, the estimate is turned back.
    """
    filters, constants, errors = _assumed(csi, moments, nominal)
    means, products = moments
    y, towards, received = _pilots(csi, means, products)
    inner = _sum(conjugate(means) * constants, 1) + _sum(filters * _transposed(adjoint(towards)), 2)
    xp = array_api_compat.array_namespace(products)
    size = xp.abs(inner)
    turn = xp.where(size > 0, conjugate(inner) / xp.where(size > 0, size, xp.ones_like(size)), 1.0)
    filtered = (filters @ y[..., None])[..., 0]
    power = _sum(conjugate(constants) * (constants + 2 * filtered), 1)
    power = power + _sum((filters @ received) * conjugate(filters), 2)
    return AffineEstimates(
        turn[..., None, None] * filters, turn[..., None] * constants, errors, size, real(power)
    )


def _assumed(csi: PilotCsi, moments: Moments, nominal: Callable[[], Moments]) -> tuple[Array, Array, Array]:
    """L_j, c_j and covariances of the errors by the moments that the BS takes for those of the channels."""
    means, products = moments
    xp = array_api_compat.array_namespace(products)
    K, M = means.shape[-2:]
    device = array_api_compat.device(products)
    unit = xp.eye(M, dtype=products.dtype, device=device) + 0 * products[..., 0, :, :, :]
    if not isinstance(csi, LmmseCsi):
        return unit, 0 * means, csi.noise * unit
    if csi.covariance == "nominal":
        means, products = nominal()
    users = xp.eye(K, dtype=products.dtype, device=device)[..., None, None]
    if csi.covariance == "gain":
        own = xp.sum(products * users, axis=-3)
        gains = xp.sum(xp.linalg.diagonal(own), axis=-1) / M
        means, products = 0 * means, users * (gains[..., None, None] * unit)[..., None, :, :, :]
    covariances = products - means[..., :, None, :, None] * conjugate(means)[..., None, :, None, :]
    y, towards, received = _pilots(csi, means, covariances)
    filters = adjoint(xp.linalg.solve(received, adjoint(towards)))
    errors = xp.sum(covariances * users, axis=-3) - filters @ adjoint(towards)
    return filters, means - (filters @ y[..., None])[..., 0], errors


def _pilots(csi: PilotCsi, means: Array, products: Array) -> tuple[Array, Array, Array]:
    """Sums over the users of j's pilot: of m_i, of X_ji, and of X_ii' with the noise."""
    xp = array_api_compat.array_namespace(products)
    K, M = means.shape[-2:]
    device = array_api_compat.device(products)
    same = xp.asarray(csi.shared(K), device=device)
    members = xp.astype(same, real(products).dtype) + 0 * products[..., 0, 0, 0, 0][..., None, None]
    towards = xp.sum(members[..., None, None] * products, axis=-3)
    both = members[..., :, :, None] * members[..., :, None, :]
    received = xp.sum(both[..., None, None] * products[..., None, :, :, :, :], axis=(-4, -3))
    noise = csi.noise * xp.eye(M, dtype=products.dtype, device=device)
    return members @ means, towards, received + noise


def _sum(array: Array, axes: int) -> Array:
    """Sum over the last axes."""
    return array_api_compat.array_namespace(array).sum(array, axis=tuple(range(-axes, 0)))


def _transposed(matrix: Array) -> Array:
    return array_api_compat.array_namespace(matrix).matrix_transpose(matrix)
