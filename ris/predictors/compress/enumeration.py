"""A code of symbols that counts arrangements, for symbols of less than a bit.

Of all sequences in which letters occur n_0, n_1, ... times there are n! / (n_0! n_1! ...). A sequence is told
by these counts and by how many of the others come before it in the order of an alphabet (Cover, "Enumerative
source coding", IEEE Trans. Inf. Theory 19(1), 1973). That takes no more bits than the entropy of the shares
n_0 / n, n_1 / n, ... for each symbol, which no code of words reaches: a word has a bit at least.

All counts but the last take 4 bytes each, lowest first; the place takes the bytes that the last one of all
places needs. How many symbols there are, and of how many letters, the decoder knows.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError

__all__ = ["decode", "encode", "enumerated_bytes"]

COUNT = 4
"""Bytes of a count."""


def enumerated_bytes(symbols: NDArray[np.uint8], letters: int) -> int:
    """Return the bytes of symbols below `letters`, shape (symbols,), as `encode` makes them."""
    counts = _counts(symbols, letters)
    return COUNT * (letters - 1) + _place_bytes(_arrangements(counts))


def encode(symbols: NDArray[np.uint8], letters: int) -> bytes:
    """Return the counts of symbols below `letters`, shape (symbols,), and their place."""
    counts = _counts(symbols, letters)
    head = b"".join(count.to_bytes(COUNT, "little") for count in counts[:-1])
    left, place, ways = len(symbols), 0, _arrangements(counts)
    length = _place_bytes(ways)
    for symbol in symbols.tolist():
        # Of the ways to go on, those with a letter first are as many as its share of what is left.
        place += ways * sum(counts[:symbol]) // left
        ways = ways * counts[symbol] // left
        counts[symbol] -= 1
        left -= 1
    return head + place.to_bytes(length, "little")


def decode(data: bytes, letters: int, entries: int) -> NDArray[np.uint8]:
    """Return the symbols, shape (entries,), that were encoded.

    Raises
    ------
    InvalidArgumentError
        If the data are none of so many symbols.
    """
    head = COUNT * (letters - 1)
    counts = [int.from_bytes(data[at : at + COUNT], "little") for at in range(0, head, COUNT)]
    counts.append(entries - sum(counts))
    if counts[-1] < 0:
        raise InvalidArgumentError("data", f"counts of {entries} symbols", f"{counts[:-1]}")
    ways, place = _arrangements(counts), int.from_bytes(data[head:], "little")
    if len(data) != head + _place_bytes(ways) or place >= ways:
        raise InvalidArgumentError("data", "a place among the arrangements", f"{len(data)} bytes")
    symbols = np.empty(entries, np.uint8)
    for i in range(entries):
        symbol, own = 0, ways * counts[0] // (entries - i)
        while place >= own:
            place -= own
            symbol += 1
            own = ways * counts[symbol] // (entries - i)
        symbols[i], ways = symbol, own
        counts[symbol] -= 1
    return symbols


def _counts(symbols: NDArray[np.uint8], letters: int) -> list[int]:
    counts: list[int] = np.bincount(symbols, minlength=letters).tolist()
    if len(counts) > letters:
        raise InvalidArgumentError("symbols", f"letters below {letters}", f"up to {len(counts) - 1}")
    return counts


def _arrangements(counts: Sequence[int]) -> int:
    left, ways = sum(counts), 1
    for count in counts:
        ways *= math.comb(left, count)
        left -= count
    return ways


def _place_bytes(ways: int) -> int:
    return -(-(ways - 1).bit_length() // 8)
