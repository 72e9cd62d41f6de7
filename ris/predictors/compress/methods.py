"""The methods by name, and what a compressed model is held against."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from channels.errors import InvalidArgumentError
from ris.predictors.climb import MOVES, bit_operations
from ris.predictors.compress.adder import adders
from ris.predictors.compress.coding import coded_bytes
from ris.predictors.compress.combined import combined
from ris.predictors.compress.distillation import distilled
from ris.predictors.compress.filter_pruning import filter_pruning, filters_pruned
from ris.predictors.compress.gpfq import gpfq
from ris.predictors.compress.low_rank import decomposed, low_rank
from ris.predictors.compress.mixed_precision import mixed_bits
from ris.predictors.compress.pruning import pruned, pruning
from ris.predictors.compress.quantization_aware import quantization_aware
from ris.predictors.compress.rounding import rounded
from ris.predictors.compress.saq import saq
from ris.predictors.compress.ternary import ternary
from ris.predictors.compress.weight_sharing import weight_sharing
from ris.predictors.model import PARTS, FloatModel, IntegerModel, Model
from ris.predictors.model_file import encode_model, packed_bytes
from ris.predictors.module import Network
from ris.predictors.networks.learned_ascent import LearnedAscent
from ris.predictors.publish import described
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe
from ris.predictors.weights import recipes_of
from ris.progress import Progress, parts, tell_nothing

__all__ = ["FLOATS", "METHODS", "Size", "compressed", "network_of", "size_of"]

METHODS: Mapping[str, Callable[..., QuantizedNetwork]] = {
    "rounding": rounded,
    "gpfq": gpfq,
    "qat": quantization_aware,
    "saq": saq,
    "ternary": ternary,
    "adder": adders,
    "pruning": pruning,
    "filter-pruning": filter_pruning,
    "weight-sharing": weight_sharing,
    "low-rank": low_rank,
    "distil": distilled,
    "combined": combined,
}
"""Functions of a trained network, the recipe that trained it and, if they have any, bits and options; those
that train take a checkpoint and a progress besides."""

OF_MOVES = ("qat",)
"""Methods that make integers of a learned ascent's moves too."""

FOLLOWED = ("checkpoint", "progress")
"""What is no option of a method: where its trainings are kept, and who is told of them."""

FLOATS: Mapping[str, Callable[..., Network]] = {
    "pruning": pruned,
    "filter-pruning": filters_pruned,
    "low-rank": decomposed,
}
"""What these methods train before they round, from the network, its recipe and their options."""


class Size(NamedTuple):
    """What a model takes.

    Attributes
    ----------
    packed : int
        Bytes of its numbers, packed but not coded by their frequencies.
    coded : int
        The same with the weights of integers in `ris.predictors.compress.coding`'s codes; floats are as they
        are.
    file : int
        Bytes of its file, in which gzip codes them.
    bit_operations : int
        Products times bits of both factors, for one system: see `ris.predictors.climb.bit_operations`.
    """

    packed: int
    coded: int
    file: int
    bit_operations: int


def size_of(model: Model, users: int) -> Size:
    """Return the sizes of a model, for systems of so many users and surfaces as it was trained for."""
    packed = packed_bytes(model)
    coded = coded_bytes(model) if isinstance(model, IntegerModel) else packed
    return Size(packed, coded, len(encode_model(model)), bit_operations(model, users))


def compressed(
    model: FloatModel,
    method: str,
    bits: float | None,
    command: str,
    test_systems: int = 1000,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
    **options: float,
) -> IntegerModel:
    """Return an integer model of a trained one, with metadata of what made it and what it reaches.

    Parameters
    ----------
    model : FloatModel
        With the recipes of its training in its metadata, as training and publication write them.
    method : str
        A key of `METHODS`.
    bits : float or None
        Of the weights between the first and the last layers; a fraction is the mean of mixed precision, None
        what the method has by default.
    command : str
        What made it, for a person.
    test_systems : int
        Fixed systems of each split that tell what it reaches.
    checkpoint : Path, optional
        File by whose name those begin that keep the state of the method's trainings, so that they go on.
    progress : callable
        Told of every validation.
    **options
        Of the method alone.
    """
    if method not in METHODS:
        raise InvalidArgumentError("method", f"one of {sorted(METHODS)}", repr(method))
    takes = set(list(signature(METHODS[method]).parameters)[2:])
    known = takes - set(FOLLOWED)
    given = {*options, *([] if bits is None else ["bits"])}
    if not given <= known:
        raise InvalidArgumentError("options", f"those of {method}, {sorted(known)}", f"{sorted(given)}")
    recipes, network = recipes_of(model), network_of(model)
    if isinstance(network, LearnedAscent) and method not in OF_MOVES:
        raise InvalidArgumentError("method", f"one of {OF_MOVES} for a learned ascent", repr(method))
    asked: dict[str, Any] = dict(options)
    if bits is not None:
        asked["bits"] = int(bits) if float(bits).is_integer() else _mixed(network, recipes[-1], bits)
    training, measuring = parts(progress, [4, 1])
    followed = {"checkpoint": checkpoint, "progress": training}
    asked |= {name: value for name, value in followed.items() if name in takes}
    made = METHODS[method](network, recipes[-1], **asked).export()
    measuring(0.0, "rates on fixed systems")
    return described(made, recipes, command, test_systems)


def network_of(model: FloatModel) -> Network | LearnedAscent:
    """Return the network of a model in floats.

    Raises
    ------
    InvalidArgumentError
        If the model is one part of several.
    """
    if model.metadata.get(PARTS):
        raise InvalidArgumentError("model", "a network of one part", f"parts {model.metadata[PARTS]}")
    moves = int(model.metadata.get(MOVES, 0))
    size = model.rows, model.columns
    network = LearnedAscent(moves, 0, *size) if moves else Network(model.graph, 0, *size)
    part = network.step if isinstance(network, LearnedAscent) else network
    part.load_arrays(model.arrays)
    return network.eval()


def _mixed(network: Network | LearnedAscent, recipe: Recipe, bits: float) -> dict[str, int]:
    if isinstance(network, LearnedAscent):
        raise InvalidArgumentError("bits", "a whole number for a learned ascent", repr(bits))
    return mixed_bits(network, recipe, bits)
