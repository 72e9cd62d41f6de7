"""Covariances, their factors and checks, and the laws of spatial correlation."""

import math

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import dblquad
from scipy.special import jv
from threadpoolctl import threadpool_limits

from channels import (
    ArbitraryArray,
    Correlation,
    InvalidArgumentError,
    Orientation,
    UniformLinearArray,
    UniformPlanarArray,
    exponential_correlation,
    isotropic_correlation,
    local_scattering_correlation,
)
from channels.arrays import direction
from channels.correlation import as_correlation
from channels.scattering import circle_nodes

angles = st.floats(-4, 4)
turns = st.builds(Orientation, angles, angles, angles)
uniform_arrays = st.one_of(
    st.builds(UniformLinearArray, st.integers(1, 8), st.floats(0.05, 2), turns),
    st.builds(
        UniformPlanarArray,
        st.integers(1, 4),
        st.integers(1, 4),
        st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
        turns,
    ),
)
arbitrary_arrays = st.builds(
    lambda size, seed: ArbitraryArray(np.random.default_rng(seed).normal(size=(size, 3))),
    st.integers(1, 10),
    st.integers(0, 1000),
)
arrays = st.one_of(uniform_arrays, arbitrary_arrays)
spreads = st.one_of(st.just(0.0), st.floats(1e-6, 3))
examples = settings(max_examples=40, deadline=None, derandomize=True)


def random_covariance(rng, *shape, rank=None):
    *batch, size = shape
    F = rng.normal(size=(*batch, size, rank or size)) + 1j * rng.normal(size=(*batch, size, rank or size))
    return F @ np.swapaxes(F.conj(), -1, -2)


def assert_is_correlation(R, size):
    """Hermitian to the last bit but rounding, unit diagonal, semidefinite to rounding."""
    matrix = np.asarray(R)
    assert matrix.shape[-2:] == (size, size)
    assert_allclose(matrix, np.swapaxes(matrix.conj(), -1, -2), rtol=0, atol=1e-14)
    assert_allclose(np.diagonal(matrix, axis1=-2, axis2=-1), 1.0, rtol=0, atol=1e-13)
    assert np.all(np.linalg.eigvalsh(matrix) > -1e-12 * size)


# --- the covariance itself


def test_acts_as_its_matrix():
    matrix = np.array([[2, 1j], [-1j, 2]])
    R = Correlation(matrix)
    assert (R.size, R.shape) == (2, (2, 2))
    assert_array_equal(R, matrix)
    assert_array_equal(np.asarray(R) @ np.ones(2), matrix @ np.ones(2))
    assert np.asarray(R, dtype=np.complex64).dtype == np.complex64


def test_eigenvalues_and_factor_known_answer():
    R = Correlation([[2, 1j], [-1j, 2]])
    assert_allclose(R.eigenvalues, [3, 1], rtol=1e-15)
    assert_allclose(np.sum(abs(R.factor) ** 2, axis=0), [3, 1], rtol=1e-14)
    assert R.effective_rank() == 2
    assert R.effective_rank(0.5) == 1


def test_keeps_itself_from_later_change():
    matrix = np.eye(3)
    R = Correlation(matrix)
    matrix[0, 0] = -1
    assert R.matrix[0, 0] == 1
    for array in (R.matrix, R.factor, R.eigenvalues):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_real_stays_real():
    R = Correlation(np.array([[2, 1], [1, 2]]))
    assert R.matrix.dtype == R.factor.dtype == R.eigenvalues.dtype == np.float64
    assert Correlation(np.eye(2, dtype=np.complex64)).matrix.dtype == np.complex128


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_factor_gives_back_the_matrix(rank):
    matrix = random_covariance(np.random.default_rng(rank), 7, rank=rank)
    R = Correlation(matrix)
    assert R.factor.shape == (7, rank)
    assert R.factor.flags.c_contiguous
    assert R.effective_rank(1e-12) == rank
    assert_allclose(R.factor @ R.factor.conj().T, matrix, rtol=0, atol=1e-12 * abs(matrix).max())


