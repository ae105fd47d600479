"""Recorded checksums of every file of a workspace, so that later bit rot is found and located.

DuckDB has checksums of its own, but only for what is read; SQLite, logs and JSON have none. A process that
wrote files records their checksums when it ends. A checksum is of a moment: of a file that only grows, the part that was there
is compared; the databases count their writes, so a change by llmops is told from damage. The file is named seals.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import kind_of_place, read_regular
from llmops_tui.workspace.checksum_scope import CHECKSUMS_FILE, checksummed_files, kind_of
from llmops_tui.workspace.files import reason, sha256_text, write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import is_held, locked
from llmops_tui.workspace.marker import lost_files, note, require
from llmops_tui.workspace.sqlite_files import COUNTER, open_raw
from llmops_tui.workspace.written import Notes, all_noted, drop_notes, is_as_noted, is_noted, noted_something

_CHUNK = 1 << 16
_MOST_CHUNKS = 4096
# Below this a second thread takes longer to begin than it saves.
_LONG = 4 * 1024 * 1024
_WAIT_SECONDS = 10.0
# Larger files are hashed when somebody checks: the catalog, or a checkpoint's own list, has their hashes already.
LARGE = 256 * 1024 * 1024
# Where others go on in new files: what is printed, copies of the catalog.
_APPENDED = ("logs/", "backups/")
_DUCKDB_HEADERS = (4096, 8192)
_DUCKDB_HEADER = struct.Struct("<QQ")


@dataclass(frozen=True)
class FileChecksum:
    """One file as it was left: its size, when it was written, the hash of each part, and a database's count of writes.

    ``inode`` tells a file that was replaced, as we do it, from one that was changed in place, which only logs are.
    """

    size: int
    mtime_ns: int
    inode: int
    chunks: tuple[str, ...]
    writes: int | None = None

    def as_json(self) -> list[Any]:
        """As the file of checksums has it."""
        return [self.size, self.mtime_ns, self.inode, "".join(self.chunks), self.writes]

    @classmethod
    def from_json(cls, raw: list[Any]) -> FileChecksum:
        """A recorded checksum."""
        size, mtime_ns, inode, joined, writes = raw
        return cls(size, mtime_ns, inode, tuple(joined[i : i + 16] for i in range(0, len(joined), 16)), writes)


@dataclass
class Checksums:
    """All checksums of a workspace, by path below it."""

    files: dict[str, FileChecksum] = field(default_factory=dict)
    damaged: str = ""


def maintenance_lock(workspace: Workspace) -> Path:
    """The lock of a process that records checksums, backs up, restores or collects garbage."""
    return workspace.root / "keeping.lock"


def load(workspace: Workspace) -> Checksums:
    """The checksums of a workspace; ``damaged`` says what is wrong with the file of checksums itself."""
    path = workspace.root / CHECKSUMS_FILE
    try:
        raw = parse_json(read_regular(path))
        body = raw["files"]
        if sha256_text(json.dumps(body, sort_keys=True)) != raw["sha256"]:
            return Checksums(damaged="itself was changed")
        return Checksums({name: FileChecksum.from_json(checksum) for name, checksum in body.items()})
    except FileNotFoundError:
        try:
            require(workspace, path)
        except InputRefusedError as error:
            # Without the old hashes nothing can be told from damage: only somebody who looked may make new ones.
            return Checksums(damaged=error.message)
        return Checksums()
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Checksums(damaged=f"cannot be read: {reason(error)}")


def record_checksums(workspace: Workspace, *, again: bool = False, large: bool = False) -> int:
    """Record the checksums of files that changed since the last time; returns how many. ``again`` records all of them.

    Files above :data:`LARGE` are left out unless ``large`` is asked for. A file that is just being written is left for
    whoever writes it. Does nothing where another process checksums.
    """
    if workspace.read_only:
        return 0
    if not again and not _nothing_lost(workspace):
        # What is left is evidence, too.
        return 0
    # What this process wrote should not wait for the next.
    with locked(maintenance_lock(workspace), _WAIT_SECONDS if noted_something() else 0.0) as alone:
        if not alone:
            return 0
        known = load(workspace)
        if known.damaged and not again:
            # The old hashes are evidence: only somebody who looked may replace them.
            return 0
        notes = Notes(workspace.root)
        at_work = _folders_at_work(workspace)
        files, changed, unsealed = _renewed(workspace, {} if again else known.files, at_work, large=large)
        if changed or files.keys() != known.files.keys():
            _keep(workspace, files)
        notes.settle(unsealed)
    return changed


def _renewed(
    workspace: Workspace, known: dict[str, FileChecksum], at_work: tuple[str, ...], *, large: bool
) -> tuple[dict[str, FileChecksum], int, set[Path]]:
    """The checksums of all files as they are to be kept, how many are new, and what was noted and has none that is right yet."""
    files: dict[str, FileChecksum] = {}
    changed = 0
    dropped: set[str] = set()
    unsealed = {workspace.root / folder for folder in at_work}
    for name in checksummed_files(workspace.root):
        path = workspace.root / name
        before = known.get(name)
        fresh = None
        if name.startswith(at_work):
            unsealed.add(path)
        elif before is None or not _untouched(workspace, name, before):
            seen = _state(path)
            ours = before is not None and _by_us(workspace, name, large=large)
            fresh = _fresh(workspace, name, None if ours else before, large=large)
            if ours and fresh is not None and (fresh.size, fresh.mtime_ns, fresh.inode) != seen:
                fresh = None  # another one by now than the one that was compared with its note
            if ours and fresh is None and _size(path) > LARGE:
                dropped.add(name)  # the catalog has its hash; the old checksum is of what it was
            elif ours and fresh is None:
                unsealed |= {path, *path.parents}
            changed += fresh is not None
        if name not in dropped and (fresh is not None or before is not None):
            files[name] = fresh or before  # type: ignore[assignment]
    # What is gone though nobody of us took it away is evidence as well.
    gone = known.keys() - files.keys() - dropped
    return files | {n: known[n] for n in gone if _stays(workspace, n)}, changed, unsealed


def _by_us(workspace: Workspace, name: str, *, large: bool) -> bool:
    """Whether a file that is not as it was checksummed is what one of us meant to write, whoever died since."""
    path = workspace.root / name
    if in_noted_folder(workspace, name):
        return True
    # A large one is not read for this: its checksum only goes.
    return is_as_noted(path) if large or _size(path) <= LARGE else is_noted(path)


def in_noted_folder(workspace: Workspace, name: str) -> bool:
    """Whether a file is in a job's folder that was left to be checksummed by whoever comes next."""
    parts = name.split("/")
    return parts[0] == workspace.runs.name and len(parts) > 2 and all_noted(workspace.runs / parts[1])


