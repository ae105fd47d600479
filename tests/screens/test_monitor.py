"""Home, monitor and traces: empty, with something to see, and what their keys do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmops_tui.hardware.gpu_sampler import GpuSampler
from llmops_tui.hardware.nvidia import NvidiaSource
from llmops_tui.jobs.store import Job, JobSpec, JobState, JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.courses import last_look
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.overview import Day, Flawed, Overview, next_steps
from llmops_tui.monitoring.recorder import Recorder
from llmops_tui.monitoring.rules import Rule, save_rules
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.home.panes import StepsPane
from screens.home.screen import HomeScreen
from screens.models.models_pane import ModelsPane
from screens.monitor.alerts_pane import AlertsPane
from screens.monitor.history_pane import HistoryPane
from screens.monitor.processes_pane import ProcessesPane
from screens.monitor.screen import MonitorScreen
from screens.services import Services
from screens.shell.lineage_screen import LineageScreen
from screens.traces.list_pane import TraceListPane
from screens.traces.screen import TracesScreen
from screens.traces.trace_pane import TracePane
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.line_list import LineList
from screens.widgets.table import Table
from screens.widgets.time_chart import TimeChart
from tests.fakes import FakeClock, FakeNvml
from tests.screens.conftest import OpenApp, notices, settle, until


@pytest.fixture
def nvml() -> FakeNvml:
    made = FakeNvml.session()
    made.place = 15
    return made


@pytest.fixture(autouse=True)
def recorder(sample: Workspace, nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A recorder that looks when it is told, at GPUs as they were recorded."""
    clock = FakeClock(time.time())
    made = Recorder(sample, gpus=GpuSampler([NvidiaSource(nvml, clock)]), clock=time.time, wants_processes=lambda: True)
    monkeypatch.setattr(Recorder, "start", lambda _self: None)
    monkeypatch.setattr(Services, "recorder", made)
    # A quarter of an hour behind it, with a spike in the middle.
    now = time.time()
    for second in range(900):
        value = 97.0 if 400 <= second < 460 else 10.0
        made.history.add(
            now - 900 + second, {"gpu0.utilisation": value, "gpu0.power": value * 7, "host.cpu": value / 2}
        )
    return made


def ask(workspace: Workspace, number: int, answer: str = "Here.", **more: Any) -> str:
    key = f"run_{number:08d}"
    EventLog(workspace).append(
        "request",
        key,
        {
            "started_at": time.time() - 100 + number,
            "model": "support-base",
            "prompt": "triage",
            "prompt_version": 1,
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Where \x1b[31mis it?"},
            ],
            "output": answer,
            "finish_reason": "stop",
            "parameters": {"temperature": 0.0},
            "variables": {"message": "Where is it?"},
            "total_ms": 120.0,
            "ttft_ms": 30.0,
            "completion_tokens": 9,
            "prompt_tokens": 20,
            "tokens_per_s": 90.0,
            **more,
        },
    )
    return key


def shown(pilot: Pilot[int], selector: str) -> str:
    """What a pane shows: of a list its lines, of a text its content."""
    widget = pilot.app.screen.query_one(selector)
    if isinstance(widget, LineList):
        return "\n".join(widget.render_line(y).text for y in range(widget.size.height))
    assert isinstance(widget, Static)
    return str(widget.visual)


async def go(pilot: Pilot[int], digit: str) -> Any:
    await pilot.press("f9", digit)
    await settle(pilot)
    return pilot.app.screen


# ── monitor ──


