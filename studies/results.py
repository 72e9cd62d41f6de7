"""Result files: one netCDF4-valid HDF5 file a study, labelled, self-describing and whole.

Dimensions are scheme, the axis of the sweep, user and other_user, each with its coordinate variable; the
variables are those of `studies.quantities`. Attributes hold the study file as text, the seed, the number of
realizations, versions and the wall time. A digest over everything makes damage visible. The file appears
under its name only when it is complete. Any HDF5 or netCDF reader opens it (h5py, xarray, MATLAB's h5read).
"""

import csv
import hashlib
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.config import Study, parse_study
from studies.errors import OutputError, ResultFileError, StudyFileError
from studies.quantities import PARTS, QUANTITIES, Part

__all__ = ["StudyResult", "prepare_outputs", "read_result", "versions"]

FORMAT = "double-ris study result"
SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The results of a study.

    Attributes
    ----------
    study : Study
        The study that was run.
    seed, realizations : int
        Seed, and number of realizations at each point.
    quick : bool
        Whether the quick values were taken.
    data : dict
        By quantity and part, arrays of shape (schemes, values, ...) with the quantity's own axes last; NaN
        where a point has fewer users than others.
    versions : dict of str to str
        Of Python and the packages that computed the results.
    wall_time_s : float
        Time that it took, seconds.
    """

    study: Study
    seed: int
    realizations: int
    quick: bool
    data: Mapping[tuple[str, Part], NDArray[np.float64]]
    versions: Mapping[str, str]
    wall_time_s: float

    @property
    def values(self) -> NDArray[np.float64]:
        """Values of the axis."""
        return np.asarray(self.study.values(self.quick), dtype=np.float64)

    @property
    def users(self) -> int:
        """Largest number of users of any point."""
        return int(self.data["mean_gain", "simulated"].shape[-1])

    def write(self, path: Path) -> None:
        """Write a result file; it replaces one that is there.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        replace_file(path, self._write)

    def write_csv(self, path: Path) -> None:
        """Write one tidy table, a row for each scheme, value, quantity and user."""

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file)
                axis = self.study.settings.sweep.axis
                table.writerow(["scheme", axis, "quantity", "units", "user", "other_user", *PARTS])
                table.writerows(self._rows())

        replace_file(path, write)

    def _rows(self) -> Iterator[list[Any]]:
        for s, scheme in enumerate(self.study.schemes):
            for v, value in enumerate(self.values):
                for name, quantity in QUANTITIES.items():
                    parts = {part: self.data[name, part][s, v] for part in quantity.parts}
                    for index in np.ndindex(parts["simulated"].shape):
                        if np.isnan(parts["simulated"][index]):
                            continue
                        users = [i + 1 for i in index] + [""] * (2 - len(index))
                        numbers = [repr(float(parts[part][index])) if part in parts else "" for part in PARTS]
                        yield [scheme, repr(float(value)), name, quantity.units, *users, *numbers]

    def _write(self, path: Path) -> None:
        import h5netcdf
        import h5py

        dimensions, variables, attributes = self._content()
        with h5netcdf.File(path, "w") as file:
            file.dimensions = dimensions
            for name, (axes, values, notes) in variables.items():
                dtype = h5py.string_dtype() if values.dtype == object else values.dtype
                variable = file.create_variable(name, axes, dtype)
                variable[...] = values
                variable.attrs.update(notes)
            file.attrs.update({**attributes, "sha256": _digest(variables, attributes)})

    def _content(self) -> tuple[dict[str, int], "_Variables", dict[str, Any]]:
        """Return dimensions, variables and attributes as the file holds them."""
        plot, axis = self.study.settings.plot, self._axis
        dimensions = {
            "scheme": len(self.study.schemes),
            axis: len(self.values),
            "user": self.users,
            "other_user": self.users,
        }
        numbers = np.arange(1, self.users + 1)
        variables: _Variables = {
            "scheme": (("scheme",), np.array(self.study.schemes, dtype=object), {"long_name": "scheme"}),
            axis: ((axis,), self.values, {"long_name": plot.x_label, "units": plot.x_unit or "1"}),
            "user": (("user",), numbers, {"long_name": "user"}),
            "other_user": (("other_user",), numbers, {"long_name": "user that the precoder serves"}),
        }
        for name, quantity in QUANTITIES.items():
            for part in quantity.parts:
                notes = {
                    "units": "1" if part == "z" else quantity.units,
                    "long_name": f"{quantity.long_name}: {_PART_NAMES[part]}",
                }
                variables[f"{name}_{part}"] = (("scheme", axis, *quantity.axes), self.data[name, part], notes)
        attributes = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "title": self.study.settings.title,
            "study": self.study.name,
            "configuration": self.study.text,
            "seed": self.seed,
            "realizations": self.realizations,
            "quick": int(self.quick),
            "wall_time_s": self.wall_time_s,
            **{f"version_{name}": version for name, version in self.versions.items()},
        }
        return dimensions, variables, attributes

    @property
    def _axis(self) -> str:
        return self.study.settings.sweep.axis.replace(".", "_")