def test_stack_is_the_loop():
    rng = np.random.default_rng(5)
    stack = np.stack([random_covariance(rng, 2, 6, rank=2), random_covariance(rng, 2, 6, rank=4)])
    R = Correlation(stack)
    assert R.factor.shape == (2, 2, 6, 4)
    assert_allclose(
        R.factor @ np.swapaxes(R.factor.conj(), -1, -2), stack, rtol=0, atol=1e-12 * abs(stack).max()
    )
    assert_array_equal(R.factor[0, ..., 2:], 0)
    assert_array_equal(R.effective_rank(1e-10), [[2, 2], [4, 4]])
    for i in np.ndindex(2, 2):
        assert_allclose(R.eigenvalues[i], Correlation(stack[i]).eigenvalues, atol=1e-12)


def test_zero_matrix_is_a_covariance():
    R = Correlation(np.zeros((3, 3)))
    assert_array_equal(R.factor, np.zeros((3, 1)))
    assert R.effective_rank() == 0


def test_given_factor_is_kept():
    rng = np.random.default_rng(2)
    F = rng.normal(size=(4, 6, 2)) + 1j * rng.normal(size=(4, 6, 2))
    R = Correlation.from_factor(F)
    assert_array_equal(R.factor, F)
    assert_allclose(R.matrix, F @ np.swapaxes(F.conj(), -1, -2), rtol=1e-14)
    assert_array_equal(R.effective_rank(1e-12), [2] * 4)
    F[:] = 0
    assert R.factor[0, 0, 0] != 0
    assert Correlation.from_factor(np.ones((3, 1))).matrix.dtype == np.float64


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.ones(3), r"factor: expected shape \(..., N, rank\), got shape \(3,\)"),
        (np.ones((3, 0)), r"got shape \(3, 0\)"),
        ([[np.nan], [1]], "factor: expected finite entries, got 1"),
    ],
)
def test_bad_factor(factor, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Correlation.from_factor(factor)


def test_factor_bits_do_not_depend_on_threads():
    matrix = isotropic_correlation(UniformPlanarArray(16, 16, 0.25)).matrix
    with threadpool_limits(limits=1, user_api="blas"):
        one = Correlation(matrix).factor
    with threadpool_limits(limits=4, user_api="blas"):
        four = Correlation(matrix).factor
    assert one.tobytes() == four.tobytes()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_other_array_library(kind):
    xp = array_api_strict
    matrix = random_covariance(np.random.default_rng(3), 2, 5, rank=3)
    matrix = matrix.real.copy() if kind == "real" else matrix
    ours = Correlation(matrix)
    other = Correlation(xp.asarray(matrix))
    assert isinstance(other.matrix, type(xp.asarray(1.0)))
    assert other.matrix.dtype == (xp.float64 if kind == "real" else xp.complex128)
    assert_allclose(np.asarray(other.factor), ours.factor)
    assert_allclose(np.asarray(other.eigenvalues), ours.eigenvalues, atol=1e-13)
    assert_array_equal(np.asarray(other.effective_rank()), ours.effective_rank())
    assert_array_equal(np.asarray(other), matrix)
    kept = Correlation.from_factor(other.factor)
    assert_allclose(np.asarray(kept.matrix), matrix, atol=1e-12)
    for bad, message in [
        (-matrix, "semidefinite"),
        (matrix + np.triu(matrix, 1), "Hermitian"),
        (matrix * np.nan, "finite"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            Correlation(xp.asarray(bad))


def test_single_precision_of_another_library_passes():
    R = isotropic_correlation(UniformPlanarArray(8, 8, 0.25)).matrix
    rounded = array_api_strict.asarray(R.astype(np.float32))
    assert Correlation(rounded).factor.dtype == array_api_strict.float32


def test_as_correlation():
    R = Correlation(np.eye(2))
    assert as_correlation("left", R) is R
    assert_array_equal(as_correlation("left", [[1, 0], [0, 1]]), np.eye(2))
    with pytest.raises(InvalidArgumentError, match="left: expected square"):
        as_correlation("left", np.ones((2, 3)))


# --- bad covariances


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), r"square matrices, shape \(..., N, N\), got shape \(2, 3\)"),
        (np.ones(4), r"got shape \(4,\)"),
        (1.0, r"got shape \(\)"),
        (np.ones((0, 0)), r"got shape \(0, 0\)"),
        ([[1, np.nan], [np.nan, 1]], "finite entries, got 2 that are NaN or infinite"),
        ([[1, 0.5], [0.4, 1]], r"Hermitian .*, got \|R - R\^H\| = 0.1 with largest diagonal entry 1"),
        ([[1, 0.5j], [0.5j, 1]], r"Hermitian .*, got \|R - R\^H\| = 1 with"),
        ([[1j, 0], [0, 1]], "Hermitian"),
        ([[0, 1], [-1, 0]], "Hermitian"),
        ([[1, 2], [2, 1]], "positive semidefinite .*, got a lowest eigenvalue of -1"),
        (-np.eye(3), "positive semidefinite .*, got a lowest eigenvalue of -1"),
        ([[1, 0], [0, -1]], "positive semidefinite"),
        (np.stack([np.eye(2), [[1, 2], [2, 1]]]), "positive semidefinite"),
        ("eye", "an array of numbers"),
        ([[1, 0], [0]], "an array, got a ragged"),
    ],
)
def test_bad_matrix(matrix, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        Correlation(matrix)
    assert caught.value.argument == "correlation"


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("size", [2, 50])
def test_definite_to_the_stated_tolerance(scale, size):
    rng = np.random.default_rng(7)
    U = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))[0]
    for lowest, good in [(-0.9e-10, True), (-1.1e-10, False)]:
        values = np.r_[lowest, np.full(size - 1, 1 / (size - 1))]  # trace 1
        matrix = scale * (U * values) @ U.conj().T
        matrix = (matrix + matrix.conj().T) / 2
        if good:
            R = Correlation(matrix)
            assert_allclose(R.factor @ R.factor.conj().T, matrix, rtol=0, atol=1e-10 * scale)
        else:
            with pytest.raises(InvalidArgumentError, match="no eigenvalue below -1e-10 of the trace"):
                Correlation(matrix)


