"""Path-loss laws, the gain of a surface's element, and the power of thermal noise.

Losses are in dB between isotropic antennas; gains are linear. Distances are three-dimensional, in metres.
Laws that tell a line of sight (LoS) from an obstructed path (NLoS) also give its probability.
"""

import abc
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.constants
from numpy.typing import ArrayLike, NDArray

from channels.checks import as_array, finite, non_negative, number, one_of, positive, real
from channels.errors import InvalidArgumentError
from channels.options import Office

__all__ = [
    "FreeSpace",
    "IndoorOffice",
    "LogDistance",
    "PathLoss",
    "SurfaceElement",
    "UrbanMacro",
    "UrbanMicro",
    "noise_power_dbm",
]

Reals = NDArray[np.float64]

TR_SPEED_OF_LIGHT = 3.0e8
"""The rounded value that TR 38.901 prescribes for the breakpoint distance, m/s."""

TR_EFFECTIVE_HEIGHT = 1.0
"""Height of the effective environment h_E in metres: table 7.4.1-1, note 1, for users up to 13 m."""


class PathLoss(abc.ABC):
    """A law of the mean power that a path loses between two isotropic antennas.

    Every method broadcasts its arguments:

    distance_m : array_like, shape (...)
        Distance of the two ends, > 0.
    heights_m : pair of array_like, shapes (...)
        Heights of the base (the end nearer to the BS) and of the terminal above ground; laws that depend on
        distance alone ignore them.
    line_of_sight : array_like of bool, shape (...)
        Whether the path is unobstructed; laws that know one state alone ignore it.
    """

    def loss_db(
        self,
        distance_m: ArrayLike,
        heights_m: tuple[ArrayLike, ArrayLike] | None = None,
        line_of_sight: ArrayLike = True,
    ) -> Reals:
        """Return the path loss in dB, shape (...), without shadowing.

        Raises
        ------
        InvalidArgumentError
            If a distance or height is not finite, or outside of the range for which the law was made.
        """
        distance, heights = _checked(distance_m, heights_m)
        return self._loss_db(distance, heights, _states(line_of_sight))

    def gain(
        self,
        distance_m: ArrayLike,
        heights_m: tuple[ArrayLike, ArrayLike] | None = None,
        line_of_sight: ArrayLike = True,
    ) -> Reals:
        """Return the linear gain 10^(-loss_db / 10), shape (...)."""
        loss = self.loss_db(distance_m, heights_m, line_of_sight)
        return np.asarray(10.0 ** (-loss / 10))

    def los_probability(
        self, distance_m: ArrayLike, heights_m: tuple[ArrayLike, ArrayLike] | None = None
    ) -> Reals:
        """Return the probability of a line of sight, shape (...); 1 for laws that know one state alone."""
        return self._los_probability(*_checked(distance_m, heights_m))

    def k_factor_law_db(self) -> tuple[float, float] | None:
        """Return mean and standard deviation of the K-factor of a line of sight in dB; None if unknown."""
        return None

    def shadowing_std_db(self, line_of_sight: ArrayLike = True) -> Reals:
        """Return the standard deviation of the log-normal shadowing in dB, shape (...)."""
        return self._shadowing_std_db(_states(line_of_sight))

    @abc.abstractmethod
    def _loss_db(self, distance: Reals, heights: tuple[Reals, Reals] | None, los: NDArray[np.bool_]) -> Reals:
        """Loss of checked arguments."""

    def _los_probability(self, distance: Reals, heights: tuple[Reals, Reals] | None) -> Reals:
        return np.ones(distance.shape)

    def _shadowing_std_db(self, los: NDArray[np.bool_]) -> Reals:
        return np.zeros(los.shape)


@dataclass(frozen=True)
class FreeSpace(PathLoss):
    """Free space: loss 20 log10(4 pi d / lambda), always a line of sight, no shadowing.

    Parameters
    ----------
    frequency_hz : float
        Carrier frequency, > 0.

    Notes
    -----
    Friis, "A note on a simple transmission formula", Proc. IRE 34(5), 1946, for isotropic antennas.
    """

    frequency_hz: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequency_hz", positive("frequency_hz", self.frequency_hz))

    def _loss_db(self, distance: Reals, heights: tuple[Reals, Reals] | None, los: NDArray[np.bool_]) -> Reals:
        wavelength = scipy.constants.c / self.frequency_hz
        return np.asarray(20 * np.log10(4 * np.pi * distance / wavelength))


