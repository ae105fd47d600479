"""The model's name in the body of a request: found, and replaced without touching anything else."""

from __future__ import annotations

import json
import re

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.fields import FieldRefusedError

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")
_LONGEST = 400


def model_named(given: JsonObject, path: str) -> tuple[str, str]:
    """The field of a body that names its model, and the name; an empty name where it names none.

    Ollama's older clients say ``name`` where they ask about a model.

    Raises:
        FieldRefusedError: it is no text, or too long for a name.
    """
    field = "name" if path == "/api/show" and "model" not in given and "name" in given else "model"
    value = given.get(field)
    if value is None:
        return field, ""
    if not isinstance(value, str):
        raise FieldRefusedError(field, f"must be a text, not {type(value).__name__}", "Give the name of a model.")
    if len(value) > _LONGEST:
        raise FieldRefusedError(field, f"is longer than {_LONGEST} characters", "Give the name of a model.")
    return field, value


def with_name(raw: bytes, field: str, name: str) -> bytes:
    """A body, valid JSON of an object, that names another model; every other byte is as it was.

    Where the field stands twice, both are replaced: the model's server refuses that, as it would without us.
    """
    fresh = json.dumps(name).encode()
    parts: list[bytes] = []
    done = depth = 0
    place = 0
    while (token := _TOKEN.search(raw, place)) is not None:
        place = token.end()
        mark = raw[token.start()]
        if mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
        elif depth == 1 and (colon := _COLON.match(raw, place)) is not None:
            place = colon.end()
            if json.loads(token[0]) == field and (value := _TOKEN.match(raw, place)) is not None:
                parts += [raw[done:place], fresh]
                done = place = value.end()
    return b"".join([*parts, raw[done:]])
