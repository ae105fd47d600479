"""The screen of chains: versions, the text checked while one types, runs and their steps, and again from one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from textual.widgets import Input

from llmops_tui.chains.records import RunAsked, SpanRecord
from llmops_tui.chains.runs import ENTRY, KIND
from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.chains.list_pane import ListPane
from screens.chains.runs_pane import RunsPane
from screens.chains.screen import ChainsScreen
from screens.chains.shown_pane import ShownPane
from screens.chains.steps_pane import StepsPane
from screens.chains.text_pane import TextPane
from screens.playground.prompts_pane import PromptsPane
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import ConfirmDialog, LineDialog
from screens.widgets.fields import Editor
from tests.chains.scripted import HereProcess
from tests.screens.conftest import OpenApp, settle, until


@pytest.fixture(autouse=True)
def expressions_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expressions are evaluated in this process."""
    made = ChainTools.__init__

    def make(tools: ChainTools, *arguments: Any) -> None:
        made(tools, *arguments)
        tools.process = HereProcess()

    monkeypatch.setattr(ChainTools, "__init__", make)


def _span(path: str, kind: str, output: Any, **more: Any) -> SpanRecord:
    span: SpanRecord = {
        "path": path, "step": path, "kind": kind, "key": "k", "state": "done", "error": "", "input": "Where is my kettle?",
        "output": output, "started_at": 1.0, "seconds": 0.25, "model": "", "prompt": "", "prompt_tokens": None,
        "completion_tokens": None, "stopped": "", "trace": "", "cached": False, "rows": None, "failed": None,
    }  # fmt: skip
    span.update(more)  # type: ignore[typeddict-item]
    return span


def record_run(workspace: Workspace, text: str, spans: list[SpanRecord], **more: Any) -> Path:
    """A run of the sample's chain that ended, as its job left it."""
    store = JobStore(EventLog(workspace))
    asked: RunAsked = {
        "chain": "desk", "version": 1, "text": text, "inputs": {"message": "Where is my kettle?"}, "dataset": "", "columns": {},
        "limit": None, "model": "", "fresh": False, "begun_at": 1.0, "pins": {}, "again": None,
    }  # fmt: skip
    job = store.add(kind=KIND, title="chain desk", spec={"entry": ENTRY, "arguments": {"asked": asked}})
    store.update(job.id, state=JobState.DONE.value, finished_at=2.0, started_at=1.5, **more)
    folder = store.folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spans.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in spans))
    return folder


SPANS = [
    _span("sorted", "prompt", '{"urgency": "normal"}', stopped="stop", prompt_tokens=40, completion_tokens=9),
    _span("triage", "parse", None, state="failed", error="schema_broken: 'intent' is a required property"),
]


async def _open(pilot: Any) -> ChainsScreen:
    pilot.app.screen.query_one(PromptsPane).focus_inside()
    await pilot.press("K")
    await until(pilot, lambda: isinstance(pilot.app.screen, ChainsScreen))
    await settle(pilot)
    assert isinstance(pilot.app.screen, ChainsScreen)
    return pilot.app.screen


async def test_a_chain_is_looked_at_changed_and_run_again(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ChainStore(Catalog(sample))
    record_run(sample, store.get("desk").text, SPANS)
    async with open_app() as pilot:
        screen = await _open(pilot)
        await until(pilot, lambda: "sorted: prompt triage@production" in screen.query_one(ShownPane).told)
        listed = screen.query_one(ListPane).current
        assert listed is not None
        assert listed.ref == "desk@1"
        await until(pilot, lambda: screen.query_one(StepsPane).current is not None)
        screen.query_one(StepsPane).focus_inside()
        await pilot.press("G")
        await settle(pilot)
        told = screen.query_one(ShownPane).told
        assert "schema_broken: 'intent' is a required property" in told
        assert "Where is my kettle?" in told
        # Only what failed, and all again.
        await pilot.press("f")
        await settle(pilot)
        assert screen.query_one(StepsPane).current is not None
        # Again from there on: what it asks for is told before.
        started: list[dict[str, Any]] = []

        def start(_launcher: JobLauncher, **given: Any) -> Any:
            started.append(given)
            return JobStore(EventLog(sample)).all()[0]

        monkeypatch.setattr(JobLauncher, "start", start)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = "parse=sorted"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: bool(started))
        asked = started[0]["arguments"]["asked"]
        assert asked["again"]["step"] == "triage"
        # The text is checked as it is typed.
        await settle(pilot)
        editor = screen.query_one(Editor)
        editor.load_text(editor.text.replace("parse: sorted", "parse: sorte"))
        problems = screen.query_one("#chains-problems")
        await until(pilot, lambda: "nothing here is called 'sorte'" in str(problems.content))  # type: ignore[attr-defined]
        editor.load_text(editor.text.replace("parse: sorte\n", "parse: sorted  # read\n"))
        await until(pilot, lambda: "nothing is wrong" in str(problems.content))  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (found := screen.query_one(ListPane).current) is not None and found.ref == "desk@2")
        assert store.get("desk@2").parent == 1
        await settle(pilot)
        assert not screen.query_one(TextPane).changed


async def test_a_chain_is_deleted_with_a_capital_letter_alone(open_app: OpenApp, sample: Workspace) -> None:
    store = ChainStore(Catalog(sample))
    async with open_app() as pilot:
        screen = await _open(pilot)
        for key in ("enter", "Y"):
            screen.query_one(ListPane).action_remove()
            await until(pilot, lambda: isinstance(pilot.app.screen, DangerDialog))
            await pilot.press("y")
            assert isinstance(pilot.app.screen, DangerDialog)
            await pilot.press(key)
            await settle(pilot)
            assert ("chain/desk" in store.served_names()) == (key == "enter")


async def test_without_a_chain_the_screen_says_what_to_do(open_app: OpenApp, sample: Workspace) -> None:
    ChainStore(Catalog(sample)).remove("desk")
    async with open_app() as pilot:
        screen = await _open(pilot)
        assert screen.query_one(ListPane).current is None
        assert screen.query_one(RunsPane).current is None
        await pilot.press("n")
        await until(pilot, lambda: screen.query_one(Editor).has_focus)
        await settle(pilot)
        problems = screen.query_one("#chains-problems")
        await until(pilot, lambda: "no prompt 'PROMPT'" in str(problems.content))  # type: ignore[attr-defined]
