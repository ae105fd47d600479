"""The source and records of a path: a file, a dataset folder, a folder of texts, a database table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson

from llmops_tui.datasets.sources.base import Batch, Source
from llmops_tui.datasets.sources.columnar import read_arrow, read_parquet
from llmops_tui.datasets.sources.databases import open_sqlite, read_llm_log, read_sqlite
from llmops_tui.datasets.sources.delimited import read_delimited
from llmops_tui.datasets.sources.json_document import read_json_document
from llmops_tui.datasets.sources.json_lines import read_json_lines
from llmops_tui.datasets.sources.signatures import HEAD_BYTES, read_type, refuse_binary, refuse_foreign
from llmops_tui.datasets.sources.streams import SUFFIXES, check_encoding, compression_of, encoding_of, open_stream
from llmops_tui.datasets.sources.texts import read_document, read_text
from llmops_tui.errors import InputRefusedError

_BY_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".txt": "text", ".text": "text", ".md": "document",
    ".markdown": "document", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip
_TYPED = frozenset({"parquet", "arrow", "sqlite"})


def find_all(paths: Iterable[Path], *, table: str = "", unit: str = "line", encoding: str = "") -> tuple[Source, ...]:
    """The sources of several paths, as :func:`find_sources` finds those of one."""
    return tuple(s for path in paths for s in find_sources(path, table=table, unit=unit, encoding=encoding))


def find_sources(path: Path, *, table: str = "", unit: str = "line", encoding: str = "") -> list[Source]:
    """The sources that a path stands for: a file, or the files of a dataset folder.

    ``encoding`` is that of text files which do not say it by a byte order mark and are not UTF-8.

    Raises:
        InputRefusedError: it is not there, or nothing here can be imported.
    """
    if not path.exists():
        raise InputRefusedError("file_missing", f"there is no file {path}", "Check the path.")
    if path.is_dir():
        return _folder(path, unit, encoding)
    if not path.is_file():
        raise InputRefusedError(
            "file_type_refused",
            f"{path} is a pipe or a device, not a file",
            "Write its data to a file, and import that.",
        )
    try:
        source = _file(path, unit, check_encoding(encoding))
    except OSError as error:
        raise _unreadable(path, error) from error
    return _tables(path, table) if source.type == "sqlite" else [source]


def _file(path: Path, unit: str, encoding: str) -> Source:
    """The source that a file is: by its first bytes, where they tell, and else by its name."""
    with open_stream(path) as stream:
        head = stream.read(HEAD_BYTES)
    refuse_foreign(path, head)
    kind = read_type(head) or _BY_SUFFIX.get(_suffix(path), "")
    if kind in _TYPED:
        if compression_of(path):
            raise InputRefusedError("file_type_refused", f"{path} is a compressed {kind} file", "Decompress it first.")
        return Source(path, kind)
    encoding = encoding or encoding_of(head)
    if encoding:
        with open_stream(path, encoding) as stream:
            head = stream.read(HEAD_BYTES)
    refuse_binary(path, head)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if kind in {"jsonl", "json", ""}:
        kind = _json_kind(start, kind)
    return Source(path, kind, unit=unit, encoding=encoding)


def _suffix(path: Path) -> str:
    return next((s.lower() for s in reversed(path.suffixes) if s.lower() not in SUFFIXES), "")


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


def _tables(path: Path, table: str) -> list[Source]:
    tables = [t for t in open_sqlite(path).table_names() if not t.startswith("sqlite_")]
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


def _folder(path: Path, unit: str, encoding: str) -> list[Source]:
    """A dataset folder of Hugging Face, one of Markdown and text files, or one of data files."""
    arrows = sorted(path.rglob("data-*.arrow")) or sorted(path.rglob("*.arrow"))
    if arrows:
        return [Source(p, "arrow", split=p.parent.name if p.parent != path else "") for p in arrows]
    found = [
        source
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.suffix in {".parquet", ".jsonl", ".csv", ".tsv"}
        for source in find_sources(p, encoding=encoding)
    ]
    if found:
        splits = {s.path: _split_of(s.path) for s in found}
        return [replace(s, split=splits[s.path] if len(set(splits.values())) > 1 else "") for s in found]
    if any(p.suffix in {".md", ".markdown", ".txt"} for p in path.rglob("*")):
        return [Source(path, "document", unit=unit, encoding=check_encoding(encoding))]
    raise InputRefusedError(
        "nothing_to_import",
        f"{path} contains no file that can be imported",
        "llmops data import -h lists the file types.",
    )


def _split_of(path: Path) -> str:
    stem = path.name.partition(".")[0]
    return next((s for s in ("train", "validation", "valid", "test", "dev", "eval") if stem.startswith(s)), stem)


def is_plain(source: Source) -> bool:
    """Whether a source is a file whose lines can be shown as they are."""
    return not (source.path.is_dir() or source.encoding or source.type in _TYPED or compression_of(source.path))


def read_batches(source: Source, position: int = 0, line: int = 0) -> Iterator[Batch]:
    """The records of a source, from a position that an earlier batch gave.

    Raises:
        InputRefusedError: the file as a whole cannot be read.
    """
    readers = {
        "jsonl": read_json_lines,
        "json": read_json_document,
        "csv": read_delimited,
        "tsv": read_delimited,
        "parquet": read_parquet,
        "arrow": read_arrow,
        "text": read_text,
        "document": read_document,
        "sqlite": read_sqlite,
        "llm-log": read_llm_log,
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