@pytest.mark.slow
async def test_the_machine_its_engines_and_its_past_are_seen_together(
    open_app: OpenApp, sample: Workspace, recorder: Recorder
) -> None:
    for number in range(12):
        ask(sample, number)
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        assert isinstance(screen, MonitorScreen)
        await screen.refresh_all()
        await settle(pilot)
        machine = shown(pilot, "#machine-lines")
        assert "NVIDIA H200" in machine
        assert "61.0G of 144G" in machine
        assert "throttled by power" in machine
        assert "of 700 W" in machine
        engines = shown(pilot, "#engine-lines")
        assert "12 requests in 15 min" in engines
        assert "first token" in engines
        assert "p50" in engines
        assert "p95" not in engines, "of twelve requests"
        assert "llmops" in shown(pilot, "#process-lines")
        assert "GPU load" in str(screen.query_one("#monitor-history").border_title)
        drawn = screen.query_one(TimeChart).render().plain
        assert any("\u2800" < c <= "\u28ff" for c in drawn)


@pytest.mark.slow
async def test_a_spike_gets_its_name(open_app: OpenApp, sample: Workspace, recorder: Recorder) -> None:
    begin = time.time() - 500
    jobs = JobStore(EventLog(sample))
    job = jobs.add(kind="train", title="train qlora-03", spec={})
    jobs.update(job.id, state="done", started_at=begin, finished_at=begin + 60)
    ask(sample, 1, started_at=begin + 20)
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        chart = screen.query_one(TimeChart)
        await screen.query_one(HistoryPane).draw(anew=True)
        chart.focus()
        for _ in range(200):
            await pilot.press("left")
            crossed = chart.crossed
            assert crossed is not None
            if crossed[0] <= begin + 20.05 <= crossed[1]:
                break
        legend = str(screen.query_one("#monitor-legend", Static).visual)
        assert "util 97" in legend
        assert "paused" in str(screen.query_one("#monitor-history").border_title)
        await pilot.press("enter")
        await settle(pilot)
        dialog = pilot.app.screen
        assert isinstance(dialog, ChoiceDialog)
        assert "1 job, 1 request" in dialog._title
        assert " J" in dialog._title
        assert [choice.label for choice in dialog._choices] == ["▶ train qlora-03", "▣ support-base"]
        await pilot.press("down", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, TracesScreen)
        opened = pilot.app.screen.query_one(TracePane)
        await until(pilot, lambda: opened.trace is not None)
        assert opened.trace is not None
        assert opened.trace.line.id == "run_00000001"


@pytest.mark.slow
async def test_zoom_hold_and_the_next_series(open_app: OpenApp, recorder: Recorder) -> None:
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        await pilot.press("f5")
        await settle(pilot)
        title = screen.query_one("#monitor-history")
        assert "15 min" in str(title.border_title)
        for _ in range(8):
            await pilot.press("minus")
        await settle(pilot)
        assert "90 days" in str(title.border_title)
        for _ in range(20):
            await pilot.press("plus")
        await settle(pilot)
        assert "1 min" in str(title.border_title)
        before = str(title.border_title)
        await pilot.press("s")
        await settle(pilot)
        assert str(title.border_title) != before
        await pilot.press("p")
        await settle(pilot)
        assert "paused" in str(title.border_title)
        await pilot.press("escape")
        await settle(pilot)
        assert "paused" not in str(title.border_title)
        await pilot.press("w")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChoiceDialog)


@pytest.mark.slow
async def test_nothing_is_drawn_or_looked_for_while_it_is_hidden(open_app: OpenApp, recorder: Recorder) -> None:
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        assert pilot.app.services.shows_processes  # type: ignore[attr-defined]
        await settle(pilot)
        await go(pilot, "1")
        assert not pilot.app.services.shows_processes  # type: ignore[attr-defined]
        drawn: list[object] = []
        for widget in screen.walk_children():
            widget.refresh = lambda *a, w=widget, **k: drawn.append(w) or w  # type: ignore[method-assign]
        seen = screen.moment
        recorder.inspect()
        await pilot.pause(1.3)
        assert drawn == []
        assert screen.moment is seen


