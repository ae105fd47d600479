"""What is exported, read by the programs of the field: the same values, whatever the rows hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.records import REST, load_json
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from tests.datasets.conftest import Fill, rows_of
from tests.datasets.test_nothing_lost import KINDS, Rows

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


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_opens_what_is_exported_of_every_kind(fill: Fill, datasets: Any, tmp_path: Path, kind: str) -> None:
    """With the same values, but for those that ``datasets`` has no type for, which are JSON in a text there."""
    # ``datasets`` cannot read numbers beyond 64 bits in JSON.
    given = json.dumps(Rows(7).of(kind, 8)).replace(str(2**70), str(2**40))
    version = fill(json.loads(given), "rows", kind)
    rows = rows_of(version)
    assert export(version, tmp_path / "folder")["reads_back"]
    assert export(version, tmp_path / "x.parquet")["reads_back"]
    opened = {
        "folder": datasets.load_from_disk(str(tmp_path / "folder")),
        "parquet": datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "x.parquet"), split="train", cache_dir=str(tmp_path / "cache")
        ),
    }
    for name, found in opened.items():
        assert len(found) == len(rows), name
        for read, want in zip(found, rows, strict=True):
            # Of names that differ in case alone the second is packed with others that have no column.
            packed = read.pop(REST, None) or {}
            have = read | (load_json(packed) if isinstance(packed, str) else packed)
            for column, value in want.items():
                assert same(have[column], value), (name, column, have[column], value)
            assert {c for c, v in have.items() if v is not None} == set(want), name


def same(have: Any, want: Any) -> bool:
    """Whether a value is another: in lists of objects each has the fields of all, and what has many types is JSON."""
    if isinstance(have, str) and not isinstance(want, str):
        return bool(load_json(have) == want)
    if isinstance(have, dict) and isinstance(want, dict):
        return all(same(value, want.get(name)) for name, value in have.items()) and set(want) <= set(have)
    if isinstance(have, list) and isinstance(want, list):
        return len(have) == len(want) and all(map(same, have, want))
    return bool(have == want)


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
    for name in ("x.parquet", "x.feather", "x.jsonl", "x.csv"):
        export(version, tmp_path / name)
    read = {
        "x.parquet": [polars.read_parquet, pandas.read_parquet],
        "x.feather": [polars.read_ipc, pandas.read_feather],
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
