"""The elements of a JSON list and the members of an object as their bytes, without reading what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

# A text, or a sign that opens, closes or divides. What stands between these need not be looked at.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)
_OPENING = frozenset({b"[", b"{"})
_CLOSING = frozenset({b"]", b"}"})


def elements(data: bytes) -> Iterator[bytes]:
    """The elements of a list.

    Raises:
        ValueError: a bracket is not closed, or something follows its end.
    """
    for begin, end, _ in _parts(data):
        if piece := data[begin:end].strip():
            yield piece


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The names and values of an object.

    Raises:
        ValueError: as :func:`elements`, or a member has no name.
    """
    for begin, end, colon in _parts(data):
        if not data[begin:end].strip():
            continue
        try:
            name = orjson.loads(data[begin:colon]) if colon else None
        except orjson.JSONDecodeError:
            name = None
        if not isinstance(name, str):
            raise ValueError(f"a member has no name at byte {begin:,}")  # noqa: TRY004  of foreign data
        yield name, data[colon + 1 : end].strip()


def _parts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each part of the outermost list or object begins and ends, and where its first colon is; 0 for none."""
    depth = begin = colon = 0
    for match in _TOKEN.finditer(data):
        sign, at = match.group(), match.start()
        if sign in _OPENING:
            depth += 1
            begin = begin or at + 1
        elif sign in _CLOSING:
            depth -= 1
            if depth == 0:
                yield begin, at, colon
                if data[at + 1 :].strip():
                    raise ValueError(f"something follows its end, at byte {at + 1:,}")
                return
        elif depth == 1 and sign == b",":
            yield begin, at, colon
            begin, colon = at + 1, 0
        elif depth == 1 and sign == b":" and not colon:
            colon = at
    raise ValueError("it ends before its last bracket is closed")
