"""From geometry to systems: a scenario in metres and its drops, one by one or in batches."""

import dataclasses
import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.constants
from numpy.typing import NDArray

from channels.arrays import direction
from channels.checks import integer, non_negative, number, one_of, pair, positive
from channels.correlation import Correlation, isotropic_correlation, local_scattering_correlation
from channels.draws import normal, uniform
from channels.errors import InvalidArgumentError, MemoryLimitError, NearFieldWarning
from channels.fading import Hop, LineOfSight, UserHop
from channels.geometry import Node, Sightline, UserDrop, fraunhofer_distance_m, sightline
from channels.hardware import Hardware
from channels.interference import Interference
from channels.near_field import spherical_steering, spherical_wave
from channels.options import ScatteringMethod
from channels.pathloss import PathLoss, noise_power_dbm
from channels.phase_noise import NoNoise, PhaseNoise
from channels.streams import Stream
from ris.link_budget import BudgetRow, LinkBudget
from ris.montecarlo import MEMORY_LIMIT, as_stream
from ris.system import DoubleRIS

__all__ = ["HopDraw", "HopLaw", "LargeScale", "Scenario"]

BATCH_BYTES = 2**26
"""Size of the covariances of one batch of `Scenario.batches`, unless one drop has more."""

DRAWN_TOGETHER = 1024
"""Drops whose large-scale gains `Scenario.batches` draws in one go: drawing has threads to start."""

WORKSPACE = 3
"""Arrays of the size of the covariances at the peak of their check: with a copy and its Cholesky factor."""

ENDS = {
    "bs_ris1": ("bs", "ris1"),
    "bs_ris2": ("bs", "ris2"),
    "ris1_ris2": ("ris1", "ris2"),
    "ris1_user": ("ris1", "users"),
    "ris2_user": ("ris2", "users"),
    "bs_user": ("bs", "users"),
}

Spread = float | tuple[float, float] | None


@dataclass(frozen=True)
class HopLaw:
    """How one hop of a scenario propagates.

    Parameters
    ----------
    path_loss : PathLoss
        Its law.
    line_of_sight : bool, optional
        Its state in every drop. By default the state is drawn with the law's probability, independently for
        every drop and user.
    shadowing : bool
        Whether the law's log-normal shadowing is drawn, independently for every drop and user; else none.
    left_spread, right_spread : float or pair of floats, optional
        Correlation at the end nearer to the BS and at the other end: local scattering around the geometric
        direction with these standard deviations of azimuth and elevation, radians. By default scattering is
        isotropic. Users have single antennas, hence no `right_spread`.
    k_factor_db : float or "law", optional
        Makes the hop Rician where it is in line of sight: K-factor in dB, or "law" to draw it from that of
        the path-loss law, independently for every drop and user. By default fading is Rayleigh.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    """

    path_loss: PathLoss
    line_of_sight: bool | None = None
    shadowing: bool = True
    left_spread: Spread = None
    right_spread: Spread = None
    k_factor_db: float | Literal["law"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path_loss, PathLoss):
            raise InvalidArgumentError("path_loss", "a path-loss law of channels", repr(self.path_loss))
        if not isinstance(self.line_of_sight, bool | None):
            raise InvalidArgumentError("line_of_sight", "True, False or None", repr(self.line_of_sight))
        if not isinstance(self.shadowing, bool):
            raise InvalidArgumentError("shadowing", "True or False", repr(self.shadowing))
        if self.k_factor_db == "law":
            if self.path_loss.k_factor_law_db() is None:
                raise InvalidArgumentError("k_factor_db", "a number: the path-loss law has none", "'law'")
        elif self.k_factor_db is not None:
            object.__setattr__(self, "k_factor_db", number("k_factor_db", self.k_factor_db))
        for name in ("left_spread", "right_spread"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, pair(name, getattr(self, name), non_negative))

    @property
    def has_directions(self) -> bool:
        """Whether scattering at any end is around a direction."""
        return self.left_spread is not None or self.right_spread is not None


