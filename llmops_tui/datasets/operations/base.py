"""The interface of operations, their registry, and how one is applied or repeated."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.datasets.content_hash import BULK_ROWS, hash_of
from llmops_tui.datasets.held import held
from llmops_tui.datasets.operations.repeatable import changing
from llmops_tui.datasets.parts import PartWriter, typed_projection
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import ROW, Column, Row
from llmops_tui.datasets.reports import ReadSettings, VersionRecord
from llmops_tui.datasets.selects import write_in_order, write_select
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import limited, lock, open_sandbox, quote_name

OPERATION_SECONDS = 3600.0


@dataclass(frozen=True)
class Made:
    """What an operation made: the columns and kind of the rows in the folder, and a few words on what happened."""

    columns: list[Column]
    kind: str
    note: str = ""
    # The content hash, where it was taken while the rows were written.
    digest: str | None = None


@dataclass
class Work:
    """What an operation is given: the versions it is applied to, its parameters, and an empty folder for its files."""

    inputs: list[DatasetVersion]
    parameters: dict[str, Any]
    folder: Path
    report: Report = field(default=no_report)

    @property
    def first(self) -> DatasetVersion:
        """The version it is applied to."""
        return self.inputs[0]

    def parameter(self, name: str, default: Any = None) -> Any:
        """A parameter; refused where it is missing and has no default."""
        value = self.parameters.get(name, default)
        if value is None:
            raise InputRefusedError(
                "parameter_missing", f"{name} is missing", "llmops data -h lists the required arguments."
            )
        return value

    def pin(self, name: str, value: Any) -> None:
        """Have the recipe say what a parameter stood for, so that following it again gives the same."""
        self.parameters[name] = value

    def select(self, condition: str, *, order: str = ROW, note: str = "", views: bool = True) -> Made:
        """Keep the rows for which an SQL condition holds, in an order. The SQL may be the user's."""
        version = self.first
        names = ", ".join([ROW, *(quote_name(c.name) for c in version.columns)])
        inner = f"SELECT {ROW} FROM rows WHERE {condition}" if views else condition
        text = f"SELECT {names} FROM stored WHERE {ROW} IN ({inner}) ORDER BY {order}"
        in_order = f"SELECT {names} FROM rows WHERE {condition}" if views and order == ROW and self._plain else ""
        return self.write(text, list(version.columns), version.kind, note, in_order)

    def _written(self, rows: int) -> None:
        self.report(0.6 + 0.4 * rows / max(1, self.first.rows), f"{counted(rows, 'row')} written")

    @property
    def _plain(self) -> bool:
        """Whether there are many rows, whose values are stored as a condition sees them."""
        columns = self.first.columns
        return self.first.rows >= BULK_ROWS and bool(columns) and all(c.type != "json" for c in columns)

    def write(
        self,
        text: str,
        columns: list[Column] | None,
        kind: str,
        note: str = "",
        in_order: str = "",
    ) -> Made:
        """Write what a SELECT gives as the version's rows.

        ``in_order`` is a SELECT of the same rows that asks for no order: they come in theirs as a rule, and faster.
        """
        connection = open_sandbox([f for v in self.inputs for f in v.files], folder=self.folder, memory="1GB")
        try:
            for index, version in enumerate(self.inputs):
                stored, rows = ("stored", "rows") if index == 0 else (f"stored{index}", f"rows{index}")
                connection.execute(f"CREATE VIEW {stored} AS SELECT * FROM {version.source}")
                connection.execute(
                    f"CREATE VIEW {rows} AS SELECT {ROW}, {typed_projection(version.columns)} FROM {stored}"
                )
                # A query names its datasets.
                for name in {version.dataset, version.ref} - {"rows", "stored"}:
                    connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS SELECT * FROM {rows}")
            lock(connection)
            self.report(0.1, "writing")
            path = self.folder / "part-00000.parquet"
            with limited(connection, OPERATION_SECONDS):
                if (
                    in_order
                    and columns
                    and (made := write_in_order(connection, in_order, path, columns, report=self._written))
                ):
                    return Made(made[0], kind, note, made[1])
                columns = write_select(connection, text, path, columns)
        except InputRefusedError as error:
            if error.code != "query_refused" or len(self.inputs) > 1:
                raise
            # What may be named is a row's columns; DuckDB names those of the view around it.
            known = ", ".join(c.name for c in self.first.columns)
            raise InputRefusedError(error.code, error.message, f"Columns: {known}") from error
        finally:
            connection.close()
        return Made(columns, kind, note)

    def kept(self) -> str:
        """How many rows of those that it is applied to went; how many are left is told of every version."""
        import pyarrow.parquet as pq

        left = sum(pq.read_metadata(path).num_rows for path in self.folder.glob("part-*.parquet"))
        return f"−{counted(self.first.rows - left, 'row')}" if left != self.first.rows else "all rows stay"

    def gone(self) -> str:
        """The same behind a comma, where rows went."""
        kept = self.kept()
        return f", {kept}" if kept.startswith("−") else ""

    def rewrite(self, change: Callable[[int, Row], Row | None], kind: str | None = None, note: str = "") -> Made:
        """Write each row as ``change`` gives it for its number, or leave it out where that is none."""
        writer = PartWriter(self.folder)
        done, rows = 0, []
        for batch in self.first.read():
            rows += [fresh for number, row in batch if (fresh := change(number, row)) is not None]
            done += len(batch)
            if len(rows) >= 20_000:
                writer.add(rows)
                rows = []
            self.report(done / max(1, self.first.rows), f"{done:,} of {counted(self.first.rows, 'row')}")
        writer.add(rows)
        return Made(writer.finish(), kind or self.first.kind, note)

    def without(self, dropped: Collection[int], note: str) -> Made:
        """All rows but some."""
        if len(dropped) < self.first.rows and self._plain:
            keep = np.ones(self.first.rows, np.bool_)
            keep[np.fromiter(dropped, np.int64, len(dropped))] = False
            columns = list(self.first.columns)
            connection = open_sandbox(self.first.files, folder=self.folder, memory="1GB")
            try:
                text = f"SELECT {', '.join([ROW, *(quote_name(c.name) for c in columns)])} FROM {self.first.source}"
                made = write_in_order(
                    connection, text, self.folder / "part-00000.parquet", columns, keep, self._written
                )
            finally:
                connection.close()
            if made is not None:
                return Made(made[0], self.first.kind, note, made[1])
        numbers = set(dropped)
        return self.rewrite(lambda number, row: None if number in numbers else row, note=note)


