"""What the BS knows of the channels: perfect, nominal, or estimated from pilots."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from channels.checks import integer, one_of, positive
from channels.errors import InvalidArgumentError
from ris.options import Csi

__all__ = ["AnyCsi", "LmmseCsi", "check_csi"]


@dataclass(frozen=True, init=False)
class LmmseCsi:
    """Linear minimum mean square error (LMMSE) estimates of the channels from uplink pilots.

    User i sends one of `length` orthogonal pilot sequences, `length` symbols at the given power, while the
    phase noise is what it will be in the downlink. Correlated with pilot p, the BS is left with

        y_p = sum of h_i over the users i of pilot p + n,   n ~ CN(0, noise_power / (length * power) I):

    the sequence collects the energy length * power, and y_p is divided by its root. The BS estimates
    hhat_j = L_j y_p with L_j = E[h_j h_j^H] (E[y_p y_p^H])^(-1), which needs second moments alone. It is the
    best linear estimate; the channels are not Gaussian (cascades), so the conditional mean may be better.
    Where lines of sight give the channels means, the BS knows these, and moments are taken about them:
    hhat_j = E h_j + L_j (y_p - E y_p) with L_j = cov(h_j, y_p) cov(y_p)^(-1).

    Parameters
    ----------
    length : int
        Pilot symbols, as many as orthogonal sequences, >= 1.
    power : float
        Transmit power of a user's pilot, linear, > 0.
    noise_power : float
        Noise power at a BS antenna, linear, > 0, in the same unit.
    pilots : iterable of int, optional
        Pilot of each user, 0 to length - 1; by default user k sends pilot k modulo length.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.
    """

    length: int
    power: float
    noise_power: float
    pilots: tuple[int, ...] | None

    def __init__(
        self, length: int, power: float, noise_power: float, pilots: Iterable[int] | None = None
    ) -> None:
        object.__setattr__(self, "length", integer("length", length, minimum=1))
        object.__setattr__(self, "power", positive("power", power))
        object.__setattr__(self, "noise_power", positive("noise_power", noise_power))
        chosen = None if pilots is None else tuple(integer("pilots", pilot, minimum=0) for pilot in pilots)
        if chosen is not None and (not chosen or max(chosen) >= length):
            raise InvalidArgumentError("pilots", f"numbers below length = {length}", repr(chosen))
        object.__setattr__(self, "pilots", chosen)

    @property
    def noise(self) -> float:
        """Variance of the noise in an entry of y_p."""
        return self.noise_power / (self.length * self.power)

    def shared(self, users: int) -> list[list[bool]]:
        """Return whether user j hears the pilot of user i, at row j and column i.

        Raises
        ------
        InvalidArgumentError
            If pilots were given for another number of users.
        """
        pilots = tuple(k % self.length for k in range(users)) if self.pilots is None else self.pilots
        if len(pilots) != users:
            raise InvalidArgumentError("pilots", f"one for each of {users} users", f"{len(pilots)}")
        return [[mine == other for other in pilots] for mine in pilots]


AnyCsi = Csi | LmmseCsi
"""What the BS knows: one of the names of `Csi`, or how it estimates."""


def check_csi(csi: Any) -> AnyCsi:
    """Return `csi` if it is one."""
    checked: AnyCsi = csi if isinstance(csi, LmmseCsi) else one_of("csi", csi, Csi)
    return checked
