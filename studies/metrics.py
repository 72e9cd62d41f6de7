"""What is estimated from the instantaneous rates of each realization, and metrics of users' own.

Everything here is a mean over realizations, but for the quantiles of the SINR. Those come from counts in bins
of `BIN_DB` decibel, which merge exactly; a quantile is interpolated inside its bin, so it is off by less than
a bin.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.estimates import Estimate

__all__ = ["METRICS", "Observer", "RegisteredMetric", "known_metrics", "quantile", "register_metric"]

BIN_DB = 0.1
"""Width of a bin of the SINR."""

LOWEST_DB, HIGHEST_DB = -60.0, 80.0
"""Range of the bins; what lies outside counts in the first or last one."""

BINS = round((HIGHEST_DB - LOWEST_DB) / BIN_DB)


@dataclass(frozen=True)
class RegisteredMetric:
    """A metric of a user's own: the mean over realizations of a function of the SINRs."""

    name: str
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    units: str
    long_name: str


METRICS: dict[str, RegisteredMetric] = {}
"""Registered metrics by name."""


def register_metric(
    name: str,
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    units: str = "1",
    long_name: str = "",
) -> None:
    """Make a metric known to studies, which ask for it by `registered = ["NAME"]` in `[metrics]`.

    Parameters
    ----------
    name : str
        A Python identifier, and no other metric's name.
    function : callable
        Takes the instantaneous SINRs, shape (realizations, users), and returns a number for each
        realization, shape (realizations,); the metric is its mean. Worker processes import it, so with other
        engines than "serial" it must be a function of a module.
    units, long_name : str
        For tables and result files.

    Raises
    ------
    InvalidArgumentError
        If the name is no identifier or is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import studies
    >>> studies.register_metric("fairness", lambda sinr: sinr.min(axis=1) / sinr.max(axis=1))
    """
    from studies.quantities import OPTIONAL, QUANTITIES

    if not name.isidentifier() or name in QUANTITIES or name in OPTIONAL or name in METRICS:
        raise InvalidArgumentError("name", "an identifier that is no other metric's name", repr(name))
    METRICS[name] = RegisteredMetric(name, function, units, long_name or name.replace("_", " "))


def known_metrics() -> list[str]:
    """Return the names of registered metrics."""
    return sorted(METRICS)


@dataclass
class Observer:
    """Observes instantaneous rates for `ris.simulate`.

    Parameters
    ----------
    users : int
        Number of users K.
    outage_rate : float or None
        Rate below which a user is in outage, bit/s/Hz.
    binned : bool
        Whether to count SINRs in bins.
    registered : sequence of RegisteredMetric
        Metrics of users' own.

    Attributes
    ----------
    counts : ndarray, shape (K, bins)
        Realizations by bin of the SINR.
    """

    users: int
    outage_rate: float | None
    binned: bool
    registered: Sequence[RegisteredMetric]
    counts: NDArray[np.float64] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.users if self.binned else 0, BINS))

    @property
    def columns(self) -> dict[str, slice]:
        """Where the observations of a metric are: the smallest rate, outages by user, registered metrics."""
        widths = {"minimum_rate": 1}
        if self.outage_rate is not None:
            widths["outage"] = self.users
        widths |= {one.name: 1 for one in self.registered}
        stops = np.cumsum(list(widths.values())).tolist()
        return {
            name: slice(stop - width, stop) for (name, width), stop in zip(widths.items(), stops, strict=True)
        }

    def __call__(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Observe rates, shape (realizations, K)."""
        sinr = np.expm1(rates * math.log(2))
        columns = [rates.min(axis=1, keepdims=True)]
        if self.outage_rate is not None:
            columns.append((rates < self.outage_rate).astype(np.float64))
        for one in self.registered:
            found = np.asarray(one.function(sinr), dtype=np.float64)
            if found.shape != (len(rates),) or not np.all(np.isfinite(found)):
                expected = f"{len(rates)} finite numbers, one for each realization"
                raise InvalidArgumentError(one.name, expected, f"shape {found.shape}, or not finite")
            columns.append(found[:, None])
        if self.binned:
            with np.errstate(divide="ignore"):
                numbers = np.floor((10 * np.log10(sinr) - LOWEST_DB) / BIN_DB)
            bins = np.clip(numbers, 0, BINS - 1).astype(np.int64)
            counts = [np.bincount(bins[:, user], minlength=BINS) for user in range(self.users)]
            with self._lock:  # tiles come in threads; whole numbers add up to the same in any order
                self.counts += counts
        return np.concatenate(columns, axis=1)


def quantile(counts: NDArray[np.float64], share: float) -> Estimate:
    """Quantile of SINRs in decibel from their counts, shape (..., bins).

    The standard error follows from the order statistics (Woodruff, 1952): the number of realizations below
    the quantile is binomial, so the quantiles at share -+ d, d its standard deviation over n, lie one
    standard error away.
    """
    n = counts.sum(axis=-1)
    spread = np.sqrt(share * (1 - share) / n)
    low, middle, high = (
        inverse(counts, level) for level in (share - spread, np.full_like(n, share), share + spread)
    )
    return Estimate(middle, (high - low) / 2)


def inverse(counts: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the SINR in decibel below which a share `level` of the counts lies, linear inside a bin."""
    below = np.cumsum(counts, axis=-1)
    wanted = np.clip(level, 0, 1)[..., None] * below[..., -1:]
    number = np.minimum(np.sum(below < wanted, axis=-1, keepdims=True), BINS - 1)
    inside = np.take_along_axis(counts, number, -1)
    start = np.take_along_axis(below, number, -1) - inside
    return np.asarray(
        (LOWEST_DB + BIN_DB * (number + (wanted - start) / np.where(inside > 0, inside, 1)))[..., 0]
    )
