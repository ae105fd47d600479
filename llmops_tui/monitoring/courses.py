"""How the newest figures came about: short series for the home screen."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_tui.traces.orders import OWN
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.monitoring.overview import Overview
    from llmops_tui.workspace.catalog import Catalog

_HOUR = 3600.0
# Spans of time with the parts they are counted in: what happened within minutes is one bar of a day.
_SPANS = ((_HOUR, 30), (6 * _HOUR, 24), (24 * _HOUR, 24))
_SEEN = "home"


@dataclass(frozen=True)
class Courses:
    """Series, the oldest value first.

    Attributes:
        rows: rows of each version of the dataset that is told first.
        job: the folder of the newest training run, whose log has its losses; empty without runs.
        quality: the metric of the newest evaluation, in each run of its suite.
        versions: the newest value of it of each version of that evaluation's prompt.
        span: seconds of the next two, until now: an hour, six or 24, the shortest that has all requests of the last 24 hours.
        traffic: requests in each part of the span.
        latency: median milliseconds of the answers in each part of it; not a number where there were none.
        since: requests that were not of other work, and those of them that failed, since a moment; none where no moment is known.
    """

    rows: tuple[float, ...] = ()
    job: str = ""
    quality: tuple[float, ...] = ()
    versions: tuple[float, ...] = ()
    span: float = 24 * _HOUR
    traffic: tuple[float, ...] = ()
    latency: tuple[float, ...] = ()
    since: tuple[int, int] | None = None

    @property
    def part(self) -> float:
        """Seconds of each part of the span."""
        return self.span / max(1, len(self.traffic))


def read_courses(catalog: Catalog, seen: Overview, since: float | None, now: float | None = None) -> Courses:
    """Read them in one look at the catalog: of the dataset, the training run and the evaluation that ``seen`` tells first."""
    score = seen.scores[0] if seen.scores else None
    dataset, run = seen.told_dataset.rpartition("@")[0], seen.runs[0][0] if seen.runs else ""
    end = time.time() if now is None else now
    day = end - _SPANS[-1][0]

    def work(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
        def rows(sql: str, *values: object) -> list[Any]:
            return connection.execute(sql, list(values)).fetchall()

        ((first,),) = rows("SELECT min(started_at) FROM requests WHERE started_at >= ? AND started_at < ?", day, end)
        span, parts = next((pair for pair in _SPANS if first is not None and first >= end - pair[0]), _SPANS[-1])
        return {
            "span": [(span, parts)],
            "rows": rows("SELECT rows FROM dataset_versions WHERE dataset = ? ORDER BY number", dataset),
            "job": rows("SELECT job FROM training_runs WHERE name = ?", run),
            "quality": rows(
                "SELECT TRY_CAST(json_extract(summary, ?) AS DOUBLE) FROM evaluation_runs "
                "WHERE suite = ? AND summary IS NOT NULL ORDER BY finished_at",
                f'$.metrics."{score.metric}".mean',
                score.suite,
            )
            if score is not None and '"' not in score.metric
            else [],
            "versions": rows(
                "SELECT arg_max(TRY_CAST(json_extract(summary, ?) AS DOUBLE), finished_at) FROM evaluation_runs "
                "WHERE suite = ? AND summary IS NOT NULL AND split_part(asked->>'$.prompt', '@', 1) = "
                "(SELECT split_part(asked->>'$.prompt', '@', 1) FROM evaluation_runs WHERE name = ?) "
                "GROUP BY asked->>'$.prompt' ORDER BY TRY_CAST(split_part(any_value(asked->>'$.prompt'), '@', 2) AS INTEGER)",
                f'$.metrics."{score.metric}".mean',
                score.suite,
                score.run,
            )
            if score is not None and '"' not in score.metric
            else [],
            "parts": rows(
                "SELECT CAST(floor((started_at - ?) / ?) AS INTEGER) AS part, count(*), median(total_ms) FROM requests "
                "WHERE started_at >= ? AND started_at < ? GROUP BY part",
                end - span,
                span / parts,
                end - span,
                end,
            ),
            "since": rows(
                f"SELECT count(*), count(*) FILTER (finish_reason = 'error') FROM requests WHERE {OWN} AND started_at >= ?",
                since,
            )
            if since is not None
            else [],
        }

    found = catalog.read(work)
    ((span, parts),) = found["span"]
    traffic, latency = [0.0] * parts, [math.nan] * parts
    for part, count, median in found["parts"]:
        # What began in the last instant may be rounded to behind it.
        place = min(part, parts - 1)
        traffic[place] = float(count)
        latency[place] = math.nan if median is None else float(median)
    return Courses(
        rows=tuple(float(row[0]) for row in found["rows"]),
        job=str(found["job"][0][0]) if found["job"] else "",
        quality=tuple(float(row[0]) for row in found["quality"] if row[0] is not None),
        versions=tuple(float(row[0]) for row in found["versions"] if row[0] is not None),
        span=span,
        traffic=tuple(traffic),
        latency=tuple(latency),
        since=(int(found["since"][0][0]), int(found["since"][0][1])) if found["since"] else None,
    )


def last_look(event_log: EventLog) -> float | None:
    """When somebody last left the home screen; none where nobody did."""
    body = event_log.load_draft(_SEEN)
    at = body.get("at") if body is not None else None
    return float(at) if isinstance(at, int | float) and not isinstance(at, bool) else None


def note_look(event_log: EventLog, now: float | None = None) -> None:
    """Somebody leaves the home screen; in a workspace that is only read, nothing is noted."""
    if not event_log.workspace.read_only:
        event_log.save_draft(_SEEN, {"at": time.time() if now is None else now})
