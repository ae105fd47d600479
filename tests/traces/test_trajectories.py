"""Agents recorded, replayed, and judged by the tools that they called."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server.recording import conversation_key
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.traces.trajectories import Trajectory, read_checks, trajectories
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import Counting, Doors, opened
from tests.commands import Llmops

OWNER = "a-key-of-the-owner-file"
HI = [{"role": "user", "content": "Is there a kettle?"}]


def turn(name: str, arguments: str, key: str, result: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": arguments}
    return [
        {"role": "assistant", "content": None, "tool_calls": [{"id": key, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": key, "content": result},
    ]


def noted(
    event_log: EventLog, number: int, messages: list[dict[str, Any]], output: str, recording: str = "clerk"
) -> None:
    body = {
        "started_at": 1_795_000_000.0 + number, "model": "m", "messages": messages, "output": output, "finish_reason": "stop",
        "prompt_tokens": 10, "completion_tokens": 2, "total_ms": 500.0, "client": {"key": None, "recording": recording},
    }  # fmt: skip
    event_log.append("request", f"run_{number:08d}", body)


@pytest.fixture
def store(workspace: Workspace, catalog: Catalog) -> TraceStore:
    event_log = EventLog(workspace)
    searched = turn("search", '{"query": "kettle"}', "c1", "two kettles")
    bought = turn("buy", '{"id": 7}', "c2", "done")
    noted(event_log, 1, HI, "<call>")
    noted(event_log, 2, HI + searched, "<call>")
    noted(event_log, 3, [{"role": "user", "content": "Bye"}], "Bye.")
    noted(event_log, 4, HI + searched + bought, "It is in stock.")
    noted(event_log, 5, HI, "Something else.", recording="other")
    return TraceStore(catalog, event_log)


def test_requests_that_go_on_from_each_other_are_one_conversation(store: TraceStore) -> None:
    first, second = trajectories(store, TraceFilter.parse("recording:clerk", 0))
    assert first.traces == ["run_00000001", "run_00000002", "run_00000004"]
    assert first.calls == [
        {"tool": "search", "arguments": {"query": "kettle"}, "result": "two kettles"},
        {"tool": "buy", "arguments": {"id": 7}, "result": "done"},
    ]
    assert (first.answer, first.tokens, first.seconds) == ("It is in stock.", 36, 1.5)
    assert (second.traces, second.calls) == (["run_00000003"], [])


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("{called: search}", ""),
        ("{called: search, least: 2}", "search was called 1 times, at least 2"),
        ("{called: search, arguments: {properties: {query: {pattern: kettle}}, required: [query]}}", ""),
        ("{called: search, arguments: {properties: {query: {pattern: rug}}}}", "0 times with such arguments"),
        ("{called: buy, least: 0, most: 0}", "buy was called 1 times, at most 0"),
        ("{never: delete}", ""),
        ("{never: buy}", "buy was called"),
        ("{order: [search, buy]}", ""),
        ("{order: [buy, search]}", "not in the order buy → search: search → buy"),
        ("{most_calls: 1}", "2 calls, at most 1"),
        ("{most_tokens: 35}", "36 tokens, at most 35"),
        ("{answer: 'in\\s+stock'}", ""),
        ("{answer: sold out}", "the answer has nothing like"),
    ],
)
def test_checks_say_what_is_not_so(store: TraceStore, check: str, problem: str) -> None:
    (asked,) = read_checks(f"checks:\n- {check}", "c.yaml")
    told = asked.problems(trajectories(store, TraceFilter(recording="clerk"))[0])
    assert [problem in one for one in told] == ([True] if problem else [])


def test_a_loop_is_the_same_call_again() -> None:
    call: Any = {"tool": "search", "arguments": {"query": "x"}, "result": ""}
    found = Trajectory(["run_1"], [call, call, {**call, "arguments": {"query": "y"}}], "", "stop", 1, 1.0)
    (asked,) = read_checks("checks: [{most_repeats: 1}]", "c.yaml")
    assert asked.problems(found) == ["the same call 2 times, at most 1 are asked for"]


@pytest.mark.parametrize(
    "text",
    [
        "checks: []",
        "checks: [{}]",
        "checks: [{call: x}]",
        "checks: [{least: 2}]",
        "checks: [{answer: '('}]",
        "checks: [{answer: '(?=a)b'}]",
        "checks: [{most_calls: true}]",
        'checks: [{most_calls: "3"}]',
        "checks: [{called: search, least: 3, most: 1}]",
        "checks: [x]",
        "",
        "- x",
        "{",
    ],
)
def test_nothing_in_a_file_of_checks_is_ignored(text: str) -> None:
    with pytest.raises(InputRefusedError, match=r"c\.yaml") as refused:
        read_checks(text, "c.yaml")
    # Nothing of how it is written here.
    assert "Check" not in refused.value.message


def test_an_expression_takes_no_time_that_grows_with_the_answer() -> None:
    """With Python's expressions this one would not end."""
    found = Trajectory(["run_1"], [], "a" * 5_000, "stop", 1, 1.0)
    (asked,) = read_checks("checks: [{answer: '(a+)+$b'}]", "c.yaml")
    assert asked.problems(found) == ["the answer has nothing like '(a+)+$b'"]


