"""From the system of a study file to that of `ris`."""

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from ris.montecarlo import MEMORY_LIMIT
from studies.config.correlation import CorrelationLaw
from studies.config.line_of_sight import Ray, UserRay
from studies.config.system import Directions, System
from studies.hardware import make_hardware, make_interference
from studies.laws import make_correlation, make_phase_noise
from studies.scenario import drop

__all__ = ["build_system"]


def build_system(table: System, seed: int = 0) -> ris.DoubleRIS:
    """Return the system with the hops that the paths in use need.

    Parameters
    ----------
    table : System
        Gains and correlations, or a scenario.
    seed : int
        Seed of the drops of a scenario.

    Raises
    ------
    MemoryLimitError
        If its covariances would take more than `MEMORY_LIMIT`.
    """
    _check_memory(table)
    return _with_hardware(table, _system(table) if table.scenario is None else drop(table, seed))


def _with_hardware(table: System, system: ris.DoubleRIS) -> ris.DoubleRIS:
    """Return the system with the hardware of the surfaces in use, and interference at them."""
    parts: dict[str, Any] = {}
    for name, surface in table.surfaces.items():
        array = channels.UniformPlanarArray(surface.rows, surface.columns, surface.spacing)
        number = name.removeprefix("surface")
        parts[f"hardware{number}"] = make_hardware(surface, array)
        parts[f"emi{number}"] = make_interference(surface, array)
    return dataclasses.replace(system, **parts)


def _system(table: System) -> ris.DoubleRIS:
    """Return the system with the gains and correlations of the table."""
    bs_array = channels.UniformLinearArray(table.bs.antennas, table.bs.spacing)
    arrays = {"bs": bs_array} | {
        name: channels.UniformPlanarArray(surface.rows, surface.columns, surface.spacing)
        for name, surface in (("surface1", table.surface1), ("surface2", table.surface2))
    }
    bs, one, two, hops = table.bs, table.surface1, table.surface2, table.hops
    rays = {} if table.line_of_sight is None else table.line_of_sight.rays
    common = None if table.line_of_sight is None else table.line_of_sight.k_factor_db

    @functools.cache  # closed forms are faster where two hops have one correlation and not two equal ones
    def correlation(node: str, law: CorrelationLaw) -> channels.Correlation:
        return make_correlation(arrays[node], law)

    def hop(name: str, left: Any, right: Any) -> channels.Hop | None:
        if name not in hops:
            return None
        first, second = (correlation(node, law or default) for node, law, default in (left, right))
        gain = _linear(getattr(table.gains, f"{name}_db"))
        if not isinstance(ray := rays.get(name), Ray):
            return channels.Hop(gain, first, second)
        wave = _wave(ray, arrays[left[0]], arrays[right[0]])
        return channels.Hop.rician(gain, _k_factor(ray, common), first, second, wave)

    def user_hop(name: str, node: str) -> channels.UserHop | None:
        if name not in hops:
            return None
        gains = np.broadcast_to(_linear(getattr(table.gains, f"{name}_db")), (table.users.count,))
        directions = getattr(table.users, f"seen_from_{node}")
        law = getattr(table, node).correlation
        covariance = correlation(node, law) if directions is None else _seen(arrays[node], directions)
        if not isinstance(ray := rays.get(name), UserRay):
            return channels.UserHop(gains, covariance)
        azimuth, elevation = (np.deg2rad(angles) for angles in (ray.azimuth_deg, ray.elevation_deg))
        waves = np.broadcast_to(arrays[node].steering(azimuth, elevation), (gains.size, arrays[node].size))
        return channels.UserHop.rician(gains, _k_factor(ray, common), covariance, waves)

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
        phase_noise1=make_phase_noise(one.phase_noise),
        phase_noise2=make_phase_noise(two.phase_noise),
    )


def _check_memory(table: System) -> None:
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


def _k_factor(ray: Ray | UserRay, common: float | None) -> NDArray[np.float64]:
    """K-factor of a hop, linear: its own one, or that of all hops."""
    if (own := common if ray.k_factor_db is None else ray.k_factor_db) is None:
        raise channels.InvalidArgumentError("line_of_sight", "a K-factor for every hop in it", "none")
    return _linear(own)


def _wave(ray: Ray, left: Any, right: Any) -> channels.LineOfSight:
    """Return a(u) b(v)^H, steering vectors of the directions at both ends.

    So b(v) b(v)^H is the covariance at the right end, as it is of local scattering around v there.
    """
    a = left.steering(*np.deg2rad([ray.left_azimuth_deg, ray.left_elevation_deg]))
    b = right.steering(*np.deg2rad([ray.right_azimuth_deg, ray.right_elevation_deg]))
    return channels.LineOfSight(a[:, None], b[:, None])


def _seen(array: Any, directions: Directions) -> channels.Correlation:
    """Return one covariance for all users, or a stack (K, N, N) of their own."""
    azimuth, elevation = np.broadcast_arrays(directions.azimuth_deg, directions.elevation_deg)
    azimuth, elevation = (np.deg2rad(a if len(a) > 1 else a[0]) for a in (azimuth, elevation))
    spread = float(np.deg2rad(directions.angular_spread_deg))
    return channels.local_scattering_correlation(array, azimuth, elevation, spread)
