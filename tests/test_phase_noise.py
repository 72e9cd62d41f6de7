"""Phase-noise laws: moments against quadrature, samplers against moments and distribution functions.

Statistical checks use fixed seeds and thresholds of 6.5 standard errors (two-sided false alarm 8e-11) or
p-values of 1e-8; all checks of the file together stay below 1e-6.
"""

import dataclasses
import math

import numba
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numba import njit, prange

from channels import (
    InvalidArgumentError,
    NoNoise,
    QuantizationNoise,
    Stream,
    SumNoise,
    UniformNoise,
    VonMises,
    WrappedNormal,
)
from channels._kernels.phase_noise import fill_phase_noise, fill_phasors
from channels.phase_noise import MOST_TERMS, ziggurat

CONCENTRATIONS = [0.0, 0.01, 0.5, 2.0, 10.0, 1e4, 1e6]

LAWS = [
    NoNoise(),
    UniformNoise(0.3),
    UniformNoise(math.pi),
    QuantizationNoise(bits=1),
    QuantizationNoise(bits=2),
    WrappedNormal(0.0),
    WrappedNormal(0.2),
    WrappedNormal(2.0),
    WrappedNormal(9.0),
    WrappedNormal(1e6),
    *map(VonMises, CONCENTRATIONS),
    VonMises(2.0) + QuantizationNoise(bits=2),
    VonMises(4.0) + VonMises(4.0) + WrappedNormal(0.3),
    UniformNoise(2.5) + UniformNoise(2.5),
]

REFERENCES = [  # law and the same law of SciPy, on [-pi, pi]
    (UniformNoise(0.3), scipy.stats.uniform(-0.3, 0.6)),
    (QuantizationNoise(bits=2), scipy.stats.uniform(-math.pi / 4, math.pi / 2)),
    (WrappedNormal(0.2), scipy.stats.norm(0, 0.2)),
    (WrappedNormal(1e6), scipy.stats.uniform(-math.pi, 2 * math.pi)),
    (VonMises(0.0), scipy.stats.uniform(-math.pi, 2 * math.pi)),
    *((VonMises(kappa), scipy.stats.vonmises(kappa)) for kappa in CONCENTRATIONS[1:]),
    (VonMises(1e12), scipy.stats.norm(0, 1e-6)),
]


def samples(law, count=2**20):
    return law.sample(256, count // 256, Stream(20, repr(law))).ravel()


def moment_by_quadrature(density, half_width, order):
    def integral(function):
        return scipy.integrate.quad(function, 0, half_width, epsabs=0, epsrel=1e-13, limit=500)[0]

    # 1 - cos = 2 sin^2, so that a moment next to 1 keeps its digits
    loss = integral(lambda x: 2 * math.sin(order * x / 2) ** 2 * density(x)) / integral(density)
    return 1 - loss


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("kappa", [*CONCENTRATIONS, 50.0, 700.0, 1e7, 9e7, 2e8, 1e9, 1e12, 1e15])
def test_von_mises_moments_are_the_integrals_of_its_density(kappa, order):
    end = min(math.pi, 12 / math.sqrt(kappa)) if kappa else math.pi  # beyond: exp(-72) of the peak
    exact = moment_by_quadrature(
        lambda x: math.exp(-2 * (kappa * math.sin(x / 2) * math.sin(x / 2))), end, order
    )
    assert VonMises(kappa).moment(order) == pytest.approx(exact, abs=1e-12)
    loss = 1 - exact
    if loss > 1e-6:
        assert 1 - VonMises(kappa).moment(order) == pytest.approx(loss, rel=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_other_moments_are_the_integrals_of_their_densities(order):
    for half_width in (0.01, 0.3, 2.0, math.pi):
        exact = moment_by_quadrature(lambda x: 1.0, half_width, order)
        assert UniformNoise(half_width).moment(order) == pytest.approx(exact, abs=1e-12)
    for deviation in (0.01, 0.2, 1.0, 2.0):
        exact = moment_by_quadrature(
            lambda x, s=deviation: math.exp(-(x**2) / (2 * s**2)), 12 * deviation, order
        )
        assert WrappedNormal(deviation).moment(order) == pytest.approx(exact, abs=1e-12)


def test_known_moments():
    # Abramowitz and Stegun, table 9.8: exp(-x) I1(x) and exp(-x) I0(x) at x = 2; then I2 = I0 - (2 / x) I1.
    assert VonMises(2.0).moment(1) == pytest.approx(0.2152692892 / 0.3085083225, rel=1e-9)
    assert VonMises(2.0).moment(2) == pytest.approx(1 - VonMises(2.0).moment(1), rel=1e-14)
    assert QuantizationNoise(bits=1).moment(1) == pytest.approx(2 / math.pi, rel=1e-15)
    assert QuantizationNoise(bits=1).moment(2) == pytest.approx(0, abs=1e-16)
    assert QuantizationNoise(bits=2).moment(1) == pytest.approx(2 * math.sqrt(2) / math.pi, rel=1e-15)
    assert WrappedNormal(1.0).moment(2) == pytest.approx(math.exp(-2), rel=1e-15)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_moments_start_at_one_and_stay_within_it(law):
    assert law.moment(0) == 1.0
    assert all(abs(law.moment(order)) <= 1.0 for order in range(1, 9))


@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_von_mises_moments_grow_with_the_concentration(a, b):
    low, high = sorted((a, b))
    for order in (1, 2):
        assert 0.0 <= VonMises(low).moment(order) <= VonMises(high).moment(order) + 1e-14
        assert VonMises(high).moment(order) <= 1.0


def test_limits_of_von_mises():
    assert VonMises(0.0).moment(1) == 0.0
    assert VonMises(1e-12).moment(1) == pytest.approx(5e-13, rel=1e-12)  # kappa / 2
    assert VonMises(1e-6).moment(2) == pytest.approx(1.25e-13, rel=1e-11)  # kappa^2 / 8
    for kappa in (1e16, 1e100, 1e308):
        assert VonMises(kappa).moment(1) == pytest.approx(1.0, abs=1e-16)
        assert np.abs(samples(VonMises(kappa), 2**12)).max() < 10 / math.sqrt(kappa)


@given(st.lists(st.sampled_from(LAWS), max_size=5), st.integers(0, 6))
def test_moments_of_a_sum_multiply(terms, order):
    total = NoNoise()
    for term in terms:
        total = total + term
    product = math.prod(term.moment(order) for term in terms)
    assert total.moment(order) == pytest.approx(product, rel=1e-14)
    assert SumNoise(terms).moment(order) == pytest.approx(product, rel=1e-14)


def test_algebra_of_sums():
    a, b, c = VonMises(2.0), QuantizationNoise(bits=2), WrappedNormal(0.1)
    assert NoNoise() + a == a + NoNoise() == a
    assert NoNoise() + NoNoise() == NoNoise()
    assert (a + b) + c == a + (b + c) == SumNoise([a, NoNoise(), SumNoise([b, c])])
    assert repr(a + b) == "SumNoise([VonMises(concentration=2.0), QuantizationNoise(bits=2)])"
    assert eval(repr(a + b)) == a + b
    with pytest.raises(TypeError):
        a + 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.concentration = 3.0


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 2000])
def test_quantization_noise_is_uniform_noise(bits):
    quantised = QuantizationNoise(bits)
    assert quantised.half_width == math.ldexp(math.pi, -bits)
    if quantised.half_width > 0:
        uniform = UniformNoise(math.pi / 2**bits)
        assert [quantised.moment(m) for m in range(5)] == pytest.approx(
            [uniform.moment(m) for m in range(5)], abs=1e-15
        )
        assert np.array_equal(quantised.kernel_table(), uniform.kernel_table())
    else:
        assert quantised.moment(1) == 1.0


