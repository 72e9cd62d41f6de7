"""Model files of trained networks: one for each part of a network, the first under the network's own name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from channels.errors import InvalidArgumentError
from ris.predictors.climb import MOVES
from ris.predictors.model import PARTS, FloatModel, Model
from ris.predictors.model_file import read_model, write_model
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LearnedAscent
from ris.predictors.publish import origin
from ris.predictors.train import Predictor, Recipe, Trained

__all__ = ["files_of", "load", "read_network", "read_weights", "recipes_of", "save"]


def save(path: Path, recipes: Sequence[Recipe], trained: Trained, measured: Mapping[str, float]) -> None:
    """Write model files with all that made them.

    A learned ascent has several parts, but all that the runtime needs is in one, with the number of moves.

    Parameters
    ----------
    path : Path
        Of the first part.
    recipes : sequence of Recipe
        What made the network: each began with the weights of the one before.
    trained : Trained
        The network and its validations.
    measured : mapping of str to float
        Mean sum rates on test systems, by split.
    """
    network, side = trained.network, recipes[-1].side
    told = {"history": trained.history, "mean sum rates": dict(measured)}
    metadata: dict[str, Any] = {**origin(recipes), **told}
    if not isinstance(network, Network | LearnedAscent):
        metadata[PARTS] = list(network.parts)
    for file, part in _parts(path, network).items():
        write_model(FloatModel(part.graph, part.arrays(), side, side, metadata), file)


def load(path: Path, network: Predictor) -> None:
    """Set the weights of a network to what `save` wrote."""
    for file, part in _parts(path, network).items():
        part.load_arrays(read_model(file).arrays)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dictionary of a network that `save` wrote."""
    metadata = read_model(path).metadata
    names = ["step"] if MOVES in metadata else metadata.get(PARTS)
    weights = {}
    for file, name in files_of(path, names).items():
        prefix = f"{name}." if names else ""
        for key, array in read_model(file).arrays.items():
            weights[prefix + key] = torch.from_numpy(np.array(array))
    return weights


def read_network(path: Path) -> Predictor:
    """Return a network that `save` wrote, by the recipe in its file.

    Raises
    ------
    InvalidArgumentError
        If the file tells no recipe that is known.
    ModelFileError
        If a file is not sound.
    """
    network = recipes_of(read_model(path))[-1].make_network()
    load(path, network)
    return network


def recipes_of(model: Model) -> list[Recipe]:
    """Return the trainings of a model, one after the other.

    Raises
    ------
    InvalidArgumentError
        If its metadata tell none that is known.
    """
    try:
        recipes = [Recipe(**one) for one in model.metadata["recipes"]]
    except (KeyError, TypeError):
        recipes = []
    if not recipes:
        raise InvalidArgumentError("model", "one that tells the recipe of its training", "none that is known")
    return recipes


def files_of(path: Path, parts: list[str] | None) -> dict[Path, str]:
    """Return where the parts of a network are kept; one without has the one file."""
    first, *others = parts or [""]
    return {path: first, **{path.with_name(f"{path.stem}-{name}{path.suffix}"): name for name in others}}


def _parts(path: Path, network: Predictor) -> dict[Path, Network]:
    if isinstance(network, Network):
        return {path: network}
    return {file: network.parts[name] for file, name in files_of(path, list(network.parts)).items()}