@dataclass(frozen=True)
class LogDistance(PathLoss):
    """Log-distance law: loss `reference_db` + 10 `exponent` log10(d / `reference_m`).

    Parameters
    ----------
    exponent : float
        Path-loss exponent, > 0; 2 is free space.
    reference_db : float
        Loss at the reference distance.
    reference_m : float
        Reference distance, > 0; nearer than that the law refuses to answer.
    shadowing_db : float
        Standard deviation of the shadowing, >= 0.

    Notes
    -----
    Rappaport, "Wireless communications: principles and practice", 2nd edition 2002, section 4.9.1.
    """

    exponent: float
    reference_db: float
    reference_m: float = 1.0
    shadowing_db: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "exponent", positive("exponent", self.exponent))
        object.__setattr__(self, "reference_db", number("reference_db", self.reference_db))
        object.__setattr__(self, "reference_m", positive("reference_m", self.reference_m))
        object.__setattr__(self, "shadowing_db", non_negative("shadowing_db", self.shadowing_db))

    def _loss_db(self, distance: Reals, heights: tuple[Reals, Reals] | None, los: NDArray[np.bool_]) -> Reals:
        _within("distance_m", distance, self.reference_m, math.inf)
        return np.asarray(self.reference_db + 10 * self.exponent * np.log10(distance / self.reference_m))

    def _shadowing_std_db(self, los: NDArray[np.bool_]) -> Reals:
        return np.full(los.shape, self.shadowing_db)


@dataclass(frozen=True)
class _TR38901(PathLoss):
    """What the laws of 3GPP TR 38.901, tables 7.4.1-1 and 7.4.2-1, have in common.

    The NLoS loss is the larger one of the LoS loss and of the law's own NLoS formula; the carrier frequency
    is between 0.5 and 100 GHz; every law has one shadowing deviation for LoS and one for NLoS, and a normal
    law of the K-factor in dB for LoS (table 7.5-6, V16.1.0).
    """

    frequency_hz: float
    shadowing: ClassVar[tuple[float, float]]
    k_factor: ClassVar[tuple[float, float]]

    def __post_init__(self) -> None:
        frequency = positive("frequency_hz", self.frequency_hz)
        if not 0.5e9 <= frequency <= 100e9:
            raise InvalidArgumentError(
                "frequency_hz", "0.5e9 to 100e9, the range of TR 38.901", repr(frequency)
            )
        object.__setattr__(self, "frequency_hz", frequency)

    def _loss_db(self, distance: Reals, heights: tuple[Reals, Reals] | None, los: NDArray[np.bool_]) -> Reals:
        base, terminal = _needed(heights)
        clear = self._clear_db(distance, base, terminal)
        return np.where(los, clear, np.maximum(clear, self._obstructed_db(distance, terminal)))

    def k_factor_law_db(self) -> tuple[float, float]:
        """Return mean and standard deviation of the K-factor of a line of sight in dB, normal."""
        return self.k_factor

    def _shadowing_std_db(self, los: NDArray[np.bool_]) -> Reals:
        return np.where(los, *self.shadowing)

    @property
    def _frequency_db(self) -> float:
        """20 log10 of the frequency in GHz."""
        return 20 * math.log10(self.frequency_hz / 1e9)

    @abc.abstractmethod
    def _clear_db(self, distance: Reals, base: Reals, terminal: Reals) -> Reals:
        """LoS loss."""

    @abc.abstractmethod
    def _obstructed_db(self, distance: Reals, terminal: Reals) -> Reals:
        """NLoS formula, before the maximum with the LoS loss."""


