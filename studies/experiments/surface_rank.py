"""Eigenvalues of the correlation at a surface: how many of its elements fade on their own.

Isotropic scattering over 40 x 40 elements at spacings of 1/8, 1/4 and 1/2 wavelength: figure 2 of Bjornson
and Sanguinetti, "Rayleigh fading modeling and channel hardening for reconfigurable intelligent surfaces",
IEEE WCL 10(4), 2021 (arXiv 2009.04723), after the settings of its public code, RIS-fading. Large surfaces
have about pi N d^2 / lambda^2 eigenvalues that are not small. That is the area of the unit disc of
horizontal wave numbers in units of those that a surface can tell apart: over the disc the spectrum of the
field has the density (lambda / d)^2 / (2 pi sqrt(1 - k^2)), at least (lambda / d)^2 / (2 pi), and none
beyond. Eigenvalues above half of that are counted here; the edge of the disc adds a share that falls with
the aperture.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values
from studies.netcdf import Variables
from studies.plots import COLOURS, DASHES, make_panels

__all__ = ["EXPERIMENT"]

CODE = "RIS-fading (18de4f8), figure 2: its definition evaluated with SciPy, 6 digits"
LETTER = "Bjornson & Sanguinetti 2021: rank pi N (d / lambda)^2 of large surfaces"

REFERENCES = {0.125: (29.0232, 18.4033), 0.25: (10.3643, 5.4930), 0.5: (5.3789, 1.6809)}
"""Largest eigenvalue, and tr R^2 / N, of 40 x 40 elements by spacing in wavelengths."""

SIDE = 40


@dataclass(frozen=True)
class Settings:
    """Elements a side for the counts of large eigenvalues; the spectra are those of 40."""

    sides: tuple[int, ...] = (8, 12, 16, 20, 28, 40, 56)


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Return spectra, counts and checks; nothing is random."""
    spacings = np.array(list(REFERENCES))
    spectra = np.empty((len(spacings), SIDE**2))
    counts = np.empty((len(spacings), len(settings.sides)))
    checks = []
    for i, spacing in enumerate(REFERENCES):
        progress(i / len(spacings), f"spacing {spacing:g} wavelengths")
        spectra[i] = _eigenvalues(SIDE, spacing)
        for j, side in enumerate(settings.sides):
            values = spectra[i] if side == SIDE else _eigenvalues(side, spacing)
            counts[i, j] = np.sum(values > _floor(spacing) / 2)
        checks += _checks(spacing, spectra[i])
    sides = np.array(settings.sides, float)
    data: Variables = {
        "spacing": (("spacing",), spacings, {"units": "wavelengths", "long_name": "spacing"}),
        "side": (("side",), sides, {"units": "1", "long_name": "elements a side"}),
        "eigenvalue": (("spacing", "number"), spectra, {"units": "1", "long_name": "eigenvalues of 40 x 40"}),
        "count": (
            ("spacing", "side"),
            counts,
            {"units": "1", "long_name": "eigenvalues above half the floor"},
        ),
        "rank": (
            ("spacing", "side"),
            np.pi * np.outer(spacings, sides) ** 2,
            {"units": "1", "long_name": "asymptotic rank"},
        ),
    }
    return Outcome(data, tuple(checks))


def _eigenvalues(side: int, spacing: float) -> NDArray[np.float64]:
    surface = channels.UniformPlanarArray(side, side, spacing)
    return np.asarray(channels.isotropic_correlation(surface).eigenvalues)


def _floor(spacing: float) -> float:
    """Smallest density of the spectrum of the field."""
    return 1 / (2 * np.pi * spacing**2)


def _checks(spacing: float, eigenvalues: NDArray[np.float64]) -> list[Check]:
    largest, square = REFERENCES[spacing]
    rank, count = np.pi * (SIDE * spacing) ** 2, float(np.sum(eigenvalues > _floor(spacing) / 2))
    where = f"{spacing:g} wavelengths"
    return [
        Check(f"largest eigenvalue, {where}", float(eigenvalues[0]), largest, CODE, tolerance=5e-5),
        Check(f"tr R^2 / N, {where}", float(np.mean(eigenvalues**2)), square, CODE, tolerance=5e-5),
        # The edge of the disc adds no more than one for each unit of its length.
        Check(f"large eigenvalues, {where}", count, rank, LETTER, tolerance=2 * np.pi * SIDE * spacing),
    ]


def draw(values: Values) -> Figure:
    """Spectra with the asymptotic ranks, and how the counts approach them."""
    figure, (left, right) = make_panels(2)
    names = {0.125: r"$\lambda/8$", 0.25: r"$\lambda/4$", 0.5: r"$\lambda/2$"}
    for i, spacing in enumerate(values["spacing"]):
        style = {"color": COLOURS[i], "linestyle": DASHES[i]}
        numbers = np.arange(1, SIDE**2 + 1)
        left.plot(numbers, np.maximum(values["eigenvalue"][i], 1e-12), **style, label=names[spacing])
        rank = round(np.pi * (SIDE * spacing) ** 2)
        left.plot(rank, values["eigenvalue"][i][rank - 1], "o", color=COLOURS[i], markerfacecolor="white")
        ratio = values["count"][i] / values["rank"][i]
        right.plot(values["side"] * spacing, ratio, **style, marker="o", markerfacecolor="white")
    left.axhline(1, color="0.5", linewidth=0.8)
    left.set(xlabel="Eigenvalue number", ylabel="Eigenvalue", yscale="log", ylim=(1e-4, 1e2))
    left.legend(title=r"spacing; circles: $\pi N d^2/\lambda^2$", title_fontsize=7, loc="upper right")
    right.axhline(1, color="0.5", linewidth=0.8)
    right.set(
        xlabel="Side of the surface (wavelengths)", ylabel=r"Large eigenvalues / ($\pi N d^2/\lambda^2$)"
    )
    right.set_xscale("log")
    return figure


EXPERIMENT = Experiment(measure, draw, Settings(), Settings(sides=(8, 16, 40)), papers=("bjornson2021",))
