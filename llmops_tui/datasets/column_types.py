"""The type of a column's values, and the values as arrays: what JSON has, and numbers that a table holds as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmops_tui.datasets.records import Type, dump_json

# Whole numbers up to here are numbers of a double too.
EXACT = 2**53


def typed_column(values: list[Any], *, read_texts: bool) -> tuple[Type | None, Any, int]:
    """The type of some values, the values as numpy holds them, and the largest integer among them."""
    types = set(map(type, values))
    missing = type(None) in types
    types.discard(type(None))
    if not types:
        return None, None, 0
    if types == {str}:
        if read_texts and (read := _numbers(values)) is not None:
            return typed_column(read, read_texts=False)
        return "text", _objects(values), 0
    if types == {bool}:
        return "boolean", _masked(values, np.bool_, False) if missing else np.array(values, np.bool_), 0
    if types <= {int, float}:
        return _number_column(values, types, missing=missing)
    return "json", _objects([None if v is None else dump_json(v) for v in values]), 0


def _number_column(values: list[Any], types: set[type], *, missing: bool) -> tuple[Type, Any, int]:
    """Integers where all are and fit into 64 bits, numbers where no integer among them is too large to be one."""
    if types == {int}:
        try:
            made = _masked(values, np.int64, 0) if missing else np.array(values, np.int64)
        except OverflowError:
            return "json", _objects([None if v is None else dump_json(v) for v in values]), 0
        return "integer", made, max(abs(int(made.min())), abs(int(made.max())))
    largest = max((abs(v) for v in values if type(v) is int), default=0)
    if largest <= EXACT:
        return "number", _masked(values, np.float64, 0.0) if missing else np.array(values, np.float64), 0
    return "json", _objects([None if v is None else dump_json(v) for v in values]), 0


def _numbers(values: list[str | None]) -> list[Any] | None:
    """Texts as integers, or as decimal numbers, where writing them again gives the same texts."""
    given = [v for v in values if v is not None]
    first = given[0]
    if not (first[:1].isdigit() or first[:1] == "-"):
        return None
    exact = _exact_integer if "." not in first else _exact_decimal
    try:
        return [None if v is None else exact(v) for v in values]
    except ValueError:
        return None


def _exact_integer(text: str) -> int:
    number = int(text)
    if str(number) != text:
        raise ValueError(text)
    return number


def _exact_decimal(text: str) -> float:
    number = float(text)
    # DuckDB and Python write plain decimals of this length alike.
    if "." not in text or "e" in text or len(text) > 15 or repr(number) != text:
        raise ValueError(text)
    return number


def _objects(values: list[Any]) -> Any:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _masked(values: list[Any], kind: Any, filler: Any) -> Any:
    data = np.array([filler if v is None else v for v in values], kind)
    return np.ma.masked_array(data, mask=[v is None for v in values])
