"""How fast channels are drawn: the engines against NumPy and against what the machine can do, in one run.

Setting: M = 16 antennas, K = 4 users, double reflection alone, two square surfaces of N elements a quarter
wavelength apart under isotropic scattering, exponential correlation 0.5 at the BS, von Mises phase noise of
concentration 2. Every way runs in a process of its own, which also gives its peak memory; the ways take
turns, so that what else the machine does falls on all of them, and medians count.
"""

import math
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import channels
import ris
from channels._kernels.gaussian import fill_realizations
from channels._kernels.phase_noise import fill_phasor_pair
from channels.factors import factor_of
from channels.scratch import Scratch
from ris.sampler import ChannelSampler, check_threads
from studies.benchmarks.baselines import HopMatrices, ReducedNumPy, UserSide
from studies.benchmarks.peers import SMALLEST_BATCH, SionnaHops, sionna_version
from studies.files import replace_file
from studies.results import versions

__all__ = ["EngineBenchmark", "Measurement", "run"]

ANTENNAS, USERS, SPACING, CONCENTRATION = 16, 4, 0.25, 2.0

BATCH_BYTES = 2**24
"""Size of the matrices of a batch of the NumPy ways: larger ones were slower."""

BASELINES: dict[str, Callable[..., Any]] = {
    "NumPy, hop matrices": HopMatrices,
    "NumPy, from the user side": UserSide,
    "NumPy, reduced": ReducedNumPy,
}
SIONNA = "Sionna, composed by hand"
EXPLICIT, REDUCED, ALL_HOPS = "explicit kernel", "reduced kernel", "reduced kernel, all hops"


@dataclass(frozen=True)
class Measurement:
    """One way at one size.

    Attributes
    ----------
    way : str
        What was run.
    elements, threads : int
        Elements of each surface, threads of the BLAS or of the engine.
    rates : tuple of float
        Realizations per second, one for each turn.
    peak_memory : float
        Of the process, bytes.
    """

    way: str
    elements: int
    threads: int
    rates: tuple[float, ...]
    peak_memory: float

    @property
    def rate(self) -> float:
        """Median of the rates."""
        return float(np.median(self.rates))


@dataclass(frozen=True)
class EngineBenchmark:
    """Results of the benchmark.

    Attributes
    ----------
    measurements : list of Measurement
        Every way, size and number of threads.
    sizes : list of Measurement
        The reduced kernel by number of elements, all sizes taking turns.
    bounds : dict of int to float
        Realizations per second of one thread that did nothing but the matrix products, normal numbers and
        phasors that the law needs, by number of elements, at the rates of this machine in this run.
    threads : int
        Most threads used.
    machine : dict of str to str
        Processor, cores and versions.
    """

    measurements: list[Measurement]
    sizes: list[Measurement]
    bounds: dict[int, float]
    threads: int
    machine: dict[str, str] = field(default_factory=dict)

    def of(self, way: str, elements: int, threads: int) -> Measurement | None:
        """Return one measurement, or None if it was not made."""
        for one in self.measurements:
            if (one.way, one.elements, one.threads) == (way, elements, threads):
                return one
        return None

    @property
    def exponent(self) -> float:
        """Fitted exponent of the time per realization by elements, from 1,024 elements on."""
        fitted = [one for one in self.sizes if one.elements >= 1024]
        if len(fitted) < 2:
            return math.nan
        sizes, times = [one.elements for one in fitted], [1 / one.rate for one in fitted]
        return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])

    def text(self) -> str:
        """Return the tables as Markdown."""
        return "\n\n".join([self._ways(), self._sizes(), self._scaling()]) + "\n"

    def write(self, path: Path) -> None:
        """Write a netCDF4 file: one row for each measurement, the bounds, and the machine as attributes."""
        replace_file(path, self._write)

    def _ways(self) -> str:
        rows = []
        sizes = sorted(self.bounds)
        for elements in sizes:
            if self.of(SIONNA, elements, self.threads) is None:
                rows.append([f"{elements}", SIONNA, "", "not installed", "", "", ""])
            fastest = self.of(REDUCED, elements, self.threads)
            for one in self.measurements:
                if one.elements == elements and fastest is not None:
                    share = ""
                    if one.way == REDUCED:
                        share = f"{100 * one.rate / (one.threads * self.bounds[elements]):.0f} %"
                    rows.append(
                        [
                            f"{elements}",
                            one.way,
                            f"{one.threads}",
                            _short(one.rate),
                            f"{fastest.rate / one.rate:.3g}",
                            f"{one.peak_memory / 1e6:.0f}",
                            share,
                        ]
                    )
        heads = ["N", "way", "threads", "realizations/s", "reduced is faster by", "peak MB", "share of bound"]
        return _table(heads, rows)

    def _sizes(self) -> str:
        rows = [
            [f"{one.elements}", f"{1e6 / one.rate:.1f}", f"{one.peak_memory / 1e6:.0f}"] for one in self.sizes
        ]
        table = _table(["N", f"us a realization, {self.threads} threads", "peak MB"], rows)
        return f"{table}\n\nExponent from N = 1024 on: {self.exponent:.2f}"

    def _scaling(self) -> str:
        rows = []
        for elements in sorted(self.bounds):
            base = self.of(REDUCED, elements, 1)
            hops = self.of(ALL_HOPS, elements, self.threads)
            most = self.of(REDUCED, elements, self.threads)
            for threads in range(1, self.threads + 1):
                one = self.of(REDUCED, elements, threads)
                if one is not None and base is not None:
                    ratio = (
                        f"{most.rate / hops.rate:.2f}" if hops and most and threads == self.threads else ""
                    )
                    rows.append(
                        [f"{elements}", f"{threads}", _short(one.rate), f"{one.rate / base.rate:.2f}", ratio]
                    )
        return _table(["N", "threads", "realizations/s", "to one thread", "time with all hops"], rows)

    def _write(self, path: Path) -> None:
        import h5netcdf
        import h5py

        rows = [*self.measurements, *self.sizes]
        rates = np.full((len(rows), max(len(one.rates) for one in rows)), np.nan)
        for row, one in zip(rates, rows, strict=True):
            row[: len(one.rates)] = one.rates
        with h5netcdf.File(path, "w") as file:
            file.dimensions = {"measurement": len(rows), "turn": rates.shape[1], "size": len(self.bounds)}
            way = file.create_variable("way", ("measurement",), h5py.string_dtype())
            way[...] = np.array([one.way for one in rows], dtype=object)
            for name, units, values in (
                ("elements", "1", [one.elements for one in rows]),
                ("threads", "1", [one.threads for one in rows]),
                ("peak_memory", "byte", [one.peak_memory for one in rows]),
            ):
                variable = file.create_variable(name, ("measurement",), data=np.array(values))
                variable.attrs["units"] = units
            variable = file.create_variable("rate", ("measurement", "turn"), data=rates)
            variable.attrs.update(units="1/s", long_name="realizations per second")
            file.create_variable("bound_elements", ("size",), data=np.array(sorted(self.bounds)))
            bounds = np.array([self.bounds[n] for n in sorted(self.bounds)])
            variable = file.create_variable("bound", ("size",), data=bounds)
            variable.attrs.update(units="1/s", long_name="bound of one thread")
            file.attrs.update(
                {"format": "double-ris engine benchmark", "exponent": self.exponent, **self.machine}
            )


