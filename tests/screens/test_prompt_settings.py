"""What a version holds beside its texts, in the playground: seen, changed, followed by a run, and brought back with its version."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from textual.widgets import Static, TextArea

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.drafts import Draft
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.compare import keep_vote
from screens.compare.rows_screen import RowsScreen
from screens.playground.command_line import prompt_run
from screens.playground.diff_screen import DiffScreen
from screens.playground.edit_settings import edit_settings
from screens.playground.settings_dialog import SettingsDialog
from screens.playground.state import PlaygroundState
from screens.playground.version_list import VersionList
from tests.fakes import FakeModelServer
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_playground import answer, playground, run

HELD = """\
parameters: {temperature: 0.25}
schema: {type: object}
tools: [{name: look_up}]
examples: {turns: [{question: 'Where?', answer: Here.}]}
"""


def test_an_empty_field_says_nothing_where_the_variable_has_a_default() -> None:
    held = '{"variables":{"tone":{"default":"kind"}}}'
    state = PlaygroundState(Draft("", "{{ tone }} {{ to }}", {"tone": "", "to": ""}, settings=held), "p")
    assert state.request().variables == {"to": ""}
    assert "--var to=" in prompt_run(state)
    assert "tone" not in prompt_run(state)


async def test_settings_that_cannot_be_read_are_not_edited() -> None:
    state = PlaygroundState(Draft("", "a", settings='{"model": "m", "voice": "low"}'), "p")
    state.opened.set()
    shell: Any = SimpleNamespace(services=None)
    with pytest.raises(InputRefusedError, match="the settings of the draft cannot be read"):
        await edit_settings(shell, state)


def test_a_vote_is_kept_with_values_of_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    async def keep(_shell: Any, decided: Any) -> None:
        kept.append((decided.variables, decided.messages))

    monkeypatch.setattr(keep_vote, "keep_vote", keep)
    values = {"on": True, "rows": ["a"], "n": 3, "text": "b"}
    screen: Any = SimpleNamespace(
        _row=SimpleNamespace(case=SimpleNamespace(index=0, variables=values), answers=["a"]), _votes={0: 0}, app=None,
        _columns=["column"], _messages=lambda _column, variables: variables, _table=SimpleNamespace(runs=[]),
    )  # fmt: skip
    asyncio.run(RowsScreen._keep(screen))
    assert kept == [(values, values)]


@pytest.mark.slow
async def test_settings_are_seen_changed_run_and_brought_back(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        line = screen.query_one("#settings-line", Static)
        assert not line.display
        await pilot.press("alt+e")
        await settle(pilot)
        dialog = pilot.app.screen
        assert isinstance(dialog, SettingsDialog)
        editor, problem = dialog.query_one("#settings-text", TextArea), dialog.query_one("#settings-problem", Static)
        editor.text = "parameters: {temperature: 9}"
        await until(pilot, lambda: "parameters.temperature" in str(problem.content))
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert pilot.app.screen is dialog
        editor.text = HELD
        await until(pilot, lambda: "1 example" in str(problem.content))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pilot.app.screen is screen)
        await settle(pilot)
        assert str(line.content) == "holds temperature 0.25 · schema · 1 tool · 1 example"
        assert line.display
        assert screen.state.dirty
        assert screen.query_one("#playground-answer").border_subtitle is not None
        await run(pilot)
        await until(pilot, lambda: answer(pilot) == "Hello world.")
        asked = server.requests[0]
        assert [turn["content"] for turn in asked["messages"]][-3:] == ["Where?", "Here.", "When are you open?"]
        assert (asked["temperature"], asked["response_format"]["type"]) == (0.25, "json_schema")
        assert asked["tools"][0]["function"]["name"] == "look_up"
        store = PromptStore(Catalog(sample))
        name = screen.state.name
        kept = store.get(f"{name}@3")
        assert kept.settings is not None
        assert (kept.settings.parameters.temperature, kept.parent) == (0.25, 2)
        # The parameter that the version holds is changed in the draft.
        changed = screen.state.take_sampling(screen.state.sampling.model_copy(update={"temperature": 0.5, "seed": 7}))
        assert '"temperature":0.5' in changed
        assert (screen.state.parameters.temperature, screen.state.parameters.seed) == (0.0, 7)
        versions = screen.query_one(VersionList)
        versions.focus()
        versions.go_to(2)
        await pilot.press("enter")
        await settle(pilot)
        assert (screen.state.draft.settings, line.display) == ("", False)
        versions.go_to(3)
        await pilot.press("enter")
        await settle(pilot)
        assert (screen.state.draft.settings, line.display) == (kept.settings_text, True)
        assert screen.state.matching == kept
        versions.focus()
        await pilot.press("d", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, DiffScreen)
        assert "── settings ──" in str(pilot.app.screen.query_one("#diff-text", Static).content)
