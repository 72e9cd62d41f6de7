"""Closed forms of systems with lines of sight: limits, known answers, batches, bad input."""

import dataclasses
import itertools

import array_api_strict
import numpy as np
import pytest
from systems import HOPS, PATH_SETS, assert_close, random_phases, random_system, with_means

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.mean_gain import mean_precoder_gain
from ris.rician_phases import RicianGain
from ris.system import each_system

NAMES = ("mean_gain", "interference", "gain_product", "precoder_gain")


def moments_of(system, phases, csi):
    m = ris.closed_form_moments(system, *phases, csi=csi)
    return {name: getattr(m, name) for name in NAMES if getattr(m, name) is not None}


CSIS = [
    "perfect",
    "nominal",
    ris.LmmseCsi(2, 0.5, 3.0),
    ris.LmmseCsi(2, 0.5, 3.0, covariance="nominal"),
    ris.LmmseCsi(2, 0.5, 3.0, covariance="gain"),
    ris.LsCsi(2, 0.5, 3.0),
]
NAMES_OF_CSIS = ["perfect", "nominal", "lmmse", "lmmse nominal", "lmmse gain", "ls"]


@pytest.fixture
def generic():
    rng = np.random.default_rng(8)
    noise = channels.VonMises(1.5), channels.WrappedNormal(0.6)
    system = random_system(rng, elements=(4, 3), users=3, noise=noise)
    return system, random_phases(rng, system)


@pytest.mark.parametrize("csi", CSIS, ids=NAMES_OF_CSIS)
@pytest.mark.parametrize("own", [True, False])
def test_without_lines_of_sight_both_calculi_agree(own, csi):
    """The general one meets the five-part one of Rayleigh fading: means of zero change nothing."""
    rng = np.random.default_rng(10)
    noise = channels.VonMises(1.5), channels.QuantizationNoise(2)
    system = random_system(rng, elements=(4, 3), users=3, noise=noise, own=own)
    phases = random_phases(rng, system)
    zero = dataclasses.replace(
        system, bs_user=channels.UserHop(system.bs_user.gain, system.bs_user.correlation, np.zeros((3, 3)))
    )
    expected = moments_of(system, phases, csi)
    for name, value in moments_of(zero, phases, csi).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_no_randomness_left_is_deterministic(generic, csi):
    """K-factor infinite in all hops, no noise: the moments are the products of the means."""
    system, phases = generic
    rng = np.random.default_rng(2)
    sure = with_means(
        rng,
        dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise()),
        HOPS,
    )
    still = {}
    for name in HOPS:
        hop = getattr(sure, name)
        still[name] = (
            channels.Hop(0.0, hop.left, hop.right, hop.mean)
            if isinstance(hop, channels.Hop)
            else channels.UserHop(np.zeros(3), hop.correlation, hop.mean)
        )
    sure = dataclasses.replace(sure, **still)
    x1, x2 = (np.diag(np.exp(1j * theta)) for theta in phases)
    A1, A2, D = (getattr(sure, name).mean.matrix for name in HOPS[:3])
    u1, u2, d = (getattr(sure, name).mean.T for name in HOPS[3:])
    h = d + A1 @ x1 @ u1 + A2 @ x2 @ u2 + A1 @ x1 @ D @ x2 @ u2
    products = h.conj().T @ h
    m = ris.closed_form_moments(sure, *phases, csi=csi)
    assert_close(m.mean_gain, np.diag(products).real, 1e-12)
    assert_close(m.interference, np.abs(products) ** 2, 1e-12)
    drawn = ris.draw_channels(sure, *phases, realizations=3, seed=1)
    np.testing.assert_allclose(drawn, np.broadcast_to(h, drawn.shape), rtol=1e-10)


