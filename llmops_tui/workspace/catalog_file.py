"""Opening of the catalog file: DuckDB's settings, its errors, and logs that it cannot replay.

Nothing that lies in a catalog reaches out of it: external access ends once the file is attached, so a view over the
reader's files, planted in a catalog that came from elsewhere, fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.system_errors import half_of_character
from llmops_tui.workspace import kept_engines
from llmops_tui.workspace.files import copy_durable
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import write_notice
from llmops_tui.workspace.wal import passed_over

if TYPE_CHECKING:
    import duckdb

STORAGE_VERSION = "v1.5.0"
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.01, 0.2
# What a log needs to be replayed where the usual memory is too little: DuckDB's own default.
_MORE_MEMORY = "80%"

# No extension is ever fetched or loaded, no progress bar is ever printed, and memory stays small beside a model.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "memory_limit": "1GB",
    "threads": 2,
}
_REPLAY = re.compile(r"(?:[\w ]+ Error: )?Failure while replaying WAL file ")
# What a machine lacks says nothing of the log. DuckDB's classes: some of its I/O errors are of the log itself.
_LACKS = ("No space left", "Permission denied", "Too many open files", "Cannot allocate memory", "Input/output error")


def connect_memory() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the house's settings."""
    import duckdb

    connection = duckdb.connect(":memory:", config=dict(_CONFIG))
    connection.execute("SET enable_progress_bar = false")
    return connection


class OpenCatalog:
    """A catalog while it is open.

    Attributes:
        connection: its default database is the catalog.
    """

    def __init__(
        self, catalog: Path, connection: duckdb.DuckDBPyConnection, engine: duckdb.DuckDBPyConnection | None
    ) -> None:
        """``engine``: what the connection is one of, and may be kept for the next; none where both go together."""
        self.connection = connection
        self._catalog = catalog
        self._engine = engine

    def close(self, *, well: bool = True) -> None:
        """Let go of the file. Where it did not go ``well``, the engine goes too: after some errors it does nothing more."""
        import duckdb

        self.connection.close()
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            engine.execute("DETACH book")
        except duckdb.Error:
            well = False
        if well:
            kept_engines.keep(self._catalog, engine)
        else:
            engine.close()


def open_catalog(workspace: Workspace, deadline: float, seconds: float, *, read_only: bool = False) -> OpenCatalog:
    """Open the catalog; waits for a foreign program's lock until ``deadline``.

    Args:
        workspace: whose catalog it is.
        deadline: on the monotonic clock.
        seconds: how long that was from the start, for the message.
        read_only: change nothing on disk; the log is replayed in memory.

    Raises:
        LlmopsError: ``workspace_locked``, ``disk_full``, ``book_damaged``, ``book_needs_memory`` or ``book_failed``.
    """
    import duckdb

    kept = None if read_only else kept_engines.take(workspace.catalog)
    if kept is not None:
        # What is wrong with the file is told by an engine that has nothing behind it.
        with contextlib.suppress(duckdb.Error):
            return _opened_by(kept, workspace, kept=True)
    memory = ""
    pause = _POLL_SECONDS
    while True:
        try:
            return _opened_by(connect_memory(), workspace, memory, read_only=read_only)
        except duckdb.Error as error:
            text = str(error)
            if "Could not set lock" in text or "Conflicting lock" in text:
                if time.monotonic() > deadline:
                    raise catalog_locked(workspace, text.partition(". See")[0], seconds) from error
                # Each try starts DuckDB: whoever waits for long looks less often.
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_POLL_SECONDS)
                continue
            if isinstance(error, duckdb.OutOfMemoryException) and not memory:
                memory = _MORE_MEMORY
                continue
            if not read_only and is_of_the_log(error) and _quarantine_log(workspace, text):
                continue
            raise explain(error, workspace.catalog) from error


def _opened_by(
    engine: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    memory: str = "",
    *,
    read_only: bool = False,
    kept: bool = False,
) -> OpenCatalog:
    """Attach the catalog to an engine, which is closed where that fails."""
    import duckdb

    suspect = None if read_only else _copy_suspect(workspace)
    # What is read alone has others beside it, and more memory is for once: such an engine is not kept.
    once = read_only or bool(memory)
    connection = engine if once else engine.cursor()
    try:
        _attach(connection, workspace.catalog, memory, read_only=read_only, kept=kept)
    except duckdb.Error:
        engine.close()
        if suspect is not None:
            suspect.unlink(missing_ok=True)
        raise
    if suspect is not None:
        _tell_of(workspace, suspect, "Its end is not valid, although it contains finished changes.")
    if not read_only:
        workspace.catalog.chmod(0o600)
    return OpenCatalog(workspace.catalog, connection, None if once else engine)


def copy_catalog(workspace: Workspace, target: Path) -> None:
    """Copy a catalog that can only be read, and that is held open so that nobody writes it, with what its log has.

    Raises:
        LlmopsError: the log cannot be replayed in the copy either.
    """
    import duckdb

    copy_durable(workspace.catalog, target)
    if _log(workspace).exists():
        copy_durable(_log(workspace), target.with_name(target.name + ".wal"))
    connection = connect_memory()
    try:
        _attach(connection, target, _MORE_MEMORY)
        connection.execute("CHECKPOINT book")
    except duckdb.Error as error:
        raise explain(error, workspace.catalog) from error
    finally:
        connection.close()


