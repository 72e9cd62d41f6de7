"""The reduced engine: kernels, precision, large surfaces, the same bits however they are made."""

import dataclasses
import itertools

import numpy as np
import pytest
from systems import general_system

import channels
import ris
from channels._kernels.gaussian import fill_complex_normal
from channels.errors import InvalidArgumentError
from channels.isotropic import IsotropicFactor
from channels.scratch import Scratch
from ris._kernels.reduced import draw_columns, factor_grams, gram
from ris._kernels.surface import reflect_parts
from ris._kernels.through import gram_through
from ris.mean_gain import mean_precoder_gain
from ris.sampler import ChannelSampler


@pytest.mark.parametrize("number", range(30))
def test_mean_precoder_gain_is_that_of_the_closed_form(number):
    system, phases = general_system(number)
    for csi in ("perfect", "nominal"):
        exact = ris.closed_form_moments(system, *phases, csi=csi).precoder_gain
        np.testing.assert_allclose(mean_precoder_gain(system, *phases, csi), exact, rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_gram_factors(rank):
    """L L^H = G for any rank and for columns whose powers differ by 1e16; zero columns give zero rows."""
    rng = np.random.default_rng(rank)
    C, B = 5, 16
    Y = rng.standard_normal((rank, 2, C, B)) * np.array([1.0, 1e-8, 3.0, 0.0, 1e8])[:, None]
    Y[:, :, 2] = Y[:, :, 0]  # the same column twice, as for a user without noise under nominal CSI
    grams, factors = np.zeros((C, 2, C, B)), np.zeros((C, C, 2, B))
    gram(grams, Y)
    factor_grams(factors, grams)
    y = Y[:, 0] + 1j * Y[:, 1]
    exact = np.einsum("nct,ndt->tcd", y.conj(), y)
    L = np.moveaxis(np.tril((factors[:, :, 0] + 1j * factors[:, :, 1]).transpose(2, 0, 1)), 0, 0)
    scale = np.sqrt(np.einsum("tcc->tc", exact).real)
    error = np.abs(L @ np.swapaxes(L.conj(), 1, 2) - exact)
    assert np.all(error <= 1e-12 * scale[:, :, None] * scale[:, None, :])


@pytest.mark.parametrize("C", [1, 2, 3, 4])
def test_drawn_columns_are_numbers_times_the_factor(C):
    rng = np.random.default_rng(C)
    n, B, key = 3, 24, channels.Stream(5).key
    factors = rng.standard_normal((C, C, 2, B))
    out, plain = np.empty((2, n, 2, C, B))
    draw_columns(out, factors, key, 0, 40, (0,) * C)
    identity = np.zeros_like(factors)
    identity[:, :, 0] = np.eye(C)[:, :, None]
    draw_columns(plain, identity, key, 0, 40, (0,) * C)
    L = np.tril((factors[:, :, 0] + 1j * factors[:, :, 1]).transpose(2, 0, 1))
    Z = plain[:, 0] + 1j * plain[:, 1]
    np.testing.assert_allclose(
        out[:, 0] + 1j * out[:, 1], np.einsum("ndt,tcd->nct", Z, L.conj()), rtol=1e-12, atol=1e-12
    )
    lower = np.empty((n - 1, 2, C, B))
    draw_columns(lower, identity, key, 1, 40, (0,) * C)
    assert np.array_equal(lower, plain[1:])
    later = np.empty((n, 2, C, 8))
    draw_columns(later, identity[..., :8].copy(), key, 0, 56, (0,) * C)
    assert np.array_equal(later, plain[..., 16:])
    expected = np.empty(n * 2 * ((C + 1) // 2), complex)
    fill_complex_normal(expected, key, 43, 0)
    np.testing.assert_array_equal(Z[:, :, 3], expected.reshape(n, -1)[:, :C])


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_bits_do_not_depend_on_threads_or_cuts(csi):
    system, phases = general_system(14)
    options = {"power": 1.0, "noise_power": 1.0, "realizations": 700, "seed": 3, "csi": csi}
    one, two = (ris.simulate(system, *phases, threads=threads, **options) for threads in (1, 2))
    for name in ("mean_gain", "interference", "ergodic_rate"):
        assert np.array_equal(getattr(one, name).value, getattr(two, name).value)
    whole = ris.draw_channels(system, *phases, realizations=700, seed=3, threads=2)
    cuts = [0, 1, 127, 128, 300, 699, 700]
    parts = [
        ris.draw_channels(system, *phases, realizations=stop - start, first=start, seed=3, threads=1)
        for start, stop in itertools.pairwise(cuts)
    ]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("tile", [8, 24, 256])
@pytest.mark.parametrize("law", ["isotropic", "large isotropic", "large scattering", "large exponential"])
def test_bits_do_not_depend_on_the_size_of_tiles(tile, law):
    R = {
        "isotropic": lambda: channels.isotropic_correlation(channels.UniformPlanarArray(5, 6, 0.25)),
        "large isotropic": lambda: channels.isotropic_correlation(channels.UniformPlanarArray(33, 35, 0.25)),
        "large scattering": lambda: channels.local_scattering_correlation(
            channels.UniformPlanarArray(32, 32, 0.25), 0.4, -0.2, 0.1
        ),
        "large exponential": lambda: channels.exponential_correlation((32, 32), 0.5j),
    }[law]()
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(3), R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop(np.ones(3), R),
        phase_noise1=channels.VonMises(2.0),
    )
    phases = np.linspace(0, 3, R.size)
    samplers = [
        ChannelSampler(system, phases, phases, channels.Stream(1), "perfect", "reduced") for _ in range(2)
    ]
    samplers[1].tile = tile
    draws = []
    for sampler in samplers:
        tiles = sampler.each(lambda done, drawn, emi: drawn, 3, 300, threads=1)
        draws.append(np.concatenate(list(tiles), axis=-1))
    assert np.array_equal(*draws)


def large_system():
    """All paths over surfaces of 33 by 35 elements, of one isotropic covariance."""
    R = channels.isotropic_correlation(channels.UniformPlanarArray(33, 35, 0.25))
    RB = channels.exponential_correlation(4, 0.5)
    loose = channels.Hardware(failures=channels.ElementFailures(0.1, "random_phase"))
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, RB, R),
        bs_ris2=channels.Hop(0.5, RB, R),
        ris1_ris2=channels.Hop(0.1, R, R),
        ris1_user=channels.UserHop([1.0, 2.0], R),
        ris2_user=channels.UserHop([3.0, 0.7], R),
        bs_user=channels.UserHop([0.2, 0.7], RB),
        phase_noise1=channels.VonMises(2.0),
        hardware2=loose,
    )


