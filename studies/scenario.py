"""From the scenario of a study file to that of `ris`."""

import functools
from typing import Any

import numpy as np

import channels
import ris
from channels.errors import InvalidArgumentError
from studies.config import scenario as tables
from studies.config.system import System
from studies.laws import make_path_loss, make_phase_noise

__all__ = ["drop", "make_scenario"]


def drop(table: System, seed: int) -> ris.DoubleRIS:
    """Return the system of the drop that the table names; drops of a seed are those of `ris.Scenario`."""
    if table.scenario is None:
        raise InvalidArgumentError("system", "a scenario", "none")
    # The scenario itself is the same for all drops, and keeps the covariances that they share.
    scenario = _made(table.model_dump_json(exclude={"scenario": {"drop"}}))
    return scenario.drop(seed, table.scenario.drop)


@functools.lru_cache(maxsize=8)
def _made(text: str) -> ris.Scenario:
    return make_scenario(System.model_validate_json(text))


def make_scenario(table: System) -> ris.Scenario:
    """Return the scenario of a system with the hops that its paths need."""
    if (scenario := table.scenario) is None:
        raise InvalidArgumentError("system", "a scenario", "none")
    bs = channels.UniformLinearArray(
        table.bs.antennas, table.bs.spacing, orientation=_orientation(scenario.bs)
    )

    def surface(name: str) -> channels.Node | None:
        node, shape = getattr(scenario, name), getattr(table, name)
        if node is None:
            return None
        return _node(
            node,
            channels.UniformPlanarArray(
                shape.rows, shape.columns, shape.spacing, orientation=_orientation(node)
            ),
        )

    hops = {name: _hop_law(scenario.law_of(name), scenario.frequency_hz) for name in table.hops}
    return ris.Scenario(
        bs=_node(scenario.bs, bs),
        ris1=surface("surface1"),
        ris2=surface("surface2"),
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


def _node(node: tables.Node, array: Any) -> channels.Node:
    element = None
    if node.element is not None:
        element = channels.SurfaceElement(node.element.area_of(array.spacing), node.element.exponent)
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
    )


def _radians(degrees: list[float] | None) -> list[float] | None:
    return None if degrees is None else [float(angle) for angle in np.deg2rad(degrees)]
