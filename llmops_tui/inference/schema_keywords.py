"""The keywords of JSON Schema that contain schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from llmops_tui.foreign_text import JsonObject

Schema = JsonObject
"""An unvalidated JSON Schema or subschema: it is only known to be an object."""

# Every word below which there are schemas: one or a list of them, or one for each name.
SCHEMAS = {
    "items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "propertyNames",
    "contains", "not", "if", "then", "else", "allOf", "anyOf", "oneOf", "prefixItems",
}  # fmt: skip
SCHEMAS_BY_NAME = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
# Literal values hold no schemas.
_LITERAL = {"enum", "const", "default", "examples"}


def schemas_in(schema: Any, place: str = "#") -> Iterator[tuple[str, Schema]]:
    """A schema and all below it, each with its place as a JSON pointer; what words that are not known have counts, too."""
    left = [(place, schema)]
    while left:
        place, value = left.pop()
        below: list[tuple[str, Any]] = []
        if isinstance(value, list):
            below = [(f"{place}/{n}", part) for n, part in enumerate(value)]
        elif isinstance(value, dict):
            yield place, value
            for word, part in value.items():
                at = f"{place}/{_escaped(word)}"
                if word in SCHEMAS_BY_NAME and isinstance(part, dict):
                    below += [(f"{at}/{_escaped(name)}", one) for name, one in part.items()]
                elif word not in _LITERAL:
                    below.append((at, part))
        left += [(at, part) for at, part in reversed(below) if isinstance(part, dict | list)]


def target_of(schema: Schema, ref: str) -> Any:
    """What a ``$ref`` within a schema leads to; nothing where that is elsewhere, or not there."""
    found: Any = schema if ref.startswith("#") else None
    for name in ref.removeprefix("#").removeprefix("/").split("/") if len(ref) > 1 else ():
        key = unquote(name).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(key)] if key.isdecimal() and int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def reference_elsewhere(schema: Schema) -> str | None:
    """The first ``$ref`` to the address of another document than the schema and those within it; none without one."""
    parts = [part for _, part in schemas_in(schema)]
    within = {str(part.get("$id")).rstrip("#") for part in parts}
    found = (part["$ref"] for part in parts if isinstance(part.get("$ref"), str) and "://" in part["$ref"])
    return next((ref for ref in found if not ref.startswith("#") and ref.partition("#")[0] not in within), None)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