async def test_a_process_is_signalled_only_after_asking_and_never_when_read_only(
    open_app: OpenApp, recorder: Recorder
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        recorder.inspect()
        async with open_app() as pilot:
            screen = await go(pilot, "6")
            await settle(pilot)
            await pilot.press("slash", *str(child.pid), "enter")
            await settle(pilot)
            assert [row.pid for row in screen.query_one(ProcessesPane).rows] == [child.pid]
            await pilot.press("r", "x")
            await settle(pilot)
            assert pilot.app.screen is screen
            assert "read-only" in notices(pilot)
            await pilot.press("r", "x")
            await settle(pilot)
            assert isinstance(pilot.app.screen, ChoiceDialog)
            await pilot.press("enter")
            await settle(pilot)
            assert isinstance(pilot.app.screen, ConfirmDialog)
            await pilot.press("n")
            await settle(pilot)
            assert child.poll() is None
            await pilot.press("x", "enter", "y")
            await settle(pilot)
            assert child.wait(120) == -15
            assert "TERM sent" in notices(pilot)
    finally:
        child.kill()


@pytest.mark.parametrize(("number", "text"), [
    # What each error is called is asked without an app in tests/monitoring/test_hardware.py.
    (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "driver was updated"),
    pytest.param(pynvml.NVML_ERROR_GPU_IS_LOST, "fell off the bus", marks=pytest.mark.slow),
    pytest.param(pynvml.NVML_ERROR_UNKNOWN, "NVML failed", marks=pytest.mark.slow),
    pytest.param(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "No NVIDIA driver is installed", marks=pytest.mark.slow),
])  # fmt: skip
async def test_a_gpu_in_trouble_is_a_line_with_a_remedy_and_the_rest_lives(
    open_app: OpenApp, recorder: Recorder, nvml: FakeNvml, number: int, text: str
) -> None:
    nvml.fails = {"nvmlInit": number}
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        await screen.refresh_all()
        machine = shown(pilot, "#machine-lines")
        assert text in machine
        assert "cores" in machine


@pytest.mark.slow
async def test_alerts_are_seen_in_the_app_and_rules_are_changed_in_the_editor(
    open_app: OpenApp, sample: Workspace, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_rules(sample.alert_rules, "- {name: warm, series: gpu0.temperature, above: 50, for_seconds: 0}")
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        await screen.refresh_all()
        assert "temperature of GPU 0 above 50 °C" in shown(pilot, "#alert-lines")
        editor = tmp_path / "editor"
        editor.write_text(
            f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'w').write('- {{name: a, series: host.cpu, above: 1}}')\n"
        )
        editor.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(editor))
        monkeypatch.setattr("screens.shell.external_editor.edit_outside", lambda _app, _text, _name: "- 5")
        await pilot.press("e")
        await settle(pilot)
        assert "each rule is a mapping" in notices(pilot)
        monkeypatch.setattr(
            "screens.shell.external_editor.edit_outside",
            lambda _app, text, _name: "- {name: a, series: gpu0.utilisation, above: 90, for_seconds: 5}",
        )
        await pilot.press("e")
        await settle(pilot)
        assert "1 rule saved" in notices(pilot)
        await pilot.press("d")
        await settle(pilot)
        dialog = pilot.app.screen
        assert isinstance(dialog, ChoiceDialog)
        assert "1 rule would have raised 1 alert" in dialog._title


