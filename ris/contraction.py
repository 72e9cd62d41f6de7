"""Sums over element indices of products of vectors and matrices, for all users and pairs of users at once."""

import math
from collections.abc import Sequence

import array_api_compat

from ris.backend import Array

__all__ = ["contract"]

Edge = tuple[int, int, Array]
"""Two indices and the matrix X_ab between them, shape (..., K or 1, K or 1, n, m)."""


def contract(weights: dict[int, list[Array]], edges: Sequence[Edge]) -> Array:
    """Sum over all indices of the product of vectors, one index each, and matrices, two indices each.

    Parameters
    ----------
    weights : dict of int to list of array, shape (..., K or 1, K or 1, n)
        By index, its vectors; every index of the sum is a key.
    edges : sequence of (int, int, array)
        Matrices between two indices, which may be the same one.

    Returns
    -------
    array, shape (..., K or 1, K or 1)
        The two axes of users are never summed over.

    Notes
    -----
    Index after index is summed out, those with the fewest neighbours and then the fewest axes of users first.
    With two matrices at every index, none ever has more than two neighbours: matrix products at most, O(N^3).
    """
    vectors = {index: list(own) for index, own in weights.items()}
    open_edges: list[Edge] = []
    for edge in edges:
        _add(vectors, open_edges, edge)
    factors: list[Array] = []
    while vectors:
        touching = {index: [edge for edge in open_edges if index in edge[:2]] for index in vectors}
        index = min(vectors, key=lambda one: _cost(touching[one]))
        weight = _product(vectors.pop(index))
        own = [edge if edge[0] == index else (index, edge[0], edge[2].mT) for edge in touching[index]]
        open_edges = [edge for edge in open_edges if index not in edge[:2]]
        ends = sorted({end for _, end, _ in own})
        if not ends:
            assert weight is not None  # noqa: S101 - an index alone has a vector
            factors.append(_sum(weight))
        elif len(ends) == 1:
            matrices = [matrix for _, _, matrix in own]
            if len(touching[ends[0]]) > len(own):
                vectors[ends[0]].append(_matvec(_product(matrices), weight))
            else:
                factors.append(_pair_sum(weight, _product(vectors.pop(ends[0])), matrices))
        else:
            left, right = (_product([X for _, end, X in own if end == other]) for other in ends)
            left = left if weight is None else left * weight[..., :, None]
            _add(vectors, open_edges, (ends[0], ends[1], left.mT @ right))
    return math.prod(factors[1:], start=factors[0])


def _add(vectors: dict[int, list[Array]], edges: list[Edge], edge: Edge) -> None:
    """Add an edge; one from an index to itself is a vector, its diagonal."""
    first, second, matrix = edge
    if first == second:
        vectors[first].append(array_api_compat.array_namespace(matrix).linalg.diagonal(matrix))
    else:
        edges.append(edge)


def _cost(edges: Sequence[Edge]) -> tuple[int, int]:
    """Neighbours of the index that these edges touch, and size of their axes of users together."""
    shapes = [edge[2].shape[-4:-2] for edge in edges]
    axes = math.prod(map(max, zip((1, 1), *shapes, strict=True)))
    return len({end for edge in edges for end in edge[:2]}), axes


def _product(arrays: Sequence[Array]) -> Array:
    """Product of arrays; None if there are none."""
    return math.prod(arrays[1:], start=arrays[0]) if arrays else None


def _sum(vectors: Array) -> Array:
    return array_api_compat.array_namespace(vectors).sum(vectors, axis=-1)


def _matvec(matrix: Array, weight: Array | None) -> Array:
    """sum_a w_a X_ab."""
    xp = array_api_compat.array_namespace(matrix)
    if weight is None:
        return xp.sum(matrix, axis=-2)
    return (weight[..., None, :] @ matrix)[..., 0, :]


def _pair_sum(first: Array | None, second: Array | None, matrices: list[Array]) -> Array:
    """sum_ab u_a v_b X_ab Y_ab ...; factors of one user meet those of the other in one matrix product."""
    xp = array_api_compat.array_namespace(matrices[0])
    if len(matrices) == 1:
        vector = _matvec(matrices[0], first)
        return _sum(vector if second is None else vector * second)
    factors = list(matrices)
    factors += [] if first is None else [first[..., :, None]]
    factors += [] if second is None else [second[..., None, :]]
    rows = _product([one for one in factors if one.shape[-3] == 1])
    columns = _product([one for one in factors if one.shape[-3] != 1])
    if rows is None or columns is None or columns.shape[-4] != 1:
        whole = _product([one for one in (rows, columns) if one is not None])
        return xp.sum(whole, axis=(-2, -1))
    rows, columns = rows[..., :, 0, :, :], columns[..., 0, :, :, :]
    size = matrices[0].shape[-2:]

    def flat(stack: Array) -> Array:
        whole = xp.broadcast_to(stack, (*stack.shape[:-2], *size))
        return xp.reshape(whole, (*stack.shape[:-2], size[0] * size[1]))

    return flat(rows) @ flat(columns).mT
