r"""The sum rate in closed form together with its gradient by the phase shifts, at the cost of a few rates.

The moments of the channels are a smooth function of the tables that `ris.moments` collects at each surface:
means, products and chained traces over the phase noise for every user and pair of users. So the gradient has
two factors.

1. The slope of the sum rate by every entry of a table. The assembly from tables to rates is analytic, so that
   each slope is the imaginary part of the rate at an entry that moved by an imaginary step, over the step:
   a tiny step leaves no truncation error and nothing cancels (Squire and Trapp, "Using complex variables to
   estimate derivatives of real functions", SIAM Review 40(1), 1998). It costs O(K^4), whatever the surfaces.

2. The slope of the tables, so weighted, by the phase shifts. These stand in the BS-side covariances A only,
   A_mn = conj(x_m) R_mn x_n with x = exp(j theta), hence dA_mn = j A_mn (dtheta_n - dtheta_m): the diagonal
   of A never moves. With df = Re tr(G dA), one matrix G for each BS side,

       df / dtheta_l = Re j((G A)_ll - (A G)_ll).

G for the weighted tables of a BS side A and another one C, possibly the same (notation and formulas as in
`ris.noise_moments`: B_k the user sides, elements all alike with real moments mu, s, t and u that the phase
shifts do not change, (CB)_n = mu (C B)_nn, (BC)_n = mu (B C)_nn, C' = mu^2 C + s diag(dC)). Left out are the
terms on the diagonal of G, and those that hold A in products A_mn C_nm alone, from which the phase shifts
cancel.

Mean, weights m_k: mu^2 tr(A B_k) gives G = mu^2 sum_k m_k B_k.

Product, weights p_kj. Its means, (AB)_m and (BA)_n are linear in the S_mn = A_mn (B_k)_nm, (AB)_m mu times
their sum over n and (BA)_n mu times that over m; the sum of s^2 S_mn (C_nm B_mn) does not move. The slope by
S_mn times (B_k)_nm stands in G_nm:

    G = sum_kj p_kj B_k o [ mu^2 E tr(C E B_j E^H) + mu (s CB_j + t BC_j + u dC dB_j) 1^T
                            + mu 1 (s BC_j + t CB_j + u dC dB_j)^T + t^2 C^T o B_j ].

Chained, weights q_kj, term by term of its formula with D = B_j and cyclic shifts of the traces (f1 does not
move, f2 and f4 have A on the diagonal alone):

    tr(A' B_k C' B_j)                       mu^2 B_k C' B_j
    s sum dB_k (C M B_j M A)_nn             s mu^2 diag(dB_k) C B_j
    s sum dB_j (A M B_k M C)_nn             s mu^2 (C B_k)^H diag(dB_j)
    t sum BC_k BA_j + AB_k CB_j             t mu [diag(BC_k) B_j + B_k diag(CB_j)]
    u sum dB_k dC BA_j + dC dB_j AB_k       u mu [diag(dB_k dC) B_j + B_k diag(dC dB_j)]
    t^2 sum A_ab (B_k)_ba C_ab (B_j)_ba     t^2 C^T o B_k o B_j

and mu X = mu^2 C B is at hand. What A meets as the second matrix of a pair follows by symmetry: the
tables of (C, A) are the transposed tables of (A, C). One product of N x N matrices for each k is left.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.link import Link, Surface
from ris.moments import ClosedFormMoments
from ris.noise_moments import Reflection
from ris.perfect_moments import perfect_moments, surface1_tables, surface2_tables
from ris.rates import rate_from_moments
from ris.system import DoubleRIS

__all__ = ["sum_rate_gradient"]

STEP = 1e-30
"""Imaginary step relative to the largest entry of a table."""

BLOCK = 2**20
"""Table entries that are moved in one go, times the number of entries, are about this many."""

Tables = list[NDArray[Any]]


def sum_rate_gradient(
    system: DoubleRIS,
    theta1: NDArray[np.float64],
    theta2: NDArray[np.float64],
    *,
    power: float,
    noise_power: float,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Sum over users of the hardening bound under perfect CSI, and its gradient.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    power, noise_power : float
        As for `closed_form_rate`.

    Returns
    -------
    sum_rate : float
        Bit/s/Hz.
    gradient1, gradient2 : ndarray, shapes (N1,) and (N2,)
        Its derivatives by theta1 and theta2, bit/s/Hz/radian.

    Notes
    -----
    Cost O(K N^3 + K^2 N^2 + K^4) with covariances of the users' own, memory as for `closed_form_moments`.
    """
    if system.emi1 is not None or system.emi2 is not None:
        raise InvalidArgumentError(
            "system",
            "no interference at the surfaces: the gradient does not follow its power",
            "interference",
        )
    link = Link(system, theta1, theta2)
    one, two = link.surface1(), link.surface2()
    R, _ = one.noisy()
    b, d = two.noisy()
    tables1, tables2 = surface1_tables(one, R), surface2_tables(two, b, d)

    def rate(tables1: Tables, tables2: Tables) -> NDArray[Any]:
        mean, interference, product = perfect_moments(link, tables1, tables2)
        moments = ClosedFormMoments(mean, interference, product, mean, "perfect")
        rates = rate_from_moments(moments, power=power, noise_power=noise_power)
        return np.asarray(np.sum(rates, axis=-1))

    weights1 = _on_entries(one, _slopes(lambda tables: rate(tables, tables2), tables1))
    weights2 = _on_entries(two, _slopes(lambda tables: rate(tables1, tables), tables2))
    by_theta1, by_theta2 = _surface1(R, *weights1), _surface2(b, d, *weights2[:-1])
    return (
        float(rate(tables1, tables2)),
        # A surface on no path comes as a single zero, whatever its number of elements.
        np.broadcast_to(by_theta1, theta1.shape),
        np.broadcast_to(by_theta2, theta2.shape),
    )


