"""The closed-form moments against brute-force Wick expansion, enumeration and known answers."""

import dataclasses

import array_api_strict
import numpy as np
import pytest
from oracles import WickOracle
from systems import PATH_SETS, DiscreteNoise, covariance, random_phases, random_system

import channels
import ris
from channels.hardware import ORDERS
from ris.element_moments import IDEAL, ElementMoments
from ris.noise_moments import (
    Reflection,
    amplitude,
    amplitude_product,
    fourth_moments,
    inner_chain,
    outer_chain,
)

HOPS = ("bs_ris1", "bs_ris2", "ris1_ris2", "ris1_user", "ris2_user", "bs_user")
COARSE = DiscreteNoise.three_point(1.1, 0.7)
FINE = DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1))


def enumerate_noise(law, elements):
    grids = np.meshgrid(*[np.array(law.values)] * elements, indexing="ij")
    weights = np.meshgrid(*[np.array(law.weights)] * elements, indexing="ij")
    phases = np.stack([g.ravel() for g in grids], axis=-1)
    return np.exp(1j * phases), np.prod([w.ravel() for w in weights], axis=0)


def general_elements(elements):
    """Every element with three complex coefficients of its own; all draws, their chances, raw moments."""
    rng = np.random.default_rng(12)
    values = rng.standard_normal((elements, 3)) + 1j * rng.standard_normal((elements, 3))
    weights = rng.dirichlet(np.ones(3), elements)
    choices = np.array(list(np.ndindex(*(3,) * elements)))
    e, chance = (x[np.arange(elements), choices] for x in (values, weights))
    raw = [np.sum(weights * values**p * values.conj() ** q, axis=1) for p, q in ORDERS]
    return (
        e,
        np.prod(chance, axis=1),
        [x.real if p == q else x for x, (p, q) in zip(raw, ORDERS, strict=True)],
    )


@pytest.mark.parametrize("law", [COARSE, FINE, DiscreteNoise((np.pi, 0.0, -np.pi), (0.25, 0.5, 0.25)), None])
@pytest.mark.parametrize("hermitian", [True, False])
def test_element_moments_equal_enumeration(law, hermitian):
    """All traces over one surface, general complex matrices, 1e-12 of the sum of magnitudes."""
    rng = np.random.default_rng(11)
    N, J = 5, 2
    if hermitian:
        A, C, B = covariance(rng, N), covariance(rng, N), covariance(rng, N, batch=(J,))
    else:
        A, C, *B = rng.standard_normal((2 + J, N, N)) + 1j * rng.standard_normal((2 + J, N, N))
        B = np.stack(B)
    if law is None:
        e, weight, raw = general_elements(N)
    else:
        e, weight = enumerate_noise(law, N)
        r, r2 = law.moment(1), law.moment(2)
        raw = r, r2, 1.0, r, 1.0
    moments = ElementMoments.from_raw(*raw)
    left = e.conj()[:, :, None] * A * e[:, None, :]  # E^H A E
    right = e.conj()[:, :, None] * C * e[:, None, :]
    trace = np.einsum("zab,kba->zk", left, B)
    other = np.einsum("zab,kba->zk", right, B)
    one_sided = np.einsum("ab,zb,kba->zk", A, e, B)
    other_sided = np.einsum("ab,zb,kba->zk", C, e, B)
    noisy_A, noisy_C = (Reflection.of(X, [(B, None)], moments) for X in (A, C))
    plain_A, plain_C = (Reflection.of(X, [(B, None)], IDEAL) for X in (A, C))
    expected = {
        "mean": np.einsum("z,zk->k", weight, trace),
        "product": np.einsum("z,zk,zj->kj", weight, trace, other),
        "chained": np.einsum("z,zab,kbc,zcd,jda->kj", weight, left, B, right, B, optimize=True),
        "amplitude": np.einsum("z,zk->k", weight, one_sided),
        "amplitudes": np.einsum("z,zk,zj->kj", weight, one_sided, other_sided.conj()),
    }
    # E tr(A E B E^H C D) has its noise around B alone: conjugate B instead of A.
    turned = e[:, None, :, None] * B * e.conj()[:, None, None, :]
    expected["inner"] = np.einsum("z,ab,zkbc,cd,jda->kj", weight, A, turned, C, B, optimize=True)
    expected["outer"] = np.einsum("z,zab,kbc,cd,jda->kj", weight, left, B, C, B, optimize=True)
    product, chained = fourth_moments(noisy_A, noisy_C)
    got = {
        "mean": noisy_A.mean,
        "product": product,
        "chained": chained,
        "inner": inner_chain(noisy_A, plain_C),
        "outer": outer_chain(noisy_A, plain_C),
        "amplitude": amplitude(plain_A, moments),
        "amplitudes": amplitude_product(plain_A, plain_C, moments),
    }
    for name, value in got.items():
        scale = np.max(
            np.abs(one_sided if name == "amplitude" else expected[name])
        )  # the former's mean may be 0
        assert np.max(np.abs(value - expected[name])) <= 1e-12 * scale, name


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_moments_equal_wick_expansion(paths, csi):
    rng = np.random.default_rng(len(paths) * 100 + len("".join(paths)))
    system = random_system(rng, paths, antennas=2, elements=(2, 2), noise=(COARSE, FINE))
    theta1, theta2 = random_phases(rng, system)
    check_against_wick(system, theta1, theta2, csi)


