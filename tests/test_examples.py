"""The examples run as they are, and stay short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"

TOLD = {
    "channel_models": ("effective rank", []),
    "precoders": ("LMMSE, gains alone", []),
    "rate_plot": ("", ["out"]),
    "sweep": ("(half_width)", ["out"]),
}


def test_all_examples_are_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_examples(name, tmp_path):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 30
    words, files = TOLD[name]
    arguments = [f"out.{'h5' if name == 'sweep' else 'png'}"] if files else []
    done = subprocess.run(
        [sys.executable, path, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in done.stdout
    assert done.stderr == ""
    assert [one.name for one in tmp_path.iterdir()] == arguments
