"""The SQL console: one SELECT over all datasets and the workspace; its result can be saved as a dataset."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.datasets.sql_suggester import ColumnSuggester
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog
from screens.widgets.fields import Field
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import motions

if TYPE_CHECKING:
    from screens.services import Services

_ROWS = 500
_WORDS = (
    "SELECT ", "FROM ", "WHERE ", "GROUP BY ", "ORDER BY ", "LIMIT ", "count(*)", "JOIN ", "DESC", "HAVING ", "DISTINCT ",
    "avg(", "sum(", "min(", "max(", "length(", "AS ", "AND ", "OR ",
)  # fmt: skip


class _ResultTable(DataTable[Text]):
    """The rows of an answer, with the motions of all lists."""

    BINDINGS: ClassVar[list[Binding]] = motions(  # type: ignore[assignment]
        "cursor_down", "cursor_up", "scroll_top", "scroll_bottom"
    )

    def action_half_page(self, direction: int) -> None:
        """Half of what is seen down or up, and no further than the end."""
        self.move_cursor(row=max(0, self.cursor_row + direction * max(1, self.size.height // 2)))


class ConsoleScreen(Modal[str | None]):
    """Gives the reference of a dataset that was kept, or nothing."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "close", "Close"),
        Binding("f2,ctrl+s", "keep", "Save as a dataset", priority=True),
        Binding("f5,ctrl+r", "run", "Run", priority=True),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._kept: str | None = None

    def compose(self) -> ComposeResult:
        """The query, its answer, and what there is to ask."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(
                Content("SQL over all datasets and the workspace: one SELECT, without access to anything else"),
                classes="dialog-title",
            )
            yield Field(
                placeholder="SELECT category, count(*) FROM banking77 GROUP BY 1 ORDER BY 2 DESC",
                id="sql-text",
                compact=True,
            )
            yield Static("", id="sql-note", markup=False)
            yield _ResultTable(id="sql-result", zebra_stripes=True, cursor_type="row")
            yield KeysLine(("enter", "run"), ("→", "complete"), ("f2", "save as a dataset"), ("esc", "close"))

    def on_mount(self) -> None:
        """Say what there is to ask."""
        self.query_one("#sql-text").focus()
        self.run_worker(self._names(), group="names", exit_on_error=False)

    async def _names(self) -> None:
        from llmops_tui.datasets.sql_console import table_names

        names = await asyncio.to_thread(table_names, self._services.datasets)
        words = [name if name.isidentifier() else f'"{name}"' for name in names]
        words += sorted({column for columns in names.values() for column in columns})
        self.query_one("#sql-text", Input).suggester = ColumnSuggester([*words, *_WORDS], only_sql=False)
        plain = [name for name in names if "@" not in name]
        self.query_one("#sql-note", Static).update(Content(safe_line("tables: " + ", ".join(plain), 400)))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_run()

    def action_run(self) -> None:
        """Run the query."""
        self.run_worker(self._run(), group="run", exclusive=True, exit_on_error=False)

    async def _run(self) -> None:
        from llmops_tui.datasets.sql_console import run_query
        from llmops_tui.workspace.ingest import ingest

        text = self.query_one("#sql-text", Input).value
        note = self.query_one("#sql-note", Static)
        table: DataTable[Text] = self.query_one("#sql-result", DataTable)
        note.update(Content("running …"))
        try:
            await asyncio.to_thread(ingest, self._services.catalog, self._services.event_log)
            answer = await asyncio.to_thread(run_query, self._services.datasets, text, _ROWS)
        except LlmopsError as error:
            note.update(Content.styled(safe_line(error.message, 400), "$error"))
            return
        table.clear(columns=True)
        for name in answer.columns:
            table.add_column(Text(safe_line(name, 40)))
        for row in answer.rows:
            table.add_row(*(Text(safe_line("" if v is None else str(v), 120)) for v in row))
        more = f"the first {_ROWS} rows; f2 saves all" if answer.more else counted(len(answer.rows), "row")
        note.update(Content(more))

    def action_keep(self) -> None:
        """Keep all that the query gives as a dataset."""
        self.run_worker(self._keep(), group="keep", exclusive=True, exit_on_error=False)

    async def _keep(self) -> None:
        from llmops_tui.datasets.sql_console import save_query

        hint = "a new name, or an existing dataset for its next version"
        name = await self.app.ask(LineDialog("Save as the dataset", hint))
        if not name:
            return
        text = self.query_one("#sql-text", Input).value
        note = self.query_one("#sql-note", Static)
        try:
            version = await asyncio.to_thread(save_query, self._services.datasets, text, name)
            await asyncio.to_thread(self._services.undo.note_rows, version)
        except LlmopsError as error:
            note.update(Content.styled(safe_line(error.message, 400), "$error"))
            return
        self._kept = version.ref
        note.update(Content.styled(f"saved as {version.ref}: {counted(version.rows, 'row')}", "$success"))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(self._kept)
