"""Laws of the phase noise that a reflecting element adds: circular moments and samplers.

Every law is symmetric about zero, so its circular moments E exp(j m phi) are real, and independent from
element to element. Laws add: ``VonMises(2.0) + QuantizationNoise(bits=2)`` is the law of the sum of two
independent phases, whose moments are the products of theirs.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e, ive

from channels._kernels.phase_noise import (
    COLUMNS,
    EDGES,
    HEIGHTS,
    KIND,
    LAYERS,
    PARAMETER,
    UNIFORM,
    VON_MISES,
    WRAPPED_NORMAL,
    sample_phase_noise,
)
from channels.checks import integer, non_negative, positive
from channels.errors import InvalidArgumentError
from channels.streams import Stream

__all__ = [
    "NoNoise",
    "PhaseNoise",
    "QuantizationNoise",
    "SumNoise",
    "UniformNoise",
    "VonMises",
    "WrappedNormal",
]

MOST_TERMS = 255
"""Terms that a sum can hold: the counter of the stream numbers them with 8 bits."""

LARGE_CONCENTRATION = 1e8
"""Above it the moments of the von Mises law come from their expansion (SciPy's ive ends at 1e9)."""

ALMOST_UNIFORM = 10.0
"""Standard deviation above which the density of a wrapped normal is constant to 2 exp(-50) = 4e-22."""


class PhaseNoise(ABC):
    """A symmetric law of the phase noise of one element."""

    @abstractmethod
    def moment(self, order: int) -> float:
        """Return the circular moment E exp(j order phi), a real number, for an order >= 0."""

    @abstractmethod
    def kernel_table(self) -> NDArray[np.float64]:
        """Return the law as `channels._kernels.phase_noise` takes it, shape (terms, columns)."""

    def sample(self, elements: int, realizations: int, stream: Stream, first: int = 0) -> NDArray[np.float64]:
        """Draw phase noise.

        Parameters
        ----------
        elements, realizations : int
            Numbers of elements and of realizations, at least 1.
        stream : Stream
            Where the numbers come from.
        first : int
            Number of the first realization.

        Returns
        -------
        ndarray, shape (realizations, elements)
            Phases in radians, wrapped to [-pi, pi].
        """
        shape = integer("realizations", realizations, minimum=1), integer("elements", elements, minimum=1)
        if not isinstance(stream, Stream):
            raise InvalidArgumentError("stream", "a channels.Stream", repr(stream))
        out = np.empty(shape)
        sample_phase_noise(out, self.kernel_table(), stream.key, integer("first", first, minimum=0))
        return out

    def __add__(self, other: "PhaseNoise") -> "PhaseNoise":
        if not isinstance(other, PhaseNoise):
            return NotImplemented
        terms = [*_terms(self), *_terms(other)]
        if len(terms) > 1:
            return SumNoise(terms)
        return terms[0] if terms else NoNoise()


@dataclass(frozen=True)
class NoNoise(PhaseNoise):
    """A phase without noise; adding it to a law changes nothing."""

    def moment(self, order: int) -> float:
        """Return 1."""
        _order(order)
        return 1.0

    def kernel_table(self) -> NDArray[np.float64]:
        """Return a table without rows."""
        return np.empty((0, COLUMNS))


@dataclass(frozen=True)
class UniformNoise(PhaseNoise):
    """Phase noise uniform on [-half_width, half_width].

    Parameters
    ----------
    half_width : float
        In radians, above 0 and at most pi (beyond pi the wrapped phase would not be uniform).
    """

    half_width: float

    def __post_init__(self) -> None:
        if positive("half_width", self.half_width) > math.pi:
            raise InvalidArgumentError("half_width", "a number <= pi", repr(self.half_width))

    def moment(self, order: int) -> float:
        """Return sin(m a) / (m a) for order m and half width a."""
        return float(np.sinc(_order(order) * self.half_width / math.pi))

    def kernel_table(self) -> NDArray[np.float64]:
        """Return one row."""
        return _row(UNIFORM, self.half_width)


@dataclass(frozen=True)
class QuantizationNoise(PhaseNoise):
    """Error of a phase shift rounded to 2^bits equally spaced values: uniform on [-pi / 2^bits, pi / 2^bits].

    Parameters
    ----------
    bits : int
        Resolution of the phase shifter, at least 1.
    """

    bits: int

    def __post_init__(self) -> None:
        integer("bits", self.bits, minimum=1)

    @property
    def half_width(self) -> float:
        """Largest error in radians."""
        return math.ldexp(math.pi, -self.bits)

    def moment(self, order: int) -> float:
        """Return sin(m a) / (m a) for order m and a = pi / 2^bits."""
        return float(np.sinc(math.ldexp(_order(order), -self.bits)))

    def kernel_table(self) -> NDArray[np.float64]:
        """Return one row, that of the uniform law."""
        return _row(UNIFORM, self.half_width)


@dataclass(frozen=True)
class WrappedNormal(PhaseNoise):
    """A normal phase, wrapped to the circle.

    Parameters
    ----------
    standard_deviation : float
        Of the phase before wrapping, in radians, at least 0.
    """

    standard_deviation: float

    def __post_init__(self) -> None:
        non_negative("standard_deviation", self.standard_deviation)

    def moment(self, order: int) -> float:
        """Return exp(-(m s)^2 / 2) for order m and standard deviation s."""
        # A product, not a power: it overflows to infinity without an error.
        deviation = _order(order) * float(self.standard_deviation)
        return math.exp(-0.5 * deviation * deviation)

    def kernel_table(self) -> NDArray[np.float64]:
        """Return one row, that of the uniform law where the two agree to the last bit."""
        if self.standard_deviation > ALMOST_UNIFORM:
            return _row(UNIFORM, math.pi)
        return _row(WRAPPED_NORMAL, self.standard_deviation)


@dataclass(frozen=True)
class VonMises(PhaseNoise):
    """Phase noise with density exp(kappa cos(phi)) / (2 pi I0(kappa)), the circular normal law.

    Parameters
    ----------
    concentration : float
        kappa >= 0: 0 is the uniform law on the circle, and the noise vanishes as kappa grows.
    """

    concentration: float

    def __post_init__(self) -> None:
        non_negative("concentration", self.concentration)

    def moment(self, order: int) -> float:
        """Return I_m(kappa) / I_0(kappa) for order m.

        Above kappa = 1e8 from Hankel's expansion (Abramowitz and Stegun 9.7.1), whose logarithm is
        -m^2 / (2 kappa) up to terms of relative size 1 / kappa.
        """
        order, kappa = _order(order), float(self.concentration)
        if kappa > LARGE_CONCENTRATION:
            return math.exp(-0.5 * order * (order / kappa))
        return float(ive(order, kappa) / ive(0, kappa))

    def kernel_table(self) -> NDArray[np.float64]:
        """Return one row with the layers of the ziggurat."""
        row = _row(VON_MISES, self.concentration)
        widths, heights = ziggurat(float(self.concentration))
        row[0, EDGES:HEIGHTS] = widths
        row[0, HEIGHTS:] = heights
        return row


@dataclass(frozen=True, init=False)
class SumNoise(PhaseNoise):
    """The sum of independent phases; ``law + law`` makes it.

    Parameters
    ----------
    terms : iterable of PhaseNoise
        Laws of the terms, at most 255. Sums among them are taken apart and `NoNoise` is dropped.
    """

    terms: tuple[PhaseNoise, ...]

    def __init__(self, terms: Iterable[PhaseNoise]) -> None:
        laws = tuple(terms)
        for law in laws:
            if not isinstance(law, PhaseNoise):
                raise InvalidArgumentError("terms", "phase-noise laws", repr(law))
        flat = tuple(term for law in laws for term in _terms(law))
        if len(flat) > MOST_TERMS:
            raise InvalidArgumentError("terms", f"at most {MOST_TERMS} laws", f"{len(flat)}")
        object.__setattr__(self, "terms", flat)

    def moment(self, order: int) -> float:
        """Return the product of the moments of the terms."""
        return math.prod((term.moment(order) for term in self.terms), start=1.0)

    def kernel_table(self) -> NDArray[np.float64]:
        """Return the rows of the terms."""
        return np.concatenate([NoNoise().kernel_table(), *(term.kernel_table() for term in self.terms)])

    def __repr__(self) -> str:
        return f"SumNoise([{', '.join(map(repr, self.terms))}])"


def ziggurat(concentration: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the layers that cover f(x) = exp(kappa (cos x - 1)) on [0, pi].

    Layer i is the rectangle [0, x_i] x [y_i, y_(i+1)] with y_0 = 0, y_256 = 1 and x_i the point where f
    falls to y_i, or pi where it stays above (the support is bounded: there is no tail). All layers have
    the same area v, so y_(i+1) = y_i + v / x_i, and v is the one for which the last of them ends at 1.

    Parameters
    ----------
    concentration : float
        kappa >= 0.

    Returns
    -------
    widths : ndarray, shape (257,)
        x_0 >= ... >= x_256.
    heights : ndarray, shape (257,)
        y_0 < ... < y_256.

    Notes
    -----
    Marsaglia and Tsang, "The ziggurat method for generating random variables", J. Stat. Softw. 5(8), 2000,
    for a bounded support.
    """
    smallest = math.pi * float(i0e(concentration)) / LAYERS  # the layers cover the area below f, and more
    largest = 2.0 * smallest
    while smallest < (area := 0.5 * (smallest + largest)) < largest:
        if _layer_heights(concentration, area)[LAYERS] < 1.0:
            smallest = area
        else:
            largest = area
    heights = _layer_heights(concentration, largest)
    heights[LAYERS] = 1.0
    return np.array([_layer_width(concentration, height) for height in heights]), np.array(heights)


def _layer_heights(concentration: float, area: float) -> list[float]:
    heights = [0.0]
    for _ in range(LAYERS):
        heights.append(heights[-1] + area / _layer_width(concentration, heights[-1]))
        if heights[-1] >= 1.0:
            break
    return heights + [math.inf] * (LAYERS + 1 - len(heights))


def _layer_width(concentration: float, height: float) -> float:
    # The x with f(x) = height. As f(x) = exp(-2 kappa sin(x / 2)^2) it keeps its digits near x = 0.
    drop = -math.log(height) if height > 0.0 else math.inf
    if drop >= 2.0 * concentration:
        return math.pi
    return 2.0 * math.asin(math.sqrt(drop / 2.0 / concentration))


def _row(kind: int, parameter: float) -> NDArray[np.float64]:
    row = np.zeros((1, COLUMNS))
    row[0, KIND] = kind
    row[0, PARAMETER] = parameter
    return row


def _terms(law: PhaseNoise) -> tuple[PhaseNoise, ...]:
    if isinstance(law, NoNoise):
        return ()
    return law.terms if isinstance(law, SumNoise) else (law,)


def _order(order: int) -> int:
    return integer("order", order, minimum=0)
