"""The benchmark of phase designs: its systems are generic, its table says what was measured."""

import numpy as np

import ris
from studies.benchmarks.design import DesignBenchmark, Row, _instantaneous, _statistical, generic_system


def test_systems_are_generic():
    """No closed form applies, every path counts, and users differ."""
    system = generic_system(3, 2, users=2, seed=0)
    assert not ris.optimal_phases(system).certified
    theta = [ris.random_phases(6, seed) for seed in (1, 2)]
    gains = ris.closed_form_moments(system, *theta).mean_gain
    assert 1 < gains.min() < gains.max() < 100


def test_rows_of_a_small_system():
    system = generic_system(2, 2, users=2, seed=0)
    rows = _statistical(system, "small", starts=2)
    assert len(rows) == 13
    assert all(row.gap >= -1e-9 and row.seconds > 0 for row in rows)
    rates = {row.method: row.rate for row in rows}
    assert rates["branch and bound, 1 bit"] >= rates["coordinate, 1 bit"] * (1 - 1e-9)
    assert rates["gradient"] >= max(rates["closed form"], rates["steering"], rates["random"])
    ergodic = {row.method: row.rate for row in _instantaneous(system, "small", realizations=50)}
    assert ergodic["instantaneous sum rate, ergodic rate"] > ergodic["statistical phases, ergodic rate"]


def test_table(tmp_path):
    rows = [
        Row("A", "gradient", 4.0, 1.5, 0.25, True),
        Row("A", "random", 1.0, 0.01, 4.0, False),
        Row("A", "statistical phases, ergodic rate", 8.0, 0.001, np.nan, True),
    ]
    DesignBenchmark(rows).write(tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2:] == [
        "| A | gradient | 4.0000 | 100.0 % | 1.5 | 25.0 % | yes |",
        "| A | random | 1.0000 | 25.0 % | 0.01 | 400.0 % | no |",
        "| A | statistical phases, ergodic rate | 8.0000 | 100.0 % | 0.001 |  | yes |",
    ]
