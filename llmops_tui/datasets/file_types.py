"""The types of files that a dataset is written to, and those that installed packages bring."""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, ClassVar

from llmops_tui.datasets.columnar_files import write_arrow, write_hugging_face, write_parquet
from llmops_tui.datasets.json_text import odd_number
from llmops_tui.datasets.records import REST, Row, content_text, dump_json
from llmops_tui.datasets.sources.base import TABLES
from llmops_tui.datasets.sources.databases import JSON_TYPE
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.plugins import Plugins, made_of, only_one
from llmops_tui.workspace.sandbox import quote_name

Writer = Callable[[DatasetVersion, Iterator[Row], Path], None]
# What a suffix of compression can follow.
_COMPRESSED = frozenset({"jsonl", "json", "text", *TABLES})
_BY_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".txt": "text", ".db": "sqlite", ".sqlite": "sqlite",
}  # fmt: skip


class Exporter:
    """A type of file that a package brings; its entry point names a subclass, and is what the type is called.

    Attributes:
        suffix: the suffix of files that are written so where no type is named, such as ``.toml``; may be none.
    """

    suffix: ClassVar[str] = ""

    def write(self, version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
        """Write rows, in the shape of the format that was asked for, to a file or folder that is not there yet.

        Raises:
            InputRefusedError: a row cannot be written so.
        """
        raise NotImplementedError


def open_target(path: Path) -> IO[bytes]:
    """A file to write, compressed where its suffix says so."""
    if path.suffix == ".gz":
        return gzip.open(path, "wb")  # type: ignore[return-value]
    if path.suffix == ".zst":
        import zstandard

        return zstandard.open(path, "wb")  # type: ignore[no-any-return]
    return path.open("wb")


def _json_lines(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    with open_target(path) as file:
        for row in _finite(version, rows):
            file.write(dump_json(row).encode() + b"\n")


def _json_document(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    with open_target(path) as file:
        before = b"[\n"
        for row in _finite(version, rows):
            file.write(before + dump_json(row).encode())
            before = b",\n"
        file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _finite(version: DatasetVersion, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, none of which has a number that JSON does not have."""
    names = [c.name for c in version.columns if c.type == "number"]
    for number, row in enumerate(rows):
        for name in names:
            value = row.get(name, 0)
            if isinstance(value, float) and not math.isfinite(value):
                raise odd_number(number, name, value)
        yield row


def _delimited(delimiter: str) -> Callable[[DatasetVersion, Iterator[Row], Path], None]:
    def write(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
        import io

        # Rows with fields of their own need a look at all of them for the header.
        names = _all_names(version)
        first = next(rows, None)
        header = list(dict.fromkeys([*(first or {}), *(n for n in names if first is None or _kept(first, n, names))]))
        with open_target(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, header, delimiter=delimiter, extrasaction="raise", lineterminator="\n")
            out.writeheader()
            for number, row in enumerate(chain([] if first is None else [first], rows)):
                try:
                    out.writerow(_cells(row))
                except ValueError as error:
                    raise InputRefusedError(
                        "row_refused",
                        f"row {number:,} has fields that the first has not: {error}",
                        "Export it as JSON Lines.",
                    ) from error

    return write


def _all_names(version: DatasetVersion) -> list[str]:
    """The fields of all rows: the columns, and those that have none of their own."""
    names = dict.fromkeys(c.name for c in version.columns if c.name != REST)
    if any(c.name == REST for c in version.columns):
        names |= dict.fromkeys(
            name for batch in version.read(f"{REST} IS NOT NULL") for _, row in batch for name in row
        )
    return list(names)


def _kept(first: Row, name: str, names: list[str]) -> bool:
    """Whether a column goes into the header: those of another shape of rows have other names."""
    return set(first) <= set(names) and name in names


def _cells(row: Row) -> dict[str, Any]:
    return {
        k: dump_json(v) if isinstance(v, (list, dict, bool)) else repr(v) if isinstance(v, float) else v
        for k, v in row.items()
    }


def _text(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    _need_text(version)
    with open_target(path) as file:
        for row in rows:
            text = str(row["text"])
            if "\n" in text or "\r" in text or not text.strip():
                raise InputRefusedError(
                    "row_refused", "a text is empty or has several lines", "Export it as JSON Lines or Markdown."
                )
            file.write(text.encode() + b"\n")


def _need_text(version: DatasetVersion) -> None:
    if version.kind != "text":
        raise InputRefusedError("format_refused", f"{version.kind} rows are not plain text", "Export it as JSON Lines.")


def _markdown(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    """One file a row, named by its ``file`` column where there is one."""
    _need_text(version)
    path.mkdir(mode=0o700)
    for number, row in enumerate(rows):
        name = str(row.get("file") or f"{number:06d}.md")
        if not re.fullmatch(r"[\w][\w .-]*(?:/[\w][\w .-]*)*", name) or ".." in name:
            raise InputRefusedError(
                "row_refused", f"{name[:80]!r} cannot be the name of a file", "Export it as JSON Lines."
            )
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(str(row["text"]).encode())


def _sqlite(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    import sqlite_utils

    database = sqlite_utils.Database(path)
    kinds = {"integer": "INTEGER", "number": "REAL", "boolean": "BOOLEAN", "json": JSON_TYPE}
    own = {c.name: kinds.get(c.type, "TEXT") for c in version.columns if c.name != REST}
    numbers = [c.name for c in version.columns if c.type == "number"]
    rows = _fit_for_sqlite(rows, list(own), numbers)
    first = next(rows, None)
    # Rows of another shape have further fields, which may be anything.
    names = own if first is None or set(first) <= set(own) else dict.fromkeys(first, JSON_TYPE) | own
    declared = ", ".join(f"{quote_name(name)} {kind}" for name, kind in names.items())
    database.execute(f"CREATE TABLE rows ({declared or 'nothing TEXT'})")
    batch = [] if first is None else [_sqlite_row(first, names)]
    for row in rows:
        batch.append(_sqlite_row(row, names))
        if len(batch) >= 5000:
            database["rows"].insert_all(batch, alter=True)
            batch = []
    database["rows"].insert_all(batch, alter=True)
    database.close()


def _fit_for_sqlite(rows: Iterator[Row], names: Sequence[str], numbers: Sequence[str]) -> Iterator[Row]:
    """The rows, whose fields all can be columns: SQLite ends names at NUL, and knows no case in them; nor has it NaN."""
    known = {name.lower(): name for name in names}
    for number, row in enumerate(rows):
        nan = next((name for name in numbers if isinstance(v := row.get(name), float) and math.isnan(v)), None)
        if nan is not None:
            told = f"row {number:,}: {nan} is nan, which SQLite keeps as no value"
            raise InputRefusedError("row_refused", told, "Export it as Parquet.")
        for name in row:
            other = known.setdefault(name.lower(), name)
            if other != name or not name or "\0" in name:
                beside = f" beside {other!r}" if other != name else ""
                raise InputRefusedError(
                    "row_refused",
                    f"row {number:,}: a table of SQLite cannot have the column {name!r}{beside}",
                    "Export it as JSON Lines or Parquet.",
                )
        yield row


def _sqlite_row(row: Row, kinds: dict[str, str]) -> Row:
    return {k: dump_json(v) if kinds.get(k) == JSON_TYPE else v for k, v in row.items()}


def _llm_log(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    """The tables in which the ``llm`` program keeps its conversations."""
    import sqlite_utils

    if version.kind != "messages":
        raise InputRefusedError("format_refused", f"{version.kind} rows are not conversations")
    database = sqlite_utils.Database(path)
    database["conversations"].create({"id": str, "name": str, "model": str}, pk="id")
    database["responses"].create(
        {
            "id": str,
            "model": str,
            "prompt": str,
            "system": str,
            "response": str,
            "conversation_id": str,
            "datetime_utc": str,
        },
        pk="id",
    )
    count = 0
    for number, row in enumerate(rows):
        turns = [(m.get("role"), content_text(m.get("content"))) for m in row["messages"]]
        system = turns.pop(0)[1] if turns and turns[0][0] == "system" else None
        pairs = list(zip(turns[::2], turns[1::2], strict=False))
        if len(turns) % 2 or any((q[0], a[0]) != ("user", "assistant") for q, a in pairs):
            raise InputRefusedError(
                "row_refused", f"row {number:,}: its turns do not alternate between question and answer"
            )
        conversation = str(row.get("conversation_id") or f"{number:026d}")
        database["conversations"].insert({"id": conversation, "name": "", "model": row.get("model")})
        for index, (question, answer) in enumerate(pairs):
            database["responses"].insert(
                {
                    "id": f"{count:026d}",
                    "model": row.get("model"),
                    "prompt": question[1],
                    "response": answer[1],
                    "system": system if index == 0 else None,
                    "conversation_id": conversation,
                    "datetime_utc": row.get("started_at"),
                }
            )
            count += 1
    database.close()


WRITERS: dict[str, Writer] = {
    "jsonl": _json_lines, "json": _json_document, "csv": _delimited(","), "tsv": _delimited("\t"), "parquet": write_parquet,
    "arrow": write_arrow, "text": _text, "markdown": _markdown, "sqlite": _sqlite, "llm-log": _llm_log, "hf": write_hugging_face,
}  # fmt: skip


def _accept(name: str, given: object) -> Exporter:
    exporter = made_of(Exporter)(name, given)
    if exporter.suffix and not re.fullmatch(r"\.[a-z0-9]{1,20}", exporter.suffix):
        raise ValueError(f"{exporter.suffix!r} is not a suffix in lower case, such as .toml")
    if exporter.suffix in {*_BY_SUFFIX, ".gz", ".zst"}:
        raise ValueError(f"files that end in {exporter.suffix} are written by the built-in writer")
    return exporter


PLUGINS: Plugins[Exporter] = Plugins("exporters", _accept, lambda: WRITERS)


def type_of(target: Path) -> str:
    """The type that a file's suffix says; without a suffix, a folder as Hugging Face saves datasets.

    Raises:
        InputRefusedError: ``ambiguous_plugin``: several packages write files with that suffix.
    """
    suffixes = [s for s in target.suffixes if s not in {".gz", ".zst"}]
    if not suffixes:
        return "hf"
    last = suffixes[-1].lower()
    if last in _BY_SUFFIX:
        return _BY_SUFFIX[last]
    theirs = [name for name, exporter in PLUGINS.all().items() if exporter.suffix == last]
    return only_one(theirs, f"files that end in {last}") or suffixes[-1]


def find_writer(kind: str) -> Writer:
    """What writes files of a type.

    Raises:
        InputRefusedError: ``unknown_type``, with what is wrong with it where a package brings it.
    """
    if kind in WRITERS:
        return WRITERS[kind] if kind in _COMPRESSED else partial(_uncompressed, kind)
    exporter = PLUGINS.get(kind)
    if exporter is None:
        problem = PLUGINS.problem(kind) or f"{kind!r} is not a file type"
        raise InputRefusedError("unknown_type", problem, f"One of: {', '.join([*WRITERS, *PLUGINS.all()])}")

    def write(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
        if path.suffix in {".gz", ".zst"}:
            raise InputRefusedError("unknown_type", f"{kind} cannot be compressed", "Omit the last suffix.")
        with PLUGINS.at_work(kind, JobCancelledError, OSError):
            exporter.write(version, rows, path)
            if not path.exists():
                raise ValueError("it wrote no file")

    return write


def _uncompressed(kind: str, version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    if path.suffix in {".gz", ".zst"}:
        raise InputRefusedError("unknown_type", f"{kind} cannot be compressed", "Omit the last suffix.")
    WRITERS[kind](version, rows, path)


def not_read_back(kind: str) -> str:
    """What is told of a file that is not read again after it was written."""
    plugin = PLUGINS.find(kind)
    assert plugin is not None
    return f"{kind} is written by {plugin.package} {plugin.version}, and cannot be read back"
