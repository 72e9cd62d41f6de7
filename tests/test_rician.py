"""Hops with lines of sight: the model, steering and its sign, and both engines."""

import dataclasses

import numpy as np
import pytest
from systems import HOPS, PATH_SETS, random_phases, random_system, with_means

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.mean_gain import mean_precoder_gain
from ris.pilots import PilotEstimator

UPA = channels.UniformPlanarArray


def test_plane_wave_is_the_spherical_wave_from_afar():
    """exp(-j 2 pi d) of every pair of elements, up to one phase: sides and signs of both steering vectors."""
    bs = channels.UniformLinearArray(5, 0.5, channels.Orientation(yaw=0.4))
    surface = UPA(3, 4, 0.3, channels.Orientation(yaw=2.0, pitch=0.3))
    way = 1e6 * np.array([0.6, -0.48, 0.64])
    line = channels.sightline(np.zeros(3), way)
    wave = channels.LineOfSight.plane_wave(bs, surface, line.departure_azimuth, line.departure_elevation)
    distance = np.linalg.norm(way + surface.positions[None] - bs.positions[:, None], axis=-1)
    spherical = np.exp(-2j * np.pi * (distance - 1e6))
    np.testing.assert_allclose(wave.matrix, spherical, atol=1e-4)
    assert wave.rank == 1
    assert np.max(np.abs(wave.matrix.conj() - spherical)) > 1


def test_rician_shares_the_gain():
    rng = np.random.default_rng(1)
    wave = np.exp(2j * np.pi * rng.random((3, 4)))
    hop = channels.Hop.rician(2.0, 3.0, np.eye(3), np.eye(4), wave)
    np.testing.assert_allclose(hop.gain, 0.5)
    np.testing.assert_allclose(hop.mean.matrix, np.sqrt(1.5) * wave, rtol=1e-12)
    users = channels.UserHop.rician([2.0, 4.0], [0.0, np.inf], np.eye(4), wave[:2])
    np.testing.assert_allclose(users.gain, [2.0, 0.0])
    np.testing.assert_allclose(users.mean, np.sqrt([[0.0], [4.0]]) * wave[:2], rtol=1e-12)


def test_a_matrix_of_low_rank_is_kept_as_its_factors():
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((2, 6, 2)), rng.standard_normal((2, 5, 2)) * 1j
    mean = channels.Hop(1.0, np.eye(6), np.eye(5), left @ right.conj().swapaxes(-1, -2)).mean
    assert mean.rank == 2
    assert mean.shape == (2, 6, 5)
    np.testing.assert_allclose(mean.matrix, left @ right.conj().swapaxes(-1, -2), atol=1e-13)
    assert channels.LineOfSight.of(np.zeros((3, 2))).rank == 1


