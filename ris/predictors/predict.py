"""Phases of a system by a trained network, beside those of the closed form; no torch is needed."""

import os

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.predictors.features import CHANNELS, system_maps
from ris.predictors.model import PARTS
from ris.predictors.runtime import Predictor
from ris.predictors.trained_range import TrainedRange
from ris.predictors.zoo import load_predictor
from ris.system import DoubleRIS

__all__ = ["predict_phases"]


def predict_phases(
    system: DoubleRIS,
    *,
    power: float,
    noise_power: float,
    model: str | os.PathLike[str] = "reference",
    bits: int | None = None,
    grid1: tuple[int, int] | None = None,
    grid2: tuple[int, int] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predict phase shifts for a high sum rate (hardening bound) from the statistics of a system.

    Parameters
    ----------
    system : DoubleRIS
        One system (no batch axes) of NumPy arrays, like those that the network was trained for.
    power, noise_power : float
        Total transmit power and noise power at a user, both > 0, linear, in the same unit.
    model : str or path
        A name of `ris.predictors.zoo.names`, or a model file; of the statistical task.
    bits : int, optional
        Resolution of the surfaces, 1 to 8: phases are among 2 pi m / 2^bits. Continuous by default.
    grid1, grid2 : pair of int, optional
        Rows and columns of the surfaces; by default those of a `channels.GridCorrelation`, or a square.

    Returns
    -------
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Within [-pi, pi]. They do not depend on the order of the users, but for rounding.

    Raises
    ------
    InvalidArgumentError
        On bad arguments, or a system that the network was not made for: other paths, numbers of users or
        sizes of the surfaces; surfaces of two shapes if the model makes one surface hear of the other.
    ModelFileError
        If a model file is not sound.

    Warns
    -----
    OutOfRangeWarning
        If numbers of the system (SNR, coherence, directions, phase noise, antennas) lie outside the ranges
        of the training.
    """
    predictor = load_predictor(model)
    if predictor.model.metadata.get(PARTS):
        raise InvalidArgumentError(
            "model", "a network of one part", f"parts {predictor.model.metadata[PARTS]}"
        )
    trained = TrainedRange.from_metadata(predictor.model.metadata)
    if predictor.model.graph.input_channels != len(CHANNELS):
        raise InvalidArgumentError(
            "model", f"one of {len(CHANNELS)} input channels", f"{predictor.model.graph.input_channels}"
        )
    maps1, maps2 = system_maps(system, power=power, noise_power=noise_power, grid1=grid1, grid2=grid2)
    trained.check(system, maps1, maps2)
    if maps1.shape == maps2.shape:
        theta1, theta2 = _phases(predictor, np.stack([maps1, maps2]), bits)
    elif any(node.op == "other_surface" for node in predictor.model.graph):
        shapes = " and ".join(f"{maps.shape[-2]} x {maps.shape[-1]}" for maps in (maps1, maps2))
        raise InvalidArgumentError("system", "surfaces of one shape for this model", shapes)
    else:
        theta1, theta2 = (_phases(predictor, maps[None], bits)[0] for maps in (maps1, maps2))
    return theta1, theta2


def _phases(predictor: Predictor, maps: NDArray[np.float32], bits: int | None) -> NDArray[np.float64]:
    """Phases, shape (batch, N), for maps of shape (batch, K, channels, rows, columns)."""
    if bits is None:
        phases = predictor.phases(maps).astype(np.float64)
    else:
        levels = predictor.phase_levels(maps, bits).astype(np.int64)
        phases = (levels - 2**bits * (levels >= 2 ** (bits - 1))) * (2 * np.pi / 2**bits)
    if phases.shape[1] != 1:
        raise InvalidArgumentError("model", "one output for all users", f"{phases.shape[1]}")
    return phases.reshape(len(maps), -1)
