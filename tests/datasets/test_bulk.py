"""The work by columns gives what the work by rows gives: the same rows, hashes and rejected lines, whatever the rows hold."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui import datasets
from llmops_tui.datasets import content_hash, export_job, parts, profile
from llmops_tui.datasets.arrow_arrays import are_there, filled, number_array, numbers_of
from llmops_tui.datasets.column_statistics import of_counts
from llmops_tui.datasets.column_types import typed_column
from llmops_tui.datasets.content_hash import hash_of
from llmops_tui.datasets.duplicates import repeated_rows
from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.json_text import json_lines
from llmops_tui.datasets.operations import base, cleaning
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import Column, Row
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.selects import write_in_order, write_select
from llmops_tui.datasets.sources import json_lines as by_line
from llmops_tui.datasets.sources import json_tables
from llmops_tui.datasets.sources.base import Batch, Source
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import open_sandbox
from tests.datasets.conftest import Fill, rows_of
from tests.datasets.test_nothing_lost import Rows
from tests.representatives import representatives

NEVER = 1 << 60
FINE = b'{"a":1,"b":"x","c":0.5,"d":true}'
# Lines that programs read each in another way, between two that are fine.
HOSTILE = [
    b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'{"c":NaN}', b'{"c":Infinity}', b'{"c":-Infinity}', b'{"c":1e400}', b'{"a":-0}', b'{"c":-0}',
    b'{"c":-0.0}', b'{"a":1.0}', b'{"a":1e3}', b'{"a":9223372036854775807}', b'{"a":9223372036854775808}', b'{"a":01}', b'{"a":+1}',
    b'{"c":.5}', b'{"c":1.}', b'{"b":"x\ty"}', b'{"b":"\\ud800"}', b'{"b":"\\udc00"}', b'{"b":"\\ud83d\\ude00"}', b'{"b":"\\ud83dx"}',
    b'{"b":"x\\u0000y"}', b'{"b":"\xff"}', b'{"b":"\xed\xa0\x80"}', b'{"b":"\\x"}', b'{"b":"x",}', b"{'a':1}", b'{"a":1}/*x*/',
    b'{"a":true}', b'{"d":1}', b'{"a":"1"}', b'{"b":1}', b'{"a":null}', b"{}", b'{"a":1} x', b'{"a":1}{"a":2}', b"[1]", b"5", b"null",
    b'{"a":1}null{"a":2}', b'{"a":1} null {"a":2}', b'{"a":1}\tnull\r{"a":2}', b'{"b":"}null"}', b'{"b":"x"', b'{"b":[1]}', b'{"b":{}}', b'{"":1}',
    b'{"A":1}', b'{"_row":1}', b'{"_rest":{"x":1}}', b'{"c":123456789012345678901234567890}', b'{"c":9007199254740993}', b'{"c":7}', b"", b" ",
    b'{"a":1}\x00', b'{"b":"x\x00y"}', b'{"x\\u0000":1}', b'{"e":1}', b'{"a":1}\r', b' {"a":1}', b'{"a":1} ', b'{"b":"2020-01-01T00:00:00Z"}',
    b'{"a":1}}', b'{"a":{"a":1}', b'{"a":1}\n{"a":', b'"}', b'{"c":0.00012345678901234567890}', b'{"c":5e-324}', b'{"c":1e308}', b'{"b":"\\"}\\n{"}',
    b'{"a":1,"b":"\xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80"}', b"{,}", b'{"a"}', b'{"a":}', b'{"d":tru}', b'{"c":Inf}', b'{"c":-NaN}', b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.fixture(params=["columns", "rows"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Work by columns however few rows there are, or never."""
    take(str(request.param), monkeypatch)
    return str(request.param)


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1 if way == "columns" else NEVER
    monkeypatch.setattr(json_tables, "BULK_BYTES", count)
    for module in (content_hash, base, cleaning, export_job, profile):
        monkeypatch.setattr(module, "BULK_ROWS", count)


