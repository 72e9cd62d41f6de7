"""Ascent of the known rate by learned moves: what a move is given, in any array library."""

from collections.abc import Callable

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.backend import Array
from ris.predictors.baselines import best_steering
from ris.predictors.instantaneous import InstantaneousBatch, InstantaneousTask
from ris.predictors.model import Model
from ris.predictors.runtime import Predictor
from ris.predictors.task import Batch, unit

__all__ = ["INPUTS", "MOVES", "STATE", "bit_operations", "climb", "predicted_phasors"]

MOVES = "moves"
"""What the metadata of a model call the number of moves, if it makes moves and not phases."""

STATE = 8
"""Numbers that a move of an element hands to the next, besides itself."""

INPUTS = 4 + STATE
"""Channels that a move is made from: slope, last move, state, then log10 of the slopes' size and progress."""

FLOAT_BITS = 32

SMALLEST = 1e-9
"""Slopes of the logarithm of the rate over all elements that are as good as none."""


def climb(
    x: Array, slopes: Callable[[Array], Array], step: Callable[[Array], Array], moves: int
) -> list[Array]:
    """Return the phasors after every move, those of the start first.

    The slopes of both surfaces of a system are divided by their root mean square: how steep the rate is has
    no say in how far to go but through `step`.

    Parameters
    ----------
    x : array, shape (2 B, rows, columns)
        Phasors of the start.
    slopes : callable
        Of phasors: slopes of the logarithm of the sum rate by the phases, the same shape.
    step : callable
        Of `INPUTS` channels, shape (2 B, 1, INPUTS, rows, columns), real: moves of the phases, radians, and
        `STATE` channels of state, shape (2 B, 1, 1 + STATE, rows, columns).
    moves : int
        How many.
    """
    xp = array_api_compat.array_namespace(x)
    half, elements = x.shape[0] // 2, x.shape[-2] * x.shape[-1]
    real = xp.real(x).dtype
    path = [x]
    made = xp.zeros((2 * half, 1, 1 + STATE, *x.shape[1:]), dtype=real, device=array_api_compat.device(x))
    for done in range(moves):
        slope = slopes(x) * elements
        power = xp.mean(xp.reshape(slope, (2, half, elements)) ** 2, axis=(0, 2))
        size = xp.reshape(xp.sqrt(xp.concat([power, power])) + SMALLEST, (2 * half, 1, 1))
        everywhere = xp.ones_like(slope)
        about = [slope / size, xp.log10(size) * everywhere, done / moves * everywhere]
        first, *others = (values[:, None, None, ...] for values in about)
        made = step(xp.concat([first, made, *others], axis=2))
        move = xp.astype(made[:, 0, 0, ...], real)
        x = unit(x * (xp.cos(move) + 1j * xp.sin(move)))
        path.append(x)
    return path


def predicted_phasors(predictor: Predictor, batch: Batch) -> NDArray[np.complex128]:
    """Return what a model sets in systems of NumPy arrays, phases at once or by moves; no torch is needed.

    Parameters
    ----------
    predictor : Predictor
        Of phases; or of moves, as its metadata say.
    batch : Batch
        B systems; for moves, instantaneous ones.

    Returns
    -------
    ndarray, shape (2 B, rows, columns)
    """
    moves = predictor.model.metadata.get(MOVES)
    if moves is None:
        made = predictor.run(batch.maps)[:, 0]
        return np.asarray(unit((made[:, 0] + 1j * made[:, 1]).astype(np.complex128)))
    if not isinstance(batch, InstantaneousBatch):
        raise InvalidArgumentError("predictor", "a model that predicts phases, not moves", "moves")
    path = climb(best_steering(batch), batch.known_slopes, predictor.run, int(moves))
    return np.asarray(path[-1])


def bit_operations(model: Model, users: int) -> int:
    """Return products times bits of both factors from what is known of a system to the phases it gets.

    A model that makes moves runs once for each, and the slopes that they follow, in floats, count too.

    Parameters
    ----------
    model : Model
        Of phases or of moves, for surfaces of a size.
    users : int
        Of the system.
    """
    moves, size = int(model.metadata.get(MOVES, 0)), (model.rows, model.columns)
    # Both surfaces of a system run through the network.
    if not moves:
        return 2 * model.bit_operations(users, *size)
    slopes = FLOAT_BITS**2 * InstantaneousTask(model.rows, users).slope_products
    return moves * (2 * model.bit_operations(1, *size) + slopes)
