"""The loop of a served name: each station from feedback to a retrained model in use, and the key that does its next step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line, safe_text
from screens.monitor.loop_steps import do_step, roll_back
from screens.navigation import Destination
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmops_tui.loop.stations import Standing, Station
    from screens.services import Services

_EMPTY = "No model is registered that could be asked for."
_STYLES = {"to do": "$warning", "at work": "$accent", "done": "$success", "stopped": "$error", "empty": "$muted"}


class LoopScreen(Modal[Destination | None]):
    """The stations of one name; ends with a place to go to where the next step is done there."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("n,f7", "name", "Name"),
        Binding("f5,ctrl+r", "look", "Refresh"),
        Binding("B,f8", "back", "Roll back"),
    ]

    def __init__(self, services: Services, name: str = "") -> None:
        super().__init__()
        self._services = services
        self._served = name
        self.standing: Standing | None = None

    def compose(self) -> ComposeResult:
        """Title, stations, what is known of one, and keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("The loop", id="loop-title", classes="dialog-title", markup=False)
            yield OptionList(id="loop-stations", markup=False)
            yield Static("", id="loop-facts", markup=False)
            yield KeysLine(*(("enter", "next step"), ("n", "another name"), ("B", "roll back"), ("esc", "close")))

    def on_mount(self) -> None:
        """Read where it stands."""
        self.query_one(OptionList).focus()
        self._do(self._read)

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self.run_worker(self._told(work), group="act", exclusive=True, exit_on_error=False)

    async def _told(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LlmopsError as error:
            self.app.report(error)

    async def _read(self) -> None:
        names = await asyncio.to_thread(self._names)
        if not self._served:
            self._served = names[0] if names else ""
        if not self._served:
            self.query_one("#loop-facts", Static).update(Content.styled(_EMPTY, "$muted"))
            return
        standing = await asyncio.to_thread(self._standing)
        before = self.query_one(OptionList).highlighted if self.standing is not None else None
        self.standing = standing
        answered = f"{safe_line(standing.subject.name)}, answered by {safe_line(standing.subject.model)}"
        self.query_one("#loop-title", Static).update(f"The loop · {answered}")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_line(one), id=one.station) for one in standing.stations])
        step = standing.step
        first = standing.stations.index(step) if step is not None else 0
        options.highlighted = first if before is None else before
        self._show(self.current)

    def _names(self) -> list[str]:
        from llmops_tui.loop.subject import known_names

        return known_names(self._services.catalog, self._services.event_log)

    def _standing(self) -> Standing:
        from llmops_tui.loop.subject import subject_of

        subject = subject_of(self._services.catalog, self._services.event_log, self._served)
        return self._services.loop.standing(subject)

    @property
    def current(self) -> Station | None:
        """The station under the cursor."""
        at = self.query_one(OptionList).highlighted
        stations = self.standing.stations if self.standing is not None else ()
        return stations[at] if at is not None and at < len(stations) else None

    def _show(self, station: Station | None) -> None:
        if station is None:
            return
        after: list[str | tuple[str, str]] = []
        if station.next:
            after = [("\nnext  ", "$muted"), safe_line(station.next, 300)]
        self.query_one("#loop-facts", Static).update(Content.assemble(safe_text(station.told)[:1500], *after))

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._show(self.current)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._do(self._step)

    async def _step(self) -> None:
        standing, station = self.standing, self.current
        if standing is None or station is None:
            return
        if not station.next:
            self.app.say(f"There is nothing to do at {station.station}.", severity="warning")
            return
        place = await do_step(self.app, standing, station)
        if place is not None:
            self.dismiss(place)
        else:
            await self._read()

    # ── actions ──

    def action_name(self) -> None:
        """Look at another name."""
        self._do(self._choose)

    async def _choose(self) -> None:
        names = await asyncio.to_thread(self._names)
        chosen = await self.app.ask(ChoiceDialog("The loop of", [Choice(one, one) for one in names], _EMPTY))
        if chosen:
            self._served, self.standing = chosen, None
            await self._read()

    def action_look(self) -> None:
        """Read it again."""
        self._do(self._read)

    def action_back(self) -> None:
        """Have the model answer again that did before, after asking."""
        self._do(self._back)

    async def _back(self) -> None:
        if self.standing is not None and await roll_back(self.app, self.standing.subject):
            await self._read()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _line(station: Station) -> Content:
    return Content.assemble(
        (f"{station.station:10} ", "bold"),
        (f"{station.state:8}", _STYLES[station.state]),
        f"{station.count:7,}  ",
        (safe_line(station.told, 200), "" if station.state != "empty" else "$muted"),
    )
