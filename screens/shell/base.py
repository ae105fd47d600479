"""The base of all screens: tabs, body, status line, footer, small-terminal notice, help and copying."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Static

from screens.navigation import PlaceScreen
from screens.services import Services
from screens.shell import pane_layout
from screens.shell.archive import archive, show_archive
from screens.shell.hidden_panes import hidden_panes, is_seen, key_for, marks_of
from screens.shell.key_line import KeyLine
from screens.shell.node import ShellNode
from screens.shell.pane import Pane
from screens.shell.status_line import StatusLine
from screens.shell.tab_line import TabLine
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.arrangement import Arrangement
from screens.widgets.panel import Panel
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.maintenance.acts import Act
    from screens.terminal import TerminalProfile

MIN_WIDTH, MIN_HEIGHT = 60, 16
_QUIET = 0.4
_ALONE = "This pane has no other beside it that could give or take room."


class BaseScreen(PlaceScreen, ShellNode):
    """A screen of the app. Subclasses give ``scope``, ``about`` and :meth:`compose_body`."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (160, "-wide")]  # noqa: RUF012  declared so by Textual
    scope: ClassVar[str] = ""
    about: ClassVar[str] = ""
    tab: ClassVar[str] = ""
    """The screen whose tab is in front, where this one has none of its own."""

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__()
        self._services = services
        self.profile = profile
        # For which width the panes are laid out.
        self._laid_out = ""
        # What the app was like when all of this was styled.
        self._styled_for: object = None
        self.shows_archived = False

    @property
    def services(self) -> Services:
        """The engine."""
        return self._services

    def compose(self) -> ComposeResult:
        """The common frame around the body."""
        yield TabLine(self.tab or self.scope, utf8=self.profile.utf8)
        with Container(id="body"):
            yield from self.compose_body()
        yield Static("", id="too-small", markup=False)
        yield StatusLine(utf8=self.profile.utf8)
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """What the screen is made of."""
        yield from ()

    def expect_width(self, width: int) -> None:
        """Take the classes of a width before the screen is drawn, so that it is not styled again when it is."""
        self.add_class([name for least, name in self.HORIZONTAL_BREAKPOINTS if width >= least][-1])

    def on_resize(self, event: events.Resize) -> None:
        """Say so where the terminal is too small, instead of drawing what cannot be read."""
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        self.set_class(small, "-too-small")
        if self._laid_out not in ("", self._panes_name):
            self.act("remembered", self._restore_panes)
            if (panel := self.focused_panel()) is not None:
                self.call_after_refresh(self._keep_seen, panel)
        self._laid_out = self._panes_name
        if small:
            text = f"{event.size.width}×{event.size.height} is too small.\nllmops needs {MIN_WIDTH}×{MIN_HEIGHT}."
            self.query_one("#too-small", Static).update(text)

    def _on_timer_update(self) -> None:
        """As Textual's, but that a screen which is laid out and drawn anew is one frame.

        Textual writes what the layout moved, between parts of what was in front before, and then the whole screen.
        """
        begins = self.is_current and not self.app._batch_count  # noqa: SLF001  as Textual's own asks
        if begins and self._repaint_required and (self._layout_required or self._scroll_required):
            self._compositor._dirty_regions.add(self.size.region)  # noqa: SLF001  by which it draws all
            self._repaint_required = False
        super()._on_timer_update()

    @on(events.ScreenResume)
    def _keep_styles(self, event: events.ScreenResume) -> None:
        """Have nothing styled anew that is styled for what the app is like: that is a quarter of a change of screen.

        What changes on a screen behind another is styled at once, as everywhere.
        """
        app = self.app
        likeness = (app._css_update_count, frozenset(app.classes), frozenset(app.pseudo_classes), app.size)  # noqa: SLF001
        event.refresh_styles = event.refresh_styles and likeness != self._styled_for
        self._styled_for = likeness

    def on_screen_resume(self) -> None:
        """What the status became while another screen was in front."""
        self.shell.show_status(self.shell.status)
        self.act("archive", self.show_archive)

    def action_archive(self) -> None:
        """Put away what is under the cursor, or selected; or take it back."""
        self.act("archive", self._archive)

    async def _archive(self) -> None:
        if await archive(self.shell, self.focused):
            await self.show_archive()

    async def show_archive(self) -> None:
        """Have the lists leave out what is put away, or show it."""
        await show_archive(self.services, list(self.query(ArchiveTable)), shows=self.shows_archived)

    def action_show_archived(self) -> None:
        """Show what is put away in the lists of this screen, or leave it out again."""
        self.shows_archived = not self.shows_archived
        self.act("archive", self.show_archive)
        self.shell.say(f"What is archived is {'shown, pale' if self.shows_archived else 'left out'}.")

    # ── as somebody left it ──

    def on_mount(self) -> None:
        """Lay out tables and panes as they were left."""
        self.screen_layout_refresh_signal.subscribe(self, self._tell_hidden, immediate=True)
        self.act("remembered", self._restore_remembered)

    def _tell_hidden(self, _screen: object) -> None:
        key = key_for(self.app, self.shell.user_keymap, maximised=self.has_class("-maximised"))
        for line in self.children:
            if isinstance(line, StatusLine) and line.children:
                line.tell_hidden(list(marks_of(hidden_panes(self._body), key)))

    def _keep_seen(self, panel: Panel) -> None:
        """The pane that had the focus is seen and keeps it in another size, too."""
        if not is_seen(panel):
            self.reveal(panel)
            self.call_after_refresh(panel.focus_inside)

    async def _restore_remembered(self) -> None:
        names = {table: f"{self.scope}.{table.id}" for table in self.query(Table)}
        # In a thread from the first import on: the first frame waits for none of it.
        kept = await asyncio.to_thread(lambda: [self.services.memory.get("tables", name) for name in names.values()])
        for table, arrangement in zip(names, kept, strict=True):
            if arrangement is not None:
                table.restore(Arrangement.from_json(arrangement))
        await self._restore_panes()

    async def _restore_panes(self) -> None:
        name = self._panes_name
        kept = await asyncio.to_thread(lambda: self.services.memory.get("panes", name))
        if name == self._panes_name and (kept is not None or pane_layout.layout_of(self._body)):
            pane_layout.restore(self._body, kept)

    @property
    def _body(self) -> Container:
        return self.query_one("#body", Container)

    @property
    def _panes_name(self) -> str:
        """Panes are laid out for a width: narrow, medium or wide."""
        return self.scope + [name for least, name in self.HORIZONTAL_BREAKPOINTS if self.app.size.width >= least][-1]

    @on(Table.Arranged)
    def _arranged(self, event: Table.Arranged) -> None:
        self.act(
            "remember", self._remember, "tables", f"{self.scope}.{event.table.id}", event.table.arrangement.as_json()
        )

    async def _remember(self, section: str, name: str, value: object) -> None:
        # A filter is typed letter by letter.
        await asyncio.sleep(_QUIET)
        await asyncio.to_thread(lambda: self.services.memory.put(section, name, value))

    def action_enlarge(self) -> None:
        """Make the pane that has the focus larger."""
        self._change_panes(lambda panel: pane_layout.resize(panel, 1), _ALONE)

    def action_reduce(self) -> None:
        """Make the pane that has the focus smaller."""
        self._change_panes(lambda panel: pane_layout.resize(panel, -1), _ALONE)

    def action_fold(self) -> None:
        """Fold the pane that has the focus."""
        self._change_panes(pane_layout.fold, "It is the only pane here; F fills the terminal with one.")

    def action_reset_panes(self) -> None:
        """The panes as they are at first."""
        pane_layout.restore(self._body, None)
        self._keep_panes()

    def _change_panes(self, change: Callable[[Panel], bool], otherwise: str) -> None:
        panel = self.focused_panel()
        if panel is not None and not self.has_class("-maximised") and change(panel):
            self._keep_panes()
        else:
            self.shell.say(otherwise, severity="warning")

    def _keep_panes(self) -> None:
        self.act("remember-panes", self._remember, "panes", self._panes_name, pane_layout.layout_of(self._body) or None)

    def focused_panel(self) -> Panel | None:
        """The pane that has the focus."""
        widget: Widget | None = self.focused
        while widget is not None and not isinstance(widget, Panel):
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        return widget

    def toggle_maximised(self) -> None:
        """Fill the terminal with the pane that has the focus, and back."""
        panel = self.focused_panel()
        if self.has_class("-maximised"):
            self.remove_class("-maximised")
            self.query(".-filling").remove_class("-filling")
        elif panel is not None:
            self.add_class("-maximised")
            for filling in (panel, *(a for a in panel.ancestors if a.has_class("column"))):
                filling.add_class("-filling")

    def reveal(self, panel: Panel) -> None:
        """Make a folded pane visible before it gets the focus."""

    def close_sidebar(self) -> bool:
        """Fold the left column where it is unfolded over the rest; whether it was, which it never is on a wide terminal."""
        open_ = self.has_class("-narrow") and self.has_class("-sidebar")
        self.remove_class("-sidebar")
        return open_

    @property
    def reading(self) -> bool:
        """Whether what it shows is still being read, so that it has nothing to copy yet."""
        return False

    def copy_choices(self) -> list[tuple[str, str]]:
        """What can be copied here, as (name, text); the first is what one press copies."""
        return []

    def cli_command(self) -> str:
        """The command that does what this screen would do now."""
        return ""

    def lineage_subject(self) -> str:
        """The thing under the cursor, by a name, an id or a hash that lineage knows; nothing where there is none."""
        return ""

    async def undone(self, act: Act) -> None:
        """An act was taken back, or done again: read what it changed."""

    async def action_in_pane(self, pane: str, name: str) -> None:
        """Do what lives in a pane, wherever on the screen the focus is."""
        await self.app.run_action(name, default_namespace=self.query_one(f"#{pane}", Pane))
