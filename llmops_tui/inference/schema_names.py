"""Says what a JSON schema demands of property names in words that are enforced: ``propertyNames`` is none of them."""

from __future__ import annotations

import copy
from typing import Any

from llmops_tui.inference.schema_keywords import Schema, schemas_in, target_of

# What says nothing of a value.
_TELLING = {"title", "description", "$comment", "deprecated", "examples", "default"}
# A chain of references that is longer leads in a circle.
_MOST_REFERENCES = 20


def with_names_enforced(schema: Schema) -> Schema:
    """The schema with the same meaning and without ``propertyNames``, wherever that can be said in other words.

    One that any name satisfies goes; names that are listed become properties, and a pattern or lengths a pattern of
    properties. What is left is refused by the library, by its name.
    """
    if not any("propertyNames" in part for _, part in schemas_in(schema)):
        return schema
    made = copy.deepcopy(schema)
    for _, part in schemas_in(made):
        if "propertyNames" in part:
            _rewrite(part, _said(schema, part["propertyNames"]))
    return made


def _said(schema: Schema, names: Any) -> Any:
    """What is said of names, without what says nothing of them; behind references."""
    for _ in range(_MOST_REFERENCES):
        if names is True:
            return {}
        if not isinstance(names, dict):
            return names
        names = {word: value for word, value in names.items() if word not in _TELLING}
        # Every name is a text.
        if names.get("type") == "string":
            del names["type"]
        if set(names) != {"$ref"} or not isinstance(names["$ref"], str):
            return names
        names = target_of(schema, names["$ref"])
    return None


def _rewrite(part: Schema, said: Any) -> None:
    if said == {}:
        del part["propertyNames"]
        return
    if not isinstance(said, dict) or part.get("patternProperties"):
        return
    others, named = part.get("additionalProperties", {}), part.get("properties") or {}
    if (listed := _listed(said)) is not None and isinstance(named, dict):
        kept = {name: named.get(name, others) for name in [*named, *listed] if name in listed}
        part["properties"], part["additionalProperties"] = kept, False
    elif not named and (pattern := _pattern(said)) is not None:
        part["patternProperties"], part["additionalProperties"] = {pattern: others}, False
    else:
        return
    del part["propertyNames"]


def _listed(said: Schema) -> list[str] | None:
    """The names that are listed, where nothing else is said."""
    found = said.get("enum") if set(said) == {"enum"} else [said["const"]] if set(said) == {"const"} else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else None


def _pattern(said: Schema) -> str | None:
    """The pattern that names have to match, where nothing else is said."""
    if set(said) == {"pattern"} and isinstance(said["pattern"], str):
        return said["pattern"]
    least, most = said.get("minLength", 0), said.get("maxLength")
    if said.keys() <= {"minLength", "maxLength"} and all(type(n) is int and n >= 0 for n in (least, most or 0)):
        return rf"^[\s\S]{{{least},{'' if most is None else most}}}$"
    return None
