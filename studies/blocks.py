"""Blocks of a study: a range of realizations of one scheme at one place of the sweep.

The arrays of a block are the count, means and co-moments of what `ris.simulate` observes, counts of SINRs
where quantiles are wanted, and in block 0 the closed forms of the point, those that it has. Blocks merge in
their order.
"""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from ris.estimates import Estimate, Observations
from ris.precoders import MAXIMUM_RATIO
from studies.build import build
from studies.checkpoint import Block
from studies.config import Point
from studies.config.metrics import Metrics
from studies.metrics import METRICS, Observer, RegisteredMetric, quantile
from studies.transmission import chosen_precoder, consumption_w, known_csi, power_and_noise

__all__ = ["Measurement", "Task", "compute_block"]

KINDS = ("per_user", "interferences", "gain_products", "observed")
"""Observations of a `ris.Simulation`."""


@dataclass(frozen=True)
class Task:
    """One scheme at one place: all that its blocks depend on besides their numbers.

    Attributes
    ----------
    point : str
        The system, a `Point` in JSON.
    stream : channels.Stream
        Random numbers: those of the seed, the axes and their values. So schemes share them, which makes their
        differences sharper than their levels, and a point keeps its numbers whatever else is in the sweep.
    realizations, block : int
        Largest number of realizations, and those of a block; the last block takes what is left.
    metrics : Metrics
        What to estimate beside the quantities of every study.
    registered : tuple of RegisteredMetric
        The registered metrics among them.
    """

    point: str
    stream: channels.Stream
    realizations: int
    block: int
    metrics: Metrics
    registered: tuple[RegisteredMetric, ...]

    @classmethod
    def of(
        cls, point: Point, stream: channels.Stream, realizations: int, block: int, metrics: Metrics
    ) -> "Task":
        """Make the task of a point."""
        registered = tuple(METRICS[name] for name in metrics.registered)
        return cls(point.model_dump_json(), stream, realizations, block, metrics, registered)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.realizations // self.block)

    def observer(self, users: int) -> Observer:
        """Return an observer of what the metrics need."""
        return Observer(users, self.metrics.outage_rate, bool(self.metrics.sinr_quantiles), self.registered)


def compute_block(task: Task, number: int, threads: int | None = None) -> Block:
    """Compute one block; the same numbers for any number of threads."""
    begin = time.perf_counter()
    point, system, theta1, theta2 = _built(task.point, task.stream.seed)
    power, noise_power = power_and_noise(point.transmission)
    first = number * task.block
    observer = task.observer(system.users)
    simulation = ris.simulate(
        system,
        theta1,
        theta2,
        power=power,
        noise_power=noise_power,
        realizations=min(task.block, task.realizations - first),
        seed=task.stream,
        csi=known_csi(point.transmission),
        precoder=chosen_precoder(point.transmission),
        engine=point.simulation.engine,
        first=first,
        threads=threads,
        observe=observer,
    )
    arrays: dict[str, NDArray[np.float64]] = {
        "count": np.array(float(simulation.realizations)),
        "unconverged": np.array(float(simulation.unconverged)),
    }
    for kind in KINDS:
        observations = getattr(simulation, kind)
        arrays[f"{kind}_mean"], arrays[f"{kind}_comoment"] = observations.mean, observations.comoment
    if simulation.mean_emi is not None and simulation.emi_powers is not None:
        emi = simulation.emi_powers
        arrays |= {"emi_exact": simulation.mean_emi, "emi_mean": emi.mean, "emi_comoment": emi.comoment}
    if observer.binned:
        arrays["sinr_counts"] = observer.counts
    if number == 0:
        closed = _closed_forms(point, system, theta1, theta2)
        arrays |= {f"closed_{name}": np.asarray(value, dtype=np.float64) for name, value in closed.items()}
    return Block(arrays, time.perf_counter() - begin)


@functools.lru_cache(maxsize=8)
def _built(text: str, seed: int) -> tuple[Point, ris.DoubleRIS, NDArray[np.float64], NDArray[np.float64]]:
    """Build the system of a point once for all the blocks that a worker gets of it."""
    point = Point.model_validate_json(text)
    return point, *build(point, seed)