def read_both(data: bytes) -> tuple[bool, Batch]:
    """A block read at once, where that is done, and by line; it is an error where they differ."""
    known: dict[str, Any] = {}
    table = json_tables.read_table(data, known, by_line.parse_object)
    batch = by_line._parse_lines(Source(Path("x"), "jsonl"), data, 0, 0)
    if table is not None:
        assert not batch.rejects
        assert not batch.blank
        assert table.num_rows == len(batch.rows)
        names = list(dict.fromkeys(name for row in batch.rows for name in row))
        assert [name for name in table.column_names if name in names] == names
        for name in table.column_names:
            values = [row.get(name) for row in batch.rows]
            kind, column, _ = typed_column(values, read_texts=False)
            assert known.get(name) == kind
            if kind is not None:
                wanted = [None if v is None else v for v in column.tolist()]
                assert list(map(repr, table[name].to_pylist())) == list(map(repr, wanted))
    return table is not None, batch


@pytest.mark.parametrize("line", HOSTILE)
def test_a_block_is_read_at_once_only_where_each_line_reads_so(line: bytes) -> None:
    for lines in ([line], [line, FINE], [FINE, line], [FINE] * 70 + [line, FINE]):
        read_both(b"\n".join(lines) + b"\n")


def test_a_quote_written_as_its_number_hides_no_repeated_key() -> None:
    hidden = rb'{"t":"\u0022\u0022","k":1,"k":2}'
    plain, batch = read_both(hidden + b"\n" + FINE + b"\n")
    assert (plain, [reject.reason for reject in batch.rejects]) == (False, ["the key 'k' occurs twice in one object"])
    lines = rb'{"t":"\u0022 \u0041"}' + b"\n"
    assert read_both(lines * 2)[1].rows == [{"t": '" A'}] * 2


@pytest.mark.parametrize("place", range(10))
def test_a_long_number_keeps_its_digits_wherever_it_stands(place: int) -> None:
    line = b'{"t":"' + b"x" * place + b'","n":%d,"more":"12345678"}\n' % 10**19
    _, batch = read_both(line * 3 + b'{"n":1}\n')
    assert [row["n"] for row in batch.rows] == [10**19] * 3 + [1]


def test_plain_blocks_are_read_at_once() -> None:
    assert read_both((FINE + b"\n") * 100)[0]
    assert read_both((FINE + b"\r\n") * 3)[0]
    assert read_both(b'{"b":"\\ud83d\\ude00","a":null}\n{"a":5,"b":null}\n')[0]
    assert not read_both(b'{"a":[1]}\n')[0]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**66), 2**66), st.floats(allow_nan=True), st.text(max_size=6), st.just([1]), st.just({"k": None})
)  # fmt: skip
FLAT = st.fixed_dictionaries(
    {}, optional={"a": st.integers(-9, 9), "b": st.text(max_size=6), "c": st.floats(-1e9, 1e9), "d": st.booleans(), "e": st.none()}
)  # fmt: skip


@settings(max_examples=150)
@given(
    st.lists(FLAT, min_size=1, max_size=8),
    st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=3), max_size=1),
    st.booleans(),
)
def test_random_rows_are_read_alike(rows: list[Row], odd: list[Row], escaped: bool) -> None:
    read_both(b"".join(json.dumps(row, ensure_ascii=escaped).encode() + b"\n" for row in [*rows, *odd]))


@settings(max_examples=150)
@given(st.lists(st.sampled_from([FINE, FINE, *HOSTILE]), max_size=4), st.randoms(use_true_random=False))
def test_broken_bytes_are_read_alike(lines: list[bytes], chance: random.Random) -> None:
    data = bytearray(b"\n".join([FINE, *lines]) + b"\n")
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(2)] = chance.choice(
            [b"}", b"{", b",", b'"', b" ", b"null", b"\n", b"\\", b"0", b"\xe4"]
        )
    if not data.endswith(b"\n"):
        data += b"\n"
    read_both(bytes(data))


