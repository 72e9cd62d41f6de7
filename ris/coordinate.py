r"""Coordinate ascent for surfaces of b bits: one element after the other takes its best level.

As a function of the phase shift of one element every table of its surface is a trigonometric polynomial of
degree two (its phasor enters x^H S x and products of two of them): five phase shifts, t = 2 pi m / 5, fix it,

    f(t) = sum over p = -2 .. 2 of c_p exp(j p t),     c_p = (1/5) sum_m f(2 pi m / 5) exp(-2 pi j p m / 5).

So an element's best level of any number of bits costs the tables at five points, the rates at all levels from
the polynomials, and nothing at the other surface, whose tables do not move.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.blas import one_blas_thread

__all__ = ["coordinate_ascent"]
