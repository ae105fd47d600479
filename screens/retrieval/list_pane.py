"""The indexes of the workspace, and what of each is stale."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.retrieval.store import Index
    from screens.services import Services

_EMPTY = "No index yet.\nn makes one of a dataset, or of a folder of Markdown, text, HTML and PDF files."
_HELP = (
    "Indexes of documents, by their newest version. n makes one, b builds it again from its documents as they are now, "
    "m has contexts of chunks written, t learns how hybrid search weighs meaning against words, v has a prompt answer queries, "
    "x removes it or a document of it. What is stale differs from the source."
)


@dataclass(frozen=True)
class Listed:
    """An index with what of it is stale."""

    index: Index
    stale: tuple[str, ...]


class ListPane(Pane):
    """One line an index."""

    class CursorMoved(Message):
        """Another index is under the cursor."""

    class Changed(Message):
        """An index was built or removed."""

    def __init__(self) -> None:
        super().__init__(title="Indexes", jump_key="i", id="retrieval-list", help_text=_HELP)

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(_columns(), id="index-list", key=lambda one: one.index.record["name"], empty=_EMPTY, selects=False)

    @property
    def _table(self) -> Table[Listed]:
        return self.query_one(Table)

    @property
    def current(self) -> Listed | None:
        """The index under the cursor."""
        return self._table.current

    async def load(self, select: str = "") -> None:
        """Read the indexes; with ``select`` put the cursor on one."""
        self._table.fill(await asyncio.to_thread(_read, self.services), select)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_new(self) -> None:
        """Make an index."""
        self.ask_by("build", self._new)

    async def _new(self) -> None:
        from screens.retrieval.build_index import new_index

        if (name := await new_index(self.shell, self)) is not None:
            await self.load(name)
            self.post_message(self.Changed())

    def action_build(self) -> None:
        """Build the index again."""
        if self.current is None:
            self.shell.say("There is no index yet: n makes one.", severity="warning")
        else:
            self.ask_by("build", self._build, self.current.index.record["name"])

    async def _build(self, name: str) -> None:
        from screens.retrieval.build_index import build_again

        await build_again(self.shell, self, name)
        await self.load(name)
        self.post_message(self.Changed())

    def action_contexts(self) -> None:
        """Have contexts of chunks written, or take them away."""
        if self.current is not None:
            self.ask_by("build", self._contexts, self.current.index.record["name"])

    async def _contexts(self, name: str) -> None:
        from screens.retrieval.build_index import build_with_contexts

        if await build_with_contexts(self.shell, self, name):
            await self.load(name)
            self.post_message(self.Changed())

    def action_queries(self) -> None:
        """Look through queries that a model wrote, or have more written."""
        if self.current is not None:
            self.ask_by("queries", self._queries, self.current.index.record["name"])

    async def _queries(self, name: str) -> None:
        from screens.retrieval.review_queries import review_queries

        await review_queries(self.shell, self, name)

    def action_tune(self) -> None:
        """Learn the weight of meaning against words."""
        if self.current is not None:
            self.ask_by("tune", self._tune, self.current.index)

    async def _tune(self, index: Index) -> None:
        from screens.retrieval.tune_index import tune_index

        if await tune_index(self.shell, self, index):
            await self.load(index.record["name"])
            self.post_message(self.Changed())

    def action_answers(self) -> None:
        """Have a prompt answer the queries, as an evaluation run."""
        if self.current is not None:
            self.ask_by("answers", self._answers, self.current.index)

    async def _answers(self, index: Index) -> None:
        from screens.retrieval.answer_queries import answer_queries

        await answer_queries(self.shell, index)

    def action_remove(self) -> None:
        """Remove the index, or a document of it."""
        if self.current is not None:
            self.ask_by("remove", self._remove, self.current.index)

    async def _remove(self, index: Index) -> None:
        from screens.retrieval.remove_index import remove_index

        if await remove_index(self.shell, index):
            await self.load()
            self.post_message(self.Changed())


def _read(services: Services) -> list[Listed]:
    from llmops_tui.retrieval.staleness import stale_because
    from llmops_tui.retrieval.store import IndexStore

    store = IndexStore(services.catalog)
    return [Listed(index, tuple(stale_because(store, index))) for index in store.all()]


def _embedder(one: Listed) -> Part:
    embedder = one.index.record["embedder"]
    return (embedder["model"], "plain") if embedder is not None else ("words alone", "muted")


def _columns() -> list[Column[Listed]]:
    return [
        Column("index", lambda one: one.index.ref, names=True),
        Column("documents", lambda one: units.whole(one.index.record["documents"]), lambda one: one.index.record["documents"],
            right=True, falling=True, rank=2),
        Column("chunks", lambda one: units.whole(one.index.record["chunks"]), lambda one: one.index.record["chunks"],
            right=True, falling=True, rank=1),
        Column("embedder", _embedder, rank=3, names=True),
        Column("stale", lambda one: ("; ".join(one.stale), "warn") if one.stale else ("", "plain"), share=1, least=8, rank=1),
    ]  # fmt: skip
