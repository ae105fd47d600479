"""Recorded series in three resolutions — 1 s, 10 s, 1 min — kept across restarts.

A SQLite file of its own: it is written every few seconds, may lose its last seconds with the machine, and is dropped
as a whole without harm. Values of one series that follow one another lie together, so that months are read at once.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.changes import Change
from llmops_tui.monitoring.history_file import ALERT_COLUMNS, NO_WORST, alert_of, open_file
from llmops_tui.monitoring.latency import Minute
from llmops_tui.monitoring.resolutions import RESOLUTIONS, Curve, Resolution, Tail, values_of
from llmops_tui.workspace.clock_check import refuse_if_ahead
from llmops_tui.workspace.known_folders import may_write_in
from llmops_tui.workspace.sqlite_files import OpenedFile, counted_write, is_full

FLUSH_SECONDS = 10
# What waits for a disk that takes nothing: of a hundred series more than an hour, in some ten MB of memory.
_MOST_WAITING = 10_000
# A clock that is so far ahead of what was measured last is believed when so much was measured by it.
_LEAP_SECONDS = 7 * 86_400
_PROOF_SECONDS = 86_400


class History:
    """Append values and read curves. One process writes (see ``Recorder``); any number read. Safe between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: OpenedFile | None = None
        self._tails: dict[tuple[str, int], Tail] = {}
        self._dirty: set[tuple[str, int]] = set()
        # Tails that are full and not on the disk yet, by series, grain and place, the oldest first.
        self._waiting: dict[tuple[str, int, int], np.ndarray[Any, Any]] = {}

    # ── writing ──

    def add(self, at: float, values: dict[str, float | None]) -> None:
        """Take in values measured at a moment; what is None or not a number leaves a gap.

        Writes nothing but where too much waits for :meth:`flush`; what then cannot be written is dropped, the oldest
        first.

        Raises:
            LlmopsError: ``history_failed``: the file cannot be read.
        """
        with self._lock:
            for series, value in values.items():
                if value is not None and math.isfinite(value):
                    for index, resolution in enumerate(RESOLUTIONS):
                        self._put(series, index, resolution, int(at), value)
            if len(self._waiting) > _MOST_WAITING:
                with contextlib.suppress(LlmopsError):
                    self.flush()
                while len(self._waiting) > _MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]

    def _put(self, series: str, index: int, resolution: Resolution, second: int, value: float) -> None:
        key = (series, index)
        bucket = second // resolution.seconds
        place, offset = divmod(bucket, resolution.together)
        tail = self._tails.get(key)
        if tail is None or tail.place != place:
            fresh = Tail(place, self._chunk(series, index, place))
            if tail is not None and key in self._dirty:
                # Not written here: a disk that takes nothing must hold up no look.
                self._waiting[series, index, tail.place] = tail.values
                self._dirty.discard(key)
            tail = self._tails[key] = fresh
        if tail.bucket != bucket:
            tail.bucket, tail.sum, tail.count, tail.top = bucket, 0.0, 0, -math.inf
        tail.sum += value
        tail.count += 1
        tail.top = max(tail.top, value)
        tail.values[offset, 0] = tail.sum / tail.count
        tail.values[offset, 1] = tail.top
        self._dirty.add(key)

    def flush(self) -> None:
        """Write what is new; what cannot be written is kept for the next time."""
        with self._lock:
            chunks = dict(self._waiting)
            chunks |= {(*key, self._tails[key].place): self._tails[key].values for key in self._dirty}
            if not chunks:
                return
            with self._transaction() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO chunks (series, grain, place, body) VALUES (?, ?, ?, ?)",
                    [
                        (s, RESOLUTIONS[index].seconds, place, body.tobytes())
                        for (s, index, place), body in chunks.items()
                    ],
                )
            self._waiting.clear()
            self._dirty.clear()

    def prune(self, now: float) -> None:
        """Drop what is older than its grain is kept.

        Raises:
            LlmopsError: ``clock_ahead``: the clock is far ahead of what was measured last, and nothing was dropped.
        """
        coarsest = RESOLUTIONS[-1]
        with self._lock, self._transaction() as connection:
            places = connection.execute("SELECT DISTINCT place FROM chunks WHERE grain = ?", (coarsest.seconds,))
            refuse_if_ahead(
                (int(row[0]) for row in places),
                now,
                unit=coarsest.span,
                leap=_LEAP_SECONDS // coarsest.span,
                proof=_PROOF_SECONDS // coarsest.span,
                hint="Set the clock; if it is correct, deletion resumes after a day of recording.",
            )
            for resolution in RESOLUTIONS:
                oldest = (int(now) - resolution.kept) // resolution.span
                connection.execute("DELETE FROM chunks WHERE grain = ? AND place < ?", (resolution.seconds, oldest))
            connection.execute("DELETE FROM minutes WHERE minute < ?", ((int(now) - RESOLUTIONS[-1].kept) // 60,))
            connection.execute("DELETE FROM changes WHERE at < ?", (now - RESOLUTIONS[-1].kept,))

    def keep_minutes(self, fresh: list[tuple[str, int, Minute]], cursor: tuple[str, int]) -> None:
        """Add requests to those of their minutes, as (model, minute, what is new), and up to where in which event log they go."""
        with self._lock, self._transaction() as connection:
            for model, at, minute in fresh:
                kept = connection.execute(
                    "SELECT body FROM minutes WHERE minute = ? AND model = ?", (at, model)
                ).fetchone()
                whole = minute if kept is None else Minute.load(kept[0]).plus(minute)
                connection.execute(
                    "INSERT OR REPLACE INTO minutes (model, minute, body) VALUES (?, ?, ?)", (model, at, whole.dump())
                )
            connection.execute("INSERT OR REPLACE INTO cursors (journal, seq) VALUES (?, ?)", cursor)

    def keep_alert(self, alert: Alert) -> None:
        """Keep an alert that was raised, or that it was cleared."""
        worst = NO_WORST if alert.worst is None else alert.worst
        number = alert.id
        with self._lock, self._transaction() as connection:
            if number is None:
                # A column that may not be empty is older than alerts without a value: text stands for none there.
                number = connection.execute(
                    "INSERT INTO alerts (rule, series, raised_at, cleared_at, worst, note, ended, lasted) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        alert.rule.model_dump_json(),
                        alert.series,
                        alert.raised_at,
                        alert.cleared_at,
                        worst,
                        alert.note,
                        alert.ended,
                        alert.lasted,
                    ),
                ).lastrowid
            else:
                connection.execute(
                    "UPDATE alerts SET cleared_at = ?, worst = ?, note = ?, ended = ?, lasted = ? WHERE id = ?",
                    (alert.cleared_at, worst, alert.note, alert.ended, alert.lasted, number),
                )
        # Only what is written has a number: what was rolled back is inserted when it is tried again.
        alert.id = number

    def keep_changes(self, changes: Iterable[Change], known: dict[str, str]) -> None:
        """Keep what changed, and how things are now, by kind, for whoever looks next."""
        with self._lock, self._transaction() as connection:
            connection.executemany(
                "INSERT INTO changes (at, kind, told, who) VALUES (?, ?, ?, ?)",
                [(c.at, c.kind, c.text, c.who) for c in changes],
            )
            connection.executemany("INSERT OR REPLACE INTO known (kind, value) VALUES (?, ?)", list(known.items()))

    # ── reading ──

    def known(self) -> dict[str, str]:
        """How things were when they were last looked at, by kind."""
        return dict(self._rows("SELECT kind, value FROM known"))

    def changes_between(self, begin: float, end: float) -> list[Change]:
        """What was changed between two moments, the oldest first."""
        rows = self._rows("SELECT at, kind, told, who FROM changes WHERE at BETWEEN ? AND ? ORDER BY at", (begin, end))
        return [Change(*row) for row in rows]

    def alerts(self, limit: int = 200) -> list[Alert]:
        """The newest alerts first, those that are not cleared before all others."""
        rows = self._rows(
            f"SELECT {ALERT_COLUMNS} FROM alerts ORDER BY cleared_at IS NULL DESC, raised_at DESC LIMIT ?", (limit,)
        )
        return [alert_of(row) for row in rows]

    def alert(self, number: int) -> Alert:
        """One alert by its number.

        Raises:
            NotFoundError: there is no such alert.
        """
        rows = self._rows(f"SELECT {ALERT_COLUMNS} FROM alerts WHERE id = ?", (number,))
        if not rows:
            raise NotFoundError("alert", str(number), "llmops monitor alerts shows them.")
        return alert_of(rows[0])

    def alerts_between(self, begin: float, end: float) -> list[Alert]:
        """The alerts that were raised at some time between two moments, the oldest first."""
        rows = self._rows(
            f"SELECT {ALERT_COLUMNS} FROM alerts WHERE raised_at <= ? AND coalesce(cleared_at, ?) >= ? ORDER BY raised_at",
            (end, end, begin),
        )
        return [alert_of(row) for row in rows]

    def cursor(self, event_log: str) -> int:
        """Up to where in an event log its requests are in the kept minutes."""
        rows = self._rows("SELECT seq FROM cursors WHERE journal = ?", (event_log,))
        return int(rows[0][0]) if rows else 0

    def series(self) -> list[str]:
        """The names of all series."""
        with self._lock:
            kept = {row[0] for row in self._rows("SELECT DISTINCT series FROM chunks")}
            return sorted(kept | {series for series, _ in self._tails})

    def read(self, series: str, begin: float, end: float, now: float) -> Curve:
        """A series between two moments, in the finest grain that is still kept for its beginning."""
        index = next((n for n, g in enumerate(RESOLUTIONS) if begin >= now - g.kept - g.span), len(RESOLUTIONS) - 1)
        resolution = RESOLUTIONS[index]
        first, last = int(begin) // resolution.seconds, int(end) // resolution.seconds
        places = range(first // resolution.together, last // resolution.together + 1)
        values = np.full((len(places) * resolution.together, 2), np.nan, dtype=np.float32)
        with self._lock:
            rows = self._rows(
                "SELECT place, body FROM chunks WHERE series = ? AND grain = ? AND place BETWEEN ? AND ?",
                (series, resolution.seconds, places[0], places[-1]),
            )
            chunks = {place: values_of(body) for place, body in rows}
            chunks |= {
                place: body for (name, grade, place), body in self._waiting.items() if (name, grade) == (series, index)
            }
            tail = self._tails.get((series, index))
            if tail is not None:
                chunks[tail.place] = tail.values
            for place in chunks.keys() & set(places):
                at = (place - places[0]) * resolution.together
                values[at : at + resolution.together] = chunks[place]
        skip = first - places[0] * resolution.together
        values = values[skip : skip + last - first + 1]
        times = (np.arange(first, last + 1) * resolution.seconds).astype(np.float64)
        return Curve(resolution.seconds, times, values[:, 0], values[:, 1])

    def minutes(self, begin: float, end: float) -> list[tuple[str, int, str]]:
        """The kept minutes that had requests, as (model, minute, text)."""
        return self._rows(
            "SELECT model, minute, body FROM minutes WHERE minute BETWEEN ? AND ? ORDER BY minute, model",
            (int(begin) // 60, int(end) // 60),
        )

    def close(self) -> None:
        """Write what is new and let go of the file."""
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(LlmopsError):
                    self.flush()
                self._connection.close()
                self._connection = None

    # ── the file ──

    def _chunk(self, series: str, index: int, place: int) -> np.ndarray[Any, Any]:
        # With the clock set back, one that waits is gone on with.
        waiting = self._waiting.pop((series, index, place), None)
        if waiting is not None:
            return waiting
        rows = self._rows(
            "SELECT body FROM chunks WHERE series = ? AND grain = ? AND place = ?",
            (series, RESOLUTIONS[index].seconds, place),
        )
        return values_of(rows[0][0]) if rows else np.full((RESOLUTIONS[index].together, 2), np.nan, dtype=np.float32)

    def _rows(self, query: str, given: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._opened().execute(query, given).fetchall()
            except sqlite3.Error as error:
                raise self._explain(error) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._opened()
        try:
            with counted_write(connection):
                yield connection
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._file is not None and self._file.is_outdated():
            # The file is another one, or gone: what is written to the old one nobody would find. Or this is a copy of it.
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._file = OpenedFile(self._path, copied=not may_write_in(self._path.parent))
            try:
                self._connection = open_file(self._path)
            except sqlite3.Error as error:
                raise self._explain(error) from error
            self._file.is_open()
        return self._connection

    def _explain(self, error: sqlite3.Error) -> LlmopsError:
        if is_full(error, self._path):
            return LlmopsError("disk_full", f"no space left for {self._path}", "Free some space; monitoring continues.")
        return LlmopsError(
            "history_failed",
            f"the history {self._path} failed: {error}",
            "llmops check shows details. The file can be deleted: it has only past measurements.",
        )
