"""Each field inside a request's objects acts: a table of what makes a difference, which is whole or the test fails.

The fields are read off the description of the API, so a new one without a line here, and a line for one that is gone, are told.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmops_tui.workspace.layout import Workspace
from tests.engine.test_fuzzed_requests import KNOWN, NEEDED, TEMPLATE, ScriptedEngine, doors
from tests.engine.test_request_fields import CHAT, HI, MESSAGES, RESPONSES, Server

OLLAMA, INFILL, BATCHES = "/api/chat", "/infill", "/v1/batches"
# As the other tests have it, and with all that a turn may have beside.
SHOWING = (
    TEMPLATE.replace("<|{{ m.role }}|>", "<|{{ m.role }}{{ m.name }}{{ m.tool_call_id }}|>").replace(
        "<tool_call>\n", "<tool_call>{{ c.id }}\n"
    )
    + "{% if reasoning_effort in ['low', 'high'] %}{{ reasoning_effort }}{% endif %}"
)
SCHEMA, OTHER = ({"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]} for name in "ab")
FUNCTION: dict[str, Any] = {"name": "refund", "parameters": SCHEMA}
YES = {"type": "text", "text": "Yes"}


def turn(**more: Any) -> dict[str, Any]:
    """A conversation whose first turn has these fields."""
    return {"messages": [{"role": "user", "content": "Hi"} | more, *HI]}


def said(**more: Any) -> dict[str, Any]:
    """A conversation with a turn of the assistant's."""
    return {"messages": [*HI, {"role": "assistant"} | more, *HI]}


def made(**more: Any) -> dict[str, Any]:
    """A conversation with a call."""
    call: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}} | more
    return {"messages": [*HI, {"role": "assistant", "tool_calls": [call]}]}


def called(**more: Any) -> dict[str, Any]:
    return made(function={"name": "f", "arguments": "{}"} | more)


def answered(to: str) -> dict[str, Any]:
    """A conversation with two calls, of which the second was answered, or the first."""
    calls = [{"id": one, "type": "function", "function": {"name": one, "arguments": "{}"}} for one in "ab"]
    results = [{"role": "tool", "tool_call_id": one, "content": "1"} for one in (to, "b" if to == "a" else "a")]
    return {"messages": [*HI, {"role": "assistant", "tool_calls": calls}, *results]}


def tool(**more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": FUNCTION} | more]}


def function(**more: Any) -> dict[str, Any]:
    return tool(function=FUNCTION | more)


def form(**more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}} | more}


def in_form(**more: Any) -> dict[str, Any]:
    return form(json_schema={"name": "x", "schema": SCHEMA} | more)


def items(*given: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "Hi"}, *given]}


def call_item(**more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"} | more


def result_item(**more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "a", "output": "1"} | more


def thoughts(**more: Any) -> dict[str, Any]:
    """An answer with what was thought before it."""
    return items({"type": "reasoning"} | more, {"type": "message", "role": "assistant", "content": "Yes"})


def thought(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "text": text}


def text_form(**more: Any) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA} | more}}


def flat(**more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function"} | FUNCTION | more]}


def blocks(*given: dict[str, Any], role: str = "user") -> dict[str, Any]:
    turns = [{"role": role, "content": list(given)}]
    return {"messages": turns if role == "user" else [*HI, *turns, *HI]}


def used(**more: Any) -> dict[str, Any]:
    return blocks({"type": "tool_use", "id": "a", "name": "f", "input": {}} | more, role="assistant")


def gave(**more: Any) -> dict[str, Any]:
    """A call of Anthropic's API, and its result."""
    uses = [{"type": "tool_use", "id": one, "name": one, "input": {}} for one in "ab"]
    result = {"type": "tool_result", "tool_use_id": "a", "content": "1"} | more
    other = result | {"tool_use_id": "b" if result["tool_use_id"] == "a" else "a"}
    return {"messages": [*HI, {"role": "assistant", "content": uses}, {"role": "user", "content": [result, other]}]}


def given_text(**more: Any) -> dict[str, Any]:
    return gave(content=[{"type": "text", "text": "1"} | more])


def uses(**more: Any) -> dict[str, Any]:
    return {"tools": [{"name": "refund", "input_schema": SCHEMA} | more]}


def chosen(**more: Any) -> dict[str, Any]:
    return uses() | {"tool_choice": {"type": "any"} | more}


def edited(**more: Any) -> dict[str, Any]:
    return {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"} | more]}}


def output(**more: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA} | more}}