HARDWARE = (
    channels.Hardware(
        amplitude=channels.PhaseDependentAmplitude(0.3, 0.7, 1.6),
        failures=channels.ElementFailures([0.3, 1.0], [0.4, 2.0]),
    ),
    channels.Hardware(failures=channels.ElementFailures(0.4, "random_phase")),
    channels.Hardware(failures=channels.ElementFailures(0.3)),
)


@pytest.mark.parametrize(
    "paths", [PATH_SETS[-1], ("single1", "double"), ("single2", "double"), ("direct", "single1")]
)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("hardware", [HARDWARE[:2], HARDWARE[:0:-1], HARDWARE[::-2]])
def test_moments_with_hardware_equal_wick_expansion(paths, csi, hardware):
    rng = np.random.default_rng(len(paths) * 100 + len("".join(paths)))
    system = random_system(
        rng,
        paths,
        antennas=2,
        elements=(2, 2),
        noise=(DiscreteNoise.three_point(0.9, 0.5), None),
        hardware=hardware,
    )
    check_against_wick(system, *random_phases(rng, system), csi)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize(
    ("shape", "own", "rank"),
    [((1, (1, 1), 1), True, None), ((3, (3, 1), 2), False, None), ((2, (1, 3), 3), True, 1)],
)
def test_moments_of_odd_shapes_equal_wick_expansion(shape, own, rank, csi):
    rng = np.random.default_rng(5)
    antennas, elements, users = shape
    system = random_system(
        rng, antennas=antennas, elements=elements, users=users, own=own, rank=rank, noise=(FINE, COARSE)
    )
    check_against_wick(system, *random_phases(rng, system), csi)


def check_against_wick(system, theta1, theta2, csi):
    got = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    oracle = WickOracle(system, theta1, theta2)
    mean, precoder = oracle.mean_gain(csi == "nominal")
    np.testing.assert_allclose(got.mean_gain, np.abs(mean), rtol=1e-12)
    np.testing.assert_allclose(got.precoder_gain, precoder.real, rtol=1e-12)
    np.testing.assert_allclose(got.interference, oracle.interference(csi == "nominal"), rtol=1e-12)
    if csi == "perfect":
        np.testing.assert_allclose(got.gain_product, oracle.gain_product(), rtol=1e-12)


def square_surface(side, spacing=0.25):
    return channels.isotropic_correlation(channels.UniformPlanarArray(side, side, spacing))


