r"""Exact moments of the channels where hops have lines of sight, for everything that the BS may know.

Without a line of sight the channels are zero-mean Gaussian given what users share, and `ris.moments` needs
five parts of their covariances. With one, they have a mean that all of it enters, and users' channels are
correlated. So the moments are taken here as `ris.wick` does, term by term over paths and pairings: with the
slots (h_k^*, f_j, f_j^*, h_k) for E|h_k^H f_j|^2, and (h_k^*, h_k, h_j^*, h_j) for E|h_k|^2 |h_j|^2.

The factor of the BS is a sum over antennas without more ado: two neighbouring slots share one antenna.

The factor of a surface is a sum over its elements, an index n for each slot that passes it, of covariances
and rays on both sides times the mean of the product of e_n (or e_n^*) of those slots that see what phase
noise and hardware add. Different elements are independent. Written by joint cumulants, the mean of the
product is the sum over all partitions of the slots into groups, of the products over the groups of

    kappa_n(p, q), the joint cumulant of p times e_n and q times e_n^*, if all indices of the group agree,
    else 0 (`ris.element_moments` has them),

as the mean is the sum over partitions that do not separate what is dependent. So each partition leaves a sum
over free indices, one a group, of products of vectors and matrices (`ris.contraction`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import array_api_compat

from ris.affine_estimates import affine_estimates
from ris.backend import Array, adjoint, conjugate, real
from ris.contraction import contract
from ris.csi import AnyCsi, PilotCsi
from ris.element_moments import ElementMoments
from ris.pairs import diagonal
from ris.rician_link import End, Ends, RicianLink
from ris.wick import Slot, State, expectation

__all__ = ["rician_mean_gains", "rician_moments"]

H, H_CONJ, F, F_CONJ = Slot(False, 0), Slot(True, 0), Slot(False, 1), Slot(True, 1)
"""Channels h_k, precoders f_j, and both conjugated."""


def rician_moments(link: RicianLink, csi: AnyCsi) -> tuple[Array, Array, Array | None, Array]:
    """Return E h_k^H f_k, E|h_k^H f_j|^2, E|h_k|^2 |h_j|^2 (perfect CSI only) and E|f_k|^2."""
    if isinstance(csi, PilotCsi):
        return _pilot_moments(link, csi)
    channels = _Channels(link, link.ends(), noisy=(True, csi == "perfect"), alike=csi == "perfect")
    interference = channels.mean(H_CONJ, F, F_CONJ, H)
    precoder = channels.mean(F_CONJ, F)[..., 0, :]
    if csi == "perfect":
        # |h_k|^2 |h_j|^2 has the same slots, joined otherwise.
        return precoder, interference, channels.mean(H_CONJ, F, F_CONJ, H, antennas=(0, 1, 1, 0)), precoder
    # The precoder is turned so that this mean is real.
    coherent = diagonal(channels.complex_mean(H_CONJ, F))
    return array_api_compat.array_namespace(coherent).abs(coherent), interference, None, precoder


def rician_mean_gains(link: RicianLink) -> Array:
    """Return E|h_k|^2 alone, shape (..., K)."""
    channels = _Channels(link, link.ends(), noisy=(True, True), alike=True)
    return channels.mean(F_CONJ, F)[..., 0, :]


class _Channels:
    """Means of products of channels of a system.

    Parameters
    ----------
    link, ends
        The system, and the ends of its hops with what makes the precoders.
    noisy : pair of bool
        Whether the channels of each family see phase noise and hardware.
    alike : bool
        Whether both families are the channels of the users.
    """

    def __init__(self, link: RicianLink, ends: Ends, noisy: Sequence[bool], alike: bool = False) -> None:
        self._link, self._ends, self._noisy, self._alike = link, ends, noisy, alike
        self._known: dict[Sequence[Slot], list[_Surface]] = {}

    def mean(self, *slots: Slot, antennas: Sequence[int] = (0, 0, 1, 1)) -> Array:
        """Real part of `complex_mean`."""
        return real(self.complex_mean(*slots, antennas=antennas))

    def complex_mean(self, *slots: Slot, antennas: Sequence[int] = (0, 0, 1, 1)) -> Array:
        """Mean of a product of channels; slots of one antenna are joined at the BS."""
        places = dict(enumerate(antennas[: len(slots)]))

        def at_bs(*states: State) -> Array:
            scale, vectors, edges = self._at_bs(states, slots)
            return scale * _contracted(vectors, edges, places)

        return self._spread(expectation(slots, self._ends.hops, at_bs, *self._surfaces(slots)))

    def vectors(self) -> Array:
        """Return E h_k, shape (..., K, M)."""

        def at_bs(*states: State) -> Array:
            return self._at_bs(states, (H,))[1][0][0]

        surfaces = (_opened(surface, 1) for surface in self._surfaces((H,)))
        total = expectation((H,), self._ends.hops, at_bs, *surfaces)
        return self._spread(total, self._link.antennas)[..., :, 0, :]

    def matrices(self) -> Array:
        """Return E h_k f_j^H, shape (..., K, K, M, M)."""
        slots = (H, F_CONJ)

        def at_bs(*states: State) -> Array:
            scale, vectors, edges = self._at_bs(states, slots)
            if edges:
                return scale[..., None, None] * edges[0][2]
            return vectors[0][0][..., :, None] * vectors[1][0][..., None, :]

        surfaces = (_opened(surface, 2) for surface in self._surfaces(slots))
        total = expectation(slots, self._ends.hops, at_bs, *surfaces)
        return self._spread(total, self._link.antennas, self._link.antennas)

    def _at_bs(self, states: Sequence[State], slots: Sequence[Slot]) -> "_Gathered":
        return _gathered(self._ends.one, self._ends.bs, states, slots)

    def _surfaces(self, slots: Sequence[Slot]) -> list["_Surface"]:
        if slots not in self._known:
            both = zip((self._ends.surface1, self._ends.surface2), self._link.elements, strict=True)
            settings = (self._ends.one, slots, self._noisy, self._alike)
            self._known[slots] = [_Surface(ends, moments, *settings) for ends, moments in both]
        return self._known[slots]

    def _spread(self, total: Array, *antennas: int) -> Array:
        """Give a result all its axes; 0 stands for a sum without terms."""
        shape = (*self._link.batch, self._link.users, self._link.users, *antennas)
        total = self._link.constant(0.0) + total
        return array_api_compat.array_namespace(total).broadcast_to(total, shape)


def _opened(factor: Callable[..., Array], axes: int) -> Callable[..., Array]:
    """Give the values of a factor more axes, of length 1."""
    return lambda *states: factor(*states)[(..., *[None] * axes)]


class _Surface:
    """One surface's part of every term.

    Conjugating all slots, and for two families alike exchanging them, turns a term into another one, whose
    part is the conjugate or the transpose: one of each two or four is worked out.
    """

    def __init__(
        self,
        ends: Sequence[End],
        moments: ElementMoments,
        one: Array,
        slots: Sequence[Slot],
        noisy: Sequence[bool],
        alike: bool,
    ) -> None:
        self._ends, self._one, self._slots = ends, one, slots
        self._noisy = [slot for slot, one in enumerate(slots) if noisy[one.family]]
        self._moments = moments
        conjugates = [Slot(not one.conjugate, one.family) for one in slots]
        others = [Slot(one.conjugate, 1 - one.family) for one in slots]
        self._conjugation = _places(slots, conjugates)
        self._exchange = _places(slots, others) if alike else None
        self._known: dict[tuple[State, ...], Array] = {}

    def __call__(self, *states: State) -> Array:
        """Return the part of the term with these states of the hops."""
        if states not in self._known:
            found = [(states, self._value(states))]
            xp = array_api_compat.array_namespace(found[0][1])
            for places, turned in ((self._conjugation, xp.conj), (self._exchange, xp.matrix_transpose)):
                if places is not None:
                    found += [(_moved(states, places), turned(value)) for states, value in found]
            self._known |= dict(found)
        return self._known[states]

    def _value(self, states: Sequence[State]) -> Array:
        passing = [slot for slot in range(len(self._slots)) if any(s[slot] is not None for s in states)]
        scale, vectors, edges = _gathered(self._one, self._ends, states, self._slots)
        if not passing:
            return scale
        total: Any = 0
        quiet = [[slot] for slot in passing if slot not in self._noisy]
        for groups in _partitions([slot for slot in passing if slot in self._noisy]):
            counts = [sum(self._slots[slot].conjugate for slot in group) for group in groups]
            cumulants = [
                self._moments.cumulant(len(group) - conjugated, conjugated)
                for group, conjugated in zip(groups, counts, strict=True)
            ]
            weight = math.prod(one for one in cumulants if isinstance(one, float))
            if weight != 0:
                places = {slot: place for place, group in enumerate([*groups, *quiet]) for slot in group}
                own = {
                    place: [one[..., None, None, :]]
                    for place, one in enumerate(cumulants)
                    if not isinstance(one, float)
                }
                total = total + weight * _contracted(vectors, edges, places, own)
        return scale * total


def _places(slots: Sequence[Slot], images: Sequence[Slot]) -> list[int] | None:
    """Places of the images among the slots, or None if one is not there."""
    return [slots.index(image) for image in images] if set(images) <= set(slots) else None


def _moved(states: Sequence[State], places: Sequence[int]) -> tuple[State, ...]:
    """States of the hops after every slot moved to its new place."""
    return tuple(
        tuple(
            partner if partner is None or partner < 0 else places[partner]
            for partner in (state[places.index(slot)] for slot in range(len(places)))
        )
        for state in states
    )


_Gathered = tuple[Array, dict[int, list[Array]], list[tuple[int, int, Array]]]
"""Scale, vectors of each slot, and matrices between two slots."""


def _gathered(one: Array, ends: Sequence[End], states: Sequence[State], slots: Sequence[Slot]) -> _Gathered:
    """Return what the states of the hops leave at an array; `one` is the number, shape (1, 1)."""
    scale = one
    vectors: dict[int, list[Array]] = {}
    edges = []
    for end, state in zip(ends, states, strict=True):
        for slot, partner in enumerate(state):
            if partner is None:
                continue
            family = slots[slot].family
            if partner < 0:
                ray = end.rays[family][-1 - partner]
                vectors.setdefault(slot, []).append(conjugate(ray) if slots[slot].conjugate else ray)
            elif not slots[slot].conjugate:
                factor, matrix = end.links[family, slots[partner].family]
                scale = scale * factor
                edges.append((slot, partner, matrix))
    return scale, vectors, edges


def _contracted(
    vectors: dict[int, list[Array]],
    edges: Sequence[tuple[int, int, Array]],
    places: dict[int, int],
    own: Mapping[int, list[Array]] | None = None,
) -> Array:
    """Contract with each slot's index put in its place; `own` are further vectors, by place."""
    weights: dict[int, list[Array]] = {place: list((own or {}).get(place, [])) for place in places.values()}
    for slot, of_slot in vectors.items():
        weights[places[slot]] += of_slot
    return contract(weights, [(places[first], places[second], X) for first, second, X in edges])


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


