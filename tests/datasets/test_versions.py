from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.diff import diff_versions
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.operations.splits import split_into
from llmops_tui.datasets.progress import no_report
from llmops_tui.datasets.records import question_text
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.window import RowWindow, View
from llmops_tui.errors import InputRefusedError, NotFoundError
from tests.datasets.conftest import Fill, chat, rows_of
from tests.representatives import representatives

ROWS = [{"id": n, "text": f"row number {n} {'even' if n % 2 == 0 else 'odd'}", "kind": "ab"[n % 2]} for n in range(100)]


def test_the_same_rows_in_the_same_order_have_the_same_hash_however_they_came(store: DatasetStore, fill: Fill) -> None:
    one = fill(ROWS, "one")
    other = fill([dict(reversed(list(r.items()))) for r in ROWS], "two")
    assert one.sha256 == other.sha256
    assert fill(ROWS[::-1], "three").sha256 != one.sha256
    assert fill([*ROWS[:-1], {**ROWS[-1], "id": "99"}], "four").sha256 != one.sha256
    back = apply(store, "sort", ["three@1"], {"by": "id"})
    assert back.sha256 == one.sha256


def test_importing_the_same_file_again_makes_no_version(fill: Fill) -> None:
    assert fill(ROWS).number == 1
    assert fill(ROWS).number == 1
    assert fill(ROWS[:50]).number == 2


OPERATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("filter", {"where": "kind = 'a' AND id < 50"}, 25), ("sample", {"rows": 10, "seed": 4}, 10), ("sample", {"share": 0.2}, 20),
    ("sort", {"by": "-id"}, 100), ("select", {"columns": ["text"], "names": {"text": "t"}}, 100),
    ("map", {"column": "n", "expression": "length(text)"}, 100), ("edit", {"edits": {"3": None, "4": {"id": "x"}}}, 99),
    ("concat", {}, 200), ("mix", {"weights": [3, 1], "rows": 40}, 40), ("dedup", {"method": "near"}, 100),
    ("query", {"sql": "SELECT kind, count(*) AS n FROM rows GROUP BY 1 ORDER BY 1"}, 2), ("redact", {}, 100),
    ("fix", {"check": "duplicate"}, 100),
    ("split", {"part": "b", "parts": {"a": 0.7, "b": 0.3}, "stratify": "kind", "seed": 1}, 30),
    ("label", {"task": "t", "kind": "classify", "values": {"0": {"value": "x"}}}, 100),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "parameters", "rows"),
    representatives(OPERATIONS, *range(0, len(OPERATIONS), 3)),
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_every_operation_makes_a_version_that_can_be_made_again(
    store: DatasetStore, fill: Fill, operation: str, parameters: dict[str, Any], rows: int
) -> None:
    first, refs = fill(ROWS, "data"), ["data"]
    if operation in {"concat", "mix"}:
        refs.append(fill([{**r, "id": r["id"] + 1000} for r in ROWS], "other").dataset)
    before = rows_of(first)
    made = apply(store, operation, refs, parameters)
    assert made.rows == rows
    assert made.recipe.inputs[0] == (first.ref, first.sha256)
    assert rows_of(first) == before
    again, digest = remake(store, made.ref)
    assert again.id == made.id
    assert digest == made.sha256
    assert [len(log) for log in store.logs().values()] == [2, *(1 for _ in refs[1:])]


def test_an_import_can_be_made_again_from_its_file_unless_that_changed(
    store: DatasetStore, fill: Fill, tmp_path: Path
) -> None:
    version = fill(ROWS)
    assert remake(store, version.ref)[1] == version.sha256
    (tmp_path / "data.jsonl").write_text("{}\n")
    with pytest.raises(InputRefusedError, match="differs from the file"):
        remake(store, version.ref)


def test_tags_move_and_versions_come_back(store: DatasetStore, fill: Fill) -> None:
    first = fill(ROWS)
    second = apply(store, "sample", ["data"], {"rows": 5})
    store.tag("data@1", "gold")
    assert store.get("data@gold").id == first.id
    store.tag("data", "gold")
    assert store.get("data@gold").id == second.id
    restored = store.restore("data@1")
    assert (restored.number, restored.sha256) == (3, first.sha256)
    for ref in ("data@9", "nothing", "data@nothing"):
        with pytest.raises(NotFoundError):
            store.get(ref)


def test_a_mix_takes_shares_and_repeats_only_where_rows_are_short(store: DatasetStore, fill: Fill) -> None:
    fill(ROWS, "big")
    fill([{"id": n, "text": "small"} for n in range(10)], "small")
    made = apply(store, "mix", ["big", "small"], {"weights": [1, 1], "rows": 60})
    small = [r["id"] for r in rows_of(made) if r["text"] == "small"]
    assert len(small) == 30
    assert {small.count(n) for n in range(10)} == {3}
    big = [r["id"] for r in rows_of(made) if r["text"] != "small"]
    assert len(set(big)) == 30
    whole = apply(store, "mix", ["big", "small"], {"weights": [1, 1]})
    assert whole.rows == 20


