"""Moments with nominal CSI: the BS precodes with the channel that the phase shifts alone would make.

Phase noise and hardware are unknown to it; each precoder is turned so that its mean gain is real.
"""

import array_api_compat

from ris.backend import Array, conjugate, real
from ris.link import Link
from ris.noise_moments import amplitude, amplitude_product, inner_chain, outer_chain
from ris.pairs import diagonal, identity, outer, pair, split, split_pairs

__all__ = ["nominal_moments"]


def nominal_moments(link: Link) -> tuple[Array, Array, Array]:
    """Return E h_k^H f_k, E|h_k^H f_j|^2 and E|f_k|^2, with f_j the channel that the phase shifts make alone.

    With Q_k of the noisy channel, F_j of the nominal one and C_k = E[h_k f_k^H | shared],

        E h_k^H f_k = E tr C_k,    E |h_k^H f_j|^2 = E tr(Q_k F_j), and E |tr C_k|^2 more for j = k.

    The parts of Q_k and F_j, or of C_k and C_k^H, pair as those of Q_k and Q_j do, by the same rules. What
    the elements of a surface do enters each trace through one e and one e^* at most (around one user-side
    covariance, around one BS-side covariance, or in two separate traces): E e and E|e|^2 are enough.

    E tr C_k is complex where the elements turn the channel on average. The turn is the same in all
    realizations, so that the BS, or the user, undoes it: f_k is multiplied by a phase, and E h_k^H f_k is
    |E tr C_k|.
    """
    a, b, c, d, x, bs = link.a, link.b, link.c, link.d, link.x, link.bs
    one, two = link.surface1(), link.surface2()
    (S, _), (N, _) = one.noisy(), one.nominal()
    S1, S1d = split(one.vector(S.mean))
    N1, N1d = split(one.vector(N.mean))
    A1, A1d = split(one.complex_vector(amplitude(N, one.moments)))
    inner1, inner1_kd, inner1_dj, inner1_dd = split_pairs(one.matrix(inner_chain(S, N)))
    around1, _, _, around1_dd = split_pairs(one.matrix(around := outer_chain(S, N)))
    amplitude1, _, _, amplitude1_dd = split_pairs(one.matrix(product := amplitude_product(N, N, one.moments)))
    around1_kd, amplitude1_kd = (split(one.complex_vector(table[..., -1]))[0] for table in (around, product))
    (Sb, Sd), (Nb, Nd) = two.noisy(), two.nominal()
    S2, S2d, N2, N2d = (two.vector(X.mean) for X in (Sb, Sd, Nb, Nd))
    A2, A2d = (two.complex_vector(amplitude(X, two.moments)) for X in (Nb, Nd))
    inner2, inner2_d = two.matrix(inner_chain(Sb, Nb)), two.matrix(inner_chain(Sd, Nd))
    inner2_bd = two.matrix(pair(conjugate(A1d)) * inner_chain(Sb, Nd))

    single1, double, single2 = b * A1 * bs.s1, d * A1d * A2d * bs.s1, c * A2 * bs.s2
    direct = a * bs.sk
    turned = single1 + double + single2
    mean = direct + turned
    s1, s2 = b * S1 + d * S1d * S2d, c * S2
    n1, n2 = b * N1 + d * N1d * N2d, c * N2

    # E tr(Q_k F_j)
    J = outer(a, a) * bs.tkj + outer(a * bs.tk1, n1) + outer(a * bs.tk2, n2)
    J = J + outer(s1, a * bs.tk1) + outer(s2, a * bs.tk2) + pair(bs.t12) * (outer(s1, n2) + outer(s2, n1))
    u = outer(s1, n1) + around1_dd * outer(d, d) * inner2_d
    v = outer(b, b) * inner1 + outer(b * inner1_kd, d * N2d) + outer(d * S2d, b * inner1_dj)
    v = v + inner1_dd * outer(d * S2d, d * N2d) + amplitude1_dd * outer(d, d) * inner2_d
    J = J + pair(bs.t11) * u + pair(bs.s1**2) * v
    J = J + pair(bs.t22) * outer(s2, n2) + pair(bs.s2**2) * outer(c, c) * inner2
    J = J + pair(bs.s1 * bs.s2) * 2 * outer(x, x) * inner2_bd

    # E |tr C_k|^2
    around2, around2_bd, around2_db, around2_d = (
        diagonal(two.matrix(outer_chain(*sides))) for sides in ((Sb, Nb), (Sb, Nd), (Sd, Nb), (Sd, Nd))
    )
    amplitude2, amplitude2_d = (diagonal(two.matrix(amplitude_product(X, X, two.moments))) for X in (Nb, Nd))
    amplitude2_bd = diagonal(two.matrix(pair(conjugate(A1d)) * amplitude_product(Nb, Nd, two.moments)))
    power = direct**2 + 2 * direct * real(turned) + 2 * real(single1 * conjugate(single2))
    mixed = 2 * b * d * conjugate(A2d)
    u = b**2 * diagonal(amplitude1) + real(mixed * amplitude1_kd)
    u = u + d**2 * (amplitude1_dd[..., 0] * amplitude2_d + inner1_dd[..., 0] * around2_d)
    v = b**2 * diagonal(around1) + real(mixed * around1_kd)
    v = v + d**2 * (around1_dd[..., 0] * amplitude2_d + S1d * N1d * around2_d)
    power = power + bs.s1**2 * u + bs.t11 * v
    power = power + c**2 * (bs.s2**2 * amplitude2 + bs.t22 * around2)
    power = power + 2 * c * d * amplitude2_bd * bs.s1 * bs.s2
    power = power + x**2 * bs.t12 * (N1d * around2_bd + S1d * around2_db)

    mean = array_api_compat.array_namespace(mean).abs(mean)
    return mean, J + identity(J) * power[..., :, None], direct + n1 * bs.s1 + n2 * bs.s2
