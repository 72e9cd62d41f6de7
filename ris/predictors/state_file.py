"""Files that keep what was worked out so far: a hash is checked before anything in them is believed.

A file is the line "double-ris state 1" (1 is the version of the format), a line with the SHA-256 of all that
follows, a line of JSON, and arrays one after the other, little-endian, in C order. The JSON has the arrays'
data types and shapes, and the state: {"array": 3} is the array of that number, {"list": [...]} a list,
{"table": [[key, value], ...]} a dictionary, and all else itself. Nothing is unpickled.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ris.predictors.whole_file import write_whole

__all__ = ["StateFileError", "digest_of", "kept", "read_state", "write_state"]

TITLE = b"double-ris state 1\n"
DIGEST = 64
KINDS = "biufc"
"""Data types that an array can have: truth values, whole, real and complex numbers."""


class StateFileError(ValueError):
    """A file of a state is damaged, or not one, or of another computation.

    Parameters
    ----------
    path : Path
        The file.
    fault : str
        What is wrong with it.
    """

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path}: no sound state to go on from: {fault}; remove the file to start over")
        self.path, self.fault = path, fault

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return type(self), (self.path, self.fault)


def write_state(path: Path, state: Any) -> None:
    """Write a state, arrays and JSON values in dictionaries and lists, in full or not at all."""
    body = _encoded(state)
    write_whole(path, _head(body), body)


def read_state(path: Path) -> Any:
    """Return the state of a file.

    Raises
    ------
    StateFileError
        If the file is not exactly what `write_state` writes.
    FileNotFoundError
        If there is none.
    """
    data = path.read_bytes()
    size = len(TITLE) + DIGEST + 1
    if data[: len(TITLE)] != TITLE:
        raise StateFileError(path, "it does not begin as one of this version does")
    if data[:size] != _head(data[size:]):
        raise StateFileError(path, "its bytes do not have the hash that it states")
    try:
        return _decoded(data[size:])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise StateFileError(path, str(error) or type(error).__name__) from error


def kept(folder: Path | None, name: str, made_by: Any, make: Callable[[], Any]) -> Any:
    """Return a state that a file keeps, or make it and keep it.

    Parameters
    ----------
    folder : Path or None
        Where; None keeps nothing.
    name : str
        Beginning of the file's name.
    made_by : JSON value
        All that decides the state. Its digest is in the file's name.
    make : callable
        Makes it.

    Raises
    ------
    StateFileError
        If the file is not sound.
    """
    if folder is None:
        return make()
    told = json.dumps(made_by, sort_keys=True)
    path = folder / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.state"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_state(path, {"made_by": told, "state": make()})
    found = read_state(path)
    if not isinstance(found, dict) or found.get("made_by") != told:
        raise StateFileError(path, "it is of another computation")
    return found["state"]


def digest_of(state: Any) -> str:
    """Return the SHA-256 of a state, hexadecimal."""
    return hashlib.sha256(_encoded(state)).hexdigest()


def _head(body: bytes) -> bytes:
    return TITLE + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _encoded(state: Any) -> bytes:
    arrays: list[NDArray[Any]] = []
    tree = _packed(state, arrays)
    header = {"arrays": [[array.dtype.str, array.shape] for array in arrays], "state": tree}
    return b"".join([json.dumps(header).encode(), b"\n", *(array.tobytes() for array in arrays)])


def _packed(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value.astype(value.dtype.newbyteorder("<")))
        return {"array": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {"table": [[key, _packed(one, arrays)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_packed(one, arrays) for one in value]}
    return value


def _decoded(body: bytes) -> Any:
    header, _, numbers = body.partition(b"\n")
    told, arrays, start = json.loads(header), list[NDArray[Any]](), 0
    for text, shape in told["arrays"]:
        dtype = np.dtype(text)
        if dtype.kind not in KINDS or not all(isinstance(one, int) and one >= 0 for one in shape):
            raise ValueError(f"an array of {text} of shape {shape}")
        stop = start + dtype.itemsize * math.prod(shape)
        if stop > len(numbers):
            raise ValueError("arrays that are longer than the file")
        values = np.frombuffer(numbers[start:stop], dtype).reshape(shape)
        arrays.append(values.astype(dtype.newbyteorder("=")))
        start = stop
    if start != len(numbers):
        raise ValueError(f"{len(numbers) - start} bytes behind the arrays")
    return _unpacked(told["state"], arrays)


def _unpacked(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "array":
        return arrays[inner]
    if kind == "list":
        return [_unpacked(one, arrays) for one in inner]
    if kind == "table":
        return {key: _unpacked(one, arrays) for key, one in inner}
    raise ValueError(f"{kind!r} in place of an array, a list or a table")
