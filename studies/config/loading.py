"""From the text of a study file to a checked study."""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studies.config.point import Point
from studies.config.study import Settings, Study, base_of, raw_point
from studies.config.sweep import DROPS, Dimension, dimensions_of, keys_of, places_of
from studies.errors import Fault, FaultsError, StudyFileError
from studies.faults import faults_of

__all__ = ["load_study", "parse_study"]

LARGEST_STUDY = 100_000
"""Most points of a study, all schemes together."""


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    StudyFileError
        If it cannot be read, is not TOML, or has faults: all of them, each with its key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyFileError(str(path), [Fault("", f"cannot be read: {problem}")]) from None
    return parse_study(text, path.stem, str(path))


def parse_study(text: str, name: str, source: str = "") -> Study:
    """Check the text of a study file; `source` names it in errors."""
    source = source or name
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise StudyFileError(source, [Fault("", f"is not TOML: {error}")]) from None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise StudyFileError(source, faults_of(error, Settings, raw)) from None
    if faults := list(_point_faults(raw, settings)):
        raise StudyFileError(source, faults)
    return Study(name, text, settings)


def _point_faults(raw: Mapping[str, Any], settings: Settings) -> Iterator[Fault]:
    """Yield the faults of all schemes at all places, each once for a scheme."""
    grids = [dimensions_of(settings.sweep, quick) for quick in (False, True)]
    size = len(settings.scheme) * sum(math.prod(len(one.values) for one in grid) for grid in grids)
    if size > 2 * LARGEST_STUDY:
        yield Fault(
            "sweep", f"expected at most {LARGEST_STUDY} points, all schemes together, got {size // 2}"
        )
        return
    base = base_of(raw)
    keys = keys_of(settings.sweep)
    if settings.sweep.drops is not None:  # what is valid in one drop is so in all of them
        grids = [[*grid[:-1], Dimension((DROPS,), ((0,),))] for grid in grids]
    places = {repr(place): place for grid in grids for place in places_of(grid)}
    for number, scheme in enumerate(settings.scheme):
        known: set[Fault] = set()
        for place in places.values():
            for fault in _faults_at(base, settings, number, place):
                if fault not in known:
                    known.add(fault)
                    where = ", ".join(f"{key} = {value}" for key, value in zip(keys, place, strict=True))
                    yield Fault(fault.path, f"{fault.problem} (scheme {scheme.label!r}, {where})")


def _faults_at(
    base: Mapping[str, Any], settings: Settings, scheme: int, values: Sequence[Any]
) -> Sequence[Fault]:
    try:
        raw = raw_point(base, settings, scheme, values)
    except FaultsError as error:
        return error.faults
    try:
        Point.model_validate(raw)
    except ValidationError as error:
        return faults_of(error, Point, raw)
    return ()
