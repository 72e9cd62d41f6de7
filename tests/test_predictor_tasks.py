"""Families of systems: their rates against the closed form of the same systems, their maps, their seeds."""

import numpy as np
import pytest
import torch

import channels
from channels.streams import Stream
from ris.predictors import statistical
from ris.predictors.ascent import ascend, turn
from ris.predictors.baselines import equal_phases, random_phasors, superposed_steering, user_steering
from ris.predictors.features import CHANNELS, system_maps
from ris.predictors.geometry import TRAINED, UNSEEN
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.scattered import ScatteredTask
from ris.predictors.statistical import HopTables, StatisticalBatch, StatisticalTask
from ris.predictors.train import on_device
from ris.rates import closed_form_rate
from ris.system import DoubleRIS

TASK = StatisticalTask(side=4, users=3)


@pytest.fixture(scope="module")
def scenes():
    return TASK.scenes("test", 4)


def random_phases(seed, count, side=4):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (count, side, side))


def test_rates_are_the_closed_form_of_the_same_systems(scenes):
    batch = StatisticalBatch.of(scenes, HopTables.of(scenes.hops, 4, tolerance=0.0))
    theta = random_phases(0, 8)
    rates = batch.rates(np.exp(1j * theta))
    for i in range(4):
        exact = closed_form_rate(
            scenes.system(i),
            theta[i].ravel(),
            theta[4 + i].ravel(),
            power=1.0,
            noise_power=scenes.noise_power[i],
        )
        np.testing.assert_allclose(rates[i], exact, rtol=1e-10)


def test_left_out_eigenvalues_change_little(scenes):
    x = np.exp(1j * random_phases(0, 8))
    exact = StatisticalBatch.of(scenes, HopTables.of(scenes.hops, 4, tolerance=0.0)).rates(x)
    short = StatisticalBatch.of(scenes, HopTables.of(scenes.hops, 4, statistical.TOLERANCE["test"]))
    assert short.hops.at1b.factor.shape[1] < 16
    np.testing.assert_allclose(short.rates(x), exact, rtol=1e-3)


def test_maps_are_those_of_the_same_systems(scenes):
    batch = TASK.systems("test", 4)
    for i in range(4):
        one, two = system_maps(scenes.system(i), power=1.0, noise_power=scenes.noise_power[i])
        np.testing.assert_allclose(batch.maps[i], one, atol=1e-6)
        np.testing.assert_allclose(batch.maps[4 + i], two, atol=1e-6)


