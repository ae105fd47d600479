"""Finds in a JSON schema what no finite value can satisfy, since it requires itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_LISTED = {"allOf": all, "anyOf": any, "oneOf": any}


def endless_part(schema: dict[str, Any]) -> str | None:
    """The first ``$ref`` within a schema whose target requires itself in each of its values; none where all may end.

    What is not understood, such as a ``$ref`` to elsewhere, counts as something that ends: others refuse it.
    """
    ends = _Ends(schema)
    return next((ref for ref in dict.fromkeys(_references(schema)) if not ends.of_reference(ref)), None)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        # Literal values hold no schemas.
        for word, part in schema.items():
            if word not in {"enum", "const", "default", "examples"}:
                yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


class _Ends:
    """Which references lead to schemas that some finite value satisfies."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._known: set[str] = set()
        self._entered: set[str] = set()

    def of_reference(self, ref: str) -> bool:
        if ref in self._known:
            return True
        # What is found on a way that leads back here is no value that ends.
        if ref in self._entered:
            return False
        self._entered.add(ref)
        ends = self._of(self._target(ref))
        self._entered.discard(ref)
        if ends:
            self._known.add(ref)
        return ends

    def _target(self, ref: str) -> Any:
        found: Any = self._schema if ref.startswith("#") else None
        for name in ref.removeprefix("#").removeprefix("/").split("/") if len(ref) > 1 else ():
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(key)] if key.isdecimal() and int(key) < len(found) else None
            else:
                found = found.get(key) if isinstance(found, dict) else None
        return found

    def _of(self, schema: Any) -> bool:
        if not isinstance(schema, dict):
            return True
        if isinstance(schema.get("$ref"), str) and not self.of_reference(schema["$ref"]):
            return False
        for word, enough in _LISTED.items():
            parts = schema.get(word)
            if isinstance(parts, list) and parts and not enough(map(self._of, parts)):
                return False
        kinds = schema.get("type")
        if isinstance(kinds, str):
            kinds = [kinds]
        if not isinstance(kinds, list) or not kinds:
            return True
        return any(self._of_kind(kind, schema) for kind in kinds)

    def _of_kind(self, kind: Any, schema: dict[str, Any]) -> bool:
        if kind == "object":
            named, required = schema.get("properties"), schema.get("required")
            if not isinstance(named, dict) or not isinstance(required, list):
                return True
            return all(self._of(named.get(name)) for name in required if isinstance(name, str))
        if kind == "array":
            least, first = schema.get("minItems"), schema.get("prefixItems")
            if not isinstance(least, int) or least < 1:
                return True
            ahead = first if isinstance(first, list) else []
            return all(map(self._of, ahead[:least])) and (least <= len(ahead) or self._of(schema.get("items")))
        return True
