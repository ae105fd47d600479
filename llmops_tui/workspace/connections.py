"""Connections to an SQLite file: one per thread, shared by all users in that thread, reused when the thread ends.

Python's connections are in a circle with their own caches, so one that is merely dropped lives until the collector comes by;
and of one that is closed SQLite keeps the descriptor as long as another of the process is open, since closing that would
drop the locks of all. So one for each thread and object that used an event log came to dozens, which grew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llmops_tui.workspace.sqlite_files import OpenedFile

# How many that no thread has are kept open for the next.
_MOST_FREE = 4


class Opened(NamedTuple):
    """A connection that threads may pass on (``check_same_thread``), and the file it was opened on."""

    connection: sqlite3.Connection
    file: OpenedFile


class _Held:
    """What a thread has, and who uses it there."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.users: weakref.WeakSet[object] = weakref.WeakSet()


class Connections:
    """The connections of this process to one file; closed when nobody has this object or one of them any more."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._free: list[Opened] = []
        weakref.finalize(self, _close_all, self._free).atexit = False

    def get(self, user: object, open_one: Callable[[], Opened]) -> sqlite3.Connection:
        """This thread's connection, opened where it has none, or the file is another one by now."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None and held.opened.file.is_outdated():
            self._close(held)
            held = None
        if held is None:
            held = self._local.held = _Held(self._taken() or open_one())
            passing = weakref.finalize(held, _pass_on, weakref.ref(self), held.opened)
            passing.atexit = False
            self._local.passing = passing
        held.users.add(user)
        return held.opened.connection

    def close(self, user: object) -> None:
        """Close this thread's connection, where nobody else uses it."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None:
            held.users.discard(user)
            if not held.users:
                self._close(held)

    def pass_on(self, opened: Opened) -> None:
        """Take the connection of a thread that ended."""
        if opened.connection.in_transaction or len(self._free) >= _MOST_FREE:
            opened.connection.close()
        else:
            self._free.append(opened)

    def _close(self, held: _Held) -> None:
        self._local.passing.detach()
        self._local.held = None
        held.opened.connection.close()

    def _taken(self) -> Opened | None:
        """One that a thread which ended left."""
        with contextlib.suppress(IndexError):
            while True:
                found = self._free.pop()
                if not found.file.is_outdated():
                    return found
                found.connection.close()
        return None


# By the file, as long as anybody has them.
_KNOWN: weakref.WeakValueDictionary[Path, Connections] = weakref.WeakValueDictionary()
_KNOWING = threading.Lock()


def connections_of(path: Path) -> Connections:
    """Those of this process to a file."""
    with _KNOWING:
        return _KNOWN.setdefault(path, Connections())


def _pass_on(connections: weakref.ref[Connections], opened: Opened) -> None:
    theirs = connections()
    # Where nobody has those any more, somebody may still read from this one, which is closed after that.
    if theirs is not None:
        theirs.pass_on(opened)


def _close_all(free: list[Opened]) -> None:
    while free:
        free.pop().connection.close()