def rewrite_catalog(catalog: Path, target: Path) -> None:
    """Write all that is in a catalog to a new file, and nothing that was deleted from it; nobody may have the catalog open.

    Raises:
        LlmopsError: ``disk_full``, ``book_damaged`` or ``book_failed``: the new file is not the same, and is gone again.
    """
    import duckdb

    connection = connect_memory()
    try:
        for path, name, how in (
            (catalog, "old", "READ_ONLY"),
            (target, "fresh", f"STORAGE_VERSION '{STORAGE_VERSION}'"),
        ):
            quoted = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS {name} ({how})")
        connection.execute("COPY FROM DATABASE old TO fresh")
        connection.execute("CHECKPOINT fresh")
        if _contents(connection, "old") != _contents(connection, "fresh"):
            raise LlmopsError(
                "book_failed", f"{catalog} could not be rewritten: the copy differs", "Nothing was changed."
            )
    except duckdb.Error as error:
        target.unlink(missing_ok=True)
        raise explain(error, catalog) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        connection.close()
    target.chmod(0o600)


def _contents(connection: duckdb.DuckDBPyConnection, database: str) -> list[tuple[object, ...]]:
    """Each table of a database: how it is made, how many rows it has, and a sum of their hashes."""
    tables = connection.execute(
        "SELECT schema_name || '\".\"' || table_name, sql FROM duckdb_tables() WHERE database_name = ? ORDER BY 1",
        [database],
    ).fetchall()
    found: list[tuple[object, ...]] = []
    for name, sql in tables:
        rows = connection.execute(f'SELECT count(*), sum(hash(t)) FROM {database}."{name}" t').fetchall()
        found.append((name, str(sql), *rows[0]))
    return found


def _attach(
    connection: duckdb.DuckDBPyConnection, catalog: Path, memory: str, *, read_only: bool = False, kept: bool = False
) -> None:
    path = str(catalog).replace("'", "''")
    if memory:
        connection.execute(f"SET memory_limit = '{memory}'")
    how = "READ_ONLY" if read_only else f"STORAGE_VERSION '{STORAGE_VERSION}'"
    connection.execute(f"ATTACH '{path}' AS book ({how})")
    connection.execute("USE book")
    # The file that is attached, and its log, stay allowed: a kept engine attaches them again.
    if not kept:
        connection.execute("SET enable_external_access = false")


def is_of_the_log(error: Exception) -> bool:
    """Whether a catalog did not open because its write-ahead log is damaged, and not for want of memory, space or rights."""
    import duckdb

    text = str(error)
    lacking = isinstance(error, duckdb.OutOfMemoryException | duckdb.PermissionException | duckdb.InterruptException)
    return bool(_REPLAY.match(text)) and not lacking and not any(sign in text for sign in _LACKS)


def _log(workspace: Workspace) -> Path:
    return workspace.catalog.with_name(workspace.catalog.name + ".wal")


def _aside(workspace: Workspace) -> Path:
    wal = _log(workspace)
    return wal.with_name(f"{wal.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")


def _copy_suspect(workspace: Workspace) -> Path | None:
    """A copy of a log of which DuckDB would pass over finished changes; it would soon delete them with the log."""
    try:
        if not passed_over(_log(workspace)):
            return None
    except OSError:
        return None
    kept = _aside(workspace)
    copy_durable(_log(workspace), kept)
    return kept


def _quarantine_log(workspace: Workspace, text: str) -> bool:
    """Rename a write-ahead log that cannot be replayed and leave a notice; true where one was renamed."""
    wal = _log(workspace)
    if not wal.exists():
        return False
    kept = _aside(workspace)
    wal.rename(kept)
    _tell_of(workspace, kept, f"Cause: {text.splitlines()[0][:300]}")
    return True


def _tell_of(workspace: Workspace, kept: Path, why: str) -> None:
    notice = (
        f"The last changes to the catalog could not be replayed. They were quarantined as {kept.name}; everything "
        f"saved before them is here. {why}"
    )
    with contextlib.suppress(OSError):  # on a full disk the file that was kept itself still tells
        write_notice(workspace, notice)


def catalog_locked(workspace: Workspace, holder: str, seconds: float) -> LlmopsError:
    """The error of a catalog that stayed locked; where it was this process's own work, nothing is to be closed."""
    own = holder == f"process {os.getpid()}"
    return LlmopsError(
        "workspace_locked",
        f"the catalog {workspace.catalog} stayed locked for {seconds:g} s by {'other work of this program' if own else holder}",
        "It is busy: wait and try again. Nothing was changed." if own else "Close that program, or wait and try again.",
    )


def is_damage(text: str) -> bool:
    """Whether a message of DuckDB says that a file is damaged."""
    return any(sign in text for sign in ("checksum", "not a valid DuckDB", "Corrupt", "Could not read enough bytes"))


def explain(error: Exception, catalog: Path) -> LlmopsError:
    """What an error of DuckDB on the catalog means, and what to do."""
    import duckdb

    if (half := half_of_character(error)) is not None:
        return half
    text = str(error).splitlines()[0][:400]
    if "No space left" in text:
        return LlmopsError("disk_full", f"no space left on the disk of {catalog}", "Free some space and try again.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return LlmopsError(
            "book_needs_memory",
            f"the catalog {catalog} needs more memory than is available: {text}",
            "Close other programs and try again; nothing is lost.",
        )
    if is_damage(text):
        return LlmopsError(
            "book_damaged",
            f"the catalog {catalog} is damaged: {text}",
            f"Restore a backup (llmops restore). Copies made before migrations are in {catalog.parent / 'backups'}.",
        )
    return LlmopsError("book_failed", f"the catalog {catalog} failed: {text}")
