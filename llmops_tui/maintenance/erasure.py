"""Erasure: deleted data is removed from the bytes of the workspace's files, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.asking.cache import FILE as ANSWERS
from llmops_tui.maintenance.deletion import delete_paths
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sqlite_files import open_sqlite

# How long those who read a database just now are waited for.
READER_SECONDS = 15.0


def note_erasure(workspace: Workspace) -> None:
    """Note that something is about to be deleted whose bytes are to go too, until :func:`erase_deleted` comes to its end."""
    write_atomic(due_mark(workspace), "Deleted data is not erased yet: llmops gc --yes erases it.\n")


def due_mark(workspace: Workspace) -> Path:
    """The file that is there as long as an erasure has not come to its end, whoever was killed in it."""
    return workspace.root / ".erasing"


def erase_answers(workspace: Workspace, forget: Callable[[], int]) -> int:
    """Delete stored answers by ``forget``, which returns how many, and their bytes; the caller holds the maintenance lock.

    The erasure is noted before anything is deleted: after a kill, ``llmops gc`` completes it.

    Raises:
        LlmopsError: ``erasing_failed``: what was deleted is still in some pages, and ``llmops gc`` says so.
    """
    was_due = due_mark(workspace).exists()
    note_erasure(workspace)
    gone = forget()
    if (gone or was_due) and (workspace.root / ANSWERS).exists():
        forget_checksums(workspace, [workspace.root / ANSWERS])
        _write_anew(workspace.root / ANSWERS)
    if not was_due:
        due_mark(workspace).unlink(missing_ok=True)
    return gone


def erase_deleted(workspace: Workspace, others: Iterable[Path] = ()) -> list[str]:
    """Rewrite the databases and delete older copies of the catalog; returns the names of those copies.

    The caller holds the maintenance lock. ``others`` are more SQLite files to be rewritten, where they are there.

    Copies elsewhere — backups, exports, datasets made of it — stay; see :mod:`llmops_tui.maintenance.external_copies`.

    Raises:
        LlmopsError: ``disk_full``; ``erasing_failed``: what was deleted is still in some pages; try again.
    """
    # They are other files then, and the old checksums do not apply.
    databases = [path for path in (workspace.event_log, workspace.root / ANSWERS, *others) if path.exists()]
    forget_checksums(workspace, [workspace.catalog, *databases])
    Catalog(workspace).rewrite_catalog()
    for path in databases:
        _write_anew(path)
    copies = sorted(path for path in workspace.backups.glob("workspace-schema*.duckdb") if not path.is_symlink())
    delete_paths(copies)
    due_mark(workspace).unlink(missing_ok=True)
    return [path.name for path in copies]


def _write_anew(path: Path) -> None:
    """Write a SQLite file anew, and empty its log."""
    connection = open_sqlite(path, timeout=READER_SECONDS, isolation_level=None)
    try:
        # Pages that were freed before deleting overwrote them, and the log's older frames.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("VACUUM")
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise LlmopsError(
                "erasing_failed",
                f"the log of {path} still contains deleted data: another process is reading it",
                "Close the programs that use the workspace, and try again.",
            )
    except sqlite3.Error as error:
        raise LlmopsError(
            "erasing_failed",
            f"{path} could not be rewritten: {error}",
            "Close the programs that use it, and try again.",
        ) from error
    finally:
        connection.close()
