"""Where the acts of a workspace are kept that can be taken back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import cast

from llmops_tui.maintenance.acts import Act, ActRecord, HistoryRecord, read_acts
from llmops_tui.workspace.event_log import EventLog

_KEY = "undo"


class ActLog:
    """The acts, the oldest first; what cannot be read of them is left out."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def acts(self) -> list[Act]:
        """All that are kept."""
        with suppress(ValueError, TypeError):
            return read_acts(cast("HistoryRecord | None", self._event_log.load_draft(_KEY)))
        return []

    def change(self, work: Callable[[list[Act]], list[Act]]) -> None:
        """Change what is kept."""
        with self._record() as body:
            body["acts"] = [cast("ActRecord", asdict(act)) for act in work(read_acts(body))]

    def jobs_until(self) -> float:
        """When the last job ended whose work is in the history; 0 where none is."""
        with suppress(ValueError, TypeError):
            return float((self._event_log.load_draft(_KEY) or {}).get("jobs", 0.0))
        return 0.0

    def note_jobs(self, until: float) -> None:
        """The work of jobs that ended until then is in the history."""
        with self._record() as body:
            body["jobs"] = until

    @contextmanager
    def _record(self) -> Iterator[HistoryRecord]:
        """The record, read and written in one transaction: other processes add to it as well."""
        with self._event_log.transaction() as connection:
            row = connection.execute("SELECT body FROM drafts WHERE key = ?", (_KEY,)).fetchone()
            body: HistoryRecord = {}
            with suppress(ValueError, TypeError):
                body = cast("HistoryRecord", dict(json.loads(row[0]))) if row is not None else {}
            yield body
            connection.execute(
                "INSERT OR REPLACE INTO drafts (key, body, at) VALUES (?, ?, ?)",
                (_KEY, json.dumps(body, ensure_ascii=True), time.time()),
            )
