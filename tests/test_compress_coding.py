"""Coded sizes: the code of Huffman against all codes, entropies, and a coder that spends what is counted."""

import itertools

import numpy as np
import pytest
from predictors_graphs import residual_cnn
from predictors_models import random_model

from ris.predictors.compress.coding import code_lengths, coded_bytes, coded_weights, huffman_bytes
from ris.predictors.compress.enumeration import decode, encode
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import CONVOLUTIONS, IntegerModel
from ris.predictors.model_file import packed_arrays, packed_bytes


def entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def test_no_code_has_fewer_bits():
    # All lengths that words of a code without prefixes can have (Kraft).
    every = np.array(list(itertools.product(range(1, 5), repeat=5)))
    codes = every[(2.0**-every).sum(1) <= 1]
    for counts in map(np.array, itertools.combinations_with_replacement((1, 2, 3, 5, 8, 13), 5)):
        assert counts @ code_lengths(counts) == (codes @ counts).min()


@pytest.mark.parametrize("seed", range(5))
def test_lengths_between_the_entropy_and_a_bit_more(seed):
    rng = np.random.default_rng(seed)
    counts = rng.geometric(1 / rng.integers(2, 1000), 256) * (rng.random(256) < 0.7)
    lengths = code_lengths(counts)
    assert np.array_equal(lengths > 0, counts > 0)
    assert sum(2.0 ** -lengths[counts > 0]) == 1
    assert entropy(counts) <= counts @ lengths / counts.sum() < entropy(counts) + 1
    # What is more frequent has no longer word.
    assert np.all(np.diff(lengths[np.lexsort((lengths, -counts))][: np.count_nonzero(counts)]) >= 0)


def test_powers_of_two_have_their_own_logarithms():
    assert code_lengths(np.array([8, 0, 4, 2, 1, 1])).tolist() == [1, 0, 2, 3, 4, 4]
    assert code_lengths(np.array([0, 9, 0])).tolist() == [0, 0, 0]


# --- a coder and a decoder of the layout that the module describes


class Bits:
    def __init__(self, data=b""):
        self.text = "".join(f"{byte:08b}" for byte in data)

    def put(self, value, width):
        self.text += f"{value:0{width}b}" if width else ""

    def take(self, width):
        taken, self.text = self.text[:width], self.text[width:]
        return int(taken or "0", 2)

    def align(self):
        self.text += "0" * (-len(self.text) % 8)

    def skip(self, data_bits):
        self.text = self.text[-data_bits % 8 :]

    def data(self):
        return bytes(int(self.text[i : i + 8], 2) for i in range(0, len(self.text), 8))


def canonical(lengths):
    """Words of a code by symbol: by length, then by symbol, each the next number."""
    words, word, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        word <<= length - before
        words[symbol], word, before = (word, length), word + 1, length
    return words


def encoded(values, dense):
    counts = np.bincount(values.astype(int) + 128, minlength=384)
    lengths = {i - 128: int(n) for i, n in enumerate(code_lengths(counts)) if counts[i]}
    width = max(lengths.values()).bit_length()
    bits = Bits()
    if dense:
        low, high = min(lengths), max(lengths)
        bits.put(low % 256, 8)
        bits.put(high - low, 8)
        for symbol in range(low, high + 1):
            bits.put(lengths.get(symbol, 0), width)
    else:
        bits.put(len(lengths) - 1, 8)
        for symbol, length in lengths.items():
            bits.put(symbol % 256, 8)
            bits.put(length, width)
    bits.align()
    words = canonical(lengths)
    for value in values.tolist():
        bits.put(*words[value])
    bits.align()
    return width, bits.data()


def decoded(width, data, dense, count, signed):
    bits, lengths = Bits(data), {}
    signs = (lambda x: x - 256 * (x > 127)) if signed else (lambda x: x)
    if dense:
        low, reach = signs(bits.take(8)), bits.take(8)
        lengths = {low + i: bits.take(width) for i in range(reach + 1)}
        used = 16 + (reach + 1) * width
    else:
        many = bits.take(8) + 1
        lengths = {signs(bits.take(8)): bits.take(width) for _ in range(many)}
        used = 8 + many * (8 + width)
    bits.skip(used)
    if width == 0:
        return [*lengths] * count
    symbols = {word: symbol for symbol, word in canonical({s: n for s, n in lengths.items() if n}).items()}
    made = []
    for _ in range(count):
        word, length = bits.take(1), 1
        while (word, length) not in symbols:
            word, length = 2 * word + bits.take(1), length + 1
        made.append(symbols[word, length])
    return made


