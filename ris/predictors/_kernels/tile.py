"""Products and differences of bytes summed in registers: what Numba's own loops do not reach.

A tile holds 32-bit sums for some pixels and 16 or 32 output channels. One step adds, for every pixel p and
every channel o, four products sum_i x[p, i] w[o, i] of unsigned and signed bytes, or four differences
sum_i |x[p, i] - w[o, i]| of unsigned ones, which are products with ones. Processors with the AVX-512 VNNI
instructions do 16 channels of a step in one instruction, or four with differences; elsewhere the same sums
come from multiplications of 16-bit pairs. No sum saturates on either way.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from channels._kernels.vectors import address, features, intrinsic, spread

__all__ = ["LANES", "add_terms", "clear_tile", "store_tile"]

LANES = 16
"""Output channels of one vector."""

I8, I16, I32, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
SUMS, BYTES, PAIRS = ir.VectorType(I32, LANES), ir.VectorType(I8, 4 * LANES), ir.VectorType(I16, 2 * LANES)
REALS, CODES = ir.VectorType(F32, LANES), ir.VectorType(I8, LANES)


class Tile(types.Type):
    """Sums of some pixels for some vectors of channels."""

    def __init__(self, pixels, vectors):
        super().__init__(name=f"Tile({pixels}, {vectors})")
        self.pixels, self.vectors = pixels, vectors


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """Pixel by pixel, vector by vector."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.ArrayType(SUMS, fe_type.pixels * fe_type.vectors))


def _lanes(vector_type, value):
    return ir.Constant(vector_type, [value] * vector_type.count)


def _dot(builder, sums, x, w):
    """Sums plus four products of bytes in every lane; x and w come as 32-bit lanes."""
    if "+avx512vnni" in features():
        name = "llvm.x86.avx512.vpdpbusd.512"
        instruction = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(SUMS, [SUMS, SUMS, SUMS]), name
        )
        return builder.call(instruction, [sums, x, w])
    x, w, eight = builder.bitcast(x, PAIRS), builder.bitcast(w, PAIRS), _lanes(PAIRS, 8)
    even = _dot_pairs(
        builder, builder.and_(x, _lanes(PAIRS, 255)), builder.ashr(builder.shl(w, eight), eight)
    )
    odd = _dot_pairs(builder, builder.lshr(x, eight), builder.ashr(w, eight))
    return builder.add(sums, builder.add(even, odd))


def _dot_pairs(builder, x, w):
    wide = ir.VectorType(I32, 2 * LANES)
    product = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    halves = [
        builder.shuffle_vector(product, product, ir.Constant(SUMS, list(range(first, 2 * LANES, 2))))
        for first in (0, 1)
    ]
    return builder.add(*halves)


def _differences(builder, x, w):
    """|x - w| of unsigned bytes; all three come as 32-bit lanes."""
    binary = ir.FunctionType(BYTES, [BYTES, BYTES])
    larger, smaller = (
        builder.call(
            cgutils.get_or_insert_function(builder.module, binary, f"llvm.{name}.v{BYTES.count}i8"),
            [builder.bitcast(x, BYTES), builder.bitcast(w, BYTES)],
        )
        for name in ("umax", "umin")
    )
    return builder.bitcast(builder.sub(larger, smaller), SUMS)


@intrinsic(prefer_literal=True)
def clear_tile(typing_context, pixels, vectors):
    """Return a tile of zeros for so many pixels and vectors of 16 channels (both literal)."""
    tile = Tile(pixels.literal_value, vectors.literal_value)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(pixels, vectors), generate


