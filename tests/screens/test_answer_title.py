"""Whose answer is in front: its title, the mark in the list of runs, and the focus that comes back to where it was."""

from __future__ import annotations

from dataclasses import replace

from textual.content import Content
from textual.pilot import Pilot

from llmops_tui.prompts.run_history import RunRecord
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.compare.screen import CompareScreen
from screens.playground.answer_pane import AnswerPane
from screens.playground.run_figures import source_of
from screens.playground.runs_pane import RunList
from screens.playground.version_list import VersionList
from screens.widgets.stream_view import StreamView
from tests.fakes import FakeModelServer
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_playground import playground, run, write


def title(pilot: Pilot[int]) -> str:
    return Content.from_markup(str(playground(pilot).query_one(AnswerPane).border_title)).plain


def marked(pilot: Pilot[int]) -> list[int | None]:
    """The versions of the runs that have the mark."""
    listed = playground(pilot).query_one(RunList)
    return [row.version for row in listed.rows if listed._mark(row)[0]]


async def test_an_answer_is_under_the_model_that_gave_it_whichever_is_chosen(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        pane, state = playground(pilot).query_one(AnswerPane), playground(pilot).state
        await run(pilot)
        assert "Answer @2  support-base Q8_0" in title(pilot)
        assert "next" not in str(pane.border_subtitle)
        other = replace(state.models[0], name="another")
        state.models, state.model_name = [*state.models, other], "another"
        pane.show_model()
        assert "Answer @2  support-base Q8_0" in title(pilot)
        assert str(pane.border_subtitle).startswith("next another Q8_0 · temp")
        pane.show_run(None)
        assert "Answer  another Q8_0" in title(pilot)


async def test_what_is_shown_of_a_prompt_is_an_answer_of_the_text_in_its_editors(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    async with open_app() as pilot:
        await run(pilot)
        first = PromptStore(Catalog(sample)).get("support@1")
        await write(pilot, " Please.")
        server.pieces = ["newer"]
        await run(pilot)
        screen = playground(pilot)
        assert (marked(pilot), "@3" in title(pilot)) == ([3], True)
        # A run of another version, made later and elsewhere, is not what the text in the editors answered.
        screen._editors.put(
            replace(screen.state.draft, system=first.system, template=first.template, base=1, settings="")
        )
        server.pieces = ["of the first"]
        await run(pilot)
        assert screen.query_one("#answer", StreamView).text == "of the first"
        newest = screen.state.versions[0]
        screen._editors.put(replace(screen.state.draft, system=newest.system, template=newest.template, base=3))
        await screen.load("support")
        await settle(pilot)
        assert screen.query_one("#answer", StreamView).text == "newer"
        assert (marked(pilot), "@3" in title(pilot)) == ([3], True)


async def test_escape_goes_back_to_the_list_one_came_from_and_pressed_again_stays_there(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        await pilot.press("f9", "v")
        await settle(pilot)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen) and bool(pilot.app.screen.state.columns))
        await settle(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        await settle(pilot)
        assert isinstance(screen.focused, VersionList)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(screen.focused, VersionList)


async def test_escape_out_of_the_unfolded_column_leads_to_no_editor(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "v")
        await settle(pilot)
        await pilot.press("escape", "x")
        await settle(pilot)
        assert isinstance(playground(pilot).focused, StreamView)
        assert "x" not in playground(pilot).state.draft.template


def test_a_run_of_a_model_that_is_gone_is_still_said_to_be_of_it() -> None:
    past = RunRecord("run_1", 0.0, "gone", "support", None)
    assert source_of(past, None, []) == ("", "gone", "next no model: F9 5 adds one, F4 chooses · ")
