"""The palette: finds actions, and the things of the workspace, by what is typed; one line each, the best first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llmops_tui.safe_text import safe_line
from screens.action import Action
from screens.actions import ACTIONS
from screens.navigation import ScreenPlace
from screens.shell.help import show_keys
from screens.shell.ranking import ranked
from screens.shell.shell import Shell
from screens.shell.things import Thing, read_things, search_texts
from screens.theme import THEMES
from screens.widgets.columns import fit
from screens.widgets.fields import Field
from screens.widgets.line_list import Line, LineList
from screens.widgets.modal import Modal

_MOST = 200
# The most that kinds and names take; fewer where those that are found are shorter.
_KIND, _NAME = 15, 24
# Cells of the keys, which stand in two columns; what is longer is told by help.
_KEYS, _FIRST_KEY = 16, 9
# In fewer cells than these names are narrower, and one key is enough.
_NARROW, _NARROW_NAME = 80, 16
_OWN = frozenset(theme.name for theme in THEMES)
_TEXTS = frozenset({"trace", "case"})
# Letters from which texts of traces and cases are searched, and the seconds without a key before.
_LEAST, _QUIET = 3, 0.25
Run = Callable[[], Awaitable[object] | object]
# How an action is done where the palette was opened, by its name.
Here = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Entry:
    """A line: what it is, its name, what is said of it, its keys, and what happens when it is chosen."""

    kind: str
    title: str
    note: str
    run: Run
    keys: str = ""
    archived: bool = False

    @property
    def texts(self) -> tuple[str, str, str]:
        """What is searched."""
        return self.title, self.kind, self.note

    @property
    def name(self) -> str:
        """How it is remembered."""
        return f"{self.kind} {self.title}"


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
        self._actions = _actions(shell, scope, here)
        self._things: list[Entry] = []
        self._texts: list[Entry] = []
        self._recent: list[str] = []
        self._shown: list[Entry] = []
        # Cells of the longest kind and the longest name that are shown.
        self._longest = (0, 0)

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
            yield Static("", id="palette-ways", markup=False)

    def on_mount(self) -> None:
        """Actions at once; things when they are read."""
        self._draw()
        self.run_worker(self._read(), group="palette", exit_on_error=False)

    async def _read(self) -> None:
        services = self._shell.services
        self._recent = await asyncio.to_thread(services.memory.lines, "found")
        things = await asyncio.to_thread(read_things, services)
        self._things = [self._entry(thing) for thing in things]
        self._things += await asyncio.to_thread(_themes, self._shell)
        self._things += [*_commands(self._shell), *await asyncio.to_thread(_pages, self._shell)]
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
        self._longest = kinds, max((len(entry.title) for entry in found if entry.kind not in _TEXTS), default=0)
        shown = self.query_one(LineList)
        shown.placeholder = "Nothing is found. % in front finds what is archived, too." if said else ""
        shown.show(len(self._shown), self._line_of)
        more = "the best " if len(found) == _MOST else ""
        ways = f"{more}{len(self._shown)} found   ↑ ↓ move   enter does it   esc leaves   % archived, too"
        self.query_one("#palette-ways", Static).update(Content.styled(ways, "$muted"))

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


def _line(entry: Entry, width: int, longest: tuple[int, int], *, again: bool) -> Line:
    narrow = width < _NARROW
    keys, name = (_FIRST_KEY, _NARROW_NAME) if narrow else (_KEYS, _NAME)
    kind, name = min(_KIND, longest[0] + 2), min(name, longest[1])
    room = width - kind - keys - 3
    # Names stand below each other; a text has most of the line.
    title = room * 3 // 4 if entry.kind in _TEXTS else min(max(name, len(entry.title)), room * 3 // 5)
    return [
        (fit("" if again else entry.kind, kind), "accent" if entry.kind in {"do", "go"} else "muted"),
        (fit(entry.title, title) + "  ", "plain"),
        (fit(entry.note, max(0, room - title - 1)) + "  ", "muted"),
        (fit(entry.keys.split(maxsplit=1)[0] if narrow and entry.keys else entry.keys, keys), "accent"),
    ]


def _actions(shell: Shell, scope: str, here: Here) -> list[Entry]:
    """What can be done here, and on other screens, to which the choice leads."""
    found = []
    for action in sorted(ACTIONS, key=lambda action: action.scope != scope):
        if action.scope == "app" and not action.call and not shell.check_action(action.name, ()):
            continue
        first, *others = show_keys(action, shell.user_keymap).split("  ")
        keys = f"{first:<{_FIRST_KEY}} {others[0]}" if others else first
        if action.scope in {scope, "app"}:
            kind = "go" if action.call.startswith("app.go") else "do"
            run: Run = partial(here, action.target)
            found.append(Entry(kind, action.title, action.help, run, keys))
        else:
            found.append(_elsewhere(shell, action, keys))
    return found


def _elsewhere(shell: Shell, action: Action, keys: str) -> Entry:
    key = keys.split(maxsplit=1)[0]

    def go() -> None:
        shell.open_place(ScreenPlace(action.scope))
        shell.say(f"{action.title}: {key} here. {action.help}")

    return Entry(f"on {action.scope}", action.title, action.help, go, keys)


def _themes(shell: Shell) -> list[Entry]:
    """Those of installed packages are looked for first; blocks."""
    from llmops_tui.themes import PLUGINS
    from screens.plugin_themes import register_plugin_themes

    PLUGINS.all()
    register_plugin_themes(shell)
    return [
        Entry("theme", safe_line(name), "", partial(shell.choose_theme, name))
        for name in sorted(shell.available_themes, key=lambda name: (name not in _OWN, name))
    ]


def _commands(shell: Shell) -> list[Entry]:
    """The nouns of the command line, which the choice begins to write."""
    from llmops_tui.cli.commands import COMMANDS

    return [
        Entry("command", name, command.help, partial(shell.open_command_line, f"{name} "))
        for name, command in COMMANDS.items()
    ]


def _pages(shell: Shell) -> list[Entry]:
    """The pages of the documentation, where it is on this machine: in a checkout it is, in an installed package not."""
    from screens.shell.docs_page import DocsPage, read_pages

    return [
        Entry("docs", safe_line(page.title), safe_line(page.about), partial(shell.push_screen, DocsPage(page.path)))
        for page in read_pages()
    ]
