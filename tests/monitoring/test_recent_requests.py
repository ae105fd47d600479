"""The newest requests for the home screen: one's own each by itself, those of other work by the run that asked them."""

from __future__ import annotations

from typing import Any

from llmops_tui.monitoring.recent_requests import WorkRequests, read_recent
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

EVALUATION = '{"work": {"kind": "evaluation", "name": "%s", "prompt": "p@3"}}'
# A run of a chain for a row of an evaluation belongs to the evaluation.
BOTH = '{"work": {"kind": "evaluation", "name": "s-2", "prompt": "p@3"}, "chain": {"chain": "chain/c@1", "run": "x"}}'


def filled(catalog: Catalog, event_log: EventLog) -> TraceStore:
    rows = [
        (1, None, "stop"), (2, EVALUATION % "s-1", "stop"), (3, EVALUATION % "s-1", "error"), (4, EVALUATION % "s-2", "stop"),
        (5, BOTH, "stop"), (6, '{"chain": {"chain": "chain/c@1", "run": "run-7", "step": "a"}}', "stop"),
        (7, '{"key": "web", "metadata": {}}', "error"),
    ]  # fmt: skip

    def fill(connection: Any) -> None:
        for at, client, reason in rows:
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, client) VALUES (?, ?, 'm', '', ?, ?)",
                [f"run_{at}", at, reason, client],
            )

    catalog.write(fill)
    return TraceStore(catalog, event_log)


def test_requests_of_one_run_of_other_work_are_one(catalog: Catalog, event_log: EventLog) -> None:
    store = filled(catalog, event_log)
    recent = read_recent(store, 9, 9)
    assert [line.id for line in recent.own] == ["run_7", "run_1"]
    assert recent.work == [
        WorkRequests("chain", "run-7", "chain/c@1", 1, 0, 6.0),
        WorkRequests("evaluation", "s-2", "p@3", 2, 0, 5.0),
        WorkRequests("evaluation", "s-1", "p@3", 2, 1, 3.0),
    ]
    # The filter of each finds as many in the list of traces.
    for work in recent.work:
        assert store.page(TraceFilter.parse(work.wanted, 9.0), 9)[1] == work.requests


def test_work_that_is_called_by_the_id_of_a_job_is_told_by_its_title(catalog: Catalog, event_log: EventLog) -> None:
    recent = read_recent(filled(catalog, event_log), 1, 2, {"run-7": "chain c"})
    assert [work.told for work in recent.work] == ["chain c", "evaluation s-2"]


def test_no_more_than_asked_for_are_read(catalog: Catalog, event_log: EventLog) -> None:
    recent = read_recent(filled(catalog, event_log), 1, 2)
    assert ([line.id for line in recent.own], [work.name for work in recent.work]) == (["run_7"], ["run-7", "s-2"])


def test_what_was_asked_by_itself_can_be_listed(catalog: Catalog, event_log: EventLog) -> None:
    store = filled(catalog, event_log)
    assert [line.id for line in store.page(TraceFilter.parse("is:own", 9.0), 9)[0]] == ["run_7", "run_1"]