def test_hermitian_to_the_stated_tolerance():
    for gap, good in [(0.9e-10, True), (1.1e-10, False)]:
        matrix = 5 * np.array([[1, 0.3 + gap], [0.3, 0.5]])
        if good:
            assert Correlation(matrix).size == 2
        else:
            with pytest.raises(InvalidArgumentError, match="1e-10 of the largest diagonal entry"):
                Correlation(matrix)


def test_each_matrix_of_a_stack_is_held_to_its_own_scale():
    faulty = np.array([[1, 0.5], [0.4, 1]])
    with pytest.raises(InvalidArgumentError, match="Hermitian"):
        Correlation(np.stack([1e12 * np.eye(2), faulty]))


@pytest.mark.parametrize("tolerance", [-1e-6, float("nan"), "1"])
def test_bad_rank_tolerance(tolerance):
    with pytest.raises(InvalidArgumentError, match="tolerance: expected"):
        Correlation(np.eye(2)).effective_rank(tolerance)


# --- isotropic scattering


@pytest.mark.parametrize(
    ("spacing", "largest", "square", "asymptotic_rank"),
    [(1 / 8, 29.0232, 18.4033, 79), (1 / 4, 10.3643, 5.4930, 314), (1 / 2, 5.3789, 1.6809, 1257)],
)
def test_isotropic_known_answers(spacing, largest, square, asymptotic_rank):
    R = isotropic_correlation(UniformPlanarArray(40, 40, spacing))
    assert_allclose(R.eigenvalues[0], largest, rtol=0, atol=5e-5)
    assert_allclose(np.sum(R.matrix**2) / 1600, square, rtol=0, atol=5e-5)
    # pi N d^2 / lambda^2 counts the eigenvalues in the limit of a large surface; see the next test. At
    # finite N no eigenvalue is zero: those counted all lie above the spectrum's floor, the edge of the
    # visible region adds some, and the rank at any small tolerance is larger.
    floor = 1 / (2 * np.pi * spacing**2)
    assert round(np.pi * 1600 * spacing**2) == asymptotic_rank
    assert R.eigenvalues[asymptotic_rank - 1] > floor
    assert np.sum(R.eigenvalues > floor) < 1.1 * asymptotic_rank
    assert R.effective_rank(1e-6) > asymptotic_rank


