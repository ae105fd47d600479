"""What was going on around an alert: what ran, what was changed, who asked; on one line of time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.history import History
from llmops_tui.workspace.catalogue import Catalogue
from llmops_tui.workspace.folding import fold
from llmops_tui.workspace.journal import Journal

if TYPE_CHECKING:
    import duckdb

BEFORE_SECONDS = 600.0
# Of requests some that failed, and the longest: the rest is counted.
_FAILED = 20
_LONG = 5
_LONGEST_REQUEST = 3600.0
_COLUMNS = ("id", "started_at", "model", "finish_reason", "error", "total_ms", "prompt", "prompt_version", "client")
_WRITTEN = "SELECT created_at, prompt || '@' || number || ' was written' || if(note = '', '', ': ' || note) FROM prompt_versions"
_MOVED = """
    SELECT moved_at, 'label ' || label || ' of ' || prompt || ' moved from ' || coalesce(before::VARCHAR, 'nothing')
        || ' to ' || coalesce(after::VARCHAR, 'nothing')
    FROM prompt_label_moves
"""
# What the book knows the time of: kind, and a query for when and what.
_IN_THE_BOOK = (
    ("prompt", _WRITTEN),
    ("prompt", _MOVED),
    ("model", "SELECT added_at, name || ' was added' FROM models"),
    ("data", "SELECT created_at, dataset || '@' || number || ' was made' FROM dataset_versions"),
    ("recipe", "SELECT created_at, name || '@' || number || ' was written' FROM training_recipes"),
    ("suite", "SELECT created_at, name || '@' || number || ' was written' FROM evaluation_suites"),
)


@dataclass(frozen=True)
class Entry:
    """One thing at one time: ``kind`` a word, ``text`` what happened, ``who`` did it where that is known.

    ``of`` is the id of a job, a trace or an alert that it is about.
    """

    at: float
    kind: str
    text: str
    who: str = ""
    of: str = ""


@dataclass(frozen=True)
class Traffic:
    """The requests of one sender to one model in that time; times in milliseconds. ``who`` is a key's name, or ``here``."""

    model: str
    who: str
    requests: int
    failed: int
    slowest_ms: float


@dataclass(frozen=True)
class Incident:
    """An alert with what was going on from ``begin`` to ``end``, in the order of time."""

    alert: Alert
    begin: float
    end: float
    entries: tuple[Entry, ...]
    traffic: tuple[Traffic, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "alert": self.alert.as_dict(), "begin": self.begin, "end": self.end,
            "entries": [asdict(entry) for entry in self.entries], "traffic": [asdict(each) for each in self.traffic],
        }  # fmt: skip


def incident_of(
    alert: Alert, history: History, catalogue: Catalogue, journal: Journal, now: float, before: float = BEFORE_SECONDS
) -> Incident:
    """What was going on from ``before`` seconds before an alert to its end, or until now."""
    begin = alert.raised_at - before
    # With the clock set back in it, an alert may end before it begins: both are looked at.
    end = max(alert.raised_at, now if alert.cleared_at is None else alert.cleared_at)
    fold(catalogue, journal)
    changed, requests = catalogue.read(lambda book: (_changes(book, begin, end), _requests(book, begin, end)))
    entries = [
        *_alerts(history.alerts_between(begin, end)),
        *_jobs(journal, begin, end),
        *(Entry(change.at, change.kind, change.text, change.who) for change in history.changes_between(begin, end)),
        *changed,
        *_told_requests(requests),
    ]
    return Incident(alert, begin, end, tuple(sorted(entries, key=lambda entry: entry.at)), tuple(_traffic(requests)))


def _alerts(alerts: Iterable[Alert]) -> Iterable[Entry]:
    for alert in alerts:
        yield Entry(alert.raised_at, "alert", alert.text, of=str(alert.id))
        if alert.cleared_at is not None:
            yield Entry(alert.cleared_at, "alert", f"{alert.rule.name}: {alert.outcome or 'over'}", of=str(alert.id))


def _jobs(journal: Journal, begin: float, end: float) -> Iterable[Entry]:
    for job in JobStore(journal).all(1000):
        started = job.started_at or job.created_at
        if started > end or (job.finished_at or end) < begin:
            continue
        yield Entry(started, "job", f"{job.title} began", of=job.id)
        if job.finished_at is not None and job.finished_at <= end:
            told = f"{job.title} {job.state.value}" + (f": {job.cause}" if job.cause else "")
            yield Entry(job.finished_at, "job", told, of=job.id)


def _changes(book: duckdb.DuckDBPyConnection, begin: float, end: float) -> list[Entry]:
    return [
        Entry(float(at), kind, str(text))
        for kind, query in _IN_THE_BOOK
        for at, text in book.execute(
            f"FROM ({query}) AS t(moment, told) WHERE moment BETWEEN ? AND ?", [begin, end]
        ).fetchall()
    ]


def _requests(book: duckdb.DuckDBPyConnection, begin: float, end: float) -> list[dict[str, Any]]:
    names = "|".join(_COLUMNS)
    found = book.execute(
        f"SELECT COLUMNS('^({names})$') FROM requests WHERE started_at BETWEEN ? AND ? "
        "AND started_at + coalesce(total_ms, 0) / 1000 >= ? ORDER BY started_at",
        [begin - _LONGEST_REQUEST, end, begin],
    )
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _who(request: dict[str, Any]) -> str:
    """Whose key a request came with: a name of it, never itself."""
    try:
        client = json.loads(request.get("client") or "null")
        return "here" if client is None else f"key {client['key']}" if client.get("key") else "no key"
    except (ValueError, LookupError, AttributeError):
        return "unknown"


def _told_requests(requests: list[dict[str, Any]]) -> Iterable[Entry]:
    failed = [request for request in requests if request["finish_reason"] == "error"]
    longest = sorted(requests, key=lambda request: -(request["total_ms"] or 0.0))[:_LONG]
    shown = {request["id"]: request for request in [*failed[:_FAILED], *longest]}
    for request in shown.values():
        prompt = f" of {request['prompt']}@{request['prompt_version']}" if request["prompt"] else ""
        took = f"{request['total_ms'] or 0:,.0f} ms"
        told = f"{request['model']}{prompt} took {took}"
        if request["finish_reason"] == "error":
            told = f"{request['model']}{prompt} failed after {took}: {request['error'] or 'no cause was told'}"
        yield Entry(request["started_at"], "request", told, _who(request), request["id"])


def _traffic(requests: list[dict[str, Any]]) -> Iterable[Traffic]:
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for request in requests:
        by.setdefault((request["model"], _who(request)), []).append(request)
    for (model, who), kept in sorted(by.items(), key=lambda item: -len(item[1])):
        failed = sum(request["finish_reason"] == "error" for request in kept)
        yield Traffic(model, who, len(kept), failed, max(request["total_ms"] or 0.0 for request in kept))
