"""The list of the versions of a prompt, with their tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.safe_text import safe_line
from screens.playground.change_words import Changes
from screens.playground.version_graph import lanes
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

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
    # In one column: few have labels, and a column for those would take the room of all notes.
    labels = row.version.labels
    told = safe_line(row.version.note, 120) or row.change
    return " · ".join(filter(None, [*labels, told])), "good" if labels else "muted"


def _holds(row: VersionRow) -> Part:
    version = row.version
    if version is None or not version.settings_text:
        return "", "muted"
    return safe_line(version.holds, 80), "bad" if version.unreadable else "muted"


COLUMNS: list[Column[VersionRow]] = [
    Column("@", _name, lambda row: row.number, falling=True, least=4),
    Column("labels and note", _note, share=2, least=24, spare=True),
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
            COLUMNS,
            id="version-list",
            key=lambda row: row.key,
            empty=_EMPTY,
            mark=self._mark_of,
            filters=False,
            reads=True,
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
