"""How good designs of phase shifts are, and how long they take: every method on three generic systems.

Generic: local scattering around directions of its own at every hop and user, all four kinds of paths of
comparable power, and phase noise, so that no closed form applies and users interfere. The methods for b-bit
phases have one bit; branch and bound runs where the surfaces are small. Instantaneous designs, which know the
hops of each realization, are compared with the statistical ones by simulation.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from ris.options import DesignMethod, InstantaneousObjective
from studies.files import replace_file

__all__ = ["DesignBenchmark", "Row", "generic_system", "run"]

ANTENNAS, SPREAD, CONCENTRATION = 8, np.deg2rad(10), 4.0

DISCRETE = ("coordinate", "branch_and_bound")
SEARCHED = 16
"""Branch and bound runs up to this many elements, of both surfaces."""

SNR = 10.0
"""Received power at random phases over noise, of an average user."""


@dataclass(frozen=True)
class Row:
    """One method on one system.

    Attributes
    ----------
    system, method : str
        What was designed, and how.
    rate : float
        Sum rate, bit/s/Hz: hardening bound, or ergodic for the instantaneous designs.
    seconds : float
        Time of the design; of instantaneous ones for each realization.
    gap : float
        Bound over rate, minus 1; NaN where there is none.
    converged : bool
        Whether the method came to its end.
    """

    system: str
    method: str
    rate: float
    seconds: float
    gap: float
    converged: bool


@dataclass(frozen=True)
class DesignBenchmark:
    """Results of the benchmark."""

    rows: list[Row]

    def text(self) -> str:
        """Return the table; shares are of the best row of the system and kind."""
        lines = [
            "| system | method | sum rate | of the best | seconds | gap to the bound | converged |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            best = max(r.rate for r in self.rows if (r.system, _kind(r)) == (row.system, _kind(row)))
            gap = "" if np.isnan(row.gap) else f"{100 * row.gap:.1f} %"
            lines.append(
                f"| {row.system} | {row.method} | {row.rate:.4f} | {100 * row.rate / best:.1f} % | "
                f"{row.seconds:.3g} | {gap} | {'yes' if row.converged else 'no'} |"
            )
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the table."""

        def save(temporary: Path) -> None:
            temporary.write_text(self.text())

        replace_file(path, save)


def run(quick: bool, progress: Callable[[str], None]) -> DesignBenchmark:
    """Measure; quick: on smaller systems, with fewer starts and realizations."""
    sides = (3, 4, 6) if quick else (3, 8, 16)
    rows = []
    for seed, (rows_of_elements, users) in enumerate(zip(sides, (2, 3, 4), strict=True)):
        progress(f"designs of two surfaces of {rows_of_elements} x {rows_of_elements} elements")
        # The smallest surface has two columns, for branch and bound.
        columns = 2 if rows_of_elements == 3 else rows_of_elements
        system = generic_system(rows_of_elements, columns, users, seed)
        name = f"{rows_of_elements * columns} elements, {users} users"
        rows += _statistical(system, name, starts=4 if quick else 20)
        if rows_of_elements < 16:
            rows += _instantaneous(system, name, realizations=50 if quick else 500)
    return DesignBenchmark(rows)


def generic_system(rows: int, columns: int, users: int, seed: int) -> ris.DoubleRIS:
    """Return a system of unit noise power and power in which no closed form applies."""
    rng = np.random.default_rng(seed)
    surface = channels.UniformPlanarArray(rows=rows, columns=columns, spacing=0.25)
    line = channels.UniformLinearArray(ANTENNAS, 0.5)

    def scattered(array: channels.UniformLinearArray | channels.UniformPlanarArray) -> NDArray[np.complex128]:
        angles = rng.uniform(-1.0, 1.0), rng.uniform(-0.6, 0.6)
        return np.asarray(channels.local_scattering_correlation(array, *angles, SPREAD), np.complex128)

    def to_users(
        array: channels.UniformLinearArray | channels.UniformPlanarArray, gain: float
    ) -> channels.UserHop:
        own = np.stack([scattered(array) for _ in range(users)])
        return channels.UserHop(gain * rng.uniform(0.3, 1.0, users), own)

    # With phases at random every path has about the same power: SNR / 4 for an average user.
    N, scale = rows * columns, SNR / 4 / ANTENNAS
    return ris.DoubleRIS(
        bs_ris1=channels.Hop(scale, scattered(line), scattered(surface)),
        bs_ris2=channels.Hop(scale, scattered(line), scattered(surface)),
        ris1_ris2=channels.Hop(1 / N, scattered(surface), scattered(surface)),
        ris1_user=to_users(surface, 1 / N),
        ris2_user=to_users(surface, 1 / N),
        bs_user=to_users(line, scale),
        phase_noise1=channels.VonMises(CONCENTRATION),
        phase_noise2=channels.VonMises(CONCENTRATION),
    )


def _statistical(system: ris.DoubleRIS, name: str, starts: int) -> list[Row]:
    rows = []
    for method in get_args(DesignMethod):
        if method == "branch_and_bound" and system.elements1 + system.elements2 > SEARCHED:
            continue
        for bits in (1,) if method in DISCRETE else (None, 1):
            design = ris.design_phases(system, method=method, bits=bits, power=1.0, noise_power=1.0)
            label = method.replace("_", " ") + ("" if bits is None else ", 1 bit")
            rows.append(_row(name, label, design))
    best, seconds, converged = None, 0.0, True
    for number in range(starts):
        theta = [
            ris.random_phases(n, channels.Stream(number, f"surface {i}"))
            for i, n in enumerate((system.elements1, system.elements2))
        ]
        design = ris.design_phases(
            system, power=1.0, noise_power=1.0, starts=0, theta1=theta[0], theta2=theta[1], tolerance=1e-7
        )
        seconds, converged = seconds + design.seconds, converged and bool(design.converged)
        if best is None or design.value > best.value:
            best = design
    if best is not None:
        rows.append(
            Row(name, f"best of {starts} long ascents", float(best.value), seconds, _gap(best), converged)
        )
    return rows


def _instantaneous(system: ris.DoubleRIS, name: str, realizations: int) -> list[Row]:
    statistical = ris.design_phases(system, power=1.0, noise_power=1.0)
    ways: dict[str, Callable[[ris.HopRealizations], object]] = {
        "statistical phases, ergodic rate": lambda hops: (statistical.theta1, statistical.theta2)
    }
    for objective in get_args(InstantaneousObjective):
        label = f"instantaneous {objective.replace('_', ' ')}, ergodic rate"
        ways[label] = functools.partial(
            ris.instantaneous_phases, objective=objective, power=1.0, noise_power=1.0
        )
    rows = []
    for label, way in ways.items():
        begin = time.perf_counter()
        found = ris.simulate_instantaneous(
            system, way, power=1.0, noise_power=1.0, realizations=realizations, seed=1
        )
        seconds = (time.perf_counter() - begin) / realizations
        rows.append(Row(name, label, float(found.ergodic_sum_rate.value), seconds, np.nan, True))
    return rows


def _row(name: str, label: str, design: ris.Design) -> Row:
    return Row(name, label, float(design.value), design.seconds, _gap(design), bool(design.converged))


def _gap(design: ris.Design) -> float:
    return float(design.bound / design.value - 1)


def _kind(row: Row) -> bool:
    return "ergodic" in row.method
