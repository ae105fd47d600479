"""The catalog: the workspace's DuckDB file, opened for one short transaction at a time.

DuckDB lets one process in, readers included. A lock file beside the catalog queues our own processes and names the one
inside; DuckDB's own lock, held by foreign programs, is retried until the same deadline.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.catalog_file import (
    OpenCatalog,
    catalog_locked,
    copy_catalog,
    explain,
    is_damage,
    open_catalog,
    rewrite_catalog,
)
from llmops_tui.workspace.files import copy_durable, sync_folder
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import claim, existing, note, read_marker, require
from llmops_tui.workspace.migrations import MIGRATIONS, Migration

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

# How long one waits for the catalog: somebody who sits before it, and a job, whose whole work would fail.
LOCK_SECONDS = 10.0
JOB_LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.01
_usual_seconds = LOCK_SECONDS

Stamp = tuple[tuple[int, int, int], ...]


class _Left(NamedTuple):
    """How this process left the files of a catalog: their stamp, the schema, and the id of the workspace."""

    stamp: Stamp
    schema: int
    id: str


_MOST_LEFT = 64
_left: dict[Path, _Left] = {}


class _Inside(threading.local):
    """The locks of catalogs that this thread is inside of."""

    def __init__(self) -> None:
        self.locks: set[Path] = set()


_inside = _Inside()


def wait_as_a_job() -> None:
    """From now on this process waits for the catalog as long as a job does."""
    global _usual_seconds  # noqa: PLW0603  a process is a job's or it is not
    _usual_seconds = JOB_LOCK_SECONDS


class Catalog:
    """Short transactions on the catalog of one workspace.

    The object holds no connection and no lock between calls, and may be used from several threads and processes.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        lock_seconds: float | None = None,
        migrations: tuple[Migration, ...] = MIGRATIONS,
    ) -> None:
        self.workspace = workspace
        self._lock_seconds = _usual_seconds if lock_seconds is None else lock_seconds
        self._migrations = migrations

    def write(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run ``work`` in one transaction and return what it returns, committed and durable.

        Raises:
            LlmopsError: ``workspace_locked``, ``workspace_newer``, ``workspace_read_only``, ``disk_full`` or ``book_damaged``.
        """
        import duckdb

        self.workspace.refuse_if_read_only()

        with self._opened() as opened:
            connection = opened.connection
            connection.execute("BEGIN")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, duckdb.Error):
                    raise explain(error, self.workspace.catalog) from error
                raise
            return result

    def stamp(self) -> Stamp:
        """What changes whenever the catalog does: its files, their times and sizes. Opens nothing, so it may be asked often."""
        found = []
        path = os.fspath(self.workspace.catalog)
        for name in (path, f"{path}.wal"):
            with contextlib.suppress(OSError):
                facts = os.stat(name)  # noqa: PTH116  a path would be made of it each second
                found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        return tuple(found)

    def read(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run ``work``, which only reads, and return what it returns.

        Raises:
            LlmopsError: ``workspace_locked``, ``workspace_newer`` or ``book_damaged``.
        """
        import duckdb

        with self._opened() as opened:
            try:
                return work(opened.connection)
            except duckdb.Error as error:
                if is_damage(str(error)):
                    raise explain(error, self.workspace.catalog) from error
                raise

    def snapshot(self, target: Path) -> None:
        """Copy the catalog, whole and consistent, to ``target``."""
        if self.workspace.read_only:
            with self._opened():
                copy_catalog(self.workspace, target)
            return
        with self._opened() as opened:
            opened.connection.execute("CHECKPOINT")
            opened.close()
            copy_durable(self.workspace.catalog, target)

    def rewrite_catalog(self) -> None:
        """Write the catalog's file anew, without what was deleted: until its pages are used again, that stays in them.

        Raises:
            LlmopsError: as :meth:`write`; the catalog is as it was then.
        """
        self.workspace.refuse_if_read_only()
        # The catalog may be a link to another disk: what is written anew is the file itself.
        db = self.workspace.catalog.resolve()
        fresh = db.with_name(f".{db.name}.anew")
        with self._opened() as opened:
            opened.connection.execute("CHECKPOINT")
            opened.close()
            # What one that was killed left is no part of it.
            for left in (fresh, fresh.with_name(fresh.name + ".wal")):
                left.unlink(missing_ok=True)
            rewrite_catalog(db, fresh)
            descriptor = os.open(fresh, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(db)
            sync_folder(db.parent)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[OpenCatalog]:
        existing(self.workspace)
        deadline = time.monotonic() + self._lock_seconds
        if self.workspace.read_only:
            with self._opened_for_reading(deadline) as opened:
                yield opened
            return
        with self._queue(deadline):
            known = require(self.workspace, self.workspace.catalog)
            stamp = self.stamp()
            opened = open_catalog(self.workspace, deadline, self._lock_seconds)
            well = False
            try:
                id_ = self._looked_at(stamp) or self._id(opened.connection, new=self._migrate(opened.connection) == 0)
                claim(self.workspace, id_)
                if not known:
                    note(self.workspace, self.workspace.catalog)
                yield opened
                well = True
            finally:
                opened.close(well=well)
            self._keep(id_)

    def _looked_at(self, stamp: Stamp) -> str | None:
        """The id of the workspace that the catalog is of, where nobody changed the files since this process left them.

        To ask the catalog takes a quarter of a short transaction.
        """
        left = _left.get(self.workspace.catalog)
        if left is not None and left.stamp == stamp and left.schema == self._migrations[-1].version:
            return left.id
        return None

    def _keep(self, id_: str) -> None:
        """Remember in which state the files of the catalog, which is locked still, are left."""
        if len(_left) >= _MOST_LEFT:
            _left.clear()
        _left[self.workspace.catalog] = _Left(self.stamp(), self._migrations[-1].version, id_)

    @contextlib.contextmanager
    def _opened_for_reading(self, deadline: float) -> Iterator[OpenCatalog]:
        """The catalog of a workspace that can only be read: no lock of ours, no migration; its log is replayed in memory."""
        require(self.workspace, self.workspace.catalog)
        opened = open_catalog(self.workspace, deadline, self._lock_seconds, read_only=True)
        try:
            found, latest = self._version(opened.connection), self._migrations[-1].version
            if found != latest:
                raise InputRefusedError(
                    "workspace_older" if found < latest else "workspace_newer",
                    f"the workspace {self.workspace.root} has schema {found}, this llmops {latest}, and it is read-only",
                    "Copy it to a writable folder.",
                )
            yield opened
        finally:
            opened.close()

    @staticmethod
    def _version(connection: duckdb.DuckDBPyConnection) -> int:
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    @contextlib.contextmanager
    def _queue(self, deadline: float) -> Iterator[None]:
        """Wait for our turn among our own processes.

        Raises:
            RuntimeError: work on the catalog asked the catalog again. It would wait for itself.
        """
        lock = catalog_lock(self.workspace)
        if lock in _inside.locks:
            raise RuntimeError(
                f"work on {self.workspace.catalog} opens it again: read what is needed before, or by its connection"
            )
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        holder = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip() or "unknown"
                        raise catalog_locked(self.workspace, f"process {holder}", self._lock_seconds) from None
                    time.sleep(_POLL_SECONDS)
            with contextlib.suppress(OSError):  # the name is a courtesy to whoever waits; a full disk must not stop us
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            _inside.locks.add(lock)
            yield
        finally:
            _inside.locks.discard(lock)
            os.close(descriptor)

    def _id(self, connection: duckdb.DuckDBPyConnection, *, new: bool) -> str:
        """The id of the workspace that the catalog is of; one that has none yet takes this one's."""
        row = connection.execute("SELECT id FROM workspace").fetchone()
        if row is None:
            own = read_marker(self.workspace).id or new_id("ws")
            # A catalog that is older than this table was made at a time that nobody noted.
            connection.execute("INSERT INTO workspace VALUES (?, ?)", [own, time.time() if new else 0.0])
            return own
        return str(row[0])

    def _migrate(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Bring the catalog to the newest schema; returns the one it had, 0 where it was just made."""
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        current = self._version(connection)
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
            copy_durable(self.workspace.catalog, backup)
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


def catalog_lock(workspace: Workspace) -> Path:
    """The lock of whoever has the catalog open."""
    return workspace.root / "workspace.lock"
