"""Experiments: the named ones agree with their references, and find an error; checks, files and commands."""

import csv
import dataclasses
import importlib
import itertools
import math
import re

import h5netcdf
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ellipe, ellipk, j0, k1

import channels
from channels.errors import InvalidArgumentError
from studies.citations import BIBTEX
from studies.cli import run_command
from studies.cli.catalogue import title_of
from studies.errors import OutputError, ResultFileError
from studies.experiment import (
    Check,
    Experiment,
    Outcome,
    farthest,
    is_experiment_file,
    load_experiment,
    read_experiment,
    run_experiment,
)
from studies.experiments import (
    correlation_gain,
    double_scaling,
    hardening,
    named_experiments,
    near_field,
    phase_hopping,
)
from studies.experiments._moduli import mean_product
from studies.files import seal
from studies.plots import write_figure
from studies.results import versions

NAMES = list(named_experiments())
CLAIMS = [name for name in NAMES if name.startswith("claims/")]
FIGURES = [name for name in NAMES if name not in CLAIMS]

# --- checks


def check(ours, relation="equals", **more):
    return Check("x", ours, 2.0, "somewhere", relation, **more)


@pytest.mark.parametrize(
    ("passes", "one"),
    [
        (True, check(2.0)),
        (False, check(2.0 + 1e-9)),
        (True, check(2.05, tolerance=0.06)),
        (False, check(2.05, tolerance=0.04)),
        (True, check(1.9, tolerance=0.05, half_width=0.06)),
        (False, check(1.9, tolerance=0.03, half_width=0.06)),
        (True, check(2.0, "at least")),
        (True, check(2.2, "at least", half_width=0.1)),
        (False, check(2.2, "at least", half_width=0.3)),
        (True, check(2.2, "at least", half_width=0.3, tolerance=0.2)),
        (False, check(1.9, "at least")),
        (True, check(1.8, "at most", half_width=0.1)),
        (False, check(1.8, "at most", half_width=0.3)),
        (False, check(math.nan)),
        (False, check(math.nan, "at least")),
        (False, check(2.0, half_width=math.nan)),
        (False, check(1.0, "at most", half_width=math.nan)),
    ],
)
def test_checks(passes, one):
    assert one.passed == passes


@pytest.mark.parametrize(
    ("verdict", "one"),
    [
        ("passed", check(2.3, "at least", half_width=0.2)),
        ("not sure", check(2.1, "at least", half_width=0.2)),
        ("not sure", check(1.9, "at least", half_width=0.2)),
        ("FAILED", check(1.7, "at least", half_width=0.2)),
        ("not sure", check(1.7, "at least", half_width=0.2, tolerance=0.2)),
        ("not sure", check(2.1, "at most", half_width=0.2)),
        ("FAILED", check(2.3, "at most", half_width=0.2)),
        ("FAILED", check(2.1, "at most")),
        ("FAILED", check(2.3, half_width=0.2)),
        ("FAILED", check(2.1, "at least", half_width=math.nan)),
    ],
)
def test_verdicts(verdict, one):
    assert one.verdict == verdict


@pytest.mark.parametrize("relation", ["at least", "at most"])
def test_the_side_of_an_interval_towards_the_threshold_decides(relation):
    """In all intervals with ends below, at and above the threshold, as if it had but one side."""
    ahead, behind = ("passed", "FAILED") if relation == "at least" else ("FAILED", "passed")
    for value, low, high, verdict in (
        (2.5, 2.1, 9.0, ahead),
        (2.5, 1.9, 2.6, "not sure"),
        (1.5, 0.0, 1.9, behind),
        (1.5, 1.4, 2.1, "not sure"),
    ):
        assert Check.of("x", (value, low, high), 2.0, "somewhere", relation).verdict == verdict


def test_farthest_is_the_one_nearest_to_failure():
    passed = [check(2.01, tolerance=0.1), check(2.02, tolerance=0.03), check(1.95, tolerance=0.2)]
    assert farthest(passed) == dataclasses.replace(passed[1], quantity="x (farthest of 3)")
    failed = check(2.0, half_width=math.nan)
    assert not farthest([*passed, failed]).passed
    assert farthest([check(2.0), check(2.0)]).passed


# --- the named experiments