@pytest.mark.parametrize("size", [(80, 24), pytest.param((120, 40), marks=pytest.mark.slow)])
async def test_an_alert_tells_what_was_going_on_around_it(
    open_app: OpenApp, sample: Workspace, recorder: Recorder, size: tuple[int, int]
) -> None:
    jobs = JobStore(EventLog(sample))
    job = jobs.add(kind="train", title="train qlora-03", spec={})
    jobs.update(job.id, state="failed", cause="out of memory", started_at=time.time() - 60, finished_at=time.time() - 5)
    ask(sample, 1, finish_reason="error", error="the engine \x1b[31mdied")
    over = Alert(
        Rule(name="old", series="x", above=1), "x", 5.0, 2.0, cleared_at=9.0, ended="its rule was deleted", lasted=4.0
    )
    recorder.history.keep_alert(over)
    recorder.inspect()
    async with open_app(size=size) as pilot:
        screen = await go(pilot, "6")
        assert isinstance(screen, MonitorScreen)
        await screen.refresh_all()
        await pilot.press("f9", "a")
        await settle(pilot)
        seen = shown(pilot, "#alert-lines")
        assert "failed job: train qlora-03" in seen
        assert "for 4 s old:" in seen
        await pilot.press("enter")
        await settle(pilot)
        dialog = pilot.app.screen
        assert isinstance(dialog, ChoiceDialog)
        assert "1 request to support-base (here), 1 failed" in dialog._title
        told = [choice.label[10:].split(maxsplit=1) for choice in dialog._choices]
        assert ["job", "train qlora-03 failed: out of memory"] in told
        assert ["alert", screen.query_one(AlertsPane).alerts[0].text] in told
        (failed,) = [choice for choice in dialog._choices if choice.value == "request run_00000001"]
        assert "the engine" in failed.label
        assert failed.note == "here"
        # What it was about is gone to from there.
        await pilot.press(*"engine")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TracesScreen))


@pytest.mark.slow
async def test_an_old_picture_is_not_shown_as_a_new_one(open_app: OpenApp, recorder: Recorder) -> None:
    recorder.inspect()
    async with open_app() as pilot:
        screen = await go(pilot, "6")
        await screen.refresh_all()
        assert "recording" in str(screen.query_one("#monitor-machine").border_subtitle)
        # A driver that hangs: the look does not come to its end.
        recorder._cursor_moved -= 60
        await screen.refresh_all()
        assert "no sample for 6" in str(screen.query_one("#monitor-machine").border_subtitle)


@pytest.mark.slow
async def test_many_alerts_at_once_are_one_notice(open_app: OpenApp, recorder: Recorder) -> None:
    rule = Rule(name="failing requests", series="errors.*", above=0.05, severity="error")
    alerts = [Alert(rule, f"errors.model-{number}", 1.0, 0.5) for number in range(41)]
    async with open_app() as pilot:
        services = pilot.app.services  # type: ignore[attr-defined]
        await until(pilot, lambda: services.alerts_told is not None)
        services.alerts_told(alerts)
        await until(pilot, lambda: "failed requests of model-0 above 5%" in notices(pilot))
        assert "and 40 more: the monitor lists them" in notices(pilot)
        assert "errors.model-1" not in notices(pilot)
        services.alerts_told([replace(alert, cleared_at=2.0) for alert in alerts[:3]])
        await until(pilot, lambda: "Over: failing requests: failed requests of model-0" in notices(pilot))
        assert "and 2 more" in notices(pilot)


@pytest.mark.slow
async def test_the_monitor_fits_small_terminals(open_app: OpenApp, recorder: Recorder) -> None:
    recorder.inspect()
    async with open_app(size=(80, 24)) as pilot:
        screen = await go(pilot, "6")
        await screen.refresh_all()
        await settle(pilot)
        assert screen.query_one("#monitor-engines").region.height >= 4
        assert screen.query_one(TimeChart).region.height >= 4
        assert not screen.query_one("#monitor-alerts").region.area
        await pilot.press("f9", "a")
        await settle(pilot)
        assert screen.query_one("#monitor-alerts").region.area


# ── traces ──


