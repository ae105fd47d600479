"""Conversations as OpenAI's API has them: the canonical shape of conversations."""

from __future__ import annotations

from llmops_tui.datasets.formats.base import Format, checked_messages, has, ordered, structured
from llmops_tui.datasets.records import Row


class Messages(Format):
    """``{"messages": [{"role": …, "content": …}, …]}``, with ``tools`` where the conversation may use some."""

    name = "messages"
    kind = "messages"
    columns = frozenset({"messages", "tools"})
    sign = "have 'messages'"
    turns = "messages"

    def recognises(self, row: Row) -> bool:
        """By its column."""
        return has(row, "messages")

    def read(self, row: Row) -> Row:
        """Role and content first in each message; what a table holds as JSON text is decoded."""
        row["messages"] = [ordered(m) for m in checked_messages(structured(row.get("messages")), "messages")]
        if "tools" in row:
            row["tools"] = structured(row["tools"])
        return row
