"""Factors of covariances: R = F F^H within the stated bounds, adjoints, and which factor is taken."""

import numpy as np
import pytest
import scipy.special
from systems import covariance

import channels
import channels.factors
from channels._kernels.parity import fold, unfold
from channels.correlation import GridCorrelation
from channels.errors import MemoryLimitError
from channels.factors import DenseFactor, ParityFactor, factor_of
from channels.isotropic import IsotropicFactor, azimuthal_quadrature
from channels.scratch import Scratch


def dense(factor):
    """F as a matrix, from its products with the columns of the identity."""
    numbers = np.zeros((factor.rank, 2, 1, factor.rank))
    numbers[:, 0, 0] = np.eye(factor.rank)
    out = np.empty((factor.size, 2, 1, factor.rank))
    factor.times(out, numbers, Scratch())
    return out[:, 0, 0] + 1j * out[:, 1, 0]


def check(factor, R, allowed=1.1e-8):
    """Trace norm of R - F F^H against the trace, and F^H V and F X of complex columns against the matrix."""
    R, F, rng = np.asarray(R), dense(factor), np.random.default_rng(1)
    error = np.abs(np.linalg.eigvalsh(R - F @ F.conj().T)).sum()
    assert error <= allowed * max(np.trace(R).real, 1e-300)
    V, X = rng.standard_normal((factor.size, 2, 3, 5)), rng.standard_normal((factor.rank, 2, 3, 5))
    back, out = np.empty_like(X), np.empty_like(V)
    factor.adjoint_times(back, V, Scratch())
    factor.times(out, X, Scratch())
    for got, matrix, columns in ((back, F.conj().T, V), (out, F, X)):
        product = np.einsum("nm,mct->nct", matrix, columns[:, 0] + 1j * columns[:, 1])
        np.testing.assert_allclose(got[:, 0] + 1j * got[:, 1], product, atol=1e-11 * np.abs(product).max())


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 5, 6])
def test_fold_is_orthogonal_and_unfold_its_inverse(rows, length):
    N = rows * length
    parts, back = np.empty((N, N)), np.empty((N, N))
    fold(parts, np.eye(N), rows)
    np.testing.assert_allclose(parts @ parts.T, np.eye(N), atol=1e-15)
    unfold(back, parts, rows)
    np.testing.assert_allclose(back, np.eye(N), atol=1e-15)
    grid = parts.reshape(N, rows, length)
    even = (rows + 1) // 2, (length + 1) // 2
    signs = np.repeat(
        [(1, 1), (1, -1), (-1, 1), (-1, -1)],
        [i * j for i in (even[0], rows - even[0]) for j in (even[1], length - even[1])],
        axis=0,
    )
    np.testing.assert_array_equal(grid[:, ::-1], signs[:, :1, None] * grid)
    np.testing.assert_array_equal(grid[:, :, ::-1], signs[:, 1:, None] * grid)


@pytest.mark.parametrize("grid", [(1, 7), (4, 6), (5, 5), (3, 8), (6, 1)])
def test_isotropic_planar_arrays_fall_into_parts(grid):
    R = channels.isotropic_correlation(channels.UniformPlanarArray(*grid, (0.2, 0.3)))
    factor = factor_of(R)
    assert isinstance(factor, ParityFactor)
    assert factor.rank <= R.size
    check(factor, R)


def test_matrices_without_a_grid():
    rng = np.random.default_rng(2)
    toeplitz = channels.exponential_correlation(9, 0.7)
    assert isinstance(factor_of(toeplitz), ParityFactor)
    check(factor_of(toeplitz), toeplitz)
    for matrix in (covariance(rng, 9), covariance(rng, 9, rank=3), covariance(rng, 9, real=True)):
        factor = factor_of(channels.Correlation(matrix))
        assert isinstance(factor, DenseFactor)
        check(factor, matrix)
    turned = channels.Orientation(0.3, 0.4, 0.5)
    ring = channels.isotropic_correlation(channels.UniformPlanarArray(3, 4, 0.3, turned), dimensions=2)
    assert isinstance(factor_of(ring), ParityFactor)  # symmetric under the mirror of all elements at once
    check(factor_of(ring), ring)