def _closed_forms(
    point: Point, system: ris.DoubleRIS, theta1: NDArray[np.float64], theta2: NDArray[np.float64]
) -> dict[str, Any]:
    power, noise_power = power_and_noise(point.transmission)
    values: dict[str, Any] = {}
    if point.power_model is not None:
        values["consumption_w"] = consumption_w(point.power_model, power, system)
    if not _has_closed_forms(point):
        return values
    moments = ris.closed_form_moments(system, theta1, theta2, known_csi(point.transmission))
    values |= _values_of_moments(moments, power, noise_power)
    if point.power_model is not None:
        values["energy_efficiency"] = values["hardening_sum_rate"] / values["consumption_w"]
    return values | {"interference": moments.interference}


def _has_closed_forms(point: Point) -> bool:
    """Whether a point has closed forms; where none of its means has any, `Point` refuses it."""
    transmission = point.transmission
    csi = known_csi(transmission)
    nominal = csi == "nominal" or (isinstance(csi, ris.LmmseCsi) and csi.covariance == "nominal")
    coupled = any(surface.coupling is not None for surface in point.system.surfaces.values())
    return chosen_precoder(transmission) == MAXIMUM_RATIO and not (coupled and nominal)


def _values_of_moments(moments: ris.ClosedFormMoments, power: float, noise_power: float) -> dict[str, Any]:
    """Quantities that are functions of moments; the moments may have leading batch axes."""
    hardening, ratio = (
        ris.rate_from_moments(moments, power=power, noise_power=noise_power, bound=bound)
        for bound in ("hardening", "ratio")
    )
    return {
        "hardening_sum_rate": hardening.sum(axis=-1),
        "ratio_sum_rate": ratio.sum(axis=-1),
        "hardening_rate": hardening,
        "ratio_rate": ratio,
        "mean_gain": moments.mean_gain,
    }


