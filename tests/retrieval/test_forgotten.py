"""A person is forgotten in indexes, too: their documents go out of every version, and what else there is stays found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.forgetting.erase import forget
from llmops_tui.maintenance.forgetting.plan import find_person
from llmops_tui.privacy.person import Person
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import BUILDING, IndexStore
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.layout import Workspace
from tests.retrieval.conftest import Build
from tests.word_embedder import vector

NAME = "Zwiebelinde Turmuhr"
PERSON = Person.read([NAME])


def test_documents_that_name_a_person_go_out_of_every_version(
    workspace: Workspace, store: IndexStore, shop: Path, build: Build, tmp_path: Path
) -> None:
    (shop / "letter.txt").write_text(f"A letter by {NAME}, who wants a refund.")
    build(shop)
    (shop / "card.txt").write_text("My card is lost.")
    build(shop)
    rows = [{"text": "a kettle"}, {"text": f"{NAME} has a kettle"}, {"text": "a lamp"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    import_now(DatasetStore(store.catalog), [tmp_path / "rows.jsonl"], "rows", "tabular")
    build("rows", name="rows", of="text")
    left = store.home("shop") / BUILDING
    left.mkdir()
    (left / "chunks.db").write_text(f"half of a build with {NAME}")
    record_checksums(workspace)
    plan = find_person(workspace, PERSON)
    assert plan.counts["documents of indexes"] == 3
    assert any(f"{shop / 'letter.txt'}, from which shop@" in told for told in plan.staying)
    erasure = forget(workspace, PERSON, "remove")
    assert erasure is not None
    assert erasure["receipt"] is not None
    assert erasure["receipt"]["searched"]["left"] == []
    assert [p for p in workspace.root.rglob("*") if p.is_file() and b"Zwiebelinde" in p.read_bytes()] == []
    assert [index.record["documents"] for index in store.log("shop")] == [4, 4]
    assert store.get("shop").record["excluded"] == ["letter.txt"]
    rows_index = store.get("rows")
    assert (rows_index.record["documents"], rows_index.record["excluded"]) == (2, [])
    # Rows after the one that went have other numbers.
    assert stale_because(store, rows_index)[0] == "rows@1 has other rows now"
    assert rows_index.nearest.find(vector("a lamp"), 1).rows.tolist() == [1]
    record_checksums(workspace)
    assert check(workspace).errors == []
    assert not find_person(workspace, PERSON).things


def test_an_index_that_is_named_after_a_person_is_in_the_way(workspace: Workspace, shop: Path, build: Build) -> None:
    build(shop, name="Turmuhr-letters", words_alone=True)
    person = Person.read(["Turmuhr"])
    with pytest.raises(InputRefusedError, match="llmops index remove Turmuhr-letters"):
        forget(workspace, person, "remove")
