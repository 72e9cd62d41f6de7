"""From the configuration of a point to the system, its phase shifts and its powers."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.montecarlo import MEMORY_LIMIT
from studies import config

__all__ = ["build", "build_system", "consumption_w", "noise_power_dbm", "phase_shifts", "power_and_noise"]

THERMAL_NOISE_DBM_HZ = 10 * math.log10(1.380649e-23 * 290 * 1e3)
"""Thermal noise density at 290 K, k T in dBm/Hz: -173.98."""


def build(
    point: config.Point, seed: int = 0
) -> tuple[ris.DoubleRIS, NDArray[np.float64], NDArray[np.float64]]:
    """Return the system of a point and the phase shifts of its surfaces.

    Parameters
    ----------
    point : config.Point
        A checked point of a study.
    seed : int
        Seed of random phase shifts; the same seed gives the same phases at every point.

    Returns
    -------
    system : ris.DoubleRIS
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Empty for a surface that no path in use touches.
    """
    system = build_system(point.system)
    theta1, theta2 = phase_shifts(system, point.phases, seed)
    return system, theta1, theta2


def build_system(table: config.System) -> ris.DoubleRIS:
    """Return the system with the hops that the paths in use need.

    Raises
    ------
    MemoryLimitError
        If its covariances would take more than `MEMORY_LIMIT`.
    """
    _check_memory(table)
    bs_array = channels.UniformLinearArray(table.bs.antennas, table.bs.spacing)
    arrays = {"bs": bs_array} | {
        name: channels.UniformPlanarArray(surface.rows, surface.columns, surface.spacing)
        for name, surface in (("surface1", table.surface1), ("surface2", table.surface2))
    }
    bs, one, two, hops = table.bs, table.surface1, table.surface2, table.hops

    def hop(name: str, left: Any, right: Any) -> channels.Hop | None:
        if name not in hops:
            return None
        sides = (_correlation(arrays[node], law or default) for node, law, default in (left, right))
        return channels.Hop(_linear(getattr(table.gains, f"{name}_db")), *sides)

    def user_hop(name: str, node: str) -> channels.UserHop | None:
        if name not in hops:
            return None
        gains = np.broadcast_to(_linear(getattr(table.gains, f"{name}_db")), (table.users.count,))
        directions = getattr(table.users, f"seen_from_{node}")
        law = getattr(table, node).correlation
        covariance = (
            _correlation(arrays[node], law) if directions is None else _seen(arrays[node], directions)
        )
        return channels.UserHop(gains, covariance)

    return ris.DoubleRIS(
        bs_ris1=hop(
            "bs_ris1",
            ("bs", bs.towards_surface1, bs.correlation),
            ("surface1", one.towards_bs, one.correlation),
        ),
        bs_ris2=hop(
            "bs_ris2",
            ("bs", bs.towards_surface2, bs.correlation),
            ("surface2", two.towards_bs, two.correlation),
        ),
        ris1_ris2=hop(
            "ris1_ris2",
            ("surface1", one.towards_surface, one.correlation),
            ("surface2", two.towards_surface, two.correlation),
        ),
        ris1_user=user_hop("ris1_user", "surface1"),
        ris2_user=user_hop("ris2_user", "surface2"),
        bs_user=user_hop("bs_user", "bs"),
        phase_noise1=_noise(one.phase_noise),
        phase_noise2=_noise(two.phase_noise),
    )


def phase_shifts(
    system: ris.DoubleRIS, phases: config.Phases, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the phase shifts of both surfaces by the design of the study."""
    match phases.design:
        case "optimal":
            theta1, theta2 = ris.optimal_phases(system)
        case "steered":
            theta1, theta2 = ris.steered_phases(system, phases.user)
        case "uniform":
            theta1, theta2 = map(ris.uniform_phases, (system.elements1, system.elements2))
        case "random":
            theta1, theta2 = (
                ris.random_phases(elements, channels.Stream(seed, "phases", surface))
                for surface, elements in enumerate((system.elements1, system.elements2), start=1)
            )
    if phases.bits is not None:
        theta1, theta2 = (ris.quantize_phases(theta, phases.bits) for theta in (theta1, theta2))
    return theta1, theta2