def run(
    quick: bool = False, threads: int | None = None, progress: Callable[[str], None] = lambda line: None
) -> EngineBenchmark:
    """Run the benchmark.

    Parameters
    ----------
    quick : bool
        Fewer sizes and turns: a minute instead of several.
    threads : int, optional
        Most threads; by default as many as processors.
    progress : callable
        Told what is being measured.
    """
    most = check_threads(threads)
    turns, seconds = (3, 0.2) if quick else (7, 0.5)
    compared = [64, 256] if quick else [64, 256, 1024]
    sizes = [64, 256, 1024, 4096] if quick else [64, 256, 1024, 2304, 4096, 9216, 16384]
    measurements: list[Measurement] = []
    bounds = {}
    for elements in compared:
        progress(f"N = {elements}")
        bounds[elements] = _bound(elements)
        counts = sorted({1, most})
        jobs = [(way, n) for way in ("NumPy, hop matrices", "NumPy, from the user side") for n in counts]
        jobs += [("NumPy, reduced", n) for n in counts]
        jobs += [(SIONNA, n) for n in counts if sionna_version()]
        jobs += [(EXPLICIT, most), *((REDUCED, n) for n in range(1, most + 1)), (ALL_HOPS, most)]
        measurements += _measure([(way, elements, n) for way, n in jobs], turns, seconds)
    progress("sizes")
    by_size = _measure([(REDUCED, elements, most) for elements in sizes], turns, seconds)
    machine = {"processor": _processor(), "cores": str(os.cpu_count()), **versions()}
    machine["sionna"] = sionna_version() or "not installed"
    return EngineBenchmark(measurements, by_size, bounds, most, machine)


