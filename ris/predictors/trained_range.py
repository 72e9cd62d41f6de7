"""What a predictor was trained for, as its model file states it, and systems held against that."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from ris.predictors.features import CHANNELS
from ris.system import DoubleRIS

__all__ = ["OutOfRangeWarning", "TrainedRange"]

PATHS = ("direct", "single1", "single2", "double")

CONSTANT = tuple(name for name in CHANNELS if name.startswith(("log10", "coherence", "mean")))
"""Channels of one value a map."""

WIDENED = 0.02
"""Share of its width that is added to a range at both ends: training systems seen are a sample."""


class OutOfRangeWarning(UserWarning):
    """A system lies outside what a predictor was trained for: its phases may be poor."""


@dataclass(frozen=True)
class TrainedRange:
    """What the systems of a training had in common, and between which limits they differed.

    Attributes
    ----------
    paths : tuple of str
        Paths from the BS to the users: "direct", "single1", "single2", "double".
    antennas, users : pair of int
        Fewest and most.
    grids : tuple of (int, int)
        Rows and columns of the surfaces.
    quantities : mapping of str to pair of float
        Least and largest of what `measured` reads off the maps.
    """

    paths: tuple[str, ...]
    antennas: tuple[int, int]
    users: tuple[int, int]
    grids: tuple[tuple[int, int], ...]
    quantities: Mapping[str, tuple[float, float]]

    @classmethod
    def of(
        cls, paths: tuple[str, ...], antennas: tuple[int, int], maps: Iterable[NDArray[np.float32]]
    ) -> "TrainedRange":
        """Return the range of maps, shapes (..., K, channels, rows, columns)."""
        users, grids, limits = set(), set(), dict[str, tuple[float, float]]()
        for some in maps:
            users.add(some.shape[-4])
            grids.add((some.shape[-2], some.shape[-1]))
            for name, values in measured(some).items():
                low, high = limits.get(name, (np.inf, -np.inf))
                limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        widened = {
            name: (low - WIDENED * (high - low), high + WIDENED * (high - low))
            for name, (low, high) in limits.items()
        }
        return cls(paths, antennas, (min(users), max(users)), tuple(sorted(grids)), widened)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "TrainedRange":
        """Return what `as_metadata` made.

        Raises
        ------
        InvalidArgumentError
            If there is no such thing: models of the instantaneous task state none.
        """
        if "range" not in metadata:
            task = metadata.get("task", "unknown")
            wanted = 'one of the task "statistical", whose file says what it was trained for'
            raise InvalidArgumentError("model", wanted, f"one of the task {task!r} that does not")
        try:
            stated = metadata["range"]
            return cls(
                tuple(str(path) for path in stated["paths"]),
                _pair(stated["antennas"], int),
                _pair(stated["users"], int),
                tuple(_pair(grid, int) for grid in stated["grids"]),
                {name: _pair(stated["quantities"][name], float) for name in QUANTITIES},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                "model", "one that says what it was trained for as `ris train` does", repr(error)
            ) from None

    def as_metadata(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "paths": list(self.paths),
            "antennas": list(self.antennas),
            "users": list(self.users),
            "grids": [list(grid) for grid in self.grids],
            "quantities": {name: list(limits) for name, limits in self.quantities.items()},
        }

    def check(self, system: DoubleRIS, *maps: NDArray[np.float32]) -> None:
        """Refuse a system of another make; warn of one whose numbers lie outside.

        Paths, users and grids have to be those of the training. What the maps hold (SNR, coherence, which is
        how narrow the directions are, what elements add, where the paths steer) and the number of antennas,
        which the maps do not tell, may be others, at the price of a warning that names them.

        Parameters
        ----------
        system : DoubleRIS
            The system.
        *maps : ndarray, shape (K, channels, rows, columns)
            Its maps at the surfaces.

        Raises
        ------
        InvalidArgumentError
            As above.

        Warns
        -----
        OutOfRangeWarning
            As above.
        """
        paths = tuple(path for path in PATHS if getattr(system, path))
        if paths != self.paths:
            raise InvalidArgumentError("system", f"the paths {self.paths} of the training", f"{paths}")
        low, high = self.users
        if not low <= system.users <= high:
            raise InvalidArgumentError("system", f"{low} to {high} users", f"{system.users}")
        for some in maps:
            if some.shape[-2:] not in self.grids:
                known = " or ".join(f"{rows} x {columns}" for rows, columns in self.grids)
                raise InvalidArgumentError(
                    "system", f"surfaces of {known} elements", f"{some.shape[-2]} x {some.shape[-1]}"
                )
        outside = list(dict.fromkeys(self._outside(system, maps)))
        if outside:
            warnings.warn(
                "the system lies outside what the predictor was trained for: " + "; ".join(outside),
                OutOfRangeWarning,
                stacklevel=3,
            )

    def _outside(self, system: DoubleRIS, maps: tuple[NDArray[np.float32], ...]) -> Iterable[str]:
        if not self.antennas[0] <= system.antennas <= self.antennas[1]:
            yield f"antennas: {system.antennas}, trained {self.antennas[0]} to {self.antennas[1]}"
        for some in maps:
            for name, values in measured(some).items():
                low, high = self.quantities[name]
                for value in (values.min(), values.max()):
                    if not low <= value <= high:
                        yield f"{name}: {value:.3g}, trained {low:.3g} to {high:.3g}"


def measured(maps: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return what a system's ranges are about, for maps of shape (..., channels, rows, columns).

    The channels of one value a map, and the phase steps of what steers the paths, from row to row and from
    column to column, radians.
    """
    numbers = {name: maps[..., CHANNELS.index(name), 0, 0] for name in CONSTANT}
    for path in ("single", "double"):
        real, imaginary = (CHANNELS.index(f"{path} {part}") for part in ("real", "imaginary"))
        steering = maps[..., real, :, :] + 1j * maps[..., imaginary, :, :]
        for axis, name in ((-2, "row"), (-1, "column")):
            first, second = (np.take(steering, range(i, steering.shape[axis] - 1 + i), axis) for i in (0, 1))
            numbers[f"{path}, step by {name}"] = np.angle((second * first.conj()).sum((-2, -1)))
    return numbers


QUANTITIES = tuple(measured(np.zeros((len(CHANNELS), 1, 1), np.float32)))
"""Names of what `measured` returns."""


def _pair(values: Any, kind: type[Any]) -> tuple[Any, Any]:
    low, high = values
    return kind(low), kind(high)
