"""An example as a trainer takes it, and how long it is."""

from __future__ import annotations

from typing import TypedDict

IGNORED = -100
"""The label of a token that is not learned from."""


class Example(TypedDict, total=False):
    """A row as a trainer takes it: token ids by the names that TRL gives them.

    A text, or a conversation, has ``input_ids`` and ``labels``, and ``position_ids`` where several are packed; a pair a
    prompt and two answers; a thumb a prompt, an answer and whether it is a good one (``label``), and for its trainer also an
    answer to another prompt. Texts are empty, and there for a trainer that asks for them.
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
    chosen: str
    rejected: str


def length_of(example: Example) -> int:
    """Tokens of an example; of a pair those of its prompt and the longer answer."""
    if "input_ids" in example:
        return len(example["input_ids"])
    answers = (example.get("chosen_ids"), example.get("rejected_ids"), example.get("completion_ids"))
    return len(example["prompt_ids"]) + max(len(answer) for answer in answers if answer is not None)