def thinks(**more: Any) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": 1024} | more}


def ollama_call(**more: Any) -> dict[str, Any]:
    call = {"function": {"name": "f", "arguments": {}}} | more
    return {"messages": [*HI, {"role": "assistant", "content": "", "tool_calls": [call]}]}


def ollama_called(**more: Any) -> dict[str, Any]:
    return ollama_call(function={"name": "f", "arguments": {}} | more)


def ollama_result(**more: Any) -> dict[str, Any]:
    calls = [{"id": one, "function": {"name": one, "arguments": {}}} for one in "ab"]
    result = {"role": "tool", "content": "1"} | more
    return {"messages": [*HI, {"role": "assistant", "content": "", "tool_calls": calls}, result]}


def expiring(**more: Any) -> dict[str, Any]:
    return {"output_expires_after": {"anchor": "created_at", "seconds": 3600} | more}


Line = tuple[Any, ...]
# Where a field is, and two requests that differ in it alone.
TABLE: dict[str, Line] = {
    "Message.role": (CHAT, turn(role="user"), turn(role="system")),
    "Message.content": (CHAT, turn(content="a"), turn(content="b")),
    "Message.refusal": (CHAT, said(refusal="a"), said(refusal="b")),
    "Message.name": (CHAT, turn(name="a"), turn(name="b")),
    "Message.tool_calls": (CHAT, made(id="a"), made(id="b")),
    "Message.tool_call_id": (CHAT, answered("a"), answered("b")),
    "ToolCall.id": (CHAT, made(id="a"), made(id="b")),
    "ToolCall.type": (CHAT, made(type="function"), made(type="custom")),
    "ToolCall.function": (CHAT, called(name="a"), called(name="b")),
    "_CalledFunction.name": (CHAT, called(name="a"), called(name="b")),
    "_CalledFunction.arguments": (CHAT, called(arguments="{}"), called(arguments='{"a": 1}')),
    "Tool.type": (CHAT, tool(type="function"), tool(type="custom")),
    "Tool.function": (CHAT, function(name="a"), function(name="b")),
    "messages___Function.name": (CHAT, function(name="a"), function(name="b")),
    "messages___Function.description": (CHAT, function(description="a"), function(description="b")),
    "messages___Function.parameters": (CHAT, function(parameters=SCHEMA), function(parameters=OTHER)),
    "messages___Function.strict": (CHAT, function(strict=True), function(strict=False)),
    "messages___Function.return": (CHAT, function(**{"return": SCHEMA}), function(**{"return": OTHER})),
    "ResponseFormat.type": (CHAT, form(), {"response_format": {"type": "text"}}),
    "ResponseFormat.json_schema": (CHAT, in_form(schema=SCHEMA), in_form(schema=OTHER)),
    "ResponseFormat.schema": (CHAT, *({"response_format": {"type": "json_object", "schema": s}} for s in (SCHEMA, OTHER))),
    "_JsonSchema.schema": (CHAT, in_form(schema=SCHEMA), in_form(schema=OTHER)),
    "StreamOptions.include_usage": (CHAT, *({"stream": True, "stream_options": {"include_usage": s}} for s in (True, False))),
    "MessageItem.type": (RESPONSES, items({"type": "message", "role": "user", "content": "a"}), items({"type": "x", "role": "user", "content": "a"})),
    "MessageItem.role": (RESPONSES, items({"role": "user", "content": "a"}), items({"role": "assistant", "content": "a"})),
    "MessageItem.content": (RESPONSES, items({"role": "user", "content": "a"}), items({"role": "user", "content": "b"})),
    "MessageItem.refusal": (RESPONSES, items({"role": "assistant", "refusal": "a"}), items({"role": "assistant", "refusal": "b"})),
    "MessageItem.name": (RESPONSES, items({"role": "user", "content": "a", "name": "a"}), items({"role": "user", "content": "a", "name": "b"})),
    "MessageItem.tool_calls": (RESPONSES, {"input": made(id="a")["messages"]}, {"input": made(id="b")["messages"]}),
    "MessageItem.tool_call_id": (RESPONSES, {"input": answered("a")["messages"]}, {"input": answered("b")["messages"]}),
    "CallItem.type": (RESPONSES, items(call_item()), items(call_item(type="x"))),
    "CallItem.call_id": (RESPONSES, items(call_item(call_id="a")), items(call_item(call_id="b"))),
    "CallItem.name": (RESPONSES, items(call_item(name="a")), items(call_item(name="b"))),
    "CallItem.arguments": (RESPONSES, items(call_item(arguments="{}")), items(call_item(arguments='{"a": 1}'))),
    "ResultItem.type": (RESPONSES, items(call_item(), result_item()), items(call_item(), result_item(type="x"))),
    "ResultItem.call_id": (RESPONSES, items(call_item(), result_item(call_id="a")), items(call_item(), result_item(call_id="b"))),
    "ResultItem.output": (RESPONSES, items(call_item(), result_item(output="1")), items(call_item(), result_item(output="2"))),
    "ReasoningItem.type": (RESPONSES, thoughts(), thoughts(type="x")),
    "ReasoningItem.content": (RESPONSES, *(thoughts(content=[thought("reasoning_text", t)]) for t in "ab")),
    "ReasoningItem.summary": (RESPONSES, *(thoughts(summary=[thought("summary_text", t)]) for t in "ab")),
    "ReasoningItem.encrypted_content": (RESPONSES, thoughts(), thoughts(encrypted_content="a")),
    "_Thought.type": (RESPONSES, *(thoughts(content=[thought(kind, "a")]) for kind in ("reasoning_text", "x"))),
    "_Thought.text": (RESPONSES, *(thoughts(content=[thought("reasoning_text", t)]) for t in "ab")),
    "ReferenceItem.type": (RESPONSES, *(items({"type": kind, "id": "a"}) for kind in ("item_reference", "x"))),
    "ReferenceItem.id": (RESPONSES, *(items({"type": "item_reference", "id": one}) for one in "ab")),
    "_Reasoning.effort": (RESPONSES, *({"reasoning": {"effort": effort}} for effort in ("none", "medium"))),
    "_Text.format": (RESPONSES, text_form(), {"text": {"format": {"type": "text"}}}),
    "response_request___Format.type": (RESPONSES, text_form(), {"text": {"format": {"type": "json_object"}}}),
    "response_request___Format.name": (RESPONSES, text_form(name="a"), text_form(name="b")),
    "response_request___Format.description": (RESPONSES, text_form(description="a"), text_form(description="b")),
    "response_request___Format.strict": (RESPONSES, text_form(strict=True), text_form(strict=False)),
    "response_request___Format.schema": (RESPONSES, text_form(schema=SCHEMA), text_form(schema=OTHER)),
    "response_request___Function.type": (RESPONSES, flat(), flat(type="custom")),
    "response_request___Function.name": (RESPONSES, flat(name="a"), flat(name="b")),
    "response_request___Function.description": (RESPONSES, flat(description="a"), flat(description="b")),
    "response_request___Function.parameters": (RESPONSES, flat(parameters=SCHEMA), flat(parameters=OTHER)),
    "response_request___Function.strict": (RESPONSES, flat(strict=True), flat(strict=False)),
    "response_request___Function.output_schema": (RESPONSES, flat(output_schema=SCHEMA), flat(output_schema=OTHER)),
    "MessageIn.role": (MESSAGES, turn(role="user"), turn(role="assistant")),
    "MessageIn.content": (MESSAGES, turn(content="a"), turn(content="b")),
    "TextBlock.type": (MESSAGES, blocks({"type": "text", "text": "a"}), blocks({"type": "x", "text": "a"})),
    "TextBlock.text": (MESSAGES, blocks({"type": "text", "text": "a"}), blocks({"type": "text", "text": "b"})),
    "ThoughtBlock.type": (MESSAGES, *(blocks({"type": kind, "thinking": "a"}, role="assistant") for kind in ("thinking", "x"))),
    "ThoughtBlock.thinking": (MESSAGES, *(blocks({"type": "thinking", "thinking": t}, YES, role="assistant") for t in "ab")),
    "HiddenThoughtBlock.type": (MESSAGES, *(blocks({"type": kind, "data": "a"}, YES, role="assistant") for kind in ("redacted_thinking", "x"))),
    # That it cannot be read is told.
    "HiddenThoughtBlock.data": (MESSAGES, blocks({"type": "redacted_thinking", "data": "a"}, YES, role="assistant"), blocks(YES, role="assistant")),
    "CallBlock.type": (MESSAGES, used(), used(type="x")),
    "CallBlock.id": (MESSAGES, used(id="a"), used(id="b")),
    "CallBlock.name": (MESSAGES, used(name="a"), used(name="b")),
    "CallBlock.input": (MESSAGES, used(input={}), used(input={"a": 1})),
    "ResultBlock.type": (MESSAGES, gave(), gave(type="x")),
    "ResultBlock.tool_use_id": (MESSAGES, gave(tool_use_id="a"), gave(tool_use_id="b")),
    "ResultBlock.content": (MESSAGES, gave(content="1"), gave(content="2")),
    "ResultBlock.is_error": (MESSAGES, gave(is_error=True), gave(is_error=False)),
    "_ResultText.type": (MESSAGES, given_text(), given_text(type="x")),
    "_ResultText.text": (MESSAGES, given_text(text="1"), given_text(text="2")),
    "_Choice.type": (MESSAGES, chosen(type="any"), chosen(type="none")),
    "_Choice.name": (MESSAGES, chosen(type="tool", name="refund"), chosen(type="tool", name="other")),
    "_Choice.disable_parallel_tool_use": (MESSAGES, *(chosen(disable_parallel_tool_use=one) for one in (True, False))),
    "_Context.edits": (MESSAGES, edited(), edited(type="clear_tool_uses_20250919")),
    "_Edit.type": (MESSAGES, edited(), edited(type="clear_tool_uses_20250919")),
    "_Edit.keep": (MESSAGES, edited(), edited(keep={"type": "thinking_turns", "value": 1})),
    "_Metadata.user_id": (MESSAGES, *({"metadata": {"user_id": one}} for one in "ab")),
    "_Output.effort": (MESSAGES, *({"output_config": {"effort": one}} for one in ("low", "high"))),
    "_Output.format": (MESSAGES, output(schema=SCHEMA), output(schema=OTHER)),
    "anthropic_request___Format.type": (MESSAGES, output(), output(type="x")),
    "anthropic_request___Format.schema": (MESSAGES, output(schema=SCHEMA), output(schema=OTHER)),
    "_Thinking.type": (MESSAGES, thinks(), {"thinking": {"type": "disabled"}}),
    "_Thinking.budget_tokens": (MESSAGES, thinks(), thinks(budget_tokens=2048)),
    "_Thinking.display": (MESSAGES, thinks(display="summarized"), thinks(display="omitted")),
    "_Tool.type": (MESSAGES, uses(type="custom"), uses(type="bash_20250124")),
    "_Tool.name": (MESSAGES, uses(name="a"), uses(name="b")),
    "_Tool.description": (MESSAGES, uses(description="a"), uses(description="b")),
    "_Tool.input_schema": (MESSAGES, uses(input_schema=SCHEMA), uses(input_schema=OTHER)),
    "Turn.role": (OLLAMA, turn(role="user"), turn(role="system")),
    "Turn.content": (OLLAMA, turn(content="a"), turn(content="b")),
    "Turn.thinking": (OLLAMA, said(content="Yes", thinking="a"), said(content="Yes", thinking="b")),
    "Turn.tool_calls": (OLLAMA, ollama_call(id="a"), ollama_call(id="b")),
    "Turn.tool_name": (OLLAMA, ollama_result(tool_name="a"), ollama_result(tool_name="b")),
    "Turn.tool_call_id": (OLLAMA, ollama_result(tool_call_id="a"), ollama_result(tool_call_id="b")),
    "_Call.id": (OLLAMA, ollama_call(id="a"), ollama_call(id="b")),
    "_Call.type": (OLLAMA, ollama_call(type="function"), ollama_call(type="x")),
    "_Call.function": (OLLAMA, ollama_called(name="a"), ollama_called(name="b")),
    "_Called.name": (OLLAMA, ollama_called(name="a"), ollama_called(name="b")),
    "_Called.arguments": (OLLAMA, ollama_called(arguments={}), ollama_called(arguments={"a": 1})),
    "_Called.description": (OLLAMA, ollama_called(), ollama_called(description="a")),
    "Options.stop": (OLLAMA, {"options": {"stop": ["a"]}}, {"options": {"stop": "b"}}),
    **{
        f"Options.{name}": (OLLAMA, {"options": {name: one}}, {"options": {name: other}})
        for name, one, other in (
            ("num_predict", 2, 3), ("num_ctx", 128, 100_000), ("temperature", 0.25, 0.5), ("top_k", 2, 3), ("top_p", 0.25, 0.5),
            ("min_p", 0.25, 0.5), ("repeat_penalty", 1.25, 1.5), ("presence_penalty", 0.25, 0.5), ("frequency_penalty", 0.25, 0.5),
            ("seed", 2, 3),
        )
    },
    "_File.text": (INFILL, *({"input_extra": [{"text": t, "filename": "f"}]} for t in "ab")),
    # That what is made of a batch goes when it says is seen where there is a file: test_batches_api.
    "Expiry.seconds": (BATCHES, expiring(seconds=3600), expiring(seconds=1)),
    "Expiry.anchor": (BATCHES, expiring(), expiring(anchor="x")),
    "_File.filename": (INFILL, *({"input_extra": [{"text": "a", "filename": f}]} for f in "fg")),
}  # fmt: skip


