"""A JSON document: its list of objects, or its columns of equal length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmops_tui.datasets.raw import json_problem
from llmops_tui.datasets.records import DEPTH, Row, has_long_number
from llmops_tui.datasets.sources.base import BATCH_ROWS, KEPT_RAW, MAX_DOCUMENT, Batch, Reject, Source
from llmops_tui.datasets.sources.json_lines import parse_object, turns_row
from llmops_tui.datasets.sources.json_pieces import elements, members
from llmops_tui.datasets.sources.streams import open_stream
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json


def read_json_document(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The objects of a document, which is read whole."""
    del line
    with open_stream(source.path, source.encoding, source.member) as stream:
        data = stream.read(MAX_DOCUMENT + 1).removeprefix(b"\xef\xbb\xbf")
    if len(data) > MAX_DOCUMENT:
        raise InputRefusedError(
            "document_too_large",
            f"{source.path} is one JSON document of more than {MAX_DOCUMENT:,} bytes",
            "Write it as JSON Lines, one object per line.",
        )
    if not data.strip():
        return
    records = _whole(data)
    try:
        found = _found(records) if records is not None else _found_in_pieces(data)
    except ValueError as error:
        hint = (
            "Its objects go over several lines: write one per line (jq -c . FILE), or put them into one list."
            if "follows its end" in str(error)
            else "If it has one object per line, rename it to .jsonl."
        )
        raise InputRefusedError("file_damaged", f"{source.path}: {error}", hint) from error
    for start in range(position, max(len(found.records), 1), BATCH_ROWS):
        batch = Batch(position=min(len(found.records), start + BATCH_ROWS), told=found.told)
        for number, record in enumerate(found.records[start : start + BATCH_ROWS], start + 1):
            try:
                batch.rows.append(_row(record, found.splits[number - 1] if found.splits else ""))
                batch.lines.append(number)
            except ValueError as error:
                raw = (record if isinstance(record, bytes) else orjson.dumps(record))[:KEPT_RAW]
                batch.rejects.append(Reject(str(source.path), number, -1, len(raw), str(error), raw))
        batch.share = batch.position / max(1, len(found.records))
        yield batch


@dataclass(frozen=True)
class _Found:
    """The records of a document, each as its value or as its bytes; of which split each is; what was passed over."""

    records: list[Any]
    splits: list[str] = field(default_factory=list)
    told: str = ""


def _whole(data: bytes) -> Any | None:
    """The document's value, where reading it at once loses nothing; else none."""
    try:
        document = orjson.loads(data)
        written = orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    # Keys and texts have two quotes each: fewer after writing it again means that a key was dropped.
    if written.count(b'"') != data.count(b'"'):
        return None
    try:
        return parse_json(data, DEPTH) if has_long_number(data) else document
    except ValueError:
        return None


def _found(document: Any) -> _Found:
    """The records: the document itself or a list in it, lists by split, or columns of equal length."""
    if isinstance(document, list):
        return _Found(document)
    if not isinstance(document, dict):
        raise ValueError("it contains no list of objects")  # noqa: TRY004  of foreign data
    lists = {name: v for name, v in document.items() if isinstance(v, list) and v and _is_object(v[0])}
    if len(lists) > 1 and len(lists) == sum(isinstance(v, list) for v in document.values()):
        return _by_split(document, lists)
    if len(lists) == 1:
        (name, records), *_ = lists.items()
        if len(document) == 1 and not _is_turn(records[0]):
            return _Found(records)
        if not _is_turn(records[0]):
            return _Found(records, told=_beside(document, [name]))
        return _Found([document])
    if (frame := _frame(document)) is not None:
        return frame
    columns = {k: v for k, v in document.items() if isinstance(v, list)}
    if columns and len(columns) == len(document) and len({len(v) for v in columns.values()}) == 1:
        return _Found([dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])
    return _Found([document])


def _frame(document: JsonObject) -> _Found | None:
    """The rows of a table that names its columns apart, or has a number beside each value, as pandas writes them."""
    names, rows = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(rows, list) and rows and document.keys() <= {"columns", "data", "index"}:
        fit = all(isinstance(row, list) and len(row) == len(names) for row in rows)
        if fit and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            beside = "; not imported: index" * ("index" in document)
            told = f"the rows are the list 'data', by the names in 'columns'{beside}"
            return _Found([dict(zip(names, row, strict=True)) for row in rows], told=told)
    columns = list(document.values())
    if len(columns) > 1 and all(isinstance(column, dict) and column for column in columns):
        numbers = [str(number) for number in range(len(columns[0]))]
        if all(list(column) == numbers for column in columns):
            values = zip(*(column.values() for column in columns), strict=True)
            told = "its fields are columns, of which each value has the number of its row"
            return _Found([dict(zip(document, row, strict=True)) for row in values], told=told)
    return None


def _found_in_pieces(data: bytes) -> _Found:
    """The same of a document that cannot be read at once: each record as its bytes, so that one alone is refused."""
    start = data.lstrip()[:1]
    if start == b"[":
        return _Found(list(elements(data)))
    if start != b"{":
        raise ValueError(json_problem(data) or "it contains no list of objects")
    document: JsonObject = {}
    for name, raw in members(data):
        if name in document:
            raise ValueError(f"the key {name!r} occurs twice")
        document[name] = list(elements(raw)) if raw[:1] == b"[" else raw
    found = _found(document)
    # One record, or columns: nothing can be refused alone, and the reason is that of the whole.
    return found if all(isinstance(r, bytes) for r in found.records) else _found(parse_object(data))


def _by_split(document: JsonObject, lists: dict[str, list[Any]]) -> _Found:
    records = [record for values in lists.values() for record in values]
    splits = [name for name, values in lists.items() for _ in values]
    return _Found(records, splits, _beside(document, list(lists)))


def _beside(document: JsonObject, taken: list[str]) -> str:
    others = [name for name in document if name not in taken]
    named = ", ".join(repr(name) for name in taken)
    return f"the rows are the list {named}" + (f"; not imported: {', '.join(others[:12])}" if others else "")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, bytes) and value[:1] == b"{")


_TURN = ({"role", "content"}, {"from", "value"})


def _is_turn(value: Any) -> bool:
    """Whether an object is a turn of a conversation: the list that it is in is then no list of records."""
    if isinstance(value, bytes):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            # Its names can be seen all the same.
            return any(all(f'"{name}"'.encode() in value for name in names) for names in _TURN)
    return isinstance(value, dict) and any(names <= set(value) for names in _TURN)


def _row(record: Any, split: str) -> Row:
    """A record as a row.

    Raises:
        ValueError: it is none.
    """
    row = parse_object(record) if isinstance(record, bytes) else turns_row(record)
    return {**row, "split": split} if split and "split" not in row else row
