"""Work that goes on searches the versions of indexes that it began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.retrieval_asked import RetrievalAsked
from llmops_tui.retrieval.held_versions import hold_versions
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.retrieval.store import IndexStore
from tests.retrieval.conftest import Build
from tests.word_embedder import vector


def _asked(index: str = "") -> RetrievalAsked:
    return {"query": "card", "k": 1, "index": index, "by": "bm25", "check": True}


def _begun(store: IndexStore, folder: Path, *, goes_on: bool = True) -> PromptRetrieval:
    found = PromptRetrieval(store.catalog, vector)
    hold_versions(found, store.catalog, folder, "run a", "Start it anew.", goes_on=goes_on)
    return found


def _text(retrieval: PromptRetrieval, index: str = "") -> str:
    (found,) = retrieval(_asked(index))
    return str(found["text"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.mark.parametrize("name", ["", "shop"])
def test_passages_come_from_the_version_that_was_searched_first(
    store: IndexStore, shop: Path, build: Build, folder: Path, name: str
) -> None:
    build(shop)
    before = _begun(store, folder)
    old = _text(before, name)
    (shop / "card.txt").write_text("The new card is blue.")
    build(shop)
    (first,) = (one for one in store.log("shop") if one.ref == "shop@1")
    # In the process that goes on, by any name that means it, and in the one that is at work meanwhile.
    after = _begun(store, folder)
    for retrieval in (before, after):
        assert {_text(retrieval, name), _text(retrieval, "shop")} == {old}
        assert "blue" not in old
    assert after.take_used() == {"shop@1": first.record["sha256"]}
    # A version that is named is that one; who holds to nothing has the newest.
    assert "blue" in _text(after, "shop@2")
    assert "blue" in _text(PromptRetrieval(store.catalog, vector), name)
    # What begins anew has the newest, too.
    assert "blue" in _text(_begun(store, folder, goes_on=False), name)
    if not name:
        build(shop, name="other", words_alone=True)
        assert _text(_begun(store, folder), "").startswith("The new card is blue")


def test_a_version_that_is_gone_is_refused_by_name(store: IndexStore, shop: Path, build: Build, folder: Path) -> None:
    build(shop)
    _text(_begun(store, folder), "shop")
    (shop / "card.txt").write_text("The new card is blue.")
    build(shop)
    store.remove("shop", [1])
    with pytest.raises(InputRefusedError, match="run a would mix answers: it began with index shop@1") as refused:
        _begun(store, folder)
    assert refused.value.code == "model_changed"
