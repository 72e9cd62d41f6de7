"""Hardware of the surfaces: moments against quadrature, samplers against moments, engines against both.

Statistical checks use fixed seeds and thresholds of 6.5 standard errors, two-sided false alarm 8e-11 each.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.integrate
from systems import random_phases, random_system

import channels
import ris
from channels import ElementFailures, Hardware, NoNoise, PhaseDependentAmplitude, Stream, VonMises
from channels.hardware import ORDERS
from ris._kernels.surface import reflect, reflect_parts
from ris.mean_gain import mean_precoder_gain, nominal_turns

PRACTICAL = PhaseDependentAmplitude(0.2, 0.43 * math.pi, 1.6)
THETA = np.array([-2.9, -0.22, 1.1, 3.0])
FAILURES = ElementFailures([0.0, 0.25, 0.5, 1.0], [0.1, -2.0, 1.0, 2.5])


def von_mises(kappa):
    return math.pi, lambda x: np.exp(kappa * (np.cos(x) - 1))


def quadrature(law, theta, half_width, density, p, q):
    """E beta(theta + phi)^(p + q) exp(j (p - q) phi), in pieces that end where beta has its kink."""
    kink = (law.offset - math.pi / 2 - theta + math.pi) % (2 * math.pi) - math.pi
    points = sorted({-half_width, half_width, *(k for k in (kink, 0.0) if abs(k) < half_width)})

    def integral(f):
        pieces = itertools.pairwise(points)
        return sum(scipy.integrate.quad(f, a, b, epsabs=1e-15, epsrel=1e-13, limit=400)[0] for a, b in pieces)

    def beta(x):
        return (1 - law.minimum) * ((math.sin(x - law.offset) + 1) / 2) ** law.steepness + law.minimum

    def moment(turn):
        return integral(lambda x: beta(theta + x) ** (p + q) * turn((p - q) * x) * density(x)) / integral(
            density
        )

    return moment(math.cos) + 1j * moment(math.sin)


@pytest.mark.parametrize(
    "law", [PRACTICAL, PhaseDependentAmplitude(0.0, -2.0, 1.0), PhaseDependentAmplitude(0.6, 4.0, 1.2)]
)
@pytest.mark.parametrize(
    ("noise", "reference"),
    [
        (VonMises(2.0), von_mises(2.0)),
        (VonMises(300.0), von_mises(300.0)),
        (channels.QuantizationNoise(2), (math.pi / 4, lambda x: 1.0)),
        (channels.UniformNoise(0.1), (0.1, lambda x: 1.0)),
    ],
)
def test_amplitude_moments_equal_quadrature(law, noise, reference):
    moments = Hardware(amplitude=law).moments(noise, THETA)
    for (p, q), got in zip(ORDERS, moments, strict=True):
        expected = [quadrature(law, theta, *reference, p, q) for theta in THETA]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_amplitude_moments_of_a_sum_of_laws_are_means_over_one_of_them():
    outer = channels.UniformNoise(0.5)
    got = Hardware(amplitude=PRACTICAL).moments(VonMises(5.0) + outer, THETA)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    inner = Hardware(amplitude=PRACTICAL).moments(VonMises(5.0), THETA[:, None] + 0.5 * nodes)
    for (p, q), value, of_inner in zip(ORDERS, got, inner, strict=True):
        turned = of_inner * np.exp(1j * (p - q) * 0.5 * nodes)
        np.testing.assert_allclose(value, turned @ weights / 2, rtol=0, atol=1e-12)


def test_amplitude_of_the_published_model():
    """Abeywickrama et al.: 1 at offset + pi / 2, the minimum at offset - pi / 2; between by hand."""
    law = PRACTICAL
    phases = np.array([law.offset + math.pi / 2, law.offset - math.pi / 2, law.offset])
    np.testing.assert_allclose(law.amplitude(phases), [1.0, 0.2, 0.8 * 0.5**1.6 + 0.2], rtol=1e-14)


@pytest.mark.parametrize(
    "law", [PhaseDependentAmplitude(1.0, 0.3, 1.6), PhaseDependentAmplitude(0.2, 0.3, 0.0)]
)
@pytest.mark.parametrize("noise", [NoNoise(), VonMises(2.0)])
def test_constant_amplitude_is_none(law, noise):
    got, expected = (h.moments(noise, THETA) for h in (Hardware(amplitude=law), Hardware()))
    for value, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-14)


def test_steepness_that_does_not_converge_is_refused():
    with pytest.raises(
        channels.InvalidArgumentError, match=r"^amplitude: expected a steepness whose moments"
    ):
        Hardware(amplitude=PhaseDependentAmplitude(0.2, 0.0, 0.2)).moments(channels.UniformNoise(0.3), THETA)


def test_certain_failures():
    """Elements stuck at phases are ideal ones set to them; with a random phase, ones of uniform noise."""
    stuck = Hardware(failures=ElementFailures(1.0, 0.7)).moments(VonMises(2.0), THETA)
    for (p, q), value in zip(ORDERS, stuck, strict=True):
        np.testing.assert_allclose(value, np.exp(1j * (p - q) * (0.7 - THETA)), rtol=1e-14)
    loose = Hardware(amplitude=PRACTICAL, failures=ElementFailures(1.0, "random_phase")).moments(
        NoNoise(), THETA
    )
    uniform = Hardware(amplitude=PRACTICAL).moments(VonMises(0.0), THETA)
    for value, expected in zip(loose, uniform, strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14)
    assert Hardware(failures=ElementFailures(1.0)).moments(VonMises(2.0), THETA) == (0.0,) * 5


def test_failures_mix():
    noise = VonMises(2.0)
    mixed = Hardware(amplitude=PRACTICAL, failures=FAILURES).moments(noise, THETA)
    working = Hardware(amplitude=PRACTICAL).moments(noise, THETA)
    state = FAILURES.state
    coefficient = PRACTICAL.amplitude(state) * np.exp(1j * (state - THETA))
    p = FAILURES.probability
    for (m, q), value, good in zip(ORDERS, mixed, working, strict=True):
        np.testing.assert_allclose(
            value, (1 - p) * good + p * coefficient**m * coefficient.conj() ** q, rtol=1e-13
        )


CASES = [
    Hardware(),
    Hardware(amplitude=PRACTICAL),
    Hardware(failures=ElementFailures(0.3)),
    Hardware(failures=ElementFailures(0.3, "random_phase")),
    Hardware(amplitude=PRACTICAL, failures=ElementFailures(0.3, "random_phase")),
    Hardware(amplitude=PRACTICAL, failures=FAILURES),
]
NOISE = VonMises(3.0)
STREAM = Stream(5)


def coefficients(hardware, count=2**18, noise=NOISE, stream=STREAM):
    """Reflection coefficients that the kernels apply, shape (4, count)."""
    ones = np.ones((4, count, 1), complex)
    keys = stream.child("noise").key, stream.child("failures").key
    reflect(ones, 1, np.exp(1j * THETA), noise.kernel_table(), keys[0], hardware.kernel_table(4), keys[1], 7)
    return ones[:, :, 0]


@pytest.mark.parametrize("hardware", CASES, ids=range(len(CASES)))
def test_both_kernels_and_the_samples_reflect_alike(hardware):
    count, stream = 64, STREAM
    drawn = coefficients(hardware, count)
    failed = hardware.sample_failures(4, count, stream.child("failures"), first=7)
    phases = THETA + NOISE.sample(4, count, stream.child("noise"), first=7)
    np.testing.assert_allclose(drawn, hardware.coefficients(phases, failed).T, rtol=0, atol=1e-14)
    keys = stream.child("noise").key, stream.child("failures").key
    law = NOISE.kernel_table(), keys[0], hardware.kernel_table(4), keys[1]
    for kind, tolerance in ((np.float64, 1e-15), (np.float32, 1e-6)):
        columns = np.zeros((4, 2, 3, count), kind)
        columns[:, 0] = 1.0
        reflect_parts(columns, 2, np.exp(1j * THETA), *law, 0, 7)
        parts = columns[:, 0] + 1j * columns[:, 1]
        for c in range(2):
            np.testing.assert_allclose(parts[:, c], drawn, rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            parts[:, 2], np.broadcast_to(np.exp(1j * THETA)[:, None], (4, count)), atol=tolerance
        )
        for start, stop in ((1, 2), (1, 4), (2, 3), (3, 3)):
            part = np.zeros((stop - start, 2, 3, count), kind)
            part[:, 0] = 1.0
            reflect_parts(part, 2, np.exp(1j * THETA), *law, start, 7)
            assert np.array_equal(part, columns[start:stop])


def distances(hardware, drawn):
    """Sampled raw moments from the exact ones in standard errors, real and imaginary parts."""
    relative = drawn * np.exp(-1j * THETA)[:, None]
    for (p, q), expected in zip(ORDERS, hardware.moments(NOISE, THETA), strict=True):
        values = relative**p * relative.conj() ** q
        for part in (np.real, np.imag):
            off = part(values).mean(axis=1) - part(np.broadcast_to(expected, 4) + 0j)
            yield off / (part(values).std(axis=1) / math.sqrt(drawn.shape[1]) + 1e-13)


@pytest.mark.parametrize("hardware", CASES, ids=range(len(CASES)))
def test_samples_have_the_moments_of_their_law(hardware):
    assert np.max(np.abs(list(distances(hardware, coefficients(hardware))))) < 6.5


@pytest.mark.parametrize(
    "wrong",
    [
        Hardware(amplitude=dataclasses.replace(PRACTICAL, steepness=1.65), failures=FAILURES),
        Hardware(amplitude=dataclasses.replace(PRACTICAL, offset=1.37), failures=FAILURES),
        Hardware(amplitude=PRACTICAL, failures=ElementFailures(FAILURES.probability * 0.98, FAILURES.state)),
        Hardware(amplitude=PRACTICAL, failures=ElementFailures(FAILURES.probability, FAILURES.state + 0.02)),
    ],
)
def test_wrong_hardware_is_found(wrong):
    assert np.max(np.abs(list(distances(wrong, coefficients(CASES[-1]))))) > 6.5


def test_failures_of_elements_and_realizations_are_independent():
    failed = ~np.isnan(CASES[2].sample_failures(64, 2**12, Stream(6)))
    spread = 0.3 * 0.7
    for a, b in ((failed[:, 1:], failed[:, :-1]), (failed[1:], failed[:-1])):
        assert abs(np.mean((a - 0.3) * (b - 0.3))) < 6.5 * spread / math.sqrt(a.size)
    other = CASES[2].sample_failures(7, 100, Stream(6), first=50)
    assert np.array_equal(np.isnan(other), ~failed[50:150, :7])


@pytest.fixture
def broken():
    rng = np.random.default_rng(7)
    hardware = (CASES[-1], CASES[4])
    system = random_system(rng, elements=(4, 3), users=2, noise=(NOISE, NoNoise()), hardware=hardware)
    return system, random_phases(rng, system)


def test_drawn_hops_compose_to_the_explicit_channels(broken):
    system, phases = broken
    hops = ris.draw_hops(system, realizations=50, seed=3, first=4)
    channels_ = ris.draw_channels(system, *phases, realizations=50, seed=3, first=4, engine="explicit")
    np.testing.assert_allclose(hops.channels(*phases), channels_, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "csi", ["perfect", "nominal", ris.LmmseCsi(2, 1.0, 5.0)], ids=["perfect", "nominal", "lmmse"]
)
@pytest.mark.parametrize("engine", ["explicit", "reduced"])
def test_engines_agree_with_the_closed_form(broken, csi, engine):
    system, phases = broken
    exact = ris.closed_form_moments(system, *phases, csi=csi)
    found = ris.simulate(
        system, *phases, power=1.0, noise_power=1.0, realizations=100_000, seed=8, csi=csi, engine=engine
    )
    for name in ("mean_gain", "precoder_gain", "interference"):
        estimate = getattr(found, name)
        assert np.max(np.abs(estimate.value - getattr(exact, name)) / estimate.standard_error) < 6.5
    ideal = dataclasses.replace(system, hardware1=Hardware(), hardware2=Hardware())
    wrong = ris.closed_form_moments(ideal, *phases, csi=csi).mean_gain
    assert np.min(np.abs(found.mean_gain.value - wrong) / found.mean_gain.standard_error) > 6.5


def test_simulation_takes_its_power_and_turns_from_the_closed_form(broken):
    system, phases = broken
    for csi in ("perfect", "nominal"):
        expected = ris.closed_form_moments(system, *phases, csi=csi).precoder_gain
        np.testing.assert_allclose(mean_precoder_gain(system, *phases, csi), expected, rtol=1e-13)
    hops = ris.draw_hops(system, realizations=1, seed=1)
    assert hops.hardware1 is system.hardware1
    np.testing.assert_allclose(np.abs(nominal_turns(system, *phases)), 1.0, rtol=1e-14)


def test_all_elements_absorbing_leaves_the_direct_path(broken):
    system, phases = broken
    dead = Hardware(failures=ElementFailures(1.0))
    system = dataclasses.replace(system, hardware1=dead, hardware2=dead)
    direct = ris.DoubleRIS(bs_user=system.bs_user)
    for csi in ("perfect", "nominal"):
        got = ris.closed_form_moments(system, *phases, csi=csi).mean_gain
        np.testing.assert_allclose(got, ris.closed_form_moments(direct, csi=csi).mean_gain, rtol=1e-13)
    options = {"realizations": 20, "seed": 4, "engine": "explicit"}
    np.testing.assert_allclose(
        ris.draw_channels(system, *phases, **options), ris.draw_channels(direct, **options), rtol=1e-13
    )


def test_phases_are_designed_for_surfaces_of_like_elements_alone(broken):
    system, _ = broken
    with pytest.raises(channels.InvalidArgumentError, match=r"^hardware1: expected elements that are all"):
        ris.optimal_phases(system)
    alike = dataclasses.replace(system, hardware1=CASES[2], hardware2=CASES[3])
    design = ris.optimal_phases(alike)
    value = ris.closed_form_moments(alike, *design).mean_gain.sum()
    others = [
        ris.closed_form_moments(alike, *random_phases(np.random.default_rng(i), alike)).mean_gain.sum()
        for i in range(20)
    ]
    assert max(others) < value
    # Nothing is above the design by more than it says.
    assert 0 <= design.gap < 1
    with pytest.raises(channels.InvalidArgumentError, match=r"^hardware1: expected phase noise alone"):
        ris.design_phases(alike, power=1.0, noise_power=1.0, seed=1)
    hops = ris.draw_hops(system, realizations=2, seed=1)
    with pytest.raises(channels.InvalidArgumentError, match=r"^hops: expected phase noise alone"):
        ris.instantaneous_phases(hops, objective="received_power", power=1.0, noise_power=1.0)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_batch_of_phases_equals_loop(broken, csi, monkeypatch):
    system, _ = broken
    phases = random_phases(np.random.default_rng(9), system, (3,))
    batch = ris.closed_form_moments(system, *phases, csi=csi)
    monkeypatch.setattr("ris.moments.PART_BYTES", 1)
    parts = ris.closed_form_moments(system, *phases, csi=csi)
    for i in range(3):
        one = ris.closed_form_moments(system, *(theta[i] for theta in phases), csi=csi)
        for name in ("mean_gain", "interference", "precoder_gain"):
            for many in (batch, parts):
                np.testing.assert_allclose(getattr(many, name)[i], getattr(one, name), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: PhaseDependentAmplitude(-0.1, 0.0, 1.0), "minimum"),
        (lambda: PhaseDependentAmplitude(1.1, 0.0, 1.0), "minimum"),
        (lambda: PhaseDependentAmplitude(0.5, math.inf, 1.0), "offset"),
        (lambda: PhaseDependentAmplitude(0.5, 0.0, -1.0), "steepness"),
        (lambda: ElementFailures(1.5), "probability"),
        (lambda: ElementFailures([0.5, math.nan]), "probability"),
        (lambda: ElementFailures([[0.5]]), "probability"),
        (lambda: ElementFailures([]), "probability"),
        (lambda: ElementFailures("0.5"), "probability"),
        (lambda: ElementFailures(0.5, "stuck"), "state"),
        (lambda: ElementFailures(0.5, 1j), "state"),
        (lambda: ElementFailures([0.5, 0.1], [0.0, 0.1, 0.2]), "state"),
        (lambda: Hardware(amplitude=0.5), "amplitude"),
        (lambda: Hardware(failures=0.1), "failures"),
        (lambda: random_system(np.random.default_rng(1), hardware=(0.1, None)), "hardware1"),
        (lambda: random_system(np.random.default_rng(1), hardware=(None, CASES[-1])), "hardware2"),
    ],
)
def test_bad_input_is_refused(make, argument):
    with pytest.raises(channels.InvalidArgumentError) as caught:
        make()
    assert caught.value.argument == argument
