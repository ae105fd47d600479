"""A window on the rows of the open version: filters, sorting, saved views, flags."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input

from llmops_tui.counts import counted
from llmops_tui.datasets.records import ROW
from llmops_tui.safe_text import safe_line
from screens.datasets import rendering
from screens.datasets.by_meaning import choose_by_meaning, rows_by_meaning
from screens.datasets.found_rows import FoundRows
from screens.datasets.keep_rows import choose_view, keep_rows
from screens.datasets.operation import Operation, OperationWanted
from screens.datasets.sql_suggester import FUNCTIONS, ColumnSuggester
from screens.datasets.table import RowTable
from screens.shell.job_progress import follow_job
from screens.shell.pane import Pane
from screens.widgets.fields import Field

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import Problem
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.datasets.window import RowWindow, View

_SETTLE_SECONDS = 0.08  # a held key moves faster than records need to be read
# A larger full-text index is made by a job.
_INDEXED_AT_ONCE = 20_000
_INDEX_JOB = "llmops_tui.datasets.search:run_index_job"


class RowsPane(Pane):
    """The table, and the field of its filter."""

    class CursorMoved(Message):
        """Another row or column is under the cursor, or they were read again: its number, and that of a row it repeats."""

        def __init__(self, version: DatasetVersion, row: int | None, column: str, original: int | None = None) -> None:
            super().__init__()
            self.version = version
            self.row = row
            self.column = column
            self.original = original

    class Chosen(Message):
        """Enter was pressed on a row."""

    def __init__(self) -> None:
        super().__init__(title="Rows", jump_key="r", id="datasets-rows", help_text=rendering.HELP_ROWS)
        self.window: RowWindow | None = None
        self._settle: Timer | None = None
        self._found: FoundRows | None = None

    def compose(self) -> ComposeResult:
        """The filter, which is hidden until it is wanted, and the table."""
        yield Field(
            placeholder="text · ~regex · =SQL · ?words · ??meaning   enter filters, esc clears",
            id="row-filter",
            compact=True,
        )
        yield RowTable(id="row-table")

    def on_unmount(self) -> None:
        """Let go of the files."""
        if self.window is not None:
            self.window.close()

    @property
    def _table(self) -> RowTable:
        return self.query_one(RowTable)

    @property
    def filter(self) -> str:
        """The filter that is in use."""
        return self.window.view.filter if self.window is not None else ""

    async def open(self, version: DatasetVersion | None) -> None:
        """Show the rows of a version; nothing where there is none."""
        from llmops_tui.datasets.window import RowWindow

        window = await asyncio.to_thread(RowWindow, version) if version is not None else None
        former, self.window, self._found = self.window, window, None
        self.remove_class("-filtering")
        table = self._table
        table.flagged.clear()
        table.repeats = {}
        table.placeholder = rendering.NO_ROWS if version is not None else rendering.NO_DATASETS
        table.show(window)
        self._show_title()
        if former is not None:
            # Nobody waits for it: what is open now is told to the other panes at once.
            self.run_worker(asyncio.to_thread(former.close), group="close", exit_on_error=False)

    def _show_title(self) -> None:
        """What is open, and how much of it is shown."""
        window = self.window
        if window is None:
            self.set_title("Rows")
            return
        version = window.version
        rejected = f" · {version.rejected:,} rejected" if version.rejected else ""
        self.set_title(
            "Rows",
            f"{version.ref} · {counted(version.rows, 'row')}{rejected} · {version.kind} · sha {version.sha256[:8]}…",
        )
        filtered, told = window.count != version.rows, safe_line(window.view.filter, 60)
        told = self._found.title if self._found is not None else told
        self.set_note(f"{told} · {window.count:,} shown" if filtered else "")

    # ── the cursor ──

    @on(RowTable.Moved)
    def _moved(self, event: RowTable.Moved) -> None:
        event.stop()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(_SETTLE_SECONDS, self._cursor_moved)

    def _cursor_moved(self) -> None:
        if self.window is not None:
            table = self._table
            self.post_message(self.CursorMoved(self.window.version, table.row, table.column_name, table.original))

    @on(RowTable.Chosen)
    def _chosen(self, event: RowTable.Chosen) -> None:
        event.stop()
        self.post_message(self.Chosen())

    def action_step_on(self) -> None:
        """The next record."""
        self._table.action_move(1)

    def action_step_back(self) -> None:
        """The record before."""
        self._table.action_move(-1)

    # ── flags ──

    def action_flag(self) -> None:
        """Flag the row, or take the flag away."""
        table = self._table
        table.flag()
        self.set_note(f"{len(table.flagged):,} flagged" if table.flagged else "")

    def action_remove(self) -> None:
        """Take the flagged rows out, or the one under the cursor."""
        table, window = self._table, self.window
        rows = sorted(table.flagged) or ([table.row] if table.row is not None else [])
        if rows and window is not None:
            edits = {str(number): None for number in rows}
            self.post_message(OperationWanted(Operation(window.version, "edit", {"edits": edits})))

    # ── filters and views ──

    def action_filter(self) -> None:
        """Show the field and put the cursor in it."""
        if self.window is None:
            return
        columns = [c.name for c in self.window.version.columns]
        names = [name if name.isidentifier() else f'"{name}"' for name in columns]
        field = self.query_one("#row-filter", Input)
        field.suggester = ColumnSuggester([*names, ROW, *FUNCTIONS])
        self.add_class("-filtering")
        field.value = self.window.view.filter
        field.focus()

    @on(Input.Submitted)
    def _filtered(self, event: Input.Submitted) -> None:
        event.stop()
        self.act("filter", self._use_filter, event.value)
        self._table.focus()

    def clear(self) -> bool:
        """Close the filter and show all rows; whether there was one."""
        window = self.window
        if not self.has_class("-filtering") and (window is None or window.count == window.version.rows):
            return False
        self.remove_class("-filtering")
        self.act("filter", self._use_filter, "")
        self._table.focus()
        return True

    async def _use_filter(self, text: str) -> None:
        """Show the rows that a filter leaves."""
        if self.window is not None:
            await self._use_view(replace(self.window.view, filter=text.strip()))
            self.set_class(bool(text.strip()), "-filtering")

    async def _use_view(self, view: View) -> None:
        """Show a view; the row under the cursor stays there where the view has it."""
        from llmops_tui.datasets.search import SearchIndex

        window = self.window
        if window is None:
            return
        version, row = window.version, self._table.row
        if view.filter.startswith("?") and not SearchIndex(version).ready and version.rows > _INDEXED_AT_ONCE:
            job = await asyncio.to_thread(
                lambda: self.services.jobs.start(
                    kind="index", title=f"index {version.ref}", entry=_INDEX_JOB, arguments={"ref": version.ref}
                )
            )
            await follow_job(self.services, self, job)
        if self.window is not window:
            return  # another version was opened while the index was made
        meaning = functools.partial(rows_by_meaning, self.shell, asyncio.get_running_loop(), version)
        await asyncio.to_thread(window.select, view, lambda: SearchIndex(version).make(), meaning)
        stays = row is not None and not view.filter.startswith("??")
        place = await asyncio.to_thread(window.index_of, row) if stays and row is not None else None
        if self.window is window:
            self._table.show(window, place or 0)
            # Sorted otherwise, no row stands below what it repeats.
            kept = self._found is not None and self._found.filter == view.filter and not view.sort
            self._found = self._found if kept else None
            self._table.repeats = self._found.repeats if self._found is not None else {}
            self._show_title()
            self._cursor_moved()

    def show_problem(self, problem: Problem) -> None:
        """Show the rows a check found, those that belong together side by side."""
        self.act("filter", self._show_problem, problem)

    async def _show_problem(self, problem: Problem) -> None:
        self._found = found = FoundRows(problem)
        # Which rows they are says the title; the field is for what somebody types.
        await self._use_filter(found.filter)
        self.remove_class("-filtering")
        for told, seconds in found.told():
            self.shell.say(told, seconds=seconds)
        self._table.focus()

    def action_meaning(self) -> None:
        """Choose what is to be done by the meaning of the rows."""
        self.ask_by("meaning", self._choose_by_meaning)

    async def _choose_by_meaning(self) -> None:
        if self.window is not None:
            version, row = self.window.version, self._table.row
            if wanted := await choose_by_meaning(self.shell, self, version, row):
                self.act("filter", self._use_filter, wanted)

    def action_alike(self) -> None:
        """Show the rows that are like the one under the cursor."""
        if self.window is not None and self._table.row is not None:
            self.act("filter", self._use_filter, f"??#{self._table.row}")

    def action_sort(self) -> None:
        """Sort by the column under the cursor."""
        self.act("filter", self._sort)

    async def _sort(self) -> None:
        """Upwards, downwards, and as the rows are."""
        if self.window is None:
            return
        name = self._table.column_name
        stored = {c.name for c in self.window.version.columns}
        column = name if name in stored else next((c for c in ("messages", "prompt") if c in stored), "")
        view = self.window.view
        if view.sort != column:
            view = replace(view, sort=column, descending=False)
        elif not view.descending:
            view = replace(view, descending=True)
        else:
            view = replace(view, sort="", descending=False)
        await self._use_view(view)

    def action_views(self) -> None:
        """Choose a saved view."""
        if self.window is not None:
            self.ask_by("views", self._choose_view, self.window.version.dataset)

    async def _choose_view(self, dataset: str) -> None:
        view = await choose_view(self.shell, dataset)
        if view is not None:
            self.act("filter", self._use_view, view)
            self.add_class("-filtering")

    def action_save(self) -> None:
        """Keep what is shown as a version, or its filter as a view."""
        window = self.window
        if window is None:
            return
        if window.count == window.version.rows and not window.view.sort:
            self.shell.say("All rows are shown: there is nothing to save. / filters.", severity="warning")
            return
        self.ask_by("keep", self._keep, window)

    async def _keep(self, window: RowWindow) -> None:
        operation = await keep_rows(self.shell, window)
        if operation is not None:
            self.post_message(OperationWanted(operation))
