"""The prompts: a list, the last changed first, the filter above it, and the start of a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Input

from llmops_tui.safe_text import safe_line
from screens.playground.state import PlaygroundState
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.columns import Column, Part
from screens.widgets.fields import Field
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptSummary, PromptVersion

_HELP = (
    "All prompts, most recently changed first. Enter opens one; ● marks a production version, ✎ an unsaved draft, "
    "▸ the open one. Space selects several."
)
_ONE = "One at a time: esc takes the selection back."
# How often is looked whether somebody else changed prompts: another window, a command, a folder that is kept in step.
_LOOK_SECONDS = 1.0
_NO_SUBJECT = "Choose a prompt; unsaved text is not a version yet."
_EMPTY = "No prompts yet.\nn starts one."


@dataclass(frozen=True)
class PromptRow:
    """A prompt in the list; without a summary it has no version yet."""

    name: str
    summary: PromptSummary | None
    opened: bool = False
    draft: bool = False


def _latest(row: PromptRow) -> Part:
    if row.summary is None:
        return "new", "warn"
    production = "production" in row.summary.labels
    return f"{'● ' if production else ''}@{row.summary.latest}", "good" if production else "plain"


def _labels(row: PromptRow) -> Part:
    labels = row.summary.labels if row.summary is not None else {}
    return " ".join(f"{label}@{number}" for label, number in labels.items()), "good"


COLUMNS: list[Column[PromptRow]] = [
    Column("prompt", lambda row: safe_line(row.name, 120), share=3, least=10, names=True),
    Column("latest", _latest, lambda row: row.summary.latest if row.summary else None, right=True, falling=True),
    Column("labels", _labels, share=1, least=6, rank=2, spare=True),
    Column("versions", lambda row: units.whole(row.summary.versions if row.summary else None),
        lambda row: row.summary.versions if row.summary else None, right=True, falling=True, chosen=False, rank=4),
    Column("changed", lambda row: units.moment(row.summary.changed_at) if row.summary else ("–", "muted"),
        lambda row: row.summary.changed_at if row.summary else None, falling=True, chosen=False, rank=3),
]  # fmt: skip


class PromptList(ArchiveTable[PromptRow]):
    """The prompts, the last changed first; what is found in their text is found by the field above it."""

    def __init__(self) -> None:
        super().__init__(
            COLUMNS, kind="prompt", id="prompt-list", key=lambda row: row.name, empty=_EMPTY, mark=_mark, filters=False
        )

    def show_prompts(self, prompts: list[PromptSummary], current: str | None, drafts: set[str]) -> None:
        """Show these prompts; ``current`` is the open one."""
        rows = [PromptRow(one.name, one, one.name == current, one.name in drafts) for one in prompts]
        if current is not None and all(row.name != current for row in rows):
            rows.insert(0, PromptRow(current, None, opened=True, draft=current in drafts))
        self.fill(rows, current or "")


def _mark(row: PromptRow) -> Part:
    return ("✎", "warn") if row.draft else ("▸", "accent") if row.opened else ("", "plain")


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

    class Changed(Message):
        """Prompts were deleted or have other names, or somebody else changed some."""

    def __init__(self, state: PlaygroundState, busy: Callable[[], bool]) -> None:
        super().__init__(title="Prompts", jump_key="p", id="playground-prompts", help_text=_HELP)
        self._state, self._busy = state, busy
        self._field = Field(placeholder="find in names, notes and text", id="find", compact=True)
        self._list = PromptList()
        self._stamp: object = None

    def compose(self) -> ComposeResult:
        """The filter, hidden until it is wanted, and the list."""
        yield self._field
        yield self._list

    def on_mount(self) -> None:
        """Look for what others change."""
        self.set_interval(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        # What was found by words stays until it is left. An act is begun where there is something to read alone.
        if not self.screen.is_current or not self._state.opened.is_set() or self.finding:
            return
        if self.services.prompts.stamp() != self._stamp:
            self.act("look", self._look_at_others)

    async def _look_at_others(self) -> None:
        """Have all read again where versions or labels are others than those that are shown."""
        store = self.services.prompts
        summaries = await asyncio.to_thread(store.summaries)
        # Reading may write the log of the catalog into its file.
        self._stamp = store.stamp()
        if summaries != self._state.prompts:
            self.post_message(self.Changed())

    def show(self) -> None:
        """Show all prompts, or those that have the words of the filter."""
        if self.finding and self._field.value:
            self.act("find", self._find, self._field.value)
        else:
            self._list.show_prompts(self._state.prompts, self._state.prompt, self._drafts)

    @property
    def _drafts(self) -> set[str]:
        return {self._state.prompt} if self._state.dirty and self._state.prompt else set()

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if self._list.current is not None:
            self.post_message(self.Opened(self._list.current.name))

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
        opened = self._state.prompt if self._state.prompt in names else None
        self._list.show_prompts([p for p in self._state.prompts if p.name in names], opened, self._drafts)
        self.post_message(self.Found(versions))

    # ── what is done with prompts ──

    @property
    def _subjects(self) -> list[str]:
        """The selected prompts or the one under the cursor while the list has the focus, else the open one; saved ones."""
        rows = [row.name for row in self._list.picked] if self._list.has_focus else [self._state.prompt or ""]
        saved = {prompt.name for prompt in self._state.prompts}
        return [name for name in rows if name in saved]

    def action_delete(self) -> None:
        """Delete the prompts, with all their versions."""
        from screens.shell.removal import offer_removal

        if names := self._subjects:
            self.ask_by("removal", offer_removal, self.shell, "prompt", names, self._deleted)
        else:
            self.shell.say(_NO_SUBJECT, severity="warning")

    def action_rename(self) -> None:
        """Another name for the prompt."""
        self._with_one(self._rename)

    async def _rename(self, name: str) -> None:
        from llmops_tui.maintenance.archiving import Kept
        from screens.shell.renaming import rename

        opened = name == self._state.prompt
        if opened and self._busy():
            return  # its answer would be kept under the old name
        if new := await rename(self.shell, Kept.PROMPT, name):
            self.post_message(self.Opened(new) if opened else self.Changed())

    def action_duplicate(self) -> None:
        """A prompt of its own that begins with this one's newest version."""
        self._with_one(self._duplicate)

    async def _duplicate(self, name: str) -> None:
        from llmops_tui.maintenance.archiving import Kept
        from screens.shell.renaming import copy

        if made := await copy(self.shell, Kept.PROMPT, f"{name}@latest"):
            self.post_message(self.Opened(made.partition("@")[0]))

    def _with_one(self, do: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        names = self._subjects
        if len(names) == 1:
            self.ask_by("name", do, names[0])
        else:
            self.shell.say(_ONE if names else _NO_SUBJECT, severity="warning")

    async def _deleted(self) -> None:
        # What was written stays in the editor, as a draft.
        self.post_message(self.Changed())

    # ── a new prompt ──

    def action_chains(self) -> None:
        """Go to the chains."""
        from screens.navigation import ScreenPlace

        self.shell.open_place(ScreenPlace("chains"))

    def action_new(self) -> None:
        """Start a new prompt."""
        self.ask_by("new", self._new)

    async def _new(self) -> None:
        from screens.playground.name_prompt import ask_prompt_name

        if name := await ask_prompt_name(self.shell):
            self.post_message(self.Started(name))
