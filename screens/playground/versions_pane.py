"""The versions of the open prompt: their tree, labels, differences, and removal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line
from screens.playground.state import PlaygroundState
from screens.playground.version_graph import lanes
from screens.shell.pane import Pane
from screens.widgets.motions import Options

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

_HELP = (
    "Every version of the prompt as a tree, newest first. Enter brings a version's text back into the "
    "editors; text that is in no version is saved as one first. Space marks a version, d compares."
)
_EMPTY = "No versions yet.\nF5 runs the draft and keeps it as @1."


class VersionList(Options):
    """The versions of one prompt, newest first, with their tree."""

    def __init__(self) -> None:
        super().__init__(id="version-list", markup=False, compact=True)
        self._versions: list[PromptVersion] = []
        self._at: tuple[int | None, int | None] = (None, None)

    @property
    def current(self) -> PromptVersion | None:
        """The version under the cursor; none on the draft."""
        return self.version(self.get_option_at_index(self.highlighted).id) if self.highlighted is not None else None

    def select(self, number: int) -> None:
        """Put the cursor on a version."""
        wanted = next((version.id for version in self._versions if version.number == number), None)
        ids = [option.id for option in self.options]
        if wanted in ids:
            self.highlighted = ids.index(wanted)

    def version(self, option_id: str | None) -> PromptVersion | None:
        """The version of a line; none for the draft's."""
        return next((v for v in self._versions if v.id == option_id), None)

    def show(
        self, versions: list[PromptVersion], *, draft: int | None, matching: int | None, marked: str | None
    ) -> None:
        """Show these versions; ``draft`` is the number the unsaved text would get, where there is such text."""
        kept = self.current
        self.clear_options()
        self._versions = versions
        if draft is not None:
            self.add_option(Option(Content.assemble(("✎ ", "$warning"), (f"@{draft} draft", "$warning")), id="draft"))
        graph = lanes([(v.number, v.parent) for v in versions])
        for version, lane in zip(versions, graph, strict=True):
            here = version.number == matching
            parts: list[tuple[str, str] | str] = [
                (lane, "$accent" if here else "$muted"),
                " ",
                (f"@{version.number}", "bold" if here else ""),
            ]
            parts += [(" ◆", "$accent")] if version.ref == marked else []
            parts += [(f" {label}", "$success") for label in version.labels]
            parts += [(f" {safe_line(version.note, 60)}", "$muted")] if version.note else []
            self.add_option(Option(Content.assemble(*parts), id=version.id))
        if not self.option_count:
            self.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
            return
        # The cursor goes with the text: to the draft, or to the version the editors hold now.
        moved = self._at != (draft, matching)
        self._at = (draft, matching)
        holding = next((v for v in versions if v.number == matching), None)
        wanted = holding if moved else kept
        ids = [self.get_option_at_index(i).id for i in range(self.option_count)]
        self.highlighted = ids.index(wanted.id) if wanted is not None and wanted.id in ids else 0


class VersionsPane(Pane):
    """The tree of versions, and what is done with the one under the cursor."""

    class Chosen(Message):
        """A version was chosen: its text is wanted in the editors."""

        def __init__(self, version: PromptVersion) -> None:
            super().__init__()
            self.version = version

    class CursorMoved(Message):
        """Another version is under the cursor."""

        def __init__(self, version: PromptVersion | None) -> None:
            super().__init__()
            self.version = version

    class Saved(Message):
        """The draft is this version now."""

        def __init__(self, version: PromptVersion) -> None:
            super().__init__()
            self.version = version

    class Changed(Message):
        """A label moved, or the prompt was deleted: there is something to read again."""

    def __init__(self, state: PlaygroundState) -> None:
        super().__init__(title="Versions", jump_key="v", id="playground-versions", help_text=_HELP)
        self._state = state
        self._list = VersionList()
        self._marked: str | None = None
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    # ── showing ──

    def select(self, number: int) -> None:
        """Put the cursor on a version, and the focus into the list."""
        self._list.select(number)
        self._list.focus()

    def show(self, *, again: bool = False) -> None:
        """Draw the versions where what they depend on changed, or ``again`` in any case."""
        state = self._state
        matching, draft = state.matching, state.draft_number
        facts = (state.prompt, matching and matching.ref, draft, self._marked, len(state.versions))
        if facts == self._shown and not again:
            return
        self._shown = facts
        number = matching.number if matching else None
        self._list.show(state.versions, draft=draft, matching=number, marked=self._marked)

    def show_only(self, numbers: set[int]) -> None:
        """Draw these versions alone."""
        found = [version for version in self._state.versions if version.number in numbers]
        self._list.show(found, draft=None, matching=None, marked=self._marked)

    def forget_mark(self) -> None:
        """Mark no version any more; drawn with the next :meth:`show`."""
        self._marked = None

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        version = self._list.version(event.option_id)
        if version is not None:
            self.post_message(self.Chosen(version))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self._list.version(event.option_id)))

    # ── a version of the draft ──

    def action_save(self) -> None:
        """Save a version with a note."""
        self.act("save", self._save)

    async def _save(self) -> None:
        from screens.playground.save_version import save_version

        if (version := await save_version(self.shell, self._state)) is not None:
            self.post_message(self.Saved(version))

    # ── what is done with the version under the cursor ──

    @property
    def _subject(self) -> PromptVersion | None:
        """The version under the cursor, or the one that the editors hold."""
        return self._list.current or self._state.matching

    def action_mark(self) -> None:
        """Mark the version under the cursor to compare with, or unmark it."""
        version = self._list.current
        if version is not None:
            self._marked = None if self._marked == version.ref else version.ref
            self.show()

    def action_diff(self) -> None:
        """Compare the version under the cursor with another."""
        from screens.playground.compare_versions import compare_versions

        self.act("diff", compare_versions, self.shell, self._state, self._list.current, self._marked)

    def action_blame(self) -> None:
        """Show which version brought each line."""
        version = self._subject
        if version is None:
            self.shell.say("Text that is in no version yet is the draft's; choose a version.", severity="warning")
            return
        self.act("blame", self._blame, version)

    async def _blame(self, version: PromptVersion) -> None:
        from llmops_tui.prompts.blame import blame
        from screens.playground.blame_screen import BlameScreen

        lines = await asyncio.to_thread(blame, self._state.versions, version.number)
        self.shell.push_screen(BlameScreen(version.ref, lines))

    def action_label(self) -> None:
        """Point a label at the version."""
        version = self._subject
        if version is None:
            self.shell.say("A label points at a version; run or save the draft first.", severity="warning")
            return
        self.act("label", self._label, version)

    async def _label(self, version: PromptVersion) -> None:
        from screens.playground.move_label import move_label

        if await move_label(self.shell, version):
            self._tell_changed()

    def action_delete(self) -> None:
        """Delete the prompt that is open, with all its versions."""
        from screens.shell.removal import offer_removal

        version = self._subject
        if version is None:
            self.shell.say("Choose a prompt; unsaved text is not a version yet.", severity="warning")
            return
        self.act("removal", offer_removal, self.shell, "prompt", version.prompt, self._deleted)

    async def _deleted(self) -> None:
        # What was written stays in the editor, as a draft.
        self._tell_changed()

    def _tell_changed(self) -> None:
        self.post_message(self.Changed())
