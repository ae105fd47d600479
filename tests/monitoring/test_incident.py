"""Around an alert: what ran, what was changed, who asked; in the order of time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops_tui.errors import NotFoundError
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.changes import ChangeWatch
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.incident import incident_of
from llmops_tui.monitoring.rules import Rule, save_rules
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings, save_settings
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.monitoring.test_monitoring import NOON, Watch

SLOW = Rule(name="slow", series="latency.m.first.p95", above=100)


def ask(event_log: EventLog, key: str, at: float, **more: object) -> None:
    event_log.append(
        "request",
        key,
        {
            "started_at": at,
            "model": "m",
            "output": "x",
            "finish_reason": "stop",
            "ttft_ms": 5.0,
            "total_ms": 900.0,
            "completion_tokens": 3,
            "messages": [],
            "parameters": {},
            **more,
        },
    )


def test_an_incident_has_all_that_was_going_on_and_nothing_else(
    workspace: Workspace, event_log: EventLog, catalog: Catalog
) -> None:
    history = History(workspace.history)
    alert = Alert(SLOW, "latency.m.first.p95", NOON, 900.0, cleared_at=NOON + 300)
    other = Alert(SLOW.model_copy(update={"name": "hot"}), "gpu0.temperature", NOON - 60, 95.0)
    for each in (alert, other, Alert(SLOW, "b", NOON - 9000, 1.0, cleared_at=NOON - 8000)):
        history.keep_alert(each)
    jobs = JobStore(event_log)
    times = {"before": (-5000, -4000), "into": (-3000, 100), "in": (50, 200), "after": (400, 500)}
    for title, (begin, end) in times.items():
        made = jobs.add(kind="eval", title=title, spec={})
        jobs.update(made.id, state="failed", cause="no memory", started_at=NOON + begin, finished_at=NOON + end)
    for number in range(30):
        ask(event_log, f"run_{number}", NOON + number, total_ms=1000.0 + number)
    ask(event_log, "run_bad", NOON + 40, finish_reason="error", error="the engine died", total_ms=1.0, model="n")
    ask(event_log, "run_long", NOON - 1000, total_ms=500_000.0)
    ask(event_log, "run_early", NOON - 1000)
    ask(event_log, "run_late", NOON + 301)
    ingest(catalog, event_log)
    version = PromptStore(catalog).save("p", template="{x}", note="calmer")[0]
    catalog.write(lambda connection: connection.execute("UPDATE prompt_versions SET created_at = ?", [NOON + 5]))
    found = incident_of(alert, history, catalog, event_log, NOON + 9999)
    assert (found.begin, found.end) == (NOON - 600, NOON + 300)
    told = [(entry.kind, entry.text) for entry in found.entries]
    assert found.entries == tuple(sorted(found.entries, key=lambda entry: entry.at))
    assert [text for kind, text in told if kind == "job"] == [
        "into began",
        "in began",
        "into failed: no memory",
        "in failed: no memory",
    ]
    assert [text for kind, text in told if kind == "alert"] == [other.text, alert.text, "slow: over"]
    assert [text for kind, text in told if kind == "prompt"] == [f"p@{version.number} was written: calmer"]
    assert {(each.model, each.who, each.requests, each.failed) for each in found.traffic} == {
        ("m", "here", 31, 0),
        ("n", "here", 1, 1),
    }
    requests = [entry.of for entry in found.entries if entry.kind == "request"]
    # All that failed, and of the others the longest.
    assert len(requests) == 6
    assert {"run_bad", "run_long", "run_29"} <= set(requests)
    assert not {"run_early", "run_late", "run_0"} & set(requests)
    (bad,) = [entry for entry in found.entries if entry.of == "run_bad"]
    assert bad.text == "n failed after 1 ms: the engine died"
    history.close()


def test_an_alert_that_is_raised_goes_on_until_now(workspace: Workspace, event_log: EventLog, catalog: Catalog) -> None:
    history = History(workspace.history)
    alert = Alert(SLOW, "x", NOON, 900.0)
    history.keep_alert(alert)
    assert incident_of(alert, history, catalog, event_log, NOON + 50, 5.0).end == NOON + 50
    # Ended by a clock that was set back since.
    alert.cleared_at = NOON - 3600
    assert incident_of(alert, history, catalog, event_log, NOON + 50, 5.0).end == NOON
    assert history.alert(alert.id or 0).series == "x"
    with pytest.raises(NotFoundError, match="'77'"):
        history.alert(77)
    history.close()


def test_whose_key_it_was_is_told_where_it_is_known(
    workspace: Workspace, event_log: EventLog, catalog: Catalog
) -> None:
    clients = {
        "here": None,
        "no key": '{"key": null, "metadata": {}}',
        "unknown": "5",
        "key ab12cd34": '{"key": "ab12cd34", "metadata": {"user": "somebody else"}}',
    }
    for who in clients:
        ask(event_log, who, NOON)
    ingest(catalog, event_log)
    for who, client in clients.items():
        catalog.write(
            lambda connection, row=(client, who): connection.execute(
                "UPDATE requests SET client = ? WHERE id = ?", list(row)
            )
        )
    history = History(workspace.history)
    found = incident_of(Alert(SLOW, "x", NOON, 900.0), history, catalog, event_log, NOON + 50)
    assert {entry.of: entry.who for entry in found.entries if entry.kind == "request"} == {who: who for who in clients}
    assert {each.who: each.requests for each in found.traffic} == dict.fromkeys(clients, 1)
    history.close()


def test_of_an_alert_that_lasts_for_days_the_first_hour_is_told_and_said_to_be_that(
    workspace: Workspace, event_log: EventLog, catalog: Catalog
) -> None:
    history = History(workspace.history)
    for hour in range(30):
        for number in range(5):
            ask(event_log, f"run_{hour}_{number}", NOON + hour * 3600 + 60 + number, finish_reason="error", error="e")
    alert = Alert(SLOW, "x", NOON, 900.0)
    found = incident_of(alert, history, catalog, event_log, NOON + 30 * 3600)
    assert (found.end, found.cut, found.as_dict()["cut"]) == (NOON + 3600, True, True)
    assert [each.requests for each in found.traffic] == [5]
    assert {entry.of for entry in found.entries if entry.kind == "request"} == {f"run_0_{n}" for n in range(5)}
    alert.cleared_at = NOON + 3600
    assert not incident_of(alert, history, catalog, event_log, NOON + 30 * 3600).cut
    history.close()


def test_of_many_requests_those_that_failed_first_and_the_longest_are_shown_and_all_are_counted(
    workspace: Workspace, event_log: EventLog, catalog: Catalog
) -> None:
    history = History(workspace.history)
    for number in range(100):
        failed = number % 2
        ask(
            event_log,
            f"run_{number:03}",
            NOON + number,
            total_ms=float(number),
            error="e" if failed else None,
            finish_reason="error" if failed else "stop",
        )
    found = incident_of(Alert(SLOW, "x", NOON, 900.0), history, catalog, event_log, NOON + 200)
    shown = [entry.of for entry in found.entries if entry.kind == "request"]
    assert shown == [f"run_{n:03}" for n in (*range(1, 40, 2), *range(95, 100))]
    (all_of_them,) = found.traffic
    assert (all_of_them.requests, all_of_them.failed, all_of_them.slowest_ms) == (100, 50, 99.0)
    history.close()


def test_changes_of_settings_and_rules_are_seen_with_their_time(workspace: Workspace) -> None:
    history = History(workspace.history)

    def inspect(watch: ChangeWatch, now: float) -> list[tuple[float, str, str]]:
        changes, known = watch.inspect(now, [])
        history.keep_changes(changes, known)
        return [(change.at, change.kind, change.text) for change in changes]

    watch = ChangeWatch(workspace.alert_rules, history.known())
    # What there is at the first look was not changed then.
    assert inspect(watch, NOON) == []
    save_settings(Settings(theme="llmops-light"))
    os.utime(settings_path(), (NOON + 5, NOON + 5))
    save_rules(workspace.alert_rules, "- {name: slow answers, series: 'latency.*.first.p95', above: 900}")
    os.utime(workspace.alert_rules, (NOON + 6, NOON + 6))
    seen = inspect(watch, NOON + 9)
    assert [(at - NOON, kind) for at, kind, _ in seen[:1]] == [(5, "settings")]
    assert "llmops-light" in seen[0][2]
    rules = {text for _, kind, text in seen if kind == "rules"}
    assert "full disk was removed" in rules
    assert "slow answers: above 5000.0 → 900.0, clear was removed, for_seconds was removed" in rules
    assert inspect(watch, NOON + 10) == []
    # Changed while nobody looked: seen by the next, with the time of the file; never one that is to come.
    save_settings(Settings())
    os.utime(settings_path(), (NOON + 9999, NOON + 9999))
    again = ChangeWatch(workspace.alert_rules, history.known())
    assert [at for at, _, _ in inspect(again, NOON + 20)] == [NOON + 20]
    # What cannot be read is not in use.
    workspace.alert_rules.write_text("- [")
    assert inspect(again, NOON + 30) == []
    assert [change.kind for change in history.changes_between(NOON, NOON + 100)].count("settings") == 2
    (owner,) = {change.who for change in history.changes_between(NOON, NOON + 100)}
    assert owner == Path(workspace.root).owner()
    history.close()


def test_models_that_come_go_and_die_are_seen(workspace: Workspace) -> None:
    watch = ChangeWatch(workspace.alert_rules, {})

    def inspect(*engines: EngineLoad) -> list[str]:
        return [change.text for change in watch.inspect(NOON, engines)[0]]

    assert inspect(EngineLoad("m", ProcessIdentity(1, 1.0), ProcessIdentity(10, 1.0))) == []
    assert inspect(
        EngineLoad("m", ProcessIdentity(1, 1.0), ProcessIdentity(10, 1.0)),
        EngineLoad("n", ProcessIdentity(2, 1.0), None, state="loading"),
    ) == ["n was loaded"]
    assert (
        inspect(
            EngineLoad("m", ProcessIdentity(1, 1.0), ProcessIdentity(10, 1.0)),
            EngineLoad("n", ProcessIdentity(2, 1.0), ProcessIdentity(20, 1.0)),
        )
        == []
    )
    assert inspect(
        EngineLoad("m", ProcessIdentity(1, 1.0), ProcessIdentity(11, 1.0), failure="killed"),
        EngineLoad("n", ProcessIdentity(2, 1.0), ProcessIdentity(20, 1.0)),
    ) == ["m: its engine was started again: killed"]
    assert inspect(
        EngineLoad("m", ProcessIdentity(5, 1.0), ProcessIdentity(12, 1.0)),
        EngineLoad("n", ProcessIdentity(2, 1.0), state="dead"),
    ) == [
        "m was loaded",
        "n: its server ended without a message",
    ]
    assert inspect(EngineLoad("n", ProcessIdentity(2, 1.0), state="dead")) == ["m was unloaded"]
    assert inspect(EngineLoad("n", ProcessIdentity(2, 1.0), state="dead")) == []


def test_the_command_line_tells_an_incident(workspace: Workspace, event_log: EventLog) -> None:
    save_rules(workspace.alert_rules, "- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    watch = Watch(workspace)
    ask(event_log, "run_1", NOON)
    watch.go(2)
    watch.recorder.stop()
    llmops = Llmops(workspace)
    (alert,) = llmops.run("monitor", "alerts")["alerts"]
    assert alert["state"] == "raised"
    found = llmops.run("monitor", "incident", str(alert["alert"]))
    assert found["alert"]["rule"] == "busy"
    assert [entry["kind"] for entry in found["entries"] if entry["of"] == "run_1"] == ["request"]
    assert found["traffic"][0]["who"] == "here"
    assert found["total"] == len(found["entries"])
    llmops.run("monitor", "incident", "99", code=3)
