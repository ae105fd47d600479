"""The SQL console: one read-only SELECT over all datasets and the workspace."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.parts import PartWriter, typed_projection
from llmops_tui.datasets.records import ROW
from llmops_tui.datasets.sources.databases import plain
from llmops_tui.datasets.store import DatasetStore, check_name
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.sandbox import QUERY_SECONDS, check_select, limited, lock, open_sandbox, quote_name

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Answer:
    """What a query gave: names and types of its columns, the first rows, and whether there were more."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def run_query(store: DatasetStore, text: str, limit: int, seconds: float = QUERY_SECONDS) -> Answer:
    """Run one SELECT and give its first rows.

    Datasets are tables by name, ``triage`` the newest version and ``"triage@3"`` an old one; the tables of the workspace
    stand beside them, and as ``book.requests`` where a dataset has the same name. The workspace's own tables are a copy,
    so that however long a query takes it locks nobody out.

    Raises:
        InputRefusedError: it is not one SELECT, reaches outside, takes too long, or DuckDB refuses it.
    """
    text = check_select(text)
    with _console(store) as (connection, _), limited(connection, seconds):
        cursor = connection.execute(text)
        described = cursor.description or []
        rows = cursor.fetchmany(limit + 1)
        return Answer([d[0] for d in described], [str(d[1]) for d in described], rows[:limit], len(rows) > limit)


def save_query(store: DatasetStore, text: str, name: str) -> DatasetVersion:
    """Keep all that a SELECT gives as a version of a dataset.

    A query over datasets alone can be followed again; one that reads the workspace's tables is kept with its text.
    """
    check_name(name)
    text = check_select(text)
    with _console(store) as (connection, known), limited(connection):
        tables = _tables_of(text)
        used = [known[t] for t in sorted(tables) if t in known]
        if used and len(used) == len(tables):
            refs = [v.ref for v in used]
        else:
            folder = store.staging()
            try:
                rows = connection.execute(text).fetchall()
                columns = [d[0] for d in connection.description or []]
                return _keep_rows(store, folder, name, text, columns, rows)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return apply(store, "query", refs, {"sql": text}, name=name)


def _tables_of(text: str) -> set[str]:
    """The names that a query reads from, by its parse alone."""
    bare = connect_memory()
    try:
        return set(bare.get_table_names(text))
    finally:
        bare.close()


def _keep_rows(
    store: DatasetStore, folder: Path, name: str, text: str, columns: list[str], rows: list[tuple[Any, ...]]
) -> DatasetVersion:
    writer = PartWriter(folder)
    writer.add([{c: plain(v) for c, v in zip(columns, row, strict=True) if v is not None} for row in rows])
    kept = writer.finish()
    return store.keep(
        folder, name, kind="tabular", columns=kept, recipe=Recipe("console", {"sql": text}, ()), note="from a query"
    )


def table_names(store: DatasetStore) -> dict[str, list[str]]:
    """The tables a query may name, with their columns, for completion."""
    with _console(store) as (connection, _):
        rows = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name IN ('memory', 'book') AND NOT internal"
            " AND table_name NOT LIKE 'schema_version' ORDER BY ALL"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for table, column in rows:
        found.setdefault(str(table), []).append(str(column))
    return found


@contextmanager
def _console(store: DatasetStore) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, DatasetVersion]]]:
    logs = store.logs()
    beside = None if store.workspace.read_only else store.workspace.root
    with tempfile.TemporaryDirectory(dir=beside, prefix=".query-") as folder:
        copy = Path(folder) / "book.duckdb"
        store.catalog.snapshot(copy)
        versions = [v for log in logs.values() for v in log if any(v.folder.glob("part-*.parquet"))]
        connection = open_sandbox([f for v in versions for f in v.files], attach=copy)
        try:
            known: dict[str, DatasetVersion] = {}
            for version in versions:
                names = [version.ref] + ([version.dataset] if version == logs[version.dataset][0] else [])
                for name in names:
                    known[name] = version
                    connection.execute(f"CREATE VIEW {quote_name(name)} AS {view_sql(version)}")
            tables = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'book'"
            ).fetchall()
            for (table,) in tables:
                if table not in known and re.fullmatch(r"[a-z_]+", table):
                    connection.execute(f"CREATE VIEW {table} AS SELECT * FROM book.{table}")
            lock(connection)
            yield connection, known
        finally:
            connection.close()


def view_sql(version: DatasetVersion) -> str:
    """A SELECT of a version's rows as a query sees them: with their number, and JSON as such."""
    return f"SELECT {ROW}, {typed_projection(version.columns)} FROM {version.source}"
