"""Pairs of answers of which one was preferred, as DPO and ORPO learn from."""

from __future__ import annotations

from llmops_tui.datasets.formats.alpaca import has_two_answers, instruction_messages
from llmops_tui.datasets.formats.base import Format, RowRefusedError, checked_messages, has, ordered, structured
from llmops_tui.datasets.formats.prompt_completion import said
from llmops_tui.datasets.formats.sharegpt import turn_message
from llmops_tui.datasets.records import Message, Row

_MESSAGES = {"chosen": "chosen_messages", "rejected": "rejected_messages"}
_REJECTED = "rejected_response"
_OPENAI = {"chosen": "preferred_output", "rejected": "non_preferred_output"}


class Preference(Format):
    """``{"prompt": …, "chosen": …, "rejected": …}``; the prompt may be part of both answers, or of another format.

    ``question`` beside ``system`` is a prompt too, and so are OpenAI's ``input`` beside ``preferred_output`` and
    ``non_preferred_output``, and ``messages`` that end with a question. A conversation beside ``rejected_response`` or
    ``rejected_messages`` is the chosen one, and so is the first of two answers that ``output`` of an instruction holds. A
    system text beside all that is the first message of the prompt.
    """

    name = "preference"
    kind = "preference"
    columns = frozenset(
        {
            "prompt", "chosen", "rejected", "conversations", "instruction", "input", "system", "history", "question",
            "messages", "output", _REJECTED, *_MESSAGES.values(), *_OPENAI.values(),
        }
    )  # fmt: skip
    sign = "have 'chosen' and 'rejected'"
    implies = ("sharegpt", "messages", "alpaca")

    def recognises(self, row: Row) -> bool:
        """By the two answers."""
        named = [("chosen", "rejected"), _MESSAGES.values(), _OPENAI.values()]
        named += [("messages", _REJECTED), ("messages", _MESSAGES["rejected"])]
        return has_two_answers(row) or any(has(row, *names) for names in named)

    def read(self, row: Row) -> Row:
        """The prompt apart from both answers."""
        for names in (_MESSAGES, _OPENAI):
            if "chosen" not in row and has(row, *names.values()):
                row.update({name: row.pop(given) for name, given in names.items()})
        if "chosen" not in row and has(row, "messages", _REJECTED):
            _take_apart(row)
        elif "chosen" not in row and has(row, "messages", _MESSAGES["rejected"]):
            row |= {"chosen": row.pop("messages"), "rejected": row.pop(_MESSAGES["rejected"])}
        elif "chosen" not in row and has_two_answers(row):
            row["chosen"], row["rejected"] = row.pop("output")
        chosen, rejected = said(row.pop("chosen", None), "chosen"), said(row.pop("rejected", None), "rejected")
        prompt = _prompt(row)
        if isinstance(chosen, list) and isinstance(rejected, list) and (prompt is None or isinstance(prompt, str)):
            same = _common_prefix(chosen, rejected)
            if prompt is None or (same and same[-1].get("content") == prompt):
                prompt, chosen, rejected = same or None, chosen[len(same) :], rejected[len(same) :]
        row.pop("prompt", None)
        if prompt is None and (asked := _asked(row)):
            prompt = asked
            del row["messages"]
        prompt = _with_system(prompt, row)
        return ({} if prompt is None else {"prompt": prompt}) | {"chosen": chosen, "rejected": rejected, **row}


def _prompt(row: Row) -> str | list[Message] | None:
    """What stands in a column of its own, which is taken out of the row."""
    if "conversations" in row:
        turns = checked_messages(structured(row.pop("conversations")), "conversations")
        return [turn_message(turn) for turn in turns]
    if "instruction" in row:
        return instruction_messages(row)
    if row.get("prompt") is not None:
        return said(row.pop("prompt"), "prompt")
    if isinstance(row.get("question"), str):
        question: str = row.pop("question")
        return question
    if isinstance(row.get("input"), dict) and "messages" in row["input"]:
        given = dict(row.pop("input"))
        asked = [ordered(m) for m in checked_messages(given.pop("messages"), "input.messages")]
        row.update(given)
        return asked
    return None


def _take_apart(row: Row) -> None:
    """A conversation beside another answer to its last question, as a prompt and two answers.

    Raises:
        RowRefusedError: it does not end with an answer.
    """
    *asked, last = checked_messages(structured(row.pop("messages")), "messages") or [{}]
    if last.get("role") != "assistant":
        raise RowRefusedError("messages does not end with an answer, which the rejected one stands against")
    rejected = row.pop(_REJECTED)
    row["chosen"] = [last]
    row["rejected"] = [{"role": "assistant", "content": rejected}] if isinstance(rejected, str) else rejected
    row["prompt"] = asked


def _asked(row: Row) -> list[Message]:
    """The messages of a row, where they end with a question, and may be the prompt of answers beside them."""
    turns = structured(row.get("messages"))
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return []
    return [ordered(turn) for turn in turns] if turns and turns[-1].get("role") in {"user", "tool"} else []


def _with_system(prompt: str | list[Message] | None, row: Row) -> str | list[Message] | None:
    """A prompt behind the system text that stands beside it, which is taken out of the row; one that has its own keeps it."""
    system = row.get("system")
    if not isinstance(system, str) or prompt is None:
        return prompt
    if isinstance(prompt, list) and any(turn.get("role") == "system" for turn in prompt):
        return prompt
    del row["system"]
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [{"role": "system", "content": system}, *asked] if system else prompt


def _common_prefix(left: list[Message], right: list[Message]) -> list[Message]:
    count = 0
    # The answers themselves stay, even where both are the same.
    while count < min(len(left), len(right)) - 1 and left[count] == right[count]:
        count += 1
    return left[:count]
