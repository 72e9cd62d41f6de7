r"""Hardware of a reflecting surface: amplitudes that depend on the phase, and elements that failed.

A working element that is set to the phase shift theta and adds the phase noise phi reflects with

    beta(theta + phi) exp(j (theta + phi)):

what it loses depends on the phase that it really has, noise included. A failed one reflects with a
coefficient that follows neither. All is independent from element to element, until mutual coupling
(`channels.coupling`) makes of these coefficients a matrix that reflects from every element to every other.

Moments. Relative to exp(j theta), a working element makes e = beta(theta + phi) exp(j phi), so

    E e^p conj(e)^q = E beta(theta + phi)^(p + q) exp(j (p - q) phi).

The power beta^P is a Fourier series: beta(x) = b + (1 - b) g(y), y = x - offset - pi / 2, b the minimum,
and g(y)^i = |cos(y / 2)|^(2 s), s = i times the steepness, has the coefficients (Gradshteyn, Ryzhik 3.631.9)

    c_k = c_-k = Gamma(2 s + 1) / (4^s Gamma(s + k + 1) Gamma(s - k + 1)),

so that c_(k+1) = c_k (s - k) / (s + k + 1): finitely many for whole s, else of size k^-(2 s + 1). The noise
multiplies each term by a circular moment, for any law and any sum of laws:

    E beta(theta + phi)^P exp(j m phi) = sum_k a_k exp(j k y) E exp(j (k + m) phi),   y at x = theta.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, get_args

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from channels._kernels.hardware import (
    FAILED_IMAGINARY,
    FAILED_REAL,
    HARDWARE_COLUMNS,
    MINIMUM,
    OFFSET_COSINE,
    OFFSET_SINE,
    PROBABILITY,
    RANDOM_PHASE,
    SPAN,
    STEEPNESS,
    sample_failures,
)
from channels.checks import as_array, finite, frozen, non_negative, number, real
from channels.errors import InvalidArgumentError
from channels.options import FailedState
from channels.phase_noise import NoNoise, PhaseNoise
from channels.streams import Stream

__all__ = ["ElementFailures", "Hardware", "PhaseDependentAmplitude"]

ORDERS = ((1, 0), (2, 0), (1, 1), (2, 1), (2, 2))
"""Powers of e and of its conjugate in the moments that `Hardware.moments` returns."""

TAIL = 1e-13
"""Terms of a Fourier series that add less than this together are left out."""

MOST_TERMS = 2**17
"""Orders of a Fourier series: beyond, the steepness is too small for the law of the phase noise."""

BLOCK = 64
"""Orders of a Fourier series that are worked through in one go."""

Array = Any


@dataclass(frozen=True)
class PhaseDependentAmplitude:
    """Amplitude of an element that depends on its phase, the practical phase shift model.

    At the phase x the amplitude is

        beta(x) = (1 - minimum) ((sin(x - offset) + 1) / 2)^steepness + minimum.

    Parameters
    ----------
    minimum : float
        Least amplitude, 0 to 1.
    offset : float
        Radians; the amplitude is least at offset - pi / 2 and 1 at offset + pi / 2.
    steepness : float
        >= 0; 0 makes every amplitude 1.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.

    Notes
    -----
    Abeywickrama, Zhang, Wu and Yuen, "Intelligent reflecting surface: practical phase shift model and
    beamforming optimization", IEEE Trans. Commun. 68(9), 2020, there with the symbols beta_min, phi and
    alpha. That the phase noise counts in the phase is ours: what an element loses follows what it does.
    """

    minimum: float
    offset: float
    steepness: float

    def __post_init__(self) -> None:
        if non_negative("minimum", self.minimum) > 1:
            raise InvalidArgumentError("minimum", "a number from 0 to 1", repr(self.minimum))
        number("offset", self.offset)
        non_negative("steepness", self.steepness)

    def amplitude(self, phase: Array) -> Array:
        """Return beta at phases in radians, an array of any shape."""
        xp = array_api_compat.array_namespace(phase)
        level = (xp.sin(phase - self.offset) + 1) / 2
        return (1 - self.minimum) * level**self.steepness + self.minimum

    def series(self, power: int, orders: int) -> NDArray[np.float64]:
        """Return the Fourier coefficients a_0 .. a_orders of beta^power in y = phase - offset - pi / 2."""
        steps = np.arange(orders)
        total = np.zeros(orders + 1)
        for i in range(power + 1):
            s = i * self.steepness
            first = math.exp(gammaln(2 * s + 1) - 2 * gammaln(s + 1) - s * math.log(4))
            weight = math.comb(power, i) * self.minimum ** (power - i) * (1 - self.minimum) ** i
            total += weight * first * np.cumprod(np.concatenate([[1.0], (s - steps) / (s + steps + 1)]))
        return total


@dataclass(frozen=True, init=False, eq=False)
class ElementFailures:
    """Elements that fail, each on its own.

    Parameters
    ----------
    probability : float or array_like, shape (N,)
        Chance of each element to have failed, 0 to 1: every realization draws anew which have, so that
        moments are means over surfaces. 1 and 0 for known elements make one certain surface.
    state : {"absorbing", "random_phase"} or array_like, shape () or (N,), radians
        What a failed element does: reflect nothing; reflect at a phase that is uniform on the circle and
        anew in each realization; or be stuck at a phase. A stuck element has the amplitude of its phase and
        no phase noise.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    """

    probability: float | NDArray[np.float64]
    state: FailedState | float | NDArray[np.float64]

    def __init__(self, probability: Any, state: Any = "absorbing") -> None:
        chances = _per_element("probability", probability)
        if np.any((chances < 0) | (chances > 1)):
            raise InvalidArgumentError("probability", "numbers from 0 to 1", repr(probability))
        object.__setattr__(self, "probability", float(chances) if chances.ndim == 0 else frozen(chances))
        if isinstance(state, str):
            if state not in get_args(FailedState):
                wanted = ", ".join(map(repr, get_args(FailedState)))
                raise InvalidArgumentError("state", f"one of {wanted}, or phases in radians", repr(state))
            object.__setattr__(self, "state", state)
        else:
            phases = _per_element("state", state)
            object.__setattr__(self, "state", float(phases) if phases.ndim == 0 else frozen(phases))
        sizes = [v.size for v in (self.probability, self.state) if isinstance(v, np.ndarray)]
        if len(set(sizes)) > 1:
            raise InvalidArgumentError("state", f"{sizes[0]} phases, as probabilities", f"{sizes[1]}")

    @property
    def elements(self) -> int | None:
        """Number of elements that the arguments were given for; None if for any number."""
        sizes = (v.size for v in (self.probability, self.state) if isinstance(v, np.ndarray))
        return next(sizes, None)


@dataclass(frozen=True, eq=False, kw_only=True)
class Hardware:
    """What the elements of a surface do beside the phase shift and its noise.

    Parameters
    ----------
    amplitude : PhaseDependentAmplitude, optional
        By default 1.
    failures : ElementFailures, optional
        By default none.
    coupling : array_like, shape (N, N), optional
        Scattering matrix of the ports of the surface, from `scattering_matrix` or a field simulation, of norm
        below 1; by default zero, no mutual coupling. The elements' coefficients are then those of the loads.
        Hops are as without.

    Raises
    ------
    InvalidArgumentError
        On a bad argument.
    """

    amplitude: PhaseDependentAmplitude | None = None
    failures: ElementFailures | None = None
    coupling: Any = None

    def __post_init__(self) -> None:
        if self.coupling is not None:
            object.__setattr__(self, "coupling", _passive(self.coupling))
        for name, kind in (("amplitude", PhaseDependentAmplitude), ("failures", ElementFailures)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise InvalidArgumentError(name, f"a channels.{kind.__name__} or None", repr(value))
        failing = self.failures.elements if self.failures else None
        if self.coupling is not None and failing not in (None, len(self.coupling)):
            raise InvalidArgumentError("coupling", f"({failing}, {failing})", f"shape {self.coupling.shape}")

    @property
    def elements(self) -> int | None:
        """Number of elements that the arguments were given for; None if for any number."""
        if self.coupling is not None:
            return len(self.coupling)
        return self.failures.elements if self.failures else None

    def certain(self, noise: PhaseNoise) -> bool:
        """Whether the elements do the same in all realizations, at given phase shifts."""
        if self.failures is None:
            return isinstance(noise, NoNoise)
        chances, state = np.asarray(self.failures.probability), self.failures.state
        known = np.all(chances == 0) or (not isinstance(state, str) or state == "absorbing")
        return isinstance(noise, NoNoise) and bool(known and np.all((chances == 0) | (chances == 1)))

    @property
    def ideal(self) -> bool:
        """Whether there is nothing but phase shifts and phase noise."""
        return self.amplitude is None and self.failures is None and self.coupling is None

    @property
    def alike(self) -> bool:
        """Whether all elements are alike, whatever their phase shifts."""
        failures = self.failures
        return (self.amplitude is None and self.coupling is None) and (
            failures is None or (failures.elements is None and isinstance(failures.state, str))
        )

    def moments(self, noise: PhaseNoise, theta: Array) -> tuple[float | Array, ...]:
        """Return E e, E e^2, E|e|^2, E e|e|^2 and E|e|^4 of the coefficients relative to exp(j theta).

        Parameters
        ----------
        noise : PhaseNoise
            Law of the phase noise.
        theta : array, shape (..., N), radians
            Phase shifts.

        Returns
        -------
        tuple of float or array, shape (..., N)
            Floats where all elements are alike at any phase shifts. Arrays of the library of theta,
            differentiable where that library differentiates.
        """
        working: list[float | Array]
        if self.amplitude is None:
            working = [noise.moment(p - q) for p, q in ORDERS]
        elif isinstance(noise, NoNoise):
            beta = self.amplitude.amplitude(theta)
            working = [beta ** (p + q) for p, q in ORDERS]
        else:
            working = _series_moments(self.amplitude, noise, theta)
        if self.failures is None:
            return tuple(working)
        chance = _like(self.failures.probability, theta)
        failed = self._failed_moments(theta)
        return tuple((1 - chance) * w + chance * f for w, f in zip(working, failed, strict=True))

    def reflected(self, coefficients: Array, columns: Array) -> Array:
        """Return what a surface reflects of columns.

        Parameters
        ----------
        coefficients : ndarray, shape (..., N)
            Of its elements, as `coefficients` gives them.
        columns : ndarray, shape (..., N, K)
            What arrives.

        Returns
        -------
        ndarray, shape (..., N, K)
        """
        if self.coupling is None:
            return coefficients[..., None] * columns
        network = np.eye(len(self.coupling)) - self.coupling * coefficients[..., None, :]
        return coefficients[..., None] * np.linalg.solve(network, columns)

    def coefficients(self, phases: Array, failed: Array) -> Array:
        """Return the reflection coefficients of elements.

        Parameters
        ----------
        phases : ndarray, shape (..., N), radians
            Phase shifts and phase noise together.
        failed : ndarray, shape (..., N)
            From `sample_failures`.

        Returns
        -------
        ndarray, shape (..., N), complex
        """
        beta = 1.0 if self.amplitude is None else self.amplitude.amplitude(phases)
        return np.where(np.isnan(failed), beta * np.exp(1j * phases), failed)

    def sample_failures(
        self, elements: int, realizations: int, stream: Stream, first: int = 0
    ) -> NDArray[np.complex128]:
        """Draw which elements failed: their reflection coefficients, NaN for working ones.

        Parameters
        ----------
        elements, realizations, stream, first
            As for `PhaseNoise.sample`.

        Returns
        -------
        ndarray, shape (realizations, elements)
        """
        out = np.empty((realizations, elements), np.complex128)
        sample_failures(out, self.kernel_table(elements), stream.key, first)
        return out

    def kernel_table(self, elements: int) -> NDArray[np.float64]:
        """Return the law as `channels._kernels.hardware` takes it; without rows if there is nothing to do."""
        if elements == 0 or (self.amplitude is None and self.failures is None):
            return np.empty((0, HARDWARE_COLUMNS))
        table = np.zeros((elements, HARDWARE_COLUMNS))
        table[:, MINIMUM] = 1.0
        if self.amplitude is not None and self.amplitude.steepness > 0:
            law = self.amplitude
            table[:, MINIMUM], table[:, SPAN], table[:, STEEPNESS] = (
                law.minimum,
                1 - law.minimum,
                law.steepness,
            )
            table[:, OFFSET_COSINE], table[:, OFFSET_SINE] = math.cos(law.offset), math.sin(law.offset)
        if self.failures is not None:
            state = self.failures.state
            table[:, PROBABILITY] = self.failures.probability
            table[:, RANDOM_PHASE] = state == "random_phase" if isinstance(state, str) else 0.0
            if not isinstance(state, str):
                stuck = self._stuck(np.asarray(state))
                table[:, FAILED_REAL], table[:, FAILED_IMAGINARY] = stuck.real, stuck.imag
        return table

    def _stuck(self, phases: Array) -> Array:
        """Coefficients of elements that are stuck at phases."""
        xp = array_api_compat.array_namespace(phases)
        beta = 1.0 if self.amplitude is None else self.amplitude.amplitude(phases)
        return beta * xp.exp(1j * phases)

    def _failed_moments(self, theta: Array) -> list[float | Array]:
        """Moments of failed elements, in the order of `ORDERS`."""
        state = self.failures.state if self.failures else "absorbing"
        if isinstance(state, str) and state == "absorbing":
            return [0.0 for _ in ORDERS]
        xp = array_api_compat.array_namespace(theta)
        if not isinstance(state, str):
            stuck = self._stuck(_as_library(np.asarray(state), theta))
            e, size = stuck * xp.exp(-1j * theta), xp.abs(stuck)
            return [size ** (2 * q) * (e ** (p - q) if p > q else 1) for p, q in ORDERS]
        if self.amplitude is None:
            return [float(p == q) for p, q in ORDERS]
        made: list[float | Array] = []
        for p, q in ORDERS:
            # A uniform phase x leaves of beta(x)^(p + q) exp(j m x) the coefficient of order -m.
            order = p - q
            coefficient = float(self.amplitude.series(p + q, order)[order])
            start = self.amplitude.offset + math.pi / 2
            made.append(coefficient * xp.exp(1j * order * (start - theta)) if order else coefficient)
        return made


def _series_moments(law: PhaseDependentAmplitude, noise: PhaseNoise, theta: Array) -> list[float | Array]:
    """Moments of working elements by the series of the module, in the order of `ORDERS`."""
    xp = array_api_compat.array_namespace(theta)
    y = theta - (law.offset + math.pi / 2)
    terms = _series_terms(law, noise)
    orders = (terms.shape[0] - 1) // 2
    device = array_api_compat.device(theta)
    total: Array = 0
    for start in range(0, terms.shape[0], BLOCK):
        block = terms[start : start + BLOCK]
        k = xp.asarray(np.arange(start, start + len(block)) - float(orders), device=device)
        phasors = xp.exp(1j * y[..., None] * k)
        total = total + phasors @ xp.asarray(block.astype(np.complex128), device=device)
    return [xp.real(total[..., i]) if p == q else total[..., i] for i, (p, q) in enumerate(ORDERS)]


@functools.lru_cache(maxsize=64)
def _series_terms(law: PhaseDependentAmplitude, noise: PhaseNoise) -> NDArray[np.float64]:
    """a_k E exp(j (k + m) phi) for k = -orders .. orders, shape (2 orders + 1, moments)."""
    circular: list[float] = []
    orders = 32
    while True:
        circular += [noise.moment(order) for order in range(len(circular), orders + 3)]
        turned = np.array(circular)
        columns = []
        for p, q in ORDERS:
            a = law.series(p + q, orders)
            k = np.arange(-orders, orders + 1)
            columns.append(a[abs(k)] * turned[np.abs(k + p - q)])
        terms = np.stack(columns, axis=-1)
        # The rest, of k^-(2 steepness + 1) and less, is within this many times the second half.
        outer = np.abs(terms[np.abs(np.arange(-orders, orders + 1)) > orders // 2]).sum(axis=0).max()
        if outer <= TAIL * -math.expm1(-2 * law.steepness * math.log(2)):
            break
        if orders == MOST_TERMS:
            raise InvalidArgumentError(
                "amplitude",
                f"a steepness whose moments converge under {noise!r}",
                f"steepness = {law.steepness}",
            )
        orders *= 2
    return np.asarray(frozen(terms))


def _passive(coupling: Any) -> NDArray[np.complex128]:
    matrix = np.asarray(finite("coupling", as_array("coupling", coupling)), np.complex128)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise InvalidArgumentError("coupling", "shape (N, N)", f"shape {matrix.shape}")
    norm = float(np.linalg.norm(matrix, 2))
    if norm >= 1:
        raise InvalidArgumentError("coupling", "a passive network, of norm below 1", f"norm {norm:.6g}")
    return np.asarray(frozen(matrix))


def _per_element(argument: str, value: Any) -> NDArray[np.float64]:
    array = np.asarray(real(argument, finite(argument, as_array(argument, value))))
    if array.ndim > 1 or array.size == 0:
        raise InvalidArgumentError(argument, "a number or shape (N,)", f"shape {array.shape}")
    return array


def _like(value: float | NDArray[np.float64], theta: Array) -> float | Array:
    return _as_library(value, theta) if isinstance(value, np.ndarray) else value


def _as_library(value: NDArray[np.float64], theta: Array) -> Array:
    xp = array_api_compat.array_namespace(theta)
    # A copy, because other libraries refuse or warn about NumPy's read-only memory.
    return xp.asarray(value.copy(), device=array_api_compat.device(theta))
