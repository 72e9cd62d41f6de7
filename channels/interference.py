"""Electromagnetic interference: waves of other sources that a surface reflects along with the signal."""

from dataclasses import dataclass
from typing import Any

import array_api_compat

from channels.checks import as_array, finite, frozen, real
from channels.correlation import Correlation, as_correlation
from channels.errors import InvalidArgumentError

__all__ = ["Interference"]


@dataclass(frozen=True, eq=False)
class Interference:
    """Electromagnetic interference (EMI) that meets a surface: CN(0, power * correlation), anew each symbol.

    Parameters
    ----------
    power : float or array, shape (...)
        Mean power at an element relative to a unit-diagonal correlation, linear, >= 0, in the unit of the
        noise power of the users.
    correlation : array_like, shape (..., N, N)
        Its covariance over the elements: that of isotropic scattering, or of the directions it comes from.

    Raises
    ------
    InvalidArgumentError
        If the power is negative or not finite, or the correlation is not Hermitian positive semidefinite.

    Notes
    -----
    de Jesus Torres, Sanguinetti and Bjornson, "Electromagnetic interference in RIS-aided communications",
    IEEE Wireless Commun. Lett. 11(4), 2022.
    """

    power: Any
    correlation: Correlation

    def __init__(self, power: Any, correlation: Any) -> None:
        checked = real("power", finite("power", as_array("power", power)))
        if bool(array_api_compat.array_namespace(checked).any(checked < 0)):
            raise InvalidArgumentError("power", "numbers >= 0", "a negative one")
        object.__setattr__(self, "power", frozen(checked))
        object.__setattr__(self, "correlation", as_correlation("correlation", correlation))
