"""Rates and mean gains at many phase shifts at once, and their gradients, against the closed forms."""

import dataclasses

import numpy as np
import pytest
from systems import PATH_SETS, DiscreteNoise, random_phases, random_system

import channels
import ris
from ris import gradient as gradients
from ris.gradient import UserValues

POWERS = {"power": 3.0, "noise_power": 0.7}
NOISES = {
    "no noise": (None, None),
    "discrete": (
        DiscreteNoise.three_point(1.1, 0.7),
        DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1)),
    ),
    "no coherence at surface 1": (channels.VonMises(0.0), channels.VonMises(0.3)),
}


def central_differences(f, angles):
    """Slopes by all angles, of eighth order: rounding, about 1e-13 of f, outweighs the step."""
    step = 0.02
    shifts = step * np.array([-4, -3, -2, -1, 1, 2, 3, 4])
    values = f(angles + shifts[:, None, None] * np.eye(angles.size))
    return np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 4 / 5, -1 / 5, 4 / 105, -1 / 280]) @ values / step


def check(system, theta1, theta2, powers, weights):
    """Values and weighted gradients at several phase shifts of one system, to rounding."""
    values = UserValues(system, powers)
    found, slopes = values.gradient([theta1, theta2], lambda values: weights)

    def exact(theta1, theta2):
        if powers is None:
            return ris.closed_form_moments(system, theta1, theta2).mean_gain
        return ris.closed_form_rate(system, theta1, theta2, **powers)

    np.testing.assert_allclose(found, exact(theta1, theta2), rtol=1e-12)
    np.testing.assert_allclose(values.at([theta1, theta2]), found, rtol=1e-14)
    N1 = theta1.shape[-1]
    for lane, (one, two) in enumerate(zip(theta1, theta2, strict=True)):
        expected = central_differences(
            lambda angles, lane=lane: exact(angles[..., :N1], angles[..., N1:]) @ weights[lane],
            np.concatenate([one, two]),
        )
        mine = np.concatenate([slope[lane] for slope in slopes])
        scale = weights[lane] @ found[lane]
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-10 * scale)
    return slopes


@pytest.mark.parametrize("paths", [p for p in PATH_SETS if p != ("direct",)], ids="+".join)
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("powers", [POWERS, None], ids=["rates", "mean gains"])
def test_gradient_equals_central_differences(paths, noise, powers):
    rng = np.random.default_rng(1)
    for own in (True, False):
        system = random_system(rng, paths, elements=(4, 5), users=3, own=own, noise=noise)
        slopes = check(system, *random_phases(rng, system, (2,)), powers, rng.uniform(0.5, 1.5, (2, 3)))
        moves = max(np.abs(slope).max(initial=0.0) for slope in slopes)
        assert moves > 1e-3 or noise[0] is not None


@pytest.mark.parametrize("block", [1, 700])
def test_one_covariance_for_both_hops_in_blocks(block, monkeypatch):
    """The published model, where surface 2 has one covariance towards both its inner neighbours."""
    monkeypatch.setattr(gradients, "BLOCK", block)
    rng = np.random.default_rng(2)
    system = random_system(rng, elements=(3, 4), users=2, noise=NOISES["discrete"])
    between = dataclasses.replace(
        system,
        ris1_ris2=channels.Hop(system.ris1_ris2.gain, system.ris1_ris2.left, system.bs_ris2.right),
    )
    check(between, *random_phases(rng, between, (3,)), POWERS, rng.uniform(0.5, 1.5, (3, 2)))


def test_path_losses():
    """Gains of 1e-13 a hop: tables of size one, moments down to 1e-78."""
    rng = np.random.default_rng(3)
    system = random_system(rng, ("single1", "double"), elements=(4, 3), users=3)
    far = dataclasses.replace(
        system,
        bs_ris1=channels.Hop(1e-13, system.bs_ris1.left, system.bs_ris1.right),
        ris1_ris2=channels.Hop(1e-13, system.ris1_ris2.left, system.ris1_ris2.right),
        ris1_user=channels.UserHop(system.ris1_user.gain * 1e-26, system.ris1_user.correlation),
        ris2_user=channels.UserHop(system.ris2_user.gain * 1e-13, system.ris2_user.correlation),
    )
    powers = {"power": 1.0, "noise_power": 1e-39}
    check(far, *random_phases(rng, far, (2,)), powers, np.ones((2, 3)))


