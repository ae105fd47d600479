"""Pairs of answers of which one was preferred, as DPO and ORPO learn from."""

from __future__ import annotations

from llmops_tui.datasets.formats.alpaca import instruction_messages
from llmops_tui.datasets.formats.base import Format, checked_messages, has, ordered, structured
from llmops_tui.datasets.formats.prompt_completion import said
from llmops_tui.datasets.formats.sharegpt import turn_message
from llmops_tui.datasets.records import Message, Row

_MESSAGES = {"chosen": "chosen_messages", "rejected": "rejected_messages"}
_OPENAI = {"chosen": "preferred_output", "rejected": "non_preferred_output"}


class Preference(Format):
    """``{"prompt": …, "chosen": …, "rejected": …}``; the prompt may be part of both answers, or of another format.

    ``question`` beside ``system`` is a prompt too, and so is OpenAI's ``input`` beside ``preferred_output`` and
    ``non_preferred_output``.
    """

    name = "preference"
    kind = "preference"
    columns = frozenset(
        {
            "prompt", "chosen", "rejected", "conversations", "instruction", "input", "system", "history", "question",
            *_MESSAGES.values(), *_OPENAI.values(),
        }
    )  # fmt: skip
    sign = "have 'chosen' and 'rejected'"
    implies = ("sharegpt",)

    def recognises(self, row: Row) -> bool:
        """By the two answers."""
        return has(row, "chosen", "rejected") or has(row, *_MESSAGES.values()) or has(row, *_OPENAI.values())

    def read(self, row: Row) -> Row:
        """The prompt apart from both answers."""
        for names in (_MESSAGES, _OPENAI):
            if "chosen" not in row and has(row, *names.values()):
                row.update({name: row.pop(given) for name, given in names.items()})
        chosen, rejected = said(row.pop("chosen", None), "chosen"), said(row.pop("rejected", None), "rejected")
        prompt: str | list[Message] | None = None
        if "conversations" in row:
            turns = checked_messages(structured(row.pop("conversations")), "conversations")
            prompt = [turn_message(turn) for turn in turns]
        elif "instruction" in row:
            prompt = instruction_messages(row)
        elif row.get("prompt") is not None:
            prompt = _with_system(said(row.pop("prompt"), "prompt"), row)
        elif isinstance(row.get("question"), str):
            prompt = _with_system(row.pop("question"), row)
        elif isinstance(row.get("input"), dict) and "messages" in row["input"]:
            given = dict(row.pop("input"))
            prompt = [ordered(m) for m in checked_messages(given.pop("messages"), "input.messages")]
            row.update(given)
        if isinstance(chosen, list) and isinstance(rejected, list) and (prompt is None or isinstance(prompt, str)):
            same = _common_prefix(chosen, rejected)
            if prompt is None or (same and same[-1].get("content") == prompt):
                prompt, chosen, rejected = same or None, chosen[len(same) :], rejected[len(same) :]
        row.pop("prompt", None)
        return ({} if prompt is None else {"prompt": prompt}) | {"chosen": chosen, "rejected": rejected, **row}


def _with_system(prompt: str | list[Message], row: Row) -> str | list[Message]:
    """A prompt behind the system text that stands beside it, which is taken out of the row."""
    system = row.get("system")
    if not isinstance(system, str) or not isinstance(prompt, str):
        return prompt
    del row["system"]
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}] if system else prompt


def _common_prefix(left: list[Message], right: list[Message]) -> list[Message]:
    count = 0
    # The answers themselves stay, even where both are the same.
    while count < min(len(left), len(right)) - 1 and left[count] == right[count]:
        count += 1
    return left[:count]
