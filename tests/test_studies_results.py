"""Running a study, result files and their readers, tables and the budget."""

import csv
import dataclasses
import io
import math
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from rich.console import Console
from small_study import TEXT, changed

import channels
import ris
from studies.build import build
from studies.config import parse_study
from studies.errors import OutputError, ResultFileError
from studies.files import prepare_outputs, seal
from studies.link_budget import link_budget
from studies.quantities import PARTS, QUANTITIES, z_values
from studies.report import z_table, z_tests
from studies.results import read_result
from studies.run import Plan, run_study
from studies.transmission import power_and_noise

STUDY = parse_study(TEXT, "small")


@pytest.fixture(scope="module")
def result():
    return run_study(STUDY, workers=1)


@pytest.fixture
def file(result, tmp_path):
    path = tmp_path / "small.h5"
    result.write(path)
    return path


def test_values_are_those_of_the_library(result):
    for scheme in (0, 1):
        for i, value in enumerate(STUDY.values()):
            point = STUDY.point(scheme, value)
            system, theta1, theta2 = build(point)
            power, noise = power_and_noise(point.transmission)
            rate = ris.closed_form_rate(system, theta1, theta2, power=power, noise_power=noise)
            np.testing.assert_array_equal(result.data["hardening_rate", "closed_form"][scheme, i], rate)
            assert result.data["hardening_sum_rate", "closed_form"][scheme, i] == rate.sum()
            moments = ris.closed_form_moments(system, theta1, theta2)
            closed = result.data["interference", "closed_form"][scheme, i]
            np.testing.assert_array_equal(closed, moments.interference)
            simulated = ris.simulate(
                system,
                theta1,
                theta2,
                power=power,
                noise_power=noise,
                realizations=400,
                seed=channels.Stream(7, "power_dbm", repr(float(value))),
            )
            estimate = simulated.ergodic_rate
            np.testing.assert_array_equal(result.data["ergodic_rate", "simulated"][scheme, i], estimate.value)
            np.testing.assert_array_equal(
                result.data["ergodic_rate", "standard_error"][scheme, i], estimate.standard_error
            )


def test_z_is_the_distance_in_standard_errors(result):
    for name, quantity in QUANTITIES.items():
        if quantity.closed:
            closed, simulated, error, z = (result.data[name, part] for part in PARTS[:4])
            np.testing.assert_allclose(z, (simulated - closed) / error, rtol=1e-12)
    np.testing.assert_array_equal(z_values([1, 1, 1], [1, 2, 1], [0, 0, 3]), [0, math.inf, 0])


def test_z_tests_name_the_worst(result):
    tests, threshold = z_tests(result)
    assert len(tests) == 2 * sum(quantity.closed for quantity in QUANTITIES.values())
    for test in tests:
        z = result.data[test.quantity, "z"][STUDY.schemes.index(test.scheme)]
        assert abs(test.worst) == np.abs(z).max()
        assert test.comparisons == z.size
    total = sum(test.comparisons for test in tests)
    assert math.erfc(threshold / math.sqrt(2)) * total == pytest.approx(1e-3, rel=1e-6)


@pytest.mark.parametrize(("z", "words"), [(4.0, "Agreement: "), (6.0, "DISAGREEMENT: ")])
def test_the_z_table_gives_a_verdict(result, z, words):
    values = np.where(np.arange(2 * 3).reshape(2, 3) == 4, -z, 0.0)
    zeros = {key: 0 * value for key, value in result.data.items()}
    changed_result = dataclasses.replace(result, data={**zeros, ("hardening_sum_rate", "z"): values})
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(z_table(changed_result))
    told = console.export_text()
    assert f"{words}largest |z| {z:.2f}" in told
    assert ("--realizations" in told) == (z > 5)


def test_threads_do_not_change_results(result):
    for other in (run_study(STUDY, workers=2), run_study(STUDY, workers=3)):
        for key, values in result.data.items():
            np.testing.assert_array_equal(other.data[key], values)


def test_schemes_share_random_numbers_and_points_keep_theirs(result):
    streams = [course.payload.stream for _, course in Plan.of(STUDY).courses()]
    assert streams[::2] == streams[1::2]
    assert len(set(streams)) == 3
    quick = run_study(STUDY, quick=True, realizations=400, workers=1)
    for key, values in quick.data.items():
        np.testing.assert_array_equal(values, result.data[key][:, 1:])
    assert quick.quick
    assert list(quick.values) == [0, 10]


