"""The keywords of JSON Schema: which contain schemas, where those lie, and what they say at first sight."""

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
# All else that the drafts of JSON Schema define, from draft 4 on.
_OTHERS = {
    "type", "enum", "const", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties",
    "maxProperties", "required", "dependentRequired", "dependencies", "$ref", "$dynamicRef", "$recursiveRef",
}  # fmt: skip
# What names, describes or arranges, in these drafts and as generators of schemas, forms and editors add it.
_ANNOTATIONS = {
    "$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment", "title", "description",
    "default", "examples", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema",
    "example", "discriminator", "xml", "externalDocs", "propertyOrdering", "enumNames", "enumDescriptions",
    "markdownDescription", "markdownEnumDescriptions", "deprecationMessage", "defaultSnippets", "errorMessage", "strict",
}  # fmt: skip
KEYWORDS = SCHEMAS | SCHEMAS_BY_NAME | _OTHERS
"""Every word that says what values a schema allows."""
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
# A chain of references that is longer leads in a circle.
_MOST_REFERENCES = 20
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
                at = f"{place}/{escaped(word)}"
                if word in SCHEMAS_BY_NAME and isinstance(part, dict):
                    below += [(f"{at}/{escaped(name)}", one) for name, one in part.items()]
                elif word not in _LITERAL:
                    below.append((at, part))
        left += [(at, part) for at, part in reversed(below) if isinstance(part, dict | list)]


def is_annotation(word: str) -> bool:
    """Whether a word says nothing of the values that a schema allows, and is not meant to."""
    return word in _ANNOTATIONS or word.startswith("x-")


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


def may_be_object(schema: Any, whole: Schema, references: int = _MOST_REFERENCES) -> bool:
    """Whether a schema within a whole one allows objects, as far as its types, literal values and alternatives say."""
    if not isinstance(schema, dict):
        return schema is not False
    kind = schema.get("type", "object")
    kinds = set(filter(_TYPES.__contains__, kind if isinstance(kind, list) else [kind]))
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if (kinds and "object" not in kinds) or (isinstance(listed, list) and not any(isinstance(n, dict) for n in listed)):
        return False
    ref = schema.get("$ref")
    if isinstance(ref, str) and references and not may_be_object(target_of(whole, ref), whole, references - 1):
        return False
    for word, enough in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        parts = schema.get(word)
        if isinstance(parts, list) and not enough(may_be_object(part, whole, references) for part in parts):
            return False
    return True


def reference_elsewhere(schema: Schema) -> str | None:
    """The first reference to another document than the schema and those within it; none without one.

    Where a document within has an address, references that are relative may be to it, and are left to who follows them.
    """
    parts = [part for _, part in schemas_in(schema)]
    within = {
        str(part[word]).rstrip("#") for part in parts for word in ("$id", "id") if isinstance(part.get(word), str)
    }
    for part in parts:
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            ref = part.get(word)
            if not isinstance(ref, str) or ref.startswith("#") or ref.partition("#")[0] in within:
                continue
            if "://" in ref or not within:
                return ref
    return None


def reference_to_nothing(schema: Schema) -> tuple[str, str] | None:
    """The first reference within a schema that leads to no schema of it: its place, and what it says; none without one.

    Only what the schema itself and its references reach counts. Within documents of their own nothing is looked for.
    """
    anchors: set[str] = set()
    for place, part in schemas_in(schema):
        if place != "#" and any(isinstance(part.get(word), str) for word in ("$id", "id")):
            return None
        anchors |= {str(part[word]) for word in ("$anchor", "$dynamicAnchor") if isinstance(part.get(word), str)}
    left: list[tuple[str, Any]] = [("#", schema)]
    followed: set[str] = set()
    while left:
        place, part = left.pop()
        if not isinstance(part, dict):
            continue
        for word in ("$ref", "$dynamicRef"):
            ref = part.get(word)
            if not isinstance(ref, str) or not ref.startswith("#") or ref in followed or ref[1:] in anchors:
                continue
            followed.add(ref)
            if not isinstance(target := target_of(schema, ref), dict | bool):
                return f"{place}/{word}", ref
            left.append((ref, target))
        left += reversed([(f"{place}/{at}", one) for at, one in _schemas_below(part)])
    return None


def _schemas_below(part: Schema) -> Iterator[tuple[str, Any]]:
    """The schemas directly below one that say what values it allows, each with where it stands."""
    for word, value in part.items():
        if word in SCHEMAS:
            parts = value if isinstance(value, list) else [value]
            yield from ((f"{word}/{n}" if isinstance(value, list) else word, one) for n, one in enumerate(parts))
        elif isinstance(value, dict) and word in SCHEMAS_BY_NAME - {"$defs", "definitions"} | {"dependencies"}:
            yield from ((f"{word}/{escaped(name)}", one) for name, one in value.items())


def escaped(name: str) -> str:
    """A name as a JSON pointer has it."""
    return name.replace("~", "~0").replace("/", "~1")
