"""Thinking that is turned on or off, and ended by a budget; answers that go on from exact tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmops_tui.inference.engine.thinking_budget import ThinkingBudget
from llmops_tui.inference.engine_wire import ThinkingRecord
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import Bench
from tests.engine.talking import Talking, opened
from tests.engine.test_request_fields import CHAT, HI, PLAIN

THINKER = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' %}<think>{{ m.reasoning_content }}</think>\n\n{% endif %}{{ m.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
async def talking(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in opened(workspace, THINKER):
        yield server


def held(budget: int, *, opened: bool = False) -> ThinkingRecord:
    return {"before": "<think>", "after": "</think>", "follow": "", "open": opened, "budget": budget}


def said(budget: ThinkingBudget, pieces: list[str], most: int = 40) -> list[str]:
    """What is written where the model wants these pieces; forced tokens are letters of the mark."""
    wanted, found = iter(pieces), []
    for _ in range(most):
        due = budget.due()
        piece = chr(due) if due is not None else next(wanted, None)
        if piece is None:
            break
        found.append(piece)
        budget.take(piece.encode())
    return found


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


@pytest.mark.parametrize(("begin", "open_here"), [(["<think>"], False), (["\n", "<thi", "nk>"], False), ([], True)])
def test_thinking_ends_after_its_budget(begin: list[str], open_here: bool) -> None:
    budget = ThinkingBudget(held(3, opened=open_here), letters)
    found = said(budget, [*begin, "a", "b", "c", "d", "e"])
    assert "".join(found) == "".join(begin) + "abc</think>de"
    assert budget.closed


def test_what_ends_by_itself_is_left_alone() -> None:
    budget = ThinkingBudget(held(3), letters)
    assert "".join(said(budget, ["<think>", "a", "</think>", *"bcdef"])) == "<think>a</think>bcdef"
    assert not budget.closed
    # A mark that is being written when the budget ends is let through, and nothing is counted of an answer without thinking.
    split = ThinkingBudget(held(3), letters)
    assert "".join(said(split, ["<think>", "a", "b", "</th", "ink>", "c"])) == "<think>ab</think>c"
    none = ThinkingBudget(held(0), letters)
    assert "".join(said(none, ["Yes", ", <think> is a word", "."])) == "Yes, <think> is a word."
    # What only looks like the beginning of the mark does not hold it off for ever.
    odd = ThinkingBudget(held(1, opened=True), letters)
    assert "".join(said(odd, ["</"] * 20)).count("</think>") == 1


def test_a_budget_of_nothing_ends_thinking_at_once() -> None:
    assert "".join(said(ThinkingBudget(held(0, opened=True), letters), ["a"])) == "</think>a"
    assert "".join(said(ThinkingBudget(held(0), letters), ["<think>", "a"])) == "<think></think>a"


async def test_the_server_holds_thinking_to_its_budget(talking: Talking) -> None:
    talking.says("x")
    await talking.post(CHAT, {"messages": HI, "thinking_budget": 7})
    assert talking.asked_for["thinking"] == held(7)
    await talking.post(CHAT, {"messages": HI})
    assert "thinking" not in talking.asked_for
    # Where it is turned off the prompt has ended it.
    await talking.post(CHAT, {"messages": HI, "enable_thinking": False, "thinking_budget": 7})
    assert talking.prompt.endswith("<think>\n\n</think>\n\n")
    assert "thinking" not in talking.asked_for
    assert talking.asked_for["parameters"]["enable_thinking"] is False
    both = {"messages": HI, "enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}}
    assert (await talking.post(CHAT, both)).json()["error"]["param"] == "enable_thinking"
    text = await talking.post("/v1/completions", {"prompt": "a", "thinking_budget": 5})
    assert text.json()["error"]["param"] == "thinking_budget"


async def test_a_budget_where_nothing_thinks_is_told(workspace: Workspace) -> None:
    async for plain in opened(workspace, PLAIN):
        plain.says("x")
        told = {"param": "thinking_budget", "message": "this model does not think"}
        for budget, warnings in ((5, [told]), (0, [])):
            answer = (await plain.post(CHAT, {"messages": HI, "thinking_budget": budget})).json()
            assert answer.get("warnings", []) == warnings
            assert "thinking" not in plain.asked_for


async def test_an_answer_goes_on_from_given_tokens(talking: Talking) -> None:
    talking.says("ns.</think>It rains.", text="<think>It ")
    answer = await talking.post(CHAT, {"messages": HI, "answer_token_ids": [5, 9]})
    message = answer.json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("ns.", "It rains.")
    assert answer.status_code == 200, answer.text
    assert talking.asked_for["begun"] == [5, 9]
    for more, param in (
        ({"messages": [*HI, {"role": "assistant", "content": "It "}]}, "answer_token_ids"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"truncate": "oldest"}, "truncate"),
        ({"answer_token_ids": [99_999_999]}, "answer_token_ids[0]"),
    ):
        body: dict[str, Any] = {"messages": HI, "answer_token_ids": [5]} | more
        refused = await talking.post(CHAT, body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(parallel=1)


def test_the_engine_goes_on_from_tokens_as_if_it_had_chosen_them(bench: Bench) -> None:
    prompt = bench.native.tokenize(
        "<|im_start|>user\nrefund the kettle<|im_end|>\n<|im_start|>assistant\n", add_special=False
    )
    whole = bench.ask(prompt, logprobs=2)
    begun = [record[0] for record in whole.tokens][:5]
    half = bench.ask([*prompt, *begun], begun=5)
    assert whole.text.endswith(half.text)
    assert 0 < len(half.text) < len(whole.text)
    # Held to a budget, the mark comes and the answer goes on; it counts as every token does.
    mark = ThinkingBudget(held(2, opened=True), lambda text: bench.native.tokenize(text, add_special=False))
    closed = bench.ask(prompt, thinking=mark)
    assert "</think>" in closed.text
    assert closed.result["thinking_closed"] is True
    assert closed.text.startswith(whole.text[:1])


def test_a_character_that_was_cut_comes_whole(bench: Bench) -> None:
    parts = bench.native.tokenize("語", add_special=False, parse_special=False)
    assert len(parts) > 1, "one token: choose a rarer character"
    found = bench.ask([5, *parts[:1]], begun=1, parameters={"logit_bias": {parts[1]: 100}, "max_tokens": 1})
    rest = bench.ask(
        [5, *parts[:-1]], begun=len(parts) - 1, parameters={"logit_bias": {parts[-1]: 100}, "max_tokens": 1}
    )
    assert found.error is None
    assert rest.text == "語"


def test_nothing_follows_the_end_of_an_answer(bench: Bench) -> None:
    end = min(bench.native.ends)
    assert bench.refused([5, end], begun=1).code == "answer_ended"
