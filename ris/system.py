"""The double-RIS downlink as one frozen, validated object."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from channels.correlation import Correlation
from channels.errors import InvalidArgumentError
from channels.fading import Hop, LineOfSight, UserHop
from channels.hardware import Hardware
from channels.interference import Interference
from channels.phase_noise import NoNoise, PhaseNoise

__all__ = [
    "DoubleRIS",
    "check_arrays",
    "check_coupling",
    "check_designable",
    "check_phase_noise_alone",
    "check_single",
    "each_system",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class DoubleRIS:
    """A BS, two reflecting surfaces and K single-antenna users, joined by up to six fading hops.

    User k's channel, a column vector over the M antennas of the BS, is the sum of its active paths,

        h_k = d_k + A1 T1 u1k + A2 T2 u2k + A1 T1 D T2 u2k,

    with A1 = `bs_ris1`, A2 = `bs_ris2`, D = `ris1_ris2`, u1k = `ris1_user`, u2k = `ris2_user`,
    d_k = `bs_user` and Ti = diag(exp(j(theta_i + phi_i))): phase shifts theta that the surface sets and
    phase noise phi that it adds; amplitudes, failures and mutual coupling of `Hardware` change Ti, the last
    to a full matrix. Hops may have means: lines of sight. User k receives h_k^H x + noise. A hop that is None
    is switched off, and so are the paths through it; a hop on no complete path adds nothing.

    Interference n1 and n2 that meets the surfaces reaches user k over the same hops as the signal, and adds

        (T1 (u1k + D T2 u2k))^H n1 + (T2 u2k)^H n2

    to what it receives.

    Parameters
    ----------
    bs_ris1, bs_ris2, ris1_ris2 : Hop or None
        Hops between arrays; `left` is the side nearer to the BS.
    ris1_user, ris2_user, bs_user : UserHop or None
        Hops to the users.
    phase_noise1, phase_noise2 : PhaseNoise
        Laws of the phase noise at the two surfaces; none by default.
    hardware1, hardware2 : Hardware
        What else the elements of the two surfaces do; nothing by default.
    emi1, emi2 : Interference or None
        Electromagnetic interference at the two surfaces.

    Raises
    ------
    InvalidArgumentError
        If two hops disagree on the size of an array or on the number of users, hardware was given for
        another number of elements, no path from the BS to the users is complete, or there is interference
        at a surface on no complete path.

    Notes
    -----
    Model class of Abdullah, Papazafeiropoulos, Kisseleff, Chatzinotas and Ottersten, IEEE Wireless
    Communications Letters 11(7), 2022, with every hop given its own pair of covariances and every user
    its own. Leading axes of gains and covariances are batch axes: many systems in one object.
    """

    bs_ris1: Hop | None = None
    bs_ris2: Hop | None = None
    ris1_ris2: Hop | None = None
    ris1_user: UserHop | None = None
    ris2_user: UserHop | None = None
    bs_user: UserHop | None = None
    phase_noise1: PhaseNoise = dataclasses.field(default_factory=NoNoise)
    phase_noise2: PhaseNoise = dataclasses.field(default_factory=NoNoise)
    hardware1: Hardware = dataclasses.field(default_factory=Hardware)
    hardware2: Hardware = dataclasses.field(default_factory=Hardware)
    emi1: Interference | None = None
    emi2: Interference | None = None

    def __post_init__(self) -> None:
        for name, kind in _HOPS.items():
            hop = getattr(self, name)
            if hop is not None and not isinstance(hop, kind):
                raise InvalidArgumentError(name, f"a channels.{kind.__name__} or None", repr(hop))
        for name in ("phase_noise1", "phase_noise2"):
            if not isinstance(getattr(self, name), PhaseNoise):
                raise InvalidArgumentError(name, "a phase-noise law of channels", repr(getattr(self, name)))
        for name in ("emi1", "emi2"):
            emi = getattr(self, name)
            if emi is not None and not isinstance(emi, Interference):
                raise InvalidArgumentError(name, "a channels.Interference or None", repr(emi))
        self._size("antennas of the BS", self._bs_sides())
        self._size("elements of surface 1", self._surface1_sides())
        self._size("elements of surface 2", self._surface2_sides())
        self._size("users", self._user_counts())
        for name, elements in (("hardware1", self.elements1), ("hardware2", self.elements2)):
            hardware = getattr(self, name)
            if not isinstance(hardware, Hardware):
                raise InvalidArgumentError(name, "a channels.Hardware", repr(hardware))
            if elements > 0 and hardware.elements not in (None, elements):
                raise InvalidArgumentError(name, f"numbers for {elements} elements", f"{hardware.elements}")
        if not (self.direct or self.single1 or self.single2 or self.double):
            present = [name for name in _HOPS if getattr(self, name) is not None]
            raise InvalidArgumentError(
                "DoubleRIS",
                "at least one complete path: bs_user, or bs_ris1 + ris1_user, or bs_ris2 + ris2_user, "
                "or bs_ris1 + ris1_ris2 + ris2_user",
                "only " + ", ".join(present) if present else "no hop at all",
            )
        for name, reached in (("emi1", self.single1 or self.double), ("emi2", self.single2 or self.double)):
            if getattr(self, name) is not None and not reached:
                raise InvalidArgumentError(name, "None at a surface on no complete path", "interference")
        shapes = {
            f"{name}.{part}": shape
            for name in (*_HOPS, "emi1", "emi2")
            if (part_of := getattr(self, name)) is not None
            for part, shape in _batch_shapes(part_of)
        }
        try:
            np.broadcast_shapes(*shapes.values())
        except ValueError:
            raise InvalidArgumentError("DoubleRIS", "batch axes that broadcast", f"{shapes}") from None

    @property
    def direct(self) -> bool:
        """Whether the BS reaches the users directly."""
        return self.bs_user is not None

    @property
    def single1(self) -> bool:
        """Whether the single reflection at surface 1 is a complete path."""
        return self.bs_ris1 is not None and self.ris1_user is not None

    @property
    def single2(self) -> bool:
        """Whether the single reflection at surface 2 is a complete path."""
        return self.bs_ris2 is not None and self.ris2_user is not None

    @property
    def double(self) -> bool:
        """Whether the double reflection, surface 1 and then surface 2, is a complete path."""
        return self.bs_ris1 is not None and self.ris1_ris2 is not None and self.ris2_user is not None

    @property
    def line_of_sight(self) -> bool:
        """Whether any hop has a mean."""
        hops = (getattr(self, name) for name in _HOPS)
        return any(hop is not None and hop.mean is not None for hop in hops)

    @property
    def antennas(self) -> int:
        """Number of BS antennas M."""
        return self._size("antennas of the BS", self._bs_sides())

    @property
    def elements1(self) -> int:
        """Number of elements N1 of surface 1; 0 if no hop touches it."""
        return self._size("elements of surface 1", self._surface1_sides())

    @property
    def elements2(self) -> int:
        """Number of elements N2 of surface 2; 0 if no hop touches it."""
        return self._size("elements of surface 2", self._surface2_sides())

    @property
    def users(self) -> int:
        """Number of users K."""
        return self._size("users", self._user_counts())

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes shared by the gains and covariances of all hops."""
        hops = [hop for name in (*_HOPS, "emi1", "emi2") if (hop := getattr(self, name)) is not None]
        return np.broadcast_shapes(*(shape for hop in hops for _, shape in _batch_shapes(hop)))

    def _bs_sides(self) -> dict[str, int]:
        return {
            **{
                f"{name}.left": hop.shape[0]
                for name in ("bs_ris1", "bs_ris2")
                if (hop := getattr(self, name))
            },
            **({"bs_user.correlation": self.bs_user.size} if self.bs_user else {}),
        }

    def _surface1_sides(self) -> dict[str, int]:
        return {
            **({"bs_ris1.right": self.bs_ris1.shape[1]} if self.bs_ris1 else {}),
            **({"ris1_ris2.left": self.ris1_ris2.shape[0]} if self.ris1_ris2 else {}),
            **({"ris1_user.correlation": self.ris1_user.size} if self.ris1_user else {}),
            **({"emi1.correlation": self.emi1.correlation.size} if self.emi1 else {}),
        }

    def _surface2_sides(self) -> dict[str, int]:
        return {
            **({"bs_ris2.right": self.bs_ris2.shape[1]} if self.bs_ris2 else {}),
            **({"ris1_ris2.right": self.ris1_ris2.shape[1]} if self.ris1_ris2 else {}),
            **({"ris2_user.correlation": self.ris2_user.size} if self.ris2_user else {}),
            **({"emi2.correlation": self.emi2.correlation.size} if self.emi2 else {}),
        }

    def _user_counts(self) -> dict[str, int]:
        names = ("ris1_user", "ris2_user", "bs_user")
        return {f"{name}.gain": hop.users for name in names if (hop := getattr(self, name))}

    @staticmethod
    def _size(what: str, sides: dict[str, int]) -> int:
        sizes = set(sides.values())
        if len(sizes) > 1:
            found = ", ".join(f"{name} has {size}" for name, size in sides.items())
            raise InvalidArgumentError("DoubleRIS", f"one number of {what}", found)
        return sizes.pop() if sizes else 0


