"""Damaged and mutated files: only clear errors, and never a part of a result."""

import re

import numpy as np
import pytest
from scenario_study import TEXT as SCENARIO
from sweeps import METRICS, POWER_MODEL, TWO_AXES, same_data, study_text

from studies.checkpoint import Checkpoint
from studies.config import parse_study
from studies.errors import CheckpointError, ResultFileError, StudyFileError
from studies.results import read_result
from studies.run import merge, run_study

SIGHT = """[system.line_of_sight]
k_factor_db = 3
bs_ris1 = { left_azimuth_deg = 20, right_azimuth_deg = -40 }
ris2_user = { k_factor_db = [1, 2], azimuth_deg = [10, 40], elevation_deg = -8 }
[transmission]
precoder = "zf"
allocation = "max_min"
csi = "perfect"
pilots = { power_dbm = 0, length = 2, covariance = "gain" }"""
FAULTY = """spacing = 0.5
failures = { law = "stuck", probability = 0.25, phase = 1.0 }
amplitude = { minimum = 0.3, steepness = 2.0 }
coupling = { length = 0.2 }"""
STOP = '[stop]\nmetric = "ergodic_sum_rate"\nrelative_half_width = 0.5'
TEXT = study_text(TWO_AXES, METRICS, POWER_MODEL, STOP, realizations=8, block=4)

HARDWARE = TEXT.replace("[transmission]", SIGHT).replace("spacing = 0.5", FAULTY)

TOKENS = (
    '"',
    "'",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "\\",
    "\0",
    "é",
    "-",
    "_",
    "+",
    "0",
    "1e999",
    "nan",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "1_0",
    "0x",
    "true",
    "false",
    "1979-05-27",
    '"""',
    "''''",
    "[" * 3000,
    'zip = ["antennas"]',
    "law",
    "axes",
    "quick_values = [1]",
    "realizations",
    "system",
    "= -1",
    "= 0",
    "= []",
    "= {}",
    '= ""',
    "= [[1]]",
    "outage_rate",
    "links",
    '"none"',
    '"sum"',
    "terms = []",
    "elements",
    "users",
)


VALUES = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1e308",
    "-1e308",
    "1e-308",
    "nan",
    "inf",
    "9223372036854775808",
    "0.5",
    "true",
    '""',
    '"a"',
    "[]",
    "[1]",
    "[0, 1]",
    "[[1, 2], [3]]",
    '["direct"]',
    '["direct", "direct"]',
    "{}",
    '{ law = "identity" }',
    "1979-05-27",
    '{ law = "sum", terms = [] }',
    '{ law = "exponential", coefficient = 1.0 }',
    '"outage"',
    '"users"',
    '"antennas"',
    '"system"',
    '"system.users"',
    '"system.bs.antennas.x"',
    '"phase_noise"',
    '"elements"',
    '"power_dbm"',
    '"optimal"',
)


def mutated(rng, text):
    """A text with one to four pieces cut, doubled, moved, swapped for tokens, or characters changed."""
    for _ in range(rng.integers(1, 5)):
        a, b = sorted(rng.integers(0, len(text) + 1, 2))
        b = min(b, a + int(rng.integers(1, 40)))
        match rng.integers(12):
            case 0:
                text = text[:a] + text[b:]
            case 1:
                text = text[:b] + text[a:]
            case 2:
                at = int(rng.integers(0, len(text) + 1))
                text = text[:at] + text[a:b] + text[at:]
            case 3:
                text = text[:a] + TOKENS[rng.integers(len(TOKENS))] + text[b:]
            case 4:
                text = text[:a] + TOKENS[rng.integers(len(TOKENS))] + text[a:]
            case 5:
                text = text[:a] + chr(int(rng.integers(1, 0x250))) + text[a + 1 :]
            case _:
                # A value in place of another leaves most files TOML.
                values = list(re.finditer(r"(?<== )[^,{}\n]+", text))
                if values:
                    old = values[rng.integers(len(values))]
                    other = values[rng.integers(len(values))].group()
                    new = VALUES[rng.integers(len(VALUES))] if rng.random() < 0.7 else other
                    text = text[: old.start()] + new + text[old.end() :]
    return text


def parsed(text):
    """Faults of a text, and the study if there are none."""
    try:
        return [], parse_study(text, "mutated")
    except StudyFileError as error:
        return error.faults, None


@pytest.mark.parametrize(("original", "count"), [(TEXT, 10_000), (SCENARIO, 5_000), (HARDWARE, 3_000)])
def test_mutated_study_files(original, count):
    rng = np.random.default_rng(1)
    refused = keyed = 0
    for _ in range(count):
        text = mutated(rng, original)
        faults, study = parsed(text)
        refused += study is None
        keyed += bool(faults) and all(fault.path for fault in faults)
        # What is accepted can be laid out: every point is valid.
        assert faults or all(study.point(0, *place) for place in list(study.places())[:2])
        assert all(fault.problem for fault in faults)
    assert 0.2 * count < keyed < refused < 0.99 * count


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A result file and a checkpoint, as bytes, with the result."""
    directory = tmp_path_factory.mktemp("files")
    result = run_study(parse_study(TEXT, "s"), checkpoint=directory / "c")
    result.write(directory / "r.h5")
    return (directory / "r.h5").read_bytes(), (directory / "c").read_bytes(), result


def damaged(rng, content):
    """Bytes with bits flipped, pieces overwritten, cut out or doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        length = int(rng.integers(1, 200))
        match rng.integers(5):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + length] = rng.bytes(len(data[at : at + length]))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[max(at, 1) :]
    return bytes(data)


def test_damaged_result_files(tmp_path, files):
    content, _, _ = files
    rng = np.random.default_rng(2)
    path = tmp_path / "r.h5"
    for _ in range(10_000):
        data = damaged(rng, content)
        if data == content:
            continue
        path.write_bytes(data)
        with pytest.raises(ResultFileError, match=r"r\.h5: "):
            read_result(path)


def test_damaged_checkpoints(tmp_path, files):
    _, content, result = files
    rng = np.random.default_rng(3)
    refused = whole = 0
    for number in range(2_000):
        path = tmp_path / f"{number}.partial"
        path.write_bytes(damaged(rng, content))
        try:
            found = merge([path])
        except CheckpointError:
            refused += 1
        else:
            whole += 1  # the damage was where nothing is kept
            assert same_data(found, result)
        for one in tmp_path.iterdir():
            one.unlink()
    assert refused > 1_000
    assert whole > 10


def test_a_damaged_checkpoint_never_spoils_a_resumed_run(tmp_path, files):
    _, content, result = files
    rng = np.random.default_rng(4)
    study = parse_study(TEXT, "s")
    for number in range(100):
        path = tmp_path / f"{number}.partial"
        path.write_bytes(damaged(rng, content))
        try:
            found = run_study(study, checkpoint=path)
        except CheckpointError:
            continue
        assert same_data(found, result)
        with Checkpoint(path) as kept:
            assert kept.fingerprint == result.fingerprint
