"""What a study computes at every point: one table that defines, documents and validates the results."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARTS", "QUANTITIES", "Part", "Quantity", "z_values"]

Part = Literal["closed_form", "simulated", "standard_error", "z"]

PARTS: tuple[Part, ...] = ("closed_form", "simulated", "standard_error", "z")
"""Parts of a quantity; those without a closed form have the middle two."""


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
        Its axes after (scheme, value of the sweep).
    closed : bool
        Whether there is a closed form to test against.
    """

    name: str
    long_name: str
    units: str
    axes: tuple[str, ...]
    closed: bool = True

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts that the results hold."""
        return PARTS if self.closed else PARTS[1:3]


USER, PAIR = ("user",), ("user", "other_user")

QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity("hardening_sum_rate", "sum of the hardening bounds", "bit/s/Hz", ()),
        Quantity("ratio_sum_rate", "sum rate by the ratio of moments", "bit/s/Hz", ()),
        Quantity("ergodic_sum_rate", "sum of the ergodic rates", "bit/s/Hz", (), closed=False),
        Quantity("hardening_rate", "hardening bound (use-and-then-forget)", "bit/s/Hz", USER),
        Quantity("ratio_rate", "rate by the ratio of moments", "bit/s/Hz", USER),
        Quantity(
            "ergodic_rate", "ergodic rate of a user that knows its gains", "bit/s/Hz", USER, closed=False
        ),
        Quantity("mean_gain", "mean gain E h_k^H f_k", "1", USER),
        Quantity("interference", "mean power E |h_k^H f_j|^2", "1", PAIR),
    )
}
"""All quantities by name."""


def z_values(closed: Any, simulated: Any, standard_error: Any) -> NDArray[np.float64]:
    """Distance of an estimate from its closed form in standard errors; 0 / 0 is 0."""
    gap, error = np.subtract(simulated, closed), np.asarray(standard_error, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((gap == 0) & (error == 0), 0.0, gap / error)
