"""Files held against their seals: a bit that flipped is named with its file and its place."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from llmops_tui.jobs.store import JobStore
from llmops_tui.keeping.erasing import due_mark
from llmops_tui.keeping.findings import Report
from llmops_tui.regular_files import kind_of_place
from llmops_tui.workspace import seals
from llmops_tui.workspace.catalogue import LOCK_SECONDS, book_lock
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.known_folders import may_write_in
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.sealed_names import SEALS, kind_of, sealed_files
from llmops_tui.workspace.seals import Seal
from llmops_tui.workspace.sqlite_files import copy_to_memory, open_sqlite
from llmops_tui.workspace.written import is_as_noted

_DAMAGED = "Take it from a backup (llmops restore), or look at it and accept it: llmops check --accept."


def against_seals(workspace: Workspace, report: Report, tell: Callable[[float, str], None]) -> None:
    """Compare every sealed file, and name those that have no seal yet."""
    if due_mark(workspace).exists():
        report.note(
            "what was deleted", "is in some files still, since its erasure was cut off: llmops gc --yes ends it"
        )
    known = seals.load(workspace)
    if known.damaged:
        report.error(SEALS, known.damaged, "Nothing can be compared with it. llmops check --accept makes it anew.")
        return
    if not known.files:
        report.note("files", "nothing was sealed yet, so files can only be held against the book")
        return
    there = set(sealed_files(workspace.root))
    busy: set[str] | None = None
    for number, (name, seal) in enumerate(sorted(known.files.items())):
        tell(0.5 * number / len(known.files), name)
        found = Report()
        if name in there and _still_there(workspace, name, seal, found):
            report.count("files")
        else:
            _missing(workspace, name, found)
        if found.errors and name.startswith("runs/"):
            # A job that runs, or was killed, left its folder before it could be sealed.
            busy = _unsealed_folders(workspace) if busy is None else busy
            if name.split("/")[1] in busy:
                report.note(name, "its job runs, or ended without sealing")
                continue
        if found.errors and (seals.in_noted_folder(workspace, name) or is_as_noted(workspace.root / name)):
            report.note(name, "was changed by llmops, which was interrupted before it sealed it; the next command does")
            continue
        report.findings += found.findings
    fresh = sorted(there - known.files.keys())
    if fresh:
        shown = ", ".join(fresh[:3]) + (" …" if len(fresh) > 3 else "")
        report.note("files", f"{len(fresh)} were made since the last seal and have nothing to be held against: {shown}")


def _still_there(workspace: Workspace, name: str, seal: Seal, report: Report) -> bool:
    """Compare a file that was there; false where it went since, as files of jobs do."""
    try:
        _compare(workspace, name, seal, report)
    except FileNotFoundError:
        return False
    except OSError as error:
        report.error(name, f"cannot be read: {error.strerror}", _DAMAGED)
    return True


def _missing(workspace: Workspace, name: str, report: Report) -> None:
    kind = kind_of_place(workspace.root / name)
    if kind:
        report.error(
            name, f"is {kind} now, and was a file", "Put the file back, or take it from a backup: llmops restore."
        )
        return
    rotated = (workspace.root / (name + ".1")).exists()
    if rotated or name.startswith(("backups/", "logs/")):
        return
    if name in {"history.db", "answers.db"}:
        report.note(name, "was deleted; only what was measured or kept to save time was in it")
        return
    report.error(name, "is gone", "Take it from a backup: llmops restore.")


def _compare(workspace: Workspace, name: str, seal: Seal, report: Report) -> None:
    path = workspace.root / name
    kind = kind_of(name)
    size, writes, wrong = _look(path, kind, seal)
    if path == workspace.book and writes == seal.writes and (wrong or size < seal.size):
        # Its pages change before its count of writes does: only while nobody has it open they belong together.
        with locked(book_lock(workspace), LOCK_SECONDS) as alone:
            size, writes, wrong = _look(path, kind, seal)
        if not alone and writes == seal.writes:
            report.note(name, "is in use all the time, so its pages were not compared; its rows are looked at")
            return
    if not wrong and size >= seal.size:
        if kind == "sqlite" and writes != seal.writes and size == seal.size and not _log(path):
            report.error(name, "its count of writes (bytes 60 to 63) was changed, and nothing else", _DAMAGED)
        elif size > seal.size and kind == "file":
            report.error(name, f"grew from {seal.size:,} to {size:,} bytes", _DAMAGED)
        return
    if kind in {"sqlite", "duckdb"} and (writes != seal.writes or (kind == "sqlite" and _log(path))):
        # Written since: its own structure and its rows are looked at, its pages cannot be compared.
        report.note(name, "was written since its last seal, so its pages were not compared; its rows are looked at")
        if kind == "sqlite":
            _structure(path, name, report)
        return
    # What is printed goes on in a new file when the old one is full, and of those that were full one is kept.
    if kind == "log" and (_rotated(path, seal) or (name.startswith("logs/") and path.stat().st_ino != seal.inode)):
        return
    if size < seal.size:
        report.error(name, f"is cut off: {size:,} of {seal.size:,} bytes", _DAMAGED)
        return
    part = seals.chunk_size(seal.size)
    first = wrong[0] * part
    last = min(seal.size, first + part) - 1
    more = f" and {len(wrong) - 1} more places" if len(wrong) > 1 else ""
    report.error(name, f"was changed by nothing of ours: bytes {first:,} to {last:,}{more}", _DAMAGED)


def _look(path: Path, kind: str, seal: Seal) -> tuple[int, int | None, list[int]]:
    """A file's size, its count of writes, and which of its sealed parts are not as they were.

    Where parts differ, the count is another one than the seal's also where it became so while they were read.
    """
    size = path.stat().st_size
    writes = seals.writes_of(path, kind) if size >= 100 else None
    found = seals.chunks_of(path, min(size, seal.size))
    wrong = [n for n, (a, b) in enumerate(zip(found, seal.chunks, strict=False)) if a != b]
    if size >= 100 and wrong and writes == seal.writes:
        writes = seals.writes_of(path, kind)
    return size, writes, wrong


def _changed(path: Path, seal: Seal) -> bool:
    size = path.stat().st_size
    return size < seal.size or seals.chunks_of(path, seal.size) != seal.chunks


def _log(path: Path) -> bool:
    """Whether a SQLite file has writes that are not in it yet."""
    log = path.with_name(path.name + "-wal")
    with contextlib.suppress(FileNotFoundError):
        return log.stat().st_size > 0
    return False


def _rotated(path: Path, seal: Seal) -> bool:
    """Whether what was sealed under this name is the older part of the log now."""
    older = path.with_name(path.name + ".1")
    return older.exists() and not _changed(older, seal)


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
    """The folders of jobs that run, or whose end came without a seal."""
    journal = Journal(workspace)
    try:
        store = JobStore(journal)
        return {
            (job.resumes or job.id)
            for job in store.all(100_000)
            if not job.state.final or job.state.value in {"lost", "killed"}
        }
    finally:
        journal.close()