def published_system(noise, paths, antennas=4, users=2, coefficient=0.5):
    """One covariance for each node, all gains 1: the setting of the known answers."""
    RB = channels.exponential_correlation(antennas, coefficient)
    R1, R2 = square_surface(4), square_surface(3)
    ones = np.ones(users)
    single = "single" in paths
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, RB, R1),
        bs_ris2=channels.Hop(1.0, RB, R2) if single else None,
        ris1_ris2=None if single else channels.Hop(1.0, R1, R2),
        ris1_user=channels.UserHop(ones, R1) if single else None,
        ris2_user=channels.UserHop(ones, R2),
        phase_noise1=noise,
        phase_noise2=noise,
    )


@pytest.mark.parametrize(
    ("paths", "noise", "known"),
    [
        ("double", channels.NoNoise(), (3648.32, 1.32951e7, 3.06779e7)),
        ("double", channels.VonMises(2.0), (1742.57, 3.23688e6, 7.43875e6)),
        ("single", channels.NoNoise(), (257.147, 33505.6, 103103)),
        ("single", channels.VonMises(2.0), (176.513, 16163.8, 49438.6)),
    ],
)
def test_known_answers(paths, noise, known):
    """E|h|^2, E|h_j^H h_k|^2 and E|h|^4 to the six digits printed; each system is built from its laws."""
    system = published_system(noise, paths)
    m = ris.closed_form_moments(system, np.zeros(16), np.zeros(9))
    got = m.mean_gain[0], m.interference[0, 1], m.interference[1, 1]
    for value, expected in zip(got, known, strict=True):
        assert f"{value:.6g}" == f"{expected:.6g}"


def test_iid_fourth_moment():
    """Double reflection, all covariances identities: E|h|^4 / (E|h|^2)^2 = (1 + 1/N1)(1 + 1/N2)(1 + 1/M)."""
    M, N1, N2 = 5, 3, 7
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(0.5, np.eye(M), np.eye(N1)),
        ris1_ris2=channels.Hop(2.0, np.eye(N1), np.eye(N2)),
        ris2_user=channels.UserHop([0.7], np.eye(N2)),
        phase_noise1=channels.VonMises(1.0),
    )
    rng = np.random.default_rng(0)
    m = ris.closed_form_moments(system, *random_phases(rng, system))
    expected = (1 + 1 / N1) * (1 + 1 / N2) * (1 + 1 / M)
    np.testing.assert_allclose(m.interference[0, 0] / m.mean_gain[0] ** 2, expected, rtol=1e-13)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("paths", [PATH_SETS[-1], ("direct", "double"), ("single1", "single2"), ("direct",)])
@pytest.mark.parametrize("part_bytes", [1, 16 * 3 * 16 * 12, 2**22])
def test_batch_equals_loop(paths, csi, part_bytes, monkeypatch):
    monkeypatch.setattr("ris.moments.PART_BYTES", part_bytes)
    rng = np.random.default_rng(21)
    noise = (channels.VonMises(2.0), channels.UniformNoise(0.6))
    system = random_system(rng, paths, elements=(3, 4), users=3, batch=(2, 2), noise=noise)
    theta1, theta2 = random_phases(rng, system, (5, 1, 2))
    batch = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    assert batch.mean_gain.shape == (5, 2, 2, 3)
    assert batch.interference.shape == (5, 2, 2, 3, 3)

    def at(hop, index):
        if hop is None:
            return None
        if isinstance(hop, channels.Hop):
            return channels.Hop(hop.gain[index], hop.left.matrix[index], hop.right.matrix[index])
        return channels.UserHop(hop.gain[index], hop.correlation.matrix[index])

    for index in np.ndindex(2, 2):
        hops = {name: at(getattr(system, name), index) for name in HOPS}
        one = ris.DoubleRIS(**hops, phase_noise1=noise[0], phase_noise2=noise[1])
        for i in range(5):
            m = ris.closed_form_moments(one, theta1[i, 0, index[1]], theta2[i, 0, index[1]], csi=csi)
            for name in ("mean_gain", "interference", "gain_product", "precoder_gain"):
                expected = getattr(m, name)
                if expected is not None:
                    np.testing.assert_allclose(getattr(batch, name)[(i, *index)], expected, rtol=1e-12)