class _Urban(_TR38901):
    """The two street laws: two slopes with a breakpoint, and users up to `highest` metres.

    With d the three-dimensional and d' the horizontal distance, f in GHz and a, n, m of the law,

        a + 10 n log10(d) + 20 log10(f)                                     10 m <= d' <= b
        a + 40 log10(d) + 20 log10(f) - 10 m log10(b^2 + (hb - ht)^2)       b <= d' <= 5 km

    where b = 4 (hb - 1 m) (ht - 1 m) frequency / (3e8 m/s) is the breakpoint distance.
    """

    highest: ClassVar[float]
    slopes: ClassVar[tuple[float, float, float]]
    decay: ClassVar[float]

    def _clear_db(self, distance: Reals, base: Reals, terminal: Reals) -> Reals:
        _within("heights_m", terminal, 1.5, self.highest)
        _within("heights_m", base, 1.5, math.inf)
        horizontal = _horizontal(distance, base, terminal)
        _within("distance_m", horizontal, 10, 5000, "a horizontal distance")
        constant, exponent, breakpoint_weight = self.slopes
        lever = (base - TR_EFFECTIVE_HEIGHT) * (terminal - TR_EFFECTIVE_HEIGHT)
        breakpoint_m = 4 * lever * self.frequency_hz / TR_SPEED_OF_LIGHT
        near = 10 * exponent * np.log10(distance)
        rest = np.log10(breakpoint_m**2 + (base - terminal) ** 2)
        far = 40 * np.log10(distance) - 10 * breakpoint_weight * rest
        return np.asarray(constant + self._frequency_db + np.where(horizontal <= breakpoint_m, near, far))

    def _los_probability(self, distance: Reals, heights: tuple[Reals, Reals] | None) -> Reals:
        base, terminal = _needed(heights)
        _within("heights_m", terminal, 1.5, self.highest)
        # 18 m / d' + exp(-d' / decay) (1 - 18 m / d') is 1 at 18 m, and by definition below.
        horizontal = np.maximum(_horizontal(distance, base, terminal), 18.0)
        near = 18 / horizontal
        return np.asarray(near + np.exp(-horizontal / self.decay) * (1 - near))


class UrbanMicro(_Urban):
    """3GPP TR 38.901 UMi street canyon, LoS and NLoS.

    NLoS formula: 35.3 log10(d) + 22.4 + 21.3 log10(f) - 0.3 (ht - 1.5 m). Shadowing 4 dB LoS, 7.82 dB NLoS.
    K-factor 9 dB, deviation 5 dB.
    LoS probability 1 up to a horizontal distance d' of 18 m, then 18/d' + exp(-d'/36) (1 - 18/d').

    Parameters
    ----------
    frequency_hz : float
        Carrier frequency, 0.5e9 to 100e9.

    Notes
    -----
    3GPP TR 38.901 (V16.1.0), tables 7.4.1-1 and 7.4.2-1. Terminals at 1.5 to 22.5 m, horizontal distances of
    10 m to 5 km. The tables are for a base at 10 m: its height enters the breakpoint and the distance alone,
    and other heights (of 1.5 m or more), as of surfaces that take the place of a base, extrapolate the law.
    """

    shadowing = 4.0, 7.82
    k_factor = 9.0, 5.0
    highest = 22.5
    slopes = 32.4, 2.1, 0.95
    decay = 36.0

    def _obstructed_db(self, distance: Reals, terminal: Reals) -> Reals:
        tail = 22.4 + 21.3 / 20 * self._frequency_db - 0.3 * (terminal - 1.5)
        return np.asarray(35.3 * np.log10(distance) + tail)


class UrbanMacro(_Urban):
    """3GPP TR 38.901 UMa, LoS and NLoS, for terminals up to 13 m.

    NLoS formula: 39.08 log10(d) + 13.54 + 20 log10(f) - 0.6 (ht - 1.5 m). Shadowing 4 dB LoS, 6 dB NLoS.
    K-factor 9 dB, deviation 3.5 dB.
    LoS probability 1 up to a horizontal distance d' of 18 m, then 18/d' + exp(-d'/63) (1 - 18/d').

    Parameters
    ----------
    frequency_hz : float
        Carrier frequency, 0.5e9 to 100e9.

    Notes
    -----
    3GPP TR 38.901 (V16.1.0), tables 7.4.1-1 and 7.4.2-1; horizontal distances of 10 m to 5 km. Terminals at
    1.5 to 13 m: above, the height of the environment in the breakpoint is random and the LoS probability
    has another factor; such terminals are refused. The tables are for a base at 25 m; other heights
    extrapolate, as for `UrbanMicro`.
    """

    shadowing = 4.0, 6.0
    k_factor = 9.0, 3.5
    highest = 13.0
    slopes = 28.0, 2.2, 0.9
    decay = 63.0

    def _obstructed_db(self, distance: Reals, terminal: Reals) -> Reals:
        tail = 13.54 + self._frequency_db - 0.6 * (terminal - 1.5)
        return np.asarray(39.08 * np.log10(distance) + tail)