@dataclass(frozen=True, eq=False)
class HopDraw:
    """The large-scale part of one hop in a number of drops.

    Axes are (drop,) for a hop between arrays and (drop, user) for a hop to the users.

    Attributes
    ----------
    sightline : Sightline
        Distances and directions, from the end nearer to the BS; without a drop axis between arrays.
    line_of_sight : bool array
        States.
    path_loss_db, shadowing_db : array
        Path loss, and gain by shadowing.
    left_gain, right_gain : array
        Linear gains of the elements at the end nearer to the BS and at the other end.
    k_factor : array
        Power of the line of sight relative to the rest, linear; 0 for Rayleigh fading.
    near_field : bool array
        Whether the distance is below the Fraunhofer distance of the arrays; False where no path-loss law of
        the scenario has a carrier frequency.
    """

    sightline: Sightline
    line_of_sight: NDArray[np.bool_]
    path_loss_db: NDArray[np.float64]
    left_gain: NDArray[np.float64]
    right_gain: NDArray[np.float64]
    shadowing_db: NDArray[np.float64]
    k_factor: NDArray[np.float64]
    near_field: NDArray[np.bool_]

    @property
    def gain(self) -> NDArray[np.float64]:
        """Linear gain of the hop from one element to another: element gains, shadowing, path loss."""
        large_scale = 10 ** ((self.shadowing_db - self.path_loss_db) / 10)
        return np.asarray(self.left_gain * self.right_gain * large_scale)


