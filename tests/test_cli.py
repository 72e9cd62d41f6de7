"""The `ris` command: what it prints, what it writes, how it ends."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyfive
import pytest
from small_study import TEXT, changed
from sweeps import same_data

from studies import realizations, verify
from studies.citations import BIBTEX
from studies.cli import run_command
from studies.cli.catalogue import FIGURES
from studies.config import load_study, parse_study
from studies.results import read_result
from studies.run import Status, run_study
from studies.verify import Comparison, Verification

ROOT = Path(__file__).parent.parent
COMMANDS = ("list", "run", "plot", "verify", "cite", "merge", "show", "export", "export-channels", "new")


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return str(path)


def ends(capsys, code, *arguments):
    """Run a command, check how it ended and return what it told: output of a success, error of a failure."""
    assert run_command(list(arguments)) == code
    output = capsys.readouterr()
    if code == 2:
        assert output.err.startswith("ris: ")
        assert "Traceback" not in output.err
        return output.err
    return output.out


def test_list_names_all_studies(capsys):
    told = ends(capsys, 0, "list")
    for path in FIGURES.glob("*.toml"):
        assert path.stem in told


def test_run_writes_and_tells(capsys, study, tmp_path):
    out = tmp_path / "new" / "results"
    told = ends(capsys, 0, "run", study, "--quick", "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        f"small-quick.{kind}" for kind in ("csv", "h5", "pdf", "png")
    ]
    for words in (
        "A small study",
        "Link budget at power_dbm = 10",
        "ris1_user 0, -3 dB",
        "hardening bound",
        "z = (simulated - closed form)",
        "largest |z|",
        "Seed 7, 100 realizations",
        str(out / "small-quick.h5"),
        "abdullah2022, badiu2020, bjornson2021, loyka2001, marzetta2016, salmon2011",
    ):
        assert words in " ".join(told.split()), words
    result = read_result(out / "small-quick.h5")
    closed = result.data["hardening_sum_rate", "closed_form"][0, 1]
    assert f"{closed:.4f}" in told


def test_run_refuses_to_overwrite_unless_forced(capsys, study, tmp_path):
    run = ["run", study, "--quick", "--out", str(tmp_path / "out")]
    ends(capsys, 0, *run)
    before = (tmp_path / "out" / "small-quick.h5").read_bytes()
    told = ends(capsys, 2, *run, "--seed", "9")
    assert "small-quick.h5" in told
    assert "--force" in told
    assert (tmp_path / "out" / "small-quick.h5").read_bytes() == before
    ends(capsys, 0, *run, "--seed", "9", "--force", "--realizations", "50", "--workers", "1")
    result = read_result(tmp_path / "out" / "small-quick.h5")
    assert (result.seed, result.realizations) == (9, 50)


def test_plot_draws_a_result_again(capsys, study, tmp_path):
    out = tmp_path / "out"
    ends(capsys, 0, "run", study, "--quick", "--out", str(out))
    ends(capsys, 0, "plot", str(out / "small-quick.h5"), "--out", str(tmp_path / "pictures"))
    for kind in ("png", "pdf"):
        new = (tmp_path / "pictures" / f"small-quick.{kind}").read_bytes()
        assert new == (out / f"small-quick.{kind}").read_bytes()
    assert "--force" in ends(capsys, 2, "plot", str(out / "small-quick.h5"))
    ends(capsys, 0, "plot", str(out / "small-quick.h5"), "--force")


def test_run_goes_on_and_knows_when_it_is_done(capsys, study, tmp_path):
    out = tmp_path / "out"
    run = ["run", study, "--quick", "--out", str(out)]
    ends(capsys, 0, *run)
    before = (out / "small-quick.h5").read_bytes()
    (out / "small-quick.csv").unlink()
    ends(capsys, 0, *run)
    assert (out / "small-quick.csv").is_file()
    assert "is complete" in ends(capsys, 0, *run)
    assert (out / "small-quick.h5").read_bytes() == before
    assert ends(capsys, 0, *run, "--force", "--quiet") == ""


def test_shards_and_merge(capsys, study, tmp_path):
    out = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        told = ends(capsys, 0, "run", study, "--out", str(out), "--shard", shard)
        assert "ris merge" in told
    files = [str(out / f"small.{shard}-of-2.partial") for shard in (1, 2)]
    ends(capsys, 0, "merge", *files)
    ends(capsys, 0, "run", study, "--out", str(tmp_path / "whole"))
    one, other = (read_result(path) for path in (out / "small.h5", tmp_path / "whole" / "small.h5"))
    assert same_data(one, other)
    assert "is missing" in ends(capsys, 2, "merge", files[0], "--out", str(tmp_path / "half.h5"))
    assert "--force" in ends(capsys, 2, "merge", *files)
    assert "another run" in ends(capsys, 2, "run", study, "--out", str(out), "--shard", "1/2", "--seed", "9")


def test_show_export_and_plots_of_any_axes(capsys, study, tmp_path):
    ends(capsys, 0, "run", study, "--quick", "--out", str(tmp_path))
    result = str(tmp_path / "small-quick.h5")
    told = ends(capsys, 0, "show", result)
    for words in (
        "A small study",
        "double: sum rate",
        "less 'all'",
        "max realizations",
        "fingerprint",
        "numpy",
    ):
        assert words in " ".join(told.split()), words
    ends(capsys, 0, "export", result, "--csv", str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "small-quick.csv").read_bytes()
    for x, y, by in (
        ("power_dbm", "sum_rate", "scheme"),
        ("scheme", "ergodic_rate", "user"),
        ("user", "rate", "power_dbm"),
    ):
        told = ends(capsys, 0, "plot", result, "--x", x, "--y", y, "--by", by)
        assert (tmp_path / f"small-quick-{y}-over-{x}-by-{by}.png").read_bytes().startswith(b"\x89PNG")
    for options, words in (
        (["--x", "time"], "--x: expected one of scheme, power_dbm"),
        (["--x", "power_dbm", "--y", "speed"], "--y: expected one of sum_rate"),
        (["--x", "power_dbm", "--by", "user"], "--by: expected one of scheme, power_dbm"),
        (["--x", "scheme", "--by", "scheme"], "--by: expected another axis"),
    ):
        assert words in ends(capsys, 2, "plot", result, *options)


def test_exported_channels_are_those_of_the_run(capsys, study, tmp_path, monkeypatch):
    monkeypatch.setattr(realizations, "BLOCK_BYTES", 1000)  # several blocks
    out = str(tmp_path / "h.h5")
    ends(
        capsys,
        0,
        "export-channels",
        study,
        "--realizations",
        "400",
        "--at",
        "10",
        "--scheme",
        "double",
        "--out",
        out,
    )
    with h5py.File(out) as file, pyfive.File(out) as again:
        h = file["channels_real"][...] + 1j * file["channels_imag"][...]
        assert np.array_equal(again["channels_imag"][...], h.imag)
        assert h.shape == (400, 2, 2)
        assert file["theta1"].shape == (4,)
        assert (file.attrs["scheme"], file.attrs["power_dbm"], file.attrs["seed"]) == ("double", 10, 7)
    found = run_study(load_study(Path(study))).data["mean_gain", "simulated"][1, 2]
    np.testing.assert_allclose(np.mean(np.sum(np.abs(h) ** 2, axis=1), axis=0), found, rtol=1e-12)
    for options, words in (
        (["--at", "11"], "--at: expected values"),
        (["--scheme", "x"], "--scheme: expected one of all"),
    ):
        bad = ["export-channels", study, "--realizations", "4", "--out", str(tmp_path / "x.h5"), *options]
        assert words in ends(capsys, 2, *bad)


def test_a_new_study_is_valid_and_commented(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends(capsys, 0, "new", "mine")
    loaded = load_study(tmp_path / "mine.toml")
    assert loaded.settings.title == "mine"
    # What is commented out is valid too.
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    text = "\n".join(line[2:] if re.match(r"# (\[|\w+ = )", line) else line for line in lines)
    more = parse_study(text, "more").settings
    assert more.stop.metric == "ergodic_sum_rate"
    assert more.metrics.outage_rate == more.phases.bits / 2 == 1
    assert "already there" in ends(capsys, 2, "new", "mine")
    assert "expected a name" in ends(capsys, 2, "new", "../mine")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "power", "--shard", "3/2"], "--shard"),
        (["run", "power", "--shard", "one"], "--shard"),
        (["run", "power", "--engine", "mpi"], "--engine"),
        (["run", "power", "--engine", "dask"], "scheduler"),
        (["merge", "nothing.partial"], "no such checkpoint"),
        (["show", "nothing.h5"], "no such file"),
        (["export", "nothing.h5"], "no such file"),
        (["run"], "STUDY"),
        (["run", "pwer"], "did you mean 'power'?"),
        (["run", "zzz"], "known: "),
        (["run", "nothing.toml"], "cannot be read"),
        (["run", "power", "--realizations", "0"], "--realizations"),
        (["run", "power", "--realizations", "1"], ">= 2"),
        (["run", "power", "--realizations", "many"], "--realizations"),
        (["run", "power", "--seed", "-1"], "--seed"),
        (["run", "power", "--workers", "0"], "--workers"),
        (["run", "power", "--fast"], "--fast"),
        (["plot", "nothing.h5"], "no such file"),
        (["cite", "nothing"], "no study 'nothing'"),
        (["verify", "--systems", "0"], "--systems"),
        (["verify", "--realizations", "10"], "realizations: expected an integer >= 1000"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input(capsys, arguments, words):
    assert words in ends(capsys, 2, *arguments)


def test_faults_of_a_study_file(capsys, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(changed(("antennas = 2", "antennas = 0"), ("seed = 7", "sead = 7")))
    told = ends(capsys, 2, "run", str(path))
    assert "bad.toml: 2 faults" in told
    assert "system.bs.antennas: expected >= 1, got 0" in told
    assert "sead: unknown key; did you mean 'seed'?" in told


def test_an_output_directory_that_cannot_be(capsys, study, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot write into" in ends(capsys, 2, "run", study, "--out", str(tmp_path / "file" / "sub"))


def test_a_request_for_too_much_memory(capsys, tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(changed(("rows = 2\ncolumns = 2", "rows = 40_000\ncolumns = 40_000")))
    told = ends(capsys, 2, "run", str(path), "--out", str(tmp_path))
    assert "memory" in told.lower() or "GB" in told or "GiB" in told


def test_a_bug_is_not_hidden(monkeypatch, study, tmp_path):
    import studies.run

    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(studies.run, "run_study", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run_command(["run", study, "--out", str(tmp_path)])


def test_titles_and_labels_are_printed_as_they_are(capsys, tmp_path):
    path = tmp_path / "odd.toml"
    odd = "[bold] :smile: [/x] {0} %s"
    path.write_text(changed(('"A small study"', f'"{odd}"'), ('label = "all"', f'label = "{odd}"')))
    told = ends(capsys, 0, "run", str(path), "--quick", "--out", str(tmp_path))
    assert told.count(odd) >= 2


def test_labels_with_bad_mathematics(capsys, tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(changed(('label = "all"', "label = '$\\frac$'")))
    assert "cannot draw the picture" in ends(capsys, 2, "run", str(path), "--quick", "--out", str(tmp_path))
    assert (tmp_path / "odd-quick.h5").is_file(), "numbers are kept"


def test_cite(capsys):
    told = ends(capsys, 0, "cite")
    assert all(f"{{{key}," in told for key in BIBTEX)
    told = ends(capsys, 0, "cite", "spacing")
    assert "bjornson2021" in told
    assert "badiu2020" not in told


def test_bibtex_is_balanced():
    for key, entry in BIBTEX.items():
        assert entry.startswith("@")
        assert f"{{{key},\n" in entry
        assert entry.count("{") == entry.count("}")
        assert "author" in entry
        assert "title" in entry
        assert "year" in entry


def test_verify_agrees(capsys):
    told = ends(capsys, 0, "verify", "--systems", "2", "--realizations", "1000")
    assert "Closed forms and simulation agree" in told
    assert "detectable" in told


def test_verify_tells_a_disagreement(capsys, monkeypatch):
    wrong = Verification([Comparison("0: odd", "mean gain", 9.0, 7.0, 0.1)], 1000)
    monkeypatch.setattr(verify, "verify", lambda **_: wrong)
    assert "DISAGREE" in ends(capsys, 1, "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(capsys, command):
    assert run_command([command, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Example: ris {command}" in told


def test_help_lists_all_commands(capsys):
    assert run_command(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)


PROGRAM = "import sys; from studies.cli import main; main()"


def test_list_loads_nothing_heavy():
    code = (
        "import sys; from studies.cli import run_command; run_command(['list']);"
        "print(*sorted(set(sys.modules) & {'numba', 'scipy', 'matplotlib', 'pydantic', 'h5py'}))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == ""


def test_interruption(study, tmp_path):
    command = [sys.executable, "-c", PROGRAM, "run", study, "--realizations", "1000000000"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Jobs in the background of a shell ignore interruptions, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        # The link budget comes just before the simulation.
        while "Gains of the hops" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert told.strip() == "ris: interrupted"
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"small.partial"}


def test_progress_is_told_without_a_terminal(capsys, monkeypatch):
    from studies.cli import console

    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    with console.show_progress("label", quiet=False) as progress:
        progress(Status(4, 1, 0.25, 1000, "a, x = 1", None))
        progress(Status(4, 4, 1.0, 3000, "b, x = 2", 0.125))
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("label: 25%; 1/4 points, ")  # no time is known yet
    assert told[1].startswith("label: 100%, about 0 s left; 4/4 points, ")
    assert told[1].endswith(" realizations/s, at b, x = 2, half-width 0.125")
    with console.show_progress("label", quiet=True) as progress:
        assert progress is None
