"""Products of a block diagonal matrix with columns."""

from numba import njit

__all__ = ["multiply_blocks"]

WIDTH, DEPTH = 256, 128
"""Columns, and rows of them, at a time: those rows and four rows of the product stay in the nearest caches."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def multiply_blocks(out, columns, panels, shapes, width):
    """Write the product of a block diagonal matrix with columns.

    Parameters
    ----------
    out, columns : float64 or float32 array, flat
        The product, overwritten, and the columns: (rows, width), row after row.
    panels : array of the same type, flat
        The blocks, one after the other; in a block four rows after the other, in those by columns; the
        single rows that are left come last, each filled up with zeros to a multiple of four entries.
    shapes : int64 array, shape (blocks, 2)
        Rows and columns of each block.
    width : int
        Number of columns.
    """
    for start in range(0, width, WIDTH):
        length = min(WIDTH, width - start)
        row, first, place = start, start, 0
        for block in range(shapes.shape[0]):
            rows, inner = shapes[block, 0], shapes[block, 1]
            _multiply(out, row, columns, first, panels, place, rows, inner, width, length)
            row += rows * width
            first += inner * width
            place += rows * ((inner + 3) // 4 * 4)


@njit(cache=True, error_model="numpy", fastmath=False)
def _multiply(out, row, columns, first, panels, place, rows, inner, width, length):
    """Write the product of one block with columns; `row`, `first` and `place` are where they begin."""
    if inner == 0:
        for i in range(rows):
            out[row + i * width : row + i * width + length] = 0.0
    stride = (inner + 3) // 4 * 4
    last = first + (inner - 1) * width
    for deep in range(0, inner, DEPTH):
        for i in range(0, rows - 3, 4):
            for j in range(deep, min(deep + DEPTH, inner), 4):
                panel = panels[place + i * stride + 4 * j : place + i * stride + 4 * j + 16]
                at = first + j * width
                _add_four(out, columns, row + i * width, at, min(at + width, last), min(at + 2 * width, last), min(at + 3 * width, last), width, length, panel, j == 0)
        for i in range(rows - rows % 4, rows):
            for j in range(deep, min(deep + DEPTH, inner), 4):
                panel = panels[place + i * stride + j : place + i * stride + j + 4]
                at = first + j * width
                _add_one(out, columns, row + i * width, at, min(at + width, last), min(at + 2 * width, last), min(at + 3 * width, last), length, panel, j == 0)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_four(out, columns, place, w, x, y, z, width, length, panel, begin):
    """Set, or add to, four rows of the product what four rows of the columns bring."""
    # Views, for the compiler sees that they are contiguous.
    a, b = out[place : place + length], out[place + width : place + width + length]
    place += 2 * width
    c, d = out[place : place + length], out[place + width : place + width + length]
    p, q, r, s = columns[w : w + length], columns[x : x + length], columns[y : y + length], columns[z : z + length]
    a0, a1, a2, a3 = panel[0], panel[1], panel[2], panel[3]
    b0, b1, b2, b3 = panel[4], panel[5], panel[6], panel[7]
    c0, c1, c2, c3 = panel[8], panel[9], panel[10], panel[11]
    d0, d1, d2, d3 = panel[12], panel[13], panel[14], panel[15]
    zero = out.dtype.type(0.0)
    if begin:
        for t in range(length):
            w, x, y, z = p[t], q[t], r[t], s[t]
            a[t] = zero + a0 * w + a1 * x + a2 * y + a3 * z
            b[t] = zero + b0 * w + b1 * x + b2 * y + b3 * z
            c[t] = zero + c0 * w + c1 * x + c2 * y + c3 * z
            d[t] = zero + d0 * w + d1 * x + d2 * y + d3 * z
    else:
        for t in range(length):
            w, x, y, z = p[t], q[t], r[t], s[t]
            a[t] = a[t] + a0 * w + a1 * x + a2 * y + a3 * z
            b[t] = b[t] + b0 * w + b1 * x + b2 * y + b3 * z
            c[t] = c[t] + c0 * w + c1 * x + c2 * y + c3 * z
            d[t] = d[t] + d0 * w + d1 * x + d2 * y + d3 * z


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_one(out, columns, place, w, x, y, z, length, panel, begin):
    a = out[place : place + length]
    p, q, r, s = columns[w : w + length], columns[x : x + length], columns[y : y + length], columns[z : z + length]
    a0, a1, a2, a3 = panel[0], panel[1], panel[2], panel[3]
    zero = out.dtype.type(0.0)
    if begin:
        for t in range(length):
            a[t] = zero + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
    else:
        for t in range(length):
            a[t] = a[t] + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