def _measure(jobs: Iterable[tuple[str, int, int]], turns: int, seconds: float) -> list[Measurement]:
    """Let each job run in turn, each in its process, for about so many seconds a turn."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[tuple[str, int, int], Connection, Any, list[float]]] = []
    for job in jobs:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, *job, seconds), daemon=True)
        process.start()
        here.recv()  # ready, compiled and its pace known
        workers.append((job, here, process, []))
    for _ in range(turns):
        for _, connection, _, rates in workers:
            connection.send("turn")
            rates.append(connection.recv())
    made = []
    for (way, elements, threads), connection, process, rates in workers:
        connection.send("end")
        made.append(Measurement(way, elements, threads, tuple(rates), connection.recv()))
        process.join()
    return made


def _serve(connection: Connection, way: str, elements: int, threads: int, seconds: float) -> None:
    draw = _drawing(way, elements, threads)
    with threadpool_limits(threads, user_api="blas"):
        draw(1)
        count = _paced(draw, seconds)
        connection.send("ready")
        while connection.recv() == "turn":
            start = time.perf_counter()
            done = draw(count)
            connection.send(done / (time.perf_counter() - start))
    connection.send(_peak_memory())


def _peak_memory() -> float:
    """Peak memory of this process in bytes."""
    try:
        # Linux hands the peak of the process that started this one on to `getrusage`, but not to this file.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * float(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else 1024 * peak)


def _paced(draw: Callable[[int], int], seconds: float) -> int:
    """Realizations that take about so many seconds."""
    wanted = 1
    while True:
        start = time.perf_counter()
        done = draw(wanted)
        spent = time.perf_counter() - start
        if spent > seconds / 4:
            return max(1, int(done * seconds / spent))
        wanted = 4 * done


def _drawing(way: str, elements: int, threads: int) -> Callable[[int], int]:
    """Return a function that draws at least so many realizations and says how many."""
    if way == SIONNA:
        peer = SionnaHops(elements, ANTENNAS, USERS, threads)
        return _in_batches(peer.draw, max(SMALLEST_BATCH, BATCH_BYTES // (8 * elements**2)))
    system, phases = _system(elements, all_hops=way == ALL_HOPS), np.zeros(elements)
    if way in BASELINES:
        hop = system.ris1_ris2
        assert hop is not None and system.bs_ris1 is not None  # noqa: S101, PT018 - the double reflection is there
        baseline = BASELINES[way](
            np.asarray(hop.left), np.asarray(system.bs_ris1.left), USERS, CONCENTRATION, seed=1
        )
        per_realization = 16 * elements * (USERS if way == "NumPy, reduced" else elements)
        return _in_batches(baseline.draw, int(np.clip(BATCH_BYTES // per_realization, 1, 256)))
    engine: Any = "explicit" if way == EXPLICIT else "reduced"
    sampler = ChannelSampler(system, phases, phases, channels.Stream(1), "perfect", engine)

    def draw_tiles(count: int) -> int:
        whole = -(-count // (sampler.tile * threads)) * sampler.tile * threads
        for _ in sampler.each(lambda done, tile, emi: None, 0, whole, threads):
            pass
        return whole

    return draw_tiles


def _in_batches(draw: Callable[[int], Any], batch: int) -> Callable[[int], int]:
    def draw_batches(count: int) -> int:
        for _ in range(-(-count // batch)):
            draw(batch)
        return -(-count // batch) * batch

    return draw_batches


def _system(elements: int, all_hops: bool) -> ris.DoubleRIS:
    side = math.isqrt(elements)
    R = channels.isotropic_correlation(channels.UniformPlanarArray(side, side, SPACING))
    RB = channels.exponential_correlation(ANTENNAS, 0.5)
    ones = np.ones(USERS)
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, RB, R),
        bs_ris2=channels.Hop(1.0, RB, R) if all_hops else None,
        ris1_ris2=channels.Hop(1.0, R, R),
        ris1_user=channels.UserHop(ones, R) if all_hops else None,
        ris2_user=channels.UserHop(ones, R),
        bs_user=channels.UserHop(ones, RB) if all_hops else None,
        phase_noise1=channels.VonMises(CONCENTRATION),
        phase_noise2=channels.VonMises(CONCENTRATION),
    )


def _bound(elements: int) -> float:
    """Realizations per second of one thread that only multiplies matrices and draws numbers at full speed.

    The double reflection needs four products with the factor of a surface and one with that of the BS, K
    complex columns each; K normal numbers for each column of the factors; a phasor for each element. The
    Gram matrices, the factors' change of basis and the rotations are left out.
    """
    system = _system(elements, all_hops=False)
    hop, to_bs = system.ris1_ris2, system.bs_ris1
    assert hop is not None and to_bs is not None  # noqa: S101, PT018 - the double reflection is there
    surface, bs = factor_of(hop.left), factor_of(to_bs.left)
    operations = 2 * 2 * USERS * (4 * surface.multiplications + bs.multiplications)
    normals = USERS * (2 * surface.rank + bs.rank)
    gemm, normal, phasor = _rates()
    return 1 / (operations / gemm + normals / normal + 2 * elements / phasor)


def _rates() -> tuple[float, float, float]:
    """Floating-point operations of the BLAS, complex normals and von Mises phasors per second, one thread."""
    rng = np.random.default_rng(1)
    left, right, out = rng.standard_normal((3, 768, 768))
    key, law = channels.Stream(1).key, channels.VonMises(CONCENTRATION).kernel_table()
    numbers, words = Scratch().array("numbers", (5, 512)), np.empty(512, np.uint64)
    normals, (cosines, sines, phases) = numbers[:2].reshape(2, 2, 256), numbers[2:]

    def draw_normals() -> None:
        for position in range(64):
            fill_realizations(normals, key, position, 0)

    def draw_phasors() -> None:
        for block in range(64):
            fill_phasor_pair(cosines, sines, phases, words, law, key, block, 0)

    with threadpool_limits(1, user_api="blas"):
        return (
            2 * 768**3 / _shortest(lambda: np.matmul(left, right, out=out)),
            64 * 2 * 256 / _shortest(draw_normals),
            64 * 2 * 256 / _shortest(draw_phasors),
        )


def _shortest(action: Callable[[], Any], turns: int = 30) -> float:
    action()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    cells = [heads, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
