"""Writers of what is watched, and of the user's own files: history, alerts, rules, settings, trust, keys."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.changes import Change
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.latency import Minute
from llmops_tui.monitoring.recorder import Recorder
from llmops_tui.monitoring.rules import Rule, approve_rules, dump_rules, load_rules, may_run, save_rules
from llmops_tui.settings import Settings, load_settings, save_settings
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust, untrusted_reason, withdraw
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place
from tests.maintenance.kills.records import trace

_BEGAN = 1_795_000_000.0


# ── what the recorder keeps ──


def write_counts(place: Place, tell: Ledger, chance: Random) -> None:
    """Requests that are counted by a recorder which is started and stopped; of two one records."""
    event_log = EventLog(place.workspace)
    while True:
        keys = [f"run_{tell.fresh()}" for _ in range(chance.randint(1, 5))]
        with tell.doing("requests", keys=keys):
            event_log.append_many([("request", key, trace(key) | {"model": "counted"}) for key in keys])
        with tell.doing("count"):
            recorder = Recorder(place.workspace, clock=lambda: _BEGAN + 60)
            recorder.inspect()
            recorder.stop()


def verify_counts(place: Place, known: Known, whole: bool) -> None:
    if whole:
        # The other writer may have been stopped between its requests and its count; whoever records next counts them.
        recorder = Recorder(place.workspace, clock=lambda: _BEGAN + 60)
        recorder.inspect()
        recorder.stop()
    history = History(place.workspace.history)
    minutes = [Minute.load(body) for model, _, body in history.minutes(0, 2 * _BEGAN) if model == "counted"]
    counted = sum(minute.requests for minute in minutes)
    timed = EventLog(place.workspace).connection().execute("SELECT id FROM timings WHERE model = 'counted'")
    there = [row[0] for row in timed]
    assert max(Counter(there).values(), default=0) <= 1
    assert {key for told in known.acknowledged("requests") for key in told.facts["keys"]} <= set(there)
    assert counted <= len(there)
    if whole:
        # It counted what was left, and nothing twice.
        assert counted == len(there)
    history.close()


def write_history(place: Place, tell: Ledger, chance: Random) -> None:
    """Values, alerts and changes, as whoever records keeps them."""
    history = History(place.workspace.history)
    rule = Rule(name="hot", series="gpu.*", above=1.0)
    number, second = 0, 0
    while True:
        series = tell.fresh()
        with tell.doing("values", series=series) as done:
            for _ in range(chance.randint(1, 300)):
                second += 1
                history.add(_BEGAN + second, {series: float(second)})
            history.flush()
            done["last"] = second
        number += 1
        alert = Alert(rule, f"gpu.{series}", _BEGAN + number, 2.0)
        with tell.doing("raised", series=series) as done:
            history.keep_alert(alert)
            done["id"] = alert.id
        with tell.doing("cleared", id=alert.id):
            alert.cleared_at = _BEGAN + number + 1
            history.keep_alert(alert)
        with tell.doing("change", text=series):
            history.keep_changes([Change(_BEGAN, "settings", series)], {"settings": series})


def verify_history(place: Place, known: Known, _whole: bool) -> None:
    history = History(place.workspace.history)
    kept = set(history.series())
    for told in known.acknowledged("values"):
        assert told.facts["series"] in kept
    for told in known.acknowledged("values")[-5:]:
        assert told.done is not None
        at = _BEGAN + told.done["last"]
        curve = history.read(told.facts["series"], at, at, at)
        assert curve.mean[-1] == told.done["last"]
    alerts = {alert.id: alert for alert in history.alerts(10_000)}
    names = Counter(alert.series for alert in alerts.values())
    assert max(names.values(), default=0) <= 1
    for told in known.acknowledged("raised"):
        assert alerts[(told.done or {})["id"]].series == f"gpu.{told.facts['series']}"
    for told in known.acknowledged("cleared"):
        assert alerts[told.facts["id"]].cleared_at is not None
    changes = Counter(change.text for change in history.changes_between(0, 2 * _BEGAN))
    assert all(changes[told.facts["text"]] == 1 for told in known.acknowledged("change"))
    history.close()


# ── the user's own files ──


def _rules(text: str) -> tuple[Rule, ...]:
    return (Rule(name=text, series="host.cpu", above=0.5, command=f"/bin/true {text}"),)


def write_rules(place: Place, tell: Ledger, _chance: Random) -> None:
    """Rules with a command: kept, and with that approved; and those of another file approved."""
    other = place.folder / f"alerts-{tell.label}.yaml"
    while True:
        text = tell.fresh()
        with tell.doing(f"rules {tell.label[0]}", text=text):
            save_rules(place.folder / f"rules-{tell.label[0]}.yaml", dump_rules(_rules(text)))
        other.write_text(dump_rules(_rules(f"other {text}")))
        with tell.doing("approve", text=f"other {text}"):
            approve_rules(other)


def verify_rules(place: Place, known: Known, _whole: bool) -> None:
    for what in {told.what for told in known.all if told.what.startswith("rules ")}:
        path = place.folder / f"rules-{what[-1]}.yaml"
        texts = {told.facts["text"] for told in known.last(what)}
        assert not known.acknowledged(what) or load_rules(path)[0].name in texts
        if known.acknowledged(what) and len(texts) == 1:
            assert may_run(path)
    # As many as are remembered; those are the newest.
    for told in known.acknowledged("approve")[-20:]:
        path = place.folder / "approved.yaml"
        path.write_text(dump_rules(_rules(told.facts["text"])))
        assert may_run(path)


def write_settings(place: Place, tell: Ledger, chance: Random) -> None:
    """Settings, also where the file cannot be understood; then traces keep figures only, until they are saved again."""
    while True:
        number = chance.randint(1, 10_000)
        with tell.doing("settings", number=number, content=("off", "redact")[number % 2]):
            save_settings(Settings(context=number, trace_content="redact" if number % 2 else "off"))
        if chance.random() < 0.5:
            with tell.doing("slip"):
                write_atomic(settings_path(), 'trace_contents = "off"\n')


def verify_settings(_place: Place, known: Known, _whole: bool) -> None:
    found, problems = load_settings()
    last = known.last("settings", "slip")
    # Never the reading that keeps all: it was asked for at no time.
    assert not known.acknowledged("settings") or found.trace_content != "keep"
    if problems or not known.acknowledged("settings"):
        assert any(told.what == "slip" for told in last) or not known.acknowledged("settings")
        return
    assert (found.context, found.trace_content) in {
        (told.facts["number"], told.facts["content"]) for told in last if told.what == "settings"
    }


def write_trust(place: Place, tell: Ledger, chance: Random) -> None:
    """Workspaces that are made, trusted, and trusted no longer."""
    while True:
        name = tell.fresh()
        other = Workspace(place.folder / name)
        with tell.doing("made", name=name):
            make_workspace(other)
        if chance.random() < 0.5:
            with tell.doing("withdrawn", name=name):
                withdraw(other)
            if chance.random() < 0.5:
                with tell.doing("trusted", name=name):
                    trust(other)


def verify_trust(place: Place, known: Known, _whole: bool) -> None:
    last: dict[str, list[str]] = {}
    for told in known.all:
        states = last.setdefault(told.facts["name"], [])
        if told.done is not None:
            states.clear()
        states.append(told.what)
    for name, states in last.items():
        root = place.folder / name
        if states == ["made"] and name not in {told.facts["name"] for told in known.acknowledged("made")}:
            continue
        words = {"withdrawn" if untrusted_reason(Workspace(root)) else "trusted"}
        assert words & {"trusted" if state == "made" else state for state in states}, (name, states)
    _no_damage(settings_path().parent)


def _no_damage(folder: Path) -> None:
    assert not list(folder.glob("*.damaged-*"))


KINDS = {
    "counts": Kind(write_counts, verify_counts),
    "history": Kind(write_history, verify_history, shared=False),
    "rules": Kind(write_rules, verify_rules),
    "settings": Kind(write_settings, verify_settings, shared=False),
    "trust": Kind(write_trust, verify_trust),
}