def noise_power_dbm(transmission: config.Transmission) -> float:
    """Noise power at a user: as given, or k T B at 290 K times the noise figure."""
    if transmission.noise_power_dbm is not None:
        return transmission.noise_power_dbm
    bandwidth, figure = transmission.bandwidth_hz, transmission.noise_figure_db
    if bandwidth is None or figure is None:
        raise InvalidArgumentError(
            "transmission", "noise_power_dbm, or bandwidth_hz and noise_figure_db", "neither"
        )
    return THERMAL_NOISE_DBM_HZ + 10 * math.log10(bandwidth) + figure


def power_and_noise(transmission: config.Transmission) -> tuple[float, float]:
    """Transmit power and noise power at a user in milliwatts."""
    return 10 ** (transmission.power_dbm / 10), 10 ** (noise_power_dbm(transmission) / 10)


def _check_memory(table: config.System) -> None:
    """Count one covariance and one factor, complex, for each side of each hop, before any is made."""
    sizes = {
        "bs": table.bs.antennas,
        "ris1": table.surface1.rows * table.surface1.columns,
        "ris2": table.surface2.rows * table.surface2.columns,
    }
    sides = [side for hop in table.hops for side in hop.split("_")]
    sides += [array for array, other in (hop.split("_") for hop in table.hops) if other == "user"] * (
        table.users.count - 1
    )
    needed = sum(2 * 16 * sizes[side] ** 2 for side in sides if side != "user")
    if needed > MEMORY_LIMIT:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise channels.MemoryLimitError(
            f"a system of covariances of size {found}", needed, int(MEMORY_LIMIT), "take fewer elements"
        )


def _linear(decibels: float | list[float]) -> NDArray[np.float64]:
    return np.asarray(10 ** (np.asarray(decibels, dtype=float) / 10))


def _correlation(array: Any, law: Any) -> channels.Correlation:
    match law:
        case config.Identity():
            return channels.Correlation(np.eye(array.size))
        case config.Isotropic():
            return channels.isotropic_correlation(array)
        case config.PlanarIsotropic():
            return channels.isotropic_correlation(array, dimensions=2)
        case config.Exponential():
            coefficient = law.coefficient * np.exp(1j * law.phase) if law.phase else law.coefficient
            return channels.exponential_correlation(array.grid, coefficient)
        case config.LocalScattering():
            angles = np.deg2rad([law.azimuth_deg, law.elevation_deg, law.angular_spread_deg])
            return channels.local_scattering_correlation(array, *angles)
    raise InvalidArgumentError("law", "a correlation law of a study file", repr(law))


def _seen(array: Any, directions: config.Directions) -> channels.Correlation:
    """Return one covariance for all users, or a stack (K, N, N) of their own."""
    azimuth, elevation = np.broadcast_arrays(directions.azimuth_deg, directions.elevation_deg)
    azimuth, elevation = (np.deg2rad(a if len(a) > 1 else a[0]) for a in (azimuth, elevation))
    spread = float(np.deg2rad(directions.angular_spread_deg))
    return channels.local_scattering_correlation(array, azimuth, elevation, spread)


def _noise(law: Any) -> channels.PhaseNoise:
    match law:
        case config.NoNoise():
            return channels.NoNoise()
        case config.VonMises():
            return channels.VonMises(law.concentration)
        case config.Uniform():
            return channels.UniformNoise(law.half_width)
        case config.WrappedNormal():
            return channels.WrappedNormal(law.standard_deviation)
        case config.Quantization():
            return channels.QuantizationNoise(law.bits)
        case config.SumOfLaws():
            return channels.SumNoise(_noise(term) for term in law.terms)
    raise InvalidArgumentError("law", "a phase-noise law of a study file", repr(law))


def consumption_w(model: config.PowerModel, power: float, system: ris.DoubleRIS) -> float:
    """Power consumption in watts: transmit power (milliwatts) over efficiency, BS, elements and users."""
    elements = system.elements1 + system.elements2
    fixed = model.bs_w + model.element_w * elements + model.user_w * system.users
    return power * 1e-3 / model.amplifier_efficiency + fixed
