"""Bytes of an integer model whose weights are coded by how often they occur.

The code of Huffman ("A method for the construction of minimum-redundancy codes", Proc. IRE 40, 1952) has the
fewest bits of all that give each symbol a word of its own. Here symbols are the bytes of a layer's weights as
the model file packs them: a weight of 8 bits, two of 4, five of 2. So weights of which most are zero take
less than a bit each. A layer is

    1 byte           how it is told: packed as in the file, or coded; with which table, of how many bits W a
                     length
    table            of the lengths of words, from which a canonical code follows (Schwartz and Kallick,
                     1964); the smaller one of
                         2 bytes for the lowest symbol and how far the others reach, W bits for each between
                         1 byte for how many occur, 8 + W bits for each of them
    words            one after the other

each rounded up to whole bytes, and as packed where a code takes more. Weights of -1, 0 and 1 may be told by
the number of their arrangement instead (`enumeration`), which needs hardly a table. All other arrays are as
packed. What gzip makes of a file is beside it: it finds what repeats as well, but knows no layers.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from ris.predictors.compress.enumeration import enumerated_bytes
from ris.predictors.model import CONVOLUTIONS, Array, IntegerModel, without_zero
from ris.predictors.model_file import packed_arrays, packed_bytes

__all__ = ["code_lengths", "coded_bytes", "coded_weights", "huffman_bytes"]


def coded_bytes(model: IntegerModel) -> int:
    """Return the bytes of all arrays of a model, weights coded layer by layer, with their tables."""
    coded = coded_weights(model)
    packed = packed_arrays(model)
    return packed_bytes(model) + sum(coded[name] - packed[name].nbytes for name in coded)


def coded_weights(model: IntegerModel) -> dict[str, int]:
    """Return the bytes of every layer's coded weights with their table, by "node/weight"."""
    trits = {name: enumerated_bytes(weight.ravel() % 3, 3) for name, weight in _trits(model).items()}
    return {
        name: 1 + min(values.nbytes, huffman_bytes(values), trits.get(name, values.nbytes))
        for name, values in packed_arrays(model).items()
        if name.endswith("/weight")
    }


def _trits(model: IntegerModel) -> dict[str, Array]:
    """Weights of -1, 0 and 1 by "node/weight"."""
    weights = {
        f"{node.name}/weight": model.arrays[f"{node.name}/weight"]
        for node, bits in zip(model.graph.nodes, model.arrays["weight_bits"], strict=True)
        if bits == 2 and node.op in CONVOLUTIONS
    }
    return {name: weight for name, weight in weights.items() if not without_zero(weight, 2)}


def huffman_bytes(symbols: NDArray[np.int8] | NDArray[np.uint8]) -> int:
    """Return the bytes of a table and of the words of symbols, shape (symbols,)."""
    lowest = int(symbols.min())
    counts = np.bincount(symbols.astype(np.int64) - lowest)
    lengths = code_lengths(counts)
    width = int(lengths.max()).bit_length()
    table = min(2 + _bytes(width * counts.size), 1 + _bytes((8 + width) * int(np.count_nonzero(counts))))
    return table + _bytes(int(counts @ lengths))


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lengths of the words of an optimal code, in bits.

    Parameters
    ----------
    counts : ndarray of int, shape (symbols,)
        How often symbols occur.

    Returns
    -------
    ndarray of int, shape (symbols,)
        0 for what does not occur, and for a symbol that is alone.
    """
    lengths = np.zeros(counts.size, np.int64)
    # Symbols below one node of the tree of words, by how often they occur all together; the lowest symbol of
    # each, which no other has, decides ties.
    trees = [(int(counts[symbol]), symbol, [symbol]) for symbol in np.flatnonzero(counts).tolist()]
    heapq.heapify(trees)
    while len(trees) > 1:
        (rare, first, some), (less, other, more) = heapq.heappop(trees), heapq.heappop(trees)
        both = some + more
        lengths[both] += 1
        heapq.heappush(trees, (rare + less, min(first, other), both))
    return lengths


def _bytes(bits: int) -> int:
    return -(-bits // 8)