def symbols_of(kind, rng):
    if kind == "sparse":
        return (rng.normal(0, 30, 700) * (rng.random(700) < 0.2)).round().astype(np.int8)
    if kind == "few":
        return rng.choice(np.array([-127, -60, 1, 3, 99, 127], np.int8), 500)
    if kind == "alone":
        return np.full(77, -5, np.int8)
    if kind == "every byte":
        return rng.permutation(np.arange(256).repeat(2)).astype(np.uint8)
    return rng.binomial(242, 0.1, 300).astype(np.uint8)


@pytest.mark.parametrize("kind", ["sparse", "few", "alone", "every byte", "skew"])
def test_as_many_bytes_are_enough_for_a_decoder(kind):
    values = symbols_of(kind, np.random.default_rng(3))
    sizes = []
    for dense in (True, False):
        width, data = encoded(values, dense)
        assert decoded(width, data, dense, values.size, values.dtype == np.int8) == values.tolist()
        sizes.append(len(data))
    assert huffman_bytes(values) == min(sizes)


# --- models


def one_conv(bits, weights, channels=64):
    net = GraphBuilder(channels)
    net.conv(net.input, channels)
    graph = net.graph()
    arrays = dict(random_model(graph, 8, 8, np.random.default_rng(0)).arrays)
    arrays["weight_bits"][1] = bits
    arrays["conv_1/weight"] = weights.reshape(channels, channels, 3, 3).astype(np.int8)
    arrays["conv_1/bias"] //= 16
    return IntegerModel(graph, arrays)


def test_sparse_ternary_weights_take_no_more_than_their_entropy():
    shares = [0.06, 0.88, 0.06]
    weights = np.random.default_rng(0).choice([-1, 0, 1], 64 * 64 * 9, p=shares)
    model = one_conv(2, weights)
    made = coded_weights(model)["conv_1/weight"]
    # What is counted is enough: all but the byte that says how comes back.
    data = encode((weights % 3).astype(np.uint8), 3)
    assert made == 1 + len(data)
    np.testing.assert_array_equal((decode(data, 3, weights.size).astype(int) + 1) % 3 - 1, weights)
    assert 8 * made / weights.size < entropy(np.bincount(weights + 1)) + 0.01
    packed = packed_arrays(model)["conv_1/weight"]
    assert made < huffman_bytes(packed) < packed.nbytes
    assert coded_bytes(model) == packed_bytes(model) - packed.nbytes + made


def test_all_arrays_count_and_what_is_not_coded_is_as_packed():
    model = random_model(residual_cnn(8, 1), 4, 6, np.random.default_rng(0))
    coded = coded_weights(model)
    weighted = [node.name for node in model.graph.nodes if node.op in CONVOLUTIONS]
    assert set(coded) == {f"{name}/weight" for name in weighted}
    packed = packed_arrays(model)
    rest = sum(values.nbytes for name, values in packed.items() if name not in coded)
    assert coded_bytes(model) == rest + sum(coded.values())
    # Few weights, all codes alike: a table costs more than it saves.
    assert all(coded[name] <= packed[name].nbytes + 1 for name in coded)
    assert any(coded[name] == packed[name].nbytes + 1 for name in coded)
    assert sum(values.nbytes for values in packed.values()) == packed_bytes(model)


def test_odd_weights_keep_the_bytes_that_say_so():
    weights = 2 * np.random.default_rng(0).integers(-2, 2, 64 * 64 * 9) + 1
    model = one_conv(2, weights)
    assert packed_bytes(model) - sum(one.nbytes for one in packed_arrays(model).values()) == 2
    assert coded_bytes(model) == packed_bytes(model) + 1
