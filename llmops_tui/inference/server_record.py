"""The record of a model server: where it listens, the key it asks for, and which process it is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from llmops_tui.inference.options import AskedRecord, ServingRecord
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.models.engine_settings import SettingsRecord
from llmops_tui.regular_files import read_regular


class ServedRecord(SettingsRecord, ServingRecord, total=False):
    """What a server is started with: as :class:`llmops_tui.inference.server.options.ServerOptions`."""

    workspace: str
    model: str
    path: str
    sha256: str
    socket: str
    key: str
    chat_template: str | None


class ServerRecord(TypedDict, total=False):
    """The record: which process it is, as :class:`ProcessIdentity`, and what it was started with and asked for."""

    pid: int
    started: float
    options: ServedRecord
    asked: AskedRecord
    notes: list[str]
    lock: int  # the inode of the lock that the server holds


@dataclass(frozen=True)
class ServerHandle:
    """A running model server: where it listens, and the key it asks for."""

    model: str
    sha256: str
    socket: str
    key: str
    process: ProcessIdentity
    address: str = ""
    # The options it was asked for with, as JSON has them, and what of them could not be had.
    asked: AskedRecord = field(default_factory=AskedRecord)
    notes: tuple[str, ...] = ()
    # The inode of the lock that it holds; 0 where an earlier version did not note it.
    lock: int = 0

    @property
    def private(self) -> bool:
        """Whether it was started for the app or a command, and has no address that anybody else was told."""
        return not self.asked.get("host") and not self.asked.get("socket")


def address_of(host: str, port: int, *, encrypted: bool = False) -> str:
    """The address of a server that listens there; none without a host."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{shown}:{port}" if host else ""


def read_record(path: Path) -> ServerHandle | None:
    """What is recorded of a server; none where there is nothing, or nothing that can be understood."""
    try:
        state: ServerRecord = json.loads(read_regular(path))
        return handle_of(state, ProcessIdentity(int(state["pid"]), float(state["started"])))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def handle_of(state: ServerRecord, identity: ProcessIdentity) -> ServerHandle:
    """A server by its record and the process that it is."""
    options = state["options"]
    return ServerHandle(
        options["model"],
        options["sha256"],
        options["socket"],
        options["key"],
        identity,
        address_of(options.get("host", ""), options.get("port", 0), encrypted=bool(options.get("tls_cert"))),
        state.get("asked", AskedRecord()),
        tuple(state.get("notes", ())),
        int(state.get("lock", 0)),
    )


def age_of(path: Path) -> float:
    """Seconds since a file was written; 0 where there is none, or it is of a time to come."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0