def test_a_batch_is_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("ris.moments.PART_BYTES", 1)
    rng = np.random.default_rng(22)
    system = random_system(rng, elements=(12, 9), users=3, batch=(7,), noise=(channels.VonMises(2.0),) * 2)
    phases = random_phases(rng, system)

    def moments(threads):
        monkeypatch.setattr("ris.moments.check_threads", lambda _: threads)
        return ris.closed_form_moments(system, *phases)

    one, three = moments(1), moments(3)
    np.testing.assert_array_equal(one.interference, three.interference)
    np.testing.assert_array_equal(one.gain_product, three.gain_product)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_shared_covariance_equals_repeated(csi):
    rng = np.random.default_rng(3)
    shared = random_system(rng, elements=(4, 3), users=3, own=False, noise=(channels.VonMises(1.0),) * 2)
    repeated = {
        name: channels.UserHop(hop.gain, np.broadcast_to(hop.correlation.matrix, (3, hop.size, hop.size)))
        for name in ("ris1_user", "ris2_user", "bs_user")
        for hop in [getattr(shared, name)]
    }
    own = dataclasses.replace(shared, **repeated)
    phases = random_phases(rng, shared)
    got, expected = (ris.closed_form_moments(s, *phases, csi=csi) for s in (shared, own))
    np.testing.assert_allclose(got.interference, expected.interference, rtol=1e-12)
    np.testing.assert_allclose(got.mean_gain, expected.mean_gain, rtol=1e-12)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_low_rank_factors_change_nothing(csi):
    """Covariances given by factors are multiplied through them."""
    rng = np.random.default_rng(14)
    noise = (channels.VonMises(1.0),) * 2
    factors = [rng.standard_normal((3, 7, 2)) + 1j * rng.standard_normal((3, 7, 2)) for _ in range(2)]
    system = random_system(rng, elements=(7, 7), users=3, noise=noise)
    got, expected = (
        ris.closed_form_moments(
            dataclasses.replace(
                system,
                ris1_user=channels.UserHop(np.ones(3), kind(factors[0])),
                ris2_user=channels.UserHop(np.ones(3), kind(factors[1])),
            ),
            np.arange(7.0),
            np.arange(7.0) ** 2,
            csi=csi,
        )
        for kind in (channels.Correlation.from_factor, lambda F: F @ np.conj(F.swapaxes(-1, -2)))
    )
    np.testing.assert_allclose(got.interference, expected.interference, rtol=1e-12)


def test_one_covariance_for_both_hops_at_surface_2_equals_two_equal_ones():
    rng = np.random.default_rng(4)
    R = channels.Correlation(covariance(rng, 4))
    system = random_system(rng, elements=(3, 4), noise=(channels.VonMises(1.0),) * 2)
    two, one = (
        dataclasses.replace(
            system,
            bs_ris2=channels.Hop(1.3, system.bs_ris2.left, R),
            ris1_ris2=channels.Hop(0.7, system.ris1_ris2.left, other),
        )
        for other in (channels.Correlation(np.array(R)), R)
    )
    phases = random_phases(rng, system)
    for csi in ("perfect", "nominal"):
        got, expected = (ris.closed_form_moments(s, *phases, csi=csi) for s in (one, two))
        np.testing.assert_allclose(got.interference, expected.interference, rtol=1e-12)


