"""Sweeps over several axes, zipped axes, and axes of texts and lists."""

import io

import h5py
import numpy as np
import pyfive
import pytest
import xarray
from rich.console import Console
from sweeps import METRICS, ONE_AXIS, study_text

from studies import plots, report
from studies.config import parse_study
from studies.curves import draw_axes
from studies.errors import StudyFileError
from studies.results import read_result
from studies.run import run_study

GRID = """[sweep]
axes = [
    { axis = "power_dbm", values = [0, 10, 20], quick_values = [0, 10] },
    { axis = "system.bs.antennas", values = [2, 3, 4], quick_values = [3, 4] },
    { axis = "links", values = [["direct"], ["direct", "double"]] },
]
zip = ["power_dbm", "system.bs.antennas"]"""


@pytest.fixture(scope="module")
def result():
    return run_study(parse_study(study_text(GRID, METRICS, realizations=60), "grid"))


def test_places():
    study = parse_study(study_text(GRID), "grid")
    assert list(study.places(quick=True)) == [
        (0, 3, ["direct"]),
        (0, 3, ["direct", "double"]),
        (10, 4, ["direct"]),
        (10, 4, ["direct", "double"]),
    ]
    point = study.point(1, 10, 4, ["direct"])
    assert (point.transmission.power_dbm, point.system.bs.antennas, point.system.links) == (10, 4, ["direct"])


def test_dimensions_and_coordinates(result, tmp_path):
    path = tmp_path / "grid.h5"
    result.write(path)
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert dict(data.outage_simulated.sizes) == {"scheme": 2, "power_dbm": 3, "links": 2, "user": 2}
        assert list(data.system_bs_antennas.values) == [2, 3, 4]
        assert data.system_bs_antennas.dims == ("power_dbm",)
        assert list(data.links.values) == ["direct", "direct, double"]
        assert data.sinr_quantile_simulated.dims[-2:] == ("quantile", "user")
        chosen = data.hardening_sum_rate_closed_form.sel(scheme="noise", power_dbm=10, links="direct")
        assert float(chosen) == result.data["hardening_sum_rate", "closed_form"][0, 1, 0]
    again = read_result(path)
    assert again.data.keys() == result.data.keys()
    # A second reader, which shares no code with HDF5.
    with pyfive.File(path) as other, h5py.File(path) as file:
        for name in ("hardening_sum_rate_simulated", "power_dbm", "realizations", "outage_difference"):
            np.testing.assert_array_equal(other[name][...], file[name][...])
        assert dict(other["mean_gain_simulated"].attrs)["units"] in ("1", b"1")


def test_a_zipped_sweep_is_the_diagonal_of_the_grid(result):
    whole = GRID.replace('zip = ["power_dbm", "system.bs.antennas"]', "")
    grid = run_study(parse_study(study_text(whole, METRICS, realizations=60), "grid"))
    for key in (("mean_gain", "closed_form"), ("ergodic_sum_rate", "simulated"), ("outage", "difference")):
        diagonal = np.moveaxis(np.diagonal(grid.data[key], axis1=1, axis2=2), -1, 1)
        np.testing.assert_array_equal(diagonal, result.data[key])


def test_tables_and_pictures(result):
    console = Console(record=True, width=250, file=io.StringIO())
    console.print(report.rate_tables(result), report.z_table(result))
    told = console.export_text()
    assert "system_bs_antennas" in told
    assert "direct, double" in told
    figure = plots.draw(result)
    assert len(figure.axes) == 1
    axes = draw_axes(result, "links", "outage", "power_dbm").axes[0]
    assert axes.get_title() == "scheme = noise; user = 1"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["direct", "direct, double"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"power_dbm = {x}" for x in (0.0, 10.0, 20.0)
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("axes = []", "sweep.axes: expected at least 1 entry"),
        (
            'axis = "power_dbm"\nvalues = [1]\naxes = [{ axis = "bits", values = [1] }]',
            "sweep.axis: expected nothing",
        ),
        ('axis = "power_dbm"', "sweep.values: expected a value, got nothing"),
        (
            'axes = [{ axis = "power_dbm", values = [2, 1] }]',
            "sweep.axes.0.values: expected increasing numbers",
        ),
        ('axes = [{ axis = "csi", values = ["perfect", "perfect"] }]', "expected values that differ"),
        ('axes = [{ axis = "csi", values = ["perfect", "none"] }]', "transmission.csi: expected 'perfect'"),
        (
            'axes = [{ axis = "bits", values = [1] }, { axis = "phases.bits", values = [1] }]',
            "sweep.axes: expected phases.bits once",
        ),
        (
            'axis = "power_dbm"\nvalues = [1]\nzip = ["bits"]',
            "sweep.zip: expected axes of the sweep, got 'bits'",
        ),
        (
            "zip = ['bits', 'csi']\naxes = [{axis='bits', values=[1]}, {axis='csi', values=['a', 'b']}]",
            "sweep.zip: expected axes of one length, got lengths [1, 2]",
        ),
        (
            "axes = ["
            + ", ".join(
                f'{{ axis = "{name}", values = {list(range(1, 51))} }}'
                for name in ("power_dbm", "antennas", "transmission.noise_power_dbm", "users")
            )
            + "]",
            "sweep: expected at most 100000 points",
        ),
    ],
)
def test_bad_sweeps(table, message):
    with pytest.raises(StudyFileError) as caught:
        parse_study(study_text(f"[sweep]\n{table}"), "s")
    assert message in str(caught.value)


def test_axes_that_schemes_set():
    with pytest.raises(StudyFileError, match="expected a key that the sweep of phase_noise leaves alone"):
        parse_study(study_text('[sweep]\naxis = "phase_noise"\nvalues = ["a"]'), "s")
    assert parse_study(study_text(ONE_AXIS), "s").values() == [0, 10, 20]
