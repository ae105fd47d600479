"""What a query finds: its chunks, with their rank in each ranker side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.counts import counted
from screens.shell.pane import Pane
from screens.widgets.columns import Column, Part
from screens.widgets.dialogs import LineDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.retrieval.records import HitRecord, WhyRecord
    from llmops_tui.retrieval.store import Index
    from screens.services import Services

_EMPTY = "F5 asks what to search for.\nEach chunk is shown with its rank by words, by meaning and by both."
_HELP = (
    "F5 searches. A chunk is here if any ranker has it among its first ten; > sorts by another ranker. w says why a passage "
    "that should have come did not."
)
K = 10


class FoundPane(Pane):
    """One line a chunk."""

    class CursorMoved(Message):
        """Another chunk is under the cursor."""

    class Explained(Message):
        """It was said why a passage did not come."""

        def __init__(self, why: WhyRecord) -> None:
            super().__init__()
            self.why = why

    def __init__(self) -> None:
        super().__init__(title="Found", jump_key="f", id="retrieval-found", help_text=_HELP)
        self.index: Index | None = None
        self.query_text = ""

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            _columns(), id="found-list", key=lambda hit: str(hit["passage"]["chunk"]), empty=_EMPTY, selects=False
        )

    @property
    def _table(self) -> Table[HitRecord]:
        return self.query_one("#found-list", Table)

    @property
    def current(self) -> HitRecord | None:
        """The chunk under the cursor."""
        return self._table.current

    def show_index(self, index: Index | None) -> None:
        """Search in another index, for what was searched for before."""
        if self.index is not None and index is not None and self.index.folder == index.folder:
            return
        self.index = index
        self._table.fill([])
        self.set_note("")
        if index is not None and self.query_text:
            self.act("search", self._search)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_search(self) -> None:
        """Ask what is searched for, and search."""
        if self.index is None:
            self.shell.say("There is no index yet: n makes one.", severity="warning")
        else:
            self.ask_by("search", self._ask)

    async def _ask(self) -> None:
        assert self.index is not None
        asked = await self.shell.ask(
            LineDialog(f"Search {self.index.ref}", "a question in your own words", self.query_text)
        )
        if asked:
            self.query_text = asked
            await self._search()

    async def _search(self) -> None:
        index, query = self.index, self.query_text
        if index is None:
            return
        self.set_note("searching…")
        try:
            hits = await asyncio.to_thread(_find, self.services, index, query)
        finally:
            self.set_note("")
        self._table.empty = self._table.placeholder = f"No chunk of {index.ref} has a word of the query."
        self._table.fill(hits, top=True)
        self.set_title("Found", query)
        self.set_note(counted(len(hits), "chunk"))
        self._table.focus()

    def action_why(self) -> None:
        """Say why a passage did not come."""
        if self.index is None or not self.query_text:
            self.shell.say("F5 searches first; then w explains a passage that did not come.", severity="warning")
        else:
            self.ask_by("why", self._why)

    async def _why(self) -> None:
        words = await self.shell.ask(
            LineDialog(
                f"Why not? “{self.query_text}”", "some words of the passage that should have come, as it has them"
            )
        )
        if words and self.index is not None:
            why = await asyncio.to_thread(_explain, self.services, self.index, self.query_text, words)
            self.post_message(self.Explained(why))


def _find(services: Services, index: Index, query: str) -> list[HitRecord]:
    """The first of each ranker, by the ranking of both."""
    from llmops_tui.retrieval.retriever import FUSED, opened_retriever
    from llmops_tui.retrieval.store import IndexStore

    with opened_retriever(IndexStore(services.catalog), index) as retriever:
        # All rankers side by side, whichever of them is recommended.
        hits, _ = (
            retriever.search(query, "hybrid", 2 * FUSED)
            if index.spec is not None
            else retriever.search(query, "bm25", K)
        )
    return [hit for hit in hits if any(rank is not None and rank <= K for rank in _ranks(hit))]


def _ranks(hit: HitRecord) -> tuple[int | None, ...]:
    return hit["rank"], hit["bm25_rank"], hit["vectors_rank"]


def _explain(services: Services, index: Index, query: str, words: str) -> WhyRecord:
    from llmops_tui.retrieval.retriever import opened_retriever
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.retrieval.why_not import explain, find_places

    with opened_retriever(IndexStore(services.catalog), index) as retriever:
        return explain(retriever, query, find_places(retriever, words), retriever.best_way, K)


def _rank(rank: int | None) -> Part:
    if rank is None:
        return "–", "muted"
    return str(rank), "good" if rank == 1 else "plain" if rank <= K else "muted"


def _columns() -> list[Column[HitRecord]]:
    return [
        Column("both", lambda hit: _rank(hit["rank"]), lambda hit: hit["rank"], right=True),
        Column("words", lambda hit: _rank(hit["bm25_rank"]), lambda hit: hit["bm25_rank"], right=True),
        Column("meaning", lambda hit: _rank(hit["vectors_rank"]), lambda hit: hit["vectors_rank"], right=True),
        Column("cosine", lambda hit: "–" if hit["cosine"] is None else f"{hit['cosine']:.3f}", lambda hit: hit["cosine"],
            right=True, falling=True, rank=2, spare=True),
        Column("document", lambda hit: hit["passage"]["document"], rank=1),
        Column("has", lambda hit: (", ".join(hit["terms"]), "good"), rank=3, spare=True, extra=True),
        Column("text", lambda hit: " ".join(hit["passage"]["text"].split())[:400], share=1, least=12, most=400, good=40),
    ]  # fmt: skip
