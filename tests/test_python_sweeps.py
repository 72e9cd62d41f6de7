"""Sweeps of Python functions, and metrics of users' own."""

import math

import h5py
import numpy as np
import pytest
import xarray
from sweeps import ONE_AXIS, same_data, study_text

import channels
import ris
import studies
from channels.errors import InvalidArgumentError
from studies.config import parse_study
from studies.errors import CheckpointError, OutputError, StudyFileError
from studies.metrics import METRICS, Observer, inverse, quantile


def exponential(draws, mean, power):
    return draws.generator.exponential(mean, draws.realizations) ** power


def gain(draws, antennas):
    system = ris.DoubleRIS(bs_user=channels.UserHop([1.0], np.eye(antennas)))
    h = ris.draw_channels(system, realizations=draws.realizations, seed=draws.stream, first=draws.first)
    return np.sum(np.abs(h[..., 0]) ** 2, axis=1)


def area(x, y):
    return x * y


def pair(x):
    return [x, x**2]


def jumps(draws):
    return draws.generator.standard_normal(draws.realizations) ** 9


def test_plain_functions():
    found = studies.sweep(area, {"x": [1, 2], "y": [3, 4, 5]})
    np.testing.assert_array_equal(found.value, np.outer([1, 2], [3, 4, 5]))
    assert np.isnan(found.standard_error).all()
    zipped = studies.sweep(area, {"x": [1, 2], "y": [3, 5]}, zipped=["x", "y"])
    np.testing.assert_array_equal(zipped.value, [3, 10])
    np.testing.assert_array_equal(studies.sweep(pair, {"x": [2, 3]}).value, [[2, 4], [3, 9]])
    words = studies.sweep(lambda name: len(name), {"name": ["a", "bcd"]})
    np.testing.assert_array_equal(words.value, [1, 3])


def test_means_over_realizations():
    found = studies.sweep(exponential, {"mean": [1, 2], "power": [1, 2]}, realizations=20_000, block=500)
    truth = np.array([[1, 2], [2, 8]])
    assert np.all(np.abs(found.value - truth) < 6.5 * found.standard_error)
    np.testing.assert_allclose(
        found.standard_error[:, 0], [1 / math.sqrt(20_000), 2 / math.sqrt(20_000)], rtol=0.1
    )
    # Points share their realizations.
    np.testing.assert_allclose(found.value[1], found.value[0] * [2, 4])


