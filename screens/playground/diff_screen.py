"""The difference of two versions in one text, by words or tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import agree
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.endpoints import Endpoint
from llmops_tui.safe_text import safe_text
from llmops_tui.text_diff import DiffPart, diff_pieces, diff_words
from screens.widgets.diff_text import diff_parts
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

_SETTINGS = "settings"
# Behind each token: where one ends cannot be seen otherwise.
_BORDER = "│"
_SECTIONS = ("system", "user", _SETTINGS)


class DiffScreen(Modal[None]):
    """The difference between two texts of a prompt, each given as (name, system, template, settings)."""

    CSS_PATH = ["../dialog.tcss", "diff_screen.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q,d,f3", "close", "Close"),
        Binding("w,t,tab", "switch", "Words or tokens"),
    ]

    def __init__(self, before: Sequence[str], after: Sequence[str], handle: Endpoint | None) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self._handle = handle
        self._tokens = False

    def compose(self) -> ComposeResult:
        """A head line, the text, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="diff-head", markup=False)
            with TextScroll():
                yield Static("", id="diff-text", markup=False)
            yield Static(
                Content.assemble(("t", "$accent"), " words or tokens   ", ("esc", "$accent"), " close"),
                classes="dialog-keys",
            )

    def on_mount(self) -> None:
        """Show words first."""
        self._draw(self._words(), "")

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)

    def action_switch(self) -> None:
        """Words, or the model's tokens where a model is loaded."""
        self.run_worker(self._switch(), group="diff", exclusive=True, exit_on_error=False)

    async def _switch(self) -> None:
        if self._tokens:
            self._tokens = False
            self._draw(self._words(), "")
            return
        if self._handle is None:
            self.notify("Tokens need a loaded model: run the prompt once (F5).", severity="warning", markup=False)
            return
        try:
            sections, note = await self._in_tokens(self._handle)
        except LlmopsError as error:
            self.notify(safe_text(error.message), severity="error", markup=False)
            return
        self._tokens = True
        self._draw(sections, note)

    def _words(self) -> list[tuple[str, list[DiffPart]]]:
        return [
            (name, diff_words(before, after))
            for name, before, after in zip(_SECTIONS, self._before[1:], self._after[1:], strict=True)
            if name != _SETTINGS or before or after
        ]

    async def _in_tokens(self, handle: Endpoint) -> tuple[list[tuple[str, list[DiffPart]]], str]:
        from llmops_tui.inference.client import ModelClient

        sections: list[tuple[str, list[DiffPart]]] = []
        cost = 0
        async with ModelClient(handle) as client:
            for index, name in ((1, "system"), (2, "user")):
                before = (await client.tokenize(content=self._before[index]))["pieces"]
                after = (await client.tokenize(content=self._after[index]))["pieces"]
                cost += len(after) - len(before)
                bordered = [[f"{piece}{_BORDER}" for piece in pieces] for pieces in (before, after)]
                sections.append((name, await asyncio.to_thread(diff_pieces, *bordered)))
        # What is held beside the texts has no tokens of its own.
        sections += [one for one in self._words() if one[0] == _SETTINGS]
        return sections, f"{cost:+d} {agree(abs(cost), 'token', 'tokens')} with {handle.model}"

    def _draw(self, sections: list[tuple[str, list[DiffPart]]], note: str) -> None:
        unit = "tokens" if self._tokens else "words"
        self.query_one("#diff-head", Static).update(
            Content.assemble(
                (self._before[0], "$error bold"),
                " → ",
                (self._after[0], "$success bold"),
                (f"   in {unit}   {note}", "$muted"),
            )
        )
        parts: list[tuple[str, str] | str] = []
        for name, changes in sections:
            parts.append((f"\n── {name} ──\n", "$accent"))
            parts += diff_parts(changes)
            if all(change.change == "same" for change in changes):
                parts.append(("\n(no difference)", "$muted"))
            parts.append("\n")
        self.query_one("#diff-text", Static).update(Content.assemble(*parts))
