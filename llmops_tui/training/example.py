"""An example as a trainer takes it, how long it is, and how many of them there are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from llmops_tui.counts import counted

if TYPE_CHECKING:
    from llmops_tui.training.records import DataFacts

IGNORED = -100
"""The label of a token that is not learned from."""


class Example(TypedDict, total=False):
    """A row as a trainer takes it: token ids by the names that TRL gives them.

    A text, or a conversation, has ``input_ids`` and ``labels``, and ``position_ids`` where several are packed; a pair a
    prompt and two answers; a thumb a prompt, an answer and whether it is a good one (``label``), and for its trainer also an
    answer to another prompt. Texts are empty, and there for a trainer that asks for them; a
    prompt that the model answers has its ``prompt_ids``, its text, and as JSON the ``case`` that is rewarded.
    """

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    completion_ids: list[int]
    label: bool
    KL_completion_ids: list[int]
    prompt: str
    case: str
    chosen: str
    rejected: str


def length_of(example: Example) -> int:
    """Tokens of an example; of a pair those of its prompt and the longer answer."""
    if "input_ids" in example:
        return len(example["input_ids"])
    if "case" in example:
        return len(example["prompt_ids"])
    answers = (example.get("chosen_ids"), example.get("rejected_ids"), example.get("completion_ids"))
    return len(example["prompt_ids"]) + max(len(answer) for answer in answers if answer is not None)


def learned_in(example: Example) -> int:
    """Tokens of an example that are learned from: of a text those with a label, of a pair both answers."""
    if "labels" in example:
        # The first token is never predicted.
        return sum(label != IGNORED for label in example["labels"][1:])
    answers = (example.get("chosen_ids"), example.get("rejected_ids"), example.get("completion_ids"))
    return sum(len(answer) for answer in answers if answer is not None)


def examples_told(data: DataFacts) -> str:
    """How many examples are trained on, and in how many sequences where they are packed."""
    if data["packed"]:
        return f"{counted(data['packed'], 'example')} packed into {counted(data['examples'], 'sequence')}"
    return counted(data["examples"], "example")