def test_rank_one_zero_and_equal_eigenvalues():
    check(factor_of(channels.Correlation(np.ones((6, 6)))), np.ones((6, 6)))
    assert factor_of(channels.Correlation(np.ones((6, 6)))).rank == 1
    given = channels.Correlation.from_factor(np.arange(1.0, 7.0)[:, None])
    assert factor_of(given).rank == 1
    check(factor_of(given), given)
    check(factor_of(channels.Correlation(np.zeros((4, 4)))), np.zeros((4, 4)))
    assert factor_of(channels.Correlation(np.eye(30))).rank == 30
    ties = np.diag([1.0] + [4e-9] * 20)
    check(factor_of(channels.Correlation(ties)), ties)


@pytest.mark.parametrize("reach", [0.0, 0.3, 2.0, 11.0, 45.0])
def test_azimuthal_quadrature_holds_at_every_distance(reach):
    s, w = azimuthal_quadrature(reach)
    assert np.all(w > 0)
    assert w.sum() == pytest.approx(1, abs=1e-13)
    d, angle = np.meshgrid(np.linspace(0, reach, 60), np.linspace(0, np.pi / 2, 25))
    x, y = (d * np.cos(angle))[..., None], (d * np.sin(angle))[..., None]
    mean = (np.cos(2 * np.pi * x * s) * scipy.special.j0(2 * np.pi * y * np.sqrt(1 - s**2))) @ w
    assert np.abs(mean - np.sinc(2 * d)).max() < 1e-9


@pytest.mark.parametrize("grid", [(2, 2), (4, 5), (7, 3), (16, 16), (20, 24)])
@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.125, 0.5)])
def test_isotropic_factor(grid, spacing):
    R = channels.isotropic_correlation(channels.UniformPlanarArray(*grid, spacing))
    check(IsotropicFactor(grid, spacing), R, allowed=2e-8)


def test_large_grids_are_sampled_without_their_matrix():
    """The factor is checked on columns: F F^H V against R V by convolution, to 1e-7 of the largest entry."""
    array = channels.UniformPlanarArray(32, 36, 0.25)
    laws = {
        IsotropicFactor: channels.isotropic_correlation(array),
        DenseFactor: channels.local_scattering_correlation(array, 0.4, -0.2, 0.05),
    }
    rng = np.random.default_rng(3)
    for kind, R in laws.items():
        factor = factor_of(R)
        assert isinstance(factor, kind)
        assert "matrix" not in vars(R)
        V = rng.standard_normal((R.size, 2, 1, 6))
        inner, out = np.empty((factor.rank, 2, 1, 6)), np.empty_like(V)
        factor.adjoint_times(inner, V, Scratch())
        factor.times(out, inner, Scratch())
        expected = R.times(V[:, 0, 0] + 1j * V[:, 1, 0])
        np.testing.assert_allclose(
            out[:, 0, 0] + 1j * out[:, 1, 0], expected, atol=1e-7 * np.abs(expected).max()
        )


def test_grid_correlation():
    array = channels.UniformPlanarArray(3, 4, 0.3)
    rng = np.random.default_rng(4)
    for R in (
        channels.isotropic_correlation(array),
        channels.local_scattering_correlation(array, [0.1, -0.5], 0.2, 0.1)[1],
    ):
        assert isinstance(R, GridCorrelation)
        assert R.size == 12
        assert R.shape == (12, 12)
        V = rng.standard_normal((12, 5)) + 1j * rng.standard_normal((12, 5))
        np.testing.assert_allclose(R.times(V), np.asarray(R) @ V, atol=1e-12)
        assert np.isrealobj(R.times(V.real)) == np.isrealobj(R.matrix)


def test_a_matrix_too_large_is_refused():
    R = channels.isotropic_correlation(channels.UniformPlanarArray(128, 128, 0.25))
    assert R.shape == (16384, 16384)
    with pytest.raises(MemoryLimitError, match="16384 elements"):
        np.asarray(R)
