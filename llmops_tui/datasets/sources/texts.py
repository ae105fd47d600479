"""Plain texts by line, paragraph or file, and folders of Markdown and text files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from llmops_tui.datasets.sources.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    KEPT_RAW,
    MAX_LINE,
    Batch,
    Reject,
    Source,
    share_of,
)
from llmops_tui.datasets.sources.streams import open_stream


def read_text(source: Source, position: int, line: int) -> Iterator[Batch]:
    """Lines, paragraphs, or the whole file."""
    del line
    if source.unit == "file":
        yield from read_document(source, position, 0)
        return
    batch, size, number = Batch(), 0, 0
    with open_stream(source.path, source.encoding, source.member) as stream:
        pieces = _paragraphs(stream) if source.unit == "paragraph" else _lines(stream)
        for number, (at, raw) in enumerate(pieces, 1):
            if number <= position:
                continue
            _add_text(batch, source, at, raw.removesuffix(b"\n").removesuffix(b"\r"))
            size += len(raw)
            if size > BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
                batch.position, batch.share = number, share_of(source, stream.tell())
                yield batch
                batch, size = Batch(), 0
    batch.position, batch.share = number, 1.0
    yield batch


def _add_text(batch: Batch, source: Source, at: int, raw: bytes, **more: str) -> None:
    if not raw.strip():
        batch.blank += 1
        return
    if len(raw) > MAX_LINE:
        reason = f"it has more than {MAX_LINE:,} bytes"
        batch.rejects.append(Reject(str(source.path), at, -1, len(raw), reason, raw[:KEPT_RAW]))
        return
    try:
        batch.rows.append({"text": raw.decode("utf-8"), **more})
        batch.lines.append(at)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start:,} is not UTF-8"
        batch.rejects.append(Reject(str(source.path), at, -1, len(raw), reason, raw[:KEPT_RAW]))


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines; of one that is too long, a little more than the longest that may be."""
    number = 0
    while raw := stream.readline(MAX_LINE + 2):
        number += 1
        more = raw
        while len(more) > MAX_LINE + 1 and not more.endswith(b"\n"):
            more = stream.readline(MAX_LINE + 2)
        yield number, raw


def _paragraphs(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    first = 1
    lines: list[bytes] = []
    for number, raw in _lines(stream):
        if raw.strip():
            if not lines:
                first = number
            lines.append(raw)
        elif lines:
            yield first, b"".join(lines)
            lines = []
    if lines:
        yield first, b"".join(lines)


def read_document(source: Source, position: int, line: int) -> Iterator[Batch]:
    """A file, or every Markdown and text file of a folder, as one row each."""
    del line
    paths = sorted(p for p in source.path.rglob("*") if p.suffix in {".md", ".markdown", ".txt"} and p.is_file())
    paths = paths if source.path.is_dir() else [source.path]
    batch, size = Batch(), 0
    for number, path in enumerate(paths, 1):
        if number <= position:
            continue
        with open_stream(path, source.encoding) as stream:
            raw = stream.read(MAX_LINE + 1)
        name = path.relative_to(source.path).as_posix() if source.path.is_dir() else path.name
        if len(raw) > MAX_LINE:
            reason = f"the file has more than {MAX_LINE:,} bytes"
            batch.rejects.append(Reject(str(path), 1, 0, path.stat().st_size, reason, raw[:KEPT_RAW]))
        else:
            _add_text(batch, Source(path, "document"), 1, raw, file=name)
        size += len(raw)
        if size > BATCH_BYTES:
            batch.position, batch.share = number, number / len(paths)
            yield batch
            batch, size = Batch(), 0
    batch.position, batch.share = len(paths), 1.0
    yield batch
