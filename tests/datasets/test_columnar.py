"""Parquet and Arrow: each value is the one that pyarrow knows, whatever its type, or is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.sources.base import Batch, Source
from llmops_tui.datasets.sources.columnar import read_arrow, read_parquet
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.commands import llmops
from tests.datasets.conftest import rows_of

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = st.integers(-(2**62), 2**62)


def batches(table: pa.Table, kind: str, folder: Path, position: int = 0) -> list[Batch]:
    path = folder / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=3)
        return list(read_parquet(Source(path, kind), position, 0))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table, max_chunksize=3)
    return list(read_arrow(Source(path, kind), position, 0))


def read(array: pa.Array, kind: str, folder: Path) -> list[Any]:
    """The values of one column as they are imported, with nothing for those that are not there."""
    return [row.get("x") for batch in batches(pa.table({"x": array}), kind, folder) for row in batch.rows]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("arrow_type", "values"),
    [
        (pa.timestamp("ns"), [0, 1, 1_700_000_000_123_456_789, -1]),
        (pa.timestamp("us"), [1_700_000_000_123_456, 253_402_300_799_999_999, -62_135_596_800_000_000]),
        (pa.timestamp("ms", "Europe/Berlin"), [1_700_000_000_123, 0]),
        (pa.timestamp("s", "UTC"), [1_700_000_000]),
    ],
)
def test_moments_are_read_with_all_their_digits(
    arrow_type: pa.DataType, values: list[int], kind: str, tmp_path: Path
) -> None:
    array = pa.array([*values, None], pa.int64()).view(arrow_type)
    texts = read(array, kind, tmp_path)
    assert all(text is None or text.endswith("+00:00") == bool(arrow_type.tz) for text in texts)
    # pyarrow reads the texts as the moments that they were.
    unit = "us" if arrow_type.unit == "ms" else arrow_type.unit
    assert pa.array(texts).cast(pa.timestamp(unit, arrow_type.tz)).cast(arrow_type).equals(array)


def test_dates_and_times_are_texts(tmp_path: Path) -> None:
    pairs = [
        (pa.array([0, 86_399_999_999_999], pa.time64("ns")), ["00:00:00", "23:59:59.999999999"]),
        (pa.array([1, 86_399_000], pa.time32("ms")), ["00:00:00.001000", "23:59:59"]),
        (pa.array([0, -800_000, 19_000], pa.int32()).view(pa.date32()), ["1970-01-01", "-221-09-04", "2022-01-08"]),
        (pa.array([86_400_000, None], pa.int64()).view(pa.date64()), ["1970-01-02", None]),
    ]
    for array, texts in pairs:
        assert read(array, "parquet", tmp_path) == read(array, "arrow", tmp_path) == texts
    # Years before the first are written as numpy does.
    early = pa.array([-70_000_000_000_000_000], pa.int64()).view(pa.timestamp("us"))
    assert read(early, "arrow", tmp_path) == ["-249-10-15T19:33:20"]


@FEW
@given(
    st.lists(st.decimals(-(10**20), 10**20, places=3, allow_nan=False), min_size=1, max_size=4),
    st.lists(LONG, min_size=1),
)
def test_decimals_and_durations_keep_their_value(
    tmp_path: Path, values: list[decimal.Decimal], counts: list[int]
) -> None:
    wide = pa.array(values, pa.decimal128(30, 3))
    assert [decimal.Decimal(text) for text in read(wide, "parquet", tmp_path)] == values
    small = pa.array([v % 10**6 for v in values], pa.decimal128(9, 3))
    assert [decimal.Decimal(repr(number)) for number in read(small, "arrow", tmp_path)] == small.to_pylist()
    for unit, per in (("s", 1), ("us", 10**6), ("ns", 10**9)):
        texts = read(pa.array(counts, pa.duration(unit)), "parquet", tmp_path)
        assert [decimal.Decimal(text.replace("PT", "")[:-1]) * per for text in texts] == counts


def test_integers_are_exact_and_bytes_dictionaries_and_numbers_are_as_they_are(tmp_path: Path) -> None:
    for kind in ("parquet", "arrow"):
        assert read(pa.array([2**64 - 1, 0], pa.uint64()), kind, tmp_path) == [2**64 - 1, 0]
        assert read(pa.array([decimal.Decimal(10**30)], pa.decimal128(38, 0)), kind, tmp_path) == [10**30]
        assert read(pa.array([b"\xff\x00", b"abc"]), kind, tmp_path) == [{"base64": "/wA="}, "abc"]
        assert read(pa.array(["x", None, "y"]).dictionary_encode(), kind, tmp_path) == ["x", None, "y"]
        found = read(pa.array([math.nan, math.inf, None, 1.5]), kind, tmp_path)
        assert [repr(value) for value in found] == ["nan", "inf", "None", "1.5"]


def test_maps_are_objects_where_their_keys_are_names(tmp_path: Path) -> None:
    texts = pa.array([[("a", 1), ("b", 2)], [], None, [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))
    numbers = pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string()))
    for kind in ("parquet", "arrow"):
        twice = [{"key": "a", "value": 1}, {"key": "a", "value": 2}]
        assert read(texts, kind, tmp_path) == [{"a": 1, "b": 2}, {}, None, twice]
        assert read(numbers, kind, tmp_path) == [[{"key": 1, "value": "x"}]]


LEAVES = st.sampled_from(
    [
        (pa.int64(), LONG), (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), (pa.bool_(), st.booleans()),
        (pa.timestamp("us", "UTC"), st.datetimes(dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC))),  # noqa: DTZ001
        (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    ]
)  # fmt: skip


def nested(child: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def lists(one: Any) -> Any:
        return pa.list_(one[0]), st.lists(st.none() | one[1], max_size=3)

    def structs(two: Any) -> Any:
        (a, x), (b, y) = two
        return pa.struct([("a", a), ("b", b)]), st.fixed_dictionaries({"a": st.none() | x, "b": st.none() | y})

    return child.map(lists) | st.tuples(child, child).map(structs)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, dt.datetime) else value


@FEW
@given(st.data())
def test_lists_and_structs_of_anything_are_what_pyarrow_reads(tmp_path: Path, data: st.DataObject) -> None:
    arrow_type, values = data.draw(st.recursive(LEAVES, nested, max_leaves=4))
    given_values = data.draw(st.lists(st.none() | values, min_size=1, max_size=8))
    array = pa.array(given_values, arrow_type)
    for kind in ("parquet", "arrow"):
        assert read(array, kind, tmp_path) == plain(array.to_pylist())
    position = data.draw(st.integers(0, len(given_values)))
    for kind in ("parquet", "arrow"):
        rest = [row for batch in batches(pa.table({"x": array}), kind, tmp_path, position) for row in batch.rows]
        assert [row.get("x") for row in rest] == plain(array.to_pylist())[position:]


def test_what_json_cannot_hold_is_refused_by_row_or_kept_and_told(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    pq.write_table(
        pa.table({"a": [1.0, math.nan, None], "b": [[1.0], [math.nan], [2.0]], "c": [math.nan, 0.5, 1.0]}), path
    )
    made = import_now(store, [path], "n", "tabular")
    assert (made.rows, made.rejected) == (2, 1)
    assert math.isnan(rows_of(made)[0]["c"])
    assert export(made, tmp_path / "again.parquet")["reads_back"]
    with pytest.raises(InputRefusedError, match="row 0: c is nan, which JSON does not have"):
        export(made, tmp_path / "again.jsonl")


def test_json_in_columns_keeps_its_digits_or_its_row_is_refused(store: DatasetStore, tmp_path: Path) -> None:
    texts = ['{"n": 123456789012345678901234567890}', '{"a": 1, "a": 2}', '{"a": NaN}', "{not", '["\\u0022"]', None]
    kept = [{"x": {"n": 123456789012345678901234567890}}, {"x": ['"']}, {}]
    extension = pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts))
    for kind in ("parquet", "arrow"):
        found = batches(pa.table({"x": extension}), kind, tmp_path)
        assert [row for batch in found for row in batch.rows] == kept
        reasons = [reject.reason for batch in found for reject in batch.rejects]
        assert ["repeated" in reasons[0], "NaN" in reasons[1], "x is JSON" in reasons[2]] == [True] * 3
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute('CREATE TABLE rows (x "JSON TEXT")')
        database.executemany("INSERT INTO rows VALUES (?)", [(text,) for text in texts])
    made = import_now(store, [tmp_path / "x.db"], "x", "tabular")
    assert (rows_of(made), made.rejected) == (kept, 3)


def test_a_column_without_a_value_is_told(store: DatasetStore, tmp_path: Path) -> None:
    nothing = pa.nulls(3, pa.string())
    pq.write_table(pa.table({"a": [1, 2, 3], "never": nothing, "late": [None, None, 5]}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("a,never,late\n1,,\n2,,\n3,,5\n")
    (tmp_path / "x.jsonl").write_text('{"a": 1, "never": null}\n{"a": 2}\n{"a": 3, "late": 5}\n')
    for path in sorted(tmp_path.glob("x.*")):
        made = llmops("--json", "data", "import", str(path), "--name", "x", "--yes", workspace=store.workspace)
        assert json.loads(made.stdout)["without_values"] == ["never"], path
        assert rows_of(store.get("x")) == [{"a": 1}, {"a": 2}, {"a": 3, "late": 5}]


def test_a_first_line_of_numbers_is_told_to_be_taken_for_names(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2.5\n3,4\n")
    told = preview(store, [tmp_path / "x.csv"]).proposal.evidence
    assert any("the first line is taken for the names of the columns: 1, 2.5; if it is a row" in line for line in told)
    (tmp_path / "x.csv").write_text("id,2024,2025\n3,4,5\n")
    assert not any("first line" in line for line in preview(store, [tmp_path / "x.csv"]).proposal.evidence)
    (tmp_path / "x.csv").write_bytes(b"gr\xf6\xdfe\n1\n")
    with pytest.raises(InputRefusedError, match="line 1: it is not valid UTF-8") as refused:
        import_now(store, [tmp_path / "x.csv"], "x", "tabular")
    assert "--encoding" in str(refused.value.hint)


def test_a_table_says_which_columns_it_renames(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,a,\n1,2,3\n2,3,4\n")
    told = preview(store, [tmp_path / "x.csv"]).proposal.evidence
    assert any("columns without a name of their own: a_2, column_3" in line for line in told)
    # Of two rows each column has two values at most.
    assert not any("label" in line for line in told)


def test_columns_of_one_name_stay_apart_and_what_is_read_otherwise_is_told(tmp_path: Path) -> None:
    zoned = pa.array([0], pa.timestamp("s", "Asia/Tokyo"))
    table = pa.table(
        [pa.array([1]), pa.array([2]), zoned, pa.array([decimal.Decimal("1.5")], pa.decimal128(30, 2))],
        ["a", "a", "z", "d"],
    )
    (batch,) = batches(table, "arrow", tmp_path)
    assert batch.rows == [{"a": 1, "a_2": 2, "z": "1970-01-01T00:00:00+00:00", "d": "1.50"}]
    for word in ("a_2", "Asia/Tokyo", "30 digits"):
        assert word in batch.told
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["k", "k"])
    with pytest.raises(InputRefusedError, match="two fields of one name"):
        batches(pa.table({"x": twice}), "arrow", tmp_path)
