r"""Moments with channels estimated from pilots: exact, since the estimates are linear in the channels.

With f_j = L_j (sum over the users i of j's pilot of h_i + n), n ~ CN(0, s I), and shared randomness fixed,
h_k, h_i and n are independent, so that terms with different i, or with one n, average to zero:

    E h_j^H f_j     = tr(L_j E Q_j)
    E |h_k^H f_j|^2 = sum_i E tr(Q_k L_j Q_i L_j^H) + s tr(L_j L_j^H E Q_k)
                      + E |tr(Q_k L_j)|^2 if k shares j's pilot
    E |f_j|^2       = tr(L_j C_j L_j^H),   C_j = sum_i E Q_i + s I.

This holds for any fixed L_j. The LMMSE filter E Q_j C_j^(-1) makes E h_j^H f_j = E|f_j|^2.
"""

from collections.abc import Callable

import array_api_compat

from ris.backend import Array, adjoint, is_complex, real
from ris.csi import LmmseCsi, PilotCsi
from ris.link import BsTraces, Link
from ris.pairs import diagonal
from ris.perfect_moments import mean_weights, pair_moments, surface1_tables, surface2_tables

__all__ = ["error_covariances", "lmmse_moments", "mean_covariances", "pilot_filters", "precoder_gains"]


def lmmse_moments(link: Link, csi: PilotCsi) -> tuple[Array, Array, Array]:
    """Return E h_k^H f_k, E|h_k^H f_j|^2 and E|f_k|^2."""
    one, two = link.surface1(), link.surface2()
    tables1, tables2 = surface1_tables(one, one.noisy()[0]), surface2_tables(two, *two.noisy())
    covariances = mean_covariances(link, tables1, tables2)

    def nominal() -> Array:
        (N, _), (Nb, Nd) = one.nominal(), two.nominal()
        return mean_covariances(link, [one.vector(N.mean)], [two.vector(Nb.mean), two.vector(Nd.mean)])

    filters = pilot_filters(csi, covariances, nominal)
    xp = array_api_compat.array_namespace(covariances)
    columns = []
    for j, same in enumerate(csi.shared(covariances.shape[-3])):
        mask = xp.asarray(same, dtype=link.a.dtype, device=array_api_compat.device(link.a))
        L = filters[..., j, :, :]
        G, J = pair_moments(link, tables1, tables2, BsTraces(*link.bs_sides, L))
        noise = csi.noise * _trace((L @ adjoint(L))[..., None, :, :], covariances)
        columns.append(xp.sum(J * mask, axis=-1) + diagonal(G) * mask + noise)
    mean = _trace(filters, covariances)
    return mean, xp.stack(columns, axis=-1), precoder_gains(csi, filters, covariances)


def mean_covariances(link: Link, tables1: list[Array], tables2: list[Array]) -> Array:
    """E Q_k = E h_k h_k^H, shape (..., K, M, M)."""
    _, over1, over2 = mean_weights(link, tables1, tables2)
    RBk, RB1, RB2 = link.bs_sides

    def scaled(weights: Array, matrix: Array) -> Array:
        return weights[..., None, None] * matrix

    return scaled(link.a, RBk) + scaled(over1, RB1[..., None, :, :]) + scaled(over2, RB2[..., None, :, :])


def assumed_covariances(csi: LmmseCsi, covariances: Array, nominal: Callable[[], Array]) -> Array:
    """Covariances that the BS takes for those of the channels, shape (..., K, M, M).

    Made of the E Q_k of all users; `nominal` returns the same without phase noise.
    """
    if csi.covariance == "exact":
        return covariances
    if csi.covariance == "nominal":
        return nominal()
    unit = _unit(covariances)
    return _trace(covariances, unit)[..., None, None] * unit / unit.shape[0]


def pilot_filters(csi: PilotCsi, covariances: Array, nominal: Callable[[], Array]) -> Array:
    """L_k, shape (..., K, M, M); arguments as for `assumed_covariances`.

    A filter of the wrong covariances may turn the mean of h_k^H f_k in the complex plane. The user, who knows
    that mean, would turn it back; here the filter does so, and no rate depends on who does.
    """
    xp = array_api_compat.array_namespace(covariances)
    if not isinstance(csi, LmmseCsi):
        return xp.broadcast_to(_unit(covariances), covariances.shape)
    assumed = assumed_covariances(csi, covariances, nominal)
    filters = adjoint(xp.linalg.solve(_received(csi, assumed), assumed))
    if csi.covariance != "nominal" or not is_complex(filters):
        return filters
    mean = xp.sum(filters * xp.matrix_transpose(covariances), axis=(-2, -1), keepdims=True)
    size = xp.abs(mean)
    return filters * (xp.conj(mean) / xp.where(size > 0, size, xp.ones_like(size)))


def error_covariances(csi: PilotCsi, covariances: Array, nominal: Callable[[], Array]) -> Array:
    """E (h_k - hhat_k)(h_k - hhat_k)^H as the BS has it, shape (..., K, M, M).

    S_k - S_k C_k^(-1) S_k of the covariances S_k that it assumes; with least squares that of the noise.
    Arguments as for `assumed_covariances`.
    """
    xp = array_api_compat.array_namespace(covariances)
    if not isinstance(csi, LmmseCsi):
        return xp.broadcast_to(csi.noise * _unit(covariances), covariances.shape)
    assumed = assumed_covariances(csi, covariances, nominal)
    return assumed - assumed @ xp.linalg.solve(_received(csi, assumed), assumed)


def precoder_gains(csi: PilotCsi, filters: Array, covariances: Array) -> Array:
    """E|f_k|^2, shape (..., K)."""
    if isinstance(csi, LmmseCsi) and csi.covariance == "exact":
        return _trace(filters, covariances)
    return _trace(filters @ _received(csi, covariances), adjoint(filters))


def _unit(covariances: Array) -> Array:
    xp = array_api_compat.array_namespace(covariances)
    device = array_api_compat.device(covariances)
    return xp.eye(covariances.shape[-1], dtype=covariances.dtype, device=device)


def _received(csi: PilotCsi, covariances: Array) -> Array:
    """Covariance C_k of what the BS receives of the pilot of each user, shape (..., K, M, M)."""
    xp = array_api_compat.array_namespace(covariances)
    users, noise = covariances.shape[-3], csi.noise * _unit(covariances)
    received = [
        sum((covariances[..., i, :, :] for i in range(users) if same[i]), start=noise)
        for same in csi.shared(users)
    ]
    return xp.stack(received, axis=-3)


def _trace(X: Array, Y: Array) -> Array:
    """Re tr(X Y), shape (...)."""
    xp = array_api_compat.array_namespace(X, Y)
    return real(xp.sum(X * xp.matrix_transpose(Y), axis=(-2, -1)))
