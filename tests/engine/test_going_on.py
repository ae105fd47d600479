"""An assistant's message at the end is gone on with, by one rule on every API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmops_tui.inference.server.conversation import ChatTemplate
from llmops_tui.workspace.layout import Workspace
from tests.chat_format.styles import CHANNELS, OBJECTS, PAIRS
from tests.engine.talking import Talking, opened
from tests.engine.test_request_fields import CHAT, COUNT, HI, MESSAGES, RESPONSES, TOKENIZE

BEGUN = [*HI, {"role": "assistant", "content": "It <|begin|>rai"}]
END = "<|begin|>assistant\nIt <|begin|>rai"


async def going_on(workspace: Workspace, template: str) -> AsyncIterator[Talking]:
    async for server in opened(workspace, template):
        server.engine.info["controls"] = ["<|begin|>", "<|end|>"]
        server.says("ns.")
        yield server


@pytest.fixture
async def talking(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in going_on(workspace, OBJECTS):
        yield server


@pytest.fixture
async def thinking(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in going_on(workspace, PAIRS):
        yield server


@pytest.fixture
async def channels(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in going_on(workspace, CHANNELS):
        yield server


async def test_every_api_goes_on_and_answers_with_what_comes_then(talking: Talking) -> None:
    items = [*HI, {"role": "assistant", "content": BEGUN[1]["content"]}]
    for path, body in (
        (CHAT, {"messages": BEGUN}),
        (MESSAGES, {"messages": BEGUN, "max_tokens": 5}),
        (RESPONSES, {"input": items}),
        ("/api/chat", {"model": "m", "messages": BEGUN, "stream": False}),
    ):
        answer = await talking.post(path, body)
        assert answer.status_code == 200, answer.text
        assert '"ns."' in answer.text
        call = talking.asked_for
        assert call["text"].endswith(END), path
        # What it spells is no mark.
        ((start, end),) = [span for span in call["plain"] if span[0] > call["text"].rindex("assistant")]
        assert call["text"][start:end] == "<|begin|>"
    await talking.post(TOKENIZE, {"messages": BEGUN})
    assert talking.engine.calls[-1]["text"].endswith(END)
    await talking.post(COUNT, {"messages": BEGUN})
    assert talking.engine.calls[-1]["text"].endswith(END)


async def test_a_new_turn_is_had_by_asking_for_one(talking: Talking) -> None:
    for more in ({"continue_final_message": False}, {"add_generation_prompt": True}):
        assert (await talking.post(CHAT, {"messages": BEGUN} | more)).status_code == 200
        assert talking.asked_for["text"].endswith("<|begin|>assistant\n")
    for more in ({"continue_final_message": True, "add_generation_prompt": False}, {"add_generation_prompt": False}):
        assert (await talking.post(CHAT, {"messages": BEGUN} | more)).status_code == 200
        assert talking.asked_for["text"].endswith(END)


async def test_where_the_prompt_began_to_think_thinking_is_over(thinking: Talking) -> None:
    assert (await thinking.post(CHAT, {"messages": BEGUN})).status_code == 200
    assert thinking.asked_for["text"].endswith("<think></think>\n\nIt <|begin|>rai")
    thought = [*HI, {"role": "assistant", "content": "It ", "reasoning_content": "rain?"}]
    answer = await thinking.post(CHAT, {"messages": thought})
    assert thinking.asked_for["text"].endswith("<think>rain?</think>\n\nIt ")
    assert answer.json()["choices"][0]["message"] == {"role": "assistant", "content": "ns."}
    asked = {"messages": BEGUN, "max_tokens": 50, "thinking": {"type": "enabled", "budget_tokens": 5}}
    warnings = (await thinking.post(MESSAGES, asked)).json()["warnings"]
    assert "without thinking" in warnings[0]["message"]


async def test_the_mark_that_begins_an_answer_is_written_before_it(channels: Talking) -> None:
    answer = await channels.post(CHAT, {"messages": BEGUN})
    assert answer.json()["choices"][0]["message"] == {"role": "assistant", "content": "ns."}
    assert channels.asked_for["text"].endswith("<|channel|>final<|message|>It <|begin|>rai")
    call = "<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}"
    channels.says("ns." + call)
    found = (await channels.post(CHAT, {"messages": BEGUN, "tools": [TOOL]})).json()["choices"][0]["message"]
    assert found["content"] == "ns."
    assert [one["function"]["name"] for one in found["tool_calls"]] == ["f"]


async def test_thinking_that_was_begun_goes_on_on_every_api(talking: Talking) -> None:
    begun: Any = [*HI, {"role": "assistant", "content": "<think>\nLet me "}]
    talking.engine.info["controls"] += ["<think>", "</think>"]
    talking.says("see.</think>\n\nIt rains.")
    for path, body in (
        (CHAT, {"messages": begun}),
        (MESSAGES, {"messages": begun, "max_tokens": 50}),
        (RESPONSES, {"input": begun}),
        ("/api/chat", {"model": "m", "messages": begun, "stream": False}),
    ):
        for stream in (False, True):
            answer = await talking.post(path, body | {"stream": stream})
            assert answer.status_code == 200, answer.text
            assert "<think>" not in answer.text, path
            assert stream or "see." in answer.text
            call = talking.asked_for
            assert call["text"].endswith("<|begin|>assistant\n<think>\nLet me ")
            # The marks that the model writes are what they are.
            assert not [span for span in call["plain"] if span[0] > call["text"].rindex("assistant")]
    lines = (await talking.post(CHAT, {"messages": begun, "stream": True})).text.split("\n\n")
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line.startswith('data: {"id"')]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "see."
    assert "".join(delta.get("content") or "" for delta in deltas) == "It rains."
    whole = (await talking.post(CHAT, {"messages": begun})).json()
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": "It rains.",
        "reasoning_content": "see.",
    }
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_a_call_that_was_begun_is_a_call(talking: Talking) -> None:
    begun = [*HI, {"role": "assistant", "content": '<tool_call>\n{"name":'}]
    talking.says(' "f", "arguments": {}}\n</tool_call>')
    body = {"messages": begun, "tools": [TOOL]}
    choice = (await talking.post(CHAT, body)).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"].get("content")) == ("tool_calls", None)
    assert [one["function"]["name"] for one in choice["message"]["tool_calls"]] == ["f"]
    # No grammar holds the rest of it: that is told, and it is held against the parameters when it is there.
    strict = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}}}
    checked = (await talking.post(CHAT, body | {"tools": [strict]})).json()["warnings"]
    assert [one["param"] for one in checked] == ["messages[1].content", "tools[0].function.parameters"]
    assert "'a' is a required property" in checked[1]["message"]
    text = (await talking.post(CHAT, body | {"stream": True})).text
    assert '"name":"f"' in text.replace(" ", "")
    # Without tools it is a text, as ever.
    assert (await talking.post(CHAT, {"messages": begun})).json()["choices"][0]["message"]["content"].startswith(' "f"')


async def test_a_mark_of_thinking_stands_once_where_the_prompt_has_it_too(thinking: Talking) -> None:
    thinking.says("see.</think>It rains.")
    begun = [*HI, {"role": "assistant", "content": "<think>Let me "}]
    message = (await thinking.post(CHAT, {"messages": begun})).json()["choices"][0]["message"]
    assert thinking.asked_for["text"].endswith("<|assistant|><think>Let me ")
    assert (message["reasoning_content"], message["content"]) == ("see.", "It rains.")


async def test_what_was_begun_on_a_channel_goes_on_there(channels: Talking) -> None:
    channels.says("see.<|end|><|start|>assistant<|channel|>final<|message|>It rains.")
    begun = [*HI, {"role": "assistant", "content": "<|channel|>analysis<|message|>Let me "}]
    message = (await channels.post(CHAT, {"messages": begun})).json()["choices"][0]["message"]
    assert channels.asked_for["text"].endswith("<|start|>assistant<|channel|>analysis<|message|>Let me ")
    assert (message["reasoning_content"], message["content"]) == ("see.", "It rains.")


TOOL: Any = {"type": "function", "function": {"name": "f"}}
CALLED = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"messages": HI, "continue_final_message": True}, "continue_final_message"),
        (CHAT, {"messages": HI, "add_generation_prompt": False}, "add_generation_prompt"),
        (CHAT, {"messages": BEGUN, "continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        (CHAT, {"messages": BEGUN, "response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"messages": BEGUN, "tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        (CHAT, {"messages": [*HI, CALLED], "continue_final_message": True}, "continue_final_message"),
        (TOKENIZE, {"content": "x", "add_generation_prompt": True}, "add_generation_prompt"),
        (
            MESSAGES,
            {"messages": [*HI, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}], "max_tokens": 5},
            "messages[1]",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_gone_on_with_is_refused_by_name(
    path: str, body: Any, param: str, talking: Talking
) -> None:
    refused = await talking.post(path, body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


ADAPTED = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if enable_thinking %}<think>{% endif %}"


async def test_an_adapter_with_a_template_of_its_own_is_spoken_to_in_that_on_every_api(talking: Talking) -> None:
    shelf = talking.server._adapters
    talking.engine.info |= {"controls": ["<|begin|>", "[user]"], "marks": []}
    shelf._chats["own"] = ChatTemplate(ADAPTED, talking.engine.facts)  # type: ignore[arg-type]
    shelf._loaded.add((talking.engine.pid, "own"))
    asked = [{"role": "user", "content": "a [user] <|begin|>"}]
    for path, body in (
        (CHAT, {"model": "m+own"}),
        (MESSAGES, {"model": "m+own", "max_tokens": 5}),
        ("/api/chat", {"model": "m+own", "stream": False}),
    ):
        answer = await talking.post(path, {"messages": asked} | body)
        assert answer.status_code == 200, answer.text
        call = talking.asked_for
        assert call["text"] == "[user]a [user] <|begin|>"
        assert [call["text"][start:end] for start, end in call["plain"]] == ["[user]", "<|begin|>"]
        assert call["plain"][0][0] > 0
    # The base's template has no thinking that can be turned on or off so; the adapter's has.
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 5}, "max_tokens": 50}
    await talking.post(MESSAGES, {"model": "m+own", "messages": asked} | thinking)
    assert talking.asked_for["text"].endswith("<think>")
    await talking.post("/api/chat", {"model": "m+own", "messages": asked, "think": True, "stream": False})
    assert talking.asked_for["text"].endswith("<think>")
