"""Names and days that are nowhere: a check of them would never alarm."""

from __future__ import annotations

import datetime as dt

import pytest

from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


@pytest.mark.parametrize("option", [("--model", "nope"), ("--prompt", "nope")])
def test_a_name_that_is_nowhere_is_refused(workspace: Workspace, option: tuple[str, str]) -> None:
    llmops = Llmops(workspace)
    for words in (["check"], ["traffic"], ["days"], ["reset"]):
        assert "nope" in llmops.run("drift", *words, *option, code=3)["error"]["message"]
    assert TrafficDays(EventLog(workspace)).monitors() == []


@pytest.mark.parametrize(
    "term", ["model:nope", "prompt:nope@1", "chain:nope", "experiment:exp_nope@b", "recording:nope"]
)
def test_a_filter_with_a_name_that_is_nowhere_is_refused(workspace: Workspace, term: str) -> None:
    llmops = Llmops(workspace)
    for words in (["list"], ["trajectories"], ["remove"]):
        assert "nope" in llmops.run("traces", *words, "--filter", term, code=3)["error"]["message"]


def test_a_name_that_only_requests_have_is_known(workspace: Workspace, event_log: EventLog) -> None:
    """Its model is registered no more."""
    body = {"started_at": 1.0, "model": "gone+tuned", "messages": [], "output": "a", "finish_reason": "stop"}
    event_log.append("request", "run_1", body)  # type: ignore[arg-type]
    llmops = Llmops(workspace)
    assert llmops.run("traces", "list", "--filter", "model:gone")["total"] == 1
    assert llmops.run("traces", "list", "--filter", "model:gone is:down")["total"] == 0
    assert llmops.run("drift", "days", "--model", "gone")["days"] == []


def test_a_day_to_come_is_refused(workspace: Workspace, event_log: EventLog) -> None:
    body = {"started_at": 1.0, "model": "m", "messages": [], "output": "a", "finish_reason": "stop"}
    event_log.append("request", "run_1", body)  # type: ignore[arg-type]
    day = (dt.date.today() + dt.timedelta(days=2)).isoformat()  # noqa: DTZ011  the command's days are local ones
    refused = Llmops(workspace).run("drift", "check", "--model", "m", "--day", day, code=3)
    assert refused["error"]["code"] == "day_to_come"
    assert TrafficDays(event_log).monitors() == []
