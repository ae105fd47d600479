"""The source and records of a path: a file, a dataset folder, a folder of texts, a database table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from llmops_tui.datasets.sources.base import Batch, Source, open_stream
from llmops_tui.datasets.sources.delimited import read_delimited
from llmops_tui.datasets.sources.json_document import read_json_document
from llmops_tui.datasets.sources.json_lines import read_json_lines
from llmops_tui.datasets.sources.texts import read_document, read_text
from llmops_tui.datasets.sources.typed import open_sqlite, read_arrow, read_llm_log, read_parquet, read_sqlite
from llmops_tui.errors import InputRefusedError

_BY_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet", ".arrow": "arrow", ".txt": "text", ".text": "text", ".md": "document",
    ".markdown": "document", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip


def find_sources(path: Path, *, table: str = "", unit: str = "line") -> list[Source]:
    """The sources that a path stands for: a file, or the files of a dataset folder.

    Raises:
        InputRefusedError: it is not there, or nothing here can be imported.
    """
    if not path.exists():
        raise InputRefusedError("file_missing", f"there is no file {path}", "Check the path.")
    if path.is_dir():
        return _folder(path, unit)
    suffixes = [s.lower() for s in path.suffixes]
    suffix = next((s for s in reversed(suffixes) if s not in {".gz", ".zst", ".zstd"}), "")
    kind = _BY_SUFFIX.get(suffix) or _sniff(path)
    if kind == "json" and _starts_as_lines(path):
        kind = "jsonl"
    if kind != "sqlite":
        return [Source(path, kind, unit=unit)]
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


def _folder(path: Path, unit: str) -> list[Source]:
    """A dataset folder of Hugging Face, one of Markdown and text files, or one of data files."""
    arrows = sorted(path.rglob("data-*.arrow")) or sorted(path.rglob("*.arrow"))
    if arrows:
        return [Source(p, "arrow", split=p.parent.name if p.parent != path else "") for p in arrows]
    found = [
        source
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.suffix in {".parquet", ".jsonl", ".csv", ".tsv"}
        for source in find_sources(p)
    ]
    if found:
        splits = {s.path: _split_of(s.path) for s in found}
        return [Source(s.path, s.type, split=splits[s.path] if len(set(splits.values())) > 1 else "") for s in found]
    if any(p.suffix in {".md", ".markdown", ".txt"} for p in path.rglob("*")):
        return [Source(path, "document", unit=unit)]
    raise InputRefusedError(
        "nothing_to_import",
        f"{path} contains no file that can be imported",
        "llmops data import -h lists the file types.",
    )


def _split_of(path: Path) -> str:
    stem = path.name.partition(".")[0]
    return next((s for s in ("train", "validation", "valid", "test", "dev", "eval") if stem.startswith(s)), stem)


def _sniff(path: Path) -> str:
    with open_stream(path) as stream:
        head = stream.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SQLite format 3\0"):
        return "sqlite"
    return "jsonl" if head.lstrip()[:1] == b"{" else "json" if head.lstrip()[:1] == b"[" else "text"


def _starts_as_lines(path: Path) -> bool:
    """Whether a .json file holds one object a line."""
    with open_stream(path) as stream:
        lines = [stream.readline(1 << 20), stream.readline(1 << 20)]
    try:
        return all(isinstance(orjson.loads(line), dict) for line in lines if line.strip()) and bool(lines[1].strip())
    except orjson.JSONDecodeError:
        return False


def is_binary(path: Path) -> bool:
    """Whether a file is no text, so that looking at its lines tells nothing."""
    with open_stream(path) as stream:
        return b"\0" in stream.read(4096)


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
        raise InputRefusedError(
            "file_unreadable", f"cannot read {source.path}: {error.strerror or error}", "Check the file."
        ) from error
    except EOFError as error:
        raise InputRefusedError(
            "file_damaged", f"{source.path} is truncated: {error}", "Download or copy it again."
        ) from error
