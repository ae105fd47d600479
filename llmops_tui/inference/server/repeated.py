"""Names that stand twice in one object of a request: parsers keep the last and pass over the others."""

from __future__ import annotations

import json
from typing import Any

import orjson


class _Repeated(dict[str, Any]):
    """An object with a name that stood in it more than once."""

    name = ""


def said_twice(raw: bytes, value: Any) -> str:
    """The path of the first name that stands twice in a body, of which ``value`` was read; empty where none does."""
    # Names and texts have two quotes each: as many as are written again where nothing was passed over.
    try:
        if orjson.dumps(value).count(b'"') == raw.count(b'"'):
            return ""
    except TypeError:
        # A number of more than 64 bits, half a character: looked at slowly.
        pass
    return _place(json.loads(raw, object_pairs_hook=_object), "").removeprefix(".")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    found = _Repeated(made)
    found.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return found


def _place(value: Any, at: str) -> str:
    if isinstance(value, _Repeated):
        return f"{at}.{value.name[:60]}"
    if isinstance(value, dict):
        parts = ((f"{at}.{name[:60]}", one) for name, one in value.items())
    elif isinstance(value, list):
        parts = ((f"{at}[{n}]", one) for n, one in enumerate(value))
    else:
        return ""
    return next((found for place, one in parts if (found := _place(one, place))), "")