# Each by name: the module and function that does it. Loaded when it is needed.
OPERATIONS: dict[str, str] = {
    "filter": "selection:filter_rows", "sample": "selection:sample", "sort": "selection:sort", "select": "selection:select",
    "map": "selection:map_column", "query": "selection:query", "edit": "selection:edit", "concat": "concatenation:concat",
    "mix": "concatenation:mix", "split": "splits:split", "dedup": "cleaning:dedup", "fix": "cleaning:fix",
    "redact": "cleaning:redact", "pseudonymise": "cleaning:pseudonymise", "reveal": "cleaning:reveal",
    "label": "labels:label", "noise": "augmentation:noise",
}  # fmt: skip


def apply(
    store: DatasetStore,
    operation: str,
    refs: Sequence[str],
    parameters: dict[str, Any],
    *,
    name: str | None = None,
    report: Report = no_report,
) -> DatasetVersion:
    """Make a version by an operation; it is the next of the first input's dataset, or of ``name``.

    Raises:
        InputRefusedError: unknown operation, missing input or parameter, or the operation refuses.
    """
    inputs = [store.get(ref) for ref in refs]
    # The operation may add to them what the recipe has to say.
    parameters = dict(parameters)
    folder = store.staging()
    try:
        with held(inputs):
            made = _function(operation)(Work(inputs, parameters, folder, report))
        target = name or inputs[0].dataset
        recipe = Recipe(operation, parameters, tuple((v.ref, v.sha256) for v in inputs))
        same = [v for v in inputs if v.dataset == target]
        return store.keep(
            folder,
            target,
            kind=made.kind,
            columns=made.columns,
            recipe=recipe,
            note=made.note + _told_of(inputs[0], parameters),
            digest=made.digest,
            parent=same[0].number if same else None,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _changing(version: DatasetVersion, parameters: Mapping[str, object]) -> str:
    return ", ".join(changing(parameters, frozenset(c.name.lower() for c in version.columns)))


def _told_of(version: DatasetVersion, parameters: Mapping[str, object]) -> str:
    others = _changing(version, parameters)
    return f"; cannot be made again: {others} gives other values each time" if others else ""


def remake(store: DatasetStore, ref: str, report: Report = no_report) -> tuple[DatasetVersion, str]:
    """Follow a version's recipe again; returns the version and the hash of what came out, which should be its own.

    Raises:
        InputRefusedError: an input is gone, or holds something else now.
    """
    version = store.get(ref)
    recipe = version.recipe
    if recipe.operation in {"restore", "import"}:
        return version, _again_from_files(store, version, report)
    if recipe.operation == "synthesise":
        raise InputRefusedError(
            "not_repeatable",
            f"the rows of {version.ref} were written by {recipe.parameters['model']}, which may write others the next time",
            "Its rows are stored, and stay as they are.",
        )
    by_hash = {v.sha256: v for versions in store.logs().values() for v in versions}
    missing = [name for name, digest in recipe.inputs if digest not in by_hash]
    if missing:
        raise InputRefusedError(
            "input_missing", f"{version.ref} was made from {missing[0]}, which is not in this workspace"
        )
    inputs = [by_hash[digest] for _, digest in recipe.inputs]
    if inputs and (others := _changing(inputs[0], recipe.parameters)):
        raise InputRefusedError(
            "not_repeatable",
            f"{version.ref} was made with {others}, which gives other values each time",
            "Its rows are stored, and stay as they are.",
        )
    folder = store.staging()
    try:
        with held(inputs):
            made = _function(recipe.operation)(Work(inputs, dict(recipe.parameters), folder, report))
        return version, hash_of(folder, made.columns, version.scheme)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _again_from_files(store: DatasetStore, version: DatasetVersion, report: Report) -> str:
    if version.recipe.operation == "restore":
        return remake(store, f"{version.dataset}@{version.recipe.parameters['from']}", report)[1]
    from llmops_tui.datasets.import_job import read_files, ways_to_read
    from llmops_tui.datasets.input_hashes import digest_of

    for path, digest in version.recipe.inputs:
        if not Path(path).exists() or digest_of(Path(path)) != digest:
            raise InputRefusedError(
                "input_changed", f"{path} is missing, or differs from the file that {version.ref} was imported from"
            )
    paths = [Path(path) for path, _ in version.recipe.inputs]
    digest = ""
    for settings in ways_to_read(paths, cast("ReadSettings", version.recipe.parameters)):
        folder = store.staging()
        try:
            columns = read_files(folder, paths, settings, report)
            digest = hash_of(folder / "rows", columns, version.scheme)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if digest == version.sha256:
            break
    return digest


def _function(operation: str) -> Callable[[Work], Made]:
    if operation not in OPERATIONS:
        raise InputRefusedError("unknown_operation", f"{operation!r} is not an operation", ", ".join(OPERATIONS))
    module, _, function = OPERATIONS[operation].partition(":")
    found: Callable[[Work], Made] = getattr(
        importlib.import_module(f"llmops_tui.datasets.operations.{module}"), function
    )
    return found


def run_job(
    context: Any, operation: str, refs: list[str], parameters: dict[str, Any], name: str | None = None
) -> VersionRecord:
    """The job: apply an operation, with progress; cancelled between rows."""
    from llmops_tui.workspace.catalog import Catalog

    store = DatasetStore(Catalog(context.workspace))
    return apply(store, operation, refs, parameters, name=name, report=context.report).as_dict()