def test_the_command_line_judges(store: TraceStore, workspace: Workspace, tmp_path: Path) -> None:
    checks = tmp_path / "checks.yaml"
    checks.write_text("checks:\n- called: search\n")
    told = Llmops(workspace).run(
        "traces", "trajectories", "--filter", "recording:clerk", "--check", str(checks), code=1
    )
    assert (told["total"], told["passed"]) == (2, 1)
    assert told["low"] < 0.5 < told["high"]
    assert told["trajectories"][1]["problems"] == ["search was called 0 times, at least 1 are asked for"]


@pytest.mark.parametrize("name", ["no-such", "other"])
def test_nothing_to_check_is_no_pass(store: TraceStore, workspace: Workspace, tmp_path: Path, name: str) -> None:
    checks = tmp_path / "checks.yaml"
    checks.write_text("checks:\n- called: search\n")
    words = f"recording:{name}" + (" is:down" if name == "other" else "")
    refused = Llmops(workspace).run("traces", "trajectories", "--filter", words, "--check", str(checks), code=3)
    assert refused["error"]["code"] == ("nothing_to_check" if name == "other" else "not_recorded")
    if name == "no-such":
        assert "clerk, other" in refused["error"]["hint"]


def test_a_recording_that_there_is_not_is_not_served(store: TraceStore, workspace: Workspace) -> None:
    refused = Llmops(workspace).run("serve", "--all", "--replay", "no-such", "--detach", code=3)
    assert refused["error"]["code"] == "not_recorded"
    assert "clerk, other" in refused["error"]["hint"]


class Moody(Counting):
    """An engine that never says the same again."""

    said = 0

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        async for batch in super().call(request):
            for event in batch:
                if event["event"] == "text":
                    self.said += 1
                    event["text"] = f"answer {self.said}"
            yield batch


def moody(doors: Doors) -> Moody:
    engine = Moody()
    for holder in (doors.server, doors.server.generator, doors.server._completions, doors.server._texts):
        for name in ("engine", "_engine"):
            if hasattr(holder, name):
                setattr(holder, name, engine)
    return engine


async def test_a_recording_is_told_again_and_nothing_else(workspace: Workspace, catalog: Catalog) -> None:
    def answer(response: Any) -> str:
        return str(response.json()["choices"][0]["message"]["content"])

    async with opened(workspace, record="clerk") as doors:
        moody(doors)
        first = [answer(await doors.chat(OWNER)) for _ in range(2)]
        assert first == ["answer 1", "answer 2"]
        again = [*turn("search", "{}", "call_1", "none")]
        assert answer(await doors.chat(OWNER, messages=HI + again)) == "answer 3"
    assert TraceStore(catalog, EventLog(workspace)).page(TraceFilter(recording="clerk"), 10)[1] == 3
    async with opened(workspace, replay="clerk") as doors:
        engine = moody(doors)
        # And after the last the first: an agent that runs again is answered as before.
        assert [answer(await doors.chat(OWNER, temperature=1.5)) for _ in range(4)] == [*first, *first]
        # The same call has another id each time.
        renamed = [*turn("search", "{}", "call_2", "none")]
        assert answer(await doors.chat(OWNER, messages=HI + renamed)) == "answer 3"
        streamed = await doors.chat(OWNER, messages=HI + renamed, stream=True)
        assert "answer 3" in streamed.text
        refused = await doors.chat(OWNER, messages=[{"role": "user", "content": "Who are you?"}])
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_recorded")
        assert engine.said == 0
    store = TraceStore(catalog, EventLog(workspace))
    assert store.page(TraceFilter(recording="clerk"), 10)[1] == 3
    (line, *_), _ = store.page(TraceFilter(), 1)
    assert (store.get(line.id).client or {})["replayed"] == "clerk"
    assert (line.finish_reason, (store.get(line.id).client or {})["status"]) == ("error", 404)
    assert "no answer to this conversation" in (line.error or "")


async def test_what_cannot_be_told_again_is_not_begun(workspace: Workspace) -> None:
    async with opened(workspace, replay="none") as doors:
        refused = await doors.chat(OWNER)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_recorded")
    async with opened(workspace, record="short", trace_content="off") as doors:
        assert (await doors.chat(OWNER)).status_code == 200
    async with opened(workspace, replay="short") as doors:
        refused = await doors.chat(OWNER)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_replayable")


def test_a_conversation_is_what_was_said() -> None:
    one = [{"role": "user", "content": "Hi", "name": "ann"}, *turn("a", "{}", "c1", "x")]
    two = [{"content": "Hi", "role": "user"}, *turn("a", "{}", "c2", "x")]
    assert conversation_key(one) == conversation_key(two)
    assert conversation_key(one) != conversation_key(one[:2])
    assert conversation_key(one) != conversation_key([*one[:2], *turn("a", "{}", "c1", "y")[1:]])
    assert json.dumps(one) != json.dumps(two)
