"""Rows as prompts that the model answers itself: the tokens up to its answer, and the case that the rewards see."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llmops_tui.datasets.records import CONTENT_COLUMNS, Row, answer_text
from llmops_tui.datasets.tokens import ModelText, Token, TokenView
from llmops_tui.datasets.training_fields import ROW_FIELDS, conversation_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.training.example import Example

NO_ROOM = "the prompt leaves no room for an answer: prompt and reinforcement.max_tokens are more than batch.max_length"
NO_QUESTION = "there is nothing to answer: the row has no turn of a user, or the template refuses it"


@dataclass(frozen=True)
class AskedPrompt:
    """A row's prompt, as text and as what it was rendered from, and the answer that the data has; none where it has none."""

    rendered: str
    messages: list[dict[str, Any]]
    expected: str | None


def asked_prompt(text: ModelText, kind: str, row: Row) -> AskedPrompt | None:
    """What a row asks; the last answer of a conversation is what is expected. None where it asks nothing."""
    asked = conversation_of(kind, row)
    first = max(asked.answers, default=0) if kind == "messages" else min(asked.answers, default=len(asked.messages))
    if kind == "messages" and (not first or asked.messages[-1]["role"] != "assistant"):
        first = len(asked.messages)
    messages: list[dict[str, Any]] = [dict(message) for message in asked.messages[:first]]
    expected = answer_text(kind, row) if first < len(asked.messages) else None
    if (found := text.question(kind, row)) is not None and first < len(asked.messages):
        return AskedPrompt(found[0], messages, expected)
    if not messages or messages[-1].get("role") == "assistant":
        return None
    try:
        rendered = text.render(asked.messages[:first], asked.tools, asked.variables, prompt=True)
    except InputRefusedError:
        return None
    return AskedPrompt(rendered, messages, expected)


Made = tuple[list[Example], list[TokenView], tuple[str, ...]]
"""What a row gave: its example, its view, and what is wrong with it."""


def prompt_examples(text: ModelText, kind: str, rows: list[Row], longest: int) -> list[Made]:
    """The example of each row whose prompt has ``longest`` tokens at the most; tokenized together."""
    asked = [asked_prompt(text, kind, row) for row in rows]
    tokens = iter(text.tokenizer.many([one.rendered for one in asked if one is not None]))
    return [
        ([], [], (NO_QUESTION,)) if one is None else _made(one, next(tokens), kind, row, longest)
        for one, row in zip(asked, rows, strict=True)
    ]


def _made(asked: AskedPrompt, pieces: list[tuple[int, bytes]], kind: str, row: Row, longest: int) -> Made:
    tokens = tuple(Token(token, raw.decode("utf-8", "replace"), "masked") for token, raw in pieces)
    view = TokenView(asked.rendered, tokens, ())
    if len(tokens) > longest:
        return [], [view], (NO_ROOM,)
    beside = {name: value for name, value in row.items() if name not in {*CONTENT_COLUMNS[kind], *ROW_FIELDS}}
    case = {"messages": asked.messages, "expected": asked.expected, "variables": beside}
    example: Example = {
        "prompt": asked.rendered,
        "prompt_ids": [token.id for token in tokens],
        "case": json.dumps(case, default=str),
    }
    return [example], [view], ()