def test_no_question_stands_on_both_sides_of_a_split_and_labels_are_spread(store: DatasetStore, fill: Fill) -> None:
    rows = [chat(f"Where is parcel {n % 150}?  ", f"answer {n}", label="abc"[n % 3], id=n) for n in range(450)]
    rows += [chat(f"where is PARCEL {n}?", "shouted", label="abc"[n % 3], id=1000 + n) for n in range(0, 150, 3)]
    fill(rows, "data", "messages")
    train, test = split_into(store, "data", {"train": 0.8, "test": 0.2}, no_report, stratify="label", seed=3)
    asked = [{" ".join(question_text("messages", r).lower().split()) for r in rows_of(v)} for v in (train, test)]
    assert not asked[0] & asked[1]
    assert train.rows + test.rows == len(rows)
    for value in "abc":
        share = sum(r["label"] == value for r in rows_of(test)) / sum(r["label"] == value for r in rows)
        assert abs(share - 0.2) < 0.04
    again = split_into(store, "data", {"train": 0.8, "test": 0.2}, no_report, stratify="label", seed=3)
    assert [v.sha256 for v in again] == [train.sha256, test.sha256]
    other = split_into(store, "data", {"train": 0.8, "test": 0.2}, no_report, stratify="label", seed=4)
    assert other[0].sha256 != train.sha256


def test_a_group_stays_together(store: DatasetStore, fill: Fill) -> None:
    fill([{"text": f"t{n}", "who": n % 7} for n in range(100)])
    parts = split_into(store, "data", {"a": 0.5, "b": 0.5}, no_report, group="who")
    people = [{r["who"] for r in rows_of(v)} for v in parts]
    assert not people[0] & people[1]


def test_a_diff_by_id_tells_added_removed_and_changed(store: DatasetStore, fill: Fill) -> None:
    fill(ROWS)
    changed = apply(store, "edit", ["data"], {"edits": {"3": None, "4": {**ROWS[4], "text": "other"}}})
    found = diff_versions(store.get("data@1"), changed)
    assert (found.key, found.added, found.removed, found.changed, found.same) == ("id", [], [3], [(4, 3)], 98)
    back = diff_versions(changed, store.get("data@1"))
    assert (back.added, back.removed, back.changed) == ([3], [], [(3, 4)])


EDITS = st.lists(st.tuples(st.sampled_from("xci"), st.integers(0, 29)), max_size=6)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_a_diff_by_order_accounts_for_every_row(store: DatasetStore, edits: list[tuple[str, int]]) -> None:
    account_for_every_row(store, edits)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_many_diffs_by_order_account_for_every_row(store: DatasetStore, edits: list[tuple[str, int]]) -> None:
    account_for_every_row(store, edits)


def account_for_every_row(store: DatasetStore, edits: list[tuple[str, int]]) -> None:
    folder, number = store.workspace.root.parent, len(store.logs())
    texts = [f"the {n % 12} fox jumps over dog {n % 20}" for n in range(30)]
    after = list(texts)
    for kind, wanted in edits:
        place = min(wanted, len(after) - 1)
        if kind == "x":
            after.pop(place)
        elif kind == "c":
            after[place] += " changed"
        else:
            after.insert(place, f"an entirely new thing {place}")
    versions = []
    for name, lines in ((f"a{number}", texts), (f"b{number}", after)):
        path = folder / f"{name}.txt"
        path.write_text("\n".join(lines) + "\n")
        versions.append(import_now(store, [path], name, "text"))
    found = diff_versions(*versions)
    assert found.same + len(found.changed) + len(found.removed) == len(texts)
    assert found.same + len(found.changed) + len(found.added) == len(after)
    if texts == after:
        assert found.same == len(texts)
    assert len(found.changed) + len(found.removed) + len(found.added) <= 3 * len(edits) + 3


@pytest.fixture
def window(fill: Fill) -> RowWindow:
    return RowWindow(
        fill(
            [
                {"n": n, "text": f"Row {n} 50%_off \\ it's" if n % 100 == 0 else f"row {n}", "empty": None}
                for n in range(1000)
            ]
        )
    )


def test_rows_that_are_listed_come_in_the_order_of_the_list(window: RowWindow) -> None:
    window.select(View("= _row IN (9, 170, 3, 9, 5000)"))
    assert window.numbers() == [9, 170, 3]
    window.select(View("= _row in (9, 170, 3)", "n", descending=True))
    assert window.numbers() == [170, 9, 3]


@pytest.mark.parametrize(
    ("view", "rows"),
    [
        (View(), 1000), (View("ROW 99"), 11), (View("50%_off"), 10), (View("\\ it's"), 10), (View("~^row 9+$"), 3),
        (View("= n % 10 = 0 AND length(text) > 1"), 100), (View("= false"), 0), (View("= n < 5", "n", descending=True), 5),
    ],
)  # fmt: skip
def test_a_window_shows_the_rows_of_a_filter(window: RowWindow, view: View, rows: int) -> None:
    window.select(view)
    assert window.count == rows
    shown = [line.row for line in window.lines(0, rows)]
    assert len(shown) == rows
    if view.descending:
        assert shown == [4, 3, 2, 1, 0]
    assert [window.row_at(i) for i in range(rows)] == shown
    if rows:
        assert window.index_of(shown[-1]) == rows - 1


@pytest.mark.parametrize(
    "text",
    [
        "= _row IN (1 2)",
        "= _row IN (1,)(2)",
        f"= _row IN ({'9' * 5000})",
        "= nothing = 1",
        "= (",
        "= 1) OR (1=1",
        "~(",
        "= (SELECT count(*) FROM read_text('/etc/passwd')) > 0",
    ],
)
def test_a_filter_that_cannot_be_used_is_refused_and_the_rows_stay(window: RowWindow, text: str) -> None:
    window.select(View("= n < 10"))
    with pytest.raises(InputRefusedError):
        window.select(View(text))
    assert window.count == 10


def test_lines_come_by_blocks_and_the_last_ones_are_remembered(window: RowWindow) -> None:
    assert [line.row for line in window.lines(250, 20)] == list(range(250, 270))
    line = window.remembered(260)
    assert line is not None
    assert line.row == 260
    assert window.remembered(900) is None
