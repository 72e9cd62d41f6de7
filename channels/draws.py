"""Uniform and normal numbers of a stream, numbered by realization."""

import numpy as np
from numpy.typing import NDArray

from channels.phase_noise import UniformNoise
from channels.streams import Stream

__all__ = ["normal", "uniform"]


def uniform(stream: Stream, size: int, count: int, first: int = 0) -> NDArray[np.float64]:
    """Numbers uniform on [0, 1) for realizations first, first + 1, ..., shape (count, size)."""
    return UniformNoise(0.5).sample(size, count, stream, first) + 0.5


def normal(stream: Stream, size: int, count: int, first: int = 0) -> NDArray[np.float64]:
    """Standard normal numbers for realizations first, first + 1, ..., shape (count, size) (Box, Muller)."""
    u, v = np.moveaxis(uniform(stream, 2 * size, count, first).reshape(count, size, 2), -1, 0)
    return np.asarray(np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v))
