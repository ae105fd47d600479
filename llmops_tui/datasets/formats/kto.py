"""Answers with a label that says whether they are good, as KTO learns from."""

from __future__ import annotations

from llmops_tui.datasets.formats.alpaca import Alpaca
from llmops_tui.datasets.formats.base import Format, RowRefusedError, kind_name
from llmops_tui.datasets.formats.messages import Messages
from llmops_tui.datasets.formats.prompt_completion import PromptCompletion
from llmops_tui.datasets.formats.sharegpt import ShareGpt
from llmops_tui.datasets.records import Message, Row

# As tables of texts have them.
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


class Kto(Format):
    """``{"prompt": …, "completion": …, "label": true}``, or a conversation with ``label`` or ``kto_tag``."""

    name = "kto"
    kind = "kto"
    columns = frozenset({"prompt", "completion", "label", "kto_tag", "messages"})
    sign = "have an answer with a label that is true or false"
    implies = ("prompt-completion", "messages", "alpaca", "sharegpt")

    def recognises(self, row: Row) -> bool:
        """By the label beside an answer."""
        label = _TRUTH.get(row["label"].lower()) if isinstance(row.get("label"), str) else row.get("label")
        if "messages" in row or "conversations" in row:
            # A whole number may be the class of a conversation.
            return "kto_tag" in row or (isinstance(label, bool) and row["label"] not in {"0", "1"})
        return "kto_tag" in row or ({"prompt", "completion"} <= set(row) and isinstance(label, (bool, int)))

    def read(self, row: Row) -> Row:
        """Prompt, completion and label."""
        label = row.pop("kto_tag") if "kto_tag" in row else row.pop("label", None)
        if isinstance(label, str):
            label = _TRUTH.get(label.lower(), label)
        if not isinstance(label, bool) and label not in (0, 1):
            raise RowRefusedError(f"label is {kind_name(label)}, not true or false")
        if "prompt" in row:
            made = PromptCompletion().read(row)
        else:
            turns = _turns_of(row)
            if len(turns) < 2:
                raise RowRefusedError("the answer is missing")
            made = {"prompt": turns[:-1], "completion": turns[-1:], **row}
        return {"prompt": made.pop("prompt"), "completion": made.pop("completion"), "label": bool(label), **made}


def _turns_of(row: Row) -> list[Message]:
    """The conversation of a row, taken out of it."""
    form = ShareGpt() if "conversations" in row else Alpaca() if "instruction" in row else Messages()
    inner = form.read(row)
    turns: list[Message] = inner.pop("messages")
    row.clear()
    row.update(inner)
    return turns
