"""The link budget: what each path delivers, before any rate is computed."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from ris.mean_gain import mean_precoder_gain
from studies.build import build
from studies.config import Point
from studies.config.system import PATHS, System
from studies.scenario import scenario_of
from studies.transmission import noise_power_dbm

__all__ = ["LinkBudget", "link_budget"]


@dataclass(frozen=True)
class LinkBudget:
    """Powers of one point; gains are E|h_k|^2 over all antennas, in dB, the mean over users.

    Attributes
    ----------
    power_dbm, noise_power_dbm : float
        Total transmit power and noise power at a user.
    hops : dict of str to str
        Hop and its gain between two single elements, with unit; of a scenario also distance, line of
        sight and near field. Several values are those of the users.
    paths : dict of str to float
        Path in use and its mean gain, with the phases and the phase noise of the point.
    total_db : float
        Mean gain of all paths together.
    """

    power_dbm: float
    noise_power_dbm: float
    hops: dict[str, str]
    paths: dict[str, float]
    total_db: float

    @property
    def snr_db(self) -> float:
        """Mean received SNR of a user that gets all the power: power times total gain over noise."""
        return self.power_dbm + self.total_db - self.noise_power_dbm


def link_budget(point: Point, seed: int = 0) -> LinkBudget:
    """Return the link budget of a point."""
    system, theta1, theta2 = build(point, seed)
    if any(surface.coupling is not None and surface.random for surface in point.system.surfaces.values()):
        system = _uncoupled(system)  # coupled elements at random have no closed form
    sights = _sights(point.system, seed)
    gains = {path: _mean_gain(_alone(system, path), theta1, theta2) for path in point.system.paths}
    total = _mean_gain(system, theta1, theta2) if system.line_of_sight else sum(gains.values())
    return LinkBudget(
        point.transmission.power_dbm,
        noise_power_dbm(point.transmission),
        {hop: _shown(_gain(getattr(system, hop))) + sights.get(hop, "") for hop in sorted(point.system.hops)},
        {path: float(_decibels(gain)) for path, gain in gains.items()},
        float(_decibels(total)),
    )


def _uncoupled(system: ris.DoubleRIS) -> ris.DoubleRIS:
    one, two = (dataclasses.replace(part, coupling=None) for part in (system.hardware1, system.hardware2))
    return dataclasses.replace(system, hardware1=one, hardware2=two)


def _alone(system: ris.DoubleRIS, path: str) -> ris.DoubleRIS:
    """Return the system with one path alone."""
    unused: dict[str, Any] = {hop: None for hops in PATHS.values() for hop in hops if hop not in PATHS[path]}
    return dataclasses.replace(system, **unused, emi1=None, emi2=None)


def _mean_gain(system: ris.DoubleRIS, theta1: NDArray[np.float64], theta2: NDArray[np.float64]) -> float:
    """Mean gain; without lines of sight paths are uncorrelated, and that of several is the sum of theirs."""
    gains = mean_precoder_gain(system, theta1[: system.elements1], theta2[: system.elements2], "perfect")
    return float(np.mean(gains))


def _gain(hop: channels.Hop | channels.UserHop) -> NDArray[np.float64]:
    """Gain of a hop between two single elements, its line of sight included."""
    if hop.mean is None:
        return np.asarray(hop.gain)
    if isinstance(hop.mean, channels.LineOfSight):
        return np.asarray(hop.gain + np.mean(np.abs(hop.mean.matrix) ** 2))
    return np.asarray(hop.gain + np.mean(np.abs(hop.mean) ** 2, axis=-1))


def _sights(table: System, seed: int) -> dict[str, str]:
    """Distance, line of sight and near field of each hop of a drop; nothing without a scenario."""
    if table.scenario is None:
        return {}
    drawn = scenario_of(table).large_scale(1, seed, table.scenario.drop).hops
    found = {}
    for name, hop in drawn.items():
        columns = (hop.sightline.distance_m, hop.line_of_sight, hop.near_field)
        states = (
            f"{distance:.1f} m {'LoS' if clear else 'NLoS'}{' near field' * bool(near)}"
            for distance, clear, near in zip(*map(np.ravel, columns), strict=True)
        )
        found[name] = f" ({', '.join(states)})"
    return found


def _shown(gain: NDArray[np.float64]) -> str:
    """Gain in dB of a hop, of each user where they differ."""
    values = (np.round(_decibels(gain), 2) + 0.0).ravel().tolist()  # no -0
    return ", ".join(f"{value:g}" for value in (values[:1] if len({*values}) == 1 else values)) + " dB"


def _decibels(gain: Any) -> Any:
    with np.errstate(divide="ignore"):  # nothing gets to a user behind a surface: -inf dB
        return 10 * np.log10(gain)
