"""Results as text: link budget, rates and the z-test, in tables for a terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from scipy.special import ndtri

from studies.experiment import ExperimentResult
from studies.link_budget import LinkBudget
from studies.quantities import QUANTITIES, Part
from studies.results import StudyResult
from studies.verify import FALSE_ALARM as VERIFY_FALSE_ALARM
from studies.verify import POWER, Comparison, Verification

__all__ = [
    "ZTest",
    "budget_table",
    "check_table",
    "rate_tables",
    "summary",
    "verification_table",
    "z_table",
    "z_tests",
]

FALSE_ALARM = 1e-3
"""Chance that a z-table of a correct study has a value above its threshold, in the normal approximation."""

PATH_NAMES = {
    "direct": "direct",
    "single1": "single, surface 1",
    "single2": "single, surface 2",
    "double": "double",
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
    """Return the z-tests of a study, and the threshold for the largest |z| of all of them.

    Schemes without closed forms have no tests.
    """
    tests = []
    result = result.over_drops()
    for number, scheme in enumerate(result.study.schemes):
        for name, quantity in QUANTITIES.items():
            if not quantity.closed:
                continue
            z = result.data[name, "z"][number]
            z = z[~np.isnan(z)]
            if z.size == 0:
                continue
            tests.append(
                ZTest(scheme, name, z.size, float(z[np.argmax(np.abs(z))]), float(np.sqrt(np.mean(z**2))))
            )
    total = sum(test.comparisons for test in tests)
    return tests, float(-ndtri(FALSE_ALARM / 2 / total)) if total else np.inf


def budget_table(budgets: Mapping[str, LinkBudget], where: str) -> RenderableType:
    """Link budget of each scheme at the point of the sweep that `where` names."""
    table = Table(title=f"Link budget at {where}: mean gains of all antennas, phases and noise included")
    table.add_column("scheme", overflow="fold")
    for name in ("transmit power", "noise power", *PATH_NAMES.values(), "all paths", "SNR of a user alone"):
        table.add_column(name, justify="right")
    for scheme, budget in budgets.items():
        gains = (f"{budget.paths[path]:.1f} dB" if path in budget.paths else "-" for path in PATH_NAMES)
        table.add_row(
            scheme,
            f"{budget.power_dbm:g} dBm",
            f"{budget.noise_power_dbm:.1f} dBm",
            *gains,
            f"{budget.total_db:.1f} dB",
            f"{budget.snr_db:.1f} dB",
        )
    hops = sorted({f"{hop} {gain}" for budget in budgets.values() for hop, gain in budget.hops.items()})
    listed = "; ".join(hops)
    return Group(table, Text(f"Gains of the hops between single elements: {listed}"))


def rate_tables(result: StudyResult) -> RenderableType:
    """Sum rates of every scheme: closed form and simulation of the hardening bound, and the ergodic rate."""
    tables: list[RenderableType] = []
    result = result.over_drops()
    paired = len(result.study.schemes) > 1
    for number, scheme in enumerate(result.study.schemes):
        table = Table(title=f"{scheme}: sum rate, bit/s/Hz", title_justify="left")
        names = ["hardening bound", "simulated", "ratio of moments", "simulated", "ergodic rate"]
        if paired and number > 0:
            names.append(f"less {result.study.schemes[0]!r}")
        for name in (*_axis_labels(result), *names, "realizations", "stopped by"):
            table.add_column(name, justify="right")
        for place, values in _places(result):
            where = (number, *place)
            cells = [value if isinstance(value, str) else f"{value:g}" for value in values]
            for name in ("hardening_sum_rate", "ratio_sum_rate", "ergodic_sum_rate"):
                if QUANTITIES[name].closed:
                    closed = result.data[name, "closed_form"][where]
                    cells.append("-" if np.isnan(closed) else f"{closed:.4f}")
                cells.append(_estimate(result, name, "simulated", "standard_error", where))
            if paired and number > 0:
                parts: tuple[Part, Part] = ("difference", "difference_standard_error")
                cells.append(_estimate(result, "ergodic_sum_rate", *parts, where))
            table.add_row(*cells, f"{result.counts[where]:,}", result.reasons[where].replace("_", " "))
        tables.append(table)
    return Group(*tables)


def _estimate(result: StudyResult, name: str, value: Part, error: Part, where: tuple[int, ...]) -> str:
    shown, spread = result.data[name, value][where], result.data[name, error][where]
    return f"{shown:.4f}" if np.isnan(spread) else f"{shown:.4f} ± {spread:.4f}"


def _axis_labels(result: StudyResult) -> list[str]:
    """Heads of the columns of the axes; the first has the label of the picture."""
    plot = result.study.settings.plot
    names = [name for dimension in result.dimensions for name in dimension.coordinates]
    return [f"{plot.x_label} ({plot.x_unit})" if plot.x_unit else plot.x_label, *names[1:]]


def _places(result: StudyResult) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    """Yield the places of the sweep and the values of all axes there."""
    rows = [list(zip(*dimension.coordinates.values(), strict=True)) for dimension in result.dimensions]
    for place in np.ndindex(result.counts.shape[1:]):
        yield place, [value for row, i in zip(rows, place, strict=True) for value in row[i]]


def summary(result: StudyResult) -> str:
    """Where the numbers come from, in one line."""
    counts = result.counts
    most = f"{counts.max():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
    made = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    drops = "" if result.study.settings.sweep.drops is None else " in each drop"
    short = result.unconverged.sum()
    stopped = f"; in {short:,} of all the precoders stopped short of their tolerance" if short else ""
    return (
        f"Seed {result.seed}, {most} realizations a point{drops}{stopped}, "
        f"{result.wall_time_s:.1f} s of computation; {made}; fingerprint {result.fingerprint[:16]}."
    )


def z_table(result: StudyResult) -> RenderableType:
    """Closed form against simulation: the z value farthest from zero by scheme and quantity."""
    tests, threshold = z_tests(result)
    names = [name for name, quantity in QUANTITIES.items() if quantity.closed]
    table = Table(title="z = (simulated - closed form) / standard error: the farthest from zero, (r.m.s.)")
    table.add_column("scheme", overflow="fold")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for scheme in result.study.schemes:
        cells = {
            test.quantity: f"{test.worst:+.2f} ({test.rms:.2f})" for test in tests if test.scheme == scheme
        }
        table.add_row(scheme, *(cells.get(name, "-") for name in names))
    if not tests:
        return Group(table, Text("No scheme has closed forms to compare with."))
    worst = max(tests, key=lambda test: abs(test.worst))
    total = sum(test.comparisons for test in tests)
    found = (
        f"largest |z| {abs(worst.worst):.2f} of {total} comparisons, threshold {threshold:.2f} "
        f"(normal approximation, false-alarm rate {FALSE_ALARM:g})"
    )
    if abs(worst.worst) <= threshold:
        return Group(table, Text(f"Agreement: {found}"))
    advice = (
        f"With {result.realizations} realizations rare large gains may be missing, which the normal "
        "approximation does not allow for: repeat with more (--realizations), or see `ris verify`."
    )
    return Group(table, Text(f"DISAGREEMENT: {found}\n{advice}", style="bold red"))


def check_table(result: ExperimentResult) -> RenderableType:
    """Checks of an experiment: ours, the reference, what may lie between them, and the verdict."""
    table = Table(title="Ours and the references")
    table.add_column("quantity", overflow="fold")
    for name in ("ours", "", "reference", "deviation", "allowed", "verdict"):
        table.add_column(name, justify="right")
    table.add_column("source", overflow="fold")
    signs = {"equals": "=", "at least": ">=", "at most": "<="}
    for check in result.outcome.checks:
        spread = f" ± {check.half_width:.2g}" if check.half_width else ""
        table.add_row(
            check.quantity,
            f"{check.ours:.7g}{spread}",
            signs[check.relation],
            f"{check.reference:.7g}",
            f"{check.deviation:+.2g}",
            f"{check.tolerance:.2g}",
            check.verdict,
            check.source,
        )
    verdicts = [check.verdict for check in result.outcome.checks]
    others = [one for one in ("FAILED", "not sure") if one in verdicts]
    told = ", ".join(f"{verdicts.count(one)} of {len(verdicts)} checks {one}" for one in others)
    verdict = told or "All checks passed"
    made = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    line = f"{verdict}. Seed {result.seed}, {result.wall_time_s:.1f} s; {made}; settings {result.settings}."
    return Group(table, Text(line, style="bold red" if told else ""))


def verification_table(found: Verification) -> RenderableType:
    """Comparisons of `verify` by quantity, what they would have found, and the verdict."""
    table = Table(title="Closed form against simulation")
    table.add_column("quantity")
    for name in ("comparisons", "worst z", "its threshold", "r.m.s. z", "detectable: median", "worst"):
        table.add_column(name, justify="right")
    for quantity in sorted({comparison.quantity for comparison in found.comparisons}):
        some = [comparison for comparison in found.comparisons if comparison.quantity == quantity]
        worst = max(some, key=_share_of_threshold)
        effects = np.array([comparison.detectable for comparison in some])
        shown = "{:.3f} bit/s/Hz" if quantity.endswith("rate") else "{:.1%}"
        table.add_row(
            quantity,
            str(len(some)),
            f"{worst.z:+.2f}",
            f"{worst.threshold:.2f}",
            f"{np.sqrt(np.mean([comparison.z**2 for comparison in some])):.2f}",
            shown.format(np.median(effects)),
            shown.format(effects.max()),
        )
    worst = max(found.comparisons, key=_share_of_threshold)
    failures = [comparison for comparison in found.comparisons if not comparison.passed]
    told = [f"Worst: {_told(worst)}", *(f"FAILED: {_told(comparison)}" for comparison in failures)]
    odds = f"total false-alarm rate {VERIFY_FALSE_ALARM:g}, detectable at probability {POWER:g}"
    verdict = f"Closed forms and simulation {'agree' if found.passed else 'DISAGREE'}"
    lines = [*told, f"{verdict}: {found.realizations:,} realizations, {odds}."]
    return Group(table, Text("\n".join(lines), style="" if found.passed else "bold red"))


def _told(comparison: Comparison) -> str:
    values = f"z = {comparison.z:+.2f}, threshold {comparison.threshold:.2f}"
    return f"{values}, {comparison.quantity} of system {comparison.system}"


def _share_of_threshold(comparison: Comparison) -> float:
    share = abs(comparison.z) / comparison.threshold
    return share if np.isfinite(share) else np.inf