@pytest.mark.parametrize("spacing", [1 / 8, 1 / 4, 1 / 2])
def test_isotropic_rank_tends_to_the_visible_area(spacing):
    """The limit of eigenvalues above any level below the floor is the visible share pi d^2 of the spectrum.

    The spectrum of sinc on a plane is 1 / (2 pi d^2 (1 - k^2)^(1/2)) on the disc |k| < 1 of spatial
    frequencies and zero outside: by Szego's theorem (block Toeplitz) the eigenvalues follow that law, at
    least 1 / (2 pi d^2) on a share pi d^2. What exceeds it comes from the border of the surface, so its
    share falls about as one over the side.
    """
    level = 0.5 / (2 * np.pi * spacing**2)
    excess = []
    for side in (10, 20, 40):
        values = isotropic_correlation(UniformPlanarArray(side, side, spacing)).eigenvalues
        excess.append(np.sum(values > level) / (np.pi * spacing**2 * side**2) - 1)
    assert 0 < excess[1] < 0.7 * excess[0]
    assert 0 < excess[2] < 0.7 * excess[1]


def test_isotropic_numerical_ranks_of_16_by_16():
    assert isotropic_correlation(UniformPlanarArray(16, 16, 1 / 4)).effective_rank(1e-6) == 137
    assert isotropic_correlation(UniformPlanarArray(16, 16, 1 / 8)).effective_rank(1e-6) == 60


def test_isotropic_linear_array_at_half_a_wavelength_is_uncorrelated():
    assert_allclose(isotropic_correlation(UniformLinearArray(6, 0.5)), np.eye(6), atol=1e-15)


def test_isotropic_factor_gives_back_the_matrix():
    for spacing in (1 / 8, 1 / 4, 1 / 2):
        R = isotropic_correlation(UniformPlanarArray(20, 20, spacing))
        assert R.factor.dtype == np.float64
        assert_allclose(R.factor @ R.factor.T, R.matrix, rtol=0, atol=1e-12)


def test_isotropic_is_the_mean_over_the_sphere():
    array = ArbitraryArray(np.random.default_rng(11).normal(size=(5, 3)))
    heights, weights = np.polynomial.legendre.leggauss(60)
    azimuth = 2 * np.pi * np.arange(120) / 120
    waves = array.steering(azimuth, np.arcsin(heights)[:, None])
    mean = np.einsum("h,han,ham->nm", weights / 240, waves, waves.conj())
    assert_allclose(isotropic_correlation(array), mean, rtol=0, atol=1e-13)


@pytest.mark.parametrize("normal", [None, (0, 0, 5), (1, 2, -0.5)])
def test_isotropic_in_a_plane_is_the_mean_over_its_circle(normal):
    array = ArbitraryArray(np.random.default_rng(12).normal(size=(5, 3)))
    axis = np.array([0.0, 0.0, 1.0]) if normal is None else np.array(normal) / np.linalg.norm(normal)
    across = np.linalg.svd(axis[None])[2][1:]
    turn = 2 * np.pi * np.arange(200) / 200
    u = np.stack([np.cos(turn), np.sin(turn)], axis=-1) @ across
    waves = np.exp(2j * np.pi * u @ array.positions.T)
    mean = waves.T @ waves.conj() / 200
    assert_allclose(isotropic_correlation(array, 2, normal), mean, rtol=0, atol=1e-13)