@pytest.mark.parametrize("name", FIGURES)
def test_named_experiments_agree_and_are_drawn(name, tmp_path):
    result = run_experiment(name, seed=20, quick=True)
    assert [check.quantity for check in result.outcome.checks if not check.passed] == []
    is_kept_and_drawn(result, name, tmp_path)


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_measured_and_drawn(name, tmp_path, monkeypatch):
    """Networks of a few steps show that all works, not that a claim holds."""
    monkeypatch.chdir(tmp_path)
    done = [0.0]
    result = run_experiment(name, seed=20, quick=True, progress=lambda share, _: done.append(share))
    assert done == sorted(done)
    assert done[-1] <= 1
    assert all(math.isfinite(check.ours) for check in result.outcome.checks)
    is_kept_and_drawn(result, name, tmp_path)


def is_kept_and_drawn(result, name, tmp_path):
    assert all(check.source for check in result.outcome.checks)
    for dimensions, values, _ in result.outcome.data.values():
        assert len(dimensions) == values.ndim
    path = tmp_path / "result.h5"
    result.write(path)
    read = read_experiment(path)
    assert read.outcome.checks == result.outcome.checks
    assert read.is_of(name, 20, True)
    assert not read.is_of(name, 21, True)
    assert not read.is_of(name, 20, False)
    write_figure(read.draw, tmp_path / "a.png", tmp_path / "a.pdf")
    assert (tmp_path / "a.png").stat().st_size > 20_000
    for name, values in result.outcome.values.items():
        assert_array_equal(read.outcome.values[name], values)


@pytest.mark.parametrize("name", NAMES)
def test_titles_are_read_without_import(name):
    title, description = title_of(named_experiments()[name])
    module = importlib.import_module("studies.experiments." + name.replace("/", "."))
    assert module.__doc__.startswith(title)
    assert set(module.EXPERIMENT.papers) <= set(BIBTEX)
    assert 20 < len(title) <= 109
    assert len(description) > 200


ISOTROPIC = channels.isotropic_correlation
SIMULATE = correlation_gain._simulate

