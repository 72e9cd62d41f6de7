"""Products of blocks of a matrix with columns, summed in registers.

A tile holds the sums of six or four rows of the product for some vectors of columns: up to 24 registers of
the 32 that processors with AVX-512 have, or 12 of 16 shorter ones elsewhere. So columns are read once for six
rows, and there are few rows beyond the last one of a block. Against tiles of four rows alone, products of 16
by 22 and of 64 by 38 entries with 256 columns take a fifth less time on an Intel processor; with sums in
memory, as Numba's own loops have them, a third more than those on one of AMD.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import models, register_model

from channels._kernels.vectors import address, features, intrinsic, spread

__all__ = ["height", "multiply_blocks"]

VECTOR_BYTES, VECTORS = (64, 4) if "+avx512f" in features() else (32, 2)
TILE_BYTES = VECTOR_BYTES * VECTORS
"""Of one row of a tile."""

FOUR, SIX = (0,) * 4, (0,) * 6
"""Rows of a tile, for the compiler."""

WIDTH = 256
"""Columns at a time: of a block's rows so many stay in the second cache."""


class Sums(types.Type):
    """A tile of so many rows of numbers of some type."""

    def __init__(self, dtype, rows):
        super().__init__(name=f"Sums({dtype}, {rows})")
        self.dtype, self.rows = dtype, rows


@register_model(Sums)
class SumsModel(models.PrimitiveModel):
    """Row by row, vector by vector."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.ArrayType(_vector(fe_type.dtype), fe_type.rows * VECTORS))


def _vector(dtype):
    kind = ir.DoubleType() if dtype == types.float64 else ir.FloatType()
    return ir.VectorType(kind, 8 * VECTOR_BYTES // dtype.bitwidth)


@intrinsic
def _zero_sums(typing_context, like, rows):
    """Return a tile of zeros of the type of an array's entries, with a row for each entry of a tuple."""
    tile = Sums(like.dtype, rows.count)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, rows), generate


@intrinsic
def _add_four(typing_context, tile, columns, w, x, y, z, panels, entry):
    """Return the tile plus what four rows of the columns, which begin at w, x, y and z, bring.

    The entries of the matrix begin at `entry`: four for each row. Products and sums are rounded once where
    the processor can.
    """

    def generate(context, builder, signature, arguments):
        sums, columns_array, *places, panels_array, first = arguments
        kind, columns_type, panels_type = signature.args[0], signature.args[1], signature.args[6]
        vector, once = _vector(kind.dtype), ("contract",)
        for j, place in enumerate(places):
            met = []
            for v in range(VECTORS):
                at = builder.add(place, ir.Constant(place.type, v * vector.count))
                source = address(context, builder, columns_type, columns_array, at, vector)
                met.append(builder.load(source, align=kind.dtype.bitwidth // 8))
            for i in range(kind.rows):
                at = builder.add(first, ir.Constant(first.type, 4 * i + j))
                source = address(context, builder, panels_type, panels_array, at, vector.element)
                factor = spread(builder, builder.load(source), vector)
                for v in range(VECTORS):
                    product = builder.fmul(factor, met[v], flags=once)
                    made = builder.fadd(builder.extract_value(sums, i * VECTORS + v), product, flags=once)
                    sums = builder.insert_value(sums, made, i * VECTORS + v)
        return sums

    return tile(tile, columns, *4 * (types.intp,), panels, types.intp), generate


@intrinsic
def _store(typing_context, tile, out, at, step, rows):
    """Write so many rows of the tile, the first from index `at` on and each `step` further on."""

    def generate(context, builder, signature, arguments):
        sums, out_array, place, further, count = arguments
        kind, out_type = signature.args[0], signature.args[1]
        vector = _vector(kind.dtype)
        for i in range(kind.rows):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(count.type, i), count)):
                for v in range(VECTORS):
                    there = builder.add(place, ir.Constant(place.type, v * vector.count))
                    target = address(context, builder, out_type, out_array, there, vector)
                    builder.store(
                        builder.extract_value(sums, i * VECTORS + v), target, align=kind.dtype.bitwidth // 8
                    )
            place = builder.add(place, further)
        return context.get_dummy_value()

    return types.void(tile, out, types.intp, types.intp, types.intp), generate


@njit(cache=True, error_model="numpy", fastmath=False)
def height(rows):
    """Return the rows of the next tile where so many are left: six or four, few of them beyond the last."""
    return 4 if rows <= 4 or rows == 7 or rows == 8 else 6


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def multiply_blocks(out, columns, panels, table, width):
    """Write the products of blocks of a matrix with the rows of columns that each of them meets.

    Parameters
    ----------
    out, columns : float64 or float32 array, flat
        The product, overwritten, and the columns: (rows, width), row after row.
    panels : array of the same type, flat
        Entries of the blocks, filled up with zeros to whole tiles and a multiple of four columns: one tile
        after the other, as `height` has them, in those four columns after the other, in those row by row.
    table : int64 array, shape (blocks, 7)
        Of each block: rows, columns, where its entries begin, and the first and the step of the rows of the
        product and of those of the columns. Each row of the product belongs to one block.
    width : int
        Number of columns.
    """
    lanes = TILE_BYTES // out.itemsize
    for start in range(0, width, WIDTH):
        stop = min(start + WIDTH, width)
        for block in range(table.shape[0]):
            rows, inner, entry = table[block, 0], table[block, 1], table[block, 2]
            row, row_step = table[block, 3] * width, table[block, 4] * width
            first, step = table[block, 5] * width, table[block, 6] * width
            i = 0
            while i < rows:
                at, left = row + i * row_step, rows - i
                tall = height(left)
                for t in range(start, stop, lanes):
                    if width < lanes:
                        _multiply_few(
                            out, at, row_step, left, columns, first, step, panels, entry, inner, width
                        )
                        continue
                    # The last tile may overlap the one before, which gives the same sums twice.
                    u = min(t, width - lanes)
                    to, of = at + u, first + u
                    if tall == 6:
                        _multiply(out, to, row_step, left, columns, of, step, panels, entry, inner, SIX)
                    else:
                        _multiply(out, to, row_step, left, columns, of, step, panels, entry, inner, FOUR)
                entry += tall * ((inner + 3) // 4 * 4)
                i += tall


@njit(cache=True, error_model="numpy", fastmath=False)
def _multiply(out, at, row_step, rows, columns, first, step, panels, entry, inner, tile):
    # The rows of a tile, or the last ones, for its columns.
    sums = _zero_sums(out, tile)
    last = first + (inner - 1) * step  # for the rows beyond, which zeros meet: any will do
    for j in range(0, inner, 4):
        w = first + j * step
        x, y, z = min(w + step, last), min(w + 2 * step, last), min(w + 3 * step, last)
        sums = _add_four(sums, columns, w, x, y, z, panels, entry + len(tile) * j)
    _store(sums, out, at, row_step, rows)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _multiply_few(out, at, row_step, rows, columns, first, step, panels, entry, inner, width):
    # The same for fewer columns than a tile has.
    tall = height(rows)
    for i in range(min(rows, tall)):
        for t in range(width):
            total = out.dtype.type(0.0)
            for j in range(inner):
                factor = panels[entry + tall * (j // 4 * 4) + 4 * i + j % 4]
                total += factor * columns[first + j * step + t]
            out[at + i * row_step + t] = total
