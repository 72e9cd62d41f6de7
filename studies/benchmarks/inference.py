"""How long a predictor takes on one core: torch and onnxruntime against the runtime of the package.

The reference network, residual with squeeze-and-excitation, for two surfaces and four users, with weights at
random: times do not depend on them. The integer ways compute the same, which is checked.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ris.predictors.folding import fuse_rectifiers, real_tail
from ris.predictors.graph import Graph
from ris.predictors.model import CONVOLUTIONS, OWN_SCALE, FloatModel, IntegerModel, integer_layout
from ris.predictors.networks.cnn import cnn
from ris.predictors.runtime import Predictor
from studies.files import replace_file

__all__ = ["InferenceBenchmark", "Row", "run"]

SURFACES, USERS, CHANNELS = 2, 4, 13
RUNS = 5
"""Predictions of one way before it is the turn of the next."""

TORCH, ONNX, INTEGER, FLOAT = "torch float32", "onnxruntime int8", "ris int8", "ris float32"


@dataclass(frozen=True)
class Row:
    """One way at one size.

    Attributes
    ----------
    way : str
        What computed.
    side : int
        Rows and columns of both surfaces.
    seconds : float
        Median time of one prediction; NaN if what it needs is not installed.
    spread : float
        Third quartile over first, minus 1.
    """

    way: str
    side: int
    seconds: float
    spread: float


@dataclass(frozen=True)
class InferenceBenchmark:
    """Results of the benchmark."""

    rows: list[Row]

    def text(self) -> str:
        """Return the table."""
        lines = ["| surfaces | way | ms | quartiles apart | torch float32 / this |", "|---|---|---|---|---|"]
        for row in self.rows:
            torch = next(one.seconds for one in self.rows if (one.way, one.side) == (TORCH, row.side))
            cells = ["not installed", "", ""]
            if not np.isnan(row.seconds):
                ratio = "" if np.isnan(torch) else f"{torch / row.seconds:.2f}"
                cells = [f"{1e3 * row.seconds:.3f}", f"{100 * row.spread:.0f} %", ratio]
            lines.append(f"| 2 of {row.side} x {row.side} | {row.way} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the table."""

        def save(temporary: Path) -> None:
            temporary.write_text(self.text())

        replace_file(path, save)


def run(quick: bool, progress: Callable[[str], None]) -> InferenceBenchmark:
    """Measure with one thread each, the ways in turns; quick: fewer turns and one size."""
    rows = []
    for side in (16,) if quick else (8, 16, 32):
        progress(f"predictions for surfaces of {side} x {side} elements")
        with threadpool_limits(1):
            rows += _measured(side, turns=10 if quick else 60)
    return InferenceBenchmark(rows)


def _measured(side: int, turns: int) -> list[Row]:
    rng = np.random.default_rng(side)
    graph = cnn(CHANNELS, se=True)
    floats = {
        name: rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in graph.parameters(side, side).items()
    }
    model = _integer_model(graph, rng)
    maps = rng.standard_normal((SURFACES, USERS, CHANNELS, side, side)).astype(np.float32)
    integer, whole = Predictor(model), Predictor(FloatModel(graph, floats))
    ways: dict[str, Callable[[], Any] | None] = {
        TORCH: _torch(graph, floats, maps),
        ONNX: _onnx(model, maps, integer.run(maps)),
        INTEGER: lambda: integer.run(maps),
        FLOAT: lambda: whole.run(maps),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, predict in ways.items():
            times[way] += [] if predict is None else [_seconds(predict) for _ in range(RUNS)]
    return [_row(way, side, taken) for way, taken in times.items()]


def _seconds(predict: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    predict()
    return time.perf_counter() - begin


def _row(way: str, side: int, times: list[float]) -> Row:
    if not times:
        return Row(way, side, np.nan, np.nan)
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
    return Row(way, side, float(median), float(high / low - 1))


def _torch(graph: Graph, floats: dict[str, Any], maps: Any) -> Callable[[], Any] | None:
    if find_spec("torch") is None:
        return None
    import torch

    from ris.predictors.module import Network

    network = Network(graph).eval()
    network.load_arrays(floats)
    given = torch.from_numpy(maps)
    torch.set_num_threads(1)

    def predict() -> Any:
        with torch.inference_mode():
            return network(given)

    predict()
    return predict


def _onnx(model: IntegerModel, maps: Any, output: Any) -> Callable[[], Any] | None:
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return None
    from studies.benchmarks.onnx_graph import whole

    session = whole(model, *maps.shape[:2], *maps.shape[3:])
    (made,) = session.run(None, {"maps": maps})
    # The sums of the real output are rounded in another order.
    if not np.allclose(made.reshape(output.shape), output, rtol=1e-4, atol=1e-4):
        raise RuntimeError("onnxruntime computes another output")
    return lambda: session.run(None, {"maps": maps})


def _integer_model(graph: Graph, rng: np.random.Generator) -> IntegerModel:
    """A model with one scale everywhere: codes spread over their range, and sums differ by no rounding."""
    graph, rectified = fuse_rectifiers(graph)
    scale, real = np.float32(2.0**-5), real_tail(graph)
    zero: dict[str, int] = {}
    for node in graph.nodes:
        own = 0 if node.name in rectified | real else 128
        zero[node.name] = own if node.op in OWN_SCALE else zero[node.inputs[0]]
    weighted = [node.op in CONVOLUTIONS for node in graph.nodes]
    arrays: dict[str, Any] = {
        "scale": np.array([1 if node.name in real else scale for node in graph.nodes], np.float32),
        "zero_point": np.array([zero[node.name] for node in graph.nodes], np.uint8),
        "bits": np.array([0 if node.name in real else 8 for node in graph.nodes], np.uint8),
        "weight_bits": np.where(weighted, 8, 0).astype(np.uint8),
    }
    codes = np.arange(256)
    for name, (dtype, shape) in integer_layout(graph, 8, 8).items():
        if name in arrays:
            continue
        node = graph[name.split("/")[0]]
        made: Any = np.zeros(shape)
        if name.endswith("/weight"):
            made = np.clip(np.rint(rng.normal(0, 40, shape)), -127, 127)
        elif name.endswith("/multiplier") and node.op in CONVOLUTIONS:
            taken = np.prod(arrays[f"{node.name}/weight"].shape[1:])
            made = np.full(shape, 1 / (40 * np.sqrt(taken)))
        elif name.endswith("/multiplier"):
            made = np.ones(shape) if node.name in real or node.op != "mul" else scale
        elif name.endswith("/table") and node.name not in real:
            numbers = [scale * (codes - zero[source]) for source in node.inputs]
            values = np.stack([1 / (1 + np.exp(-x)) if node.op == "sigmoid" else x for x in numbers])
            made = np.clip(np.rint(values / float(scale)) + zero[node.name], 0, 255)
        arrays[name] = np.asarray(made, dtype)
    return IntegerModel(graph, arrays)
