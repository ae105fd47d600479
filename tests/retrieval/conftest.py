"""An index store, a folder of documents, and how an index is built of it with an embedder of words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from llmops_tui.retrieval.build import build_index
from llmops_tui.retrieval.records import BuildRecord, BuiltRecord, FusionRecord
from llmops_tui.retrieval.retriever import Retriever, opened_retriever
from llmops_tui.retrieval.sources import source_of
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.catalog import Catalog
from tests.word_embedder import Words, vector

Build = Callable[..., BuiltRecord]
Open = Callable[..., AbstractContextManager[Retriever]]
SHOP = {
    "orders.md": "# Orders\n\nAn order can be changed until it is packed.\n\n## Refunds\n\nThe money comes back within five days.\n",
    "card.txt": "My card did not arrive. Where is my card?",
    "pin.html": "<html><head><title>PIN</title><style>x</style></head><body><h1>PIN</h1><p>Change the <b>pin</b> here.</p></body></html>",
    "codes.txt": "Error E-1042 of the C++ library. 返金は五日以内に届きます。",
}


@pytest.fixture
def store(catalog: Catalog) -> IndexStore:
    return IndexStore(catalog)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in SHOP.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def build(store: IndexStore) -> Build:
    """Build an index of a source."""

    def made(
        source: str | Path, embedder: Words | None = None, *, name: str = "shop", tokens: int = 300, words_alone: bool = False,
        of: str = "", id_column: str = "", take_back: bool = False, fusion: FusionRecord | None = None,
    ) -> BuiltRecord:  # fmt: skip
        used = None if words_alone else embedder or Words()
        asked: BuildRecord = {
            "source": source_of(store.catalog, str(source), of, id_column),
            "tokens": tokens,
            "embedder": used.spec.as_dict() if used else None,
            "take_back": take_back,
            "fusion": fusion,
        }
        return asyncio.run(build_index(store, name, asked, used, lambda _share, _told: None))

    return made


@pytest.fixture
def opened(store: IndexStore) -> Open:
    """Open a retriever with the embedder of words."""

    @contextmanager
    def opened_one(ref: str = "shop") -> Iterator[Retriever]:
        with opened_retriever(store, store.get(ref), vector) as retriever:
            yield retriever

    return opened_one
