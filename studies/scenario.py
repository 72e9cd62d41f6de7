"""From the scenario of a study file to that of `ris`."""

import functools
import math
from typing import Any

import numpy as np

import channels
import ris
from channels.errors import InvalidArgumentError
from studies.config import scenario as tables
from studies.config.system import PATHS, Surface, System
from studies.laws import make_path_loss, make_phase_noise

__all__ = ["drop", "scenario_of"]


def drop(table: System, seed: int) -> ris.DoubleRIS:
    """Return the system of the drop that the table names; drops of a seed are those of `ris.Scenario`."""
    if table.scenario is None:
        raise InvalidArgumentError("system", "a scenario", "none")
    system = scenario_of(table).drop(seed, table.scenario.drop)
    gains = (math.prod(np.max(getattr(system, hop).gain) for hop in PATHS[path]) for path in table.paths)
    if not any(gains):
        raise InvalidArgumentError(
            "scenario", "a path that delivers power", f"elements that face away on {', '.join(table.paths)}"
        )
    return system


def scenario_of(table: System) -> ris.Scenario:
    """Return the scenario of a system with the hops that its paths need."""
    # It is the same object for all drops, and keeps the covariances that they share.
    return _made(table.model_dump_json(exclude={"scenario": {"drop"}}))


@functools.lru_cache(maxsize=8)
def _made(text: str) -> ris.Scenario:
    table = System.model_validate_json(text)
    if (scenario := table.scenario) is None:
        raise InvalidArgumentError("system", "a scenario", "none")
    bs = channels.UniformLinearArray(table.bs.antennas, table.bs.spacing, _orientation(scenario.bs))

    def surface(shape: Surface, node: tables.Node | None) -> channels.Node | None:
        if node is None:
            return None
        sizes = shape.rows, shape.columns, shape.spacing
        return _node(node, channels.UniformPlanarArray(*sizes, _orientation(node)), shape.spacing)

    hops: dict[str, Any] = {
        name: _hop_law(scenario.law_of(name), scenario.frequency_hz) for name in table.hops
    }
    return ris.Scenario(
        bs=_node(scenario.bs, bs, table.bs.spacing),
        ris1=surface(table.surface1, scenario.surface1),
        ris2=surface(table.surface2, scenario.surface2),
        users=_users(scenario.users, table.users.count),
        # Powers are those of the transmission; the scenario is asked for systems alone.
        bandwidth_hz=1.0,
        noise_figure_db=0.0,
        phase_noise1=make_phase_noise(table.surface1.phase_noise),
        phase_noise2=make_phase_noise(table.surface2.phase_noise),
        scattering_method=scenario.scattering_method,
        **hops,
    )


def _orientation(node: tables.Node) -> channels.Orientation:
    return channels.Orientation(*map(float, np.deg2rad([node.yaw_deg, node.pitch_deg, node.roll_deg])))


def _node(node: tables.Node, array: channels.AntennaArray, spacing: float) -> channels.Node:
    element = None if node.element is None else node.element.of_array(spacing)
    return channels.Node((node.x_m, node.y_m, node.z_m), array, element)


def _users(users: Any, count: int) -> channels.UserDrop:
    match users:
        case tables.UsersAt():
            return channels.UsersAt(users.positions_m)
        case tables.UsersInDisc():
            return channels.UsersInDisc(count, (users.x_m, users.y_m, users.z_m), users.radius_m)
        case tables.UsersInRectangle():
            sides = (users.x_side_m, users.y_side_m)
            return channels.UsersInRectangle(count, (users.x_m, users.y_m, users.z_m), sides)
    raise InvalidArgumentError("users", "users of a scenario", repr(users))


def _hop_law(law: tables.HopLaw | None, frequency_hz: float) -> ris.HopLaw:
    if law is None:
        raise InvalidArgumentError("scenario", "a law for every hop in use", "none")
    left, right = (
        None if spread is None else (spread[0], spread[-1])
        for spread in (_radians(law.left_spread_deg), _radians(law.right_spread_deg))
    )
    return ris.HopLaw(
        make_path_loss(law.path_loss, frequency_hz),
        line_of_sight=law.line_of_sight,
        shadowing=law.shadowing,
        left_spread=left,
        right_spread=right,
        k_factor_db=law.k_factor_db,
    )


def _radians(degrees: list[float] | None) -> list[float] | None:
    return None if degrees is None else [float(angle) for angle in np.deg2rad(degrees)]
