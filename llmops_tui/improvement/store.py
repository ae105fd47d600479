"""The improvements of a workspace: their plans, their rows, what they found, and when they looked at sealed rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.improvement.plan import ImprovementPlan
from llmops_tui.improvement.records import ImprovedRecord, ImprovementRecord, LookedRecord, PartsRecord
from llmops_tui.jobs.store import JobStore
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.ids import resolve_prefix
from llmops_tui.workspace.json_columns import kept
from llmops_tui.workspace.layout import within

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog

SO_FAR = "so-far.json"
# A prompt, and those that have a version with the same text, such as a copy under another name; and theirs in turn, since
# a copy of a copy learned from the same rows.
_KIN = (
    "WITH RECURSIVE kin(name) AS (SELECT ?::VARCHAR UNION SELECT theirs.prompt FROM kin "
    "JOIN prompt_versions own ON own.prompt = kin.name JOIN prompt_versions theirs ON theirs.sha256 = own.sha256) "
    "SELECT name FROM kin"
)
_COLUMNS = "id, prompt, number, started_at, plan, parts, looked, result"


@dataclass(frozen=True)
class Improvement:
    """An improvement as it is kept: its id is that of its job; ``result`` is none until it has ended well."""

    id: str
    prompt: str
    number: int
    started_at: float
    plan: JsonObject
    parts: PartsRecord | None
    looked: LookedRecord | None
    result: ImprovedRecord | None


class ImprovementStore:
    """Note, find and finish improvements."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.jobs = JobStore(EventLog(catalog.workspace))

    def folder(self, improvement: str) -> Path:
        """The folder of its job."""
        return within(self._catalog.workspace.runs, improvement)

    def note(self, improvement: str, prompt: str, number: int, plan: ImprovementPlan) -> None:
        """Note that one begins; the same again changes nothing."""
        self._catalog.write(
            lambda connection: connection.execute(
                f"INSERT OR IGNORE INTO improvements ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)",
                [improvement, prompt, number, time.time(), json.dumps(plan.as_record())],
            )
        )

    def note_parts(self, improvement: str, parts: PartsRecord) -> None:
        """Note the rows that it works with, before it does."""
        self._update(improvement, "parts", parts)

    def note_look(self, improvement: str, candidate: int, most: int | None) -> LookedRecord | None:
        """Note that the sealed rows are about to be looked at, once; a look that was noted stays as it was.

        Which look it is at these rows is counted in the transaction that notes it. One beyond ``most`` is not noted, and
        there is none: another improvement of the prompt looked since this one was begun.
        """
        known = self.get(improvement)
        if known.looked is not None:
            return known.looked
        sealed = set(known.parts["sealed"]) if known.parts is not None else set()

        def work(connection: duckdb.DuckDBPyConnection) -> LookedRecord | None:
            rows = connection.execute(
                f"SELECT id, parts FROM improvements WHERE looked IS NOT NULL AND id <> ? AND prompt IN ({_KIN})",
                [improvement, known.prompt],
            ).fetchall()
            parts = [kept("improvements", "parts", name, text) for name, text in rows]
            look = 1 + sum(not sealed.isdisjoint(one["sealed"]) for one in parts if one is not None)
            if most is not None and look > most:
                return None
            record: LookedRecord = {"at": time.time(), "candidate": candidate, "look": look}
            connection.execute("UPDATE improvements SET looked = ? WHERE id = ?", [json.dumps(record), improvement])
            return record

        return self._catalog.write(work)

    def finish(self, improvement: str, result: ImprovedRecord) -> None:
        """Note what it found."""
        self._update(improvement, "result", result)

    def _update(self, improvement: str, column: str, value: object) -> None:
        self._catalog.write(
            lambda connection: connection.execute(
                f"UPDATE improvements SET {column} = ? WHERE id = ?", [json.dumps(value), improvement]
            )
        )

    # ── finding ──

    def all(self, prompt: str = "") -> list[Improvement]:
        """All, or those of one prompt; the newest first."""
        return self._select("prompt = ?" if prompt else "true", [prompt] if prompt else [])

    def get(self, given: str) -> Improvement:
        """One by its id or the beginning of it.

        Raises:
            NotFoundError: there is no such one.
        """
        ids = [one.id for one in self.all()]
        found = resolve_prefix("improvement", given, ids)
        return next(one for one in self._select("id = ?", [found]))

    def _select(self, condition: str, values: list[Any]) -> list[Improvement]:
        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT {_COLUMNS} FROM improvements WHERE {condition} ORDER BY started_at DESC, id DESC", values
            ).fetchall()

        return [
            Improvement(
                name,
                prompt,
                int(number),
                float(at),
                cast("JsonObject", kept("improvements", "plan", name, plan)),
                cast("PartsRecord | None", kept("improvements", "parts", name, parts)),
                cast("LookedRecord | None", kept("improvements", "looked", name, looked)),
                cast("ImprovedRecord | None", kept("improvements", "result", name, result)),
            )
            for name, prompt, number, at, plan, parts, looked, result in self._catalog.read(work)
        ]

    def of_kin(self, prompt: str, apart: str = "") -> list[Improvement]:
        """Those of a prompt, and of others that have a version with the same text, such as a copy; but for one of them."""

        def work(connection: duckdb.DuckDBPyConnection) -> list[str]:
            return [str(name) for (name,) in connection.execute(_KIN, [prompt]).fetchall()]

        kin = set(self._catalog.read(work))
        return [one for one in self.all() if one.prompt in kin and one.id != apart]

    # ── what is known of one at work ──

    def keep_so_far(self, improvement: str, found: ImprovedRecord) -> None:
        """Keep what one at work has found, for whoever watches it."""
        write_atomic(self.folder(improvement) / SO_FAR, json.dumps(found))

    def so_far(self, improvement: Improvement) -> ImprovedRecord | None:
        """What an improvement found, at its end or so far; none where nothing is known yet."""
        if improvement.result is not None:
            return improvement.result
        try:
            body = parse_json(read_regular(self.folder(improvement.id) / SO_FAR))
        except (OSError, ValueError, LlmopsError):
            return None
        whole = isinstance(body, dict) and not ImprovedRecord.__required_keys__ - set(body)
        return cast("ImprovedRecord", body) if whole else None

    def records(self, improvements: Sequence[Improvement]) -> list[ImprovementRecord]:
        """Improvements as a list shows them."""
        jobs = self.jobs.newest_for([one.id for one in improvements])
        found: list[ImprovementRecord] = []
        for one in improvements:
            job = jobs.get(one.id)
            state = "done" if one.result is not None else job.state.value if job is not None else "lost"
            known = one.result or self.so_far(one)
            found.append(
                {
                    "improvement": one.id,
                    "prompt": one.prompt,
                    "seed": one.number,
                    "state": state,
                    "started_at": one.started_at,
                    "plan": one.plan,
                    "looked": one.looked,
                    "verdict": known["verdict"] if known is not None else "",
                }
            )
        return found
