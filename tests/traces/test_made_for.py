"""For which work a request was made: what evaluations, judges, syntheses and files of requests leave in the list of traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.inference.server.callers import Caller, of_batch
from llmops_tui.traces.client_words import client_words
from llmops_tui.traces.orders import TraceOrder
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.traces.test_traces import ask

WORK = {"kind": "evaluation", "name": "small-1"}


def _listed(catalog: Catalog, event_log: EventLog, said: str = "", order: str = "-prompt") -> list[str]:
    lines, _ = TraceStore(catalog, event_log).page(TraceFilter.parse(said, 0.0), 50, order=TraceOrder.parse(order))
    return [line.asked_with for line in lines]


def test_the_list_has_the_version_or_the_work_of_each_request(catalog: Catalog, event_log: EventLog) -> None:
    clients: list[Any] = [
        None, {"work": WORK | {"prompt": "triage@3"}}, {"work": WORK}, {"key": "app", "work": {"kind": "batch", "name": "job_1"}},
        {"chain": {"chain": "chain/desk@1", "step": "judge"}, "work": WORK}, {"key": None},
    ]  # fmt: skip
    for number, client in enumerate(clients):
        mine = {"prompt": "reply", "prompt_version": 1} if client is None else {"prompt": None, "prompt_version": None}
        ask(event_log, number, client=client, **mine)
    shown = ["batch job_1", "chain/desk@1", "evaluation small-1", "reply@1", "triage@3"]
    # What nobody knows comes last, whichever way.
    assert [one.replace("@000000001", "@1") for one in _listed(catalog, event_log)] == [*shown, ""]
    assert _listed(catalog, event_log, order="prompt") == [*shown[::-1], ""]
    assert _listed(catalog, event_log, "work:small-1") == ["chain/desk@1", "evaluation small-1", "triage@3"]
    assert _listed(catalog, event_log, "work:batch") == ["batch job_1"]
    assert _listed(catalog, event_log, "work:triage") == _listed(catalog, event_log, "work:triage@3") == ["triage@3"]
    assert _listed(catalog, event_log, "work:triage@2") == _listed(catalog, event_log, "work:tri") == []
    # What was asked for an evaluation is no traffic of its prompt.
    assert _listed(catalog, event_log, "prompt:triage") == []
    assert [client_words(one) for one in clients[1:]] == [
        "evaluation small-1", "evaluation small-1", "key app, batch job_1",
        "step judge of chain/desk@1, evaluation small-1", "no key",
    ]  # fmt: skip


def test_who_is_no_program_of_the_workspace_names_no_work() -> None:
    assert Caller(own=True).facts({"work": WORK})["client"] == {"work": WORK}
    assert Caller(own=False).facts({"work": WORK})["client"] == {"key": None, "metadata": {"work": WORK}}
    told = of_batch("job_1").facts(None)["client"]
    assert told == {"key": None, "metadata": {}, "work": {"kind": "batch", "name": "job_1"}}


@pytest.mark.slow
def test_requests_of_an_evaluation_and_its_judge_say_what_they_are_of(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    body: dict[str, Any] = {
        "cases": "triage-test", "variables": {"message": "messages[1].content"}, "limit": 2,
        "prompt": "triage", "parameters": {"temperature": 0, "max_tokens": 4},
        "metrics": [{"type": "judge", "model": "support-base", "rubric": "Is it short?"}],
    }  # fmt: skip
    (tmp_path / "small.yaml").write_text(json.dumps(body))
    run = llmops.run("eval", "run", str(tmp_path / "small.yaml"), "--model", "support-base")
    listed = llmops.run("traces", "list", "--filter", f"work:{run['run']}")["traces"]
    made = sorted({one["made_for"].partition("@")[0] for one in listed})
    assert made == ["judge-judge", "triage"]
    assert {one["prompt"] for one in listed} == {None}
