r"""Exact second and fourth moments of the users' channels, over all fading and phase noise.

Given everything that users share (the fading between arrays, the phase noise) their channels are independent
CN(0, Q_k), so E|h_k|^2 = E tr Q_k, E|h_k|^2 |h_j|^2 = E tr Q_k tr Q_j and E|h_k^H h_j|^2 = E tr(Q_k Q_j) for
j != k, and E|h_k|^4 = E (tr Q_k)^2 + E tr(Q_k^2). Q_k has five parts, with weights

    a_k = g(bs_user)_k                            direct
    b_k = g(ris1_user)_k g(bs_ris1)               single reflection at surface 1
    c_k = g(ris2_user)_k g(bs_ris2)               single reflection at surface 2
    d_k = g(ris2_user)_k g(bs_ris1) g(ris1_ris2)  double reflection
    x_k = g(ris2_user)_k sqrt(g(bs_ris1) g(bs_ris2) g(ris1_ris2))   cross term of c and d, of zero mean

and the expectations follow hop by hop from the Gaussian (Wishart) rules, W of iid CN(0, 1) entries,

    E tr(R W X W^H) tr(R W Y W^H)     = tr(R)^2 tr X tr Y + tr(R^2) tr(X Y)
    E tr(R W X W^H R W Y W^H)         = tr(R^2) tr X tr Y + tr(R)^2 tr(X Y)
    E tr(X W A W^H) tr(Y W B W^H)     = tr X tr Y tr A tr B + tr(X Y) tr(A B)
    E tr(X W A W^H Y W B W^H)         = tr(X Y) tr A tr B + tr X tr Y tr(A B)

which leave traces over each surface; `ris.noise_moments` averages those over the phase noise.
"""

import math
from dataclasses import dataclass
from typing import Any

import array_api_compat

from channels.checks import one_of
from ris.backend import Array
from ris.link import Link, Surface, batch_shape
from ris.noise_moments import (
    Reflection,
    amplitude_product,
    fourth_moments,
    inner_chain,
    outer_chain,
)
from ris.options import Csi
from ris.system import DoubleRIS

__all__ = [
    "ClosedFormMoments",
    "closed_form_moments",
    "perfect_moments",
    "surface1_tables",
    "surface2_tables",
]

PART_BYTES = 2**22
"""A batch is worked through in parts whose stacks of covariances have about this size, to stay in cache."""


@dataclass(frozen=True, eq=False)
class ClosedFormMoments:
    """Moments of the channels h_k and of the maximum-ratio precoders f_k.

    With perfect CSI f_k = h_k; with nominal CSI f_k is the channel without its phase noise.

    Attributes
    ----------
    mean_gain : array, shape (..., K)
        E h_k^H f_k, real.
    interference : array, shape (..., K, K)
        E |h_k^H f_j|^2 at row k, column j; the diagonal is E |h_k^H f_k|^2.
    gain_product : array, shape (..., K, K), or None
        E |h_k|^2 |h_j|^2; the diagonal is E |h_k|^4. Perfect CSI only.
    precoder_gain : array, shape (..., K)
        E |f_k|^2.
    csi : {"perfect", "nominal"}
        What the BS knows.
    """

    mean_gain: Array
    interference: Array
    gain_product: Array | None
    precoder_gain: Array
    csi: Csi