@intrinsic
def add_terms(typing_context, tile, x, at, stride, w, w_at):
    """Return the tile plus four terms for every pixel and channel.

    Pixel p has its four bytes at index `at` + p `stride` of `x` (uint8, contiguous); the weights of vector v
    are the 64 bytes at index `w_at` + 64 v of `w` (contiguous), four for each channel. Terms are products if
    `w` is int8, and magnitudes of differences if it is uint8.
    """

    def generate(context, builder, signature, arguments):
        sums, x_array, x_at, x_stride, w_array, first = arguments
        kind, x_type, w_type = signature.args[0], signature.args[1], signature.args[4]
        products, ones = w_type.dtype == types.int8, _lanes(SUMS, 0x01010101)
        weights = []
        for v in range(kind.vectors):
            place = builder.add(first, ir.Constant(first.type, 4 * LANES * v))
            weights.append(builder.load(address(context, builder, w_type, w_array, place, SUMS), align=1))
        for p in range(kind.pixels):
            place = builder.add(x_at, builder.mul(x_stride, ir.Constant(x_stride.type, p)))
            four = builder.load(address(context, builder, x_type, x_array, place, I32), align=1)
            wide = spread(builder, four, SUMS)
            for v, weight in enumerate(weights):
                i = p * kind.vectors + v
                factors = (wide, weight) if products else (_differences(builder, wide, weight), ones)
                made = _dot(builder, builder.extract_value(sums, i), *factors)
                sums = builder.insert_value(sums, made, i)
        return sums

    return tile(tile, x, types.intp, types.intp, w, types.intp), generate


@intrinsic
def store_tile(typing_context, tile, y, at, stride, count, bias, multiplier, first, low, high, zero):
    """Store sums as codes, or as real numbers.

    With v = float32(sum + bias) multiplier, y = clip(rint(v), low, high) + zero, rounded half to even, if `y`
    is uint8, and y = v if it is float32 (contiguous), for the channels first to first + count - 1; pixel p
    goes to index `at` + p `stride`.
    """

    def generate(context, builder, signature, arguments):
        sums, y_array, y_at, y_stride, left, bias_array, factor_array, channel, least, most, origin = (
            arguments
        )
        kind, y_type, bias_type, factor_type = (signature.args[i] for i in (0, 1, 5, 6))
        lows, highs = spread(builder, least, REALS), spread(builder, most, REALS)
        zeros = spread(builder, origin, SUMS)
        numbers = ir.Constant(SUMS, list(range(LANES)))
        unary = ir.FunctionType(REALS, [REALS])
        rint = cgutils.get_or_insert_function(builder.module, unary, "llvm.rint.v16f32")
        lanes, name = (REALS, "v16f32") if y_type.dtype == types.float32 else (CODES, "v16i8")
        masked = [lanes, lanes.as_pointer(), I32, ir.VectorType(ir.IntType(1), LANES)]
        store = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), masked), f"llvm.masked.store.{name}.p0"
        )
        for v in range(kind.vectors):
            shift = ir.Constant(channel.type, LANES * v)
            place = builder.add(channel, shift)
            offset = builder.load(address(context, builder, bias_type, bias_array, place, SUMS), align=1)
            factor = builder.load(address(context, builder, factor_type, factor_array, place, REALS), align=1)
            present = builder.icmp_signed(
                "<", numbers, spread(builder, builder.trunc(builder.sub(left, shift), I32), SUMS)
            )
            for p in range(kind.pixels):
                total = builder.add(builder.extract_value(sums, p * kind.vectors + v), offset)
                real = builder.fmul(builder.sitofp(total, REALS), factor)
                if lanes is CODES:
                    # No NaN can come from sums and finite multipliers: one instruction each.
                    real = builder.select(builder.fcmp_ordered(">", real, lows), real, lows)
                    real = builder.select(builder.fcmp_ordered("<", real, highs), real, highs)
                    code = builder.add(builder.fptosi(builder.call(rint, [real]), SUMS), zeros)
                    made = builder.trunc(code, CODES)
                else:
                    made = real
                place = builder.add(y_at, builder.mul(y_stride, ir.Constant(y_stride.type, p)))
                place = builder.add(place, shift)
                target = address(context, builder, y_type, y_array, place, lanes)
                builder.call(store, [made, target, ir.Constant(I32, 1), present])
        return context.get_dummy_value()

    scalars = (types.intp, types.intp, types.intp)
    return types.void(
        tile, y, *scalars, bias, multiplier, types.intp, types.float32, types.float32, types.int32
    ), generate
