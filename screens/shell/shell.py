"""The shell: the app's interface to screens, panes and flows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import RenderableType
from textual import events, on
from textual.screen import Screen
from textual.widget import AwaitMount
from textual.worker import NoActiveWorker, Worker, WorkerState, get_current_worker

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.system_errors import explain_system_error
from screens.frame_delta import FrameDelta
from screens.keymap import textual_keymap
from screens.navigation import Destination, Navigation, kept_place
from screens.services import Services
from screens.shell.key_queue import KeyQueue, Typed
from screens.shell.notices import was_read
from screens.shell.running_jobs import RunningJobs
from screens.shell.status_line import Status, StatusLine
from screens.shell.tab_line import TabLine
from screens.shell.telling import TellingApp
from screens.shell.workspace_status import workspace_status
from screens.textual_caches import keep_parsed
from screens.widgets.dialogs import ChoiceDialog
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.settings import Settings
    from screens.terminal import TerminalProfile
    from screens.widgets.pixel_canvas import PictureTerminal

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Shell(TellingApp):
    """Services, notices, failures, dialogs and the way to other places.

    Attributes:
        services: the engine.
        profile: what the terminal can do.
        user_keymap: the user's own keys, by action id.
        status: what the status line tells.
        running: the jobs at work, as whoever read them last knows them.
        navigation: the way to a thing on any screen, and back.
        keys: what was typed and is not delivered yet.
        last_input: when the last key or move of the mouse came, as :func:`time.monotonic` tells.
        unfinished: what quitting would cut short, in words; empty where nothing would be lost.
    """

    def __init__(self, services: Services, profile: TerminalProfile, keymap: dict[str, str]) -> None:
        super().__init__()
        keep_parsed(self.stylesheet)
        self._delta = FrameDelta(erases=profile.erases_in_colour, pictures=profile.pictures)
        self._drawn_anew = 0
        # Whether a frame was made while updates were held back.
        self._undrawn = False
        self.services = services
        self.profile = profile
        self.user_keymap = keymap
        self.status = Status(workspace=services.workspace.name, workspace_status=workspace_status(services.workspace))
        self.running = RunningJobs()
        self.navigation = Navigation(self)
        self.keys = KeyQueue(self, self._deliver_typed, keymap)
        self.unfinished = ""
        self.last_input = time.monotonic()

    async def on_event(self, event: events.Event) -> None:
        """As Textual's, but that keys and pasted text wait for their screen, and that alt and a letter is a key.

        Terminals send it as that letter, and an editor would write it.
        """
        if isinstance(event, events.InputEvent | events.Paste):
            self.last_input = time.monotonic()
        if isinstance(event, Typed) and not event.is_forwarded:
            if isinstance(event, events.Key) and event.key.startswith("alt+"):
                event.character = None
            await self.keys.take(event)
        else:
            await super().on_event(event)
            if isinstance(event, events.CursorPosition):
                self._delta.answered(event.x, event.y)
            if isinstance(event, events.Resize):
                # Also one to the size that we know: it had another one between, or somebody else's program was on it.
                self.redraw()

    def redraw(self) -> None:
        """Write the whole frame: the terminal may show something else than what was written to it."""
        if self._delta.has_begun:
            self._delta.forget()
            self._drawn_anew += 1
            self.screen.refresh()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """As Textual's, but that what the terminal shows already is not written again."""
        self._undrawn = self._undrawn or (renderable is not None and bool(self._batch_count))
        super()._display(screen, self._delta.of(renderable))

    def _end_batch(self) -> None:
        """As Textual's, but that what changed while nothing was written is written now.

        Textual takes such a part of a frame for drawn, and leaves the terminal as it was there.
        """
        super()._end_batch()
        if self._undrawn and not self._batch_count:
            self._undrawn = False
            self.screen.refresh()

    def _load_screen_css(self, screen: Screen[Any]) -> None:
        """As Textual's, but that nothing is parsed again, and nothing styled but this screen.

        A sheet of a screen holds below it alone, and that of dialogs in dialogs alone.
        """
        new = [path for path in screen.css_path if not self.stylesheet.has_source(str(path), "")]
        if screen.CSS or self.css_monitor is not None:
            super()._load_screen_css(screen)
        elif new:
            self.stylesheet.read_all(new)
            self.stylesheet.parse()
            self.stylesheet.update(screen)

    async def _deliver_typed(self, event: Typed) -> None:
        taken = isinstance(event, events.Key) and isinstance(self.screen, Modal) and self.screen.take_key(event)
        if not taken:
            await super().on_event(event)

    def use_keymap(self, keymap: dict[str, str]) -> None:
        """Other keys from now on: footer, help, palette and the actions themselves."""
        self.user_keymap = keymap
        self.keys.learn(keymap)
        self.set_keymap(textual_keymap(keymap))

    # ── what is told ──

    def switch_mode(self, mode: str) -> AwaitMount:
        """As Textual's, but that what was told of the screen one leaves, and was read, does not cover the next; failures stay."""
        if mode != self.current_mode:
            self.unsay(was_read)
        return super().switch_mode(mode)

    def report(self, error: LlmopsError) -> None:
        """Show a failure: what happened, and what to do next."""
        if error.code == "closing":
            return
        _log.warning("%s: %s", error.code, error.message)
        told, title = safe_line(error.told), "Failed"
        # What fails again and again, such as a look once a second, is told once and covers nothing more.
        if not self.is_told(f"{title}: {told}"):
            self.say(told, title=title, severity="error", seconds=12.0)

    @on(Worker.StateChanged)
    def worker_failed(self, event: Worker.StateChanged) -> None:
        """Every failure of a worker ends here; screens and panes pass on that of theirs, which does not bubble."""
        if event.state == WorkerState.ERROR and event.worker.error is not None:
            error = event.worker.error
            _log.error("worker %s failed", event.worker.name, exc_info=error)
            self.report(
                explain_system_error(error)
                or LlmopsError("internal", f"{type(error).__name__}: {error}", "The log folder has the details.")
            )

    def show_status(self, status: Status) -> None:
        """A new status, drawn by the screen that is in front; one that is just being made gets the next."""
        self.status = status
        # Each second: a query would look at all widgets of the screen.
        for line in self.screen.children:
            if isinstance(line, StatusLine) and line.children:
                line.show(status)
            elif isinstance(line, TabLine):
                line.show(status.badges)

    def show_jobs(self, jobs: Iterable[Job], *, complete: bool = False) -> None:
        """Jobs as somebody just read them to show how far they are: the status line tells the same of them.

        With ``complete``, no other job is at work.
        """
        self.running.take(jobs, complete=complete)
        status = replace(self.status, **self.running.told())
        if status != self.status:
            self.show_status(status)

    # ── what is asked ──

    async def ask(self, dialog: Modal[Answer]) -> Answer | None:
        """A dialog's answer, none where it was left. For flows: what waits must run as a worker.

        What is archived is not offered, unless it is asked for. What is typed behind the answer waits for the next dialog
        of the same flow, or for its end.
        """
        if isinstance(dialog, ChoiceDialog) and dialog.kinds:
            dialog.leave_out(await asyncio.to_thread(self.services.archive.by_kind))
        # As push_screen_wait, but that one is told when the dialog is in front.
        await self._flush_next_callbacks()
        answer = self.push_screen(dialog, wait_for_dismiss=True)
        flow = get_current_worker()
        waited = self.keys.expect_no_more(flow)
        try:
            return await asyncio.shield(answer)
        finally:
            if waited:
                self.keys.expect(flow, another=True)

    def works_on(self) -> None:
        """Said by a flow whose next dialog, where it has one, is far off: keys are for what is in front meanwhile."""
        with suppress(NoActiveWorker):
            self.keys.expect_no_more(get_current_worker())

    def open_palette(self, said: str = "") -> None:
        """The palette, with what is asked for already."""

    def open_command_line(self, begun: str = "") -> None:
        """The command line, with what is written of a command already."""

    def copy_text(self, name: str, text: str) -> None:
        """Copy a text, and say which way it went."""

    def open_place(self, place: Destination) -> None:
        """Go to a place, after what is being done now."""
        self.keys.hold()
        self.call_next(self._open, place)

    async def _open(self, place: Destination) -> None:
        try:
            await self.navigation.open(place)
        finally:
            self.keys.release()

    def note_place(self) -> None:
        """Remember where one is, for the next start. Blocks for a moment; whoever leaves does not notice."""
        self.services.memory.put("place", "last", kept_place(self.navigation.here()))

    # ── settings, and the terminal ──

    def choose_theme(self, name: str) -> None:
        """Change the colours, and keep the choice."""
        self.theme = name
        self.keep_settings(self.services.settings.model_copy(update={"theme": name}))

    def keep_settings(self, settings: Settings) -> None:
        """Use settings from now on, and write them."""
        from llmops_tui.settings import save_settings

        try:
            if (former := save_settings(settings)) is not None:
                self.say(f"The settings file had invalid settings; it is kept as {former}", severity="warning")
        except OSError as error:
            self.report(LlmopsError("settings_unwritable", f"the settings cannot be written: {error}"))
        self.services.settings = settings

    def picture_terminal(self) -> PictureTerminal | None:
        """The terminal, where it shows pictures in its cells and the user wants them."""
        from screens.widgets.pixel_canvas import PictureTerminal

        writer = self.terminal_writer()
        if writer is None or not self._delta.shows_pictures or self.services.settings.charts != "auto":
            return None
        colours = self.theme_variables
        return PictureTerminal(writer, lambda style: colours.get(style.removeprefix("$"), style), self._drawn_anew)

    def terminal_writer(self) -> Callable[[str], None] | None:
        """What writes a sequence to the terminal, or none where there is no terminal."""
        driver = self._driver
        return driver.write if driver is not None and not driver.is_headless else None
