"""The versions of the open prompt: their tree, labels, differences, and removal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.safe_text import safe_line
from screens.navigation import ImprovementsPlace
from screens.playground.change_words import Changes
from screens.playground.state import PlaygroundState
from screens.playground.version_graph import lanes
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

_HELP = (
    "Every version of the prompt as a tree, newest first. Enter brings a version's text back into the "
    "editors; text that is in no version is saved as one first. Space marks versions: d compares two, v asks several."
)
_DRAFT = "draft"
_EMPTY = "No versions yet.\nF5 runs the draft and keeps it as @1."


@dataclass(frozen=True)
class VersionRow:
    """A line of the tree; without a version it is the draft. ``change`` is what is new in it, for where it has no note."""

    number: int
    version: PromptVersion | None
    lane: str = ""
    held: bool = False
    change: str = ""

    @property
    def key(self) -> str:
        """What names it in the list."""
        return self.version.ref if self.version is not None else _DRAFT


def _name(row: VersionRow) -> Part:
    if row.version is None:
        return f"✎ @{row.number}", "warn"
    return f"{row.lane} @{row.number}", "accent" if row.held else "plain"


def _note(row: VersionRow) -> Part:
    if row.version is None:
        return "draft", "warn"
    return safe_line(row.version.note, 120) or row.change, "muted"


def _holds(row: VersionRow) -> Part:
    version = row.version
    if version is None or not version.settings_text:
        return "", "muted"
    return safe_line(version.holds, 80), "bad" if version.unreadable else "muted"


COLUMNS: list[Column[VersionRow]] = [
    Column("@", _name, lambda row: row.number, falling=True, least=4),
    Column("labels", lambda row: (" ".join(row.version.labels) if row.version else "", "good"), most=16, rank=1, spare=True),
    Column("note", _note, share=1, least=5, rank=2, spare=True),
    Column("holds", _holds, share=1, least=5, rank=5, spare=True),
    Column("made", lambda row: units.moment(row.version.created_at) if row.version else ("", "muted"),
        lambda row: row.version.created_at if row.version else None, falling=True, rank=3),
    Column("characters", lambda row: units.whole(_length(row)), lambda row: _length(row),
        right=True, falling=True, chosen=False, rank=4),
]  # fmt: skip


def _length(row: VersionRow) -> int | None:
    return len(row.version.system) + len(row.version.template) if row.version is not None else None


class VersionList(Table[VersionRow]):
    """The versions of one prompt, newest first, with their tree; what is found in their text is found above the prompts."""

    def __init__(self) -> None:
        super().__init__(
            COLUMNS, id="version-list", key=lambda row: row.key, empty=_EMPTY, mark=self._mark_of, filters=False
        )
        self._at: tuple[int | None, int | None] = (None, None)
        self._changes = Changes()

    def _mark_of(self, row: VersionRow) -> Part:
        return ("◆", "accent") if row.key in self.selected else ("", "plain")

    @property
    def version(self) -> PromptVersion | None:
        """The version under the cursor; none on the draft."""
        return self.current.version if self.current is not None else None

    def go_to(self, number: int) -> None:
        """Put the cursor on a version."""
        place = next((n for n, row in enumerate(self.shown) if row.version and row.number == number), None)
        if place is not None:
            self.move_to(place)

    def show_versions(self, versions: list[PromptVersion], *, draft: int | None, matching: int | None) -> None:
        """Show these versions; ``draft`` is the number the unsaved text would get, where there is such text."""
        rows = [VersionRow(draft, None)] if draft is not None else []
        graph = lanes([(v.number, v.parent) for v in versions])
        known = {version.number: version for version in versions}
        rows += [
            VersionRow(version.number, version, lane, version.number == matching, self._changes.of(version, known))
            for version, lane in zip(versions, graph, strict=True)
        ]
        # The cursor goes with the text: to the draft, or to the version the editors hold now.
        moved = self._at != (draft, matching)
        self._at = (draft, matching)
        holding = next((row.key for row in rows if row.held), _DRAFT)
        self.fill(rows, holding if moved else "")


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

    @property
    def version(self) -> PromptVersion | None:
        """The version under the cursor; none on the draft."""
        return self._list.version

    def select(self, number: int) -> None:
        """Put the cursor on a version, and the focus into the list."""
        self._list.go_to(number)
        self._list.focus()

    def show(self, *, again: bool = False) -> None:
        """Draw the versions where what they depend on changed, or ``again`` in any case."""
        state = self._state
        matching, draft = state.matching, state.draft_number
        facts = (state.prompt, matching and matching.ref, draft, len(state.versions))
        if facts == self._shown and not again:
            return
        self._shown = facts
        number = matching.number if matching else None
        # What stands beside the list is read again, too, wherever the cursor was before.
        with self.prevent(Table.Moved):
            self._list.show_versions(state.versions, draft=draft, matching=number)
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
