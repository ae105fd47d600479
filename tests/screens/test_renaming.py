"""Prompts and datasets in their tables: other names, copies, and several deleted at once; notices over a dialog."""

from __future__ import annotations

import pytest
from textual.widgets import Input, OptionList
from textual.widgets._toast import Toast

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.archiving import Archivable
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.overview import read_overview
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.datasets.dataset_list_pane import DatasetListPane
from screens.models.models_pane import ModelsPane
from screens.playground.prompts_pane import PromptList, PromptsPane
from screens.playground.state import PlaygroundState
from screens.shell.command_screen import CommandScreen
from screens.shell.palette import Palette
from screens.shell.things import read_things
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.line_list import LineList
from screens.widgets.table import Table
from tests.screens.conftest import OpenApp, settle, until


@pytest.mark.slow
async def test_prompts_are_renamed_copied_and_deleted_in_their_table(open_app: OpenApp, sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))

    def names() -> set[str]:
        return {prompt.name for prompt in store.summaries()}

    async with open_app() as pilot:
        screen = pilot.app.screen
        prompts = screen.query_one(PromptList)
        prompts.focus()
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = "hilfe für kunden"
        await pilot.press("enter")
        # A suite names it.
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog) or "hilfe-für-kunden" in names())
        if isinstance(pilot.app.screen, ConfirmDialog):
            await pilot.press("y")
        await until(pilot, lambda: screen.state.prompt == "hilfe-für-kunden")
        await settle(pilot)
        assert [row.name for row in prompts.shown if row.opened] == ["hilfe-für-kunden"]
        await pilot.press("z")
        await until(pilot, lambda: screen.state.prompt == "support")
        await settle(pilot)
        prompts.focus()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: screen.state.prompt == "support-copy")
        await settle(pilot)
        prompts.focus()
        prompts.select(["support-copy", "product"])
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: names() == {"support", "triage"})


async def test_the_open_prompt_keeps_its_name_while_it_is_answered() -> None:
    state, asked = PlaygroundState(), list[str]()
    state.prompt = "support"

    def busy() -> bool:
        asked.append("busy")
        return True

    # Nothing is asked: without an app there is nobody to ask.
    await PromptsPane(state, busy)._rename("support")
    assert asked == ["busy"]


@pytest.mark.slow
async def test_datasets_are_renamed_and_copied_in_their_table(open_app: OpenApp, sample: Workspace) -> None:
    store = DatasetStore(Catalog(sample))
    async with open_app() as pilot:
        await pilot.press("f9", "2")
        await until(pilot, lambda: bool(pilot.app.screen.query(DatasetListPane)))
        screen = pilot.app.screen
        await until(pilot, lambda: screen.version is not None)
        screen.query_one(DatasetListPane).table.focus()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: screen.version.ref == "triage-copy@1")
        await settle(pilot)
        screen.query_one(DatasetListPane).table.focus()
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = "again"
        await pilot.press("enter")
        await until(pilot, lambda: screen.version.ref == "again@1")
        await settle(pilot)
        await pilot.press("z")
        await until(pilot, lambda: screen.version.ref == "triage-copy@1")
    assert set(store.logs()) == {"triage", "triage-test", "triage-copy"}


@pytest.mark.slow
async def test_models_are_renamed_and_copied_in_their_table(open_app: OpenApp, sample: Workspace) -> None:
    def names() -> set[str]:
        return {model.name for model in ModelRegistry(Catalog(sample)).all()}

    before = names()
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await until(pilot, lambda: bool(pilot.app.screen.query(ModelsPane)))
        pane = pilot.app.screen.query_one(ModelsPane)
        await until(pilot, lambda: pane.current is not None)
        pane.query_one(Table).focus()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = "second"
        await pilot.press("enter")
        await until(pilot, lambda: pane.current is not None and pane.current.name == "second")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        # No name of a model: it is told, and the text stays to be corrected.
        pilot.app.screen.query_one(Input).value = "drei ä"
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, LineDialog)
        pilot.app.screen.query_one(Input).value = "third"
        await pilot.press("enter")
        await until(pilot, lambda: pane.current is not None and pane.current.name == "third")
        await pilot.press("z")
        await until(pilot, lambda: pane.current is not None and pane.current.name == "second")
        await pilot.press("z")
        await until(pilot, lambda: names() == before and len(pane.models) == len(before))


