"""Phases by a trained network for the system of a study, and what the closed form says of them."""

import csv
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import ris
from studies.config import Point
from studies.files import replace_file
from studies.system import build_system
from studies.transmission import power_and_noise

__all__ = ["Prediction", "predict_point", "prediction_table", "surface_tables", "write_phases"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Phases, and sum rates.

    Attributes
    ----------
    phases : tuple of ndarray, shapes (rows, columns)
        Of surfaces 1 and 2, radians.
    rates : dict
        Closed-form rates of the users at these phases and at those of other designs, shape (K,), bit/s/Hz.
    warnings : tuple of str
        How far the system is from what the network was trained for.
    """

    phases: tuple[NDArray[np.float64], NDArray[np.float64]]
    rates: Mapping[str, NDArray[np.float64]]
    warnings: tuple[str, ...]


def predict_point(point: Point, seed: int, model: str, bits: int | None) -> Prediction:
    """Predict the phases of the system of a point.

    Raises
    ------
    InvalidArgumentError
        If the network is not for such a system.
    """
    system = build_system(point.system, seed)
    power, noise_power = power_and_noise(point.transmission)
    grids = [(one.rows, one.columns) for one in (point.system.surface1, point.system.surface2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ris.OutOfRangeWarning)
        predicted = ris.predict_phases(
            system,
            power=power,
            noise_power=noise_power,
            model=model,
            bits=bits,
            grid1=grids[0],
            grid2=grids[1],
        )
    closed, steered = ris.optimal_phases(system), ris.steered_phases(system, 0)
    designs: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        "predicted": predicted,
        "optimal mean gain": (closed.theta1, closed.theta2),
        "steering towards user 1": (steered.theta1, steered.theta2),
        "equal": (np.zeros(system.elements1), np.zeros(system.elements2)),
    }
    rates = {
        name: np.asarray(ris.closed_form_rate(system, *theta, power=power, noise_power=noise_power))
        for name, theta in designs.items()
    }
    theta1, theta2 = (theta.reshape(grid) for theta, grid in zip(predicted, grids, strict=True))
    return Prediction((theta1, theta2), rates, tuple(str(one.message) for one in caught))


def prediction_table(found: Prediction, title: str) -> Table:
    """Return the rates as a table."""
    table = Table(title=title, caption="closed-form rates (hardening bound, perfect CSI) in bit/s/Hz")
    table.add_column("phases")
    for text in ("sum rate", "smallest rate"):
        table.add_column(text, justify="right")
    for name, rates in found.rates.items():
        table.add_row(name, f"{rates.sum():.4f}", f"{rates.min():.4f}")
    return table


def surface_tables(found: Prediction) -> list[Table]:
    """Return the phases in degrees, a table for each surface."""
    tables = []
    for surface, phases in enumerate(found.phases, start=1):
        table = Table(title=f"surface {surface}, degrees", show_header=False)
        for row in np.degrees(phases):
            table.add_row(*(f"{value:.0f}" for value in row))
        tables.append(table)
    return tables


def write_phases(found: Prediction, path: Path) -> None:
    """Write the phases as CSV.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["surface", "row", "column", "phase_rad"])
            for surface, phases in enumerate(found.phases, start=1):
                rows.writerows(
                    [surface, *place, value] for place, value in np.ndenumerate(phases.astype(object))
                )

    replace_file(path, write)
