r"""Moments with perfect CSI; more generally, with a filter L between the channels of two users.

For any fixed matrix L over the antennas, the identity for perfect CSI, the averages

    G_kj = Re E tr(Q_k L) conj(tr(Q_j L)),    J_kj = E tr(Q_k L Q_j L^H)

follow from the rules of `ris.moments`. At the BS they leave tr(RBa L) where an average closes a hop upon
itself and tr(RBa L RBb L^H), in that order, where it joins two.
"""

from ris.backend import Array, imaginary
from ris.link import BsTraces, Link, PathWeights, Surface
from ris.noise_moments import AnySide, fourth_moments, mean_traces
from ris.pairs import both, on_diagonal, outer, pair, split, split_pairs, symmetric, transposed

__all__ = [
    "mean_gains",
    "mean_weights",
    "pair_moments",
    "perfect_moments",
    "surface1_tables",
    "surface2_tables",
]


def perfect_moments(
    link: PathWeights, tables1: list[Array], tables2: list[Array]
) -> tuple[Array, Array, Array]:
    """Return E|h_k|^2, E|h_k^H h_j|^2 and E|h_k|^2 |h_j|^2.

    Affine in the tables of each surface, for given tables of the other.
    """
    G, J = pair_moments(link, tables1, tables2, link.bs)
    mean = _mean_gain(link, tables1, tables2)
    return mean, J + on_diagonal(G), G + on_diagonal(J)  # the same user twice: both pairings


def mean_gains(link: Link) -> Array:
    """E|h_k|^2 alone, shape (..., K), at a cost of N^2 for each user."""
    one, two = link.surface1(), link.surface2()
    tables1 = [one.vector(mean_traces(one.bs_sides[0], one.user_matrices, one.moments))]
    sides2 = two.bs_sides[0], two.bs_sides[-1]
    tables2 = [two.vector(mean_traces(side, two.user_matrices, two.moments)) for side in sides2]
    return _mean_gain(link, tables1, tables2)


def mean_weights(link: PathWeights, tables1: list[Array], tables2: list[Array]) -> tuple[Array, Array, Array]:
    """Return weights of RB1 by single reflection, of RB1 in all, and of RB2, shapes (..., K).

    E Q_k = a_k RBk + over1_k RB1 + over2_k RB2.
    """
    T1, T1d = split(tables1[0])
    single1 = link.b * T1
    return single1, single1 + link.d * T1d * tables2[1], link.c * tables2[0]


def _mean_gain(link: PathWeights, tables1: list[Array], tables2: list[Array]) -> Array:
    _, over1, over2 = mean_weights(link, tables1, tables2)
    return link.a * link.bs.sk + over1 * link.bs.s1 + over2 * link.bs.s2


def pair_moments(
    link: PathWeights, tables1: list[Array], tables2: list[Array], bs: BsTraces
) -> tuple[Array, Array]:
    """Return G and J, shapes (..., K, K), for the filter that the traces `bs` contain."""
    a, b, c, d, x = link.a, link.b, link.c, link.d, link.x
    T1, U1, V1 = tables1
    _, T2d, U2, V2, U2bd, V2bd, U2d, V2d, V2bd_imag = tables2
    (_, T1d), (U1, U1d, _, p), (V1, V1d, _, q) = split(T1), split_pairs(U1), split_pairs(V1)
    single1, over1, over2 = mean_weights(link, tables1, tables2)

    # Independent parts: direct with itself and any other, single 1 with single 2.
    G = outer(a, a) * bs.ckj + both(a * bs.ck1, over1) + both(a * bs.ck2, over2)
    G = G + pair(bs.c12) * both(single1, over2)
    J = outer(a, a) * bs.tkj + outer(a * bs.tk1, over1) + outer(a * bs.tk2, over2)
    J = J + outer(over1, a * bs.t1k) + outer(over2, a * bs.t2k)
    J = J + pair(bs.t12) * outer(single1, over2) + pair(bs.t21) * outer(over2, single1)

    # Single 1 and double with themselves and each other: the hop BS - surface 1 stands in both.
    u = outer(b, b) * U1 + both(b * U1d, d * T2d) + outer(d, d) * (p * U2d + q * V2d)
    v = outer(b, b) * V1 + both(b * V1d, d * T2d) + outer(d, d) * (q * U2d + p * V2d)
    G, J = G + pair(bs.c11) * u + pair(bs.t11) * v, J + pair(bs.t11) * u + pair(bs.c11) * v

    # Single 2 with itself: the hop BS - surface 2 stands in both.
    u, v = outer(c, c) * U2, outer(c, c) * V2
    G, J = G + pair(bs.c22) * u + pair(bs.t22) * v, J + pair(bs.t22) * u + pair(bs.c22) * v

    # Single 2 with double, which share surface 2.
    u = pair(T1d) * outer(c, d) * U2bd
    G = G + pair(bs.c12) * symmetric(u)
    J = J + pair(bs.t21) * u + pair(bs.t12) * transposed(u)

    # Their cross term with itself.
    v, v_imag = pair(T1d) * outer(x, x) * V2bd, pair(T1d) * outer(x, x) * V2bd_imag
    G = G + pair(bs.t12 + bs.t21) * v
    J = J + 2 * (pair(bs.c12) * v - pair(bs.c12_imag) * v_imag)
    return G, J


def surface1_tables(surface: Surface, R: AnySide) -> list[Array]:
    """Mean, product and chained traces over surface 1."""
    return [surface.vector(R.mean), *map(surface.matrix, fourth_moments(R, R))]


def surface2_tables(surface: Surface, b: AnySide, d: AnySide) -> list[Array]:
    """Means, product and chained traces over surface 2: from the BS (b), mixed, from surface 1 (d).

    Last, the imaginary part of the mixed chained trace; all others are real or need their real part alone.
    """
    same = fourth_moments(b, b)
    tables = (*same, *same, *same) if b is d else (*same, *fourth_moments(b, d), *fourth_moments(d, d))
    return [
        surface.vector(b.mean),
        surface.vector(d.mean),
        *map(surface.matrix, tables),
        surface.matrix(imaginary(tables[3])),
    ]
