"""From the hardware that a study file names to that of `channels`."""

from typing import Any

import channels
from channels.errors import InvalidArgumentError
from studies.config import hardware
from studies.config.system import Surface
from studies.laws import make_correlation
from studies.transmission import milliwatts

__all__ = ["make_hardware", "make_interference"]


def make_hardware(surface: Surface, array: channels.UniformPlanarArray) -> channels.Hardware:
    """Return what the elements of a surface do beside phase shift and noise."""
    coupling, amplitude = surface.coupling, surface.amplitude
    scattering = None
    if coupling is not None:
        impedance = channels.mutual_impedance(array, coupling.length, coupling.radius)
        scattering = channels.scattering_matrix(impedance, coupling.reference_ohm)
    return channels.Hardware(
        amplitude=None
        if amplitude is None
        else channels.PhaseDependentAmplitude(amplitude.minimum, amplitude.offset, amplitude.steepness),
        failures=None if surface.failures is None else _failures(surface.failures),
        coupling=scattering,
    )


def make_interference(surface: Surface, array: channels.UniformPlanarArray) -> channels.Interference | None:
    """Return the interference at a surface, in milliwatts, if there is any."""
    if (meets := surface.interference) is None:
        return None
    return channels.Interference(milliwatts(meets.power_dbm), make_correlation(array, meets.correlation))


def _failures(law: Any) -> channels.ElementFailures:
    match law:
        case hardware.Absorbing() | hardware.RandomPhase():
            return channels.ElementFailures(law.probability, law.law)
        case hardware.Stuck():
            return channels.ElementFailures(law.probability, law.phase)
    raise InvalidArgumentError("failures", "a law of a study file", repr(law))
