"""Phase shifts from positions alone: a surface as a lens between two points."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.geometry import Node
from channels.near_field import spherical_steering

__all__ = ["focusing_phases"]


def focusing_phases(
    surface: Node, source_m: ArrayLike, target_m: ArrayLike, frequency_hz: float
) -> NDArray[np.float64]:
    """Return phase shifts with which all paths from one point over the surface to another are in phase.

    theta_n = 2 pi (s_n + t_n) / lambda, up to a constant, with the distances s_n and t_n of element n from
    source and target: optimal at any distance for free line of sight between single antennas there, where the
    amplitude is the sum of those of the elements. Far away these are steering phases. In a chain of surfaces
    each may focus from the centre of the one before it on the centre of the next.

    Parameters
    ----------
    surface : Node
        The surface, of N elements.
    source_m, target_m : array_like, shapes (..., 3)
        Points in global axes, metres; the leading axes broadcast.
    frequency_hz : float
        Carrier frequency, > 0.

    Returns
    -------
    array, shape (..., N), radians
        In (-pi, pi].

    Raises
    ------
    InvalidArgumentError
        On a bad argument, and if a point is at an element or at the centre of the surface.
    """
    source, target = (spherical_steering(surface, point, frequency_hz) for point in (source_m, target_m))
    return np.asarray(-np.angle(source * target))
