"""Vector instructions for kernels whose sums stay in registers: what Numba's own loops do not reach."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic as _intrinsic

__all__ = ["address", "features", "intrinsic", "spread", "whole_registers"]

# Numba's annotations describe the generator of the code, not the call.
intrinsic: Any = _intrinsic


def features() -> str:
    """Return what the processor that Numba compiles for can do, as the compiler's list."""
    chosen = getattr(config, "CPU_FEATURES", None)
    return str(get_host_cpu_features() if chosen is None else chosen)


@intrinsic
def whole_registers(typing_context):
    """Let the compiler fill registers of 512 bits in the function that calls this, where there are any.

    For many processors with AVX-512 it takes halves of them unless it is told otherwise, as the clock of the
    first ones fell. Measured on one of Intel's, normal numbers take 0.7 of the time with whole ones, phasors
    0.8.
    """

    def generate(context, builder, signature, arguments):
        # A pair, which the list of names that `add` accepts does not have.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


def spread(builder: Any, scalar: Any, vector_type: Any) -> Any:
    """Return a vector with the scalar in every lane."""
    undefined, number = ir.Constant(vector_type, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, scalar, ir.Constant(number, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(number, vector_type.count), None))


def address(context: Any, builder: Any, array_type: Any, array: Any, at: Any, pointee: Any) -> Any:
    """Return where entry `at` of a contiguous array is, as the address of a `pointee`."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    size = ir.Constant(at.type, context.get_abi_sizeof(context.get_data_type(array_type.dtype)))
    place = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [builder.mul(at, size)])
    return builder.bitcast(place, pointee.as_pointer())
