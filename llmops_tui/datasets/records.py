"""Rows: the kinds of datasets, the columns of each, and the texts and conversations in a row.

A row is a dictionary of columns. A column has one of five types: ``text``, ``integer``, ``number``, ``boolean`` and
``json``, whose values are lists and objects, or of mixed types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from llmops_tui.datasets.reports import ColumnRecord
from llmops_tui.foreign_text import parse_json

Kind = Literal["messages", "prompt-completion", "preference", "kto", "text", "tabular"]
Type = Literal["text", "integer", "number", "boolean", "json"]
Row = dict[str, Any]
"""A row of a user's dataset by column; the columns are the user's, and a value may be any JSON."""
# What orjson writes.
DEPTH = 254
Message = dict[str, Any]
"""A turn of a conversation in a user's row: ``role`` and ``content`` where it is whole, and whatever else stands there."""

# How content hashes of new versions are made: by columns (:mod:`.column_digests`).
SCHEME: Final = "columns-2"

# Hidden columns: the number of the row, and fields of rows with too many different names to be columns.
ROW = "_row"
REST = "_rest"

KIND_COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("chosen", "rejected"),
    "kto": ("prompt", "completion", "label"),
    "text": ("text",),
    "tabular": (),
}
# Columns that hold text or a list of messages, by kind.
CONTENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "kto": ("prompt", "completion"),
    "text": ("text",),
    "tabular": (),
}
# Each byte as whether it is a digit: many times as fast as a search for digits by a pattern.
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG = b"0" * 19
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Column:
    """A column of a dataset version."""

    name: str
    type: Type

    def as_dict(self) -> ColumnRecord:
        """The column as JSON."""
        return {"name": self.name, "type": self.type}


def decode_row(columns: list[Column], values: tuple[Any, ...]) -> Row:
    """A row from its stored values: JSON decoded, fields without a value left out, the rest unpacked."""
    row: Row = {}
    for column, value in zip(columns, values, strict=True):
        if value is None:
            continue
        row[column.name] = load_json(value) if column.type == "json" else value
    rest = row.pop(REST, None)
    return row | rest if rest else row


def load_json(text: str) -> Any:
    """Decode JSON; numbers too large for 64 bits stay whole."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse_json(text, DEPTH)
    if has_long_number(text.encode("utf-8", "replace")):
        return parse_json(text, DEPTH)
    return value


class RepeatedKeyError(ValueError):
    """An object of JSON that has a key twice, of whose values one would be lost."""


def load_whole_json(text: str) -> Any:
    """Decode JSON of other programs, of which nothing may be lost.

    Raises:
        RepeatedKeyError: a key is repeated.
        ValueError: it is not JSON, which has no NaN either, or has a value that no row can hold.
    """
    try:
        value = orjson.loads(text)
        long = has_long_number(text.encode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        long = True
    if long:
        value = parse_json(text, DEPTH, constants=False)
        _refuse_unkept(value)
    if "\\u0022" in text:
        _refuse_twice(text)
    # Each key has two quotes: fewer after writing it again means that one was dropped.
    elif dump_json(value).count('"') != text.count('"'):
        raise RepeatedKeyError("a key is repeated in its JSON")
    return value


def _refuse_unkept(value: Any) -> None:
    """Refuse what Python reads of JSON and cannot be written again: 1e400 is infinite, half of a character no text."""
    import json

    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it has half of a character") from None
    except ValueError:
        raise ValueError("a number in it is beyond the largest of 64 bits") from None


def _refuse_twice(text: str) -> None:
    import json

    def pairs(items: list[tuple[str, Any]]) -> None:
        if len(dict(items)) < len(items):
            raise RepeatedKeyError("a key is repeated in its JSON")

    try:
        json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("lists and objects are nested too deep") from None


def dump_json(value: Any) -> str:
    """Encode JSON, compact, in the order of the keys; integers of any size."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def has_long_number(data: bytes) -> bool:
    """Whether 19 digits stand in a row anywhere, which may be a number beyond 64 bits."""
    return _LONG in data.translate(_DIGITS)


