r"""Provably optimal phases of b bits, by branch and bound, for small surfaces.

A node of the tree fixes the levels of the first elements of surface 1, then of surface 2. A form v^H S v, S
Hermitian, has over all levels of the free elements q, given the fixed ones P, the bound

    v_P^H S_PP v_P + sum_q max over levels v_q of 2 Re(conj(v_q) (S_qP v_P))
    + sum_q S_qq + sum_{q < q'} max over level differences of 2 Re(S_qq' conj(level)),

exact where one element is free. The mean gain of a user is a sum of such forms and their products over the
surfaces with weights >= 0 (`ris.phases`), and forms of positive semidefinite S are >= 0, so bounds of forms
give bounds of mean gains, and these bounds of the rates (`ris.bounds`). A node whose bound does not exceed
the best design known is cut; at the leaves the exact objective decides. The first element of a surface keeps
level 0: no moment depends on the common phase of the elements of a surface.

The mean gain is cut well. The bound on rates grants interference away (with phase noise) or bounds it from
below by mean gains alone, so that with several users most leaves are visited: 2^(b (N1 + N2 - 2)) of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ris.phases import MeanGain
from ris.system import DoubleRIS

__all__ = ["Search", "branch_and_bound"]

BATCH = 1024
"""Nodes that are opened together, the deepest first."""

SLACK = 1e-12
"""A node must promise more than this above the best design known, relative: rounding."""

Phasors = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    Attributes
    ----------
    levels : ndarray of int, shape (N1 + N2,)
        The best levels.
    value : float
        The objective there.
    bound : float
        No levels exceed it.
    nodes : int
        Nodes opened.
    complete : bool
        Whether the tree was searched to its end: `value` is the maximum.
    """

    levels: NDArray[np.int64]
    value: float
    bound: float
    nodes: int
    complete: bool


def branch_and_bound(
    system: DoubleRIS,
    bits: int,
    start: NDArray[np.int64],
    exact: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ceiling: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    most_nodes: int,
) -> Search:
    """Search all levels.

    Parameters
    ----------
    system : DoubleRIS
        One system.
    bits : int
        Resolution.
    start : ndarray of int, shape (N1 + N2,)
        Levels of a known design.
    exact : callable
        Takes phase shifts, shape (n, N1 + N2), to the objective, shape (n,).
    ceiling : callable
        Takes bounds of the users' mean gains, shape (n, K), to bounds of the objective, shape (n,).
    most_nodes : int
        Nodes to open at most.
    """
    N1, n = system.elements1, system.elements1 + system.elements2
    step = 2 * np.pi / 2**bits
    gains = _GainBounds(system, np.exp(1j * step * np.arange(2**bits)))
    best, value, nodes = start, float(exact(step * start[None])[0]), 0
    # Each entry: levels fixed so far, one row a node, and their bounds.
    pending = [(np.zeros((1, 0), int), ceiling(gains(np.zeros((1, 0), int))))]
    while pending and nodes < most_nodes:
        levels, bounds = pending.pop()
        levels, bounds = (rows[bounds > value + SLACK * abs(value)] for rows in (levels, bounds))
        if len(levels) > BATCH:
            order = np.argsort(bounds)
            pending.append((levels[order[:-BATCH]], bounds[order[:-BATCH]]))
            levels = levels[order[-BATCH:]]
        if not len(levels):
            continue
        nodes += len(levels)
        depth = levels.shape[1]
        if depth == n:
            reached = exact(step * levels)
            if reached.max() > value:
                best, value = levels[reached.argmax()], float(reached.max())
            continue
        choices = 1 if depth in (0, N1) else 2**bits
        children = np.concatenate(
            [np.repeat(levels, choices, axis=0), np.tile(np.arange(choices), len(levels))[:, None]], axis=1
        )
        pending.append((children, ceiling(gains(children))))
    open_bounds = [bounds.max() for _, bounds in pending if bounds.size]
    return Search(
        best, value, max([value, *open_bounds]), nodes, not open_bounds or max(open_bounds) <= value
    )


class _GainBounds:
    """Bounds of the users' mean gains below nodes of the tree."""

    def __init__(self, system: DoubleRIS, alphabet: Phasors) -> None:
        self._gains = [MeanGain(system, user) for user in np.eye(system.users)]
        self._alphabet = alphabet
        self._sizes = (system.elements1, system.elements2)
        forms = [
            np.array(
                [part for gain in self._gains for part in (gain.surfaces[i].single, gain.surfaces[i].double)]
            )
            for i in (0, 1)
        ]
        self._forms = [_FormBounds(S, alphabet) for S in forms]

    def __call__(self, levels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return bounds, shape (n, K), for nodes of which the rows are the levels fixed."""
        N1 = self._sizes[0]
        v = self._alphabet[levels]
        one, two = (form(part) for form, part in zip(self._forms, (v[:, :N1], v[:, N1:]), strict=True))
        bounds = []
        for k, gain in enumerate(self._gains):
            f1, g1, f2, g2 = (
                surface.noisy(S, form[:, 2 * k + i])
                for surface, form in zip(gain.surfaces, (one, two), strict=True)
                for i, S in enumerate((surface.single, surface.double))
            )
            bounds.append(gain.direct + f1 + f2 + g1 * g2)
        return np.stack(bounds, axis=-1)


class _FormBounds:
    """Bounds of v^H S v for several S, shape (forms, N, N), with the first entries of v fixed."""

    def __init__(self, S: Phasors, alphabet: Phasors) -> None:
        self.S, self.alphabet = S, alphabet
        N = S.shape[-1]
        strongest = np.max((S[..., None] * alphabet).real, axis=-1)  # alphabet: closed under conjugation
        diagonal = np.diagonal(S, axis1=1, axis2=2).real
        strongest[:, np.arange(N), np.arange(N)] = diagonal
        # Entry d: of the block of the elements from d on.
        self.free = np.stack([strongest[:, d:, d:].sum(axis=(1, 2)) for d in range(N + 1)], axis=-1)

    def __call__(self, fixed: Phasors) -> NDArray[np.float64]:
        """Return bounds, shape (n, forms), for fixed entries of shape (n, d)."""
        d = fixed.shape[1]
        onto = np.einsum("fqp,np->nfq", self.S[:, :, :d], fixed)
        among = np.sum(fixed.conj()[:, None, :] * onto[..., :d], axis=-1).real
        towards = np.max((onto[..., d:, None] * self.alphabet).real, axis=-1)
        return np.asarray(among + 2 * towards.sum(axis=-1) + self.free[:, d])
