"""Model files: HDF5 that any reader opens, checked before anything is believed.

A file begins with a user block of 512 bytes: the line "double-ris predictor 1" (1 is the version of the
schema), a line with the SHA-256 of all bytes behind the block, zeros. Behind it is HDF5. Its root has the
attributes "kind" ("float" or "integer"), "rows" and "columns" (a surface that fits) and "rounding"
("f32-rne": float32, half to even), and the datasets

    graph           JSON text: nodes [name, operation, inputs, attributes]
    metadata        JSON text: what the model is for, how it was made, what it reached
    weight, ...     arrays of one name, those of all nodes joined in the order of the graph, C order
    weight_4bit     instead of "weight" for nodes whose weights have 3 or 4 bits: two in a byte, as digits
                    modulo 16, the lowest first; each node begins a byte
    weight_trits    the same for weights of 2 bits, -1, 0 and 1: five in a byte, as digits modulo 3
    odd             only where weights q of up to 4 bits are odd numbers without zero (`without_zero`): 1 for
                    their nodes, 0 for all others. What is packed is (q - 1) / 2
    weight_2bit     where those, or the weights of adders, have 2 bits: four in a byte, as digits modulo 4
    symmetric       only where kernels in codes come in all their symmetries (`all_turned`): 1 for their
                    nodes, 0 for all others. What is stored, or packed, is the first of every eight

The arrays and what they mean are those of `float_layout` and `integer_layout`. Nothing is unpickled,
nothing is allocated before its size is checked, and a file that is not sound raises one error.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from channels.errors import InvalidArgumentError
from ris.predictors.graph import Graph, Node
from ris.predictors.model import Array, FloatModel, IntegerModel, Layout, Model, without_zero
from ris.predictors.symmetries import SYMMETRIES, all_turned
from ris.predictors.whole_file import write_whole

__all__ = ["ModelFileError", "packed_arrays", "packed_bytes", "read_model", "write_model"]

TITLE = b"double-ris predictor 1\n"
BLOCK = 512
LARGEST_FILE = 2**28
LARGEST_TEXT = 2**20
KINDS: dict[str, type[FloatModel] | type[IntegerModel]] = {"float": FloatModel, "integer": IntegerModel}
ROUNDING = "f32-rne"
PACKINGS = {2: ("weight_trits", 3, 5), 3: ("weight_4bit", 16, 2), 4: ("weight_4bit", 16, 2)}
ODD_PACKINGS = {2: ("weight_2bit", 4, 4), 3: ("weight_4bit", 16, 2), 4: ("weight_4bit", 16, 2)}
"""By bits of weights: dataset, base of the digits, and digits in a byte; those of odd weights and adders."""

ODD, SYMMETRIC = "odd", "symmetric"


class ModelFileError(ValueError):
    """A model file is damaged, not one, or not there.

    Parameters
    ----------
    path : str
        The file.
    fault : str
        What is wrong with it.
    """

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(f"{path}: no sound model file: {fault}")
        self.path, self.fault = path, fault

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.fault)


def write_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model; equal models make equal files, and a file is there in full or not at all.

    Raises
    ------
    InvalidArgumentError
        If the metadata are not JSON, or too large.
    """
    write_whole(Path(path), encode_model(model))


def read_model(path: str | os.PathLike[str]) -> Model:
    """Return the model of a file.

    Raises
    ------
    ModelFileError
        If the file is not exactly what `write_model` writes for a sound model, or cannot be read.
    """
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise ModelFileError(str(path), f"larger than {LARGEST_FILE} bytes")
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(str(path), f"it cannot be read ({error.strerror})") from error
    return decode_model(data, str(path))


def encode_model(model: Model) -> bytes:
    """Return the bytes of a model file."""
    image = io.BytesIO()
    with h5py.File(image, "w", userblock_size=BLOCK, libver="v112") as file:
        file.attrs["kind"] = np.bytes_(model.kind)
        file.attrs["rounding"] = np.bytes_(ROUNDING)
        file.attrs["rows"], file.attrs["columns"] = np.int64(model.rows), np.int64(model.columns)
        nodes = [[node.name, node.op, node.inputs, node.attributes] for node in model.graph.nodes]
        datasets = {"graph": _text("graph", nodes), "metadata": _text("metadata", model.metadata)}
        datasets |= _joined(model)
        for name, values in datasets.items():
            # Floats of weights hardly shrink, and chunks and filters cost small arrays more than they save.
            plain = values.nbytes < 256 or (model.kind == "float" and values.dtype.kind == "f")
            packing = {} if plain else {"compression": "gzip", "compression_opts": 9, "shuffle": True}
            file.create_dataset(name, data=values, track_times=False, **packing)
    body = image.getvalue()[BLOCK:]
    return _block(body) + body


def packed_bytes(model: Model) -> int:
    """Return the bytes of a model's numbers as a file packs them, before gzip shortens what repeats."""
    return sum(values.nbytes for values in _joined(model).values())


