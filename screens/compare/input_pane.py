"""The input of all columns: the variables of their prompts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.compare.boards import CURRENT
from llmops_tui.safe_text import safe_line
from screens.compare.state import CompareState
from screens.shell.pane import Pane
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.motions import TextScroll

_HELP = "What all columns are asked: the variables of their prompts, as the playground has them. e changes one."

_NONE = "The prompts have no variables: all columns are asked the same text. u opens a prompt in the playground."
_UNSET = "The variables have no values yet: e gives them some; o asks the rows of a dataset."


class InputPane(Pane):
    """The variables, and what changes them."""

    class Changed(Message):
        """A variable has another value."""

    def __init__(self, state: CompareState) -> None:
        super().__init__(title="Input", jump_key="i", id="compare-input", help_text=_HELP)
        self._state = state

    def compose(self) -> ComposeResult:
        """The variables."""
        yield TextScroll(Static("", id="compare-variables", markup=False))

    def show(self) -> None:
        """Draw the variables, and which board this is."""
        board = self._state.board
        rounds = len(board.rounds)
        votes = sum(len(one.votes) for one in board.rounds)
        name = "" if board.name == CURRENT else f"board {board.name}"
        self.set_title("Input", name)
        self.set_note(f"{rounds} asked · {votes} voted" if rounds else "")
        parts: list[tuple[str, str] | str] = []
        for variable, text in board.variables.items():
            parts += [("\n" if parts else "", ""), (f"{safe_line(variable)}  ", "$accent"), safe_line(text, 500)]
        self.query_one("#compare-variables", Static).update(
            Content.assemble(*parts)
            if parts
            else Content.styled(
                _UNSET if any("{{" in c.template + c.system for c in board.columns) else _NONE, "$muted"
            )
        )

    def action_edit(self) -> None:
        """Change a variable."""
        self.ask_by("input", self._edit)

    async def _edit(self) -> None:
        state = self._state
        names = await asyncio.to_thread(self._names)
        if not names:
            self.shell.say("The prompts have no variables; e in the playground changes their text.")
            return
        name: str | None = names[0]
        if len(names) > 1:
            shown = [Choice(one, one, state.board.variables.get(one, "")) for one in names]
            name = await self.shell.ask(ChoiceDialog("Which variable?", shown))
        if name is None:
            return
        value = await self.shell.ask(
            LineDialog(name, "what all columns are asked", state.board.variables.get(name, ""))
        )
        if value is not None:
            state.board = replace(state.board, variables={**state.board.variables, name: value})
            self.show()
            self.post_message(self.Changed())

    def _names(self) -> list[str]:
        """The variables of all columns' prompts; of those that cannot be read the known ones."""
        texts = "\n".join(f"{column.system}\n{column.template}" for column in self._state.columns)
        try:
            return self.services.renderer.variables(texts)
        except LlmopsError:
            return list(self._state.board.variables)
