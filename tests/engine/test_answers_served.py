"""Answers in the format of each style of templates, through the server: whole, streamed, and cut off at every place."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from llmops_tui.inference.engine_wire import Call
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.conversation import AnswerReader
from llmops_tui.inference.server.events import Teller
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.workspace.layout import Workspace
from tests.chat_format.styles import CHANNELS, STYLES, UNMARKED
from tests.chat_format.world import ARGUMENTS, EOS, TOOLS, World, answered, user
from tests.engine.test_request_fields import CHAT, HI, RESPONSES, RESULT, FakeEngine, Server

# These take one call at a time, or none beside content.
_SINGLE = (CHANNELS, UNMARKED)


class ScriptedEngine(FakeEngine):
    """Answers with given pieces of text."""

    def __init__(self, pieces: list[str]) -> None:
        super().__init__()
        self.pieces = pieces

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        if request["op"] == "generate":
            for piece in self.pieces:
                yield [{"id": request["id"], "event": "text", "text": piece}]
        yield [{"id": request["id"], "event": "done", "result": RESULT | {"count": 1}}]


def written(renderer: TemplateRenderer, style: str) -> tuple[str, str, dict[str, Any]]:
    """An answer in a style, what the prompt wrote of it, and what it says."""
    template = STYLES[style]
    chat = format_of(template).answers
    many = 1 if template in _SINGLE else 2
    thought = "hm, so be it" if chat.thinking is not None else ""
    content = "" if template in _SINGLE else "I look."
    turn = answered(content, thought=thought, calls=many)
    text, opening = World(renderer, chat).answer([user("Hi"), turn], tools=True)
    names = [tool["function"]["name"] for tool in TOOLS]
    return (
        text.removesuffix(EOS),
        opening,
        {"content": content, "reasoning": thought, "calls": list(zip(names, ARGUMENTS, strict=True))[:many]},
    )


@pytest.fixture(scope="module")
def renderer() -> Any:
    found = TemplateRenderer()
    yield found
    found.close()


def told(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A message, or the deltas of one, put together."""
    calls = [call["function"] for message in messages for call in message.get("tool_calls", [])]
    return {
        "content": "".join(message.get("content") or "" for message in messages),
        "reasoning": "".join(message.get("reasoning_content", "") for message in messages),
        "calls": [(call["name"], json.loads(call["arguments"])) for call in calls],
    }


def choice_of(style: str, opening: str) -> Choice:
    reader = AnswerReader(format_of(STYLES[style]), prompt=opening, tools=cast("Any", TOOLS))
    return Choice(0, Record("run_1", {}), cast("Call", {"logprobs": None}), reader)


def streamed(style: str, opening: str, pieces: list[str], reason: str = "stop") -> tuple[dict[str, Any], str]:
    """What a stream tells of an answer in pieces, and why it ended."""
    teller, choice = Teller("chat", "run_1", "m"), choice_of(style, opening)
    out = b"".join(teller.stream(choice, cast("Any", [{"event": "text", "text": piece}])) for piece in pieces)
    out += teller.stream(choice, cast("Any", [{"event": "done", "result": RESULT | {"finish_reason": reason}}]))
    events = [json.loads(line.removeprefix("data: "))["choices"][0] for line in out.decode().split("\n\n") if line]
    return told([event["delta"] for event in events]), events[-1]["finish_reason"]


@pytest.mark.parametrize("style", STYLES)
def test_answers_cut_at_every_place_are_told_alike(renderer: TemplateRenderer, style: str) -> None:
    text, opening, expected = written(renderer, style)
    ways = [[text], list(text), *([text[:at], text[at:]] for at in range(1, len(text)))]
    for way in ways:
        assert streamed(style, opening, way) == (expected, "tool_calls"), way[0][-20:]


@pytest.mark.parametrize("style", STYLES)
def test_answers_that_are_cut_off_tell_no_half_mark_and_no_half_call(renderer: TemplateRenderer, style: str) -> None:
    text, opening, expected = written(renderer, style)
    for end in range(1, len(text)):
        found, reason = streamed(style, opening, [text[:end]], "length")
        assert reason == "length"
        assert found["calls"] == expected["calls"][: len(found["calls"])]
        assert expected["reasoning"].startswith(found["reasoning"])
        said = found["content"].rstrip()
        if STYLES[style] == UNMARKED:
            # Without a mark nobody knows that an object would have become a call.
            assert said in {"", text[:end].rstrip()}
        else:
            assert expected["content"].startswith(said)


@pytest.mark.parametrize("style", ["objects", "channels", "pairs"])
async def test_the_endpoints_tell_it_whole_and_streamed(
    renderer: TemplateRenderer, workspace: Workspace, style: str
) -> None:
    text, opening, expected = written(renderer, style)
    server = Server(workspace, STYLES[style])
    try:
        # What a thinking model's prompt does not open it writes itself.
        prompt = format_of(STYLES[style]).answers.prompts[0]
        pieces = list(text.removeprefix("<think>")) if prompt.endswith("<think>") and not opening else list(text)
        engine = ScriptedEngine(pieces)
        server.engine.call = engine.call  # type: ignore[method-assign]
        body = {"messages": HI, "tools": TOOLS}
        whole = (await server.post(CHAT, body)).json()["choices"][0]
        assert (told([whole["message"]]), whole["finish_reason"]) == (expected, "tool_calls")
        stream = (await server.post(CHAT, body | {"stream": True})).text
        events = [
            json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line.startswith("data: {")
        ]
        assert told([event["choices"][0]["delta"] for event in events]) == expected
        ids = [c["id"] for e in events for c in e["choices"][0]["delta"].get("tool_calls", [])]
        assert len(set(ids)) == len(ids) == len(expected["calls"])
    finally:
        await server.http.aclose()
        await server.server.close()


async def test_responses_have_no_marks_and_no_thinking_in_their_text(
    renderer: TemplateRenderer, workspace: Workspace
) -> None:
    server = Server(workspace, CHANNELS)
    try:
        text = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>It rains."
        server.engine.call = ScriptedEngine(list(text)).call  # type: ignore[method-assign]
        whole = (await server.post(RESPONSES, {"input": "Hi"})).json()
        assert whole["output"][-1]["content"][0]["text"] == "It rains."
        stream = (await server.post(RESPONSES, {"input": "Hi", "stream": True})).text
        deltas = [json.loads(line[6:]) for line in stream.split("\n") if line.startswith("data: ")]
        assert "".join(d["delta"] for d in deltas if d["type"] == "response.output_text.delta") == "It rains."
    finally:
        await server.http.aclose()
        await server.server.close()
