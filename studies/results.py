"""Result files: one netCDF4-valid HDF5 file a study, labelled, self-describing and whole.

Dimensions are scheme, those of the sweep, user, other_user and, with quantiles of the SINR, quantile, each
with its coordinate variable; axes zipped to another one are further variables along its dimension. The
variables are those of `studies.quantities`, closed forms NaN where a point has none, and for every point its
number of realizations, why there are no more, and in how many the iteration for the precoders stopped short.
Attributes hold the study file as text, the seed, the largest number of realizations, versions, the time that
the blocks took and the fingerprint of all that the numbers depend on. A digest at the end
makes damage visible; the file appears under its name only when it is complete. Any HDF5 or netCDF reader
opens it (h5py, xarray, MATLAB's h5read).
"""

import csv
import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.config import Dimension, Study, parse_study
from studies.errors import ResultFileError, StudyFileError
from studies.files import replace_file
from studies.netcdf import Variables, read_netcdf, write_netcdf
from studies.quantities import PARTS, Part, quantities, z_values

__all__ = ["Data", "StudyResult", "read_result", "versions"]

FORMAT = "double-ris study result"
SCHEMA_VERSION = 3

Data = dict[tuple[str, Part], NDArray[np.float64]]
"""Values by quantity and part."""


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The results of a study.

    Attributes
    ----------
    study : Study
        The study that was run.
    seed, realizations : int
        Seed, and largest number of realizations at a point.
    quick : bool
        Whether the quick values were taken.
    data : dict
        By quantity and part, arrays of shape (schemes, values, ...) with the quantity's own axes last; NaN
        where a point has fewer users than others, or no closed form. One axis of values for each dimension of
        the sweep.
    counts, reasons : ndarray, shape (schemes, values)
        Realizations of each point, and why it has no more.
    unconverged : ndarray, shape (schemes, values)
        Realizations in which an iteration for the precoders stopped short of its tolerance.
    versions : dict of str to str
        Of Python and the packages that computed the results.
    wall_time_s : float
        Time that the blocks of all points took, added up, seconds.
    fingerprint : str
        SHA-256 of all that the numbers depend on.
    """

    study: Study
    seed: int
    realizations: int
    quick: bool
    data: Mapping[tuple[str, Part], NDArray[np.float64]]
    counts: NDArray[np.int64]
    reasons: NDArray[Any]
    unconverged: NDArray[np.int64]
    versions: Mapping[str, str]
    wall_time_s: float
    fingerprint: str

    @property
    def values(self) -> NDArray[np.float64]:
        """Values of the first axis."""
        values = next(iter(self.dimensions[0].coordinates.values()))
        return np.array(values, dtype=object if isinstance(values[0], str) else np.float64)

    @property
    def dimensions(self) -> list[Dimension]:
        """Dimensions of the sweep."""
        return self.study.dimensions(self.quick)

    @property
    def users(self) -> int:
        """Largest number of users of any point."""
        return int(self.data["mean_gain", "simulated"].shape[-1])

    def over_drops(self) -> "StudyResult":
        """Return the means over the drops of a scenario; these results as they are if there are no drops.

        Standard errors are those of the simulation given the drops, and so are z values: closed form and
        simulation have the same ones.
        """
        if self.study.settings.sweep.drops is None:
            return self
        axis = len(self.dimensions)
        data: dict[tuple[str, Part], NDArray[np.float64]] = {}
        for (name, part), values in self.data.items():
            if part in ("standard_error", "difference_standard_error"):
                data[name, part] = np.sqrt(np.sum(values**2, axis=axis)) / values.shape[axis]
            else:
                data[name, part] = np.mean(values, axis=axis)
        for name, part in self.data:
            if part == "z":
                parts = (data[name, one] for one in ("closed_form", "simulated", "standard_error"))
                data[name, part] = z_values(*parts)
        return dataclasses.replace(
            self,
            study=self.study.without_drops,
            data=data,
            counts=self.counts.sum(axis=axis),
            unconverged=self.unconverged.sum(axis=axis),
            reasons=_joined(self.reasons, axis),
        )

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
                axes = [key for dimension in self.dimensions for key in dimension.coordinates]
                more = ["realizations", "stop_reason"]
                table.writerow(["scheme", *axes, "quantity", "units", "user", "other_user", *PARTS, *more])
                table.writerows(self._rows())

        replace_file(path, write)

    def _rows(self) -> Iterator[list[Any]]:
        coordinates = [list(zip(*one.coordinates.values(), strict=True)) for one in self.dimensions]
        for where in np.ndindex(self.counts.shape):
            scheme, *place = where
            values = [_cell(v) for own, i in zip(coordinates, place, strict=True) for v in own[i]]
            more = [int(self.counts[where]), self.reasons[where]]
            for name, quantity in quantities(self.study.settings).items():
                parts = {part: self.data[name, part][where] for part in quantity.parts(self.counts.shape[0])}
                for index in np.ndindex(parts["simulated"].shape):
                    if np.isnan(parts["simulated"][index]):
                        continue
                    labels = dict(zip(quantity.axes, index, strict=True))
                    users = [labels[axis] + 1 if axis in labels else "" for axis in ("user", "other_user")]
                    full = name
                    if "quantile" in labels:
                        full += f" {self.study.settings.metrics.sinr_quantiles[labels['quantile']]:g}"
                    numbers = [_cell(parts[part][index]) if part in parts else "" for part in PARTS]
                    yield [self.study.schemes[scheme], *values, full, quantity.units, *users, *numbers, *more]

    def _write(self, path: Path) -> None:
        write_netcdf(path, *self._content())

    def _content(self) -> tuple[dict[str, int], "Variables", dict[str, Any]]:
        """Return dimensions, variables and attributes as the file holds them."""
        settings, sweep = self.study.settings, tuple(one.name for one in self.dimensions)
        lead = ("scheme", *sweep)
        dimensions = dict(zip(lead, self.counts.shape, strict=True)) | {
            "user": self.users,
            "other_user": self.users,
        }
        numbers = np.arange(1, self.users + 1)
        variables: Variables = {
            "scheme": (("scheme",), np.array(self.study.schemes, dtype=object), {"long_name": "scheme"}),
            "user": (("user",), numbers, {"long_name": "user"}),
            "other_user": (("other_user",), numbers, {"long_name": "user that the precoder serves"}),
        }
        for number, one in enumerate(self.dimensions):
            for name, values in one.coordinates.items():
                first = number == 0 and name == one.name
                long_name, units = (settings.plot.x_label, settings.plot.x_unit) if first else (name, "")
                array = np.array(values, dtype=object if isinstance(values[0], str) else np.float64)
                variables[name] = ((one.name,), array, {"long_name": long_name, "units": units or "1"})
        if settings.metrics.sinr_quantiles:
            dimensions["quantile"] = len(settings.metrics.sinr_quantiles)
            shares = np.array(settings.metrics.sinr_quantiles)
            variables["quantile"] = (
                ("quantile",),
                shares,
                {"long_name": "share of realizations", "units": "1"},
            )
        for name, quantity in quantities(settings).items():
            for part in quantity.parts(len(self.study.schemes)):
                notes = {
                    "units": "1" if part == "z" else quantity.units,
                    "long_name": f"{quantity.long_name}: {_PART_NAMES[part]}",
                }
                variables[f"{name}_{part}"] = ((*lead, *quantity.axes), self.data[name, part], notes)
        variables["realizations"] = (
            lead,
            self.counts,
            {"units": "1", "long_name": "realizations of the point"},
        )
        variables["unconverged"] = (
            lead,
            self.unconverged,
            {"units": "1", "long_name": "realizations whose precoders stopped short of their tolerance"},
        )
        variables["stop_reason"] = (
            lead,
            self.reasons,
            {"long_name": "why the point has no more realizations"},
        )
        attributes = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "title": self.study.settings.title,
            "study": self.study.name,
            "configuration": self.study.text,
            "seed": self.seed,
            "realizations": self.realizations,
            "fingerprint": self.fingerprint,
            "quick": int(self.quick),
            "wall_time_s": self.wall_time_s,
            **{f"version_{name}": version for name, version in self.versions.items()},
        }
        return dimensions, variables, attributes


_PART_NAMES: Mapping[Part, str] = {
    "closed_form": "closed form",
    "simulated": "simulated",
    "standard_error": "standard error of the simulated value",
    "z": "(simulated - closed form) / standard error",
    "difference": "simulated, less that of the first scheme",
    "difference_standard_error": "standard error of the difference, over shared random numbers",
}


def read_result(path: Path) -> StudyResult:
    """Read a result file and check that it is whole.

    Raises
    ------
    ResultFileError
        If the file cannot be read, is of another kind or version, or is damaged.
    """
    variables, attributes = read_netcdf(path, FORMAT, SCHEMA_VERSION)
    return _result(path, variables, attributes)


def _result(path: Path, variables: Variables, attributes: Mapping[str, Any]) -> StudyResult:
    try:
        study = parse_study(attributes["configuration"], attributes["study"])
        return StudyResult(
            study=study,
            seed=attributes["seed"],
            realizations=attributes["realizations"],
            quick=bool(attributes["quick"]),
            data={
                (name, part): variables[f"{name}_{part}"][1]
                for name, quantity in quantities(study.settings).items()
                for part in quantity.parts(len(study.schemes))
            },
            counts=variables["realizations"][1],
            reasons=variables["stop_reason"][1],
            unconverged=variables["unconverged"][1],
            fingerprint=attributes["fingerprint"],
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


def versions(*further: str) -> dict[str, str]:
    """Versions of Python and of the packages that compute the numbers.

    Parameters
    ----------
    *further : str
        Packages besides those with which every result is computed.
    """
    found = {"python": platform.python_version()}
    for name in ("double-ris", "numpy", "scipy", "numba", *further):
        try:
            found[name.replace("-", "_")] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name.replace("-", "_")] = "not installed"
    return found


def _joined(reasons: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return every reason that occurs along an axis, joined."""
    joined = np.empty(np.delete(reasons.shape, axis), dtype=object)
    for where in np.ndindex(joined.shape):
        joined[where] = ", ".join(sorted({*np.moveaxis(reasons, axis, -1)[where]}))
    return joined


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else repr(float(value))
