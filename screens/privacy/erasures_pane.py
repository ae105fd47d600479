"""The erasures of the workspace: those that are done, and those that were interrupted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.counts import counted
from screens.shell.pane import Pane
from screens.widgets.motions import Options

if TYPE_CHECKING:
    from llmops_tui.maintenance.erasure_records import ErasureRecord

_EMPTY = "Nobody was forgotten yet.\nn finds a person, and shows what forgetting them would do."


class ErasuresPane(Pane):
    """The newest first."""

    class CursorMoved(Message):
        """Another erasure is under the cursor."""

        def __init__(self, erasure: ErasureRecord) -> None:
            super().__init__()
            self.erasure = erasure

    class Resumed(Message):
        """Interrupted erasures were completed."""

    def __init__(self) -> None:
        super().__init__(
            title="Erasures",
            jump_key="e",
            id="privacy-erasures",
            help_text="Receipts of what was erased; they name nobody. r completes what was interrupted.",
        )
        self.erasures: list[ErasureRecord] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield Options(id="erasure-list", markup=False, compact=True)

    async def load(self, select: str = "") -> None:
        """Read the ledger; with ``select`` put the cursor on an erasure."""
        from llmops_tui.maintenance.erasure_ledger import Ledger

        found = await asyncio.to_thread(lambda: Ledger(self.services.workspace).all()[::-1])
        options = self.query_one(OptionList)
        if found != self.erasures or not found:
            self.erasures = found
            options.clear_options()
            options.add_options([Option(_line(one), id=one["id"]) for one in found])
            if not found:
                options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        places = [n for n, one in enumerate(found) if one["id"] == select]
        if places:
            options.highlighted = places[0]

    @property
    def current(self) -> ErasureRecord | None:
        """The erasure under the cursor."""
        index = self.query_one(OptionList).highlighted
        return self.erasures[index] if index is not None and index < len(self.erasures) else None

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if self.current is not None and self.query_one(OptionList).has_focus:
            self.post_message(self.CursorMoved(self.current))

    def action_resume(self) -> None:
        """Complete what was interrupted."""
        if any(one["receipt"] is None for one in self.erasures):
            self.act("resume", self._resume)
        else:
            self.shell.say("No erasure was interrupted.")

    async def _resume(self) -> None:
        from llmops_tui.maintenance.forgetting.erase import resume

        done = await asyncio.to_thread(resume, self.services.workspace)
        self.shell.say(f"{counted(len(done), 'erasure')} completed.")
        self.post_message(self.Resumed())


def _line(erasure: ErasureRecord) -> Content:
    day = time.strftime("%d %b %Y %H:%M", time.localtime(erasure["begun_at"]))
    receipt = erasure["receipt"]
    state = ("interrupted", "$error") if receipt is None else ("done", "$success")
    if receipt is not None and receipt["searched"]["left"]:
        state = ("incomplete", "$warning")
    things = counted(sum(erasure["planned"].values()), "thing")
    return Content.assemble(
        (f"{state[0]:12}", state[1]), (f"{day}  ", "$muted"), f"{things}  ", (erasure["id"], "$muted")
    )