def _slopes(f: Callable[[Tables], NDArray[Any]], tables: Tables) -> Tables:
    """Return the derivatives of f by every entry of the tables; f takes tables with a leading axis."""
    flat = np.concatenate([table.ravel() for table in tables])
    steps = np.concatenate([np.full(table.size, STEP * (np.max(np.abs(table)) or 1.0)) for table in tables])
    ends = np.cumsum([table.size for table in tables])
    rows = max(1, BLOCK // flat.size)
    slopes = np.empty(flat.size)
    for first in range(0, flat.size, rows):
        moved = np.arange(first, min(first + rows, flat.size))
        entries = np.tile(flat.astype(np.complex128), (moved.size, 1))
        entries[np.arange(moved.size), moved] += 1j * steps[moved]
        parts = np.split(entries, ends[:-1], axis=-1)
        stacks = [part.reshape(-1, *table.shape) for part, table in zip(parts, tables, strict=True)]
        slopes[moved] = f(stacks).imag / steps[moved]
    return [
        part.reshape(table.shape) for part, table in zip(np.split(slopes, ends[:-1]), tables, strict=True)
    ]


def _on_entries(surface: Surface, slopes: Tables) -> Tables:
    """Add the slopes of users that share a user-side covariance: shapes (J,) and (J, J)."""
    P = surface.selection
    return [P.T @ slope if slope.ndim == 1 else P.T @ slope @ P for slope in slopes]


def _surface1(R: Reflection, mean: Any, product: Any, chained: Any) -> NDArray[np.float64]:
    """Slopes by theta1, from the weights of the tables of surface 1."""
    return _by_angles(R.A, _mean(R, mean) + _pairs(R, R, product + product.T, chained + chained.T))


def _surface2(
    b: Reflection, d: Reflection, mean_b: Any, mean_d: Any, Ub: Any, Vb: Any, U: Any, V: Any, Ud: Any, Vd: Any
) -> NDArray[np.float64]:
    """Slopes by theta2, from the weights of the tables of surface 2: products U and chained traces V."""
    if b is d:
        return _surface1(b, mean_b + mean_d, Ub + U + Ud, Vb + V + Vd)
    of_b = _mean(b, mean_b) + _pairs(b, b, Ub + Ub.T, Vb + Vb.T) + _pairs(b, d, U, V)
    of_d = _mean(d, mean_d) + _pairs(d, d, Ud + Ud.T, Vd + Vd.T) + _pairs(d, b, U.T, V.T)
    return _by_angles(b.A, of_b) + _by_angles(d.A, of_d)


def _by_angles(A: NDArray[Any], G: NDArray[Any]) -> NDArray[np.float64]:
    """Re j((G A)_ll - (A G)_ll)."""
    terms = (G * A.T).imag
    return np.asarray(np.sum(terms, axis=0) - np.sum(terms, axis=1))


def _mean(R: Reflection, weights: NDArray[np.float64]) -> NDArray[Any]:
    """G of the means, weights of shape (J,)."""
    return np.asarray(R.moments.mean**2 * np.tensordot(weights, R.B, axes=1))


def _pairs(
    first: Reflection, second: Reflection, product: NDArray[np.float64], chained: NDArray[np.float64]
) -> NDArray[Any]:
    """G of the product and chained tables by the first BS side, weights of shape (J, J)."""
    elements, B, C = first.moments, first.B, second.A
    mu, s, t, u = elements.mean, elements.variance, elements.pseudovariance, elements.third
    dB, dT = first.dB, second.dA * first.dB
    CB, BC = second.AB, second.BA
    level = mu**2 * product @ second.mean
    rows = mu * (product @ (s * CB + t * BC + u * dT) + chained.T @ (t * BC + u * dT))
    columns = mu * (product @ (s * BC + t * CB + u * dT) + chained @ (t * CB + u * dT))
    dD = chained @ dB
    G = np.zeros(C.shape, np.complex128)
    for k, Bk in enumerate(B):  # one at a time, for the memory of one matrix and not of K
        D, E = np.tensordot(chained[k], B, axes=1), np.tensordot(product[k], B, axes=1)
        G += Bk * (level[k] + rows[k, :, None] + columns[k] + t**2 * C.T * (D + E))
        G += mu**2 * Bk @ np.tensordot(chained[k], second.P, axes=1)
        G += s * mu * dB[k, :, None] * np.tensordot(chained[k], second.X, axes=1)
        G += s * mu * second.X[k].conj().T * dD[k]
    return G