def content_text(content: Any) -> str:
    """The text of a message's content, which may be a text, parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) else p for p in content]
        return "\n".join(p for p in parts if isinstance(p, str))
    return ""


def as_messages(value: Any, role: str) -> list[Message]:
    """A text or a list of messages as messages; a text is one message of ``role``."""
    if isinstance(value, list):
        return [m for m in value if isinstance(m, dict)]
    return [{"role": role, "content": value}] if isinstance(value, str) else []


def conversation(kind: str, row: Row) -> list[Message]:
    """A row as a conversation, with the column ``system`` as its first turn where it has none of its own.

    Of a preference pair it is the one with the chosen answer. Empty where there is none.
    """
    question, answer = conversation_parts(kind, row)
    return [*system_beside(row, question), *question, *answer]


def conversation_parts(kind: str, row: Row) -> tuple[list[Message], list[Message]]:
    """What of a row's conversation asks and what answers; all of a row of messages asks."""
    if kind == "messages":
        return as_messages(row.get("messages"), "user"), []
    name = {"preference": "chosen", "prompt-completion": "completion", "kto": "completion"}.get(kind)
    return (as_messages(row.get("prompt"), "user"), as_messages(row.get(name), "assistant")) if name else ([], [])


def system_beside(row: Row, messages: list[Message]) -> list[Message]:
    """The column ``system`` as a turn, where the conversation beside it has none of its own."""
    system = row.get("system")
    own = any(m.get("role") in {"system", "developer"} for m in messages)
    return (
        [{"role": "system", "content": system}] if isinstance(system, str) and system and messages and not own else []
    )


def texts(kind: str, row: Row) -> Iterator[tuple[str, str]]:
    """Every text of a row with where it is, such as ``messages[1].content`` or a column's name."""
    content = CONTENT_COLUMNS.get(kind, ())
    for name, value in row.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, list) and name in content:
            for index, message in enumerate(value):
                if isinstance(message, dict):
                    yield from _message_texts(f"{name}[{index}]", message)
        elif isinstance(value, (list, dict)):
            yield from nested_texts(name, value)


def _message_texts(place: str, message: Message) -> Iterator[tuple[str, str]]:
    for key, value in message.items():
        if key == "role":
            continue
        if isinstance(value, str):
            yield f"{place}.{key}", value
        else:
            yield from nested_texts(f"{place}.{key}", value)


def nested_texts(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts inside a JSON value, with their places."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nested_texts(f"{place}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nested_texts(f"{place}.{key}", item)


def map_texts(value: Any, change: Any, *, skip: frozenset[str] = frozenset()) -> Any:
    """A JSON value with every text replaced by ``change(text)``; values of keys in ``skip`` stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_texts(item, change, skip=skip) for item in value]
    if isinstance(value, dict):
        return {k: v if k in skip and isinstance(v, str) else map_texts(v, change, skip=skip) for k, v in value.items()}
    return value


def input_text(kind: str, row: Row, fallback: tuple[str, ...] = ()) -> str:
    """What a row asks: everything before its answer. Of a table, the text of the ``fallback`` columns."""
    if kind == "messages":
        turns = as_messages(row.get("messages"), "user")
        if turns and turns[-1].get("role") == "assistant":
            turns = turns[:-1]
        return "\n".join(content_text(m.get("content")) for m in turns)
    if kind in {"prompt-completion", "kto", "preference"}:
        return "\n".join(content_text(m.get("content")) for m in as_messages(row.get("prompt"), "user"))
    if kind == "text":
        return str(row.get("text") or "")
    return "\n".join(str(row[c]) for c in fallback if isinstance(row.get(c), str))


def question_text(kind: str, row: Row, fallback: tuple[str, ...] = ()) -> str:
    """What a row asks, without the system's turns, which many rows share."""
    name = "messages" if kind == "messages" else "prompt"
    if isinstance(row.get(name), list):
        row = row | {name: [m for m in as_messages(row[name], "user") if m.get("role") not in {"system", "developer"}]}
    return input_text(kind, row, fallback)


def answer_text(kind: str, row: Row) -> str:
    """What a row answers; empty where nothing does."""
    if kind == "messages":
        turns = as_messages(row.get("messages"), "user")
        return content_text(turns[-1].get("content")) if turns and turns[-1].get("role") == "assistant" else ""
    name = {"prompt-completion": "completion", "kto": "completion", "preference": "chosen"}.get(kind)
    return "\n".join(content_text(m.get("content")) for m in as_messages(row.get(name), "assistant")) if name else ""


def whole_text(kind: str, row: Row) -> str:
    """All that a row says, as one text; what near-duplicates and overlaps are found by."""
    if kind in {"tabular", "text"}:
        return "\n".join(value for value in row.values() if isinstance(value, str))
    turns = conversation(kind, row)
    if kind == "preference":
        turns += as_messages(row.get("rejected"), "assistant")
    return "\n".join(content_text(m.get("content")) for m in turns)
