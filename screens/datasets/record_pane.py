"""The record under the cursor of the rows: optionally with the model's tokens."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import InputRefusedError, LlmopsError
from screens.actions import screen_place
from screens.datasets import rendering
from screens.datasets.operation import Operation, OperationWanted
from screens.datasets.record import SHAPES, Shape, differing, record_content, token_summary
from screens.shell import external_editor
from screens.shell.pane import Pane
from screens.widgets.dialogs import Choice, ChoiceDialog
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.tokens import ModelText, TokenView
    from llmops_tui.datasets.version import DatasetVersion


class RecordPane(Pane):
    """One record, in one of four shapes.

    Attributes:
        number: the row that is shown; none where there is none.
        row: what it holds.
        model_name: the model whose tokens are counted; empty where there is none.
    """

    def __init__(self) -> None:
        super().__init__(title="Record", jump_key="e", id="datasets-record", help_text=rendering.HELP_RECORD)
        self.number: int | None = None
        self.row: Row | None = None
        self.model_name = ""
        self._version: DatasetVersion | None = None
        self._wanted: int | None = None
        self._original: int | None = None
        self._shape: Shape = "conversation"
        self._text: ModelText | None = None
        self._tokens: dict[int, TokenView] = {}

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="record-scroll", can_focus=True):
            yield Static("", id="record-text", markup=False)

    def on_unmount(self) -> None:
        """End the tokenizer's processes."""
        if self._text is not None:
            self._text.close()

    def open(self, version: DatasetVersion | None) -> None:
        """Another version is open: nothing that was read holds."""
        self._version, self._wanted, self.number, self.row = version, None, None, None
        self._tokens.clear()
        if version is None:
            self.query_one("#record-text", Static).update("")

    def inspect(self, version: DatasetVersion, number: int | None, original: int | None = None) -> None:
        """Show a row of the version, with what differs from an ``original``; nothing where another is open meanwhile."""
        if self._version is version:
            self._wanted, self._original = number, original
            self.act("record", self._read)

    async def find_model(self) -> None:
        """Take the first model whose tokenizer can be used, unless one was chosen."""
        if not self.model_name:
            models = await asyncio.to_thread(lambda: self.services.models.all())
            found = next((m.name for m in models if m.kind == "gguf" and m.present), "")
            self.model_name = self.model_name or found

    async def _read(self) -> None:
        """Read and show the row that is wanted."""
        version, number = self._version, self._wanted
        if version is None or number is None:
            self.number, self.row = None, None
            self.query_one("#record-text", Static).update("")
            return
        if self.number != number or self.row is None:
            found = await asyncio.to_thread(version.rows_at, [number])
            if self._version is not version or self._wanted != number or not found:
                return
            self.number, self.row = number, found[0]
            self.query_one("#record-scroll").scroll_home(animate=False)
        shape, row, problem = self._shape, self.row, ""
        view = self._tokens.get(number)
        if shape in {"tokens", "template"} and view is None:
            try:
                view = await asyncio.to_thread(self._read_tokens, version.kind, row)
            except LlmopsError as error:
                problem = error.told
            if self._version is not version or self._wanted != number:
                return
            if view is not None:
                self._tokens[number] = view
        content = record_content(version.kind, row, shape, view, problem)
        if (original := self._original) is not None and shape == "conversation":
            found = await asyncio.to_thread(version.rows_at, [original])
            if self._version is not version or self._wanted != number or not found:
                return
            content = Content.assemble(*differing(version.kind, original, found[0], row), content)
        self.query_one("#record-text", Static).update(content)
        self.set_title("Record", f"{number:,} · " + " · ".join(f"[{s}]" if s == shape else s for s in SHAPES))
        told = token_summary(view, problem) if view is not None or shape == "tokens" else ""
        self.set_note(f"{told} · {self.model_name}" if told else "")

    def _read_tokens(self, kind: str, row: Row) -> TokenView:
        from llmops_tui.datasets.tokens import ModelText

        if not self.model_name:
            raise InputRefusedError(
                "no_model", "there is no model with a tokenizer", f"{screen_place('models')} adds one."
            )
        if self._text is None or self._text.model.name != self.model_name:
            old, self._text = self._text, ModelText(self.services.models.get(self.model_name))
            if old is not None:
                old.close()
        return self._text.view(kind, row)

    # ── actions ──

    def action_shape(self) -> None:
        """The next shape: conversation, tokens, template, JSON."""
        self._shape = SHAPES[(SHAPES.index(self._shape) + 1) % len(SHAPES)]
        self.act("record", self._read)

    def action_model(self) -> None:
        """Choose the model whose tokenizer and template are used."""
        self.ask_by("model", self._choose_model)

    async def _choose_model(self) -> None:
        models = await asyncio.to_thread(self.services.models.all)
        choices = [Choice(m.name, m.name, m.quantization, "model") for m in models if m.kind == "gguf" and m.present]
        empty = f"No GGUF models. {screen_place('models')} adds one."
        name = await self.shell.ask(ChoiceDialog("Count in tokens of", choices, empty))
        if name is not None:
            self.model_name = name
            self._tokens.clear()
            self._shape = "tokens" if self._shape not in {"tokens", "template"} else self._shape
            self.act("record", self._read)

    def action_profile(self) -> None:
        """The profile of the version, with the model's tokens."""
        if self._version is not None:
            from screens.datasets.profile_screen import ProfileScreen

            utf8 = self.shell.profile.utf8
            self.shell.push_screen(ProfileScreen(self.services, self._version, self.model_name, utf8=utf8))

    def action_edit(self) -> None:
        """Edit the row as JSON in $EDITOR; what comes back makes a new version."""
        version, number, row = self._version, self.number, self.row
        if version is None or number is None or row is None:
            return
        text = json.dumps(row, ensure_ascii=False, indent=2)
        changed = external_editor.edit_outside(self.shell, text, f"row-{number}.json")
        if changed is None or changed == text:
            return
        try:
            value = json.loads(changed)
        except ValueError as error:
            why = f"row {number:,} is not valid JSON: {error}"
            self.shell.report(LlmopsError("not_json", why, "The row is unchanged."))
            return
        if not isinstance(value, dict):
            why = f"row {number:,} is not a JSON object"
            self.shell.report(LlmopsError("not_json", why, "The row is unchanged."))
            return
        self.post_message(OperationWanted(Operation(version, "edit", {"edits": {str(number): value}})))