_Variables = dict[str, tuple[tuple[str, ...], NDArray[Any], dict[str, str]]]

_PART_NAMES: Mapping[Part, str] = {
    "closed_form": "closed form",
    "simulated": "simulated",
    "standard_error": "standard error of the simulated value",
    "z": "(simulated - closed form) / standard error",
}


def read_result(path: Path) -> StudyResult:
    """Read a result file and check that it is whole.

    Raises
    ------
    ResultFileError
        If the file cannot be read, is of another kind or version, or is damaged.
    """
    import h5netcdf

    try:
        with h5netcdf.File(path, "r") as file:
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
            variables: _Variables = {
                name: (
                    tuple(variable.dimensions),
                    np.asarray(variable[...]),
                    {key: str(value) for key, value in variable.attrs.items()},
                )
                for name, variable in file.variables.items()
            }
    except FileNotFoundError:
        raise ResultFileError(f"{path}: no such file") from None
    except Exception as error:  # HDF5 readers meet damage with exceptions of many kinds
        raise ResultFileError(f"{path}: not a readable result file ({_first_line(error)})") from None
    if attributes.get("format") != FORMAT:
        raise ResultFileError(f"{path}: not a result file of `ris run`")
    if attributes.get("schema_version") != SCHEMA_VERSION:
        found = attributes.get("schema_version")
        raise ResultFileError(f"{path}: schema version {found}; this program reads {SCHEMA_VERSION}")
    if attributes.pop("sha256", None) != _digest(variables, attributes):
        raise ResultFileError(f"{path}: damaged (its content does not match its digest)")
    return _result(path, variables, attributes)


def _result(path: Path, variables: _Variables, attributes: Mapping[str, Any]) -> StudyResult:
    try:
        study = parse_study(attributes["configuration"], attributes["study"])
        return StudyResult(
            study=study,
            seed=attributes["seed"],
            realizations=attributes["realizations"],
            quick=bool(attributes["quick"]),
            data={
                (name, part): variables[f"{name}_{part}"][1]
                for name, quantity in QUANTITIES.items()
                for part in quantity.parts
            },
            versions={
                name.removeprefix("version_"): value
                for name, value in attributes.items()
                if name.startswith("version_")
            },
            wall_time_s=attributes["wall_time_s"],
        )
    except KeyError as error:
        raise ResultFileError(f"{path}: {error.args[0]!r} is missing") from None
    except StudyFileError as error:
        raise ResultFileError(f"{path}: its configuration is no valid study: {error}") from None


def prepare_outputs(paths: list[Path], *, force: bool = False) -> None:
    """Make sure, before hours of work, that outputs can be written.

    Raises
    ------
    OutputError
        If an output exists and may not be overwritten, or a directory cannot be made or written to.
    """
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise OutputError(f"{', '.join(existing)} already there: give --force to overwrite, or another --out")
    for directory in {path.parent for path in paths}:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise OutputError(f"cannot write into {directory}: {error.strerror or error}") from None


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make a temporary file beside `path`, and give it that name when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute the numbers."""
    found = {"python": platform.python_version()}
    for name in ("double-ris", "numpy", "scipy", "numba"):
        try:
            found[name.replace("-", "_")] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name.replace("-", "_")] = "not installed"
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _digest(variables: _Variables, attributes: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()

    def take(text: str) -> None:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)

    for name in sorted(attributes):
        take(f"{name} = {attributes[name]!r}")
    for name in sorted(variables):
        axes, values, notes = variables[name]
        take(f"{name} {axes} {values.shape} {sorted((key, str(note)) for key, note in notes.items())}")
        if values.dtype == object:
            take(repr([text.decode() if isinstance(text, bytes) else text for text in values.tolist()]))
        else:
            digest.update(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
