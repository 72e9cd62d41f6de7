"""Sums of absolute differences of real numbers, and what flows back through them, summed in registers.

The lanes of a vector are maps side by side, so that neighbours of elements are whole vectors, and no patches
are made of them. A tile holds a vector for each of eight channels. Measured with AVX-512, a difference costs
three instructions and a slope four, of which the processor does two at a time, and nothing else counts.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import models, register_model

from channels._kernels.vectors import address, features, intrinsic, spread

__all__ = ["VECTOR_BYTES", "add_slopes", "sum_differences"]

VECTOR_BYTES = 64 if "+avx512f" in features() else 32

CHANNELS = 8
"""Of a tile."""


class Tile(types.Type):
    """A vector of numbers of some type for each channel."""

    def __init__(self, dtype):
        super().__init__(name=f"ChannelTile({dtype})")
        self.dtype = dtype


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """Channel by channel."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.ArrayType(_vector(fe_type.dtype), CHANNELS))


def _vector(dtype):
    kind = ir.DoubleType() if dtype == types.float64 else ir.FloatType()
    return ir.VectorType(kind, 8 * VECTOR_BYTES // dtype.bitwidth)


def _load(context, builder, array_type, array, at, kind):
    source = address(context, builder, array_type, array, at, kind)
    return builder.load(source, align=array_type.dtype.bitwidth // 8)


def _differences(context, builder, numbers, weights_type, weights, first):
    """Numbers of every channel less that channel's weight, which begin at `first`."""
    for c, number in enumerate(numbers):
        at = builder.add(first, ir.Constant(first.type, c))
        weight = _load(context, builder, weights_type, weights, at, number.type.element)
        yield builder.fsub(number, spread(builder, weight, number.type))


@intrinsic
def _zero_tile(typing_context, like):
    """Return a tile of zeros of the type of an array's entries."""
    tile = Tile(like.dtype)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like), generate


@intrinsic
def _load_tile(typing_context, array, at, step):
    """Return the tile whose first channel is at index `at`, and each other one `step` further on."""
    tile = Tile(array.dtype)

    def generate(context, builder, signature, arguments):
        entries, place, further = arguments
        made = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for c in range(CHANNELS):
            vector = _load(context, builder, signature.args[0], entries, place, _vector(tile.dtype))
            made = builder.insert_value(made, vector, c)
            place = builder.add(place, further)
        return made

    return tile(array, types.intp, types.intp), generate


@intrinsic
def _store_tile(typing_context, tile, array, at, step):
    """Write a tile where `_load_tile` reads it."""

    def generate(context, builder, signature, arguments):
        vectors, entries, place, further = arguments
        kind, array_type = signature.args[:2]
        for c in range(CHANNELS):
            target = address(context, builder, array_type, entries, place, _vector(kind.dtype))
            builder.store(builder.extract_value(vectors, c), target, align=kind.dtype.bitwidth // 8)
            place = builder.add(place, further)
        return context.get_dummy_value()

    return types.void(tile, array, types.intp, types.intp), generate


@intrinsic
def _add_distances(typing_context, tile, x, at, panels, entry):
    """Return the tile plus |x - w|, for the vector at index `at` of `x` and weights from `entry` on."""

    def generate(context, builder, signature, arguments):
        sums, x_array, place, panels_array, first = arguments
        vector = _vector(signature.args[0].dtype)
        met = _load(context, builder, signature.args[1], x_array, place, vector)
        apart = _differences(context, builder, CHANNELS * [met], signature.args[3], panels_array, first)
        lanes = f"v{vector.count}f{signature.args[0].dtype.bitwidth}"
        size = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector]), f"llvm.fabs.{lanes}"
        )
        for c, difference in enumerate(apart):
            made = builder.fadd(builder.extract_value(sums, c), builder.call(size, [difference]))
            sums = builder.insert_value(sums, made, c)
        return sums

    return tile(tile, x, types.intp, panels, types.intp), generate


