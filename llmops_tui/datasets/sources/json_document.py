"""A JSON document: its list of objects, or its columns of equal length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from llmops_tui.datasets.raw import json_reason
from llmops_tui.datasets.records import DEPTH
from llmops_tui.datasets.sources.base import BATCH_ROWS, KEPT_RAW, MAX_DOCUMENT, Batch, Reject, Source
from llmops_tui.datasets.sources.json_lines import has_long_number
from llmops_tui.datasets.sources.streams import open_stream
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json


def read_json_document(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The objects of a document, which is read whole."""
    del line
    with open_stream(source.path, source.encoding) as stream:
        data = stream.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise InputRefusedError(
            "document_too_large",
            f"{source.path} is one JSON document of more than {MAX_DOCUMENT:,} bytes",
            "Write it as JSON Lines, one object per line.",
        )
    if not data.strip():
        return
    try:
        document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
        if has_long_number(data):
            document = parse_json(data, DEPTH)
    except orjson.JSONDecodeError as error:
        raise InputRefusedError(
            "file_damaged",
            f"{source.path}, line {error.lineno}: {json_reason(error)}",
            "If it has one object per line, rename it to .jsonl.",
        ) from error
    except ValueError as error:
        raise InputRefusedError("file_damaged", f"{source.path}: {error}") from error
    records = _records(document)
    if records is None:
        raise InputRefusedError(
            "no_records",
            f"{source.path} contains no list of objects",
            "The list must be the top level or the value of a key.",
        )
    for start in range(position, len(records), BATCH_ROWS):
        batch = Batch(position=min(len(records), start + BATCH_ROWS))
        for number, record in enumerate(records[start : start + BATCH_ROWS], start + 1):
            if isinstance(record, dict):
                batch.rows.append(record)
                batch.lines.append(number)
            else:
                raw = orjson.dumps(record)[:KEPT_RAW]
                reason = f"it is {type(record).__name__}, not an object"
                batch.rejects.append(Reject(str(source.path), number, -1, len(raw), reason, raw))
        batch.share = batch.position / len(records)
        yield batch


def _records(document: Any) -> list[Any] | None:
    """The list of objects in a document: itself, or the only list in it, or columns of equal length."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    lists = [v for v in document.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    if len(lists) == 1:
        return lists[0]
    columns = {k: v for k, v in document.items() if isinstance(v, list)}
    if columns and len(columns) == len(document) and len({len(v) for v in columns.values()}) == 1:
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [document]