class Measurement:
    """What the blocks of one task say so far.

    Parameters
    ----------
    task : Task
        The task.
    keep : bool
        Whether to keep the means of every block, for `influences`.

    Attributes
    ----------
    blocks : int
        Blocks taken.
    seconds : float
        Time that they took, added up.
    simulation : ris.Simulation
        Their observations, merged.
    closed : dict
        Closed forms of the point, those that it has.
    """

    simulation: ris.Simulation

    def __init__(self, task: Task, keep: bool = False) -> None:
        self.task, self.blocks, self.seconds = task, 0, 0.0
        self.closed: dict[str, NDArray[np.float64]] = {}
        self._point = Point.model_validate_json(task.point)
        self._powers = power_and_noise(self._point.transmission)
        self._csi = known_csi(self._point.transmission)
        self._precoder = chosen_precoder(self._point.transmission)
        self._counts: NDArray[np.float64] | None = None
        self._kept: list[Mapping[str, NDArray[np.float64]]] | None = [] if keep else None

    def take(self, block: Block) -> None:
        """Merge the next block."""
        arrays = block.arrays
        count = int(arrays["count"])
        parts = (Observations(count, arrays[f"{kind}_mean"], arrays[f"{kind}_comoment"]) for kind in KINDS)
        found = ris.Simulation(
            *self._powers,
            self._csi,
            *parts,
            precoder=self._precoder,
            unconverged=int(arrays["unconverged"]),
            mean_emi=arrays.get("emi_exact"),
            emi_powers=None
            if "emi_mean" not in arrays
            else Observations(count, arrays["emi_mean"], arrays["emi_comoment"]),
        )
        if self.blocks == 0:
            self.simulation = found
            self._counts = arrays.get("sinr_counts")
            self.closed = {
                name.removeprefix("closed_"): value
                for name, value in arrays.items()
                if name.startswith("closed_")
            }
        else:
            self.simulation = self.simulation.merge(found)
            if self._counts is not None:
                self._counts = self._counts + arrays["sinr_counts"]
        if self._kept is not None:
            names = ("count", "per_user_mean", "interferences_mean", "observed_mean", "sinr_counts")
            self._kept.append({name: arrays[name] for name in names if name in arrays})
        self.blocks += 1
        self.seconds += block.seconds

    def estimate(self, name: str) -> Estimate:
        """Return the estimate of a quantity."""
        simulation = self.simulation
        if name == "sinr_quantile" and self._counts is not None:
            found = [quantile(self._counts, share) for share in self.task.metrics.sinr_quantiles]
            return Estimate(
                np.array([one.value for one in found]), np.array([one.standard_error for one in found])
            )
        if name == "energy_efficiency":
            rate, watts = simulation.hardening_sum_rate, float(self.closed["consumption_w"])
            return Estimate(rate.value / watts, rate.standard_error / watts)
        if name in self._columns and simulation.observed is not None:
            all_columns, columns = simulation.observed.estimate(), self._columns[name]
            value, error = all_columns.value[columns], all_columns.standard_error[columns]
            if name == "outage":
                return _share(value, simulation.realizations)
            return Estimate(float(value[0]), float(error[0]))
        found = getattr(simulation, name)
        return Estimate(np.asarray(found.value), np.asarray(found.standard_error))

    def influences(self, names: list[str]) -> dict[str, NDArray[np.float64]]:
        """How much each block pulls the estimates, to first order: shape (blocks, ...) by quantity.

        The estimate without a block, for every block in turn (the jackknife), gives b - 1 times the gap to
        their mean. The estimate is then its expectation plus the mean of independent influences, and so is a
        difference of estimates over the same realizations. NaN from a single block.
        """
        kept = self._kept or []
        if len(kept) < 2:
            return {name: np.full((1, *np.shape(self.estimate(name).value)), np.nan) for name in names}
        counts = np.array([float(one["count"]) for one in kept])
        without = {
            name: (counts @ stacked - counts[:, None] * stacked) / (counts.sum() - counts)[:, None]
            for name in ("per_user_mean", "interferences_mean", "observed_mean")
            for stacked in [np.array([one[name].ravel() for one in kept])]
        }
        values = self._values_without(without)
        if "sinr_quantile" in names:
            bins = self._counts - np.array([one["sinr_counts"] for one in kept])
            shares = self.task.metrics.sinr_quantiles
            values["sinr_quantile"] = np.stack([quantile(bins, share).value for share in shares], axis=1)
        return {name: (len(kept) - 1) * (values[name].mean(axis=0) - values[name]) for name in names}

    def _values_without(self, means: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        K = self.simulation.interferences.mean.shape[0]
        C, _, _, Q, R = np.moveaxis(means["per_user_mean"].reshape(-1, 5, K), 1, 0)
        J = means["interferences_mean"].reshape(-1, K, K)
        moments = ris.ClosedFormMoments(C, J, None, Q, self._csi, self.simulation.mean_emi)
        values = _values_of_moments(moments, *self._powers)
        values |= {"ergodic_rate": R, "ergodic_sum_rate": R.sum(axis=-1)}
        if "consumption_w" in self.closed:
            values["energy_efficiency"] = values["hardening_sum_rate"] / self.closed["consumption_w"]
        for name, columns in self._columns.items():
            found = means["observed_mean"][:, columns]
            values[name] = found if name == "outage" else found[:, 0]
        return values

    @functools.cached_property
    def _columns(self) -> dict[str, slice]:
        return self.task.observer(self.simulation.interferences.mean.shape[0]).columns


def _share(value: NDArray[np.float64], n: int) -> Estimate:
    """Share of realizations, with a standard error that does not vanish where none or all of them count.

    As if two more realizations counted and two more did not (Agresti and Coull, "Approximate is better than
    'exact' for interval estimation of binomial proportions", The American Statistician 52(2), 1998).
    """
    moved = (value * n + 2) / (n + 4)
    return Estimate(value, np.sqrt(moved * (1 - moved) / (n + 4)))
