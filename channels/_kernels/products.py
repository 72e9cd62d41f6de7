"""Products of blocks of a matrix with columns."""

from numba import njit

__all__ = ["multiply_blocks"]

WIDTH, DEPTH = 256, 128
"""Columns, and rows of them, at a time: with four rows of the product they stay in the nearest caches."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def multiply_blocks(out, columns, panels, table, width):
    """Write the products of blocks of a matrix with the rows of columns that each of them meets.

    Parameters
    ----------
    out, columns : float64 or float32 array, flat
        The product, overwritten, and the columns: (rows, width), row after row.
    panels : array of the same type, flat
        Entries of the blocks: in a block four rows after the other, in those by columns; the single rows that
        are left come last. Each row is filled up with zeros to a multiple of four entries.
    table : int64 array, shape (blocks, 7)
        Of each block: rows, columns, where its entries begin, and the first and the step of the rows of the
        product and of those of the columns. Each row of the product belongs to one block.
    width : int
        Number of columns.
    """
    for start in range(0, width, WIDTH):
        length = min(WIDTH, width - start)
        for block in range(table.shape[0]):
            rows, inner, entry = table[block, 0], table[block, 1], table[block, 2]
            row, row_step = table[block, 3] * width + start, table[block, 4] * width
            first, step = table[block, 5] * width + start, table[block, 6] * width
            _multiply(out, row, row_step, columns, first, step, panels, entry, rows, inner, length)


@njit(cache=True, error_model="numpy", fastmath=False)
def _multiply(out, row, row_step, columns, first, step, panels, entry, rows, inner, length):
    # The product of one block with columns, rows of which begin at these places and steps of flat arrays.
    if inner == 0:
        for i in range(rows):
            out[row + i * row_step : row + i * row_step + length] = 0.0
    stride = (inner + 3) // 4 * 4
    last = first + (inner - 1) * step  # for the rows beyond, which zeros meet: any will do
    whole = rows - rows % 4
    for deep in range(0, inner, DEPTH):
        stop = min(deep + DEPTH, inner)
        for i in range(0, whole, 4):
            for j in range(deep, stop, 4):
                w = first + j * step
                x, y, z = min(w + step, last), min(w + 2 * step, last), min(w + 3 * step, last)
                e = entry + i * stride + 4 * j
                _add_four(out, columns, panels, e, row + i * row_step, row_step, w, x, y, z, length, j == 0)
        for i in range(whole, rows):
            for j in range(deep, stop, 4):
                w = first + j * step
                x, y, z = min(w + step, last), min(w + 2 * step, last), min(w + 3 * step, last)
                e = entry + i * stride + j
                _add_one(out, columns, panels, e, row + i * row_step, w, x, y, z, length, j == 0)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_four(out, columns, panels, e, i, step, w, x, y, z, length, begin):
    # Set, or add to, four rows of the product what four rows of the columns bring: the sixteen entries stay
    # in registers. Views, for the compiler sees that they are contiguous.
    a, b = out[i : i + length], out[i + step : i + step + length]
    i += 2 * step
    c, d = out[i : i + length], out[i + step : i + step + length]
    p, q = columns[w : w + length], columns[x : x + length]
    r, s = columns[y : y + length], columns[z : z + length]
    a0, a1, a2, a3 = panels[e], panels[e + 1], panels[e + 2], panels[e + 3]
    b0, b1, b2, b3 = panels[e + 4], panels[e + 5], panels[e + 6], panels[e + 7]
    c0, c1, c2, c3 = panels[e + 8], panels[e + 9], panels[e + 10], panels[e + 11]
    d0, d1, d2, d3 = panels[e + 12], panels[e + 13], panels[e + 14], panels[e + 15]
    zero = out.dtype.type(0.0)
    if begin:
        for t in range(length):
            a[t] = zero + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
            b[t] = zero + b0 * p[t] + b1 * q[t] + b2 * r[t] + b3 * s[t]
            c[t] = zero + c0 * p[t] + c1 * q[t] + c2 * r[t] + c3 * s[t]
            d[t] = zero + d0 * p[t] + d1 * q[t] + d2 * r[t] + d3 * s[t]
    else:
        for t in range(length):
            a[t] = a[t] + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
            b[t] = b[t] + b0 * p[t] + b1 * q[t] + b2 * r[t] + b3 * s[t]
            c[t] = c[t] + c0 * p[t] + c1 * q[t] + c2 * r[t] + c3 * s[t]
            d[t] = d[t] + d0 * p[t] + d1 * q[t] + d2 * r[t] + d3 * s[t]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_one(out, columns, panels, e, i, w, x, y, z, length, begin):
    a = out[i : i + length]
    p, q = columns[w : w + length], columns[x : x + length]
    r, s = columns[y : y + length], columns[z : z + length]
    a0, a1, a2, a3 = panels[e], panels[e + 1], panels[e + 2], panels[e + 3]
    zero = out.dtype.type(0.0)
    if begin:
        for t in range(length):
            a[t] = zero + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
    else:
        for t in range(length):
            a[t] = a[t] + a0 * p[t] + a1 * q[t] + a2 * r[t] + a3 * s[t]