@pytest.mark.parametrize(
    "task",
    [TASK, InstantaneousTask(side=4, users=3), ScatteredTask(side=4, users=3, frames=2, doppler=(0.01, 0.1))],
    ids=lambda task: task.name,
)
def test_a_system_depends_on_its_number_alone(task):
    whole, part = task.systems("unseen", 5), task.systems("unseen", 2, first=3)
    np.testing.assert_array_equal(
        whole.maps.reshape(2, 5, *whole.maps.shape[1:])[:, 3:].reshape(part.maps.shape), part.maps
    )
    x = np.exp(1j * random_phases(1, 10)).reshape(2, 5, 4, 4)
    np.testing.assert_allclose(
        whole.rates(x.reshape(10, 4, 4))[3:], part.rates(x[:, 3:].reshape(4, 4, 4)), rtol=1e-3
    )
    again = task.training_batch(3, 2, seed=1)
    np.testing.assert_array_equal(again.maps, task.training_batch(3, 2, seed=1).maps)
    for other in (task.training_batch(3, 2, seed=2), task.training_batch(3 + 6, 2, seed=1)):
        assert not np.array_equal(again.maps, other.maps)
    splits = [task.systems(split, 2).maps for split in ("validation", "test", "unseen")]
    assert not any(np.array_equal(splits[i], splits[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_unseen_geometry_is_outside_the_ranges_of_the_training(scenes):
    unseen = TASK.scenes("unseen", 50)
    for angles, spreads, limits in (
        (unseen.angles, unseen.spreads, "user_spread"),
        (unseen.hops.angles, unseen.hops.spreads, "hop_spread"),
    ):
        azimuth = np.degrees(np.abs(angles[..., 0]))
        assert (azimuth >= TRAINED.azimuth[1]).all()
        assert (azimuth <= UNSEEN.azimuth[1]).all()
        assert (np.degrees(spreads) >= getattr(TRAINED, limits)[1]).all()
    assert (np.degrees(np.abs(scenes.angles[..., 0])) <= TRAINED.azimuth[1]).all()


def instantaneous_rates(batch, x, h1, h2):
    """One system after the other, one user after the other."""
    B, K = h1.shape[:2]
    rates = np.zeros((B, K))
    for b in range(B):
        Phi1, Phi2 = np.diag(x[b].ravel()), np.diag(x[B + b].ravel())
        H = h2[b] @ Phi2 @ (batch.G2[b] + batch.D[b] @ Phi1 @ batch.G1[b]) + h1[b] @ Phi1 @ batch.G1[b]
        F = H.conj().T
        if batch.zero_forcing:
            F = F @ np.linalg.inv(H @ F + K * np.eye(K))
        F = F / np.linalg.norm(F, axis=0) / np.sqrt(K)
        for k in range(K):
            powers = np.abs(H[k] @ F) ** 2
            rates[b, k] = np.log2(1 + powers[k] / (1 + powers.sum() - powers[k]))
    return rates


@pytest.mark.parametrize("zero_forcing", [False, True])
def test_instantaneous_rates(zero_forcing):
    batch = InstantaneousTask(side=3, users=3, zero_forcing=zero_forcing).systems("test", 4)
    x = np.exp(1j * random_phases(2, 8, 3))
    expected = instantaneous_rates(batch, x, batch.h1, batch.h2)
    np.testing.assert_allclose(batch.rates(x), expected, rtol=1e-10)
    np.testing.assert_allclose(
        batch.known_rates(x), instantaneous_rates(batch, x, batch.estimate1, batch.estimate2), rtol=1e-10
    )


def test_pilots_tell_the_channels_up_to_their_noise():
    quiet, loud = (
        InstantaneousTask(side=4, pilot_db=(snr, snr)).systems("test", 200) for snr in (200.0, 0.0)
    )
    np.testing.assert_allclose(quiet.known1, quiet.h1, rtol=1e-6)
    np.testing.assert_array_equal(quiet.h1, loud.h1)
    # At 0 dB the noise has the mean power g of a channel: of 12,800 exponential ratios to it the mean is 1 to
    # within 6.5 / sqrt(12,800). The maps hold the SNR g M N^2 of the path.
    g = 10 ** loud.maps[:200, :, 6, 0, 0].astype(np.float64) / (8 * 16**2)
    ratio = np.abs(loud.known1 - loud.h1) ** 2 / g[..., None]
    assert ratio.size == 12_800
    assert abs(ratio.mean() - 1) < 6.5 / np.sqrt(12_800)


def test_bursts_take_the_place_of_some_estimates():
    clean, struck = (InstantaneousTask(side=4, corrupted=share).systems("test", 200) for share in (0.0, 0.05))
    np.testing.assert_array_equal(clean.h1, struck.h1)
    np.testing.assert_array_equal(clean.D, struck.D)
    for surface, (before, after) in enumerate(((clean.known1, struck.known1), (clean.known2, struck.known2))):
        hit = before != after
        # Of 200 x 4 x 16 estimates 5 % to within 6.5 standard deviations; the power of a burst follows an
        # exponential law with a mean of 100 times that of a channel.
        assert hit.size == 12_800
        assert abs(hit.mean() - 0.05) < 6.5 * np.sqrt(0.05 * 0.95 / hit.size)
        g = 10 ** clean.maps[200 * surface : 200 * (surface + 1), :, 6, 0, 0].astype(np.float64) / (8 * 16**2)
        power = (np.abs(after) ** 2 / g[..., None])[hit]
        assert abs(power.mean() / 100 - 1) < 6.5 / np.sqrt(hit.sum())
    assert not np.array_equal(clean.known1 != struck.known1, clean.known2 != struck.known2)


def test_cascades_steer_lines_of_sight():
    batch = InstantaneousTask(side=4, users=2, pilot_db=(200.0, 200.0)).systems("test", 3)
    left, _, right = np.linalg.svd(batch.D)
    for surface, expected in ((0, right[:, 0][:, None]), (1, batch.h2 * left[:, None, :, 0])):
        first = np.linalg.svd(batch.G1)[0][:, None, :, 0]
        steering = (expected * first if surface == 0 else expected).conj()
        maps = (
            batch.maps[3 * surface : 3 * surface + 3, :, 2]
            + 1j * batch.maps[3 * surface : 3 * surface + 3, :, 3]
        )
        maps = maps.reshape(3, 2, 16)
        overlap = np.abs((maps.conj() * steering).sum(-1))
        lengths = np.linalg.norm(maps, axis=-1) * np.linalg.norm(
            np.broadcast_to(steering, maps.shape), axis=-1
        )
        np.testing.assert_allclose(overlap, lengths, rtol=1e-3)


def one_wave(rows, columns, row_step, column_step):
    a = np.exp(1j * (row_step * np.arange(rows)[:, None] + column_step * np.arange(columns))).ravel()
    return np.outer(a, a.conj())


def plain_system(**hops):
    R, S = one_wave(2, 3, 0.7, -0.4), one_wave(2, 3, 0.2, 0.5)
    users = channels.UserHop([0.5, 2.0], np.stack([S, S]))
    all_hops = {
        "bs_ris1": channels.Hop(1.0, np.eye(4), R),
        "bs_ris2": channels.Hop(1.0, np.eye(4), R),
        "ris1_ris2": channels.Hop(0.1, S, S),
        "ris1_user": users,
        "ris2_user": users,
    }
    return DoubleRIS(**{**all_hops, **hops})


def test_one_wave_in_and_one_out_are_steered_exactly():
    maps, _ = system_maps(plain_system(), power=3.0, noise_power=1.0, grid1=(2, 3), grid2=(2, 3))
    single = maps[0, 0] + 1j * maps[0, 1]
    ratio = single[1:] / single[:-1]
    np.testing.assert_allclose(ratio, np.exp(1j * 0.5), atol=1e-6)
    np.testing.assert_allclose(single[:, 1:] / single[:, :-1], np.exp(-1j * 0.9), atol=1e-6)
    named = dict(zip(CHANNELS, np.moveaxis(maps, 1, 0), strict=True))
    np.testing.assert_allclose(named["coherence single"], 1, atol=1e-6)
    snr = 3.0 * np.array([0.5, 2.0]) * 4 * 36
    np.testing.assert_allclose(named["log10 SNR single"][:, 0, 0], np.log10(snr + 1e-3), atol=1e-5)
    np.testing.assert_allclose(named["log10 SNR double"][:, 0, 0], np.log10(snr * 0.1 * 36 + 1e-3), atol=1e-5)


def test_a_path_that_is_missing_is_zero():
    system = plain_system(ris1_user=None)
    maps, _ = system_maps(system, power=1.0, noise_power=1.0, grid1=(2, 3), grid2=(2, 3))
    assert (maps[:, [0, 1, 9]] == 0).all()
    assert (maps[:, 6] == np.float32(-3)).all()


@pytest.mark.parametrize("grid", [(2, 2), (6, 2)])
def test_a_grid_has_the_elements_of_the_surface(grid):
    with pytest.raises(channels.InvalidArgumentError, match="grid1"):
        system_maps(plain_system(), power=1.0, noise_power=1.0, grid1=grid, grid2=(2, 3))


def test_baselines_and_ascent():
    batch = TASK.systems("test", 6)
    start = superposed_steering(batch)
    assert start.shape == (12, 4, 4)
    for x in (equal_phases(batch), random_phasors(batch, Stream(0)), start, user_steering(batch, 1)):
        np.testing.assert_allclose(np.abs(x), 1)
    tensors = on_device(batch, "cpu", torch.float64)
    best, ends = ascend(tensors, torch.from_numpy(np.stack([start, equal_phases(batch)])), steps=60)
    first = batch.rates(start).sum(-1)
    assert (best[0].numpy() >= first - 1e-12).all()
    assert best[0].mean() > 1.05 * first.mean()
    np.testing.assert_allclose(tensors.rates(ends[0]).sum(-1), best[0], rtol=1e-2)
    turned, reached = turn(tensors, torch.from_numpy(start)[None], steps=20)
    np.testing.assert_allclose(tensors.rates(reached[0]).sum(-1), turned[0], rtol=1e-9)
    assert turned[0].mean() > 1.05 * first.mean()
    # A user's own steering serves that user best of all users' steerings, at these powers.
    own = np.stack([batch.rates(user_steering(batch, k))[:, k] for k in range(3)])
    other = np.stack([batch.rates(user_steering(batch, (k + 1) % 3))[:, k] for k in range(3)])
    assert own.mean() > other.mean()
