"""The application: screens as modes, the global actions, and the one place where errors are shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import ClassVar

from textual import on
from textual.binding import Binding
from textual.events import DescendantFocus
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widgets import Input, TextArea

from llmops_tui.workspace.layout import Workspace
from screens import terminal
from screens.actions import SCREEN_KEYS, bindings_of
from screens.frame_filter import FrameFilter
from screens.navigation import Destination, ScreenPlace
from screens.opening import Opening
from screens.services import Services
from screens.shell import pane_layout
from screens.shell.base import BaseScreen
from screens.shell.copy_menu import Copier
from screens.shell.snippet_actions import SnippetActions
from screens.shell.status_line import StatusPart
from screens.shell.tab_line import TabLine
from screens.theme import ANSI_DEFAULTS, DEFAULT_THEME, THEMES, VARIABLE_DEFAULTS
from screens.widgets.panel import Panel

_STATUS_PLACES = {
    "model": "models", "gpu": "monitor", "cpu": "monitor", "jobs": "jobs", "alerts": "monitor", "workspace": "home",
}  # fmt: skip


class LlmopsApp(Opening, SnippetActions):
    """The face of one workspace."""

    # The style sheet of the first screen is read with that of the app: reading it later parses everything again.
    CSS_PATH = ["app.tcss", "playground/screen.tcss"]  # noqa: RUF012  declared so by Textual
    TITLE = "llmops"
    COMMANDS: ClassVar = set()
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Binding]] = bindings_of("app")  # type: ignore[assignment]  # narrower than the base allows
    DEFAULT_MODE = "playground"

    def __init__(
        self,
        workspace: Workspace,
        *,
        theme: str = DEFAULT_THEME,
        profile: terminal.TerminalProfile | None = None,
        keymap: dict[str, str] | None = None,
        problems: list[str] | None = None,
        services: Services | None = None,
        start: Destination | None = None,
        tour: bool = False,
    ) -> None:
        if start is not None and start.screen in SCREEN_KEYS.values():
            # The first frame is of the screen that was in front when the app was left.
            self.DEFAULT_MODE = start.screen  # type: ignore[misc]  # Textual reads it of the app
        self._start, self._tours = start, tour
        super().__init__(services or Services(workspace), profile or terminal.detect(), keymap or {})
        self._problems, self._copier = problems or [], Copier(self)
        self._frame_filter = FrameFilter(utf8=self.profile.utf8)
        for own in THEMES:
            self.register_theme(own)
        if theme not in self.available_themes:
            from screens.plugin_themes import register_plugin_themes

            register_plugin_themes(self)
        known = theme in self.available_themes
        # Without its watcher, which would have everything styled twice: the app styles itself when it starts.
        self.set_reactive(LlmopsApp.theme, theme if known else DEFAULT_THEME)
        self.stylesheet.set_variables(self.get_css_variables())
        if not known:
            from screens.plugin_themes import missing_theme

            self._problems.append(f"{missing_theme(theme)}; {DEFAULT_THEME} is used.")
        without_a_tab = ("compare", "chat", "retrieval", "chains", "improvement")
        for name in (*SCREEN_KEYS.values(), *without_a_tab):
            self.add_mode(name, self._factory(name))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Variables of our own that themes from elsewhere do not know."""
        theme = self.available_themes.get(self.theme)
        return ANSI_DEFAULTS if theme is not None and theme.ansi else VARIABLE_DEFAULTS

    def get_line_filters(self) -> list[LineFilter]:
        """Textual's filters, and last of all the one that keeps frames harmless."""
        return [*super().get_line_filters(), self._frame_filter]

    def on_mount(self) -> None:
        """Keys, and what has to be told at once."""
        self.use_keymap(self.user_keymap)
        for problem in self._problems:
            self.say(problem, severity="warning")
        from screens.shell.background_tasks import begin

        begin(self)
        if self._start is not None:
            self.open_place(self._start)
        if self._tours:
            self.call_after_refresh(self.action_tour_next)

    def _factory(self, name: str) -> Callable[[], Screen[None]]:
        """A screen is imported when it is first shown."""

        def make() -> Screen[None]:
            screen: BaseScreen = import_module(f"screens.{name}.screen").make(self.services, self.profile)
            screen.expect_width(self.size.width)
            # It is styled with the variables of now when it is mounted: no reason to parse all sheets once more.
            screen._css_update_count = self._css_update_count  # noqa: SLF001  as Textual does behind that
            return screen

        return make

    @on(DescendantFocus)
    def _still_cursor(self, event: DescendantFocus) -> None:
        """Cursors do not blink: a blink costs bytes over SSH and processor time everywhere, and tells nothing."""
        if isinstance(event.widget, (Input, TextArea)):
            event.widget.cursor_blink = False

    # ── actions that hold everywhere ──

    def _current(self) -> BaseScreen | None:
        return self.screen if isinstance(self.screen, BaseScreen) else None

    def action_help(self) -> None:
        """Help about where the focus is."""
        from screens.shell.help import HelpScreen, Topic

        screen = self._current()
        if screen is not None:
            topic = Topic(screen.scope, screen.about, screen.focused_panel(), screen.cli_command())
            self.push_screen(HelpScreen(topic, self.user_keymap))

    def action_jump(self) -> None:
        """Jump mode."""
        from screens.shell.jump import COPY_KEY, JumpScreen

        screen = self._current()
        if screen is None:
            return

        def land(key: str | None) -> None:
            if key == COPY_KEY:
                self._copier.copy(screen.copy_choices()[:1])  # what the line named
            elif key in SCREEN_KEYS:
                self.delay_update()  # the frame without letters
                self.go_to_screen(SCREEN_KEYS[key])
            for panel in screen.query(Panel):
                if panel.jump_key == key:
                    screen.reveal(panel)
                    pane_layout.unfold(panel)
                    self.keys.hold()
                    self.call_after_refresh(focus, panel)

        def focus(panel: Panel) -> None:
            panel.focus_inside()
            self.call_later(self.keys.release)  # behind what gives the focus

        copied = next((name for name, _ in screen.copy_choices()), "")
        self.push_screen(JumpScreen([*screen.query(Panel)], SCREEN_KEYS, copied), land)

    def action_palette(self) -> None:
        """The palette."""
        self.open_palette()

    def open_palette(self, said: str = "") -> None:
        """The palette, with what is asked for already."""
        from screens.shell.palette import Palette, follow

        screen = self._current()
        if screen is not None:
            here = partial(self.run_action, default_namespace=screen)
            # At once, so that what is typed behind the key is typed into it.
            self.push_screen(
                Palette(self, screen.scope, here, said), lambda entry: screen.act("palette", follow, self, entry)
            )

    def action_command_line(self) -> None:
        """The command line."""
        self.open_command_line()

    def open_command_line(self, begun: str = "") -> None:
        """The command line, with what is written of a command already."""
        from screens.shell.command_screen import CommandScreen

        if self._current() is not None:
            self.push_screen(CommandScreen(self, begun))

    def copy_text(self, name: str, text: str) -> None:
        """Copy a text, and say which way it went."""
        self._copier.copy([(name, text)])

    def action_maximise(self) -> None:
        """Fill the terminal with the pane that has the focus, and back."""
        screen = self._current()
        if screen is not None:
            screen.toggle_maximised()

    def action_trust(self) -> None:
        """What this workspace is or would be allowed, and the word that allows it."""
        from screens.shell.trust_dialog import ask_for_trust

        screen = self._current()
        if screen is not None:
            screen.ask_by("trust", ask_for_trust, self)

    def action_copy(self) -> None:
        """Copy; pressed again at once, choose what."""
        screen = self._current()
        if screen is not None:
            self._copier.copy([] if screen.reading else screen.copy_choices(), reading=screen.reading)

    def action_command(self) -> None:
        """Show and copy the command that does the same."""
        screen = self._current()
        if screen is not None:
            self._copier.copy_command(screen.cli_command(), reading=screen.reading)

    def action_lineage(self) -> None:
        """Where the thing under the cursor came from, and what was made of it."""
        screen = self._current()
        subject = screen.lineage_subject() if screen is not None else ""
        if subject:
            from screens.shell.lineage_screen import LineageScreen

            self.push_screen(LineageScreen(self.services, subject, utf8=self.profile.utf8))
        else:
            self.say("The item under the cursor has no lineage.", severity="warning")

    async def action_undo(self) -> None:
        """Take back what was done last."""
        from screens.shell.undo import step

        await step(self, undo=True)

    async def action_redo(self) -> None:
        """Do again what was taken back last."""
        from screens.shell.undo import step

        await step(self, undo=False)

    def action_history(self) -> None:
        """What was done, to take back more than one."""
        from screens.shell.undo import show_history

        screen = self._current()
        if screen is not None:
            screen.ask_by("history", show_history, self)

    def action_quit_app(self) -> None:
        """Leave; asks where something would be cut short."""
        from screens.widgets.dialogs import ConfirmDialog

        if not (self.unfinished and self.services.settings.confirm_quit):
            self._leave()
            return
        asked = ConfirmDialog(self.unfinished, "Quit and stop it? Its text so far is kept.")
        self.push_screen(asked, lambda yes: self._leave() if yes else None)

    def _leave(self) -> None:
        self.note_place()
        self.exit(0)

    # ── going ──

    def go_to_screen(self, name: str) -> None:
        """Go to a screen, as it stands."""
        self.open_place(ScreenPlace(name))

    async def action_go(self, name: str) -> None:
        """Go to a screen."""
        await self.navigation.open(ScreenPlace(name))

    async def action_place_back(self) -> None:
        """Go to the place before."""
        if not await self.navigation.back():
            self.say("There is no previous place.", severity="warning")

    async def action_place_forward(self) -> None:
        """Go again to the place one came back from."""
        if not await self.navigation.forward():
            self.say("There is no next place: [ goes back first.", severity="warning")

    @on(TabLine.Chosen)
    def _tab_chosen(self, event: TabLine.Chosen) -> None:
        self.go_to_screen(event.name)

    @on(StatusPart.Chosen)
    def _status_chosen(self, event: StatusPart.Chosen) -> None:
        if event.place == "trust":
            self.action_trust()
        elif (place := _STATUS_PLACES.get(event.place)) is not None:
            self.go_to_screen(place)