def changed(case, system):
    """The system with what keeps a surface from being worked through in strips."""
    R = system.ris1_ris2.left
    other = channels.exponential_correlation((33, 35), 0.3)
    left, right = np.ones((2, R.size, 1))
    return dataclasses.replace(
        system,
        **{
            "all paths": {},
            "mean of a hop": {"ris1_ris2": channels.Hop(0.1, R, R, channels.LineOfSight(left, right))},
            "mean of a user": {"ris1_user": channels.UserHop([1.0, 2.0], R, np.ones((2, R.size)))},
            "two laws of arrival": {"ris1_user": channels.UserHop([1.0, 2.0], other)},
            "another law of departure": {"bs_ris1": channels.Hop(1.0, system.bs_ris1.left, other)},
            "interference": {"emi2": channels.Interference(0.3, R)},
            "coupling": {"hardware2": channels.Hardware(coupling=1e-3 * np.asarray(R))},
        }[case],
    )


STRIPS = {
    "all paths": 2,
    "mean of a hop": 0,
    "mean of a user": 1,
    "two laws of arrival": 1,
    "another law of departure": 1,
    "interference": 1,
    "coupling": 1,
}
"""Surfaces that are worked through in strips."""


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("case", STRIPS)
def test_strips_change_no_bit(monkeypatch, case, csi):
    """Where a surface can be worked through in strips, and where not, draws are those of whole columns."""
    system = changed(case, large_system())
    phases = np.random.default_rng(1).uniform(0, 7, (2, system.elements1))
    passed = []
    monkeypatch.setattr(ris.reduced, "gram_through", lambda *args: passed.append(gram_through(*args)))
    draws = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(ris.reduced._Arrival, "lone", None)
        draws.append(ChannelSampler(system, *phases, channels.Stream(1), csi, "reduced").draw(1))
    assert len(passed) == STRIPS[case]
    for in_strips, at_once in zip(*draws, strict=True):
        assert np.array_equal(in_strips, at_once)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("grid", [(2, 2), (16, 16), (20, 24), (33, 24), (5, 130)])
def test_gram_through_a_surface_is_that_of_whole_columns(grid, dtype):
    """On grids with and without middle rows and columns, of one strip and of several: bit for bit."""
    rng = np.random.default_rng(6)
    factor, scratch, (C, B) = IsotropicFactor(grid, (0.25, 0.4), dtype), Scratch(dtype), (3, 16)
    coefficients = rng.standard_normal((C, C, 2, B))
    shifts = np.exp(2j * np.pi * rng.random(factor.size))
    system = large_system()
    law = (2, shifts, system.phase_noise1.kernel_table(), channels.Stream(2).key)
    surface = (*law, np.zeros((0, system.hardware1.kernel_table(1).shape[1])), channels.Stream(3).key)
    key, unrolled, first = channels.Stream(1).key, (0,) * C, 32

    numbers = np.empty((factor.rank, 2, C, B), dtype)
    columns, expected = np.empty((factor.size, 2, C, B), dtype), np.zeros((C, 2, C, B))
    draw_columns(numbers, coefficients, key, 0, first, unrolled)
    factor.times(columns, numbers, scratch)
    reflect_parts(columns, *surface, 0, first)
    factor.adjoint_times(numbers, columns, scratch)
    gram(expected, numbers)

    amplitudes, most, elements = factor.walk_sizes
    work = tuple(np.empty((n, 2, C, B), dtype) for n in (amplitudes, most, elements, elements))
    made = np.zeros((C, 2, C, B))
    gram_through(made, work, factor.walk, coefficients, key, first, unrolled, surface)
    assert np.array_equal(made, expected)


