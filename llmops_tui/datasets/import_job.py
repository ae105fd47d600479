"""Import of files: a resumable job that reads them into a new version."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.readers import kind_of, reader
from llmops_tui.datasets.formats.registry import find_format
from llmops_tui.datasets.formats.tables import canonical_table, takes_tables, turns_of
from llmops_tui.datasets.input_hashes import InputHashes
from llmops_tui.datasets.parts import Part, PartWriter, part_path
from llmops_tui.datasets.pending_rows import PendingRows
from llmops_tui.datasets.records import REST, Column, Row, dump_json
from llmops_tui.datasets.rejects import rejects_path, write_rejects
from llmops_tui.datasets.reports import ImportArguments, ImportedRecord, ReadSettings
from llmops_tui.datasets.sources.base import KEPT_RAW, Batch, Reject, Source
from llmops_tui.datasets.sources.discovery import find_all, read_batches
from llmops_tui.datasets.sources.streams import check_encoding
from llmops_tui.datasets.store import DatasetStore, check_name
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobCancelledError, JobContext
from llmops_tui.regular_files import read_regular
from llmops_tui.user_files import with_home
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import make_folder_within, write_atomic

if TYPE_CHECKING:
    from llmops_tui.workspace.layout import Workspace

ENTRY: JobEntry[ImportedRecord] = JobEntry("llmops_tui.datasets.import_job:run_import")
# A part is so many rows, or what so many bytes of input gave.
_PART_ROWS = 500_000
_PART_BYTES = 20 << 20
_NAMED = 5


@dataclass
class _State:
    """How far an import is: what a later try goes on from."""

    parts: list[Part]
    source: int = 0
    position: int = 0
    line: int = 0
    blank: int = 0
    rejected: int = 0
    reject_bytes: int = 0
    # Parts were being rewritten: which of them were is not known any more.
    rewriting: bool = False

    def save(self, path: Path) -> None:
        facts = {k: v for k, v in self.__dict__.items() if k != "parts"}
        parts = [{"rows": p.rows, "types": p.types, "largest": p.largest} for p in self.parts]
        write_atomic(path, json.dumps(facts | {"parts": parts}))

    @staticmethod
    def load(path: Path) -> _State:
        try:
            facts = json.loads(read_regular(path))
        except FileNotFoundError:
            return _State([])
        return _State([Part(**part) for part in facts.pop("parts")], **facts)


def suggested_name(path: Path) -> str:
    """A name for what is imported from a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.partition(".")[0]).strip("-.") or "dataset"


def start_arguments(
    paths: Sequence[Path],
    name: str,
    form: str,
    mapping: dict[str, str] | None = None,
    *,
    table: str = "",
    unit: str = "line",
    encoding: str = "",
) -> ImportArguments:
    """The arguments of an import job, checked before it starts.

    Raises:
        InputRefusedError: the name, format or mapping cannot be.
    """
    check_name(name)
    find_format(form)
    if mapping and form != "tabular":
        raise InputRefusedError("mapping_refused", f"a mapping is for tables, not for {form}", "Use --format tabular.")
    return {
        "paths": [str(with_home(path).resolve()) for path in paths],
        "name": name,
        "form": form,
        "mapping": mapping or {},
        "table": table,
        "unit": unit,
        "encoding": check_encoding(encoding),
    }


def run_import(
    context: JobContext | _Folder,
    paths: list[str],
    name: str,
    form: str,
    mapping: dict[str, str],
    table: str,
    unit: str,
    encoding: str = "",
) -> ImportedRecord:
    """The job: read the files into a new version of a dataset. Started again in its folder, it goes on where it was."""
    store = DatasetStore(Catalog(context.workspace))
    sources = find_all([Path(path) for path in paths], table=table, unit=unit, encoding=encoding)
    done = _Import(context, sources, form, mapping)
    with InputHashes(source.path for source in sources) as hashes:
        columns = done.read()
        if not done.rows:
            raise _nothing_read(done, sources)
        context.report(0.9, "hashing the files")
        inputs = hashes.all()
    kind = kind_of(form, mapping)
    settings: ReadSettings = {"format": form, "mapping": mapping, "table": table, "unit": unit}
    if encoding:
        settings["encoding"] = encoding
    if has_member_splits(sources):
        settings["member_splits"] = True
    parent = next(iter(store.logs().get(name, [])), None)
    context.report(0.95, "hashing the rows")
    made: list[DatasetVersion] = []

    def store_rejects(fresh: DatasetVersion) -> None:
        made.append(fresh)
        done.store_rejects(context.workspace, fresh)

    version = store.keep(
        done.folder,
        name,
        kind=kind,
        columns=columns,
        recipe=Recipe("import", dict(settings), tuple(inputs)),
        rejected=done.state.rejected,
        digest=done.digest(columns),
        parent=parent.number if parent else None,
        beside=store_rejects,
    )
    if version.id != made[0].id:
        # The newest version is the same, and has its own.
        rejects_path(context.workspace, made[0]).unlink(missing_ok=True)
    if form == "tabular" and mapping:
        store.keep_mapping(tuple(done.source_columns), mapping)
    told: ImportedRecord = {
        **version.as_dict(),
        "blank_lines": done.state.blank,
        "without_values": done.unkept(columns),
    }
    return told


