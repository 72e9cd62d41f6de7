"""What the tables of a study file have in common: how keys and values are checked."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from studies.errors import Fault

__all__ = [
    "Angles",
    "Count",
    "Decibels",
    "PerUser",
    "Positive",
    "Table",
    "Text",
    "absent",
    "is_number",
    "listed",
    "twice",
]


class Table(BaseModel):
    """A TOML table: unknown keys, wrong types and numbers that are not finite are faults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def listed(value: Any) -> Any:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that results can hold."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def absent(value: Any) -> bool:
    """Whether an optional table is not there: for `exclude_if`, so that studies without it stay as they were.

    What a study is dumped to makes its fingerprint, by which a run knows the blocks it can go on with.
    """
    return value is None


def twice(path: str, names: list[str]) -> list[Fault]:
    """Return a fault for each name that is there again."""
    return [Fault(path, f"expected {name} once") for i, name in enumerate(names) if name in names[:i]]


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=65_536)]
Decibels = Annotated[float, Field(ge=-400, le=400)]
PerUser = Annotated[list[Decibels], BeforeValidator(listed), Field(min_length=1)]
Angles = Annotated[list[float], BeforeValidator(listed), Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
