"""Hardening of the path over a surface: the signal-to-noise ratio and its spread against its size.

A single antenna, n x n elements a quarter wavelength apart under isotropic scattering at both sides, one
user, no direct path; phases set for every realization, or at random. Figure 4 of Bjornson and Sanguinetti,
"Rayleigh fading modeling and channel hardening for reconfigurable intelligent surfaces", IEEE WCL 10(4),
2021 (arXiv 2009.04723), after the settings of its public code, RIS-fading: wavelength 0.1 m, element area
(lambda / 4)^2, -55 dB either way, 30 dBm, 10 MHz at a noise figure of 10 dB.

With rho_ij the correlation of elements i and j and g the mean power gain over one element, the best phases
make the amplitude sqrt(g) sum |h1_n| |h2_n|. Its mean is sqrt(g) N pi / 4, and its mean square g sum_ij
F(rho_ij)^2 with the mean product of two moduli F(rho) = (pi / 4) 2F1(-1/2, -1/2; 1; |rho|^2), since the
sides are independent; with random phases the mean square is g tr R^2. So the ratio over its limit g (N pi /
4)^2 is 1 + c^2 on average, c the coefficient of variation of the amplitude, which vanishes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
import ris
from ris.progress import Progress
from studies.experiment import AGREEMENT, Check, Experiment, Outcome, Values, farthest
from studies.experiments._moduli import mean_product
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

__all__ = ["EXPERIMENT"]

GAIN = (0.025**2 * 10**-5.5) ** 2
"""Mean power gain over one element: its area in square metres times -55 dB, both ways."""

TRANSMIT_SNR = 10 ** ((30 - (-174 + 10 * np.log10(10e6) + 10)) / 10)
"""Transmit power over noise power."""

BLOCK = 2_000
"""Realizations that are drawn together."""

LIMIT = "Bjornson & Sanguinetti 2021: SNR over (N pi / 4)^2 tends to a constant"
EXACT = "exact moments of correlated moduli (see the description)"


@dataclass(frozen=True)
class Settings:
    """Elements a side, and realizations of each size."""

    sides: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 35, 40)
    realizations: int = 50_000


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Simulate every size, and evaluate its exact means."""
    designs, shape = ("optimal", "random"), (2, len(settings.sides))
    mean, error, exact = np.empty(shape), np.empty(shape), np.empty(shape)
    quantiles = np.empty((*shape, 3))
    pairs = sum(side**2 for side in settings.sides)
    done = 0
    for i, side in enumerate(settings.sides):
        surface = channels.UniformPlanarArray(side, side, 0.25)
        R = channels.isotropic_correlation(surface)
        progress(done / pairs, f"{side} x {side} elements")
        snr = _simulate(R, settings.realizations, stream.child(side))
        done += side**2
        mean[:, i], quantiles[:, i] = snr.mean(axis=1), np.quantile(snr, (0.05, 0.5, 0.95), axis=1).T
        error[:, i] = snr.std(axis=1, ddof=1) / np.sqrt(settings.realizations)
        exact[:, i] = _exact(R)
    sides = np.array(settings.sides, float)
    asymptote = TRANSMIT_SNR * GAIN * (np.pi / 4 * sides**2) ** 2
    axes = ("design", "side")
    data: Variables = {
        "design": (("design",), np.array(designs, object), {"long_name": "phases"}),
        "side": (("side",), sides, {"units": "1", "long_name": "elements a side"}),
        "share": (("share",), np.array([0.05, 0.5, 0.95]), {"units": "1", "long_name": "share below"}),
        "snr": (axes, mean, {"units": "1", "long_name": "mean signal-to-noise ratio"}),
        "snr_standard_error": (axes, error, {"units": "1", "long_name": "standard error of the mean"}),
        "snr_exact": (axes, exact, {"units": "1", "long_name": "exact mean"}),
        "snr_quantile": ((*axes, "share"), quantiles, {"units": "1", "long_name": "quantiles of the ratio"}),
        "asymptote": (("side",), asymptote, {"units": "1", "long_name": "limit with optimal phases"}),
    }
    return Outcome(data, tuple(_checks(settings, mean, error, exact, quantiles, asymptote)))


