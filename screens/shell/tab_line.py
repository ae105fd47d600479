"""The first line of every screen: all screens by their digit, the one in front marked, and what happens on the others."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widget import Widget

from screens.actions import ACTIONS, SCREEN_KEYS
from screens.shell.tab_badges import BADGED, Badge

_TITLES = {name: next(a.title for a in ACTIONS if a.call == f"app.go('{name}')") for name in SCREEN_KEYS.values()}
# Where all titles do not fit side by side. With less than these, only the digits stay, and the title of the one in front.
_SHORT = {
    "playground": "Play", "datasets": "Data", "training": "Train", "evaluation": "Eval", "models": "Models",
    "monitor": "Mon", "settings": "Set", "privacy": "",
}  # fmt: skip
# Where they would fit close to each other alone.
_NEARLY = {"evaluation": "Eval"}
# A badge with its count takes the mark and one figure.
_MOST, _BADGE_CELLS = 9, 2
# A tab in front has so many cells beside its name.
_EDGE = 1


class TabLine(Widget):
    """One widget for all tabs; a click on one goes there."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tab-line--tab", "tab-line--key", "tab-line--front", "tab-line--running", "tab-line--failed", "tab-line--new",
        "tab-line--alerts",
    }  # fmt: skip

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, screen: str) -> None:
            super().__init__()
            self.name = screen

    def __init__(self, front: str, *, utf8: bool) -> None:
        super().__init__(id="tab-line")
        self._front = front
        # What matters most comes first: of one tab one badge is shown.
        marks = ("✗", "!", "▶", "✓") if utf8 else ("x", "!", ">", "+")
        self._marks = tuple(zip(("failed", "alerts", "running", "new"), marks, strict=True))
        self._badges: dict[str, Badge] = {}
        self._ends: list[int] = []

    def show(self, badges: dict[str, Badge]) -> None:
        """Draw these badges, where they are not those that are drawn."""
        if badges != self._badges:
            self._badges = badges
            self.refresh()

    def render(self) -> Content:
        """As much of the names as fits, and room for each badge, so that no tab moves when one comes or goes.

        Where there is none for counts, the mark stands alone between the digit and the name.
        """
        short, own = _TITLES | _SHORT, {self._front: _SHORT.get(self._front) or _TITLES[self._front]}
        ways: tuple[tuple[dict[str, str], int, bool], ...] = (
            (_TITLES, 2, True), (_TITLES | _NEARLY, 2, True), (_TITLES, 2, False), (_TITLES | _NEARLY, 2, False),
            (_TITLES, 1, False), (short, 2, False), (short, 1, False), (own, 2, False), (own, 1, False), ({}, 2, False),
        )  # fmt: skip
        for names, gap, counted in ways:
            tabs = [self._tab(key, name, names.get(name, ""), counted=counted) for key, name in SCREEN_KEYS.items()]
            if sum(tab.cell_length + gap for tab in tabs) - gap + 2 * _EDGE <= self.size.width:
                return self._joined(tabs, gap)
        return self._joined(tabs, 1)

    def _joined(self, tabs: list[Content], gap: int) -> Content:
        """The tabs side by side. The one in front takes a cell of the gaps beside it, so that none moves for that."""
        place, front = list(SCREEN_KEYS.values()).index(self._front), self._style("front")
        self._ends, end, parts = [], _EDGE, [Content(" " * _EDGE)]
        for tab in tabs:
            parts += [tab, Content(" " * gap)]
            end += tab.cell_length + gap
            self._ends.append(end)
        begin = self._ends[place] - gap - tabs[place].cell_length - _EDGE
        # Of the last gap one cell is needed, for the tab in front.
        line = Content("").join(parts)[: end - gap + _EDGE]
        return line.stylize(front, begin, begin + _EDGE).stylize(
            front, self._ends[place] - gap, self._ends[place] - gap + _EDGE
        )

    def _tab(self, key: str, name: str, title: str, *, counted: bool) -> Content:
        front = name == self._front
        text = self._style("front" if front else "tab")
        kind, mark, count = self._badge(name)
        told = self._style(kind) if kind else text
        badge = Style(text.background, told.foreground, bold=told.bold)
        parts: list[tuple[str, Style]] = [(key, text if front else self._style("key"))]
        if mark and not counted:
            parts += [(mark, badge), (title, text)]
        elif title or (name in BADGED and not counted):
            parts.append((f" {title}", text))
        if name in BADGED and counted:
            parts.append((f"{mark}{count}".ljust(_BADGE_CELLS), badge))
        return Content.assemble(*parts)

    def _badge(self, name: str) -> tuple[str, str, str]:
        """What is told of a screen: the kind, its mark and how many, or nothing."""
        badge = self._badges.get(name, Badge())
        for kind, mark in self._marks:
            if count := int(getattr(badge, kind)):
                return kind, mark, str(count) if count <= _MOST else "+"
        return "", "", ""

    def _style(self, part: str) -> Style:
        return self.get_visual_style(f"tab-line--{part}")

    def on_click(self, event: events.Click) -> None:
        """Go to the screen whose tab it is."""
        for name, end in zip(SCREEN_KEYS.values(), self._ends, strict=False):
            if event.x < end:
                self.post_message(self.Chosen(name))
                return
