"""Rows of datasets that name a person: found by content, and versions made anew without them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.content_hash import content_hash
from llmops_tui.datasets.meaning.index import vectors_folder
from llmops_tui.datasets.parts import SQL_TYPES, source_sql
from llmops_tui.datasets.records import ROW, Column
from llmops_tui.datasets.rejects import rejects_path
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.selects import write_select
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.privacy.person import Person
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.files import sync_file, sync_folder
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sandbox import open_sandbox, quote_name, quote_text, reading

if TYPE_CHECKING:
    import duckdb

_BATCH = 1000
# What was written so lately may belong to an import or an operation at work.
_FRESH_SECONDS = 3600


@dataclass(frozen=True)
class NamedRows:
    """The rows of some content that name a person.

    Attributes:
        versions: the versions that have this content.
        rows: their numbers.
        texts: what of each names the person.
    """

    versions: tuple[DatasetVersion, ...]
    rows: tuple[int, ...]
    texts: tuple[str, ...]

    @property
    def version(self) -> DatasetVersion:
        """One of the versions, for what all of them share."""
        return self.versions[0]


@dataclass(frozen=True)
class Remade:
    """Content that was made anew: its hash, columns, count of rows and bytes, and the rows that were left out."""

    sha256: str
    columns: tuple[Column, ...]
    rows: int
    size: int
    dropped: tuple[int, ...]


def versions_by_content(store: DatasetStore) -> dict[str, list[DatasetVersion]]:
    """All versions, by the hash of their content."""
    found: dict[str, list[DatasetVersion]] = {}
    for log in store.logs().values():
        for version in log:
            found.setdefault(version.sha256, []).append(version)
    return found


def named_rows(versions: Sequence[DatasetVersion], person: Person) -> NamedRows | None:
    """The rows of some versions of the same content that name a person; none where there are none."""
    rows, texts = [], []
    version = versions[0]
    for number, values in _candidates(version, person):
        said = [str(value) for value in values if value is not None]
        hit = next((text for text in said if person.named_in(text)), None)
        if hit is not None:
            rows.append(number)
            texts.append(hit)
    return NamedRows(tuple(versions), tuple(rows), tuple(texts)) if rows else None


def _candidates(version: DatasetVersion, person: Person) -> Iterator[tuple[int, tuple[Any, ...]]]:
    columns = [c for c in version.columns if c.type != "boolean"]
    if not columns:
        return
    names = [quote_name(c.name) for c in columns]
    wanted = person.sql_filter([f"CAST({name} AS VARCHAR)" for name in names])
    with reading(version.files) as connection:
        cursor = connection.execute(
            f"SELECT {ROW}, {', '.join(names)} FROM {version.source} WHERE {wanted} ORDER BY {ROW}"
        )
        while found := cursor.fetchmany(_BATCH):
            for number, *values in found:
                yield int(number), tuple(values)


def remake(named: NamedRows, change: Change, folder: Path) -> Remade:
    """Write the content without the person into an empty folder: without the rows, or with marks in them."""
    version = named.version
    columns = list(version.columns)
    names = ", ".join([ROW, *(quote_name(c.name) for c in columns)])
    connection = open_sandbox(version.files, folder=folder, memory="1GB")
    try:
        connection.execute(f"CREATE TABLE named AS SELECT unnest(?::BIGINT[]) AS {ROW}", [list(named.rows)])
        kept = f"SELECT {names} FROM {version.source} ANTI JOIN named USING ({ROW})"
        if change.how == "redact":
            _write_changed(connection, version, columns, change)
            kept = f"{kept} UNION ALL SELECT {names} FROM changed"
        path = folder / "part-00000.parquet"
        made = write_select(connection, f"SELECT * FROM ({kept}) ORDER BY {ROW}", path, columns)
        rows = int(connection.execute(f"SELECT count(*) FROM ({kept})").fetchall()[0][0])
    finally:
        connection.close()
    shutil.rmtree(folder / "spill", ignore_errors=True)
    sync_folder(folder)
    with reading([path]) as reader:
        digest = content_hash(reader, source_sql([path]), made)
    dropped = named.rows if change.how == "remove" else ()
    return Remade(digest, tuple(made), rows, path.stat().st_size, dropped)


def _write_changed(
    connection: duckdb.DuckDBPyConnection, version: DatasetVersion, columns: list[Column], change: Change
) -> None:
    """A table of the rows that name the person, with marks; a number that identifies is left empty."""
    described = ", ".join([f"{ROW} BIGINT", *(f"{quote_name(c.name)} {SQL_TYPES[c.type]}" for c in columns)])
    connection.execute(f"CREATE TABLE changed ({described})")
    names = ", ".join([ROW, *(quote_name(c.name) for c in columns)])
    found = connection.execute(f"SELECT {names} FROM {version.source} SEMI JOIN named USING ({ROW})").fetchall()
    marks = ", ".join("?" for _ in range(len(columns) + 1))
    for number, *values in found:
        fresh = [_changed(column, value, change) for column, value in zip(columns, values, strict=True)]
        connection.execute(f"INSERT INTO changed VALUES ({marks})", [number, *fresh])


def _changed(column: Column, value: Any, change: Change) -> Any:
    if isinstance(value, str):
        return change.json_text(value) if column.type == "json" else change.text(value)
    if value is None or isinstance(value, bool) or not change.person.named_in(repr(value)):
        return value
    return None


def put_in_place(workspace: Workspace, folder: Path, remade: Remade) -> None:
    """Give a folder its place by its content, unless it is there."""
    final = workspace.datasets / remade.sha256
    if not final.is_dir():
        folder.rename(final)
        sync_folder(final.parent)


def paths_of(version: DatasetVersion) -> list[Path]:
    """All that lies on disk of some content: rows, full-text index, vectors."""
    found = (version.folder, SearchIndex(version).path, vectors_folder(version))
    return [path for path in found if path.exists()]


# ── records that an import rejected ──


def named_rejects(workspace: Workspace, version: DatasetVersion, person: Person) -> list[str]:
    """The rejected records of a version that name a person, as texts."""
    return [text for _, text in _rejects(rejects_path(workspace, version)) if person.named_in(text)]


def _rejects(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        return []
    with reading([path]) as connection:
        rows = connection.execute(
            f"SELECT file_row_number, source, reason, raw FROM read_parquet({quote_text(str(path))}, file_row_number = true)"
        ).fetchall()
    return [(int(n), "\n".join((source, reason, _decoded(bytes(raw or b""))))) for n, source, reason, raw in rows]


def _decoded(raw: bytes) -> str:
    """Bytes as text: of a record that could not be read, in whatever encoding it may be."""
    return "\n".join(raw.decode(name, "replace") for name in ("utf-8", "latin-1", "utf-16-le"))


def erase_rejects(workspace: Workspace, version: DatasetVersion, person: Person) -> int:
    """Take the rejected records out that name a person; returns how many. The caller dropped the checksum of their file."""
    path = rejects_path(workspace, version)
    records = _rejects(path)
    going = [number for number, text in records if person.named_in(text)]
    if not going:
        return 0
    fresh = path.with_suffix(".part")
    if len(going) < len(records):
        connection = connect_memory()
        try:
            source = f"read_parquet({quote_text(str(path))}, file_row_number = true)"
            left = f"SELECT * EXCLUDE (file_row_number) FROM {source} WHERE file_row_number NOT IN ({', '.join(map(str, going))})"
            connection.execute(f"COPY ({left}) TO {quote_text(str(fresh))} (FORMAT parquet)")
        finally:
            connection.close()
        sync_file(fresh)
        fresh.replace(path)
    else:
        path.unlink()
    sync_folder(path.parent)
    return len(going)


# ── content that no version has ──


def orphans(workspace: Workspace, known: set[str], person: Person) -> Iterator[tuple[Path, str]]:
    """Folders of rows that no version refers to and that name a person, such as what a killed process left; with a text of it."""
    if not workspace.datasets.is_dir():
        return
    for path in sorted(workspace.datasets.iterdir()):
        content = len(path.name) == 64 and path.name not in known
        if path.is_dir() and not path.is_symlink() and (content or path.name.startswith(".")):
            text = next((text for file in sorted(path.rglob("*.parquet")) for text in _named_cells(file, person)), "")
            if text:
                yield path, text


def is_being_made(folder: Path) -> bool:
    """Whether somebody may just be writing a folder that no version has yet."""
    newest = max((path.stat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
    return folder.name.startswith(".") and time.time() - newest < _FRESH_SECONDS


def _named_cells(path: Path, person: Person) -> Iterator[str]:
    import duckdb

    try:
        with reading([path]) as connection:
            source = f"read_parquet({quote_text(str(path))})"
            names = [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            casts = [f"CAST({quote_name(name)} AS VARCHAR)" for name in names if name != ROW]
            if casts:
                cursor = connection.execute(f"SELECT {', '.join(casts)} FROM {source} WHERE {person.sql_filter(casts)}")
                while rows := cursor.fetchmany(_BATCH):
                    yield from (str(v) for row in rows for v in row if v is not None and person.named_in(str(v)))
    except duckdb.Error:
        # Half a file: what a killed writer leaves has no end, and is cleared away as a whole.
        return


def unneeded_indexes(workspace: Workspace, known: set[str]) -> list[Path]:
    """Full-text indexes and vectors of content that no version has; both are made again from rows."""
    found = []
    for folder in ("search", "vectors"):
        place = workspace.datasets / folder
        if place.is_dir():
            found += [path for path in sorted(place.iterdir()) if path.name.partition(".")[0] not in known]
    return found
