"""The code that counts arrangements: against a list of all of them, and there and back."""

import itertools

import numpy as np
import pytest

from channels.errors import InvalidArgumentError
from ris.predictors.compress.enumeration import decode, encode, enumerated_bytes


@pytest.mark.parametrize("counts", [(3, 2, 1), (4, 0, 2), (0, 5, 0), (2, 2, 2)])
def test_places_are_those_in_the_list_of_all_arrangements(counts):
    letters = np.repeat(np.arange(len(counts)), counts).tolist()
    every = sorted(set(itertools.permutations(letters)))
    for place, symbols in enumerate(every):
        data = encode(np.array(symbols, np.uint8), len(counts))
        assert [int.from_bytes(data[at : at + 4], "little") for at in (0, 4)] == list(counts[:2])
        assert int.from_bytes(data[8:], "little") == place
        assert len(data) - 8 == (0 if len(every) == 1 else 1)


@pytest.mark.parametrize("entries", [0, 1, 7, 5000])
@pytest.mark.parametrize("zeros", [1 / 3, 0.88, 1.0])
def test_symbols_come_back_and_take_no_more_than_their_entropy(entries, zeros):
    signs = (1 - zeros) / 2
    symbols = np.random.default_rng(entries).choice(3, entries, p=[zeros, signs, signs]).astype(np.uint8)
    data = encode(symbols, 3)
    np.testing.assert_array_equal(decode(data, 3, entries), symbols)
    assert len(data) == enumerated_bytes(symbols, 3)
    shares = np.bincount(symbols, minlength=3) / max(entries, 1)
    entropy = -sum(share * np.log2(share) for share in shares if share)
    assert len(data) - 8 <= entries * entropy / 8 + 1
    if entries == 5000:
        assert len(data) - 8 >= 0.99 * entries * entropy / 8


def test_other_data_are_refused():
    data = encode(np.array([0, 1, 2, 0, 0, 1], np.uint8), 3)
    for bad in (data[:-1], data + b"\0", data[:8] + b"\xff", b"\xff" * len(data), b""):
        with pytest.raises(InvalidArgumentError, match="data"):
            decode(bad, 3, 6)
    with pytest.raises(InvalidArgumentError, match="letters below 3"):
        encode(np.array([3], np.uint8), 3)
