r"""Products of channels as sums over paths and, hop by hop, over pairings of their random parts.

A mean of a product of channels h_k and conjugated channels h_j^*, one for each *slot*, is by linearity a sum
over the choice of a path for every slot. A path is a product of hops, and every hop is the sum of random,
circular and Gaussian, parts and of fixed ones, its *rays*. So (Isserlis, also Wick) the sum goes on, for each
hop, over its *states*: some of the slots on the hop take one of its rays, the others are paired, one not
conjugated with one conjugated, and each pair leaves the covariance of the hop. Different hops are
independent. What is left of a term is a product of three factors, one for each array: the BS, surface 1 and
surface 2. A factor depends on the states of the hops that end at its array alone.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PATHS", "Hops", "Slot", "State", "expectation"]

PATHS = {
    "direct": ("bs_user",),
    "single1": ("bs_ris1", "ris1_user"),
    "single2": ("bs_ris2", "ris2_user"),
    "double": ("bs_ris1", "ris1_ris2", "ris2_user"),
}

SHARED = ("bs_ris1", "bs_ris2", "ris1_ris2")
"""Hops that two arrays see; those to the users are seen by one array."""

State = tuple[int | None, ...]
"""For each slot None if it does not pass the hop, the number of its partner, or -1 - i for ray number i."""


@dataclass(frozen=True)
class Slot:
    """One channel in a product.

    Attributes
    ----------
    conjugate : bool
        Whether it stands there conjugated.
    family : int
        Which stack of channels it is from: 0 for the channels, 1 for the precoders.
    """

    conjugate: bool
    family: int


@dataclass(frozen=True)
class Hops:
    """What the hops are made of, by name, for hops on a complete path.

    Attributes
    ----------
    rays : dict of str to tuple of int
        Number of rays that a slot of each family sees.
    random : set of str
        Hops with a random part.
    """

    rays: Mapping[str, tuple[int, ...]]
    random: set[str]

    def paths(self, family: int) -> list[tuple[str, ...]]:
        """Paths open to a slot of that family."""
        return [
            path
            for path in PATHS.values()
            if all(hop in self.rays and (hop in self.random or self.rays[hop][family] > 0) for hop in path)
        ]


Factor = Callable[..., Any]
"""Value of an array's part of a term, by the states of the hops that end there."""


def expectation(slots: Sequence[Slot], hops: Hops, bs: Factor, surface1: Factor, surface2: Factor) -> Any:
    """Return the mean of the product of the slots, summed over all paths and states; 0 if there are none.

    Parameters
    ----------
    slots : sequence of Slot
        The channels.
    hops : Hops
        What they are made of.
    bs : callable
        Of the states of `bs_ris1`, `bs_ris2` and `bs_user`.
    surface1 : callable
        Of the states of `bs_ris1`, `ris1_ris2` and `ris1_user`.
    surface2 : callable
        Of the states of `bs_ris2`, `ris1_ris2` and `ris2_user`.
    """
    known: dict[Any, Any] = {}

    def summed(factor: Factor, first: State, second: State, users: str, passing: tuple[int, ...]) -> Any:
        # The states of a hop to the users matter to this array alone, and so are summed over here.
        key = (factor, first, second, passing)
        if key not in known:
            values = [factor(first, second, own) for own in _states(slots, hops, users, passing)]
            known[key] = sum(values[1:], start=values[0]) if values else None
        return known[key]

    total: Any = 0
    for paths in itertools.product(*(hops.paths(slot.family) for slot in slots)):

        def passing(hop: str, paths: tuple[tuple[str, ...], ...] = paths) -> tuple[int, ...]:
            return tuple(slot for slot, path in enumerate(paths) if hop in path)

        shared = (list(_states(slots, hops, hop, passing(hop))) for hop in SHARED)
        for hop1, hop2, between in itertools.product(*shared):
            factors = []
            for factor, first, second, users in (
                (surface1, hop1, between, "ris1_user"),
                (surface2, hop2, between, "ris2_user"),
                (bs, hop1, hop2, "bs_user"),
            ):
                value = summed(factor, first, second, users, passing(users))
                if value is None:
                    break
                factors.append(value)
            else:
                total = total + factors[0] * factors[1] * factors[2]
    return total


def _states(slots: Sequence[Slot], hops: Hops, hop: str, passing: tuple[int, ...]) -> Iterator[State]:
    """All states of a hop that these slots pass."""
    for places in _choices(slots, hops, hop, passing):
        yield tuple(places.get(slot) for slot in range(len(slots)))


def _choices(
    slots: Sequence[Slot], hops: Hops, hop: str, passing: tuple[int, ...]
) -> Iterator[dict[int, int]]:
    if not passing:
        yield {}
        return
    first, rest = passing[0], passing[1:]
    for ray in range(hops.rays[hop][slots[first].family]):
        for others in _choices(slots, hops, hop, rest):
            yield {first: -1 - ray, **others}
    if hop in hops.random:
        for partner in rest:
            if slots[partner].conjugate != slots[first].conjugate:
                left = tuple(slot for slot in rest if slot != partner)
                for others in _choices(slots, hops, hop, left):
                    yield {first: partner, partner: first, **others}
