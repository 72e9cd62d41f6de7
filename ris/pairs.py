"""Users and pairs of users: index helpers that the moment formulas share."""

import array_api_compat

from ris.backend import Array

__all__ = [
    "both",
    "diagonal",
    "identity",
    "on_diagonal",
    "outer",
    "pair",
    "split",
    "split_pairs",
    "symmetric",
    "transposed",
]


def split(vector: Array) -> tuple[Array, Array]:
    """Entries of the users, shape (..., K), and of surface 2, shape (..., 1)."""
    return vector[..., :-1], vector[..., -1:]


def split_pairs(matrix: Array) -> tuple[Array, Array, Array, Array]:
    """Entries (k, j), (k, surface 2), (surface 2, j) and, with shape (..., 1, 1), (surface 2, surface 2)."""
    return matrix[..., :-1, :-1], matrix[..., :-1, -1], matrix[..., -1, :-1], matrix[..., -1:, -1:]


def pair(scalar: Array) -> Array:
    """A value for all users, (..., 1), as one for all pairs, (..., 1, 1)."""
    return scalar[..., None]


def outer(left: Array, right: Array) -> Array:
    """left_k right_j."""
    return left[..., :, None] * right[..., None, :]


def transposed(matrix: Array) -> Array:
    """X_jk."""
    xp = array_api_compat.array_namespace(matrix)
    return xp.matrix_transpose(matrix)


def symmetric(matrix: Array) -> Array:
    """X_kj + X_jk."""
    return matrix + transposed(matrix)


def both(left: Array, right: Array) -> Array:
    """left_k right_j + left_j right_k."""
    return symmetric(outer(left, right))


def diagonal(matrix: Array) -> Array:
    """X_kk, shape (..., K)."""
    xp = array_api_compat.array_namespace(matrix)
    return xp.linalg.diagonal(matrix)


def identity(matrix: Array) -> Array:
    """Identity matrix of the size and kind of X."""
    xp = array_api_compat.array_namespace(matrix)
    return xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=array_api_compat.device(matrix))


def on_diagonal(matrix: Array) -> Array:
    """X with zeros off its diagonal."""
    return matrix * identity(matrix)
