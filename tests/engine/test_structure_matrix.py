"""Schema, tools, thinking and streaming, each with each: what is constrained begins behind the thinking, and all is told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.clients.templates import QWEN
from tests.engine.engines import write_with_template

pytestmark = pytest.mark.slow

# As QWEN, but that the prompt opens the thinking where it is on: so the model thinks whatever it is.
OPENS = QWEN.replace("{% if add_generation_prompt %}<|im_start|>assistant\n", (
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
))  # fmt: skip
PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Graz", "Linz"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}
TOOL = {"type": "function", "function": {"name": "book", "description": "Books.", "parameters": PLACE}}
THINKING: dict[str, dict[str, Any]] = {
    "off": {"enable_thinking": False},
    "by itself": {},
    "budget": {"enable_thinking": True, "thinking_budget": 6},
}
TOOLS: dict[str, dict[str, Any]] = {
    "none": {},
    "auto": {"tools": [TOOL]},
    "required": {"tools": [TOOL], "tool_choice": "required"},
}
SCHEMA: dict[str, dict[str, Any]] = {"free": {}, "schema": {"response_format": FORM}}


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHandle]:
    folder: Path = tmp_path_factory.mktemp("matrix")
    workspace = make_workspace(Workspace(folder / "ws"))
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(write_with_template(folder / "thinks.gguf", OPENS), "thinks")
    supervisor = ServerSupervisor(workspace)
    yield supervisor.ensure(model)
    supervisor.stop("thinks")


def ask(handle: ServerHandle, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """The message of an answer, whole or put together of its pieces, with why it ended."""
    http = httpx.Client(transport=httpx.HTTPTransport(uds=handle.socket), base_url="http://model", timeout=300)
    given = {
        "messages": [{"role": "user", "content": "Where to?"}], "max_tokens": 120, "temperature": 0.8, "seed": 3,
        "stream": stream, **body,
    }  # fmt: skip
    with http:
        answer = http.post("/v1/chat/completions", json=given, headers={"authorization": f"Bearer {handle.key}"})
    assert answer.status_code == 200, answer.text
    if not stream:
        choice = answer.json()["choices"][0]
        messages, ended = [choice["message"]], choice["finish_reason"]
    else:
        events = [
            json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: {")
        ]
        choices = [event["choices"][0] for event in events if event.get("choices")]
        messages, ended = [one["delta"] for one in choices], choices[-1]["finish_reason"]
    calls: dict[int, dict[str, str]] = {}
    for message in messages:
        for number, call in enumerate(message.get("tool_calls") or ()):
            at = calls.setdefault(call.get("index", number), {"name": "", "arguments": ""})
            for name in at:
                at[name] += call["function"].get(name) or ""
    return {
        "content": "".join(message.get("content") or "" for message in messages),
        "thought": "".join(message.get("reasoning_content") or "" for message in messages),
        "calls": [calls[place] for place in sorted(calls)],
        "ended": ended,
    }


@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize("tools", TOOLS)
@pytest.mark.parametrize("form", SCHEMA)
def test_each_with_each(handle: ServerHandle, thinking: str, tools: str, form: str) -> None:
    body = THINKING[thinking] | TOOLS[tools] | SCHEMA[form]
    whole, streamed = (ask(handle, body, stream=stream) for stream in (False, True))
    assert streamed == whole
    assert not any(mark in whole["content"] for mark in ("<think>", "</think>", "<tool_call>"))
    # Where it thinks first, it may think nothing.
    assert not whole["thought"] or thinking == "budget"
    for call in whole["calls"]:
        assert call["name"] == "book"
        if whole["ended"] != "length":
            jsonschema.validate(json.loads(call["arguments"]), PLACE)
    if tools == "required":
        assert whole["calls"]
        assert whole["ended"] == "tool_calls"
    elif form == "schema" and not whole["calls"]:
        assert whole["ended"] == "stop"
        jsonschema.validate(json.loads(whole["content"]), PLACE)
    if tools == "none":
        assert not whole["calls"]
