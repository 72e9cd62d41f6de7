r"""Moments with LMMSE channel estimates: exact, since the estimates are linear in the channels.

With f_j = L_j (sum over the users i of j's pilot of h_i + n), n ~ CN(0, s I), and shared randomness fixed,
h_k, h_i and n are independent, so that terms with different i, or with one n, average to zero:

    E |h_k^H f_j|^2 = sum_i E tr(Q_k L_j Q_i L_j^H) + s tr(L_j L_j^H E Q_k)
                      + E |tr(Q_k L_j)|^2 if k shares j's pilot.

The filter L_j = E Q_j C_j^(-1), C_j = sum_i E Q_i + s I, makes E h_j^H f_j = E|f_j|^2 = tr(L_j E Q_j).

With lines of sight the channels have means, and those of different users are correlated through what they
share: `affine_estimates`, used by `ris.rician_moments`.
"""

import array_api_compat

from ris.backend import Array, adjoint, conjugate, real
from ris.csi import LmmseCsi
from ris.link import BsTraces, Link
from ris.pairs import diagonal
from ris.perfect_moments import mean_weights, pair_moments, surface1_tables, surface2_tables

__all__ = ["affine_estimates", "lmmse_filters", "lmmse_moments", "mean_covariances"]


def lmmse_moments(link: Link, csi: LmmseCsi) -> tuple[Array, Array, Array]:
    """Return E h_k^H f_k, E|h_k^H f_j|^2 and E|f_k|^2."""
    one, two = link.surface1(), link.surface2()
    tables1, tables2 = surface1_tables(one, one.noisy()[0]), surface2_tables(two, *two.noisy())
    covariances = mean_covariances(link, tables1, tables2)
    xp = array_api_compat.array_namespace(covariances)
    users = covariances.shape[-3]
    shared = csi.shared(users)
    filters = lmmse_filters(covariances, csi)
    columns = []
    for j, same in enumerate(shared):
        mask = xp.asarray(same, dtype=link.a.dtype, device=array_api_compat.device(link.a))
        L = filters[..., j, :, :]
        G, J = pair_moments(link, tables1, tables2, BsTraces(*link.bs_sides, L))
        noise = csi.noise * _trace((L @ adjoint(L))[..., None, :, :], covariances)
        columns.append(xp.sum(J * mask, axis=-1) + diagonal(G) * mask + noise)
    mean = _trace(filters, covariances)
    return mean, xp.stack(columns, axis=-1), mean


def mean_covariances(link: Link, tables1: list[Array], tables2: list[Array]) -> Array:
    """E Q_k = E h_k h_k^H, shape (..., K, M, M)."""
    _, over1, over2 = mean_weights(link, tables1, tables2)
    RBk, RB1, RB2 = link.bs_sides

    def scaled(weights: Array, matrix: Array) -> Array:
        return weights[..., None, None] * matrix

    return scaled(link.a, RBk) + scaled(over1, RB1[..., None, :, :]) + scaled(over2, RB2[..., None, :, :])


def lmmse_filters(covariances: Array, csi: LmmseCsi) -> Array:
    """L_k = E Q_k C_k^(-1), shape (..., K, M, M), from the E Q_k of all users."""
    xp = array_api_compat.array_namespace(covariances)
    users, antennas = covariances.shape[-3], covariances.shape[-1]
    device = array_api_compat.device(covariances)
    noise = csi.noise * xp.eye(antennas, dtype=covariances.dtype, device=device)
    received = [
        sum((covariances[..., i, :, :] for i in range(users) if same[i]), start=noise)
        for same in csi.shared(users)
    ]
    return adjoint(xp.linalg.solve(xp.stack(received, axis=-3), covariances))


def affine_estimates(means: Array, products: Array, csi: LmmseCsi) -> tuple[Array, Array, Array]:
    """LMMSE estimates f_j = c_j + L_j y of channels that have means and are correlated with each other.

    With C_ji the covariance of h_j and h_i, and y = sum_i h_i + n over the users i of j's pilot, that of h_j
    and y is T_j = sum_i C_ji, that of y itself V_j = sum_ii' C_ii' + s I, and

        L_j = T_j V_j^(-1),    c_j = E h_j - L_j E y,    E h_j^H f_j = E|f_j|^2 = |E h_j|^2 + tr(L_j T_j^H).

    Parameters
    ----------
    means : array, shape (..., K, M)
        E h_k.
    products : array, shape (..., K, K, M, M)
        E h_k h_j^H.
    csi : LmmseCsi
        The pilots.

    Returns
    -------
    filters, constants, gains : array, shapes (..., K, M, M), (..., K, M) and (..., K)
        L_j, c_j and E|f_j|^2.
    """
    xp = array_api_compat.array_namespace(means, products)
    users, antennas = means.shape[-2:]
    device = array_api_compat.device(products)
    noise = csi.noise * xp.eye(antennas, dtype=products.dtype, device=device)
    covariances = products - means[..., :, None, :, None] * conjugate(means)[..., None, :, None, :]
    towards, received, means_received = [], [], []
    for j, same in enumerate(csi.shared(users)):
        members = [i for i in range(users) if same[i]]
        towards.append(sum(covariances[..., j, i, :, :] for i in members))
        pairs = [covariances[..., i, other, :, :] for i in members for other in members]
        received.append(sum(pairs, start=noise))
        means_received.append(sum(means[..., i, :] for i in members))
    T, V, y = (
        xp.stack(stack, axis=axis) for stack, axis in ((towards, -3), (received, -3), (means_received, -2))
    )
    filters = adjoint(xp.linalg.solve(V, adjoint(T)))
    constants = means - (filters @ y[..., None])[..., 0]
    gains = real(xp.sum(means * conjugate(means), axis=-1)) + _trace(filters, adjoint(T))
    return filters, constants, gains


def _trace(X: Array, Y: Array) -> Array:
    """Re tr(X Y), shape (...)."""
    xp = array_api_compat.array_namespace(X, Y)
    return real(xp.sum(X * xp.matrix_transpose(Y), axis=(-2, -1)))
