"""Random phases that hop with every symbol turn outage into an ergodic capacity.

Besser and Jorswieck, "Reconfigurable intelligent surface phase hopping for ultra-reliable communications",
IEEE TWC 21(11), 2022 (arXiv 2107.11852), after the settings of its public code, ris-phase-hopping: N
elements whose paths have unit amplitude and unknown phases, each blocked with probability 1 - p, no direct
path, a signal-to-noise ratio of |S_n|^2 if n paths are open, S_n a sum of n independent unit phasors. With
phases that hop fast the capacity is C_n = E log2(1 + |S_n|^2), so that the outage is a step function: the
probability that n, which is binomial, has C_n below the rate. With constant phases the outage is that of
|S_n|^2 itself.

Exactly, since ln(1 + s^2) = 2 int_0^inf (1 - J0(s x)) K1(x) dx and E J0(|S_n| x) = J0(x)^n,

    C_n = (2 / ln 2) int_0^inf (1 - J0(x)^n) K1(x) dx,    P(|S_n| <= s) = s int_0^inf J1(s x) J0(x)^n dx

(the second after Kluyver); C_1 = 1, C_2 = 2 log2((1 + sqrt 5) / 2), and -exp(1 / n) Ei(-1 / n) / ln 2 in the
limit of a Gaussian sum. If the hops take only K phases, 2 pi / K apart, the mean is over products of (1 / K)
sum_k exp(j x cos(a - 2 pi k / K)) in place of J0(x), at fixed directions a.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import exp1, j0, j1, jn_zeros, k1
from scipy.stats import binom

import channels
from ris.progress import Progress
from studies.experiment import AGREEMENT, CLAIM, Check, Experiment, Outcome, Values, farthest
from studies.netcdf import Variables
from studies.plots import COLOURS, DASHES, make_panels

__all__ = ["EXPERIMENT", "ergodic_capacity", "hopping_capacities", "modulus_below"]

PAPER = "Besser & Jorswieck 2022, double integral of ris-phase-hopping (cedf928) by adaptive quadrature"
LIMIT = "Besser & Jorswieck 2022: -exp(1/N) Ei(-1/N) / ln 2 of large N"
BY_HAND = "by hand: mean of ln(3 + 2 cos) is ln((3 + sqrt 5) / 2)"
EXACT = "exact integral (see the description)"
CLAIMED = "Besser & Jorswieck 2022: two phases suffice to improve the outage"

HANKEL = {8: 2.683342, 10: 2.931403, 20: 3.757238, 50: 4.943972}
"""E log2(1 + |S_N|^2) as int s log2(1 + s^2) int x J0(s x) J0(x)^N dx ds, six decimals."""

ELEMENTS, OPEN, LEVELS = 20, 0.5, (2, 3, 10)
"""Surface of the outage, its probability of an open path, and numbers of phases to hop over."""

RATES = np.linspace(0.0125, 5.0, 400)
"""Rates of the outage, bit/s/Hz."""

CHECKED = (1.0, 2.0, 3.0, 4.0)
"""Rates at which outages are checked, bit/s/Hz."""

BLOCK = 50_000
"""Realizations that are drawn together."""


@dataclass(frozen=True)
class Settings:
    """Elements of the capacities, realizations of each mean, and fading states of the quantized phases."""

    elements: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50)
    realizations: int = 200_000
    states: int = 200


def ergodic_capacity(elements: int) -> float:
    """Return C_n, bit/s/Hz."""
    value, _ = quad(
        lambda x: (1 - j0(x) ** elements) * k1(x), 0, np.inf, limit=500, epsabs=1e-12, epsrel=1e-11
    )
    return float(2 * value / math.log(2))


def hopping_capacities(
    phases: NDArray[np.float64], amplitudes: NDArray[np.float64], levels: int
) -> NDArray[np.float64]:
    """Return capacities of fading states, if the phases hop over `levels` values; bit/s/Hz.

    Parameters
    ----------
    phases, amplitudes : array, shape (..., n)
        Of the paths; phases in radians.
    levels : int
        Number of phases 2 pi k / levels.
    """
    # Gauss and Legendre on panels, K1(24) = 1e-11; the mean over directions by the trapezoidal rule.
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.array([0.0, 0.5, 2.0, 6.0, 24.0])
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half * (nodes + 1)).ravel()
    weights = (half * weights).ravel() * k1(x)
    turns = np.arange(levels) * (2 * np.pi / levels)
    directions = np.arange(96) * (2 * np.pi / 96)
    mean: Any = 0.0
    for direction in directions:
        product: Any = 1.0
        for phase, amplitude in zip(np.moveaxis(phases, -1, 0), np.moveaxis(amplitudes, -1, 0), strict=True):
            along = amplitude[..., None, None] * np.cos(direction - phase[..., None, None] - turns)
            product = product * np.exp(1j * x[:, None] * along).mean(axis=-1)
        mean = mean + np.real(product) / len(directions)
    return np.asarray(2 / math.log(2) * ((1 - mean) @ weights))


def modulus_below(elements: int, moduli: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return P(|S_n| <= s), by the Fourier-Bessel series of its law over the disc of radius n.

    With the zeros z_k of J0 the terms are (2 s / (n z_k)) J1(z_k s / n) J0(z_k / n)^n / J1(z_k)^2.
    """
    if elements < 3:
        arcs = np.arcsin(np.clip(moduli / 2, 0, 1)) * 2 / np.pi
        return arcs if elements == 2 else np.asarray(moduli >= elements, float)
    z = jn_zeros(0, 4000)
    terms = j0(z / elements) ** elements / (z * j1(z) ** 2)
    s = np.minimum(moduli, elements) / elements
    return np.asarray(2 * s * (j1(np.outer(s, z)) @ terms))


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Capacities and outages, exact and simulated."""
    exact = np.array([ergodic_capacity(n) for n in settings.elements])
    mean, error = np.empty(len(exact)), np.empty(len(exact))
    for i, n in enumerate(settings.elements):
        progress(0.5 * i / len(exact), f"{n} elements")
        rates = np.log2(1 + _powers(n, settings.realizations, 1.0, stream.child("capacity", n)))
        mean[i], error[i] = rates.mean(), rates.std(ddof=1) / math.sqrt(settings.realizations)
    progress(0.5, "outage")
    powers = _powers(ELEMENTS, settings.realizations, OPEN, stream.child("constant"))
    numbers = range(ELEMENTS + 1)
    share = binom.pmf(numbers, ELEMENTS, OPEN)
    capacities = np.array([ergodic_capacity(n) for n in numbers])
    outages = np.array(
        [
            share @ np.stack([modulus_below(n, np.sqrt(2**RATES - 1)) for n in numbers]),
            np.array([np.mean(np.log2(1 + powers) < rate) for rate in RATES]),
            share @ (capacities[:, None] < RATES),
        ]
    )
    shape = (settings.states, ELEMENTS)
    phases = channels.UniformNoise(math.pi).sample(ELEMENTS, settings.states, stream.child("states"))
    is_open = _is_open(shape, OPEN, stream.child("open states"))
    quantized = np.empty((len(LEVELS), settings.states))
    for i, levels in enumerate(LEVELS):
        progress(0.6 + 0.4 * i / len(LEVELS), f"{levels} phases")
        quantized[i] = hopping_capacities(phases, is_open.astype(float), levels)
    data: Variables = {
        "elements": (
            ("elements",),
            np.array(settings.elements, float),
            {"units": "1", "long_name": "elements"},
        ),
        "capacity": (("elements",), exact, {"units": "bit/s/Hz", "long_name": "ergodic capacity, exact"}),
        "capacity_simulated": (("elements",), mean, {"units": "bit/s/Hz", "long_name": "simulated"}),
        "capacity_standard_error": (("elements",), error, {"units": "bit/s/Hz", "long_name": "its error"}),
        "limit": (
            ("elements",),
            _limit(np.array(settings.elements)),
            {"units": "bit/s/Hz", "long_name": "limit"},
        ),
        "rate": (("rate",), RATES, {"units": "bit/s/Hz", "long_name": "rate"}),
        "case": (("case",), np.array(["constant", "constant, simulated", "hopping"], object), {}),
        "outage": (("case", "rate"), outages, {"units": "1", "long_name": "outage probability"}),
        "levels": (("levels",), np.array(LEVELS, float), {"units": "1", "long_name": "phases to hop over"}),
        "state_capacity": (
            ("levels", "state"),
            quantized,
            {"units": "bit/s/Hz", "long_name": "capacity of a fading state"},
        ),
    }
    checks = [
        *_capacity_checks(settings, exact, mean, error),
        *_outage_checks(settings, outages, quantized),
    ]
    return Outcome(data, tuple(checks))


def _powers(
    elements: int, realizations: int, probability: float, stream: channels.Stream
) -> NDArray[np.float64]:
    """|S_n|^2 with n of the elements open."""
    found = np.empty(realizations)
    for first in range(0, realizations, BLOCK):
        n = min(BLOCK, realizations - first)
        phases = channels.UniformNoise(math.pi).sample(elements, n, stream.child("phases"), first)
        is_open = _is_open((n, elements), probability, stream.child("open"), first)
        found[first : first + n] = np.abs(np.sum(is_open * np.exp(1j * phases), axis=1)) ** 2
    return found


def _is_open(
    shape: tuple[int, int], probability: float, stream: channels.Stream, first: int = 0
) -> NDArray[np.bool_]:
    uniform = channels.UniformNoise(0.5).sample(shape[1], shape[0], stream, first) + 0.5
    return np.asarray(uniform < probability)


def _limit(elements: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.exp(1 / elements) * exp1(1 / elements) / math.log(2))


def _capacity_checks(
    settings: Settings, exact: NDArray[Any], mean: NDArray[Any], error: NDArray[Any]
) -> Iterator[Check]:
    yield Check("capacity of 1 element, bit/s/Hz", ergodic_capacity(1), 1.0, BY_HAND, tolerance=1e-9)
    golden = 2 * math.log2((1 + math.sqrt(5)) / 2)
    yield Check("capacity of 2 elements, bit/s/Hz", ergodic_capacity(2), golden, BY_HAND, tolerance=1e-9)
    for n, value in HANKEL.items():
        yield Check(f"capacity of {n} elements, bit/s/Hz", ergodic_capacity(n), value, PAPER, tolerance=1e-6)
    for n in (20, 50):
        # The first term that the limit leaves out, of the series of the law of |S_n|^2 by Laguerre
        # polynomials, is 1 / (4 n) nat.
        yield Check(
            f"capacity of {n} elements against its limit, bit/s/Hz",
            ergodic_capacity(n),
            float(_limit(np.array(n))),
            LIMIT,
            tolerance=1 / (4 * n * math.log(2)),
        )
    yield farthest(
        Check(
            f"simulated capacity of {n} elements, bit/s/Hz",
            mean[i],
            exact[i],
            EXACT,
            tolerance=1e-9,
            half_width=AGREEMENT * error[i],
        )
        for i, n in enumerate(settings.elements)
    )


def _outage_checks(settings: Settings, outages: NDArray[Any], quantized: NDArray[Any]) -> Iterator[Check]:
    for rate in CHECKED:
        exact, simulated, _ = outages[:, np.argmin(abs(RATES - rate))]
        error = math.sqrt(exact * (1 - exact) / settings.realizations)
        name = f"outage of constant phases at {rate:g} bit/s/Hz"
        yield Check(name, simulated, exact, EXACT, half_width=AGREEMENT * error)
    constant = outages[0, np.argmin(abs(RATES - 2))]
    for levels, capacities in zip(LEVELS, quantized, strict=True):
        share = float(np.mean(capacities < 2))
        # As if one state more were in outage: no state in outage has no standard error of its own.
        error = math.sqrt((share + 1 / len(capacities)) / len(capacities))
        name = f"outage of hopping over {levels} phases at 2 bit/s/Hz, below that of constant ones"
        yield Check(name, share, constant, CLAIMED, "at most", half_width=CLAIM * error)


def draw(values: Values) -> Figure:
    """Capacities over the number of elements, and outages over the rate."""
    figure, (left, right) = make_panels(2)
    n = values["elements"]
    left.plot(n, values["capacity"], color=COLOURS[0], label="exact")
    left.plot(n, values["limit"], color=COLOURS[1], linestyle="--", label="limit of a Gaussian sum")
    left.errorbar(
        n, values["capacity_simulated"], CLAIM * values["capacity_standard_error"], color=COLOURS[2],
        marker="o", markersize=3, markerfacecolor="white", linestyle="none", label="simulated, 99 %",
    )  # fmt: skip
    left.set(xlabel="Open paths", ylabel="Capacity of hopping phases (bit/s/Hz)")
    left.legend(loc="lower right")
    rate, (constant, simulated, hopping) = values["rate"], values["outage"]
    right.plot(rate, constant, color=COLOURS[0], label="constant phases, exact")
    right.plot(rate[15::32], simulated[15::32], "o", color=COLOURS[0], markersize=3, markerfacecolor="white",
               label="simulated")  # fmt: skip
    right.plot(rate, hopping, color=COLOURS[1], drawstyle="steps-post", label="hopping phases, exact")
    for i, levels in enumerate(values["levels"]):
        shares = np.arange(1, values["state_capacity"].shape[1] + 1) / values["state_capacity"].shape[1]
        right.plot(
            np.sort(values["state_capacity"][i]), shares, color=COLOURS[2 + i], linestyle=DASHES[1 + i],
            drawstyle="steps-post", label=f"hopping over {levels:g} phases",
        )  # fmt: skip
    right.set(xlabel="Rate (bit/s/Hz)", ylabel="Outage probability", yscale="log", ylim=(1e-3, 1.5))
    title = f"{ELEMENTS} elements, each path open with p = {OPEN:g}"
    right.legend(loc="lower right", fontsize=6, title=title, title_fontsize=6)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(elements=(1, 2, 5, 10, 20, 50), realizations=20_000, states=12),
    papers=("besser2022",),
)
