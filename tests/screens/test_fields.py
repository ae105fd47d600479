"""Text fields: fast typing keeps its order."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, TextArea

from screens.widgets.fields import Editor, Field


class _Fields(App[None]):
    def compose(self) -> ComposeResult:
        with Vertical():
            yield Field("one", id="field", select_on_focus=False)
            yield Editor("one", id="editor")


@pytest.mark.parametrize("which", ["field", "editor"])
async def test_keys_that_arrive_together_act_in_their_order(which: str) -> None:
    app = _Fields()
    async with app.run_test() as pilot:
        widget = app.query_one(f"#{which}")
        widget.focus()
        await pilot.press("home")
        for key, character in [
            ("end", None),
            ("x", "x"),
            ("y", "y"),
            ("backspace", None),
            ("z", "z"),
            ("home", None),
            ("a", "a"),
        ]:
            app.post_message(events.Key(key, character))
        await pilot.press("shift")
        await pilot.pause()
        assert isinstance(widget, Input | TextArea)
        assert (widget.value if isinstance(widget, Input) else widget.text) == "aonexz"


async def test_an_editor_that_was_drawn_before_it_wrapped_anew_is_drawn_again() -> None:
    """Textual draws a new size before it tells the editor of it: what was drawn then had lines of the old width."""
    words = " ".join(f"word{number}" for number in range(40))

    def shown(app: App[None]) -> str:
        text = "".join(part.text for line in app.screen._compositor.render_strips() for part in line)
        return " ".join(text.replace("▊", " ").replace("▎", " ").split())

    app = _Fields()
    async with app.run_test(size=(60, 24)) as pilot:
        editor = app.query_one("#editor", Editor)
        editor.text = words
        app.query_one("#field").focus()
        await pilot.pause()
        right = shown(app)
        assert words in right
        editor.wrapped_document.wrap(200)
        editor._line_cache.clear()
        editor.refresh()
        assert words not in shown(app)
        editor.post_message(events.Resize(editor.size, editor.virtual_size, editor.container_size))
        await pilot.pause()
        assert shown(app) == right