def packed_arrays(model: Model) -> dict[str, Array]:
    """Return a model's arrays by name as a file packs them, each with one axis."""
    return {name: values for name, (_, values) in _packed(model, _flags(model)).items()}


def decode_model(data: bytes, name: str = "data") -> Model:
    """Return the model in the bytes of a model file; `name` is for errors."""
    if data[: len(TITLE)] != TITLE:
        raise ModelFileError(name, "it does not begin as one of this version does")
    if data[:BLOCK] != _block(data[BLOCK:]):
        raise ModelFileError(name, "its bytes do not have the hash that it states")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _decoded(file)
    except Exception as error:  # HDF5 meets a damaged structure with errors of many types
        raise ModelFileError(name, str(error) or type(error).__name__) from error


def _block(body: bytes) -> bytes:
    return (TITLE + hashlib.sha256(body).hexdigest().encode() + b"\n").ljust(BLOCK, b"\0")


def _text(name: str, value: Any) -> Array:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(name, "JSON values", str(error)) from None
    if len(text.encode()) > LARGEST_TEXT:
        raise InvalidArgumentError(name, f"at most {LARGEST_TEXT} bytes of text", f"{len(text)}")
    return np.frombuffer(text.encode(), np.uint8)


def _decoded(file: h5py.File) -> Model:
    if set(file.attrs) != {"kind", "rounding", "rows", "columns"}:
        raise ValueError(f"attributes {sorted(file.attrs)}")
    if _attribute(file, "rounding", "S7") != ROUNDING.encode():
        raise ValueError("another rounding")
    model_type = KINDS[_attribute(file, "kind", None).decode()]
    rows, columns = (int(_attribute(file, name, "<i8")) for name in ("rows", "columns"))
    graph = _graph(_json(file, "graph"))
    metadata = _json(file, "metadata")
    if not isinstance(metadata, dict):
        raise ValueError("metadata that are no table")
    layout = model_type.layout(graph, rows, columns)
    return model_type(graph, _split(file, layout, graph), rows, columns, metadata)


def _attribute(file: h5py.File, name: str, dtype: str | None) -> Any:
    space = file.attrs.get_id(name)
    known = space.dtype.kind == "S" and space.dtype.itemsize <= 7 if dtype is None else space.dtype == dtype
    if space.shape != () or not known:
        raise ValueError(f"the attribute {name}: {space.dtype} of shape {space.shape}")
    return file.attrs[name]


def _json(file: h5py.File, name: str) -> Any:
    text = _values(file, name, np.uint8, None)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} in {name}")

    return json.loads(text.tobytes().decode("utf-8"), parse_constant=refuse)


def _graph(nodes: Any) -> Graph:
    made = []
    for node in nodes:
        name, op, inputs, attributes = node
        if not (isinstance(node, list) and isinstance(inputs, list) and isinstance(attributes, dict)):
            raise ValueError("a graph of other things than nodes")
        if not all(isinstance(text, str) for text in (name, op, *inputs)):
            raise ValueError("a node without names")
        made.append(Node(name, op, tuple(inputs), attributes))
    return Graph(tuple(made))


def _values(file: h5py.File, name: str, dtype: type[np.generic], entries: int | None) -> Array:
    """Values of a dataset with one axis, of so many entries; of at most LARGEST_TEXT if None."""
    link = file.get(name, getlink=True)
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} is no dataset of this file")
    if dataset.dtype != np.dtype(dtype) or dataset.ndim != 1 or dataset.shape[0] > LARGEST_FILE:
        raise ValueError(f"{name}: {dataset.dtype} of shape {dataset.shape}")
    if dataset.shape[0] > LARGEST_TEXT if entries is None else dataset.shape[0] != entries:
        raise ValueError(f"{name} has {dataset.shape[0]} entries")
    if dataset.compression not in (None, "gzip"):
        raise ValueError(f"{name} is compressed by {dataset.compression}")
    values: Array = dataset[()]
    return values


Packing = tuple[str, int, int]


def _packings(arrays: Mapping[str, Array], graph: Graph, odd: set[str]) -> dict[str, Packing]:
    """Packings of weights by name, where several go to a byte."""
    found = {}
    for node, count in zip(graph.nodes, arrays.get("weight_bits", ()), strict=False):
        name = f"{node.name}/weight"
        table = ODD_PACKINGS if name in odd or node.op == "adder" else PACKINGS
        if int(count) in table:
            found[name] = table[int(count)]
    return found


def _odd(model: Model) -> Array:
    """1 for nodes whose packed weights are odd."""
    bits = model.arrays.get("weight_bits", np.zeros(len(model.graph.nodes), np.uint8)).tolist()
    flags = [
        count in ODD_PACKINGS and without_zero(model.arrays[f"{node.name}/weight"], count)
        for node, count in zip(model.graph.nodes, bits, strict=True)
    ]
    return np.array(flags, np.uint8)


