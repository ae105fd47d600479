"""Prompts with their completions, as texts or as messages."""

from __future__ import annotations

from typing import Any

from llmops_tui.datasets.formats.base import Format, checked_messages, has, ordered, structured
from llmops_tui.datasets.formats.sharegpt import turn_message
from llmops_tui.datasets.records import Message, Row


class PromptCompletion(Format):
    """``{"prompt": …, "completion": …}``, each a text or a list of messages."""

    name = "prompt-completion"
    kind = "prompt-completion"
    columns = frozenset({"prompt", "completion"})
    sign = "have 'prompt' and 'completion'"

    def recognises(self, row: Row) -> bool:
        """By both columns."""
        return has(row, "prompt", "completion")

    def read(self, row: Row) -> Row:
        """Both, each as a text or as messages."""
        prompt, completion = said(row.pop("prompt", None), "prompt"), said(row.pop("completion", None), "completion")
        return {"prompt": prompt, "completion": completion, **row}


def said(value: Any, name: str) -> str | list[Message]:
    """A text as it is, anything else as messages; ``name`` is its column, for what is refused.

    A text that is JSON is a text, except for a list of nothing but messages, as a table holds them.
    """
    if isinstance(value, str):
        return _messages_in(value) or value
    if isinstance(value, dict) and ("content" in value or "value" in value):
        return [turn_message(value)]
    return [ordered(m) for m in checked_messages(value, name)]


def _messages_in(text: str) -> list[Message]:
    found = structured(text) if text[:1] == "[" and ("role" in text or "from" in text) else None
    turns = found if isinstance(found, list) else []
    if not all(
        isinstance(turn, dict) and ({"role", "content"} <= set(turn) or {"from", "value"} <= set(turn))
        for turn in turns
    ):
        return []
    return [turn_message(turn) for turn in turns]
