"""Convolutions of bytes, by products or by differences."""

from numba import njit

from ris.predictors._kernels.tile import add_terms, clear_tile, store_tile

__all__ = ["PIXELS", "convolve"]

PIXELS = 8
"""Pixels of a row that are summed at once."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def convolve(y, x, weights, kernel, bias, multiplier, low, high, zero):
    """Write clip(rint(v), low, high) + zero with v = float32(sum + bias) multiplier, or v itself.

    Parameters
    ----------
    y : uint8 array for codes, float32 array for v, shape (maps, rows, columns, channels out)
        Overwritten.
    x : uint8 array, shape (maps, rows + kernel - 1, columns + kernel - 1, channels in)
        With its border; the channels are a multiple of 4.
    weights : int8 or uint8 array, one axis
        Bytes w[block of 32 channels out, row of the kernel, column of the kernel, four channels in,
        channel out, channel in], C order; the last block has 16 channels if 16 are enough. Sums are those of
        products x w if they are signed, and of |x - w| if not.
    kernel : int
        Rows and columns of the kernel.
    bias, multiplier : int32 and float32 arrays, shape (channels out, up to a multiple of 16)
        For each channel.
    low, high : float32
        Bounds of the rounded number.
    zero : int32
        Code of the number 0.
    """
    maps, rows, columns, channels = y.shape
    stride, pitch = x.shape[3], x.shape[2] * x.shape[3]
    quads = kernel * stride // 4
    at = (kernel, quads, pitch, stride, columns, channels)
    affine = (bias, multiplier, low, high, zero)
    x_flat, y_flat = x.reshape(-1), y.reshape(-1)
    for row in range(maps * rows):
        x_row = (row // rows * x.shape[1] + row % rows) * pitch
        y_row = row * columns * channels
        for first in range(0, channels, 32):
            wide = channels - first > 16
            if columns >= PIXELS and wide:
                _fill_row(clear_tile(PIXELS, 2), y_flat, y_row, x_flat, x_row, weights, first, at, affine)
            elif columns >= PIXELS:
                _fill_row(clear_tile(PIXELS, 1), y_flat, y_row, x_flat, x_row, weights, first, at, affine)
            elif wide:
                _fill_row(clear_tile(1, 2), y_flat, y_row, x_flat, x_row, weights, first, at, affine)
            else:
                _fill_row(clear_tile(1, 1), y_flat, y_row, x_flat, x_row, weights, first, at, affine)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _fill_row(empty, y, y_row, x, x_row, weights, first, at, affine):
    """One row for the channels of a tile; the last pixels overlap with those before them."""
    kernel, quads, pitch, stride, columns, channels = at
    bias, multiplier, low, high, zero = affine
    pixels = PIXELS if columns >= PIXELS else 1
    bytes_of_step = 128 if channels - first > 16 else 64
    for column in range(0, columns, pixels):
        column = min(column, columns - pixels)
        tile, w_at = empty, first * kernel * quads * 4
        for i in range(kernel):
            # A row of the kernel covers one run of bytes.
            x_at = x_row + i * pitch + column * stride
            for j in range(quads):
                tile = add_terms(tile, x, x_at + 4 * j, stride, weights, w_at)
                w_at += bytes_of_step
        y_at = y_row + column * channels + first
        store_tile(tile, y, y_at, channels, channels - first, bias, multiplier, first, low, high, zero)