def test_a_surface_without_elements_or_paths():
    hop = channels.UserHop([1.0, 1.0], np.eye(5))
    idle = ris.DoubleRIS(bs_user=channels.UserHop([1.0, 1.0], np.eye(2)), ris1_user=hop)
    values, slopes = UserValues(idle, POWERS).gradient([np.ones((1, 5)), np.zeros((1, 0))], np.ones_like)
    np.testing.assert_allclose(values[0], ris.closed_form_rate(idle, np.zeros(5), None, **POWERS), rtol=1e-14)
    assert [slope.tolist() for slope in slopes] == [[[0.0] * 5], [[]]]


@pytest.mark.parametrize("powers", [POWERS, None], ids=["rates", "mean gains"])
def test_batches_and_parts_equal_single_systems(powers):
    rng = np.random.default_rng(4)
    system = random_system(rng, elements=(3, 4), users=2, noise=NOISES["discrete"], batch=(3, 2))
    theta = list(random_phases(rng, system, (5, 3, 2)))
    values, slopes = UserValues(system, powers).gradient(theta, np.ones_like)
    part, cut = UserValues(system, powers, slice(1, 3)).gradient([x[:, 1:] for x in theta], np.ones_like)
    np.testing.assert_allclose(part, values[:, 1:], rtol=1e-12)
    for mine, whole in zip(cut, slopes, strict=True):
        np.testing.assert_allclose(mine, whole[:, 1:], rtol=1e-9, atol=1e-12)
    for index, one in zip(np.ndindex(3, 2), ris.system.each_system(system), strict=True):
        alone, its = UserValues(one, powers).gradient([x[:, *index] for x in theta], np.ones_like)
        np.testing.assert_allclose(alone, values[:, *index], rtol=1e-12)
        for mine, whole in zip(its, slopes, strict=True):
            np.testing.assert_allclose(mine, whole[:, *index], rtol=1e-9, atol=1e-12)


def test_one_surface_alone():
    rng = np.random.default_rng(5)
    system = random_system(rng, elements=(3, 4))
    theta = list(random_phases(rng, system, (2,)))
    values = UserValues(system, POWERS)
    _, both = values.gradient(theta, np.ones_like)
    for free in (0, 1):
        _, slopes = values.gradient(theta, np.ones_like, (free,))
        assert np.array_equal(slopes[free], both[free])
        assert not slopes[1 - free].any()


def test_low_rank_covariances_of_a_larger_surface():
    """Local scattering at 6 x 6 elements: factors of low rank leave rates exact to their tolerance."""
    array = channels.UniformPlanarArray(rows=6, columns=6, spacing=0.25)

    def scattering(azimuth):
        return np.asarray(channels.local_scattering_correlation(array, azimuth, 0.1, 0.15))

    users = np.stack([scattering(angle) for angle in (-0.7, 0.2, 0.9)])
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, channels.exponential_correlation(4, 0.5), scattering(0.4)),
        bs_ris2=channels.Hop(36.0, channels.exponential_correlation(4, 0.3), scattering(-0.3)),
        ris1_ris2=channels.Hop(1.0, scattering(-0.5), scattering(0.6)),
        ris2_user=channels.UserHop([1.0, 0.5, 0.8], users),
        phase_noise1=channels.VonMises(4.0),
        phase_noise2=channels.VonMises(3.0),
    )
    powers = {"power": 1.0, "noise_power": 1e3}
    rng = np.random.default_rng(6)
    theta = list(random_phases(rng, system, (4,)))
    values, slopes = UserValues(system, powers).gradient(theta, np.ones_like)
    np.testing.assert_allclose(values, ris.closed_form_rate(system, *theta, **powers), rtol=1e-7)
    angles = np.concatenate([x[0] for x in theta])
    expected = central_differences(
        lambda angles: ris.closed_form_rate(system, angles[..., :36], angles[..., 36:], **powers).sum(
            axis=-1
        ),
        angles,
    )
    mine = np.concatenate([slope[0] for slope in slopes])
    np.testing.assert_allclose(mine, expected, atol=1e-6 * np.abs(expected).max())
