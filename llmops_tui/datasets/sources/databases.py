"""SQLite: tables of typed values, converted to JSON types, and the log of the ``llm`` program."""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_tui.datasets.records import Row, load_json
from llmops_tui.datasets.sources.base import TYPED_BYTES, Batch, Source
from llmops_tui.errors import InputRefusedError
from llmops_tui.json_values import of_bytes

# What marks a column as JSON in text: TEXT keeps "1" a text.
JSON_TYPE = "JSON TEXT"


def _decoded(row: Row, encoded: set[str]) -> Row:
    """A row without empty fields, those that are said to be JSON decoded."""
    return {n: load_json(v) if n in encoded else plain(v) for n, v in row.items() if v is not None}


def plain(value: Any) -> Any:
    """A value as JSON has it: moments as ISO text, decimals as numbers, bytes as text where they are text."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return of_bytes(bytes(value))
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return str(value)


def read_sqlite(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The rows of a table."""
    del line
    database = open_sqlite(source.path)
    total = max(1, database[source.table].count)
    declared = {c.name: c.type for c in database[source.table].columns}
    encoded = {n for n, t in declared.items() if t == JSON_TYPE}
    yes_no = {n for n, t in declared.items() if t == "BOOLEAN"}
    batch = Batch(position=position, size=TYPED_BYTES)
    for number, row in enumerate(database[source.table].rows_where(limit=-1, offset=position), position + 1):
        made = _decoded(row, encoded)
        batch.rows.append(made | {n: bool(made[n]) for n in yes_no if made.get(n) in (0, 1)})
        batch.lines.append(number)
        if len(batch.rows) >= 10_000:
            batch.position, batch.share = number, number / total
            yield batch
            batch = Batch(position=number, size=TYPED_BYTES)
    batch.position, batch.share = batch.position + len(batch.rows), 1.0
    yield batch


def open_sqlite(path: Path) -> Any:
    """A SQLite file, opened read-only through sqlite-utils.

    Raises:
        InputRefusedError: it is none.
    """
    from urllib.parse import quote

    import sqlite_utils

    try:
        database = sqlite_utils.Database(
            sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False)
        )
        database.table_names()
    except sqlite3.Error as error:
        raise InputRefusedError("file_damaged", f"{path} is not an SQLite file: {error}", "Check the file.") from error
    return database


def read_llm_log(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The conversations in the log of the ``llm`` program, one row each, oldest first."""
    del line
    database = open_sqlite(source.path)
    found: dict[str, Row] = {}
    for response in database["responses"].rows_where(order_by="id"):
        row = found.setdefault(
            str(response.get("conversation_id") or response["id"]),
            {
                "messages": [],
                "conversation_id": response.get("conversation_id"),
                "model": response.get("model"),
                "started_at": response.get("datetime_utc"),
            },
        )
        if response.get("system") and not row["messages"]:
            row["messages"].append({"role": "system", "content": response["system"]})
        row["messages"].append({"role": "user", "content": response.get("prompt") or ""})
        row["messages"].append({"role": "assistant", "content": response.get("response") or ""})
    rows = [{k: v for k, v in row.items() if v is not None} for row in found.values()][position:]
    yield Batch(rows, list(range(position + 1, position + len(rows) + 1)), position=position + len(rows), share=1.0)