@pytest.mark.parametrize("law", ["isotropic", "scattering", "large isotropic", "large scattering"])
def test_single_precision(law):
    """The same numbers: 2e-7 of their root mean square apart, more where columns of users nearly coincide."""
    rows = 32 if law.startswith("large") else 6
    surface = channels.UniformPlanarArray(rows, rows, 0.25)
    R = channels.isotropic_correlation(surface)
    if law.endswith("scattering"):
        R = channels.local_scattering_correlation(surface, 0.3, 0.1, 0.2)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, channels.exponential_correlation(4, 0.5), R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop(np.ones(3), R),
        phase_noise1=channels.VonMises(2.0),
    )
    phases = np.linspace(0, 3, R.size)
    double, single = (
        ris.draw_channels(system, phases, phases, realizations=200, seed=4, precision=precision)
        for precision in ("double", "single")
    )
    assert single.dtype == np.complex64
    assert np.linalg.norm(double - single) < 2e-6 * np.linalg.norm(double)


def test_single_precision_belongs_to_the_reduced_engine():
    system, phases = general_system(14)
    with pytest.raises(InvalidArgumentError, match="precision"):
        ris.draw_channels(system, *phases, realizations=1, seed=1, engine="explicit", precision="single")
    with pytest.raises(InvalidArgumentError, match="precision"):
        ris.draw_channels(system, *phases, realizations=1, seed=1, precision="half")


def test_shared_objects_and_equal_copies_give_the_same_draws():
    """Terms join by the value of their covariances, so that copies of a matrix do not change the numbers."""
    R = np.asarray(channels.isotropic_correlation(channels.UniformPlanarArray(3, 4, 0.25)))
    RB = np.asarray(channels.exponential_correlation(4, 0.5))

    def system(shared):
        one, bs = channels.Correlation(R), channels.Correlation(RB)
        r, b = (lambda: one, lambda: bs) if shared else (lambda: R.copy(), lambda: RB.copy())
        return ris.DoubleRIS(
            bs_ris1=channels.Hop(1.0, b(), r()),
            bs_ris2=channels.Hop(0.5, b(), r()),
            ris1_ris2=channels.Hop(2.0, r(), r()),
            ris1_user=channels.UserHop([1.0, 2.0], r()),
            ris2_user=channels.UserHop([3.0, 0.0], r()),
            bs_user=channels.UserHop([0.2, 0.7], b()),
            phase_noise1=channels.VonMises(2.0),
        )

    draws = [
        ris.draw_channels(system(shared), np.zeros(12), np.zeros(12), realizations=9, seed=1)
        for shared in (True, False)
    ]
    assert np.array_equal(*draws)


def test_large_surface_runs_without_its_matrix():
    """Mean gains of 48 by 48 elements; the matrices of 2,304 elements are never made."""
    surface = channels.UniformPlanarArray(48, 48, 0.25)
    R = channels.isotropic_correlation(surface)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(4), R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop(np.ones(2), R),
        phase_noise2=channels.VonMises(2.0),
    )
    h = ris.draw_channels(system, np.zeros(R.size), np.zeros(R.size), realizations=1500, seed=2)
    assert "matrix" not in vars(R)
    options = {"power": 1.0, "noise_power": 1.0, "realizations": 128, "seed": 2}
    ris.simulate(system, np.zeros(R.size), np.zeros(R.size), **options)
    assert "matrix" not in vars(R)
    gains = np.sum(np.abs(h) ** 2, axis=1).mean(axis=1)
    square = np.sum(np.asarray(R) ** 2)
    r = channels.VonMises(2.0).moment(1)
    exact = 4 * square * (R.size + r**2 * (square - R.size))
    assert abs(gains.mean() - exact) < 6.5 * gains.std() / np.sqrt(len(gains))
    got = mean_precoder_gain(system, np.zeros(R.size), np.zeros(R.size), "perfect")
    np.testing.assert_allclose(got, exact, rtol=1e-12)


def test_large_surface_of_scattering_around_each_user_runs_without_its_matrices():
    """Mean gains of 32 by 36 elements, as the convolutions of `mean_precoder_gain` have them."""
    surface = channels.UniformPlanarArray(32, 36, 0.25, channels.Orientation(0.2, 0.3, 0.1))
    to_bs = channels.local_scattering_correlation(surface, 0.1, 0.2, 0.1)
    users = channels.local_scattering_correlation(surface, [0.4, -0.6], [-0.2, 0.1], 0.3)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(4), to_bs),
        ris1_user=channels.UserHop(np.ones(2), users),
        phase_noise1=channels.VonMises(2.0),
    )
    phases = np.linspace(0, 7, surface.size), np.zeros(0)
    h = ris.draw_channels(system, *phases, realizations=4000, seed=3)
    assert "matrix" not in vars(to_bs) | vars(users)
    gains = np.sum(np.abs(h) ** 2, axis=1)
    exact = mean_precoder_gain(system, *phases, "perfect")
    assert np.all(np.abs(gains.mean(axis=0) - exact) < 6.5 * gains.std(axis=0) / np.sqrt(len(gains)))