def check_single(system: DoubleRIS, purpose: str) -> None:
    """Refuse anything but one system of NumPy arrays; `purpose` ends the sentence "a single system to ...".

    Raises
    ------
    InvalidArgumentError
        If it is no `DoubleRIS`, has batch axes, or has arrays of another library.
    """
    check_arrays(system, purpose)
    if system.batch_shape:
        raise InvalidArgumentError(
            "system", f"a single system to {purpose}", f"batch axes {system.batch_shape}"
        )


def check_arrays(system: DoubleRIS, purpose: str) -> None:
    """Refuse anything but systems of NumPy arrays, as `check_single` does."""
    if not isinstance(system, DoubleRIS):
        raise InvalidArgumentError("system", "a ris.DoubleRIS", repr(system))
    for name in _HOPS:
        hop = getattr(system, name)
        if hop is not None and not isinstance(hop.gain, np.ndarray | np.generic):
            raise InvalidArgumentError(
                name, f"NumPy arrays to {purpose}", f"{type(hop.gain).__module__} arrays"
            )


def check_coupling(system: DoubleRIS) -> None:
    """Refuse mutual coupling of elements that do something at random.

    Raises
    ------
    InvalidArgumentError
        The reflection matrix of a coupled surface is an inverse: where its elements are random, so is the
        inverse, and its moments have no closed form. Channels can be drawn.
    """
    for i in (1, 2):
        hardware = getattr(system, f"hardware{i}")
        if hardware.coupling is not None and not hardware.certain(getattr(system, f"phase_noise{i}")):
            raise InvalidArgumentError(
                f"hardware{i}",
                "no mutual coupling beside phase noise or random failures: their closed forms are unknown "
                "(draw_channels does it)",
                "both",
            )


