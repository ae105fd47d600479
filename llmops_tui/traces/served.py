"""What answered at a moment: which servers ran, by the audit, and what the answers around it came from, by the traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.inference.server.serving_note import BEGAN, ENDED
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.audit import RESTORED, entries
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

# Answers so long before and after a moment say what answered then.
_AROUND = 300.0


class ServedRecord(TypedDict):
    """As JSON; moments are seconds since 1970."""

    model: str
    sha256: str | None
    source: str
    since: float
    until: float | None
    end: str
    requests: int


@dataclass(frozen=True)
class Served:
    """One that answered, or could have: its file's hash, since when and until when it is known to; ``model`` may name an adapter.

    ``source`` is ``audit`` or ``traces``; where ``until`` is none, ``end`` says why.
    """

    model: str
    sha256: str | None
    source: str
    since: float
    until: float | None
    end: str
    requests: int = 0

    def as_record(self) -> ServedRecord:
        """For JSON."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "source": self.source,
            "since": self.since,
            "until": self.until,
            "end": self.end,
            "requests": self.requests,
        }


def served_at(catalog: Catalog, event_log: EventLog, moment: float) -> list[Served]:
    """What served at a moment: servers that had begun and not ended, then the models of answers within five minutes of it."""
    ingest(catalog, event_log)
    names = {model.sha256: model.name for model in ModelRegistry(catalog).all()}
    return [*_servers(event_log, moment, names), *_answers(catalog, moment)]


def _servers(event_log: EventLog, moment: float, names: dict[str, str]) -> list[Served]:
    begun: dict[int, Served] = {}
    over: dict[int, float] = {}
    replaced: dict[int, tuple[float, str]] = {}
    for entry in entries(event_log.connection()):
        if entry.kind == BEGAN:
            # One that had not said that it ends was killed at the latest when the next one of the same name began.
            for seq, one in begun.items():
                if one.sha256 == (entry.subject or None) and seq not in over:
                    replaced.setdefault(seq, (entry.at, "killed before the next one began"))
            name = names.get(entry.subject, "all models" if not entry.subject else "a model that is registered no more")
            begun[entry.seq] = Served(name, entry.subject or None, "audit", entry.at, None, "")
        elif entry.kind == ENDED:
            over[int(entry.facts.get("began") or 0)] = entry.at
        elif entry.kind == RESTORED:
            # None runs when a backup is put in place; those that the backup saw running ended after it was made.
            for seq in begun.keys() - over.keys():
                replaced.setdefault(seq, (entry.at, "ended before a backup was restored"))
    found = []
    for seq, one in begun.items():
        until = over.get(seq)
        later, why = replaced.get(seq, (None, "no end was written"))
        latest = until if until is not None else later
        if one.since > moment or (latest is not None and latest < moment):
            continue
        found.append(Served(one.model, one.sha256, "audit", one.since, until, "" if until is not None else why))
    return found


def _answers(catalog: Catalog, moment: float) -> list[Served]:
    def read(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None, float, float, int]]:
        over = "started_at + coalesce(total_ms, 0) / 1000"
        return connection.execute(
            f"SELECT model, model_sha256, min(started_at), max({over}), count(*) FROM requests "
            # What other applications sent of theirs was answered elsewhere.
            f"WHERE started_at <= ? AND {over} >= ? AND json_extract(client, '$.otlp') IS NULL GROUP BY ALL ORDER BY 5 DESC",
            [moment + _AROUND, moment - _AROUND],
        ).fetchall()

    return [
        Served(model, sha256, "traces", first, last, "", count)
        for model, sha256, first, last, count in catalog.read(read)
    ]
