"""Rows of a dataset with the answers of all columns: those that differ most first; one key votes and shows one without a vote."""

from __future__ import annotations

import asyncio
import getpass
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual import events, getters
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.columns.over_dataset import ColumnTable, Row
from llmops_tui.prompts.compare.boards import TIE
from llmops_tui.prompts.compare.columns import Column, titles
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.shell.shell import Shell
from screens.widgets.diff_text import diff_parts
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from screens.services import Services

_SECONDS = 2.0
_LETTERS = "ABCDEF"


class RowsScreen(Modal[None]):
    """One row at a time, blind until b shows the columns' names. Votes are kept at once."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("n,right,space", "step(1)", "Next"),
        Binding("N,left,p", "step(-1)", "Previous"),
        Binding("t", "vote(0)", "None is best"),
        Binding("b,f8", "blind", "Names"),
        Binding("d,f3", "diff", "Differences"),
        Binding("K,f7", "keep", "Keep"),
        Binding("w,f6", "ranking", "Ranking"),
    ]

    def __init__(self, services: Services, table: ColumnTable, columns: Sequence[Column]) -> None:
        super().__init__()
        self._services = services
        self._table = table
        self._columns = list(columns)
        self._rows: list[Row] = []
        self._votes: dict[int, int] = {}
        # Those of this screen: what is read while one is given does not have it yet.
        self._given: dict[int, int] = {}
        self._at = 0
        self._blind = True
        self._diff = False
        self._voter = getpass.getuser()
        self._done = False
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """Progress, the row, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="rows-head", markup=False)
            with TextScroll(id="rows-scroll", can_focus=True):
                yield Static("", id="rows-text", markup=False)
            yield KeysLine(id="rows-keys")

    def on_mount(self) -> None:
        """Read, and read again while the job is at work."""
        self.query_one("#rows-scroll").focus()
        self.set_interval(_SECONDS, self._look)
        self._look()

    def _look(self) -> None:
        # A look that takes longer than until the next is not begun anew: it would never end.
        looking = any(worker.group == "rows" and worker.is_running for worker in self.workers)
        if not self._done and not looking:
            self.run_worker(self._read(), group="rows", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        store = self._services.evaluation
        try:
            runs = await asyncio.to_thread(lambda: [store.get(run.name) for run in self._table.runs])
            self._table = ColumnTable(store, runs)
            found = await asyncio.to_thread(self._table.rows)
            votes = await asyncio.to_thread(self._table.votes, self._voter)
        except LlmopsError as error:
            # It may pass, as where another process has the catalog: told once, and looked at again.
            if error.message != self._trouble:
                self._trouble = error.message
                self.app.report(error)
            return
        self._trouble = ""
        # Those of this screen may have been given since these were read.
        self._votes = votes | self._given
        self._done = all(run.summary is not None for run in runs)
        # The row that is looked at stays where more rows come in.
        here = self._row.case.key if self._row is not None else ""
        self._rows = found
        self._at = next(
            (n for n, row in enumerate(found) if row.case.key == here), min(self._at, max(0, len(found) - 1))
        )
        self._show()

    @property
    def _row(self) -> Row | None:
        return self._rows[self._at] if self._at < len(self._rows) else None

    def _order(self, row: Row) -> list[int]:
        """The columns as they are shown: of each row in an order of its own while it is blind, else as they are."""
        order = list(range(len(self._columns)))
        if self._blind:
            random.Random(f"{self._voter}:{row.case.key}").shuffle(order)  # noqa: S311  an order, no secret
        return order

    # ── showing ──

    def _show(self) -> None:
        row = self._row
        same = sum(one.alike for one in self._rows)
        told = f"{counted(len(self._rows), 'row')} · {same:,} answered alike · {len(self._votes):,} voted"
        head: list[str | tuple[str, str]] = [("Rows", "bold $accent"), f"  {told}"]
        if not self._done:
            head.append(("  the job is at work", "$warning"))
        self.query_one("#rows-head", Static).update(Content.assemble(*head))
        if row is None:
            text = Content.styled("No row is answered yet." if not self._done else "There are no rows.", "$muted")
        else:
            text = self._content(row)
        self.query_one("#rows-text", Static).update(text)
        self.query_one(KeysLine).show(
            (f"1–{len(self._columns)}", "best"), ("t", "none"), ("n", "next"), ("p", "previous"),
            ("b", "names" if self._blind else "blind"), ("d", "diff"), ("K", "keep"), ("w", "ranking"), ("esc", "close"),
        )  # fmt: skip

    def _content(self, row: Row) -> Content:
        vote = self._votes.get(row.case.index)
        apart = "all the same" if row.alike else f"{row.apart:.0%} of words apart" if row.apart else "not all answered"
        parts: list[str | tuple[str, str]] = [
            (f"{self._at + 1} of {len(self._rows)} · case {row.case.index} · {apart}\n", "$muted")
        ]
        for name, value in row.case.variables.items():
            parts += [(f"{safe_line(name)}  ", "$accent"), f"{safe_text(str(value))}\n"]
        if row.case.expected is not None:
            parts += [("expected  ", "$accent"), f"{safe_text(row.case.expected_text)}\n"]
        order = self._order(row)
        named = titles(self._columns)
        reference = row.answers[order[0]]
        for place, column in enumerate(order):
            name = _LETTERS[place] if self._blind else safe_line(named[column])
            won = "  ★" if vote == column and not self._blind else "  voted" if vote == column else ""
            parts.append((f"\n── {place + 1} {name}{won} ──\n", "bold $accent"))
            answer = row.answers[column]
            if answer is None:
                parts.append(("no answer\n", "$error") if self._done else ("not answered yet\n", "$muted"))
            elif self._diff and place and reference is not None:
                parts += [*diff_parts(diff_words(reference, answer)), "\n"]
            else:
                parts.append(f"{safe_text(answer)}\n")
        if vote == TIE:
            parts.append(("\nvoted: none is best\n", "$success"))
        return Content.assemble(*parts)

    # ── what can be done ──

    async def on_key(self, event: events.Key) -> None:
        """A digit votes."""
        if event.key.isdigit() and 1 <= int(event.key) <= len(self._columns):
            event.stop()
            await self._vote(int(event.key))

    async def action_vote(self, place: int) -> None:
        """Vote for the answer at a place, 0 for none."""
        await self._vote(place)

    async def _vote(self, place: int) -> None:
        row = self._row
        if row is None:
            return
        winner = TIE if not place else self._order(row)[place - 1]
        try:
            await asyncio.to_thread(self._table.vote, row, winner, self._voter)
        except LlmopsError as error:
            self.app.report(error)
            return
        self._votes[row.case.index] = self._given[row.case.index] = winner
        # Rows that came meanwhile may stand before this one.
        around = [*range(self._at + 1, len(self._rows)), *range(self._at)]
        left = next((place for place in around if self._rows[place].case.index not in self._votes), None)
        self.action_step(1 if left is None else left - self._at)

    def action_step(self, by: int) -> None:
        """Another row."""
        self._at = max(0, min(self._at + by, len(self._rows) - 1))
        self.query_one("#rows-scroll").scroll_home(animate=False)
        self._show()

    def action_blind(self) -> None:
        """Show which column is which, or hide it."""
        self._blind = not self._blind
        self._show()

    def action_diff(self) -> None:
        """Show how the others differ from the first, or all as they are."""
        self._diff = not self._diff
        self._show()

    def action_ranking(self) -> None:
        """The columns by everybody's votes."""
        self.run_worker(self._rank(), group="rank", exclusive=True, exit_on_error=False)

    async def _rank(self) -> None:
        from screens.compare.boards import RankingDialog

        ranking = await asyncio.to_thread(self._table.ranking, titles(self._columns))
        self.app.push_screen(RankingDialog(ranking))

    def action_keep(self) -> None:
        """Make something of the vote on this row."""
        self.run_worker(self._keep(), group="keep", exclusive=True, exit_on_error=False)

    async def _keep(self) -> None:
        from screens.compare.keep_vote import Decided, keep_vote

        row = self._row
        vote = self._votes.get(row.case.index, TIE) if row is not None else TIE
        if row is None or vote == TIE:
            self.app.say("Vote for an answer of this row first.", severity="warning")
            return
        column = self._columns[vote]
        # With their types, as the columns were asked.
        variables = row.case.variables
        try:
            messages = await asyncio.to_thread(self._messages, column, variables)
            texts = [answer or "" for answer in row.answers]
            sources = [run.results_sha256 for run in self._table.runs]
            await keep_vote(self.app, Decided(self._columns, variables, messages, texts, vote, sources))
        except LlmopsError as error:
            self.app.report(error)

    def _messages(self, column: Column, variables: Mapping[str, object]) -> list[dict[str, str]]:
        from llmops_tui.prompts.runs import RunRequest

        request = RunRequest(
            column.prompt, column.system, column.template, variables, column.parameters, settings=column.settings
        )
        return self._services.runner.render(request)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
