"""What the BS knows of the channels: perfect, nominal, or estimated from pilots.

    perfect    h_k itself, the phase noise of both surfaces included
    nominal    h_k as the phase shifts alone would make it: the fading known, the phase noise not
    LmmseCsi   a linear estimate from noisy pilots and from the covariances of the channels: the true ones,
               those of surfaces without phase noise, or mean gains alone
    LsCsi      the noisy pilot itself

The moments of all of them are exact in closed form, as all are linear in the channels and the pilot noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from channels.checks import integer, one_of, positive
from channels.errors import InvalidArgumentError
from ris.options import Csi, PilotCovariance

__all__ = ["AnyCsi", "LmmseCsi", "LsCsi", "PilotCsi", "check_csi"]


@dataclass(frozen=True, init=False)
class PilotCsi:
    """Linear estimates of the channels from uplink pilots; `LmmseCsi` and `LsCsi` say which.

    User i sends one of `length` orthogonal pilot sequences, `length` symbols at the given power, while the
    phase noise is what it will be in the downlink. Correlated with pilot p, the BS is left with

        y_p = sum of h_i over the users i of pilot p + n,   n ~ CN(0, noise_power / (length * power) I):

    the sequence collects the energy length * power, and y_p is divided by its root. The variance is that of a
    complex number, half of it in each of its parts. The BS estimates hhat_j = L_j y_p.

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


@dataclass(frozen=True, init=False)
class LmmseCsi(PilotCsi):
    """Linear minimum mean square error (LMMSE) estimates of the channels from uplink pilots.

    Given the covariances S_i that the BS has of the users' channels (of mean zero),

        L_j = S_j (sum of S_i over the users i of j's pilot + noise I)^(-1),   noise as in `PilotCsi`.

    With the covariances E h_i h_i^H it is the best linear estimate, from second moments alone; the channels
    are not Gaussian (cascades), so the conditional mean may be better. With lines of sight the BS also has
    the means of the channels and the covariances between users, and the estimate is the best affine one from
    y_p, see `ris.affine_estimates`; with `covariance` = "gain" it has neither.

    Parameters
    ----------
    length, power, noise_power, pilots
        As for `PilotCsi`.
    covariance : {"exact", "nominal", "gain"}
        What the BS takes for S_i. "exact": E h_i h_i^H, from the covariances of all hops, the phase shifts
        and the law of the phase noise. "nominal": the same for surfaces without phase noise, which it does
        not know of. "gain": the mean gain E|h_i|^2 / M of an antenna times the identity, the correlation of
        the hops unknown: the element-wise estimate of Bjornson, Hoydis and Sanguinetti, Massive MIMO
        Networks, 2017, Section 3.4.1.
    """

    covariance: PilotCovariance

    def __init__(
        self,
        length: int,
        power: float,
        noise_power: float,
        pilots: Iterable[int] | None = None,
        covariance: PilotCovariance = "exact",
    ) -> None:
        super().__init__(length, power, noise_power, pilots)
        object.__setattr__(self, "covariance", one_of("covariance", covariance, PilotCovariance))


class LsCsi(PilotCsi):
    """Least-squares (LS) estimates from uplink pilots: L = I, the received pilot itself.

    It takes no knowledge of the channels. Users of one pilot have one and the same estimate.
    """


AnyCsi = Csi | PilotCsi
"""What the BS knows: one of the names of `Csi`, or how it estimates."""


def check_csi(csi: Any) -> AnyCsi:
    """Return `csi` if it is one."""
    checked: AnyCsi = csi if isinstance(csi, (LmmseCsi, LsCsi)) else one_of("csi", csi, Csi)
    return checked
