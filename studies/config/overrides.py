"""Keys that a scheme or an axis sets, their short names, and what setting them makes of a base system."""

import copy
import math
from collections.abc import Mapping
from typing import Any

from studies.errors import Fault, FaultsError

__all__ = ["ALIASES", "overridden", "targets"]

BOTH = ("system.surface1", "system.surface2")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "power_dbm": ("transmission.power_dbm",),
    "noise_power_dbm": ("transmission.noise_power_dbm",),
    "csi": ("transmission.csi",),
    "precoder": ("transmission.precoder",),
    "normalisation": ("transmission.normalisation",),
    "allocation": ("transmission.allocation",),
    "pilot_power_dbm": ("transmission.pilots.power_dbm",),
    "pilot_length": ("transmission.pilots.length",),
    "pilot_covariance": ("transmission.pilots.covariance",),
    "links": ("system.links",),
    "users": ("system.users.count",),
    "k_factor_db": ("system.line_of_sight.k_factor_db",),
    "antennas": ("system.bs.antennas",),
    "bs_correlation": ("system.bs.correlation",),
    "bs_coefficient": ("system.bs.correlation.coefficient",),
    "elements": tuple(f"{surface}.{side}" for surface in BOTH for side in ("rows", "columns")),
    "side": tuple(f"{surface}.{side}" for surface in BOTH for side in ("rows", "columns")),
    "spacing": tuple(f"{surface}.spacing" for surface in BOTH),
    "surface_correlation": tuple(f"{surface}.correlation" for surface in BOTH),
    "phase_noise": tuple(f"{surface}.phase_noise" for surface in BOTH),
    "concentration": tuple(f"{surface}.phase_noise.concentration" for surface in BOTH),
    "failures": tuple(f"{surface}.failures" for surface in BOTH),
    "failure_probability": tuple(f"{surface}.failures.probability" for surface in BOTH),
    "amplitude_minimum": tuple(f"{surface}.amplitude.minimum" for surface in BOTH),
    "interference_dbm": tuple(f"{surface}.interference.power_dbm" for surface in BOTH),
    "design": ("phases.design",),
    "bits": ("phases.bits",),
    "model": ("phases.model",),
    "objective": ("phases.objective",),
    "engine": ("simulation.engine",),
    "drop": ("system.scenario.drop",),
}
"""Short names of keys; those of surfaces stand for both. "elements" is the number on a square surface."""


def targets(key: str) -> tuple[str, ...]:
    """Return the full keys that a key or an alias stands for."""
    return ALIASES.get(key, (key,))


def overridden(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a base system in TOML form with some keys set.

    A table merges into the table that is there, but a table with a `law` replaces it.
    """
    result = copy.deepcopy(dict(raw))
    for key, value in changes.items():
        if key == "elements":
            value = _side(value)
        for target in targets(key):
            *tables, last = target.split(".")
            place: Any = result
            for i, name in enumerate(tables):
                place = place.setdefault(name, {})
                if not isinstance(place, dict):
                    path = ".".join(tables[: i + 1])
                    raise FaultsError([Fault(target, f"expected a key inside a table, but {path} is none")])
            place[last] = _merged(place.get(last), value)
    return result


def _side(elements: Any) -> Any:
    side = math.isqrt(elements) if isinstance(elements, int) and elements > 0 else 0
    if side * side != elements or isinstance(elements, bool):
        raise FaultsError([Fault("elements", f"expected a square number, as 64 for 8 x 8, got {elements!r}")])
    return side


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and "law" not in new:
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)
