"""The prompts: a list, the last changed first, the filter above it, and the start of a new one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from screens.playground.state import PlaygroundState
from screens.shell.pane import Pane
from screens.widgets.fields import Field
from screens.widgets.motions import Options

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptSummary, PromptVersion

_HELP = "All prompts, most recently changed first. Enter opens one; ● marks a production version, ✎ an unsaved draft."
_EMPTY = "No prompts yet.\nn starts one."


class PromptList(Options):
    """The prompts, the last changed first."""

    def __init__(self) -> None:
        super().__init__(id="prompt-list", markup=False, compact=True)
        self._names: list[str] = []

    def show(self, prompts: list[PromptSummary], current: str | None, drafts: set[str]) -> None:
        """Show these prompts; ``current`` is the open one."""
        self.clear_options()
        self._names = [p.name for p in prompts]
        if current is not None and current not in self._names:
            self._names.insert(0, current)
        latest = {p.name: p for p in prompts}
        for name in self._names:
            summary = latest.get(name)
            version = f"@{summary.latest}" if summary else "new"
            production = " ●" if summary and "production" in summary.labels else ""
            self.add_option(
                Option(
                    Content.assemble(
                        (name, "bold" if name == current else ""),
                        "  ",
                        (version, "$muted"),
                        (production, "$success"),
                        (" ✎" if name in drafts else "", "$warning"),
                    ),
                    id=name,
                )
            )
        if not self._names:
            self.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        elif current in self._names:
            self.highlighted = self._names.index(current)


class PromptsPane(Pane):
    """The prompts, all or those that were found."""

    class Opened(Message):
        """A prompt was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Started(Message):
        """A new prompt is wanted."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Found(Message):
        """The versions that contain what is looked for; none where nothing is looked for any more."""

        def __init__(self, versions: list[PromptVersion] | None) -> None:
            super().__init__()
            self.versions = versions

    def __init__(self, state: PlaygroundState) -> None:
        super().__init__(title="Prompts", jump_key="p", id="playground-prompts", help_text=_HELP)
        self._state = state
        self._field = Field(placeholder="find in names, notes and text", id="find", compact=True)
        self._list = PromptList()

    def compose(self) -> ComposeResult:
        """The filter, hidden until it is wanted, and the list."""
        yield self._field
        yield self._list

    def show(self) -> None:
        """Show all prompts."""
        state = self._state
        drafts = {state.prompt} if state.dirty and state.prompt else set()
        self._list.show(state.prompts, state.prompt, drafts)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))

    # ── the filter ──

    @property
    def finding(self) -> bool:
        """Whether the filter is open."""
        return self.has_class("-finding")

    def open_filter(self) -> None:
        """Open the filter."""
        self.add_class("-finding")
        self._field.focus()

    def close_filter(self) -> None:
        """Close the filter, and show all again."""
        self.remove_class("-finding")
        self._field.value = ""
        self._list.focus()

    @on(Input.Changed)
    def _sought(self, event: Input.Changed) -> None:
        event.stop()
        self.act("find", self._find, event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._list.focus()

    async def _find(self, text: str) -> None:
        if not text:
            self.post_message(self.Found(None))
            return
        versions = await asyncio.to_thread(self.services.prompts.search, text)
        names = {version.prompt for version in versions}
        self._list.show([p for p in self._state.prompts if p.name in names], None, set())
        self.post_message(self.Found(versions))

    # ── a new prompt ──

    def action_new(self) -> None:
        """Start a new prompt."""
        self.act("new", self._new)

    async def _new(self) -> None:
        from screens.playground.name_prompt import ask_prompt_name

        if name := await ask_prompt_name(self.shell):
            self.post_message(self.Started(name))
