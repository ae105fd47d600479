"""Datasets as files of columns: Parquet, Arrow, and folders of Hugging Face's ``datasets``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.datasets.parts import PartWriter, typed_projection
from llmops_tui.datasets.records import ROW, Row
from llmops_tui.datasets.sources.arrow_values import storage_of
from llmops_tui.datasets.sources.columnar import JSON_FIELD, json_columns
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.workspace.sandbox import open_sandbox, quote_text

_ROWS = 10_000


def write_parquet(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    """As one file with nested types; a version in its own shape is copied by DuckDB."""
    folder = path.with_name(path.name + ".rows")
    try:
        out = PartWriter(folder)
        batch: list[Row] = []
        for row in rows:
            batch.append(row)
            if len(batch) >= 20_000:
                out.add(batch)
                batch = []
        out.add(batch)
        columns = out.finish()
        files = sorted(folder.glob("part-*.parquet"))
        connection = open_sandbox(files, folder=path.parent)
        try:
            names = typed_projection(columns)
            listed = ", ".join(quote_text(str(f)) for f in files)
            connection.execute(
                f"COPY (SELECT {names} FROM read_parquet([{listed}]) ORDER BY {ROW}) TO {quote_text(str(path))} (FORMAT parquet)"
            )
        finally:
            connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    del version


def write_arrow(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    """An Arrow file, which is what Feather is; lists and objects are JSON in texts, and said to be by the field."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = path.with_name(path.name + ".parquet")
    try:
        write_parquet(version, rows, parquet)
        with pq.ParquetFile(parquet) as file:
            nested = json_columns(file)
            fields = [
                pa.field(f.name, pa.string(), metadata=JSON_FIELD) if i in nested else f.remove_metadata()
                for i, f in enumerate(file.schema_arrow)
            ]
            schema = pa.schema(fields)
            with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, schema) as arrow:
                for batch in file.iter_batches(batch_size=_ROWS):
                    columns = [storage_of(column) for column in batch.columns]
                    arrow.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    finally:
        parquet.unlink(missing_ok=True)


def write_hugging_face(version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
    """A folder as ``datasets.load_from_disk`` reads it; lists and objects are its JSON feature."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.mkdir(mode=0o700)
    parquet = path / "rows.parquet"
    write_parquet(version, rows, parquet)
    name = "data-00000-of-00001.arrow"
    with pq.ParquetFile(parquet) as file:
        nested = json_columns(file)
        schema = pa.schema(
            [pa.field(f.name, pa.json_() if i in nested else f.type) for i, f in enumerate(file.schema_arrow)]
        )
        with pa.OSFile(str(path / name), "wb") as out, pa.ipc.new_stream(out, schema) as stream:
            for batch in file.iter_batches(batch_size=_ROWS):
                columns = [
                    pa.ExtensionArray.from_storage(pa.json_(), storage_of(column)) if i in nested else column
                    for i, column in enumerate(batch.columns)
                ]
                stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    parquet.unlink()
    kinds = {"int64": "int64", "double": "float64", "bool": "bool"}
    features = {
        f.name: {"_type": "Json"} if i in nested else {"dtype": kinds.get(str(f.type), "string"), "_type": "Value"}
        for i, f in enumerate(schema)
    }
    state: dict[str, object] = {
        "_data_files": [{"filename": name}],
        "_fingerprint": version.sha256[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (path / "dataset_info.json").write_text(json.dumps({"features": features}), encoding="utf-8")
    (path / "state.json").write_text(json.dumps(state), encoding="utf-8")
