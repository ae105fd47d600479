"""What is chosen for the next answer: its model, its parameters, its tools; and the ways to look at one elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.message import Message

from screens.playground.state import PlaygroundState
from screens.shell.pane import Pane
from screens.shell.shell import Shell


class AnswerActions(Pane):
    """The pane that has these actions shows the answer itself."""

    class ModelChosen(Message):
        """Another model is to answer."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Holds(Message):
        """The draft is to hold this beside its texts: JSON, empty for nothing; its parameters may be others."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, state: PlaygroundState, *, help_text: str) -> None:
        super().__init__(title="Answer", jump_key="a", id="playground-answer", help_text=help_text)
        self._state = state

    def action_model(self) -> None:
        """Choose the model."""
        self.ask_by("model", self._choose_model)

    async def _choose_model(self) -> None:
        from screens.playground.choose_model import choose_model

        if (name := await choose_model(self.shell)) is not None:
            self.post_message(self.ModelChosen(name))

    def action_parameters(self) -> None:
        """Edit the sampling parameters."""
        from screens.playground.edit_settings import edit_parameters

        self.ask_by("parameters", self._hold, edit_parameters)

    def action_settings(self) -> None:
        """Look at and change what the version holds beside its texts."""
        from screens.playground.edit_settings import edit_settings

        self.ask_by("settings", self._hold, edit_settings)

    async def _hold(self, ask: Callable[[Shell, PlaygroundState], Awaitable[str | None]]) -> None:
        if (text := await ask(self.shell, self._state)) is not None:
            self.post_message(self.Holds(text))

    def action_tools(self) -> None:
        """Choose tools."""
        from screens.playground.tools import choose_tools

        self.ask_by("tools", choose_tools, self.shell, self._state)

    async def on_unmount(self) -> None:
        """End the tool servers that were kept for the next run."""
        if self._state.connections is not None:
            await self._state.connections.close()

    def action_inside(self) -> None:
        """Ask once more, and look at the answer token by token."""
        from screens.playground.look_inside import look_inside

        self.ask_by("inside", look_inside, self.shell, self._state)

    def action_chat(self) -> None:
        """Go to the chats."""
        from screens.navigation import ChatPlace

        self.shell.open_place(ChatPlace())
