r"""Exact moments of the channels where hops have lines of sight, for everything that the BS may know.

Without a line of sight the channels are zero-mean Gaussian given what users share, and `ris.moments` needs
five parts of their covariances. With one, they have a mean that all of it enters, and users' channels are
correlated. So the moments are taken here as `ris.wick` does, term by term over paths and pairings: with the
slots (h_k^*, f_j, f_j^*, h_k) for E|h_k^H f_j|^2, and (h_k^*, h_k, h_j^*, h_j) for E|h_k|^2 |h_j|^2.

The factor of the BS is a sum over antennas without more ado: two neighbouring slots share one antenna.

The factor of a surface is a sum over its elements, an index n for each slot that passes it, of covariances
and rays on both sides times the mean of the product of phasors e_n (or e_n^*) of those slots that see the
phase noise. The phasors of different elements are independent. Written by joint cumulants, the mean of the
product is the sum over all partitions of the slots into groups, of the products over the groups of

    kappa(p, q), the joint cumulant of p times e and q times e^*, if all indices of the group are equal, else 0,

as the mean is the sum over partitions that do not separate what is dependent. So each partition leaves a sum
over free indices, one a group, of products of vectors and matrices (`ris.contraction`).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import array_api_compat

from channels.phase_noise import PhaseNoise
from ris.backend import Array, adjoint, real
from ris.contraction import contract
from ris.csi import AnyCsi, LmmseCsi
from ris.pairs import diagonal
from ris.rician_link import End, Ends, RicianLink
from ris.wick import Slot, State, expectation

__all__ = ["rician_moments"]

H, H_CONJ, F, F_CONJ = Slot(False, 0), Slot(True, 0), Slot(False, 1), Slot(True, 1)
"""Channels h_k, precoders f_j, and both conjugated."""


def rician_moments(link: RicianLink, csi: AnyCsi) -> tuple[Array, Array, Array | None, Array]:
    """Return E h_k^H f_k, E|h_k^H f_j|^2, E|h_k|^2 |h_j|^2 (perfect CSI only) and E|f_k|^2."""
    if isinstance(csi, LmmseCsi):
        return _lmmse_moments(link, csi)
    channels = _Channels(link, link.ends(), noisy_precoders=csi == "perfect")
    interference = channels.mean(H_CONJ, F, F_CONJ, H)
    precoder = channels.mean(F_CONJ, F)[..., 0, :]
    if csi == "perfect":
        return precoder, interference, channels.mean(H_CONJ, H, F_CONJ, F), precoder
    return diagonal(channels.mean(H_CONJ, F)), interference, None, precoder


class _Channels:
    """Means of products of channels of a system."""

    def __init__(self, link: RicianLink, ends: Ends, noisy_precoders: bool = True) -> None:
        self._link, self._ends = link, ends
        self._noisy = (True, noisy_precoders)

    def mean(self, *slots: Slot) -> Array:
        """Real part of the mean of a product of two or four channels, neighbours joined at the BS."""
        antennas = {slot: slot // 2 for slot in range(len(slots))}

        def at_bs(*states: State) -> Array:
            scale, vectors, edges = _gathered(self._ends.bs, states, slots)
            return scale * _contracted(vectors, edges, antennas)

        return real(self._spread(expectation(slots, self._ends.hops, at_bs, *self._surfaces(slots)), 2))

    def vectors(self) -> Array:
        """Return E h_k, shape (..., K, M)."""
        slots = (H,)

        def at_bs(*states: State) -> Array:
            _, vectors, _ = _gathered(self._ends.bs, states, slots)
            return vectors[0][0]

        total = expectation(slots, self._ends.hops, at_bs, *self._surfaces(slots, open_axes=1))
        return self._spread(total, 2, self._link.antennas)[..., :, 0, :]

    def matrices(self) -> Array:
        """Return E h_k f_j^H, shape (..., K, K, M, M)."""
        slots = (H, F_CONJ)

        def at_bs(*states: State) -> Array:
            scale, vectors, edges = _gathered(self._ends.bs, states, slots)
            if edges:
                return scale[..., None, None] * edges[0][2]
            return vectors[0][0][..., :, None] * vectors[1][0][..., None, :]

        total = expectation(slots, self._ends.hops, at_bs, *self._surfaces(slots, open_axes=2))
        return self._spread(total, 2, self._link.antennas, self._link.antennas)

    def _surfaces(self, slots: Sequence[Slot], open_axes: int = 0) -> Iterator[Any]:
        """Factors of the two surfaces; `open_axes` more axes of length 1 make room for antennas."""
        noisy = [slot for slot, one in enumerate(slots) if self._noisy[one.family]]
        for ends, law in zip((self._ends.surface1, self._ends.surface2), self._link.laws, strict=True):
            yield functools.partial(_surface_factor, ends, law, slots, noisy, open_axes)

    def _spread(self, total: Array, users: int, *antennas: int) -> Array:
        """Give a result all its axes; 0 stands for a sum without terms."""
        shape = (*self._link.batch, *[self._link.users] * users, *antennas)
        total = self._link.constant(0.0) + total
        return array_api_compat.array_namespace(total).broadcast_to(total, shape)


def _surface_factor(
    ends: Sequence[End],
    law: PhaseNoise,
    slots: Sequence[Slot],
    noisy: Sequence[int],
    open_axes: int,
    *states: State,
) -> Array:
    """One surface's part of a term."""
    passing = [slot for slot in range(len(slots)) if any(state[slot] is not None for state in states)]
    if not passing:
        return 1.0
    scale, vectors, edges = _gathered(ends, states, slots)
    total: Any = 0
    quiet = [[slot] for slot in passing if slot not in noisy]
    for groups in _partitions([slot for slot in passing if slot in noisy]):
        weight = math.prod(_cumulant(law, group, slots) for group in groups)
        if weight != 0:
            places = {slot: place for place, group in enumerate([*groups, *quiet]) for slot in group}
            total = total + weight * _contracted(vectors, edges, places)
    value = scale * total
    return value[(..., *[None] * open_axes)] if open_axes else value


