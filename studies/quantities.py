"""What a study computes at every point: one table that defines, documents and validates the results."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from studies.config import Settings
from studies.metrics import METRICS

__all__ = ["PARTS", "QUANTITIES", "Part", "Quantity", "quantities", "z_values"]

Part = Literal["closed_form", "simulated", "standard_error", "z", "difference", "difference_standard_error"]

PARTS: tuple[Part, ...] = get_args(Part)
"""Parts of a quantity; differences are those to the first scheme."""


@dataclass(frozen=True)
class Quantity:
    """One quantity of the results.

    Attributes
    ----------
    name : str
        Name; a variable of a result file is this, an underscore and the part.
    long_name : str
        What it is.
    units : str
        Its units, "1" for a plain number.
    axes : tuple of str
        Its axes after those of scheme and sweep.
    closed : bool
        Whether there is a closed form to test against.
    paired : bool
        Whether results compare the schemes in it: differences with standard errors of their own.
    """

    name: str
    long_name: str
    units: str
    axes: tuple[str, ...]
    closed: bool = True
    paired: bool = True

    def parts(self, schemes: int) -> tuple[Part, ...]:
        """Parts that the results of so many schemes hold."""
        compared = PARTS[4:] if self.paired and schemes > 1 else ()
        return (PARTS[:4] if self.closed else PARTS[1:3]) + compared


USER, PAIR = ("user",), ("user", "other_user")

QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity("hardening_sum_rate", "sum of the hardening bounds", "bit/s/Hz", ()),
        Quantity("ratio_sum_rate", "sum rate by the ratio of moments", "bit/s/Hz", ()),
        Quantity("ergodic_sum_rate", "sum of the ergodic rates", "bit/s/Hz", (), closed=False),
        Quantity("minimum_rate", "mean of the smallest instantaneous rate", "bit/s/Hz", (), closed=False),
        Quantity("hardening_rate", "hardening bound (use-and-then-forget)", "bit/s/Hz", USER),
        Quantity("ratio_rate", "rate by the ratio of moments", "bit/s/Hz", USER),
        Quantity(
            "ergodic_rate", "ergodic rate of a user that knows its gains", "bit/s/Hz", USER, closed=False
        ),
        Quantity("mean_gain", "mean gain E h_k^H f_k", "1", USER),
        Quantity("interference", "mean power E |h_k^H f_j|^2", "1", PAIR, paired=False),
    )
}
"""Quantities of every study, by name."""

OPTIONAL = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "outage", "share of realizations with a rate below the outage rate", "1", USER, closed=False
        ),
        Quantity(
            "sinr_quantile", "quantile of the instantaneous SINR", "dB", ("quantile", "user"), closed=False
        ),
        Quantity("energy_efficiency", "sum of the hardening bounds over power consumption", "bit/J/Hz", ()),
    )
}
"""Quantities of studies that ask for them, by name."""


def quantities(settings: Settings) -> dict[str, Quantity]:
    """Return the quantities that a study computes: those of every study, and what it asks for."""
    wanted = {
        "outage": settings.metrics.outage_rate is not None,
        "sinr_quantile": bool(settings.metrics.sinr_quantiles),
        "energy_efficiency": settings.power_model is not None,
    }
    registered = (METRICS[name] for name in settings.metrics.registered)
    return {
        **QUANTITIES,
        **{name: quantity for name, quantity in OPTIONAL.items() if wanted[name]},
        **{one.name: Quantity(one.name, one.long_name, one.units, (), closed=False) for one in registered},
    }


def z_values(closed: Any, simulated: Any, standard_error: Any) -> NDArray[np.float64]:
    """Distance of an estimate from its closed form in standard errors; 0 / 0 is 0."""
    gap, error = np.subtract(simulated, closed), np.asarray(standard_error, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((gap == 0) & (error == 0), 0.0, gap / error)