def test_seed_and_realizations_override_those_of_the_study():
    other = run_study(STUDY, quick=True, seed=8, realizations=50, workers=1)
    assert (other.seed, other.realizations) == (8, 50)
    default = run_study(STUDY, quick=True, workers=1)
    assert (default.seed, default.realizations) == (7, 100)
    key = "mean_gain", "simulated"
    assert not np.allclose(other.data[key], default.data[key])


def test_progress_ends_at_one():
    shares = []
    run_study(STUDY, quick=True, workers=1, progress=lambda status: shares.append(status.share))
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_users_may_differ_between_schemes():
    text = changed(
        ("ris1_user_db = [0, -3]", "ris1_user_db = 0"), ("set = { links", "set = { users = 1, links")
    )
    found = run_study(parse_study(text, "small"), quick=True, workers=1)
    assert np.isnan(found.data["mean_gain", "simulated"][1, :, 1]).all()
    assert np.isfinite(found.data["mean_gain", "simulated"][1, :, 0]).all()
    assert np.isfinite(found.data["interference", "z"][0]).all()
    tests, _ = z_tests(found)
    assert all(np.isfinite(test.worst) for test in tests)


def test_engines_are_schemes():
    text = changed(('links = ["double"]', 'engine = "explicit", links = ["double"]'))
    study = parse_study(text, "small")
    assert [study.point(i, 0).simulation.engine for i in (0, 1)] == ["reduced", "explicit"]
    other = run_study(study, quick=True, workers=1).data["mean_gain", "simulated"]
    default = run_study(STUDY, quick=True, workers=1).data["mean_gain", "simulated"]
    np.testing.assert_array_equal(other[0], default[0])
    assert not np.array_equal(other[1], default[1])


def test_long_study_files_fit_into_results(tmp_path):
    study = parse_study(TEXT + "# long " * 30_000, "small")
    run_study(study, quick=True, workers=1).write(tmp_path / "long.h5")
    assert read_result(tmp_path / "long.h5").study == study


def test_nominal_csi_runs():
    text = changed(("noise_power_dbm = 0", 'noise_power_dbm = 0\ncsi = "nominal"'))
    study = parse_study(text, "small")
    found = run_study(study, quick=True, realizations=2000).data
    system, theta1, theta2 = build(study.point(0, 0))
    moments = ris.closed_form_moments(system, theta1, theta2, "nominal")
    np.testing.assert_array_equal(found["mean_gain", "closed_form"][0, 0], moments.mean_gain)
    assert np.abs(found["mean_gain", "z"]).max() < 6.5


# Files --------------------------------------------------------------------------------------------------


def test_round_trip(result, file):
    again = read_result(file)
    assert again.study == result.study
    for name in ("seed", "realizations", "quick", "wall_time_s", "versions", "fingerprint"):
        assert getattr(again, name) == getattr(result, name)
    np.testing.assert_array_equal(again.counts, result.counts)
    np.testing.assert_array_equal(again.reasons, result.reasons)
    assert again.data.keys() == result.data.keys()
    for key, values in result.data.items():
        np.testing.assert_array_equal(again.data[key], values)


def test_xarray_sees_labelled_axes_and_units(result, file):
    with xarray.open_dataset(file, engine="h5netcdf") as data:
        rate = data.hardening_sum_rate_closed_form
        assert rate.dims == ("scheme", "power_dbm")
        assert (
            float(rate.sel(scheme="double", power_dbm=10))
            == result.data["hardening_sum_rate", "closed_form"][1, 2]
        )
        assert rate.attrs["units"] == "bit/s/Hz"
        assert data.power_dbm.attrs == {"long_name": "Transmit power", "units": "dBm"}
        assert data.interference_z.dims == ("scheme", "power_dbm", "user", "other_user")
        assert list(data.user) == [1, 2]
        assert data.attrs["configuration"] == TEXT
        assert (data.attrs["seed"], data.attrs["realizations"]) == (7, 400)
        assert data.attrs["wall_time_s"] > 0
        assert {"version_python", "version_numpy", "version_numba", "version_double_ris"} <= set(data.attrs)


def test_plain_h5py_reads_it(result, file):
    with h5py.File(file) as data:
        found = data["mean_gain_simulated"]
        np.testing.assert_array_equal(found, result.data["mean_gain", "simulated"])
        assert [found.dims[i][0].name for i in range(3)] == ["/scheme", "/power_dbm", "/user"]
        assert [label.decode() for label in data["scheme"]] == ["all", "double"]
        assert data.attrs["title"] == "A small study"


