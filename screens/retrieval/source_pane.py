"""The document of a chunk with the chunk marked; what is said of an index; or why a passage did not come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line, safe_text
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.retrieval.records import PassageRecord, WhyRecord
    from llmops_tui.retrieval.store import Index

_EMPTY = "The document of a chunk is shown here, with the chunk marked."
# Of a document so much is shown before and behind a chunk.
_AROUND = 4000


class SourcePane(Pane):
    """One text."""

    def __init__(self) -> None:
        super().__init__(
            title="Source",
            jump_key="s",
            id="retrieval-source",
            help_text="The document that the chunk under the cursor is from, with the chunk marked.",
        )
        self.told = ""

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="source-scroll"):
            yield Static(Content.styled(_EMPTY, "$muted"), id="source-text", markup=False)

    def _show(self, content: Content, line: int = 0) -> None:
        self.told = content.plain
        self.query_one("#source-text", Static).update(content)
        # Once it is laid out.
        self.call_after_refresh(self.query_one(TextScroll).scroll_to, y=line, animate=False)

    def show_index(self, index: Index | None, stale: tuple[str, ...]) -> None:
        """What is said of an index."""
        from llmops_tui.retrieval.told import index_text

        if index is None:
            self.set_title("Source")
            self._show(Content.styled(_EMPTY, "$muted"))
            return
        self.set_title("Index", index.ref)
        self._show(Content(safe_text(index_text(index.record, list(stale)))))

    async def show_passage(self, index: Index, passage: PassageRecord) -> None:
        """The chunk, in its document."""
        text = await asyncio.to_thread(_text, index, passage["document"])
        start, end = passage["start"], passage["end"]
        begin = max(0, start - _AROUND)
        before, after = safe_text(text[begin:start]), safe_text(text[end : end + _AROUND])
        page = f" · p. {passage['page']}" if passage["page"] is not None else ""
        self.set_title(safe_line(passage["document"]), f"{start:,}–{end:,}{page}")
        self.set_note(safe_line(passage["heading"]))
        parts: list[str | tuple[str, str]] = [("…" if begin else "", "$muted"), (before, "$muted")]
        parts += [(safe_text(text[start:end]), "$foreground on $panel"), (after, "$muted")]
        parts += [("…" if end + _AROUND < len(text) else "", "$muted")]
        width = max(20, self.size.width - 4)
        lines = sum(1 + len(line) // width for line in before.splitlines())
        self._show(Content.assemble(*parts), max(0, lines - 3))

    def show_why(self, why: WhyRecord) -> None:
        """Why a passage was found where it was."""
        from llmops_tui.retrieval.told import why_text

        self.set_title("Why not", safe_line(why["query"]))
        self.set_note("")
        self._show(Content(safe_text(why_text(why))))


def _text(index: Index, document: str) -> str:
    from llmops_tui.retrieval.chunk_file import ChunkFile

    with ChunkFile.opened(index.folder) as file:
        return file.text(document) or ""
