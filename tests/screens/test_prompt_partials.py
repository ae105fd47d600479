"""Partials in the playground: what is included stands in the editor once it is a version, and a key takes what is newer."""

from __future__ import annotations

import pytest
from textual.widgets import Static, TextArea

from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.playground.variables_pane import ValueEditor
from tests.fakes import FakeModelServer
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_playground import answer, playground, run


@pytest.mark.slow
async def test_an_include_is_run_seen_and_taken_newer(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    store = PromptStore(Catalog(sample))
    store.save("tone", template="Be {{ mood }}.")
    async with open_app() as pilot:
        screen = playground(pilot)
        name = screen.state.name
        assert name != "tone"
        line, editor = screen.query_one("#partials-line", Static), screen.query_one("#user", TextArea)
        assert not line.display
        editor.focus()
        editor.replace('{% include "tone" %} {{ question }}', (0, 0), editor.document.end)
        await until(pilot, lambda: "put in by a run or a save" in str(line.content))
        await until(pilot, lambda: len(screen.query("#variable-fields ValueEditor")) == 2)
        screen.query_one("#variable-fields ValueEditor", ValueEditor).value = "kind"
        await settle(pilot)
        await run(pilot)
        await until(pilot, lambda: answer(pilot) == "Hello world.")
        assert server.requests[0]["messages"][-1]["content"] == "Be kind. When are you open?"
        made = store.get(f"{name}@3")
        assert editor.text == made.template == screen.state.draft.template
        assert not screen.state.dirty
        await until(pilot, lambda: str(line.content) == "partials tone@1")
        store.save("tone", template="Be very {{ mood }}.")
        await screen.refresh_versions()
        await until(pilot, lambda: "tone@2 is newer" in str(line.content))
        await pilot.press("alt+n")
        await until(pilot, lambda: "Be very {{ mood }}." in editor.text)
        await until(pilot, lambda: str(line.content) == "partials tone@2")
        assert screen.state.dirty
        editor.undo()
        await settle(pilot)
        assert editor.text == made.template
        assert not screen.state.dirty