@dataclass(frozen=True, eq=False)
class LargeScale:
    """Positions and large-scale gains of a number of drops.

    Attributes
    ----------
    users_m : array, shape (drop, K, 3)
        Positions of the users, metres.
    hops : dict of str to HopDraw
        By the name of the hop, those that are on.
    """

    users_m: NDArray[np.float64]
    hops: dict[str, HopDraw]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scenario:
    """A BS, up to two surfaces and users in space, whose drops are systems.

    A drop places the users, draws line of sight and shadowing, and has one gain per hop and user: path loss,
    shadowing and the element gains at both ends. Different drops, hops and users are independent; drop i of
    a seed is always the same (to rounding), whatever is drawn with it.

    Parameters
    ----------
    bs, ris1, ris2 : Node
        BS and surfaces; a surface may be None if no hop touches it.
    users : UserDrop
        Where the K users of a drop are.
    bs_ris1, bs_ris2, ris1_ris2, ris1_user, ris2_user, bs_user : HopLaw, optional
        How the hops propagate; None switches a hop off, as in `DoubleRIS`.
    bandwidth_hz, noise_figure_db : float
        Bandwidth (> 0) and noise figure (>= 0) of the users' receivers.
    phase_noise1, phase_noise2 : PhaseNoise
        Laws of the phase noise at the two surfaces; none by default.
    hardware1, hardware2, emi1, emi2 : Hardware, Interference or None
        As for `DoubleRIS`; interference in watts at an element.
    scattering_method : {"quadrature", "small_angle"}
        How `local_scattering_correlation` works; the small-angle form is the faster one.

    Raises
    ------
    InvalidArgumentError
        If an argument has the wrong kind, a hop ends at a surface that is not there, a hop to the users has
        a `right_spread`, or path-loss laws have different carrier frequencies.

    Warns
    -----
    NearFieldWarning
        When systems are made in which local scattering, which takes waves to be plane, is in the near field.
        Lines of sight are spherical there by themselves.

    Notes
    -----
    Directions of the covariances. Waves that leave the left end in direction u arrive at the other end from
    -u. With the convention exp(j 2 pi p . u) of `AntennaArray.steering`, reciprocity gives a single plane
    wave the channel matrix A = a(u) b(-u)^T, so A A^H is proportional to a(u) a(u)^H and A^H A to
    conj(b(-u)) b(-u)^T = b(u) b(u)^H. Both covariances of a `Hop` are therefore local scattering around the
    departure direction u. Around -u with the same spreads, conjugated, is the same law. The line of sight of
    a Rician hop is that one wave, a(u) b(u)^H exp(-j 2 pi d / lambda), see `channels.LineOfSight`; below
    the Fraunhofer distance of its arrays it is spherical (`channels.spherical_wave`), and its matrix between
    two arrays has a higher rank.
    """

    bs: Node
    users: UserDrop
    ris1: Node | None = None
    ris2: Node | None = None
    bs_ris1: HopLaw | None = None
    bs_ris2: HopLaw | None = None
    ris1_ris2: HopLaw | None = None
    ris1_user: HopLaw | None = None
    ris2_user: HopLaw | None = None
    bs_user: HopLaw | None = None
    bandwidth_hz: float
    noise_figure_db: float
    phase_noise1: PhaseNoise = dataclasses.field(default_factory=NoNoise)
    phase_noise2: PhaseNoise = dataclasses.field(default_factory=NoNoise)
    hardware1: Hardware = dataclasses.field(default_factory=Hardware)
    hardware2: Hardware = dataclasses.field(default_factory=Hardware)
    emi1: Interference | None = None
    emi2: Interference | None = None
    scattering_method: ScatteringMethod = "quadrature"

    def __post_init__(self) -> None:
        for name, kind in (("bs", Node), ("ris1", Node | None), ("ris2", Node | None), ("users", UserDrop)):
            if not isinstance(getattr(self, name), kind):
                wanted = "a user drop" if name == "users" else "a Node"
                raise InvalidArgumentError(name, f"{wanted} of channels", repr(getattr(self, name)))
        positive("bandwidth_hz", self.bandwidth_hz)
        non_negative("noise_figure_db", self.noise_figure_db)
        one_of("scattering_method", self.scattering_method, ScatteringMethod)
        for name, (left, right) in ENDS.items():
            law = getattr(self, name)
            if law is None:
                continue
            if not isinstance(law, HopLaw):
                raise InvalidArgumentError(name, "a ris.HopLaw or None", repr(law))
            for end in (left, right):
                if getattr(self, end) is None:
                    raise InvalidArgumentError(end, f"a Node, since {name} ends there", "None")
            if right == "users" and law.right_spread is not None:
                raise InvalidArgumentError(name, "no right_spread: users have one antenna", repr(law))
        if len(set(self._frequencies.values())) > 1:
            got = f"{self._frequencies}"
            raise InvalidArgumentError("frequency_hz", "one carrier frequency in all hops", got)

    @property
    def frequency_hz(self) -> float | None:
        """Carrier frequency of the path-loss laws, or None if no law has one."""
        return next(iter(self._frequencies.values()), None)

    @property
    def noise_power_dbm(self) -> float:
        """Noise power at a user, dBm."""
        return noise_power_dbm(self.bandwidth_hz, self.noise_figure_db)

    @property
    def noise_power_w(self) -> float:
        """Noise power at a user, watts."""
        return float(10 ** (self.noise_power_dbm / 10 - 3))

    def large_scale(self, count: int, seed: int | Stream, first: int = 0) -> LargeScale:
        """Draw positions, directions and large-scale gains of drops.

        Parameters
        ----------
        count : int
            Number of drops, >= 1.
        seed : int or Stream
            Where the numbers come from.
        first : int
            Number of the first drop.

        Returns
        -------
        LargeScale

        Raises
        ------
        InvalidArgumentError
            On a bad argument, and if a user is outside of the range of a path-loss law.
        """
        integer("count", count, minimum=1)
        integer("first", first, minimum=0)
        stream = as_stream(seed).child("scenario")
        K = self.users.count
        placing = uniform(stream.child("users"), 2 * K, count, first)
        users_m = self.users.place(placing.reshape(count, K, 2))
        hops = {name: self._draw(name, users_m, stream.child(name), first) for name in self._laws}
        return LargeScale(users_m, hops)

    def drop(self, seed: int | Stream, index: int = 0) -> DoubleRIS:
        """Return the system of one drop, without batch axes.

        Parameters
        ----------
        seed : int or Stream
            As for `large_scale`.
        index : int
            Number of the drop, >= 0.
        """
        drawn = self.large_scale(1, seed, index).hops
        return self._system({name: _some(hop, 0) for name, hop in drawn.items()})

    def drops(
        self, count: int, seed: int | Stream, first: int = 0, memory_limit: float = MEMORY_LIMIT
    ) -> DoubleRIS:
        """Return the systems of drops `first` to `first` + `count` - 1, batched along one leading axis.

        Parameters
        ----------
        count, seed, first
            As for `large_scale`.
        memory_limit : float
            Bytes that making the covariances may take.

        Raises
        ------
        MemoryLimitError
            If making the covariances would take more than `memory_limit` bytes: those of local scattering
            at the users' hops are the drops' own, 16 K N^2 bytes a hop and drop, and making them takes up to
            three times that. `batches` hands out the same systems in bounded memory.
        """
        integer("count", count, minimum=1)
        needed = WORKSPACE * count * self._drop_bytes
        if needed > memory_limit:
            what = f"making the covariances of {count} drops"
            raise MemoryLimitError(what, needed, int(memory_limit), "take `batches` instead")
        return self._system(self.large_scale(count, seed, first).hops)

    def batches(self, count: int, seed: int | Stream, first: int = 0) -> Iterator[DoubleRIS]:
        """Yield the systems of `drops` in order, some at a time: as many as 64 MiB of covariances allow.

        Parameters
        ----------
        count, seed, first
            As for `large_scale`.
        """
        integer("count", count, minimum=1)
        size = max(1, BATCH_BYTES // max(1, self._drop_bytes))
        for start in range(0, count, DRAWN_TOGETHER):
            here = min(DRAWN_TOGETHER, count - start)
            drawn = self.large_scale(here, seed, first + start).hops
            for part in range(0, here, size):
                yield self._system(
                    {name: _some(hop, slice(part, part + size)) for name, hop in drawn.items()}
                )

    def link_budget(self, seed: int | Stream, index: int = 0) -> LinkBudget:
        """Return the link budget of one drop; print it for a table.

        Parameters
        ----------
        seed, index
            As for `drop`.
        """
        drawn = self.large_scale(1, seed, index).hops
        rows = [row for name, hop in drawn.items() for row in _rows(name, _some(hop, 0))]
        return LinkBudget(tuple(rows), self.noise_power_dbm)

    @property
    def _laws(self) -> dict[str, HopLaw]:
        """Laws of the hops that are on."""
        return {name: getattr(self, name) for name in ENDS if getattr(self, name) is not None}

    @property
    def _frequencies(self) -> dict[str, float]:
        """Carrier frequencies of the hops whose path-loss laws have one."""
        laws = {name: law.path_loss for name, law in self._laws.items()}
        return {name: law.frequency_hz for name, law in laws.items() if hasattr(law, "frequency_hz")}

    @property
    def _drop_bytes(self) -> int:
        """Bytes of the covariances that are a drop's own."""
        own = [
            name
            for name, law in self._laws.items()
            if ENDS[name][1] == "users" and law.left_spread is not None
        ]
        return sum(16 * self.users.count * getattr(self, ENDS[name][0]).array.size ** 2 for name in own)

    def _draw(self, name: str, users_m: NDArray[np.float64], stream: Stream, first: int) -> HopDraw:
        law, (left, right) = self._laws[name], ENDS[name]
        start: Node = getattr(self, left)
        end: Node | None = None if right == "users" else getattr(self, right)
        end_m = users_m if end is None else end.position_m
        line = sightline(start.position_m, end_m)
        heights = (start.position_m[2], end_m[..., 2])
        count = len(users_m)
        shape = (count, *line.distance_m.shape[-1:])
        each = int(np.prod(shape[1:]))
        if law.line_of_sight is None:
            clear = uniform(stream.child("line of sight"), each, count, first).reshape(shape)
            los = clear < law.path_loss.los_probability(line.distance_m, heights)
        else:
            los = np.full(shape, law.line_of_sight)
        shadowing = np.zeros(shape)
        if law.shadowing:
            deviation = normal(stream.child("shadowing"), each, count, first).reshape(shape)
            shadowing = law.path_loss.shadowing_std_db(los) * deviation
        left_gain = start.element_gain(line.departure_azimuth, line.departure_elevation)
        right_gain = (
            np.ones(()) if end is None else end.element_gain(line.arrival_azimuth, line.arrival_elevation)
        )
        return HopDraw(
            line,
            los,
            np.broadcast_to(law.path_loss.loss_db(line.distance_m, heights, los), shape),
            np.broadcast_to(left_gain, shape),
            np.broadcast_to(right_gain, shape),
            shadowing,
            np.where(los, _k_factors(law, stream.child("k factor"), shape, first), 0.0),
            np.broadcast_to(line.distance_m < self._fraunhofer_distance_m(name), shape),
        )

    def _fraunhofer_distance_m(self, name: str) -> float:
        """Where the far field of a hop begins; 0 where no path-loss law knows the frequency."""
        arrays = [getattr(self, end).array for end in ENDS[name] if end != "users"]
        return 0.0 if self.frequency_hz is None else fraunhofer_distance_m(self.frequency_hz, *arrays)

    def _near_field_message(self, name: str) -> str:
        return (
            f"{name} is shorter than {self._fraunhofer_distance_m(name):.3g} m, its Fraunhofer distance, "
            "below which the directions of local scattering differ over the array"
        )

    def _system(self, drawn: dict[str, HopDraw]) -> DoubleRIS:
        hops: dict[str, Any] = {}
        for name, hop in drawn.items():
            if hop.near_field.any() and self._laws[name].has_directions:
                warnings.warn(self._near_field_message(name), NearFieldWarning, stacklevel=3)
            if ENDS[name][1] == "users":
                hops[name] = self._user_hop(name, hop)
            else:
                hops[name] = self._hop(name, hop)
        kept = ("phase_noise1", "phase_noise2", "hardware1", "hardware2", "emi1", "emi2")
        return DoubleRIS(**hops, **{name: getattr(self, name) for name in kept})

    def _hop(self, name: str, hop: HopDraw) -> Hop:
        covariances = self._fixed_covariances[name]
        if not np.any(hop.k_factor):
            return Hop(hop.gain, *covariances)
        left, right = (getattr(self, end) for end in ENDS[name])
        line, frequency = hop.sightline, self.frequency_hz
        if frequency is not None and np.any(hop.near_field):
            # The gains of the elements are those of the nodes, the same in all drops.
            centre = hop.left_gain.flat[0] * hop.right_gain.flat[0]
            wave = LineOfSight.of(_over_centre(spherical_wave(left, right, frequency), centre))
        else:
            departure = line.departure_azimuth, line.departure_elevation
            wave = LineOfSight.plane_wave(left.array, right.array, *departure)
        return Hop.rician(hop.gain, hop.k_factor, *covariances, wave * self._turn(line))

    def _user_hop(self, name: str, hop: HopDraw) -> UserHop:
        line, frequency = hop.sightline, self.frequency_hz
        covariance = self._user_covariance(name, line)
        if not np.any(hop.k_factor):
            return UserHop(hop.gain, covariance)
        node = getattr(self, ENDS[name][0])
        departure = line.departure_azimuth, line.departure_elevation
        waves = node.array.steering(*departure)
        if frequency is not None and np.any(hop.near_field):
            users_m = node.position_m + line.distance_m[..., None] * direction(*departure)
            spherical = _over_centre(spherical_steering(node, users_m, frequency), hop.left_gain[..., None])
            waves = np.where(hop.near_field[..., None], spherical, waves)
        return UserHop.rician(hop.gain, hop.k_factor, covariance, waves * self._turn(line)[..., None])

    def _turn(self, line: Sightline) -> NDArray[np.complex128]:
        """exp(-j 2 pi d / lambda) over the distance; 1 where no path-loss law knows the frequency."""
        cycles = line.distance_m * (self.frequency_hz or 0.0) / scipy.constants.c
        return np.asarray(np.exp(-2j * np.pi * cycles))

    def _user_covariance(self, name: str, line: Sightline) -> Correlation:
        left, spread = ENDS[name][0], self._laws[name].left_spread
        return self._isotropic[left] if spread is None else self._scattering(left, spread, line)

    @functools.cached_property
    def _fixed_covariances(self) -> dict[str, tuple[Correlation, Correlation]]:
        """Covariances at both ends of the hops between arrays, which no drop changes."""
        covariances = {}
        for name, law in self._laws.items():
            ends, spreads = ENDS[name], (law.left_spread, law.right_spread)
            if ends[1] == "users":
                continue
            line = sightline(*(getattr(self, end).position_m for end in ends))
            left, right = (
                self._isotropic[end] if spread is None else self._scattering(end, spread, line)
                for end, spread in zip(ends, spreads, strict=True)
            )
            covariances[name] = left, right
        return covariances

    @functools.cached_property
    def _isotropic(self) -> dict[str, Correlation]:
        """Correlation of every array under isotropic scattering, one object for all hops that have it."""
        law = self._laws.items()
        spreads = [(ENDS[name][0], hop.left_spread) for name, hop in law]
        spreads += [(ENDS[name][1], hop.right_spread) for name, hop in law if ENDS[name][1] != "users"]
        ends = {end for end, spread in spreads if spread is None}
        return {end: isotropic_correlation(getattr(self, end).array) for end in ends}

    def _scattering(self, end: str, spread: float | tuple[float, float], line: Sightline) -> Correlation:
        return local_scattering_correlation(
            getattr(self, end).array,
            line.departure_azimuth,
            line.departure_elevation,
            spread,
            self.scattering_method,
        )


def _over_centre(responses: NDArray[Any], gain: Any) -> NDArray[np.complex128]:
    """Responses to spherical waves over that at the centre, whose elements have that gain; 0 for no gain."""
    amplitude = np.broadcast_to(np.sqrt(gain), responses.shape)
    relative = np.zeros(responses.shape, np.complex128)
    np.divide(responses, amplitude, out=relative, where=amplitude > 0)
    return relative


def _some(hop: HopDraw, drops: int | slice) -> HopDraw:
    """Some drops of a draw, or one of them without the drop axis."""
    between_arrays = hop.path_loss_db.ndim == 1
    parts = [getattr(hop.sightline, field.name) for field in dataclasses.fields(Sightline)]
    line = hop.sightline if between_arrays else Sightline(*(part[drops] for part in parts))
    rest = [getattr(hop, field.name)[drops] for field in dataclasses.fields(HopDraw)[1:]]
    return HopDraw(line, *rest)


def _rows(name: str, hop: HopDraw) -> Iterator[BudgetRow]:
    """Budget of one hop of a single drop."""
    with np.errstate(divide="ignore"):  # no gain behind an element is -inf dB
        left, right = (10 * np.log10(gain) for gain in (hop.left_gain, hop.right_gain))
    columns = (hop.sightline.distance_m, hop.line_of_sight, hop.path_loss_db, left, right, hop.shadowing_db)
    between_arrays = hop.path_loss_db.ndim == 0
    for user, (distance, los, *decibels) in enumerate(zip(*map(np.atleast_1d, columns), strict=True)):
        yield BudgetRow(
            name, None if between_arrays else user, float(distance), bool(los), *map(float, decibels)
        )


def _k_factors(law: HopLaw, stream: Stream, shape: tuple[int, ...], first: int) -> NDArray[np.float64]:
    """Draw linear K-factors of lines of sight, shape (count, ...)."""
    if law.k_factor_db is None:
        return np.zeros(shape)
    if isinstance(law.k_factor_db, float):
        return np.full(shape, 10 ** (law.k_factor_db / 10))
    known = law.path_loss.k_factor_law_db()
    assert known is not None  # noqa: S101 - `HopLaw` has seen to it
    mean, deviation = known
    drawn = normal(stream, int(np.prod(shape[1:])), shape[0], first).reshape(shape)
    return np.asarray(10 ** ((mean + deviation * drawn) / 10))
