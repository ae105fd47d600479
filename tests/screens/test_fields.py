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