def _symmetric(model: Model) -> Array:
    """1 for nodes whose codes of kernels come in all their symmetries."""
    flags = []
    for node in model.graph.nodes:
        weight = model.arrays.get(f"{node.name}/weight")
        if model.kind == "float" or weight is None or not _may_be_symmetric(weight.shape):
            flags.append(False)
        else:
            flags.append(np.array_equal(weight, all_turned(weight[::SYMMETRIES])))
    return np.array(flags, np.uint8)


def _may_be_symmetric(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[0] % SYMMETRIES == 0 and shape[2] == shape[3] > 1


def _chosen(graph: Graph, flags: Array) -> set[str]:
    """Weights of the nodes with a flag."""
    return {f"{node.name}/weight" for node, flag in zip(graph.nodes, flags, strict=True) if flag}


def _pack(values: Array, base: int, digits: int) -> Array:
    """Small whole numbers as digits modulo a base."""
    padded = np.pad(values, (0, -values.size % digits)).reshape(-1, digits)
    packed: Array = (padded % base) @ base ** np.arange(digits)
    return packed.astype(np.uint8)


def _unpack(packed: Array, base: int, digits: int, entries: int) -> Array:
    """What `_pack` packed."""
    if packed.size and packed.max() >= base**digits:
        raise ValueError(f"bytes of {digits} digits modulo {base} above {base**digits - 1}")
    found = (packed[:, None] // base ** np.arange(digits) % base).ravel()[:entries]
    values: Array = np.where(2 * found >= base, found - base, found).astype(np.int8)
    return values


def _joined(model: Model) -> dict[str, Array]:
    """Arrays of one name, joined."""
    flags = _flags(model)
    parts: dict[str, list[Array]] = {name: [one] for name, one in flags.items() if one.any()}
    for dataset, values in _packed(model, flags).values():
        parts.setdefault(dataset, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _flags(model: Model) -> dict[str, Array]:
    """Flags of nodes by the dataset that has them."""
    return {ODD: _odd(model), SYMMETRIC: _symmetric(model)}


def _packed(model: Model, flags: Mapping[str, Array]) -> dict[str, tuple[str, Array]]:
    """By name of an array, its dataset and what this has of it."""
    odd, symmetric = (_chosen(model.graph, flags[name]) for name in (ODD, SYMMETRIC))
    packings = _packings(model.arrays, model.graph, odd)
    made = {}
    for name in model.layout(model.graph, model.rows, model.columns):
        values = (model.arrays[name][::SYMMETRIES] if name in symmetric else model.arrays[name]).ravel()
        dataset = name.split("/")[-1]
        if name in packings:
            dataset, *how = packings[name]
            values = _pack(values >> 1 if name in odd else values, *how)
        made[name] = dataset, values
    return made


def _flagged(file: h5py.File, name: str, graph: Graph) -> set[str]:
    """Weights of the nodes with a flag in a dataset; none if it is not there."""
    if name not in file:
        return set()
    flags = _values(file, name, np.uint8, len(graph.nodes))
    if flags.max() != 1:
        raise ValueError(f"{name} of other flags than 0 and 1")
    return _chosen(graph, flags)


def _split(file: h5py.File, layout: Layout, graph: Graph) -> dict[str, Array]:
    """Arrays by their names in the layout."""
    known: dict[str, Array] = {}
    if "weight_bits" in layout:
        known["weight_bits"] = _values(file, "weight_bits", np.uint8, len(graph.nodes))
    odd, symmetric = (_flagged(file, name, graph) for name in (ODD, SYMMETRIC))
    packings = _packings(known, graph, odd)
    if not odd <= set(packings):
        raise ValueError(f"{ODD} where no weights are packed")
    shapes = {name: shape for name, (_, shape) in layout.items()}
    for name in symmetric:
        outputs, *kernel = shapes.get(name, (0,))
        if not known or not _may_be_symmetric((outputs, *kernel)):
            raise ValueError(f"{SYMMETRIC} where no kernels can be")
        shapes[name] = (outputs // SYMMETRIES, *kernel)
    sizes: dict[str, int] = {}
    types: dict[str, type[np.generic]] = {}
    places: dict[str, slice] = {}
    datasets: dict[str, str] = {}
    for name, (dtype, _) in layout.items():
        dataset, _, digits = packings.get(name, (name.split("/")[-1], 0, 1))
        first = sizes.get(dataset, 0)
        sizes[dataset] = first + -(-math.prod(shapes[name]) // digits)
        places[name], datasets[name] = slice(first, sizes[dataset]), dataset
        types[dataset] = np.uint8 if name in packings else dtype
    if set(file) != {
        "graph",
        "metadata",
        *sizes,
        *([ODD] if odd else []),
        *([SYMMETRIC] if symmetric else []),
    }:
        raise ValueError(f"the datasets {sorted(file)}")
    joined = {name: _values(file, name, types[name], size) for name, size in sizes.items()}
    for name, shape in shapes.items():
        values = joined[datasets[name]][places[name]]
        if name in packings:
            values = _unpack(values, *packings[name][1:], math.prod(shape))
            values = 2 * values + 1 if name in odd else values
        values = values.reshape(shape)
        known[name] = all_turned(values) if name in symmetric else values.copy()
    return known
