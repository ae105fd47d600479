"""An answer looked into: tokens, entropy, and the prompt by message."""

from __future__ import annotations

import math

import pytest

from llmops_tui.inference.client import StreamEnd
from llmops_tui.prompts.inside import begun_with, prompt_parts, seen, why_it_ended


def test_tokens_with_alternatives() -> None:
    top = [{"token": "a", "logprob": math.log(0.5), "id": 1}, {"token": "b", "logprob": math.log(0.25), "id": 2}]
    token = seen({"token": "b", "logprob": math.log(0.25), "id": 2, "bytes": [98], "top_logprobs": top})  # type: ignore[typeddict-item]
    assert token.probability == pytest.approx(0.25)
    # Half, a quarter, and the rest as one.
    assert token.entropy == pytest.approx(1.5)
    assert begun_with([token, token], 1, token.top[0]) == (2, 1)
    strange = seen({"token": "?", "logprob": -1.0})
    assert (strange.id, strange.entropy, begun_with([strange], 0, strange)) == (None, 0.0, None)
    assert seen({"token": "�", "bytes": [0xE8, 0xAA], "logprob": -1.0}).text == "‹e8›‹aa›"


def test_the_prompt_by_message() -> None:
    pieces = ["<s>", "sys", "\n", "Be ", "kind", "</s>", "<u>", "Hi ", "there", "</u>", "<a>"]
    messages = [{"role": "system", "content": "Be kind "}, {"role": "user", "content": "Hi there"}]
    parts = prompt_parts(messages, pieces)
    assert [(part.role, part.text, part.tokens) for part in parts] == [
        ("", "<s>sys\n", 3), ("system", "Be kind", 2), ("", "</s><u>", 2), ("user", "Hi there", 2), ("", "</u><a>", 2),
    ]  # fmt: skip
    assert "".join(part.text for part in parts) == "".join(pieces)
    # What the template changed is not found, and not guessed.
    assert [(part.role, part.tokens) for part in prompt_parts([{"role": "user", "content": "other"}], pieces)] == [
        ("", 11)
    ]
    assert prompt_parts([], []) == []


def test_why_it_ended() -> None:
    assert "budget" in why_it_ended(StreamEnd("stop", {"thinking_closed": True}))
    assert "max_tokens" in why_it_ended(StreamEnd("length"))
    assert why_it_ended(StreamEnd("odd")) == "odd"
