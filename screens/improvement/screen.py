"""Improvements above their candidates at the left; verdict, change or sealed rows at the right."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.improvement.candidates_pane import CandidatesPane
from screens.improvement.detail_pane import DetailPane
from screens.improvement.list_pane import ListPane
from screens.navigation import Destination, ImprovementsPlace, PromptPlace, ScreenPlace
from screens.shell.live_screen import LiveScreen

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> ImprovementScreen:
    """Make the screen."""
    return ImprovementScreen(services, profile)


class ImprovementScreen(LiveScreen):
    """Three panes; what is at work is read each second."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("improvement")  # type: ignore[assignment]
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#improvement-table"
    scope = "improvement"
    tab = "playground"
    opens = (ImprovementsPlace,)
    about = (
        "Better prompts, found by measuring. A model proposes instructions, rows become examples; candidates race on one part of "
        "the rows, and the best is held against the seed on sealed rows that nothing was chosen by. Only those say whether it "
        "is better; they are looked at once."
    )

    def compose_body(self) -> ComposeResult:
        """Three panes."""
        with Horizontal(id="columns"):
            with Vertical(classes="column"):
                yield ListPane()
                yield CandidatesPane()
            yield DetailPane()

    @property
    def _list(self) -> ListPane:
        return self.query_one(ListPane)

    async def refresh_all(self, select: str = "") -> None:
        """Read the improvements, and what the one under the cursor has found."""
        await self._list.load(select)
        await self._show()

    async def _show(self) -> None:
        current = self._list.current
        found = await self._list.found()
        self.query_one(CandidatesPane).show(found)
        await self.query_one(DetailPane).show(current, found, self.query_one(CandidatesPane).current)

    @on(ListPane.CursorMoved)
    @on(ListPane.Changed)
    @on(CandidatesPane.CursorMoved)
    def _moved(self) -> None:
        self.act("show", self._show)

    @on(CandidatesPane.Changed)
    def _promoted(self) -> None:
        self.query_one(DetailPane).forget()
        self._moved()

    def action_look(self) -> None:
        """Read all again."""
        self.act("load", self.refresh_all)

    def action_leave(self) -> None:
        """Leave a filled pane, then go back."""
        if self.has_class("-maximised"):
            self.toggle_maximised()
        else:
            self.act("back", self._back)

    async def _back(self) -> None:
        if not await self.shell.navigation.back():
            self.shell.open_place(ScreenPlace("playground"))

    # ── places ──

    async def go_to(self, destination: Destination) -> None:
        """Show the improvements of a prompt, of all where none is named."""
        if isinstance(destination, ImprovementsPlace):
            self._list.prompt = destination.prompt
            self.act("load", self.refresh_all)

    def place(self) -> ImprovementsPlace:
        """The prompt whose improvements are shown."""
        return ImprovementsPlace(self._list.prompt)

    @on(CandidatesPane.Wanted)
    def _wanted(self, event: CandidatesPane.Wanted) -> None:
        self.shell.open_place(PromptPlace(event.prompt, version=event.version))

    def copy_choices(self) -> list[tuple[str, str]]:
        """The verdict, and what is at the right."""
        current = self._list.current
        verdict = [("verdict", current.record["verdict"])] if current is not None else []
        return [*verdict, ("text at the right", self.query_one(DetailPane).told)]

    def cli_command(self) -> str:
        """``llmops prompt improvement``."""
        current = self._list.current
        if current is None:
            return shlex.join(
                ["llmops", "prompt", "improve", self._list.prompt or "PROMPT", "--data", "DATA", "--metric", "exact"]
            )
        return shlex.join(["llmops", "prompt", "improvement", current.record["improvement"]])
