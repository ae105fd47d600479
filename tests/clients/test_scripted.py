"""The stand-in that the clients' tests rest on: it answers over the real server, holds answers to their grammars, and can wait."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from llmops_tui.inference.server.served_format import format_of
from tests.clients.scripted import KEY, Say, Scripted
from tests.clients.templates import FAMILIES, called, thinking
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": f"Bearer {KEY}"}
HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ROME = '{"city": "Rome"}'


def ask(served: Scripted, **more: Any) -> httpx.Response:
    body = {"model": served.model, "messages": HI} | more
    return httpx.post(f"{served.url}/chat/completions", json=body, headers=HEADERS, timeout=120)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_templates_are_read_as_the_formats_that_they_stand_for(family: str) -> None:
    found = format_of(FAMILIES[family])
    assert found.read
    assert found.answers.calls is not None
    assert (found.answers.thinking is not None) == (family == "qwen")
    assert found.answers.calls.parallel == (family == "qwen")


def test_a_script_is_said_and_what_was_asked_is_kept(qwen: Scripted) -> None:
    qwen.say(thinking("hm", "It rains."), called("qwen", ("weather", ROME), said="I look."))
    first = ask(qwen, max_tokens=50).json()["choices"][0]
    assert (first["message"]["content"], first["message"]["reasoning_content"]) == ("It rains.", "hm")
    second = ask(qwen, tools=[WEATHER]).json()["choices"][0]
    assert second["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": ROME}
    assert second["finish_reason"] == "tool_calls"
    assert [call["parameters"]["max_tokens"] for call in qwen.calls] == [50, 1_000_000]
    assert json.dumps(WEATHER["function"]["name"]) in qwen.prompts[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_grammar_does_not_let_a_model_say_is_not_said(family: str, request: pytest.FixtureRequest) -> None:
    served: Scripted = request.getfixturevalue(family)
    served.say(called(family, ("weather", ROME)), called(family, ("weather", "{}")), "It rains.")
    asked = {"tools": [WEATHER], "tool_choice": "required"}
    assert ask(served, **asked).json()["choices"][0]["finish_reason"] == "tool_calls"
    for _ in range(2):
        assert "no model could say so" in ask(served, **asked).json()["error"]["message"]


def test_a_model_that_stands_still_is_left_and_its_place_is_free(qwen: Scripted) -> None:
    qwen.say(Say("It rains and rains.", still_after=2), "Next.")
    body = {"messages": HI, "stream": True}
    with httpx.stream("POST", f"{qwen.url}/chat/completions", json=body, headers=HEADERS, timeout=120) as stream:
        assert "It r" in next(line for line in stream.iter_lines() if "It r" in line)
    assert qwen.left.wait(30)
    wait_for(lambda: qwen.active == 0)
    assert ask(qwen).json()["choices"][0]["message"]["content"] == "Next."
