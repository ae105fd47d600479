"""Rows that nobody wrote stay marked, are counted, and are not measured on unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.operations.splits import assign, split_into
from llmops_tui.datasets.origins import COLUMN, families_of, parents_among, written_of
from llmops_tui.datasets.progress import no_report
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import with_dataset
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.training.held_out import choose, look, measured_on
from tests.datasets.conftest import Fill, rows_of

PEOPLE = [{"text": f"a question of a person, number {n} of many", "label": "ab"[n % 2]} for n in range(40)]


def made_of(version: DatasetVersion, row: int, text: str, by: str = "model") -> dict[str, Any]:
    """A row that says it was made of another."""
    old = version.rows_at([row])[0]
    parent = {"version": version.ref, "row": row, "hash": row_key(version.kind, old).hex()}
    other = version.rows_at([row + 1])[0]
    shown = {"version": version.ref, "row": row + 1, "hash": row_key(version.kind, other).hex(), "shown": True}
    return {
        "text": text,
        "label": old["label"],
        COLUMN: {"by": by, "way": "rows", "seed": 1, "parents": [parent, shown]},
    }


@pytest.fixture
def people(fill: Fill) -> DatasetVersion:
    return fill(PEOPLE, "people", "text")


@pytest.fixture
def mixed(fill: Fill, store: DatasetStore, people: DatasetVersion) -> DatasetVersion:
    """Forty rows of people, six of a model made of the first three, and one by a rule made of one of these."""
    written = [made_of(people, n % 3, f"something that a model wrote {n}") for n in range(6)]
    fill(written, "written", "text")
    first = store.get("written")
    fill([*written, made_of(first, 0, "SOMETHING", "rule")], "written", "text")
    return apply(store, "concat", ["people", "written"], {}, name="mixed")


def test_the_share_is_counted_wherever_the_rows_go(mixed: DatasetVersion, store: DatasetStore, tmp_path: Path) -> None:
    found = written_of(store, mixed)
    assert (found.rows, found.model, found.rule, found.unmarked) == (47, 6, 1, ())
    assert found.told == "6 of 47 rows written by a model; 1 of 47 rows made by a rule"
    assert not written_of(store, store.get("people")).any
    kept = apply(store, "filter", ["mixed"], {"where": "text LIKE 'something%'"}, name="kept")
    assert written_of(store, kept).share == 1
    export(mixed, tmp_path / "mixed.jsonl")
    again = import_now(store, [tmp_path / "mixed.jsonl"], "again", "text")
    assert (written_of(store, again).model, written_of(store, again).rule) == (6, 1)


def test_where_the_mark_was_dropped_the_recipes_tell(people: DatasetVersion, store: DatasetStore) -> None:
    apply(store, "noise", ["people"], {"kinds": ["upper"]}, name="loud")
    bare = apply(store, "select", ["loud"], {"columns": ["text"], "names": {}}, name="bare")
    found = written_of(store, bare)
    assert (found.model, found.rule, found.unmarked, found.any) == (0, 0, ("loud@1",), True)
    with pytest.raises(InputRefusedError, match="made from loud@1"):
        split_into(store, "bare", {"train": 0.5, "eval": 0.5}, no_report)
    assert len(split_into(store, "bare", {"train": 0.5, "eval": 0.5}, no_report, synthetic="spread")) == 2


@pytest.mark.parametrize("column", [{"synthetic": "yes"}, {"synthetic": {"by": "nobody"}}, {"synthetic": [1]}])
def test_a_column_of_others_is_no_mark(fill: Fill, store: DatasetStore, column: dict[str, Any]) -> None:
    version = fill([{"text": "a"} | column], form="text")
    assert not written_of(store, version).any
    assert not families_of([version]).synthetic


@pytest.mark.parametrize("parents", [None, 7, ["x", {}, {"row": 1}]])
def test_parents_that_a_file_from_elsewhere_says_oddly_are_none(fill: Fill, parents: Any) -> None:
    origin = {"by": "model"} | ({"parents": parents} if parents is not None else {})
    version = fill([{"text": "one", COLUMN: origin}, {"text": "two"}], "text")
    assert families_of([version]).synthetic == {(0, 0)}
    assert families_of([version]).kept_together == {(0, 0)}


def test_a_suite_takes_synthetic_rows_only_where_it_says_so(mixed: DatasetVersion, store: DatasetStore) -> None:
    body = {"cases": "mixed", "metrics": [{"type": "exact"}]}
    with pytest.raises(InputRefusedError, match="6 of 47 rows written by a model") as caught:
        with_dataset(check_suite(body, "s"), store)
    assert "synthetic: true" in caught.value.told
    suite = check_suite(body | {"synthetic": True}, "s")
    assert with_dataset(suite, store).cases == "mixed@1"
    # What is allowed does not decide what is asked.
    assert suite.sha256 == check_suite(body, "s").sha256
    assert with_dataset(check_suite(body | {"cases": "people"}, "s"), store).cases == "people@1"


def test_a_split_asks_where_they_go_and_keeps_families_together(mixed: DatasetVersion, store: DatasetStore) -> None:
    parts = {"train": 0.7, "eval": 0.3}
    with pytest.raises(InputRefusedError, match="made 7 rows of mixed@1") as caught:
        assign(mixed, {"parts": parts}, no_report)
    assert "synthetic=train" in caught.value.told
    with pytest.raises(InputRefusedError, match="'test' is no part"):
        assign(mixed, {"parts": parts, "synthetic": "test"}, no_report)
    pinned = assign(mixed, {"parts": parts, "synthetic": "train"}, no_report)
    # The model's, the rule's, and the three rows that they were made of; those that were only shown are free.
    assert {pinned[n] for n in [*range(3), *range(40, 47)]} == {0}
    assert 10 <= pinned.count(1) <= 18
    for seed in range(5):
        spread = assign(mixed, {"parts": parts, "synthetic": "spread", "seed": seed}, no_report)
        for row in range(3):
            assert len({spread[n] for n in (row, 40 + row, 43 + row)}) == 1
        # Made by a rule of a row that a model made of the first.
        assert spread[46] == spread[0]
    made = split_into(store, "mixed", parts, no_report, synthetic="train")
    assert [written_of(store, version).any for version in made] == [True, False]


def test_training_holds_out_what_people_wrote_alone(mixed: DatasetVersion, people: DatasetVersion) -> None:
    rows = look([mixed])
    for seed in range(5):
        found = choose(rows, 0.3, 500, seed)
        assert found.fixed == 10
        assert found.rows
        assert not {number for _, number in found.rows} & {*range(3), *range(40, 47)}
    own = measured_on(look([mixed]), look([people]), 500, 1)
    assert own.synthetic == 7
    assert len(own.rows) == 47
    assert parents_among([mixed, people]) == [0, 1, 2]
    assert parents_among([people, people]) == []


def test_rows_of_people_are_held_out_as_before(people: DatasetVersion) -> None:
    found = choose(look([people]), 0.25, 500, 1)
    assert (found.fixed, len(found.rows)) == (0, 10)


def test_the_mark_makes_no_row_another(fill: Fill, store: DatasetStore, people: DatasetVersion) -> None:
    rows = [made_of(people, n, "the same text") | {"label": "a"} for n in range(2)]
    version = fill(rows, "twice", "text")
    assert len(rows_of(apply(store, "dedup", [version.ref], {"method": "exact", "same": "content"}))) == 1
