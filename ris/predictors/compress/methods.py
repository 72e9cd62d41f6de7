"""The methods by name, and what a compressed model is held against."""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

from channels.errors import InvalidArgumentError
from ris.predictors.compress.adder import adders
from ris.predictors.compress.gpfq import gpfq
from ris.predictors.compress.low_rank import low_rank
from ris.predictors.compress.mixed_precision import mixed_bits
from ris.predictors.compress.rounding import rounded
from ris.predictors.compress.saq import saq
from ris.predictors.compress.ternary import ternary
from ris.predictors.model import FloatModel, IntegerModel, Model
from ris.predictors.model_file import encode_model, packed_bytes
from ris.predictors.module import Network
from ris.predictors.publish import described
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.train import Recipe

__all__ = ["METHODS", "Size", "compressed", "recipes_of", "size_of"]

METHODS: Mapping[str, Callable[..., QuantizedNetwork]] = {
    "rounding": rounded,
    "gpfq": gpfq,
    "saq": saq,
    "ternary": ternary,
    "adder": adders,
    "low-rank": low_rank,
}
"""Functions of a trained network, the recipe that trained it and, if asked for, bits of the weights and what
else the method takes."""


class Size(NamedTuple):
    """What a model takes.

    Attributes
    ----------
    packed : int
        Bytes of its numbers, packed but not coded by their frequencies.
    file : int
        Bytes of its file, in which gzip codes them.
    bit_operations : int
        Products times bits of both factors, for one system.
    """

    packed: int
    file: int
    bit_operations: int


def size_of(model: Model, users: int) -> Size:
    """Return the sizes of a model, for systems of so many users and surfaces as it was trained for."""
    # Both surfaces of a system run through the network.
    operations = 2 * model.bit_operations(users, model.rows, model.columns)
    return Size(packed_bytes(model), len(encode_model(model)), operations)


def compressed(
    model: FloatModel,
    method: str,
    bits: float | None,
    command: str,
    test_systems: int = 1000,
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
    **options
        Of the method alone.
    """
    if method not in METHODS:
        raise InvalidArgumentError("method", f"one of {sorted(METHODS)}", repr(method))
    for name in options:
        if name not in inspect.signature(METHODS[method]).parameters:
            raise InvalidArgumentError(name, f"no such option for {method}", f"{options[name]:g}")
    recipes = recipes_of(model)
    network = Network(model.graph, 0, model.rows, model.columns).eval()
    network.load_arrays(model.arrays)
    given: dict[str, int | dict[str, int]] = {}
    if bits is not None:
        whole = float(bits).is_integer()
        given["bits"] = int(bits) if whole else mixed_bits(network, recipes[-1], bits)
    made = METHODS[method](network, recipes[-1], **given, **options).export()
    return described(made, recipes, command, test_systems)


def recipes_of(model: Model) -> list[Recipe]:
    """Return the trainings of a model, one after the other."""
    metadata = model.metadata
    told = metadata.get("recipes", [metadata["recipe"]] if "recipe" in metadata else [])
    try:
        recipes = [Recipe(**one) for one in told]
    except TypeError:
        recipes = []
    if not recipes:
        raise InvalidArgumentError("model", "one that tells the recipe of its training", "none that is known")
    return recipes
