"""Finds parts of a JSON schema that no finite value satisfies, because they require themselves."""

from __future__ import annotations

from typing import Any

from llmops_tui.inference.schema_keywords import Schema, schemas_in, target_of

_LISTED = {"allOf": all, "anyOf": any, "oneOf": any}


def endless_part(schema: Schema) -> str | None:
    """The first ``$ref`` within a schema whose target requires itself in each of its values; none where all may end.

    What is not understood, such as a ``$ref`` to elsewhere, counts as something that ends: others refuse it.
    """
    ends = _Ends(schema)
    references = (part.get("$ref") for _, part in schemas_in(schema))
    found = dict.fromkeys(ref for ref in references if isinstance(ref, str))
    return next((ref for ref in found if not ends.of_reference(ref)), None)


class _Ends:
    """Which references lead to schemas that some finite value satisfies."""

    def __init__(self, schema: Schema) -> None:
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
        ends = self._of(target_of(self._schema, ref))
        self._entered.discard(ref)
        if ends:
            self._known.add(ref)
        return ends

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

    def _of_kind(self, kind: Any, schema: Schema) -> bool:
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
