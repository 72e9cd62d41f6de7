"""Channels with local scattering: their law in space and time, rates, maps at a part of the elements."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import j0

from ris.predictors import scattered, waves
from ris.predictors.coarse import CoarseTask, TakingTurns
from ris.predictors.geometry import TRAINED, UNSEEN
from ris.predictors.scattered import LowRank, ScatteredTask
from ris.predictors.train import on_device
from tests.test_predictor_tasks import instantaneous_rates

ANGLES, SPREADS = np.array([[0.4, -0.2], [-0.9, 0.3]]), np.array([0.1, 0.05])


def complex_normal(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def test_fields_are_waves_times_amplitudes():
    amplitudes = complex_normal(np.random.default_rng(1), 2, waves.NODES**2)
    factor = waves.factors(ANGLES, SPREADS, 5, 0.125)
    expected = np.einsum("bwrc,bw->brc", factor, amplitudes)
    assert_allclose(waves.fields(ANGLES, SPREADS, amplitudes, 5, 0.125), expected, atol=1e-12)


def test_a_narrow_cluster_is_a_plane_wave():
    one = waves.factors(ANGLES, np.zeros(2), 4, 0.125)
    wave = waves.plane_waves(ANGLES, 4, 0.125)
    cosines, powers = waves.directions(ANGLES, np.zeros(2))
    assert_allclose(
        one / np.sqrt(powers)[:, None, None], np.broadcast_to(wave[:, None], one.shape), atol=1e-12
    )
    along_rows, along_columns = (
        np.angle(wave[:, 1, 0] / wave[:, 0, 0]),
        np.angle(wave[:, 0, 1] / wave[:, 0, 0]),
    )
    assert_allclose(np.stack([along_rows, along_columns], -1), 2 * np.pi * 0.125 * cosines[:, 0], atol=1e-12)
    # A wave is twice as fast on elements twice as far apart.
    assert_allclose(waves.plane_waves(ANGLES, 4, 0.25), wave**2, atol=1e-12)


def test_every_fourth_element_tells_any_direction():
    corners = [
        (azimuth, elevation)
        for one in (TRAINED, UNSEEN)
        for azimuth in one.azimuth
        for elevation in one.elevation
    ]
    sensed = waves.plane_waves(np.radians(corners), 13, scattered.SPACING)[:, ::4, ::4]
    assert 4 * scattered.SPACING == 0.5
    cosines, _ = waves.directions(np.radians(corners), np.zeros(len(corners)))
    assert_allclose(np.angle(sensed[:, 1, 0] / sensed[:, 0, 0]), np.pi * cosines[:, 0, 0], atol=1e-9)
    assert_allclose(np.angle(sensed[:, 0, 1] / sensed[:, 0, 0]), np.pi * cosines[:, 0, 1], atol=1e-9)


def test_rates_are_those_of_dense_hops():
    batch = ScatteredTask(side=3, users=3).systems("test", 4)
    x = np.exp(1j * np.random.default_rng(2).uniform(-3, 3, (8, 3, 3)))
    dense = batch.D.left @ batch.D.right
    one = complex_normal(np.random.default_rng(3), 4, 9, 2)
    assert_allclose(batch.D @ one, dense @ one, rtol=1e-12)
    rates, known = batch.rates(x), batch.known_rates(x)
    object.__setattr__(batch, "D", dense)
    assert_allclose(rates, instantaneous_rates(batch, x, batch.h1, batch.h2), rtol=1e-10)
    assert_allclose(known, instantaneous_rates(batch, x, batch.known1, batch.known2), rtol=1e-10)


def test_hops_have_the_covariance_of_their_directions(monkeypatch):
    # All 2,000 systems in the same directions: the mean of D D^H / tr is that of its clusters.
    angles, spreads = np.tile(ANGLES[:1], (4, 1)), np.full(4, 0.1)
    monkeypatch.setattr(
        scattered,
        "directions",
        lambda stream, size, count, *rest: (
            np.broadcast_to(angles[:1], (count, size, 2)),
            np.full((count, size), 0.1),
        ),
    )
    batch = ScatteredTask(side=3, users=2).systems("test", 2000)
    factor = waves.factors(angles[:1], spreads[:1], 3, scattered.SPACING).reshape(-1, 9)
    R = factor.T @ factor.conj()
    for G in (batch.G1, batch.G2):
        # 16,000 columns, entries of mean square one: standard error at most 1 / sqrt(16,000).
        mean = np.einsum("bnm,bkm->nk", G, G.conj()) / (2000 * 8)
        assert np.abs(mean - R).max() < 6.5 / np.sqrt(16_000)
    D = batch.D.left @ batch.D.right
    D /= np.sqrt(np.mean(np.abs(D) ** 2, axis=(1, 2), keepdims=True))
    assert np.abs(np.einsum("bnm,bkm->nk", D, D.conj()) / (2000 * 9) - R).max() < 0.1
    gain = 10 ** batch.maps[:2000, :, 4, 0, 0].astype(np.float64) / (8 * 81)
    h = batch.h1 / np.sqrt(gain)[..., None]
    mean = np.einsum("bkn,bkm->nm", h, h.conj()) / 4000
    assert np.abs(mean - R).max() < 6.5 / np.sqrt(4000)


def test_the_root_of_the_correlation_of_frames():
    doppler = np.array([0.0, 1e-3, 0.01, 0.3])
    correlation = scattered._correlation(doppler, 6)
    apart = np.arange(6)[:, None] - np.arange(6)
    assert_allclose(correlation, j0(2 * np.pi * doppler[:, None, None] * apart), atol=1e-15)
    root = scattered._root(correlation)
    assert_allclose(root @ root, correlation, atol=1e-12)


@pytest.mark.parametrize("doppler", [0.03, 0.3])
def test_pilots_of_moving_users_age_as_clarke_says(doppler):
    task = ScatteredTask(side=2, users=4, frames=3, doppler=(doppler, doppler), pilot_db=(300.0, 300.0))
    batch = task.systems("test", 2000)
    gain = 10 ** batch.maps[:2000, :, 8, 0, 0].astype(np.float64) / (8 * 16)
    now = batch.h1[..., 0] / np.sqrt(gain)
    assert_allclose(batch.maps[:2000, 0, 12, 0, 0], doppler, rtol=1e-6)
    for age in (1, 2, 3):
        past = batch.maps[:2000, :, 2 * age - 2, 0, 0] - 1j * batch.maps[:2000, :, 2 * age - 1, 0, 0]
        product = (now * past.conj()).ravel()
        # 8,000 products of unit variance each.
        assert abs(product.mean() - j0(2 * np.pi * doppler * age)) < 6.5 / np.sqrt(8000)


@pytest.mark.parametrize(("doppler", "frames"), [(0.01, 5), (0.1, 5), (0.1, 1)])
def test_combined_pilots_are_off_by_what_a_wiener_filter_leaves(doppler, frames):
    task = ScatteredTask(
        side=2, frames=frames, doppler=(doppler, doppler), pilot_db=(10.0, 10.0), combined=True
    )
    batch = task.systems("test", 2000)
    assert batch.maps.shape[2] == task.channels == 10
    gain = 10 ** batch.maps[:2000, :, 4, 0, 0].astype(np.float64) / (8 * 16)
    made = batch.maps[:2000, :, 0, 0, 0] - 1j * batch.maps[:2000, :, 1, 0, 0]
    error = np.abs(made - batch.h1[..., 0] / np.sqrt(gain)) ** 2
    ages = np.arange(1, frames + 1)
    c = j0(2 * np.pi * doppler * ages)
    C = j0(2 * np.pi * doppler * (ages[:, None] - ages)) + 0.1 * np.eye(frames)
    left = 1 - c @ np.linalg.solve(C, c)
    # The mean of 8,000 exponential errors.
    assert abs(error.mean() / left - 1) < 6.5 / np.sqrt(8000)


def test_pilots_are_as_noisy_as_told():
    quiet, loud = (ScatteredTask(side=4, pilot_db=(snr, snr)).systems("test", 200) for snr in (300.0, 0.0))
    assert_allclose(quiet.known1, quiet.h1, rtol=1e-6)
    assert_array_equal(quiet.h1, loud.h1)
    gain = 10 ** loud.maps[:200, :, 4, 0, 0].astype(np.float64) / (8 * 16**2)
    noise = np.abs(loud.known1 - loud.h1) ** 2 / gain[..., None]
    # The mean of 12,800 exponential ratios.
    assert abs(noise.mean() - 1) < 6.5 / np.sqrt(12_800)
    assert_allclose(loud.maps[:, :, 7], 0.0, atol=1e-6)
    steering = quiet.known1.conj() / np.sqrt(gain)[..., None]
    made = quiet.maps[:200, :, 0] + 1j * quiet.maps[:200, :, 1]
    assert_allclose(made.reshape(200, 4, 16), steering, atol=1e-5)


def test_steering_aligns_single_waves(monkeypatch):
    # Without spread, conjugate pilots times steering add all elements of a path in phase.
    drawn = scattered.directions

    def without_spread(*given):
        angles, spreads = drawn(*given)
        return angles, 0 * spreads

    monkeypatch.setattr(scattered, "directions", without_spread)
    batch = ScatteredTask(side=4, users=2, pilot_db=(300.0, 300.0)).systems("test", 3)
    a, b = (batch.steering[:, 0, i] + 1j * batch.steering[:, 0, i + 1] for i in (0, 2))
    assert_allclose(np.abs(np.stack([a, b])), 1, rtol=1e-6)
    for surface, (h, G) in enumerate(((batch.h1, batch.G1), (batch.h2, batch.G2))):
        at = slice(3 * surface, 3 * surface + 3)
        x = (a[at].reshape(3, 1, 16) * h.conj()) / np.abs(h)
        assert_allclose(np.abs((h * x) @ G), (np.abs(h)[..., None] * np.abs(G)[:, None]).sum(2), rtol=1e-5)
    D = batch.D.left @ batch.D.right
    x1, x2 = b[:3].reshape(3, 1, 16), (b[3:].reshape(3, 1, 16) * batch.h2.conj()) / np.abs(batch.h2)
    through = ((batch.h2 * x2) @ D * x1) @ batch.G1
    whole = (np.abs(batch.h2) @ np.abs(D)) @ np.abs(batch.G1)
    assert_allclose(np.abs(through), whole, rtol=1e-5)


def test_coarse_maps_are_every_sth_element():
    full = ScatteredTask(side=8, users=2)
    batch, coarse = full.systems("validation", 2), CoarseTask(full, 4).systems("validation", 2)
    assert_array_equal(coarse.maps, batch.maps[..., [0, 4], :][..., [0, 4]])
    x = np.exp(1j * np.random.default_rng(4).uniform(-3, 3, (4, 8, 8)))
    assert_array_equal(coarse.rates(x), batch.rates(x))
    assert_array_equal(coarse.known_rates(x), batch.known_rates(x))
    assert (CoarseTask(full, 4).channels, CoarseTask(full, 4).side) == (10, 8)


def test_tasks_take_turns():
    tasks = [CoarseTask(ScatteredTask(side=side), side // 4) for side in (4, 8, 12)]
    turns = TakingTurns(tasks)
    for step, side in enumerate((4, 8, 12, 4)):
        made = turns.training_batch(step, 2, seed=1)
        assert made.full.maps.shape[-1] == side
        assert_array_equal(made.maps, tasks[step % 3].training_batch(step, 2, seed=1).maps)
    assert turns.systems("test", 1).full.maps.shape[-1] == turns.side == 12
    assert (turns.name, turns.channels) == ("scattered", 10)


def test_low_rank_in_torch():
    batch = on_device(ScatteredTask(side=2).systems("test", 2), "cpu")
    assert isinstance(batch.D, LowRank)
    assert batch.D.left.dtype == torch.complex64
    x = torch.ones(4, 2, 2, dtype=torch.complex64)
    assert batch.rates(x).shape == (2, 4)
