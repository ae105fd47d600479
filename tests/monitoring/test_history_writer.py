"""A history that takes nothing: looking, telling and running commands go on, and what was seen is kept afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.monitoring import history as history_module
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.rules import Rule, save_rules
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sqlite_files import counted_write
from tests.monitoring.test_monitoring import NOON, Watch, request
from tests.waiting import wait_for


class Disk:
    """A disk that can be full: what is written then is rolled back as it is about to be kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        monkeypatch.setattr(history_module, "counted_write", self._write)

    @contextlib.contextmanager
    def _write(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with counted_write(connection):
            yield connection
            if self.full:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorname = "SQLITE_FULL"
                raise error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_alerts_are_told_and_commands_run_while_nothing_can_be_written(
    workspace: Workspace, event_log: EventLog, disk: Disk, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save_rules(
        workspace.alert_rules,
        f"- {{name: errors, series: 'errors.*', above: 0.5, for_seconds: 2, command: sh -c 'echo $LLMOPS_STATE >> {out}'}}",
    )
    watch = Watch(workspace)
    watch.go(2)
    disk.full = True
    # Over the edges of minutes: full pieces cannot be put away.
    watch.go(200)
    for number in range(4):
        request(event_log, f"run_{number}", watch.clock.now, failed=True)
    moment = watch.go(6)
    assert moment.at == watch.clock.now
    assert [alert.state for alert in watch.told] == ["raised"]
    assert "no space left" in moment.trouble
    wait_for(out.exists)
    for number in range(10, 30):
        request(event_log, f"run_{number}", watch.clock.now)
    watch.go(6)
    assert [alert.state for alert in watch.told] == ["cleared", "cleared"]
    wait_for(lambda: out.read_text().split() == ["raised", "cleared"])
    assert History(workspace.history).alerts() == []
    # There is space again: everything is kept, each alert once, and no second is missing.
    disk.full = False
    assert watch.go(11).trouble == ""
    watch.recorder.stop()
    kept = History(workspace.history)
    assert [(alert.rule.name, alert.state) for alert in kept.alerts()] == [("errors", "cleared")]
    curve = kept.read("host.memory", NOON + 1, watch.clock.now, watch.clock.now)
    assert np.isfinite(curve.mean).all()
    assert kept.minutes(NOON, watch.clock.now)
    kept.close()


def test_a_clearing_that_could_not_be_written_is_written_later(workspace: Workspace, disk: Disk) -> None:
    save_rules(workspace.alert_rules, "- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    watch = Watch(workspace)
    watch.go(2)
    disk.full = True
    save_rules(workspace.alert_rules, "[]")
    watch.go(2)
    assert [alert.state for alert in watch.told] == ["ended", "ended"]
    assert [alert.state for alert in History(workspace.history).alerts()] == ["raised"]
    disk.full = False
    watch.go(11)
    assert [alert.state for alert in History(workspace.history).alerts()] == ["ended"]
    watch.recorder.stop()


def test_an_alert_that_was_rolled_back_has_no_number_and_is_inserted_when_it_is_tried_again(
    tmp_path: Path, disk: Disk
) -> None:
    history = History(tmp_path / "h.db")
    alert = Alert(Rule(name="a", series="b", above=0), "b", NOON, 1.0)
    disk.full = True
    with pytest.raises(LlmopsError, match="no space left"):
        history.keep_alert(alert)
    assert alert.id is None
    disk.full = False
    history.keep_alert(alert)
    assert [kept.id for kept in history.alerts()] == [alert.id]
    history.close()


def test_what_waits_for_a_full_disk_is_read_and_bounded(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "_MOST_WAITING", 5)
    history = History(tmp_path / "h.db")
    history.flush()
    disk.full = True
    for second in range(600):
        history.add(NOON + second, {"a": float(second)})
    assert len(history._waiting) == 5
    # The newest minutes wait, and are seen; what is older was dropped.
    curve = history.read("a", NOON, NOON + 599, NOON + 599)
    known = curve.times[np.isfinite(curve.mean)] - NOON
    assert (known[0], known[-1], len(known)) == (240, 599, 360)
    disk.full = False
    history.close()
    again = History(tmp_path / "h.db")
    assert np.isfinite(again.read("a", NOON + 240, NOON + 599, NOON + 599).mean).all()
    again.close()


def test_alerts_of_before_are_gone_on_with_although_they_could_not_be_read_at_first(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = "- {name: busy, series: host.memory, above: 0, for_seconds: 0}"
    save_rules(workspace.alert_rules, rules)
    first = Watch(workspace)
    first.go(2)
    first.recorder.stop()
    whole = History.alerts
    monkeypatch.setattr(History, "alerts", lambda *_a: (_ for _ in ()).throw(LlmopsError("history_failed", "locked")))
    save_rules(workspace.alert_rules, "[]")
    watch = Watch(workspace)
    assert watch.go(2).trouble == "locked."
    monkeypatch.setattr(History, "alerts", whole)
    assert watch.go(2).trouble == ""
    assert [alert.ended for alert in watch.told] == ["its rule was deleted"]
    watch.recorder.stop()
    assert [alert.state for alert in History(workspace.history).alerts()] == ["ended"]


def test_an_alert_raised_before_those_of_before_could_be_read_is_one_with_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_rules(workspace.alert_rules, "- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    first = Watch(workspace)
    first.go(2)
    first.recorder.stop()
    whole = History.alerts
    monkeypatch.setattr(History, "alerts", lambda *_a: (_ for _ in ()).throw(LlmopsError("history_failed", "locked")))
    watch = Watch(workspace)
    watch.go(2)
    monkeypatch.setattr(History, "alerts", whole)
    assert len(watch.go(2).alerts) == 1
    watch.recorder.stop()
    assert sorted(alert.state for alert in History(workspace.history).alerts()) == ["ended", "raised"]


def test_rules_are_held_to_while_the_history_cannot_even_be_read(workspace: Workspace) -> None:
    workspace.history.write_bytes(b"no such file " * 1000)
    save_rules(workspace.alert_rules, "- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    watch = Watch(workspace)
    moment = watch.go(3)
    assert [alert.state for alert in watch.told] == ["raised"]
    assert [alert.rule.name for alert in moment.alerts] == ["busy"]
    assert "failed" in moment.trouble
    watch.recorder.stop()