MISTAKES = {
    "correlation_gain": ("correlation_gain._simulate", lambda *given: 1.1 * SIMULATE(*given)),
    "double_scaling": ("double_scaling._steering", lambda node, _: np.arange(node.array.size) + 1j),
    "hardening": ("hardening.mean_product", lambda correlation: 1.1 * mean_product(correlation)),
    "near_field": ("near_field.FREQUENCY", 1.05 * near_field.FREQUENCY),
    "phase_hopping": ("phase_hopping.k1", lambda x: (1 + 1e-5) * k1(x)),
    "surface_rank": ("channels.isotropic_correlation", lambda surface: ISOTROPIC(surface, dimensions=2)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_named_experiments_find_a_mistake(name, monkeypatch):
    where, wrong = MISTAKES[name]
    module = "" if where.startswith("channels.") else "studies.experiments."
    monkeypatch.setattr(module + where, wrong)
    assert not run_experiment(name, seed=20, quick=True).passed


def test_the_same_seed_makes_the_same_numbers():
    first, again, other = (run_experiment("hardening", seed=seed, quick=True) for seed in (3, 3, 4))
    assert_array_equal(first.outcome.values["snr"], again.outcome.values["snr"])
    assert np.all(first.outcome.values["snr"] != other.outcome.values["snr"])


# --- closed forms of theirs against independent ones


def test_mean_product_of_moduli():
    # 2F1(-1/2, -1/2; 1; m) = (2 / pi) (2 E(m) - (1 - m) K(m)).
    rho = np.array([0.0, 0.3j, -0.7, 0.6 + 0.7j])
    m = np.abs(rho) ** 2
    assert_allclose(mean_product(rho), ellipe(m) - (1 - m) * ellipk(m) / 2, rtol=1e-13)
    assert_allclose(mean_product([1.0, -1.0, 1j]), 1, rtol=1e-12)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_hopping_capacities_against_all_combinations(levels):
    rng = np.random.default_rng(1)
    phases, amplitudes = rng.uniform(-3, 3, (4, 5)), rng.uniform(0, 1.5, (4, 5))
    hops = np.array(list(itertools.product(np.arange(levels) * 2 * np.pi / levels, repeat=5)))
    sums = np.sum(amplitudes[:, None] * np.exp(1j * (phases[:, None] + hops)), axis=-1)
    expected = np.mean(np.log2(1 + np.abs(sums) ** 2), axis=1)
    assert_allclose(phase_hopping.hopping_capacities(phases, amplitudes, levels), expected, atol=2e-5)


def test_many_phases_hop_like_all():
    phases = np.random.default_rng(2).uniform(-3, 3, (3, 6))
    capacities = phase_hopping.hopping_capacities(phases, np.ones((3, 6)), 12)
    assert_allclose(capacities, phase_hopping.ergodic_capacity(6), atol=1e-4)


@pytest.mark.parametrize("elements", [1, 2, 3, 4, 7, 20])
def test_the_modulus_of_a_sum_of_phasors(elements):
    rng = np.random.default_rng(elements)
    n = 200_000
    moduli = np.sort(np.abs(np.exp(1j * rng.uniform(-np.pi, np.pi, (n, elements))).sum(axis=1)))
    s = np.linspace(0.02, elements + 0.2, 30)
    share = np.searchsorted(moduli, s) / n
    exact = phase_hopping.modulus_below(elements, s)
    error = np.sqrt(np.maximum(exact * (1 - exact), 0) / n)
    assert np.all(np.abs(share - exact) <= 6.5 * error + 1e-4)  # 30 checks at 8e-11 each; the series: 1e-4
    # Kluyver's integral, at a number of elements with which it converges
    if elements == 20:
        x = np.linspace(0, 8, 80_001)
        from_kluyver = [1 - np.trapezoid(_kernel(x, r) * j0(x) ** 20, x) for r in (2.0, 5.0)]
        assert_allclose(
            phase_hopping.modulus_below(20, np.array([2.0, 5.0])), 1 - np.array(from_kluyver), atol=1e-8
        )


def _kernel(x, s):
    """s J1(s x)."""
    from scipy.special import j1

    return s * j1(s * x)


def test_power_laws_hold_at_other_sizes_too():
    settings = double_scaling.Settings(grids=((3, 5), (7, 2)))
    outcome = double_scaling.measure(settings, channels.Stream(1), lambda share, text: None)
    assert all(check.passed for check in outcome.checks if "elements" in check.quantity)


def test_hardening_is_that_of_the_amplitude():
    settings = hardening.Settings(sides=(2, 6), realizations=4_000)
    outcome = hardening.measure(settings, channels.Stream(2), lambda share, text: None)
    variation = outcome.values["snr_exact"][0] / outcome.values["asymptote"] - 1
    assert variation[1] < variation[0] / 2


# --- files and commands


@pytest.fixture
def result():
    return run_experiment("double_scaling", quick=True)


def test_a_table_of_checks(result, tmp_path):
    path = tmp_path / "checks.csv"
    result.write_csv(path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(result.outcome.checks)
    for row, one in zip(rows, result.outcome.checks, strict=True):
        assert (row["quantity"], row["source"], row["relation"]) == (one.quantity, one.source, one.relation)
        assert (float(row["ours"]), float(row["deviation"]), float(row["passed"])) == (
            one.ours,
            one.deviation,
            1,
        )


def test_a_file_is_known_by_its_format(result, tmp_path):
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    result.write(path)
    other.write_text("nothing")
    assert is_experiment_file(path)
    assert not is_experiment_file(other)
    assert not is_experiment_file(tmp_path / "c.h5")
    with pytest.raises(ResultFileError):
        read_experiment(other)


def test_a_damaged_file_is_refused(result, tmp_path):
    path = tmp_path / "a.h5"
    result.write(path)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultFileError, match="damaged"):
        read_experiment(path)


def test_a_file_that_lacks_something_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5netcdf.File(path, "w") as file:
        file.attrs.update({"format": "double-ris experiment result", "schema_version": 1})
    seal(path)
    with pytest.raises(ResultFileError, match="'experiment' is missing"):
        read_experiment(path)


def test_a_file_of_no_experiment_or_of_wrong_types_is_refused(result, tmp_path):
    path = tmp_path / "a.h5"
    for change, told in (
        ({"name": "no_such"}, "has no experiment 'no_such'"),
        ({"name": "../experiment"}, "no experiment '../experiment'"),
        ({"seed": "1"}, "seed: expected int, got '1'"),
        ({"settings": 3}, "settings: expected str, got"),
        ({"wall_time_s": "long"}, "wall_time_s: expected float, got 'long'"),
        ({"versions": {"numpy": 2}}, "version_numpy: expected str, got 2"),
    ):
        dataclasses.replace(result, **change).write(path)
        with pytest.raises(ResultFileError, match=re.escape(told)):
            read_experiment(path)
    ours = dataclasses.replace(result.outcome.checks[0], relation="about")
    dataclasses.replace(result, outcome=Outcome(result.outcome.data, (ours,))).write(path)
    with pytest.raises(ResultFileError, match=r"relation: expected one of .*, got 'about'"):
        read_experiment(path)
    with pytest.raises(InvalidArgumentError, match=r"name: expected one of .*, got 'no_such'"):
        run_experiment("no_such")


def test_results_tell_the_packages_that_made_them(result):
    trained = load_experiment("claims/adder")
    assert set(result.versions) == {"python", "double_ris", "numpy", "scipy", "numba"}
    assert set(versions(*trained.packages)) == {*result.versions, "torch"}
    assert result.is_of("double_scaling", 1, True)
    for name in result.versions:
        other = dataclasses.replace(result, versions={**result.versions, name: "0.0.1"})
        assert not other.is_of("double_scaling", 1, True)


def test_every_experiment_that_trains_names_torch():
    naming = [name for name in NAMES if "torch" in load_experiment(name).packages]
    assert naming == [name for name in CLAIMS if name != "claims/gpfq_gaussian"]


def test_a_result_of_another_version_is_not_drawn(result, tmp_path, capsys):
    """One whose arrays are not those that the experiment draws now."""
    lacking = {name: entry for name, entry in result.outcome.data.items() if name != "elements"}
    path = tmp_path / "old.h5"
    dataclasses.replace(result, outcome=Outcome(lacking, result.outcome.checks)).write(path)
    told = "'elements' is missing; measure it anew by ris run double_scaling --force"
    with pytest.raises(ResultFileError, match=told):
        read_experiment(path).draw()
    assert told in ends(capsys, 2, "plot", str(path))


def ends(capsys, code, *arguments):
    assert run_command(list(arguments)) == code
    output = capsys.readouterr()
    return output.err if code == 2 else output.out


def test_commands(capsys, tmp_path):
    told = ends(capsys, 0, "list")
    assert all(name in told for name in NAMES)
    out = ["--out", str(tmp_path)]
    told = ends(capsys, 0, "run", "double_scaling", "--quick", *out)
    assert "All checks passed. Seed 1" in told
    assert "12.0412" in told
    assert "han2020" in told
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {f"double_scaling-quick.{kind}" for kind in ("h5", "csv", "png", "pdf")}
    path = tmp_path / "double_scaling-quick.h5"
    before = path.read_bytes()
    (tmp_path / "double_scaling-quick.png").unlink()
    assert "All checks passed" in ends(capsys, 0, "run", "double_scaling", "--quick", *out)
    assert path.read_bytes() == before
    assert (tmp_path / "double_scaling-quick.png").exists()
    other = "of another run or by other versions of packages"
    assert other in ends(capsys, 2, "run", "double_scaling", "--quick", "--seed", "0", *out)
    ends(capsys, 0, "run", "double_scaling", "--quick", "--seed", "0", "--force", "--quiet", *out)
    assert read_experiment(path).seed == 0
    assert "All checks passed. Seed 0" in ends(capsys, 0, "show", str(path))
    assert "already there" in ends(capsys, 2, "export", str(path))
    ends(capsys, 0, "export", str(path), "--csv", str(tmp_path / "mine.csv"))
    assert (tmp_path / "mine.csv").read_text() == (tmp_path / "double_scaling-quick.csv").read_text()
    ends(capsys, 0, "plot", str(path), "--out", str(tmp_path / "more"))
    assert (tmp_path / "more" / "double_scaling-quick.pdf").exists()
    assert "--x" in ends(capsys, 2, "plot", str(path), "--x", "side")
    assert ends(capsys, 0, "cite", "double_scaling").startswith("@article{han2020")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--shard", "1/2"), ("--realizations", "10"), ("--workers", "2"), ("--engine", "processes")],
)
def test_options_of_studies_are_refused(capsys, option, value):
    told = ends(capsys, 2, "run", "double_scaling", option, value)
    assert f"{option}: not for the experiment 'double_scaling'" in told


def test_a_failed_check_is_told_and_ends_with_1(capsys, tmp_path, monkeypatch):
    def measure(settings, stream, progress):
        return Outcome({}, (check(2.0), check(3.0), check(2.1, "at least", half_width=0.2)))

    wrong = Experiment(measure, load_experiment("double_scaling").draw, Settings(), Settings())
    monkeypatch.setattr("studies.experiments.double_scaling.EXPERIMENT", wrong)
    monkeypatch.setattr("studies.experiment.ExperimentResult.draw", lambda self: _blank())
    told = ends(capsys, 1, "run", "double_scaling", "--out", str(tmp_path))
    assert "1 of 3 checks FAILED, 1 of 3 checks not sure" in told
    # A result that is there and failed, fails again.
    assert "1 of 3 checks FAILED, 1 of 3 checks not sure" in ends(
        capsys, 1, "run", "double_scaling", "--out", str(tmp_path)
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """None."""


def _blank():
    from matplotlib.figure import Figure

    return Figure()


def test_an_output_directory_that_cannot_be(result, tmp_path):
    with pytest.raises(OutputError):
        result.write(tmp_path / "nowhere" / "a.h5")
