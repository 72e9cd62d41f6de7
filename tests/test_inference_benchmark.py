"""The benchmark of inference: its ways compute the same, its table says what was measured."""

import numpy as np
import pytest

from studies.benchmarks import inference, onnx_graph
from studies.benchmarks.inference import FLOAT, INTEGER, ONNX, TORCH, InferenceBenchmark, Row


def test_table(tmp_path):
    nan = float("nan")
    rows = [Row(TORCH, 8, 2e-3, 0.1), Row(INTEGER, 8, 5e-4, 0.25), Row(ONNX, 8, nan, nan)]
    benchmark = InferenceBenchmark(rows)
    lines = benchmark.text().splitlines()
    assert lines[2] == "| 2 of 8 x 8 | torch float32 | 2.000 | 10 % | 1.00 |"
    assert lines[3] == "| 2 of 8 x 8 | ris int8 | 0.500 | 25 % | 4.00 |"
    assert lines[4] == "| 2 of 8 x 8 | onnxruntime int8 | not installed |  |  |"
    benchmark.write(tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text() == benchmark.text()


def test_every_way_is_measured():
    rows = inference._measured(8, turns=3)
    assert [row.way for row in rows] == [TORCH, ONNX, INTEGER, FLOAT]
    assert all(row.seconds > 0 and row.spread >= 0 for row in rows)


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(inference, "find_spec", lambda name: None)
    rows = {row.way: row for row in inference._measured(8, turns=2)}
    assert np.isnan(rows[TORCH].seconds)
    assert np.isnan(rows[ONNX].seconds)
    assert rows[INTEGER].seconds > 0
    assert "not installed" in InferenceBenchmark(list(rows.values())).text()


def test_another_output_is_noticed(monkeypatch):
    monkeypatch.setattr(onnx_graph, "whole", lambda model, *size: Other())
    with pytest.raises(RuntimeError, match="another output"):
        inference._measured(8, turns=1)


class Other:
    """Computes ones."""

    def run(self, outputs, feed):
        return [np.ones((2, 1, 2, 8, 8), np.float32)]
