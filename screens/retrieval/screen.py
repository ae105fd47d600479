"""The indexes, what a query finds by each ranker, and the document of a chunk."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.navigation import ScreenPlace
from screens.retrieval.found_pane import FoundPane
from screens.retrieval.list_pane import ListPane
from screens.retrieval.source_pane import SourcePane
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> RetrievalScreen:
    """Make the screen."""
    return RetrievalScreen(services, profile)


class RetrievalScreen(BaseScreen):
    """Indexes above what is found at the left, the document at the right."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("retrieval")  # type: ignore[assignment]
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#index-list"
    scope = "retrieval"
    tab = "datasets"
    about = (
        "Indexes of documents: datasets and folders cut into chunks, found by words, by meaning and by both. Search one, look "
        "at a chunk in its document, and ask why a passage did not come."
    )

    def compose_body(self) -> ComposeResult:
        """Three panes."""
        with Horizontal(id="columns"):
            with Vertical(classes="column"):
                yield ListPane()
                yield FoundPane()
            yield SourcePane()

    def on_screen_resume(self) -> None:
        """Read what there is."""
        super().on_screen_resume()
        self.action_look()

    def action_look(self) -> None:
        """Read the indexes again."""
        self.act("load", self._load)

    async def _load(self) -> None:
        await self.query_one(ListPane).load()
        self._show_index()

    @on(ListPane.CursorMoved)
    @on(ListPane.Changed)
    def _show_index(self) -> None:
        listed = self.query_one(ListPane).current
        index = listed.index if listed is not None else None
        self.query_one(FoundPane).show_index(index)
        if self.query_one(FoundPane).current is None:
            self.query_one(SourcePane).show_index(index, listed.stale if listed is not None else ())

    @on(FoundPane.CursorMoved)
    def _show_passage(self) -> None:
        found = self.query_one(FoundPane)
        if found.index is not None and found.current is not None:
            self.act("passage", self.query_one(SourcePane).show_passage, found.index, found.current["passage"])

    @on(FoundPane.Explained)
    def _show_why(self, event: FoundPane.Explained) -> None:
        self.query_one(SourcePane).show_why(event.why)

    def action_leave(self) -> None:
        """Leave a filled pane, then go back."""
        if self.has_class("-maximised"):
            self.toggle_maximised()
        else:
            self.act("back", self._back)

    async def _back(self) -> None:
        if not await self.shell.navigation.back():
            self.shell.open_place(ScreenPlace("datasets"))

    def copy_choices(self) -> list[tuple[str, str]]:
        """The chunk, and what is said at the right."""
        hit = self.query_one(FoundPane).current
        chunk = [("chunk", hit["passage"]["text"])] if hit is not None else []
        return [*chunk, ("text at the right", self.query_one(SourcePane).told)]

    def cli_command(self) -> str:
        """``llmops index search``."""
        found = self.query_one(FoundPane)
        if found.index is None:
            return "llmops index build NAME --from FOLDER"
        return shlex.join(["llmops", "index", "search", found.index.ref, found.query_text or "QUERY"])

    def lineage_subject(self) -> str:
        """The index under the cursor."""
        listed = self.query_one(ListPane).current
        return listed.index.record["sha256"] if listed is not None else ""
