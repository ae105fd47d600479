"""JSON Schemas of results, from the types that the engine's records have."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from llmops_tui.inference.schema_keywords import Schema

# Numbers that are none, such as the mean of nothing, come as null: JSON has no word for them.
_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    type(None): {"type": "null"},
    Any: {},
    object: {},
}


def schema_of(kind: Any) -> Schema:
    """The schema that every value of a type satisfies once it is JSON.

    Args:
        kind: a ``TypedDict`` whose fields are plain, or lists, mappings, unions and ``TypedDict`` of such.

    Raises:
        TypeError: it is no type that JSON has.
    """
    if isinstance(kind, type) and is_typeddict(kind):
        return _of_fields(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [schema_of(one) for one in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if kind is list or origin in {list, tuple}:
        return {"type": "array", "items": schema_of(inner[0]) if inner else {}}
    if kind is dict or origin is dict:
        return {"type": "object", "additionalProperties": schema_of(inner[1]) if inner else {}}
    if kind in _PLAIN:
        return _PLAIN[kind]
    raise TypeError(f"{kind!r} has no JSON Schema")


def _of_fields(kind: type) -> Schema:
    fields = {name: schema_of(one) for name, one in get_type_hints(kind).items()}
    needed: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    # A record that a newer version wrote may have more fields.
    return {"type": "object", "properties": fields, "required": sorted(needed)}