@pytest.mark.slow
async def test_no_traces_say_where_they_come_from(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await go(pilot, "7")
        assert "No requests yet" in shown(pilot, "#trace-list")


@pytest.mark.slow
async def test_one_key_says_what_one_thinks(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ask(sample, 1, "wrong answer")
    ask(sample, 2, "other")
    async with open_app() as pilot:
        screen = await go(pilot, "7")
        listed, one = screen.query_one(TraceListPane), screen.query_one(TracePane)
        await pilot.press("down")
        await settle(pilot)
        assert "Where" in shown(pilot, "#trace-text")
        assert "\x1b" not in shown(pilot, "#trace-text")
        await pilot.press("d")
        await settle(pilot)
        assert one.trace.line.score == -1
        assert f"Said of {key}: down." in notices(pilot)
        assert "said" in {name for name, _ in listed.query_one(Table)._planned().widths}
        monkeypatch.setattr("screens.shell.external_editor.edit_outside", lambda _app, _text, _name: "right answer")
        await pilot.press("e")
        await settle(pilot)
        assert one.trace.line.correction == "right answer"
        await pilot.press("n")
        await pilot.press(*"late", "enter")
        await settle(pilot)
        assert one.trace.line.comment == "late"
        assert one.trace.line.id == key
        # The review queue holds it until there is a verdict.
        await pilot.press("r")
        await settle(pilot)
        assert [line.id for line in listed.lines] == [key]
        await pilot.press("a")
        await settle(pilot)
        assert listed.lines == []
        await pilot.press("escape")
        await settle(pilot)
        assert len(listed.lines) == 2
        await pilot.press("w")
        await settle(pilot)
        assert "total time" in shown(pilot, "#trace-text")
        await pilot.press("w")
        await settle(pilot)
        assert '"trace"' in shown(pilot, "#trace-text")
        await pilot.press("enter")
        assert pilot.app.focused is one.query_one("#trace-scroll")


@pytest.mark.slow
async def test_praised_answers_become_a_dataset(open_app: OpenApp, sample: Workspace) -> None:
    store = TraceStore(Catalog(sample), EventLog(sample))
    give(store, ask(sample, 1, "good"), score="up")
    async with open_app() as pilot:
        await go(pilot, "7")
        await pilot.press("t", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, LineDialog)
        await pilot.press("enter")
        await settle(pilot)
        assert "feedback@1: 1 row from traces" in notices(pilot)


@pytest.mark.slow
async def test_filters_that_cannot_be_understood_are_told(open_app: OpenApp, sample: Workspace) -> None:
    ask(sample, 1)
    async with open_app() as pilot:
        screen = await go(pilot, "7")
        await pilot.press("slash", *"is:lost", "enter")
        await settle(pilot)
        assert "unknown state" in notices(pilot)
        # The filter before holds, and the trouble is told once, not each second.
        assert screen.query_one(TraceListPane).said == ""
        await pilot.pause(1.3)
        assert notices(pilot).count("unknown state") == 1
        screen.query_one(TraceListPane).filter_by("zzz")
        await settle(pilot)
        assert "No trace matches" in shown(pilot, "#trace-list")


@pytest.mark.slow
async def test_a_trace_is_opened_in_the_playground_and_nothing_is_lost(open_app: OpenApp, sample: Workspace) -> None:
    ask(sample, 1)
    ask(sample, 2, prompt=None, prompt_version=None, messages=[{"role": "user", "content": "literal {{ braces }}"}])
    async with open_app() as pilot:
        services = pilot.app.services  # type: ignore[attr-defined]
        before = len(services.prompts.versions("triage"))
        screen = await go(pilot, "7")
        await pilot.press("down", "o")
        await settle(pilot)
        await until(
            pilot,
            lambda: getattr(pilot.app.screen, "state", None) is not None and pilot.app.screen.state.prompt == "triage",
        )  # type: ignore[attr-defined]
        assert services.drafts.load("triage").variables == {"message": "Where is it?"}
        assert len(services.prompts.versions("triage")) >= before
        await go(pilot, "7")
        screen.query_one(LineList).move_to(0)
        await settle(pilot)
        await pilot.press("o")
        await settle(pilot)
        await until(
            pilot,
            lambda: (
                getattr(pilot.app.screen, "state", None) is not None
                and str(pilot.app.screen.state.prompt).startswith("trace-")
            ),
        )  # type: ignore[attr-defined]
        name = pilot.app.screen.state.prompt  # type: ignore[attr-defined]
        assert services.renderer.render(services.prompts.get(name).template, {}) == "literal {{ braces }}"


@pytest.mark.slow
async def test_an_answer_gets_its_thumb_in_the_playground(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await pilot.press("f5")
        await settle(pilot)
        await pilot.press("f9", "a")
        await settle(pilot)
        await pilot.press("plus")
        await settle(pilot)
        assert "Thumb up kept" in notices(pilot)
        store = pilot.app.services.traces  # type: ignore[attr-defined]
        assert [
            line.score for line in store.page(__import__("llmops_tui.traces.store", fromlist=["x"]).TraceFilter(), 9)[0]
        ] == [1]


# ── home ──


@pytest.mark.slow
async def test_the_lifecycle_is_seen_at_a_glance_and_each_tile_goes_where_it_points(
    open_app: OpenApp, sample: Workspace
) -> None:
    ask(sample, 1, "an answer")
    async with open_app() as pilot:
        screen = await go(pilot, "0")
        assert isinstance(screen, HomeScreen)
        await settle(pilot)
        assert "2 datasets" in shown(pilot, "#lines-data")
        assert "3 models" in shown(pilot, "#lines-models")
        assert "2 in production" in shown(pilot, "#lines-prompts")
        assert "1 request in 24 h" in shown(pilot, "#lines-serving")
        assert "an answer" in shown(pilot, "#recent-list")
        assert "No evaluations yet" in shown(pilot, "#step-list")
        await pilot.press("f1")
        await settle(pilot)
        assert last_look(EventLog(sample)) is None, "behind a dialog it is still in front"
        await pilot.press("escape")
        await settle(pilot)
        looks = []
        for key, scope in (("d", "datasets"), ("s", "monitor")):
            await pilot.press("f9", key)
            await settle(pilot)
            await pilot.press("enter")
            await settle(pilot)
            assert pilot.app.screen.scope == scope  # type: ignore[attr-defined]
            looks.append(last_look(EventLog(sample)) or 0.0)
            await go(pilot, "0")
    # Whoever quits from home has seen it, too.
    assert 0.0 < looks[0] < looks[1] < (last_look(EventLog(sample)) or 0.0)


@pytest.mark.slow
async def test_the_next_sensible_step_goes_where_it_is_done(open_app: OpenApp, sample: Workspace) -> None:
    store = TraceStore(Catalog(sample), EventLog(sample))
    give(store, ask(sample, 1), score="down")
    async with open_app() as pilot:
        screen = await go(pilot, "0")
        await settle(pilot)
        assert screen.query_one(StepsPane).steps[0].text == "One answer is waiting in the review queue"
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, TracesScreen)
        assert pilot.app.screen.query_one(TraceListPane).said == "is:queue"
        await go(pilot, "0")
        await pilot.press("r")
        await settle(pilot)
        assert isinstance(pilot.app.screen, TracesScreen)


def test_steps_are_in_the_order_of_their_urgency() -> None:
    assert [step.screen for step in next_steps(Overview(), None)] == ["models", "datasets", "playground"]
    full = Overview(
        datasets=[("d@1", 5)],
        problems=[Flawed("d@1", 3)],
        prompts=[("p", 1)],
        models=[("m", "gguf", 1, True)],
        queue=4,
        usable=12,
        day=Day(1),
        runs=[("r", True)],
    )
    assert [step.screen for step in next_steps(full, None)] == ["traces", "datasets", "traces", "evaluation"]


def test_of_a_run_that_ended_early_no_checkpoint_is_promised() -> None:
    spec = JobSpec(entry="", arguments={})
    job = Job("1", "train", "train r", spec, JobState.CANCELLED, "", None, 0.0, "", None, 1.0, None, 2.0, None, None)
    for jobs, told in (([job], "r is stopped"), ([], "r did not finish")):
        steps = [step for step in next_steps(Overview(runs=[("r", False)], jobs=jobs), None) if step.target == "r"]
        assert [(step.text, step.screen) for step in steps] == [(f"{told}; R on that screen resumes it", "training")]


@pytest.mark.slow
async def test_the_slowest_request_of_the_last_hour_is_three_keys_away(open_app: OpenApp, sample: Workspace) -> None:
    def fill(connection: Any) -> None:
        for number, (ago, total) in enumerate(((10, 200.0), (20, 900.0), (7300, 5000.0))):
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, total_ms) VALUES (?, ?, 'm', '', ?, ?)",
                [f"r{number}", time.time() - ago, "stop", total],
            )

    Catalog(sample).write(fill)
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "7", "s")
        await settle(pilot)
        listed = pilot.app.screen.query_one(TraceListPane)
        assert listed.line is not None
        assert (listed.line.id, len(listed.lines)) == ("r1", 2)
        assert "slowest of the last hour" in str(listed.border_title)
        await pilot.press("s")
        await settle(pilot)
        assert [line.id for line in listed.lines] == ["r2", "r1", "r0"]
        await pilot.press("s")
        await settle(pilot)
        assert [line.id for line in listed.lines] == ["r0", "r1", "r2"]


