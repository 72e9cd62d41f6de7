"""Labelled arrays in sealed netCDF4 files, which any HDF5 reader opens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.errors import ResultFileError
from studies.files import check_seal, seal

__all__ = ["Variables", "read_netcdf", "write_netcdf"]

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any], dict[str, str]]]
"""By name: dimensions, values (numbers, or texts as objects) and attributes."""


def write_netcdf(
    path: Path, dimensions: Mapping[str, int], variables: Variables, attributes: Mapping[str, Any]
) -> None:
    """Write and seal a file."""
    import h5netcdf
    import h5py

    with h5netcdf.File(path, "w") as file:
        file.dimensions = dict(dimensions)
        for name, (axes, values, notes) in variables.items():
            dtype = h5py.string_dtype() if values.dtype == object else values.dtype
            variable = file.create_variable(name, axes, dtype)
            variable[...] = values
            variable.attrs.update(notes)
        file.attrs.update(attributes)
    seal(path)


def read_netcdf(path: Path, kind: str, version: int) -> tuple[Variables, dict[str, Any]]:
    """Read a file and check that it is whole, and of that format and schema version.

    Returns
    -------
    variables, attributes : dict
        Texts of variables come as objects of type str.

    Raises
    ------
    ResultFileError
        If the file cannot be read, is of another kind or version, or is damaged.
    """
    import h5netcdf

    try:
        check_seal(path)
        with h5netcdf.File(path, "r") as file:
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
            variables: Variables = {
                name: (
                    tuple(variable.dimensions),
                    _decoded(np.asarray(variable[...])),
                    {key: str(value) for key, value in variable.attrs.items()},
                )
                for name, variable in file.variables.items()
            }
    except FileNotFoundError:
        raise ResultFileError(f"{path}: no such file") from None
    except ResultFileError:
        raise
    except Exception as error:  # HDF5 readers meet what they cannot read with exceptions of many kinds
        raise ResultFileError(f"{path}: not a readable result file ({_first_line(error)})") from None
    if attributes.get("format") != kind:
        raise ResultFileError(f"{path}: not a result file: expected a {kind}")
    if attributes.get("schema_version") != version:
        found = attributes.get("schema_version")
        raise ResultFileError(f"{path}: schema version {found}; this program reads {version}")
    return variables, attributes


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value


def _decoded(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype != object:
        return values
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in values.ravel()]
    return np.array(texts, dtype=object).reshape(values.shape)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
