"""The book: the workspace's DuckDB file, opened for one short transaction at a time and closed again.

DuckDB lets one process in, readers included. A lock file beside the book queues our own processes and names the one
inside; DuckDB's own lock, held by foreign programs, is retried until the same deadline.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.workspace.files import copy_durable, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import claim, existing, note, read_marker, require
from llmops_tui.workspace.migrations import MIGRATIONS, Migration

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

STORAGE_VERSION = "v1.5.0"
LOCK_SECONDS = 10.0
_POLL_SECONDS = 0.01
_NOTICE_BYTES = 16_384

# No extension is ever fetched or loaded, no progress bar is ever printed, and memory stays small beside a model.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "memory_limit": "1GB",
    "threads": 2,
}


def connect_memory() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the house's settings."""
    import duckdb

    connection = duckdb.connect(":memory:", config=dict(_CONFIG))
    connection.execute("SET enable_progress_bar = false")
    return connection


class Catalogue:
    """Short transactions on the book of one workspace.

    The object holds no connection and no lock between calls, and may be used from several threads and processes.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        lock_seconds: float = LOCK_SECONDS,
        migrations: tuple[Migration, ...] = MIGRATIONS,
    ) -> None:
        self.workspace = workspace
        self._lock_seconds = lock_seconds
        self._migrations = migrations

    def write(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run ``work`` in one transaction and return what it returns, committed and durable.

        Raises:
            LlmopsError: ``workspace_locked``, ``workspace_newer``, ``disk_full`` or ``book_damaged``.
        """
        import duckdb

        with self._opened() as connection:
            connection.execute("BEGIN")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, duckdb.Error):
                    raise _explain(error, self.workspace.book) from error
                raise
            return result

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """What changes whenever the book does: times and sizes of its files. Opens nothing, so it may be asked often."""
        found = []
        for path in (self.workspace.book, self.workspace.book.with_name(self.workspace.book.name + ".wal")):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size))
        return tuple(found)

    def read(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run ``work``, which only reads, and return what it returns.

        Raises:
            LlmopsError: ``workspace_locked``, ``workspace_newer`` or ``book_damaged``.
        """
        import duckdb

        with self._opened() as connection:
            try:
                return work(connection)
            except duckdb.Error as error:
                if _is_damage(str(error)):
                    raise _explain(error, self.workspace.book) from error
                raise

    def snapshot(self, target: Path) -> None:
        """Copy the book, whole and consistent, to ``target``."""
        with self._opened() as connection:
            connection.execute("CHECKPOINT")
            connection.close()
            copy_durable(self.workspace.book, target)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        existing(self.workspace)
        deadline = time.monotonic() + self._lock_seconds
        with self._queue(deadline):
            known = require(self.workspace, self.workspace.book)
            connection = self._connect(deadline)
            try:
                before = self._migrate(connection)
                claim(self.workspace, self._id(connection, new=before == 0))
                if not known:
                    note(self.workspace, self.workspace.book)
                yield connection
            finally:
                connection.close()

    @contextlib.contextmanager
    def _queue(self, deadline: float) -> Iterator[None]:
        """Wait for our turn among our own processes."""
        descriptor = os.open(book_lock(self.workspace), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        holder = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip() or "unknown"
                        raise _locked(self.workspace, f"process {holder}", self._lock_seconds) from None
                    time.sleep(_POLL_SECONDS)
            with contextlib.suppress(OSError):  # the name is a courtesy to whoever waits; a full disk must not stop us
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _connect(self, deadline: float) -> duckdb.DuckDBPyConnection:
        import duckdb

        while True:
            connection = connect_memory()
            try:
                path = str(self.workspace.book).replace("'", "''")
                connection.execute(f"ATTACH '{path}' AS book (STORAGE_VERSION '{STORAGE_VERSION}')")
                connection.execute("USE book")
            except duckdb.Error as error:
                connection.close()
                text = str(error)
                if "Could not set lock" in text or "Conflicting lock" in text:
                    if time.monotonic() > deadline:
                        raise _locked(self.workspace, text.partition(". See")[0], self._lock_seconds) from error
                    time.sleep(_POLL_SECONDS)
                    continue
                if self._set_wal_aside(text):
                    continue
                raise _explain(error, self.workspace.book) from error
            self.workspace.book.chmod(0o600)
            return connection

    def _set_wal_aside(self, text: str) -> bool:
        """Rename a write-ahead log that cannot be replayed and leave a notice; true where one was renamed."""
        wal = self.workspace.book.with_name(self.workspace.book.name + ".wal")
        if "WAL" not in text or not wal.exists():
            return False
        stamp = time.strftime("%Y%m%d-%H%M%S")
        kept = wal.with_name(f"{wal.name}.corrupt-{stamp}-{os.getpid()}")
        wal.rename(kept)
        notice = (
            f"The last changes to the book could not be replayed. They were set aside as {kept.name}; everything "
            f"saved before them is here. Cause: {text.splitlines()[0][:300]}"
        )
        with contextlib.suppress(OSError):  # on a full disk the renamed log itself still tells
            write_notice(self.workspace, notice)
        return True

    def _id(self, connection: duckdb.DuckDBPyConnection, *, new: bool) -> str:
        """The id of the workspace that the book is of; one that has none yet takes this one's."""
        row = connection.execute("SELECT id FROM workspace").fetchone()
        if row is None:
            own = read_marker(self.workspace).id or new_id("ws")
            # A book that is older than this table was made at a time that nobody noted.
            connection.execute("INSERT INTO workspace VALUES (?, ?)", [own, time.time() if new else 0.0])
            return own
        return str(row[0])

    def _migrate(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Bring the book to the newest schema; returns the one it had, 0 where it was just made."""
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        current = int(row[0]) if row and row[0] is not None else 0
        latest = self._migrations[-1].version
        if current == latest:
            return current
        if current > latest:
            raise InputRefusedError(
                "workspace_newer",
                f"the workspace {self.workspace.root} has schema {current}; this llmops knows {latest}",
                "Update llmops, or use another workspace. Nothing was changed.",
            )
        if current > 0:
            connection.execute("CHECKPOINT")
            backup = self.workspace.backups / f"workspace-schema{current}-{time.strftime('%Y%m%d-%H%M%S')}.duckdb"
            copy_durable(self.workspace.book, backup)
        for migration in self._migrations:
            if migration.version > current:
                connection.execute("BEGIN")
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (?)", [migration.version])
                connection.execute("COMMIT")
        # A log that holds DDL is the part of DuckDB where replay has failed most often: leave none behind.
        connection.execute("CHECKPOINT")
        return current


def book_lock(workspace: Workspace) -> Path:
    """The lock of whoever has the book open."""
    return workspace.root / "workspace.lock"


def write_notice(workspace: Workspace, text: str) -> None:
    """Leave a banner for the next screen or command to show, until it is dismissed."""
    write_atomic(workspace.logs / f"notice-{time.time_ns()}.txt", text)


def read_notices(workspace: Workspace) -> list[tuple[Path, str]]:
    """The banners that were not dismissed yet, oldest first; dismissing one is deleting its file.

    One that cannot be read is told as that: it must not keep anybody from working.
    """
    found = []
    for path in sorted(workspace.logs.glob("notice-*.txt")):
        if path.is_file():
            with contextlib.suppress(OSError), path.open("rb") as file:
                found.append((path, file.read(_NOTICE_BYTES).decode("utf-8", "replace")))
                continue
        if path.is_symlink() or path.exists():
            found.append((path, f"the notice {path.name} cannot be read: it is no file, or not yours"))
    return found


def _locked(workspace: Workspace, holder: str, seconds: float) -> LlmopsError:
    return LlmopsError(
        "workspace_locked",
        f"the book {workspace.book} stayed locked for {seconds:g} s by {holder}",
        "Close that program, or wait and try again. Nothing was changed.",
    )


def _is_damage(text: str) -> bool:
    return any(sign in text for sign in ("checksum", "not a valid DuckDB", "Corrupt", "Could not read enough bytes"))


def _explain(error: Exception, book: Path) -> LlmopsError:
    text = str(error).splitlines()[0][:400]
    if "No space left" in text:
        return LlmopsError("disk_full", f"no space left on the disk of {book}", "Free some space and try again.")
    if _is_damage(text):
        return LlmopsError(
            "book_damaged",
            f"the book {book} is damaged: {text}",
            f"Restore a backup (llmops restore). Copies made before migrations are in {book.parent / 'backups'}.",
        )
    return LlmopsError("book_failed", f"the book {book} refused: {text}")