@dataclass(frozen=True)
class IndoorOffice(_TR38901):
    """3GPP TR 38.901 InH office, LoS and NLoS.

    LoS 32.4 + 17.3 log10(d) + 20 log10(f), NLoS formula 38.3 log10(d) + 17.3 + 24.9 log10(f), at distances d
    of 1 to 150 m. Shadowing 3 dB LoS, 8.03 dB NLoS. K-factor 7 dB, deviation 4 dB. LoS probability by the
    horizontal distance d' in metres:

        mixed  1 to 1.2, exp(-(d' - 1.2) / 4.7) below 6.5, then 0.32 exp(-(d' - 6.5) / 32.6)
        open   1 to 5, exp(-(d' - 5) / 70.8) to 49, then 0.54 exp(-(d' - 49) / 211.7)

    Parameters
    ----------
    frequency_hz : float
        Carrier frequency, 0.5e9 to 100e9.
    office : {"mixed", "open"}
        Kind of office; it matters for the LoS probability alone.

    Notes
    -----
    3GPP TR 38.901 (V16.1.0), tables 7.4.1-1 and 7.4.2-1; the step up at 49 m, 0.537 to 0.54, is theirs.
    """

    office: Office = field(default="mixed")
    shadowing = 3.0, 8.03
    k_factor = 7.0, 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("office", self.office, Office)

    def _clear_db(self, distance: Reals, base: Reals, terminal: Reals) -> Reals:
        _within("distance_m", distance, 1, 150)
        return np.asarray(32.4 + 17.3 * np.log10(distance) + self._frequency_db)

    def _obstructed_db(self, distance: Reals, terminal: Reals) -> Reals:
        return np.asarray(38.3 * np.log10(distance) + 17.3 + 24.9 / 20 * self._frequency_db)

    def _los_probability(self, distance: Reals, heights: tuple[Reals, Reals] | None) -> Reals:
        d = _horizontal(distance, *_needed(heights))
        if self.office == "mixed":
            near, far = np.exp(-(d - 1.2) / 4.7), 0.32 * np.exp(-(d - 6.5) / 32.6)
            return np.where(d <= 1.2, 1.0, np.where(d < 6.5, near, far))
        near, far = np.exp(-(d - 5) / 70.8), 0.54 * np.exp(-(d - 49) / 211.7)
        return np.where(d <= 5, 1.0, np.where(d <= 49, near, far))


@dataclass(frozen=True)
class SurfaceElement:
    """The pattern of one element of an array or a surface: power gain 4 pi `area` cos(t)^`exponent`.

    t is the angle to broadside; behind (t >= 90 degrees) the gain is 0. At broadside the element takes what
    falls on `area`: an incident density S delivers S `area`, and by reciprocity the gain over an isotropic
    antenna is 4 pi `area` / lambda^2. It enters every hop that ends at the element, once for each. With
    exponent 1, the projected area, in free space, the path over one element between isotropic antennas at
    distances d1 and d2 has the gain of the product law

        area cos(t1) / (4 pi d1^2) * area cos(t2) / (4 pi d2^2),

    areas here in square metres.

    Parameters
    ----------
    area : float
        Effective area at broadside in square wavelengths, > 0; spacing^2 for a surface without gaps.
    exponent : float
        Of the cosine, >= 0.

    Raises
    ------
    InvalidArgumentError
        On a bad number, and if 2 pi `area` > `exponent` + 1: the gain would average to more than 1 over all
        directions, more power than a passive element gets.

    Notes
    -----
    Assumed: the far field, a matched element without loss or coupling to its neighbours, reflection of all
    that it takes, a polarisation that fits. Ellingson, "Path loss in reconfigurable intelligent
    surface-enabled channels", PIMRC 2021, has the same law with exponent q for either hop; Ozdogan, Bjornson
    and Larsson, "Intelligent reflecting surfaces: physics, propagation, and pathloss modeling", IEEE WCL
    9(5), 2020, the case of a large plate, in which area / (4 pi d1 d2) enters squared in the same way.
    """

    area: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", positive("area", self.area))
        object.__setattr__(self, "exponent", non_negative("exponent", self.exponent))
        if 2 * math.pi * self.area > self.exponent + 1:
            raise InvalidArgumentError(
                "area", f"at most (exponent + 1) / (2 pi) = {(self.exponent + 1) / (2 * math.pi):.4g}",
                repr(self.area),
            )  # fmt: skip

    def gain(self, cosine: ArrayLike) -> Reals:
        """Return the power gain over an isotropic antenna, from the cosine of the angle to broadside."""
        value = np.asarray(real("cosine", finite("cosine", as_array("cosine", cosine))))
        _within("cosine", value, -1 - 1e-12, 1 + 1e-12)
        front = value > 0
        return np.where(front, 4 * np.pi * self.area * np.where(front, value, 1.0) ** self.exponent, 0.0)


