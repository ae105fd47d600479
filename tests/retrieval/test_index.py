"""Indexes as versions: what they are of, what of them is computed again, and that nobody who is killed breaks one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.embeddings.embedder import EmbedderSpec
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.lineage import trace_lineage
from llmops_tui.maintenance.record_removal import named_by, plan_record_removal
from llmops_tui.retrieval import build as build_module
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.records import PassageRecord
from llmops_tui.retrieval.removal import remove_documents
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import BUILDING, IndexStore
from llmops_tui.traces.retrieved import passages_of
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.events import TracedRetrieval
from tests.retrieval.conftest import SHOP, Build, Open
from tests.word_embedder import Words


def stale(store: IndexStore) -> list[str]:
    """What is stale, but for the model, which no registry has here."""
    return [why for why in stale_because(store, store.get("shop")) if "model" not in why]


def rows(store: IndexStore, folder: Path, name: str, given: list[dict[str, Any]]) -> None:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(map(json.dumps, given)))
    import_now(DatasetStore(store.catalog), [path], name, "tabular")


def test_an_index_says_what_it_is_of(store: IndexStore, shop: Path, build: Build) -> None:
    (shop / "picture.png").write_bytes(b"x")
    (shop / "empty.md").write_text("  \n")
    (shop / "old.txt").write_bytes("caf\xe9".encode("latin-1"))
    (shop / "link.md").symlink_to(shop / "orders.md")
    (shop / "elsewhere").symlink_to(shop.parent)
    os.mkfifo(shop / "pipe.md")
    # Nothing of it is read, or this would take as long as a terabyte does.
    with (shop / "huge.txt").open("w") as huge:
        huge.truncate(1 << 40)
    (shop / ".hidden.md").write_text("hidden")
    built = build(shop)
    record = built["index"]
    assert not built["unchanged"]
    assert (record["name"], record["number"], record["documents"]) == ("shop", 1, 4)
    assert record["other_files"] == {".png": 1}
    assert {one["document"]: one["why"] for one in record["refused"]} == {
        "empty.md": "it has no text",
        "elsewhere": "it is a link to a folder",
        "huge.txt": "it has 1,099,512 MB, more than 67",
        "link.md": "it is a link, and no file",
        "pipe.md": "it is a pipe, and no file",
        "old.txt": "it is not UTF-8: byte 3 is none of it; save it as UTF-8",
    }
    index = store.get("shop@1")
    assert index.ref == "shop@1"
    assert [one.ref for one in store.all()] == ["shop@1"]
    assert {path.stat().st_mode & 0o777 for path in index.folder.rglob("*") if path.is_file()} == {0o600}
    with ChunkFile.opened(index.folder) as file:
        assert file.names() == sorted(SHOP)
        for passage in file.all_passages():
            text = file.text(passage["document"])
            assert text is not None
            assert text[passage["start"] : passage["end"]] == passage["text"]
    assert stale(store) == []


def test_the_same_again_is_no_other_version(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    words = Words()
    assert build(shop, words)["unchanged"]
    assert not words.asked
    assert [index.ref for index in store.log("shop")] == ["shop@1"]


def test_what_is_refused_beside_the_same_documents_is_told_and_not_stale(
    store: IndexStore, shop: Path, build: Build
) -> None:
    build(shop)
    (shop / "empty.md").touch()
    (shop / "picture.png").touch()
    assert stale(store) == ["1 file new: empty.md"]
    built = build(shop)
    assert built["unchanged"]
    assert [(one["document"], one["why"]) for one in built["index"]["refused"]] == [("empty.md", "it has no text")]
    assert store.get("shop@1").record["other_files"] == {".png": 1}
    assert stale(store) == []


def test_a_file_that_could_not_be_taken_and_was_mended_is_stale(store: IndexStore, shop: Path, build: Build) -> None:
    (shop / "bad.txt").write_bytes(b"caf\xe9")
    (shop / "link.md").symlink_to(shop / "card.txt")
    with (shop / "huge.txt").open("wb") as file:
        file.truncate(2**40)
    assert len(build(shop)["index"]["refused"]) == 3
    os.utime(shop / "bad.txt", (1, 1))
    os.utime(shop / "huge.txt", (1, 1))
    assert stale(store) == []
    (shop / "bad.txt").write_text("café")
    (shop / "huge.txt").write_text("small")
    (shop / "link.md").unlink()
    (shop / "link.md").write_text("a card")
    assert stale(store) == ["3 files that could not be taken changed: bad.txt, huge.txt, link.md"]
    assert build(shop)["index"]["refused"] == []
    assert stale(store) == []


def test_only_chunks_that_changed_are_embedded_again(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    (shop / "card.txt").write_text("My card is lost.")
    (shop / "new.txt").write_text("Something new.")
    (shop / "pin.html").unlink()
    assert stale(store) == ["1 file changed: card.txt", "1 file new: new.txt", "1 file gone: pin.html"]
    words = Words()
    record = build(shop, words)["index"]
    assert dict(words.asked) == {"My card is lost.": 1, "Something new.": 1}
    assert (record["number"], record["computed"], record["documents"]) == (2, 2, 4)
    assert stale(store) == []
    # The version before is as it was.
    with ChunkFile.opened(store.get("shop@1").folder) as file:
        assert "pin.html" in file.names()


def test_a_file_that_was_only_touched_is_not_stale(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    os.utime(shop / "card.txt", (1, 1))
    assert stale(store) == []


def test_another_embedder_or_size_is_another_version(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    other = Words(EmbedderSpec("other", "1" * 64))
    assert build(shop, other)["index"]["number"] == 2
    assert sum(other.asked.values()) > 0
    smaller = Words()
    assert build(shop, smaller, tokens=15)["index"]["number"] == 3
    # What version 1 has by this embedder is not asked for again.
    assert "My card did not arrive. Where is my card?" not in smaller.asked
    assert build(shop, words_alone=True)["index"]["number"] == 4


def test_rows_of_a_dataset_are_documents(store: IndexStore, tmp_path: Path, build: Build) -> None:
    rows(
        store,
        tmp_path,
        "bank",
        [{"text": "where is my card", "key": "a"}, {"text": "", "key": "b"}, {"text": "pin", "key": "c"}],
    )
    record = build("bank", of="text", id_column="key")["index"]
    assert (record["documents"], record["source"]["place"], record["source"]["version"]) == (2, "bank", 1)
    assert record["refused"] == [{"document": "1 row", "why": "it has no text"}]
    with ChunkFile.opened(store.get("shop").folder) as file:
        assert file.names() == ["a", "c"]
    rows(store, tmp_path, "bank", [{"text": "where is my card", "key": "a"}])
    assert stale(store) == ["bank@2 is there; the index is of @1"]
    found = store.catalog.read(
        lambda db: db.execute("SELECT kind FROM lineage WHERE output = ?", [record["sha256"]]).fetchall()
    )
    assert set(found) == {("index",)}


def test_a_later_version_with_the_same_texts_is_noted_and_no_longer_stale(
    store: IndexStore, tmp_path: Path, build: Build
) -> None:
    rows(store, tmp_path, "bank", [{"text": "a card", "n": 1}])
    build("bank", of="text")
    rows(store, tmp_path, "bank", [{"text": "a card", "n": 2}])
    assert build("bank", of="text")["unchanged"]
    assert stale(store) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"text": "a", "key": "x"}, {"text": "b", "key": "x"}], "rows 0 and 1 have the same key"),
        ([{"text": "a", "key": "x"}, {"text": "b", "key": ""}], "row 1 has no key"),
    ],
)
def test_a_column_that_names_no_documents_is_refused(
    store: IndexStore, tmp_path: Path, build: Build, given: list[dict[str, Any]], told: str
) -> None:
    rows(store, tmp_path, "bank", given)
    with pytest.raises(InputRefusedError, match=told):
        build("bank", of="text", id_column="key")


def test_what_is_no_source_is_refused(
    store: IndexStore, tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputRefusedError, match="neither a dataset nor a folder"):
        build("nothing")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputRefusedError, match="no document that can be indexed"):
        build(tmp_path / "bare")
    with pytest.raises(InputRefusedError, match="has no columns"):
        build(tmp_path / "bare", of="text")
    monkeypatch.chdir(tmp_path)
    rows(store, tmp_path, "bare", [{"text": "a"}])
    with pytest.raises(InputRefusedError, match="is a dataset and a folder"):
        build("bare")
    with pytest.raises(InputRefusedError, match="not a name"):
        build(tmp_path, name="../out")
    assert store.names() == []


def test_a_build_that_was_killed_leaves_the_old_index_and_its_vectors(
    store: IndexStore, shop: Path, build: Build, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "_AT_ONCE", 8)
    build(shop)
    for number in range(30):
        (shop / f"{number}.txt").write_text(f"text number {number}")
    with pytest.raises(JobCancelledError):
        build(shop, Words(fail_after=16))
    with opened() as retriever:
        assert retriever.index.ref == "shop@1"
        assert retriever.search("card", "hybrid", 1)[0][0]["passage"]["document"] == "card.txt"
    # What was half written when the process died.
    left = next((store.home("shop") / BUILDING / "embedded").iterdir())
    with (left / "vectors.f16.part").open("ab") as file:
        file.write(b"half")
    words = Words()
    record = build(shop, words)["index"]
    assert record["number"] == 2
    assert 0 < sum(words.asked.values()) < 30
    assert record["computed"] + record["reused"] == record["chunks"] == 34
    assert not (store.home("shop") / BUILDING).exists()
    with opened() as retriever:
        hits, _ = retriever.search("text number 27", "vectors", 1)
        assert hits[0]["passage"]["document"] == "27.txt"
        assert hits[0]["cosine"] == pytest.approx(1, abs=1e-3)


def test_a_folder_without_its_record_is_no_version(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    (store.home("shop") / "2-abcdef").mkdir()
    (store.home("shop") / "1.json").rename(store.home("shop") / "1.json.tmp")
    assert store.names() == []
    build(shop)
    assert not (store.home("shop") / "2-abcdef").exists()
    assert store.get("shop").record["number"] == 1


def test_two_builds_of_an_index_exclude_each_other(store: IndexStore, shop: Path, build: Build) -> None:
    with store.building("shop"), pytest.raises(InputRefusedError, match="being built or changed by another process"):
        build(shop)


def test_a_document_goes_out_of_every_version_with_its_words_and_vectors(
    store: IndexStore, shop: Path, build: Build, opened: Open
) -> None:
    (shop / "person.txt").write_text("Zebedee Quux wants a refund.")
    build(shop)
    (shop / "card.txt").write_text("My card is lost.")
    build(shop)
    remove_documents(store, "shop", ["person.txt"])
    for index in store.log("shop"):
        assert index.record["excluded"] == ["person.txt"]
        raw = b"".join(path.read_bytes() for path in index.folder.rglob("*") if path.is_file())
        assert b"ebedee" not in raw
        assert b"zebede" not in raw
    for ref in ("shop@1", "shop@2"):
        with opened(ref) as retriever:
            assert {h["passage"]["document"] for h in retriever.search("Zebedee refund", "hybrid", 20)[0]} == set(SHOP)
            hits, _ = retriever.search("Change the pin here.", "vectors", 1)
            assert hits[0]["passage"]["document"] == "pin.html"
    # Nor does it come back.
    assert build(shop)["unchanged"]
    assert stale(store) == []
    assert build(shop, take_back=True)["index"]["documents"] == 5
    with pytest.raises(NotFoundError, match=r"nobody\.txt"):
        remove_documents(store, "shop", ["nobody.txt"])


def test_passages_of_a_trace_are_found_by_their_text_or_not_at_all(store: IndexStore, shop: Path, build: Build) -> None:
    (shop / "person.txt").write_text("Ann lives at the mill.", encoding="utf-8")
    build(shop, words_alone=True)
    index = store.get("shop")
    with ChunkFile.opened(index.folder) as file:
        every = list(file.passages(range(1, 100)).values())

    def search(wanted: list[PassageRecord]) -> TracedRetrieval:
        passages = [
            {key: one[key] for key in ("chunk", "document", "start", "end", "sha256")} | {"score": 1.0}
            for one in wanted
        ]
        return cast(
            "TracedRetrieval", {"index": index.ref, "by": "bm25", "query": "x", "seconds": 0.1, "passages": passages}
        )

    lives = [one for one in every if one["document"] == "person.txt"]
    others = [one for one in every if one["document"] != "person.txt"]
    searches = [search(others), search([others[0], *lives]), search([])]
    before = passages_of(store, searches)
    assert before(searches[0]) == ["\n".join(filter(None, (one["heading"], one["text"]))) for one in others]
    assert len(before(searches[1]) or []) == 1 + len(lives)
    # The chunks behind it have other numbers now.
    remove_documents(store, "shop", ["person.txt"])
    after = passages_of(store, searches)
    assert after(searches[0]) == before(searches[0])
    assert after(searches[1]) is None
    assert after(searches[2]) == []


def test_what_is_removed_leaves_no_checksum_behind(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    (shop / "card.txt").write_text("My card is lost.")
    build(shop)
    record_checksums(store.workspace)
    remove_documents(store, "shop", ["pin.html"])
    record_checksums(store.workspace)
    store.remove("shop", [1])
    assert [index.ref for index in store.log("shop")] == ["shop@2"]
    record_checksums(store.workspace)
    store.remove("shop")
    assert store.names() == []
    assert not store.home("shop").exists()
    assert check(store.workspace).errors == []


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"folder": "../../out"}', '{"embedder": 5}', '{"number": 7}', '{"documents": "x"}']
)
def test_a_record_that_is_damaged_is_named(store: IndexStore, shop: Path, build: Build, damage: str) -> None:
    build(shop)
    path = store.home("shop") / "1.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | json.loads(damage)) if ":" in damage else damage)
    with pytest.raises(LlmopsError, match=r"cannot be used|not a valid name"):
        store.get("shop")
    # The others are listed, and it can be removed as its error says.
    build(shop, name="other")
    assert [index.ref for index in store.all()] == ["other@1"]
    assert len(store.damaged()) == 1
    assert list(store.left_over()) == []
    assert store.remove("shop") == []
    assert not store.home("shop").exists()


def test_files_that_are_damaged_are_named(store: IndexStore, shop: Path, build: Build, opened: Open) -> None:
    folder = store.get(f"shop@{build(shop)['index']['number']}").folder
    os.truncate(folder / "vectors" / "vectors.f16", 16)
    with opened() as retriever, pytest.raises(LlmopsError, match="does not have 4 vectors"):
        retriever.search("card", "vectors", 3)
    (folder / "chunks.db").write_bytes(b"nothing" * 1000)
    with pytest.raises(LlmopsError, match="cannot be read"), opened() as retriever:
        retriever.search("card", "bm25", 3)


def test_versions_are_found_by_number(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop)
    for ref in ("shop@2", "shop@x", "shop@١", "other"):
        with pytest.raises(NotFoundError):
            store.get(ref)


def test_what_an_index_is_made_of_says_so_before_it_goes(
    store: IndexStore, tmp_path: Path, build: Build, event_log: EventLog
) -> None:
    rows(store, tmp_path, "bank", [{"text": "a card"}])
    record = build("bank", of="text")["index"]
    assert plan_record_removal(store.workspace, Kept.DATASET, "bank").uses == ("index shop@1 was built from it",)
    assert "index shop@1 is built from it" in named_by(store.workspace, Kept.DATASET, {"bank"})
    found = trace_lineage(store.catalog, event_log, "index:shop")
    assert (found.sources.id, found.sources.name) == (record["sha256"], "shop@1")
    assert {child.name for child in found.sources.children} >= {"bank@1"}
