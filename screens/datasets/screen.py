"""The datasets screen: what there is, a window on its rows, the record under the cursor, and what may be wrong."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line
from screens.actions import bindings_of
from screens.datasets import commands, labelling, looking, operations
from screens.datasets.panes import check_option, column_facts, dataset_option, panes, version_option
from screens.datasets.record_pane import RecordPane
from screens.datasets.table import RowTable
from screens.shell.base import BaseScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.datasets.profile_record import ColumnStatistics
    from llmops_tui.datasets.store import DatasetVersion
    from llmops_tui.datasets.window import RowWindow
    from screens.services import Services
    from screens.terminal import TerminalProfile

_SETTLE_SECONDS = 0.08  # a held key moves faster than records need to be read
_EMPTY = "No datasets yet.\ni imports files: JSONL, CSV, Parquet, SQLite, texts and more."
_NO_ROWS = "No rows.\nesc clears the filter."
_NO_CHECKS = "Not checked yet. F5 looks at all rows: duplicates, broken turns, personal data and more."


def make(services: Services, profile: TerminalProfile) -> DatasetsScreen:
    """Make the screen."""
    return DatasetsScreen(services, profile)


class DatasetsScreen(BaseScreen):
    """Left what there is, right what is in it."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("datasets")  # type: ignore[assignment]
    AUTO_FOCUS = "#dataset-list"
    scope = "datasets"
    about = (
        "Data to train on and to test with. Files are looked at before they are imported; each operation makes a new "
        "version, whose rows never change, with the recipe that made it. What is trained is named by such a version. "
        "z takes the last operation back."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.logs: dict[str, list[DatasetVersion]] = {}
        self.version: DatasetVersion | None = None
        self.window: RowWindow | None = None
        self.record = RecordPane(self)
        self.report: dict[str, Any] = {}
        self.column_stats: list[ColumnStatistics] = []
        self._settle: Timer | None = None
        self.made: list[DatasetVersion] = []  # what the last operation here made, for z

    def compose_body(self) -> ComposeResult:
        """The panes."""
        yield from panes()

    def on_screen_resume(self) -> None:
        """Read again."""
        self.act("load", self.refresh_data)
        if self.has_class("-narrow"):
            self.query_one("#row-table").focus()

    def on_unmount(self) -> None:
        """Let go of files and processes."""
        if self.window is not None:
            self.window.close()
        self.record.close()

    # ── what there is ──

    async def refresh_data(self, open_ref: str = "") -> None:
        """Read the datasets, and open one: the one asked for, the one that is open, or the first."""
        self.logs = await asyncio.to_thread(lambda: self.services.datasets.logs())
        await self.record.find_model()
        known = {v.ref: v for log in self.logs.values() for v in log}
        current = self.version.ref if self.version is not None else ""
        wanted = known.get(open_ref) or known.get(current)
        if wanted is None and self.logs:
            wanted = next(iter(self.logs.values()))[0]
        self._list_datasets(wanted)
        if wanted is None:
            await self._show_nothing()
        elif self.window is None or self.version is None or wanted.id != self.version.id:
            await self.open_version(wanted)
        else:
            self.version = wanted
            self._list_versions()

    def _list_datasets(self, current: DatasetVersion | None) -> None:
        options = self.query_one("#dataset-list", OptionList)
        options.clear_options()
        for name, log in self.logs.items():
            options.add_option(dataset_option(log[0], current=current is not None and name == current.dataset))
        if not self.logs:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        elif current is not None:
            options.highlighted = list(self.logs).index(current.dataset)

    def _list_versions(self) -> None:
        options = self.query_one("#data-version-list", OptionList)
        options.clear_options()
        if self.version is None:
            return
        log = self.logs.get(self.version.dataset, [])
        by_number = {v.number: v for v in log}
        for version in log:
            parent = by_number.get(version.parent) if version.parent is not None else None
            options.add_option(version_option(version, parent, current=version.id == self.version.id))
        refs = [v.id for v in log]
        options.highlighted = refs.index(self.version.id) if self.version.id in refs else 0

    async def _show_nothing(self) -> None:
        self.version = None
        self.record.forget()
        table = self.query_one("#row-table", RowTable)
        table.placeholder = _EMPTY
        table.show(None)
        self.show_checks()

    async def open_version(self, version: DatasetVersion) -> None:
        """Show a version's rows; what else there is to say of it follows."""
        from llmops_tui.datasets.window import RowWindow

        window = await asyncio.to_thread(RowWindow, version)
        old, self.window = self.window, window
        self.version, self.report, self.column_stats = version, {}, []
        self.record.forget()
        table = self.query_one("#row-table", RowTable)
        table.flagged.clear()
        table.placeholder = _NO_ROWS
        table.show(window)
        if old is not None:
            await asyncio.to_thread(old.close)
        self._list_versions()
        self.show_title()
        self.show_checks()
        self.act("facts", self._read_facts, version)

    async def _read_facts(self, version: DatasetVersion) -> None:
        """Columns and checks, each shown as soon as it is known."""
        from llmops_tui.datasets.profile import column_statistics

        report = await asyncio.to_thread(lambda: self.services.datasets.report(version.sha256, "checks"))
        if report is not None and self.version == version:
            self.report = report
            self.show_checks()
        stats = await asyncio.to_thread(column_statistics, version)
        if self.version == version:
            self.column_stats = stats
            self.show_columns()
        if report is None:
            await commands.check_unasked(self, version)

    # ── titles and side panes ──

    def show_title(self) -> None:
        """What is open, and how much of it is shown."""
        version, window = self.version, self.window
        panel = self.query_one("#rows", Panel)
        if version is None or window is None:
            panel.set_title("Rows")
            return
        rejected = f" · {version.rejected:,} set apart" if version.rejected else ""
        panel.set_title(
            "Rows", f"{version.ref} · {version.rows:,} rows{rejected} · {version.kind} · sha {version.sha256[:8]}…"
        )
        filtered = (
            f"{safe_line(window.view.filter, 60)}  {window.count:,} shown" if window.count != version.rows else ""
        )
        panel.set_note(filtered)

    def show_columns(self) -> None:
        """The columns, with more about the one under the cursor."""
        name = self.query_one("#row-table", RowTable).column_name
        shown = name if any(c["name"] == name for c in self.column_stats) else ""
        shown = shown or next((c["name"] for c in self.column_stats if c["name"] in {"messages", "prompt", "text"}), "")
        self.query_one("#column-facts", Static).update(column_facts(self.column_stats, shown, blocks=self.profile.utf8))

    def show_checks(self) -> None:
        """The report of the checks, or that there is none."""
        options = self.query_one("#check-list", OptionList)
        kept = options.highlighted or 0
        options.clear_options()
        problems = self.report.get("problems", [])
        for problem in problems:
            options.add_option(check_option(problem, self.report["of"]))
        note = ""
        if not self.report:
            options.add_option(Option(Content.styled(_NO_CHECKS, "$muted"), disabled=True))
        elif not problems:
            options.add_option(Option(Content.styled("Nothing was found.", "$success"), disabled=True))
        else:
            options.highlighted = min(kept, len(problems) - 1)
            note = (
                f"{sum(bool(p['rows']) for p in problems)} problems, {len(self.report['clean'])} checks found nothing"
            )
        self.query_one("#checks", Panel).set_note(note)

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem under the cursor of the checks."""
        index = self.query_one("#check-list", OptionList).highlighted
        problems = self.report.get("problems", [])
        return problems[index] if index is not None and index < len(problems) else None

    # ── the record ──

    @on(RowTable.Moved)
    def _moved(self, event: RowTable.Moved) -> None:
        event.stop()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(_SETTLE_SECONDS, self._settled)

    def _settled(self) -> None:
        self.show_columns()
        self.act("record", self.record.read)

    # ── events of the lists ──

    @on(OptionList.OptionSelected, "#dataset-list")
    def _dataset_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        log = self.logs.get(event.option_id or "")
        if log:
            self.act("open", self._open_chosen, log[0])

    @on(OptionList.OptionSelected, "#data-version-list")
    def _version_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        found = next((v for log in self.logs.values() for v in log if v.ref == event.option_id), None)
        if found is not None:
            self.act("open", self._open_chosen, found)

    async def _open_chosen(self, version: DatasetVersion) -> None:
        await self.open_version(version)
        self._list_datasets(version)
        self.remove_class("-sidebar")
        self.query_one("#row-table").focus()

    @on(OptionList.OptionSelected, "#check-list")
    def _check_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        problem = self.problem
        if problem is not None and problem["rows"]:
            self.act("filter", looking.show_problem, self, problem)

    @on(Input.Submitted, "#row-filter")
    def _filtered(self, event: Input.Submitted) -> None:
        event.stop()
        self.act("filter", looking.use_filter, self, event.value)
        self.query_one("#row-table").focus()

    @on(RowTable.Chosen)
    def _row_chosen(self, event: RowTable.Chosen) -> None:
        event.stop()
        self.query_one("#record-scroll").focus()

    # ── actions; what they do is in the modules beside ──

    def action_check(self) -> None:
        """Run all checks, as a job."""
        self.act("check", commands.check, self)

    def action_import_files(self) -> None:
        """Ask for files."""
        operations.ask_for_files(self)

    def action_filter(self) -> None:
        """Open the filter."""
        looking.open_filter(self)

    def action_clear(self) -> None:
        """Clear the filter, or close the sidebar."""
        looking.clear(self)

    def action_sort(self) -> None:
        """Sort by the column under the cursor."""
        self.act("filter", looking.sort, self)

    def action_views(self) -> None:
        """Choose a saved view."""
        self.act("views", looking.choose_view, self)

    def action_save(self) -> None:
        """Keep what is shown."""
        looking.keep_view(self)

    def action_shape(self) -> None:
        """The next shape of the record."""
        self.record.next_shape()
        self.act("record", self.record.read)

    def action_step_on(self) -> None:
        """The next record."""
        self.query_one("#row-table", RowTable).action_move(1)

    def action_step_back(self) -> None:
        """The record before."""
        self.query_one("#row-table", RowTable).action_move(-1)

    def action_flag(self) -> None:
        """Flag the row."""
        table = self.query_one("#row-table", RowTable)
        table.flag()
        self.query_one("#rows", Panel).set_note(f"{len(table.flagged):,} flagged" if table.flagged else "")

    def action_fix(self) -> None:
        """Mend what the check under the cursor found."""
        commands.fix(self)

    def action_operate(self) -> None:
        """Choose an operation."""
        operations.choose_operation(self)

    def action_edit(self) -> None:
        """Edit the row."""
        commands.edit_row(self)

    def action_remove(self) -> None:
        """Take rows out."""
        commands.remove_rows(self)

    action_delete = commands.delete

    def action_label(self) -> None:
        """Label rows."""
        labelling.ask_for_task(self)

    def action_console(self) -> None:
        """The SQL console."""
        from screens.datasets.console_screen import ConsoleScreen

        # A group of its own: coming back to the front reads the data again, which must not replace this.
        self.app.push_screen(ConsoleScreen(self.services), lambda ref: self.act("open", self.refresh_data, ref or ""))

    def action_profile(self) -> None:
        """The profile."""
        if self.version is not None:
            from screens.datasets.profile_screen import ProfileScreen

            self.app.push_screen(
                ProfileScreen(self.services, self.version, self.record.model_name, utf8=self.profile.utf8)
            )

    def action_diff(self) -> None:
        """Compare with the parent."""
        commands.compare(self)

    def action_tag(self) -> None:
        """Point a tag at the version."""
        commands.ask_for_tag(self)

    def action_restore(self) -> None:
        """Make the version the newest again."""
        self.act("operate", commands.restore, self)

    def action_model(self) -> None:
        """Choose the model."""
        self.act("model", commands.choose_model, self)

    async def undo(self) -> str:
        """Take the last operation back: the version before it is the newest again."""
        return await commands.undo(self)

    # ── what the base asks ──

    def reveal(self, panel: Panel) -> None:
        """Unfold the left column on a narrow terminal."""
        self.set_class(panel.id in {"datasets", "data-versions", "data-columns"}, "-sidebar")

    def copy_choices(self) -> list[tuple[str, str]]:
        """The record, the hash, the reference."""
        if self.version is None:
            return []
        record = [("record", json.dumps(self.record.row, ensure_ascii=False))] if self.record.row is not None else []
        return [*record, ("reference", self.version.ref), ("SHA-256", self.version.sha256)]

    def lineage_subject(self) -> str:
        """The version."""
        return f"dataset:{self.version.ref}" if self.version is not None else ""

    def cli_command(self) -> str:
        """The command for what is shown."""
        return commands.cli_command(self)
