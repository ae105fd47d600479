"""What a recording is asked beside its conversation, by whom, and where its model is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.inference.request_code import code_of
from llmops_tui.inference.server.callers import Caller
from llmops_tui.quality.checks import checks_of
from llmops_tui.quality.sampling import read_exchanges
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import HI, OWN, SAID, Counting, opened
from tests.chat_format.styles import OBJECTS
from tests.router.fakes import FakeServers, FixedModels, running

OWNER = "a-key-of-the-owner-file"
FORM = {
    "type": "json_schema",
    "json_schema": {"schema": {"type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"]}},
}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}


def saying(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """All engines write this."""
    plain = Counting.call

    async def call(self: Counting, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        async for batch in plain(self, request):
            yield [one | {"text": text} if one["event"] == "text" else one for one in batch]

    monkeypatch.setattr(Counting, "call", call)


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_an_answer_is_given_where_it_is_as_it_is_asked_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    saying(monkeypatch, "You are welcome.")
    async with opened(workspace, record="clerk") as doors:
        assert (await doors.chat(OWNER)).status_code == 200
    async with opened(workspace, replay="clerk") as doors:
        for fine in ({}, {"stop": "bye"}, {"n": 2}, {"temperature": 0.1, "top_p": 0.5}):
            assert (await doors.chat(OWNER, **fine)).status_code == 200, fine
        wrong = {
            "response_format": ({"type": "json_object"}, FORM),
            "stop": ("welcome", ["x", "You"]),
            "max_tokens": (SAID - 1, SAID + 1),
            "grammar": ('root ::= "yes" | "no"',),
        }
        for field, values in wrong.items():
            for value in values:
                refused = await doors.chat(OWNER, **{field: value})
                assert code(refused) == (404, "not_recorded"), field
                assert "as it is asked for" in refused.json()["error"]["message"]


async def test_a_call_that_is_demanded_is_one(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.access.doors.TEMPLATE", OBJECTS)
    said = [{"role": "user", "content": "Find it."}]
    async with opened(workspace, record="clerk") as doors:
        saying(monkeypatch, "It is there.")
        assert (await doors.chat(OWNER, tools=[TOOL])).status_code == 200
        saying(monkeypatch, '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>')
        assert (await doors.chat(OWNER, tools=[TOOL], messages=said)).status_code == 200
    async with opened(workspace, replay="clerk") as doors:
        for choice in ("auto", "required", {"type": "function", "function": {"name": "search"}}):
            called = await doors.chat(OWNER, tools=[TOOL], messages=said, tool_choice=choice)
            assert called.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "search"
            plain = await doors.chat(OWNER, tools=[TOOL], tool_choice=choice)
            assert plain.status_code == (200 if choice == "auto" else 404)
        other = {"type": "function", "function": {"name": "buy", "parameters": {"type": "object"}}}
        wrong = {"type": "function", "function": {"name": "buy"}}
        refused = await doors.chat(OWNER, tools=[TOOL, other], messages=said, tool_choice=wrong)
        assert code(refused) == (404, "not_recorded")
        assert "'buy', which tool_choice asks for" in refused.json()["error"]["message"]


async def test_the_form_that_it_was_written_in_is_known(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the answer does not keep it, as one that was cut off."""
    grammar = 'root ::= "yes" | "no"'
    saying(monkeypatch, '{"open": tr')
    async with opened(workspace, record="clerk") as doors:
        for form in ({"response_format": FORM}, {"grammar": grammar}):
            assert (await doors.chat(OWNER, **form)).status_code == 200
    async with opened(workspace, replay="clerk") as doors:
        for form in ({"response_format": FORM}, {"grammar": grammar}):
            assert (await doors.chat(OWNER, **form)).status_code == 200
        assert code(await doors.chat(OWNER, grammar='root ::= "y"')) == (404, "not_recorded")


