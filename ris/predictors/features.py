"""What a predictor of the statistical task is given, for any system: maps on the element grid.

At surface 1 a user's single reflection has the mean power w E tr(A E B_k E^H), with A the covariance of the
surface towards the BS and B_k that towards the user. It is mu^2 v^H S v plus a constant, with S = A o B_k^T,
v = exp(j theta) and w the gains and tr RB (`ris.phases`). So the phases of S tell where the path steers, and
their mean step from row to row and from column to column,

    c_n = exp(j (row_n - centre) arg sum S_(n + row, n) + j (column_n - centre) arg sum S_(n + column, n)),

is what steers a path of few directions: the mean direction in, less that out. The other reflections likewise.
Besides come the strengths of the paths, how coherent S is, and what the elements do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from channels.checks import positive
from channels.correlation import GridCorrelation
from channels.errors import InvalidArgumentError
from ris.system import DoubleRIS, check_designable

__all__ = ["CHANNELS", "Cascade", "cascade_of_lags", "feature_maps", "system_maps"]

CHANNELS = (
    "single real",
    "single imaginary",
    "double real",
    "double imaginary",
    "row",
    "column",
    "log10 SNR single",
    "log10 SNR double",
    "log10 SNR single, other surface",
    "coherence single",
    "coherence double",
    "mean element",
    "surface 2",
)
"""Meaning of the channels."""

FAINT = 1e-3
"""SNR, of a path alone and coherent, below which it makes no difference to the logarithm."""

Real = NDArray[np.float64]


class Cascade(NamedTuple):
    """What a path makes of a surface: S = A o B^T in few numbers, each of shape (...).

    Attributes
    ----------
    row_step, column_step : ndarray
        Phases of S from row to row and from column to column, radians.
    coherence : ndarray
        sum |S_mn| / (N tr S), which is 1 if v^H S v can reach N tr S.
    """

    row_step: Real
    column_step: Real
    coherence: Real


def cascade_of_lags(A: NDArray[np.complex128], B: NDArray[np.complex128]) -> Cascade:
    """Return the cascade of covariances given by lags, shapes (..., 2 rows - 1, 2 columns - 1)."""
    rows, columns = ((n + 1) // 2 for n in A.shape[-2:])
    # S_mn = A_mn B_nm, at lag m - n; a phase forward is at lag (1, 0).
    S = A * B.conj()
    counts = np.outer(*(n - np.abs(np.arange(1 - n, n)) for n in (rows, columns)))
    trace = rows * columns * S[..., rows - 1, columns - 1].real
    row_step, column_step = (
        np.angle(S[..., rows - 1 + i, columns - 1 + j]) if n > 1 else np.zeros(S.shape[:-2])
        for n, i, j in ((rows, 1, 0), (columns, 0, 1))
    )
    return Cascade(row_step, column_step, (counts * np.abs(S)).sum(axis=(-2, -1)) / (rows * columns * trace))


def cascade(A: NDArray[np.complex128], B: NDArray[np.complex128], grid: tuple[int, int]) -> Cascade:
    """Return the cascade of covariances given as matrices, shapes (..., N, N)."""
    rows, columns = grid
    S = A * np.swapaxes(B, -1, -2)
    on_grid = S.reshape(*S.shape[:-2], rows, columns, rows, columns)
    by_row = np.trace(np.trace(on_grid[..., 1:, :, :-1, :], axis1=-4, axis2=-2), axis1=-2, axis2=-1)
    by_column = np.trace(np.trace(on_grid[..., :, 1:, :, :-1], axis1=-4, axis2=-2), axis1=-2, axis2=-1)
    trace = np.trace(S, axis1=-2, axis2=-1).real
    return Cascade(
        np.angle(by_row), np.angle(by_column), np.abs(S).sum(axis=(-2, -1)) / (rows * columns * trace)
    )


@dataclass(frozen=True, eq=False)
class PathFeatures:
    """A path at one surface: its cascade, None without it, and its SNR alone and coherent, shape (..., K)."""

    cascade: Cascade | None
    snr: Real


def feature_maps(
    surface: int,
    grid: tuple[int, int],
    single: PathFeatures,
    double: PathFeatures,
    other_snr: Real,
    mean_element: Real,
) -> NDArray[np.float32]:
    """Return the input of a predictor for one surface, shape (..., K, len(CHANNELS), rows, columns).

    Parameters
    ----------
    surface : {1, 2}
        Which surface.
    grid : pair of int
        Rows and columns.
    single, double : PathFeatures
        Of the single reflection here and of the double one.
    other_snr : ndarray, shape (..., K)
        SNR of the single reflection at the other surface.
    mean_element : ndarray, shape (..., K)
        Mean mu of what an element adds.
    """
    rows, columns = grid
    maps = np.zeros((*other_snr.shape, len(CHANNELS), rows, columns), np.float32)
    row, column = ((np.arange(n) - (n - 1) / 2) for n in grid)
    for i, path in enumerate((single, double)):
        if path.cascade is not None:
            phase = (
                path.cascade.row_step[..., None, None] * row[:, None]
                + path.cascade.column_step[..., None, None] * column
            )
            maps[..., 2 * i, :, :], maps[..., 2 * i + 1, :, :] = np.cos(phase), np.sin(phase)
            maps[..., 9 + i, :, :] = path.cascade.coherence[..., None, None]
    maps[..., 4, :, :] = row[:, None] * 2 / max(1, rows - 1)
    maps[..., 5, :, :] = column * 2 / max(1, columns - 1)
    for i, snr in enumerate((single.snr, double.snr, other_snr)):
        maps[..., 6 + i, :, :] = np.log10(snr + FAINT)[..., None, None]
    maps[..., 11, :, :] = mean_element[..., None, None]
    maps[..., 12, :, :] = surface == 2
    return maps


def system_maps(
    system: DoubleRIS,
    *,
    power: float,
    noise_power: float,
    grid1: tuple[int, int] | None = None,
    grid2: tuple[int, int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the inputs of a predictor for both surfaces of a system.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays, with at least one reflected path.
    power, noise_power : float
        Total transmit power and noise power at a user, both > 0, linear, in the same unit.
    grid1, grid2 : pair of int, optional
        Rows and columns of the surfaces; by default those of a `channels.GridCorrelation`, or a square.

    Returns
    -------
    maps1, maps2 : ndarray, shape (K, len(CHANNELS), rows, columns)

    Raises
    ------
    InvalidArgumentError
        On bad arguments, a grid with another number of elements, or a surface that no path touches.
    """
    check_designable(system)
    ratio = positive("power", power) / positive("noise_power", noise_power)
    single1, double1, single2, double2 = _paths(system, ratio, _grids(system, grid1, grid2))
    grids = _grids(system, grid1, grid2)
    maps = []
    for surface, single, double, other in ((1, single1, double1, single2), (2, single2, double2, single1)):
        hardware, noise = getattr(system, f"hardware{surface}"), getattr(system, f"phase_noise{surface}")
        mean = np.real(hardware.moments(noise, np.zeros(grids[surface - 1][0] * grids[surface - 1][1]))[0])
        maps.append(
            feature_maps(
                surface, grids[surface - 1], single, double, other.snr, np.full(system.users, float(mean))
            )
        )
    return maps[0], maps[1]


