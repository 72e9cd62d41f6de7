"""The benchmark of the engines: its NumPy ways have the right law, its outputs say what was measured."""

import importlib.metadata

import h5py
import numpy as np
import pytest

import channels
import ris
from studies.benchmarks.baselines import HopMatrices, ReducedNumPy, UserSide
from studies.benchmarks.engine import ALL_HOPS, REDUCED, EngineBenchmark, Measurement, _bound, _measure
from studies.benchmarks.peers import sionna_version

WAYS = [HopMatrices, UserSide, ReducedNumPy]


@pytest.mark.parametrize("way", WAYS)
def test_baselines_have_the_law_of_the_model(way):
    """Mean gain and interference against the closed form, 6.5 standard errors."""
    R = channels.isotropic_correlation(channels.UniformPlanarArray(2, 3, 0.25))
    RB = channels.exponential_correlation(4, 0.5)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, RB, R),
        ris1_ris2=channels.Hop(1.0, R, R),
        ris2_user=channels.UserHop(np.ones(3), R),
        phase_noise1=channels.VonMises(2.0),
        phase_noise2=channels.VonMises(2.0),
    )
    exact = ris.closed_form_moments(system, np.zeros(6), np.zeros(6))
    h = way(np.asarray(R), np.asarray(RB), users=3, kappa=2.0, seed=5).draw(40_000)
    products = np.abs(np.swapaxes(h.conj(), 1, 2) @ h) ** 2
    gains = np.sum(np.abs(h) ** 2, axis=1)
    for observed, expected in ((gains, exact.mean_gain), (products, exact.interference)):
        error = observed.std(axis=0) / np.sqrt(len(observed))
        assert np.all(np.abs(observed.mean(axis=0) - expected) < 6.5 * error)


@pytest.fixture
def benchmark():
    rows = [
        Measurement("NumPy, hop matrices", 64, 2, (10.0, 30.0, 20.0), 1e8),
        Measurement(REDUCED, 64, 1, (400.0,), 2e8),
        Measurement(REDUCED, 64, 2, (600.0, 800.0, 1000.0), 2e8),
        Measurement(ALL_HOPS, 64, 2, (400.0,), 2e8),
    ]
    sizes = [
        Measurement(REDUCED, 256, 2, (160.0,), 2e8),
        Measurement(REDUCED, 1024, 2, (160.0,), 2e8),
        Measurement(REDUCED, 4096, 2, (40.0,), 2e8),
        Measurement(REDUCED, 16384, 2, (10.0,), 5e8),
    ]
    return EngineBenchmark(rows, sizes, {64: 800.0}, 2, {"processor": "one of them"})


def test_tables(benchmark):
    assert benchmark.exponent == pytest.approx(1.0)
    text = benchmark.text()
    assert "| 64 | NumPy, hop matrices      | 2       | 20             | 40 " in text
    assert "50 %" in text
    assert "| 64 | Sionna, composed by hand |         | not installed  |" in text
    assert "Exponent from N = 1024 on: 1.00" in text
    assert "| 64 | 2       | 800            | 2.00          | 2.00 " in text


def test_file(benchmark, tmp_path):
    benchmark.write(tmp_path / "engine.nc")
    with h5py.File(tmp_path / "engine.nc") as file:
        assert file.attrs["processor"] == "one of them"
        assert file["way"].asstr()[1] == REDUCED
        np.testing.assert_array_equal(file["rate"][0], [10.0, 30.0, 20.0])
        np.testing.assert_array_equal(file["elements"][-3:], [1024, 4096, 16384])
        assert file["bound"][0] == 800.0


def test_processes_measure_rates_and_memory():
    (one,) = _measure([(REDUCED, 16, 1)], turns=2, seconds=0.01)
    assert len(one.rates) == 2
    assert min(one.rates) > 0
    assert one.peak_memory > 1e7
    assert _bound(16) > 0


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ({}, None),
        ({"sionna": "1.2.1"}, None),
        ({"sionna-no-rt": "2.2.0"}, "2.2.0"),
        ({"sionna": "3.0"}, "3.0"),
    ],
)
def test_a_sionna_built_on_torch_is_found(monkeypatch, installed, found):
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert sionna_version() == found