async def test_what_no_recording_has_is_refused_by_name(workspace: Workspace) -> None:
    async with opened(workspace, record="clerk") as doors:
        assert (await doors.chat(OWNER)).status_code == 200
        text = {"prompt": "When are", "max_tokens": SAID}
        assert (await doors.ask(OWNER, "/v1/completions", text)).status_code == 200
        sent = await doors.ask(
            OWNER, "/v1/batches", {"input_file_id": "f", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        )
        assert code(sent) == (409, "not_replayable")
    async with opened(workspace, replay="clerk") as doors:
        refused = await doors.chat(OWNER, logprobs=True, top_logprobs=2)
        assert code(refused) == (409, "not_replayable")
        assert refused.json()["error"]["param"] == "logprobs"
        assert code(await doors.ask(OWNER, "/v1/completions", text | {"echo": True, "logprobs": 1})) == (
            409,
            "not_replayable",
        )
        echoed = await doors.ask(OWNER, "/v1/completions", text)
        assert echoed.json()["choices"][0]["text"] == "a"
        asked = len(doors.engine.calls)
        for path, body in (
            ("/v1/embeddings", {"input": "x"}),
            ("/api/embed", {"model": "m", "input": "x"}),
        ):
            assert (await doors.ask(OWNER, path, body)).status_code == 409, path
        assert all(call["op"] not in {"embed", "rank", "classify", "generate"} for call in doors.engine.calls[asked:])


async def test_a_program_of_the_workspace_asks_the_model(workspace: Workspace, catalog: Catalog) -> None:
    """What is recorded and replayed is what comes to the address."""
    body = {"messages": HI, "max_tokens": SAID}
    async with opened(workspace, replay="clerk") as doors:
        transport = doors.http._transport
        # As over the socket of the server, which has no port.
        monkey = transport.app  # type: ignore[attr-defined]

        async def over_socket(scope: Any, receive: Any, send: Any) -> None:
            await monkey({**scope, "server": ("/a.sock", None), "client": None}, receive, send)

        transport.app = over_socket  # type: ignore[attr-defined]
        assert (await doors.ask(OWN, "/v1/chat/completions", body)).status_code == 200
        # And what another server of the workspace passes on is its own address's affair.
        for recording, replayed, status in (("agent", "", 200), ("", "agent", 200), ("", "none", 404)):
            caller = Caller(own=False, key="k", client="k", recording=recording, replayed=replayed)
            headers = {"Authorization": f"Bearer {OWN}", "x-llmops-on-behalf": caller.passed_on().decode()}
            answer = await doors.http.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == status
    store = TraceStore(catalog, EventLog(workspace))
    assert store.page(TraceFilter(recording="agent"), 10)[1] == 1
    assert store.page(TraceFilter(recording="clerk"), 10)[1] == 0


@pytest.mark.parametrize("option", ["record", "replay"])
async def test_the_one_address_tells_each_server_of_its_recording(
    workspace: Workspace, tmp_path: Path, option: str
) -> None:
    async with running(workspace, FixedModels("one"), FakeServers(tmp_path), **{option: "a1"}) as router:
        await router.ask("one", messages=HI)
        ((_, _, headers, _),) = router.server("one").requests
    heard = json.loads(headers["x-llmops-on-behalf"])
    assert heard[3:] == (["a1"] if option == "record" else ["", "a1"])


# ── what the trace knows of its form ──


async def test_answers_that_are_not_the_json_that_was_asked_for_are_found(
    workspace: Workspace, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (check,) = checks_of(["schema"], None)
    found = {}
    for text in ('{"open": true}', '{"', '{"open": 3}'):
        saying(monkeypatch, text)
        async with opened(workspace) as doors:
            answer = await doors.chat(OWNER, response_format=FORM)
            found[text] = answer.json()["id"]
        monkeypatch.undo()
    async with opened(workspace) as doors:
        plain = (await doors.chat(OWNER)).json()["id"]
    store = TraceStore(catalog, EventLog(workspace))
    traces = {line.id: line for line in store.page(TraceFilter(), 10)[0]}
    assert {*found.values(), plain} == traces.keys()
    read = read_exchanges(catalog, list(traces)).found
    assert [check.judge(read[one]) for one in found.values()] == [0.0, 1.0, 1.0]
    assert check.judge(read[plain]) is None
    trace = store.get(found['{"'])
    assert trace.parameters["response_format"] == FORM
    # Whoever asks it again asks for the same form.
    assert code_of("m", None, trace.messages, trace.parameters).body["response_format"] == FORM
