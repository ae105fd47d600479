"""The versions of the open prompt: their tree, labels, differences, and removal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.navigation import ImprovementsPlace
from screens.playground.state import PlaygroundState
from screens.playground.version_list import VersionList
from screens.shell.pane import Pane
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

_HELP = (
    "Every version of the prompt as a tree, newest first. Enter brings a version's text back into the "
    "editors; text that is in no version is saved as one first. Space marks versions: d compares two, v asks several."
)


# What is done with the version under the cursor, where the line of keys has no room for it.
_KEYS = "⏎ take · d diff · l label"


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
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    # ── showing ──

    def on_descendant_focus(self) -> None:
        """Whoever comes back to a version that the editors do not hold sees it again, and what can be done with it."""
        self.set_note(_KEYS)
        if self.version is not None and self.version != self._state.matching:
            self.post_message(self.CursorMoved(self.version))

    def on_descendant_blur(self) -> None:
        """In an editor these keys are text."""
        self.set_note("")

    @on(VersionList.Selected)
    def _tell_marks(self, event: VersionList.Selected) -> None:
        event.stop()
        self._tell_count()

    def _tell_count(self) -> None:
        count = len(self.marked)
        self.set_title("Versions", f"{count} marked" if count else "")

    @property
    def version(self) -> PromptVersion | None:
        """The version under the cursor; none on the draft."""
        return self._list.version

    def point_at(self, number: int) -> None:
        """Put the cursor on a version."""
        self._list.go_to(number)

    def select(self, number: int) -> None:
        """Put the cursor on a version, and the focus into the list."""
        self.point_at(number)
        self._list.focus()

    def show(self, *, again: bool = False) -> None:
        """Draw the versions where what they depend on changed, or ``again`` in any case."""
        state = self._state
        if not state.known:
            return  # typed before the workspace was read
        matching, draft = state.matching, state.draft_number
        facts = (state.prompt, matching and matching.ref, draft, len(state.versions))
        if facts == self._shown and not again:
            return
        self._shown = facts
        number = matching.number if matching else None
        # What stands beside the list is read again, too, wherever the cursor was before.
        with self.prevent(Table.Moved):
            self._list.show_versions(state.versions, draft=draft, matching=number)
        self._tell_count()
        self.post_message(self.CursorMoved(self._list.version))

    def show_only(self, numbers: set[int]) -> None:
        """Draw these versions alone."""
        found = [version for version in self._state.versions if version.number in numbers]
        self._list.show_versions(found, draft=None, matching=None)

    def forget_marks(self) -> None:
        """Mark no version any more."""
        self._list.select(())

    @property
    def marked(self) -> list[PromptVersion]:
        """The marked versions, in the order of marking."""
        by_ref = {version.ref: version for version in self._state.versions}
        return [by_ref[ref] for ref in self._list.selected if ref in by_ref]

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if self._list.version is not None:
            self.post_message(self.Chosen(self._list.version))

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self._list.version))

    # ── a version of the draft ──

    def action_save(self) -> None:
        """Save a version with a note."""
        self.ask_by("save", self._save)

    async def _save(self) -> None:
        from screens.playground.save_version import save_version

        if (version := await save_version(self.shell, self._state)) is not None:
            self._state.add(version)
            self.post_message(self.Saved(version))

    # ── what is done with the version under the cursor ──

    @property
    def _subject(self) -> PromptVersion | None:
        """The version under the cursor, or the one that the editors hold."""
        return self._list.version or self._state.matching

    def action_mark(self) -> None:
        """Mark the version under the cursor to compare with, or unmark it."""
        self._list.action_select()

    def action_diff(self) -> None:
        """Compare two marked versions, or the one under the cursor with another."""
        from screens.playground.compare_versions import compare_versions

        self.ask_by("diff", compare_versions, self.shell, self._state, self._list.version, self.marked)

    def action_compare(self) -> None:
        """Bring the draft, or the marked versions, to the comparison, with the keys that were typed before this one."""
        from screens.playground.begin_comparison import begin_comparison

        marked = self.marked
        (self.screen.focused or self).call_later(self.act, "compare", begin_comparison, self.shell, self._state, marked)

    def action_blame(self) -> None:
        """Show which version brought each line."""
        version = self._subject
        if version is None:
            self.shell.say("Text that is in no version yet is the draft's; choose a version.", severity="warning")
            return
        self.ask_by("blame", self._blame, version)

    async def _blame(self, version: PromptVersion) -> None:
        from llmops_tui.prompts.blame import blame
        from screens.playground.blame_screen import BlameScreen

        versions = await asyncio.to_thread(self.services.prompts.versions, version.prompt, candidates=True)
        lines = await asyncio.to_thread(blame, versions, version.number)
        self.shell.push_screen(BlameScreen(version.ref, lines))

    def action_improve(self) -> None:
        """Go to the improvements of the prompt."""
        self.shell.open_place(ImprovementsPlace(self._state.prompt or ""))

    def action_label(self) -> None:
        """Point a label at the version."""
        version = self._subject
        if version is None:
            self.shell.say("A label points at a version; run or save the draft first.", severity="warning")
            return
        self.ask_by("label", self._label, version)

    async def _label(self, version: PromptVersion) -> None:
        from screens.playground.move_label import move_label

        if await move_label(self.shell, version):
            self._tell_changed()

    def action_roll_back(self) -> None:
        """Move the version's label back to where it was before."""
        version = self._subject
        if version is None:
            self.shell.say("A label is on a version; put the cursor on the one that has it.", severity="warning")
            return
        self.ask_by("label", self._roll_back, version)

    async def _roll_back(self, version: PromptVersion) -> None:
        from screens.playground.move_label import roll_back

        if await roll_back(self.shell, version):
            self._tell_changed()

    def _tell_changed(self) -> None:
        self.post_message(self.Changed())
