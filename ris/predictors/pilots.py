"""What noisy pilots tell of a channel from a surface: a line of sight, and scattering around it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate_rows"]

FINER = 4
"""Directions on either axis of the search for the line of sight, for each element."""


def estimate_rows(
    rows: NDArray[np.complex128], snr: NDArray[np.float64], grid: tuple[int, int]
) -> NDArray[np.complex128]:
    """Return estimates of channels of which pilots tell `rows` = channel + noise.

    The channel is a plane wave of any amplitude and direction plus independent scattering. In white noise,
    the most likely wave is the largest value of the spectrum on the grid. Of the rest r, whose mean power is
    p + v with scattering p and noise v, the linear estimate of least mean square error is r p / (p + v).

    Parameters
    ----------
    rows : ndarray, shape (..., K, N)
        Rows from the surface to the users, with noise.
    snr : ndarray, shape (..., 1) or (..., K)
        Mean power of a channel between element and user over that of the noise.
    grid : pair of int
        Rows and columns of the elements.

    Returns
    -------
    ndarray, shape (..., K, N)
        They tend to `rows` as the SNR grows.
    """
    noise = (np.abs(rows) ** 2).mean(axis=-1) / (1 + snr)
    sight = _strongest_wave(rows.reshape(*rows.shape[:-1], *grid)).reshape(rows.shape)
    rest = rows - sight
    scattering = np.maximum((np.abs(rest) ** 2).mean(axis=-1) - noise, 0)
    return np.asarray(sight + (scattering / (scattering + noise))[..., None] * rest)


def _strongest_wave(on_grid: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The plane wave closest to numbers on a grid, shape (..., rows, columns), in as many directions."""
    rows, columns = on_grid.shape[-2:]
    finer = FINER * rows, FINER * columns
    spectrum = np.fft.fft2(on_grid, finer) / (rows * columns)
    flat = spectrum.reshape(*spectrum.shape[:-2], -1)
    largest = np.abs(flat).argmax(axis=-1)[..., None]
    row, column = np.divmod(largest, finer[1])
    by_row, by_column = (
        np.exp(2j * np.pi * step / size * np.arange(count))
        for step, size, count in ((row, finer[0], rows), (column, finer[1], columns))
    )
    amplitude = np.take_along_axis(flat, largest, axis=-1)[..., None]
    return np.asarray(amplitude * by_row[..., :, None] * by_column[..., None, :])