def test_elements_above_one_another_agree_under_horizontal_scattering():
    column = UniformPlanarArray(4, 1, 0.3)
    assert_array_equal(isotropic_correlation(column, dimensions=2), np.ones((4, 4)))


def test_distance_in_space_would_make_the_plane_law_indefinite():
    # Why the law projects: J0 is positive definite on the plane, not in space.
    ticks = np.arange(6) * 0.35
    cube = np.stack(np.meshgrid(ticks, ticks, ticks), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(cube[:, None] - cube, axis=-1)
    with pytest.raises(InvalidArgumentError, match="positive semidefinite"):
        Correlation(jv(0, 2 * np.pi * distance))
    assert isotropic_correlation(ArbitraryArray(cube), dimensions=2).size == 216


@given(turns)
@examples
def test_isotropic_is_invariant_to_rotation(turn):
    turned, straight = UniformPlanarArray(3, 4, 0.3, turn), UniformPlanarArray(3, 4, 0.3)
    assert_allclose(isotropic_correlation(turned), isotropic_correlation(straight), rtol=0, atol=1e-14)
    assert_allclose(
        isotropic_correlation(turned, 2, turn.matrix @ [1, 2, 3]),
        isotropic_correlation(straight, 2, (1, 2, 3)),
        rtol=0,
        atol=1e-14,
    )


@given(arrays)
@examples
def test_isotropic_properties(array):
    for dimensions in (3, 2):
        R = isotropic_correlation(array, dimensions)
        assert_is_correlation(R, array.size)
        assert R.matrix.dtype == np.float64


# --- exponential


@given(st.integers(1, 12), st.complex_numbers(max_magnitude=1, allow_nan=False))
@examples
def test_exponential_properties(size, coefficient):
    R = exponential_correlation(size, coefficient)
    assert_is_correlation(R, size)
    for i in range(size):
        for j in range(i, size):
            assert_allclose(R.matrix[i, j], coefficient ** (j - i), rtol=1e-13, atol=1e-300)


def test_exponential_known_answers():
    R = exponential_correlation(3, 0.5)
    assert R.matrix.dtype == np.float64
    assert_array_equal(R, [[1, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 1]])
    assert_array_equal(exponential_correlation(2, 0.5j), [[1, 0.5j], [-0.5j, 1]])
    assert_array_equal(exponential_correlation(3, 0), np.eye(3))
    # The determinant of the exponential matrix is (1 - |r|^2)^(N - 1).
    assert_allclose(np.linalg.det(exponential_correlation(6, 0.3 - 0.4j).matrix), 0.75**5, rtol=1e-13)


@pytest.mark.parametrize("coefficient", [0.6, -0.3, 0.4 - 0.5j])
def test_exponential_of_a_grid_is_a_kronecker_product(coefficient):
    R = exponential_correlation((3, 4), coefficient)
    assert R.grid == (3, 4)
    sides = [exponential_correlation(n, coefficient) for n in R.grid]
    assert_allclose(R, np.kron(*sides), rtol=1e-15)
    assert np.isrealobj(R.matrix) == np.isrealobj(coefficient)


def test_exponential_of_unit_modulus_is_a_plane_wave():
    for coefficient in (1, -1, *np.exp(1j * np.linspace(0, 6, 50))):
        assert exponential_correlation(64, coefficient).effective_rank(1e-9) == 1


@pytest.mark.parametrize(
    "coefficient", [1.001, -2, 0.8 + 0.7j, float("nan"), complex("inf"), "0.5", [0.5, 0.5], None]
)
def test_bad_coefficient(coefficient):
    with pytest.raises(InvalidArgumentError, match="coefficient: expected"):
        exponential_correlation(4, coefficient)


def test_coefficient_beyond_one_is_named():
    with pytest.raises(InvalidArgumentError, match=r"one number of modulus <= 1, got \(0\.8\+0\.7j\)"):
        exponential_correlation(4, 0.8 + 0.7j)


@pytest.mark.parametrize("size", [0, -1, 2.0, None, (2, 0), (1, 2, 3), ()])
def test_bad_size(size):
    with pytest.raises(InvalidArgumentError, match="size: expected an integer"):
        exponential_correlation(size, 0.5)


# --- local scattering


@pytest.mark.parametrize(
    ("lag", "azimuth", "elevation", "spread"),
    [
        ((0.3, -1.2, 0.8), 0.4, 0.3, (0.2, 0.1)),
        ((0.0, 2.0, 1.5), -1.1, 0.6, (0.15, 0.3)),
        ((0.4, 0.5, -0.6), 2.5, -0.2, (0.9, 0.7)),
    ],
)
def test_quadrature_agrees_with_adaptive_integration(lag, azimuth, elevation, spread):
    def integrand(y, x, part):
        wave = np.exp(2j * np.pi * (direction(azimuth + spread[0] * x, elevation + spread[1] * y) @ lag))
        return getattr(wave, part) * np.exp(-(x * x + y * y) / 2) / (2 * np.pi)

    parts = [
        dblquad(integrand, -8, 8, -8, 8, args=(part,), epsabs=1e-12, epsrel=1e-12)[0]
        for part in ("real", "imag")
    ]
    array = ArbitraryArray([lag, (0, 0, 0)])
    R = local_scattering_correlation(array, azimuth, elevation, spread)
    assert_allclose(R.matrix[0, 1], complex(*parts), rtol=0, atol=1e-11)


@pytest.mark.parametrize("spread", [1e-9, 1e-3, 0.1, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("spacing", [0.01, 0.5, 4.0])
@pytest.mark.parametrize("angle", ["azimuth", "elevation"])
def test_quadrature_agrees_with_the_bessel_series(spread, spacing, angle):
    """With spread in one angle alone, R = sum_m j^m J_m(z) exp(j m (t - t0)) exp(-m^2 s^2 / 2)."""
    azimuth, elevation = 0.7, 0.2
    array = UniformPlanarArray(2, 20, spacing, Orientation(0.3, 0.2, -0.4))
    pair = (spread, 0.0) if angle == "azimuth" else (0.0, spread)
    some = [0, 13, 27, 39]  # columns of R that hold lags of every sign
    R = local_scattering_correlation(array, azimuth, elevation, pair).matrix[:, some]
    lags = array.positions[:, None] - array.positions[some]
    # l . u = offset + z cos(t - t0), in the angle t that spreads.
    if angle == "azimuth":
        x, y, t = np.cos(elevation) * lags[..., 0], np.cos(elevation) * lags[..., 1], azimuth
        offset = lags[..., 2] * np.sin(elevation)
    else:
        x, y, t = lags[..., :2] @ [np.cos(azimuth), np.sin(azimuth)], lags[..., 2], elevation
        offset = np.zeros(x.shape)
    z, t0 = 2 * np.pi * np.hypot(x, y)[..., None], np.arctan2(y, x)[..., None]
    m = np.arange(-700, 701)
    terms = 1j ** (m % 4) * jv(m, z) * np.exp(1j * m * (t - t0) - 0.5 * (m * spread) ** 2)
    assert_allclose(R, np.exp(2j * np.pi * offset) * terms.sum(axis=-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reach", [0.0, 1e-3, 0.1, 1.0, 10.0, 100.0])
def test_the_nodes_keep_their_error_bound(reach):
    """Means of waves of all wavenumbers up to the largest, against their Bessel series."""
    largest = 2 * np.pi * reach
    top = math.ceil(largest + 12 * largest ** (1 / 3) + 15)
    assert 2 * np.sum(abs(jv(np.arange(top, top + 400), largest))) < 1e-14
    m = np.arange(-top, top + 1)
    z = largest * np.linspace(0, 1, 12)[:, None]
    t0 = np.linspace(0, np.pi, 9)
    for spread in (1e-12, 1e-3, 0.05, 0.3, 2.0, 30.0, 1e9):
        nodes, weights = circle_nodes(spread, reach)
        assert len(nodes) <= min(top + 8.5 / spread, 2.4 * spread * top + 24)
        mean = np.exp(1j * z[..., None] * np.cos(nodes - t0[:, None])) @ weights
        terms = 1j ** (m % 4) * jv(m, z) * np.exp(-0.5 * (m * spread) ** 2)
        assert_allclose(mean, terms @ np.exp(-1j * np.outer(m, t0)), rtol=0, atol=5e-13)


@given(uniform_arrays, angles, angles, spreads, spreads)
@examples
def test_lag_table_is_the_general_quadrature(array, azimuth, elevation, spread_a, spread_e):
    scattered = ArbitraryArray(array.positions)
    R = local_scattering_correlation(array, azimuth, elevation, (spread_a, spread_e))
    general = local_scattering_correlation(scattered, azimuth, elevation, (spread_a, spread_e))
    assert_allclose(R, general, rtol=0, atol=1e-12)


@given(arrays, angles, angles, spreads, spreads, st.sampled_from(["quadrature", "small_angle"]))
@examples
def test_local_scattering_properties(array, azimuth, elevation, spread_a, spread_e, method):
    R = local_scattering_correlation(array, azimuth, elevation, (spread_a, spread_e), method)
    assert_is_correlation(R, array.size)


@pytest.mark.parametrize("method", ["quadrature", "small_angle"])
def test_no_spread_is_a_plane_wave(method):
    array = UniformPlanarArray(4, 5, 0.4, Orientation(0.1, 0.2, 0.3))
    R = local_scattering_correlation(array, 0.5, -0.3, 0.0, method)
    wave = array.steering(0.5, -0.3)
    assert_allclose(R, np.outer(wave, wave.conj()), rtol=0, atol=1e-13)
    assert R.effective_rank(1e-9) == 1


@pytest.mark.parametrize("method", ["quadrature", "small_angle"])
def test_users_in_a_batch_are_the_loop(method):
    array = UniformPlanarArray(3, 4, 0.4, Orientation(0.1, 0.2, 0.3))
    azimuth, elevation = np.linspace(-1, 1, 3), np.array([[0.1], [-0.4]])
    R = local_scattering_correlation(array, azimuth, elevation, (0.2, 0.1), method)
    assert R.shape == (2, 3, 12, 12)
    for i, k in np.ndindex(2, 3):
        one = local_scattering_correlation(array, azimuth[k], elevation[i, 0], (0.2, 0.1), method)
        assert_allclose(R.matrix[i, k], one, rtol=0, atol=1e-14)


def test_small_angle_error_is_of_second_order_with_the_stated_phase():
    array = UniformPlanarArray(3, 4, 0.5, Orientation(0.3, -0.2, 0.1))
    azimuth, elevation = 0.6, 0.4
    lags = array.positions[:, None] - array.positions
    # Second derivatives of u: by azimuth the horizontal part of -u, by elevation -u.
    u = direction(azimuth, elevation)
    phase = -np.pi * (lags[..., :2] @ u[:2] + 0.25 * lags @ u)
    wave = np.exp(2j * np.pi * lags @ u)
    residue = []
    for spread in (0.02, 0.01, 0.005):
        exact, approximate = (
            local_scattering_correlation(array, azimuth, elevation, (spread, spread / 2), method).matrix
            for method in ("quadrature", "small_angle")
        )
        error = exact - approximate
        assert abs(error).max() < 1.1 * spread**2 * abs(phase).max()
        residue.append(abs(error - 1j * spread**2 * phase * wave).max())
    # What is left beyond the second order falls as the fourth power.
    assert residue[0] / residue[1] == pytest.approx(16, rel=0.05)
    assert residue[1] / residue[2] == pytest.approx(16, rel=0.05)


@given(turns, angles, angles, spreads, st.sampled_from(["quadrature", "small_angle"]))
@examples
def test_turning_array_and_direction_about_the_vertical_changes_nothing(turn, azimuth, yaw, spread, method):
    straight = UniformPlanarArray(2, 3, 0.4, turn)
    turned = UniformPlanarArray(2, 3, 0.4, Orientation(turn.yaw + yaw, turn.pitch, turn.roll))
    R = local_scattering_correlation(straight, azimuth, 0.3, (spread, 0.2), method)
    assert_allclose(
        local_scattering_correlation(turned, azimuth + yaw, 0.3, (spread, 0.2), method), R, rtol=0, atol=1e-12
    )


def test_turning_array_and_direction_together_changes_nothing_for_a_plane_wave():
    turn = Orientation(0.4, -0.7, 1.2)
    u = turn.matrix @ direction(0.3, 0.2)
    R = local_scattering_correlation(UniformPlanarArray(3, 3, 0.4), 0.3, 0.2, 0.0)
    turned = UniformPlanarArray(3, 3, 0.4, turn)
    assert_allclose(
        local_scattering_correlation(turned, np.arctan2(u[1], u[0]), np.arcsin(u[2]), 0.0),
        R,
        rtol=0,
        atol=1e-13,
    )


def test_wide_azimuth_spread_tends_to_horizontal_isotropic_scattering():
    array = ArbitraryArray(np.random.default_rng(4).normal(size=(6, 3)))
    R = local_scattering_correlation(array, 0.3, 0.0, (10.0, 0.0))
    assert_allclose(R, isotropic_correlation(array, dimensions=2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array": np.eye(3)}, "array: expected an antenna array"),
        ({"azimuth": float("nan")}, "azimuth: expected finite entries"),
        ({"azimuth": 1j}, "azimuth: expected real numbers"),
        ({"azimuth": [0, 1], "elevation": [0, 1, 2]}, "azimuth, elevation: expected shapes that broadcast"),
        ({"angular_spread": -0.1}, "angular_spread: expected a number >= 0, got -0.1"),
        ({"angular_spread": (0.1, -0.1)}, "angular_spread: expected a number >= 0, got -0.1"),
        ({"angular_spread": (0.1, 0.1, 0.1)}, "angular_spread: expected a number or a pair"),
        ({"angular_spread": float("inf")}, "angular_spread: expected a finite number"),
        ({"method": "exact"}, "method: expected one of 'quadrature', 'small_angle', got 'exact'"),
    ],
)
def test_bad_local_scattering(change, message):
    good = {"array": UniformLinearArray(3, 0.5), "azimuth": 0.1, "elevation": 0.0, "angular_spread": 0.1}
    with pytest.raises(InvalidArgumentError, match=message):
        local_scattering_correlation(**(good | change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"array": np.eye(3)}, "array: expected an antenna array"),
        ({"dimensions": 1}, "dimensions: expected one of 2, 3, got 1"),
        ({"dimensions": "3"}, "dimensions: expected one of 2, 3, got '3'"),
        ({"normal": (0, 0, 1)}, "normal: expected None with dimensions = 3"),
        ({"dimensions": 2, "normal": (0, 0, 0)}, "normal: expected a vector of three numbers, not all zero"),
        ({"dimensions": 2, "normal": (0, 1)}, r"normal: .*, got \(0, 1\)"),
        ({"dimensions": 2, "normal": (0, float("nan"), 1)}, "normal: expected finite entries"),
    ],
)
def test_bad_isotropic(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        isotropic_correlation(**({"array": UniformLinearArray(3, 0.5)} | arguments))
