r"""Exact second and fourth moments of the users' channels, over all fading, phase noise and hardware.

Given everything that users share (the fading between arrays, what the elements do) their channels are
independent CN(0, Q_k), so E|h_k|^2 = E tr Q_k, E|h_k|^2 |h_j|^2 = E tr Q_k tr Q_j and
E|h_k^H h_j|^2 = E tr(Q_k Q_j) for j != k, and E|h_k|^4 = E (tr Q_k)^2 + E tr(Q_k^2). Q_k has five parts, with
weights

    a_k = g(bs_user)_k                            direct
    b_k = g(ris1_user)_k g(bs_ris1)               single reflection at surface 1
    c_k = g(ris2_user)_k g(bs_ris2)               single reflection at surface 2
    d_k = g(ris2_user)_k g(bs_ris1) g(ris1_ris2)  double reflection
    x_k = g(ris2_user)_k sqrt(g(bs_ris1) g(bs_ris2) g(ris1_ris2))   cross term of c and d, of zero mean

and the expectations follow hop by hop from the Gaussian (Wishart) rules, W of iid CN(0, 1) entries,

    E tr(R W X W^H) tr(R W Y W^H)     = tr(R)^2 tr X tr Y + tr(R^2) tr(X Y)
    E tr(R W X W^H R W Y W^H)         = tr(R^2) tr X tr Y + tr(R)^2 tr(X Y)
    E tr(X W A W^H) tr(Y W B W^H)     = tr X tr Y tr A tr B + tr(X Y) tr(A B)
    E tr(X W A W^H Y W B W^H)         = tr(X Y) tr A tr B + tr X tr Y tr(A B)

which leave traces over each surface; `ris.noise_moments` averages those over phase noise and hardware.
Systems in which a hop has a mean take the more general way of `ris.rician_moments`.
"""

import contextlib
import functools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import array_api_compat

from channels.blas import one_blas_thread
from channels.errors import InvalidArgumentError
from ris.backend import Array
from ris.csi import AnyCsi, LmmseCsi, PilotCsi, check_csi
from ris.interferer import interferer
from ris.link import Link, batch_shape
from ris.lmmse_moments import lmmse_moments
from ris.nominal_moments import nominal_moments
from ris.perfect_moments import mean_gains, perfect_moments, surface1_tables, surface2_tables
from ris.rician_link import RicianLink
from ris.rician_moments import rician_mean_gains, rician_moments
from ris.sampler import check_threads
from ris.system import DoubleRIS

__all__ = ["ClosedFormMoments", "closed_form_moments"]

SHARED_ELEMENTS = 256
"""Elements of a surface from which on products gain from the threads of BLAS."""

PART_BYTES = 2**22
"""A batch is worked through in parts whose stacks of covariances have about this size, to stay in cache."""

TOGETHER_BYTES = 2**28
"""Stacks of covariances that are worked on at the same time, in threads, have at most this size together."""


@dataclass(frozen=True, eq=False)
class ClosedFormMoments:
    """Moments of the channels h_k and of the maximum-ratio precoders f_k.

    With perfect CSI f_k = h_k; with nominal CSI f_k is the channel of ideal elements, without phase noise and
    hardware, times a phasor that makes E h_k^H f_k real; with `PilotCsi` its estimate.

    Attributes
    ----------
    mean_gain : array, shape (..., K)
        E h_k^H f_k, real.
    interference : array, shape (..., K, K)
        E |h_k^H f_j|^2 at row k, column j; the diagonal is E |h_k^H f_k|^2.
    gain_product : array, shape (..., K, K), or None
        E |h_k|^2 |h_j|^2; the diagonal is E |h_k|^4. Perfect CSI only.
    precoder_gain : array, shape (..., K)
        E |f_k|^2.
    csi : {"perfect", "nominal"} or PilotCsi
        What the BS knows.
    emi_power : array, shape (..., K), or None
        Mean power of the electromagnetic interference that the surfaces reflect to each user; None without.
    """

    mean_gain: Array
    interference: Array
    gain_product: Array | None
    precoder_gain: Array
    csi: AnyCsi
    emi_power: Array | None = None