@pytest.mark.parametrize("kappa", [*CONCENTRATIONS, 1e-300, 1e-12, 1e12, 1e300, 8e307])
def test_ziggurat_has_equal_layers_that_cover_the_density(kappa):
    widths, heights = ziggurat(kappa)
    assert widths.shape == heights.shape == (257,)
    assert heights[0] == 0.0
    assert heights[-1] == 1.0
    assert widths[0] == math.pi
    assert np.all(np.diff(heights) > 0)
    assert np.all(np.diff(widths) <= 0)
    areas = np.diff(heights) * widths[:-1]
    assert areas == pytest.approx(np.full(256, areas[0]), rel=1e-11)
    # Each edge is on the density, or at pi and not above it; so the rectangles hold all that is below it.
    density = np.exp(-2 * (kappa * np.sin(widths / 2) * np.sin(widths / 2)))
    inside = widths < math.pi
    assert density[inside] == pytest.approx(heights[inside], rel=1e-12)
    assert np.all(heights[~inside] <= density[~inside] * (1 + 1e-12))
    # Little is wasted.
    below = scipy.integrate.quad(
        lambda x: math.exp(-2 * (kappa * math.sin(x / 2) * math.sin(x / 2))),
        0,
        min(math.pi, 12 / math.sqrt(kappa or 1)),
        epsabs=0,
    )[0]
    assert 1 - 1e-12 < areas.sum() / below < 1.02


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_samples_have_the_moments_of_their_law(law, order):
    phases = samples(law)
    first, second = law.moment(order), law.moment(2 * order)
    error = math.sqrt(max(0.0, (1 + second) / 2 - first**2) / phases.size)
    assert abs(np.mean(np.cos(order * phases)) - first) <= 6.5 * error + 1e-13
    error = math.sqrt((1 - second) / 2 / phases.size)
    assert abs(np.mean(np.sin(order * phases))) <= 6.5 * error


@pytest.mark.parametrize(("law", "reference"), REFERENCES, ids=[repr(law) for law, _ in REFERENCES])
def test_samples_have_the_distribution_of_their_law(law, reference):
    phases = samples(law)
    assert np.abs(phases).max() <= math.pi
    assert scipy.stats.kstest(phases, reference.cdf).pvalue > 1e-8


