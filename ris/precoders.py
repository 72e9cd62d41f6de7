"""Precoders: which columns the BS transmits with, how their power is normalised and divided.

User k receives h_k^H sum_j f_j s_j + noise with E|s_j|^2 = 1. A linear precoder makes columns v_k of
the channels H = [h_1 ... h_K] that the BS knows, and f_k = g_k v_k with g_k >= 0. Two choices make g_k.

Normalisation says over what the total power P is meant:

    realization   sum_k |f_k|^2 = P in every realization
    long_term     E sum_k |f_k|^2 = P, with g_k that do not change from one realization to the next

Allocation says how the users share it, p_k being |f_k|^2 or E|f_k|^2:

    common         one g for all users: powers in the proportion in which the filter has them
    equal          p_k = P / K
    max_min        the smallest SINR as large as it can be, and so all SINRs equal
    water_filling  the largest sum_k log2(1 + p_k s_k / noise_power), s_k the own gain of user k at p_k = 1.
                   The maximum sum rate where there is no interference (ZF and perfect CSI); elsewhere it
                   ignores the interference

where SINR and own gain are those of the realization, |h_k^H v_k|^2 / |v_k|^2, if the normalisation is by
realization, and those of the hardening bound, |E h_k^H v_k|^2 / E|v_k|^2, if it is long-term. In a
realization the BS takes the channels it knows for the true ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from channels.checks import integer, non_negative, one_of, positive
from channels.errors import InvalidArgumentError
from ris.options import Allocation, Normalisation

__all__ = ["MMSE", "MRT", "RZF", "WMMSE", "ZF", "LinearPrecoder", "Precoder", "check_precoder"]


@dataclass(frozen=True, kw_only=True)
class LinearPrecoder:
    """What `MRT`, `ZF`, `RZF` and `MMSE` have in common.

    Parameters
    ----------
    normalisation : {"realization", "long_term"}
        Over what the transmit power is meant.
    allocation : {"common", "equal", "max_min", "water_filling"}
        How users share it.

    Raises
    ------
    InvalidArgumentError
        If a choice is unknown.
    """

    normalisation: Normalisation = "realization"
    allocation: Allocation = "equal"

    def __post_init__(self) -> None:
        one_of("normalisation", self.normalisation, Normalisation)
        one_of("allocation", self.allocation, Allocation)


@dataclass(frozen=True, kw_only=True)
class MRT(LinearPrecoder):
    """Maximum-ratio transmission: V = H.

    With its defaults it is the precoder of the closed forms, `ris.closed_form_rate`.
    """

    normalisation: Normalisation = "long_term"
    allocation: Allocation = "common"


@dataclass(frozen=True, kw_only=True)
class ZF(LinearPrecoder):
    """Zero forcing: V = H (H^H H)^(-1), so that h_k^H v_j = 0 for j != k.

    Needs linearly independent channels, at most as many users as antennas. With "common" power all users
    receive the same power, which for perfect CSI is "max_min" too. Long-term normalisation needs a finite
    mean of 1 / |part of h_k that is orthogonal to the other channels|^2, which channels over surfaces of few
    degrees of freedom do not have.
    """


@dataclass(frozen=True)
class RZF(LinearPrecoder):
    """Regularised zero forcing: V = H (H^H H + a I)^(-1).

    Parameters
    ----------
    regularisation : float, optional
        a >= 0, in the unit of |h|^2; by default K noise_power / power, the minimum mean square error (MMSE)
        precoder or transmit Wiener filter, with "common" power (Peel, Hochwald and Swindlehurst, "A
        vector-perturbation technique for near-capacity multiantenna multiuser communication, part I", IEEE
        Trans. Commun. 53(1), 2005; Joham, Utschick and Nossek, "Linear transmit processing in MIMO
        communications systems", IEEE Trans. Signal Process. 53(8), 2005). With "equal" power it maximises the
        signal-to-leakage-and-noise ratio |h_k^H v_k|^2 / (sum_{j != k} |h_j^H v_k|^2 + K noise_power / power)
        of unit columns. 0 is zero forcing.
    normalisation, allocation
        As for `LinearPrecoder`.

    Raises
    ------
    InvalidArgumentError
        On a negative regularisation, or an unknown choice.
    """

    regularisation: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regularisation is not None:
            object.__setattr__(self, "regularisation", non_negative("regularisation", self.regularisation))


@dataclass(frozen=True, kw_only=True)
class MMSE(LinearPrecoder):
    """Minimum mean square error precoding with estimated channels.

        V = (H H^H + C + (K noise_power / power) I)^(-1) H

    where C is the sum over the users of the covariances of the errors in H, as the BS has them: with
    `LmmseCsi` that of the LMMSE estimates of its covariances, with `LsCsi` that of the pilot noise, K times.
    Perfect and nominal channels are taken for exact, and it is `RZF`. The single-cell MMSE precoder of
    Bjornson, Hoydis and Sanguinetti, Massive MIMO Networks, 2017, Section 4.1.
    """


@dataclass(frozen=True, init=False)
class WMMSE:
    """Precoders of locally largest weighted sum rate at the power P in every realization.

    The iteration of weighted minimum mean square errors (Shi, Razaviyayn, Luo and He, "An iteratively
    weighted MMSE approach to distributed sum-utility maximization for a MIMO interfering broadcast channel",
    IEEE Trans. Signal Process. 59(9), 2011) never lowers the weighted sum rate. It starts from `MRT`,
    `ZF` and `RZF` with every allocation and from the best user alone; the best end counts. So in no
    realization is one of them above it, on the channels that the BS knows. The problem is not convex: a
    better optimum may exist.

    Parameters
    ----------
    weights : iterable of float, optional
        Weight >= 0 of each user's rate, one of them positive; 1 by default.
    iterations : int
        Most iterations, at least 1.
    tolerance : float
        Relative rise of the weighted sum rate in an iteration, > 0, at which a realization has converged.

    Raises
    ------
    InvalidArgumentError
        On bad arguments.
    """

    weights: tuple[float, ...] | None
    iterations: int
    tolerance: float

    def __init__(
        self, weights: Iterable[float] | None = None, iterations: int = 1000, tolerance: float = 1e-6
    ) -> None:
        chosen = None if weights is None else tuple(non_negative("weights", weight) for weight in weights)
        if chosen is not None and not any(chosen):
            raise InvalidArgumentError("weights", "a positive one among them", repr(chosen))
        object.__setattr__(self, "weights", chosen)
        object.__setattr__(self, "iterations", integer("iterations", iterations, minimum=1))
        object.__setattr__(self, "tolerance", positive("tolerance", tolerance))


Precoder = MRT | ZF | RZF | MMSE | WMMSE

MAXIMUM_RATIO = MRT()
"""The precoder of the closed forms."""


def check_precoder(precoder: object) -> Precoder:
    """Return `precoder` if it is one."""
    if isinstance(precoder, (MRT, ZF, RZF, MMSE, WMMSE)):
        return precoder
    raise InvalidArgumentError(
        "precoder", "ris.MRT(), ris.ZF(), ris.RZF(), ris.MMSE() or ris.WMMSE()", repr(precoder)
    )
