"""Export of a version to any importable format, verified by reading the file back."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.datasets.content_hash import BULK_ROWS, hash_of
from llmops_tui.datasets.export_proof import ExportProof
from llmops_tui.datasets.file_types import WRITERS, find_writer, not_read_back, open_target, type_of
from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.writers import formats_for, writer
from llmops_tui.datasets.held import held
from llmops_tui.datasets.import_job import read_files
from llmops_tui.datasets.json_text import json_lines
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import REST, Row
from llmops_tui.datasets.reports import ExportedRecord, ReadSettings
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.files import bytes_in, sync_folder

# Fewer rows are many, too, where they have so many bytes as they are stored.
BULK_BYTES = 4 << 20


def export(
    version: DatasetVersion,
    target: Path,
    *,
    form: str | None = None,
    file_type: str | None = None,
    overwrite: bool = False,
    report: Report = no_report,
) -> ExportedRecord:
    """Write a version to a file or folder.

    ``form`` is the shape of its rows, the kind's own where none is given; ``file_type`` follows from the suffix. The
    result says in ``reads_back`` whether importing the file gives the same rows, and in ``differs`` why not.

    Raises:
        InputRefusedError: the target already exists, or a row cannot be written so without losing something.
    """
    # Each kind has a format of its name.
    form = form or version.kind
    if form != version.kind and form not in formats_for(version.kind):
        raise InputRefusedError(
            "format_refused",
            f"{version.kind} rows cannot be written as {form}",
            f"One of: {', '.join(formats_for(version.kind))}",
        )
    kind = file_type or type_of(target)
    write = find_writer(kind)
    if target.exists() and not overwrite:
        raise InputRefusedError(
            "file_exists", f"{target} already exists", "Choose another name, or overwrite it with --force."
        )
    if not target.parent.is_dir():
        raise InputRefusedError("folder_missing", f"there is no folder {target.parent}", "Create it first.")
    fresh = target.with_name(f".{target.name}.part{''.join(target.suffixes)}")
    _remove(fresh)
    try:
        with held([version]):
            if kind == "jsonl" and _by_columns(version, form):
                proven = _write_columns(version, form, fresh, report)
            else:
                proven = False
                write(version, _shaped(version, form, report), fresh)
            differs = "" if proven else _read_back(version, fresh, form, kind)
        if target.exists():
            _remove(target)
        fresh.rename(target)
    finally:
        _remove(fresh)
    sync_folder(target.parent)
    size = bytes_in(target)
    return {
        "path": str(target),
        "format": form,
        "type": kind,
        "rows": version.rows,
        "bytes": size,
        "reads_back": not differs,
        "differs": differs,
    }


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shaped(version: DatasetVersion, form: str, report: Report) -> Iterator[Row]:
    """The rows in the shape of a format; a row that does not fit ends the export with its number."""
    write = writer(form, version.kind)
    done = 0
    for batch in version.read():
        for number, row in batch:
            try:
                yield write(row)
            except RowRefusedError as error:
                raise InputRefusedError(
                    "row_refused", f"row {number:,}: {error}", "Export the dataset in its own format."
                ) from error
        done += len(batch)
        report(0.6 * done / max(1, version.rows), f"{done:,} of {counted(version.rows, 'row')}")


def _by_columns(version: DatasetVersion, form: str) -> bool:
    """Whether rows are written as they are stored, and are so many that it is worth to do it by columns."""
    packed = any(column.name == REST for column in version.columns)
    many = version.rows >= BULK_ROWS or version.size_bytes >= BULK_BYTES
    return form in {"tabular", version.kind} and many and bool(version.columns) and not packed


def _write_columns(version: DatasetVersion, form: str, path: Path, report: Report) -> bool:
    """Write all rows; whether that is proven to read back already."""
    proof = ExportProof(version, form)
    # Rows hold no cycles, and looking for some costs as much as reading them.
    gc.disable()
    try:
        with open_target(path) as file:
            for rows in json_lines(version):
                file.write(rows.data)
                proof.take(rows)
                report(0.9 * rows.done / version.rows, f"{rows.done:,} of {counted(version.rows, 'row')}")
    finally:
        gc.enable()
    return proof.holds(path)


def _read_back(version: DatasetVersion, path: Path, form: str, kind: str) -> str:
    """Why importing a file gives something else than the version; empty where it is the same."""
    if kind not in WRITERS:
        return not_read_back(kind)
    # What is only compared needs no place in the workspace, which may be one that can only be read.
    folder = Path(tempfile.mkdtemp(prefix="llmops-", dir=path.parent))
    try:
        unit = "line" if kind == "text" else "file"
        shape = "messages" if kind == "llm-log" else form
        settings: ReadSettings = {"format": shape, "mapping": {}, "table": "", "unit": unit}
        columns = read_files(folder, [path], settings, no_report)
        if hash_of(folder / "rows", columns) == version.present_hash:
            return ""
    except InputRefusedError as error:
        return error.message
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    was, now = {c.name: c.type for c in version.columns}, {c.name: c.type for c in columns}
    changed = [
        f"{n}: {was.get(n, 'none')} becomes {now.get(n, 'none')}" for n in {**was, **now} if was.get(n) != now.get(n)
    ]
    return "; ".join(changed) or "some values are written differently"


def run_export_job(
    context: Any, ref: str, target: str, form: str | None, file_type: str | None, *, overwrite: bool = False
) -> ExportedRecord:
    """The job: export a version."""
    from llmops_tui.workspace.catalog import Catalog

    store = DatasetStore(Catalog(context.workspace))
    return export(
        store.get(ref), Path(target), form=form, file_type=file_type, overwrite=overwrite, report=context.report
    )