def test_engines_and_resume_give_the_same_bits(tmp_path):
    axes = {"antennas": [1, 2, 4]}
    options = {"realizations": 2000, "block": 40, "relative_half_width": 0.03}
    expected = studies.sweep(gain, axes, **options)
    assert set(expected.reasons) == {"half_width", "max_realizations"}
    out = tmp_path / "gain.h5"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studies.sweep(gain, axes, **options, out=out, progress=interrupt)
    assert (tmp_path / "gain.partial").exists()
    assert not out.exists()
    with pytest.raises(CheckpointError, match="seed: 1 there, 2 now"):
        studies.sweep(gain, axes, **options, out=out, seed=2)
    for found in (
        studies.sweep(gain, axes, **options, out=out, engine="processes", workers=2),
        studies.sweep(gain, axes, **options, out=out),
    ):
        for name in ("value", "standard_error", "counts", "reasons"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert [path.name for path in tmp_path.iterdir()] == ["gain.h5"]
    with xarray.open_dataset(out, engine="h5netcdf") as data:
        assert data.value.dims == ("antennas",)
        np.testing.assert_array_equal(data.value, expected.value)
    with pytest.raises(OutputError, match="of another sweep"):
        studies.sweep(gain, axes, **options, out=out, seed=2)


def test_bad_sweeps():
    for options, argument in (
        ({"axes": {}}, "axes"),
        ({"axes": {"x": [2, 1]}}, "axes"),
        ({"axes": {"x": []}}, "axes"),
        ({"axes": {"x": [1]}, "zipped": ["y"]}, "axes"),
        ({"axes": {"x": [1]}, "half_width": 1}, "realizations"),
        ({"axes": {"x": [1]}, "realizations": 1}, "realizations"),
        ({"axes": {"x": [1]}, "realizations": 9, "half_width": 1, "relative_half_width": 1}, "half_width"),
        ({"axes": {"x": [1]}, "realizations": 9}, "metric"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            studies.sweep(lambda *_, x: [x, x] if x else math.nan, **options)
        assert caught.value.argument == argument
    with pytest.raises(InvalidArgumentError, match="finite"):
        studies.sweep(lambda x: math.nan, {"x": [1]})


# Metrics ------------------------------------------------------------------------------------------------


def fairness(sinr):
    return sinr.min(axis=1) / sinr.max(axis=1)


@pytest.fixture
def registered():
    studies.register_metric("fairness", fairness, long_name="smallest over largest SINR")
    yield
    del METRICS["fairness"]


def test_registered_metrics(registered, tmp_path):
    study = parse_study(study_text(ONE_AXIS, '[metrics]\nregistered = ["fairness"]'), "s")
    found = studies.run_study(study)
    value = found.data["fairness", "simulated"]
    assert np.all((value > 0) & (value < 1))
    assert np.all(found.data["fairness", "difference_standard_error"][1] > 0)
    assert same_data(studies.run_study(study, engine="processes", workers=2), found)
    found.write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["fairness_simulated"].attrs["long_name"] == "smallest over largest SINR: simulated"


def test_bad_metrics(registered):
    for name in ("fairness", "outage", "mean_gain", "two words"):
        with pytest.raises(InvalidArgumentError, match="name"):
            studies.register_metric(name, fairness)
    with pytest.raises(
        StudyFileError, match=r"metrics\.registered\.0: expected a metric that register_metric"
    ):
        parse_study(study_text(ONE_AXIS, '[metrics]\nregistered = ["unknown"]'), "s")
    METRICS["bad"] = type(METRICS["fairness"])("bad", lambda sinr: sinr, "1", "bad")
    study = parse_study(study_text(ONE_AXIS, '[metrics]\nregistered = ["bad"]'), "s")
    with pytest.raises(InvalidArgumentError, match="bad: expected"):
        studies.run_study(study)
    del METRICS["bad"]


def test_observer_against_plain_numpy():
    rng = np.random.default_rng(1)
    rates = rng.exponential(size=(1000, 2))
    observer = Observer(2, 0.7, True, ())
    rows = np.concatenate([observer(rates[:300]), observer(rates[300:])])
    np.testing.assert_array_equal(rows[:, observer.columns["minimum_rate"]][:, 0], rates.min(axis=1))
    np.testing.assert_array_equal(rows[:, observer.columns["outage"]], rates < 0.7)
    sinr_db = 10 * np.log10(2**rates - 1)
    for share in (0.05, 0.5, 0.9):
        estimate = quantile(observer.counts, share)
        exact = np.quantile(sinr_db, share, axis=0)
        assert np.all(np.abs(estimate.value - exact) < 0.2)
        low, high = (
            np.quantile(sinr_db, share + sign * math.sqrt(share * (1 - share) / 1000), axis=0)
            for sign in (-1, 1)
        )
        np.testing.assert_allclose(estimate.standard_error, (high - low) / 2, atol=0.2)
    assert inverse(observer.counts, np.array([1.0, 1.0])).max() >= sinr_db.max()


def test_paired_errors_are_those_of_repeated_studies():
    """Standard errors of differences against the spread over seeds: z of a variance of 30 values."""
    study = parse_study(
        study_text('[sweep]\naxis = "power_dbm"\nvalues = [10]', realizations=400, block=20), "s"
    )
    found = [studies.run_study(study, seed=seed).data for seed in range(30)]
    for name in ("hardening_sum_rate", "ergodic_sum_rate", "minimum_rate", "mean_gain"):
        difference = np.array([one[name, "difference"][1, 0] for one in found])
        error = np.array([one[name, "difference_standard_error"][1, 0] for one in found])
        ratio = difference.var(axis=0, ddof=1) / np.mean(error**2, axis=0)
        assert np.all(np.abs(np.log(ratio)) < 6.5 * math.sqrt(2 / 29)), (name, ratio)
        levels = np.array([one[name, "standard_error"][:, 0] for one in found])
        if name != "hardening_sum_rate":
            assert np.mean(error) < 0.7 * np.mean(levels) * math.sqrt(2), name
