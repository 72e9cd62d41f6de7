"""Near field: spherical waves between elements, whose distances and angles differ from pair to pair.

They hold at every distance. From the Fraunhofer distance on they are plane waves to a phase of pi / 8: with
elements at p and q from the centres of two arrays, a distance d apart along u, the path

    |d u + q - p| = sqrt((d + s)^2 + t^2) = d + s + t^2 / (2 d) + ...,  s = (q - p) . u,  s^2 + t^2 = |q-p|^2

is d - p . u + q . u but for t^2 / (2 d), at most (D / 2)^2 / (2 d) with D the sum of the two apertures.
"""

from typing import Any

import array_api_compat
import numpy as np
import scipy.constants
from numpy.typing import ArrayLike, NDArray

from channels.blas import one_blas_thread
from channels.checks import as_array, finite, positive
from channels.errors import InvalidArgumentError
from channels.geometry import Node, as_points, fraunhofer_distance_m, sightline

__all__ = ["effective_degrees_of_freedom", "line_of_sight", "spherical_steering", "spherical_wave"]


def spherical_steering(node: Node, points_m: ArrayLike, frequency_hz: float) -> NDArray[np.complex128]:
    """Return the response of an array to spherical waves from points, relative to its centre.

    Element n answers with (d / d_n) g_n exp(-j 2 pi (d_n - d) / lambda): d_n and d are the distances of the
    point from the element and from the centre of the array, g_n^2 the power gain of the element towards the
    point. Far away that is g exp(j 2 pi p_n . u), the `steering` of the array.

    Parameters
    ----------
    node : Node
        The array.
    points_m : array_like, shape (..., 3)
        Points in global axes, metres: where users are, or the centres of other arrays.
    frequency_hz : float
        Carrier frequency, > 0.

    Returns
    -------
    array, shape (..., N)

    Raises
    ------
    InvalidArgumentError
        On a bad argument, and if a point is at an element or at the centre.
    """
    wavelength = scipy.constants.c / positive("frequency_hz", frequency_hz)
    points = as_points("points_m", points_m)
    elements_m = node.position_m + wavelength * node.array.positions
    centre = _distances(points - node.position_m)[..., None]
    ways = points[..., None, :] - elements_m
    lengths = _distances(ways)
    gains = node.gain_along(ways / lengths[..., None])
    return _spherical(centre, lengths, gains, wavelength)


def spherical_wave(left: Node, right: Node, frequency_hz: float) -> NDArray[np.complex128]:
    """Return the response of two arrays to the spherical waves between their elements.

    Relative to the path between their centres: entry (n, m) is (d / d_nm) g_nm g_mn exp(-j 2 pi (d_nm - d) /
    lambda), with the distances d_nm and d of the elements and of the centres and the power gains g_nm^2 and
    g_mn^2 of the elements towards each other. Far away that is g g' a(u) b(u)^H with the steering vectors of
    both arrays in the direction u from left to right. Times the root of the path gain between isotropic
    antennas at the centres, it is the mean of a `Hop` under free line of sight.

    Parameters
    ----------
    left, right : Node
        The arrays nearer to the BS and to the users, of n and m elements.
    frequency_hz : float
        Carrier frequency, > 0.

    Returns
    -------
    array, shape (n, m)

    Raises
    ------
    InvalidArgumentError
        On a bad argument, and if the centres or two elements coincide.
    """
    wavelength = scipy.constants.c / positive("frequency_hz", frequency_hz)
    left_m, right_m = (node.position_m + wavelength * node.array.positions for node in (left, right))
    centre = _distances(right.position_m - left.position_m)
    ways = right_m - left_m[:, None]
    lengths = _distances(ways)
    towards = ways / lengths[..., None]
    # Each element of the left array looks along its row, each of the right one back along its column.
    gains = left.gain_along(towards) * right.gain_along(-towards)
    return _spherical(centre, lengths, gains, wavelength)


def line_of_sight(left: Node, right: Node, frequency_hz: float) -> NDArray[np.complex128]:
    """Return `spherical_wave` below the Fraunhofer distance of the two arrays, and its far-field limit above.

    Parameters and errors are those of `spherical_wave`; the limit is a matrix of rank one.
    """
    line = sightline(left.position_m, right.position_m)
    if line.distance_m < fraunhofer_distance_m(frequency_hz, left.array, right.array):
        return spherical_wave(left, right, frequency_hz)
    departure = line.departure_azimuth, line.departure_elevation
    gain = left.element_gain(*departure) * right.element_gain(line.arrival_azimuth, line.arrival_elevation)
    a, b = (node.array.steering(*departure) for node in (left, right))
    return np.asarray(np.sqrt(gain) * np.outer(a, b.conj()))


def effective_degrees_of_freedom(matrix: Any) -> Any:
    """Return how many equal singular values would have the same first two moments as those of a channel.

    (sum s^2)^2 / sum s^4 of the singular values s: 1 for a plane wave, min(n, m) if all are equal.

    Parameters
    ----------
    matrix : array_like, shape (..., n, m)
        Channel matrix, not zero.

    Returns
    -------
    array, shape (...)

    Raises
    ------
    InvalidArgumentError
        If the matrix is not finite, or all zero.

    Notes
    -----
    Muharemovic, Sabharwal and Aazhang, "Antenna packing in low-power systems: communication limits and array
    design", IEEE Trans. Inf. Theory 54(1), 2008.
    """
    H = finite("matrix", as_array("matrix", matrix))
    if H.ndim < 2 or 0 in H.shape[-2:]:
        raise InvalidArgumentError("matrix", "shape (..., n, m)", f"shape {tuple(H.shape)}")
    xp = array_api_compat.array_namespace(H)
    with one_blas_thread():
        gram = H @ xp.conj(xp.matrix_transpose(H))  # its trace is sum s^2, its squared norm sum s^4
    fourth = xp.sum(xp.abs(gram) ** 2, axis=(-2, -1))
    if not bool(xp.all(fourth > 0)):
        raise InvalidArgumentError("matrix", "matrices that are not zero", "a zero matrix")
    return xp.sum(xp.abs(H) ** 2, axis=(-2, -1)) ** 2 / fourth


def _distances(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(ways, axis=-1)
    if not np.all(lengths > 0):
        raise InvalidArgumentError(
            "points_m", "points away from the elements and the centre", "a distance of 0"
        )
    return np.asarray(lengths)


def _spherical(
    centre: NDArray[np.float64], lengths: NDArray[np.float64], gains: NDArray[np.float64], wavelength: float
) -> NDArray[np.complex128]:
    """Amplitudes and phases of spherical waves, relative to isotropic elements at the centres."""
    phase = 2 * np.pi * (lengths - centre) / wavelength
    return np.asarray(centre / lengths * np.sqrt(gains) * np.exp(-1j * phase))
