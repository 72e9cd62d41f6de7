"""From the configuration of a point to the system and its phase shifts."""

import numpy as np
from numpy.typing import NDArray

import ris
from studies.config import Point
from studies.designs import phase_shifts
from studies.system import build_system

__all__ = ["build"]


def build(point: Point, seed: int = 0) -> tuple[ris.DoubleRIS, NDArray[np.float64], NDArray[np.float64]]:
    """Return the system of a point and the phase shifts of its surfaces.

    Parameters
    ----------
    point : Point
        A checked point of a study.
    seed : int
        Seed of random phase shifts and of the drops of a scenario; the same seed gives the same ones at every
        point.

    Returns
    -------
    system : ris.DoubleRIS
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Empty for a surface that no path in use touches.
    """
    system = build_system(point.system, seed)
    theta1, theta2 = phase_shifts(system, point.phases, point.transmission, seed)
    return system, theta1, theta2