def test_row_blocks_change_nothing(monkeypatch):
    """Large surfaces are summed in blocks of rows."""
    rng = np.random.default_rng(5)
    system = random_system(rng, elements=(7, 5), noise=(channels.VonMises(1.0), channels.WrappedNormal(0.5)))
    phases = random_phases(rng, system)
    whole = [ris.closed_form_moments(system, *phases, csi=csi) for csi in ("perfect", "nominal")]
    monkeypatch.setattr("ris.noise_moments.BLOCK_BYTES", 16 * 7 * 3 * 2)
    for expected in whole:
        got = ris.closed_form_moments(system, *phases, csi=expected.csi)
        np.testing.assert_allclose(got.interference, expected.interference, rtol=1e-12)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize("paths", [PATH_SETS[-1], ("double",), ("direct", "single2")])
@pytest.mark.parametrize("hardware", [(None, None), HARDWARE[1:], HARDWARE[:2]])
def test_array_api_library_gives_the_same(paths, csi, hardware):
    """The closed forms use the array API standard alone; the strict implementation refuses anything else."""
    rng = np.random.default_rng(6)
    noise = channels.VonMises(2.0), channels.QuantizationNoise(2)
    system = random_system(rng, paths, users=2, noise=noise, hardware=hardware)
    theta1, theta2 = random_phases(rng, system)
    strict = [array_api_strict.asarray(theta) for theta in (theta1, theta2)]
    expected = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    got = ris.closed_form_moments(system, *strict, csi=csi)
    assert isinstance(got.mean_gain, type(strict[0]))
    for name in ("mean_gain", "interference", "precoder_gain"):
        np.testing.assert_allclose(np.asarray(getattr(got, name)), getattr(expected, name), rtol=1e-12)
    rate = ris.closed_form_rate(system, *strict, power=2.0, noise_power=1.0, csi=csi)
    expected_rate = ris.closed_form_rate(system, theta1, theta2, power=2.0, noise_power=1.0, csi=csi)
    np.testing.assert_allclose(np.asarray(rate), expected_rate, rtol=1e-12)


def moments_of(system, phases, csi):
    m = ris.closed_form_moments(system, *phases, csi=csi)
    return m.mean_gain, m.interference, m.precoder_gain


@pytest.fixture
def generic():
    rng = np.random.default_rng(8)
    system = random_system(
        rng, elements=(4, 3), users=3, noise=(channels.VonMises(1.5), channels.WrappedNormal(0.6))
    )
    return system, random_phases(rng, system)


