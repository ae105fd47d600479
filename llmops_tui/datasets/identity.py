"""What makes two rows the same: the whole row, what a model learns of it, or its text alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal, get_args

import orjson

from llmops_tui.datasets.records import CONTENT_COLUMNS, Column, Message, Row, whole_text

Sameness = Literal["row", "content", "text"]
SAMENESS: tuple[Sameness, ...] = get_args(Sameness)
# What each compares, after "rows with the same".
COMPARED: dict[Sameness, str] = {
    "row": "values in all columns",
    "content": "content: all columns but those that number or name the row",
    "text": "text, without case and with single blanks; roles, calls, media and other columns are not compared",
}
# Columns that number or name a row, and say nothing to a model.
_NAMES = frozenset(
    {
        "id",
        "_id",
        "uuid",
        "guid",
        "idx",
        "index",
        "row_id",
        "rowid",
        "line",
        "source",
        "url",
        "file",
        "split",
        "synthetic",
    }
)
_TEXT = "\0"


def row_key(kind: str, row: Row, by: Sameness = "row") -> bytes:
    """A hash that two rows share where they are the same by this choice; of a text without words, of the whole row."""
    if by == "text":
        text = normal(whole_text(kind, row))
        if text:
            return _hash(text)
    if by == "content":
        own = {"text"} | set(CONTENT_COLUMNS[kind])
        row = {name: value for name, value in row.items() if name in own or name.lower() not in _NAMES}
    # JSON has one sign for all that is not a number.
    odd = {name: [str(value)] for name, value in row.items() if type(value) is float and not math.isfinite(value)}
    return _hash(_sorted_json(row | odd if odd else row))


def left_out(kind: str, columns: Sequence[Column], by: Sameness) -> list[str]:
    """The columns that a choice does not compare."""
    own = {"text"} | set(CONTENT_COLUMNS[kind])
    if by == "content":
        return [c.name for c in columns if c.name.lower() in _NAMES and c.name not in own]
    if by == "text":
        texts = {c.name for c in columns if c.type == "text"} if kind in {"tabular", "text"} else own
        return [c.name for c in columns if c.name not in texts]
    return []


def frame_key(kind: str, row: Row) -> bytes:
    """A hash of all that is not text in a row: roles, calls, tools, media, labels, numbers.

    Rows whose texts are nearly the same are near-duplicates only where this is the same too.
    """
    content = CONTENT_COLUMNS[kind]
    frame: Row = {}
    for name, value in row.items():
        if name in content:
            frame[name] = _turn_frames(value) if isinstance(value, list) else _TEXT
        elif name.lower() not in _NAMES:
            frame[name] = _TEXT if isinstance(value, str) else value
    return _hash(_sorted_json(frame))


def media_of(value: Any) -> list[str]:
    """Each part of a row or of its messages that is not text, such as an image, as JSON."""
    found: list[str] = []
    if isinstance(value, dict):
        if "type" in value and value["type"] not in {"text", "function"} and "role" not in value:
            return [_sorted_json(value).decode("utf-8", "replace")]
        for name, item in value.items():
            if name.lower() in _MEDIA and item:
                found.append(_sorted_json({name: item}).decode("utf-8", "replace"))
            elif isinstance(item, (dict, list)):
                found += media_of(item)
    elif isinstance(value, list):
        for item in value:
            found += media_of(item)
    return found


def normal(text: str) -> str:
    """A text without case, and with single blanks."""
    return " ".join(text.lower().split())


_MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})


def _turn_frames(turns: list[Any]) -> list[Any]:
    return [_turn_frame(turn) if isinstance(turn, dict) else turn for turn in turns]


def _turn_frame(turn: Message) -> Message:
    """A turn with a sign in the place of its text."""
    content = turn.get("content")
    if isinstance(content, list):
        parts = [part | {"text": _TEXT} if isinstance(part, dict) and "text" in part else part for part in content]
        return turn | {"content": parts}
    return turn | ({"content": _TEXT} if isinstance(content, str) else {})


def _sorted_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):
        # Numbers beyond 64 bits, and half a character.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")


def _hash(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return blake2b(raw, digest_size=16).digest()