def _stays(workspace: Workspace, name: str) -> bool:
    """Whether the checksum of a file that is gone stays: ours go by our own hand, which says so (:func:`forget`, notes).

    Databases of what was only measured, logs and copies may be deleted, but nothing else may lie in their place.
    """
    path = workspace.root / name
    if in_noted_folder(workspace, name) or (not os.path.lexists(path) and is_as_noted(path)):
        return False
    missed = kind_of(name) in {"file", "log"} and not name.startswith(_APPENDED)
    return missed or bool(kind_of_place(path))


def _fresh(workspace: Workspace, name: str, before: FileChecksum | None, *, large: bool) -> FileChecksum | None:
    """The checksum of a file as it is now; none where the old one is evidence, or where it cannot be checksummed now."""
    if not large and _size(workspace.root / name) > LARGE:
        return None
    found = checksum_of_file(workspace, name)
    return None if found is not None and before is not None and _spoilt(workspace, name, before, found) else found


def _folders_at_work(workspace: Workspace) -> tuple[str, ...]:
    """The folders of jobs that somebody is at work in, who checksums them at the end."""
    return tuple(f"runs/{lock.parent.name}/" for lock in workspace.runs.glob("*/work.lock") if is_held(lock))


def forget(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Drop the checksums of files, and of folders' files, that are about to be deleted; the caller holds the maintenance lock."""
    known = load(workspace)
    places = [(path, place) for path in paths if (place := workspace.place_of(path.parent / path.name)) is not None]
    for path, _ in places:
        drop_notes(path)
    going = tuple(place.as_posix() for _, place in places)
    files = {n: s for n, s in known.files.items() if not any(n == one or n.startswith(f"{one}/") for one in going)}
    if not known.damaged and files.keys() != known.files.keys():
        _keep(workspace, files)


def _keep(workspace: Workspace, files: dict[str, FileChecksum]) -> None:
    body = {name: one.as_json() for name, one in files.items()}
    text = json.dumps({"files": body, "sha256": sha256_text(json.dumps(body, sort_keys=True))})
    write_atomic(workspace.root / CHECKSUMS_FILE, text)
    note(workspace, workspace.root / CHECKSUMS_FILE)


def _nothing_lost(workspace: Workspace) -> bool:
    try:
        return not lost_files(workspace)
    except InputRefusedError:
        return False


def checksum_of_file(workspace: Workspace, name: str) -> FileChecksum | None:
    """The checksum of one file as it is now; none where it is just being written, gone, or no file."""
    path = workspace.root / name
    if not path.is_file():
        # Opening a pipe would wait for whoever writes it.
        return None
    try:
        kind = kind_of(name)
        if kind == "sqlite":
            return _checksum_of_sqlite(path)
        facts = path.stat()
        if kind == "duckdb" and path.with_name(path.name + ".wal").exists():
            return None
        fresh = _made(path, facts, kind)
        after = path.stat()
        steady = (after.st_size, after.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    except (OSError, sqlite3.Error):
        return None
    return fresh if steady or (kind == "log" and after.st_size >= facts.st_size) else None


def chunk_size(size: int) -> int:
    """How many bytes one hash is of, in a file of ``size`` bytes: 64 KiB, more in large files."""
    part = _CHUNK
    while size > part * _MOST_CHUNKS:
        part *= 2
    return part


def chunks_of(path: Path, size: int) -> tuple[str, ...]:
    """The hash of each part of the first ``size`` bytes; the counter of writes of a SQLite file is left out.

    Those of a long file are made in two threads, which take its parts in turns.
    """
    found: dict[int, str] = {}
    blank = kind_of(path.name) == "sqlite"
    turn = Lock()
    with open_raw(path) if blank else path.open("rb") as file:
        parts = enumerate(_parts(file, size))

        def hash_parts() -> None:
            while True:
                with turn:
                    number, raw = next(parts, (0, b""))
                if not raw:
                    return
                if blank and not number:
                    raw = raw[: COUNTER.start] + b"\0\0\0\0" + raw[COUNTER.stop :]
                found[number] = hashlib.blake2b(raw, digest_size=8).hexdigest()

        if size < _LONG:
            hash_parts()
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(1) as beside:
                other = beside.submit(hash_parts)
                hash_parts()
                other.result()
    return tuple(found[number] for number in range(len(found)))


def _parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    part, left = chunk_size(size), size
    while left > 0 and (raw := file.read(min(part, left))):
        left -= len(raw)
        yield raw


def writes_of(path: Path, kind: str) -> int | None:
    """How often a database was written, as its own header tells; none for other files, and without its whole header.

    Of DuckDB the number of its newest checkpoint: two headers take turns, each a checksum and that number first.
    """
    if kind == "sqlite":
        with open_raw(path) as file:
            return int.from_bytes(file.read(COUNTER.stop)[COUNTER], "big")
    if kind == "duckdb":
        with path.open("rb") as file:
            numbers: list[int] = []
            for place in _DUCKDB_HEADERS:
                file.seek(place)
                header = file.read(_DUCKDB_HEADER.size)
                if len(header) < _DUCKDB_HEADER.size:
                    return None
                numbers.append(int(_DUCKDB_HEADER.unpack(header)[1]))
        return max(numbers)
    return None


def _made(path: Path, facts: os.stat_result, kind: str) -> FileChecksum:
    return FileChecksum(
        facts.st_size, facts.st_mtime_ns, facts.st_ino, chunks_of(path, facts.st_size), writes_of(path, kind)
    )


def _spoilt(workspace: Workspace, name: str, before: FileChecksum, fresh: FileChecksum) -> bool:
    """Whether a file was changed as we never do, in place or cut off: the old checksum is the evidence."""
    kind = kind_of(name)
    if kind == "duckdb":
        # A checkpoint may make a catalog shorter, and then it counts itself.
        return fresh.size < before.size and fresh.writes in {before.writes, None}
    if kind == "sqlite" or (before.inode != fresh.inode and name.startswith(_APPENDED)):
        return False
    return fresh.size < before.size or chunks_of(workspace.root / name, before.size) != before.chunks


def _checksum_of_sqlite(path: Path) -> FileChecksum | None:
    connection = sqlite3.connect(path, timeout=2.0, isolation_level=None)
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            return None
        # Nobody writes while this transaction is open; somebody may have before it began.
        connection.execute("BEGIN IMMEDIATE")
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return None
        facts = path.stat()
        return _made(path, facts, "sqlite")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()


def _untouched(workspace: Workspace, name: str, before: FileChecksum) -> bool:
    with contextlib.suppress(OSError):
        waiting = (workspace.root / (name + "-wal")) if kind_of(name) == "sqlite" else None
        busy = waiting is not None and waiting.exists() and waiting.stat().st_size > 0
        return _state(workspace.root / name) == (before.size, before.mtime_ns, before.inode) and not busy
    return False


def _state(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        facts = path.stat()
        return facts.st_size, facts.st_mtime_ns, facts.st_ino
    return None


def record_checksums_at_end(workspace: Workspace) -> None:
    """Record checksums when a process ends; what cannot be hashed now is left to the next process."""
    with contextlib.suppress(OSError, sqlite3.Error):
        record_checksums(workspace)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
