"""Reads the record under the cursor and shows it: its model's tokens too, where they are wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.widgets import Static

from llmops_tui.errors import InputRefusedError, LlmopsError
from screens.actions import screen_place
from screens.datasets.record import SHAPES, Shape, record_content, token_summary
from screens.datasets.table import RowTable
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.tokens import ModelText, TokenView
    from screens.datasets.screen import DatasetsScreen


class RecordPane:
    """The record pane of the datasets screen."""

    def __init__(self, screen: DatasetsScreen) -> None:
        self._screen = screen
        self.number: int | None = None
        self.row: Row | None = None
        self.shape: Shape = "conversation"
        self.model_name = ""
        self._text: ModelText | None = None
        self._tokens: dict[int, TokenView] = {}

    def forget(self) -> None:
        """Another version is open: nothing that was read holds."""
        self.number, self.row = None, None
        self._tokens.clear()

    def close(self) -> None:
        """End the tokenizer's processes."""
        if self._text is not None:
            self._text.close()

    def next_shape(self) -> None:
        """Conversation, tokens, template, JSON."""
        self.shape = SHAPES[(SHAPES.index(self.shape) + 1) % len(SHAPES)]

    async def find_model(self) -> None:
        """Take the first model whose tokenizer can be used, unless one was chosen."""
        if not self.model_name:
            models = await asyncio.to_thread(lambda: self._screen.services.models.all())
            self.model_name = next((m.name for m in models if m.kind == "gguf" and m.present), "")

    def use_model(self, name: str) -> None:
        """Count tokens with another model from now on."""
        self.model_name = name
        self._tokens.clear()
        self.shape = "tokens" if self.shape not in {"tokens", "template"} else self.shape
        self._screen.act("record", self.read)

    async def read(self) -> None:
        """Read and show the row under the cursor."""
        screen = self._screen
        version, number = screen.version, screen.query_one("#row-table", RowTable).row
        if version is None or number is None:
            self.number, self.row = None, None
            screen.query_one("#record-text", Static).update("")
            return
        if self.number != number or self.row is None:
            found = await asyncio.to_thread(version.rows_at, [number])
            if screen.version != version or not found:
                return
            self.number, self.row = number, found[0]
            screen.query_one("#record-scroll").scroll_home(animate=False)
        problem = ""
        if self.shape in {"tokens", "template"} and number not in self._tokens:
            try:
                self._tokens[number] = await asyncio.to_thread(self._read_tokens, version.kind, self.row)
            except LlmopsError as error:
                problem = error.told
        view = self._tokens.get(number)
        content = record_content(version.kind, self.row, self.shape, view, problem)
        screen.query_one("#record-text", Static).update(content)
        panel = screen.query_one("#record", Panel)
        panel.set_title("Record", f"{number:,} · " + " · ".join(f"[{s}]" if s == self.shape else s for s in SHAPES))
        shown = token_summary(view, problem) if view is not None or self.shape == "tokens" else ""
        panel.set_note(f"{shown} · {self.model_name}" if shown else "")

    def _read_tokens(self, kind: str, row: Row) -> TokenView:
        from llmops_tui.datasets.tokens import ModelText

        if not self.model_name:
            raise InputRefusedError(
                "no_model", "there is no model whose tokens could be counted", f"{screen_place('models')} adds one."
            )
        if self._text is None or self._text.model.name != self.model_name:
            old, self._text = self._text, ModelText(self._screen.services.models.get(self.model_name))
            if old is not None:
                old.close()
        return self._text.view(kind, row)
