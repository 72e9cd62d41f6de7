"""Propagation: geometry, path loss, spatial correlation, fading hops, phase noise, random streams."""

from channels.arrays import AntennaArray, ArbitraryArray, Orientation, UniformLinearArray, UniformPlanarArray
from channels.correlation import (
    Correlation,
    exponential_correlation,
    isotropic_correlation,
    local_scattering_correlation,
)
from channels.coupling import mutual_impedance, scattering_matrix
from channels.errors import InvalidArgumentError, MemoryLimitError, NearFieldWarning
from channels.fading import Hop, LineOfSight, UserHop
from channels.geometry import (
    Node,
    Sightline,
    UserDrop,
    UsersAt,
    UsersInDisc,
    UsersInRectangle,
    fraunhofer_distance_m,
    is_near_field,
    sightline,
)
from channels.hardware import ElementFailures, Hardware, PhaseDependentAmplitude
from channels.interference import Interference
from channels.near_field import (
    effective_degrees_of_freedom,
    line_of_sight,
    spherical_steering,
    spherical_wave,
)
from channels.pathloss import (
    FreeSpace,
    IndoorOffice,
    LogDistance,
    PathLoss,
    SurfaceElement,
    UrbanMacro,
    UrbanMicro,
    noise_power_dbm,
)
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
    "ElementFailures",
    "FreeSpace",
    "Hardware",
    "Hop",
    "IndoorOffice",
    "Interference",
    "InvalidArgumentError",
    "LineOfSight",
    "LogDistance",
    "MemoryLimitError",
    "NearFieldWarning",
    "NoNoise",
    "Node",
    "Orientation",
    "PathLoss",
    "PhaseDependentAmplitude",
    "PhaseNoise",
    "QuantizationNoise",
    "Sightline",
    "Stream",
    "SumNoise",
    "SurfaceElement",
    "UniformLinearArray",
    "UniformNoise",
    "UniformPlanarArray",
    "UrbanMacro",
    "UrbanMicro",
    "UserDrop",
    "UserHop",
    "UsersAt",
    "UsersInDisc",
    "UsersInRectangle",
    "VonMises",
    "WrappedNormal",
    "effective_degrees_of_freedom",
    "exponential_correlation",
    "fraunhofer_distance_m",
    "is_near_field",
    "isotropic_correlation",
    "line_of_sight",
    "local_scattering_correlation",
    "mutual_impedance",
    "noise_power_dbm",
    "scattering_matrix",
    "sightline",
    "spherical_steering",
    "spherical_wave",
]
