"""What a run costs beside its blocks: time of 1,000 points of 0.1 s, and memory over 10,000 points.

Run it with ``python -m studies.benchmarks.runner``; it takes some minutes.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from studies.config import parse_study
from studies.run import Status, run_study
from studies.sweeps import sweep
from studies.template import TEMPLATE

__all__ = ["memory_growth", "overhead"]

POINT_S = 0.1


def busy(point: int) -> float:
    """Keep a processor busy for the time of one point."""
    end = time.perf_counter() + POINT_S
    while time.perf_counter() < end:
        pass
    return float(point)


def overhead(points: int, directory: Path) -> float:
    """Time beside the points of a sweep that keeps its blocks, as a share of the time of the points."""
    begin = time.perf_counter()
    sweep(busy, {"point": list(range(points))}, out=directory / "overhead.h5")
    return (time.perf_counter() - begin) / (points * POINT_S) - 1


def memory_growth(points: int, directory: Path) -> tuple[float, float, float]:
    """Peak memory in MiB after a tenth of the points of a study, after all of them, and with the result."""
    values = ", ".join(str(i / points) for i in range(points))
    text = TEMPLATE.format(name="memory").replace("[0, 10, 20, 30, 40]", f"[{values}]")
    text = text.replace("quick_values = [0, 20, 40]", "")
    for table in ("rows = 8", "columns = 8"):
        text = text.replace(table, table.replace("8", "2"))
    tenth = points * 2 // 10
    peaks: dict[int, float] = {}

    def progress(status: Status) -> None:
        if status.points_done in (tenth, status.points):
            peaks.setdefault(status.points_done, _peak_mib())

    run_study(
        parse_study(text, "memory"),
        realizations=2,
        checkpoint=directory / "memory.partial",
        progress=progress,
    )
    return peaks[tenth], peaks[2 * points], _peak_mib()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        early, late, end = memory_growth(5_000, Path(directory))
        sys.stdout.write(
            f"peak memory of 10,000 points: {early:.0f} MiB after 1,000, {late:.0f} MiB after all, "
            f"{end:.0f} MiB with the result\n"
        )
        sys.stdout.write(f"overhead of 1,000 points of 0.1 s: {overhead(1000, Path(directory)):.2%}\n")


if __name__ == "__main__":
    main()
