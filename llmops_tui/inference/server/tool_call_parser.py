"""Parser of tool calls in a model's own text: function names and exact arguments."""

from __future__ import annotations

import json
import re
from typing import Any, Never

# Numbers are only looked at, so they may have any size.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=lambda _: _no_json())
_BLANKS = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n;,]*")


def parse_calls(text: str) -> list[tuple[str, str]]:
    """Tool calls written as JSON: one object, a list, or several in a row; (name, arguments as JSON) each.

    Arguments are those that were written, to the letter: numbers, read and written again, could become others.
    """
    calls = []
    at = _over(_BLANKS, text, 0)
    try:
        while at < len(text):
            items, at = _items(text, at)
            for item in items:
                members = _members(item)
                written = members.get("arguments", members.get("parameters", "{}"))
                name, arguments = _read(members.get("name", "null")), _read(written)
                if not isinstance(name, str):
                    return []
                calls.append((name, arguments if isinstance(arguments, str) else written))
            at = _over(_BETWEEN, text, at)
    except (ValueError, RecursionError):
        return []
    return calls


def _no_json() -> Never:
    raise ValueError("no number of JSON")


def _over(blanks: re.Pattern[str], text: str, at: int) -> int:
    found = blanks.match(text, at)
    assert found is not None
    return found.end()


def _read(text: str) -> Any:
    return _DECODER.raw_decode(text)[0]


def _items(text: str, at: int) -> tuple[list[str], int]:
    """The JSON at a place, or what is in it where it is a list, as written; and where it ends."""
    value, end = _DECODER.raw_decode(text, at)
    if not isinstance(value, list):
        return [text[at:end]], end
    items = []
    at = _over(_BLANKS, text, at + 1)
    for _ in value:
        stop = _DECODER.raw_decode(text, at)[1]
        items.append(text[at:stop])
        at = _over(_BETWEEN, text, stop)
    return items, end


def _members(text: str) -> dict[str, str]:
    """The members of an object that is known to be JSON, each as written.

    Raises:
        ValueError: it is no object.
    """
    if not text.startswith("{"):
        raise ValueError("no object")
    members = {}
    at = _over(_BLANKS, text, 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _over(_BLANKS, text, _over(_BLANKS, text, at) + 1)
        end = _DECODER.raw_decode(text, at)[1]
        members[name] = text[at:end]
        at = _over(_BETWEEN, text, end)
    return members
