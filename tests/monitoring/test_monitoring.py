"""History, latencies, alerts and the recorder, on a clock of the test's own."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.cli.monitor import text_of
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.hardware.gpu_sampler import GpuSampler
from llmops_tui.hardware.gpus import GpuView
from llmops_tui.hardware.host import HostLoad
from llmops_tui.hardware.nvidia import NvidiaSource
from llmops_tui.hardware.processes import Ours
from llmops_tui.jobs.process import ProcessIdentity, identify
from llmops_tui.monitoring.activity import activity_between
from llmops_tui.monitoring.alerts import Alert, AlertEngine, run_command
from llmops_tui.monitoring.energy import energy_between
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.in_progress import ours
from llmops_tui.monitoring.latency import Latencies, Latency, Minute
from llmops_tui.monitoring.recorder import Moment, Recorder
from llmops_tui.monitoring.replay import replay
from llmops_tui.monitoring.resolutions import RESOLUTIONS
from llmops_tui.monitoring.rules import DEFAULT_RULES, Rule, dump_rules, parse_rules, save_rules
from llmops_tui.monitoring.series import of_latencies
from llmops_tui.monitoring.sketch import ACCURACY, LatencySketch
from llmops_tui.workspace.event_log import EventLog, Timing
from llmops_tui.workspace.layout import Workspace
from tests.fakes import FakeClock, FakeNvml, hostile_strings
from tests.waiting import wait_for

NOON = 1_795_262_400.0
SIZES = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=300)


def request(
    event_log: EventLog, key: str, at: float, *, ms: float = 100.0, model: str = "m", failed: bool = False
) -> None:
    event_log.append(
        "request",
        key,
        {
            "started_at": at,
            "model": model,
            "output": "x",
            "finish_reason": "error" if failed else "stop",
            "ttft_ms": ms / 4,
            "total_ms": ms,
            "completion_tokens": 11,
            "messages": [],
            "parameters": {},
        },
    )


# ── percentiles ──


@given(SIZES, st.floats(0, 1))
def test_percentiles_are_within_their_promised_accuracy(values: list[float], share: float) -> None:
    sketch = LatencySketch()
    for value in values:
        sketch.add(value)
    exact = float(np.quantile(values, share, method="lower"))
    found = sketch.quantile(share)
    assert found is not None
    assert abs(found - exact) <= ACCURACY * exact * 1.0001


@given(SIZES, SIZES)
def test_sketches_add_up_and_survive_being_kept(left: list[float], right: list[float]) -> None:
    one, two, both = LatencySketch(), LatencySketch(), LatencySketch()
    for value in left:
        one.add(value)
        both.add(value)
    for value in right:
        two.add(value)
        both.add(value)
    merged = LatencySketch.sum([one, LatencySketch.load(two.dump())])
    assert merged.buckets == both.buckets
    assert merged.count == both.count
    assert sum(count for _, _, count in merged.histogram(8)) == both.count


def test_without_values_there_is_no_percentile() -> None:
    assert LatencySketch().quantile(0.5) is None
    assert LatencySketch().histogram(5) == []


# ── history ──


def test_each_grain_has_the_mean_and_the_largest_of_its_time(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    values = {second: float((second * 7) % 31) for second in range(7200)}
    for second, value in values.items():
        history.add(NOON + second, {"a": value})
    now = NOON + 7199
    last = history.read("a", now - 60, now, now)
    assert last.resolution == 1
    assert last.mean.tolist() == [values[second] for second in range(7139, 7200)]
    hour = history.read("a", now - 3600, now, now)
    assert hour.resolution == 10
    begin = int(hour.times[5] - NOON)
    bucket = [values[second] for second in range(begin, begin + 10)]
    assert hour.mean[5] == pytest.approx(np.mean(bucket))
    assert hour.largest[5] == max(bucket)


def test_what_was_not_measured_is_a_gap_and_history_outlives_its_process(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    for second in (0, 1, 2, 10, 11):
        history.add(NOON + second, {"a": 5.0, "b": None, "c": math.nan})
    history.close()
    again = History(tmp_path / "h.db")
    again.add(NOON + 12, {"a": 7.0})
    curve = again.read("a", NOON, NOON + 12, NOON + 12)
    known = np.isfinite(curve.mean)
    assert [int(t - NOON) for t in curve.times[known]] == [0, 1, 2, 10, 11, 12]
    assert again.series() == ["a"]
    again.close()


def test_what_is_too_old_is_dropped_grain_by_grain(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    history.add(NOON, {"a": 1.0})
    history.flush()
    later = NOON + 2 * 86_400
    history.add(later, {"a": 2.0})
    history.flush()
    history.prune(later)
    rows = history._opened().execute("SELECT grain, count(*) FROM chunks GROUP BY grain").fetchall()
    # Seconds and tens of seconds of two days ago are gone, the minute is kept for 90 days.
    assert dict(rows) == {1: 1, 10: 1, 60: 2}
    for day in range(3, 92, 4):
        history.add(NOON + day * 86_400, {"b": 1.0})
    history.flush()
    history.prune(NOON + 91 * 86_400)
    kept = "SELECT count(*) FROM chunks WHERE grain = 60 AND series = 'a'"
    assert history._opened().execute(kept).fetchone()[0] == 1
    history.close()


def test_a_clock_that_leaps_drops_nothing_until_it_is_shown_to_be_right(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")

    def count() -> int:
        return int(history._opened().execute("SELECT count(*) FROM chunks WHERE series = 'a'").fetchone()[0])

    for hour in range(0, 72, 2):
        history.add(NOON + hour * 3600, {"a": 1.0})
    history.flush()
    before = count()
    ahead = NOON + 10 * 365 * 86_400
    # Also while what is measured by the wrong clock is kept already.
    for hour in range(0, 12, 2):
        with pytest.raises(LlmopsError, match=r"the clock is 3,64\d days ahead") as refused:
            history.prune(ahead + hour * 3600)
        assert refused.value.code == "clock_ahead"
        history.add(ahead + hour * 3600, {"b": 1.0})
        history.flush()
    assert count() == before
    # Set right again, time goes on as it did; what is of a time to come is no witness.
    history.prune(NOON + 73 * 3600)
    assert history.read("a", NOON, NOON + 73 * 3600, NOON + 73 * 3600).resolution == 60
    with pytest.raises(LlmopsError, match="the clock is"):
        history.prune(ahead + 12 * 3600)
    # A day of measuring shows that it is right.
    for hour in range(12, 30, 2):
        history.add(ahead + hour * 3600, {"b": 1.0})
    history.flush()
    history.prune(ahead + 30 * 3600)
    assert count() == 0
    history.close()


def test_ninety_days_are_read_from_minutes(tmp_path: Path) -> None:
    assert [resolution.seconds for resolution in RESOLUTIONS] == [1, 10, 60]
    history = History(tmp_path / "h.db")
    for minute in range(0, 3 * 1440, 30):
        history.add(NOON + minute * 60, {"a": float(minute)})
    now = NOON + 3 * 86_400
    curve = history.read("a", now - 90 * 86_400, now, now)
    assert (curve.resolution, len(curve.times)) == (60, 90 * 1440 + 1)
    assert np.isfinite(curve.mean).sum() == 3 * 48
    history.close()


# ── alerts ──

HOT = Rule(name="hot", series="gpu*.temperature", above=80, clear=70, for_seconds=10)


def play(rule: Rule, values: list[float | None], step: float = 5.0) -> list[tuple[float, str]]:
    engine, told = AlertEngine((rule,)), []
    for place, value in enumerate(values):
        alerts = engine.step(place * step, {"gpu0.temperature": value})
        told += [(place * step, "raised" if alert.cleared_at is None else "cleared") for alert in alerts]
    return told


def test_an_alert_is_raised_after_its_time_and_cleared_well_below_its_limit() -> None:
    hot = play(HOT, [60, 85, 85, 90, 79, 81, 75, 69, 69, 69, 60])
    assert hot == [(15.0, "raised"), (45.0, "cleared")]


def test_a_value_that_dances_around_its_limit_raises_one_alert() -> None:
    assert play(HOT, [60] + [81, 79] * 50) == []
    assert play(HOT, [81] * 4 + [79, 81] * 50 + [60] * 4) == [(10.0, "raised"), (530.0, "cleared")]


def test_what_is_not_known_changes_nothing() -> None:
    assert play(HOT, [85, None, math.nan, 85]) == [(15.0, "raised")]
    assert play(HOT, [85, 85, 85, None, None, None]) == [(10.0, "raised")]


def test_a_lower_limit_and_series_of_many() -> None:
    low = Rule(name="slow", series="engine.*.throughput", below=10, clear=20, for_seconds=0)
    engine = AlertEngine((low,))
    raised = engine.step(0, {"engine.a.throughput": 5, "engine.b.throughput": 50, "host.cpu": 1})
    assert [(a.series, a.text) for a in raised] == [
        ("engine.a.throughput", "slow: mean speed of a below 10 tok/s, worst 5 tok/s")
    ]
    assert engine.step(1, {"engine.a.throughput": 15}) == []
    assert [a.cleared_at for a in engine.step(2, {"engine.a.throughput": 25})] == [2]


@pytest.mark.parametrize(("text", "what"), [
    ("- {name: a, series: b}", "either above or below"), ("- {name: a, series: b, above: 1, clear: 2}", "normal side"),
    ("nonsense: [", "line 1"), ("- 5", "is a mapping"), ("3", "a list of rules"),
    ("- {name: a, series: b, above: 1}\n- {name: a, series: c, above: 1}", "two rules"),
    ("- {name: a, series: b, above: 1, blow: 2}", "Extra inputs"),
])  # fmt: skip
def test_bad_rules_are_refused_with_their_place(text: str, what: str) -> None:
    with pytest.raises(InputRefusedError, match=what):
        parse_rules(text, "alerts.yaml")


def test_rules_are_kept_as_they_are_written(workspace: Workspace) -> None:
    text = dump_rules(DEFAULT_RULES)
    assert parse_rules(text, "x") == DEFAULT_RULES
    assert save_rules(workspace.alert_rules, text) == DEFAULT_RULES
    with pytest.raises(InputRefusedError):
        save_rules(workspace.alert_rules, "- 5")
    assert workspace.alert_rules.read_text() == text


def test_a_command_gets_what_happened_without_a_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import os; open({str(out)!r}, 'w').write(os.environ['LLMOPS_STATE'] + ' ' + os.environ['LLMOPS_TEXT'])"
    rule = HOT.model_copy(update={"command": f'{sys.executable} -c "{code}"'})
    assert run_command(Alert(rule, "gpu0.temperature; rm -rf /", 1.0, 90.0)) == ""
    assert out.read_text().startswith("raised hot: temperature; rm -rf / of GPU 0")
    assert "failed" in run_command(Alert(HOT.model_copy(update={"command": "/nowhere/at/all"}), "x", 1.0, 90.0))
    assert "ended with 3" in run_command(
        Alert(HOT.model_copy(update={"command": f"{sys.executable} -c 'exit(3)'"}), "x", 1, 1)
    )


def test_commands_of_rules_that_came_from_elsewhere_are_not_run(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rules = f"- {{name: a, series: host.memory, above: 0, for_seconds: 0, command: 'touch {out}'}}"
    workspace.alert_rules.write_text(rules)
    recorder = Recorder(workspace)
    assert recorder.inspect().alerts
    assert "was not run" in recorder.trouble
    recorder.stop()
    assert not out.exists()
    # Kept by this user, they are run.
    save_rules(workspace.alert_rules, rules.replace("name: a", "name: b"))
    again = Recorder(workspace)
    again.inspect()
    wait_for(out.exists)
    again.stop()


def test_rules_are_tried_on_the_recorded_past(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    for second in range(600):
        history.add(NOON + second, {"gpu0.temperature": 90.0 if 100 <= second < 200 or 400 <= second < 420 else 60.0})
    found = replay(history, (HOT,), NOON, NOON + 600)
    assert [round(alert.raised_at - NOON) for alert in found] == [400, 100]
    assert all(alert.cleared_at for alert in found)
    assert replay(history, (HOT.model_copy(update={"above": 95}),), NOON, NOON + 600) == []
    history.close()


# ── the recorder ──


class Watch:
    """A recorder on a clock of its own, with a GPU as it was recorded."""

    def __init__(self, workspace: Workspace) -> None:
        self.clock = FakeClock(NOON)
        self.nvml = FakeNvml.session()
        self.told: list[Alert] = []
        gpus = GpuSampler([NvidiaSource(self.nvml, self.clock)])
        # The wall's clock may be set; what waits are counted by only goes on.
        self.ticks = FakeClock(5_000.0)
        self.recorder = Recorder(workspace, gpus=gpus, clock=self.clock, ticks=self.ticks, told=self.told.extend)

    def go(self, seconds: int) -> Any:
        for _ in range(seconds):
            self.clock.advance(1)
            self.ticks.advance(1)
            self.nvml.place = min(self.nvml.place + 1, len(self.nvml.frames) - 1)
            self.recorder.inspect()
        return self.recorder.moment


def test_everything_is_seen_at_once_and_kept(workspace: Workspace, event_log: EventLog) -> None:
    watch = Watch(workspace)
    watch.go(5)
    for number in range(20):
        request(event_log, f"run_{number}", watch.clock.now - 1, ms=100.0 + number)
    moment = watch.go(20)
    assert moment.recording
    assert moment.gpus.gpus[0].utilisation > 90
    (window,) = moment.latencies
    assert (window.requests, window.failed, window.tokens) == (20, 0, 220)
    assert window.percentile("total", 0.5) == pytest.approx(109, rel=0.01)
    assert "gpu0.power" in watch.recorder.history.series()
    assert "latency.m.total.p95" in watch.recorder.history.series()
    told = json.loads(json.dumps(moment.as_dict(), default=str))
    assert told["latency"]["m"]["total_ms"]["p50"] == pytest.approx(109, rel=0.01)
    watch.recorder.stop()


def test_a_restart_counts_each_request_once(workspace: Workspace, event_log: EventLog) -> None:
    watch = Watch(workspace)
    for number in range(30):
        request(event_log, f"run_{number}", NOON)
    watch.go(12)
    for number in range(30, 40):
        request(event_log, f"run_{number}", NOON + 12)
    # It ends without a word, as by kill -9: what was not kept yet is counted again from the event log.
    watch.go(1)
    os.close(watch.recorder._lock_file)  # type: ignore[arg-type]
    again = Watch(workspace)
    again.clock.now = watch.clock.now
    assert again.go(1).latencies[0].requests == 40
    again.recorder.stop()
    third = Watch(workspace)
    third.clock.now = again.clock.now
    assert third.go(1).latencies[0].requests == 40
    third.recorder.stop()


def test_one_records_and_the_others_only_look(workspace: Workspace, event_log: EventLog) -> None:
    first, second = Watch(workspace), Watch(workspace)
    request(event_log, "run_1", NOON)
    assert first.go(3).recording
    moment = second.go(3)
    assert not moment.recording
    assert moment.latencies[0].requests == 1
    request(event_log, "run_2", NOON + 3)
    assert second.go(1).latencies[0].requests == 2
    # The one that records is killed before it kept the second request: the other takes over and keeps both.
    os.close(first.recorder._lock_file)  # type: ignore[arg-type]
    assert second.go(1).recording
    second.recorder.stop()
    kept = History(workspace.history).minutes(NOON - 60, NOON + 60)
    assert sum(Minute.load(text).requests for _, _, text in kept) == 2


def test_a_minute_that_was_kept_in_part_is_gone_on_with_hours_later(workspace: Workspace, event_log: EventLog) -> None:
    watch = Watch(workspace)
    request(event_log, "run_1", NOON)
    watch.go(3)
    watch.recorder.stop()
    request(event_log, "run_2", NOON + 4)
    later = Watch(workspace)
    later.clock.now = NOON + 7200
    later.go(1)
    later.recorder.stop()
    kept = History(workspace.history).minutes(NOON - 60, NOON + 60)
    assert [Minute.load(text).requests for _, _, text in kept] == [2]


def test_alerts_are_told_kept_and_go_on_after_a_restart(workspace: Workspace, event_log: EventLog) -> None:
    save_rules(
        workspace.alert_rules, "- {name: errors, series: 'errors.*', above: 0.5, for_seconds: 2, severity: error}"
    )
    watch = Watch(workspace)
    for number in range(4):
        request(event_log, f"run_{number}", NOON, failed=True)
    assert [alert.text for alert in watch.go(6).alerts] == ["errors: failed requests of m above 50%, worst 100%"]
    assert [alert.cleared_at for alert in watch.told] == [None]
    watch.recorder.stop()
    again = Watch(workspace)
    again.clock.now = watch.clock.now
    again.go(2)
    assert again.told == []
    for number in range(10, 20):
        request(event_log, f"run_{number}", again.clock.now)
    again.go(6)
    assert [alert.cleared_at is not None for alert in again.told] == [True]
    kept = again.recorder.history.alerts()
    assert [(alert.rule.name, alert.cleared_at is not None) for alert in kept] == [("errors", True)]
    again.recorder.stop()


def test_damaged_rules_are_told_and_watching_goes_on(workspace: Workspace) -> None:
    workspace.alert_rules.write_text("- 5")
    recorder = Recorder(workspace)
    moment = recorder.inspect()
    assert moment.host.memory_total
    assert "alerts.yaml" in recorder.trouble
    workspace.alert_rules.unlink()
    recorder.inspect()
    assert recorder.trouble == ""
    recorder.stop()


def test_a_moment_of_the_past_has_names_and_energy(workspace: Workspace, event_log: EventLog) -> None:
    from llmops_tui.jobs.store import JobStore

    watch = Watch(workspace)
    watch.go(30)
    request(event_log, "run_slow", NOON + 5, ms=10_000)
    request(event_log, "run_fast", NOON + 28, ms=100)
    jobs = JobStore(event_log)
    job = jobs.add(kind="train", title="train qlora-03", spec={})
    jobs.update(job.id, state="done", started_at=NOON + 2, finished_at=NOON + 9)
    then = activity_between(event_log, NOON + 8, NOON + 9, NOON + 30)
    assert [j.title for j in then.jobs] == ["train qlora-03"]
    assert [timing.id for timing in then.requests] == ["run_slow"]
    energy = energy_between(watch.recorder.history, event_log, NOON + 10, NOON + 29, NOON + 30)
    assert energy is not None
    # Two cards: one under load, one at rest.
    assert energy.joules == pytest.approx(19 * (640 + 74), rel=0.05)
    assert energy.tokens == 22
    assert energy.per_thousand_tokens == pytest.approx(energy.joules / 22 * 1000)
    watch.recorder.stop()
    assert energy_between(History(workspace.root / "other.db"), event_log, NOON, NOON + 9, NOON + 30) is None


# ── a day ──


def simulate(requests: int, seed: int) -> None:
    """A day of traffic with two incidents: percentiles within 1 % of the exact ones, and just the scripted alerts."""
    rng = np.random.default_rng(seed)
    ended = np.sort(rng.uniform(0, 86_400, requests))
    total = rng.lognormal(5.5, 0.6, requests)
    slow = (ended >= 30_000) & (ended < 33_000)
    total[slow] *= 40
    failed = (ended >= 60_000) & (ended < 61_200) & (rng.random(requests) < 0.3)
    rules = (
        Rule(name="slow", series="latency.m.total.p95", above=3000, clear=2500, for_seconds=60),
        Rule(name="errors", series="errors.m", above=0.05, clear=0.02, for_seconds=60),
    )
    clock, latencies, engine = FakeClock(NOON), Latencies(), AlertEngine(rules)
    told: list[tuple[str, str, float]] = []
    place, worst = 0, 0.0
    for second in range(0, 86_400, 10):
        clock.now = NOON + second
        while place < requests and ended[place] <= second:
            latencies.observe(
                Timing(
                    place,
                    "",
                    NOON + float(ended[place]),
                    "m",
                    float(total[place]) / 3,
                    4.0,
                    float(total[place]),
                    10,
                    int(failed[place]),
                ),
                NOON + float(ended[place]),
            )
            place += 1
        alerts = engine.step(clock.now, of_latencies(latencies, clock.now))
        told += [(a.rule.name, "raised" if a.cleared_at is None else "cleared", second) for a in alerts]
        if second % 60 == 0:
            latencies.settle(clock.now)
        if second % 3600 == 1800:
            minutes = (np.floor((NOON + ended) / 60) > clock.now // 60 - 15) & (ended <= second)
            for share in (0.5, 0.95, 0.99):
                exact = float(np.quantile(total[minutes & ~failed], share, method="lower"))
                found = latencies.window("m", clock.now).percentile("total", share)
                worst = max(worst, abs(float(found or 0) - exact) / exact)
    assert worst <= 0.01
    assert [(name, what) for name, what, _ in told] == [
        ("slow", "raised"),
        ("slow", "cleared"),
        ("errors", "raised"),
        ("errors", "cleared"),
    ]
    begins = [second for _, _, second in told]
    assert 30_000 <= begins[0] <= 30_400
    assert 33_000 <= begins[1] <= 33_700
    assert 60_000 <= begins[2] <= 60_400
    assert 61_200 <= begins[3] <= 61_900


@pytest.mark.slow
def test_a_simulated_day() -> None:
    simulate(40_000, 1)


@pytest.mark.slow
def test_a_simulated_day_of_a_million_requests() -> None:
    simulate(1_000_000, 2)


def test_a_server_is_its_process_only_where_number_and_start_agree() -> None:
    there = identify(os.getppid())
    assert there is not None
    assert ours((EngineLoad("m", there, state="silent"),), ())[there.pid] == Ours("m", "server")
    # One of another container that has the number of a process here, and one that has ended.
    assert there.pid not in ours((EngineLoad("m", ProcessIdentity(there.pid, there.started + 1)),), ())
    told = EngineLoad("m", there, ProcessIdentity(7, 1.0)).as_dict()
    assert (told["pid"], told["engine_pid"]) == (there.pid, 7)


def test_names_in_a_printed_sample_are_text_of_one_line() -> None:
    """Models are named by clients' requests, rules by whoever made the workspace, and the sample may go into any pipe."""
    for name in (*hostile_strings(), "two\nlines"):
        alert = Alert(Rule(name="r", series="host.cpu", above=1.0), name, 0.0, 2.0)
        moment = Moment(
            0.0,
            HostLoad(1.0, 1, 2),
            GpuView(state="none", cause=name),
            (EngineLoad(name, identify(os.getpid()) or ProcessIdentity(1, 1.0)),),
            (Latency(name, 15, 1, 0, 1, {"first": LatencySketch()}),),
            alerts=(alert,),
        )
        text = text_of(moment)
        assert text.count("\n") == 4
        assert text.replace("\n", "").isprintable(), repr(text)