async def test_a_notice_covers_no_output_of_the_command_line(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        pilot.app.open_command_line("data list")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandScreen))
        pilot.app.say("GPU 0 is 90 degrees hot", severity="warning")
        await until(pilot, lambda: any(toast.region.area for toast in pilot.app.screen.query(Toast)))
        toast = next(toast for toast in pilot.app.screen.query(Toast) if toast.region.area)
        dialog = pilot.app.screen.query_one(".dialog-command")
        assert not toast.region.overlaps(dialog.region)
        assert toast.region.bottom <= 2


@pytest.mark.slow
async def test_what_is_archived_is_left_out_shown_when_asked_for_and_taken_back(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        prompts = pilot.app.screen.query_one(PromptList)
        prompts.focus()
        prompts.select(["product", "triage"])
        await pilot.press("ampersand")
        await until(pilot, lambda: prompts.away == {"product", "triage"})
        assert prompts.keys() == ["support"]
        await pilot.press("percent_sign")
        await until(pilot, lambda: set(prompts.keys()) == {"support", "product", "triage"})
        # What was put away at once is taken back at once.
        await pilot.press("z")
        await until(pilot, lambda: not prompts.away)
        await pilot.press("percent_sign")
        await until(pilot, lambda: len(prompts.keys()) == 3)
        prompts.select(prompts.keys())
        await pilot.press("ampersand")
        await until(pilot, lambda: prompts.keys() == [])
        assert prompts.placeholder == "All 3 are archived.\n% shows what is archived."


async def test_what_is_archived_is_neither_offered_nor_found_nor_at_home_unless_it_is_asked_for(
    open_app: OpenApp,
) -> None:
    async with open_app() as pilot:
        services, shell = pilot.app.services, pilot.app
        services.archive.add(Archivable.MODEL, ["support-base-q4"])
        services.archive.add(Archivable.DATASET, ["triage"])
        things = read_things(services)
        assert {(thing.kind, thing.command) for thing in things if thing.archived} == {
            ("model", "support-base-q4"), ("dataset", "triage"), ("dataset", "triage@1")
        }  # fmt: skip
        assert ("prompt", "triage") in {(thing.kind, thing.command) for thing in things}
        seen = read_overview(services.catalog, services.event_log, [], archived=services.archive.by_kind())
        assert [name for name, _ in seen.datasets] == ["triage-test@1"]
        assert seen.problems == []
        assert "support-base-q4" not in {model[0] for model in seen.models}
        choices = [Choice(name, name, "", "model") for name in ("support-base", "support-base-q4")]
        shell.screen.act("ask", shell.ask, ChoiceDialog("Model", choices))
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await settle(pilot)
        options = pilot.app.screen.query_one(OptionList)

        def shown() -> list[str]:
            return [str(option.prompt).strip() for option in options.options]

        assert shown() == ["support-base", "1 archived: % shows what is"]
        await pilot.press("percent_sign")
        await until(pilot, lambda: shown() == ["support-base", "support-base-q4  archived"])
        await pilot.press("down", "enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ChoiceDialog))
        shell.open_palette("triage")
        await until(pilot, lambda: isinstance(pilot.app.screen, Palette))
        found = pilot.app.screen.query_one(LineList)
        await until(pilot, lambda: any("triage-test" in line for line in texts(found)))
        assert not any("archived " in line for line in texts(found))
        pilot.app.screen.query_one(Input).value = "%triage"
        await until(pilot, lambda: any("triage " in line and "archived " in line for line in texts(found)))


def texts(found: LineList) -> list[str]:
    """What a list shows, a line each."""
    return ["".join(text for text, _ in found._line(row, 120)) for row in range(found.count)]
