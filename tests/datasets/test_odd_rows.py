"""Names and lines that few files have: none is lost, or it is said why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.operations.repeatable import changing
from llmops_tui.datasets.profile import is_prose
from llmops_tui.datasets.sources import texts
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import Fill, rows_of

ODD: list[dict[str, Any]] = [
    {"_rest": 5, "a": 1},
    {"_rest": {"q": 1}, "_row": 7},
    {"a\0b": 1},
    {"": [1]},
    {"A": 1, "a": 2},
]


def test_fields_of_any_name_are_kept_in_every_file_that_can(fill: Fill, tmp_path: Path) -> None:
    version = fill(ODD, "odd")
    assert rows_of(version) == ODD
    for name in ("x.jsonl", "x.json", "x.parquet", "folder"):
        assert export(version, tmp_path / name)["reads_back"], name


def test_fields_without_a_column_come_through_what_names_their_column(store: DatasetStore, fill: Fill) -> None:
    version = fill(ODD, "odd")
    names = [column.name for column in version.columns]
    assert rows_of(apply(store, "select", [version.ref], {"columns": names})) == ODD
    assert rows_of(apply(store, "query", [version.ref], {"sql": "SELECT * FROM rows"})) == ODD
    assert rows_of(apply(store, "concat", [version.ref, version.ref], {})) == ODD * 2
    made = apply(store, "select", [version.ref], {"columns": ["_rest"], "names": {"_rest": "packed"}})
    assert rows_of(made)[1] == {"packed": {"_rest": {"q": 1}, "_row": 7}}
    with pytest.raises(InputRefusedError, match="two fields of a row would be named 'B'"):
        two = fill([{"b": 1, "B": 2}], "two")
        apply(store, "select", [two.ref], {"columns": ["b", "_rest"], "names": {"b": "B"}})


@pytest.mark.parametrize("value", ["'x'", "5", "'[1]'::JSON", "CAST(_rest AS VARCHAR)"])
def test_a_query_cannot_put_something_else_into_the_place_of_fields_without_a_column(
    store: DatasetStore, fill: Fill, value: str
) -> None:
    version = fill(ODD, "odd")
    with pytest.raises(InputRefusedError, match="_rest holds the fields of a row that have no column of their own"):
        apply(store, "query", [version.ref], {"sql": f"SELECT {value} AS _rest, a FROM rows"})


def test_an_edit_with_a_field_that_has_no_column_is_made_again(store: DatasetStore, fill: Fill) -> None:
    version = fill([{"meta": 1}, {"meta": 2}], "data")
    edits = {"0": {"meta": 1, "Meta": "M"}}
    made = apply(store, "edit", [version.ref], {"edits": edits})
    assert rows_of(made) == [{"meta": 1, "Meta": "M"}, {"meta": 2}]
    assert edits == {"0": {"meta": 1, "Meta": "M"}} == made.recipe.parameters["edits"]
    assert remake(store, made.ref)[1] == made.sha256


@pytest.mark.parametrize(
    ("row", "name"), [({"a\0b": 1}, r"'a\\x00b'"), ({"a": 1, "A": 2}, "'A' beside 'a'"), ({"": 1}, "''")]
)
def test_a_name_that_sqlite_cannot_have_is_refused_by_name(fill: Fill, tmp_path: Path, row: Any, name: str) -> None:
    version = fill([{"c": 1}, row], "odd")
    with pytest.raises(InputRefusedError, match=f"row 1: a table of SQLite cannot have the column {name}"):
        export(version, tmp_path / "x.db")


def test_what_is_random_or_asks_for_the_time_says_that_it_cannot_be_made_again(store: DatasetStore, fill: Fill) -> None:
    version = fill([{"a": 1}, {"a": 2}], "data")
    for expression in ("random()", "CASE WHEN a = 1 THEN now() END"):
        made = apply(store, "map", [version.ref], {"column": "r", "expression": expression})
        assert "cannot be made again" in made.note
        with pytest.raises(InputRefusedError, match="gives other values each time"):
            remake(store, made.ref)
    same = apply(store, "map", [version.ref], {"column": "r", "expression": "lower('random()') || a"})
    assert "again" not in same.note
    assert remake(store, same.ref)[1] == same.sha256


def test_all_ways_to_ask_for_what_changes_are_known() -> None:
    assert changing({"sql": "SELECT *, current_date FROM rows"}) == ["current_date"]
    assert changing({"sql": "SELECT * FROM rows USING SAMPLE 5"}) == ["SAMPLE without a seed"]
    assert changing({"where": "now() > x AND uuid() = y"}) == ["now()", "uuid()"]
    assert changing({"where": "current_date > 1"}, frozenset({"current_date"})) == []
    assert changing({"by": "length(a) -- random()"}) == []


def test_a_text_line_that_is_too_long_is_rejected_whole(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MAX_LINE", 10)
    path = tmp_path / "t.txt"
    path.write_bytes(b"short\n" + b"x" * 35 + b"\n" + b"y" * 10 + b"\nend")
    version = import_now(store, [path], "t", "text")
    assert [row["text"] for row in rows_of(version)] == ["short", "y" * 10, "end"]
    assert version.rejected == 1


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(add(i, 2))", False),
        ('{"name": "x", "values": [1, 2, 3], "nested": {"a": [true, null]}}', False),
        ("SELECT a, count(*) FROM t WHERE b = 'x' GROUP BY a; -- the (sum) of {all} <values>", False),
        ("The parcel that I ordered on Monday (number 4711) has not arrived; where is it?", True),
        ("Das Paket kam gestern an, aber der Inhalt fehlt leider: Was nun?", True),
        (
            "* one item of a list\n* another one, with a [link](https://example.org)\n* the last of them, at the end",
            True,
        ),
    ],
)
def test_code_and_data_have_no_language(text: str, prose: bool) -> None:
    assert is_prose(text) == prose
