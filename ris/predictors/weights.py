"""Model files of trained networks: one for each part of a network, the first under the network's own name."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from channels.errors import InvalidArgumentError
from ris.predictors.climb import MOVES
from ris.predictors.model import FloatModel
from ris.predictors.model_file import read_model, write_model
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LearnedAscent
from ris.predictors.train import AT_ONCE, Predictor, Recipe, Trained

__all__ = ["PARTS", "files_of", "load", "read_network", "read_weights", "save"]

PARTS = "parts"
"""Names of the parts of a network in the metadata of its files. A learned ascent has one, and its number of
moves instead: such a file is all that the runtime needs."""


def save(path: Path, recipe: Recipe, trained: Trained, measured: Mapping[str, float]) -> None:
    """Write model files with all that made them."""
    maps = recipe.make_task().systems("validation", AT_ONCE).maps
    network = trained.network
    metadata: dict[str, Any] = {
        "recipe": dataclasses.asdict(recipe),
        "history": trained.history,
        "mean sum rates": dict(measured),
        "lowest input": maps.min(axis=(0, 1, 3, 4)).tolist(),
        "highest input": maps.max(axis=(0, 1, 3, 4)).tolist(),
    }
    if isinstance(network, LearnedAscent):
        metadata[MOVES] = network.moves
    elif not isinstance(network, Network):
        metadata[PARTS] = list(network.parts)
    for file, part in _parts(path, network).items():
        write_model(FloatModel(part.graph, part.arrays(), recipe.side, recipe.side, metadata), file)


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
        If the file has no recipe of a network by name.
    ModelFileError
        If a file is not sound.
    """
    try:
        network = Recipe(**read_model(path).metadata["recipe"]).make_network()
    except (KeyError, TypeError) as error:
        raise InvalidArgumentError("path", "a model with the recipe that made it", str(error)) from None
    load(path, network)
    return network


def files_of(path: Path, parts: list[str] | None) -> dict[Path, str]:
    """Return where the parts of a network are kept; one without has the one file."""
    first, *others = parts or [""]
    return {path: first, **{path.with_name(f"{path.stem}-{name}{path.suffix}"): name for name in others}}


def _parts(path: Path, network: Predictor) -> dict[Path, Network]:
    if isinstance(network, Network):
        return {path: network}
    return {file: network.parts[name] for file, name in files_of(path, list(network.parts)).items()}