def _paths(
    system: DoubleRIS, ratio: float, grids: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[PathFeatures, ...]:
    """Single and double reflection at surface 1, single and double at surface 2."""
    nothing = PathFeatures(None, np.zeros(system.users))
    one, two, between = system.bs_ris1, system.bs_ris2, system.ris1_ris2
    near, far = system.ris1_user, system.ris2_user
    single1 = double1 = single2 = double2 = nothing
    if one and near:
        strength = _strength(near.gain * one.gain, one.left.matrix, one.right.matrix, near.correlation.matrix)
        made = cascade(one.right.matrix, near.correlation.matrix, grids[0])
        single1 = PathFeatures(_of_users(made, system.users), ratio * strength)
    if two and far:
        strength = _strength(far.gain * two.gain, two.left.matrix, two.right.matrix, far.correlation.matrix)
        made = cascade(two.right.matrix, far.correlation.matrix, grids[1])
        single2 = PathFeatures(_of_users(made, system.users), ratio * strength)
    if one and between and far:
        strength = _strength(
            far.gain * one.gain * between.gain, one.left.matrix, one.right.matrix, between.left.matrix
        )
        snr = ratio * strength * _coherent(between.right.matrix, far.correlation.matrix)
        made = cascade(one.right.matrix, between.left.matrix, grids[0])
        double1 = PathFeatures(_of_users(made, system.users), snr)
        made = cascade(between.right.matrix, far.correlation.matrix, grids[1])
        double2 = PathFeatures(_of_users(made, system.users), snr)
    return single1, double1, single2, double2


def _strength(gain: Real, bs: Real, A: NDArray[np.complex128], B: NDArray[np.complex128]) -> Real:
    strength: Real = gain * np.trace(bs).real * _coherent(A, B)
    return strength


def _coherent(A: NDArray[np.complex128], B: NDArray[np.complex128]) -> Real:
    """N tr S: what v^H S v would be if all of S were coherent."""
    total: Real = A.shape[-1] * np.einsum("nn,...nn->...", A, B).real
    return total


def _of_users(path: Cascade, users: int) -> Cascade:
    return Cascade(*(np.broadcast_to(value, users) for value in path))


def _grids(
    system: DoubleRIS, grid1: tuple[int, int] | None, grid2: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    sides1 = [hop and hop.right for hop in (system.bs_ris1,)] + [
        system.ris1_user and system.ris1_user.correlation
    ]
    sides2 = [hop and hop.right for hop in (system.bs_ris2, system.ris1_ris2)]
    return (
        _grid("grid1", grid1, system.elements1, sides1),
        _grid("grid2", grid2, system.elements2, sides2),
    )


def _grid(
    name: str, given: tuple[int, int] | None, elements: int, sides: Sequence[object]
) -> tuple[int, int]:
    known = [side.grid for side in sides if isinstance(side, GridCorrelation)]
    side = round(elements**0.5)
    rows, columns = given or (known[0] if known else (side, side))
    if elements == 0 or rows * columns != elements:
        raise InvalidArgumentError(
            name, f"rows and columns of the {elements} elements", f"{rows} x {columns}"
        )
    return rows, columns