@intrinsic
def _add_clipped(typing_context, tile, x, slopes, at, panels, entry):
    """Return the tile plus s clip(x - w, -1, 1), for the vector s at index `at` of `slopes` and a tile x."""

    def generate(context, builder, signature, arguments):
        sums, x_tile, slopes_array, place, panels_array, first = arguments
        vector = _vector(signature.args[0].dtype)
        slope = _load(context, builder, signature.args[2], slopes_array, place, vector)
        numbers = [builder.extract_value(x_tile, c) for c in range(CHANNELS)]
        low, high = (ir.Constant(vector, vector.count * [bound]) for bound in (-1.0, 1.0))
        apart = _differences(context, builder, numbers, signature.args[4], panels_array, first)
        for c, difference in enumerate(apart):
            above = builder.select(builder.fcmp_ordered(">", difference, low), difference, low)
            within = builder.select(builder.fcmp_ordered("<", above, high), above, high)
            product = builder.fmul(slope, within, flags=("contract",))
            made = builder.fadd(builder.extract_value(sums, c), product, flags=("contract",))
            sums = builder.insert_value(sums, made, c)
        return sums

    return tile(tile, tile, slopes, types.intp, panels, types.intp), generate


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def sum_differences(y, x, weights):
    """Write y[m, o, p] = sum over channels c and shifts t of the kernel of |x[m, c, p + t] - w[o, c, t]|.

    Parameters
    ----------
    y : float64 or float32 array, shape (maps, channels out, rows, columns)
        Overwritten.
    x : array of the same type, shape (maps, channels in, rows, columns)
        Zeros are around it.
    weights : array of the same type, shape (channels out, channels in, kernel, kernel)
    """
    maps, channels, rows, columns = x.shape
    outputs, kernel = weights.shape[0], weights.shape[2]
    lanes, entries = VECTOR_BYTES // x.itemsize, channels * kernel * kernel
    panels = _panels(weights.reshape(outputs, entries))
    wide = np.zeros((channels, rows + kernel - 1, columns + kernel - 1, lanes), x.dtype)
    made = np.empty((len(panels) * CHANNELS, rows, columns, lanes), x.dtype)
    given, sums, factors = wide.reshape(-1), made.reshape(-1), panels.reshape(-1)
    edge, step = kernel // 2, rows * columns * lanes
    for first in range(0, maps, lanes):
        _gather(wide[:, edge : edge + rows, edge : edge + columns], x, first)
        for group in range(len(panels)):
            for row in range(rows):
                for column in range(columns):
                    tile, entry = _zero_tile(x), group * entries * CHANNELS
                    for c in range(channels):
                        for i in range(kernel):
                            at = ((c * wide.shape[1] + row + i) * wide.shape[2] + column) * lanes
                            for _ in range(kernel):
                                tile = _add_distances(tile, given, at, factors, entry)
                                at, entry = at + lanes, entry + CHANNELS
                    place = group * CHANNELS * step + (row * columns + column) * lanes
                    _store_tile(tile, sums, place, step)
        _scatter(y, made, first)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def add_slopes(y, x, weights, slopes):
    """Write y[m, c, p] = sum over channels o and shifts t of slopes[m, o, p - t] d.

    Here d = clip(x[m, c, p] - w[o, c, t], -1, 1).

    Parameters
    ----------
    y, x : float64 or float32 arrays, shape (maps, channels in, rows, columns)
        `y` is overwritten.
    weights : array of the same type, shape (channels out, channels in, kernel, kernel)
    slopes : array of the same type, shape (maps, channels out, rows, columns)
    """
    maps, channels, rows, columns = x.shape
    outputs, kernel = weights.shape[0], weights.shape[2]
    lanes, entries = VECTOR_BYTES // x.itemsize, outputs * kernel * kernel
    turned = np.ascontiguousarray(weights.transpose(1, 0, 2, 3)).reshape(channels, entries)
    panels = _panels(turned)
    wide = np.zeros((len(panels) * CHANNELS, rows, columns, lanes), x.dtype)
    back = np.zeros((outputs, rows, columns, lanes), x.dtype)
    made = np.empty_like(wide)
    given, slope, sums, factors = wide.reshape(-1), back.reshape(-1), made.reshape(-1), panels.reshape(-1)
    edge, step = kernel // 2, rows * columns * lanes
    for first in range(0, maps, lanes):
        _gather(wide, x, first)
        _gather(back, slopes, first)
        for group in range(len(panels)):
            for row in range(rows):
                for column in range(columns):
                    place = group * CHANNELS * step + (row * columns + column) * lanes
                    tile, own = _zero_tile(x), _load_tile(given, place, step)
                    # Shifts that lead to sums on the maps.
                    above, below = max(0, row + edge - rows + 1), min(kernel, row + edge + 1)
                    left, right = max(0, column + edge - columns + 1), min(kernel, column + edge + 1)
                    for o in range(outputs):
                        for i in range(above, below):
                            line = (o * rows + row + edge - i) * columns + column + edge
                            entry = ((group * outputs + o) * kernel + i) * kernel
                            for j in range(left, right):
                                at = (line - j) * lanes
                                tile = _add_clipped(tile, own, slope, at, factors, (entry + j) * CHANNELS)
                    _store_tile(tile, sums, place, step)
        _scatter(y, made, first)


@njit(cache=True, error_model="numpy", fastmath=False)
def _panels(weights):
    # Weights of shape (channels, entries) as (tiles, entries, channels of a tile), filled up with zeros.
    channels, entries = weights.shape
    panels = np.zeros(((channels + CHANNELS - 1) // CHANNELS, entries, CHANNELS), weights.dtype)
    for c in range(channels):
        panels[c // CHANNELS, :, c % CHANNELS] = weights[c]
    return panels


@njit(cache=True, error_model="numpy", fastmath=False)
def _gather(wide, x, first):
    # The maps from the first on, side by side; lanes without a map keep what they have.
    many, channels, rows, columns = x.shape
    for c in range(channels):
        for lane in range(min(wide.shape[3], many - first)):
            for row in range(rows):
                for column in range(columns):
                    wide[c, row, column, lane] = x[first + lane, c, row, column]


@njit(cache=True, error_model="numpy", fastmath=False)
def _scatter(y, made, first):
    # The other way.
    many, channels, rows, columns = y.shape
    for c in range(channels):
        for lane in range(min(made.shape[3], many - first)):
            for row in range(rows):
                for column in range(columns):
                    y[first + lane, c, row, column] = made[c, row, column, lane]