def test_dotted_axes_name_a_dimension(tmp_path):
    text = changed(
        ('axis = "power_dbm"', 'axis = "system.bs.spacing"'),
        ("[-10, 0, 10]", "[0.5, 1]"),
        ("[0, 10]", "[0.5]"),
    )
    found = run_study(parse_study(text, "small"), quick=True, workers=1)
    found.write(tmp_path / "a.h5")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as data:
        assert data.hardening_sum_rate_z.dims == ("scheme", "system_bs_spacing")
    assert list(read_result(tmp_path / "a.h5").values) == [0.5]


def test_truncated_files_are_refused(file, tmp_path):
    content = file.read_bytes()
    cut = tmp_path / "cut.h5"
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(ResultFileError, match=r"cut\.h5: "):
            read_result(cut)


def test_flipped_numbers_are_found(result, file):
    value = result.data["hardening_sum_rate", "simulated"][0, 1].tobytes()
    content = file.read_bytes()
    assert value in content
    at = content.index(value)
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(ResultFileError, match="damaged"):
        read_result(file)


@pytest.mark.parametrize(("name", "value"), [("schema_version", 99), ("format", "other")])
def test_other_formats_and_versions_are_refused(file, name, value):
    with h5py.File(file, "r+") as data:
        data.attrs[name] = value
    with pytest.raises(ResultFileError, match=r"cut short|damaged"):
        read_result(file)
    seal(file)
    with pytest.raises(ResultFileError, match=r"schema version 99|not a result file"):
        read_result(file)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ResultFileError, match="no such file"):
        read_result(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "plain.h5", "w") as data:
        data["x"] = [1, 2]
    with pytest.raises(ResultFileError, match=r"plain\.h5"):
        read_result(tmp_path / "plain.h5")
    with pytest.raises(ResultFileError):
        read_result(tmp_path)


def test_writing_is_atomic(result, tmp_path, monkeypatch):
    path = tmp_path / "small.h5"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        result.write(path)
    assert os.listdir(tmp_path) == ["small.h5"]
    assert path.read_text() == "old"


def test_outputs_are_prepared_before_the_work(tmp_path):
    there = tmp_path / "there.h5"
    there.touch()
    with pytest.raises(OutputError, match=r"there\.h5 already there: give --force"):
        prepare_outputs([there, tmp_path / "new.h5"])
    prepare_outputs([there], force=True)
    prepare_outputs([tmp_path / "a" / "b" / "c.h5"])
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(OutputError, match="cannot write into"):
        prepare_outputs([there / "c.h5"])


def test_csv_is_one_tidy_table(result, tmp_path):
    path = tmp_path / "small.csv"
    result.write_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    per_point = 4 + 4 * 2 + 2 * 2
    assert len(rows) == 2 * 3 * per_point
    chosen = [
        row
        for row in rows
        if (row["scheme"], float(row["power_dbm"]), row["quantity"]) == ("double", 10, "interference")
    ]
    assert [(row["user"], row["other_user"]) for row in chosen] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]
    for row, closed, z in zip(
        chosen,
        result.data["interference", "closed_form"][1, 2].ravel(),
        result.data["interference", "z"][1, 2].ravel(),
        strict=True,
    ):
        assert (float(row["closed_form"]), float(row["z"])) == (closed, z)
    ergodic = next(row for row in rows if row["quantity"] == "ergodic_sum_rate")
    assert (ergodic["closed_form"], ergodic["user"], ergodic["units"]) == ("", "", "bit/s/Hz")


# The link budget ----------------------------------------------------------------------------------------


def test_link_budget_adds_up():
    point = STUDY.point(0, 10)
    system, theta1, theta2 = build(point)
    budget = link_budget(point)
    gain = ris.closed_form_moments(system, theta1, theta2).mean_gain.mean()
    assert budget.total_db == pytest.approx(10 * np.log10(gain), abs=1e-9)
    assert sum(10 ** (db / 10) for db in budget.paths.values()) == pytest.approx(gain)
    assert budget.snr_db == pytest.approx(10 + budget.total_db)
    assert budget.hops["ris1_user"] == "0, -3 dB"
    assert list(link_budget(STUDY.point(1, 0)).paths) == ["double"]


def test_known_gain_of_the_double_reflection():
    # Uncorrelated fading without noise: E|h|^2 = M N1 N2 times the gains.
    text = changed(('{ law = "isotropic" }', '{ law = "identity" }'))
    budget = link_budget(parse_study(text, "small").point(1, 0))
    assert budget.paths["double"] == pytest.approx(10 * np.log10(2 * 4 * 4) - 3, abs=1e-9)
