"""Mutual coupling: impedances of dipoles, the multiport of a surface, closed forms, both engines.

Statistical checks use fixed seeds and thresholds of 6.5 standard errors, two-sided false alarm 8e-11 each.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from systems import random_phases, random_system

import channels
import ris
from channels import ElementFailures, Hardware, InvalidArgumentError, mutual_impedance, scattering_matrix
from channels.coupling import FREE_SPACE_IMPEDANCE, reflection_matrix
from ris.mean_gain import channel_covariances, mean_emi_power, mean_precoder_gain, nominal_turns

POWERS = {"power": 1.0, "noise_power": 0.5}
HALF_WAVE = channels.ArbitraryArray([[0.0, 0, 0], [0, 0.25, 0], [0, 0.5, 0], [0, 1.0, 0], [0, 0, 40.0]])


def test_half_wave_dipoles():
    """Balanis, Antenna Theory, chapter 8: 73.1 + 42.5 j ohm alone; others side by side at 1/4, 1/2, 1."""
    Z = mutual_impedance(HALF_WAVE, radius=1e-5)
    np.testing.assert_allclose(Z[0, 0], 73.1 + 42.5j, atol=0.05)
    np.testing.assert_allclose(Z[0, 1:4], [40.8 - 28.3j, -12.5 - 29.9j, 4.0 + 17.7j], atol=0.06)
    assert abs(Z[0, 4]) < 1e-2  # one above the other, where neither radiates to
    np.testing.assert_array_equal(Z, Z.T)


@pytest.mark.parametrize(
    ("d", "h", "length"), [(0.3, 0.2, 0.5), (0.1, 0.7, 0.3), (0.25, 0, 0.1), (1e-3, 0.9, 0.7)]
)
def test_mutual_impedance_is_the_induced_emf(d, h, length):
    k, half = 2 * np.pi, length / 2

    def integrand(z):
        ends, middle = (np.hypot(d, h + z - half), np.hypot(d, h + z + half)), np.hypot(d, h + z)
        field = (
            sum(np.exp(-1j * k * R) / R for R in ends)
            - 2 * np.cos(k * half) * np.exp(-1j * k * middle) / middle
        )
        return np.sin(k * (half - abs(z))) * field

    pieces = itertools.pairwise((-half, 0.0, half))
    total = sum(quad(integrand, *piece, complex_func=True, epsabs=1e-12, limit=300)[0] for piece in pieces)
    expected = 1j * FREE_SPACE_IMPEDANCE / (4 * np.pi * np.sin(k * half) ** 2) * total
    for sign in (1, -1):
        array = channels.ArbitraryArray([[0, 0, 0], [0, d, sign * h]])
        np.testing.assert_allclose(mutual_impedance(array, length)[0, 1], expected, rtol=1e-9)


def test_a_short_dipole_radiates_as_it_should():
    """20 pi^2 l^2 ohm for a current that falls linearly from the feed (Balanis 4-37)."""
    Z = mutual_impedance(channels.ArbitraryArray([[0, 0, 0]]), length=0.02)
    np.testing.assert_allclose(Z[0, 0].real, 20 * np.pi**2 * 0.02**2, rtol=2e-3)


def test_scattering_matrix():
    np.testing.assert_allclose(
        scattering_matrix(np.diag([50.0, 0.0, 150.0])), np.diag([0, -1, 0.5]), atol=1e-15
    )
    Z = np.array([[60 + 10j, 20 - 5j], [20 - 5j, 40]])
    S = scattering_matrix(Z, 30.0)
    # Incident a = (V + z I) / 2 and reflected (V - z I) / 2 with V = Z I, up to one root of z.
    current = np.array([1.0, 2j])
    np.testing.assert_allclose(S @ (Z @ current + 30 * current), Z @ current - 30 * current, rtol=1e-13)


def network(elements, seed=1):
    """A passive reciprocal network of strong coupling."""
    rng = np.random.default_rng(seed)
    S = rng.standard_normal((elements, elements)) + 1j * rng.standard_normal((elements, elements))
    S = S + S.T
    return 0.6 * S / np.linalg.norm(S, 2)


def test_reflection_matrix():
    S, c = network(3), np.exp(1j * np.array([0.3, -2.0, 1.0]))
    expected = np.linalg.inv(np.diag(1 / c) - S)
    np.testing.assert_allclose(reflection_matrix(c, S), expected, rtol=1e-12)
    v = np.arange(6.0).reshape(3, 2) + 1j
    np.testing.assert_allclose(Hardware(coupling=S).reflected(c, v), expected @ v, rtol=1e-12)
    np.testing.assert_allclose(reflection_matrix(c, np.zeros((3, 3))), np.diag(c), atol=1e-15)
    # An element that absorbs: its row is zero, and its column what the others reflect of what it hears.
    dead = reflection_matrix(np.array([c[0], 0, c[2]]), S)
    assert np.all(dead[1] == 0)
    alive = np.ix_([0, 2], [0, 2])
    np.testing.assert_allclose(dead[alive], np.linalg.inv(np.diag(1 / c[[0, 2]]) - S[alive]), rtol=1e-12)


AMPLITUDE = channels.PhaseDependentAmplitude(0.5, 0.4, 1.6)


@pytest.fixture
def coupled():
    rng = np.random.default_rng(3)
    dead = ElementFailures([0, 1, 0, 0], 0.4)
    hardware = (
        Hardware(coupling=network(4), amplitude=AMPLITUDE, failures=dead),
        Hardware(coupling=network(3, 2)),
    )
    system = random_system(rng, elements=(4, 3), users=2, hardware=hardware)
    emi = channels.Interference(0.7, np.eye(4)), channels.Interference(0.3, np.eye(3))
    return dataclasses.replace(system, emi1=emi[0], emi2=emi[1]), random_phases(rng, system)


def matrices(system, phases):
    c1 = np.exp(1j * phases[0]) * AMPLITUDE.amplitude(phases[0])
    c1[1] = AMPLITUDE.amplitude(np.array(0.4)) * np.exp(0.4j)
    return tuple(
        np.linalg.inv(np.diag(1 / c) - hardware.coupling)
        for c, hardware in ((c1, system.hardware1), (np.exp(1j * phases[1]), system.hardware2))
    )


def absorbed(system, phases):
    """The same system with the matrices in its covariances, at zero phases and without hardware."""
    T1, T2 = matrices(system, phases)

    def turned(hop, T):
        return channels.Hop(hop.gain, hop.left, T.conj().T @ np.asarray(hop.right) @ T)

    return dataclasses.replace(
        system,
        bs_ris1=turned(system.bs_ris1, T1),
        bs_ris2=turned(system.bs_ris2, T2),
        ris1_ris2=turned(system.ris1_ris2, T2),
        hardware1=Hardware(),
        hardware2=Hardware(),
        emi1=channels.Interference(0.7, T1.conj().T @ T1),
        emi2=channels.Interference(0.3, T2.conj().T @ T2),
    )


CSI = ["perfect", ris.LmmseCsi(2, 1.0, 3.0)]


@pytest.mark.parametrize("csi", CSI, ids=["perfect", "lmmse"])
def test_closed_form_is_that_of_the_absorbed_matrices(coupled, csi):
    system, phases = coupled
    plain, zeros = absorbed(system, phases), (np.zeros(4), np.zeros(3))
    got, expected = ris.closed_form_moments(system, *phases, csi), ris.closed_form_moments(plain, *zeros, csi)
    for name in ("mean_gain", "interference", "precoder_gain", "emi_power"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-11)
    batch = ris.closed_form_moments(system, np.stack([phases[0]] * 2), phases[1], csi)
    np.testing.assert_allclose(batch.interference, [got.interference] * 2, rtol=1e-12)
    np.testing.assert_allclose(
        mean_precoder_gain(system, *phases, "perfect"), mean_precoder_gain(plain, *zeros, "perfect")
    )
    np.testing.assert_allclose(mean_emi_power(system, *phases), got.emi_power, rtol=1e-12)
    np.testing.assert_allclose(
        channel_covariances(system, *phases), channel_covariances(plain, *zeros), rtol=1e-11
    )


@pytest.mark.parametrize("engine", ["explicit", "reduced"])
@pytest.mark.parametrize("csi", CSI, ids=["perfect", "lmmse"])
def test_engines_agree_with_the_closed_form(coupled, csi, engine):
    system, phases = coupled
    exact = ris.closed_form_moments(system, *phases, csi)
    found = ris.simulate(system, *phases, **POWERS, realizations=60_000, seed=8, csi=csi, engine=engine)
    for name in ("mean_gain", "precoder_gain", "interference", "emi_power"):
        estimate = getattr(found, name)
        assert np.max(np.abs(estimate.value - getattr(exact, name)) / estimate.standard_error) < 6.5
    alone = Hardware(), Hardware()
    wrong = dataclasses.replace(system, hardware1=alone[0], hardware2=alone[1])
    other = ris.closed_form_moments(wrong, *phases, csi).mean_gain
    assert np.max(np.abs(found.mean_gain.value - other) / found.mean_gain.standard_error) > 6.5


@pytest.mark.parametrize("noise", [channels.NoNoise(), channels.VonMises(2.0)])
def test_drawn_hops_compose_to_the_explicit_channels(coupled, noise):
    system, phases = coupled
    system = dataclasses.replace(system, phase_noise1=noise, phase_noise2=noise)
    hops = ris.draw_hops(system, realizations=30, seed=3)
    drawn = ris.draw_channels(system, *phases, realizations=30, seed=3, engine="explicit")
    np.testing.assert_allclose(hops.channels(*phases), drawn, rtol=1e-11, atol=1e-13)
    if isinstance(noise, channels.NoNoise):
        T1, T2 = matrices(system, phases)
        v2 = T2 @ hops.ris2_user
        by_hand = (
            hops.bs_user + hops.bs_ris2 @ v2 + hops.bs_ris1 @ (T1 @ (hops.ris1_user + hops.ris1_ris2 @ v2))
        )
        np.testing.assert_allclose(drawn, by_hand, rtol=1e-11, atol=1e-13)


def test_engines_draw_one_law_with_phase_noise(coupled, monkeypatch):
    system, phases = coupled
    system = dataclasses.replace(
        system, phase_noise1=channels.VonMises(2.0), phase_noise2=channels.VonMises(1.0)
    )
    means = []
    for engine in ("explicit", "reduced"):
        H = ris.draw_channels(system, *phases, realizations=60_000, seed=5, engine=engine)
        gains = np.sum(np.abs(H) ** 2, axis=1)
        samples = np.concatenate([gains, gains**2], axis=1)
        means.append((samples.mean(axis=0), samples.std(axis=0) / np.sqrt(len(samples))))
    (one, error1), (two, error2) = means
    assert np.max(np.abs(one - two) / np.hypot(error1, error2)) < 6.5
    monkeypatch.setattr("ris.reflection.PART_BYTES", 1)
    again = ris.draw_channels(system, *phases, realizations=100, seed=5, engine="reduced")
    np.testing.assert_allclose(
        again[:, 0, 0], ris.draw_channels(system, *phases, realizations=100, seed=5)[:, 0, 0]
    )


@pytest.mark.parametrize("engine", ["explicit", "reduced"])
def test_a_bs_that_ignores_coupling(coupled, engine):
    """Nominal CSI in simulation: E h_k^H f_k = |E tr| and E|f_k|^2, from the matrices by hand."""
    system, phases = coupled
    T, X = matrices(system, phases), tuple(np.diag(np.exp(1j * theta)) for theta in phases)

    def mean_trace(k, one, two):
        def R(hop, side):
            return np.asarray(getattr(getattr(system, hop), side))

        def user(hop):
            return getattr(system, hop).gain[k] * np.asarray(getattr(system, hop).correlation)[k]

        def over(before, one_end, after, other_end):
            return np.trace(before @ one_end @ after @ other_end.conj().T)

        between = system.ris1_ris2.gain * over(R("ris1_ris2", "right"), one[1], user("ris2_user"), two[1])
        at1 = over(
            R("bs_ris1", "right"), one[0], user("ris1_user") + between * R("ris1_ris2", "left"), two[0]
        )
        at2 = over(R("bs_ris2", "right"), one[1], user("ris2_user"), two[1])
        total = np.trace(user("bs_user")) + system.bs_ris1.gain * np.trace(R("bs_ris1", "left")) * at1
        return total + system.bs_ris2.gain * np.trace(R("bs_ris2", "left")) * at2

    found = ris.simulate(system, *phases, **POWERS, realizations=60_000, seed=9, csi="nominal", engine=engine)
    mixed = np.array([mean_trace(k, T, X) for k in range(2)])
    np.testing.assert_allclose(nominal_turns(system, *phases), mixed / np.abs(mixed), rtol=1e-12)
    assert np.max(np.abs(found.mean_gain.value - np.abs(mixed)) / found.mean_gain.standard_error) < 6.5
    nominal = [mean_trace(k, X, X).real for k in range(2)]
    np.testing.assert_allclose(mean_precoder_gain(system, *phases, "nominal"), nominal, rtol=1e-12)
    assert np.max(np.abs(found.precoder_gain.value - nominal) / found.precoder_gain.standard_error) < 6.5


def test_what_has_no_closed_form_is_refused(coupled):
    system, phases = coupled
    with pytest.raises(InvalidArgumentError, match=r"^csi: expected no nominal CSI beside mutual coupling"):
        ris.closed_form_moments(system, *phases, "nominal")
    with pytest.raises(InvalidArgumentError, match=r"^hardware1: expected elements that are all alike"):
        ris.optimal_phases(system)
    noisy = dataclasses.replace(system, phase_noise2=channels.VonMises(1.0))
    loose = Hardware(coupling=network(4), failures=ElementFailures(0.1))
    failing = dataclasses.replace(system, hardware1=loose)
    for bad, name in ((noisy, "hardware2"), (failing, "hardware1")):
        with pytest.raises(
            InvalidArgumentError, match=rf"^{name}: expected no mutual coupling beside phase noise"
        ):
            ris.closed_form_moments(bad, *phases)
        with pytest.raises(
            InvalidArgumentError, match=rf"^{name}: expected no mutual coupling beside phase noise"
        ):
            ris.simulate(bad, *phases, **POWERS, realizations=10, seed=1)


LINE = channels.UniformLinearArray(3, 0.5)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Hardware(coupling=np.eye(3)), "coupling"),
        (lambda: Hardware(coupling=np.zeros((2, 3))), "coupling"),
        (lambda: Hardware(coupling=[[np.nan]]), "coupling"),
        (lambda: Hardware(coupling=network(3), failures=ElementFailures([0.1, 0.2])), "coupling"),
        (
            lambda: random_system(np.random.default_rng(1), hardware=(Hardware(coupling=network(5)), None)),
            "hardware1",
        ),
        (lambda: mutual_impedance(3), "array"),
        (lambda: mutual_impedance(LINE, length=1.0), "length"),
        (lambda: mutual_impedance(LINE, length=0.0), "length"),
        (lambda: mutual_impedance(LINE, radius=0.2), "radius"),
        (lambda: mutual_impedance(channels.ArbitraryArray([[0, 0, 0], [0, 0, 0.3]])), "length"),
        (lambda: scattering_matrix(np.zeros((2, 3))), "impedance"),
        (lambda: scattering_matrix(np.eye(2), 0.0), "reference"),
        (lambda: scattering_matrix(-50 * np.eye(2)), "impedance"),
    ],
)
def test_bad_input_is_refused(make, argument):
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert caught.value.argument == argument
