"""What is not known is a state: alerts whose series end, rules that are gone, clocks that are set; and events as values."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.process import ProcessIdentity, identify
from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import SILENT_SECONDS, Alert, AlertEngine, run_command
from llmops_tui.monitoring.engines import EngineLoad, EngineSampler
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.latency import Minute
from llmops_tui.monitoring.replay import replay
from llmops_tui.monitoring.rules import DEFAULT_RULES, Rule, parse_rules, save_rules, unseen
from llmops_tui.monitoring.series import of_engines
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock
from tests.monitoring.test_monitoring import NOON, Watch, request

HOT = Rule(name="hot", series="gpu*.temperature", above=80, clear=70, for_seconds=10)
SERIES = "gpu0.temperature"


def play(rule: Rule, values: list[float | None], series: str = SERIES) -> list[tuple[int, str, str]]:
    """What is told, as (second, state, why), of values of a second each; none is a series that is not there."""
    engine, told = AlertEngine((rule,)), []
    for second, value in enumerate(values):
        changed = engine.step(float(second), {} if value is None else {series: value})
        told += [(second, alert.state, alert.ended) for alert in changed]
    return told


# ── series that end ──


@pytest.mark.parametrize("absent", [None, float("nan"), float("inf")])
def test_an_alert_whose_series_ends_ends_and_says_why(absent: float | None) -> None:
    engine = AlertEngine((HOT,))
    for second in range(20):
        engine.step(second, {SERIES: 90.0})
    (alert,) = engine.active
    silent = 20
    ended: list[Alert] = []
    while not ended and silent < 200:
        ended = engine.step(silent, {SERIES: absent})
        silent += 1
    assert silent - 21 == SILENT_SECONDS
    assert ended == [alert]
    assert alert.state == "ended"
    assert "no data" in alert.ended
    # It was over when its values ended, not when that was noticed.
    assert alert.cleared_at == 20
    assert alert.lasted == 20
    assert engine.active == []
    # The same trouble anew is an alert anew.
    assert [a.state for a in engine.step(silent, {SERIES: 90.0}) + engine.step(silent + 10, {SERIES: 90.0})] == [
        "raised"
    ]


def test_a_short_silence_changes_nothing_and_is_seen_in_the_state() -> None:
    keep = HOT.model_copy(update={"no_data": "keep"})
    engine = AlertEngine((keep,))
    for second in range(20):
        engine.step(second, {SERIES: 90.0})
    (alert,) = engine.active
    for second in range(20, 20 + int(SILENT_SECONDS)):
        assert engine.step(second, {}) == []
        assert alert.state == "raised"
    # Kept as it is, for ever, and marked.
    for second in range(60, 5000, 7):
        assert engine.step(second, {}) == []
    assert alert.state == "no data"
    assert alert.silent_since == 20
    engine.step(5000, {SERIES: 90.0})
    assert alert.state == "raised"


def test_a_rule_may_be_told_of_the_silence_itself() -> None:
    rule = HOT.model_copy(update={"no_data": "raise"})
    # A series that spoke, and falls silent while all was well.
    told = play(rule, [60.0] * 5 + [None] * 60 + [60.0] * 20)
    assert told == [(35, "no data", ""), (75, "cleared", "")]
    # One that never spoke, under the name that was asked for; a card that then comes is what was waited for.
    assert play(rule, [None] * 40) == [(30, "no data", "")]
    assert play(rule, [None] * 40 + [60.0] * 2) == [(30, "no data", ""), (40, "cleared", "")]
    one = rule.model_copy(update={"series": SERIES})
    assert play(one, [None] * 40 + [60.0] * 20) == [(30, "no data", ""), (50, "cleared", "")]
    # Silence that ends in trouble is one alert, which then has a value.
    engine = AlertEngine((one,))
    for second in range(40):
        engine.step(second, {})
    assert engine.active[0].text == "hot: temperature of GPU 0: no data"
    engine.step(40, {SERIES: 95.0})
    assert engine.active[0].text == "hot: temperature of GPU 0 above 80 °C, worst 95 °C"


@given(st.lists(st.sampled_from([None, 60.0, 75.0, 90.0]), max_size=300), st.sampled_from(["end", "raise", "keep"]))
def test_whatever_comes_alerts_follow_one_another_and_none_outlives_its_series(
    values: list[float | None], no_data: str
) -> None:
    rule = HOT.model_copy(update={"no_data": no_data, "series": SERIES})
    engine = AlertEngine((rule,))
    open_now = 0
    for second, value in enumerate([*values, *[None] * 60]):
        for alert in engine.step(second, {SERIES: value}):
            open_now += 1 if alert.cleared_at is None else -1
            assert open_now in {0, 1}
            assert alert.cleared_at is None or alert.cleared_at >= alert.raised_at
        assert len(engine.active) == open_now
    if no_data == "end":
        assert not engine.active
    if no_data == "raise":
        assert [a.state for a in engine.active] == ["no data"]


# ── rules that are gone ──


def test_an_alert_whose_rule_is_gone_or_names_it_no_more_ends() -> None:
    for rules, why in (
        ((), "its rule was deleted"),
        ((HOT.model_copy(update={"series": "gpu1.*"}),), "its rule does not include it any more"),
    ):
        engine = AlertEngine((HOT,))
        for second in range(20):
            engine.step(second, {SERIES: 90.0})
        engine.rules = rules
        (alert,) = engine.step(20, {SERIES: 90.0})
        assert (alert.state, alert.ended) == ("ended", why)
        assert engine.step(21, {SERIES: 90.0}) == []


def test_an_alert_follows_its_rule_as_it_is_today() -> None:
    engine = AlertEngine((HOT,))
    for second in range(20):
        engine.step(second, {SERIES: 90.0})
    engine.rules = (HOT.model_copy(update={"above": 100.0, "clear": 95.0, "severity": "error"}),)
    told = [alert for second in range(20, 40) for alert in engine.step(second, {SERIES: 90.0})]
    assert [(a.state, a.rule.severity, a.rule.above) for a in told] == [("cleared", "error", 100.0)]


def test_the_rules_of_a_workspace_that_change_end_its_alerts(workspace: Workspace) -> None:
    save_rules(workspace.alert_rules, "- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    watch = Watch(workspace)
    assert watch.go(2).alerts
    save_rules(workspace.alert_rules, "- {name: other, series: host.memory, above: 100, for_seconds: 0}")
    assert watch.go(2).alerts == ()
    watch.recorder.stop()
    (kept,) = History(workspace.history).alerts()
    assert (kept.state, kept.ended) == ("ended", "its rule was deleted")


def test_a_command_that_a_history_brought_along_is_never_run(workspace: Workspace, tmp_path: Path) -> None:
    """What runs is what the rules say that were kept here, not what an alert of the history says its rule was."""
    out = tmp_path / "out"
    history = History(workspace.history)
    evil = Rule(name="busy", series="host.memory", above=0, for_seconds=0, command=f"touch {out}")
    history.keep_alert(Alert(evil, "host.memory", NOON, 1.0))
    history.close()
    save_rules(
        workspace.alert_rules, "- {name: busy, series: host.memory, above: 101, for_seconds: 0, command: 'true'}"
    )
    watch = Watch(workspace)
    watch.go(5)
    assert [(alert.state, alert.rule.command) for alert in watch.told] == [("cleared", "true")]
    watch.recorder.stop()
    assert not out.exists()


def test_a_command_is_told_how_it_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rule = HOT.model_copy(update={"command": f"sh -c 'echo $LLMOPS_STATE, $LLMOPS_WHY > {out}'"})
    assert run_command(Alert(rule, "x", 1.0, None, cleared_at=2.0, ended="no data")) == ""
    assert out.read_text() == "ended, no data\n"


def test_alerts_that_were_raised_twice_are_one(workspace: Workspace) -> None:
    rules = "- {name: busy, series: host.memory, above: 0, for_seconds: 0}"
    save_rules(workspace.alert_rules, rules)
    (rule,) = parse_rules(rules, "x")
    history = History(workspace.history)
    for _ in range(2):
        history.keep_alert(Alert(rule, "host.memory", NOON, 1.0))
    history.close()
    watch = Watch(workspace)
    assert len(watch.go(2).alerts) == 1
    watch.recorder.stop()
    assert sorted(alert.state for alert in History(workspace.history).alerts()) == ["ended", "raised"]


def test_an_alert_of_another_version_can_be_read(workspace: Workspace) -> None:
    history = History(workspace.history)
    history.keep_alert(Alert(HOT, SERIES, NOON, 90.0))
    odd = json.loads(HOT.model_dump_json()) | {"later": 1}
    for text in (json.dumps(odd), "[", "5", json.dumps({"name": "x"})):
        history._opened().execute(
            "INSERT INTO alerts (rule, series, raised_at, worst) VALUES (?, ?, ?, ?)", (text, "b", NOON, 1.0)
        )
    assert [alert.rule.name for alert in history.alerts()].count("hot") == 2
    history.close()
    # The damaged ones end as soon as they are checked against the rules of today.
    watch = Watch(workspace)
    watch.go(2)
    assert [alert.rule.name for alert in watch.recorder._alerts.active] == []
    watch.recorder.stop()


def test_a_history_of_before_is_gone_on_with(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "h.db"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE alerts (id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, series TEXT NOT NULL, "
        "raised_at REAL NOT NULL, cleared_at REAL, worst REAL NOT NULL)"
    )
    old.execute("INSERT INTO alerts (rule, series, raised_at, worst) VALUES (?, 's', 1, 2)", (HOT.model_dump_json(),))
    old.commit()
    old.close()
    history = History(path)
    silent = Alert(HOT, "t", 5.0, None)
    history.keep_alert(silent)
    assert [(a.series, a.worst, a.ended) for a in history.alerts()] == [("t", None, ""), ("s", 2.0, "")]
    history.close()


def test_a_checksummed_history_of_before_is_no_damaged_one_when_it_is_brought_to_today(workspace: Workspace) -> None:
    import sqlite3

    from llmops_tui.maintenance.check import check
    from llmops_tui.workspace.checksums import record_checksums

    history = History(workspace.history)
    history.add(NOON, {"a": 1.0})
    history.close()
    with sqlite3.connect(workspace.history) as old:
        for column in ("note", "ended", "lasted"):
            old.execute(f"ALTER TABLE alerts DROP COLUMN {column}")
        old.execute("DROP TABLE changes")
    old.close()
    record_checksums(workspace, again=True)
    again = History(workspace.history)
    assert again.alerts() == []
    again.close()
    assert [found for found in check(workspace).findings if found.level == "error"] == []


def test_the_past_is_held_to_silence_too(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    for second in range(600):
        if not 200 <= second < 400:
            history.add(NOON + second, {SERIES: 60.0})
    rule = HOT.model_copy(update={"no_data": "raise", "series": SERIES})
    found = replay(history, (rule,), NOON, NOON + 599)
    assert [(round(alert.raised_at - NOON), alert.worst) for alert in found] == [(200, None)]
    history.close()


# ── clocks ──


@pytest.mark.parametrize("jump", [-7200.0, -600.0, -1.0, 600.0, 7200.0])
def test_a_clock_that_is_set_neither_holds_an_alert_nor_raises_it(jump: float) -> None:
    engine, told = AlertEngine((HOT,)), []
    wall = NOON
    for second in range(60):
        wall += 1 + (jump if second in {5, 32} else 0)
        value = 90.0 if second < 30 else 60.0
        told += [(second, a.state) for a in engine.step(1000.0 + second, {SERIES: value}, at=wall)]
        for alert in engine.active if second < 32 else ():
            assert wall - alert.raised_at == second
    assert told == [(10, "raised"), (40, "cleared")]


def test_a_clock_that_is_set_drops_no_request_that_was_counted(workspace: Workspace, event_log: EventLog) -> None:
    watch = Watch(workspace)
    asked = 0

    def ask(count: int) -> None:
        nonlocal asked
        for _ in range(count):
            request(event_log, f"run_{asked}", watch.clock.now)
            asked += 1

    ask(5)
    watch.go(12)
    # An hour back: what was counted still is, and so is what comes; then the first minute comes again.
    watch.clock.now -= 3600
    ask(3)
    assert watch.go(12).latencies[0].requests == 8
    watch.recorder.stop()
    again = Watch(workspace)
    again.clock.now, again.ticks.now = NOON - 1800, 1.0
    request(event_log, f"run_{asked}", NOON + 1)
    asked += 1
    assert again.go(12).latencies[0].requests == 1
    again.recorder.stop()
    third = Watch(workspace)
    third.clock.now = NOON + 20
    ask_at = third.clock.now
    request(event_log, f"run_{asked}", ask_at)
    asked += 1
    third.go(12)
    third.recorder.stop()
    kept = History(workspace.history).minutes(NOON - 7200, NOON + 7200)
    assert sum(Minute.load(text).requests for _, _, text in kept) == asked == 10
    assert {at * 60 - NOON: Minute.load(text).requests for _, at, text in kept} == {0.0: 7, -3600.0: 3}


def test_requests_stamped_by_a_clock_that_was_then_set_back_leave_the_window_in_time(
    workspace: Workspace, event_log: EventLog
) -> None:
    save_rules(workspace.alert_rules, "- {name: errors, series: 'errors.*', above: 0.5, for_seconds: 2}")
    watch = Watch(workspace)
    for number in range(4):
        request(event_log, f"run_{number}", NOON, failed=True)
    assert watch.go(6).alerts
    watch.clock.now -= 86_400
    # Five minutes and the wait for silence later nobody asks any more, and the alert is over; not after a day.
    assert watch.go(400).alerts == ()
    # One alert, told twice: as it was raised and as it was over.
    assert [alert.state for alert in watch.told] == ["ended", "ended"]
    assert watch.told[0] is watch.told[1]
    watch.recorder.stop()


def test_what_could_not_be_kept_is_kept_with_what_comes_later(
    workspace: Workspace, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.errors import LlmopsError

    watch = Watch(workspace)
    watch.go(1)
    for number in range(4):
        request(event_log, f"run_{number}", NOON)
    whole = History.keep_minutes
    monkeypatch.setattr(History, "keep_minutes", lambda *_a: (_ for _ in ()).throw(LlmopsError("disk_full", "full")))
    for _ in range(3):
        watch.ticks.advance(20)
        assert watch.go(1).trouble == "full."
    monkeypatch.setattr(History, "keep_minutes", whole)
    request(event_log, "run_5", NOON)
    watch.go(12)
    watch.recorder.stop()
    kept = History(workspace.history).minutes(NOON - 60, NOON + 60)
    assert [Minute.load(text).requests for _, _, text in kept] == [5]


# ── events as values ──


@pytest.mark.slow
def test_a_job_that_failed_is_an_alert_until_it_is_gone_on_with(workspace: Workspace, event_log: EventLog) -> None:
    jobs = JobStore(event_log)
    watch = Watch(workspace)
    watch.go(2)
    job = jobs.add(kind="train", title="train qlora-03", spec={})
    jobs.update(job.id, state="failed", cause="out of memory", started_at=NOON, finished_at=watch.clock.now)
    (alert,) = watch.go(2).alerts
    assert alert.text == "failed job: train qlora-03 failed: out of memory (failed jobs of kind train above 0, worst 1)"
    # Set back by a day it would have failed for as long.
    watch.clock.now -= 86_400
    assert watch.go(590).alerts
    assert watch.go(20).alerts == ()
    again = jobs.add(kind="train", title="train b", spec={})
    jobs.update(again.id, state="lost", finished_at=watch.clock.now)
    assert watch.go(2).alerts
    on = jobs.add(kind="train", title="train b", spec={})
    jobs.update(on.id, resumes=again.id, state="done", finished_at=watch.clock.now)
    assert watch.go(2).alerts == ()
    watch.recorder.stop()


@pytest.mark.slow
def test_a_job_that_was_seen_at_work_and_is_lost_is_news_however_long_ago_it_wrote(
    workspace: Workspace, event_log: EventLog
) -> None:
    jobs = JobStore(event_log)
    job = jobs.add(kind="train", title="train a", spec={})
    folder = jobs.folder(job)
    folder.mkdir(parents=True)
    lock = try_lock(jobs.lock_of(job.id))
    assert lock is not None
    jobs.update(job.id, state="running", started_at=NOON - 9000)
    for path in folder.iterdir():
        os.utime(path, (NOON - 5000, NOON - 5000))
    watch = Watch(workspace)
    assert watch.go(2).alerts == ()
    # Many begin after it; it is among those that are looked at all the same, and stays as long as it is news.
    for number in range(60):
        jobs.update(jobs.add(kind="eval", title=f"eval {number}", spec={}).id, state="done", finished_at=NOON)
    assert watch.go(2).jobs[-1].id == job.id
    os.close(lock)
    (alert,) = watch.go(2).alerts
    assert alert.text.startswith("failed job: train a lost: ")
    jobs.update(job.id, state="lost", finished_at=NOON - 5000)
    assert watch.go(590).alerts
    assert watch.go(20).alerts == ()
    watch.recorder.stop()
    # Whoever looks first now takes it for what it is: long ago.
    again = Watch(workspace)
    assert again.go(2).alerts == ()
    again.recorder.stop()


def test_one_more_job_that_fails_is_told_while_the_alert_of_the_first_is_raised(
    workspace: Workspace, event_log: EventLog
) -> None:
    jobs = JobStore(event_log)
    watch = Watch(workspace)

    def fail(title: str) -> list[str]:
        before = len(watch.told)
        jobs.update(jobs.add(kind="train", title=title, spec={}).id, state="failed", finished_at=watch.clock.now)
        watch.go(5)
        return [alert.note for alert in watch.told[before:]]

    assert fail("a") == ["a failed"]
    watch.go(300)
    assert fail("b") == ["b failed; a failed"]
    # The first is news no more; its count comes back to what it was, and one more is told all the same.
    assert len(watch.go(300).alerts) == 1
    assert fail("c") == ["c failed; b failed"]
    assert len(watch.told) == 3
    (kept,) = watch.recorder.history.alerts()
    assert (kept.note, kept.worst, kept.state) == ("c failed; b failed", 2.0, "raised")
    watch.recorder.stop()
    again = Watch(workspace)
    again.clock.now = watch.clock.now
    assert len(again.go(3).alerts) == 1
    assert again.told == []
    again.recorder.stop()


def test_only_what_counts_events_is_told_again_as_it_grows() -> None:
    for series, told in (("gpu0.xid", 3), ("gpu0.ecc_uncorrected", 3), ("gpu0.temperature", 1)):
        engine = AlertEngine((Rule(name="r", series="gpu*", above=80, for_seconds=0),))
        steps = [engine.step(place, {series: value}) for place, value in enumerate([81.0, 82.0, 82.0, 81.5, 82.0])]
        assert sum(len(alerts) for alerts in steps) == told


def test_a_server_that_was_killed_is_down_until_its_model_is_stopped(workspace: Workspace) -> None:
    import subprocess
    import sys

    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(process.pid)
    assert identity is not None
    folder = workspace.runs / "servers"
    folder.mkdir(parents=True)
    record = {
        "pid": identity.pid,
        "started": identity.started,
        "options": {"model": "m", "sha256": "", "socket": "/none", "key": "k"},
    }
    (folder / "m.json").write_text(json.dumps(record))
    for number, odd in enumerate(("{", "5", '{"pid": "x", "started": 1}', json.dumps(record | {"options": 3}))):
        (folder / f"odd{number}.json").write_text(odd)
    supervisor = ServerSupervisor(workspace)
    assert [handle.model for handle in supervisor.running()] == ["m"]
    process.kill()
    process.wait()
    assert supervisor.running() == []
    assert [handle.model for handle in supervisor.fallen()] == ["m"]
    watch = Watch(workspace)
    (alert,) = watch.go(10).alerts
    assert alert.text == "engine down: m: its server ended without a message (the engine of m is down)"
    assert not supervisor.stop("m")
    assert supervisor.fallen() == []
    watch.recorder._engines._due = 0.0
    assert watch.go(40).alerts == ()
    assert watch.told[-1].ended.startswith("no data: the model is unloaded")
    watch.recorder.stop()


def test_of_an_engine_that_says_nothing_only_that_is_known() -> None:
    silent = EngineLoad("m", ProcessIdentity(1, 1.0), state="silent")
    assert of_engines([silent]) == {"engine.m.up": 0.0}
    assert of_engines([EngineLoad("m", ProcessIdentity(1, 1.0), state="loading")])["engine.m.up"] is None
    assert of_engines([EngineLoad("m", ProcessIdentity(1, 1.0))])["engine.m.up"] == 1.0
    assert "does not respond" in silent.why_down


def test_a_server_that_does_not_listen_yet_is_loading_and_one_that_never_does_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = ServerHandle("m", "", str(tmp_path / "nobody.sock"), "key", ProcessIdentity(1, 1.0))

    class Starting:
        def running(self) -> list[ServerHandle]:
            return [handle]

        def fallen(self) -> list[ServerHandle]:
            return []

    sampler = EngineSampler(cast("ServerSupervisor", Starting()))
    assert [load.state for load in sampler.inspect()] == ["loading"]
    begun = time.monotonic()
    monkeypatch.setattr("llmops_tui.monitoring.engines.time", SimpleNamespace(monotonic=lambda: begun + 200))
    assert [load.state for load in sampler.inspect()] == ["silent"]
    sampler.close()


def test_a_rule_for_a_series_that_was_never_recorded_is_told() -> None:
    names = ["gpu0.temperature", "host.cpu"]
    slip = HOT.model_copy(update={"name": "slip", "series": "gpu*.temprature"})
    assert unseen([HOT, slip], names) == ["slip: no series gpu*.temprature was recorded yet"]
    assert unseen([HOT, slip], []) == []


def test_the_rules_that_come_along_name_series_that_there_are(workspace: Workspace, event_log: EventLog) -> None:
    import fnmatch
    from dataclasses import replace

    from llmops_tui.experiments.beginning import NewExperiment
    from llmops_tui.inference.experiments.store import ExperimentStore
    from llmops_tui.monitoring import occurrences, series
    from llmops_tui.monitoring.latency import Latencies

    JobStore(event_log).add(kind="train", title="t", spec={})
    request(event_log, "run_1", NOON)
    asked = NewExperiment(name="one", a="one", b="two", kind="canary")
    canary = ExperimentStore(event_log).start("one", "canary", asked.settings())
    watch = Watch(workspace)
    moment = watch.go(2)
    watch.recorder.inspect_slowly()
    moment = watch.go(2)
    latencies = Latencies()
    latencies.observe(event_log.timings_after(0)[0], 5.0)
    known = (
        series.of_host(moment.host)
        | series.of_gpus(moment.gpus.gpus)
        | series.of_engines([EngineLoad("m", ProcessIdentity(1, 1.0))])
        | occurrences.Recent().of_gpus(moment.gpus.gpus, 0.0)
        | series.of_latencies(latencies, 5.0)
        | occurrences.of_jobs(JobStore(event_log).all(), [])
        | occurrences.of_experiments([canary])
        | occurrences.of_traffic({"all traffic": 1.0})
    )
    for rule in DEFAULT_RULES:
        assert fnmatch.filter(known, rule.series), rule
    assert replace(moment).host.disk_free
    watch.recorder.stop()


def test_a_server_of_the_workspace_that_this_one_was_copied_from_is_no_engine_that_is_down(
    workspace: Workspace,
) -> None:
    folder = workspace.runs / "servers"
    folder.mkdir()
    lock = folder / "m.held"
    lock.touch()
    record = {
        "pid": 2**22,
        "started": 1.0,
        "options": {"model": "m", "sha256": "", "socket": "/none", "key": "k"},
        "lock": lock.stat().st_ino,
    }
    (folder / "m.json").write_text(json.dumps(record))
    assert [handle.model for handle in ServerSupervisor(workspace).fallen()] == ["m"]
    copy = Workspace(workspace.root.with_name("copy"))
    shutil.copytree(workspace.root, copy.root)
    assert ServerSupervisor(copy).fallen() == []
    assert Watch(copy).go(10).alerts == ()
    # Where the folder was moved it is the same server that ended.
    moved = Workspace(workspace.root.rename(workspace.root.with_name("moved")))
    assert [handle.model for handle in ServerSupervisor(moved).fallen()] == ["m"]