def _gathered(
    ends: Sequence[End], states: Sequence[State], slots: Sequence[Slot]
) -> tuple[Array, dict[int, list[Array]], list[tuple[int, int, Array]]]:
    """Scale, vectors of each slot, and matrices between two slots that the states of the hops leave."""
    scale: Any = 1.0
    vectors: dict[int, list[Array]] = {}
    edges = []
    for end, state in zip(ends, states, strict=True):
        for slot, partner in enumerate(state):
            if partner is None:
                continue
            family = slots[slot].family
            if partner < 0:
                ray = end.rays[family][-1 - partner]
                xp = array_api_compat.array_namespace(ray)
                vectors.setdefault(slot, []).append(xp.conj(ray) if slots[slot].conjugate else ray)
            elif not slots[slot].conjugate:
                factor, matrix = end.links[family, slots[partner].family]
                scale = scale * factor
                edges.append((slot, partner, matrix))
    return scale, vectors, edges


def _contracted(
    vectors: dict[int, list[Array]], edges: Sequence[tuple[int, int, Array]], places: dict[int, int]
) -> Array:
    """Contract with each slot's index put in its place."""
    weights: dict[int, list[Array]] = {place: [] for place in places.values()}
    for slot, own in vectors.items():
        weights[places[slot]] += own
    return contract(weights, [(places[first], places[second], X) for first, second, X in edges])


def _cumulant(law: PhaseNoise, group: Sequence[int], slots: Sequence[Slot]) -> float:
    """Joint cumulant of the phasors of a group of slots at one element."""
    turns = sum(-1 if slots[slot].conjugate else 1 for slot in group)
    whole = law.moment(abs(turns)) if turns else 1.0
    finer = (groups for groups in _partitions(list(group)) if len(groups) > 1)
    return whole - sum(math.prod(_cumulant(law, part, slots) for part in groups) for groups in finer)


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All partitions of a list into groups."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for groups in _partitions(rest):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


def _lmmse_moments(link: RicianLink, csi: LmmseCsi) -> tuple[Array, Array, None, Array]:
    raise NotImplementedError
