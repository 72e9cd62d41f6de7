"""What correlation between the elements gains: at most 4 / pi - 1 = 27.32 %.

A single user, a free line of sight of rank one between surface and BS, phases set for every realization, no
direct path. Singh, Smith and Dmochowski, "Optimal SNR analysis for single-user RIS systems", PIMRC 2021
(arXiv 2008.09376), find that correlation of the Rayleigh fading between user and surface raises the mean
signal-to-noise ratio by up to 27.32 % over independent fading. With F(rho) = (pi / 4) 2F1(-1/2, -1/2; 1;
|rho|^2) the mean product of two moduli, the ratio is proportional to E (sum |h_n|)^2 = N + sum_{m != n}
F(rho_mn), from N + N (N - 1) pi / 4 if all are independent to N^2 if all are equal: at most 1 / (pi / 4 + (1
- pi / 4) / N) - 1 more, which tends to 4 / pi - 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
import ris
from ris.progress import Progress
from studies.experiment import AGREEMENT, CLAIM, Check, Experiment, Outcome, Values, farthest
from studies.experiments._moduli import mean_product
from studies.netcdf import Variables
from studies.plots import COLOURS, DASHES, MARKERS, make_panels

__all__ = ["EXPERIMENT"]

PAPER = "Singh, Smith & Dmochowski 2021 (arXiv 2008.09376): up to 27.32 %"
EXACT = "exact mean (see the description)"

LAWS = ("independent", "isotropic, 1/2", "isotropic, 1/4", "isotropic, 1/8", "exponential, 0.99", "equal")


@dataclass(frozen=True)
class Settings:
    """Elements a side, and realizations of each size and law."""

    sides: tuple[int, ...] = (1, 2, 4, 6, 8, 12, 16, 24, 32)
    realizations: int = 40_000


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Gain of every law at every size, exact and simulated."""
    shape = (len(LAWS), len(settings.sides))
    exact, mean, error = np.empty(shape), np.empty(shape), np.empty(shape)
    for j, side in enumerate(settings.sides):
        N = side**2
        alone = N + N * (N - 1) * np.pi / 4
        for i, law in enumerate(LAWS):
            progress((j + i / len(LAWS)) / len(settings.sides), f"{law}, {side} x {side}")
            R = _covariance(law, side)
            exact[i, j] = np.sum(mean_product(R.matrix)) / alone - 1
            ratios = _simulate(R, settings.realizations, stream.child(law, side)) / alone
            mean[i, j] = ratios.mean() - 1
            error[i, j] = ratios.std(ddof=1) / np.sqrt(settings.realizations)
    sides = np.array(settings.sides, float)
    axes = ("law", "side")
    data: Variables = {
        "law": (
            ("law",),
            np.array(LAWS, object),
            {"long_name": "law of correlation, spacing in wavelengths"},
        ),
        "side": (("side",), sides, {"units": "1", "long_name": "elements a side"}),
        "gain_exact": (axes, exact, {"units": "1", "long_name": "gain over independent fading, exact"}),
        "gain": (axes, mean, {"units": "1", "long_name": "gain over independent fading, simulated"}),
        "gain_standard_error": (axes, error, {"units": "1", "long_name": "its standard error"}),
    }
    return Outcome(data, tuple(_checks(settings, exact, mean, error)))


def _covariance(law: str, side: int) -> channels.Correlation:
    name, _, number = law.partition(", ")
    if name == "isotropic":
        spacing = {"1/2": 0.5, "1/4": 0.25, "1/8": 0.125}[number]
        return channels.isotropic_correlation(channels.UniformPlanarArray(side, side, spacing))
    coefficients = {"independent": 0.0, "exponential": 0.99, "equal": 1.0}
    return channels.exponential_correlation(side**2, coefficients[name])


def _simulate(R: channels.Correlation, realizations: int, stream: channels.Stream) -> NDArray[np.float64]:
    """(sum |h_n|)^2 of channels between one user and the surface."""
    system = ris.DoubleRIS(bs_user=channels.UserHop([1.0], R))
    block = max(1, 2**22 // R.size)
    found = np.empty(realizations)
    for first in range(0, realizations, block):
        n = min(block, realizations - first)
        h = ris.draw_channels(system, None, None, realizations=n, seed=stream, first=first)
        found[first : first + n] = np.abs(h[..., 0]).sum(axis=1) ** 2
    return found


def _checks(
    settings: Settings,
    exact: NDArray[np.float64],
    mean: NDArray[np.float64],
    error: NDArray[np.float64],
) -> Iterator[Check]:
    equal, N = exact[LAWS.index("equal")], np.array(settings.sides) ** 2
    limit = 1 / (np.pi / 4 + (1 - np.pi / 4) / 1e9) - 1
    yield Check("gain of 1e9 equal elements", limit, 0.2732, PAPER, tolerance=5e-5)
    yield Check(f"gain of {N[-1]} equal elements", equal[-1], 0.2732, PAPER, "at most", tolerance=5e-5)
    for i, law in enumerate(LAWS):
        yield farthest(
            Check(
                f"simulated gain, {law}, {side} x {side}",
                mean[i, j],
                exact[i, j],
                EXACT,
                half_width=AGREEMENT * error[i, j],
            )
            for j, side in enumerate(settings.sides)
        )


def draw(values: Values) -> Figure:
    """Gains over the number of elements."""
    figure, (axes,) = make_panels(1, height=3.4)
    N = values["side"] ** 2
    for i, law in enumerate(values["law"]):
        axes.plot(N, 100 * values["gain_exact"][i], color=COLOURS[i], linestyle=DASHES[i])
        axes.errorbar(
            N, 100 * values["gain"][i], 100 * CLAIM * values["gain_standard_error"][i], color=COLOURS[i],
            markersize=3, markerfacecolor="white", marker=MARKERS[i], linestyle="none", elinewidth=0.7,
            capsize=1.5, label=f"{law} wavelength" if "/" in law else law,
        )  # fmt: skip
    axes.axhline(100 * (4 / np.pi - 1), color="0.4", linestyle=":", linewidth=1.6)
    axes.text(1.1, 27.9, r"$4/\pi - 1$ = 27.32 %", fontsize=7)
    axes.set(
        xlabel="Elements", ylabel="Gain in mean SNR over independent fading (%)", xscale="log", ylim=(-2, 31)
    )
    figure.legend(
        loc="outside upper center",
        ncols=2,
        title="lines: exact; markers: simulation, 99 % intervals",
        title_fontsize=7,
        frameon=False,
    )
    return figure


EXPERIMENT = Experiment(
    measure, draw, Settings(), Settings(sides=(1, 2, 4, 8, 16), realizations=4_000), papers=("singh2021",)
)