def _nothing_read(done: _Import, sources: Sequence[Source]) -> InputRefusedError:
    if not done.state.rejected:
        paths = list(dict.fromkeys(str(source.path) for source in sources))
        named = ", ".join(paths[:_NAMED]) + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
        hint = "Check that it is the right file, and that the program that writes it has ended."
        return InputRefusedError("nothing_imported", f"there is no record in {named}", hint)
    rejects = done.first_rejects()
    told = "; ".join(f"line {reject.line:,}: {reject.reason}" for reject in rejects)
    utf8 = any("UTF-8" in reject.reason for reject in rejects)
    return InputRefusedError(
        "nothing_imported",
        f"none of {counted(done.state.rejected, 'record')} could be read as {done.form}: {told}",
        "If the file is not UTF-8, give --encoding, for example latin-1." if utf8 else "Choose another --format.",
    )


class _Folder:
    """The context of reading files outside a job."""

    def __init__(self, workspace: Workspace | None, folder: Path, tell: Callable[[float, str], None]) -> None:
        self._workspace = workspace
        self.folder = folder
        self.report = tell

    @property
    def workspace(self) -> Workspace:
        """The workspace that a version goes into."""
        assert self._workspace is not None
        return self._workspace


def import_now(store: DatasetStore, paths: Sequence[Path], name: str, form: str, **options: Any) -> DatasetVersion:
    """Import small files here and now, without a job."""
    folder = store.staging()
    try:
        arguments = start_arguments(paths, name, form, options.pop("mapping", None), **options)
        made = run_import(_Folder(store.workspace, folder, lambda _share, _text: None), **arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return store.get(f"{made['dataset']}@{made['version']}")


def _sources_again(paths: Sequence[Path], settings: ReadSettings) -> tuple[Source, ...]:
    return find_all(paths, table=settings["table"], unit=settings["unit"], encoding=settings.get("encoding", ""))


def ways_to_read(paths: Sequence[Path], settings: ReadSettings) -> list[ReadSettings]:
    """The settings with which these files may have been read: as noted, and as may have been without a note of it.

    Rows got a split by the file of an archive that they are in before that was noted.
    """
    if "member_splits" in settings or not has_member_splits(_sources_again(paths, settings)):
        return [settings]
    return [settings, {**settings, "member_splits": True}]


def has_member_splits(sources: Sequence[Source]) -> bool:
    """Whether rows of files in an archive get a split by their file."""
    return any(source.member and source.split for source in sources)


def read_files(
    folder: Path, paths: Sequence[Path], settings: ReadSettings, tell: Callable[[float, str], None]
) -> list[Column]:
    """Read files as an import with these settings did, into ``rows`` in a folder; returns the columns."""
    sources: Sequence[Source] = _sources_again(paths, settings)
    if not settings.get("member_splits"):
        sources = [replace(source, split="") if source.member else source for source in sources]
    return _Import(_Folder(None, folder, tell), sources, settings["format"], settings["mapping"]).read()


class _Import:
    """Reads sources into parts in the job's folder, and keeps note of how far it is after each part."""

    def __init__(
        self, context: JobContext | _Folder, sources: Sequence[Source], form: str, mapping: dict[str, str]
    ) -> None:
        self._context = context
        self._sources = sources
        self.form = form
        self._read = reader(form, mapping)
        self._plain = form == "tabular" and not mapping
        self._mapped = bool(mapping)
        self._tables = turns_of(form) if takes_tables(form) and not mapping else None
        self.folder = make_folder_within(context.folder / "rows")
        self._state_path = context.folder / "import.json"
        self._rejects = context.folder / "rejects.jsonl"
        self.state = _State.load(self._state_path)
        if self.state.rewriting or not all(part_path(self.folder, n).exists() for n in range(len(self.state.parts))):
            # It was ended in its last moments, when the parts were no longer as they had been noted.
            self.state = _State([])
        self.source_columns: dict[str, None] = {}
        self._form = form
        self._named: dict[str, None] = {}
        self._pending = PendingRows()
        untyped = all(source.untyped for source in sources)
        self._writer = PartWriter(self.folder, list(self.state.parts), read_texts=untyped)
        with self._rejects.open("ab") as file:
            file.truncate(self.state.reject_bytes)

    def read(self) -> list[Column]:
        """Read all that is left; returns the columns."""
        # Rows hold no cycles, and looking for some among millions of objects costs a third of the time.
        gc.disable()
        try:
            for number in range(self.state.source, len(self._sources)):
                source = self._sources[number]
                position, line = (self.state.position, self.state.line) if number == self.state.source else (0, 0)
                last = Batch(position=position, line=line)
                for last in read_batches(source, position, line, tables=self._tables):
                    self._take(source, last)
                    self._pending.size += last.size
                    if self._full and last.share < 1:
                        self._flush(number, last.position, last.line)
                    self._report(number, last.share)
                # Many small files share a part: what is noted after each part grows with their number.
                if self._full or number == len(self._sources) - 1:
                    self._flush(number + 1, 0, 0)
            if self._writer.wait():
                replace(self.state, rewriting=True).save(self._state_path)
            return self._writer.finish()
        except JobCancelledError:
            self._writer.give_up()
            raise
        finally:
            gc.enable()

    @property
    def _full(self) -> bool:
        """Whether what was read is enough for a part."""
        return self._pending.rows >= _PART_ROWS or self._pending.size >= _PART_BYTES

    def _report(self, number: int, share: float) -> None:
        count = self._writer.rows + self._pending.rows
        rejected = f", {self.state.rejected:,} rejected" if self.state.rejected else ""
        self._context.report(0.9 * (number + share) / len(self._sources), f"{counted(count, 'row')}{rejected}")

    def _take(self, source: Source, batch: Batch) -> None:
        if batch.table is not None and batch.by_row is not None:
            by_row = batch.by_row
            table = canonical_table(self._form, batch.table)
            if table is not None and self._writer.takes(table.column_names):
                self._pending.add_table(table, lambda: list(map(self._read, by_row().rows)))
                return
            batch = by_row()
        rejects = batch.rejects
        if self._plain:
            self._named |= dict.fromkeys(batch.columns)
            self._pending.add_rows(batch.rows)
        else:
            self._pending.add_rows(self._canonical(source, batch))
        self.state.blank += batch.blank
        self.state.rejected += len(rejects)
        if rejects:
            with self._rejects.open("ab") as file:
                for reject in rejects:
                    facts = reject.__dict__ | {"raw": base64.b64encode(reject.raw).decode()}
                    file.write(json.dumps(facts).encode() + b"\n")

    def _canonical(self, source: Source, batch: Batch) -> list[Row]:
        """The rows as the format reads them; those that it refuses go to the batch's rejects."""
        read, rows = self._read, []
        for row, line in zip(batch.rows, batch.lines, strict=True):
            if self._mapped and len(self.source_columns) < 1000:
                self.source_columns.update(dict.fromkeys(row))
            try:
                rows.append(read(row))
            except RowRefusedError as error:
                raw = dump_json(row).encode()
                batch.rejects.append(Reject(str(source.path), line, -1, len(raw), str(error), raw[:KEPT_RAW]))
        return rows

    def _flush(self, source: int, position: int, line: int) -> None:
        """Write what was read as a part, and then how far that is."""
        # A copy, since what is read after this must not be counted as written.
        kept = replace(
            self.state, source=source, position=position, line=line, reject_bytes=self._rejects.stat().st_size
        )
        if not self._pending.rows:
            return

        def written(number: int) -> None:
            # Parts are written one after another: those before this one are on disk too.
            kept.parts = self._writer.parts[: number + 1]
            kept.save(self._state_path)

        size, given = self._pending.size, self._pending.take()
        if isinstance(given, list):
            self._writer.add(given, written, size)
        else:
            self._writer.add_table(given, written)

    def digest(self, columns: list[Column]) -> str | None:
        """The content hash of what was read, where it was taken meanwhile."""
        return self._writer.digest(columns)

    def unkept(self, columns: list[Column]) -> list[str]:
        """The columns that the files have and no row has a value of, so that they are none here."""
        found = self._writer.without_values(columns)
        kept = {column.name for column in columns}
        # Where fields are packed, those may be among them.
        return found if REST in kept else [*found, *(n for n in self._named if n not in kept and n not in found)]

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self._writer.rows

    def first_rejects(self) -> list[Reject]:
        """The first three records that were rejected."""
        with self._rejects.open("rb") as file:
            facts = [json.loads(line) for line in itertools.islice(file, 3)]
        return [Reject(**fact | {"raw": base64.b64decode(fact["raw"])}) for fact in facts]

    def store_rejects(self, workspace: Workspace, version: DatasetVersion) -> None:
        """Keep what was rejected beside the version."""
        if self.state.rejected:
            write_rejects(workspace, version, self._rejects)
