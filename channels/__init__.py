"""Propagation: arrays, spatial correlation, fading hops, phase noise and counter-based random streams."""

from channels.arrays import AntennaArray, ArbitraryArray, Orientation, UniformLinearArray, UniformPlanarArray
from channels.correlation import (
    Correlation,
    exponential_correlation,
    isotropic_correlation,
    local_scattering_correlation,
)
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
    "AntennaArray",
    "ArbitraryArray",
    "Correlation",
    "Hop",
    "InvalidArgumentError",
    "MemoryLimitError",
    "NoNoise",
    "Orientation",
    "PhaseNoise",
    "QuantizationNoise",
    "Stream",
    "SumNoise",
    "UniformLinearArray",
    "UniformNoise",
    "UniformPlanarArray",
    "UserHop",
    "VonMises",
    "WrappedNormal",
    "exponential_correlation",
    "isotropic_correlation",
    "local_scattering_correlation",
]
