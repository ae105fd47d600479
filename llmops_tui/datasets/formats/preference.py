"""Pairs of answers of which one was preferred, as DPO and ORPO learn from."""

from __future__ import annotations

from llmops_tui.datasets.formats.alpaca import instruction_messages
from llmops_tui.datasets.formats.base import Format, checked_messages, has, structured
from llmops_tui.datasets.formats.prompt_completion import said
from llmops_tui.datasets.formats.sharegpt import turn_message
from llmops_tui.datasets.records import Message, Row


class Preference(Format):
    """``{"prompt": …, "chosen": …, "rejected": …}``; the prompt may be part of both answers, or of another format."""

    name = "preference"
    kind = "preference"
    columns = frozenset({"prompt", "chosen", "rejected", "conversations", "instruction", "input", "system", "history"})
    sign = "have 'chosen' and 'rejected'"
    implies = ("sharegpt",)

    def recognises(self, row: Row) -> bool:
        """By the two answers."""
        return has(row, "chosen", "rejected")

    def read(self, row: Row) -> Row:
        """The prompt apart from both answers."""
        chosen, rejected = said(row.pop("chosen", None), "chosen"), said(row.pop("rejected", None), "rejected")
        prompt: str | list[Message] | None = None
        if "conversations" in row:
            turns = checked_messages(structured(row.pop("conversations")), "conversations")
            prompt = [turn_message(turn) for turn in turns]
        elif "instruction" in row:
            prompt = instruction_messages(row)
        elif row.get("prompt") is not None:
            prompt = said(row.pop("prompt"), "prompt")
        if isinstance(chosen, list) and isinstance(rejected, list) and (prompt is None or isinstance(prompt, str)):
            same = _common_prefix(chosen, rejected)
            if prompt is None or (same and same[-1].get("content") == prompt):
                prompt, chosen, rejected = same or None, chosen[len(same) :], rejected[len(same) :]
        row.pop("prompt", None)
        return ({} if prompt is None else {"prompt": prompt}) | {"chosen": chosen, "rejected": rejected, **row}


def _common_prefix(left: list[Message], right: list[Message]) -> list[Message]:
    count = 0
    # The answers themselves stay, even where both are the same.
    while count < min(len(left), len(right)) - 1 and left[count] == right[count]:
        count += 1
    return left[:count]
