"""Duplicate keys in one object of a request, of which parsers keep only the last."""

from __future__ import annotations

import json
from typing import Any

import orjson

from llmops_tui.foreign_text import JsonObject


class _Repeated(dict[str, Any]):
    """An object with a name that stood in it more than once."""

    name = ""


def duplicate_key(raw: bytes, value: Any) -> str:
    """The path of the first name that stands twice in a body, of which ``value`` was read; empty where none does.

    A large body may take a second: call it outside an event loop's thread.
    """
    if _writes_the_same(raw, value):
        return ""
    found = False

    def made(pairs: list[tuple[str, Any]]) -> JsonObject:
        nonlocal found
        one = dict(pairs)
        if len(one) == len(pairs):
            return one
        found = True
        return _repeated(one, pairs)

    again = json.loads(raw, object_pairs_hook=made)
    return (_place(again) or "").removeprefix(".") if found else ""


def _writes_the_same(raw: bytes, value: Any) -> bool:
    """Whether it is certain, and quickly seen, that nothing of a body was passed over.

    Names and texts have two quotes each: as many are written again, unless one of them stands there as a number.
    """
    if b"\\u" in raw:
        return False
    try:
        return orjson.dumps(value).count(b'"') == raw.count(b'"')
    except TypeError:
        # A number of more than 64 bits.
        return False


def _repeated(one: JsonObject, pairs: list[tuple[str, Any]]) -> _Repeated:
    seen: set[str] = set()
    found = _Repeated(one)
    found.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return found


def _place(value: Any) -> str | None:
    """The place of the first name that stands twice; it is written for that alone, all else is only looked at."""
    if isinstance(value, _Repeated):
        return f".{value.name[:60]}"
    if isinstance(value, dict):
        for name, one in value.items():
            if (place := _place(one)) is not None:
                return f".{name[:60]}{place}"
    elif isinstance(value, list):
        for n, one in enumerate(value):
            if (place := _place(one)) is not None:
                return f"[{n}]{place}"
    return None
