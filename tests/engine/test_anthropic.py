"""Anthropic's API: blocks and turns, tools, thinking, the events of streams, errors, and the count of tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.chat_format.styles import OBJECTS, PAIRS
from tests.engine.engines import write_with_template
from tests.engine.talking import Talking, opened
from tests.engine.test_request_fields import COUNT, HI, KEY, MESSAGES, PLAIN, result_block, tool_of
from tests.engine.test_responses import CALLS, THOUGHT

LOOK = tool_of("look", input_schema={"type": "object", "properties": {"city": {"type": "string"}}})
FIND = tool_of("find")


@pytest.fixture
async def talking(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in opened(workspace, OBJECTS):
        yield server


@pytest.fixture
async def plain(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in opened(workspace, PLAIN):
        yield server


@pytest.fixture
async def always_thinking(workspace: Workspace) -> AsyncIterator[Talking]:
    async for server in opened(workspace, PAIRS.replace("enable_thinking is false", "false")):
        yield server


def unnamed(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in {"id", "signature"}}


EXPECTED: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "The user wants rain."},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "name": "look", "input": {"city": "Bern"}},
    {"type": "tool_use", "name": "find", "input": {}},
]
USAGE = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 4,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": len(THOUGHT.rstrip())},
}


async def test_an_answer_is_a_message_of_blocks(talking: Talking) -> None:
    talking.says(THOUGHT + CALLS)
    whole = await talking.whole(tools=[LOOK, FIND])
    assert [unnamed(block) for block in whole["content"]] == EXPECTED
    assert whole["content"][0]["signature"]
    assert (whole["type"], whole["role"], whole["stop_reason"], whole["stop_sequence"]) == (
        "message", "assistant", "tool_use", None,
    )  # fmt: skip
    assert whole["usage"] == USAGE
    assert whole["id"].startswith("msg_")
    feedback = await talking.post("/v1/feedback", {"id": whole["id"], "score": "up"})
    assert feedback.json()["trace"] == whole["id"].replace("msg_", "run_")


async def test_a_stream_has_anthropics_events_in_their_order(talking: Talking) -> None:
    talking.says(THOUGHT + CALLS)
    events = await talking.events(tools=[LOOK, FIND])
    names = [event["type"].removeprefix("content_block_") for event in events]
    once = [name for n, name in enumerate(names) if not n or name != names[n - 1]]
    assert once == ["message_start", "ping", *["start", "delta", "stop"] * 4, "message_delta", "message_stop"]
    begun = events[0]["message"]
    assert (begun["content"], begun["stop_reason"]) == ([], None)
    assert begun["usage"] == {name: value for name, value in USAGE.items() if "output" not in name} | {
        "output_tokens": 0
    }
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"] | {"json": ""})
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(blocks) - 1
            kind = event["delta"].pop("type")
            ((name, piece),) = event["delta"].items()
            wanted = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
            assert kind in {wanted[blocks[-1]["type"]], "signature_delta"}
            at = "json" if name == "partial_json" else name
            blocks[-1][at] += piece
    for block in blocks:
        if text := block.pop("json"):
            block["input"] = json.loads(text)
    assert [unnamed(block) for block in blocks] == EXPECTED
    assert blocks[0]["signature"]
    assert events[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("reason", "more", "told"),
    [
        ("stop", {}, ("end_turn", None)),
        ("length", {"completion_tokens": 50}, ("max_tokens", None)),
        ("length", {"completion_tokens": 20}, ("model_context_window_exceeded", None)),
        ("stop", {"stopped_by": "END"}, ("stop_sequence", "END")),
    ],
)
async def test_why_an_answer_ended_is_told(
    plain: Talking, reason: str, more: dict[str, Any], told: tuple[str, str | None]
) -> None:
    plain.says("Yes", reason, **more)
    whole = await plain.whole(stop_sequences=["END", "FIN"])
    assert (whole["stop_reason"], whole["stop_sequence"]) == told
    last = (await plain.events(stop_sequences=["END", "FIN"]))[-2]["delta"]
    assert (last["stop_reason"], last["stop_sequence"]) == told
    assert plain.asked_for["parameters"]["stop"] in (("END", "FIN"), ["END", "FIN"])


async def test_an_answer_that_says_nothing_has_no_block(plain: Talking) -> None:
    plain.says("")
    assert (await plain.whole())["content"] == []
    assert [event["type"] for event in await plain.events()] == [
        "message_start", "ping", "message_delta", "message_stop",
    ]  # fmt: skip


async def test_a_conversation_reaches_the_template(talking: Talking) -> None:
    talking.says("It rains.")
    thought = {"type": "thinking", "thinking": "Look it up.", "signature": "x"}
    calls = [
        {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Bern"}},
        {"type": "tool_use", "id": "b", "name": "find", "input": {}},
    ]
    await talking.whole(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Now."}],
        tools=[LOOK, FIND],
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "user", "content": [{"type": "text", "text": "In Bern"}]},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}, *calls]},
            {
                "role": "user",
                "content": [
                    result_block("a", content=[{"type": "text", "text": "rain"}]),
                    result_block("b", content="no such place", is_error=True),
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
    )  # fmt: skip
    assert talking.asked_for["text"] == (
        "<|begin|>system\nBe brief.\nNow.<|finish|>\n<|begin|>user\nWeather?\nIn Bern<|finish|>\n"
        '<|begin|>assistant\nI look.\n<tool_call>\n{"name": "look", "arguments": {"city": "Bern"}}\n</tool_call>'
        '\n<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call><|finish|>\n<|begin|>tool\nrain<|finish|>\n'
        "<|begin|>tool\nError: no such place<|finish|>\n<|begin|>user\nAnd?<|finish|>\n<|begin|>assistant\n"
    )
    # Of the turn that is still going on the template writes what was thought.
    await talking.whole(
        tools=[LOOK],
        messages=[*HI, {"role": "assistant", "content": [thought, calls[0]]}, {"role": "user", "content": [result_block("a")]}],
    )  # fmt: skip
    assert "<think>\nLook it up.\n</think>" in talking.asked_for["text"]


async def test_which_tools_may_or_must_be_called_acts(talking: Talking) -> None:
    async def grammar(**choice: Any) -> str:
        talking.says("x")
        await talking.whole(tools=[LOOK, FIND], tool_choice=choice or None)
        return str(talking.asked_for["grammar"])

    auto, required, named = await grammar(), await grammar(type="any"), await grammar(type="tool", name="find")
    single = await grammar(type="any", disable_parallel_tool_use=True)
    assert not await grammar(type="none")
    assert await grammar(type="auto") == auto
    assert len({auto, required, named, single}) == 4
    assert "look" not in named


async def test_an_answer_is_held_to_a_schema(plain: Talking) -> None:
    plain.says("{}")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    await plain.whole(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert "integer" in plain.asked_for["grammar"]


def warned(message: dict[str, Any]) -> dict[str, str]:
    return {one["param"]: one["message"] for one in message.get("warnings", [])}


async def test_thinking_is_turned_on_and_off_where_the_template_can(talking: Talking) -> None:
    talking.says("x")
    off = "<think>\n\n</think>\n\n"
    assert warned(await talking.whole(thinking={"type": "disabled"})) == {}
    assert talking.asked_for["text"].endswith(off)
    assert warned(await talking.whole(thinking={"type": "adaptive"})) == {}
    assert not talking.asked_for["text"].endswith(off)
    assert warned(await talking.whole(thinking={"type": "enabled", "budget_tokens": 2000})) == {}
    assert not talking.asked_for["text"].endswith(off)
    assert talking.asked_for["thinking"]["budget"] == 2000
    assert "levels" in warned(await talking.whole(output_config={"effort": "low"}))["output_config.effort"]


async def test_thinking_that_cannot_be_had_is_told(plain: Talking, always_thinking: Talking) -> None:
    plain.says("x")
    always_thinking.says("hm</think>x")
    assert warned(await plain.whole(thinking={"type": "adaptive"})) == {"thinking": "this model does not think"}
    assert "turned off" in warned(await always_thinking.whole(thinking={"type": "disabled"}))["thinking"]


async def test_thinking_is_left_out_where_that_is_asked_for(talking: Talking) -> None:
    talking.says(THOUGHT + "Yes.")
    thinking = {"type": "adaptive", "display": "omitted"}
    whole = await talking.whole(thinking=thinking)
    assert (whole["content"][0]["thinking"], bool(whole["content"][0]["signature"])) == ("", True)
    events = await talking.events(thinking=thinking)
    assert not [event for event in events if event.get("delta", {}).get("type") == "thinking_delta"]
    assert "rain" not in json.dumps(events)


async def test_thoughts_that_nobody_here_can_read_are_left_out_and_told(talking: Talking) -> None:
    talking.says("x")
    messages = [
        *HI,
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Y"}]},
        *HI,
    ]
    assert list(warned(await talking.whole(messages=messages))) == ["messages[1].content[0]"]
    assert "assistant\nY<|finish|>" in talking.asked_for["text"]


async def test_a_stream_that_breaks_off_ends_with_an_error(talking: Talking) -> None:
    async def dying(request: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        yield [{"id": request["id"], "event": "text", "text": "It"}]
        error = {"code": "engine_died", "message": "the engine died", "hint": "Ask again."}
        yield [{"id": request["id"], "event": "error", "error": error}]

    talking.engine.call = dying  # type: ignore[method-assign,assignment]
    last = (await talking.events())[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert last["error"]["message"] == "the engine died. Ask again."


async def test_errors_have_anthropics_form_on_this_address_alone(plain: Talking) -> None:
    async def error(path: str, status: int, **more: Any) -> dict[str, Any]:
        given = more if "content" in more else {"json": {"messages": HI, "max_tokens": 5}} | more
        answer = await plain.http.post(path, **given)
        assert answer.status_code == status
        return dict(answer.json())

    wrong = {"Authorization": "Bearer wrong"}
    for path, more, status, kind in (
        (MESSAGES, {"json": {}}, 400, "invalid_request_error"),
        (MESSAGES, {"headers": wrong}, 401, "authentication_error"),
        (MESSAGES, {"headers": {"Origin": "http://page"}}, 403, "permission_error"),
        (MESSAGES, {"json": {"messages": HI, "max_tokens": 5, "model": "other"}}, 404, "not_found_error"),
        (COUNT, {"content": b"x" * 4_000_001, "headers": {"Content-Type": "application/json"}}, 413, "request_too_large"),
    ):  # fmt: skip
        told = await error(
            path, status, **{k: v for k, v in ({"json": None} | more).items() if v is not None or k != "json"}
        )
        assert (told["type"], told["error"]["type"]) == ("error", kind)
    assert "type" not in await error("/v1/chat/completions", 401, headers=wrong)


async def test_keys_come_by_either_name(plain: Talking) -> None:
    plain.says("x")
    bare = httpx.AsyncClient(transport=plain.http._transport, base_url="http://localhost")
    body = {"messages": HI, "max_tokens": 5}
    for headers, status in (
        ({"x-api-key": KEY}, 200), ({"x-api-key": "wrong"}, 401), ({"x-api-key": ""}, 401), ({}, 401),
        ({"x-api-key": KEY, "Authorization": "Bearer another"}, 200),
        ({"x-api-key": "another", "Authorization": f"Bearer {KEY}"}, 200),
        ({"x-api-key": "another", "Authorization": f"Basic {KEY}"}, 401),
    ):  # fmt: skip
        versions = {"anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14"}
        answer = await bare.post(MESSAGES, json=body, headers=headers | versions)
        assert answer.status_code == status, headers
    twice = await bare.post(MESSAGES, json=body, headers=[("x-api-key", KEY), ("x-api-key", KEY)])
    assert twice.status_code == 401
    await bare.aclose()


async def test_the_one_parameter_of_an_address_is_known_here_alone(plain: Talking) -> None:
    plain.says("x")
    body = {"messages": HI, "max_tokens": 5}
    assert (await plain.http.post(f"{MESSAGES}?beta=true", json=body)).status_code == 200
    assert (await plain.http.post(f"{COUNT}?beta=true", json={"messages": HI})).status_code == 200
    for address in (f"{MESSAGES}?beta=false", f"{MESSAGES}?beta=true&x=1", f"{MESSAGES}?", "/v1/completions?beta=true"):
        answer = await plain.http.post(address, json=body)
        assert answer.status_code == (200 if address.endswith("?") else 400)


TEXTS = st.text(st.sampled_from("ab \n<>|{}é日\"'"), max_size=12)
SAID = TEXTS.filter(bool)
BLOCKS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, SAID), min_size=1, max_size=3)
THOUGHTS = st.lists(st.builds(lambda text: {"type": "thinking", "thinking": text}, TEXTS), max_size=1)


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """A request with turns of all kinds."""
    messages: list[dict[str, Any]] = []
    for n in range(draw(st.integers(0, 2))):
        calls: list[dict[str, Any]] = [
            {"type": "tool_use", "id": f"c{n}_{k}", "name": draw(st.sampled_from(["look", "find"])), "input": {"city": draw(TEXTS)}}
            for k in range(draw(st.integers(0, 2)))
        ]  # fmt: skip
        messages.append({"role": "user", "content": draw(st.one_of(SAID, BLOCKS))})
        messages.append({"role": "assistant", "content": [*draw(THOUGHTS), *draw(BLOCKS), *calls]})
        if calls:
            failed = st.booleans()
            results = [result_block(c["id"], content=draw(TEXTS), is_error=draw(failed)) for c in calls]
            messages.append({"role": "user", "content": results})
    messages.append({"role": "user", "content": draw(st.one_of(SAID, BLOCKS))})
    body: dict[str, Any] = {"messages": messages, "tools": draw(st.sampled_from([[], [LOOK], [LOOK, FIND]]))}
    if draw(st.booleans()):
        body["system"] = draw(st.one_of(TEXTS, BLOCKS))
    if draw(st.booleans()):
        body["thinking"] = {"type": draw(st.sampled_from(["adaptive", "disabled"]))}
    if body["tools"]:
        body["tool_choice"] = draw(st.sampled_from([{"type": "auto"}, {"type": "none"}, {"type": "any"}]))
    return body


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real model, with a template that has tools and thinking."""
    root = tmp_path_factory.mktemp("anthropic")
    workspace = make_workspace(Workspace(root / "ws"))
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + OBJECTS
    registry = ModelRegistry(Catalog(workspace))
    registry.add(write_with_template(root / "tools.gguf", template), "tools")
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(registry.get("tools"), LoadOptions(threads=1, context=2048))
    client = httpx.Client(
        transport=socket_transport(handle.socket),
        base_url="http://localhost",
        headers={"x-api-key": handle.key},
        timeout=120,
    )
    yield client
    client.close()
    supervisor.stop("tools")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(conversations())
def test_what_is_counted_is_what_is_evaluated(served: httpx.Client, body: dict[str, Any]) -> None:
    counted = served.post(COUNT, json=body)
    assert counted.status_code == 200, counted.text
    whole = served.post(MESSAGES, json=body | {"max_tokens": 1})
    assert whole.status_code == 200, whole.text
    usage = whole.json()["usage"]
    assert counted.json()["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"] > 0


def test_a_real_stream_tells_the_prompts_tokens_first_and_its_stop_text_last(served: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "When are you open?"}], "max_tokens": 40, "temperature": 0}
    whole = served.post(MESSAGES, json=body).json()
    text = whole["content"][0]["text"]
    stop = text[5:8]
    with served.stream("POST", MESSAGES, json=body | {"stream": True, "stop_sequences": ["\x07", stop]}) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    first, last = events[0]["message"]["usage"], events[-2]
    assert first["input_tokens"] + first["cache_read_input_tokens"] == sum(
        whole["usage"][name] for name in ("input_tokens", "cache_read_input_tokens")
    )
    assert {k: v for k, v in first.items() if "output" not in k} == {
        k: v for k, v in last["usage"].items() if "output" not in k
    }
    assert last["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": stop}
    told = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
    assert told == text[: text.index(stop)]
