"""Snippets in editors and fields; macros, which stop at a question."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from llmops_tui.snippets import Snippets, load_snippets, save_snippets
from screens.playground.prompts_pane import PromptList
from screens.playground.template_pane import TemplateEditor
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from tests.screens.conftest import OpenApp, settle, until


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    save_snippets(Snippets({"json": "JSON only,\nno word more"}, {"delete": ("D", "y"), "down": ("j", "j")}))


@pytest.mark.usefixtures("kept")
async def test_a_snippet_takes_the_place_of_its_name_and_a_macro_never_deletes(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        app = pilot.app
        editor = app.screen.query(TemplateEditor).first()
        editor.focus()
        editor.text = "Say json please"
        editor.move_cursor((0, 8))
        await pilot.press("alt+full_stop")
        await until(pilot, lambda: editor.text == "Say JSON only,\nno word more please")
        assert editor.cursor_location == (1, 12)
        # Without a name in front of the cursor it is chosen, in a dialog's field as well.
        prompts = app.screen.query_one(PromptList)
        prompts.focus()
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = ""
        await pilot.press("alt+full_stop")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        await until(pilot, lambda: app.screen.query_one(Input).value == "JSON only, no word more")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LineDialog))
        # What is recorded is kept by a name.
        prompts.focus()
        prompts.cursor = 0
        await pilot.press("alt+comma", "j", "alt+comma")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = "one"
        await pilot.press("enter")
        await until(pilot, lambda: load_snippets()[0].macros.get("one") == ("j",))
        assert prompts.cursor == 1
        # Played, it does the same; at a question it stops.
        await pilot.press("alt+slash")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await settle(pilot)
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: prompts.cursor == 2)
        keys = app.macros.play(["D"])
        await app.keys.take(keys[0])
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        for key in app.macros.play(["y", "enter"]):
            await app.keys.take(key)
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        assert not app.macros.is_playing
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmDialog))
        assert len(prompts.keys()) == 3
