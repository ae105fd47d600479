"""Integrity check of files: a flipped bit is reported with its file and position."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.erasure import due_mark
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.findings import Report
from llmops_tui.regular_files import kind_of_place
from llmops_tui.workspace import checksums
from llmops_tui.workspace.catalog import LOCK_SECONDS, catalog_lock
from llmops_tui.workspace.checksum_scope import CHECKSUMS_FILE, checksummed_files, kind_of
from llmops_tui.workspace.checksums import FileChecksum
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.known_folders import may_write_in
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.sqlite_files import copy_to_memory, open_sqlite
from llmops_tui.workspace.written import is_as_noted

_DAMAGED = "Restore it from a backup (llmops restore), or inspect and accept it: llmops check --accept."


def against_checksums(workspace: Workspace, report: Report, tell: Callable[[float, str], None]) -> None:
    """Compare every checksummed file, and name those that have no checksum yet."""
    if due_mark(workspace).exists():
        report.note(
            "what was deleted",
            "is still in some files, because its erasure was interrupted: llmops gc --yes completes it",
        )
    _begun_erasures(workspace, report)
    known = checksums.load(workspace)
    if known.damaged:
        report.error(
            CHECKSUMS_FILE, known.damaged, "Nothing can be compared with it. llmops check --accept creates it again."
        )
        return
    if not known.files:
        report.note("files", "no checksums were recorded yet, so files can only be compared with the catalog")
        return
    there = set(checksummed_files(workspace.root))
    busy: set[str] | None = None
    for number, (name, checksum) in enumerate(sorted(known.files.items())):
        tell(0.5 * number / len(known.files), name)
        found = Report()
        if name in there and _still_there(workspace, name, checksum, found):
            report.count("files")
        else:
            _missing(workspace, name, found)
        if found.errors and name.startswith("runs/"):
            # A job that runs, or was killed, left its folder before it could be checksummed.
            busy = _unsealed_folders(workspace) if busy is None else busy
            if name.split("/")[1] in busy:
                report.note(name, "its job runs, or ended without recording checksums")
                continue
        if found.errors and (checksums.in_noted_folder(workspace, name) or is_as_noted(workspace.root / name)):
            report.note(
                name,
                "was changed by llmops, which was interrupted before it recorded the checksum; the next command records it",
            )
            continue
        report.findings += found.findings
    fresh = sorted(there - known.files.keys())
    if fresh:
        shown = ", ".join(fresh[:3]) + (" …" if len(fresh) > 3 else "")
        report.note(
            "files",
            f"{counted(len(fresh), 'file was', 'files were')} created since the last checksums and cannot be compared: {shown}",
        )


def _begun_erasures(workspace: Workspace, report: Report) -> None:
    try:
        begun = Ledger(workspace).begun()
    except LlmopsError as error:
        report.failed("erasures.json", error)
        return
    for erasure in begun:
        report.error(
            f"erasure {erasure['id']}",
            "was begun and interrupted: the person is still in some places",
            "llmops privacy resume completes it.",
        )


def _still_there(workspace: Workspace, name: str, checksum: FileChecksum, report: Report) -> bool:
    """Compare a file that was there; false where it went since, as files of jobs do."""
    try:
        _compare(workspace, name, checksum, report)
    except FileNotFoundError:
        return False
    except OSError as error:
        report.error(name, f"cannot be read: {error.strerror}", _DAMAGED)
    return True


def _missing(workspace: Workspace, name: str, report: Report) -> None:
    kind = kind_of_place(workspace.root / name)
    if kind:
        report.error(
            name, f"was a file and is now {kind}", "Put the file back, or restore it from a backup: llmops restore."
        )
        return
    rotated = (workspace.root / (name + ".1")).exists()
    if rotated or name.startswith(("backups/", "logs/")):
        return
    if name in {"history.db", "answers.db"}:
        report.note(name, "was deleted; it had only measurements or cached data")
        return
    report.error(name, "is gone", "Restore it from a backup: llmops restore.")


def _compare(workspace: Workspace, name: str, checksum: FileChecksum, report: Report) -> None:
    path = workspace.root / name
    kind = kind_of(name)
    size, writes, wrong = _inspect(path, kind, checksum)
    if path == workspace.catalog and writes == checksum.writes and (wrong or size < checksum.size):
        size, writes, wrong, why = _alone(workspace, checksum)
        if why:
            report.note(name, f"{why}, so its pages were not compared; its rows are checked")
            return
    if not wrong and size >= checksum.size:
        if kind == "sqlite" and writes != checksum.writes and size == checksum.size and not _log(path):
            report.error(name, "its count of writes (bytes 60 to 63) was changed, and nothing else", _DAMAGED)
        elif size > checksum.size and kind == "file":
            report.error(name, f"grew from {checksum.size:,} to {size:,} bytes", _DAMAGED)
        return
    if kind in {"sqlite", "duckdb"} and (writes not in {checksum.writes, None} or (kind == "sqlite" and _log(path))):
        # Written since: its own structure and its rows are checked, its pages cannot be compared.
        report.note(name, "was written since its last checksum, so its pages were not compared; its rows are checked")
        if kind == "sqlite":
            _structure(path, name, report)
        return
    # What is printed goes on in a new file when the old one is full, and of those that were full one is kept.
    if kind == "log" and (
        _rotated(path, checksum) or (name.startswith("logs/") and path.stat().st_ino != checksum.inode)
    ):
        return
    if size < checksum.size:
        report.error(name, f"is truncated: {size:,} of {checksum.size:,} bytes", _DAMAGED)
        return
    part = checksums.chunk_size(checksum.size)
    first = wrong[0] * part
    last = min(checksum.size, first + part) - 1
    more = f" and {counted(len(wrong) - 1, 'more place')}" if len(wrong) > 1 else ""
    report.error(name, f"was not changed by llmops: bytes {first:,} to {last:,}{more}", _DAMAGED)


def _alone(workspace: Workspace, checksum: FileChecksum) -> tuple[int, int | None, list[int], str]:
    """As :func:`_inspect`, of the catalog while nobody has it open, and why its pages can tell nothing now, if they cannot.

    Its pages change before its count of writes does.
    """
    path = workspace.catalog
    with locked(catalog_lock(workspace), LOCK_SECONDS) as alone:
        found = _inspect(path, kind_of(path.name), checksum)
        logged = _log(path, ".wal")
    size, writes, _ = found
    if writes != checksum.writes:
        return *found, ""
    if not alone:
        return *found, "is in use all the time"
    # Its writes are in the log still: whoever was killed while they were moved had written pages, and not the count.
    return *found, "was being written when its writer was killed" if logged and size >= checksum.size else ""


def _inspect(path: Path, kind: str, checksum: FileChecksum) -> tuple[int, int | None, list[int]]:
    """A file's size, its count of writes, and which of its checksummed parts are not as they were.

    Where parts differ, the count is another one than the checksum's also where it became so while they were read.
    """
    size = path.stat().st_size
    writes = checksums.writes_of(path, kind) if size >= 100 else None
    found = checksums.chunks_of(path, min(size, checksum.size))
    wrong = [n for n, (a, b) in enumerate(zip(found, checksum.chunks, strict=False)) if a != b]
    if size >= 100 and wrong and writes == checksum.writes:
        writes = checksums.writes_of(path, kind)
    return size, writes, wrong


def _changed(path: Path, checksum: FileChecksum) -> bool:
    size = path.stat().st_size
    return size < checksum.size or checksums.chunks_of(path, checksum.size) != checksum.chunks


def _log(path: Path, ending: str = "-wal") -> bool:
    """Whether a database has writes that are not in it yet; ``ending`` is that of SQLite's log, ``.wal`` that of DuckDB's."""
    log = path.with_name(path.name + ending)
    with contextlib.suppress(FileNotFoundError):
        return log.stat().st_size > 0
    return False


def _rotated(path: Path, checksum: FileChecksum) -> bool:
    """Whether what was checksummed under this name is the older part of the log now."""
    older = path.with_name(path.name + ".1")
    return older.exists() and not _changed(older, checksum)


def _structure(path: Path, name: str, report: Report) -> None:
    try:
        writable = may_write_in(path.parent)
        connection = open_sqlite(path, timeout=10.0) if writable else copy_to_memory(path)
        try:
            answer = connection.execute("PRAGMA integrity_check(5)").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        report.error(name, f"cannot be read: {error}", _DAMAGED)
        return
    if answer != [("ok",)]:
        report.error(name, f"its structure is damaged: {answer[0][0]}", _DAMAGED)


def _unsealed_folders(workspace: Workspace) -> set[str]:
    """The folders of jobs that run, or whose end came without a checksum."""
    event_log = EventLog(workspace)
    try:
        store = JobStore(event_log)
        return {
            (job.resumes or job.id)
            for job in store.all(100_000)
            if not job.state.final or job.state.value in {"lost", "killed"}
        }
    finally:
        event_log.close()