def closed_form_moments(
    system: DoubleRIS, theta1: Any = None, theta2: Any = None, csi: AnyCsi = "perfect"
) -> ClosedFormMoments:
    """Exact moments of the channels of a double-RIS system.

    Parameters
    ----------
    system : DoubleRIS
        The system; leading axes of its gains and covariances are batch axes.
    theta1, theta2 : array_like, shapes (..., N1) and (..., N2), radians
        Phase shifts of the two surfaces. None only for a surface that no hop touches.
    csi : {"perfect", "nominal"} or PilotCsi
        "perfect": the BS precodes with the channel, phase noise and hardware included. "nominal": it precodes
        with the channel that the phase shifts alone would make with elements of amplitude 1, unaware of
        noise and hardware. `PilotCsi`: it precodes with linear estimates of the channels from pilots.

    Returns
    -------
    ClosedFormMoments
        Arrays of the library of the phase shifts and covariances (NumPy, torch, ...); differentiable where
        that library differentiates.

    Raises
    ------
    InvalidArgumentError
        If the phase shifts have the wrong shape or are not finite and real, `csi` is unknown, elements with
        mutual coupling do something at random or meet nominal CSI, or the mean of a hop between arrays has a
        rank above 2.

    Notes
    -----
    Cost O(K N^3) per surface with covariances of the users' own, O(N^3) with shared ones; memory
    O(K N^2), whatever the batch; parts of a batch of NumPy arrays are worked on in threads. With lines of
    sight the order is the same, but there are tens to hundreds of times as many terms: the fewer hops have a
    mean, the fewer.
    """
    check_csi(csi)
    if csi == "nominal" or (isinstance(csi, LmmseCsi) and csi.covariance == "nominal"):
        _check_uncoupled(system, csi)
    batch = batch_shape(system, theta1, theta2)
    elements = max(system.elements1, system.elements2)
    work = functools.partial(_moments, system, theta1, theta2, csi)
    # The traces of large surfaces gain from the threads of BLAS, the many small products of a mean do not.
    shared = elements >= SHARED_ELEMENTS and not system.line_of_sight
    blas = contextlib.nullcontext if shared else one_blas_thread
    one = 16 * math.prod(batch[1:]) * system.users * elements**2
    if not batch or batch[0] * one <= PART_BYTES:
        with blas():
            return work(None)
    size = max(1, PART_BYTES // one)
    parts = [slice(start, min(start + size, batch[0])) for start in range(0, batch[0], size)]
    together = min(check_threads(None), len(parts), TOGETHER_BYTES // (size * one))
    if together > 1 and _is_of_numpy(system, theta1, theta2):
        # Half of the time goes into sums in which BLAS has no part, and its threads wait for each other.
        with one_blas_thread(), ThreadPoolExecutor(together) as pool:
            moments = list(pool.map(work, parts))
    else:
        with blas():
            moments = list(map(work, parts))
    return _joined(moments, parts, batch[1:])


def _check_uncoupled(system: DoubleRIS, csi: AnyCsi) -> None:
    if any(hardware.coupling is not None for hardware in (system.hardware1, system.hardware2)):
        raise InvalidArgumentError(
            "csi", "no nominal CSI beside mutual coupling in closed form (`simulate` does it)", repr(csi)
        )


def _is_of_numpy(system: DoubleRIS, *phases: Any) -> bool:
    """Whether no array is of another library: those share out their work themselves."""
    between = [hop for hop in (system.bs_ris1, system.bs_ris2, system.ris1_ris2) if hop is not None]
    to_users = [hop for hop in (system.ris1_user, system.ris2_user, system.bs_user) if hop is not None]
    sides = [side for hop in between for side in (hop.left, hop.right)]
    sides += [hop.correlation for hop in to_users]
    gains = [*(hop.gain for hop in between), *(hop.gain for hop in to_users)]
    arrays = filter(array_api_compat.is_array_api_obj, (*phases, *gains, *(side.matrix for side in sides)))
    return all(map(array_api_compat.is_numpy_array, arrays))


def _moments(
    system: DoubleRIS, theta1: Any, theta2: Any, csi: AnyCsi, part: slice | None
) -> ClosedFormMoments:
    emi = _emi_power(system, theta1, theta2, part)
    if system.line_of_sight:
        return ClosedFormMoments(*rician_moments(RicianLink(system, theta1, theta2, part), csi), csi, emi)
    link = Link(system, theta1, theta2, part)
    if isinstance(csi, PilotCsi):
        mean, interference, precoder = lmmse_moments(link, csi)
        return ClosedFormMoments(mean, interference, None, precoder, csi, emi)
    if csi == "nominal":
        mean, interference, precoder = nominal_moments(link)
        return ClosedFormMoments(mean, interference, None, precoder, csi, emi)
    one, two = link.surface1(), link.surface2()
    tables1, tables2 = surface1_tables(one, one.noisy()[0]), surface2_tables(two, *two.noisy())
    mean, interference, product = perfect_moments(link, tables1, tables2)
    return ClosedFormMoments(mean, interference, product, mean, csi, emi)


def _emi_power(system: DoubleRIS, theta1: Any, theta2: Any, part: slice | None) -> Array | None:
    emitter = interferer(system, batch_shape(system, theta1, theta2))
    if emitter is None:
        return None
    # A surface of the system may be out of reach of the interference.
    shifts = theta1 if emitter.elements1 else None, theta2 if emitter.elements2 else None
    if emitter.line_of_sight:
        return rician_mean_gains(RicianLink(emitter, *shifts, part))
    return mean_gains(Link(emitter, *shifts, part))


def _joined(
    moments: list[ClosedFormMoments], parts: list[slice], batch: tuple[int, ...]
) -> ClosedFormMoments:
    """Join parts of a batch along its first axis."""
    xp = array_api_compat.array_namespace(moments[0].mean_gain)
    fields: dict[str, Any] = {"csi": moments[0].csi}
    for name, trailing in (
        ("mean_gain", 1),
        ("interference", 2),
        ("gain_product", 2),
        ("precoder_gain", 1),
        ("emi_power", 1),
    ):
        arrays = [getattr(part, name) for part in moments]
        shapes = [(part.stop - part.start, *batch) for part in parts]
        fields[name] = (
            None
            if arrays[0] is None
            else xp.concat(
                [
                    xp.broadcast_to(array, (*shape, *array.shape[array.ndim - trailing :]))
                    for array, shape in zip(arrays, shapes, strict=True)
                ],
                axis=0,
            )
        )
    return ClosedFormMoments(**fields)
