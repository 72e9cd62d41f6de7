"""Propagation: arrays, spatial correlation, fading hops, phase noise and counter-based random streams."""

from channels.correlation import Correlation
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.fading import Hop, UserHop
from channels.phase_noise import (
    NoNoise,
    PhaseNoise,
    QuantizationNoise,
    SumNoise,
    UniformNoise,
    VonMises,
    WrappedNormal,
)
from channels.streams import Stream

__all__ = [
    "Correlation",
    "Hop",
    "InvalidArgumentError",
    "MemoryLimitError",
    "NoNoise",
    "PhaseNoise",
    "QuantizationNoise",
    "Stream",
    "SumNoise",
    "UniformNoise",
    "UserHop",
    "VonMises",
    "WrappedNormal",
]