def test_a_concentration_off_by_two_percent_is_detected():
    phases, claimed = samples(VonMises(2.0 * 1.02)), VonMises(2.0)
    error = math.sqrt(((1 + claimed.moment(2)) / 2 - claimed.moment(1) ** 2) / phases.size)
    assert abs(np.mean(np.cos(phases)) - claimed.moment(1)) > 6.5 * error


@pytest.mark.parametrize(
    "law", [UniformNoise(1.0), WrappedNormal(0.5), VonMises(2.0), VonMises(1.0) + VonMises(1.0)]
)
def test_neighbours_and_realizations_are_uncorrelated(law):
    phases = law.sample(64, 2**14, Stream(21, repr(law)))
    spread = (1 - law.moment(2)) / 2
    for a, b in [
        (phases[:, :-1], phases[:, 1:]),
        (phases[:, :-2], phases[:, 2:]),
        (phases[:-1], phases[1:]),
        (phases, law.sample(64, 2**14, Stream(22))),
    ]:
        assert abs(np.mean(np.sin(a) * np.sin(b))) < 6.5 * spread / math.sqrt(a.size)
        even = (np.cos(a) - law.moment(1)) * (np.cos(b) - law.moment(1))
        variance = (1 + law.moment(2)) / 2 - law.moment(1) ** 2
        assert abs(np.mean(even)) < 6.5 * variance / math.sqrt(a.size)


def test_terms_of_a_sum_are_independent_draws():
    # Were they the same, the sum would be twice the term: moment I2 / I0 = 0.11 and not (I1 / I0)^2 = 0.20.
    one, both = samples(VonMises(1.0)), samples(VonMises(1.0) + VonMises(1.0))
    assert abs(np.mean(np.cos(both)) - VonMises(1.0).moment(1) ** 2) < 6.5 / math.sqrt(2 * one.size)
    table = (UniformNoise(0.5) + UniformNoise(0.5)).kernel_table()
    out = np.empty(1000)
    fill_phase_noise(out, table, Stream(23).key, 0)
    first = UniformNoise(0.5).sample(1000, 1, Stream(23))[0]
    assert abs(np.corrcoef(first, out - first)[0, 1]) < 6.5 / math.sqrt(1000)


@njit(parallel=True)
def fill_all(out, table, key):
    for realization in prange(out.shape[0]):
        fill_phasors(out[realization], table, key, realization)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("elements", [1, 2, 33])
def test_phasors_are_those_of_the_samples_for_any_number_of_threads(law, elements):
    stream = Stream(24)
    before = numba.get_num_threads()
    drawn = []
    try:
        for threads in sorted({1, min(2, before), before}):
            numba.set_num_threads(threads)
            phasors = np.empty((40, elements), dtype=complex)
            fill_all(phasors, law.kernel_table(), stream.key)
            drawn.append((phasors, law.sample(elements, 40, stream)))
    finally:
        numba.set_num_threads(before)
    for phasors, phases in drawn:
        assert np.array_equal(phases, drawn[0][1])
        assert np.array_equal(phasors, drawn[0][0])
        assert phasors == pytest.approx(np.exp(1j * phases), abs=5e-16)
    alone = np.empty(elements)
    fill_phase_noise(alone, law.kernel_table(), stream.key, 7)
    assert np.array_equal(alone, drawn[0][1][7])


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_an_element_does_not_depend_on_how_many_follow(law):
    stream = Stream(25)
    assert np.array_equal(law.sample(7, 20, stream), law.sample(64, 40, stream)[:20, :7])


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: VonMises(-0.1), "concentration"),
        (lambda: VonMises(math.nan), "concentration"),
        (lambda: VonMises(math.inf), "concentration"),
        (lambda: VonMises("2"), "concentration"),
        (lambda: QuantizationNoise(0), "bits"),
        (lambda: QuantizationNoise(-1), "bits"),
        (lambda: QuantizationNoise(2.0), "bits"),
        (lambda: QuantizationNoise(math.nan), "bits"),
        (lambda: UniformNoise(0.0), "half_width"),
        (lambda: UniformNoise(-1.0), "half_width"),
        (lambda: UniformNoise(3.2), "half_width"),
        (lambda: UniformNoise(math.nan), "half_width"),
        (lambda: WrappedNormal(-1e-9), "standard_deviation"),
        (lambda: WrappedNormal(math.nan), "standard_deviation"),
        (lambda: WrappedNormal(math.inf), "standard_deviation"),
        (lambda: SumNoise([VonMises(2.0), 0.5]), "terms"),
        (lambda: SumNoise([WrappedNormal(0.1)] * (MOST_TERMS + 1)), "terms"),
        (lambda: VonMises(2.0).moment(-1), "order"),
        (lambda: VonMises(2.0).moment(1.5), "order"),
        (lambda: NoNoise().moment("1"), "order"),
        (lambda: VonMises(2.0).sample(0, 1, Stream(1)), "elements"),
        (lambda: VonMises(2.0).sample(1, 0, Stream(1)), "realizations"),
        (lambda: VonMises(2.0).sample(1, 1, 5), "stream"),
    ],
)
def test_bad_input_is_refused(make, argument):
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert caught.value.argument == argument