def steered(side, antennas=4, double=True):
    """Lines of sight alone, surfaces of `side` squared elements, and the phases that match them."""
    bs, one = channels.UniformLinearArray(antennas, 0.5), channels.UniformPlanarArray(side, side, 0.5)
    two = channels.UniformPlanarArray(side, side, 0.25)
    to1, to2, to_user = (0.3, 0.2), (1.1, -0.3), (2.0, 0.4)
    N, wave = side**2, channels.LineOfSight.plane_wave

    def hop(n, m, sight):
        return channels.Hop.rician(1.0, np.inf, np.eye(n), np.eye(m), sight)

    def to_users(array):
        return channels.UserHop.rician([1.0], np.inf, np.eye(array.size), array.steering(*to_user)[None])

    def matched(array, arriving, leaving):
        """What comes from the users' side by direction `leaving` is turned towards the BS."""
        return np.angle(array.steering(*arriving) * array.steering(*leaving).conj())

    if not double:
        system = ris.DoubleRIS(bs_ris1=hop(antennas, N, wave(bs, one, *to1)), ris1_user=to_users(one))
        return system, (matched(one, to1, to_user), None)
    system = ris.DoubleRIS(
        bs_ris1=hop(antennas, N, wave(bs, one, *to1)),
        ris1_ris2=hop(N, N, wave(one, two, *to2)),
        ris2_user=to_users(two),
    )
    return system, (matched(one, to1, to2), matched(two, to2, to_user))


@pytest.mark.parametrize(("double", "law"), [(True, 4), (False, 2)])
def test_lines_of_sight_add_coherently(double, law):
    """Double reflection M N^2 N^2: 12 dB for twice the elements of both surfaces. Single M N^2: 6 dB."""
    gains = []
    for side in (2, 4, 8):
        system, phases = steered(side, double=double)
        m = ris.closed_form_moments(system, *phases)
        np.testing.assert_allclose(m.mean_gain, 4 * side ** (2 * law), rtol=1e-12)
        np.testing.assert_allclose(m.interference, m.mean_gain[:, None] ** 2, rtol=1e-12)
        gains.append(m.mean_gain[0])
    for small, large in itertools.pairwise(gains):  # four times the elements a step
        np.testing.assert_allclose(10 * np.log10(large / small) / 2, 3.0103 * law, rtol=1e-5)


def test_phase_noise_takes_the_coherent_part_of_a_line_of_sight():
    """M (N + r^2 (N^2 - N)) for a single reflection: the known answer of a noisy beam."""
    system, phases = steered(4, double=False)
    law = channels.VonMises(2.0)
    m = ris.closed_form_moments(dataclasses.replace(system, phase_noise1=law), *phases)
    np.testing.assert_allclose(m.mean_gain, [4 * (16 + law.moment(1) ** 2 * 16 * 15)], rtol=1e-12)


@pytest.mark.parametrize("csi", CSIS[:4], ids=NAMES_OF_CSIS[:4])
def test_batches_and_array_libraries(csi, monkeypatch):
    rng = np.random.default_rng(21)
    noise = (channels.VonMises(2.0), channels.UniformNoise(0.6))
    system = with_means(rng, random_system(rng, elements=(3, 4), users=2, batch=(3,), noise=noise), HOPS[:4])
    theta1, theta2 = random_phases(rng, system, (3,))
    whole = moments_of(system, (theta1, theta2), csi)

    def at(hop, i):
        if isinstance(hop, channels.Hop):
            mean = hop.mean and channels.LineOfSight(hop.mean.left[i], hop.mean.right[i])
            return channels.Hop(hop.gain[i], hop.left.matrix[i], hop.right.matrix[i], mean)
        mean = None if hop.mean is None else hop.mean[i]
        return channels.UserHop(hop.gain[i], hop.correlation.matrix[i], mean)

    for i in range(3):
        one = dataclasses.replace(system, **{name: at(getattr(system, name), i) for name in HOPS})
        expected = moments_of(one, (theta1[i], theta2[i]), csi)
        strict = ris.closed_form_moments(one, *map(array_api_strict.asarray, (theta1[i], theta2[i])), csi=csi)
        for name, value in expected.items():
            assert_close(whole[name][i], value, 1e-12)
            assert_close(getattr(strict, name), value, 1e-12)
    monkeypatch.setattr("ris.moments.PART_BYTES", 1)
    for name, value in moments_of(system, (theta1, theta2), csi).items():
        assert_close(value, whole[name], 1e-12)


def test_users_of_one_covariance_equal_users_of_their_own(generic):
    rng = np.random.default_rng(4)
    noise = (channels.VonMises(2.0),) * 2
    shared = with_means(rng, random_system(rng, elements=(3, 2), users=3, own=False, noise=noise), HOPS)
    repeated = {
        name: channels.UserHop(
            hop.gain, np.broadcast_to(hop.correlation.matrix, (3, hop.size, hop.size)), hop.mean
        )
        for name in HOPS[3:]
        for hop in [getattr(shared, name)]
    }
    phases = random_phases(rng, shared)
    for csi in CSIS[:3]:
        expected = moments_of(shared, phases, csi)
        for name, value in moments_of(dataclasses.replace(shared, **repeated), phases, csi).items():
            assert_close(value, expected[name], 1e-12)


