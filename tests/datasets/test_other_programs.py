"""What is exported, read by the programs of the field: the same values, whatever the rows hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from tests.datasets.conftest import Fill, rows_of

pytestmark = pytest.mark.slow
PARTS = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "a.png"}}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}
ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": PARTS},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "{}", "tool_call_id": "1"},
            {"role": "assistant", "content": "Ü \u2028 \U0001f600", "reasoning_content": "so"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "images": ["a.png"],
        "number": 1.5,
        "whole": 2**60,
        "yes": True,
        "text": "x",
    },
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "so"}], "meta": [1, None, "x"]},
]


@pytest.fixture
def version(fill: Fill) -> DatasetVersion:
    return fill(ROWS, "talk", "messages")


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


def there(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def test_datasets_opens_a_folder_and_every_file(version: DatasetVersion, datasets: Any, tmp_path: Path) -> None:
    assert export(version, tmp_path / "folder")["reads_back"]
    assert list(map(there, datasets.load_from_disk(str(tmp_path / "folder")))) == ROWS
    for kind, name in (("parquet", "x.parquet"), ("json", "x.jsonl")):
        export(version, tmp_path / name)
        loaded = datasets.load_dataset(
            kind, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert list(map(there, loaded)) == ROWS


def test_what_datasets_saves_is_imported_with_its_values(store: DatasetStore, datasets: Any, tmp_path: Path) -> None:
    from llmops_tui.datasets.import_job import import_now

    rows = [{"a": 1, "b": [{"c": "x", "d": None}]}, {"a": 2, "b": []}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    assert rows_of(import_now(store, [tmp_path / "saved"], "saved", "tabular")) == rows


def test_polars_and_pandas_read_the_same_values(fill: Fill, tmp_path: Path) -> None:
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    rows = [
        {"n": 2**60, "f": 0.1, "yes": True, "t": "ü"},
        {"n": -1, "t": ""},
        {"n": 0, "f": 1e300, "yes": False, "t": "x\ny"},
    ]
    version = fill(rows, "table", "tabular")
    for name in ("x.parquet", "x.jsonl", "x.csv"):
        export(version, tmp_path / name)
    read = {
        "x.parquet": [polars.read_parquet, pandas.read_parquet],
        "x.jsonl": [polars.read_ndjson, lambda path: pandas.read_json(path, lines=True, dtype=False)],
        "x.csv": [polars.read_csv, pandas.read_csv],
    }
    for name, readers in read.items():
        for reader in readers:
            frame = reader(tmp_path / name)
            found = frame.to_dicts() if hasattr(frame, "to_dicts") else frame.to_dict("records")
            # A column with gaps is of numbers in pandas, and an empty text is no value in CSV.
            for have, want in zip(found, rows, strict=True):
                for column, value in want.items():
                    got = have[column]
                    empty = got is None or got is pandas.NA or (isinstance(got, float) and math.isnan(got))
                    assert got == value or (value == "" and empty), (name, column)
