"""Near field: what plane-wave phases lose, and how many streams a line of sight carries.

Left: the power of a user on the axis of a square surface of 100 x 100 elements a quarter wavelength apart,
over that with phases that focus on it, if the phases are those for a user far away. In the Fresnel
approximation the ratio is ((C(s)^2 + S(s)^2) / s^2)^2, s = W / sqrt(2 lambda d), with the Fresnel integrals
C and S, the side W and the distance d (Polk, "Optical Fresnel-zone gain of a rectangular aperture", IRE
Trans. Antennas Propag. 4(1), 1956): 3 dB down at about a tenth of the Fraunhofer distance. Right: effective
degrees of freedom (sum s^2)^2 / sum s^4 of the singular values s between two such square surfaces, 48 x 48
elements of half a wavelength, that face each other. Where the distance is much larger than the side, the
singular functions are those of a sinc kernel in either axis, and the number is 1 / m(n)^2 with m the mean of
sinc^2(n (x - y)) over the unit square and n = W^2 / (lambda d): 1 far away, n^2 = (W^2 / (lambda d))^2 close
by, the number of communication modes of Miller, "Communicating with waves between volumes", Applied Optics
39(11), 2000.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy.constants import c
from scipy.integrate import quad
from scipy.special import fresnel

import channels
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values, farthest
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

__all__ = ["EXPERIMENT"]

FRESNEL = "Fresnel integrals (Polk 1956)"
SINC = "mean of sinc^2, paraxial (see the description); Miller 2000 for large n"

FREQUENCY = c / 0.01
"""A wavelength of 1 cm."""


@dataclass(frozen=True)
class Settings:
    """Distances over the Fraunhofer distance of the surface, and communication modes n an axis."""

    distances: tuple[float, ...] = tuple(0.02 * 100 ** (i / 48) for i in range(49))
    modes: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    side: int = 36


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Losses and degrees of freedom; nothing is random."""
    progress(0.0, "losses")
    lens = channels.Node((0, 0, 0), channels.UniformPlanarArray(100, 100, 0.25))
    reach = channels.fraunhofer_distance_m(FREQUENCY, lens.array)
    distances = np.array(settings.distances) * reach
    on_axis = distances[:, None] * np.array([1.0, 0.0, 0.0])
    answers = channels.spherical_steering(lens, on_axis, FREQUENCY)
    loss = np.abs(answers.sum(axis=1)) ** 2 / np.sum(np.abs(answers), axis=1) ** 2
    s = 25.0 / np.sqrt(2 * distances / 0.01)
    S, C = fresnel(s)
    freedom, expected = np.empty((2, len(settings.modes)))
    for i, modes in enumerate(settings.modes):
        progress(0.2 + 0.8 * i / len(settings.modes), f"{modes:g} modes")
        freedom[i], expected[i] = _freedom(settings.side, modes), _paraxial(modes)
    data: Variables = {
        "distance": (
            ("distance",),
            distances / reach,
            {"units": "1", "long_name": "over the Fraunhofer distance"},
        ),
        "loss": (("distance",), loss, {"units": "1", "long_name": "power with plane phases over focused"}),
        "loss_fresnel": (("distance",), ((C**2 + S**2) / s**2) ** 2, {"units": "1", "long_name": "Fresnel"}),
        "modes": (("modes",), np.array(settings.modes), {"units": "1", "long_name": "W^2 / (lambda d)"}),
        "freedom": (("modes",), freedom, {"units": "1", "long_name": "effective degrees of freedom"}),
        "freedom_paraxial": (("modes",), expected, {"units": "1", "long_name": "paraxial closed form"}),
    }
    return Outcome(data, tuple(_checks(data)))


def _freedom(side: int, modes: float) -> float:
    """Degrees of freedom between two surfaces of W^2 / (lambda d) = modes, spaced by half a wavelength."""
    width = 0.005 * side
    there = channels.UniformPlanarArray(side, side, 0.5, channels.Orientation(yaw=math.pi))
    left = channels.Node((0, 0, 0), channels.UniformPlanarArray(side, side, 0.5))
    right = channels.Node((width**2 / (0.01 * modes), 0, 0), there)
    return float(channels.effective_degrees_of_freedom(channels.spherical_wave(left, right, FREQUENCY)))


def _paraxial(modes: float) -> float:
    mean, _ = quad(lambda t: 2 * (1 - t) * np.sinc(modes * t) ** 2, 0, 1, limit=200)
    return float(mean) ** -2


def _checks(data: Variables) -> Iterator[Check]:
    values = {name: entry[1] for name, entry in data.items()}
    # Where the side is small against the distance, as both closed forms take it to be.
    yield farthest(
        Check(
            f"plane phases over focusing at {d:.3f} Fraunhofer distances",
            ours,
            exact,
            FRESNEL,
            tolerance=0.01,
        )
        for d, ours, exact in zip(values["distance"], values["loss"], values["loss_fresnel"], strict=True)
        if d >= 0.05
    )
    freedom = zip(values["modes"], values["freedom"], values["freedom_paraxial"], strict=True)
    for modes, ours, paraxial in freedom:
        if modes <= 3:
            name = f"degrees of freedom over paraxial ones, W^2 / (lambda d) = {modes:g}"
            yield Check(name, ours / paraxial, 1.0, SINC, tolerance=0.05)


def draw(values: Values) -> Figure:
    """Loss of plane phases over the distance, and degrees of freedom over the modes."""
    figure, (left, right) = make_panels(2)
    left.plot(values["distance"], 10 * np.log10(values["loss_fresnel"]), color=COLOURS[0], label="Fresnel")
    left.plot(
        values["distance"][::3], 10 * np.log10(values["loss"][::3]), "o", color=COLOURS[1],
        markerfacecolor="white", label="spherical waves",
    )  # fmt: skip
    left.axhline(0, color="0.5", linewidth=0.8)
    left.set(xlabel="Distance / Fraunhofer distance", ylabel="Plane phases over focusing (dB)", xscale="log")
    left.legend()
    n = values["modes"]
    right.plot(n, values["freedom_paraxial"], color=COLOURS[0], label="paraxial, exact")
    right.plot(n, np.maximum(n, 1) ** 2, color="0.5", linestyle=":", label=r"1 and $(W^2/(\lambda d))^2$")
    right.plot(n, values["freedom"], "o", color=COLOURS[1], markerfacecolor="white", label="singular values")
    right.set(xlabel=r"$W^2/(\lambda d)$", ylabel="Effective degrees of freedom", xscale="log", yscale="log")
    right.legend()
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(modes=(0.1, 0.5, 1.0, 2.0), side=16),
    papers=("miller2000", "polk1956"),
)
