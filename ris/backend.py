"""One array library for all arrays of a call, after the array API standard."""

from typing import Any

import array_api_compat

__all__ = [
    "Array",
    "adjoint",
    "conjugate",
    "imaginary",
    "is_complex",
    "matmul",
    "real",
    "stacked",
    "unify",
    "vecdot",
]

Array = Any
"""An array of any library that follows the array API standard (NumPy, torch, ...)."""


def unify(*arrays: Array | None) -> tuple[Any, list[Any]]:
    """Return the namespace of the arrays and the arrays, NumPy ones moved into it; None passes.

    NumPy arrays follow the other library, so that constant covariances may meet torch phase shifts. Two
    libraries besides NumPy raise TypeError.
    """
    present = [array for array in arrays if array is not None]
    foreign = [array for array in present if not array_api_compat.is_numpy_array(array)]
    xp = array_api_compat.array_namespace(*(foreign or present))
    if not foreign:
        return xp, list(arrays)
    device = array_api_compat.device(foreign[0])

    def move(array: Array | None) -> Array | None:
        if array is None or not array_api_compat.is_numpy_array(array):
            return array
        # A copy, because other libraries refuse or warn about NumPy's read-only memory.
        return xp.asarray(array.copy(), device=device)

    return xp, [move(array) for array in arrays]


def is_complex(array: Array) -> bool:
    """Whether the entries are complex."""
    xp = array_api_compat.array_namespace(array)
    return bool(xp.isdtype(array.dtype, "complex floating"))


def real(array: Array) -> Array:
    """Real part of real or complex entries."""
    xp = array_api_compat.array_namespace(array)
    return xp.real(array) if is_complex(array) else array


def imaginary(array: Array) -> Array:
    """Imaginary part of real or complex entries."""
    xp = array_api_compat.array_namespace(array)
    return xp.imag(array) if is_complex(array) else xp.zeros_like(array)


def conjugate(array: Array) -> Array:
    """Complex conjugate of real or complex entries."""
    xp = array_api_compat.array_namespace(array)
    return xp.conj(array) if is_complex(array) else array


def adjoint(matrix: Array) -> Array:
    """Conjugate transpose of the last two axes."""
    xp = array_api_compat.array_namespace(matrix)
    return conjugate(xp.matrix_transpose(matrix))


def matmul(left: Array, right: Array) -> Array:
    """Matrix product of real and complex operands; a mixed pair costs two real products, not four."""
    xp = array_api_compat.array_namespace(left, right)
    if is_complex(left) == is_complex(right):
        return left @ right
    if is_complex(left):
        return (xp.real(left) @ right) + 1j * (xp.imag(left) @ right)
    return (left @ xp.real(right)) + 1j * (left @ xp.imag(right))


def vecdot(left: Array, right: Array, axis: int) -> Array:
    """Sum of conj(left) * right over `axis`, broadcast over the others, of real or complex operands."""
    xp = array_api_compat.array_namespace(left, right)
    kind = xp.result_type(left.dtype, right.dtype)
    return xp.vecdot(xp.astype(left, kind, copy=False), xp.astype(right, kind, copy=False), axis=axis)


def stacked(stacks: list[Array]) -> Array:
    """Join stacks of matrices along their axis -3, broadcasting their batch axes."""
    if len(stacks) == 1:
        return stacks[0]
    xp = array_api_compat.array_namespace(*stacks)
    kind = xp.result_type(*(stack.dtype for stack in stacks))
    count = [stack.shape[-3] for stack in stacks]
    batch = xp.broadcast_arrays(*(stack[..., 0, 0, 0] for stack in stacks))[0].shape
    return xp.concat(
        [
            xp.broadcast_to(xp.astype(stack, kind, copy=False), (*batch, n, *stack.shape[-2:]))
            for stack, n in zip(stacks, count, strict=True)
        ],
        axis=-3,
    )
