"""The datasets screen: lists, the rows of the open version, the current record, and problems."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.datasets.apply_operation import apply_operation
from screens.datasets.as_text import command_of, copied
from screens.datasets.check_version import check_version
from screens.datasets.checks_pane import ChecksPane
from screens.datasets.choose_operation import choose_operation
from screens.datasets.columns_pane import ColumnsPane
from screens.datasets.dataset_list_pane import DatasetListPane
from screens.datasets.export_version import export_version
from screens.datasets.import_files import ask_for_import, import_files
from screens.datasets.label_rows import label_rows
from screens.datasets.operation import Export, Operation, OperationWanted, Split, Synthesis
from screens.datasets.record_pane import RecordPane
from screens.datasets.rows_pane import RowsPane
from screens.datasets.show_rejects import show_rejects
from screens.datasets.split_version import split_version
from screens.datasets.synthesise_rows import synthesise_rows
from screens.datasets.versions_pane import VersionsPane
from screens.datasets.which_opens import which_opens
from screens.navigation import DatasetPlace, Destination
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import ImportArguments
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.maintenance.acts import Act
    from screens.services import Services
    from screens.terminal import TerminalProfile
    from screens.widgets.panel import Panel


def make(services: Services, profile: TerminalProfile) -> DatasetsScreen:
    """Make the screen."""
    return DatasetsScreen(services, profile)


class DatasetsScreen(BaseScreen):
    """Left what there is, right what is in it."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("datasets")  # type: ignore[assignment]
    AUTO_FOCUS = "#dataset-list"
    opens = (DatasetPlace,)
    scope = "datasets"
    about = (
        "Data for training and evaluation. Files are previewed before they are imported; each operation makes a "
        "new version with its recipe, and the rows of a version never change. Training and evaluation refer to "
        "versions. z takes back what was done last, Z does it again."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.logs: dict[str, list[DatasetVersion]] = {}
        self.version: DatasetVersion | None = None

    def compose_body(self) -> ComposeResult:
        """Six panes."""
        with Horizontal(id="columns"):
            with Vertical(id="data-side", classes="column"):
                yield DatasetListPane()
                yield VersionsPane()
                yield ColumnsPane()
            with Vertical(id="data-main", classes="column"):
                yield RowsPane()
                yield RecordPane()
                yield ChecksPane()

    @property
    def _rows(self) -> RowsPane:
        return self.query_one(RowsPane)

    @property
    def _record(self) -> RecordPane:
        return self.query_one(RecordPane)

    @property
    def _columns(self) -> ColumnsPane:
        return self.query_one(ColumnsPane)

    @property
    def _checks(self) -> ChecksPane:
        return self.query_one(ChecksPane)

    def on_screen_resume(self) -> None:
        """Read again."""
        self.act("load", self.refresh_data)
        if self.has_class("-narrow"):
            self.query_one("#row-table").focus()

    async def refresh_data(self, open_ref: str = "", *, leaves: bool = False) -> None:
        """Read the datasets, and open one: the one asked for, the one that is open, or the first; ``leaves`` what is archived."""
        self.logs = await asyncio.to_thread(lambda: self.services.datasets.logs())
        archived = {} if self.shows_archived else await asyncio.to_thread(lambda: self.services.archive.by_kind())
        await self._record.find_model()
        wanted = which_opens(self.logs, open_ref, self.version, archived.get("dataset", frozenset()), leaves=leaves)
        self.query_one(DatasetListPane).show(self.logs, wanted.dataset if wanted is not None else "")
        if wanted is not None and self.version is not None and wanted.id == self.version.id:
            self.version = wanted  # its tags may be others
            self._list_versions(wanted)
        else:
            await self.open_version(wanted)

    def _list_versions(self, version: DatasetVersion | None) -> None:
        self.query_one(VersionsPane).show(self.logs.get(version.dataset, []) if version is not None else [], version)

    async def open_version(self, version: DatasetVersion | None) -> None:
        """Show a version's rows, or that there is none; what else there is to say of it follows."""
        await self._rows.open(version)
        self.version = version
        self._record.open(version)
        self._columns.open(version)
        self._checks.open(version)
        self._list_versions(version)
        if version is not None:
            self.act("facts", self._read_facts, version)

    async def _read_facts(self, version: DatasetVersion) -> None:
        """Checks and columns, each shown as soon as it is known."""
        await self._checks.read(version)
        await self._columns.read(version)
        await self._checks.check_unasked(version)

    @on(DatasetListPane.Chosen)
    def _dataset_chosen(self, event: DatasetListPane.Chosen) -> None:
        if log := self.logs.get(event.dataset):
            self.act("open", self._open_chosen, log[0])

    @on(VersionsPane.Chosen)
    def _version_chosen(self, event: VersionsPane.Chosen) -> None:
        self.act("open", self._open_chosen, event.version)

    async def _open_chosen(self, version: DatasetVersion) -> None:
        await self.open_version(version)
        self.query_one(DatasetListPane).show(self.logs, version.dataset)
        self.remove_class("-sidebar")
        self.query_one("#row-table").focus()

    @on(DatasetListPane.Changed)
    def _datasets_changed(self, event: DatasetListPane.Changed) -> None:
        self.act("load", self._open_named, event.opens)

    async def _open_named(self, name: str, *, leaves: bool = False) -> None:
        version = await asyncio.to_thread(self.services.datasets.get, name) if name else None
        await self.refresh_data(version.ref if version is not None else "", leaves=leaves)

    @on(VersionsPane.Changed)
    def _changed(self) -> None:
        self.act("load", self.refresh_data)

    @on(VersionsPane.Restored)
    def _restored(self, event: VersionsPane.Restored) -> None:
        self.act("operate", self._open_made, event.version)

    @on(RowsPane.CursorMoved)
    def _cursor_moved(self, event: RowsPane.CursorMoved) -> None:
        self._columns.inspect(event.column)
        self._record.inspect(event.version, event.row, event.original)

    @on(RowsPane.Chosen)
    def _row_chosen(self) -> None:
        self.query_one("#record-scroll").focus()

    @on(ChecksPane.Chosen)
    def _problem_chosen(self, event: ChecksPane.Chosen) -> None:
        self._rows.show_problem(event.problem)

    @on(OperationWanted)
    def _operation_wanted(self, event: OperationWanted) -> None:
        self.act("operate", self._apply, event.operation)

    async def _apply(self, operation: Operation) -> None:
        await self._open_made(await apply_operation(self.shell, self._rows, operation))

    async def _open_made(self, *made: DatasetVersion | None) -> None:
        if versions := [one for one in made if one is not None]:
            await asyncio.to_thread(self.services.undo.note_rows, *versions)
            await self.show_archive()
            await self.refresh_data(versions[0].ref)

    async def _split(self, split: Split) -> None:
        await self._open_made(*await split_version(self.shell, self._rows, split))

    async def _synthesise(self, wanted: Synthesis) -> None:
        await self._open_made(await synthesise_rows(self.shell, self._rows, wanted))

    def action_operate(self) -> None:
        """Choose an operation."""
        if self.version is None:
            self.shell.say("No datasets yet: i imports one.", severity="warning")
        else:
            self.ask_by("choose", self._choose_operation, self.version)

    async def _choose_operation(self, version: DatasetVersion) -> None:
        # Each in the group of its kind: a menu that is opened and left does not replace what is at work.
        if isinstance(chosen := await choose_operation(self.shell, version), Operation):
            self.act("operate", self._apply, chosen)
        elif isinstance(chosen, Split):
            self.act("operate", self._split, chosen)
        elif isinstance(chosen, Export):
            self.ask_by("export", export_version, self.shell, self._rows, chosen)
        elif isinstance(chosen, Synthesis):
            self.ask_by("operate", self._synthesise, chosen)
        elif chosen is not None:
            self.ask_by("rejects", show_rejects, self.shell, version, self.logs[version.dataset])

    async def undone(self, act: Act) -> None:
        """Show the version that is the newest now, or what is first in the list where its dataset is archived by that."""
        await self._open_named({"rows": act.subject, "dataset": act.called}.get(act.kind, ""), leaves=True)

    def action_delete(self) -> None:
        """Delete the datasets of the list where it has the focus, else versions."""
        if not self.query_one(DatasetListPane).offer_removal():
            self.query_one(VersionsPane).action_delete()

    def action_check(self) -> None:
        """Run all checks, as a job."""
        if self.version is not None:
            self.act("check", self._check, self.version)

    async def _check(self, version: DatasetVersion) -> None:
        async with self._checks.checking(version):
            await check_version(self.shell, self._rows, version)
        if self.version is not None and self.version.id == version.id:
            await self.open_version(version)

    def action_import_files(self) -> None:
        """Ask for files."""
        self.ask_by("choose", self._choose_files)

    async def _choose_files(self) -> None:
        arguments = await ask_for_import(self.shell)
        if arguments is not None:
            self.act("import", self._import, arguments)

    async def _import(self, arguments: ImportArguments) -> None:
        await self._open_made(await import_files(self.shell, self._rows, arguments))

    def action_label(self) -> None:
        """Label rows."""
        if self.version is not None:
            self.ask_by("label", self._label, self.version)

    async def _label(self, version: DatasetVersion) -> None:
        await self._open_made(await label_rows(self.shell, version, self._columns.statistics))

    def action_console(self) -> None:
        """The SQL console."""
        self.ask_by("console", self._open_console)

    async def _open_console(self) -> None:
        from screens.datasets.console_screen import ConsoleScreen

        ref = await self.shell.ask(ConsoleScreen(self.services))
        # A group of its own: coming back to the front reads the data again, which must not replace this.
        self.act("open", self.refresh_data, ref or "")

    def action_clear(self) -> None:
        """Clear the filter; where there is none, fold the left column."""
        if not self._rows.clear():
            self.remove_class("-sidebar")

    def reveal(self, panel: Panel) -> None:
        """Unfold the left column on a narrow terminal."""
        self.set_class(panel.id in {"datasets-list", "datasets-versions", "datasets-columns"}, "-sidebar")

    async def go_to(self, destination: Destination) -> None:
        """Open a version."""
        if isinstance(destination, DatasetPlace):
            self.act("load", self.refresh_data, destination.version)
            if destination.checks:
                self._checks.focus_inside()

    def place(self) -> DatasetPlace | None:
        """The version that is open."""
        return DatasetPlace(self.version.ref) if self.version is not None else None

    def copy_choices(self) -> list[tuple[str, str]]:
        """The record, the hash, the reference."""
        return copied(self.version, self._record.row)

    def lineage_subject(self) -> str:
        """The version."""
        return f"dataset:{self.version.ref}" if self.version is not None else ""

    def cli_command(self) -> str:
        """The command for what is shown."""
        return command_of(self.version, self._rows.filter)
