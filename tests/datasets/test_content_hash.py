"""The hash of a version's content: of values with their types, whatever files hold them; older hashes stay good."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.column_digests import ColumnDigest
from llmops_tui.datasets.content_hash import ROWS, hash_of
from llmops_tui.datasets.diff import diff_versions
from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import SCHEME
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.check_catalog import datasets as check_datasets
from llmops_tui.maintenance.findings import Report
from tests.datasets.conftest import Fill
from tests.representatives import representatives

# Values that some JSON or CSV writes alike.
ALIKE: list[Any] = [
    {"a": 1}, '{"a":1}', '{"a": 1}', [1], "[1]", 1, 1.0, "1", True, "true", "", " ", "null", None, [], "[]", {}, {"a": "1"},
    {"a": None}, [None], -1, 10, "10", [[1]], [1, 0], "\x00", "1\x00",
]  # fmt: skip


@pytest.mark.slow
def test_values_that_differ_have_other_hashes_and_diff_says_so(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    for number, value in enumerate(ALIKE):
        for place, rows in enumerate(([{"n": 0, "v": value}], [{"n": 0}, {"n": 0, "v": value}])):
            writer = PartWriter(tmp_path / f"{number}-{place}")
            writer.add([dict(row) for row in rows])
            digest = hash_of(writer.folder, writer.finish())
            # A row without the value is one with none.
            assert seen.setdefault(digest, rows) is rows or value is None
    assert len(seen) == 2 * len(ALIKE)


def test_diff_and_proof_tell_json_from_its_text(store: DatasetStore, fill: Fill, tmp_path: Path) -> None:
    left = fill([{"id": 1, "a": {"b": 1}}, {"id": 2, "a": "x"}], "left")
    right = fill([{"id": 1, "a": '{"b":1}'}, {"id": 2, "a": "x"}], "right")
    assert left.sha256 != right.sha256
    found = diff_versions(left, right)
    assert (found.changed, found.same) == ([(0, 0)], 1)
    told = export(left, tmp_path / "x.csv")
    assert not told["reads_back"]
    assert "a: json becomes text" in told["differs"]
    assert export(left, tmp_path / "x.jsonl")["reads_back"]
    # One value of another type does not make all rows of its column differ.
    wider = fill([{"id": 1, "a": '{"b":1}'}, {"id": 2, "a": "x"}, {"id": 3, "a": [1]}], "wider")
    assert diff_versions(right, wider).same == 2


@pytest.mark.parametrize(
    "row", representatives([{"a": 1}, {"a": "x"}, {"a": 1.5}, {"a": True}, {"a": [1, "x"]}, {"a": 2**70}], 1, 4)
)
def test_the_same_rows_have_the_same_hash_however_they_were_chosen(fill: Fill, store: DatasetStore, row: Any) -> None:
    others = [{"a": "other", "k": 1}, {"a": {"other": 1}, "k": 1}, {"a": 7, "k": 1}]
    mixed = fill([row | {"k": 0}, *others], "mixed")
    chosen = apply(store, "filter", [mixed.ref], {"where": "k = 0"})
    assert chosen.present_hash == fill([row | {"k": 0}], "alone").present_hash


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_a_digest_does_not_depend_on_how_values_are_taken(values: list[str | None], cuts: list[int]) -> None:
    whole, pieces = ColumnDigest("text"), ColumnDigest("text")
    whole.texts(values)
    marks = [0, *sorted(cuts), 30]
    for begin, end in pairwise(marks):
        part = values[begin:end]
        if any(v is not None for v in part):
            pieces.texts(part)
        else:
            pieces.missing(len(part))
    assert whole.hexdigest() == pieces.hexdigest()


def test_versions_of_the_older_scheme_stay_good(store: DatasetStore, fill: Fill, tmp_path: Path) -> None:
    made = fill([{"a": {"b": 1}, "n": 2}, {"a": '{"b":1}', "n": None}], "old")
    assert made.scheme == SCHEME
    digest = hash_of(made.folder, made.columns, ROWS)
    made.folder.rename(made.folder.with_name(digest))
    store.catalog.write(
        lambda db: db.execute(
            "UPDATE dataset_versions SET sha256 = ?, hash_scheme = ? WHERE id = ?", [digest, ROWS, made.id]
        )
    )
    old = store.get("old")
    assert (old.scheme, old.sha256) == (ROWS, digest)
    report = Report()
    check_datasets(store.workspace, report)
    assert report.findings == []
    assert remake(store, "old") == (old, digest)
    assert export(old, tmp_path / "x.jsonl")["reads_back"]
    # The same import again is the same version, and what is made of it is hashed by the present scheme.
    assert import_now(store, [tmp_path / "old.jsonl"], "old", "tabular").number == old.number
    fresh = apply(store, "filter", ["old"], {"where": "n = 2"})
    assert fresh.scheme == SCHEME
    assert remake(store, fresh.ref)[1] == fresh.sha256
    assert store.restore("old@1").scheme == ROWS
    check_datasets(store.workspace, report)
    assert report.findings == []