def _inside(schema: Any, found: set[str]) -> set[str]:
    """The names of all that a schema refers to."""
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name and name not in found:
            found.add(name)
            _inside(KNOWN[name], found)
        for value in schema.values():
            _inside(value, found)
    elif isinstance(schema, list):
        for value in schema:
            _inside(value, found)
    return found


def nested_fields() -> set[str]:
    """All fields of objects inside requests, but those that are taken and said to have no effect."""
    found: set[str] = set()
    for body in doors().values():
        _inside(body["properties"], found)
    return {
        f"{name.removeprefix('llmops_tui__inference__server__').removeprefix('apis__')}.{field}"
        for name in found
        for field, about in KNOWN[name].get("properties", {}).items()
        if not str(about.get("description", "")).startswith("No effect: ")
    }


@pytest.fixture
async def server(workspace: Workspace) -> AsyncIterator[Server]:
    opened = Server(workspace, SHOWING, ScriptedEngine())
    yield opened
    await opened.http.aclose()
    await opened.server.close()


def test_each_field_has_a_line_and_each_line_a_field() -> None:
    assert nested_fields() == set(TABLE)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_each_field_makes_a_difference(server: Server) -> None:
    ignored = []
    for name, (path, *both) in TABLE.items():
        seen = []
        for one in both:
            server.engine.calls.clear()
            server.written.clear()
            answer = await server.post(path, NEEDED[path] | one)
            assert answer.status_code < 500, (name, answer.text)
            seen.append(_effect(server, answer.text if one.get("stream") else answer.json()))
        if seen[0] == seen[1]:
            ignored.append((name, seen[0][:600]))
    assert ignored == []


_NOT_TOLD = {"id", "created", "created_at", "output"}


def _effect(server: Server, told: Any) -> str:
    """What came of a request: what the engine was asked, what was answered, and what was recorded."""
    calls = [{k: v for k, v in call.items() if k != "id"} for call in server.engine.calls]
    told = {k: v for k, v in told.items() if k not in _NOT_TOLD} if isinstance(told, dict) else "usage" in told
    return json.dumps([calls, told, server.written], default=str, sort_keys=True)