def flat_rows(kind: str, count: int) -> Iterator[Row]:
    chance = random.Random(kind)
    for number in range(count):
        text = chance.choice(["so", "ä\u2028", "😀 \\ \"'", "line\nand\x00more", "", f"text {number % 7}", "]"])
        row: dict[str, Row] = {
            "tabular": {"n": number, "text": text, "x": chance.choice([0.5, 1.0, -2.25])},
            "text": {"text": text, "n": number % 3},
            "prompt-completion": {"id": number, "completion": text, "prompt": "p" + text},
            "kto": {"label": chance.random() < 0.5, "id": number, "completion": text, "prompt": "p" + text},
            "preference": {"rejected": text, "chosen": text + "!", "prompt": "p" + text, "id": number % 5},
        }
        yield dict(row[kind].items()) | ({"extra": chance.choice([True, None])} if number % 2 else {})


def files_of(folder: Path, kind: str) -> list[Path]:
    """Files of rows of a kind: plain, with lines that are refused in some blocks, and with rows of other shapes."""
    plain = [json.dumps(row).encode() for row in flat_rows(kind, 300)]
    shapes = [json.dumps(row).encode() for row in ([{"text": [1]}] if kind == "text" else Rows(5).of(kind, 9))]
    broken = [*plain[:120], *HOSTILE, *plain[120:200], *shapes, *plain[200:]]
    made = []
    for name, lines in (("plain", plain), ("broken", broken), ("again", plain[:40])):
        made.append(folder / f"{name}.jsonl")
        made[-1].write_bytes(b"\n".join(lines) + (b"" if name == "plain" else b"\n"))
    return made


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "kto",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("tabular", "prompt-completion", "preference")),
    ],
)
def test_files_make_the_same_version_by_columns_and_by_rows(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    files = files_of(tmp_path, kind)
    monkeypatch.setattr(by_line, "BATCH_BYTES", 4000)
    made: dict[str, list[Any]] = {"columns": [], "rows": []}
    for way, told in made.items():
        take(way, monkeypatch)
        for given_files in (files[:1], files):
            version = import_now(store, given_files, f"{way}{len(given_files)}", kind)
            rejects = [
                (r.source, r.line, r.offset, r.length, r.reason, r.raw) for r in read_rejects(store.workspace, version)
            ]
            assert hash_of(version.folder, version.columns) == version.sha256
            told.append((version.sha256, version.columns, version.rows, rejects, list(map(repr, rows_of(version)))))
    assert made["columns"] == made["rows"]


def test_small_files_share_a_part_as_tables_too(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take("columns", monkeypatch)
    for number in range(30):
        (tmp_path / f"{number}.jsonl").write_bytes(b'{"n":%d,"t":"x"}\n' % number)
    version = import_now(store, sorted(tmp_path.glob("*.jsonl")), "small", "tabular")
    assert (version.rows, len(version.files)) == (30, 1)


def test_the_hash_by_arrays_is_the_hash_by_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However parts are written, as tables or by DuckDB, and however they are read."""
    chance = random.Random(4)
    pools: dict[str, list[Any]] = {
        "text": [None, "", "a", "ä", "😀\x00", "xyz"],
        "integer": [None, 0, -5, 2**62, -(2**63)],
        "number": [None, 0.0, -0.0, math.nan, math.inf, 1.5],
        "boolean": [None, True, False],
        "json": [None, [1], {"ä": "😀"}, "x", 2**70],
    }
    for number in range(6):
        batches = []
        for _ in range(3):
            left_out = chance.choice([*pools, ""])
            batches.append(
                [
                    {k: chance.choice(pool) for k, pool in pools.items() if k != left_out}
                    for _ in range(chance.randrange(1, 40))
                ]
            )
        found = set()
        for many in (1, NEVER):
            monkeypatch.setattr(parts, "_MANY_ROWS", many)
            writer = PartWriter(tmp_path / f"{number}-{many}")
            for rows in batches:
                writer.add([dict(row) for row in rows])
            columns = writer.finish()
            for count in (1, NEVER):
                monkeypatch.setattr(content_hash, "BULK_ROWS", count)
                found.add(hash_of(writer.folder, columns))
            found |= {writer.digest(columns)} - {None}
        assert len(found) == 1


ODD_ROWS: list[Row] = [
    {"n": 1, "x": 0.0, "t": "a"}, {"n": 2, "x": -0.0, "t": "a"}, {"n": 3, "x": 0.0, "t": "a"}, {"n": 4, "t": "a"}, {"n": 5, "t": "A"}, {"n": 6, "t": "a"},
    {"n": 7, "x": 1.5}, {"n": 8, "x": 1.5, "t": ""}, {"n": 9, "x": 1.5}, {"n": 10}, {"n": 11}, {"n": 12, "x": 0.5, "t": "ä\x00b"}, {"n": 13, "x": 0.5, "t": "ä"},
    {"n": 14, "x": 0.5, "t": "ä\x00b", "only": "once"},
]  # fmt: skip


@pytest.fixture
def odd(store: DatasetStore, tmp_path: Path) -> DatasetVersion:
    """Rows of which some differ in what a database takes for the same, with numbers that are none among them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    more = [{"n": 20 + i, "x": x, "t": "a"} for i, x in enumerate([math.nan, math.inf, -math.inf, math.nan, -math.nan])]
    rows = [{name: row.get(name) for name in ("id", "x", "t", "only")} | {"id": row["n"]} for row in ODD_ROWS + more]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "odd.parquet")
    return import_now(store, [tmp_path / "odd.parquet"], "odd", "tabular")


@pytest.mark.parametrize("same", ["row", "content"])
def test_duplicates_found_by_columns_are_those_of_the_rows(odd: DatasetVersion, same: Any) -> None:
    first: dict[bytes, int] = {}
    wanted = [
        (n, at) for n, row in enumerate(rows_of(odd)) if (at := first.setdefault(row_key("tabular", row, same), n)) != n
    ]
    found = repeated_rows(odd, same)
    assert found is not None
    assert list(zip(*(values.tolist() for values in found), strict=True)) == wanted
    assert bool(wanted) == (same == "content")


def test_what_columns_cannot_tell_is_left_to_the_rows(fill: Fill) -> None:
    assert repeated_rows(fill([{"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}]), "content") is None
    assert repeated_rows(fill([{"a": "X"}, {"a": "x"}], "texts"), "text") is None


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        *representatives(
            [
                ("filter", {"where": "id > 3"}), ("filter", {"where": "x IS NULL"}), ("filter", {"where": "t = 'nothing'"}),
                ("filter", {"where": "id % 2 = 0 OR id = 14"}), ("filter", {"where": "id IN (SELECT max(id) FROM rows)"}),
                ("dedup", {"method": "exact"}), ("dedup", {"same": "row"}), ("sample", {"rows": 5}), ("sort", {"by": "t"}),
            ],
            4, 5, 8,
        )
    ],
)  # fmt: skip
def test_operations_keep_the_same_rows_either_way(
    store: DatasetStore,
    odd: DatasetVersion,
    fill: Fill,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    parameters: dict[str, Any],
) -> None:
    nested = fill(
        [
            {"id": n, "x": 1.0 if n % 2 else None, "t": "nothing" if n == 3 else "y", "j": [n % 3, "z"][n % 2]}
            for n in range(20)
        ],
        "nested",
    )
    for version in (odd, nested):
        found = []
        for way in ("columns", "rows"):
            take(way, monkeypatch)
            made = apply(store, operation, [version.ref], dict(parameters), name=way)
            assert hash_of(made.folder, made.columns) == made.sha256
            found.append((made.sha256, made.columns, made.note, list(map(repr, rows_of(made)))))
        assert found[0] == found[1]


def test_a_query_that_fails_midway_is_refused_either_way(store: DatasetStore, odd: DatasetVersion, way: str) -> None:
    with pytest.raises(InputRefusedError, match="the query failed"):
        apply(store, "filter", [odd.ref], {"where": "error(t)"})


def test_rows_in_another_order_are_left_to_the_sorting_query(odd: DatasetVersion, tmp_path: Path) -> None:
    select = f"SELECT _row, id, x, t FROM {odd.source}"
    columns = [Column("id", "integer"), Column("x", "number"), Column("t", "text")]
    connection = open_sandbox(odd.files, folder=tmp_path)
    assert write_in_order(connection, f"{select} ORDER BY id DESC", tmp_path / "part-00000.parquet", columns) is None
    assert write_select(connection, select, tmp_path / "part-00000.parquet", columns) == columns
    connection.close()


@pytest.mark.parametrize(
    "kind",
    representatives(["tabular", "text", "prompt-completion", "kto", "preference", "messages"], "tabular", "messages"),
)
@pytest.mark.parametrize("name", ["x.jsonl", pytest.param("x.jsonl.gz", marks=pytest.mark.slow)])
def test_exports_read_back_either_way(
    store: DatasetStore, fill: Fill, tmp_path: Path, way: str, kind: str, name: str
) -> None:
    rows = Rows(3).of(kind, 12) if kind == "messages" else list(flat_rows(kind, 60))
    version = fill(rows, "data", kind)
    told = export(version, tmp_path / name)
    assert (told["reads_back"], told["rows"]) == (True, version.rows), way
    back = import_now(store, [tmp_path / name], "back", kind)
    assert (back.sha256, back.columns) == (version.sha256, version.columns)


def test_lines_by_columns_say_what_rows_say(odd: DatasetVersion, fill: Fill, tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="row 14: x is nan"):
        list(json_lines(odd))
    rows: list[Row] = [
        {"a b\n": 'q"\\\x01\x1f\x7fä\u2028😀', "n": 1, "x": 1.0, "f": True, "j": {"k": [1.0, 2**70]}}, {"x": 1e22, "j": "s"}, {"n": -(2**62)},
        {"x": 0.1}, {"x": 123456789.125}, {"x": 5e-324}, {"x": -1.5e-7, "f": False}, {}, {"a b\n": ""},
    ]  # fmt: skip
    version = fill(rows)
    lines = b"".join(bytes(rows.data) for rows in json_lines(version)).splitlines()
    assert [repr(json.loads(line)) for line in lines] == [repr(row) for row in rows_of(version)]
    assert [orjson.loads(line).keys() for line in lines] == [row.keys() for row in rows_of(version)]


def test_profiles_are_the_same_either_way(odd: DatasetVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for way in ("columns", "rows"):
        take(way, monkeypatch)
        found.append(profile.profile(odd, sample=None))
    assert repr(found[0]) == repr(found[1])
    assert found[0]["duplicates"]["rows"] == len({4, 5}) + len({8, 10}) + len({17, 18})


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_figures_by_counts_are_those_of_the_values(values: list[int]) -> None:
    told = of_counts({v: values.count(v) for v in set(values)})
    assert (told["min"], told["max"]) == (min(values), max(values))
    assert told["mean"] == pytest.approx(np.mean(values))
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        assert told[name] == np.quantile(values, share, method="inverted_cdf")  # type: ignore[literal-required]
    if len(set(values)) > 1:
        assert sum(told["histogram"]) == len(values)


@given(
    st.sampled_from(["<i8", "<f8", "?"]),
    st.lists(st.tuples(st.integers(-(2**53), 2**53), st.booleans()), max_size=40),
    st.integers(0, 12),
)
def test_numbers_come_out_of_arrays_as_they_went_in(kind: str, given_: list[tuple[int, bool]], begin: int) -> None:
    values = np.ma.masked_array([v for v, _ in given_], mask=[hidden for _, hidden in given_]).astype(kind)
    array = number_array(values)[begin:]
    kept = values[begin:]
    assert are_there(array).tolist() == (~np.ma.getmaskarray(kept)).tolist()
    assert numbers_of(array)[are_there(array)].tolist() == np.ma.compressed(kept).tolist()
    assert numbers_of(filled(array)).tolist() == np.ma.filled(kept, 0).tolist()
    assert numbers_of(array).dtype == np.dtype(kind)


def test_nothing_of_datasets_has_pyarrow_load_pandas() -> None:
    """Which it does for its arrays to numpy wherever pandas is installed: half a second of a processor for each job."""
    folder = Path(datasets.__file__).parent
    assert [path.name for path in folder.rglob("*.py") if ".to_numpy(" in path.read_text()] == []
