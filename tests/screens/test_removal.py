"""Datasets, prompts, traces and models are deleted from their screens, after what goes was shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmops_tui.chains.store import ChainStore
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.hardware.processes import ProcessLoad
from llmops_tui.maintenance import record_removal
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.record_removal import RecordRemoval
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.chains.change_chain import remove_chain
from screens.models.models_pane import ModelsPane
from screens.monitor.signal_process import signal_process
from screens.shell.removal import offer_removal
from screens.shell.shell import Shell
from screens.traces.list_pane import TraceListPane
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog
from screens.widgets.table import Table
from tests.engine.engines import write_adapter
from tests.maintenance.conftest import fill_traces
from tests.screens.conftest import OpenApp, notices, settle, until


async def delete(pilot: Pilot[int]) -> str:
    """Ask to delete what is under the cursor; returns what is told of it, and agrees."""
    await pilot.press("D")
    # What is asked in the background is there before what it shows is.
    await until(
        pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog) and bool(pilot.app.screen.query(".dialog-text"))
    )
    told = str(pilot.app.screen.query_one(".dialog-text", Static).content)
    await pilot.press("Y")
    await until(pilot, lambda: "is deleted" in notices(pilot))
    return told


class Asked:
    """A shell that agrees to everything, and keeps what it was told."""

    def __init__(self, workspace: Workspace) -> None:
        self.services = SimpleNamespace(workspace=workspace)
        self.told: list[str] = []
        self.read_again = 0

    async def ask(self, dialog: ConfirmDialog) -> bool:
        self.told += [dialog._question, dialog._consequence]
        return True

    def say(self, text: str, **_: str) -> None:
        self.told.append(text)

    async def then(self) -> None:
        self.read_again += 1


async def test_of_several_each_is_named_and_what_went_before_a_failure_is_told(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, shell = PromptStore(Catalog(sample)), Asked(sample)
    names = [prompts.save(f"going-{n}", template="t", system="", note="", parent=None)[0].prompt for n in range(6)]
    remove = record_removal.remove_record

    def one_stays(workspace: Workspace, kind: Kept, name: str, *, force: bool = False) -> RecordRemoval:
        if name == names[2]:
            raise InputRefusedError("in_the_way", "a job is at work with it", "End that first.")
        return remove(workspace, kind, name, force=force)

    monkeypatch.setattr(record_removal, "remove_record", one_stays)
    with pytest.raises(InputRefusedError):
        await offer_removal(cast("Shell", shell), "prompt", names, shell.then)
    assert shell.told[0] == "Delete 6 prompts?"
    assert all(name in shell.told[1] for name in names)
    assert shell.told[2].startswith("2 prompts are deleted")
    assert shell.read_again == 1
    assert {name for name in names if name in {p.name for p in prompts.summaries()}} == set(names[2:])


async def test_a_dataset_version(open_app: OpenApp, sample: Workspace) -> None:
    store = DatasetStore(Catalog(sample))
    async with open_app() as pilot:
        await pilot.press("f9", "2")
        await until(pilot, lambda: getattr(pilot.app.screen, "version", None) is not None)
        ref = pilot.app.screen.version.ref
        pilot.app.screen.query_one("#row-table").focus()
        await settle(pilot)
        told = await delete(pilot)
        assert "cannot be undone" in told
        assert "parquet" in told or "datasets" in told
        await settle(pilot)
    assert ref not in [version.ref for log in store.logs().values() for version in log]


@pytest.mark.slow
async def test_a_prompt_whose_text_stays_in_the_editor(open_app: OpenApp, sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))
    async with open_app() as pilot:
        screen = pilot.app.screen
        await until(pilot, lambda: bool(screen.state.versions))
        name = screen.state.prompt
        screen.query_one("VersionList").focus()
        await settle(pilot)
        await delete(pilot)
        await settle(pilot)
        assert screen.query_one("#user").text
    assert name not in [prompt.name for prompt in store.summaries()]


@pytest.mark.slow
async def test_a_trace(open_app: OpenApp, sample: Workspace) -> None:
    fill_traces(sample, 3)
    async with open_app() as pilot:
        await pilot.press("f9", "7")
        await until(pilot, lambda: any(pane.lines for pane in pilot.app.screen.query(TraceListPane)))
        await settle(pilot)
        listed = pilot.app.screen.query_one(TraceListPane)
        assert listed.line is not None
        gone = listed.line.id
        assert "from every file" in await delete(pilot)
        await until(pilot, lambda: gone not in [line.id for line in listed.lines])
    event_log = EventLog(sample)
    assert TraceStore(Catalog(sample), event_log).page(TraceFilter(), 10)[1] == 2
    event_log.close()


@pytest.mark.slow
async def test_a_model_and_what_was_made_of_it_is_told(open_app: OpenApp, sample: Workspace) -> None:
    registry = ModelRegistry(Catalog(sample))
    Catalog(sample).write(
        lambda connection: connection.execute(
            "INSERT INTO lineage SELECT q.sha256, 'quantize', 'r', b.sha256, 0 FROM models q, models b "
            "WHERE q.name = 'support-base-q4' AND b.name = 'support-base'"
        )
    )
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await until(pilot, lambda: any(pane.models for pane in pilot.app.screen.query(ModelsPane)))
        await settle(pilot)
        pilot.app.screen.query_one("#model-list", Table).move_to(0)
        await settle(pilot)
        model = pilot.app.screen.query_one(ModelsPane).current
        told = await delete(pilot)
        assert "Left without it: model made of it support-base-q4" in told
        assert str(model.path) in told
        await until(
            pilot, lambda: model.name not in [one.name for one in pilot.app.screen.query_one(ModelsPane).models]
        )
    assert model.name not in [one.name for one in registry.all()]
    assert not model.path.exists()


@pytest.mark.slow
async def test_a_model_whose_file_lies_elsewhere_goes_without_it(
    open_app: OpenApp, sample: Workspace, tmp_path: Path
) -> None:
    elsewhere = write_adapter(tmp_path / "tone.gguf", seed=1)
    registry = ModelRegistry(Catalog(sample))
    registry.add(elsewhere, "a-tone")
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await until(pilot, lambda: any(pane.models for pane in pilot.app.screen.query(ModelsPane)))
        await settle(pilot)
        told = await delete(pilot)
        assert f"Stays where it is: {elsewhere}" in told
        assert "its entry in the catalog, and no file" in told
    assert elsewhere.exists()
    assert "a-tone" not in [one.name for one in registry.all()]


async def test_what_a_label_points_at_is_named_and_a_small_letter_deletes_nothing(
    open_app: OpenApp, sample: Workspace
) -> None:
    store = PromptStore(Catalog(sample))
    async with open_app() as pilot:
        screen = pilot.app.screen
        await until(pilot, lambda: bool(screen.state.versions))
        name = screen.state.prompt
        store.move_label(f"{name}@1", "production")
        screen.query_one("VersionList").focus()
        await settle(pilot)
        for key in ("enter", "n", "escape"):
            await pilot.press("D")
            await until(pilot, lambda: isinstance(pilot.app.screen, DangerDialog))
            await settle(pilot)
            told = str(pilot.app.screen.query_one(".dialog-text", Static).content)
            assert f"Goes: the label production, which points at {name}@1" in told
            assert told.endswith("This cannot be undone.")
            assert "prompt_version" not in told
            await pilot.press("y")
            await settle(pilot)
            assert "Y, with shift, does it" in str(pilot.app.screen.query_one(".dialog-keys", Static).content)
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(pilot.app.screen, DangerDialog))
    assert name in [prompt.name for prompt in store.summaries()]


def test_no_question_that_enter_agrees_to_is_about_what_cannot_be_brought_back() -> None:
    final = re.compile(r"brought back|cannot be undone|What is in it goes|let in no more|[Oo]verwrite|already exists\.")
    plain = []
    for path in Path("screens").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "ConfirmDialog":
                said = " ".join(str(part.value) for part in ast.walk(call) if isinstance(part, ast.Constant))
                plain += [f"{path}:{call.lineno}"] if final.search(said) else []
    assert not plain


async def test_a_chain_and_a_kill_are_asked_for_with_a_capital(sample: Workspace) -> None:
    shell = Refusing(sample)
    version = ChainStore(Catalog(sample)).versions("desk")[0]
    assert not await remove_chain(cast("Shell", shell), version)
    for name in ("KILL", "TERM"):
        shell.signal = name
        await signal_process(cast("Shell", shell), ProcessLoad(1, 0.0, "sleep"))
    assert shell.asked == [DangerDialog, DangerDialog, ConfirmDialog]


class Refusing:
    """A shell that chooses a signal and agrees to nothing, and keeps how it was asked."""

    def __init__(self, workspace: Workspace) -> None:
        self.services = SimpleNamespace(workspace=workspace, catalog=Catalog(workspace))
        self.asked: list[type] = []
        self.signal = ""

    async def ask(self, dialog: object) -> object:
        if isinstance(dialog, ChoiceDialog):
            return self.signal
        self.asked.append(type(dialog))
        return False
