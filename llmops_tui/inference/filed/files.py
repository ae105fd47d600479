"""Files that clients of a server have sent, kept in the workspace: each belongs to a client's key, and goes after its time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO, TypedDict

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.workspace.files import make_folder_within, sync_folder
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.written import remove_noted, write_noted

MAX_FILE = 100_000_000
"""Bytes of one file."""
MAX_CLIENT = 1_000_000_000
"""Bytes of all files of one client."""
MAX_COUNT = 1_000
"""Files of one client."""
DAYS = 30
"""How long a file is kept unless its request says otherwise."""
_DAY = 24 * 3600
# What an upload that was killed left behind.
_STALE_SECONDS = 3600
_PATIENCE_SECONDS = 10.0
FILE_ID = re.compile(r"file_[0-9a-z_]{1,60}")
"""What the id of a file looks like; it is part of a path."""
_CHUNK = 1 << 20


class FileRecord(TypedDict):
    """A file: whose it is, by the name of the key; moments in seconds since 1970."""

    id: str
    owner: str
    filename: str
    bytes: int
    purpose: str
    created_at: int
    expires_at: int


class FileStore:
    """The files of one workspace. ``used`` tells the ids of files that are at work and do not go."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        used: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._used = used
        self._clock = clock

    @property
    def folder(self) -> Path:
        """Where they are; made when there is a first one."""
        return self._workspace.root / "files"

    def path(self, record: FileRecord) -> Path:
        """Where a file's content is."""
        return self.folder / f"{record['id']}.jsonl"

    def add(self, owner: str, filename: str, source: BinaryIO, *, seconds: int = DAYS * _DAY) -> FileRecord:
        """Keep a copy of what a client sent; it is on disk when this returns.

        Raises:
            InputRefusedError: ``file_too_large`` or ``files_full``.
            LlmopsError: ``file_not_kept``: it cannot be written.
        """
        name = new_id("file")
        part = self.folder / f"{name}.part"
        try:
            self.prune()
            make_folder_within(self.folder)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
                size = file.tell()
                if size > MAX_FILE:
                    raise InputRefusedError(
                        "file_too_large", f"the file is larger than {MAX_FILE:,} bytes", "Split it."
                    )
                file.flush()
                os.fsync(file.fileno())
            return self._record(part, name, owner, filename, "batch", seconds, size)
        except OSError as error:
            raise LlmopsError("file_not_kept", f"the file cannot be kept: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def put(self, name: str, owner: str, filename: str, lines: Iterable[bytes], *, seconds: int) -> FileRecord:
        """Keep what a batch came to, under an id that it has once and for all: made again, it is the same file."""
        part = self.folder / f".{name}.{os.urandom(4).hex()}.part"
        try:
            make_folder_within(self.folder)
            size = 0
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for line in lines:
                    size += file.write(line)
                file.flush()
                os.fsync(file.fileno())
            return self._record(part, name, owner, filename, "batch_output", seconds, size, bounded=False)
        except OSError as error:
            raise LlmopsError("file_not_kept", f"the file cannot be kept: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def _record(
        self,
        part: Path,
        name: str,
        owner: str,
        filename: str,
        purpose: str,
        seconds: int,
        size: int,
        *,
        bounded: bool = True,
    ) -> FileRecord:
        now = int(self._clock())
        record: FileRecord = {
            "id": name,
            "owner": owner,
            "filename": filename[:200],
            "bytes": size,
            "purpose": purpose,
            "created_at": now,
            "expires_at": now + seconds,
        }
        with locked(self.folder / "files.lock", _PATIENCE_SECONDS) as alone:
            if not alone:
                raise LlmopsError("file_not_kept", "another file is being kept, and has not finished", "Try again.")
            mine = self.all(owner)
            if bounded and len(mine) >= MAX_COUNT:
                raise InputRefusedError(
                    "files_full", f"{MAX_COUNT:,} files of this key are kept already", "Delete some."
                )
            if bounded and sum(one["bytes"] for one in mine) + size > MAX_CLIENT:
                told = f"the files of this key would have more than {MAX_CLIENT:,} bytes"
                raise InputRefusedError("files_full", told, "Delete some.")
            # What has a record is whole.
            part.replace(self.path(record))
            sync_folder(self.folder)
            write_noted(self.folder / f"{name}.json", json.dumps(record))
        return record

    def all(self, owner: str) -> list[FileRecord]:
        """The files of a client that are not over their time, the oldest first."""
        now = self._clock()
        mine = [one for one in self._records() if one["owner"] == owner and not self._over(one, now, ())]
        return sorted(mine, key=lambda one: (one["created_at"], one["id"]))

    def records(self) -> list[FileRecord]:
        """All files of all clients that are recorded, the oldest first."""
        return sorted(self._records(), key=lambda one: (one["created_at"], one["id"]))

    def in_use(self) -> set[str]:
        """The ids of files that are at work."""
        return set(self._used())

    def get(self, owner: str, name: str) -> FileRecord:
        """A file of a client.

        Raises:
            LlmopsError: ``file_not_found``: it is not kept, or is another client's.
        """
        record = _read(self.folder / f"{name}.json") if FILE_ID.fullmatch(name) else None
        if record is None or record["owner"] != owner or self._over(record, self._clock(), self._used()):
            hint = (
                f"Files belong to the key they were sent with, and are kept for {DAYS} days unless that says otherwise."
            )
            raise LlmopsError("file_not_found", f"no file {name[:100]!r} of this key is kept here", hint)
        return record

    def delete(self, owner: str, name: str) -> None:
        """Remove a file.

        Raises:
            LlmopsError: as :meth:`get`.
            InputRefusedError: ``file_in_use``: a batch answers it.
        """
        self.get(owner, name)
        if name in self._used():
            raise InputRefusedError("file_in_use", f"a batch answers {name!r}", "Cancel the batch first.")
        self._remove(name)

    def prune(self) -> None:
        """Remove what is over its time, and what uploads left that were killed."""
        now, used = self._clock(), self._used()
        for record in self._records():
            if self._over(record, now, used):
                self._remove(record["id"])
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.suffix in {".part", ".jsonl"} and not self._recorded(path):
                    with contextlib.suppress(FileNotFoundError):
                        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                            remove_noted(path)

    def _recorded(self, path: Path) -> bool:
        return path.suffix == ".jsonl" and path.with_suffix(".json").exists()

    def _records(self) -> list[FileRecord]:
        try:
            paths = [path for path in self.folder.iterdir() if path.suffix == ".json" and FILE_ID.fullmatch(path.stem)]
        except FileNotFoundError:
            return []
        return [record for path in paths if (record := _read(path)) is not None]

    @staticmethod
    def _over(record: FileRecord, now: float, used: Collection[str]) -> bool:
        return record["expires_at"] <= now and record["id"] not in used

    def _remove(self, name: str) -> None:
        # The record first: what has none is nobody's, and goes by itself.
        for ending in (".json", ".jsonl"):
            remove_noted(self.folder / f"{name}{ending}")


def _read(path: Path) -> FileRecord | None:
    """A record; none where it is gone or damaged, or another's: a workspace may come from elsewhere."""
    try:
        given = parse_json(path.read_bytes())
        if given["id"] != path.stem:
            return None
        return {
            "id": path.stem,
            "owner": str(given["owner"]),
            "filename": str(given["filename"]),
            "bytes": int(given["bytes"]),
            "purpose": str(given["purpose"]),
            "created_at": int(given["created_at"]),
            "expires_at": int(given["expires_at"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