def test_means_of_high_rank_are_refused(generic):
    system, phases = generic
    many = with_means(np.random.default_rng(0), system, ["bs_ris1"], rank=3)
    with pytest.raises(InvalidArgumentError, match="bs_ris1: expected a mean of rank 2 at most"):
        ris.closed_form_moments(many, *phases)
    ris.draw_channels(many, *phases, realizations=2, seed=1)


@pytest.mark.parametrize(
    "method", ["gradient", "alternating", "closed_form", "coordinate", "branch_and_bound"]
)
@pytest.mark.parametrize("objective", ["sum_rate", "mean_gain"])
def test_designs_that_need_a_gradient_are_refused(generic, method, objective):
    system = with_means(np.random.default_rng(0), generic[0], ["bs_ris1"])
    with pytest.raises(InvalidArgumentError, match="Rayleigh fading in all hops"):
        ris.design_phases(system, power=1.0, noise_power=1.0, method=method, objective=objective, bits=1)


def test_systems_of_a_batch_keep_their_means():
    rng = np.random.default_rng(3)
    system = with_means(rng, random_system(rng, elements=(2, 3), batch=(2,)), HOPS)
    for i, one in enumerate(each_system(system)):
        for name in HOPS:
            mean, whole = getattr(one, name).mean, getattr(system, name).mean
            if name.endswith("user"):
                np.testing.assert_array_equal(mean, whole[i])
            else:
                np.testing.assert_array_equal(mean.matrix, whole.matrix[i])


@pytest.mark.parametrize("number", range(15))
def test_forms_of_the_mean_gain(number):
    """Differences of the mean gain are those of each surface's form, which is positive semidefinite."""
    rng = np.random.default_rng(300 + number)
    noise = channels.VonMises(2.0), channels.UniformNoise(1.0)
    system = random_system(rng, PATH_SETS[number], 3, (4, 5), 3, noise=noise, own=number % 2)
    system = with_means(rng, system, rng.choice(HOPS, size=4, replace=False))
    system = with_means(rng, system, [next(hop for hop in HOPS if getattr(system, hop) is not None)])
    weights = rng.random(3)
    gain = RicianGain(system, weights)
    x, other = (tuple(np.exp(1j * theta) for theta in random_phases(rng, system)) for _ in range(2))
    closed = ris.closed_form_moments(system, *map(np.angle, x)).mean_gain
    np.testing.assert_allclose(gain.value(x), weights @ closed, rtol=1e-12)
    for i, moved in enumerate(((other[0], x[1]), (x[0], other[1]))):
        S, slope = gain.form(i, x)
        before, after = ((v.conj() @ S @ v + 2 * np.vdot(slope, v)).real for v in (x[i], moved[i]))
        np.testing.assert_allclose(
            after - before, gain.value(moved) - gain.value(x), atol=1e-11 * gain.value(x)
        )
        if S.size:
            assert np.linalg.eigvalsh(S).min() >= -1e-12 * np.abs(S).max()


def test_designed_phases_find_the_matched_ones():
    """Lines of sight alone have a known optimum, M N1^2 N2^2."""
    system, phases = steered(4)
    design = ris.optimal_phases(system)
    best = ris.closed_form_moments(system, *phases).mean_gain
    np.testing.assert_allclose(ris.closed_form_moments(system, *design).mean_gain, best, rtol=1e-9)
    assert not design.certified
    assert design.gap == 1.0


def test_designed_phases_are_a_local_maximum(generic):
    system = with_means(np.random.default_rng(0), generic[0], HOPS)
    theta1, theta2 = ris.optimal_phases(system)
    best = mean_precoder_gain(system, theta1, theta2, "perfect").sum()
    rng = np.random.default_rng(1)
    for spread in (1e-3, 0.1, 3.0):
        for _ in range(20):
            moved = theta1 + spread * rng.standard_normal(4), theta2 + spread * rng.standard_normal(3)
            assert mean_precoder_gain(system, *moved, "perfect").sum() <= (1 + 1e-9) * best