def check_designable(system: DoubleRIS) -> None:
    """Refuse systems that phases cannot be designed for.

    Raises
    ------
    InvalidArgumentError
        As `check_single`; or if what the elements of a surface do depends on their phase shifts, or is not
        the same for all. Phases for ideal elements are those of ``dataclasses.replace(system,
        hardware1=channels.Hardware())``: evaluate them on the system as it is.
    """
    check_single(system, "design phases for")
    for name in ("hardware1", "hardware2"):
        if not getattr(system, name).alike:
            raise InvalidArgumentError(
                name, "elements that are all alike at any phase shifts to design phases for", "others"
            )


def check_phase_noise_alone(system: DoubleRIS) -> None:
    """Refuse systems with hardware or interference at a surface, or with lines of sight.

    Raises
    ------
    InvalidArgumentError
        As functions of the phase shifts, rates with them are not worked out: design for the system without,
        and evaluate those phases on the system as it is.
    """
    for name in ("hardware1", "hardware2"):
        if not getattr(system, name).ideal:
            raise InvalidArgumentError(
                name,
                "phase noise alone to design phases for (design with channels.Hardware(), then evaluate the "
                "phases with the hardware)",
                "hardware",
            )
    for name in ("emi1", "emi2"):
        if getattr(system, name) is not None:
            raise InvalidArgumentError(
                name,
                "None to design phases for (design without, then evaluate the phases with it)",
                "interference",
            )
    if system.line_of_sight:
        raise InvalidArgumentError(
            "system",
            "Rayleigh fading in all hops to design phases for (`optimal_phases` maximises the mean gain with "
            "lines of sight)",
            "a hop with a mean",
        )


