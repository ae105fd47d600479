"""Which rows are shown: filters, sorting, saved views, and the rows a check found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from textual.suggester import Suggester
from textual.widgets import Input

from llmops_tui.datasets.records import ROW
from screens.datasets.commands import follow, keep_shown
from screens.datasets.table import RowTable
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from screens.datasets.screen import DatasetsScreen

# A larger full-text index is made by a job.
_INDEXED_AT_ONCE = 20_000
_FUNCTIONS = (
    "length(", "lower(", "upper(", "contains(", "starts_with(", "regexp_matches(", "json_extract_string(", "json_array_length(",
    "coalesce(", "IS NULL", "IS NOT NULL", "LIKE '%", "ILIKE '%", "BETWEEN ", "IN (", "AND ", "OR ", "NOT ", "true", "false",
)  # fmt: skip


class ColumnSuggester(Suggester):
    """Completes the last word of an SQL filter from columns, functions and words of SQL."""

    def __init__(self, words: list[str], *, only_sql: bool = True) -> None:
        super().__init__(use_cache=False, case_sensitive=False)
        self._words = words
        self._only_sql = only_sql

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last word completed; none where nothing fits."""
        if self._only_sql and not value.startswith("="):
            return None
        begin = max((value.rfind(c) for c in " =(,<>"), default=-1) + 1
        word = value[begin:]
        if not word:
            return None
        found = next((w for w in self._words if w.lower().startswith(word.lower()) and len(w) > len(word)), None)
        return value[:begin] + found if found else None


def open_filter(screen: DatasetsScreen) -> None:
    """Show the field and put the cursor in it."""
    if screen.version is None or screen.window is None:
        return
    field = screen.query_one("#row-filter", Input)
    names = [c.name if c.name.isidentifier() else f'"{c.name}"' for c in screen.version.columns]
    field.suggester = ColumnSuggester([*names, ROW, *_FUNCTIONS])
    screen.add_class("-filtering")
    field.value = screen.window.view.filter
    field.focus()


def clear(screen: DatasetsScreen) -> None:
    """Close the filter and show all rows; where there is none, fold the sidebar."""
    if screen.has_class("-filtering") or (screen.window is not None and screen.window.count != _rows(screen)):
        screen.remove_class("-filtering")
        screen.act("filter", use_filter, screen, "")
        screen.query_one("#row-table").focus()
    else:
        screen.remove_class("-sidebar")


def _rows(screen: DatasetsScreen) -> int:
    return screen.version.rows if screen.version is not None else 0


async def use_filter(screen: DatasetsScreen, text: str) -> None:
    """Show the rows that a filter leaves."""
    from dataclasses import replace

    if screen.window is not None:
        await use_view(screen, replace(screen.window.view, filter=text.strip()))
        screen.set_class(bool(text.strip()), "-filtering")


async def use_view(screen: DatasetsScreen, view: Any) -> None:
    """Show a view; the row under the cursor stays there where the view has it."""
    from llmops_tui.datasets.search import SearchIndex

    window, version = screen.window, screen.version
    if window is None or version is None:
        return
    table = screen.query_one("#row-table", RowTable)
    row = table.row
    if view.filter.startswith("?") and not SearchIndex(version).ready and version.rows > _INDEXED_AT_ONCE:
        job = await asyncio.to_thread(
            lambda: screen.services.jobs.start(
                kind="index", title=f"index {version.ref}", entry="llmops_tui.datasets.search:run_index_job",
                arguments={"ref": version.ref},
            )
        )  # fmt: skip
        await follow(screen, job, "")
    await asyncio.to_thread(window.select, view, lambda: SearchIndex(version).make())
    place = await asyncio.to_thread(window.index_of, row) if row is not None else None
    table.show(window, place or 0)
    screen.show_title()
    screen.act("record", screen.record.read)


async def show_problem(screen: DatasetsScreen, problem: dict[str, Any]) -> None:
    """Show the rows a check found, those that belong together side by side."""
    groups = [n for group in problem["groups"] for n in group]
    numbers = list(dict.fromkeys(groups or problem["row_numbers"]))
    listed = ", ".join(map(str, numbers))
    await use_filter(screen, f"= {ROW} IN ({listed})")
    if problem["rows"] > len(numbers):
        screen.app.say(f"The first {len(numbers):,} of {problem['rows']:,} rows are shown.")
    reasons = problem["examples"]
    if reasons:
        screen.app.say(
            f"{problem['title']}: {problem['why']} Row {reasons[0]['row']:,}: {reasons[0]['reason']}.", seconds=10
        )
    screen.query_one("#row-table").focus()


async def sort(screen: DatasetsScreen) -> None:
    """Upwards, downwards, and as the rows are."""
    from dataclasses import replace

    window, version = screen.window, screen.version
    if window is None or version is None:
        return
    name = screen.query_one("#row-table", RowTable).column_name
    stored = {c.name for c in version.columns}
    column = name if name in stored else next((c for c in ("messages", "prompt") if c in stored), "")
    view = window.view
    if view.sort != column:
        view = replace(view, sort=column, descending=False)
    elif not view.descending:
        view = replace(view, descending=True)
    else:
        view = replace(view, sort="", descending=False)
    await use_view(screen, view)


async def choose_view(screen: DatasetsScreen) -> None:
    """Choose among the saved views."""
    from llmops_tui.datasets.window import View

    version = screen.version
    if version is None:
        return
    views = await asyncio.to_thread(screen.services.datasets.views, version.dataset)
    choices = [
        Choice(name, name, view["filter"] + (f"  by {view['sort']}" if view["sort"] else ""))
        for name, view in views.items()
    ]

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.act("filter", use_view, screen, View(**views[name]))
            screen.add_class("-filtering")

    screen.app.push_screen(ChoiceDialog("Views", choices, "No saved views. ctrl+s keeps the filter as one."), chosen)


def keep_view(screen: DatasetsScreen) -> None:
    """Ask whether what is shown becomes a version, or its filter a view."""
    window, version = screen.window, screen.version
    if window is None or version is None:
        return
    if window.count == version.rows and not window.view.sort:
        screen.app.say("All rows are shown: there is nothing to keep. / filters.", severity="warning")
        return
    choices = [
        Choice("view", "A view", "its filter and sort, by a name"),
        Choice("version", "A version", f"{window.count:,} rows"),
    ]

    def named(name: str | None) -> None:
        if name:
            screen.act("views", _save_view, screen, name)

    def chosen(what: str | None) -> None:
        if what == "view":
            screen.app.push_screen(LineDialog("Name of the view", "v shows saved views"), named)
        elif what == "version":
            keep_shown(screen)

    screen.app.push_screen(ChoiceDialog("Keep what is shown as", choices), chosen)


async def _save_view(screen: DatasetsScreen, name: str) -> None:
    window, version = screen.window, screen.version
    if window is not None and version is not None:
        await asyncio.to_thread(screen.services.datasets.save_view, version.dataset, name, window.view.as_dict())
        screen.app.say(f"The view {name} is kept.")
