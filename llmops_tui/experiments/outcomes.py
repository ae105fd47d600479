"""The outcomes of an experiment by conversation, from its traces and what was said of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, cast

from llmops_tui.experiments.records import Conversation, Exchange
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.inference.experiments.records import Arm

Scored = Callable[[Exchange], float | None]
# What was said last counts.
_QUERY = """
SELECT r.id, r.started_at, json_extract_string(r.client, '$.experiment.arm'), json_extract_string(r.client, '$.experiment.unit'),
       json_extract_string(r.client, '$.experiment.pair'),
       CASE WHEN json_extract(r.client, '$.status') IS NULL THEN r.finish_reason ELSE 'refused' END,
       r.total_ms, {texts}, f.score, f.said_at
FROM requests r LEFT JOIN (
    SELECT request, arg_max(score, said_at) AS score, max(said_at) AS said_at FROM feedback
    WHERE score IS NOT NULL GROUP BY request) f ON f.request = r.id
WHERE r.started_at >= ? AND json_extract_string(r.client, '$.experiment.id') = ?
ORDER BY r.started_at, r.id"""
_TEXTS = "r.output, r.messages"
_NO_TEXTS = "'', NULL"
# Clients that leave, or ask what is refused, say nothing of a model.
_FAILED = {"error": True, "cancelled": None, "refused": None}


def exchanges(
    catalog: Catalog, event_log: EventLog, experiment: str, since: float, *, texts: bool = True
) -> list[Exchange]:
    """The requests of an experiment that began at ``since``, in their order; with their ``texts`` where those are scored."""
    ingest(catalog, event_log)
    query = _QUERY.format(texts=_TEXTS if texts else _NO_TEXTS)
    return catalog.read(lambda connection: _read(connection, query, [since, experiment]))


def _read(connection: duckdb.DuckDBPyConnection, query: str, values: list[float | str]) -> list[Exchange]:
    found = []
    for row in connection.execute(query, values).fetchall():
        trace, started, arm, unit, pair, reason, total, output, messages, score, said_at = row
        if arm not in {"a", "b"} or not unit:
            continue
        found.append(
            Exchange(
                trace=str(trace),
                started_at=float(started),
                arm=cast("Arm", arm),
                unit=str(unit),
                pair=str(pair or ""),
                failed=_FAILED.get(str(reason), False),
                total_ms=total,
                output=str(output or ""),
                messages=tuple(json.loads(messages)) if messages else (),
                rating=None if score is None else float(score > 0),
                rated_at=said_at,
            )
        )
    return found


def by_conversation(found: Iterable[Exchange], score: Scored) -> list[Conversation]:
    """The mean score of each conversation that has one, in the order in which they were known."""
    scored: dict[tuple[str, Arm], list[tuple[float, float]]] = {}
    for one in found:
        value = score(one)
        if value is not None:
            scored.setdefault((one.unit, one.arm), []).append((one.known_at, value))
    means = [
        Conversation(max(at for at, _ in values), arm, sum(value for _, value in values) / len(values))
        for (_, arm), values in scored.items()
    ]
    return sorted(means, key=lambda one: one.known_at)


def by_pairs(found: Sequence[Exchange], score: Scored) -> list[Conversation]:
    """Of each conversation with answers of both, how much better those of B are in the mean."""
    of_a = {one.pair: one for one in found if one.arm == "a" and one.pair}
    apart: dict[str, list[tuple[float, float]]] = {}
    for theirs in found:
        mine = of_a.get(theirs.pair) if theirs.arm == "b" else None
        if mine is None:
            continue
        before, after = score(mine), score(theirs)
        if before is not None and after is not None:
            apart.setdefault(theirs.unit, []).append((max(mine.known_at, theirs.known_at), after - before))
    means = [
        Conversation(max(at for at, _ in values), "b", sum(value for _, value in values) / len(values))
        for values in apart.values()
    ]
    return sorted(means, key=lambda one: one.known_at)


def unpaired(found: Sequence[Exchange]) -> int:
    """How many requests of A have no answer of B beside them: not asked yet, left out, or lost in a restart."""
    beside = {one.pair for one in found if one.arm == "b"}
    return sum(one.arm == "a" and bool(one.pair) and one.pair not in beside for one in found)