def each_system(system: DoubleRIS) -> list[DoubleRIS]:
    """Return the systems of a batch one by one, the last batch axis first; a single system alone."""
    batch = system.batch_shape
    hops = {name: hop for name in (*_HOPS, "emi1", "emi2") if (hop := getattr(system, name)) is not None}

    def one(index: tuple[int, ...]) -> DoubleRIS:
        picked: dict[str, Any] = {name: _picked(hop, index, batch) for name, hop in hops.items()}
        return dataclasses.replace(system, **picked)

    return [one(index) for index in np.ndindex(*batch)]


def _picked(
    hop: Hop | UserHop | Interference, index: tuple[int, ...], batch: tuple[int, ...]
) -> Hop | UserHop | Interference:
    if isinstance(hop, Interference):
        power = np.broadcast_to(hop.power, batch)[index]
        return Interference(power, _picked_matrix(hop.correlation, index, 2))
    if isinstance(hop, Hop):
        gain = np.broadcast_to(hop.gain, batch)[index]
        sides = _picked_matrix(hop.left, index, 2), _picked_matrix(hop.right, index, 2)
        if hop.mean is None:
            return Hop(gain, *sides)
        ends = (_picked_array(end, index, batch, 2) for end in (hop.mean.left, hop.mean.right))
        return Hop(gain, *sides, LineOfSight(*ends))
    gain = np.broadcast_to(hop.gain, (*batch, hop.users))[index]
    correlation = hop.correlation
    own = 2 if len(correlation.shape) == 2 else 3
    mean = None if hop.mean is None else _picked_array(hop.mean, index, batch, 2)
    return UserHop(gain, _picked_matrix(correlation, index, own), mean)


def _picked_array(array: Any, index: tuple[int, ...], batch: tuple[int, ...], own: int) -> Any:
    return np.broadcast_to(array, (*batch, *array.shape[array.ndim - own :]))[index]


def _picked_matrix(correlation: Correlation, index: tuple[int, ...], own: int) -> Correlation:
    """Leave the `own` last axes."""
    axes = len(correlation.shape) - own
    for i in index[len(index) - axes :]:
        correlation = correlation[i if correlation.shape[0] > 1 else 0]
    return correlation


_HOPS: dict[str, type[Hop] | type[UserHop]] = {
    "bs_ris1": Hop,
    "bs_ris2": Hop,
    "ris1_ris2": Hop,
    "ris1_user": UserHop,
    "ris2_user": UserHop,
    "bs_user": UserHop,
}


def _batch_shapes(hop: Hop | UserHop | Interference) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(hop, Interference):
        return [("power", hop.power.shape), ("correlation", hop.correlation.shape[:-2])]
    mean = [] if hop.mean is None else [("mean", tuple(hop.mean.shape[:-2]))]
    if isinstance(hop, Hop):
        sides = [("left", hop.left.shape[:-2]), ("right", hop.right.shape[:-2])]
        return [("gain", hop.gain.shape), *sides, *mean]
    return [("gain", hop.gain.shape[:-1]), ("correlation", hop.correlation.shape[:-3]), *mean]
