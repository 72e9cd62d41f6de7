"""Faults of a study file, in the words of the person who wrote it."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from studies.errors import Fault, FaultsError

__all__ = ["faults_of"]


def faults_of(error: ValidationError, model: type[BaseModel], raw: Any) -> list[Fault]:
    """Return the faults that a validation of `raw` by `model` found."""
    faults: list[Fault] = []
    for entry in error.errors(include_url=False):
        keys, siblings = _walk(entry["loc"], model, raw)
        cause = entry.get("ctx", {}).get("error")
        if isinstance(cause, FaultsError):
            faults += [Fault(".".join(filter(None, [*keys, f.path])), f.problem) for f in cause.faults]
        elif entry["type"].startswith("union_tag"):
            faults.append(_law_fault(keys, entry))
        else:
            faults.append(Fault(".".join(keys), _problem(entry, keys, siblings)))
    return faults


_EXPECTED = {
    "missing": "a value",
    "greater_than": "> {gt:g}",
    "greater_than_equal": ">= {ge:g}",
    "less_than": "< {lt:g}",
    "less_than_equal": "<= {le:g}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text in quotes",
    "string_too_short": "a text that is not empty",
    "list_type": "a list",
    "too_short": "at least {min_length} entry",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "literal_error": "{expected}",
}


def _problem(entry: Mapping[str, Any], keys: Sequence[str], siblings: Sequence[str]) -> str:
    if entry["type"] == "extra_forbidden":
        close = difflib.get_close_matches(keys[-1], siblings, n=1)
        return "unknown key" + (
            f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(siblings)}"
        )
    if entry["type"] == "missing":
        return "expected a value, got nothing"
    template = _EXPECTED.get(entry["type"])
    expected = entry["msg"] if template is None else "expected " + template.format(**entry.get("ctx", {}))
    return f"{expected}, got {_shown(entry['input'])}"


def _law_fault(keys: Sequence[str], entry: Mapping[str, Any]) -> Fault:
    path = ".".join([*keys, "law"])
    if entry["type"] == "union_tag_not_found":
        return Fault(path, "expected a law, got nothing")
    known = entry["ctx"]["expected_tags"]
    return Fault(path, f"expected one of {known}, got {_shown(entry['ctx']['tag'])}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _walk(loc: Sequence[str | int], model: type[BaseModel], raw: Any) -> tuple[list[str], list[str]]:
    """Follow a location: return its keys as the file has them, and all keys known beside the last one.

    Pydantic puts the law of a table, and the 0 of a number that may also be a list, into its locations.
    """
    keys: list[str] = []
    tables, siblings = [model], list[str]()
    for part in loc:
        if isinstance(part, int):
            if isinstance(raw, list):
                keys.append(str(part))
                raw = raw[part]
            continue
        if len(tables) > 1 and part == raw.get("law"):
            tables = [table for table in tables if part in get_args(table.model_fields["law"].annotation)]
            continue
        keys.append(part)
        siblings = [name for table in tables for name in table.model_fields]
        raw = raw.get(part) if isinstance(raw, Mapping) else None
        tables = [inner for table in tables if part in table.model_fields for inner in _tables(table, part)]
    return keys, siblings


def _tables(table: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """Return the tables that the value of a key may be, or may hold in a list."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [table.model_fields[key].annotation]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(kind)
        else:
            waiting += get_args(kind)
    return found
