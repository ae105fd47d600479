"""The responses API: items and turns, tools, the events of streams, and answers that are kept to be gone on from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.apis.blocks import Blocks
from llmops_tui.inference.server.apis.response_items import AnyItem, as_turns, item_of, item_said
from llmops_tui.inference.server.apis.response_store import ResponseStore
from llmops_tui.inference.server.conversation import Piece
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from tests.chat_format.styles import OBJECTS, PAIRS
from tests.engine.talking import Talking
from tests.engine.test_request_fields import RESPONSES, allowed, function_tool, result_item
from tests.fakes import FakeClock

TOOL = function_tool("look", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
OTHER = function_tool("find")
THOUGHT = "<think>\nThe user wants rain.\n</think>\n\n"
CALLS = (
    'I look.\n<tool_call>\n{"name": "look", "arguments": {"city": "Bern"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call>'
)


class Asking(Talking):
    """The same by the responses API."""

    path: ClassVar[str] = RESPONSES
    least: ClassVar[dict[str, Any]] = {"input": "Hi"}


@pytest.fixture
async def asking(workspace: Workspace) -> AsyncIterator[Asking]:
    server = Asking(workspace, OBJECTS)
    yield server
    await server.http.aclose()
    await server.server.close()


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """An item without the names that are made for it."""
    return {name: value for name, value in item.items() if name not in {"id", "call_id"}}


EXPECTED: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "The user wants rain."}],
    },
    {
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
    },
    {"type": "function_call", "status": "completed", "name": "look", "arguments": '{"city": "Bern"}'},
    {"type": "function_call", "status": "completed", "name": "find", "arguments": "{}"},
]


async def test_an_answer_is_told_as_items_with_its_reasoning_and_calls(asking: Asking) -> None:
    asking.says(THOUGHT + CALLS)
    whole = await asking.whole(tools=[TOOL, OTHER])
    assert [plain(item) for item in whole["output"]] == EXPECTED
    names = [item["id"] for item in whole["output"]]
    assert [name.partition("_")[0] for name in names] == ["rs", "msg", "fc", "fc"]
    assert len(set(names)) == 4
    assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": len(THOUGHT.rstrip())}
    assert whole["usage"]["total_tokens"] == whole["usage"]["input_tokens"] + 40
    assert (whole["status"], whole["tools"][1]["name"], whole["tool_choice"]) == ("completed", "find", "auto")


async def test_a_stream_has_the_events_of_each_item_in_their_order(asking: Asking) -> None:
    asking.says(THOUGHT + CALLS)
    events = await asking.events(tools=[TOOL, OTHER])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [event["type"].removeprefix("response.") for event in events]
    once = [name for n, name in enumerate(names) if not n or name != names[n - 1] or not name.endswith("delta")]
    text = ["output_item.added", "content_part.added", "{}.delta", "{}.done", "content_part.done", "output_item.done"]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
    assert once == [
        "created", "in_progress", *(name.format("reasoning_text") for name in text),
        *(name.format("output_text") for name in text), *call, *call, "completed",
    ]  # fmt: skip
    last = events[-1]["response"]
    assert [plain(item) for item in last["output"]] == EXPECTED
    assert [e["item"] for e in events if e["type"] == "response.output_item.done"] == last["output"]
    for n, item in enumerate(last["output"]):
        deltas = "".join(e["delta"] for e in events if e.get("output_index") == n and "delta" in e)
        assert deltas == item.get("arguments", item.get("content", [{}])[0].get("text") if "content" in item else "")
    assert {e["item_id"] for e in events if "item_id" in e} == {item["id"] for item in last["output"]}


async def test_what_was_cut_off_is_incomplete_and_says_so(asking: Asking) -> None:
    asking.says("It rai", "length")
    whole = await asking.whole()
    assert (whole["status"], whole["output"][0]["status"]) == ("incomplete", "incomplete")
    events = await asking.events()
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_a_stream_that_breaks_off_ends_with_its_failure(asking: Asking) -> None:
    async def dying(request: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        yield [{"id": request["id"], "event": "text", "text": "It"}]
        error = {"code": "engine_died", "message": "the engine died", "hint": "Ask again."}
        yield [{"id": request["id"], "event": "error", "error": error}]

    asking.engine.call = dying  # type: ignore[method-assign,assignment]
    last = (await asking.events())[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["code"] == "engine_died"
    assert "died" in last["response"]["error"]["message"]
    lost = await asking.http.get(f"{RESPONSES}/{last['response']['id']}")
    assert lost.status_code == 404


async def test_calls_outputs_and_reasoning_reach_the_template(asking: Asking) -> None:
    asking.says("It rains.")
    items = [
        {"role": "user", "content": "Weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Look it up."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "look", "arguments": '{"city": "Bern"}'},
        {"type": "function_call", "call_id": "b", "name": "find", "arguments": "{}", "status": "completed"},
        result_item("a", output="rain"),
        result_item("b", output=[{"type": "input_text", "text": "a "}, {"type": "input_text", "text": "place"}]),
    ]  # fmt: skip
    await asking.whole(input=items, tools=[TOOL, OTHER])
    assert asking.prompt == (
        "<|begin|>user\nWeather?<|finish|>\n<|begin|>assistant\n<think>\nLook it up.\n</think>\n\nI look."
        '\n<tool_call>\n{"name": "look", "arguments": {"city": "Bern"}}\n</tool_call>'
        '\n<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call><|finish|>\n'
        "<|begin|>tool\nrain<|finish|>\n<|begin|>tool\na place<|finish|>\n<|begin|>assistant\n"
    )


async def test_which_tools_may_or_must_be_called_acts(asking: Asking) -> None:
    async def grammar(**body: Any) -> str:
        asking.says("x")
        await asking.whole(tools=[TOOL, OTHER], **body)
        return str(asking.asked_for["grammar"])

    auto, required = await grammar(), await grammar(tool_choice="required")
    named = await grammar(tool_choice={"type": "function", "name": "find"})
    several = await grammar(tool_choice=allowed("required", "look", "find"))
    one = await grammar(tool_choice=allowed("required", "find"))
    single = await grammar(tool_choice="required", parallel_tool_calls=False)
    assert not await grammar(tool_choice="none")
    assert several == required
    assert one == named
    assert len({auto, required, named, single}) == 4
    assert '"look"' in auto
    assert "look" not in one


async def test_only_one_call_is_told_where_there_may_not_be_several(asking: Asking) -> None:
    asking.says(CALLS)
    for body in (await asking.whole(tools=[TOOL, OTHER], parallel_tool_calls=False),):
        assert [item["type"] for item in body["output"]] == ["message", "function_call"]


async def test_a_response_is_gone_on_from_as_if_it_had_been_sent_again(asking: Asking) -> None:
    asking.says(THOUGHT + CALLS)
    tools = [TOOL, OTHER]
    first = await asking.whole(input="Weather?", tools=tools, instructions="Be brief.")
    calls = [item["call_id"] for item in first["output"] if item["type"] == "function_call"]
    results = [result_item(call, output="rain") for call in calls]
    asking.says("It rains.")
    second = await asking.whole(previous_response_id=first["id"], input=results, tools=tools)
    went_on = asking.prompt
    await asking.whole(input=[{"role": "user", "content": "Weather?"}, *first["output"], *results], tools=tools)
    assert went_on == asking.prompt
    # Instructions are those of one request.
    assert "Be brief" not in went_on
    await asking.whole(previous_response_id=second["id"], input="And tomorrow?")
    assert "It rains." in asking.prompt
    assert "Weather?" in asking.prompt
    # Its parts can be named alone.
    said = second["output"][0]
    await asking.whole(input=[{"type": "item_reference", "id": said["id"]}, {"role": "user", "content": "Sure?"}])
    assert "assistant\nIt rains.<|finish|>" in asking.prompt


async def test_a_response_can_be_looked_at_and_deleted(asking: Asking) -> None:
    asking.says("It rains.")
    streamed = (await asking.events())[-1]["response"]
    kept = await asking.whole()
    for one in (streamed, kept):
        found = await asking.http.get(f"{RESPONSES}/{one['id']}")
        assert found.json() == one
    gone = await asking.http.delete(f"{RESPONSES}/{kept['id']}")
    assert gone.json() == {"id": kept["id"], "object": "response", "deleted": True}
    again = await asking.http.get(f"{RESPONSES}/{kept['id']}")
    assert again.status_code == 404
    assert "deleted" in again.json()["error"]["message"]
    unkept = await asking.whole(store=False)
    refused = await asking.post(RESPONSES, {"input": "x", "previous_response_id": unkept["id"]})
    assert refused.status_code == 404
    error = refused.json()["error"]
    assert (error["param"], error["code"]) == ("previous_response_id", "response_not_found")
    assert "store: false" in error["message"]
    reference = await asking.post(RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]})
    assert (reference.status_code, reference.json()["error"]["param"]) == (404, "input[0].id")


def response(name: str = "") -> dict[str, Any]:
    return {"id": name or new_id("resp"), "output": []}


def why(store: ResponseStore, client: str, name: str) -> str:
    with pytest.raises(LlmopsError) as caught:
        store.get(client, name)
    assert caught.value.code == "response_not_found"
    return caught.value.message


def test_the_least_used_makes_room_and_the_reason_is_told() -> None:
    store = ResponseStore(count=2)
    one, two, three = (response() for _ in range(3))
    store.keep("a", one, [], 10)  # type: ignore[arg-type]
    store.keep("a", two, [], 10)  # type: ignore[arg-type]
    store.get("a", one["id"])
    store.keep("a", three, [], 10)  # type: ignore[arg-type]
    assert "make room" in why(store, "a", two["id"])
    assert store.get("a", one["id"]).response == one
    # What one client has another does not.
    assert "this client" in why(store, "b", one["id"])


def test_clients_have_bounds_of_their_own_and_one_together() -> None:
    store = ResponseStore(size=1000, total=2500)
    mine = [response() for _ in range(3)]
    for one in mine:
        store.keep("a", one, [], 400)  # type: ignore[arg-type]
    assert "make room" in why(store, "a", mine[0]["id"])
    assert store.get("a", mine[2]["id"])
    others = [response() for _ in range(4)]
    for n, one in enumerate(others):
        store.keep(f"b{n}", one, [], 500)  # type: ignore[arg-type]
    # The client with most gives way.
    assert "make room" in why(store, "a", mine[1]["id"])
    assert store.get("b3", others[3]["id"])


def test_what_is_from_before_the_start_is_told_to_be() -> None:
    old = new_id("resp")
    later = ResponseStore(clock=FakeClock(4_000_000_000.0))
    assert "before this server started" in why(later, "a", old)
    assert "has this id" in why(ResponseStore(clock=FakeClock(1.0)), "a", old)


PIECES = st.lists(
    st.one_of(
        st.builds(Piece, st.sampled_from(["content", "reasoning"]), st.text(min_size=1, max_size=5)),
        st.builds(
            lambda name: Piece("call", call={"id": "c", "function": {"name": name, "arguments": "{}"}}),
            st.sampled_from("fg"),
        ),
    ),
    max_size=8,
)


@given(PIECES)
def test_blocks_open_grow_and_end_one_after_the_other(pieces: list[Piece]) -> None:
    blocks, steps = Blocks(), []
    for piece in pieces:
        steps += list(blocks.add([piece]))
    steps += list(blocks.ended(text=True))
    at_once = Blocks()
    assert [*at_once.add(pieces), *at_once.ended(text=True)]
    assert at_once.all == blocks.all
    assert "".join(b.text for b in blocks.all if b.call is None) == "".join(p.text for p in pieces)
    assert sum(b.kind == "call" for b in blocks.all) == sum(p.kind == "call" for p in pieces)
    for block in blocks.all:
        mine = [step for step, one, _ in steps if one is block]
        assert (mine[0], mine[-1]) == ("begun", "ended")
        assert set(mine[1:-1]) <= {"grown"}
    order = [block.index for _, block, _ in steps]
    assert order == sorted(order)
    assert all(one.kind != other.kind or one.call for one, other in zip(blocks.all, blocks.all[1:], strict=False))


@given(st.lists(st.sampled_from(["message", "function_call", "reasoning"]), min_size=1, max_size=6), st.text())
def test_what_was_said_is_the_item_that_was_sent(kinds: list[str], text: str) -> None:
    said: list[Any] = []
    for n, kind in enumerate(kinds):
        if kind == "message":
            content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
            said.append({"id": str(n), "type": kind, "status": "completed", "role": "assistant", "content": content})
        elif kind == "reasoning":
            content = [{"type": "reasoning_text", "text": text}]
            said.append({"id": str(n), "type": kind, "status": "completed", "summary": [], "content": content})
        else:
            call = {"call_id": f"c{n}", "name": "f", "arguments": "{}"}
            said.append({"id": str(n), "type": kind, "status": "completed", **call})

    def turns(items: list[AnyItem]) -> list[dict[str, Any]]:
        return [turn.message for turn in as_turns([("", item) for item in items])]

    kept, sent = turns([item_said(one) for one in said]), turns([item_of(one) for one in said])
    assert kept == sent
    # Nothing that was said is lost on the way.
    assert sum(len(turn.get("tool_calls", ())) for turn in kept) == kinds.count("function_call")
    assert "".join(turn.get("content") or "" for turn in kept) == text * kinds.count("message")


async def test_thinking_that_the_prompt_begins_is_reasoning_too(workspace: Workspace) -> None:
    server = Asking(workspace, PAIRS)
    try:
        server.says("hm</think>Yes.")
        whole = await server.whole()
        assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
        assert whole["output"][0]["content"][0]["text"] == "hm"
    finally:
        await server.http.aclose()
        await server.server.close()