# ── lineage ──


@pytest.mark.slow
async def test_where_a_model_came_from_is_a_tree(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        screen = await go(pilot, "5")
        await until(pilot, lambda: screen.query_one(ModelsPane).current is not None)
        await pilot.press("L")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineageScreen))
        await settle(pilot)
        tree = shown(pilot, "#lineage-text")
        assert "support-base" in tree
        assert "made" in tree
        await pilot.press("escape")
        await go(pilot, "9")
        await pilot.press("f10")
        await settle(pilot)


def test_engines_and_alerts_are_drawn_whatever_their_state() -> None:
    from dataclasses import replace

    from llmops_tui.hardware.gpus import GpuView
    from llmops_tui.hardware.host import HostLoad
    from llmops_tui.monitoring.recorder import Moment
    from screens.monitor import rendering

    nvml = FakeNvml.session()
    nvml.place = 15
    view = NvidiaSource(nvml, FakeClock()).inspect()
    one = GpuView(view.gpus[:1])
    engine = EngineLoad(
        "m",
        1,
        running=3,
        slots=4,
        waiting=9,
        cache=0.5,
        decode_rate=200.0,
        prompt_rate=900.0,
        prefix_hits=0.8,
        steps_rate=100.0,
        weights=10_000_000_000,
        failure="the engine was killed (signal 9)",
    )
    moment = Moment(0.0, HostLoad(1.0, 1, 2), one, (engine, replace(engine, model="silent", state="silent")))
    for width in (30, 60, 120):
        text = "\n".join("".join(part for part, _ in line) for line in rendering.engines(moment, width, utf8=True))
        assert "queue 9" in text
        assert "cache 50%" in text
    # What has no room beside the rest goes to the next line.
    for width, first in ((40, "m  ok  3 of 4 slots · queue 9"), (41, "m  ok  3 of 4 slots · queue 9 · cache 50%")):
        assert "".join(part for part, _ in rendering.engines(moment, width, utf8=True)[0]) == first
    # A hundred steps a second over ten gigabytes, of 4.9 TB/s.
    assert rendering.bandwidth_share(engine, one) == pytest.approx(0.2034, rel=0.01)
    assert rendering.bandwidth_share(engine, view) is None
    rule = Rule(name="a", series="b", above=1.0, severity="error")
    raised, over = Alert(rule, "b", 5.0, 2.0), Alert(rule, "b", 1.0, 2.0, cleared_at=61.0)
    gone = Alert(rule, "b", 1.0, 2.0, cleared_at=5.0, ended="its rule was deleted", lasted=4.0)
    lines = rendering.alerts([raised, over, gone], 60)
    assert len(lines) == 3
    assert "for 1 min" in lines[1][0][0]
    assert "for 4 s" in lines[2][0][0]
    # However narrow it is, why it ended is seen.
    assert lines[2][2][0] == "  ended: its rule was deleted"
    assert os.getpid()
