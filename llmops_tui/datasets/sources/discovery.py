"""The source and records of a path: a file, a dataset folder, a folder of texts, a database table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from llmops_tui.datasets.sources.archives import is_archive, members_of
from llmops_tui.datasets.sources.base import TABLES, Batch, Source, TurnFields
from llmops_tui.datasets.sources.columnar import read_arrow, read_parquet
from llmops_tui.datasets.sources.databases import open_sqlite, read_llm_log, read_sqlite
from llmops_tui.datasets.sources.delimited import is_table, read_delimited
from llmops_tui.datasets.sources.folders import (
    BY_SUFFIX,
    chosen_members,
    folder_sources,
    head_of,
    suffix_of,
    told_splits,
    with_splits,
)
from llmops_tui.datasets.sources.json_document import read_json_document
from llmops_tui.datasets.sources.json_lines import read_json_lines
from llmops_tui.datasets.sources.signatures import HEAD_BYTES, read_type, refuse_binary, refuse_foreign
from llmops_tui.datasets.sources.streams import check_encoding, compression_in, compression_of, encoding_of, open_stream
from llmops_tui.datasets.sources.texts import read_document, read_text
from llmops_tui.datasets.sources.workbooks import is_workbook, read_workbook, sheet_sources, sheets_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.regular_files import matching_files

_TYPED = frozenset({"parquet", "arrow", "sqlite", "workbook"})


def find_all(paths: Iterable[Path], *, table: str = "", unit: str = "line", encoding: str = "") -> tuple[Source, ...]:
    """The sources of several paths, as :func:`find_sources` finds those of one."""
    return tuple(s for path in paths for s in find_sources(path, table=table, unit=unit, encoding=encoding))


def find_sources(path: Path, *, table: str = "", unit: str = "line", encoding: str = "") -> list[Source]:
    """The sources that a path stands for: a file, the files of an archive or a dataset folder, or those of a pattern.

    ``table`` is the table of a database, the sheet of a workbook, or the file inside an archive. ``encoding`` is that of
    text files which do not say it by a byte order mark and are not UTF-8.

    Raises:
        InputRefusedError: it is not there, or nothing here can be imported.
    """
    if not path.exists():
        return [s for p in _matches(path) for s in find_sources(p, table=table, unit=unit, encoding=encoding)]
    if path.is_dir():
        return folder_sources(path, unit, encoding, find_sources)
    if not path.is_file():
        raise InputRefusedError(
            "file_type_refused",
            f"{path} is a pipe or a device, not a file",
            "Write its data to a file, and import that.",
        )
    try:
        with open_stream(path) as stream:
            head = stream.read(HEAD_BYTES)
        refuse_foreign(path, head)
        _refuse_packed(path, head)
        if head.startswith(b"PK\x03\x04") and is_workbook(path):
            return sheet_sources(path, table)
        if is_archive(head):
            chosen, told = chosen_members(path, table)
            read = partial(_file, path, unit=unit, encoding=check_encoding(encoding))
            members = with_splits([read(head_of(path, name), member=name) for name in chosen])
            return [replace(m, told="; ".join(filter(None, (told, told_splits(members), m.told)))) for m in members]
        source = _file(path, head, unit, check_encoding(encoding))
        if source.type == "workbook":
            raise InputRefusedError(
                "file_damaged", f"{path} is no Excel workbook", "Check the file, or give it the suffix it is of."
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    if table and source.type != "sqlite":
        raise InputRefusedError("table_refused", f"{path} is {source.type}, which has no tables", "Omit --table.")
    return _tables(path, table) if source.type == "sqlite" else [source]


def _refuse_packed(path: Path, head: bytes) -> None:
    """Refuse what is packed in two ways that are not read together; ``head`` is what the outer one holds."""
    packed = compression_of(path)
    inner = compression_in(head)
    if packed and inner:
        told = f"{path} is compressed twice: with {inner}, and that with {packed}"
        raise InputRefusedError("file_type_refused", told, "Decompress it once, and import that.")
    kind = "zip" if head.startswith(b"PK") else "tar"
    if packed and is_archive(head) and (packed == "zstd" or kind == "zip"):
        raise InputRefusedError(
            "file_type_refused", f"{path} is a {kind} archive in {packed}", "Decompress it, and import that."
        )


def _matches(path: Path) -> list[Path]:
    """The files that a pattern such as ``parts/*.jsonl`` names, by name."""
    at = next((n for n, part in enumerate(path.parts) if any(sign in part for sign in "*?[")), None)
    if at is None:
        raise InputRefusedError("file_missing", f"there is no file {path}", "Check the path.")
    found = matching_files(Path(*path.parts[:at]), str(Path(*path.parts[at:])))
    if not found:
        raise InputRefusedError("file_missing", f"no file matches {path}", "Check the pattern.")
    return found


def _file(path: Path, head: bytes, unit: str, encoding: str, member: str = "") -> Source:
    """The source that a file is: by its first bytes, where they tell, and else by its name."""
    named = Path(member) if member else path
    kind = read_type(head) or BY_SUFFIX.get(suffix_of(named), "")
    if kind in _TYPED:
        if member or compression_of(path):
            what = f"a {kind} file in an archive" if member else f"a compressed {kind} file"
            raise InputRefusedError("file_type_refused", f"{named} is {what}", "Unpack it, and import the file.")
        return Source(path, kind)
    if member and (packed := compression_in(head)):
        raise InputRefusedError(
            "file_type_refused",
            f"{path}: {member} is compressed with {packed} inside the archive",
            "Unpack the archive, and import the file.",
        )
    encoding = encoding or encoding_of(head)
    if encoding:
        with open_stream(path, encoding, member) as stream:
            head = stream.read(HEAD_BYTES)
    refuse_binary(named, head)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if kind in {"jsonl", "json", ""}:
        kind = _json_kind(start, kind)
    told = ""
    if kind == "text" and not suffix_of(named) and is_table(start):
        kind, told = "csv", "its name has no suffix; its lines are those of a table"
    return Source(path, kind, unit=unit, encoding=encoding, member=member, told=told)


def _json_kind(start: bytes, kind: str) -> str:
    """Whether a text is JSON by lines or one document, where its beginning tells; else what its name says."""
    if start[:1] not in {b"[", b"{"}:
        return kind or "text"
    lines = [line.strip() for line in start.split(b"\n")[:2] if line.strip()]
    # A list may be a line of a file of lists, each of which is refused by its number.
    if len(lines) == 2 and all(map(_is_json, lines)):
        return "jsonl"
    if start[:1] == b"[" or lines[0] == b"{":
        return "json"
    return kind or "jsonl"


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def tables_of(path: Path) -> list[str]:
    """What can be chosen of a file: the tables of a database, the sheets of a workbook, or the files inside an archive.

    Raises:
        InputRefusedError: it is neither, or is damaged.
    """
    with open_stream(path) as stream:
        archive = is_archive(stream.read(HEAD_BYTES))
    if not archive:
        return _of_database(path)
    return [s.name for s in sheets_of(path)] if is_workbook(path) else [member.name for member in members_of(path)]


def _of_database(path: Path) -> list[str]:
    return [t for t in open_sqlite(path).table_names() if not t.startswith("sqlite_")]


def _tables(path: Path, table: str) -> list[Source]:
    tables = _of_database(path)
    if not table and {"responses", "conversations"} <= set(tables):
        return [Source(path, "llm-log")]
    if table and table not in tables:
        raise InputRefusedError("table_missing", f"{path} has no table {table!r}", f"Its tables: {', '.join(tables)}")
    if not table and len(tables) != 1:
        raise InputRefusedError(
            "table_needed",
            f"{path} has {len(tables)} tables: {', '.join(tables[:20])}",
            "Choose one with --table NAME.",
        )
    return [Source(path, "sqlite", table=table or tables[0])]


def is_plain(source: Source) -> bool:
    """Whether a source is a file whose lines can be shown as they are."""
    return not (
        source.path.is_dir() or source.encoding or source.member or source.type in _TYPED or compression_of(source.path)
    )


def read_batches(
    source: Source, position: int = 0, line: int = 0, *, tables: Mapping[str, TurnFields] | None = None
) -> Iterator[Batch]:
    """The records of a source, from a position that an earlier batch gave.

    Some may come as tables where ``tables`` says what columns may be conversations then.

    Raises:
        InputRefusedError: the file as a whole cannot be read.
    """
    readers: dict[str, Callable[[Source, int, int], Iterator[Batch]]] = {
        "jsonl": partial(read_json_lines, tables=None if source.split else tables),
        "json": read_json_document,
        "parquet": read_parquet,
        "arrow": read_arrow,
        "text": read_text,
        "document": read_document,
        "sqlite": read_sqlite,
        "llm-log": read_llm_log,
        "workbook": read_workbook,
        **dict.fromkeys(TABLES, read_delimited),
    }
    try:
        for batch in readers[source.type](source, position, line):
            if source.split:
                for row in batch.rows:
                    row.setdefault("split", source.split)
            yield batch
    except OSError as error:
        raise _unreadable(source.path, error) from error


def _unreadable(path: Path, error: OSError) -> InputRefusedError:
    return InputRefusedError("file_unreadable", f"cannot read {path}: {error.strerror or error}", "Check the file.")
