"""Achievable rates of maximum-ratio transmission from the moments of the channels."""

from typing import Any

import array_api_compat

from channels.checks import as_array, finite, one_of
from channels.errors import InvalidArgumentError
from ris.backend import Array, is_complex, unify
from ris.csi import AnyCsi
from ris.moments import ClosedFormMoments, closed_form_moments
from ris.options import Bound
from ris.system import DoubleRIS

__all__ = ["closed_form_rate", "rate_from_moments"]


def closed_form_rate(
    system: DoubleRIS,
    theta1: Any = None,
    theta2: Any = None,
    *,
    power: Any,
    noise_power: Any,
    csi: AnyCsi = "perfect",
    bound: Bound = "hardening",
) -> Array:
    """Downlink rate of each user under maximum-ratio transmission, in closed form.

    Parameters
    ----------
    system, theta1, theta2, csi
        As for `closed_form_moments`.
    power : array_like, shape (...)
        Total transmit power, linear, >= 0, in the unit of `noise_power`.
    noise_power : array_like, shape (...)
        Noise power at a user, linear, > 0.
    bound : {"hardening", "ratio"}
        As for `rate_from_moments`.

    Returns
    -------
    array, shape (..., K)
        Rates in bit/s/Hz.

    Raises
    ------
    InvalidArgumentError
        As for `closed_form_moments`, and on a negative power or a noise power that is not positive.
    """
    one_of("bound", bound, Bound)
    power, noise_power = _check_powers(power, noise_power)
    moments = closed_form_moments(system, theta1, theta2, csi)
    return rate_from_moments(moments, power=power, noise_power=noise_power, bound=bound)


def rate_from_moments(
    moments: ClosedFormMoments, *, power: Any, noise_power: Any, bound: Bound = "hardening"
) -> Array:
    """Rates of maximum-ratio transmission with long-term power normalisation, from moments.

    User k receives h_k^H sum_j f_j s_j + noise, with E|s_j|^2 = power / sum_i E|f_i|^2. With
    C_k = E h_k^H f_k, F_k = E|h_k^H f_k|^2 and I_k the sum of E|h_k^H f_j|^2 over j != k plus
    (noise_power + emi_power_k) sum_i E|f_i|^2 / power,

        hardening:  log2(1 + C_k^2 / (F_k - C_k^2 + I_k)),
        ratio:      log2(1 + F_k / I_k).

    Parameters
    ----------
    moments : ClosedFormMoments
        From `closed_form_moments`.
    power, noise_power : array_like, shape (...)
        Total transmit power (>= 0) and noise power at a user (> 0), linear, in the same unit.
    bound : {"hardening", "ratio"}
        "hardening" (use-and-then-forget; Marzetta, Larsson, Yang and Ngo, Fundamentals of Massive MIMO,
        2016): a lower bound on the capacity when the user knows its mean gain only; interference at the
        surfaces is independent of what is sent, so that it counts by its mean power. "ratio": the ratio of
        mean powers, an approximation of the ergodic rate and no bound.

    Returns
    -------
    array, shape (..., K)
        Rates in bit/s/Hz.

    Raises
    ------
    InvalidArgumentError
        On a negative power, a noise power that is not positive, or an unknown `bound`.
    """
    one_of("bound", bound, Bound)
    power, noise_power = _check_powers(power, noise_power)
    xp, (C, J, precoder, emi, power, noise_power) = unify(
        moments.mean_gain, moments.interference, moments.precoder_gain, moments.emi_power, power, noise_power
    )
    F = xp.linalg.diagonal(J)
    # Multiplied by the power, so that power 0 gives rate 0.
    noise = noise_power[..., None] * xp.sum(precoder, axis=-1)[..., None]
    if emi is not None:
        noise = noise + emi * xp.sum(precoder, axis=-1)[..., None]
    others = power[..., None] * (xp.sum(J, axis=-1) - F) + noise
    if bound == "ratio":
        signal = power[..., None] * F
    else:
        signal = power[..., None] * C**2
        others = others + power[..., None] * (F - C**2)
    # A user without any channel has rate 0, also where no user has one and all powers are 0.
    return xp.log2(1 + signal / xp.where(signal == 0, xp.ones_like(others), others))


def _check_powers(power: Any, noise_power: Any) -> tuple[Array, Array]:
    power = finite("power", as_array("power", power))
    noise_power = finite("noise_power", as_array("noise_power", noise_power))
    for name, value, minimum in (("power", power, ">= 0"), ("noise_power", noise_power, "> 0")):
        xp = array_api_compat.array_namespace(value)
        if is_complex(value):
            raise InvalidArgumentError(name, f"real numbers {minimum}", f"dtype {value.dtype}")
        if bool(xp.any(value < 0)) or (minimum == "> 0" and bool(xp.any(value == 0))):
            raise InvalidArgumentError(
                name, f"numbers {minimum}", f"a smallest value of {float(xp.min(value))}"
            )
    return power, noise_power
