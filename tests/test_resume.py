"""Runs that are killed, run out of disk or are interrupted end with the bits of a run that was not."""

import resource
import signal
import sqlite3
import subprocess

import numpy as np
import pytest
from sweeps import METRICS, ONE_AXIS, same_data, start_run, study_text

from studies.checkpoint import Block, Checkpoint
from studies.config import load_study, parse_study
from studies.errors import CheckpointError
from studies.results import read_result
from studies.run import run_study

BLOCK = 4


@pytest.fixture(scope="module")
def long_study(tmp_path_factory):
    """A study of some thousand blocks, and its result without interruption."""
    path = tmp_path_factory.mktemp("study") / "long.toml"
    path.write_text(study_text(ONE_AXIS, METRICS, realizations=800, block=BLOCK))
    return path, run_study(load_study(path))


def kill(process, delay):
    """Kill a run some time after its first blocks; return the realizations that it said were done."""
    told = process.stdout.readline()
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    output, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "Traceback" not in errors
    return int((told + output).split()[-1])


def finish(process):
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


@pytest.mark.parametrize(("engine", "kills", "longest"), [("serial", 20, 0.3), ("processes", 4, 0.3)])
def test_killed_runs_end_bit_identical(tmp_path, long_study, engine, kills, longest):
    path, expected = long_study
    rng = np.random.default_rng(5)
    partial = tmp_path / "run.partial"
    for delay in rng.uniform(0, longest, kills):
        told = kill(start_run(tmp_path, path, engine), delay)
        with Checkpoint(partial) as kept:
            assert len(kept) * BLOCK >= told
    finish(start_run(tmp_path, path, engine))
    assert same_data(read_result(tmp_path / "run.h5"), expected)


def test_a_full_disk_ends_cleanly_and_the_run_goes_on(tmp_path, long_study):
    path, expected = long_study
    size = 400_000

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = start_run(tmp_path, path, preexec_fn=limit)
    output, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("cannot write")
    assert "run again to go on" in errors
    assert "Traceback" not in errors
    with Checkpoint(tmp_path / "run.partial") as kept:
        assert len(kept) * BLOCK >= int(output.split()[-1]) > 0
    finish(start_run(tmp_path, path))
    assert same_data(read_result(tmp_path / "run.h5"), expected)


def test_an_interrupt_keeps_finished_blocks(tmp_path):
    study = parse_study(study_text(), "s")
    partial = tmp_path / "s.partial"
    seen = []

    def interrupt(status):
        seen.append(status.realizations)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, checkpoint=partial, progress=interrupt)
    with Checkpoint(partial) as kept:
        assert len(kept) == 5
    computed = []
    result = run_study(study, checkpoint=partial, progress=lambda status: computed.append(status))
    assert same_data(result, run_study(study))


def test_a_changed_study_refuses_old_blocks_and_says_what_differs(tmp_path):
    partial = tmp_path / "s.partial"
    run_study(parse_study(study_text(), "s"), checkpoint=partial)
    changed = parse_study(study_text().replace("antennas = 2", "antennas = 3"), "s")
    with pytest.raises(CheckpointError, match=r"another run.*\n  system\.bs\.antennas: 2 there, 3 now$"):
        run_study(changed, checkpoint=partial)
    with pytest.raises(CheckpointError, match="seed: 3 there, 4 now"):
        run_study(parse_study(study_text(), "s"), seed=4, checkpoint=partial)


def test_titles_and_pictures_may_change(tmp_path):
    partial = tmp_path / "s.partial"
    text = study_text()
    expected = run_study(parse_study(text, "s"), checkpoint=partial)
    other = parse_study(text.replace("A small study", "Another title").replace('"dBm"', '"dB(mW)"'), "s")
    assert same_data(run_study(other, checkpoint=partial), expected)


# The checkpoint alone -----------------------------------------------------------------------------------


def block(seed=0, seconds=0.5):
    rng = np.random.default_rng(seed)
    return Block(
        {"a": rng.standard_normal((2, 3)), "b": np.array(rng.standard_normal()), "c": np.empty((0, 4))},
        seconds,
    )


def test_blocks_come_back_as_they_were(tmp_path):
    with Checkpoint(tmp_path / "c", {"x": 1}, {"text": "é"}) as kept:
        kept.put([(0, 3, block(1)), (2**40, 0, block(2))])
    with Checkpoint(tmp_path / "c") as kept:
        assert (kept.configuration, kept.about, len(kept)) == ({"x": 1}, {"text": "é"}, 2)
        assert kept.get(0, 0) is None
        for task, number, seed in ((0, 3, 1), (2**40, 0, 2)):
            found = kept.get(task, number)
            assert found.seconds == 0.5
            for name, array in block(seed).arrays.items():
                assert found.arrays[name].shape == array.shape
                assert np.array_equal(found.arrays[name], array)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE blocks SET seconds = seconds + 1",
        "UPDATE blocks SET block = 8",
        "UPDATE blocks SET names = replace(names, 'a', 'd')",
        "UPDATE blocks SET data = zeroblob(56)",
        "UPDATE blocks SET data = 'text'",
        "UPDATE blocks SET sha256 = NULL",
        "UPDATE header SET value = '{\"x\":2}' WHERE key = 'configuration'",
        "DELETE FROM header WHERE key = 'about'",
        "DROP TABLE header",
    ],
)
def test_damage_is_found(tmp_path, change):
    path = tmp_path / "c"
    with Checkpoint(path, {"x": 1}) as kept:
        kept.put([(0, 7, block())])
    with sqlite3.connect(path) as file:
        file.execute(change)
    file.close()
    with pytest.raises(CheckpointError, match=r"damaged|not a readable checkpoint"):
        read_both(path)


def read_both(path):
    with Checkpoint(path) as kept:
        kept.get(0, 7)
        kept.get(0, 8)


def test_one_run_at_a_time(tmp_path):
    with Checkpoint(tmp_path / "c", {"x": 1}), pytest.raises(CheckpointError, match="in use by another run"):
        Checkpoint(tmp_path / "c", {"x": 1})


def test_files_that_cannot_be_checkpoints(tmp_path):
    (tmp_path / "text").write_text("no database" * 100)
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (x)").connection.close()
    (tmp_path / "empty").touch()
    for name, message in (
        ("text", "not a readable checkpoint"),
        ("other", "not a readable checkpoint"),
        ("missing", "no such checkpoint"),
        ("empty", "not a readable checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Checkpoint(tmp_path / name, must_exist=True)
    with pytest.raises(CheckpointError, match="unable to open"):
        Checkpoint(tmp_path, {"x": 1})


def test_a_kill_at_creation_leaves_nothing_in_the_way(tmp_path):
    (tmp_path / "c").touch()
    with Checkpoint(tmp_path / "c", {"x": 1}) as kept:
        assert len(kept) == 0
