"""The records that an import or the filters of a synthesis rejected, stored as a Parquet file with the version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.datasets.sources.base import BATCH_BYTES, Reject
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import LlmopsError
from llmops_tui.regular_files import kind_of_place
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.files import make_folder_within, sync_file
from llmops_tui.workspace.sandbox import quote_text

if TYPE_CHECKING:
    from llmops_tui.workspace.layout import Workspace


# The operations whose versions have such records: rows that a model wrote and filters dropped are kept like them.
HAVE_REJECTS = frozenset({"import", "synthesise"})


def rejects_path(workspace: Workspace, version: DatasetVersion) -> Path:
    """Where the records are that an import rejected."""
    return workspace.datasets / "rejected" / f"{version.id}.parquet"


def write_rejects(workspace: Workspace, version: DatasetVersion, lines: Path) -> None:
    """Keep the records that were rejected, from lines of JSON with their bytes in base 64."""
    path = rejects_path(workspace, version)
    make_folder_within(path.parent)
    fresh = path.with_suffix(".part")
    columns = (
        "{source: 'VARCHAR', line: 'BIGINT', \"offset\": 'BIGINT', length: 'BIGINT', reason: 'VARCHAR', raw: 'VARCHAR'}"
    )
    connection = connect_memory()
    try:
        connection.execute(
            f"COPY (SELECT * REPLACE (from_base64(raw) AS raw) FROM read_json({quote_text(str(lines))}, columns = {columns},"
            f" format = 'newline_delimited', maximum_object_size = {2 * BATCH_BYTES}))"
            f" TO {quote_text(str(fresh))} (FORMAT parquet)"
        )
    finally:
        connection.close()
    sync_file(fresh)
    fresh.replace(path)


def read_rejects(workspace: Workspace, version: DatasetVersion, limit: int = 1000) -> list[Reject]:
    """The records that an import rejected, in the order of the files.

    Raises:
        LlmopsError: ``rejects_damaged``: they cannot be read, or are gone.
    """
    import duckdb

    path = rejects_path(workspace, version)
    if not version.rejected:
        return []
    # A pipe in its place would be waited for.
    why = (
        "" if path.is_file() else f"it is {kind_of_place(path)}, not a file" if path.exists() else "the file is missing"
    )
    if why:
        raise _rejects_damaged(path, why)
    connection = connect_memory()
    try:
        rows = connection.execute(f"SELECT * FROM read_parquet({quote_text(str(path))}) LIMIT {limit}").fetchall()
    except duckdb.Error as error:
        raise _rejects_damaged(path, str(error).splitlines()[0][:200]) from error
    finally:
        connection.close()
    return [Reject(str(r[0]), int(r[1]), int(r[2]), int(r[3]), str(r[4]), bytes(r[5])) for r in rows]


def _rejects_damaged(path: Path, why: str) -> LlmopsError:
    return LlmopsError(
        "rejects_damaged",
        f"the rejected records in {path} cannot be read: {why}",
        "Restore the file from a backup: llmops restore.",
    )
