"""The timeline around an alert: jobs, changes and requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.records import EntryRecord, IncidentRecord, TrafficRecord
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

BEFORE_SECONDS = 600.0
# Of an alert that lasts for days, how it began is what explains it.
AFTER_SECONDS = 3600.0
# Of requests some that failed, and the longest: the rest is counted.
_FAILED = 20
_LONG = 5
_LONGEST_REQUEST = 3600.0
_SHOWN = """id, started_at, model, prompt, prompt_version,
    CASE finish_reason WHEN 'error' THEN coalesce(nullif(error, ''), 'no cause was reported') END, coalesce(total_ms, 0.0), who"""
_THEN = "started_at BETWEEN ? AND ? AND started_at + coalesce(total_ms, 0) / 1000 >= ?"
# Whose key a request came with: a name of it, never itself.
_WHO = """CASE
    WHEN client IS NULL THEN 'here'
    WHEN NOT json_valid(client) THEN 'unknown'
    WHEN json_type(client) = 'NULL' THEN 'here'
    WHEN json_type(client) <> 'OBJECT' THEN 'unknown'
    WHEN NOT json_exists(client, '$.key') THEN 'here'
    WHEN coalesce(client->>'$.key', '') = '' THEN 'no key'
    ELSE 'key ' || (client->>'$.key')
END"""
_WRITTEN = """
    SELECT created_at, prompt || '@' || number || ' was written' || if(note = '', '', ': ' || note)
    FROM prompt_versions ANTI JOIN prompt_candidates USING (prompt, number)
"""
_MOVED = """
    SELECT moved_at, 'label ' || label || ' of ' || prompt || ' moved from ' || coalesce(before::VARCHAR, 'nothing')
        || ' to ' || coalesce(after::VARCHAR, 'nothing')
    FROM prompt_label_moves
"""
# What the catalog knows the time of: kind, and a query for when and what.
_IN_THE_CATALOG = (
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
    """An alert with what was going on from ``begin`` to ``end``, in the order of time.

    ``cut``: it went on after ``end``, of which nothing is told.
    """

    alert: Alert
    begin: float
    end: float
    entries: tuple[Entry, ...]
    traffic: tuple[Traffic, ...]
    cut: bool = False

    def as_dict(self) -> IncidentRecord:
        """For JSON."""
        return {
            "alert": self.alert.as_dict(),
            "begin": self.begin,
            "end": self.end,
            "cut": self.cut,
            "entries": [cast("EntryRecord", asdict(entry)) for entry in self.entries],
            "traffic": [cast("TrafficRecord", asdict(each)) for each in self.traffic],
        }


def incident_of(
    alert: Alert, history: History, catalog: Catalog, event_log: EventLog, now: float, before: float = BEFORE_SECONDS
) -> Incident:
    """What was going on from ``before`` seconds before an alert to its end, or until now; at most its first hour."""
    begin = alert.raised_at - before
    # With the clock set back in it, an alert may end before it begins: both are looked at.
    over = max(alert.raised_at, now if alert.cleared_at is None else alert.cleared_at)
    end = min(over, alert.raised_at + AFTER_SECONDS)
    ingest(catalog, event_log)
    changed, (requests, traffic) = catalog.read(
        lambda connection: (_changes(connection, begin, end), _requests(connection, begin, end))
    )
    entries = [
        *_alerts(history.alerts_between(begin, end)),
        *_jobs(event_log, begin, end),
        *(Entry(change.at, change.kind, change.text, change.who) for change in history.changes_between(begin, end)),
        *changed,
        *requests,
    ]
    return Incident(alert, begin, end, tuple(sorted(entries, key=lambda entry: entry.at)), tuple(traffic), end < over)


def _alerts(alerts: Iterable[Alert]) -> Iterable[Entry]:
    for alert in alerts:
        yield Entry(alert.raised_at, "alert", alert.text, of=str(alert.id))
        if alert.cleared_at is not None:
            yield Entry(alert.cleared_at, "alert", f"{alert.rule.name}: {alert.outcome or 'over'}", of=str(alert.id))


def _jobs(event_log: EventLog, begin: float, end: float) -> Iterable[Entry]:
    for job in JobStore(event_log).all(1000):
        started = job.started_at or job.created_at
        if started > end or (job.finished_at or end) < begin:
            continue
        yield Entry(started, "job", f"{job.title} began", of=job.id)
        if job.finished_at is not None and job.finished_at <= end:
            told = f"{job.title} {job.state.value}" + (f": {job.cause}" if job.cause else "")
            yield Entry(job.finished_at, "job", told, of=job.id)


def _changes(connection: duckdb.DuckDBPyConnection, begin: float, end: float) -> list[Entry]:
    return [
        Entry(float(at), kind, str(text))
        for kind, query in _IN_THE_CATALOG
        for at, text in connection.execute(
            f"FROM ({query}) AS t(moment, told) WHERE moment BETWEEN ? AND ?", [begin, end]
        ).fetchall()
    ]


def _requests(connection: duckdb.DuckDBPyConnection, begin: float, end: float) -> tuple[list[Entry], list[Traffic]]:
    """Some of the requests of that time, and the count of all by who sent them; the catalog counts, however many there are."""
    known = {row[0] for row in connection.execute("DESCRIBE requests").fetchall()}
    who = _WHO if "client" in known else "'here'"
    there = f"FROM (SELECT *, {who} AS who FROM requests) WHERE {_THEN}"
    then = [begin - _LONGEST_REQUEST, end, begin]
    shown = connection.execute(
        f"(SELECT {_SHOWN} {there} AND finish_reason = 'error' ORDER BY started_at LIMIT {_FAILED}) "
        f"UNION (SELECT {_SHOWN} {there} ORDER BY total_ms DESC NULLS LAST LIMIT {_LONG})",
        [*then, *then],
    ).fetchall()
    traffic = connection.execute(
        "SELECT model, who, count(*), count(*) FILTER (finish_reason = 'error'), coalesce(max(total_ms), 0.0) "
        f"{there} GROUP BY model, who ORDER BY count(*) DESC, model, who",
        then,
    ).fetchall()
    return [_told_request(*row) for row in shown], [Traffic(*row) for row in traffic]


def _told_request(
    key: str, at: float, model: str, prompt: str | None, version: int | None, error: str | None, ms: float, who: str
) -> Entry:
    told = f"{model}{f' of {prompt}@{version}' if prompt else ''} took {ms:,.0f} ms"
    if error is not None:
        told = f"{model}{f' of {prompt}@{version}' if prompt else ''} failed after {ms:,.0f} ms: {error}"
    return Entry(at, "request", told, who, key)
