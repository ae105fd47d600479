"""The palette: finds actions, and the things of the workspace, by what is typed; one line each, the best first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from screens.shell.palette_entries import Entry, Here, actions, commands, pages, themes
from screens.shell.ranking import ranked
from screens.shell.shell import Shell
from screens.shell.things import MOST_TEXTS, Thing, read_things, search_texts
from screens.widgets.columns import fit
from screens.widgets.fields import Field
from screens.widgets.keys_line import KeysLine
from screens.widgets.line_list import Line, LineList
from screens.widgets.modal import Modal

_MOST = 200
# The most that kinds and names take; fewer where those that are found are shorter.
_KIND, _NAME = 15, 24
# The least cells of a key, and between columns.
_KEY, _GAP = 3, 2
# In fewer cells than these names are narrower.
_NARROW, _NARROW_NAME = 80, 16
_TEXTS = frozenset({"trace", "case"})
# Letters from which texts of traces and cases are searched, and the seconds without a key before.
_LEAST, _QUIET = 3, 0.25


class Palette(Modal[Entry | None]):
    """A field, and below it what answers to it."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("escape,ctrl+p,f10", "give_up", "Cancel", priority=True),
        Binding("down,ctrl+n", "step(1)", show=False, priority=True),
        Binding("up", "step(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
    ]

    def __init__(self, shell: Shell, scope: str, here: Here, said: str = "") -> None:
        super().__init__()
        self._said, self._theme = said, shell.theme
        self._shell = shell
        self._actions = actions(shell, scope, here)
        self._things: list[Entry] = []
        self._texts: list[Entry] = []
        self._recent: list[str] = []
        self._shown: list[Entry] = []
        # Cells of the longest kind, the longest name and the longest key that are shown.
        self._longest = (0, 0, 0)

    def compose(self) -> ComposeResult:
        """The field and the list."""
        with Vertical(classes="dialog dialog-wide dialog-palette"):
            yield Field(
                self._said,
                placeholder="an action, or anything of the workspace by its name or text",
                id="palette-words",
                compact=True,
            )
            found = LineList(id="palette-found")
            found.can_focus = False
            yield found
            yield Static("", id="palette-about", markup=False)
            yield KeysLine(id="palette-ways")

    def on_mount(self) -> None:
        """Actions at once; things when they are read."""
        self._draw()
        self.run_worker(self._read(), group="palette", exit_on_error=False)

    async def _read(self) -> None:
        services = self._shell.services
        self._recent = await asyncio.to_thread(services.memory.lines, "found")
        things = await asyncio.to_thread(read_things, services)
        self._things = [self._entry(thing) for thing in things]
        self._things += await asyncio.to_thread(themes, self._shell)
        self._things += [*commands(self._shell), *await asyncio.to_thread(pages, self._shell)]
        self._draw()

    def _entry(self, thing: Thing) -> Entry:
        note = f"archived  {thing.note}" if thing.archived else thing.note
        go = partial(self._shell.open_place, thing.place)
        return Entry(thing.kind, thing.title, note, go, archived=thing.archived)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._texts = []
        self._draw()
        if len(event.value.strip()) >= _LEAST:
            self.run_worker(self._search(event.value.strip()), group="search", exclusive=True, exit_on_error=False)

    async def _search(self, words: str) -> None:
        """Look into texts, once nobody types any more."""
        await asyncio.sleep(_QUIET)
        kind, _, rest = words.partition(":")
        found = await asyncio.to_thread(search_texts, self._shell.services, rest.strip() if kind in _TEXTS else words)
        if self.is_attached and self.query_one(Input).value.strip() == words:
            self._texts = [
                entry
                for entry in map(self._entry, found)
                if not rest.strip() or entry.kind == kind or kind not in _TEXTS
            ]
            self._draw()

    def _draw(self) -> None:
        said = self.query_one(Input).value.strip()
        # A sign in front asks for what is archived, too.
        also, said = said.startswith("%"), said.removeprefix("%").lstrip()
        everything = [*self._actions, *(entry for entry in self._things if also or not entry.archived)]
        if also and not said:
            everything, said = [entry for entry in everything if entry.archived], "archived"
        if said:
            found = ranked(said, everything, lambda entry: entry.texts, self._recent)[:_MOST]
        else:
            lately = {name: place for place, name in enumerate(self._recent)}
            found = sorted((e for e in everything if e.name in lately), key=lambda e: -lately[e.name])[:5]
            found += [entry for entry in self._actions if entry.kind == "do" and entry not in found]
        # What has the words somewhere in its text comes behind what has them in its name.
        self._shown = [*found, *self._texts]
        kinds = max((len(entry.kind) for entry in self._shown), default=0)
        names = max((len(entry.title) for entry in found if entry.kind not in _TEXTS), default=0)
        self._longest = kinds, names, max((len(entry.key) for entry in self._shown), default=0)
        shown = self.query_one(LineList)
        shown.placeholder = "Nothing is found. % in front finds what is archived, too." if said else ""
        shown.show(len(self._shown), self._line_of)
        capped = any(sum(e.kind == kind for e in self._texts) >= MOST_TEXTS for kind in _TEXTS)
        more = "the best " if len(found) == _MOST else "the newest " if capped else ""
        keys = ("↑ ↓", "move"), ("enter", "choose"), ("esc", "leave"), ("%", "archived, too")
        self.query_one(KeysLine).show(*keys, told=f"{more}{len(self._shown)} found")
        self._tell()

    def _tell(self) -> None:
        """All that is said of the line under the cursor, which has less room in the list, and all its keys."""
        at = self.query_one(LineList).cursor
        told = Content("")
        if at < len(self._shown) and self._shown[at].kind not in _TEXTS:
            entry = self._shown[at]
            told = Content.assemble((entry.note, "$foreground"), ("   " + "  ".join(entry.keys), "$accent"))
        self.query_one("#palette-about", Static).update(told)

    def _line_of(self, index: int, width: int) -> Line:
        # Of several of a kind the first alone says which.
        above = self._shown[index - 1].kind if index else ""
        return _line(self._shown[index], width, self._longest, again=self._shown[index].kind == above)

    def action_step(self, step: int) -> None:
        """Move in the list while the field keeps the focus."""
        self.query_one(LineList).action_move(step)
        self._preview()

    def action_page(self, step: int) -> None:
        """A page of the list."""
        self.query_one(LineList).action_page(step)
        self._preview()

    def _preview(self) -> None:
        """A theme is seen as soon as the cursor is on it; elsewhere it is the one from before."""
        at = self.query_one(LineList).cursor
        entry = self._shown[at] if at < len(self._shown) else None
        wanted = entry.title if entry is not None and entry.kind == "theme" else self._theme
        if wanted != self._shell.theme and wanted in self._shell.available_themes:
            self._shell.theme = wanted
        self._tell()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        at = self.query_one(LineList).cursor
        if at < len(self._shown):
            self.dismiss(self._shown[at])

    def action_give_up(self) -> None:
        """Close without a choice."""
        if self._shell.theme != self._theme:
            self._shell.theme = self._theme
        self.dismiss(None)


async def follow(shell: Shell, entry: Entry | None) -> None:
    """Remember what was chosen, and do it."""
    if entry is None:
        return
    # Texts of traces are nobody's names, and are not kept a second time.
    if entry.kind not in _TEXTS:
        await asyncio.to_thread(shell.services.memory.add_line, "found", entry.name)
    done = entry.run()
    if isinstance(done, Awaitable):
        await done


def _line(entry: Entry, width: int, longest: tuple[int, int, int], *, again: bool) -> Line:
    kind, name = min(_KIND, longest[0] + _GAP), min(_NARROW_NAME if width < _NARROW else _NAME, longest[1])
    key = max(_KEY, longest[2])
    room = width - kind - key - _GAP - 1
    # Names stand below each other; a text has most of the line.
    title = room * 3 // 4 if entry.kind in _TEXTS else min(max(name, len(entry.title)), room * 3 // 5)
    return [
        (fit("" if again else entry.kind, kind), "accent" if entry.kind in {"do", "go"} else "muted"),
        (fit(entry.title, title) + " " * _GAP, "plain"),
        (fit(entry.note, max(0, room - title - _GAP)) + " " * _GAP, "muted"),
        (fit(entry.key, key), "accent"),
    ]
