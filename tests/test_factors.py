"""Factors of covariances: R = F F^H within the stated bounds, adjoints, and which factor is taken."""

import numpy as np
import pytest
import scipy.special
from systems import covariance
from threadpoolctl import threadpool_limits

import channels
import channels.factors
from channels._kernels.parity import fold, unfold
from channels.blas import one_blas_thread
from channels.correlation import GridCorrelation
from channels.errors import MemoryLimitError
from channels.factors import DenseFactor, KroneckerFactor, ParityFactor, factor_of
from channels.isotropic import IsotropicFactor, azimuthal_quadrature
from channels.plane_waves import PlaneWaveFactor, wave_basis
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
    with one_blas_thread():
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


@pytest.mark.parametrize("grid", [(2, 2), (4, 5), (7, 3), (16, 16), (20, 24), (33, 24), (5, 130)])
@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.125, 0.5)])
def test_isotropic_factor(grid, spacing):
    R = channels.isotropic_correlation(channels.UniformPlanarArray(*grid, spacing))
    check(IsotropicFactor(grid, spacing), R, allowed=2e-8)


turned = channels.Orientation(0.3, 0.4, 0.5)
GRIDS = [
    channels.UniformPlanarArray(20, 24, (0.25, 0.3)),
    channels.UniformPlanarArray(30, 12, (0.7, 0.2), turned),
    channels.UniformPlanarArray(1, 40, 0.5, turned),
    channels.UniformPlanarArray(2, 1, 0.25),
]


@pytest.mark.parametrize("elements", [1, 2, 7, 40])
@pytest.mark.parametrize("half", [0.0, 1e-3, 0.1, 1.0, np.pi])
def test_wave_basis_holds_every_wave_of_the_band(elements, half):
    even, odd = wave_basis(elements, half)
    B = np.hstack([even, odd])
    np.testing.assert_allclose(B.T @ B, np.eye(B.shape[1]), atol=1e-13)
    angle = np.outer(np.linspace(-half, half, 501), np.arange(elements) - (elements - 1) / 2)
    for function, part in ((np.cos, even), (np.sin, odd)):
        waves = function(angle)
        error = np.linalg.norm(waves - waves @ part @ part.T, axis=1)
        assert error.max() <= 1e-9 * np.sqrt(elements)


@pytest.mark.parametrize("method", ["quadrature", "small_angle"])
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("array", GRIDS, ids=lambda array: f"{array.rows}x{array.columns}")
def test_plane_wave_factor(array, spread, method):
    """Trace norm: 1e-8 left out, 4e-9 of the waves' bases, 1e-10 of the waves, 1e-12 of the pivots."""
    R = channels.local_scattering_correlation(array, [0.1, -1.0], [0.3, -0.2], (spread, spread / 2), method)[
        1
    ]
    check(PlaneWaveFactor(array.grid, *R.waves.waves()), R, allowed=1.5e-8)


def test_plane_wave_factor_of_scattering_in_a_plane():
    for array, normal in ((GRIDS[0], (0.1, 0.3, 1.0)), (GRIDS[1], None)):
        R = channels.isotropic_correlation(array, dimensions=2, normal=normal)
        check(PlaneWaveFactor(array.grid, *R.waves.waves()), R, allowed=1.5e-8)


@pytest.mark.parametrize("coefficient", [0.9, 0.5j - 0.4])
def test_kronecker_factor(coefficient):
    R = channels.exponential_correlation((6, 9), coefficient)
    sides = [factor_of(channels.exponential_correlation(n, coefficient)) for n in R.grid]
    check(KroneckerFactor(*sides), R, allowed=2.1e-8)


def test_large_grids_are_sampled_without_their_matrix():
    """The factor is checked on columns: F F^H V against R V by convolution, to 1e-7 of the largest entry."""
    array = channels.UniformPlanarArray(32, 36, 0.25)
    tilted = channels.UniformPlanarArray(32, 36, 0.25, turned)
    laws = [
        (IsotropicFactor, channels.isotropic_correlation(array)),
        (PlaneWaveFactor, channels.local_scattering_correlation(array, 0.4, -0.2, 0.05)),
        (PlaneWaveFactor, channels.local_scattering_correlation(tilted, 0.4, -0.2, 0.2)),
        (PlaneWaveFactor, channels.local_scattering_correlation(tilted, 0.4, -0.2, 0.1, "small_angle")),
        (PlaneWaveFactor, channels.isotropic_correlation(tilted, dimensions=2)),
        (KroneckerFactor, channels.local_scattering_correlation(array, 0.4, 0.0, 0.3, "small_angle")),
        (KroneckerFactor, channels.exponential_correlation((36, 32), 0.8j)),
    ]
    rng = np.random.default_rng(3)
    for kind, R in laws:
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


def test_high_rank_is_left_to_the_matrix_where_it_is_small():
    array = channels.UniformPlanarArray(32, 32, 0.25)
    R = channels.local_scattering_correlation(array, 0.4, -0.2, 0.7, "small_angle")
    assert isinstance(factor_of(R), DenseFactor)


def test_factor_bits_do_not_depend_on_threads():
    array = channels.UniformPlanarArray(32, 32, 0.25)
    for R in (
        channels.local_scattering_correlation(array, 0.4, -0.2, 0.3),
        channels.exponential_correlation((32, 32), 0.5),
    ):
        made = []
        for threads in (1, 4):
            with threadpool_limits(limits=threads, user_api="blas"):
                factor = factor_of(R)
            with threadpool_limits(limits=1, user_api="blas"):
                out, numbers = np.empty((R.size, 2, 1, 8)), np.ones((factor.rank, 2, 1, 8))
                factor.times(out, numbers, Scratch())
            made.append(out)
        assert np.array_equal(*made)


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