def closed_form_moments(
    system: DoubleRIS, theta1: Any = None, theta2: Any = None, csi: Csi = "perfect"
) -> ClosedFormMoments:
    """Exact moments of the channels of a double-RIS system.

    Parameters
    ----------
    system : DoubleRIS
        The system; leading axes of its gains and covariances are batch axes.
    theta1, theta2 : array_like, shapes (..., N1) and (..., N2), radians
        Phase shifts of the two surfaces. None only for a surface that no hop touches.
    csi : {"perfect", "nominal"}
        "perfect": the BS precodes with the channel, phase noise included. "nominal": it precodes with the
        channel that the phase shifts alone would make, the noise unknown to it.

    Returns
    -------
    ClosedFormMoments
        Arrays of the library of the phase shifts and covariances (NumPy, torch, ...); differentiable where
        that library differentiates.

    Raises
    ------
    InvalidArgumentError
        If the phase shifts have the wrong shape or are not finite and real, or `csi` is unknown.

    Notes
    -----
    Cost O(K N^3) per surface with covariances of the users' own, O(N^3) with shared ones; memory
    O(K N^2), whatever the batch.
    """
    one_of("csi", csi, Csi)
    moments = _perfect if csi == "perfect" else _nominal
    batch = batch_shape(system, theta1, theta2)
    stack = 16 * math.prod(batch) * system.users * max(system.elements1, system.elements2) ** 2
    if not batch or stack <= PART_BYTES:
        return moments(Link(system, theta1, theta2))
    size = max(1, batch[0] * PART_BYTES // stack)
    parts = [slice(start, min(start + size, batch[0])) for start in range(0, batch[0], size)]
    return _joined([moments(Link(system, theta1, theta2, part)) for part in parts], parts, batch[1:])


def _joined(
    moments: list[ClosedFormMoments], parts: list[slice], batch: tuple[int, ...]
) -> ClosedFormMoments:
    """Join parts of a batch along its first axis."""
    xp = array_api_compat.array_namespace(moments[0].mean_gain)
    fields: dict[str, Any] = {"csi": moments[0].csi}
    for name, trailing in (("mean_gain", 1), ("interference", 2), ("gain_product", 2), ("precoder_gain", 1)):
        arrays = [getattr(part, name) for part in moments]
        shapes = [(part.stop - part.start, *batch) for part in parts]
        fields[name] = (
            None
            if arrays[0] is None
            else xp.concat(
                [
                    xp.broadcast_to(array, (*shape, *array.shape[array.ndim - trailing :]))
                    for array, shape in zip(arrays, shapes, strict=True)
                ],
                axis=0,
            )
        )
    return ClosedFormMoments(**fields)


def _perfect(link: Link) -> ClosedFormMoments:
    one, two = link.surface1(), link.surface2()
    return perfect_moments(link, surface1_tables(one, one.noisy()[0]), surface2_tables(two, *two.noisy()))


def perfect_moments(link: Link, tables1: list[Array], tables2: list[Array]) -> ClosedFormMoments:
    """G = E tr Q_k tr Q_j and J = E tr(Q_k Q_j), pair of parts by pair of parts.

    Affine in the tables of each surface, for given tables of the other.
    """
    a, b, c, d, x, bs = link.a, link.b, link.c, link.d, link.x, link.bs
    T1, U1, V1 = tables1
    T2, T2d, U2, V2, U2bd, V2bd, U2d, V2d = tables2
    (T1, T1d), (U1, U1d, _, p), (V1, V1d, _, q) = _split(T1), _split_pairs(U1), _split_pairs(V1)

    # E Q_k = a_k RBk + over1_k RB1 + over2_k RB2
    single1, over2 = b * T1, c * T2
    over1 = single1 + d * T1d * T2d
    mean = a * bs.tk + over1 * bs.t1 + over2 * bs.t2

    # Independent parts: direct with itself and any other, single 1 with single 2.
    G = _outer(a * bs.tk, a * bs.tk) + _both(a * bs.tk, over1 * bs.t1 + over2 * bs.t2)
    J = _outer(a, a) * bs.tkj + _both(a * bs.tk1, over1) + _both(a * bs.tk2, over2)
    G, J = G + _both(single1 * bs.t1, over2 * bs.t2), J + _both(single1 * bs.t12, over2)

    # Single 1 and double with themselves and each other: the hop BS - surface 1 stands in both.
    u = _outer(b, b) * U1 + _both(b * U1d, d * T2d) + _outer(d, d) * (p * U2d + q * V2d)
    v = _outer(b, b) * V1 + _both(b * V1d, d * T2d) + _outer(d, d) * (q * U2d + p * V2d)
    G, J = G + _pair(bs.t1**2) * u + _pair(bs.t11) * v, J + _pair(bs.t11) * u + _pair(bs.t1**2) * v

    # Single 2 with itself: the hop BS - surface 2 stands in both.
    u, v = _outer(c, c) * U2, _outer(c, c) * V2
    G, J = G + _pair(bs.t2**2) * u + _pair(bs.t22) * v, J + _pair(bs.t22) * u + _pair(bs.t2**2) * v

    # Single 2 with double, which share surface 2, and the cross term of the two with itself.
    u, v = _pair(T1d) * _symmetric(_outer(c, d) * U2bd), _pair(T1d) * 2 * _outer(x, x) * V2bd
    G = G + _pair(bs.t1 * bs.t2) * u + _pair(bs.t12) * v
    J = J + _pair(bs.t12) * u + _pair(bs.t1 * bs.t2) * v

    # The same user twice: both pairings.
    return ClosedFormMoments(mean, J + _on_diagonal(G), G + _on_diagonal(J), mean, "perfect")


def surface1_tables(surface: Surface, R: Reflection) -> list[Array]:
    """Mean, product and chained traces over surface 1."""
    return [surface.vector(R.mean), *map(surface.matrix, fourth_moments(R, R))]


def surface2_tables(surface: Surface, b: Reflection, d: Reflection) -> list[Array]:
    """Means, product and chained traces over surface 2: from the BS (b), from surface 1 (d), mixed."""
    same = fourth_moments(b, b)
    tables = (*same, *same, *same) if b is d else (*same, *fourth_moments(b, d), *fourth_moments(d, d))
    return [surface.vector(b.mean), surface.vector(d.mean), *map(surface.matrix, tables)]


def _nominal(link: Link) -> ClosedFormMoments:
    """Moments when the precoder f_j is the channel that the phase shifts alone would make.

    With Q_k of the noisy channel, F_j of the nominal one and C_k = E[h_k f_k^H | shared],

        E h_k^H f_k = E tr C_k,    E |h_k^H f_j|^2 = E tr(Q_k F_j), and E |tr C_k|^2 more for j = k.

    The parts of Q_k and F_j, or of C_k and C_k^H, pair as those of Q_k and Q_j do, by the same rules. The
    noise of a surface enters each trace through one e and one e^* at most (around one user-side covariance,
    around one BS-side covariance, or in two separate traces): its first circular moment is enough.
    """
    a, b, c, d, x, bs = link.a, link.b, link.c, link.d, link.x, link.bs
    one, two = link.surface1(), link.surface2()
    r1, r2 = one.r, two.r
    (S, _), (N, _) = one.noisy(), one.nominal()
    S1, S1d = _split(one.vector(S.mean))
    N1, N1d = _split(one.vector(N.mean))
    inner1, inner1_kd, inner1_dj, inner1_dd = _split_pairs(one.matrix(inner_chain(N, N, r1)))
    around1, around1_kd, _, around1_dd = _split_pairs(one.matrix(outer_chain(S, N)))
    amplitude1, amplitude1_kd, _, amplitude1_dd = _split_pairs(one.matrix(amplitude_product(N, N, r1)))
    (Sb, Sd), (Nb, Nd) = two.noisy(), two.nominal()
    S2, S2d, N2, N2d = (two.vector(X.mean) for X in (Sb, Sd, Nb, Nd))
    inner2, inner2_bd, inner2_d = (
        two.matrix(inner_chain(*pair, r2)) for pair in ((Nb, Nb), (Nb, Nd), (Nd, Nd))
    )

    single1, double = r1 * b * N1, r1 * r2 * d * N1d * N2d
    over2 = r2 * c * N2
    direct = a * bs.tk
    mean = direct + (single1 + double) * bs.t1 + over2 * bs.t2
    s1, s2 = b * S1 + d * S1d * S2d, c * S2
    n1, n2 = b * N1 + d * N1d * N2d, c * N2

    # E tr(Q_k F_j)
    J = _outer(a, a) * bs.tkj + _outer(a * bs.tk1, n1) + _outer(a * bs.tk2, n2)
    J = (
        J
        + _outer(s1, a * bs.tk1)
        + _outer(s2, a * bs.tk2)
        + _pair(bs.t12) * (_outer(s1, n2) + _outer(s2, n1))
    )
    u = _outer(s1, n1) + around1_dd * _outer(d, d) * inner2_d
    v = _outer(b, b) * inner1 + _outer(b * inner1_kd, d * N2d) + _outer(d * S2d, b * inner1_dj)
    v = v + inner1_dd * _outer(d * S2d, d * N2d) + amplitude1_dd * _outer(d, d) * inner2_d
    J = J + _pair(bs.t11) * u + _pair(bs.t1**2) * v
    J = J + _pair(bs.t22) * _outer(s2, n2) + _pair(bs.t2**2) * _outer(c, c) * inner2
    J = J + _pair(bs.t1 * bs.t2 * r1 * N1d) * 2 * _outer(x, x) * inner2_bd

    # E |tr C_k|^2
    around2, around2_bd, around2_db, around2_d = (
        _diagonal(two.matrix(outer_chain(*pair))) for pair in ((Sb, Nb), (Sb, Nd), (Sd, Nb), (Sd, Nd))
    )
    amplitude2, amplitude2_bd, amplitude2_d = (
        _diagonal(two.matrix(amplitude_product(*pair, r2))) for pair in ((Nb, Nb), (Nb, Nd), (Nd, Nd))
    )
    power = direct**2 + 2 * direct * (mean - direct) + 2 * single1 * bs.t1 * over2 * bs.t2
    mixed = 2 * b * d * r2 * N2d
    u = b**2 * _diagonal(amplitude1) + mixed * amplitude1_kd
    u = u + d**2 * (amplitude1_dd[..., 0] * amplitude2_d + inner1_dd[..., 0] * around2_d)
    v = b**2 * _diagonal(around1) + mixed * around1_kd
    v = v + d**2 * (around1_dd[..., 0] * amplitude2_d + S1d * N1d * around2_d)
    power = power + bs.t1**2 * u + bs.t11 * v
    power = power + c**2 * (bs.t2**2 * amplitude2 + bs.t22 * around2)
    power = power + 2 * c * d * r1 * N1d * amplitude2_bd * bs.t1 * bs.t2
    power = power + x**2 * bs.t12 * (N1d * around2_bd + S1d * around2_db)

    interference = J + _identity(J) * power[..., :, None]
    return ClosedFormMoments(mean, interference, None, direct + n1 * bs.t1 + n2 * bs.t2, "nominal")


def _split(vector: Array) -> tuple[Array, Array]:
    """Entries of the users, shape (..., K), and of surface 2, shape (..., 1)."""
    return vector[..., :-1], vector[..., -1:]


def _split_pairs(matrix: Array) -> tuple[Array, Array, Array, Array]:
    """Entries (k, j), (k, surface 2), (surface 2, j) and, with shape (..., 1, 1), (surface 2, surface 2)."""
    return matrix[..., :-1, :-1], matrix[..., :-1, -1], matrix[..., -1, :-1], matrix[..., -1:, -1:]


def _pair(scalar: Array) -> Array:
    """A value for all users, (..., 1), as one for all pairs, (..., 1, 1)."""
    return scalar[..., None]


def _outer(left: Array, right: Array) -> Array:
    return left[..., :, None] * right[..., None, :]


def _symmetric(matrix: Array) -> Array:
    xp = array_api_compat.array_namespace(matrix)
    return matrix + xp.matrix_transpose(matrix)


def _both(left: Array, right: Array) -> Array:
    """left_k right_j + left_j right_k."""
    return _symmetric(_outer(left, right))


def _diagonal(matrix: Array) -> Array:
    xp = array_api_compat.array_namespace(matrix)
    return xp.linalg.diagonal(matrix)


def _identity(matrix: Array) -> Array:
    xp = array_api_compat.array_namespace(matrix)
    return xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=array_api_compat.device(matrix))


def _on_diagonal(matrix: Array) -> Array:
    return matrix * _identity(matrix)