def rebuilt(system, gains=None, users=None, turn=None):
    """The system with the gains of the hops scaled, the users reordered, or the BS antennas mixed."""
    gains = gains or {}
    order = slice(None) if users is None else users

    def mixed(matrix):
        return matrix if turn is None else turn @ matrix @ turn.conj().T

    hops = {}
    for name in ("bs_ris1", "bs_ris2", "ris1_ris2"):
        hop = getattr(system, name)
        left = hop.left if name == "ris1_ris2" else mixed(hop.left.matrix)
        hops[name] = channels.Hop(hop.gain * gains.get(name, 1.0), left, hop.right)
    for name in ("ris1_user", "ris2_user", "bs_user"):
        hop = getattr(system, name)
        matrix = mixed(hop.correlation.matrix) if name == "bs_user" else hop.correlation.matrix
        hops[name] = channels.UserHop(hop.gain[order] * gains.get(name, 1.0), matrix[order])
    return dataclasses.replace(system, **hops)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_scaling_all_hops_to_the_users(generic, csi):
    system, phases = generic
    scaled = rebuilt(system, dict.fromkeys(("ris1_user", "ris2_user", "bs_user"), 3.0))
    for got, base, power in zip(
        moments_of(scaled, phases, csi), moments_of(system, phases, csi), (1, 2, 1), strict=True
    ):
        np.testing.assert_allclose(got, 3.0**power * base, rtol=1e-12)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_permuting_users_permutes_moments(generic, csi):
    system, phases = generic
    order = np.array([2, 0, 1])
    mean, interference, precoder = moments_of(system, phases, csi)
    got = moments_of(rebuilt(system, users=order), phases, csi)
    for value, expected in zip(
        got, (mean[order], interference[np.ix_(order, order)], precoder[order]), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_unitary_mixing_of_antennas_changes_nothing(generic, csi):
    system, phases = generic
    rng = np.random.default_rng(9)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)))
    for value, expected in zip(
        moments_of(rebuilt(system, turn=turn), phases, csi), moments_of(system, phases, csi), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_common_phase_changes_nothing_under_one_reflection(csi):
    rng = np.random.default_rng(10)
    system = random_system(rng, ("double",), noise=(channels.VonMises(1.0),) * 2)
    theta1, theta2 = random_phases(rng, system)
    base = moments_of(system, (theta1, theta2), csi)
    for value, expected in zip(moments_of(system, (theta1 + 1.0, theta2 - 2.0), csi), base, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


UNIFORM = channels.VonMises(0.0)


def with_noise(system, law):
    return dataclasses.replace(system, phase_noise1=law, phase_noise2=law)


def test_noise_limits(generic):
    """kappa -> infinity is no noise; kappa = 0 makes the phase shifts irrelevant."""
    system, phases = generic
    none = dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise())
    sharp = dataclasses.replace(
        system, phase_noise1=channels.VonMises(1e13), phase_noise2=channels.VonMises(1e13)
    )
    for csi in ("perfect", "nominal"):
        for got, expected in zip(moments_of(sharp, phases, csi), moments_of(none, phases, csi), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11)
    full = dataclasses.replace(
        system, phase_noise1=channels.VonMises(0.0), phase_noise2=channels.VonMises(0.0)
    )
    zeros = np.zeros(4), np.zeros(3)
    for got, expected in zip(
        moments_of(full, phases, "perfect"), moments_of(full, zeros, "perfect"), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_noise_unaware_gain_vanishes_with_the_coherence():
    """Double reflection alone: C_nominal = r1 r2 times that without noise, zero at kappa = 0."""
    rng = np.random.default_rng(12)
    system = random_system(rng, ("double",))
    phases = random_phases(rng, system)
    base = ris.closed_form_moments(system, *phases).mean_gain
    laws = channels.VonMises(2.0), channels.UniformNoise(1.0)
    noisy = dataclasses.replace(system, phase_noise1=laws[0], phase_noise2=laws[1])
    got = ris.closed_form_moments(noisy, *phases, csi="nominal").mean_gain
    np.testing.assert_allclose(got, laws[0].moment(1) * laws[1].moment(1) * base, rtol=1e-12)
    gone = dataclasses.replace(system, phase_noise1=channels.VonMises(0.0))
    assert np.all(np.abs(ris.closed_form_moments(gone, *phases, csi="nominal").mean_gain) < 1e-12 * base)


def test_csi_agree_without_noise(generic):
    system, phases = generic
    none = dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise())
    for got, expected in zip(
        moments_of(none, phases, "nominal"), moments_of(none, phases, "perfect"), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("theta1", "theta2", "csi", "argument"),
    [
        (None, np.zeros(3), "perfect", "theta1"),
        (np.zeros(3), np.zeros(3), "perfect", "theta1"),
        (np.zeros(4), np.zeros((2, 4)), "perfect", "theta2"),
        (np.zeros(4), 0.0, "perfect", "theta2"),
        (np.array([0, 0, np.nan, 0]), np.zeros(3), "perfect", "theta1"),
        (np.ones(4) * 1j, np.zeros(3), "perfect", "theta1"),
        (np.zeros(4), np.zeros(3), "exact", "csi"),
        (np.array(["a"] * 4), np.zeros(3), "perfect", "theta1"),
        (np.zeros((2, 4)), np.zeros((3, 3)), "perfect", "theta1, theta2"),
    ],
)
def test_bad_arguments(generic, theta1, theta2, csi, argument):
    system, _ = generic
    with pytest.raises(channels.InvalidArgumentError, match=f"^{argument}: expected .*, got ") as caught:
        ris.closed_form_moments(system, theta1, theta2, csi=csi)
    assert caught.value.argument == argument
