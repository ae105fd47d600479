"""DuckDB's engines that a process keeps from one short transaction to the next: to start one takes longer than most of these.

An engine is kept with nothing attached, for the one catalog that it may open, or the one folder that it may read: external
access has ended in it for good.
"""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_MOST = 4
_idle: dict[Path, duckdb.DuckDBPyConnection] = {}
_lock = threading.Lock()


def take(place: Path) -> duckdb.DuckDBPyConnection | None:
    """The engine that was kept for a catalog or a folder, which nobody else gets until it is kept again; None where none was."""
    with _lock:
        return _idle.pop(place, None)


def keep(place: Path, engine: duckdb.DuckDBPyConnection) -> None:
    """Keep an engine; where there are too many, the one that was kept first is closed."""
    with _lock:
        ended = [_idle.pop(place)] if place in _idle else []
        _idle[place] = engine
        if len(_idle) > _MOST:
            ended.append(_idle.pop(next(iter(_idle))))
    for old in ended:
        old.close()


def close_kept() -> None:
    """Close all that are kept."""
    with _lock:
        _close_all()


def _close_all() -> None:
    ended = list(_idle.values())
    _idle.clear()
    for engine in ended:
        engine.close()


def _before_fork() -> None:
    """Close them, for a fork would miss their threads; no other thread keeps one, or has the lock, until it is made."""
    _lock.acquire()
    _close_all()


os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_lock.release)
atexit.register(close_kept)