def test_bad_means():
    eye = np.eye(3)
    sight = channels.LineOfSight
    for make, argument in (
        (lambda: channels.Hop(1.0, eye, eye, np.ones((3, 2))), "mean"),
        (lambda: channels.Hop(1.0, eye, eye, np.ones(3)), "mean"),
        (lambda: channels.Hop(1.0, eye, eye, np.full((3, 3), np.nan)), "mean"),
        (lambda: channels.UserHop([1.0, 1.0], eye, np.ones((3, 3))), "mean"),
        (lambda: sight(np.ones((3, 1)), np.ones((3, 2))), "left, right"),
        (lambda: sight(np.ones((2, 3, 1)), np.ones((3, 3, 1))), "left, right"),
        (lambda: sight(np.ones(3), np.ones((3, 1))), "left"),
        (lambda: channels.Hop.rician(1.0, -1.0, eye, eye, eye), "k_factor"),
        (lambda: channels.Hop.rician(1.0, np.nan, eye, eye, eye), "k_factor"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            make()
        assert caught.value.argument == argument
    with pytest.raises(InvalidArgumentError, match="batch axes that broadcast"):
        ris.DoubleRIS(bs_user=channels.UserHop(np.ones((2, 1)), eye, np.ones((3, 1, 3))))


CSIS = (
    "perfect",
    ris.LmmseCsi(2, 1.0, 5.0),
    "nominal",
    ris.LmmseCsi(2, 1.0, 5.0, covariance="nominal"),
    ris.LsCsi(2, 1.0, 5.0),
    ris.LmmseCsi(2, 1.0, 5.0, covariance="gain"),
)


def general_system(number):
    rng = np.random.default_rng(2000 + number)
    noise = channels.VonMises(2.0), channels.UniformNoise(1.2)
    paths = PATH_SETS[number % len(PATH_SETS)]
    system = random_system(rng, paths, 4, (3, 5), 2 + number % 2, noise=noise, own=number % 2 == 0)
    hops = [hop for hop in HOPS if rng.random() < 0.6] or HOPS
    return with_means(rng, system, hops, rank=1 + (number % 5 == 0)), random_phases(rng, system)


@pytest.mark.parametrize("engine", ["explicit", "reduced"])
def test_draws_have_the_closed_forms_moments(engine):
    """30 systems, all path sets, each CSI in turn; some 900 scores at 7 standard errors."""
    for number in range(30):
        system, phases = general_system(number)
        csi = CSIS[(number + number // 15) % len(CSIS)]
        scores = z_scores(system, phases, csi, engine, number)
        assert np.max(np.abs(scores)) < 7.0, number


def z_scores(system, phases, csi, engine, seed, exact_system=None):
    exact = ris.closed_form_moments(exact_system or system, *phases, csi=csi)
    got = ris.simulate(
        system,
        *phases,
        power=1.0,
        noise_power=1.0,
        realizations=20_000,
        seed=seed,
        csi=csi,
        engine=engine,
        threads=2,
    )
    names = ["mean_gain", "interference", "precoder_gain"] + ["gain_product"] * (csi == "perfect")
    return np.concatenate(
        [((e := getattr(got, n)).value - getattr(exact, n)).ravel() / e.standard_error.ravel() for n in names]
    )


@pytest.mark.parametrize("engine", ["explicit", "reduced"])
def test_scores_find_a_turned_mean(engine):
    """A mean turned by 1 radian changes nothing alone, but against another line of sight it does."""
    eye, wave = np.eye(4), np.ones((4, 1))
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop.rician(1.0, 5.0, eye, np.eye(1), wave),
        ris1_user=channels.UserHop.rician([1.0, 1.0], 5.0, np.eye(1), np.ones((2, 1))),
        bs_user=channels.UserHop.rician([1.0, 1.0], 5.0, eye, np.ones((2, 4))),
    )
    phases = np.zeros(1), None
    assert np.max(np.abs(z_scores(system, phases, "perfect", engine, 3))) < 7.0
    turned = channels.UserHop(
        system.bs_user.gain, system.bs_user.correlation, system.bs_user.mean * np.exp(1j)
    )
    wrong = dataclasses.replace(system, bs_user=turned)
    assert np.max(np.abs(z_scores(system, phases, "perfect", engine, 3, wrong))) > 7.0


def test_means_of_zero_change_no_bit():
    """The random parts are drawn as without means."""
    rng = np.random.default_rng(6)
    noise = channels.VonMises(2.0), channels.WrappedNormal(0.5)
    system = random_system(rng, elements=(4, 3), users=3, noise=noise)
    zero = with_means(rng, system, HOPS)
    still = {}
    for name in HOPS:
        hop = getattr(zero, name)
        mean = hop.mean * 0.0
        kind = channels.Hop if isinstance(hop, channels.Hop) else channels.UserHop
        still[name] = kind(
            hop.gain, *((hop.left, hop.right) if kind is channels.Hop else (hop.correlation,)), mean
        )
    zero = dataclasses.replace(zero, **still)
    phases = random_phases(rng, system)
    for engine in ("explicit", "reduced"):
        one, other = (
            ris.draw_channels(s, *phases, realizations=300, seed=4, engine=engine) for s in (system, zero)
        )
        np.testing.assert_array_equal(one, other)


def test_hop_realizations_compose_to_the_explicit_draws():
    system, phases = general_system(14)
    h = ris.draw_channels(system, *phases, realizations=20, seed=3, engine="explicit")
    composed = ris.draw_hops(system, realizations=20, seed=3).channels(*phases)
    np.testing.assert_allclose(composed, h, atol=1e-12 * np.abs(h).max())


def test_single_precision_follows_double():
    system, phases = general_system(14)
    double, single = (
        ris.draw_channels(system, *phases, realizations=200, seed=3, precision=kind)
        for kind in ("double", "single")
    )
    assert single.dtype == np.complex64
    assert np.sqrt(np.mean(np.abs(single - double) ** 2) / np.mean(np.abs(double) ** 2)) < 1e-5


def test_large_surfaces_need_no_matrix():
    """16,384 elements a surface: mean power of draws and closed second moment, 6.5 standard errors."""
    side, K = 128, 2
    one = two = UPA(side, side, 0.25)
    bs = channels.UniformLinearArray(4, 0.5)
    R, RB = channels.isotropic_correlation(one), channels.exponential_correlation(4, 0.5)
    wave, N = channels.LineOfSight.plane_wave, side**2
    directions = np.array([[0.1, -0.2], [0.5, 0.1]])
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop.rician(1.0 / N, 2.0, RB, R, wave(bs, one, 0.3, 0.1)),
        bs_ris2=channels.Hop.rician(1.0 / N, 1.0, RB, R, wave(bs, two, -0.4)),
        ris1_ris2=channels.Hop.rician(1.0 / N, 5.0, R, R, wave(one, two, 1.0)),
        ris1_user=channels.UserHop(np.ones(K) / N, R),
        ris2_user=channels.UserHop.rician(np.ones(K) / N, 3.0, R, two.steering(*directions.T)),
        phase_noise1=channels.VonMises(3.0),
    )
    theta1 = np.angle(one.steering(0.3, 0.1) * one.steering(1.0).conj())
    theta2 = np.angle(two.steering(1.0) * two.steering(0.1, -0.2).conj())
    exact = mean_precoder_gain(system, theta1, theta2, "perfect")
    h = ris.draw_channels(system, theta1, theta2, realizations=48, seed=2, threads=2)
    power = np.sum(np.abs(h) ** 2, axis=1)
    error = power.std(axis=0, ddof=1) / np.sqrt(len(power))
    assert np.all(np.abs(power.mean(axis=0) - exact) < 6.5 * error)
    assert exact[0] > 100 * exact[1]


@pytest.mark.parametrize("number", range(0, 30, 3))
def test_second_moments_of_large_surfaces_equal_the_closed_form(number):
    system, phases = general_system(number)
    for csi in ("perfect", "nominal"):
        exact = ris.closed_form_moments(system, *phases, csi=csi).precoder_gain
        np.testing.assert_allclose(mean_precoder_gain(system, *phases, csi), exact, rtol=1e-12)
    csi = ris.LmmseCsi(2, 1.0, 3.0)
    exact = ris.closed_form_moments(system, *phases, csi=csi).precoder_gain
    estimator = PilotEstimator(system, *phases, csi, channels.Stream(1))
    np.testing.assert_allclose(estimator.precoder_gain, exact, rtol=1e-12)
