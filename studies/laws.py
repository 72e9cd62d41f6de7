"""From the laws that a study file names to those of `channels`."""

from typing import Any

import numpy as np

import channels
from channels.errors import InvalidArgumentError
from studies.config import correlation, phase_noise, scenario

__all__ = ["make_correlation", "make_path_loss", "make_phase_noise"]


def make_correlation(array: Any, law: Any) -> channels.Correlation:
    """Return the correlation of an array by a law of `studies.config.correlation`."""
    match law:
        case correlation.Identity():
            return channels.Correlation(np.eye(array.size))
        case correlation.Isotropic():
            return channels.isotropic_correlation(array)
        case correlation.PlanarIsotropic():
            return channels.isotropic_correlation(array, dimensions=2)
        case correlation.Exponential():
            coefficient = law.coefficient * np.exp(1j * law.phase) if law.phase else law.coefficient
            return channels.exponential_correlation(array.grid, coefficient)
        case correlation.LocalScattering():
            angles = np.deg2rad([law.azimuth_deg, law.elevation_deg, law.angular_spread_deg])
            return channels.local_scattering_correlation(array, *angles)
    raise InvalidArgumentError("law", "a correlation law of a study file", repr(law))


def make_phase_noise(law: Any) -> channels.PhaseNoise:
    """Return the phase noise by a law of `studies.config.phase_noise`."""
    match law:
        case phase_noise.NoNoise():
            return channels.NoNoise()
        case phase_noise.VonMises():
            return channels.VonMises(law.concentration)
        case phase_noise.Uniform():
            return channels.UniformNoise(law.half_width)
        case phase_noise.WrappedNormal():
            return channels.WrappedNormal(law.standard_deviation)
        case phase_noise.Quantization():
            return channels.QuantizationNoise(law.bits)
        case phase_noise.SumOfLaws():
            return channels.SumNoise(make_phase_noise(term) for term in law.terms)
    raise InvalidArgumentError("law", "a phase-noise law of a study file", repr(law))


def make_path_loss(law: Any, frequency_hz: float) -> channels.PathLoss:
    """Return the path loss at a carrier frequency by a law of `studies.config.scenario`."""
    match law:
        case scenario.FreeSpace():
            return channels.FreeSpace(frequency_hz)
        case scenario.LogDistance():
            return channels.LogDistance(law.exponent, law.reference_db, law.reference_m, law.shadowing_db)
        case scenario.UrbanMicro():
            return channels.UrbanMicro(frequency_hz)
        case scenario.UrbanMacro():
            return channels.UrbanMacro(frequency_hz)
        case scenario.IndoorOffice():
            return channels.IndoorOffice(frequency_hz, law.office)
    raise InvalidArgumentError("law", "a path-loss law of a study file", repr(law))
