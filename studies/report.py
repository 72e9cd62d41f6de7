"""Results as text: link budget, rates and the z-test, in tables for a terminal."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from scipy.special import ndtri

from studies.link_budget import LinkBudget
from studies.quantities import QUANTITIES
from studies.results import StudyResult

__all__ = ["ZTest", "budget_table", "rate_tables", "z_table", "z_tests"]

FALSE_ALARM = 1e-3
"""Chance that a z-table of a correct study has a value above its threshold, in the normal approximation."""

PATH_NAMES = {
    "direct": "direct",
    "single1": "single reflection at surface 1",
    "single2": "single reflection at surface 2",
    "double": "double reflection",
}


@dataclass(frozen=True)
class ZTest:
    """The z-test of one quantity of one scheme over the whole axis.

    Attributes
    ----------
    scheme, quantity : str
        What was tested.
    comparisons : int
        Number of estimates tested.
    worst : float
        The z value farthest from zero.
    rms : float
        Root mean square of the z values: near 1 if closed form and standard errors are right.
    """

    scheme: str
    quantity: str
    comparisons: int
    worst: float
    rms: float


def z_tests(result: StudyResult) -> tuple[list[ZTest], float]:
    """Return the z-tests of a study, and the threshold for the largest |z| of all of them."""
    tests = []
    for number, scheme in enumerate(result.study.schemes):
        for name, quantity in QUANTITIES.items():
            if not quantity.closed:
                continue
            z = result.data[name, "z"][number]
            z = z[~np.isnan(z)]
            tests.append(ZTest(scheme, name, z.size, float(z[np.argmax(np.abs(z))]), float(np.sqrt(np.mean(z**2)))))
    total = sum(test.comparisons for test in tests)
    return tests, float(-ndtri(FALSE_ALARM / 2 / total))


def budget_table(budgets: Iterable[tuple[str, LinkBudget]]) -> RenderableType:
    """Link budget of each scheme."""
    table = Table(title="Link budget (mean over users, all antennas, phase design and phase noise included)")
    table.add_column("scheme", overflow="fold")
    for name in ("transmit power", "noise power", "gain of the hops, element to element", "mean gain of the paths"):
        table.add_column(name, overflow="fold")
    table.add_column("mean SNR of a user alone", justify="right")
    for scheme, budget in budgets:
        table.add_row(
            scheme,
            f"{budget.power_dbm:g} dBm",
            f"{budget.noise_power_dbm:.1f} dBm",
            "\n".join(f"{hop} {gain}" for hop, gain in budget.hops.items()),
            "\n".join(f"{PATH_NAMES[path]} {gain:.1f} dB" for path, gain in budget.paths.items()),
            f"{budget.snr_db:.1f} dB",
        )
    return table


def rate_tables(result: StudyResult) -> RenderableType:
    """Sum rates of every scheme: closed form and simulation of the hardening bound, and the ergodic rate."""
    plot = result.study.settings.plot
    axis = f"{plot.x_label} ({plot.x_unit})" if plot.x_unit else plot.x_label
    tables: list[RenderableType] = []
    for number, scheme in enumerate(result.study.schemes):
        table = Table(title=f"{scheme}: sum rate, bit/s/Hz", title_justify="left")
        for name in (axis, "hardening bound", "simulated", "ratio of moments", "simulated", "ergodic, simulated"):
            table.add_column(name, justify="right")
        for i, value in enumerate(result.values):
            cells = [f"{value:g}"]
            for name in ("hardening_sum_rate", "ratio_sum_rate", "ergodic_sum_rate"):
                if QUANTITIES[name].closed:
                    cells.append(f"{result.data[name, 'closed_form'][number, i]:.4f}")
                estimate, error = (result.data[name, part][number, i] for part in ("simulated", "standard_error"))
                cells.append(f"{estimate:.4f} ± {error:.4f}")
            table.add_row(*cells)
        tables.append(table)
    return Group(*tables)


def z_table(result: StudyResult) -> RenderableType:
    """Closed form against simulation: the z value farthest from zero by scheme and quantity."""
    tests, threshold = z_tests(result)
    names = [name for name, quantity in QUANTITIES.items() if quantity.closed]
    table = Table(title="z = (simulated - closed form) / standard error: the farthest from zero, (r.m.s.)")
    table.add_column("scheme", overflow="fold")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for scheme in result.study.schemes:
        cells = (test for test in tests if test.scheme == scheme)
        table.add_row(scheme, *(f"{test.worst:+.2f} ({test.rms:.2f})" for test in cells))
    worst = max(tests, key=lambda test: abs(test.worst))
    agrees = abs(worst.worst) <= threshold
    total = sum(test.comparisons for test in tests)
    verdict = Text(
        f"{'Agreement' if agrees else 'DISAGREEMENT'}: largest |z| {abs(worst.worst):.2f} of {total} comparisons, "
        f"threshold {threshold:.2f} (normal approximation, total false-alarm rate {FALSE_ALARM:g})",
        style="" if agrees else "bold red",
    )
    return Group(table, verdict)
