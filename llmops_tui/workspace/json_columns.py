"""JSON columns of the catalog: validated when read; errors name table, row and column.

What wrote a row may be damaged, another version, or somebody's own UPDATE. Whoever uses it later would fail in the
middle of something else, without a word of where the value came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar

from llmops_tui.errors import InputRefusedError, LlmopsError

T = TypeVar("T")

# A shape is a type; [shape] of each in a list, [shape, shape] of a list of two; a mapping of names to shapes, in which a
# name with "?" may be missing or null, and "*" stands for all names.
Shape = type | UnionType | list[Any] | dict[str, Any]

_NUMBER = int | float
_FIGURE = {
    "mean": _NUMBER | None, "low": _NUMBER | None, "high": _NUMBER | None, "n": int, "unusable": int, "method": str,
    "better?": int, "unit?": str, "binary": bool, "too_few?": bool, "needed?": str,
}  # fmt: skip
_SUMMARY = {
    "metrics": {"*": _FIGURE}, "cases": int, "answers": int, "cached": int, "errors": int, "costs": dict, "variations": [dict],
    "gaps?": [dict], "agreement?": dict, "overlap?": dict, "failures?": [dict], "gave_up?": bool,
}  # fmt: skip
_HEADER = {
    "files?": [str], "architecture?": str, "chat_template?": str, "parameters?": _NUMBER, "context_length?": _NUMBER,
    "vocabulary?": _NUMBER, "lacks?": dict, "url?": str, "remote_model?": str, "key_env?": str, "adapter?": str,
    "server?": str, "adapters?": [str],
}  # fmt: skip

# By table: the columns that name a row, and the shape of each column of JSON.
SHAPES: dict[str, tuple[tuple[str, ...], dict[str, Shape]]] = {
    "requests": (
        ("id",),
        {"variables": dict, "messages": [{"role?": str}], "parameters": dict, "client": {"key?": str}},
    ),
    "models": (("name",), {"header": _HEADER}),
    "prompt_versions": (("prompt", "number"), {"settings": dict}),
    "dataset_versions": (
        ("dataset", "number"),
        {
            "columns": [{"name": str, "type": str}],
            "recipe": {"operation": str, "parameters": dict, "inputs": [{"ref": str, "sha256": str}]},
        },
    ),
    "dataset_views": (("dataset", "name"), {"view": dict}),
    "dataset_mappings": (("columns",), {"mapping": {"*": str}}),
    "dataset_reports": (("sha256", "what"), {"report": dict}),
    "annotations": (("id",), {"value": {"value": object}}),
    "training_recipes": (("name", "number"), {"body": dict}),
    "training_runs": (
        ("name",),
        {
            "recipe": dict, "data": [[str, str]],
            "options": {"beside": bool, "make_room": bool, "force": bool, "measured?": [[str, str]]},
            "result": {"model?": str, "sha256?": str},
        },
    ),
    "model_proofs": (("sha256",), {"proof": [dict]}),
    "evaluation_suites": (("name", "number"), {"body": dict}),
    "evaluation_runs": (
        ("name",),
        {
            "asked": {"prompt": str, "model": str, "parameters": dict, "parallel": int, "limit?": int, "fresh?": bool},
            "manifest": dict, "summary": _SUMMARY,
        },
    ),
    "improvements": (
        ("id",),
        {
            "plan": {"prompt": str, "model": str, "metric": str}, "parts": {"reflect": [str], "select": [str], "sealed": [str]},
            "looked": {"at": _NUMBER, "candidate": int, "look": int}, "result": {"verdict": str, "candidates": [dict]},
        },
    ),
}  # fmt: skip
# What rows of one kind have to have beside, by the column that says the kind.
KINDS: dict[str, tuple[str, dict[str, Shape]]] = {
    "models": ("kind", {"remote": {"url": str, "remote_model": str}}),
    "dataset_reports": ("what", {"checks": {"problems": [{"rows": int}]}}),
}
# Columns in which nothing may be said, as null of the database or of JSON.
_MAY_BE_NULL = {
    ("requests", "variables"), ("requests", "messages"), ("requests", "parameters"), ("requests", "client"),
    ("prompt_versions", "settings"), ("training_runs", "result"), ("evaluation_runs", "manifest"), ("evaluation_runs", "summary"),
    ("improvements", "parts"), ("improvements", "looked"), ("improvements", "result"),
}  # fmt: skip
_REMEDY = (
    "Nothing was changed. llmops check names all such rows; an earlier backup has the intact row (llmops restore FILE)."
)


def kept(table: str, column: str, row: Any, text: str | None, *, kind: str = "") -> Any:
    """The value of a column of JSON; none where the column is null.

    Args:
        table: one of :data:`SHAPES`.
        column: one of its columns there.
        row: what names the row in the message.
        text: what the column holds.
        kind: of a table in :data:`KINDS` the row's kind.

    Raises:
        LlmopsError: ``row_damaged``: it is no JSON, or of another shape.
    """
    if text is None:
        return None
    shapes = [SHAPES[table][1][column]]
    if kind and kind in KINDS[table][1]:
        shapes.append(KINDS[table][1][kind])
    try:
        value = json.loads(text)
        if value is None and (table, column) in _MAY_BE_NULL:
            return None
        why = next(filter(None, (_misfit(value, shape) for shape in shapes)), "")
    except (ValueError, TypeError, RecursionError) as error:
        why = str(error)
    if why:
        raise row_damaged(table, column, row, why)
    return value


def made_of(table: str, column: str, row: Any, text: str | None, make: Callable[[Any], T]) -> T:
    """As :func:`kept`, made into something by a function that has rules of its own.

    Raises:
        LlmopsError: ``row_damaged``: also where the function refuses it.
    """
    value = kept(table, column, row, text)
    try:
        return make(value)
    except (InputRefusedError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise row_damaged(table, column, row, str(error)) from error


def row_damaged(table: str, column: str, row: Any, why: str) -> LlmopsError:
    """The error of a row that does not hold what llmops writes there."""
    return LlmopsError(
        "row_damaged",
        f"the catalog's table {table}, row {row}: {column} is not valid: {why[:300]}",
        _REMEDY,
    )


def _misfit(value: Any, shape: Shape, place: str = "it") -> str:
    """Where a value is not of a shape, in words; empty where it is."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place} is {_kind(value)}, not a mapping"
        return next(filter(None, (_misfit_of(value, name, inner, place) for name, inner in shape.items())), "")
    if isinstance(shape, list):
        if not isinstance(value, list) or (len(shape) > 1 and len(value) != len(shape)):
            return f"{place} is {_kind(value)}, not a list" + (f" of {len(shape)}" if len(shape) > 1 else "")
        inner = shape if len(shape) > 1 else shape * len(value)
        found = (_misfit(one, part, f"{place}[{n}]") for n, (one, part) in enumerate(zip(value, inner, strict=True)))
        return next(filter(None, found), "")
    # In Python a truth value is a number.
    fits = isinstance(value, shape) and (not isinstance(value, bool) or shape in {bool, object})
    return "" if fits else f"{place} is {_kind(value)}"


def _misfit_of(value: Mapping[str, object], name: str, shape: Shape, place: str) -> str:
    if name == "*":
        return next(filter(None, (_misfit(one, shape, f"{place}.{key}"[:80]) for key, one in value.items())), "")
    optional = name.endswith("?")
    name = name.removesuffix("?")
    if optional and value.get(name) is None:
        return ""
    if name not in value:
        return f"{place} has no {name!r}"
    return _misfit(value[name], shape, name if place == "it" else f"{place}.{name}")


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return kinds.get(type(value), "a number")