def _pilot_moments(link: RicianLink, csi: PilotCsi) -> tuple[Array, Array, None, Array]:
    """Moments with f_j = c_j + L_j (sum over the users i of j's pilot of h_i + n), n ~ CN(0, s I).

    The noise adds s tr(L_j L_j^H E h_k h_k^H) to E|h_k^H f_j|^2; the rest is linear in the channels.
    """
    xp = link.namespace

    def second_moments(noisy: bool) -> tuple[Array, Array]:
        channels = _Channels(link, link.ends(), noisy=(noisy, noisy), alike=True)
        return channels.vectors(), channels.matrices()

    moments = second_moments(noisy=True)
    estimates = affine_estimates(csi, moments, lambda: second_moments(noisy=False))
    ends = link.ends(csi.shared(link.users), estimates.filters, estimates.constants)
    interference = _Channels(link, ends, noisy=(True, True)).mean(H_CONJ, F, F_CONJ, H)
    own = xp.stack([moments[1][..., k, k, :, :] for k in range(link.users)], axis=-3)
    spread = xp.matrix_transpose(estimates.filters @ adjoint(estimates.filters))
    noise = real(xp.sum(own[..., :, None, :, :] * spread[..., None, :, :, :], axis=(-2, -1)))
    return estimates.mean_gain, interference + csi.noise * noise, None, estimates.precoder_gain
