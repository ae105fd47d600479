"""Grading with one key an answer, and choosing between two with one key: each key keeps the word and shows the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import events, getters
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.evaluation import grade_rendering as rendering
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.evaluation.grading.sheets import GradeSheet, VoteSheet

_VOTES = {"1": "1", "2": "2", "t": "tie"}


class GradeScreen(Modal[None]):
    """One item at a time, without a word about the run it is of. What was said is kept at once."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("z,ctrl+z", "undo", "Undo"),
        Binding("space", "skip", "Skip"),
        Binding("a,f3", "agreement", "Agreement"),
        Binding("s,f2,ctrl+s", "keep", "Make a dataset"),
        Binding("e,f6", "teach", "Show the judge"),
    ]

    def __init__(self, sheet: GradeSheet | VoteSheet) -> None:
        super().__init__()
        self._sheet = sheet
        self._queue: list[str] = []
        self._skipped: list[str] = []
        self._looking = False
        self._lock = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Progress and what is asked, the item, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="grade-head", markup=False)
            with TextScroll(id="grade-scroll", can_focus=True):
                yield Static("", id="grade-text", markup=False)
            yield Static(rendering.keys(self._sheet), id="grade-keys", markup=False)

    def on_mount(self) -> None:
        """The first item."""
        self.query_one("#grade-scroll").focus()
        self.run_worker(self._show(), group="grade", exit_on_error=False)

    @property
    def current(self) -> str | None:
        """The item that is shown."""
        return self._queue[0] if self._queue else None

    async def _show(self) -> None:
        """Read what is left, which another screen may have changed, and show the first of it."""
        self._looking = False
        left = await asyncio.to_thread(self._sheet.queue)
        later = [item for item in self._skipped if item in left]
        self._queue = [item for item in left if item not in later] + later
        total = len(self._sheet.items)
        self.query_one("#grade-head", Static).update(rendering.head(self._sheet, total - len(left), total))
        text = self.query_one("#grade-text", Static)
        text.update(rendering.item(self._sheet, self._queue[0]) if self._queue else rendering.done(self._sheet))
        self.query_one("#grade-scroll").scroll_home(animate=False)

    async def on_key(self, event: events.Key) -> None:
        """A key that says something."""
        from llmops_tui.evaluation.grading.sheets import VoteSheet

        keys = _VOTES if isinstance(self._sheet, VoteSheet) else {value: value for value in self._sheet.values()}
        if event.key in keys and self._queue:
            event.stop()
            await self._say(keys[event.key])

    async def _say(self, word: str) -> None:
        from llmops_tui.evaluation.grading.words import value_of

        async with self._lock:
            item = self.current
            if item is None:
                return
            try:
                await asyncio.to_thread(lambda: self._sheet.say(item, value_of(self._sheet, item, word)))
            except LlmopsError as error:
                self.app.report(error)
                return
            await self._show()

    def action_skip(self) -> None:
        """The item comes again at the end."""
        if self._queue:
            item = self._queue[0]
            self._skipped = [other for other in self._skipped if other != item] + [item]
            self.run_worker(self._show(), group="grade", exclusive=True, exit_on_error=False)

    async def action_undo(self) -> None:
        """Take the last word back and show its item again."""
        async with self._lock:
            item = await asyncio.to_thread(self._sheet.undo)
            if item is None:
                self.app.say("There is nothing to undo: only what was said on this screen is taken back.")
                return
            await self._show()
            if item in self._queue:
                self._queue = [item, *(other for other in self._queue if other != item)]
                self.query_one("#grade-text", Static).update(rendering.item(self._sheet, item))

    def action_agreement(self) -> None:
        """How far people agree, or how the runs rank: it names runs, so it is only shown when it is asked for."""
        self.run_worker(self._tell_agreement(), group="agreement", exclusive=True, exit_on_error=False)

    async def _tell_agreement(self) -> None:
        text = await asyncio.to_thread(rendering.figures, self._sheet)
        async with self._lock:
            # A key that says something would be about an item that is not shown.
            self._queue = []
            self._looking = True
            self.query_one("#grade-text", Static).update(text)

    def action_keep(self) -> None:
        """Make a dataset of what was graded."""
        self.run_worker(self._keep(), group="keep", exclusive=True, exit_on_error=False)

    async def _keep(self) -> None:
        from llmops_tui.evaluation.grading.graded import make_dataset
        from llmops_tui.evaluation.grading.sheets import GradeSheet

        sheet = self._sheet
        if not isinstance(sheet, GradeSheet):
            self.app.say("Votes rank runs; a dataset is made of grades.", severity="warning")
            return
        name = await self.app.ask(LineDialog("Keep the graded answers as", "the name of a dataset", "graded"))
        if not name:
            return
        try:
            version = await asyncio.to_thread(make_dataset, sheet, name)
        except LlmopsError as error:
            self.app.report(error)
            return
        noted = await asyncio.to_thread(self.app.services.undo.note_rows, version)
        undoes = " z on another screen undoes it." if noted else ""
        self.app.say(f"{version.ref}: {version.note}.{undoes}")

    def action_teach(self) -> None:
        """Show the judge graded answers as examples."""
        self.run_worker(self._teach(), group="teach", exclusive=True, exit_on_error=False)

    async def _teach(self) -> None:
        from llmops_tui.evaluation.grading.graded import teach_judge
        from llmops_tui.evaluation.grading.sheets import GradeSheet

        sheet = self._sheet
        suites = {item.run.suite for item in sheet.items.values()} if isinstance(sheet, GradeSheet) else set()
        if not isinstance(sheet, GradeSheet) or len(suites) != 1:
            self.app.say("Examples are grades of one suite's runs, by a judge of it.", severity="warning")
            return
        try:
            version, count = await asyncio.to_thread(teach_judge, sheet, suites.pop())
        except LlmopsError as error:
            self.app.report(error)
            return
        noted = await asyncio.to_thread(self.app.services.undo.note_suite, version)
        undoes = " z on another screen undoes it." if noted else ""
        self.app.say(f"{version.ref}: {safe_line(sheet.criterion.name)} is shown {count} graded answers.{undoes}")

    def action_close(self) -> None:
        """Go back from the figures to the queue, or close; what was said is kept."""
        if self._looking:
            self._looking = False
            self.run_worker(self._show(), group="grade", exclusive=True, exit_on_error=False)
        else:
            self.dismiss(None)