def _simulate(R: channels.Correlation, realizations: int, stream: channels.Stream) -> NDArray[np.float64]:
    """Signal-to-noise ratios with optimal and with random phases, shape (2, realizations)."""
    # Both sides of the surface are channels of the same law, drawn as those of two users to an array.
    sides = ris.DoubleRIS(bs_user=channels.UserHop(np.full(2, np.sqrt(GAIN)), R))
    found = np.empty((2, realizations))
    for first in range(0, realizations, BLOCK):
        n = min(BLOCK, realizations - first)
        H = ris.draw_channels(sides, None, None, realizations=n, seed=stream, first=first)
        over = H[..., 0] * H[..., 1]
        found[0, first : first + n] = np.abs(over).sum(axis=1) ** 2
        found[1, first : first + n] = np.abs(over.sum(axis=1)) ** 2
    return np.asarray(TRANSMIT_SNR * found)


def _exact(R: channels.Correlation) -> tuple[float, float]:
    """Exact means of the two ratios."""
    optimal, random = np.sum(mean_product(R.matrix) ** 2), np.sum(R.matrix**2)
    return TRANSMIT_SNR * GAIN * float(optimal), TRANSMIT_SNR * GAIN * float(random)


def _checks(
    settings: Settings,
    mean: NDArray[np.float64],
    error: NDArray[np.float64],
    exact: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    asymptote: NDArray[np.float64],
) -> Iterator[Check]:
    for i, name in enumerate(("optimal", "random")):
        yield farthest(
            Check(
                f"mean SNR over its exact value, {name} phases, {side} x {side}",
                mean[i, j] / exact[i, j],
                1.0,
                EXACT,
                half_width=AGREEMENT * error[i, j] / exact[i, j],
            )
            for j, side in enumerate(settings.sides)
        )
    variation = exact[0, -1] / asymptote[-1] - 1
    side = settings.sides[-1]
    yield Check(
        f"median SNR over its limit, {side} x {side}",
        quantiles[0, -1, 1] / asymptote[-1],
        1.0,
        LIMIT,
        # The median is within c^2 of the squared mean: 2 c^2 / 3 below for a gamma law.
        # Its standard error is sqrt(pi / 2) times that of the mean, for a law that is nearly normal.
        tolerance=variation,
        half_width=AGREEMENT * np.sqrt(np.pi / 2) * error[0, -1] / asymptote[-1],
    )


def draw(values: Values) -> Figure:
    """Medians with 90 % intervals, and the spread."""
    figure, (left, right) = make_panels(2)
    n = values["side"]
    for i, (design, marker) in enumerate(zip(values["design"], "os", strict=True)):
        low, middle, high = values["snr_quantile"][i].T
        interval = [middle - low, high - middle]
        left.errorbar(
            n, middle, interval, color=COLOURS[i], marker=marker, markersize=3, markerfacecolor="white",
            elinewidth=0.7, capsize=1.5, linestyle="none", label=f"{design} phases",
        )  # fmt: skip
        left.plot(
            n, values["snr_exact"][i], color=COLOURS[i], linestyle="-" if i == 0 else "--", linewidth=0.8
        )
        right.plot(n, high / low, color=COLOURS[i], marker=marker, markersize=3, markerfacecolor="white")
    left.plot(
        n, values["asymptote"], color="0.4", linestyle=":", linewidth=1.6, label="limit, optimal phases"
    )
    left.set(xlabel="Elements a side", ylabel="Signal-to-noise ratio", yscale="log", xscale="log")
    left.legend(title="bars: 90 % of realizations; lines: exact mean", title_fontsize=7)
    right.set(xlabel="Elements a side", ylabel="95 % quantile / 5 % quantile", yscale="log", xscale="log")
    right.axhline(np.log(20) / -np.log(0.95), color="0.5", linewidth=0.8, label="exponential law")
    right.legend()
    return figure


EXPERIMENT = Experiment(
    measure, draw, Settings(), Settings(sides=(1, 2, 4, 8, 16), realizations=5_000), papers=("bjornson2021",)
)
