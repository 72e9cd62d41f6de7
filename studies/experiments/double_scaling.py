"""Power scaling with the elements of one surface and of two: 6 dB and 12 dB by every doubling.

Han, Zhang, Duan and Zhang, "Cooperative double-IRS aided communication: beamforming design and power
scaling", IEEE WCL 9(8), 2020: over a free line of sight between two surfaces, whose channel has rank one, K
elements in all, half of them at each, raise the received power by (K / 2)^4, one surface of K elements by
K^2. With plane waves and steering phases that is exact at every K: 40 log10 2 = 12.04 dB and 20 log10 2 =
6.02 dB by every doubling, so that two surfaces win beyond a number of elements that the path losses set.
Here: a single antenna and a user, each 1.06 m from its surface, the surfaces 2 m apart, elements half a
wavelength apart, 28 GHz; plane waves as in the letter, and spherical ones with phases that focus, for which
the law holds as long as the hops are longer than the Fraunhofer distance. Without a line of sight, under
independent Rayleigh fading and phases that do not know it, the mean gains are K^2 / 4 and K: half of the
decibels.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import channels
import ris
from ris.progress import Progress
from studies.experiment import Check, Experiment, Outcome, Values, farthest
from studies.netcdf import Variables
from studies.plots import COLOURS, make_panels

__all__ = ["EXPERIMENT"]

LETTER = "Han, Zhang, Duan & Zhang 2020: K^4 with rank one between the surfaces"
SINGLE = "square law of a single surface: K^2"
RAYLEIGH = "mean gain N1 N2 of independent fading, M = 1"

FREQUENCY = 28e9
ENDS = np.array([[0.0, 0.0, 0.0], [0.0, 3.6, 0.0]])
"""Antenna and user, metres."""

SURFACES = np.array([[0.7, 0.8, 0.0], [0.7, 2.8, 0.0]])
"""Surfaces that face the line between antenna and user, metres."""

CASES = ("single, plane", "double, plane", "single, spherical", "double, spherical", "double, Rayleigh")


@dataclass(frozen=True)
class Settings:
    """Rows and columns of each of the two surfaces; the single one has twice the columns."""

    grids: tuple[tuple[int, int], ...] = (
        *((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)),
        *((8, 8), (8, 16), (16, 16), (16, 32), (32, 32)),
    )


def measure(settings: Settings, stream: channels.Stream, progress: Progress) -> Outcome:
    """Power gains of every case at every size; nothing is random."""
    elements = np.array([2 * rows * columns for rows, columns in settings.grids], float)
    gains = np.empty((len(CASES), len(elements)))
    for j, (rows, columns) in enumerate(settings.grids):
        progress(j / len(elements), f"{elements[j]:g} elements")
        one = channels.Node(SURFACES[0], _array(rows, 2 * columns))
        two = [channels.Node(place, _array(rows, columns)) for place in SURFACES]
        gains[:, j] = (
            *(_gain([one], plane=plane) if count == 1 else _gain(two, plane=plane)
              for plane in (True, False) for count in (1, 2)),
            _rayleigh(rows * columns),
        )  # fmt: skip
    data: Variables = {
        "case": (("case",), np.array(CASES, object), {"long_name": "surfaces and waves"}),
        "elements": (("elements",), elements, {"units": "1", "long_name": "elements in all"}),
        "gain": (
            ("case", "elements"),
            gains,
            {"units": "1", "long_name": "power over that of two elements' path"},
        ),
    }
    return Outcome(data, tuple(_checks(elements, gains)))


def _array(rows: int, columns: int) -> channels.UniformPlanarArray:
    return channels.UniformPlanarArray(rows, columns, 0.5, channels.Orientation(yaw=math.pi))


def _gain(surfaces: list[channels.Node], plane: bool) -> float:
    """Power over the path of one element at each surface, with phases that steer or focus."""
    antenna, user = (channels.Node(place, channels.ArbitraryArray(np.zeros((1, 3)))) for place in ENDS)
    stops = [antenna, *surfaces, user]
    waves = [(_plane_wave if plane else _spherical_wave)(*pair) for pair in itertools.pairwise(stops)]
    field = waves[0]
    for (before, surface, after), wave in zip(
        zip(stops, stops[1:], stops[2:], strict=False), waves[1:], strict=True
    ):
        ends = before.position_m, after.position_m
        if plane:
            theta = -np.angle(_steering(surface, ends[0]) * _steering(surface, ends[1]))
        else:
            theta = ris.focusing_phases(surface, *ends, FREQUENCY)
        field = (field * np.exp(1j * theta)) @ wave
    return float(abs(field[0, 0]) ** 2)


def _spherical_wave(left: channels.Node, right: channels.Node) -> NDArray[np.complex128]:
    return channels.spherical_wave(left, right, FREQUENCY)


def _plane_wave(left: channels.Node, right: channels.Node) -> NDArray[np.complex128]:
    """Far-field limit of the channel between two arrays, of rank one."""
    return np.outer(_steering(left, right.position_m), _steering(right, left.position_m))


def _steering(node: channels.Node, point_m: NDArray[np.float64]) -> NDArray[np.complex128]:
    line = channels.sightline(node.position_m, point_m)
    return node.array.steering(line.departure_azimuth, line.departure_elevation)


def _rayleigh(elements: int) -> float:
    """Mean gain of the double reflection under independent fading, from the closed form."""
    one, many = np.eye(1), np.eye(elements)
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, one, many),
        ris1_ris2=channels.Hop(1.0, many, many),
        ris2_user=channels.UserHop([1.0], many),
    )
    return float(ris.closed_form_moments(system, np.zeros(elements), np.zeros(elements)).mean_gain[0])


def _checks(elements: NDArray[np.float64], gains: NDArray[np.float64]) -> Iterator[Check]:
    single, double, *_, rayleigh = gains
    for name, powers, law, source in (
        ("one surface: power over K^2", single, elements**2, SINGLE),
        ("two surfaces: power over (K/2)^4", double, (elements / 2) ** 4, LETTER),
        ("two surfaces, Rayleigh: power over (K/2)^2", rayleigh, (elements / 2) ** 2, RAYLEIGH),
    ):
        yield farthest(
            Check(f"{name}, {K:g} elements", ratio, 1.0, source, tolerance=1e-9)
            for K, ratio in zip(elements, powers / law, strict=True)
        )
    for name, powers, step, source in (
        ("one surface", single, 20, SINGLE),
        ("two surfaces", double, 40, LETTER),
        ("two surfaces, Rayleigh", rayleigh, 20, RAYLEIGH),
    ):
        slope = 10 * np.log10(powers[-1] / powers[0]) / np.log2(elements[-1] / elements[0])
        yield Check(f"dB by a doubling, {name}", float(slope), step * math.log10(2), source, tolerance=1e-9)


def draw(values: Values) -> Figure:
    """Power gains, and what every doubling adds."""
    figure, (left, right) = make_panels(2)
    K = values["elements"]
    looks = {
        "single, plane": (COLOURS[1], "-", ""),
        "double, plane": (COLOURS[2], "-", ""),
        "single, spherical": (COLOURS[1], "", "s"),
        "double, spherical": (COLOURS[2], "", "^"),
        "double, Rayleigh": (COLOURS[0], ":", "o"),
    }
    for case, gain in zip(values["case"], values["gain"], strict=True):
        colour, line, marker = looks[case]
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": line,
            "marker": marker,
            "markersize": 4,
            "markerfacecolor": "white",
        }
        left.plot(K, 10 * np.log10(gain), **style, label=case)
        right.plot(K[1:], 10 * np.diff(np.log10(gain)) / np.diff(np.log2(K)), **style)
    left.set(xlabel="Elements in all", ylabel="Power gain (dB)", xscale="log")
    left.legend(title="surfaces, waves", title_fontsize=7)
    right.set(xlabel="Elements in all", ylabel="dB added by a doubling", xscale="log", ylim=(0, 14))
    for step in (20, 40):
        right.axhline(step * math.log10(2), color="0.6", linewidth=0.6)
        right.text(K[1], step * math.log10(2) + 0.25, f"{step * math.log10(2):.2f} dB", fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure,
    draw,
    Settings(),
    Settings(grids=((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8))),
    papers=("han2020",),
)
