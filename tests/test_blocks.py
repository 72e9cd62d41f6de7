"""Products with block diagonal matrices, of every remainder of the kernel's panels."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg

from channels.blocks import BlockMatrix, block_diagonal


@pytest.mark.parametrize("rows", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("inner", [1, 2, 3, 4, 7, 130, 261])
@pytest.mark.parametrize("width", [1, 8, 100, 256, 515])
def test_one_block(rows, inner, width):
    rng = np.random.default_rng(rows + 10 * inner)
    block, columns = rng.standard_normal((rows, inner)), rng.standard_normal((inner, width))
    for dtype, allowed in ((np.float64, 1e-13), (np.float32, 1e-5)):
        out = np.full((rows, width), np.nan, dtype)
        block_diagonal([block], dtype).times(out, columns.astype(dtype))
        np.testing.assert_allclose(out, block @ columns, atol=allowed * np.sqrt(inner))


def test_many_blocks():
    """Some without columns, whose rows of the product are zero; axes beyond the first are taken together."""
    rng = np.random.default_rng(1)
    blocks = [rng.standard_normal(shape) for shape in ((5, 3), (2, 0), (4, 4), (0, 2), (1, 6), (8, 1))]
    matrix = block_diagonal(blocks, np.float64)
    assert (matrix.rows, matrix.inner) == (20, 16)
    columns, out = rng.standard_normal((16, 2, 3, 50)), np.full((20, 2, 3, 50), np.nan)
    matrix.times(out, columns)
    expected = np.tensordot(scipy.linalg.block_diag(*blocks), columns, 1)
    np.testing.assert_allclose(out, expected, atol=1e-13)


def test_a_column_does_not_depend_on_those_beside_it():
    rng = np.random.default_rng(2)
    matrix = block_diagonal([rng.standard_normal((11, 150))], np.float64)
    columns, whole = rng.standard_normal((150, 700)), np.empty((11, 700))
    matrix.times(whole, columns)
    for part in (slice(0, 1), slice(3, 20), slice(255, 258), slice(90, 699)):
        alone = np.empty((11, part.stop - part.start))
        matrix.times(alone, np.ascontiguousarray(columns[:, part]))
        np.testing.assert_array_equal(alone, whole[:, part])


def test_blocks_anywhere():
    """A block in two places and one whose rows and columns lie apart."""
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((5, 6)), rng.standard_normal((4, 3))
    places = [
        (0, range(0, 15, 3), range(2, 14, 2)),
        (1, range(1, 13, 3), range(5, 8)),
        (1, range(2, 14, 3), range(3)),
    ]
    full = np.zeros((15, 14))
    for number, rows, inner in places:
        full[np.ix_(rows, inner)] = (A, B)[number]
    columns, out = rng.standard_normal((14, 30)), np.zeros((15, 30))
    BlockMatrix([A, B], places, np.float64).times(out, columns)
    np.testing.assert_allclose(out, full @ columns, atol=1e-13)


def test_processors_with_shorter_registers(tmp_path):
    """Tiles narrower than with AVX-512, and sums rounded after every product."""
    code = """
import numpy as np
from channels._kernels.products import TILE_BYTES
from channels.blocks import block_diagonal

rng = np.random.default_rng(5)
print(TILE_BYTES)
for rows, inner, width in ((5, 7, 3), (6, 9, 8), (4, 130, 30), (9, 4, 515)):
    block, columns = rng.standard_normal((rows, inner)), rng.standard_normal((inner, width))
    out = np.empty((rows, width))
    block_diagonal([block], np.float64).times(out, columns)
    print(np.abs(out - block @ columns).max() < 1e-13 * inner)
"""
    plain_machine = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | plain_machine,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.split() == ["64", *4 * ["True"]]