def noise_power_dbm(bandwidth_hz: float, noise_figure_db: float = 0.0) -> float:
    """Return the thermal noise power k T B at 290 K, raised by the noise figure, in dBm.

    Parameters
    ----------
    bandwidth_hz : float
        Bandwidth B, > 0.
    noise_figure_db : float
        Noise figure of the receiver, >= 0.
    """
    power_w = scipy.constants.k * 290 * positive("bandwidth_hz", bandwidth_hz)
    return 10 * math.log10(1e3 * power_w) + non_negative("noise_figure_db", noise_figure_db)


def _checked(
    distance_m: ArrayLike, heights_m: tuple[ArrayLike, ArrayLike] | None
) -> tuple[Reals, tuple[Reals, Reals] | None]:
    distance = _reals("distance_m", distance_m)
    if distance.size and distance.min() <= 0:
        raise InvalidArgumentError("distance_m", "numbers > 0", f"a smallest value of {distance.min()}")
    if heights_m is None:
        return distance, None
    if not isinstance(heights_m, (tuple, list)) or len(heights_m) != 2:
        raise InvalidArgumentError(
            "heights_m", "a pair: heights of the base and of the terminal", repr(heights_m)
        )
    base, terminal = (_reals("heights_m", height) for height in heights_m)
    try:
        distance, base, terminal = np.broadcast_arrays(distance, base, terminal)
    except ValueError:
        shapes = f"{distance.shape}, {base.shape} and {terminal.shape}"
        raise InvalidArgumentError("distance_m, heights_m", "shapes that broadcast", shapes) from None
    return distance, (base, terminal)


def _reals(argument: str, value: Any) -> Reals:
    return np.asarray(real(argument, finite(argument, as_array(argument, value))))


def _states(line_of_sight: ArrayLike) -> NDArray[np.bool_]:
    states = np.asarray(line_of_sight)
    if states.dtype != np.bool_:
        raise InvalidArgumentError("line_of_sight", "True or False", f"dtype {states.dtype}")
    return states


def _needed(heights: tuple[Reals, Reals] | None) -> tuple[Reals, Reals]:
    if heights is None:
        raise InvalidArgumentError("heights_m", "heights of base and terminal, which this law needs", "None")
    return heights


def _horizontal(distance: Reals, base: Reals, terminal: Reals) -> Reals:
    """Horizontal distance; rounding of a vertical path may not make its square negative."""
    rise = np.abs(base - terminal)
    if np.any(rise > distance * (1 + 1e-12)):
        raise InvalidArgumentError("distance_m", "at least the difference of the heights", "less")
    return np.sqrt(np.maximum((distance - rise) * (distance + rise), 0.0))


def _within(argument: str, values: Reals, lowest: float, highest: float, what: str = "numbers") -> None:
    if values.size and not (lowest <= values.min() and values.max() <= highest):
        raise InvalidArgumentError(
            argument, f"{what} from {lowest:g} to {highest:g}", f"{values.min():.6g} to {values.max():.6g}"
        )
