r"""Moments of the reflection coefficients of one surface, relative to what its phase shifts ask for.

Element n reflects with x_n e_n: x_n = exp(j theta_n) is what the surface sets, e_n what phase noise and
hardware make of it (`channels.Hardware`), independent from element to element. Up to fourth moments the law
of e_n is told by its mean mu and the moments of the deviation z = e - mu,

    E|z|^2,    E z^2,    E z|z|^2,    E|z|^4 - 2 (E|z|^2)^2 - |E z^2|^2,

the last being what a complex Gaussian variable would leave at zero: the joint cumulants of e and its
conjugate. With E e, E e^2, E|e|^2, E e|e|^2 and
E|e|^4 given they are, by expanding the powers of mu + z,

    E|z|^2   = E|e|^2 - |mu|^2,        E z^2 = E e^2 - mu^2,
    E z|z|^2 = E e|e|^2 - mu|mu|^2 - 2 mu E|z|^2 - conj(mu) E z^2,
    E|z|^4   = E|e|^4 - |mu|^4 - 4 |mu|^2 E|z|^2 - 2 Re(conj(mu)^2 E z^2) - 4 Re(conj(mu) E z|z|^2).

Phase noise alone, symmetric and iid, has real moments r = E e and r2 = E e^2, the same for all elements: then
these are 1 - r^2, r2 - r^2, r (2 r^2 - r2 - 1) and 1 - 3 r^4 + 2 r^2 r2 - 2 (1 - r^2)^2 - (r2 - r^2)^2.
"""

from dataclasses import dataclass

from channels.hardware import Hardware
from channels.phase_noise import PhaseNoise
from ris.backend import Array, conjugate, real

__all__ = ["IDEAL", "ElementMoments"]


@dataclass(frozen=True, eq=False)
class ElementMoments:
    """Moments of e_n: each a float where all elements are alike, else an array of shape (..., N).

    Attributes
    ----------
    mean : float or array
        mu = E e.
    variance : float or array
        E|z|^2, z = e - mu.
    pseudovariance : float or array
        E z^2.
    third : float or array
        E z|z|^2.
    fourth : float or array
        E|z|^4 - 2 (E|z|^2)^2 - |E z^2|^2.
    """

    mean: float | Array
    variance: float | Array
    pseudovariance: float | Array
    third: float | Array
    fourth: float | Array

    def cumulant(self, plain: int, conjugated: int) -> float | Array:
        """Joint cumulant of e_n, taken so many times, and its conjugate: two times each at most."""
        if plain < conjugated:
            return _conjugate(self.cumulant(conjugated, plain))
        return {
            (1, 0): self.mean,
            (1, 1): self.variance,
            (2, 0): self.pseudovariance,
            (2, 1): self.third,
            (2, 2): self.fourth,
        }[plain, conjugated]

    @classmethod
    def of(cls, noise: PhaseNoise, hardware: Hardware, theta: Array) -> "ElementMoments":
        """Moments at phase shifts theta, shape (..., N), in the array library of theta."""
        if theta.shape[-1] == 0:  # a surface that no hop touches
            return IDEAL
        if hardware.certain(noise):  # no spread, nor rounding errors of one that would cost terms
            return cls(hardware.moments(noise, theta)[0], 0.0, 0.0, 0.0, 0.0)
        return cls.from_raw(*hardware.moments(noise, theta))

    @classmethod
    def from_raw(
        cls,
        mean: float | Array,
        square: float | Array,
        power: float | Array,
        third: float | Array,
        fourth: float | Array,
    ) -> "ElementMoments":
        """From E e, E e^2, E|e|^2, E e|e|^2 and E|e|^4."""
        mirrored = _conjugate(mean)
        gain = _real(mean * mirrored)
        variance, pseudovariance = power - gain, square - mean * mean
        skew = third - mean * gain - 2 * mean * variance - mirrored * pseudovariance
        deviation4 = fourth - gain**2 - 4 * gain * variance
        deviation4 = deviation4 - _real(2 * mirrored**2 * pseudovariance + 4 * mirrored * skew)
        gaussian = 2 * variance**2 + _real(pseudovariance * _conjugate(pseudovariance))
        return cls(mean, variance, pseudovariance, skew, deviation4 - gaussian)


IDEAL = ElementMoments(1.0, 0.0, 0.0, 0.0, 0.0)
"""Elements that do exactly what the phase shifts ask for."""


def _conjugate(value: float | Array) -> float | Array:
    return value if isinstance(value, float) else conjugate(value)


def _real(value: float | Array) -> float | Array:
    return value if isinstance(value, float) else real(value)
